import base64
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from captionrl.errors import UserError
from captionrl.features.regions import key, store_regions
from captionrl.features.store import FeatureStore

ITEMS = ["COCO_val2014_000000391895", "000000060623", "COCO_train2014_000000318219"]
NUMBERS = [391895, 60623, 318219]
FEATURES = {
    number: np.random.default_rng(number).random((rows, 16), np.float32)
    for number, rows in zip(NUMBERS, (36, 10, 100), strict=True)
}


@pytest.fixture
def call(tmp_path):
    """The store of ITEMS and its manifest."""

    def call(source, items=ITEMS, name="a"):
        out, manifest = tmp_path / f"{name}.h5", tmp_path / f"{name}.json"
        summary = store_regions(items, source, out, manifest, code_version="1")
        assert json.loads(manifest.read_text()) == summary
        return FeatureStore(out), summary

    return call


def write_npz(folder, features=FEATURES, name="feat"):
    folder.mkdir()
    for number, array in features.items():
        np.savez_compressed(folder / f"{number}.npz", **{name: array, "bbox": np.zeros((len(array), 4))})
    return folder


def tsv_line(number, array, *, between=()):
    features = base64.b64encode(array.astype("<f4").tobytes()).decode()
    boxes = base64.b64encode(np.zeros((len(array), 4), np.float32).tobytes()).decode()
    return "\t".join([str(number), "640", "480", *between, str(len(array)), boxes, features]) + "\n"


def assert_holds_features(store):
    for item, number in zip(ITEMS, NUMBERS, strict=True):
        assert np.array_equal(store.read(item), FEATURES[number].astype(np.float16))


@pytest.mark.parametrize("name", ["feat", "features", "x"])
def test_a_directory_of_npz(call, tmp_path, name):
    store, summary = call(write_npz(tmp_path / "source", FEATURES | {7: np.ones((3, 16), np.float32)}, name))
    assert_holds_features(store)
    assert store.items == ITEMS  # the others are passed over
    assert (summary["items"], summary["frames"], summary["dim"], summary["failures"]) == (3, 146, 16, {})
    assert (store.dim, store.grid, store.attributes["backbone"], store.attributes["fps"]) == (16, 0, "bottomup", 0)


def test_a_directory_of_npy(call, tmp_path):
    (tmp_path / "source").mkdir()
    for item, number in zip(ITEMS, NUMBERS, strict=True):
        np.save(tmp_path / f"source/{item}.npy", FEATURES[number].astype(np.float64))
    (tmp_path / "source/README.txt").write_text("where they are from")
    assert_holds_features(call(tmp_path / "source")[0])


@pytest.mark.parametrize(
    "between", [(), ("objects_id", "objects_conf", "attrs_id", "attrs_conf")], ids=["bu", "lxmert"]
)
def test_tsv(call, tmp_path, between):
    """In the file's order; other images are passed over, and of an image named twice the first line counts."""
    lines = [tsv_line(n, FEATURES[n], between=between) for n in reversed(NUMBERS)]
    lines[1:1] = [tsv_line(NUMBERS[2], np.ones((5, 16))), tsv_line(99, np.ones((5, 7)))]
    (tmp_path / "a.tsv").write_text("".join(lines))
    store, _ = call(tmp_path / "a.tsv")
    assert_holds_features(store)
    assert store.items == ITEMS[::-1]


def test_a_directory_of_tsv_parts(call, tmp_path):
    (tmp_path / "source").mkdir()
    for part, number in enumerate(NUMBERS):
        (tmp_path / f"source/train.tsv.{part}").write_text(tsv_line(number, FEATURES[number]))
    assert_holds_features(call(tmp_path / "source")[0])


def test_a_tsv_is_streamed(tmp_path, call, monkeypatch):
    """At no time more than a line of it is in memory, and features of images that nobody wants are not decoded."""
    import captionrl.features.regions as module

    decoded, longest = [], []
    decode, opened = module._decode, open

    class Watched(io.BufferedReader):
        def readline(self, size=-1):
            line = super().readline(size)
            longest.append(len(line))
            return line

        def read(self, *_):
            raise AssertionError("read at once")

    monkeypatch.setattr(module, "_decode", lambda fields, where: decoded.append(fields[0]) or decode(fields, where))
    monkeypatch.setattr(module, "open", lambda path, mode: Watched(io.FileIO(path)), raising=False)
    lines = [tsv_line(n, np.ones((9, 16))) for n in range(50)] + [tsv_line(n, FEATURES[n]) for n in NUMBERS]
    with opened(tmp_path / "a.tsv", "w") as file:
        file.writelines(lines)
    call(tmp_path / "a.tsv")
    assert len(decoded) == 3
    assert max(longest) == max(map(len, lines))


def test_key():
    assert {key(name) for name in ("COCO_val2014_000000391895", "000000391895", "391895")} == {"391895"}
    assert key("1000268201_693b08cb0e") == "1000268201_693b08cb0e"  # Flickr8k: the end is no number
    assert key("0") == key("000") == "0"


def test_the_digest_stands_for_the_weights(call, tmp_path):
    store, summary = call(write_npz(tmp_path / "one"))
    assert store.attributes["weights_sha256"] == summary["weights_sha256"] == summary["sha256"]
    again, _ = call(write_npz(tmp_path / "two", name="x"), name="b")
    assert again.attributes["weights_sha256"] == summary["sha256"]
    other, _ = call(write_npz(tmp_path / "three", FEATURES | {60623: np.ones((10, 16), np.float32)}), name="c")
    assert other.attributes["weights_sha256"] != summary["sha256"]


def test_items_without_features_are_counted_and_nothing_is_written(call, tmp_path):
    items = [*ITEMS, *(f"COCO_val2014_{number:012d}" for number in range(1, 10))]
    (tmp_path / "a.tsv").write_text("".join(tsv_line(n, FEATURES[n]) for n in NUMBERS))
    for source in (write_npz(tmp_path / "source"), tmp_path / "a.tsv"):
        with pytest.raises(UserError) as raised:
            call(source, items)
        assert str(raised.value) == (
            f"{source}: 9 of 12 items have no features there (COCO_val2014_000000000001, COCO_val2014_000000000002, "
            "COCO_val2014_000000000003, COCO_val2014_000000000004, COCO_val2014_000000000005, ...); add theirs"
        )
    assert {path.name for path in tmp_path.iterdir()} == {"a.tsv", "source"}


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path(self.target),)


def test_nothing_is_unpickled(call, tmp_path):
    bomb = Bomb()
    bomb.target = str(tmp_path / "boom")
    source = write_npz(tmp_path / "source")
    np.savez(source / "60623.npz", feat=np.array([bomb], dtype=object))
    with pytest.raises(UserError, match=r"60623.npz: not a whole .npz or .npy of plain numbers"):
        call(source)
    (source / "60623.npz").write_bytes(pickle.dumps(bomb))
    with pytest.raises(UserError, match=r"60623.npz: not a whole .npz or .npy of plain numbers"):
        call(source)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_half_an_npz(call, tmp_path, share):
    source = write_npz(tmp_path / "source")
    data = (source / "318219.npz").read_bytes()
    (source / "318219.npz").write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"318219.npz: not a whole"):
        call(source)


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.ones((3, 8), np.float32), r"8 numbers a region, but others have 16"),
        (np.ones((3, 4, 16), np.float32), r"float32 \[3, 4, 16\]; features must be floats \[regions, dim\]"),
        (np.ones((0, 16), np.float32), r"float32 \[0, 16\]"),
        (np.ones((3, 16), np.int64), r"int64 \[3, 16\]"),
        (np.full((3, 16), np.nan, np.float32), r"not finite"),
        (np.full((3, 16), 1e6, np.float32), r"not finite, or beyond float16"),
    ],
)
def test_arrays_that_are_no_features(call, tmp_path, array, cause):
    source = write_npz(tmp_path / "source", FEATURES | {60623: array})
    with pytest.raises(UserError, match=rf"source: image 60623: {cause}"):
        call(source)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (tsv_line(60623, FEATURES[60623])[:-40], "line 2: features are not 10 rows of float32"),
        (tsv_line(60623, FEATURES[60623]).replace("\t10\t", "\tten\t"), "line 2: features are not ten rows"),
        (tsv_line(60623, FEATURES[60623])[:-9] + "!!!!!!!!\n", "line 2: features are not 10 rows"),
        (tsv_line(60623, FEATURES[60623])[:200], "line 2: 5 of 6 columns; cut off"),
        ("60623\n", "line 2: 1 of 6 columns"),
    ],
)
def test_bad_lines_are_named(call, tmp_path, line, cause):
    (tmp_path / "a.tsv").write_text(tsv_line(NUMBERS[0], FEATURES[NUMBERS[0]]) + line)
    with pytest.raises(UserError, match=f"a.tsv: {cause}"):
        call(tmp_path / "a.tsv")
    assert not (tmp_path / "a.h5").exists()


def test_mistakes_are_named(call, tmp_path):
    with pytest.raises(UserError, match="none: no such file or directory"):
        call(tmp_path / "none")
    source = write_npz(tmp_path / "source")
    with pytest.raises(UserError, match="000000060623 and COCO_val2014_000000060623 have the same number 60623"):
        call(source, [*ITEMS, "COCO_val2014_000000060623"])
    np.save(source / "000060623.npy", FEATURES[60623])
    with pytest.raises(UserError, match=r"000060623.npy and .*60623.npz have the same number 60623; rename"):
        call(source)
    np.savez(source / "391895.npz", boxes=np.ones(3))
    (source / "000060623.npy").unlink()
    with pytest.raises(UserError, match=r"391895.npz: holds boxes; features must be called feat or features or x"):
        call(source)
