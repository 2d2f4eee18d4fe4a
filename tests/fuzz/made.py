"""What commands have written, for others to read."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from files import ROOT, Files, as_json, folder_of, lines


def prepared() -> list[Files]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from captionrl.datasets.attributes import Attribute, Attributes
    from captionrl.datasets.prepared import SCHEMA
    from captionrl.datasets.segment import segment
    from captionrl.datasets.segments import write_segments
    from captionrl.text.vocabulary import Vocabulary

    def write(folder: Path) -> None:
        tokens = ["a", "man", "cooks", "."]
        parts = [("train", "v0"), ("val", "v1"), ("test", "v2")]
        rows = [
            {"item": item, "split": split, "index": k, "raw": "A man.", "tokens": tokens}
            for split, item in parts
            for k in range(2)
        ]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "captions.parquet", compression="zstd")
        (folder / "splits").mkdir()
        for split, item in parts:
            (folder / f"splits/{split}.txt").write_text(f"{item}\tclips/{item}.mp4\n")
        Vocabulary.build([tokens], 1).save(folder / "vocabulary.json")
        write_segments(folder / "segments.parquet", segment({item: [tokens] * 2 for _, item in parts}, "shallow"))
        Attributes((Attribute("cook", "verb", 2, 1, ("cooks",)),)).save(folder / "attributes.tsv")
        (folder / "segments.json").unlink()

    return [folder_of(write)]


def read_prepared(folder: Path, out: Path) -> None:
    from captionrl.datasets.attributes import Attributes
    from captionrl.datasets.prepared import load_captions
    from captionrl.datasets.segments import load_segments
    from captionrl.text.vocabulary import Vocabulary

    captions = load_captions(folder)
    Vocabulary.load(folder / "vocabulary.json")
    load_segments(folder / "segments.parquet", captions.tokens)
    Attributes.load(folder / "attributes.tsv").of([["a"]])


def store() -> list[Files]:
    import numpy as np

    from captionrl.features.store import write_store
    from captionrl.files import write_json

    attributes = {
        "backbone": "mini",
        "weights_sha256": "0" * 64,
        "fps": 3.0,
        "transform": "none",
        "code_version": "1",
        "dim": 6,
    }

    def write(folder: Path) -> None:
        arrays = [(f"clip{k}", np.full((k + 2, 6), k, np.float16)) for k in range(3)]
        manifest = write_store(folder / "a.h5", arrays, attributes)
        write_json(folder / "a.json", manifest | {"failures": {}})

    return [folder_of(write)]


def read_store(folder: Path, out: Path) -> None:
    from captionrl.features.store import FeatureStore
    from captionrl.files import read_json

    read_json(folder / "a.json")
    store = FeatureStore(folder / "a.h5")
    for item in store.items:
        store.read(item)


def captions() -> list[Files]:
    images = [{"id": k} for k in range(3)]
    plain = {str(k): ["a cat", "one cat"] for k in range(3)}
    coco = {"images": images, "annotations": [{"image_id": k, "caption": "a cat"} for k in (0, 1, 2, 0)]}
    results = [{"image_id": k, "caption": "a dog"} for k in range(3)]
    return [
        as_json(references=plain, hypotheses={str(k): "a dog" for k in range(3)}),
        as_json(references=coco, hypotheses=results),
        {**as_json(references=coco), "hypotheses.jsonl": lines(*map(json.dumps, results))},
    ]


def read_captions(folder: Path, out: Path) -> None:
    """All of `captionrl score` but for its tokeniser and its metrics, which are other people's programs."""
    from captionrl.evaluation.captions import read_hypotheses, read_references

    for path in folder.iterdir():
        (read_references if path.stem == "references" else read_hypotheses)(path)


def scores() -> list[Files]:
    import numpy as np

    from captionrl.evaluation.results import Result, write_scores

    def write(folder: Path) -> None:
        result = Result("CIDEr-D", 3.0, {"a": 1.0, "b": 5.0}, np.array([[1.0, 2.0], [5.0, 6.0]]), "CIDEr-D|refs:5")
        write_scores(folder / "seed1.json", {"CIDEr-D": result}, {"seed": 1, "hours": 0.5})
        table = lines(
            "method,source,corpus,scale,seeds,CIDEr-D,CIDEr-D_low,CIDEr-D_high",
            "XE,ours,msrvtt-mini,mini,3,31.2,30.1,32.9",
            "XE,cited,msrvtt,paper,,41.2,,",
        )
        (folder / "table1.csv").write_bytes(table)
        (folder / "published.csv").write_bytes(table)
        (folder / "curve.csv").write_bytes(lines("update,epoch,val_cider", "0,0.0,0.1", "5,1.0,0.5"))
        images = {"images": [{"id": 1, "file_name": "COCO_val2014_000000000001.jpg"}], "annotations": []}
        (folder / "captions_val2014.json").write_text(json.dumps(images))
        (folder / "captions_val2014_hrl_results.json").write_text('[{"image_id": 1, "caption": "a cat"}]')

    return [folder_of(write)]


def read_scores(folder: Path, out: Path) -> None:
    from captionrl.datasets.coco import read_images, read_media
    from captionrl.evaluation.results import read_scores
    from captionrl.evaluation.submit import validate
    from captionrl.tables.compare import compare
    from captionrl.tables.curves import _numbers
    from captionrl.tables.metrics import read_tables
    from captionrl.tables.validations import read_validations

    read_scores(folder / "seed1.json")
    compare(folder / "table1.csv", folder / "published.csv")
    read_tables([folder / "table1.csv"])
    (rows,) = read_validations([folder / "curve.csv"], stops_early=True)
    _numbers(folder / "curve.csv", rows)
    images = folder / "captions_val2014.json"
    read_media(images)
    validate(folder / "captions_val2014_hrl_results.json", read_images(images))


def checkpoints() -> list[Files]:
    import torch

    from captionrl.config import load_paper, model_spec
    from captionrl.models import build_module
    from captionrl.training.checkpoint import Metadata, save_checkpoint

    words = ["<pad>", "<s>", "</s>", "<unk>", "a", "man"]
    small = {
        "projection": 2,
        "encoder": 2,
        "decoder": 3,
        "attention": 2,
        "embedding": 2,
        "goal": 2,
        "manager": 2,
        "manager_encoder": 2,
        "boundary_critic": 2,
    }

    def write(model: str, folder: Path) -> None:
        kind = model_spec(model).sizes
        given = load_paper(ROOT / "papers/hrl", "mini").sizes | small
        sizes = kind(**{name: value for name, value in given.items() if name in kind.model_fields})
        settings = {"max_frames": 5, "max_words": 6, "min_count": 1}
        facts = {
            "paper": "hrl",
            "run": "xe",
            "phase": "xe",
            "corpus": "msrvtt-mini",
            "seed": 1,
            "model": model,
            "visual_input": True,
            "features": 3,
        }
        facts |= {
            "sizes": sizes.model_dump(),
            "settings": settings,
            "words": words,
            "backbone": "mini",
            "backbone_sha256": "0",
            "fps": 3.0,
        }
        facts |= {"updates": 9, "best_update": 9, "val_score": 0.5, "config": "c", "code": "v"}
        torch.manual_seed(0)
        module = build_module(model, 3, len(words), sizes)
        save_checkpoint(folder / "seed1.safetensors", module, Metadata(**facts), {"baseline": torch.ones(2)})

    return [folder_of(partial(write, model)) for model in ("s2vt", "attention", "hrl", "boundary-critic")]


def read_checkpoint(folder: Path, out: Path) -> None:
    from captionrl.training.checkpoint import load_beside, load_module

    path = folder / "seed1.safetensors"
    _, metadata = load_module(path)
    load_beside(path)
    _ = metadata.vocabulary, metadata.corpus_settings


def provenance() -> list[Files]:
    phase = {"objective": "value", "epochs": 1, "optimiser": "adam", "learning_rate": 0.1, "eos_in_reward": True}
    facts = {"seed": 1, "hours": 0.5, "slurm_job": None, "code": "c", "commit": "d", "command": "captionrl train"}
    facts |= {"config": {"run": {"visual_input": True}, "phase": phase}, "inputs": {"features": {"backbone": "mini"}}}
    return [{**as_json(seed1=facts), "seed1.safetensors": b"x"}]


def read_provenance(folder: Path, out: Path) -> None:
    from captionrl.evaluation.score_run import _provenance
    from captionrl.evaluation.value import rewarded_phase

    checkpoint = folder / "seed1.safetensors"
    _provenance(checkpoint, checkpoint)
    rewarded_phase(checkpoint)


def weights() -> list[Files]:
    import torch

    from captionrl.features.backbones import MiniResNet, save_mini

    torch.manual_seed(0)
    model = MiniResNet({"actor": 2})
    state = {name: value[:2].clone() if value.ndim else value for name, value in model.state_dict().items()}

    def old(folder: Path) -> None:
        torch.save(state, folder / "mini.pth", _use_new_zipfile_serialization=False)

    return [
        folder_of(lambda folder: save_mini(model, folder / "mini.safetensors")),
        folder_of(lambda folder: torch.save(state, folder / "mini.pt")),
        folder_of(old),
    ]


def read_weights(folder: Path, out: Path) -> None:
    from captionrl.features.backbones import load_backbone
    from captionrl.features.weights import read_weights

    (path,) = folder.iterdir()
    read_weights(path) if path.suffix != ".safetensors" else load_backbone("mini", path)


class Learner:
    """One layer to train."""

    batches, metric = 4, "score"

    def __init__(self) -> None:
        import torch

        torch.manual_seed(0)
        self.module = torch.nn.Linear(3, 2)

    def parameter_groups(self) -> Any:
        return [(list(self.module.parameters()), 1.0)]

    def loss(self, epoch: int, index: int) -> Any:
        return self.module.weight.sum() ** 2, {"loss": 1.0}

    def validate(self) -> dict[str, float]:
        return {"score": 0.5}


def training(folder: Path) -> Any:
    from captionrl.config import XEPhase
    from captionrl.training.loop import Training

    phase = XEPhase(objective="xe", optimiser="adam", learning_rate=0.1, lr_schedule="plateau", lr_patience=2, epochs=3)
    return Training(Learner(), phase, folder, 1, None)


def states() -> list[Files]:
    from captionrl.state import open_state

    def write(folder: Path) -> None:
        with open_state(folder, {"a": 1}, "a title") as directory:
            run = training(directory)
            run.validate()
            for _ in range(3):
                run.step(log_every=1)
            run.save()
        (directory / "state.pt").rename(folder / "state.pt")
        (directory / "identity.json").rename(folder / "identity.json")
        (directory / "lock").unlink()

    return [folder_of(write)]


def read_state(folder: Path, out: Path) -> None:
    from captionrl.state import list_states

    list_states(folder)
    training(folder)
