"""A user's own model and objective: those of docs/own-model.md, in a folder of their own, on the tiny corpus."""

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_learners import expected_reward
from test_provenance import forget
from tiny import CORPUS, OVERRIDES, PAPER, tiny_paper

from captionrl.config import MODELS, ReinforcePhase, model_spec, overlay
from captionrl.errors import UserError
from captionrl.models import build_module
from captionrl.provenance import code_version
from captionrl.testing import FEATURE, check_model
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.learners.reinforce import ReinforceLearner
from captionrl.training.loop import Training

PAGE = (Path(__file__).parents[2] / "docs/own-model.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
PHASES = {name: yaml.safe_load(FILES[name]) for name in ("phases.yaml", "smoothing.yaml")}
OWN = {
    "runs": {
        **yaml.safe_load(FILES["runs.yaml"]),
        "smoothed": {"model": "models:Transformer", "from": "transformer", "phases": ["smoothing"]},
    },
    "phases": overlay(
        {**PHASES["phases.yaml"], **PHASES["smoothing.yaml"]},
        {
            "transformer-xe": {"batch": 8, "epochs": 8, "learning_rate": 0.005},
            "transformer-rl": {"batch": 8, "epochs": 6, "learning_rate": 0.0005},
            "smoothing": {"batch": 8, "epochs": 2},
        },
    ),
}

COLDER = """
from captionrl.config import HRLSizes
from captionrl.models.hrl import HRL


class Colder(HRL):
    class Sizes(HRLSizes):
        temperature: float = 0.5

    def __init__(self, features, vocabulary, sizes):
        super().__init__(features, vocabulary, sizes)
        self.temperature = sizes.temperature

    def step(self, tokens, state, memory):
        step = super().step(tokens, state, memory)
        return step._replace(logits=step.logits / self.temperature)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's files in a folder that commands run in; what is imported there is forgotten."""
    place = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (place / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.setattr(sys, "path", list(sys.path))
        patched.setattr(sys, "dont_write_bytecode", True)
        forget()
        yield place
        forget()
    for name in ("models", "objectives"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def trained(folder, world):
    """The transformer's checkpoint by cross-entropy."""
    torch.set_num_threads(1)
    return world.train("transformer", "transformer-xe", folder / "xe.safetensors", OWN)


def rows(checkpoint, kind):
    lines = checkpoint.with_suffix(".metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def test_the_pages_model_is_of_at_most_40_lines_and_its_objective_of_30():
    assert sum(bool(line.strip()) for line in FILES["models.py"].splitlines()) <= 40
    assert sum(bool(line.strip()) for line in FILES["objectives.py"].splitlines()) <= 30


def test_the_transformer_keeps_the_protocol(folder):
    checked = dict(check_model("models:Transformer", {"width": 16}))
    assert len(checked) == 11
    assert set(checked.values()) == {""}


def test_without_its_own_teacher_forcing_it_has_the_same_logits(folder):
    kind = type(build_module("models:Transformer", 6, 7, tiny_paper(OWN).sizes_of("transformer", CORPUS)))
    stepwise = type("Stepwise", (kind,), {"teacher_forced_hidden": kind.__mro__[1].teacher_forced_hidden})
    sys.modules["models"].Stepwise = stepwise
    assert {fault for _, fault in check_model("models:Stepwise", {"width": 16})} == {""}


def test_cross_entropy_raises_its_validation_score(trained):
    scores = [row["val_cider"] for row in rows(trained, "validation")]
    assert max(scores) > scores[0] + 20
    losses = [row["loss"] for row in rows(trained, "train")]
    assert losses[-1] < losses[0] / 2


def test_its_rate_grows_for_an_epoch_and_falls_as_a_cosine(trained):
    rates = [row["learning_rate"] for row in rows(trained, "validation")]
    assert max(rates) == rates[1]
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_self_critical_training_raises_the_reward(trained, folder, world):
    enough = {"batch": 22, "samples": 5, "epochs": 16, "learning_rate": 0.001}  # captions for more than chance to show
    overrides = overlay(OWN, {"phases": {"transformer-rl": enough}})
    out = world.train("transformer-rl", "transformer-rl", folder / "rl.safetensors", overrides, start=trained)
    rewards = [row["sample_reward"] for row in rows(out, "train")]
    third = len(rewards) // 3
    assert sum(rewards[-third:]) > sum(rewards[:third])


def test_self_critical_training_raises_the_exact_expected_reward(folder, four_pictures, tmp_path):
    """Where all captions can be enumerated."""
    phase = ReinforcePhase(
        objective="reinforce", epochs=1, batch=64, optimiser="adamw", learning_rate=0.003, clip_norm=1,
        baseline="greedy", eos_in_reward=True,
    )  # fmt: skip
    torch.manual_seed(1)
    sizes = tiny_paper(OWN).sizes_of("transformer", CORPUS).model_copy(update={"dropout": 0.0, "width": 16})
    policy = build_module("models:Transformer", FEATURE, len(four_pictures.vocabulary), sizes)
    learner = ReinforceLearner(policy, four_pictures, phase, seed=1)
    before = expected_reward(learner)
    training = Training(learner, phase, tmp_path, seed=1)
    for _ in range(100):
        training.step(log_every=1)
    assert expected_reward(learner) > 2 * before


def test_a_learner_of_ones_own_trains_with_its_own_settings(trained, folder, world):
    out = world.train("smoothed", "smoothing", folder / "smoothed.safetensors", OWN, start=trained)
    losses = [row["loss"] for row in rows(out, "train")]
    assert losses[-1] < losses[0]
    other = overlay(OWN, {"phases": {"smoothing": {"share": 0}}})
    plain = world.train("smoothed", "smoothing", folder / "plain.safetensors", other, start=trained)
    assert rows(plain, "train")[0]["loss"] < losses[0]  # smoothed targets cost nats
    assert tiny_paper(OWN).training_config("smoothed", "smoothing", CORPUS)["phase"]["share"] == 0.2


def test_a_class_derived_from_a_papers_model_is_trained_as_that_is(folder, world):
    """HRL with a setting of its own: it starts from a boundary critic, and worker and manager learn in turns."""
    (folder / "colder.py").write_text(COLDER)
    run = {"model": "colder:Colder", "from": "boundary-critic", "phases": ["xe-warm", "hrl"], "sizes": {"goal": 4}}
    overrides = {"runs": {"colder": run, "hot": run | {"sizes": {"goal": 4, "temperature": 1}}}}
    critic = world.train("boundary-critic", "boundary-critic", folder / "critic.safetensors")
    rewards = {}
    for name in ("colder", "hot"):
        warm = world.train(name, "xe-warm", folder / f"{name}-warm.safetensors", overrides, start=critic)
        end = world.train(name, "hrl", folder / f"{name}-hrl.safetensors", overrides, start=warm)
        assert {"manager_loss", "segments"} <= {key for row in rows(end, "train") for key in row}
        policy, metadata = load_checkpoint(end)
        assert type(policy).__name__ == "Colder"
        assert (metadata.model, metadata.sizes["temperature"]) == ("colder:Colder", 0.5 if name == "colder" else 1)
        rewards[name] = [row["sample_reward"] for row in rows(end, "train") if "sample_reward" in row]
    assert rewards["colder"] != rewards["hot"]


@pytest.mark.parametrize("spec", [spec for spec in MODELS.values() if spec.captions], ids=lambda spec: spec.path)
def test_what_is_known_of_a_captioner_is_known_of_what_is_derived_from_it(folder, spec):
    module, _, base = spec.path.partition(":")
    (folder / "heirs.py").write_text(f"from {module} import {base}\nclass Heir({base}): pass\n")
    sys.modules.pop("heirs", None)
    assert model_spec("heirs:Heir") == replace(spec, path="heirs:Heir")


def test_its_checkpoint_names_it_and_is_used_as_any_other(trained, folder, world, command_line):
    policy, metadata = load_checkpoint(trained)
    assert (type(policy).__name__, metadata.model) == ("Transformer", "models:Transformer")
    assert metadata.sizes == {"width": 64, "layers": 2, "dropout": 0.2}  # dropout is the paper's, too
    out = folder / "captions.json"
    files = ["--captions", world.captions, "--features", world.features]
    status, *_ = command_line("predict", "--checkpoint", trained, *files, "--out", out, "--device", "cpu")
    assert status == 0
    assert len(json.loads(out.read_text())) == 7
    command = ["train", "hrl/transformer-rl/transformer-rl", "--scale", "mini", "--corpus", CORPUS, "--seed", "1"]
    command += [*files, "--start", trained, "--papers", PAPER.parent, "--device", "cpu"]
    command += [
        "--overrides",
        json.dumps(overlay(OVERRIDES, overlay(OWN, {"phases": {"transformer-rl": {"epochs": 1}}}))),
    ]
    status, _, errors = command_line(*command, "--out", folder / "b.safetensors", "--state", folder / "state")
    assert status == 0, errors
    assert load_checkpoint(folder / "b.safetensors")[1].updates == 6


def with_metadata(checkpoint, out, **changes):
    facts = asdict(load_checkpoint(checkpoint)[1]) | changes
    save_file(load_file(checkpoint), out, {"captionrl": json.dumps(facts)})
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": "absent_model:Transformer"},
            "absent_model:Transformer: no module absent_model; write absent_model.py in FOLDER, or install it",
        ),
        (
            {"model": "models:Transformers"},
            "models:Transformers: FOLDER/models.py has no Transformers; define it there",
        ),
        ({"model": "os:getcwd", "sizes": {}}, "os:getcwd: is no Policy; derive the class from captionrl.models.Policy"),
        (
            {"sizes": {"width": 64, "heads": 4}},
            "not a checkpoint of this version of captionrl (sizes.heads: unknown key; take it out); train it again",
        ),
    ],
)
def test_a_checkpoint_whose_model_is_not_there_is_one_line(trained, folder, tmp_path, changes, message):
    path = with_metadata(trained, tmp_path / "a.safetensors", **changes)
    with pytest.raises(UserError) as raised:
        load_checkpoint(path)
    assert str(raised.value) == f"{path}: {message}".replace("FOLDER", str(folder))


def versions():
    forget()
    paper = tiny_paper(OWN)
    trainings = [("xe-baseline", "xe"), ("transformer", "transformer-xe"), ("smoothed", "smoothing")]
    return {run: code_version("train", *paper.training_methods_of(run, phase, CORPUS)) for run, phase in trainings}


@pytest.mark.parametrize(
    ("file", "changed"), [("models.py", {"transformer", "smoothed"}), ("objectives.py", {"smoothed"})]
)
def test_its_module_counts_in_the_code_version_of_just_what_uses_it(folder, file, changed):
    before, text = versions(), (folder / file).read_text()
    (folder / file).write_text(text + "\nEDITED = True\n")
    after = versions()
    (folder / file).write_text(text)
    assert {run for run in before if before[run] != after[run]} == changed


def refusal(overrides):
    with pytest.raises(UserError) as raised:
        tiny_paper(overlay(OWN, overrides))
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix("params.yaml: overrides.hrl")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"runs": {"transformer": {"sizes": {"widht": 3}}}},
            ": runs.transformer.sizes.widht: unknown key; did you mean 'width'?",
        ),
        (
            {"runs": {"transformer": {"sizes": {"decoder": 3}}}},
            ": runs.transformer.sizes.decoder: unknown key; take it out",
        ),
        ({"sizes": {"layer": 3}}, ": sizes.layer: no run's model has this key; did you mean 'layers'?"),
        ({"sizes": {"width": "x"}}, ": sizes.width: Input should be a valid integer"),
        ({"runs": {"transformer": {"model": "absent_model:T"}}}, ": runs.transformer.model: absent_model:T: no module"),
        (
            {"runs": {"transformer": {"model": "Transformer"}}},
            ": runs.transformer.model: no model is called 'Transformer'",
        ),
        (
            {"runs": {"smoothed": {"model": "boundary-critic"}}},
            ": runs.smoothed.phases: smoothing cannot train boundary-critic",
        ),
        (
            {"runs": {"transformer": {"phases": ["hrl"]}}},
            ": runs.transformer.phases: hrl cannot train models:Transformer, only hrl",
        ),
        ({"phases": {"smoothing": {"shares": 0.1}}}, ".phases.smoothing: shares: unknown key; did you mean 'share'?"),
        ({"phases": {"smoothing": {"share": 2}}}, ".phases.smoothing: share: Input should be less than or equal to 1"),
        ({"phases": {"smoothing": {"epochs": 0}}}, ".phases.smoothing: epochs: Input should be greater than 0"),
        (
            {"phases": {"smoothing": {"objective": "objectives:Smooth"}}},
            ".phases.smoothing: objective: objectives:Smooth: ",
        ),
        (
            {"corpora": {"msrvtt": {"phases": {"smoothing": {"share": 2}}}}},
            ": corpora.msrvtt.phases.smoothing.share: Input should be less than or equal to 1",
        ),
        (
            {"corpora": {"msrvtt": {"phases": {"smoothing": {"objective": "xe"}}}}},
            ": corpora.msrvtt.phases.smoothing.objective: is another than the phase's; take it out",
        ),
    ],
)
def test_a_mistake_in_its_settings_is_one_line(folder, overrides, message):
    assert refusal(overrides).startswith(message)


def test_settings_that_are_no_class_of_settings_are_refused(folder):
    (folder / "wrong_one.py").write_text("class Model:\n    Sizes = dict\n\nclass Learner:\n    Phase = dict\n")
    found = refusal({"runs": {"transformer": {"model": "wrong_one:Model"}}})
    assert found.endswith("wrong_one:Model: its Sizes is not derived from captionrl.config.Sizes; derive it from that")
    found = refusal({"phases": {"smoothing": {"objective": "wrong_one:Learner"}}})
    assert found.endswith("its Phase is not derived from captionrl.config.Phase; derive it from that")
