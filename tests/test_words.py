"""Names, messages and help use the field's terms: docs/architecture.md has a glossary of those that are ours."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])
TEXT = sorted([
    ROOT / "README.md", ROOT / "params.yaml", ROOT / "Snakefile", *(ROOT / "docs").glob("*.md"),
    *(ROOT / "papers").rglob("*.yaml"), *(ROOT / "workflow").rglob("*.smk"),
])  # fmt: skip
NAMES = {  # as a whole name, or as a part between underscores
    "accumulate": "gradient_accumulation_steps", "anneal": "lr_schedule", "beginnings": "prefixes",
    "blind": "visual_input", "card": "metadata", "contrast": "comparison", "contrasts": "comparisons", "eyes": "cnn",
    "foreseen": "predicted_values",
    "health": "rollout_diagnostics", "heard": "critic_embedding", "judge": "reward_model", "judged": "actor_critic",
    "judges": "reward_models", "keeper": "frame_sampler", "lit": "attention_overlay", "looks": "attention maps",
    "mend": "fix", "portrait": "caption_figure", "rivals": "negatives", "seeing": "cnn", "teach": "set_trainable",
    "thin": "sample_uniformly", "told": "statistics",
}  # fmt: skip
WHOLE = {  # as a whole name only
    "Clips": "FeatureBatches", "Critic": "BoundaryCritic", "Eyes": "VisualEncoder", "Films": "FrameBatches",
    "Rows": "TensorBatch", "Seen": "CachedFeatures", "begins": "segment_start", "critic_reads": "critic_input",
    "due": "start_pending", "halve_after": "lr_patience", "manager_turn": "manager_updates",
    "own_words": "sampling_probability", "still_going": "active_rows",
    "turn_round": "reverse_valid", "unit_reward": "reward_scale", "worker_turn": "worker_updates",
}  # fmt: skip
MESSAGES = re.compile(  # in strings, help and documentation
    r"\b(mends?|mended|blind|eyes|told|judges?|judged|foresees?|heard|equal[- ]budget)\b"
    r"|\b\w+ less (XE|step|the control)\b"
)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Every name in a module with its line."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string in a module with its line, docstrings among them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_names_are_the_fields():
    complaints = []
    for path in PYTHON:
        for line, name in names(path):
            old = [WHOLE[name]] if name in WHOLE else [NAMES[part] for part in name.lower().split("_") if part in NAMES]
            complaints += [f"{path}:{line}: {name}; say {new}" for new in old]
    assert not complaints, "\n".join(complaints)


def test_messages_and_help_are_plain():
    found = [(path, *found) for path in PYTHON for found in strings(path)]
    found += [(path, number, line) for path in TEXT for number, line in enumerate(path.read_text().splitlines(), 1)]
    complaints = [f"{path}:{line}: {match[0]}" for path, line, text in found if (match := MESSAGES.search(text))]
    assert not complaints, "\n".join(complaints)
