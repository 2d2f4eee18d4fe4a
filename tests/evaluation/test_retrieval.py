"""Recall of captions' pictures and of pictures' captions, and what chance has of both."""

import json
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from tiny import World, tiny_world

from captionrl import cli
from captionrl.errors import UserError
from captionrl.evaluation.bootstrap import interval
from captionrl.evaluation.retrieval import SAMPLES, WAYS, chance, places, recalls, render, retrieval_scores
from captionrl.text.vocabulary import EOS
from captionrl.training.checkpoint import load_checkpoint
from captionrl.training.data import FeatureBatches

CAPTION, PICTURE = WAYS
COSINES = torch.tensor(  # of seven captions with four pictures, two folds of two
    [
        [0.9, 0.1, 1.0, 1.0],  # its own comes first: those of the other fold do not count
        [0.2, 0.3, 0.0, 0.0],  # second
        [0.5, 0.5, 0.0, 0.0],  # a tie: second
        [0.0, 0.0, 0.4, 0.1],  # first
        [0.0, 0.0, 0.1, 0.2],  # second
        [0.0, 0.0, 0.3, 0.2],  # second
        [0.0, 0.0, 0.7, 0.8],  # first
    ]
)
OWNER = np.array([0, 0, 1, 2, 2, 3, 3])
PICTURES = torch.eye(4)  # so that a caption is its cosines


def test_places_are_those_of_the_best_own_answer_within_a_fold():
    of_captions, of_pictures = places(PICTURES, COSINES, OWNER, fold=2)
    assert of_captions.tolist() == [0, 1, 1, 0, 1, 1, 0]
    # Picture 0 has 0.9 above 0.5; 1 has 0.5 above 0.3, 0.1; 2 has 0.4 below 0.7; 3 has 0.8 above 0.2, 0.1.
    assert of_pictures.tolist() == [0, 0, 1, 0]


def test_a_picture_tied_with_a_strangers_caption_comes_after_it():
    cosines = torch.tensor([[0.5, 0.5], [0.1, 0.5]])
    _, of_pictures = places(torch.eye(2), cosines, np.array([0, 1]), fold=2)
    assert of_pictures.tolist() == [0, 1]


def test_the_order_of_folds_is_nothing_to_the_places_in_them():
    turned = [3, 4, 5, 6, 0, 1, 2]
    of_captions, of_pictures = places(PICTURES[[2, 3, 0, 1]], COSINES[turned], np.array([0, 0, 1, 1, 2, 2, 3]), fold=2)
    expected = places(PICTURES, COSINES, OWNER, fold=2)
    assert (of_captions.tolist(), of_pictures.tolist()) == (expected[0][turned].tolist(), [1, 0, 0, 0])


def test_recalls_count_every_query_once():
    report = recalls([places(PICTURES, COSINES, OWNER, fold=2)], OWNER, fold=2)
    assert (report["pictures"], report["captions"]) == (4, 7)
    assert report[CAPTION]["recall@1"]["value"] == pytest.approx(100 * 3 / 7)
    assert report[PICTURE]["recall@1"]["value"] == 75
    for way in WAYS:
        assert report[way]["recall@5"]["value"] == report[way]["recall@10"]["value"] == 100
    assert (report[CAPTION]["median rank"], report[PICTURE]["median rank"]) == (2, 1)


def test_intervals_are_over_pictures():
    report = recalls([places(PICTURES, COSINES, OWNER, fold=2)], OWNER, fold=2)
    hits_and_captions = np.array([[1.0, 2], [0, 1], [1, 2], [1, 2]])
    low, high = interval("recall@1", [hits_and_captions], SAMPLES)
    assert (report[CAPTION]["recall@1"]["low"], report[CAPTION]["recall@1"]["high"]) == (low, high)


def test_of_several_seeds_it_is_the_mean():
    one, other = places(PICTURES, COSINES, OWNER, fold=2), (np.zeros(7, int), np.array([3, 3, 3, 3]))
    report = recalls([one, other], OWNER, fold=2)
    assert report[CAPTION]["recall@1"]["value"] == pytest.approx((100 * 3 / 7 + 100) / 2)
    assert report[PICTURE]["recall@1"]["value"] == 37.5
    assert report[PICTURE]["median rank"] == 2.5


@pytest.mark.parametrize("own", [1, 2, 3, 5])
@pytest.mark.parametrize("top", [1, 2, 4, 6, 9])
def test_chance_is_the_share_of_all_orders_that_have_one_of_its_own_at_the_top(own, top):
    tops = list(combinations(range(6), min(top, 6)))  # of six answers, the first `own` of which are right
    assert chance(top, own, 6) == pytest.approx(sum(min(first) < own for first in tops) / len(tops))


def test_chance_is_averaged_over_pictures():
    report = recalls([places(PICTURES, COSINES, OWNER, fold=2)], OWNER, fold=2)
    assert report[CAPTION]["recall@1"]["chance"] == pytest.approx(50)
    assert report[PICTURE]["recall@1"]["chance"] == pytest.approx(100 * np.mean([2 / 3, 1 / 3, 2 / 4, 2 / 4]))
    assert report[PICTURE]["recall@5"]["chance"] == 100


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def checkpoint(world):
    """Of a model that reads four words of a caption."""
    settings = {"max_frames": 5, "max_words": 4, "min_count": 1}
    return world.untrained(
        world.root / "reward-model.safetensors", phase="embedding", model="actor-critic", settings=settings
    )


def found_one_by_one(world, checkpoint, items):
    """Places of captions and of pictures among each other, from cosines of one pair at a time."""
    policy, metadata = load_checkpoint(checkpoint)
    captions, vocabulary, store = world.load()
    clips = FeatureBatches(store, metadata.settings["max_frames"], torch.device("cpu"))
    texts = [
        (item, [*vocabulary.encode(words), EOS][: 5 if len(words) < 5 else 4])
        for item in items
        for words in captions.tokens[item]
    ]
    with torch.inference_mode():
        cosine = {
            (item, number): policy.similarity(clips.batch([item]), torch.tensor([text])).item()
            for item in items
            for number, (_, text) in enumerate(texts)
        }
    of_captions = [
        sum(cosine[other, number] >= cosine[item, number] for other in items if other != item)
        for number, (item, _) in enumerate(texts)
    ]
    of_pictures = [
        sum(cosine[item, number] >= max(cosine[item, own] for own, (whose, _) in enumerate(texts) if whose == item)
            for number, (whose, _) in enumerate(texts) if whose != item)
        for item in items
    ]  # fmt: skip
    return of_captions, of_pictures


def test_a_checkpoint_is_scored_fold_by_fold_in_the_corpus_order(world, checkpoint):
    report = retrieval_scores([checkpoint], world.captions, world.features, "test", 3)
    items = [item.id for item in world.load()[0].items["test"]]
    of_captions, of_pictures = [], []
    for fold in (items[:3], items[3:6]):
        captions, pictures = found_one_by_one(world, checkpoint, fold)
        of_captions += captions
        of_pictures += pictures
    assert {key: report[key] for key in ("split", "seeds", "fold", "left_out", "pictures", "captions")} == {
        "split": "test", "seeds": 1, "fold": 3, "left_out": 1, "pictures": 6, "captions": 12
    }  # fmt: skip
    assert report[CAPTION]["recall@1"]["value"] == pytest.approx(100 * np.mean(np.array(of_captions) == 0))
    assert report[PICTURE]["recall@1"]["value"] == pytest.approx(100 * np.mean(np.array(of_pictures) == 0))
    assert report[CAPTION]["median rank"] == np.median(of_captions) + 1
    assert report[PICTURE]["median rank"] == np.median(of_pictures) + 1


def test_the_command_prints_the_report(world, checkpoint, monkeypatch, capsys):
    arguments = ["retrieval", checkpoint, "--captions", world.captions, "--features", world.features, "--fold", 7]
    for extra in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["captionrl", *map(str, arguments), *extra])
        cli.main()
    report = retrieval_scores([checkpoint], world.captions, world.features, "test", 7)
    printed = capsys.readouterr().out
    assert printed.startswith(render(report) + "\n")
    assert json.loads(printed.removeprefix(render(report))) == report
    lines = render(report).splitlines()
    assert f"{report[CAPTION]['recall@1']['value']:.2f}" in lines[1]
    assert f"chance {100 / 7:.2f}" in lines[1]
    assert "14 captions of 7 test pictures, 7 at a time (0 left out)" in lines[-1]


def refusal(world, checkpoint, fold=3):
    with pytest.raises(UserError) as error:
        retrieval_scores([checkpoint], world.captions, world.features, "test", fold)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_fewer_pictures_than_a_fold_are_refused(world, checkpoint):
    complaint = "7 test items with features, fewer than a fold of 8; give a smaller one (--fold)"
    assert refusal(world, checkpoint, fold=8) == f"{world.captions}: {complaint}"


def test_a_checkpoint_without_an_embedding_is_refused(world, tmp_path):
    path = world.untrained(tmp_path / "xe.safetensors")
    assert refusal(world, path) == f"{path}: a captioner without an embedding (attention); give a run of one with it"
