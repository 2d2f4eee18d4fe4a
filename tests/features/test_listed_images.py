"""`captionrl features --images`: the pictures that a COCO file lists, with no corpus prepared."""

import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from captionrl import cli
from captionrl.features.store import FeatureStore
from captionrl.files import read_bytes, write_json

NAMES = [f"COCO_test2014_{number:012d}.jpg" for number in (20, 13, 27)]


@pytest.fixture
def raw(tmp_path):
    """A directory as COCO's zips unpack, of three test images."""
    raw = tmp_path / "raw"
    images = [{"id": number, "file_name": name} for number, name in enumerate(NAMES)]
    write_json(raw / "annotations/image_info_test2014.json", {"images": images})
    (raw / "test2014").mkdir()
    for level, name in zip((40, 120, 200), NAMES, strict=True):
        Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(raw / "test2014" / name)
    return raw


@pytest.fixture
def extract(raw, mini_weights, tmp_path, monkeypatch, capsys):
    """(exit status, stderr) of the command."""

    def extract(*items):
        given = items or ["--images", raw / "annotations/image_info_test2014.json"]
        command = ["captionrl", "features", "--backbone", "mini", "--weights", mini_weights, "--raw", raw, *given]
        command += ["--out", tmp_path / "f.h5", "--state", tmp_path / "state", "--workers", "1", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        try:
            cli.main()
            return 0, capsys.readouterr().err
        except SystemExit as end:
            return end.code, capsys.readouterr().err

    return extract


def test_every_listed_picture_is_an_item_called_as_its_file(extract, tmp_path):
    assert extract()[0] == 0
    store = FeatureStore(tmp_path / "f.h5")
    assert store.items == [name.removesuffix(".jpg") for name in NAMES]
    assert len({store.read(item).tobytes() for item in store.items}) == 3
    assert (tmp_path / "f.json").exists()


def test_cocos_zip_serves_where_the_list_was_not_unpacked(extract, raw, tmp_path):
    path = raw / "annotations/image_info_test2014.json"
    with zipfile.ZipFile(raw / "image_info_test2014.zip", "w") as file:
        file.writestr("annotations/image_info_test2014.json", read_bytes(path))
    path.unlink()
    assert extract()[0] == 0
    assert len(FeatureStore(tmp_path / "f.h5")) == 3


def test_a_missing_list_is_one_line_that_says_what_to_put_where(extract, raw):
    (raw / "annotations/image_info_test2014.json").unlink()
    status, said = extract()
    assert status == 2
    assert said.count("\n") == 1
    assert "image_info_test2014.json: no such file, nor image_info_test2014.zip; `captionrl download" in said
    assert "from: http://images.cocodataset.org/annotations/image_info_test2014.zip)" in said


def test_missing_pictures_are_one_line_that_says_what_to_put_where(extract, raw, tmp_path):
    for name in NAMES[1:]:
        (raw / "test2014" / name).unlink()
    status, said = extract()
    assert status == 2
    assert said.count("\n") == 1
    assert f"test2014/{NAMES[1]}: missing (and 1 more); `captionrl download coco-server --into {raw}`" in said
    assert "(COCO's 40,775 test images" in said
    assert "from: http://images.cocodataset.org/zips/test2014.zip)" in said
    assert not (tmp_path / "f.h5").exists()


def test_items_come_from_a_corpus_or_from_a_list(extract, raw, tmp_path):
    assert "not allowed with argument" in extract("--images", raw, "--captions", tmp_path)[1]
    assert "one of the arguments --captions --images is required" in extract("--fps", "3")[1]
