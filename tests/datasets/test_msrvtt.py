import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from captionrl.datasets import prepare
from captionrl.datasets.corpus import Item
from captionrl.datasets.msrvtt import ANNOTATIONS
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError

SHARED = Path(__file__).parents[2].parent / "shared/data/msrvtt"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real samples at {SHARED}")


def video(id, split):
    return {"category": 1, "url": "", "video_id": id, "start time": 0.0, "end time": 9.5, "split": split, "id": 0}


def documents():
    train_val = {
        "info": {},
        "videos": [video("video1", "validate"), video("video0", "train")],
        "sentences": [
            {"caption": "a man cooks", "video_id": "video0", "sen_id": 0},
            {"caption": "a dog", "video_id": "video1", "sen_id": 1},
            {"caption": "a man cooks", "video_id": "video0", "sen_id": 2},
        ],
    }
    test = {
        "info": {},
        "videos": [video("video2", "test")],
        "sentences": [{"caption": "a cat", "video_id": "video2", "sen_id": 3}],
    }
    return train_val, test


def write(raw, train_val, test):
    (raw / "train_val_videodatainfo.json").write_text(json.dumps(train_val))
    (raw / "test_videodatainfo.json").write_text(json.dumps(test))


@needs_shared
def test_the_official_annotation_has_the_published_numbers():
    corpus = read_corpus("msrvtt", SHARED)
    assert Counter(item.split for item in corpus.items) == {"train": 6513, "val": 497, "test": 2990}
    assert sum(map(len, corpus.captions.values())) == 200_000
    assert {len(captions) for captions in corpus.captions.values()} == {20}
    assert corpus.items[0] == Item("video0", "train", "TrainValVideo/video0.mp4")
    assert corpus.items[-1] == Item("video9999", "test", "TestVideo/video9999.mp4")


@pytest.mark.slow
@needs_shared
def test_the_mean_length_is_the_papers():
    metadata = prepare.describe(read_corpus("msrvtt", SHARED), min_count=5)
    assert metadata["mean_length"] == pytest.approx(9.28, abs=0.01)  # HRL section 4.1


def test_zips_and_plain_files_give_the_same_corpus(tmp_path):
    plain, zipped = tmp_path / "plain", tmp_path / "zipped"
    plain.mkdir()
    zipped.mkdir()
    write(plain, *documents())
    with zipfile.ZipFile(zipped / "train_val_annotation.zip", "w") as file:
        file.write(plain / "train_val_videodatainfo.json", "train_val_videodatainfo.json")
        file.writestr("../../escaped.txt", "never written: the reader takes one member by its name")
    with zipfile.ZipFile(zipped / "test_videodatainfo.json.zip", "w") as file:
        file.write(plain / "test_videodatainfo.json", "a folder/test_videodatainfo.json")
        file.writestr("__MACOSX/test_videodatainfo.json", "resource fork")
    one, other = read_corpus("msrvtt", plain), read_corpus("msrvtt", zipped)
    assert (one.items, one.captions) == (other.items, other.captions)
    assert other.files == ("train_val_annotation.zip", "test_videodatainfo.json.zip")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "test_videodatainfo.json",
        "test_videodatainfo.json.zip",
        "train_val_annotation.zip",
        "train_val_videodatainfo.json",
    ]


def test_items_keep_the_annotations_order_and_captions_their_repeats(tmp_path):
    write(tmp_path, *documents())
    corpus = read_corpus("msrvtt-mini", tmp_path)
    assert corpus.name == "msrvtt-mini"
    assert [(item.id, item.split) for item in corpus.items] == [
        ("video1", "val"),
        ("video0", "train"),
        ("video2", "test"),
    ]
    assert corpus.captions["video0"] == ["a man cooks", "a man cooks"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sentences", 1, "video_id"), ..., "sentences[1].video_id: missing"),
        (("sentences", 1, "video_id"), 7, "sentences[1].video_id: must be text, not '7'"),
        (("sentences", 1, "caption"), " ", "sentences[1].caption: must be text"),
        (("sentences", 1, "caption"), None, "sentences[1].caption: must be text, not 'None'"),
        (("sentences", 1, "video_id"), "video9", "sentences[1].video_id: video9 is not among this file's videos"),
        (("sentences", 1, "video_id"), "video0", "videos[0]: video1 has no sentence"),
        (("sentences", 1, "video_id"), "video2", "sentences[1].video_id: video2 is not among this file's videos"),
        (("sentences", 1), "a dog", "sentences[1]: must be an object, not str"),
        (("sentences",), {}, "sentences: must be a list"),
        (("videos",), ..., "videos: must be a list"),
        (("videos", 1, "split"), "dev", "videos[1].split: 'dev'; must be one of train, validate, test"),
        (("videos", 1, "split"), ..., "videos[1].split: missing"),
        (("videos", 1, "video_id"), "video1", "videos[1].video_id: video1 is listed twice"),
    ],
)
def test_each_fault_is_one_line_that_names_file_and_place(tmp_path, path, value, message):
    train_val, test = documents()
    parent = train_val
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    write(tmp_path, train_val, test)
    with pytest.raises(UserError) as error:
        read_corpus("msrvtt", tmp_path)
    assert f"train_val_videodatainfo.json: {message}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "videos: must be a list"),
        (b'{"videos":\n oops', "line 2, column 2: not JSON"),
        (b'{"videos":\n"\xff"}', "line 2: not UTF-8 (byte 0xff)"),
    ],
)
def test_a_file_that_is_no_such_json(tmp_path, data, message):
    write(tmp_path, *documents())
    (tmp_path / "test_videodatainfo.json").write_bytes(data)
    with pytest.raises(UserError) as error:
        read_corpus("msrvtt", tmp_path)
    assert f"test_videodatainfo.json: {message}" in str(error.value)


def test_a_video_in_both_files_is_refused(tmp_path):
    train_val, test = documents()
    test["videos"][0]["video_id"] = test["sentences"][0]["video_id"] = "video0"
    write(tmp_path, train_val, test)
    with pytest.raises(UserError, match=r"test_videodatainfo.json: videos\[0\].video_id: video0 is listed twice"):
        read_corpus("msrvtt", tmp_path)


def test_a_sentence_for_a_video_of_the_other_file_is_refused(tmp_path):
    train_val, test = documents()
    test["sentences"][0]["video_id"] = "video0"
    write(tmp_path, train_val, test)
    with pytest.raises(UserError, match=r"test_videodatainfo.json: sentences\[0\].video_id: video0 is not among"):
        read_corpus("msrvtt", tmp_path)


def test_a_missing_annotation_says_where_it_comes_from(tmp_path):
    with pytest.raises(UserError, match=r"nor train_val_annotation.zip; .* \(MSR-VTT annotation .* from: "):
        read_corpus("msrvtt", tmp_path)


def one_file(*official):
    """The official documents as CLIP4Clip has them, in one."""
    return {key: [record for document in official for record in document[key]] for key in ("videos", "sentences")}


def like_coco(document):
    """A whole document as Frozen in Time has it: like COCO's captions, without the split."""
    captions = [{"image_id": one["video_id"], "caption": one["caption"]} for one in document["sentences"]]
    return {"images": [{"id": video["video_id"]} for video in document["videos"]], "annotations": captions}


def test_one_file_of_all_splits_is_read_where_the_two_are_absent(tmp_path):
    official, mirror = tmp_path / "official", tmp_path / "mirror"
    official.mkdir()
    write(official, *documents())
    (mirror / "msrvtt_data").mkdir(parents=True)
    (mirror / "msrvtt_data/MSRVTT_data.json").write_text(json.dumps(one_file(*documents())))
    one, other = read_corpus("msrvtt", official), read_corpus("msrvtt", mirror)
    assert (one.items, one.captions) == (other.items, other.captions)
    assert other.files == ("msrvtt_data/MSRVTT_data.json",)
    assert other.origin == "captions and split of msrvtt_data/MSRVTT_data.json"
    write(mirror, *documents())
    assert read_corpus("msrvtt", mirror).files == ("train_val_videodatainfo.json", "test_videodatainfo.json")
    (mirror / "test_videodatainfo.json").unlink()  # one of two is none
    assert read_corpus("msrvtt", mirror).files == ("msrvtt_data/MSRVTT_data.json",)


def test_without_a_split_the_clips_numbers_are_it(tmp_path):
    path = tmp_path / "MSRVTT/annotation/MSR_VTT.json"
    path.parent.mkdir(parents=True)
    ids = [f"video{number}" for number in (9999, 7010, 7009, 6513, 6512, 0)]
    sentences = [{"video_id": id, "caption": f"caption of {id}"} for id in ids]
    document = like_coco({"videos": [{"video_id": id} for id in ids], "sentences": sentences})
    path.write_text(json.dumps(document))
    corpus = read_corpus("msrvtt", tmp_path)
    splits = ("train", "train", "val", "val", "test", "test")
    assert [(item.id, item.split) for item in corpus.items] == list(zip(reversed(ids), splits, strict=True))
    assert corpus.captions["video6513"] == ["caption of video6513"]
    assert corpus.origin == "captions and split of MSRVTT/annotation/MSR_VTT.json, the split by the clips' numbers"
    document["annotations"][1]["image_id"] = "video10000"
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"MSR_VTT.json: annotations\[1\].image_id: 'video10000'; must be videoN, N up"):
        read_corpus("msrvtt", tmp_path)


@pytest.mark.parametrize(
    ("folders", "test"),
    [
        (["videos/all"], "videos/all"),
        (["MSRVTT/videos/all"], "MSRVTT/videos/all"),
        (["videos/all", "TestVideo"], "TestVideo"),
        ([], "TestVideo"),
    ],
)
def test_clips_are_where_they_lie(tmp_path, folders, test):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "video.mp4").touch()
    (tmp_path / "MSRVTT/videos").mkdir(parents=True, exist_ok=True)
    write(tmp_path, *documents())
    assert read_corpus("msrvtt", tmp_path).items[-1].media == f"{test}/video2.mp4"


def test_each_part_has_its_folder_and_an_empty_one_is_passed_over(tmp_path):
    (tmp_path / "TestVideo").mkdir()
    for folder in ("TrainValVideo", "videos/all"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "video.mp4").touch()
    write(tmp_path, *documents())
    folders = {item.split: item.media.rpartition("/")[0] for item in read_corpus("msrvtt", tmp_path).items}
    assert (folders["train"], folders["test"]) == ("TrainValVideo", "videos/all")


@needs_shared
@pytest.mark.parametrize("place", ["MSRVTT_data.json", "annotation/MSR_VTT.json"])
def test_each_form_has_the_official_items_splits_and_captions(tmp_path, place):
    official = read_corpus("msrvtt", SHARED)
    parts = []
    for name, archive in ANNOTATIONS:
        with zipfile.ZipFile(SHARED / archive) as file:
            parts.append(json.loads(file.read(name)))
    whole = one_file(*parts)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(json.dumps(whole if place == "MSRVTT_data.json" else like_coco(whole)))
    corpus = read_corpus("msrvtt", tmp_path)
    assert corpus.captions == official.captions
    assert {item.id: item.split for item in corpus.items} == {item.id: item.split for item in official.items}
