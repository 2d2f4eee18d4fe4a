import csv
import json
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
    assert f"{missing}: no such file, nor Flickr8k_text.zip; `captionrl download" in refusal(tmp_path)
    assert "Flickr8k's captions and its official split lists; from: https://" in refusal(tmp_path)


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


KAGGLE = """image,caption
1000_b08cb0e.jpg,A child in a pink dress .
1000_b08cb0e.jpg,"A girl going into a building, # 2 of two ."
1001_5_c3a7.jpg,A black dog .
1002_1b74.jpg,A little girl .
1002_1b74.jpg,A little girl .
"""


def test_kaggles_form_with_the_official_lists_is_the_same_corpus(tmp_path):
    official, kaggle = tmp_path / "official", tmp_path / "kaggle"
    write(official)
    write(kaggle)
    (kaggle / "Flickr8k.token.txt").unlink()
    (kaggle / "captions.txt").write_text(KAGGLE)
    (kaggle / "Images").mkdir()
    one, other = read_corpus("flickr8k", official), read_corpus("flickr8k", kaggle)
    assert one.captions == other.captions
    assert [(item.id, item.split) for item in one.items] == [(item.id, item.split) for item in other.items]
    assert other.items[0].media == "Images/1002_1b74.jpg"
    assert other.files == ("captions.txt", *LISTS.values())
    assert other.origin == "captions.txt and the official split lists; 0 images in no list left out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: ''; must be image,caption"),
        ("image_name|comment\n", "line 1: 'image_name|comment'; must be image,caption"),
        ("image,caption\na.jpg,one, two\n", "line 2: must be IMAGE,CAPTION; quote captions with commas"),
        ("image,caption\na.jpg, \n", "line 2: must be IMAGE,CAPTION"),
        ('image,caption\na.jpg,"one\n', "line 2: not csv ("),
        (KAGGLE, "Flickr_8k.trainImages.txt: no such file, nor Flickr8k_text.zip"),
    ],
)
def test_a_fault_of_kaggles_form_is_one_line(tmp_path, text, message):
    (tmp_path / "captions.txt").write_text(text)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize("name", ["flickr8k", "flickr30k"])
@pytest.mark.parametrize("zipped", [False, True])
def test_karpathys_form_is_read_plain_or_in_its_zip(tmp_path, name, zipped):
    sentences, splits = [{"raw": "A dog ."}, {"raw": "A cat ."}], ("train", "val", "test")
    images = [{"filename": f"{split}.jpg", "split": split, "sentences": sentences} for split in splits]
    text = json.dumps({"images": images})
    if zipped:
        with zipfile.ZipFile(tmp_path / "caption_datasets.zip", "w") as file:
            file.writestr(f"dataset_{name}.json", text)
            file.writestr("dataset_coco.json", "{}")
    else:
        (tmp_path / f"dataset_{name}.json").write_text(text)
    (tmp_path / "images").mkdir()
    corpus = read_corpus(name, tmp_path)
    assert corpus.items == [Item(split, split, f"images/{split}.jpg") for split in splits]
    assert corpus.captions["val"] == ["A dog .", "A cat ."]
    assert corpus.origin == f"dataset_{name}.json: Karpathy's split"


def test_the_publishers_captions_come_before_karpathys(tmp_path):
    write(tmp_path)
    (tmp_path / "dataset_flickr8k.json").write_text("{}")
    assert read_corpus("flickr8k", tmp_path).files == FILES


def test_the_publishers_captions_without_their_lists_do_not_stand_in_the_way_of_another_form(tmp_path):
    write(tmp_path)
    (tmp_path / FILES[1]).unlink()
    image = {"filename": "a.jpg", "split": "train", "sentences": [{"raw": "A dog ."}]}
    (tmp_path / "dataset_flickr8k.json").write_text(json.dumps({"images": [image]}))
    assert read_corpus("flickr8k", tmp_path).origin == "dataset_flickr8k.json: Karpathy's split"


def test_a_missing_file_of_flickr30k_says_where_it_comes_from(tmp_path):
    fault = "nor caption_datasets.zip; `captionrl download flickr30k --into .*`, or .*Karpathy's split of Flickr30k"
    (tmp_path / "flickr30k").mkdir()
    with pytest.raises(UserError, match=fault):
        read_corpus("flickr30k", tmp_path / "flickr30k")


@needs_shared
def test_kaggles_real_captions_are_read(tmp_path):
    (tmp_path / "captions.txt").write_bytes((SHARED / "captions_1000.txt").read_bytes())
    with open(SHARED / "captions_1000.txt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    images = list(dict.fromkeys(image for image, _ in rows))
    for file, part in zip(LISTS.values(), (images[:800], images[800:900], images[900:]), strict=True):
        (tmp_path / file).write_text("\n".join(part))
    corpus = read_corpus("flickr8k", tmp_path)
    assert Counter(item.split for item in corpus.items) == {"train": 800, "val": 100, "test": 100}
    assert sum(map(len, corpus.captions.values())) == len(rows) == 5000
