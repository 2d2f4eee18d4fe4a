"""Caption files: both formats are read alike, and every fault is one line that says where."""

import json

import pytest

from captionrl.errors import UserError
from captionrl.evaluation.captions import read_hypotheses, read_references


def written(tmp_path, content):
    path = tmp_path / "captions.json"
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


def test_both_formats_of_hypotheses_read_alike(tmp_path):
    coco = [{"image_id": 7, "caption": "one"}, {"image_id": "b", "caption": ""}]
    assert read_hypotheses(written(tmp_path, coco)) == {"7": "one", "b": ""}
    assert read_hypotheses(written(tmp_path, {"7": "one", "b": ""})) == {"7": "one", "b": ""}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "expected"),
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
        ({"1": "a"}, "'1': expected a list of captions, found a string"),
        ({"1": ["a", None]}, "'1'[1]: the caption must be a string, found null"),
        (b'{"1": ["a"],\n "1": ["b"]}', "'1' stands twice"),
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
        ({"1": ["a"]}, "'1': the caption must be a string, found a list"),
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
