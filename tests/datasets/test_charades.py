import csv
import io
import json
import zipfile

import pytest

from captionrl.datasets.charades import Action, Annotation, people_apart, read_annotations, validation
from captionrl.datasets.formats import CHARADES_HEADER as HEADER
from captionrl.datasets.manifest import require
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError


def row(
    id,
    verified="Yes",
    script="A person cooks.",
    descriptions="",
    actions="",
    objects="food;stove",
    length="24.83",
    subject="HR43",
):
    return [id, subject, "Kitchen", "6", "7", verified, script, objects, descriptions, actions, length]


def table(*rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([HEADER.split(","), *rows])
    return buffer.getvalue()


TRAIN = table(
    row(
        "AAAA1",
        descriptions="He stirs, then smiles.;;A person cooks.; He  stirs, then smiles. ",
        actions="c092 11.90 21.20",
    ),
    row("AAAA2", verified="No", actions="c147 0.00 12.60;c092 11.90 21.20"),
    *(row(f"BBBB{i}") for i in range(30)),
)
TEST = table(row("ZZZZ1", script="", descriptions="Someone\nreads."))


def write(raw, train=TRAIN, test=TEST):
    (raw / "Charades_v1_train.csv").write_text(train, newline="")
    (raw / "Charades_v1_test.csv").write_text(test, newline="")


def test_captions_are_script_and_descriptions_of_verified_videos_without_repeats(tmp_path):
    write(tmp_path)
    corpus = read_corpus("charades", tmp_path)
    assert corpus.captions["AAAA1"] == ["A person cooks.", "He stirs, then smiles."]
    assert corpus.captions["ZZZZ1"] == ["Someone reads."]
    assert "AAAA2" not in corpus.captions
    assert [(item.id, item.media) for item in corpus.split("test")] == [("ZZZZ1", "Charades_v1_480/ZZZZ1.mp4")]
    assert (len(corpus.split("train")), len(corpus.split("val"))) == (28, 3)
    assert "csv" in corpus.origin


PEOPLE = table(*(row(f"{person}{i}", subject=person) for i in range(8) for person in ("ANN", "BOB", "CID", "DAN")))


@pytest.mark.parametrize("name", ["charades-annotations", "charades-annotations-mini"])
def test_annotations_alone_are_the_same_captions_without_media(tmp_path, name):
    write(tmp_path, train=PEOPLE)
    whole, alone = read_corpus("charades", tmp_path), read_corpus(name, tmp_path)
    assert (alone.name, alone.captions, alone.files) == (name, whole.captions, whole.files)
    assert [(item.id, item.media) for item in alone.items] == [(item.id, None) for item in whole.items]
    assert [item.id for item in alone.split("test")] == [item.id for item in whole.split("test")] == ["ZZZZ1"]
    assert all(item.media for item in whole.items)
    # So both csv files are all that a user must have: `captionrl check-data` asks for no video.
    assert require(alone, tmp_path).keys() == {"Charades_v1_train.csv", "Charades_v1_test.csv"}
    with pytest.raises(UserError, match=r"Charades_v1_480/ANN0\.mp4: missing"):
        require(whole, tmp_path)


def test_people_of_validation_videos_of_annotations_are_in_no_training_video(tmp_path):
    write(tmp_path, train=PEOPLE)
    whole, alone = read_corpus("charades", tmp_path), read_corpus("charades-annotations", tmp_path)
    people = {split: {item.id[:3] for item in alone.split(split)} for split in ("train", "val")}
    # A tenth of 32 videos would be 3: one person, who has 8. The lowest of `printf 2018:ANN | sha256sum` and so on.
    assert people == {"train": {"ANN", "CID", "DAN"}, "val": {"BOB"}}
    assert len(alone.split("val")) == 8
    assert {item.id[:3] for item in whole.split("val")} & {item.id[:3] for item in whole.split("train")}
    assert alone.origin.endswith("; val drawn from train by people with seed 2018")
    assert alone.origin.count("val drawn") == 1


def test_people_are_drawn_until_they_have_500_videos_in_whatever_order_rows_stand():
    subjects = {f"ID{i}": f"P{i % 100}" for i in range(7609)}  # 76 or 77 videos each
    drawn = people_apart(subjects)
    assert 500 <= len(drawn) < 577
    assert drawn == people_apart(dict(reversed(subjects.items())))
    assert drawn == {id for id, person in subjects.items() if person in {subjects[id] for id in drawn}}


def test_the_authors_captions_have_their_people_from_the_csv_files(tmp_path):
    write(tmp_path, train=PEOPLE)
    authors(
        tmp_path, **{"train.json": {"ANN0": ["one"], "ANN1": ["two"], "BOB0": ["three"]}, "test.txt": "ZZZZ1\tsix\n"}
    )
    corpus = read_corpus("charades-annotations", tmp_path)
    assert [(item.id, item.split) for item in corpus.items] == [
        ("ANN0", "train"), ("ANN1", "train"), ("BOB0", "val"), ("ZZZZ1", "test")
    ]  # fmt: skip
    authors(tmp_path, **{"train.json": {"NEW0": ["one"]}, "test.txt": "ZZZZ1\tsix\n"})
    with pytest.raises(UserError, match=r"has video NEW0 of CharadesCaptions\.zip; remove that"):
        read_corpus("charades-annotations", tmp_path)


def test_where_one_person_is_in_all_videos_nobody_is_left_for_validation(tmp_path):
    write(tmp_path)
    with pytest.raises(UserError, match=r"Charades_v1_train\.csv: one person in all videos"):
        read_corpus("charades-annotations", tmp_path)


def test_validation_does_not_depend_on_the_order_of_rows():
    ids = [f"ID{i}" for i in range(7609)]
    chosen = validation(ids)
    assert len(chosen) == 500
    assert chosen == validation(reversed(ids))
    # The four lowest of `printf 2018:ID$i | sha256sum`: another choice would move every published number.
    assert validation(ids[:40]) == {"ID28", "ID32", "ID11", "ID26"}


def test_the_publishers_zip_serves_as_well(tmp_path):
    with zipfile.ZipFile(tmp_path / "Charades.zip", "w") as file:
        file.writestr("Charades/Charades_v1_train.csv", TRAIN)
        file.writestr("Charades/Charades_v1_test.csv", TEST)
    corpus = read_corpus("charades", tmp_path)
    assert len(corpus.items) == 32
    assert corpus.files == ("Charades.zip",)


def test_actions_are_those_of_all_videos(tmp_path):
    write(tmp_path)
    actions = {id: list(annotation.actions) for id, annotation in read_annotations(tmp_path).items()}
    assert actions["AAAA2"] == [Action("c147", 0.0, 12.6), Action("c092", 11.9, 21.2)]
    assert actions["ZZZZ1"] == []


def test_annotations_are_those_of_all_videos(tmp_path):
    rows = [row("ZZZZ1", objects="", length="0"), row("ZZZZ2", objects=" Food ;;stove", length=" ")]
    write(tmp_path, test=table(*rows))
    annotations = read_annotations(tmp_path)
    assert len(annotations) == 34
    actions = (Action("c147", 0.0, 12.6), Action("c092", 11.9, 21.2))
    assert annotations["AAAA2"] == Annotation("train", actions, "Kitchen", ("food", "stove"), 24.83, "HR43")
    assert annotations["ZZZZ1"] == Annotation("test", (), "Kitchen", (), None, "HR43")
    assert annotations["ZZZZ2"] == Annotation("test", (), "Kitchen", ("Food", "stove"), None, "HR43")


@pytest.mark.parametrize("bad", ["long", "-1", "nan", "inf", "24,83"])
def test_a_bad_length_names_its_line(tmp_path, bad):
    write(tmp_path, train=table(row("AAAA1"), row("AAAA2", length=bad)))
    with pytest.raises(
        UserError, match=rf"Charades_v1_train.csv: line 3: length: '{bad}'; must be seconds, like 24.83"
    ):
        read_annotations(tmp_path)


def test_annotations_of_a_video_that_is_listed_twice_are_refused(tmp_path):
    write(tmp_path, train=table(row("AAAA1"), row("ZZZZ1")))
    with pytest.raises(UserError, match=r"Charades_v1_test.csv: line 2: id ZZZZ1 is listed twice"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    "bad", ["c157 1 2", "c092 11.90", "c092 x 2", "92 1 2", "c092 1 nan", "c092 -1 2", "c092 1 2 3", "c0921 1 2"]
)
def test_a_bad_action_names_its_line(tmp_path, bad):
    write(tmp_path, train=table(row("AAAA1"), row("AAAA2", actions=f"c001 0 1;{bad}")))
    with pytest.raises(UserError, match=rf"Charades_v1_train.csv: line 3: actions: '{bad}'; must be CLASS START END"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("", "line 1: no column 'id'"),
        (TRAIN.replace("verified", "checked", 1), "line 1: no column 'verified'"),
        (TRAIN + "CCCC1,HR43,Kitchen\r\n", "line 34: 3 fields under a header of 11"),
        (TRAIN + '"CCCC1"x,HR43\r\n', "line 34: not csv"),
        (table(row("AAAA1"), row("AAAA1", "No")), "line 3: id AAAA1 is listed twice"),
        (table(row("AAAA1"), row("ZZZZ1")), "line 2: id ZZZZ1 is listed twice"),
        (table(row("AAAA1", script=" ", descriptions=";")), "line 2: AAAA1 is verified but has neither"),
    ],
)
def test_each_fault_is_one_line_that_names_file_and_place(tmp_path, train, message):
    write(tmp_path, train=train)
    with pytest.raises(UserError) as error:
        read_corpus("charades", tmp_path)
    assert f".csv: {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_latin1_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "Charades_v1_test.csv").write_bytes(table(row("ZZZZ1", script="A café.")).encode("latin-1"))
    with pytest.raises(UserError, match=r"Charades_v1_test.csv: line 2: not UTF-8"):
        read_corpus("charades", tmp_path)


def authors(raw, **contents):
    with zipfile.ZipFile(raw / "CharadesCaptions.zip", "w") as file:
        for name, content in contents.items():
            file.writestr(f"CharadesCaptions/{name}", content if isinstance(content, str) else json.dumps(content))


def test_the_authors_zip_goes_before_the_csv_files(tmp_path):
    write(tmp_path)
    authors(
        tmp_path,
        **{
            "train.json": {"T1": ["one", "two"], "T2": ["three"]},
            "val.json": [{"image_id": "V1", "caption": "four"}, {"image_id": "V1", "caption": "five"}],
            "test.txt": "E1\tsix\r\nE1\tseven\r\n",
        },
    )
    corpus = read_corpus("charades", tmp_path)
    assert [(item.id, item.split) for item in corpus.items] == [
        ("T1", "train"),
        ("T2", "train"),
        ("V1", "val"),
        ("E1", "test"),
    ]
    assert corpus.captions == {"T1": ["one", "two"], "T2": ["three"], "V1": ["four", "five"], "E1": ["six", "seven"]}
    assert corpus.origin == "CharadesCaptions.zip of the HRL authors"


def test_the_authors_zip_without_validation_draws_it_from_train(tmp_path):
    authors(tmp_path, **{"train.json": {f"T{i}": ["x"] for i in range(50)}, "test.json": {"E1": ["y"]}})
    corpus = read_corpus("charades", tmp_path)
    assert [len(corpus.split(split)) for split in ("train", "val", "test")] == [45, 5, 1]
    assert "val drawn from train" in corpus.origin


@pytest.mark.parametrize(
    "contents",
    [
        {"captions.pkl": "?"},
        {"train.json": {"T1": "not a list"}, "test.json": {}},
        {"train.json": [{"clip": "T1", "caption": "x"}], "test.json": {}},
        {"train.json": [1], "test.json": {}},
        {"train.txt": "T1 without a tab", "test.txt": ""},
        {"train.json": {"T1": ["x"]}, "train2.json": {"T2": ["x"]}, "test.json": {"E": ["x"]}},
    ],
)
def test_any_other_layout_is_refused_with_the_list_of_members(tmp_path, contents):
    authors(tmp_path, **contents)
    with pytest.raises(UserError) as error:
        read_corpus("charades", tmp_path)
    assert f"it holds {', '.join(f'CharadesCaptions/{name}' for name in contents)}; remove it" in str(error.value)
    assert "\n" not in str(error.value)
