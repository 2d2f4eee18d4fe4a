"""CLIPScore and RefCLIPScore against their formulas, on a tiny model of random weights."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import tiny_clip
from torch.nn.functional import cosine_similarity

import captionrl
from captionrl.errors import UserError
from captionrl.evaluation.clip_score import Clip, find_pictures

open_clip = pytest.importorskip("open_clip")
REFERENCES = {"2": ["A dog runs.", "a brown dog"], "11": ["A man plays a guitar!"], "7": ["two men", "men", "a band"]}
HYPOTHESES = {"2": "A dog, running fast.", "11": "a guitar", "7": ""}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def clip(model, tmp_path, monkeypatch):
    monkeypatch.setattr(open_clip, "list_pretrained_tags_by_model", lambda name: ["random"])
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for id in REFERENCES:
        Image.fromarray(random.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(folder / f"{id}.png")
    return Clip("tiny/random", model[1], folder)


@torch.no_grad()
def test_scores_are_those_of_the_papers_equations(clip, model):
    """The pictures by open_clip's own preprocessing; captions with capitals and punctuation, as they are written."""
    network, _ = model
    scores = captionrl.score(REFERENCES, HYPOTHESES, ["BLEU-1"], clip=clip)
    assert list(scores) == ["BLEU-1", "CLIPScore", "RefCLIPScore"]
    preprocess = open_clip.image_transform(32, is_train=False)
    tokenise = open_clip.get_tokenizer("tiny")

    def embedded(texts):
        return network.encode_text(tokenise([f"A photo depicts {text}" for text in texts]))

    for id in REFERENCES:
        picture = network.encode_image(preprocess(Image.open(clip.pictures / f"{id}.png")).unsqueeze(0))
        caption = embedded([HYPOTHESES[id]])
        fit = 2.5 * cosine_similarity(picture, caption).clamp(min=0).item()  # eq. 1
        close = cosine_similarity(caption, embedded(REFERENCES[id])).max().clamp(min=0).item()
        both = 2 * fit * close / (fit + close) if fit * close else 0  # eq. 2
        assert scores["CLIPScore"]["items"][id] == pytest.approx(100 * fit, abs=0.02)
        assert scores["RefCLIPScore"]["items"][id] == pytest.approx(100 * both, abs=0.02)
    assert max(scores["CLIPScore"]["items"].values()) > 0
    assert scores["CLIPScore"]["value"] == pytest.approx(np.mean(list(scores["CLIPScore"]["items"].values())))
    signature = scores["RefCLIPScore"]["signature"]
    assert re.fullmatch(
        r"RefCLIPScore\|model:open_clip:tiny/random\|weights:\w{8}\|prefix:A photo depicts\|refs:1-3\|items:3\|.*",
        signature,
    )


def test_the_command_scores_two_systems(clip, tmp_path, command_line):
    for name, content in (
        ("r", REFERENCES),
        ("h", HYPOTHESES),
        ("same", {id: rows[0] for id, rows in REFERENCES.items()}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    files = ["--references", tmp_path / "r.json", "--hypotheses", tmp_path / "h.json", tmp_path / "same.json"]
    options = [
        "--metrics",
        "ROUGE-L",
        "--clip",
        clip.model,
        "--clip-weights",
        clip.weights,
        "--pictures",
        clip.pictures,
    ]
    status, out, _ = command_line("score", *files, *options, "--format", "json")
    assert status == 0
    report = json.loads(out)
    assert list(report["same.json"]) == ["ROUGE-L", "CLIPScore", "RefCLIPScore"]
    assert "p" in report["same.json"]["CLIPScore"]
    status, _, err = command_line("score", *files, *options[:4])
    assert (status, err) == (2, "captionrl score: --clip, --clip-weights, --pictures: CLIPScore needs all three\n")


def test_a_picture_is_found_by_its_name_or_as_coco_names_it(tmp_path):
    for name in ("a.jpg", "b.c.png", "COCO_val2014_000000000042.jpg", "000000000007.jpg", ".hidden.jpg"):
        (tmp_path / name).touch()
    found = find_pictures(tmp_path, ["a", "b.c.png", "42", "7"])
    names = ["a.jpg", "b.c.png", "COCO_val2014_000000000042.jpg", "000000000007.jpg"]
    assert [path.name for path in found.values()] == names
    with pytest.raises(UserError, match=r"no picture of item 'd'; it would be d\.jpg or d\.png, for example"):
        find_pictures(tmp_path, ["d"])
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"2 files for item 'a': a\.jpg, a\.png"):
        find_pictures(tmp_path, ["a"])
    with pytest.raises(UserError, match="none: no such directory"):
        find_pictures(tmp_path / "none", ["a"])


def test_what_cannot_be_scored_is_one_line(clip):
    with pytest.raises(UserError, match="sets of captions are scored without --clip"):
        captionrl.score(REFERENCES, {id: ["a", "b"] for id in REFERENCES}, sets=True, clip=clip)
    given = Clip(clip.model, clip.weights, {"2": clip.pictures / "2.png"})
    with pytest.raises(UserError, match="pictures: none for 2 items, such as '11'"):
        captionrl.score(REFERENCES, HYPOTHESES, ["BLEU-1"], clip=given)
    (clip.pictures / "2.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2\.png"):
        captionrl.score(REFERENCES, HYPOTHESES, ["BLEU-1"], clip=clip)
