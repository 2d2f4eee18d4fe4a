"""Score a run's predictions, of all its seeds, for a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captionrl.datasets.prepared import load_captions
from captionrl.errors import UserError
from captionrl.evaluation.captions import read_hypotheses, read_references
from captionrl.evaluation.metrics import evaluate_systems
from captionrl.evaluation.results import write_scores
from captionrl.evaluation.spice import why_not
from captionrl.files import damage_named, fingerprint, read_json, sha256


def evaluate_predictions(
    predictions: Sequence[Path],
    checkpoints: Sequence[Path],
    captions: Path,
    outs: Sequence[Path],
    *,
    split: str,
    spice: Path | None = None,
    reward_models: Sequence[Path] = (),
    features: Path | None = None,
    workers: int = 1,
) -> None:
    """Score the predictions of every seed against the raw captions of `split`; each score file says where from.

    Predictions are {item: caption}, or sets, {item: [captions]}, alike for all seeds. With `spice` (Stanford CoreNLP),
    SPICE is scored too, parsed by `workers` threads, or the file says why it was not. With `reward_models`, a
    checkpoint for every seed, and the store of their features, single captions are scored with their embedding too.
    """
    corpus = load_captions(captions)
    contents = [_read(path) for path in predictions]
    for path, content in zip(predictions, contents, strict=True):
        if content.keys() != contents[0].keys():
            raise UserError(f"{path}: other items than in {predictions[0]}; predict both again")
    origins = [_provenance(*pair) for pair in zip(checkpoints, predictions, strict=True)]  # before minutes of scoring
    references = {item.id: corpus.raw[item.id] for item in corpus.items[split] if item.id in contents[0]}
    unavailable = {}
    if isinstance(next(iter(contents[0].values())), list):
        from captionrl.evaluation.diversity import evaluate_sets  # with torch, which single captions need not wait for

        if spice or reward_models:
            what = "sets of captions have no SPICE and no Embedding"
            raise UserError(f"{predictions[0]}: {what}; leave their options out")
        results = evaluate_sets(references, [read_references(path) for path in predictions])
    else:
        if spice and (reason := why_not(spice)):
            unavailable = {"unavailable": {"SPICE": reason}}
            spice = None
        systems = [read_hypotheses(path) for path in predictions]
        results = evaluate_systems(references, systems, spice=spice, workers=workers)
        if reward_models:
            from captionrl.evaluation.embedding import evaluate_embedding  # with torch

            assert features is not None
            for result, reward_model, hypotheses in zip(results, reward_models, systems, strict=True):
                result["Embedding"] = evaluate_embedding(reward_model, features, hypotheses)
    for result, origin, out in zip(results, origins, outs, strict=True):
        write_scores(out, result, origin | unavailable)


def _read(predictions: Path) -> dict[str, Any]:
    content = read_json(predictions)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{predictions}: must be {{item: caption}} or {{item: [captions]}}; predict again")
    return content


def _provenance(checkpoint: Path, predictions: Path) -> dict[str, Any]:
    path = checkpoint.with_suffix(".json")
    trained = read_json(path)
    with damage_named(path, "not the provenance of a checkpoint", "train it again"):
        facts = {key: trained[key] for key in ("seed", "hours", "slurm_job", "code", "commit", "command")}
        sees = trained["config"]["run"]["visual_input"]
        features = trained["inputs"]["features"]["backbone"] if sees else "none"
    return {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256(checkpoint),
        "predictions": str(predictions),
        "predictions_sha256": sha256(predictions),
        **facts,
        "config": fingerprint(trained["config"]),
        "features": features,
    }
