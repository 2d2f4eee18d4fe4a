"""Score a run's predictions for a table."""

from pathlib import Path
from typing import Any

from captionrl.datasets.prepare import load_captions
from captionrl.errors import UserError
from captionrl.evaluation.captions import read_hypotheses, read_references
from captionrl.evaluation.metrics import evaluate
from captionrl.evaluation.results import write_scores
from captionrl.evaluation.spice import why_not
from captionrl.files import fingerprint, read_json, sha256


def evaluate_predictions(
    predictions: Path,
    checkpoint: Path,
    captions: Path,
    out: Path,
    *,
    split: str,
    spice: Path | None = None,
    judge: tuple[Path, Path] | None = None,
) -> None:
    """Score `predictions` against the raw captions of `split`; the score file says where they came from.

    Predictions are {item: caption}, or sets, {item: [captions]}. With `spice` (Stanford CoreNLP), SPICE is scored too,
    or the file says why it was not. With `judge`, a checkpoint and a feature store, single captions are scored with
    its embedding too.
    """
    corpus = load_captions(captions)
    content = read_json(predictions)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{predictions}: must be {{item: caption}} or {{item: [captions]}}; predict again")
    references = {item.id: corpus.raw[item.id] for item in corpus.items[split] if item.id in content}
    trained = read_json(checkpoint.with_suffix(".json"))
    provenance: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256(checkpoint),
        "predictions": str(predictions),
        "predictions_sha256": sha256(predictions),
        **{key: trained[key] for key in ("seed", "hours", "slurm_job", "code", "commit", "command")},
        "config": fingerprint(trained["config"]),
        "features": "none" if trained["config"]["run"]["blind"] else trained["inputs"]["features"]["backbone"],
    }
    if isinstance(next(iter(content.values())), list):
        from captionrl.evaluation.diversity import evaluate_sets  # with torch, which single captions need not wait for

        results = evaluate_sets(references, read_references(predictions))
    else:
        if spice and (reason := why_not(spice)):
            provenance["unavailable"] = {"SPICE": reason}
            spice = None
        results = evaluate(references, read_hypotheses(predictions), spice=spice)
        if judge:
            from captionrl.evaluation.embedding import evaluate_embedding  # with torch

            results["Embedding"] = evaluate_embedding(*judge, read_hypotheses(predictions))
    write_scores(out, results, provenance)
