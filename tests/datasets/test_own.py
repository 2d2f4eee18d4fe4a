import json
import re

import pytest

from captionrl.datasets.corpus import Item
from captionrl.datasets.manifest import require
from captionrl.datasets.own import split_of
from captionrl.datasets.prepare import prepare
from captionrl.datasets.prepared import load_captions
from captionrl.datasets.read import read_corpus
from captionrl.errors import UserError

A = {"id": "a", "media": "videos/one.mp4", "captions": ["A man runs.", "a man"], "split": "train"}
B = {"id": "b", "media": "two.gif", "captions": ["A dog."], "split": "val"}
C = {"id": "c", "media": "three.jpg", "captions": ["A cat, sleeping."], "split": "test"}
ITEMS = [Item("a", "train", "videos/one.mp4"), Item("b", "val", "two.gif"), Item("c", "test", "three.jpg")]
CAPTIONS = {item["id"]: item["captions"] for item in (A, B, C)}


@pytest.fixture
def raw(tmp_path):
    """A corpus' folder with three media, which the reader does not open."""
    raw = tmp_path / "clips"
    for media in ("videos/one.mp4", "two.gif", "three.jpg"):
        (raw / media).parent.mkdir(parents=True, exist_ok=True)
        (raw / media).write_bytes(b"media")
    return raw


def jsonl(raw, *lines):
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    (raw / "captions.jsonl").write_text("".join(f"{text}\n" for text in texts))


def csv(raw, text):
    (raw / "captions.csv").write_text(text, newline="")


def refusal(raw, name="clips"):
    with pytest.raises(UserError) as error:
        read_corpus(name, raw)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_jsonl_lists_an_item_a_line(raw):
    jsonl(raw, A, "", B, C)
    corpus = read_corpus("clips", raw)
    assert (corpus.items, corpus.captions) == (ITEMS, CAPTIONS)
    assert (corpus.origin, corpus.files) == ("captions.jsonl, split as given", ("captions.jsonl",))
    sizes = {"captions.jsonl": (raw / "captions.jsonl").stat().st_size}
    assert require(corpus, raw) == sizes | {"videos/one.mp4": 5, "two.gif": 5, "three.jpg": 5}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_csv_lists_a_caption_a_line(raw, line_end):
    lines = [
        "\ufeffmedia,split,id,caption",
        "videos/one.mp4,train,a,A man runs.",
        "two.gif,val,b,A dog.",
        'three.jpg,test,c,"A cat, sleeping."',
        "videos/one.mp4,train,a,a man",
    ]
    csv(raw, line_end.join(lines))
    corpus = read_corpus("clips", raw)
    assert (corpus.items, corpus.captions) == (ITEMS, CAPTIONS)


def test_an_id_that_is_not_given_is_the_files_name(raw):
    for name in ("über den Strand (2).mp4", ".x.y.gif"):
        (raw / name).write_bytes(b"media")
    names = ("./videos//one.mp4", "über den Strand (2).mp4", ".x.y.gif")
    jsonl(raw, *({"media": name, "captions": ["a man"]} for name in names))
    items = read_corpus("clips", raw).items
    assert [item.id for item in items] == ["one", "-ber-den-Strand-2-", "x.y"]
    assert [item.media for item in items] == ["videos/one.mp4", *names[1:]]
    csv(raw, "caption,media\na man,videos/one.mp4\na dog,two.gif\nhe runs,videos/one.mp4\n")
    (raw / "captions.jsonl").unlink()
    assert read_corpus("clips", raw).captions == {"one": ["a man", "he runs"], "two": ["a dog"]}


def test_an_item_with_an_id_may_have_no_media(raw):
    jsonl(raw, {"id": "a", "captions": ["a man"]})
    assert [item.media for item in read_corpus("clips", raw).items] == [None]


def test_without_splits_a_hash_of_the_id_decides(raw):
    def splits(count):
        jsonl(raw, *({"id": f"item{i}", "captions": ["a man"]} for i in range(count)))
        corpus = read_corpus("clips", raw)
        assert corpus.origin.endswith("split by a hash of the ids (70 % train, 15 % val, 15 % test)")
        return {split: {item.id for item in corpus.split(split)} for split in ("train", "val", "test")}

    few, many = splits(1000), splits(2000)
    assert sum(map(len, many.values())) == 2000  # each item in one
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert few[split] == {id for id in many[split] if int(id.removeprefix("item")) < 1000}
        assert len(many[split]) / 2000 == pytest.approx(share, abs=0.03)
    assert [split_of(id) for id in ("surf-1", "a", "item2")] == ["train", "val", "test"]


def test_a_split_may_be_empty_until_something_needs_it(raw, tmp_path):
    jsonl(raw, A)
    out = tmp_path / "out"
    metadata = prepare(read_corpus("clips", raw), out, min_count=1)
    assert metadata["splits"]["val"]["items"] == 0
    captions = load_captions(out)
    captions.require(["train"], out, "it")
    with pytest.raises(
        UserError, match=f"^{out}: no item in split test, and a table needs some; give items that split"
    ):
        captions.require(["train", "test"], out, "a table")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"id": "a"'], "line 1: not JSON (Expecting ',' delimiter at column 11); correct the line"),
        (
            ['{"id": "a", "captions": ["a"], "captions": ["b"]}'],
            "line 1: 'captions' stands twice in one object; keep one",
        ),
        (["[1]"], "line 1: must be an object, {…}, not '[1]'; correct the line"),
        ([{**A, "caption": "a"}], "line 1: caption: unknown key; did you mean 'captions'?"),
        ([{"media": "two.gif"}], "line 1: captions: is missing; add it"),
        (
            [{"media": "two.gif", "captions": "a man"}],
            "line 1: captions: Input should be a valid list, but it is 'a man'",
        ),
        ([A, {**B, "captions": []}], "line 2: captions: List should have at least 1 item after validation, not 0"),
        ([A, {**B, "captions": ["a", " "]}], "line 2: captions: one is empty; write it or take it out"),
        ([{"captions": ["a"]}], "line 1: media: is missing; add the item's file, or an id"),
        ([{**A, "split": "dev"}], "line 1: split: Input should be 'train', 'val' or 'test', but it is 'dev'"),
        (["", A, {**B, "split": None}, C], "line 3: has no split, but {path}: line 2 has one; give every item a split"),
        (
            [{**A, "split": None}, B],
            "line 2: has a split, but {path}: line 1 has none; give every item a split, or none",
        ),
        ([{**A, "id": "a/b"}], "line 1: id: 'a/b'; may hold only letters, digits and - _ . ; give another one"),
        ([A, {**B, "id": "a"}], "line 2: id: a is listed already ({path}: line 1); give them ids that differ"),
        ([A, {**B, "media": "./videos/one.mp4"}], "line 2: media: videos/one.mp4 is listed already ({path}: line 1)"),
        ([{**A, "media": "/etc/passwd"}], "line 1: media: '/etc/passwd'; must be a file of this folder"),
        ([{**A, "media": "videos/../../x.mp4"}], "line 1: media: 'videos/../../x.mp4'; must be a file of this folder"),
        ([{**A, "media": "."}], "line 1: media: '.'; must be a file of this folder"),
        ([{**A, "media": "a\tb.mp4"}], r"line 1: media: 'a\tb.mp4'; a name may hold no tab and no line break"),
        ([], "lists no item; write a line for each"),
    ],
)
def test_a_fault_in_jsonl_is_named_with_its_line(raw, lines, message):
    jsonl(raw, *lines)
    path = raw / "captions.jsonl"
    assert refusal(raw).startswith(f"{path}: {message.replace('{path}', str(path))}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: columns none; must be id, media, caption, split, with commas between them"),
        ("media;caption\ntwo.gif;a\n", "line 1: columns media;caption; must be id, media, caption, split"),
        ("media,caption,media\n", "line 1: the name 'media' stands twice; keep one"),
        ("media,caption\n", "lists no item; write a line for each"),
        (
            "media,caption\ntwo.gif,a dog, asleep\n",
            'line 2: not 2 fields; write "…" around a caption that holds a comma',
        ),
        ("media,caption\ntwo.gif\n", "line 2: not 2 fields"),
        ("media,caption\ntwo.gif, \n", "line 2: caption: is empty; write it or take the line out"),
        ('media,caption\ntwo.gif,"a"b\n', "line 2: not CSV (',' expected after '\"'); correct it"),
        (
            "id,media,caption,split\na,two.gif,a,val\na,two.gif,b,test\n",
            "line 3: other media or another split than in {path}: line 2, of the same item; correct one",
        ),
        (
            "id,media,caption\na,two.gif,a\na,three.jpg,b\n",
            "line 3: other media or another split than in {path}: line 2",
        ),
        ("id,media,caption\na,two.gif,a\nb,two.gif,b\n", "line 3: media: two.gif is listed already ({path}: line 2)"),
    ],
)
def test_a_fault_in_csv_is_named_with_its_line(raw, text, message):
    csv(raw, text)
    path = raw / "captions.csv"
    assert refusal(raw).startswith(f"{path}: {message.replace('{path}', str(path))}")


def test_two_files_of_one_name_need_ids(raw):
    (raw / "one.gif").write_bytes(b"media")
    jsonl(raw, {"media": "videos/one.mp4", "captions": ["a"]}, {"media": "one.gif", "captions": ["a"]})
    at = raw / "captions.jsonl"
    assert refusal(raw) == f"{at}: line 2: id: one is listed already ({at}: line 1); give them ids that differ"


def test_all_missing_media_are_named_at_once(raw):
    (raw / "two.gif").write_bytes(b"")
    (raw / "three.jpg").unlink()
    jsonl(raw, A, B, C)
    what = (
        f"2 of 3 media files are missing or empty: two.gif, three.jpg; put them into {raw}, or take them off the list"
    )
    assert refusal(raw) == f"{raw / 'captions.jsonl'}: {what}"
    jsonl(raw, *({"media": f"{i}.mp4", "captions": ["a"]} for i in range(25)))
    assert "25 of 25 media files are missing or empty: 0.mp4, 1.mp4, " in refusal(raw)
    assert ", 9.mp4 and 15 more; put" in refusal(raw)


def test_a_folder_holds_one_list(raw):
    message = refusal(raw)
    assert re.match(
        "clips: neither a data set .charades, charades-annotations, coco, .* nor a corpus of your own: ", message
    )
    assert message.endswith(f"{raw} has no captions.jsonl and no captions.csv; write one of these files")
    jsonl(raw, A)
    csv(raw, "media,caption\n")
    assert refusal(raw) == f"{raw}: holds both captions.jsonl and captions.csv; keep one"


def test_a_data_sets_name_wins(raw):
    jsonl(raw, A)
    assert "train_val_videodatainfo.json: no such file" in refusal(raw, "msrvtt")
    assert refusal(raw, "clips-mini").startswith("clips-mini: no such data set; one of your own must not end in -mini")
