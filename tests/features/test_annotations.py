import csv
import io
import json

import numpy as np
import pytest

from captionrl.datasets.charades import CLASSES, read_annotations
from captionrl.datasets.formats import CHARADES_HEADER as HEADER
from captionrl.datasets.mini.write import write_charades
from captionrl.datasets.prepare import prepare
from captionrl.datasets.prepared import load_captions
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError
from captionrl.features.annotations import write_annotations
from captionrl.features.store import FeatureStore
from captionrl.features.video import sample_frames
from captionrl.files import sha256

ROWS = {  # id: scene, objects, actions, length
    "train": {
        "AAAA": ("Kitchen", "food;Stove", "c001 1.00 2.00;c156 0.00 9.00;c001 1.5 2.5", "5.00"),
        "BBBB": (" bedroom ", "", "", ""),
        "CCCC": ("Kitchen", "food;;cup / glass ", "c000 0.40 0.45;c002 3.90 8.00;c003 4.01 5.00", "4.00"),
    },
    "test": {"ZZZZ": ("Garage", "car;food", "c005 1 3.5;c006 0.7 0.2", "0")},
}
CONSTANT = ["scene bedroom", "scene kitchen", "object cup / glass", "object food", "object stove"]


def write_csv(raw, rows):
    raw.mkdir(exist_ok=True)
    for split, videos in rows.items():
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(HEADER.split(","))
        for id, (scene, objects, actions, length) in videos.items():
            writer.writerow([id, "S", scene, 6, 7, "Yes", "A man cooks.", objects, "", actions, length])
        (raw / f"Charades_v1_{split}.csv").write_text(text.getvalue())


def changed(split, id, field, value):
    """ROWS but for one field."""
    row = list(ROWS[split][id])
    row[field] = value
    return ROWS | {split: ROWS[split] | {id: row}}


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    """The prepared corpus of ROWS."""
    directory = tmp_path_factory.mktemp("corpus")
    write_csv(directory / "raw", ROWS)
    prepare(read_corpus("charades", directory / "raw"), directory / "captions", min_count=1)
    return directory / "captions"


@pytest.fixture
def call(captions, tmp_path):
    """The store and the manifest of the rows."""

    def call(rows=ROWS, fps=2.0, name="a"):
        write_csv(tmp_path / "raw", rows)
        out = tmp_path / f"{name}.h5"
        write_annotations(captions, tmp_path / "raw", out, fps=fps, code_version="1")
        return FeatureStore(out), json.loads(out.with_suffix(".json").read_text())

    return call


def on(store, manifest, item):
    """{column: the frames in which it is 1}; everything else is 0."""
    array = store.read(item)
    assert set(np.unique(array)) <= {0, 1}
    columns = manifest["columns"]
    return {columns[number]: np.flatnonzero(array[:, number]).tolist() for number in np.flatnonzero(array.any(0))}


def test_frames_say_which_actions_are_on(call):
    store, manifest = call()
    every = list(range(10))
    assert store.read("AAAA").shape == (10, 157 + 5)
    assert on(store, manifest, "AAAA") == {
        "action c001": [2, 3, 4],  # 1.0 to 2.5 s at 2 frames a second, from two actions that overlap
        "action c156": every,  # it outlasts the clip
        "scene kitchen": every,
        "object food": every,
        "object stove": every,
    }
    assert on(store, manifest, "CCCC") == {
        "action c000": [0],  # shorter than a frame
        "action c002": [7],  # c003 starts after the clip
        "scene kitchen": list(range(8)),
        "object cup / glass": list(range(8)),
        "object food": list(range(8)),
    }


def test_a_clip_of_no_stated_length_ends_with_its_last_action_and_has_a_frame(call):
    store, manifest = call()
    assert on(store, manifest, "BBBB") == {"scene bedroom": [0]}
    assert len(store.read("ZZZZ")) == 7
    assert on(store, manifest, "ZZZZ")["action c005"] == [2, 3, 4, 5, 6]
    assert on(store, manifest, "ZZZZ")["action c006"] == [1]  # its end is before its start


def test_scenes_and_objects_are_those_of_training(call):
    store, manifest = call()
    assert manifest["columns"] == [*(f"action {cls}" for cls in CLASSES), *CONSTANT]
    assert [column for column in on(store, manifest, "ZZZZ") if "action" not in column] == ["object food"]


def test_the_manifest_describes_the_store(call, captions, tmp_path):
    store, manifest = call()
    assert store.items == [item.id for part in load_captions(captions).items.values() for item in part]
    assert {name: manifest[name] for name in store.attributes} == store.attributes
    assert (store.dim, store.attributes["backbone"], store.attributes["fps"]) == (162, "annotations", 2.0)
    assert (manifest["items"], manifest["frames"], manifest["failures"]) == (4, 10 + 1 + 8 + 7, {})
    call(name="b")
    assert sha256(tmp_path / "a.h5") == sha256(tmp_path / "b.h5")
    assert sha256(tmp_path / "a.json") == sha256(tmp_path / "b.json")


@pytest.mark.parametrize(
    "change",
    [
        ("train", "BBBB", 0, "kitchen"),
        ("train", "AAAA", 1, "food;chair"),
        ("test", "ZZZZ", 1, "car"),
        ("test", "ZZZZ", 2, "c005 1 3.5"),
        ("train", "CCCC", 3, "4.50"),
    ],
)
def test_identity_and_digest_depend_on_the_csv_files(call, change):
    (before, was), (after, now) = call(), call(changed(*change), name="b")
    assert before.attributes["weights_sha256"] != after.attributes["weights_sha256"]
    assert was["sha256"] != now["sha256"]


@pytest.mark.parametrize("fps", [1.0, 3.0, 12.5, 30.0])
def test_frames_cover_the_length_at_any_rate(call, fps):
    store, _ = call(changed("train", "AAAA", 3, "0.1"), fps=fps)
    assert len(store.read("AAAA")) == {1.0: 1, 3.0: 1, 12.5: 2, 30.0: 3}[fps]
    assert len(store.read("CCCC")) == 4 * fps


def test_mistakes_are_named(call, tmp_path):
    with pytest.raises(UserError, match=r"Charades_v1_train.csv: line 2: length: 'long'"):
        call(changed("train", "AAAA", 3, "long"))
    with pytest.raises(UserError, match=r"Charades_v1_test.csv: line 2: actions: 'c157 1 2'"):
        call(changed("test", "ZZZZ", 2, "c157 1 2"))
    with pytest.raises(UserError, match=r"item ZZZZ of .* is not in Charades_v1_train.csv nor Charades_v1_test.csv"):
        call(ROWS | {"test": {"YYYY": ROWS["test"]["ZZZZ"]}})
    with pytest.raises(UserError, match="positive number of frames a second, not 0"):
        call(fps=0)
    assert not list(tmp_path.glob("*.h5"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_the_mini_worlds_events_are_in_the_frames_that_extraction_samples(tmp_path):
    write_charades(tmp_path, 1, sizes=(6, 2))
    prepare(read_corpus("charades-mini", tmp_path), tmp_path / "captions", min_count=1)
    write_annotations(tmp_path / "captions", tmp_path, tmp_path / "a.h5", fps=3.0, code_version="1")
    store, annotations = FeatureStore(tmp_path / "a.h5"), read_annotations(tmp_path)
    columns = json.loads((tmp_path / "a.json").read_text())["columns"]
    assert len(store) > 4
    for item in store.items:
        array, annotation = store.read(item), annotations[item]
        times = [time for time, _ in sample_frames(tmp_path / "Charades_v1_480" / f"{item}.mp4", 3.0)]
        assert abs(len(array) - len(times)) <= 1
        for time, row in zip(times, array, strict=False):
            shown = {action.cls for action in annotation.actions if action.start <= time < action.end}
            assert shown <= {columns[number].removeprefix("action ") for number in np.flatnonzero(row)}
