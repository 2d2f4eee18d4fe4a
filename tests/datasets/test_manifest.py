"""The manifest: what an entry must say, what the package's says, what a corpus requires."""

import re
from pathlib import Path

import pytest

from captionrl.datasets.corpus import Corpus, Item
from captionrl.datasets.manifest import (
    Entry,
    check_raw,
    find,
    manifest,
    read_manifest,
    recorded,
    remedy,
    require,
    source,
    verify,
)
from captionrl.errors import UserError

SHARED = Path(__file__).parents[2].parent / "shared/data/msrvtt"
ENTRY = {"name": "w", "what": "weights", "licence": "none", "into": "w.pth", "url": "http://a.org/w.pth"}
SHA = "a" * 64


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"sha256": "1234567"}, "should match pattern"),
        ({"sha256": None}, "wants `sha256`, or `recorded: true`"),
        ({"url": "file:///etc/passwd"}, "should match pattern"),
        ({"mirrors": ["ftp://a.org/w"]}, "should match pattern"),
        ({"by_hand": True}, "wants one of `url`"),
        ({"url": None}, "wants one of `url`"),
        ({"md6": "x"}, "Extra inputs"),
        ({"accept": "mine"}, "accept wants `terms`"),
        ({"into": "w/"}, "`into` ends in / where"),
        ({"unpack": "w/"}, "`into` ends in / where"),
        *(
            ({"into": into}, "should match pattern")
            for into in ("../w", "/etc/w", "a/../w", "a\\w", ".ssh", "a//b", "a\n")
        ),
        *(({"into": "w/", "unpack": folder}, "should match pattern") for folder in ("..", "/", "a/../b/")),
        ({"instead": ["/etc/passwd"]}, "should match pattern"),
        ({"what": "two\nlines"}, "should match pattern"),
    ],
)
def test_a_loose_entry_is_refused(fields, fault):
    with pytest.raises(ValueError, match=re.escape(fault)):
        Entry(**(ENTRY | {"sha256": SHA} | fields))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not YAML ("),
        ("coco: [{name: a}]", "coco[0].what: is missing; add it"),
        ("coco: [{nam: a, what: b, licence: c, into: d}]", "coco[0].name: is missing; add it"),
        ("coco: 3", "coco: Input should be a valid list, but it is 3"),
        ("../x: []", "Input should"),
    ],
)
def test_a_manifest_that_is_none_is_one_line(tmp_path, text, fault):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    if fault != "Input should":
        assert fault in str(error.value)


def test_the_manifest_is_sound():
    groups = manifest()
    assert set(groups) == {
        *("msrvtt", "charades", "charades-annotations", "coco", "coco-2017", "coco-82k", "coco-server"),
        *("flickr8k", "flickr30k", "msvd", "msvd-laptop", "tgif", "weights", "tools"),
    }
    assert find("TrainValVideo/video0.mp4").name == "videos/all"
    assert find("annotations/image_info_test2014.json").name == "image_info_test2014.zip"
    assert find("test2014/COCO_test2014_000000000001.jpg").name == "test2014"
    assert find("Charades_v1_480/AAAA1.mp4").licence.startswith("Charades licence")
    assert source("gifs/x.gif").endswith("; from: the urls in splits/train.txt, splits/val.txt, splits/test.txt")
    entries = [entry for group in groups.values() for entry in group]
    assert [entry.name for entry in entries if entry.by_hand] == ["flickr30k-images"]
    assert all(entry.size for entry in entries if entry.url or entry.listed)  # so that totals are
    assert {entry.accept for entry in entries} == {
        None, "charades", "flickr8k", "flickr30k", "msrvtt", "msvd", "tgif"
    }  # fmt: skip


def test_another_manifest_comes_by_the_environment(tmp_path, monkeypatch):
    entry = f"{{name: w, what: x, licence: none, into: w, url: http://a.org/w, sha256: {SHA}}}"
    (tmp_path / "m.yaml").write_text(f"toy: [{entry}]")
    monkeypatch.setenv("CAPTIONRL_DOWNLOADS", str(tmp_path / "m.yaml"))
    assert list(manifest()) == ["toy"]
    assert source("train2014/1.jpg") == "not in downloads.yaml"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real samples at {SHARED}")
def test_the_manifest_describes_the_official_annotation():
    for file in ("train_val_annotation.zip", "test_videodatainfo.json.zip"):
        assert verify(find(file), SHARED / file) is None


def corpus(*files):
    items = [
        Item("v0", "train", "TrainValVideo/v0.mp4"),
        Item("v1", "val", "TrainValVideo/v1.mp4"),
        Item("v2", "test", None),
    ]
    return Corpus("msrvtt", items, {item.id: ["x"] for item in items}, "toy", files)


def test_what_a_corpus_requires(tmp_path):
    (tmp_path / "TrainValVideo").mkdir()
    (tmp_path / "train_val_videodatainfo.json").write_text("{}")
    needs = corpus("train_val_videodatainfo.json")
    with pytest.raises(
        UserError,
        match=re.escape(
            f"v0.mp4: missing (and 1 more); `captionrl download msrvtt --into {tmp_path}`, or put it there (M"
        ),
    ):
        require(needs, tmp_path)
    (tmp_path / "TrainValVideo/v0.mp4").write_bytes(b"12345")
    (tmp_path / "TrainValVideo/v1.mp4").touch()
    with pytest.raises(UserError, match=r"v1.mp4: empty; `captionrl download msrvtt --into .*`, or put"):
        require(needs, tmp_path)
    (tmp_path / "TrainValVideo/v1.mp4").write_bytes(b"1")
    sizes = {"train_val_videodatainfo.json": 2, "TrainValVideo/v0.mp4": 5, "TrainValVideo/v1.mp4": 1}
    assert list(require(needs, tmp_path).items()) == list(sizes.items())


def test_annotation_put_there_by_hand_is_checked(tmp_path):
    (tmp_path / "TrainValVideo").mkdir()
    for file in ("TrainValVideo/v0.mp4", "TrainValVideo/v1.mp4", "train_val_annotation.zip"):
        (tmp_path / file).write_bytes(b"1")
    with pytest.raises(UserError, match=r"train_val_annotation.zip: has 1 bytes, not 2,594,639; put the official file"):
        require(corpus("train_val_annotation.zip"), tmp_path)


def test_an_empty_record_of_a_checksum_is_named(tmp_path):
    (tmp_path / "w.sha256").touch()
    with pytest.raises(UserError, match=r"w.sha256: holds no checksum; remove it$"):
        recorded(tmp_path / "w.sha256")


def test_the_command_that_fetches_says_where_to(tmp_path):
    assert "`captionrl download charades`" in remedy(Path("data/charades"), "Charades_v1_train.csv")
    elsewhere = remedy(tmp_path / "charades", "Charades_v1_train.csv")
    assert f"`captionrl download charades --into {tmp_path / 'charades'}`" in elsewhere


@pytest.mark.parametrize("text", ['{"clip1": 3}', '{"clips": ["a.mp4"]}', '{"a.mp4": true}'])
def test_a_users_raw_json_is_not_taken_for_the_list(tmp_path, text):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "raw.json").write_text(text)
    with pytest.raises(UserError, match=r"raw.json: not the list that captionrl writes there; move it"):
        check_raw(tmp_path)
    for listing in ('{"a.mp4": 0, "gone.mp4": 5}', "{}"):
        (tmp_path / "raw.json").write_text(listing)
        check_raw(tmp_path)


def test_a_command_is_named_only_where_it_fetches_what_is_missing(tmp_path):
    assert "--into" not in remedy(Path("data/msrvtt-mini"), "train_val_videodatainfo.json")
    assert "--into" not in remedy(tmp_path / "f30k", "caption_datasets.zip")  # of several groups
    assert f"--into '{tmp_path}/my data/charades'`" in remedy(tmp_path / "my data/charades", "Charades_v1_train.csv")
