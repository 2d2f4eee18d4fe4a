"""The metric Embedding: the cosine of captions and their pictures in a trained embedding (Shi et al. eq. 6)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

import captionrl
from captionrl.config import model_spec, trained_by
from captionrl.datasets.corpus import split_hash
from captionrl.errors import UserError
from captionrl.evaluation.aggregate import aggregate
from captionrl.evaluation.predict import BATCH
from captionrl.evaluation.results import Result
from captionrl.evaluation.trained import open_clips
from captionrl.files import sha256
from captionrl.text.vocabulary import EOS
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import pad


@torch.inference_mode()
def evaluate_embedding(checkpoint: Path, features: Path, hypotheses: Mapping[str, str]) -> Result:
    """The cosine, times 100, of each item's picture and its caption: words as the policies write them, with spaces.

    The reward model is the embedding of `checkpoint`, and so is the vocabulary. A caption without a word is </s> alone.
    """
    policy, metadata = load_checkpoint(checkpoint)
    if not model_spec(metadata.model).value_network:
        fit = ", ".join(trained_by("embedding"))
        raise UserError(f"{checkpoint}: a captioner without an embedding ({metadata.model}); give one of {fit}")
    clips = open_clips(checkpoint, metadata, features, torch.device("cpu"))
    embedding = policy.get_submodule("similarity")
    ids = sorted(hypotheses)
    most = metadata.corpus_settings.max_words + 1
    tokens = [[*metadata.vocabulary.encode(hypotheses[id].split()), EOS][:most] for id in ids]  # as they were rewarded
    cosines = [
        embedding(clips.batch(ids[first : first + BATCH]), pad(tokens[first : first + BATCH]))
        for first in range(0, len(ids), BATCH)
    ]
    scores = torch.cat(cosines).double().numpy()
    rows = np.column_stack([scores, np.ones(len(ids))])
    fields = [
        "Embedding",
        f"model:{sha256(checkpoint)[:12]}",
        f"items:{len(ids)}",
        f"split:{split_hash(ids)[:8]}",
        f"version:{captionrl.__version__}",
    ]
    return Result(
        metric="Embedding",
        value=float(aggregate("Embedding", rows.sum(axis=0))),
        items=dict(zip(ids, aggregate("Embedding", rows).tolist(), strict=True)),
        statistics=rows,
        signature="|".join(fields),
    )
