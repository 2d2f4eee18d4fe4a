import csv
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from captionrl.datasets.corpus import Item
from captionrl.datasets.manifest import require
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError

SHARED = Path(__file__).parents[2].parent / "shared/data/flickr8k"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real samples at {SHARED}")
LISTS = {"train": "Flickr_8k.trainImages.txt", "val": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}
FILES = ("Flickr8k.token.txt", *LISTS.values())
TOKENS = """\
1000_b08cb0e.jpg#0\tA child in a pink dress .
1000_b08cb0e.jpg#1\tA girl going into a building, # 2 of two .
1001_5_c3a7.jpg#0\tA black dog .
2258277193_586949ec62.jpg.1#0\tpeople waiting for the subway
1002_1b74.jpg#0\tA little girl .
1002_1b74.jpg#1\tA little girl .
"""


def write(raw, tokens=TOKENS, train="1002_1b74.jpg\n", val="1000_b08cb0e.jpg\n", test="1001_5_c3a7.jpg\n"):
    raw.mkdir(exist_ok=True)
    for file, text in zip(FILES, (tokens, train, val, test), strict=True):
        (raw / file).write_text(text, newline="")


def refusal(raw):
    with pytest.raises(UserError) as error:
        read_corpus("flickr8k", raw)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_images_take_the_split_that_lists_them_and_their_captions_in_order(tmp_path):
    write(tmp_path)
    corpus = read_corpus("flickr8k-mini", tmp_path)
    assert corpus.items == [
        Item("1002_1b74", "train", "Flicker8k_Dataset/1002_1b74.jpg"),
        Item("1000_b08cb0e", "val", "Flicker8k_Dataset/1000_b08cb0e.jpg"),
        Item("1001_5_c3a7", "test", "Flicker8k_Dataset/1001_5_c3a7.jpg"),
    ]
    assert corpus.captions == {
        "1002_1b74": ["A little girl .", "A little girl ."],
        "1000_b08cb0e": ["A child in a pink dress .", "A girl going into a building, # 2 of two ."],
        "1001_5_c3a7": ["A black dog ."],
    }
    assert corpus.files == FILES


def test_images_in_no_list_are_left_out_and_counted(tmp_path):
    write(tmp_path, TOKENS + "9_a.jpg#0\tA cat .\n")
    corpus = read_corpus("flickr8k", tmp_path)
    assert len(corpus.items) == 3
    assert corpus.origin.endswith("; 2 images in no list left out")


def test_line_ends_and_blank_lines_do_not_matter(tmp_path):
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    write(unix)
    write(
        windows, "\ufeff" + TOKENS.replace("\n", "\r\n"), "\r\n1002_1b74.jpg\r\n", "1000_b08cb0e.jpg", "1001_5_c3a7.jpg"
    )
    one, other = read_corpus("flickr8k", unix), read_corpus("flickr8k", windows)
    assert (one.items, one.captions) == (other.items, other.captions)


def test_the_publishers_zip_gives_the_same_corpus(tmp_path):
    plain, zipped = tmp_path / "plain", tmp_path / "zipped"
    write(plain)
    zipped.mkdir()
    with zipfile.ZipFile(zipped / "Flickr8k_text.zip", "w") as archive:
        for file in FILES:
            archive.write(plain / file, file)
            archive.writestr(f"__MACOSX/{file}", "resource fork")
    one, other = read_corpus("flickr8k", plain), read_corpus("flickr8k", zipped)
    assert (one.items, one.captions) == (other.items, other.captions)
    assert other.files == ("Flickr8k_text.zip",)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {"tokens": TOKENS + "1003.jpg\tA cat .\n"},
            "token.txt: line 7: '1003.jpg\\tA cat .'; must be NAME.jpg#",
        ),
        ({"tokens": TOKENS + "1003.jpg#0 A cat .\n"}, "token.txt: line 7: '1003.jpg#0 A cat .'; must be NAME.jpg#"),
        ({"tokens": TOKENS + "1003.jpg#0\t \n"}, "token.txt: line 7: '1003.jpg#0'; must be NAME.jpg#NUMBER<TAB>"),
        ({"tokens": TOKENS + TOKENS[:35]}, "token.txt: line 7: 1000_b08cb0e.jpg#0 is listed twice; keep one"),
        ({"train": "1002_1b74.jpg\n1003.jpg\n"}, "trainImages.txt: line 2: 1003.jpg has no caption in Flickr8k.token"),
        ({"val": "1002_1b74.jpg\n"}, "devImages.txt: line 1: 1002_1b74.jpg is listed already ("),
        ({"val": "../1000_b08cb0e.jpg"}, "devImages.txt: line 1: '../1000_b08cb0e.jpg': a name may hold only"),
        ({"test": "1000_b08cb0e.png"}, "testImages.txt: line 1: 1000_b08cb0e.png: another image is called 1000_b08cb"),
    ],
)
def test_each_fault_is_one_line_that_names_file_and_place(tmp_path, fault, message):
    write(tmp_path, **fault)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_says_where_it_comes_from(tmp_path, missing):
    write(tmp_path)
    (tmp_path / missing).unlink()
    assert f"{missing}: no such file, nor Flickr8k_text.zip; put either into" in refusal(tmp_path)
    assert "from: Flickr8k_text.zip of the University of Illinois" in refusal(tmp_path)


@needs_shared
def test_the_official_lists_have_the_published_sizes(tmp_path):
    lists = {split: (SHARED / file).read_text() for split, file in LISTS.items()}
    tokens = "".join(f"{image}#0\tA dog .\n" for text in lists.values() for image in text.split())
    write(tmp_path, tokens, **lists)
    corpus = read_corpus("flickr8k", tmp_path)
    assert Counter(item.split for item in corpus.items) == {"train": 6000, "val": 1000, "test": 1000}


@needs_shared
def test_the_real_images_make_a_corpus_that_lacks_no_file(tmp_path):
    with open(SHARED / "captions_1000.txt", encoding="utf-8", newline="") as file:
        rows = [(row["image"], row["caption"]) for row in csv.DictReader(file)]
    images = {image for image, _ in rows}
    tokens = "".join(f"{image}#{i % 5}\t{caption}\n" for i, (image, caption) in enumerate(rows))
    lists = {split: (SHARED / file).read_text().split() for split, file in LISTS.items()}
    write(tmp_path, tokens, **{split: "\n".join(filter(images.__contains__, names)) for split, names in lists.items()})
    (tmp_path / "Flicker8k_Dataset").symlink_to(SHARED / "images")
    corpus = read_corpus("flickr8k", tmp_path)
    assert Counter(item.split for item in corpus.items) == {"train": 753, "val": 113, "test": 125}
    assert corpus.origin.endswith("; 9 images in no list left out")
    assert {len(captions) for captions in corpus.captions.values()} == {5}
    assert len(require(corpus, tmp_path)) == len(FILES) + 991
