"""Steps 1 to 3 on the five real clips of MSVD and their 175 captions, from their own files.

Step 1 learns the captions by heart: what it then holds possible are these and no others, so that reinforcement can only
choose among them. A smaller model that learned less, reinforced faster, also made captions of its own.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from captionrl.config import load_paper
from captionrl.config.backbones import MINI
from captionrl.datasets.mine import mine
from captionrl.datasets.prepare import prepare
from captionrl.datasets.prepared import load_captions
from captionrl.datasets.read import read_corpus
from captionrl.evaluation.predict import predict
from captionrl.features.backbones import MiniResNet, normalise, save_mini
from captionrl.features.extract import extract
from captionrl.features.frame_sampler import frame_sampler
from captionrl.features.frames import unpack
from captionrl.features.store import FeatureStore
from captionrl.training.run import Job, train_phase

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT.parent / "shared/data/msvd"
BRIEF = {
    "optimiser": "adam",
    "batch": 256,
    "validate_every": 1,
    "lr_schedule": "linear",
}  # one batch holds all captions
OVERRIDES = {
    "backbone": "mini-frames",
    "corpora": {"msvd": {"max_frames": 5, "max_words": 34, "min_count": 1, "tagger": "dictionary"}},
    "sizes": {"decoder": 256, "embedding": 64, "projection": 64, "attributes": 50, "dropout": 0, "init": 0.2},
    "phases": {
        "xe": {**BRIEF, "epochs": 300, "validate_every": 300, "learning_rate": 0.005},
        "rfc-plus": {**BRIEF, "epochs": 20, "validate_every": 10, "learning_rate": 0.0001},
        "e2e": {
            **BRIEF, "epochs": 10, "validate_every": 5, "learning_rate": 0.00005, "cnn_rate": 0.1,
            "gradient_accumulation_steps": 1, "frames_at_once": 200,
        },
    },
}  # fmt: skip


def write_cnn(store: Path, path: Path) -> None:
    """A CNN of random weights, for want of ImageNet's, with batch statistics of the clips' own frames."""
    torch.manual_seed(0)
    model, frames = MiniResNet({}), FeatureStore(store)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    pictures = np.concatenate([unpack(frames.read(item)) for item in frames.items])
    with torch.no_grad():
        model.train()(normalise(torch.from_numpy(pictures), MINI.mean, MINI.std))
    save_mini(model, path)


@pytest.mark.slow
def test_the_model_reproduces_a_reference_caption_of_each_real_clip(tmp_path):
    if not SAMPLE.is_dir():
        pytest.skip("the real MSVD clips (../shared/data/msvd) are not on this machine")
    raw, captions = tmp_path / "raw", tmp_path / "captions"
    clips = json.loads((SAMPLE / "captions_5clips.json").read_text())
    (raw / "YouTubeClips").mkdir(parents=True)
    lines, numbers = [], []
    for part, first in (("", 1), ("val", 1201), ("test", 1301)):  # a corpus needs three parts: the same five in each
        for number, (file, texts) in enumerate(clips.items(), start=first):
            clip = part + Path(file).stem
            (raw / "YouTubeClips" / f"{clip}.avi").symlink_to(SAMPLE / "clips" / file)
            lines += [f"{clip} {text}\n" for text in texts]
            numbers.append(f"{clip} vid{number}\n")
    (raw / "AllVideoDescriptions.txt").write_text("".join(lines))
    (raw / "youtube_mapping.txt").write_text("".join(numbers))

    prepare(read_corpus("msvd", raw), captions, min_count=1)
    items = [(item.id, raw / item.media) for part in load_captions(captions).items.values() for item in part]
    store = tmp_path / "frames.h5"
    manifest = store.with_suffix(".json")
    extract(items, frame_sampler("mini-frames", 5), store, manifest, state=tmp_path / "state", code_version="1")
    mine(load_captions(captions), "dictionary", 50).save(tmp_path / "attributes.tsv")
    write_cnn(store, tmp_path / "mini.safetensors")

    paper = load_paper(ROOT / "papers/e2e", "paper", OVERRIDES)
    torch.set_num_threads(2)
    start = None
    for run, phase in (("s2vt", "xe"), ("rfc-plus", "rfc-plus"), ("e2e", "e2e")):
        out = tmp_path / run / phase / "seed1.safetensors"
        weights = None if start else tmp_path / "mini.safetensors"
        train_phase(
            paper,
            Job(
                run=run, phase=phase, corpus="msvd", seed=1, captions=captions, features=store, segments=None,
                attributes=tmp_path / "attributes.tsv", weights=weights, start=start, out=out,
                state=tmp_path / "state", device="cpu", precision="float32",
            ),
        )  # fmt: skip
        start = out
    predict(start, captions, store, tmp_path / "found.json", split="train", beam=3, device="cpu")
    found = json.loads((tmp_path / "found.json").read_text())
    references = {
        item: {" ".join(tokens) for tokens in texts} for item, texts in load_captions(captions).tokens.items()
    }
    assert len(found) == 5
    assert len(set(found.values())) == 5
    for item, caption in found.items():
        assert caption in references[item], f"{item}: {caption}"
