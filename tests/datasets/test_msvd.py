"""MSVD's caption list and mapping become the split that everybody reports; what is wrong in them is named."""

import pytest

from captionrl.datasets.formats import MSVD_CAPTIONS, MSVD_LAST, MSVD_MAPPING
from captionrl.datasets.msvd import read
from captionrl.errors import UserError

TEXT = "# a comment\n\n-4wsu_5_15 a squirrel eats\n-4wsu_5_15 A squirrel eats.\nabc_0_3 a dog runs\nxyz_1_2 a cat\n"
NUMBERS = "abc_0_3 vid1201\n-4wsu_5_15 vid1\nxyz_1_2 vid1970\n"


@pytest.fixture
def raw(tmp_path):
    (tmp_path / MSVD_CAPTIONS).write_text(TEXT, encoding="utf-8")
    (tmp_path / MSVD_MAPPING).write_text(NUMBERS, encoding="utf-8")
    return tmp_path


def test_a_clips_number_says_which_part_it_is_in(raw):
    corpus = read("msvd", raw)
    assert [(item.id, item.split, item.media) for item in corpus.items] == [
        ("-4wsu_5_15", "train", "YouTubeClips/-4wsu_5_15.avi"),
        ("abc_0_3", "val", "YouTubeClips/abc_0_3.avi"),
        ("xyz_1_2", "test", "YouTubeClips/xyz_1_2.avi"),
    ]
    assert corpus.captions["-4wsu_5_15"] == ["a squirrel eats", "A squirrel eats."]
    assert corpus.files == (MSVD_CAPTIONS, MSVD_MAPPING)


def test_the_parts_have_1200_100_and_670_clips(raw):
    clips = [f"clip_{number}" for number in range(1, MSVD_LAST["test"] + 1)]
    (raw / MSVD_CAPTIONS).write_text("".join(f"{clip} a thing\n" for clip in clips))
    (raw / MSVD_MAPPING).write_text("".join(f"{clip} vid{number}\n" for number, clip in enumerate(clips, start=1)))
    corpus = read("msvd", raw)
    assert [len(corpus.split(split)) for split in ("train", "val", "test")] == [1200, 100, 670]


def test_clips_in_no_list_are_left_out_and_counted(raw):
    with open(raw / MSVD_CAPTIONS, "a") as file:
        file.write("other_0_1 nobody lists this\n")
    corpus = read("msvd", raw)
    assert "other_0_1" not in corpus.captions
    assert "1 clips in no list left out" in corpus.origin


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        (MSVD_CAPTIONS, TEXT + "lonely_0_1\n", r"line 7: 'lonely_0_1'; must be CLIP CAPTION"),
        (MSVD_MAPPING, NUMBERS + "abc_0_4 1202\n", r"line 4: .*must be CLIP vidN"),
        (MSVD_MAPPING, NUMBERS + "abc_0_4 vid1971\n", r"line 4: .*N from 1 to 1970"),
        (MSVD_MAPPING, NUMBERS + f"abc_0_4 vid{'9' * 5000}\n", r"line 4: .*must be CLIP vidN"),
        (MSVD_MAPPING, NUMBERS + "abc_0_4 vid0\n", r"line 4: .*N from 1 to 1970"),
        (MSVD_MAPPING, NUMBERS + "abc_0_4 vid1\n", r"line 4: vid1 is listed already .*line 2"),
        (MSVD_MAPPING, NUMBERS + "abc_0_4 vid2\n", r"line 4: abc_0_4 has no caption"),
        (MSVD_MAPPING, NUMBERS + "../../etc/passwd vid2\n", r"line 4: .*may hold only letters"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(raw, file, text, fault):
    (raw / file).write_text(text)
    with pytest.raises(UserError, match=fault):
        read("msvd", raw)


@pytest.mark.parametrize("file", [MSVD_CAPTIONS, MSVD_MAPPING])
def test_a_missing_file_is_named_with_where_it_comes_from(raw, file):
    (raw / file).unlink()
    with pytest.raises(
        UserError, match=rf"{file}: no such file; `captionrl download msvd --into {raw}`, or put it there"
    ):
        read("msvd", raw)
