"""Features of other programs become a store: every form of file, and one clear line for every fault."""

import base64
import io
import json
import pickle
import re
import runpy
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch

from captionrl.errors import UserError
from captionrl.features.export import export_features
from captionrl.features.imports import Kind, import_features
from captionrl.features.sources import number_of
from captionrl.features.store import FeatureStore, write_store

CLIPS = ["mv89psg6zh4_33_46", "abc_1_46", "-x.y_0_7"]  # MSVD's, two of which end in the same second
COCO = ["COCO_val2014_000000391895", "000000060623", "COCO_train2014_000000318219"]
DIM = 16


def random(rows, seed, dtype=np.float32):
    shape = (*rows, DIM) if isinstance(rows, tuple) else (rows, DIM)
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


REGIONS = {item: random(rows, seed) for seed, (item, rows) in enumerate(zip(CLIPS, (36, 10, 100), strict=True))}
VECTORS = {item: array[0] for item, array in REGIONS.items()}
NUMBERS = {number_of(item): random(rows, rows) for item, rows in zip(COCO, (36, 10, 100), strict=True)}


@pytest.fixture
def call(tmp_path):
    """The store of items and its manifest."""

    def call(source, items=CLIPS, name="a", kind=Kind("own:clip"), **options):  # noqa: B008 - it is frozen
        out = tmp_path / f"out/{name}.h5"
        summary = import_features(items, source, out, kind=kind, code_version="1", **options)
        assert json.loads(out.with_suffix(".json").read_text()) == summary
        return FeatureStore(out), summary

    return call


@pytest.fixture
def refused(call, tmp_path):
    """The message of a refusal, which leaves nothing behind."""

    def refused(source, *arguments, **options):
        with pytest.raises(UserError) as raised:
            call(source, *arguments, **options)
        assert list((tmp_path / "out").glob("*")) == []
        return str(raised.value)

    return refused


def save_h5(path, arrays, folder="", key=""):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[f"{folder}{name}{key}"] = array


def save_compressed_h5(path, arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=True, compression="gzip")


def save_under_a_wrong_name(path, arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def save_objects(path, arrays):
    objects = {name: np.empty(len(array), object) for name, array in arrays.items()}
    for name, array in arrays.items():
        objects[name][:] = list(array)
    np.savez(path, **objects)


def save_legacy(tensors, path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


ONE_FILE = {
    "npz": ("a.npz", lambda path, arrays: np.savez(path, **arrays)),
    "compressed npz": ("a.npz", lambda path, arrays: np.savez_compressed(path, **arrays)),
    "h5": ("a.h5", save_h5),
    "compressed h5": ("a.hdf5", save_compressed_h5),
    "h5, a group an item": ("a.h5", lambda path, arrays: save_h5(path, arrays, key="/features")),
    "h5, by split": ("a.h5", lambda path, arrays: save_h5(path, arrays, folder="videos/train/")),
    "pt": ("a.pt", lambda path, arrays: torch.save(tensors(arrays), path)),
    "old pth": ("a.pth", lambda path, arrays: save_legacy(tensors(arrays), path)),
    "pt, by split": ("a.pt", lambda path, arrays: torch.save({"train": tensors(arrays), "epoch": 3}, path)),
    "safetensors": ("a.safetensors", lambda path, arrays: save_numpy(arrays, path)),
    "a wrong name": ("a.npy", save_under_a_wrong_name),
}
ONE_ITEM = {
    "npy": (".npy", np.save),
    "npy in Fortran's order": (".npy", lambda path, array: np.save(path, np.asfortranarray(array))),
    "npy, big-endian": (".npy", lambda path, array: np.save(path, array.astype(">f4"))),
    "npz": (".npz", lambda path, array: np.savez(path, clip=array)),
    "npz with boxes": (".npz", lambda path, array: np.savez_compressed(path, boxes=np.zeros((3, 4)), x=array)),
    "h5": (".h5", lambda path, array: save_h5(path, {"feat": array, "boxes": np.zeros((3, 4))})),
    "pt": (".pt", lambda path, array: torch.save(torch.from_numpy(array), path)),
    "old pt": (".pth", lambda path, array: save_legacy(torch.from_numpy(array), path)),
    "pt with more": (".pt", lambda path, array: torch.save({"features": torch.from_numpy(array), "fps": 2.0}, path)),
    "safetensors": (".safetensors", lambda path, array: save_numpy({"clip": array}, path)),
}


def assert_holds(store, arrays):
    assert store.items == list(arrays)
    for item, array in arrays.items():
        assert store.read(item).dtype == np.float16
        assert np.array_equal(store.read(item), np.atleast_2d(array).astype(np.float16))


@pytest.mark.parametrize("arrays", [REGIONS, VECTORS], ids=["regions", "vectors"])
@pytest.mark.parametrize(("name", "save"), ONE_FILE.values(), ids=ONE_FILE)
def test_one_file_of_all_items(call, tmp_path, capsys, name, save, arrays):
    save(tmp_path / name, {"another_46": np.ones((3, 7), np.float32)} | dict(reversed(arrays.items())))
    store, summary = call(tmp_path / name)
    assert_holds(store, arrays)  # in the corpus' order
    rows = sum(len(np.atleast_2d(array)) for array in arrays.values())
    assert (summary["items"], summary["frames"], summary["dim"], summary["failures"]) == (3, rows, DIM, {})
    assert re.search(f"1 names are no item's and left out, such as '{name}: [a-z/]*another_46", capsys.readouterr().err)


@pytest.mark.parametrize("arrays", [REGIONS, VECTORS], ids=["regions", "vectors"])
@pytest.mark.parametrize("place", ["{}", "{}/{}"], ids=["flat", "by split"])
@pytest.mark.parametrize(("suffix", "save"), ONE_ITEM.values(), ids=ONE_ITEM)
def test_a_file_an_item(call, tmp_path, suffix, save, place, arrays):
    for split, (item, array) in zip(("train", "val", "test"), arrays.items(), strict=True):
        path = tmp_path / "source" / (split if "/" in place else "") / f"{item}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, array)
    (tmp_path / "source/README.txt").write_text("where they are from")
    assert_holds(call(tmp_path / "source")[0], arrays)


def test_a_few_files_of_many_items(call, tmp_path):
    (tmp_path / "source").mkdir()
    save_h5(tmp_path / "source/train.h5", dict(list(REGIONS.items())[:2]))
    np.savez(tmp_path / "source/test.npz", **dict(list(REGIONS.items())[2:]))
    assert_holds(call(tmp_path / "source")[0], REGIONS)


@pytest.mark.parametrize("rows", [(), 5, (2, 3)], ids=["vectors", "regions", "grids"])
@pytest.mark.parametrize("form", ["npy", "h5", "pt", "safetensors"])
def test_the_rows_of_one_array_and_a_list_of_their_ids(call, tmp_path, rows, form):
    rows = (4, *((rows,) if isinstance(rows, int) else rows))
    array = random(rows if len(rows) < 3 else (4, 2, 2), 0)
    path = tmp_path / f"a.{form}"
    {
        "npy": lambda: np.save(path, array),
        "h5": lambda: save_h5(path, {"features": array, "boxes": np.zeros((4, 4))}),
        "pt": lambda: torch.save(torch.from_numpy(array), path),
        "safetensors": lambda: save_numpy({"features": array, "boxes": np.zeros((4, 4))}, path),
    }[form]()
    (tmp_path / "ids.txt").write_text("\n".join([CLIPS[2], "another", CLIPS[0], CLIPS[1]]) + "\n")
    kind = Kind("own:clip", grid=2 if array.ndim == 4 else 0)
    store, _ = call(path, ids_file=tmp_path / "ids.txt", kind=kind)
    assert_holds(store, {item: array[row].reshape(-1, DIM) for item, row in zip(CLIPS, (2, 3, 0), strict=True)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_floats_of_every_size(call, tmp_path, dtype, form):
    arrays = {item: torch.from_numpy(array).to(dtype) for item, array in REGIONS.items()}
    path = tmp_path / f"a.{form}"
    torch.save(arrays, path) if form == "pt" else save_torch(arrays, path)
    assert_holds(call(path)[0], {item: array.double().numpy() for item, array in arrays.items()})


def test_a_store_itself_can_be_imported(call, tmp_path):
    attributes = {"backbone": "mini", "weights_sha256": "ab" * 32, "fps": 3.0, "transform": "t", "code_version": "1"}
    manifest = write_store(tmp_path / "b.h5", REGIONS.items(), attributes | {"dim": DIM})
    assert call(tmp_path / "b.h5")[1]["sha256"] == manifest["sha256"]


@pytest.mark.parametrize("out", ["b.npz", "folder"])
@pytest.mark.parametrize("rows", [1, 5, 8], ids=["vectors", "regions", "grids"])
def test_what_is_exported_and_imported_again_is_equal(call, tmp_path, rows, out):
    arrays = {item: random(rows, seed, np.float16) for seed, item in enumerate(CLIPS)}
    grid = 2 if rows == 8 else 0
    attributes = {"backbone": "mini", "weights_sha256": "ab" * 32, "fps": 3.0, "transform": "t", "code_version": "1"}
    manifest = write_store(tmp_path / "a.h5", arrays.items(), attributes | {"dim": DIM, "grid": grid})
    export_features(tmp_path / "a.h5", tmp_path / out)
    store, summary = call(tmp_path / out, kind=Kind("own:mini", 3.0, grid))
    assert_holds(store, arrays)
    same = ("sha256", "items", "frames", "dim", "fps", "grid")
    assert {key: summary[key] for key in same} == {key: manifest[key] for key in same}
    with np.load(tmp_path / out) if out == "b.npz" else io.BytesIO() as loaded:
        for item, array in arrays.items() if out == "b.npz" else ():
            assert np.array_equal(loaded[item], array)  # for numpy, too


def test_export_overwrites_no_folder_and_exports_no_frames(tmp_path):
    attributes = {"backbone": "mini", "weights_sha256": "ab" * 32, "fps": 3.0, "transform": "t", "code_version": "1"}
    write_store(tmp_path / "a.h5", [("a", np.ones((2, 9), np.uint8))], attributes | {"dim": 9})
    for out in ("b.npz", "folder"):
        with pytest.raises(UserError, match=r"a.h5: holds frames, not features"):
            export_features(tmp_path / "a.h5", tmp_path / out)
    with pytest.raises(UserError, match=r"b.csv: give a file .npz or, without a suffix, a folder"):
        export_features(tmp_path / "a.h5", tmp_path / "b.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: exists already"):
        export_features(tmp_path / "a.h5", tmp_path / "folder")
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", "folder"}


def test_grids(call, refused, tmp_path):
    cells = random(3 * 4, 1)
    kind = Kind("own:clip", 2.0, 2)
    for name, array in (("rows", cells), ("frames", cells.reshape(3, 2, 2, DIM))):
        np.savez(tmp_path / f"{name}.npz", clip=array)
        store, _ = call(tmp_path / f"{name}.npz", ["clip"], name, kind)
        assert np.array_equal(store.read("clip"), cells.astype(np.float16))
        assert (store.grid, store.attributes["fps"], store.attributes["backbone"]) == (2, 2.0, "own:clip")
    np.savez(tmp_path / "one.npz", clip=cells[:4].reshape(2, 2, DIM))
    assert len(call(tmp_path / "one.npz", ["clip"], "c", kind)[0].read("clip")) == 4
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    np.savez(tmp_path / "odd.npz", clip=cells[:10])
    assert "odd.npz: clip: 10 rows, which are no whole frames of 2 x 2 cells" in refused(
        tmp_path / "odd.npz", ["clip"], kind=kind
    )
    assert "float32 [3, 2, 2, 16]; features must be floats [dim] or [rows, dim]" in refused(
        tmp_path / "frames.npz", ["clip"]
    )


def test_a_store_of_more_features_by_the_same_extractor(call, refused, tmp_path):
    """A checkpoint that was trained on the one reads the other."""
    np.savez(tmp_path / "a.npz", **REGIONS)
    first, _ = call(tmp_path / "a.npz", kind=Kind("own:clip", 2.0))
    np.savez(tmp_path / "b.npz", new=REGIONS[CLIPS[0]] + 1)
    second, summary = call(tmp_path / "b.npz", ["new"], "b", Kind.of(first))
    assert first.attributes == second.attributes
    assert summary["sha256"] != first.attributes["weights_sha256"]
    np.savez(tmp_path / "c.npz", new=np.ones((3, 8), np.float32))
    kind = Kind.of(first)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert "c.npz: new: 8 numbers a row, but others have 16" in refused(tmp_path / "c.npz", ["new"], kind=kind)


def test_the_digest_stands_for_the_weights(call, tmp_path):
    np.savez(tmp_path / "a.npz", **REGIONS)
    save_h5(tmp_path / "b.h5", REGIONS)
    np.savez(tmp_path / "c.npz", **REGIONS | {CLIPS[1]: np.ones((10, DIM), np.float32)})
    store, summary = call(tmp_path / "a.npz")
    assert store.attributes["weights_sha256"] == summary["weights_sha256"] == summary["sha256"]
    assert call(tmp_path / "b.h5", name="b")[1]["sha256"] == summary["sha256"]
    assert call(tmp_path / "c.npz", name="c")[1]["sha256"] != summary["sha256"]


def test_number_of():
    names = ("COCO_val2014_000000391895", "000000391895", "391895")
    assert {number_of(name) for name in names} == {"391895"}
    assert number_of("1000268201_693b08cb0e") == "1000268201_693b08cb0e"  # Flickr8k: the end is no number
    assert number_of("0") == number_of("000") == "0"


def tsv_line(number, array, *, between=()):
    features = base64.b64encode(array.astype("<f4").tobytes()).decode()
    boxes = base64.b64encode(np.zeros((len(array), 4), np.float32).tobytes()).decode()
    return "\t".join([str(number), "640", "480", *between, str(len(array)), boxes, features]) + "\n"


def by_item(order=1):
    return {item: NUMBERS[number_of(item)] for item in COCO[::order]}


@pytest.mark.parametrize(
    "between", [(), ("objects_id", "objects_conf", "attrs_id", "attrs_conf")], ids=["bu", "lxmert"]
)
def test_tsv(call, tmp_path, between):
    """In the file's order; other images are left out, and of an image named twice the first line counts."""
    lines = [tsv_line(number, array, between=between) for number, array in reversed(NUMBERS.items())]
    lines[1:1] = [tsv_line(number_of(COCO[2]), np.ones((5, DIM))), tsv_line(99, np.ones((5, 7)))]
    (tmp_path / "a.tsv").write_text("".join(lines))
    assert_holds(call(tmp_path / "a.tsv", COCO, by_number=True)[0], by_item(-1))


def test_a_tsv_in_parts_and_with_exact_ids(call, tmp_path):
    (tmp_path / "source").mkdir()
    for part, (number, array) in enumerate(NUMBERS.items()):
        (tmp_path / f"source/train.tsv.{part}").write_text(tsv_line(number, array))
    assert_holds(call(tmp_path / "source", COCO, by_number=True)[0], by_item())
    (tmp_path / "exact.tsv").write_text("".join(tsv_line(item, array) for item, array in REGIONS.items()))
    assert_holds(call(tmp_path / "exact.tsv", name="b")[0], REGIONS)


def test_a_number_of_many_zeros_takes_linear_time():
    start = time.monotonic()
    assert number_of("0" * 100_000 + "x") == "0" * 100_000 + "x"
    assert number_of("a_" * 100_000 + "0" * 100_000) == "0"
    assert time.monotonic() - start < 2


def test_linked_folders_are_looked_into(call, tmp_path):
    for folder in ("elsewhere", "features"):
        (tmp_path / folder).mkdir()
    for number, clip in enumerate(CLIPS):
        np.save(tmp_path / f"elsewhere/{clip}.npy", random(3, number))
    (tmp_path / "features/part").symlink_to(tmp_path / "elsewhere")
    assert call(tmp_path / "features")[0].items == CLIPS


def test_a_folder_by_number(call, tmp_path):
    (tmp_path / "source").mkdir()
    for number, array in NUMBERS.items():
        np.savez(tmp_path / f"source/{number}.npz", feat=array, bbox=np.zeros((len(array), 4)))
    assert_holds(call(tmp_path / "source", COCO, by_number=True)[0], by_item())


def test_a_tsv_is_streamed(tmp_path, call, monkeypatch):
    """At no time more than a line of it is in memory, and features of images that nobody wants are not decoded."""
    import captionrl.features.sources as module

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
    lines = [tsv_line(n, np.ones((9, DIM))) for n in range(50)]
    lines += [tsv_line(number, array) for number, array in NUMBERS.items()]
    with opened(tmp_path / "a.tsv", "w") as file:
        file.writelines(lines)
    call(tmp_path / "a.tsv", COCO, by_number=True)
    assert len(decoded) == 3
    assert max(longest) == max(map(len, lines))


MEMORY = """
import re, sys
from pathlib import Path
from captionrl.features.imports import Kind, import_features
def memory(what):  # KiB
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
items = [f"clip{i}" for i in range(40)]
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = memory("VmRSS")
import_features(items, Path(sys.argv[1]), Path(sys.argv[2]), kind=Kind("own:clip"), code_version="1")
print(memory("VmHWM") - before)
"""


@pytest.mark.parametrize("form", ["npz", "h5", "pt", "safetensors", "folder"])
def test_one_item_is_in_memory_at_a_time(tmp_path, form):
    """Forty arrays of 4 MiB, of float32, are 160 MiB."""
    arrays = {f"clip{i}": np.full((1024, 1024), i / 64, np.float32) for i in range(40)}
    source = tmp_path / f"a.{form}" if form != "folder" else tmp_path / "source"
    if form == "npz":
        np.savez(source, **arrays)
    elif form == "h5":
        save_h5(source, arrays)
    elif form == "pt":
        torch.save(tensors(arrays), source)
    elif form == "safetensors":
        save_numpy(arrays, source)
    else:
        source.mkdir()
        for name, array in arrays.items():
            np.save(source / f"{name}.npy", array)
    command = [sys.executable, "-c", MEMORY, source, tmp_path / "out.h5"]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    mapped = 160 * 1024 if form in ("pt", "safetensors") else 0  # pages of the file, which the system may take back
    assert grown < 64 * 1024 + mapped


def test_items_without_features_are_counted_and_nothing_is_written(refused, tmp_path):
    items = [*CLIPS, *(f"video{number}" for number in range(1, 10))]
    listed = "video1, video2, video3, video4, video5, ..."
    message = f"9 of 12 items have no features there ({listed}); add theirs, or allow as many failures"
    np.savez(tmp_path / "a.npz", **REGIONS)
    (tmp_path / "a.tsv").write_text("".join(tsv_line(item, array) for item, array in REGIONS.items()))
    assert refused(tmp_path / "a.npz", items) == f"{tmp_path / 'a.npz'}: {message}"
    assert refused(tmp_path / "a.tsv", items) == f"{tmp_path / 'a.tsv'}: {message}"
    np.savez(tmp_path / "a.npz", **{f"{item}.avi": array for item, array in REGIONS.items()})
    assert refused(tmp_path / "a.npz").endswith(
        f"add theirs, or rename them (others there are called like 'a.npz: {CLIPS[0]}.avi'), or allow as many failures"
    )


def test_so_many_items_may_be_without_features(call, refused, tmp_path):
    for path in (tmp_path / "a.npz", tmp_path / "a.tsv"):
        np.savez(path, **REGIONS) if path.suffix == ".npz" else path.write_text(
            "".join(tsv_line(item, array) for item, array in REGIONS.items())
        )
        assert "2 of 5 items" in refused(path, [*CLIPS, "one", "two"], allowed_failures=1)
        assert "2 of 2 items" in refused(path, ["one", "two"], allowed_failures=2)
        store, summary = call(path, [*CLIPS, "one"], allowed_failures=1)
        assert_holds(store, REGIONS)
        assert summary["failures"] == {"one": "not among the imported features"}
        for made in (tmp_path / "out").iterdir():
            made.unlink()


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


PICKLED = {
    "pkl": ("a.pkl", lambda path, arrays: path.write_bytes(pickle.dumps(arrays))),
    "old pkl": ("a.pkl", lambda path, arrays: path.write_bytes(pickle.dumps(arrays, protocol=0))),
    "pkl called npz": ("a.npz", lambda path, arrays: path.write_bytes(pickle.dumps(arrays))),
    "pkl called pt": ("a.pt", lambda path, arrays: path.write_bytes(pickle.dumps(arrays, protocol=2))),
    "npy": ("a.npy", lambda path, arrays: np.save(path, np.array(arrays, dtype=object))),
    "npz": ("a.npz", save_objects),
    "pt": ("a.pt", lambda path, arrays: torch.save(arrays, path)),
    "old pt": ("a.pt", lambda path, arrays: save_legacy(arrays, path)),
}


@pytest.mark.parametrize(("name", "save"), PICKLED.values(), ids=PICKLED)
def test_a_pickle_is_refused_with_two_lines_that_convert_it(call, refused, tmp_path, name, save):
    source = tmp_path / name
    save(source, REGIONS)
    first, *lines = refused(source).splitlines()
    what = "a pickle, which runs whatever code is in it when it is read; if you trust it, make an .npz of it with "
    assert first == f"{source}: {what}these two lines of Python:"
    assert len(lines) == 2
    (tmp_path / "convert.py").write_text("\n".join(lines) + "\n")
    runpy.run_path(str(tmp_path / "convert.py"))
    assert_holds(call(source.with_suffix(".npz"))[0], REGIONS)


@pytest.mark.parametrize("wrap", [lambda array: array, lambda array: {"feat": array, "fps": 2}], ids=["array", "dict"])
def test_a_folder_of_pickles_is_refused_likewise(call, refused, tmp_path, wrap):
    source = tmp_path / "source"
    for split, (item, array) in zip(("train", "val", "test"), REGIONS.items(), strict=True):
        (source / split).mkdir(parents=True)
        (source / split / f"{item}.pickle").write_bytes(pickle.dumps(wrap(array)))
    first, *lines = refused(source).splitlines()
    assert first.startswith(f"{source}: a pickle, ")
    assert len(lines) == 2
    (tmp_path / "convert.py").write_text("\n".join(lines) + "\n")
    runpy.run_path(str(tmp_path / "convert.py"))
    assert_holds(call(source)[0], REGIONS)


@pytest.mark.parametrize(("name", "save"), PICKLED.values(), ids=PICKLED)
def test_nothing_is_unpickled(refused, tmp_path, name, save):
    save(tmp_path / name, {CLIPS[0]: [Bomb(tmp_path / "boom")]})
    assert "a pickle, which runs" in refused(tmp_path / name, CLIPS[:1])
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(("name", "save"), ONE_FILE.values(), ids=ONE_FILE)
def test_half_a_file(refused, tmp_path, name, save, share):
    save(tmp_path / name, REGIONS)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    message = refused(tmp_path / name)
    assert message.startswith(f"{tmp_path / name}: {'an empty file' if share == 0 else ''}")
    assert message.endswith("copy or extract it again")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize(("suffix", "save"), ONE_ITEM.values(), ids=ONE_ITEM)
def test_half_a_file_of_an_item(refused, tmp_path, suffix, save, share):
    (tmp_path / "source").mkdir()
    for item, array in REGIONS.items():
        save(tmp_path / f"source/{item}{suffix}", array)
    data = path_of_last(tmp_path, suffix).read_bytes()
    path_of_last(tmp_path, suffix).write_bytes(data[: int(share * len(data))])
    message = refused(tmp_path / "source")
    assert message.startswith(f"{path_of_last(tmp_path, suffix)}: cut off or damaged (")
    assert message.endswith("); copy or extract it again")


def path_of_last(tmp_path, suffix):
    return tmp_path / f"source/{CLIPS[2]}{suffix}"


@pytest.mark.parametrize(
    ("array", "cause"),
    [
        (np.ones((3, 8), np.float32), "8 numbers a row, but others have 16; take one extractor's"),
        (np.ones((3, 4, DIM), np.float32), "float32 [3, 4, 16]; features must be floats [dim] or [rows, dim]"),
        (np.float32(1), "float32 []"),
        (np.ones((0, DIM), np.float32), "float32 [0, 16]"),
        (np.ones((3, DIM), np.int64), "int64 [3, 16]"),
        (np.ones((3, DIM), bool), "bool [3, 16]"),
        (np.ones((3, DIM), np.complex64), "complex64 [3, 16]"),
        (np.full((3, DIM), np.nan, np.float32), "not finite, or beyond float16 (65504); extract it again"),
        (np.full((3, DIM), -np.inf, np.float32), "not finite"),
        (np.full((3, DIM), 1e6, np.float32), "not finite"),
        (np.full((3, DIM), 1e-9, np.float32), "all its numbers are too small for float16 (6e-8); scale them"),
    ],
)
def test_arrays_that_are_no_features(refused, tmp_path, array, cause):
    arrays = REGIONS | {CLIPS[1]: array}
    (tmp_path / "source").mkdir()
    for item, found in arrays.items():
        np.save(tmp_path / f"source/{item}.npy", found)
    assert refused(tmp_path / "source").startswith(f"{tmp_path / 'source' / CLIPS[1]}.npy: {cause}")
    save_h5(tmp_path / "a.h5", arrays)
    assert refused(tmp_path / "a.h5").startswith(f"{tmp_path / 'a.h5'}: {CLIPS[1]}: {cause}")
    np.savez(tmp_path / "a.npz", **arrays)
    assert refused(tmp_path / "a.npz").startswith(f"{tmp_path / 'a.npz'}: {CLIPS[1]}: {cause}")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (tsv_line("b", REGIONS[CLIPS[1]])[:-40], "line 2: features are not 10 rows of float32"),
        (tsv_line("b", REGIONS[CLIPS[1]]).replace("\t10\t", "\tten\t"), "line 2: features are not ten rows"),
        (tsv_line("b", REGIONS[CLIPS[1]])[:-9] + "!!!!!!!!\n", "line 2: features are not 10 rows"),
        (tsv_line("b", REGIONS[CLIPS[1]])[:200], "line 2: 5 of 6 columns; cut off"),
        ("b\n", "line 2: 1 of 6 columns"),
    ],
)
def test_bad_lines_are_named(refused, tmp_path, line, cause):
    (tmp_path / "a.tsv").write_text(tsv_line("a", REGIONS[CLIPS[0]]) + line)
    assert refused(tmp_path / "a.tsv", ["a", "b"]).startswith(f"{tmp_path / 'a.tsv'}: {cause}")


def npy(header, data=b""):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize("shape", ["(1000000000, 2048)", "(-3, -16)", "(9" + "9" * 40 + ", 16)"])
def test_a_shape_that_is_a_lie_takes_no_memory(refused, tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    (tmp_path / "a").mkdir()
    (tmp_path / f"a/{CLIPS[0]}.npy").write_bytes(npy(header, bytes(1000)))
    message = refused(tmp_path / "a", CLIPS[:1])
    assert re.search(r"damaged \((shape \[-3, -16\]|float32 \[\d+, \d+\] lacks \d+ bytes)\); copy", message)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(f"{CLIPS[0]}.npy", npy(header, bytes(1000)))
    message = refused(tmp_path / "a.npz", CLIPS[:1])
    assert re.search(r"damaged \((shape \[-3, -16\]|float32 \[\d+, \d+\] in \d+ bytes)\); copy", message)


def test_a_shape_beyond_all_reason_takes_no_memory(refused, tmp_path):
    """HDF5 and torch's files may really say it in few bytes."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(CLIPS[0], (2**16, 2048), np.float32, chunks=(1, 2048))
    assert "damaged (claims to be 536,870,912 bytes, in 1,400)" in refused(tmp_path / "a.h5", CLIPS[:1])
    torch.save({CLIPS[0]: torch.zeros(1).expand(2**16, 2048)}, tmp_path / "a.pt")
    assert "damaged (claims to be 536,870,912 bytes, in 1," in refused(tmp_path / "a.pt", CLIPS[:1])
    np.savez_compressed(tmp_path / "a.npz", **{CLIPS[0]: np.zeros((2**16, 2048), np.float32)})
    assert "damaged (claims to be 536,871,040 bytes, in 521," in refused(tmp_path / "a.npz", CLIPS[:1])
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{" + bytes(100))
    assert "cut off or damaged (" in refused(tmp_path / "a.safetensors", CLIPS[:1])


def test_names_in_an_archive_are_no_paths(refused, tmp_path):
    (tmp_path / "inner").mkdir()
    with zipfile.ZipFile(tmp_path / "inner/a.npz", "w") as archive:
        for name in ("../../etc/passwd", f"../{CLIPS[0]}", "/root/x"):
            archive.writestr(
                f"{name}.npy", npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", bytes(16))
            )
    assert "1 of 1 items have no features there" in refused(tmp_path / "inner/a.npz", CLIPS[:1])
    assert {path.name for path in tmp_path.rglob("*")} == {"inner", "a.npz"}


@pytest.mark.parametrize("kind", ["external", "virtual", "link", "soft"])
def test_a_file_reads_no_other(refused, tmp_path, kind):
    secret = tmp_path / "secret.h5"
    save_h5(secret, {CLIPS[0]: REGIONS[CLIPS[0]]})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "external":
            file.create_dataset(CLIPS[0], (4, 4), np.float32, external=[(str(secret), 0, 64)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((36, DIM), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), CLIPS[0], (36, DIM))
            file.create_virtual_dataset(CLIPS[0], layout)
        else:
            file[CLIPS[0]] = h5py.ExternalLink(str(secret), f"/{CLIPS[0]}") if kind == "link" else h5py.SoftLink("/")
    message = refused(tmp_path / "a.h5", CLIPS[:1])
    assert "its data in this file" in message or "1 of 1 items have no features" in message or "damaged" in message


def test_names_that_are_not_utf8(call, refused, tmp_path, capsys):
    """Windows-1252, say: a name is left out, a list of ids refused."""
    (tmp_path / "source").mkdir()
    for name in (b"caf\xe9.npy", *(f"{item}.npy".encode() for item in CLIPS)):
        path = bytes(tmp_path / "source") + b"/" + name
        with open(path, "wb") as file:
            np.save(file, REGIONS[CLIPS[0]])
    call(tmp_path / "source")
    assert r"1 names are no item's and left out, such as 'caf\udce9'" in capsys.readouterr().err
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[b"caf\xe9"] = REGIONS[CLIPS[0]]
        for item, array in REGIONS.items():
            file[item] = array
    call(tmp_path / "a.h5", name="b")
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    np.save(tmp_path / "a.npy", np.ones((2, DIM), np.float32))
    (tmp_path / "ids.txt").write_bytes(b"a\ncaf\xe9\n")
    assert f"{tmp_path / 'ids.txt'}: line 2: not UTF-8 (byte 0xe9); convert" in refused(
        tmp_path / "a.npy", ids_file=tmp_path / "ids.txt"
    )


def test_mistakes_are_named(refused, tmp_path):
    assert "none: no such file or folder; name that of your features" in refused(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "empty: 3 of 3 items have no features there" in refused(tmp_path / "empty")
    (tmp_path / "notes.npz").write_text("these are the features of MSVD")
    assert "notes.npz: neither .npy, .npz, HDF5, torch's, safetensors nor a .tsv" in refused(tmp_path / "notes.npz")
    (tmp_path / "source").mkdir()
    np.save(tmp_path / "source/clip1.npy", np.ones(DIM))
    assert "add theirs, or rename them (others there are called like 'clip1')" in refused(tmp_path / "source")
    np.savez(tmp_path / "a.npz", features=np.ones((3, DIM), np.float32))
    np.save(tmp_path / "a.npy", np.ones((3, DIM), np.float32))
    assert "a.npy: one array [3, 16] without ids; give its rows' with --ids-file" in refused(tmp_path / "a.npy")
    (tmp_path / "ids.txt").write_text("a\nb\n")
    ids = {"ids_file": tmp_path / "ids.txt"}
    assert f"ids.txt: 2 ids, but {tmp_path / 'a.npy'} is [3, 16]; give one for each row" in refused(
        tmp_path / "a.npy", **ids
    )
    assert "a.npz: an .npz cannot be read row by row" in refused(tmp_path / "a.npz", **ids)
    assert "empty: no file; --ids-file is for the rows of one array" in refused(tmp_path / "empty", **ids)
    (tmp_path / "ids.txt").write_text("a\nb\na\n")
    assert "row 0 (a) and " in refused(tmp_path / "a.npy", ["a", "b"], **ids)
    torch.save([torch.ones(3)], tmp_path / "a.pt")
    assert "a.pt: holds a list; features are a tensor, or tensors by name" in refused(tmp_path / "a.pt")
    assert "would be written into" in refused(tmp_path, name="../inside")
    np.savez(tmp_path / "b.npz", **REGIONS)
    assert "--fps: -1.0; give a number of frames" in refused(tmp_path / "b.npz", kind=Kind("own:clip", -1.0))


def test_which_array_of_an_item(call, refused, tmp_path):
    save_h5(tmp_path / "a.h5", {"a/one": REGIONS[CLIPS[0]], "a/two": REGIONS[CLIPS[1]], "a/feat": REGIONS[CLIPS[2]]})
    assert np.array_equal(call(tmp_path / "a.h5", ["a"], "1", key="two")[0].read("a"), REGIONS[CLIPS[1]].astype("f2"))
    assert np.array_equal(call(tmp_path / "a.h5", ["a"], "2")[0].read("a"), REGIONS[CLIPS[2]].astype("f2"))
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert "a.h5: a: holds feat, one, two; say with --key which array the features are" in refused(
        tmp_path / "a.h5", ["a"], key="three"
    )
    (tmp_path / "source").mkdir()
    np.savez(tmp_path / "source/a.npz", clip=np.ones(4), motion=np.ones(4))
    assert "a.npz: holds clip, motion; say with --key which array" in refused(tmp_path / "source", ["a"])


def test_two_files_of_an_item(refused, tmp_path):
    for name in ("train/a.npy", "val/a.npy", "60623.npy", "000060623.npy"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "source" / name, np.ones(4, np.float32))
    source = tmp_path / "source"
    assert f"{source / 'train/a.npy'} and {source / 'val/a.npy'} are both of item a; remove one" in refused(
        source, ["a"]
    )
    assert f"000060623.npy and {source / '60623.npy'} are both of item 60623" in refused(
        source, ["60623"], by_number=True
    )
    assert "abc_1_46 have the same number 46; import them with --ids exact" in refused(source, CLIPS, by_number=True)
