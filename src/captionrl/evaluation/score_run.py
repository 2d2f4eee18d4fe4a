"""Score a run's predictions for a table."""

from pathlib import Path

from captionrl.datasets.prepare import load_captions
from captionrl.evaluation.captions import read_hypotheses
from captionrl.evaluation.metrics import evaluate
from captionrl.evaluation.results import write_scores
from captionrl.files import fingerprint, read_json, sha256


def evaluate_predictions(predictions: Path, checkpoint: Path, captions: Path, out: Path, *, split: str) -> None:
    """Score `predictions` against the raw captions of `split`; the score file says where they came from."""
    corpus = load_captions(captions)
    hypotheses = read_hypotheses(predictions)
    references = {item.id: corpus.raw[item.id] for item in corpus.items[split] if item.id in hypotheses}
    trained = read_json(checkpoint.with_suffix(".json"))
    provenance = {
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256(checkpoint),
        "predictions": str(predictions),
        "predictions_sha256": sha256(predictions),
        **{key: trained[key] for key in ("seed", "hours", "slurm_job", "code", "commit", "command")},
        "config": fingerprint(trained["config"]),
    }
    write_scores(out, evaluate(references, hypotheses), provenance)
