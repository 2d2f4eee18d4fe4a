"""Caption files: both formats are read alike, and every fault is one line that says where."""

import json

import pytest

from captionrl.errors import UserError
from captionrl.evaluation.captions import read_hypotheses, read_ids, read_references


def written(tmp_path, content, name="captions.json"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_both_formats_of_references_read_alike(tmp_path):
    coco = {
        "images": [{"id": 7}, {"id": "b"}],
        "annotations": [
            {"image_id": 7, "caption": "one"},
            {"image_id": "b", "caption": "two"},
            {"image_id": "7", "caption": "three"},
        ],
    }
    expected = {"7": ["one", "three"], "b": ["two"]}
    assert read_references(written(tmp_path, coco)) == expected
    assert read_references(written(tmp_path, {"annotations": coco["annotations"]})) == expected
    assert read_references(written(tmp_path, expected)) == expected


def test_an_image_without_annotations_is_kept_for_evaluate_to_refuse(tmp_path):
    assert read_references(written(tmp_path, {"images": [{"id": 1}], "annotations": []})) == {"1": []}


CAPTIONS = {"7": "one, two", "b": ""}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", [{"image_id": 7, "caption": "one, two"}, {"image_id": "b", "caption": ""}]),
        ("a.json", CAPTIONS),
        ("a.json", {id: [caption] for id, caption in CAPTIONS.items()}),  # pycocoevalcap's own form
        ("a.jsonl", b'{"image_id": 7, "caption": "one, two"}\n{"image_id": "b", "caption": ""}\n'),
        ("a.csv", b'image_id,other,caption\r\n7,x,"one, two"\r\nb,y,\r\n'),
        ("a.csv", b'caption,item\n"one, two",7\n"",b\n'),
    ],
)
def test_all_forms_read_alike(tmp_path, name, content):
    assert read_hypotheses(written(tmp_path, content, name)) == CAPTIONS
    assert read_references(written(tmp_path, content, name)) == {id: [text] for id, text in CAPTIONS.items()}


def test_a_single_line_of_json_lines_is_a_caption(tmp_path):
    assert read_hypotheses(written(tmp_path, {"image_id": 7, "caption": "one"})) == {"7": "one"}


def test_the_lines_of_a_text_are_numbered(tmp_path):
    assert read_hypotheses(written(tmp_path, b"a dog\n\na cat\n", "a.txt")) == {"1": "a dog", "2": "", "3": "a cat"}
    assert read_hypotheses(written(tmp_path, b"a dog", "a.txt")) == {"1": "a dog"}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"", "line 1: must name the columns caption and image_id or id or item, found nothing"),
        (b"name,caption\n", "found name, caption"),
        (b"id,caption\n1\n", "line 2: not 2 fields"),
        (b"id,caption\n1,a man, a plan\n", 'line 2: not 2 fields; write "…" around a caption that holds a comma'),
        (b"id,caption,caption\n1,a,b\n", "line 1: the name 'caption' stands twice; keep one"),
        (b"id,caption\n,a\n", "line 2: no id; add it"),
        (b'id,caption\n1,"a"b\n', "line 2: not CSV"),
        (b"id,caption\n1,a\n1,b\n", "line 3: a second caption for id '1'"),
        (b"id,caption\n1,\xff\n", "line 2: not UTF-8"),
    ],
)
def test_faulty_csv_is_one_line_with_file_and_place(tmp_path, content, place):
    path = written(tmp_path, content, "captions.csv")
    with pytest.raises(UserError) as error:
        read_hypotheses(path)
    assert str(error.value).startswith(f"{path}: ")
    assert place in str(error.value)


@pytest.mark.parametrize("id", ["image_id", "id", "item"])
def test_json_names_ids_as_csv_does(tmp_path, id):
    lines = f'{{"{id}": "a", "caption": "a dog"}}\n{{"{id}": 7, "caption": "a cat"}}\n'.encode()
    assert read_hypotheses(written(tmp_path, lines, "captions.jsonl")) == {"a": "a dog", "7": "a cat"}
    one = lines.splitlines()[0]
    assert read_hypotheses(written(tmp_path, one, "captions.jsonl")) == {"a": "a dog"}
    both = b'[{"id": 1, "image_id": 2, "caption": "a dog"}]'  # of a caption, and of its picture
    assert read_hypotheses(written(tmp_path, both, "captions.json")) == {"2": "a dog"}


def test_ids_are_read_a_line_each(tmp_path):
    assert read_ids(written(tmp_path, b" 7 \n\nb\n", "ids.txt")) == ["7", "b"]
    with pytest.raises(UserError, match=r"ids\.txt: no ids; write one a line"):
        read_ids(written(tmp_path, b"\n", "ids.txt"))


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (5, 'expected {"annotations": [...]}, [{"image_id": ..., "caption": ...}], {id: caption}'),
        ({"annotations": {}}, "annotations: expected a list, found an object"),
        ({"annotations": ["a"]}, "annotations[0]: expected an object, found a string"),
        ({"annotations": [{"caption": "a"}]}, "annotations[0]: 'image_id' is missing"),
        ({"annotations": [{"image_id": 1}]}, "annotations[0]: 'caption' is missing"),
        ({"annotations": [{"image_id": 1.5, "caption": "a"}]}, "annotations[0]: 'image_id' must be"),
        ({"annotations": [{"image_id": True, "caption": "a"}]}, "found a boolean"),
        (
            {"annotations": [{"image_id": 1, "caption": 5}]},
            "annotations[0]: the caption must be a string, found a number",
        ),
        ({"annotations": [], "images": [{}]}, "images[0]: 'id' is missing"),
        ({"annotations": [], "images": None}, "images: expected a list, found null"),
        ({"1": "<!a" * 4000}, "'1': a caption of 12,000 characters, of at most 10,000; shorten it"),
        ({"1": "a " * 1001}, "'1': a caption of 1,001 words, of at most 1,000; shorten it"),
        ({"1": 5}, "'1': the caption must be a string, found a number"),
        ({"1": ["a", None]}, "'1'[1]: the caption must be a string, found null"),
        (b'{"1": ["a"],\n "1": ["b"]}', "'1' stands twice"),
        (rb'{"\ud800": ["a"]}', r"'\ud800'[0]: half a character (a surrogate); correct it"),
        (rb'{"1": ["a \udc00"]}', "'1'[0]: half a character (a surrogate); correct it"),
        (rb'{"annotations": [], "images": [{"id": "\ud800"}]}', "images[0]: half a character (a surrogate)"),
        (b'{"1": ["a"],\n "2": ["\xff"]}', "line 2: not UTF-8"),
        (b'{"1": ["a"],\n "2": [}', "line 2, column 8: not JSON"),
        (b"", "line 1, column 1: not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"1": ' + b"1" * 5000 + b"}", "a number too long"),
    ],
)
def test_faulty_references_are_one_line_with_file_and_place(tmp_path, content, place):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_references(path)
    assert str(error.value).startswith(f"{path}: ")
    assert place in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("a", "found a string"),
        ([{"image_id": 1, "caption": "a"}, {"image_id": "1", "caption": "b"}], "[1]: a second caption for id '1'"),
        ([{"image_id": 1, "caption": ["a"]}], "[0]: the caption must be a string, found a list"),
        ([[]], "[0]: expected an object, found a list"),
        ({"1": ["a", "b"]}, "'1'[1]: a second caption for id '1'; keep one, or score them as sets"),
        ({"1": []}, "'1': no caption for id '1'; add one"),
        (b'{"1": "a", "1": "b"}', "'1' stands twice"),
    ],
)
def test_faulty_hypotheses_are_one_line_with_file_and_place(tmp_path, content, place):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_hypotheses(path)
    assert str(error.value).startswith(f"{path}: ")
    assert place in str(error.value)


def test_results_may_be_json_lines(tmp_path):
    lines = [json.dumps({"image_id": id, "caption": text}) for id, text in ((1, "one"), (2, ""))]
    for text in ("\n".join(lines), "\ufeff" + "\r\n\r\n".join(lines) + "\r\n"):
        assert read_hypotheses(written(tmp_path, text.encode())) == {"1": "one", "2": ""}
    path = written(tmp_path, "\n".join([*lines, '{"image_id": 3,']).encode())
    with pytest.raises(UserError) as error:
        read_hypotheses(path)
    assert str(error.value).startswith(f"{path}: line 3, column ")
    assert "neither one JSON value nor one a line" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_references(tmp_path / "none.json")


@pytest.mark.parametrize("form", [".tsv", ".gz", ".pkl"])
def test_another_form_is_named(tmp_path, form):
    (tmp_path / f"a{form}").write_text("id\tcaption\n1\ta man\n")
    with pytest.raises(UserError, match=rf"a\{form}: \{form} is not read; make it JSON, JSON Lines, .csv with commas"):
        read_hypotheses(tmp_path / f"a{form}")
