"""The mini world in the real data sets' files: their format, their splits, and the same bytes every time."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from functools import partial
from time import sleep

import av
import numpy as np
import psutil
import pytest

from captionrl.datasets.charades import read_annotations
from captionrl.datasets.mini import write
from captionrl.datasets.mini.draw import render
from captionrl.datasets.mini.world import LABELS, PLACES, frame_labels, held_out
from captionrl.datasets.mini.write import (
    FRAME_RATES,
    MEDIA,
    RENDERED,
    write_charades,
    write_coco,
    write_imagenet,
    write_msrvtt,
    write_tgif,
    write_world,
)
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError

NAMES = ("msrvtt-mini", "charades-mini", "coco-mini", "tgif-mini")
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def contents(raw):
    """{file: bytes} of all that a data set holds."""
    files = {path.relative_to(raw).as_posix(): path for path in raw.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items()) if not path.name.startswith(".")}


def clips(raw):
    return sorted(path for path in raw.rglob("*") if path.suffix in MEDIA)


def triples(annotated, items):
    scenes = [annotated.scenes[item.id] for item in items]
    return {(scene.actor, event.action, event.object) for scene in scenes for event in scene.events}


def test_no_training_scene_has_a_held_out_triple_and_every_other_scene_has(msrvtt):
    corpus = read_corpus("msrvtt-mini", msrvtt.raw)
    assert not any(held_out(*triple) for triple in triples(msrvtt, corpus.split("train")))
    for split in ("val", "test"):
        assert all(held_out(*triple) for triple in triples(msrvtt, corpus.split(split)))


def test_detailed_training_has_no_triple_of_the_test(charades):
    corpus = read_corpus("charades-mini", charades.raw)
    assert not any(held_out(*t) for split in ("train", "val") for t in triples(charades, corpus.split(split)))
    assert all(held_out(*triple) for triple in triples(charades, corpus.split("test")))


def test_the_official_reader_reads_msrvtt(msrvtt):
    corpus = read_corpus("msrvtt-mini", msrvtt.raw)
    assert Counter(item.split for item in corpus.items) == {"train": 700, "val": 100, "test": 200}
    assert {item.id for item in corpus.items} == msrvtt.scenes.keys()
    info = json.loads((msrvtt.raw / "test_videodatainfo.json").read_text())
    for video in info["videos"]:
        scene = msrvtt.scenes[video["video_id"]]
        assert (PLACES[video["category"]], video["end time"]) == (scene.place, scene.seconds)
        assert 3 <= scene.seconds <= 5
    ids = [sentence["sen_id"] for sentence in info["sentences"]]
    assert len(set(ids)) == len(ids) == 4000


def test_the_official_reader_reads_charades(charades):
    corpus = read_corpus("charades-mini", charades.raw)
    counts = Counter(item.split for item in corpus.items)
    assert 800 < counts["train"] + counts["val"] < 900  # some are not verified
    assert 170 < counts["test"] < 200
    actions = {id: list(annotation.actions) for id, annotation in read_annotations(charades.raw).items()}
    assert actions.keys() == charades.scenes.keys()
    classes = dict(line.split(" ", 1) for line in (charades.raw / "Charades_v1_classes.txt").read_text().splitlines())
    for id, timed in actions.items():
        events = charades.scenes[id].events
        assert len(events) in (2, 3)
        said = [(classes[action.cls], action.start, action.end) for action in timed]
        shown = [(f"{event.action} a {event.object}", event.start, event.end) for event in events]
        assert [what for what, *_ in said] == [what for what, *_ in shown]
        assert [t for _, *t in said] == [pytest.approx(t, abs=0.01) for _, *t in shown]


def test_stills_are_labelled_and_show_no_held_out_triple(tiny_worlds, tmp_path, monkeypatch):
    drawn = []

    def draw(scene, time):
        drawn.append((scene, time))
        return render(scene, time)

    monkeypatch.setattr(write, "render", draw)
    write_world("imagenet-mini", tmp_path, version="1")
    with np.load(tmp_path / "images.npz", allow_pickle=False) as file:
        images, labels, heads = file["images"], file["labels"], json.loads(str(file["heads"]))
    assert heads == LABELS
    assert list(heads) == list(LABELS)
    assert (images.shape, images.dtype) == ((30, 96, 96, 3), np.uint8)
    assert ((labels >= 0) & (labels < list(heads.values()))).all()
    for image, row, (scene, time) in zip(images, labels, drawn, strict=True):
        assert (image == np.asarray(render(scene, time))).all()
        assert row.tolist() == list(frame_labels(scene, time).values())
        event = scene.events[0]
        assert not held_out(scene.actor, event.action, event.object)


def test_stills_are_of_no_corpus_clip(tiny_worlds, tmp_path, monkeypatch, msrvtt, charades):
    drawn = []
    monkeypatch.setattr(write, "render", lambda scene, time: drawn.append(scene) or render(scene, time))
    write_world("imagenet-mini", tmp_path, version="1")
    maps = {scene.look for world in (msrvtt, charades) for scene in world.scenes.values()}
    assert len(maps) > 2000
    assert not maps & {scene.look for scene in drawn}


def test_all_frame_rates_occur_in_every_split(msrvtt):
    for split in ("train", "val", "test"):
        items = read_corpus("msrvtt-mini", msrvtt.raw).split(split)
        assert {msrvtt.rates[item.id] for item in items} == set(FRAME_RATES)


def test_clips_are_h264_of_the_stated_length_and_rate(tiny_worlds, tmp_path):
    write_world("msrvtt-mini", tmp_path, version="1")
    lengths = {}
    for file in ("train_val_videodatainfo.json", "test_videodatainfo.json"):
        lengths |= {v["video_id"]: v["end time"] for v in json.loads((tmp_path / file).read_text())["videos"]}
    assert {path.stem for path in clips(tmp_path)} == lengths.keys()
    rates = set()
    for path in clips(tmp_path):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 96, 96)
            rate = stream.average_rate
            frames = sum(1 for _ in container.decode(stream))
            duration = Fraction(container.duration, av.time_base)
        assert abs(frames - lengths[path.stem] * rate) <= 1
        assert abs(duration - Fraction(lengths[path.stem])) <= 1 / rate
        rates.add(rate)
    assert rates == set(FRAME_RATES)


@pytest.mark.parametrize("name", NAMES)
def test_every_item_has_its_clip_and_every_file_is_listed(tiny_worlds, tmp_path, name):
    files = write_world(name, tmp_path, version="1")
    corpus = read_corpus(name, tmp_path)
    assert corpus.items
    assert all((tmp_path / item.media).is_file() for item in corpus.items)
    assert files == {file: len(data) for file, data in contents(tmp_path).items()}
    (tmp_path / "raw.json").write_text("{}")  # what the rule makes of the list
    assert write_world(name, tmp_path, version="1") == files


def test_annotations_alone_are_the_same_bytes_without_a_clip(tiny_worlds, tmp_path):
    whole, alone = tmp_path / "whole", tmp_path / "alone"
    write_world("charades-mini", whole, version="1")
    files = write_world("charades-annotations-mini", alone, version="1")
    texts = {name: data for name, data in contents(whole).items() if not name.endswith(".mp4")}
    assert contents(alone) == texts
    assert files == {name: len(data) for name, data in texts.items()}
    assert {"Charades_v1_train.csv", "Charades_v1_test.csv"} <= texts.keys()
    assert len(clips(whole)) == 8
    assert clips(alone) == []
    corpora = read_corpus("charades-mini", whole), read_corpus("charades-annotations-mini", alone)
    assert corpora[0].captions == corpora[1].captions
    tests = [[item.id for item in corpus.split("test")] for corpus in corpora]
    assert tests[0] == tests[1]  # validation is drawn by people where there are no clips


@pytest.mark.parametrize(
    ("writer", "arguments"),
    [
        (write_msrvtt, {"workers": 1, "sizes": (5, 1, 1)}),
        (write_charades, {"workers": 1, "sizes": (4, 1)}),
        (write_imagenet, {"size": 3}),
        (write_coco, {"workers": 1, "sizes": (3, 1, 1, 1)}),
        (write_tgif, {"workers": 1, "sizes": (3, 1, 1)}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_another_process_with_more_workers_writes_the_same_bytes(tmp_path, writer, arguments):
    here, there = tmp_path / "here", tmp_path / "there"
    writer(here, **arguments)
    if "workers" in arguments:
        arguments = {**arguments, "workers": 2}
    code = (
        f"from pathlib import Path\nfrom captionrl.datasets.mini.write import {writer.__name__} as writer\n"
        f"writer(Path({str(there)!r}), **{arguments})"
    )
    # glibc then fills memory with rubbish before it is used: an encoder that reads what it never wrote shows.
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MALLOC_PERTURB_": "85"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert contents(here) == contents(there)
    assert contents(here)


@pytest.mark.parametrize("name", ["msrvtt-mini", "coco-mini", "tgif-mini"])
def test_a_run_again_renders_only_what_is_missing(tiny_worlds, tmp_path, name):
    write_world(name, tmp_path, version="1")
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in clips(tmp_path)}
    missing = clips(tmp_path)[1]
    missing.unlink()
    write_world(name, tmp_path, version="1")
    assert contents(tmp_path) == before
    assert {path for path in times if path.stat().st_mtime_ns != times[path]} == {missing}


@pytest.mark.parametrize(
    ("name", "unknown"),
    [
        ("msrvtt-mini", "TestVideo/video99.mp4"),
        ("coco-mini", "val2014/COCO_val2014_000000000001.jpg"),
        ("tgif-mini", "gifs/tumblr_mini00099_400.gif"),
    ],
)
def test_another_version_of_the_code_renders_everything_anew(tiny_worlds, tmp_path, name, unknown):
    write_world(name, tmp_path, version="1")
    before = contents(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in clips(tmp_path)}
    clips(tmp_path)[0].write_bytes(b"what the old code drew")
    (tmp_path / unknown).write_bytes(b"what the new code does not know")
    with open(tmp_path / RENDERED, "a") as file:
        file.write(f"{unknown}\n")
    write_world(name, tmp_path, version="2")
    assert contents(tmp_path) == before
    assert all(path.stat().st_mtime_ns != times[path] for path in clips(tmp_path))


def test_an_unknown_world_is_refused_before_anything_is_touched(tmp_path):
    clip = tmp_path / "TestVideo/video1.mp4"
    clip.parent.mkdir()
    clip.write_bytes(b"a real clip")
    with pytest.raises(UserError, match=r"^msrvtt: no such mini data set; there are msrvtt-mini, "):
        write_world("msrvtt", tmp_path, version="1")
    assert clip.exists()
    assert contents(tmp_path) == {"TestVideo/video1.mp4": b"a real clip"}


@pytest.mark.parametrize("file", ["TestVideo/video7010.mp4", "val2014/COCO_val2014_000000000042.jpg", "gifs/a.gif"])
def test_media_of_others_are_never_deleted(tiny_worlds, tmp_path, file):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_bytes(b"a real one")
    with pytest.raises(UserError, match="holds files that `captionrl render` did not write; name an empty directory"):
        write_world("msrvtt-mini", tmp_path, version="1")
    assert contents(tmp_path) == {file: b"a real one"}


@pytest.mark.parametrize("marker", [".version", RENDERED])
def test_a_marker_does_not_make_other_files_ours(tiny_worlds, tmp_path, marker):
    (tmp_path / marker).write_text("1.4.2\n../outside.jpg\n/tmp/outside.jpg\n")
    (tmp_path / "holiday.jpg").write_bytes(b"a real one")
    (tmp_path.parent / "outside.jpg").write_bytes(b"a real one")
    with suppress(UserError):
        write_world("charades-annotations-mini", tmp_path, version="1")
    assert (tmp_path / "holiday.jpg").read_bytes() == (tmp_path.parent / "outside.jpg").read_bytes() == b"a real one"


def test_what_a_user_adds_to_a_rendered_world_stays(tiny_worlds, tmp_path):
    write_world("tgif-mini", tmp_path, version="1")
    (tmp_path / "gifs/mine.gif").write_bytes(b"a real one")
    write_world("tgif-mini", tmp_path, version="2")
    assert (tmp_path / "gifs/mine.gif").read_bytes() == b"a real one"


def test_annotation_of_others_is_never_overwritten(tiny_worlds, tmp_path):
    (tmp_path / "Charades_v1_train.csv").write_text("mine")
    with pytest.raises(UserError, match="holds files that"):
        write_world("charades-annotations-mini", tmp_path, version="1")
    assert contents(tmp_path) == {"Charades_v1_train.csv": b"mine"}


COMMAND = [sys.executable, "-c", "from captionrl.cli import main; main()", "render", "tgif-mini", "--workers", "2"]


def test_an_interrupt_of_all_processes_is_one_line(tmp_path):
    hears = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a job in the background does not
    render = subprocess.Popen(
        [*COMMAND, "--raw", tmp_path], stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hears
    )
    while not list(tmp_path.glob("gifs/*.gif")):
        sleep(0.05)
    os.killpg(render.pid, signal.SIGINT)
    said = [line for line in render.communicate()[1].splitlines() if line and not line.startswith("rendering")]
    assert (render.returncode, said) == (128 + signal.SIGINT, ["captionrl render: interrupted"])


def test_workers_of_a_killed_command_end(tmp_path):
    render = subprocess.Popen([*COMMAND, "--raw", tmp_path], stderr=subprocess.DEVNULL)
    while len(workers := psutil.Process(render.pid).children()) < 2:
        sleep(0.05)
    render.kill()
    render.wait()
    assert psutil.wait_procs(workers, timeout=20)[1] == []
