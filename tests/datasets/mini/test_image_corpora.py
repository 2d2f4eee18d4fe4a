"""coco-mini and tgif-mini: the real data sets' files, their splits, and what is in the pictures and GIFs."""

import json
import re
from collections import Counter
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from PIL import Image

from captionrl.datasets.coco import read_captions_file, read_images
from captionrl.datasets.mini import write
from captionrl.datasets.mini.draw import render, render_still, write_gif
from captionrl.datasets.mini.stills import triples
from captionrl.datasets.mini.world import ACTORS, held_out
from captionrl.datasets.mini.write import write_world
from captionrl.datasets.read import read_corpus

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


LIST = Path("annotations/image_info_test2014.json")


def unseen(coco):
    """The ids of test images."""
    return {id for id in coco.scenes if "test2014" in id}


def images(annotated):
    return json.loads((annotated.raw / "dataset_coco.json").read_text())["images"]


def words(corpus, *splits):
    captions = [caption for split in splits for item in corpus.split(split) for caption in corpus.captions[item.id]]
    return {word for caption in captions for word in re.findall(r"\w+", caption.lower())}


def durations(path):
    """The milliseconds of every frame, and the frames in RGB."""
    with Image.open(path) as gif:
        found = []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append((gif.info["duration"], np.asarray(gif.convert("RGB"), dtype=int)))
    return [ms for ms, _ in found], [frame for _, frame in found]


def test_coco_has_the_fields_of_karpathys_file(coco):
    sentid = 0
    for number, image in enumerate(images(coco)):
        fields = {"filepath", "filename", "imgid", "cocoid", "sentids", "split", "sentences"}
        assert image.keys() == fields
        assert image["imgid"] == number
        assert image["filepath"] == ("train2014" if image["split"] == "train" else "val2014")
        assert image["filename"] == f"COCO_{image['filepath']}_{image['cocoid']:012d}.jpg"
        assert len(image["sentences"]) == 5
        for sentence in image["sentences"]:
            assert sentence.keys() == {"tokens", "raw", "imgid", "sentid"}
            assert sentence["tokens"] == re.findall(r"[a-z]+", sentence["raw"].lower())
            assert (sentence["imgid"], sentence["sentid"]) == (number, sentid)
            sentid += 1
        assert image["sentids"] == [sentence["sentid"] for sentence in image["sentences"]]
    assert len({image["cocoid"] for image in images(coco)}) == 1900


def test_the_official_reader_reads_coco_with_restval_in_train(coco):
    assert Counter(image["split"] for image in images(coco)) == {"train": 1300, "restval": 200, "val": 150, "test": 250}
    corpus = read_corpus("coco-mini", coco.raw)
    assert Counter(item.split for item in corpus.items) == {"train": 1500, "val": 150, "test": 250}
    assert {len(captions) for captions in corpus.captions.values()} == {5}
    assert {item.id for item in corpus.items} == coco.scenes.keys() - unseen(coco)


def test_cocos_own_file_holds_the_same_captions_of_val2014(coco):
    captions = read_captions_file(coco.raw / "annotations/captions_val2014.json")
    corpus = read_corpus("coco-mini", coco.raw)
    assert captions == {f"{item.id}.jpg": corpus.captions[item.id] for item in corpus.items if "val2014" in item.media}
    assert len(captions) == 600
    cocoids = {image["filename"]: image["cocoid"] for image in images(coco)}
    listed = read_images(coco.raw / "annotations/captions_val2014.json")
    assert listed == {cocoids[name]: name for name in captions}


def test_test_images_have_names_and_numbers_of_their_own_and_no_captions(coco):
    listed = read_images(coco.raw / "annotations/image_info_test2014.json")
    assert len(listed) == 60
    assert all(name == f"COCO_test2014_{id:012d}.jpg" for id, name in listed.items())
    assert not listed.keys() & {image["cocoid"] for image in images(coco)}
    assert "annotations" not in json.loads((coco.raw / "annotations/image_info_test2014.json").read_text())


def test_test_images_show_held_out_triples_too(coco):
    assert all(any(held_out(*triple) for triple in triples(coco.scenes[id])) for id in unseen(coco))


def test_the_list_of_test_images_changes_nothing_else(tiny_worlds, tmp_path):
    for name, unseen in (("some", 3), ("none", 0)):
        write.write_coco(tmp_path / name, 1, unseen=unseen)
    some, none = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("[!.]*.*")}
        for name in ("some", "none")
    )
    del some[LIST], none[LIST]
    assert {path.name for path in some.keys() - none.keys()} == {
        f"COCO_test2014_{13 + 7 * n:012d}.jpg" for n in range(3)
    }
    assert some.items() >= none.items()


def test_no_training_picture_shows_a_held_out_triple_and_every_other_does(coco):
    for item in read_corpus("coco-mini", coco.raw).items:
        shown = [held_out(*triple) for triple in triples(coco.scenes[item.id])]
        assert any(shown) == (item.split != "train")


@pytest.mark.parametrize("name", ["coco", "tgif"])
def test_captions_to_test_on_hold_no_word_that_training_lacks(request, name):
    corpus = read_corpus(f"{name}-mini", request.getfixturevalue(name).raw)
    assert words(corpus, "val", "test") <= words(corpus, "train")


def test_pictures_are_jpegs_of_their_stills(tiny_worlds, tmp_path, coco):
    files = write_world("coco-mini", tmp_path, version="1")
    corpus = read_corpus("coco-mini", tmp_path)
    assert len(corpus.items) == 10
    for item in corpus.items[:4]:  # what comes later is drawn from other random numbers in the tiny data set
        with Image.open(tmp_path / item.media) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (96, 96))
            shown = np.asarray(picture, dtype=int)
        assert np.abs(shown - np.asarray(render_still(coco.scenes[item.id]), dtype=int)).mean() < 8
    tests = {f"test2014/{name}" for name in read_images(tmp_path / LIST).values()}
    assert len(tests) == 3
    annotation = {"dataset_coco.json", str(LIST), "annotations/captions_val2014.json"}
    assert files.keys() == {*annotation, *tests, *(item.media for item in corpus.items)}


def test_the_official_reader_reads_tgif(tgif):
    corpus = read_corpus("tgif-mini", tgif.raw)
    assert {item.id for item in corpus.items} == tgif.scenes.keys()
    counts = {split: Counter(len(corpus.captions[item.id]) for item in corpus.split(split)) for split in SIZES}
    assert {split: sum(found.values()) for split, found in counts.items()} == SIZES
    assert set(counts["train"]) == {1, 2}
    assert 0.6 < counts["train"][1] / SIZES["train"] < 0.9
    assert set(counts["val"]) == set(counts["test"]) == {1, 2, 3}
    assert 8.5 < mean(len(caption.split()) for found in corpus.captions.values() for caption in found) < 10.5


SIZES = {"train": 2400, "val": 150, "test": 250}


def test_tgif_has_a_url_and_a_caption_a_line_and_lists_of_urls(tgif):
    rows = [line.split("\t") for line in (tgif.raw / "tgif-v1.0.tsv").read_text().splitlines()]
    assert all(len(row) == 2 for row in rows)
    listed = {split: (tgif.raw / f"splits/{split}.txt").read_text().split() for split in SIZES}
    assert {url for url, _ in rows} == {url for urls in listed.values() for url in urls}
    for url, _ in rows:
        assert re.fullmatch(r"https://38\.media\.example/[0-9a-f]{32}/tumblr_mini\d{5}_400\.gif", url)


def test_no_training_gif_shows_a_held_out_triple_and_every_other_does(tgif):
    assert {scene.actor for scene in tgif.scenes.values()} == set(ACTORS)
    for item in read_corpus("tgif-mini", tgif.raw).items:
        scene = tgif.scenes[item.id]
        assert held_out(scene.actor, scene.events[0].action, scene.events[0].object) == (item.split != "train")
        assert 2 < scene.seconds < 4


@pytest.fixture(scope="module")
def gifs(tgif, tmp_path_factory):
    """Forty GIFs: [(scene, durations, frames)]."""
    folder, scenes = tmp_path_factory.mktemp("gifs"), list(tgif.scenes.values())[::70]
    for number, scene in enumerate(scenes):
        write_gif(scene, folder / f"{number}.gif")
    return [(scene, *durations(folder / f"{number}.gif")) for number, scene in enumerate(scenes)]


def test_frames_of_a_gif_last_unevenly(gifs):
    every = [ms for _, found, _ in gifs for ms in found]
    assert min(every) >= 40
    assert all(ms % 10 == 0 for ms in every)  # GIF counts in hundredths of a second
    assert mean(ms > 300 for ms in every) < 0.1  # only where nothing moves
    for scene, found, _ in gifs:
        assert len(set(found)) > 2
        assert max(found) > 1.6 * min(found)
        assert 0 <= sum(found) / 1000 - scene.seconds < 0.31


def test_every_frame_of_a_gif_shows_its_own_instant(gifs):
    for scene, found, frames in gifs:
        for index, frame in enumerate(frames):
            drawn = np.asarray(render(scene, sum(found[:index]) / 1000), dtype=int)
            assert np.abs(frame - drawn).mean() < 6  # 64 colours


def test_time_in_a_gif_is_not_its_frames_numbers(gifs):
    """Whoever took frames for evenly spaced would look at other instants."""
    apart = []
    for _, found, _ in gifs:
        starts = np.cumsum([0, *found[:-1]]) / 1000
        even = np.arange(len(found)) * sum(found) / 1000 / len(found)
        apart.append(np.abs(starts - even).max())
    assert mean(apart) > 0.25


def test_gifs_are_written_where_the_reader_looks_and_with_what_it_says(tiny_worlds, tmp_path):
    files = write_world("tgif-mini", tmp_path, version="1")
    corpus = read_corpus("tgif-mini", tmp_path)
    assert len(corpus.items) == 8
    annotation = {"tgif-v1.0.tsv", "splits/train.txt", "splits/val.txt", "splits/test.txt"}
    assert files.keys() == annotation | {item.media for item in corpus.items}
    for item in corpus.items:
        with Image.open(tmp_path / item.media) as gif:
            assert (gif.format, gif.size, gif.is_animated) == ("GIF", (96, 96), True)
