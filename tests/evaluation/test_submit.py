"""The files for COCO's evaluation server: what is in them, what is refused, and that COCO's own code reads them."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch
from tiny import World, tiny_world, write_features

from captionrl.decoding.beam import beam_search
from captionrl.errors import UserError
from captionrl.evaluation import submit as module
from captionrl.evaluation.submit import submit, validate
from captionrl.files import write_json
from captionrl.text.vocabulary import EOS, PAD
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import FeatureBatches

IDS = (523573, 1, 57, 100)
LISTED = {id: f"COCO_test2014_{id:012d}.jpg" for id in IDS}
NAME = "captions_test2014_stackcap_results.json"
BEAM = 3


def image_list(path, names=LISTED):
    write_json(path, {"images": [{"id": id, "file_name": name} for id, name in names.items()], "annotations": []})
    return path


def stem(id):
    return Path(LISTED[id]).stem


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """With random features of the listed images, besides the corpus' own."""
    world = tiny_world(tmp_path_factory.mktemp("world"))
    write_features(world.root / "test2014.h5", [stem(id) for id in IDS], seed=1)
    image_list(world.root / "image_info_test2014.json")
    return world


@pytest.fixture(scope="module")
def checkpoint(world):
    return world.untrained(world.root / "a.safetensors")


@pytest.fixture
def written(world, checkpoint, tmp_path):
    """What `submit` writes, with `changes` of what it is given."""

    def written(**changes):
        files = {"checkpoint": checkpoint, "images": world.root / "image_info_test2014.json"}
        files |= {"features": world.root / "test2014.h5", "out": tmp_path / NAME}
        given = files | {"beam": BEAM, "device": "cpu"} | changes
        submit(**given)
        return json.loads(given["out"].read_text())

    return written


@pytest.fixture
def refusal(written, tmp_path):
    """The one line with which `submit` refuses, and writes nothing."""

    def refusal(**changes):
        with pytest.raises(UserError) as error:
            written(**changes)
        assert "\n" not in str(error.value)
        assert not list(tmp_path.glob("captions_*"))
        return str(error.value)

    return refusal


def test_every_listed_image_stands_once_in_the_order_of_its_number(written):
    results = written()
    assert [result["image_id"] for result in results] == sorted(IDS)
    assert all(result.keys() == {"image_id", "caption"} for result in results)
    assert len({result["caption"] for result in results}) > 1


def test_captions_are_the_best_of_beam_search(written, world, checkpoint):
    policy, metadata = load_checkpoint(checkpoint)
    clips = FeatureBatches(
        module.FeatureStore(world.root / "test2014.h5"), metadata.settings["max_frames"], torch.device("cpu")
    )
    for result in written():
        memory = policy.encode(clips.batch([stem(result["image_id"])]))
        tokens, _ = beam_search(policy, memory, metadata.settings["max_words"] + 1, BEAM)
        assert result["caption"] == " ".join(metadata.vocabulary.decode(tokens[0, 0].tolist()))


def first_words(monkeypatch, *captions):
    """Have beam search find these captions, lists of token ids, of every item."""

    def found(policy, memory, max_tokens, width, length_normalised):
        rows = [[*caption, EOS, *[PAD] * (5 - len(caption))] for caption in captions]
        return torch.tensor([rows[:width]] * len(memory.first_words())), None

    monkeypatch.setattr(module, "beam_search", found)


def test_an_empty_caption_gives_way_to_the_next_that_holds_a_word(monkeypatch, written, world):
    vocabulary = world.load()[1]
    stop, man = vocabulary.encode([".", "man"])
    first_words(monkeypatch, [], [stop], [stop, man], [man])
    assert {result["caption"] for result in written()} == {". man"}


def test_a_beam_without_a_word_is_refused(monkeypatch, refusal):
    first_words(monkeypatch, [], [])
    said = refusal(beam=2)
    assert (
        "a.safetensors: no word in any caption of a beam of 2 of 4 images, such as 523573; search with a wider" in said
    )


def test_the_servers_code_scores_an_empty_caption_0_and_the_others_as_ever():
    """Why we may send what we like of empty captions, and why any word is better."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    references = {1: ["a man rides a horse"], 2: ["a dog sleeps on the grass"], 3: ["a cat sits"]}
    whole = {1: ["a man rides a horse"], 2: ["a dog sleeps"], 3: ["a cat"]}
    for scorer in (Bleu(4), Cider(), Rouge()):
        with redirect_stdout(StringIO()):
            scores = [scorer.compute_score(references, {**whole, 3: [text]})[1] for text in ("a cat", "")]
        with_word, empty = (items[0] if isinstance(scorer, Bleu) else items for items in scores)
        assert empty[2] == 0 < with_word[2]
        assert list(empty[:2]) == pytest.approx(list(with_word[:2]))


def test_cocos_own_code_loads_the_file_and_finds_a_caption_of_every_image(written, world, tmp_path):
    from pycocotools.coco import COCO

    written()
    with redirect_stdout(StringIO()):
        results = COCO(world.root / "image_info_test2014.json").loadRes(str(tmp_path / NAME))
    assert sorted(results.getImgIds()) == sorted(IDS)
    assert {id: len(found) for id, found in results.imgToAnns.items()} == dict.fromkeys(IDS, 1)


def test_images_without_features_are_counted(refusal, world, tmp_path):
    write_features(tmp_path / "few.h5", [stem(1)])
    said = refusal(features=tmp_path / "few.h5")
    assert "few.h5: 3 of the 4 images of " in said
    assert "have no features, such as COCO_test2014_000000523573; extract them" in said


@pytest.mark.parametrize(
    "name",
    [
        "captions_val2014_stackcap_results.json",
        "captions_test2014_stack-cap_results.json",
        "captions_test2014_results.json",
        "captions_test2014_stackcap_results.jsonl",
        "results.json",
    ],
)
def test_another_name_than_the_server_takes_is_refused(refusal, tmp_path, name):
    assert f"{name}: the server wants the name captions_test2014_ALG_results.json" in refusal(out=tmp_path / name)


def test_images_of_two_parts_are_refused(refusal, tmp_path):
    both = {1: LISTED[1], 2: "COCO_val2014_000000000002.jpg"}
    assert "images of test2014, val2014; a file" in refusal(images=image_list(tmp_path / "both.json", both))


def test_a_list_without_images_is_refused(refusal, tmp_path):
    assert "images of no part" in refusal(images=image_list(tmp_path / "none.json", {}))


def test_features_of_another_backbone_are_refused(refusal, tmp_path):
    write_features(tmp_path / "other.h5", [stem(id) for id in IDS], weights_sha256="1" * 64)
    assert "other.h5: features of another backbone" in refusal(features=tmp_path / "other.h5")


def test_equal_inputs_give_equal_bytes(written, tmp_path):
    written()
    first = (tmp_path / NAME).read_bytes()
    written()
    assert (tmp_path / NAME).read_bytes() == first


RESULTS = [{"image_id": id, "caption": "a man"} for id in IDS]


def test_a_right_file_of_anybody_is_valid(tmp_path):
    write_json(tmp_path / NAME, RESULTS)
    validate(tmp_path / NAME, LISTED)


WRONG = "[0]: must be an image_id, a whole number, and a caption, a text; write it again"


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"annotations": RESULTS}, "must be a list of image_id and caption"),
        (RESULTS[1:], "1 images have no caption, such as 523573"),
        ([*RESULTS, RESULTS[0]], "[4].image_id: 523573 has a caption already"),
        ([*RESULTS, {"image_id": 2, "caption": "a man"}], "[4].image_id: 2 is not among the images to caption"),
        ([{"image_id": "1", "caption": "a man"}], WRONG),
        ([{"image_id": 1}], WRONG),
        ([{"image_id": 1, "caption": ["a man"]}], WRONG),
        ([{"image_id": 1, "caption": " "}], "[0].caption: ' ' holds no word; write one"),
        ([{"image_id": 1, "caption": " . "}], "[0].caption: ' . ' holds no word"),
        (["a man"], WRONG),
    ],
)
def test_each_fault_of_a_file_is_one_line_that_names_file_and_place(tmp_path, results, message):
    write_json(tmp_path / NAME, results)
    with pytest.raises(UserError) as error:
        validate(tmp_path / NAME, LISTED)
    assert str(error.value).startswith(f"{tmp_path / NAME}: {message}")


def test_a_file_under_another_name_is_not_valid(tmp_path):
    write_json(tmp_path / "results.json", RESULTS)
    with pytest.raises(UserError, match=r"the server wants the name captions_test2014_ALG_results\.json"):
        validate(tmp_path / "results.json", LISTED)
