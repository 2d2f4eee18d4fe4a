import multiprocessing
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import h5py
import numpy as np
import pytest

from captionrl.errors import UserError
from captionrl.features.export import export_features
from captionrl.features.store import FeatureStore, _Disk, check_item_ids, write_store
from captionrl.files import sha256

ATTRIBUTES = {
    "backbone": "mini",
    "weights_sha256": "ab" * 32,
    "fps": 3.0,
    "transform": "squash 4",
    "code_version": "1",
    "dim": 4,
}
ARRAYS = {f"clip-é{i}": np.full((i + 1, 4), i, np.float16) for i in (3, 1, 2)}


@pytest.fixture
def path(tmp_path):
    write_store(tmp_path / "a.h5", ARRAYS.items(), ATTRIBUTES)
    return tmp_path / "a.h5"


def test_what_is_written_is_read(path):
    store = FeatureStore(path)
    assert store.items == list(ARRAYS)  # in the order given
    assert (store.dim, len(store), store.attributes) == (4, 3, ATTRIBUTES)
    for item, array in ARRAYS.items():
        assert item in store
        assert store.read(item).dtype == np.float16
        assert np.array_equal(store.read(item), array)


@contextmanager
def room(size):
    """No file may become larger: a write beyond is cut short, the next one fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_was_cut_short_is_an_error(tmp_path):
    """HDF5 does not ask how much of it was written."""
    with room(100), _Disk(tmp_path / "a") as disk:
        disk.write(b"x" * 200)
    with pytest.raises(OSError, match="File too large"):
        disk.complain()


def test_a_store_that_does_not_fit_leaves_nothing(path, tmp_path):
    for size in range(0, path.stat().st_size, 61):
        with pytest.raises(OSError, match="File too large") as raised, room(size):
            write_store(tmp_path / "b.h5", ARRAYS.items(), ATTRIBUTES)
        assert raised.value.filename == str(tmp_path / "b.h5")
        assert list(tmp_path.iterdir()) == [path]


def test_missing_item_names_item_and_store(path):
    with pytest.raises(UserError, match=rf"{path}.*'nobody'"):
        FeatureStore(path).read("nobody")


def test_equal_contents_equal_bytes(path, tmp_path):
    write_store(tmp_path / "b.h5", ARRAYS.items(), ATTRIBUTES)
    assert sha256(path) == sha256(tmp_path / "b.h5")
    write_store(tmp_path / "c.h5", {**ARRAYS, "clip-é1": ARRAYS["clip-é1"] + 1}.items(), ATTRIBUTES)
    assert sha256(path) != sha256(tmp_path / "c.h5")


def read_sum(store, item):
    return float(store.read(item).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes(path, method):
    store = FeatureStore(path)
    store.read("clip-é3")  # the handle is open when the processes start
    with multiprocessing.get_context(method).Pool(2) as pool:
        sums = pool.starmap(read_sum, [(store, item) for item in ARRAYS] * 4)
    assert sums == [float(array.sum()) for array in ARRAYS.values()] * 4
    assert pickle.loads(pickle.dumps(store)).items == store.items


def test_part_of_a_store_is_none(path):
    data = path.read_bytes()
    for share in (0, 0.5, 0.99):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(UserError, match="not a whole feature store"):
            FeatureStore(path)
    path.unlink()
    with pytest.raises(UserError, match="no such feature store"):
        FeatureStore(path)


def test_zeros_in_the_heap_of_attributes_are_noticed_before_hdf5_reads_them_for_ever(path):
    data = path.read_bytes()
    at = data.rindex(b"GCOL\1\0\0\0") + 16  # its first object
    path.write_bytes(data[:at] + bytes(64) + data[at + 64 :])
    with pytest.raises(UserError, match=r"not a whole feature store \(its attributes are cut off\)"):
        FeatureStore(path)


@pytest.mark.parametrize("fps", [-3.0, float("nan"), float("inf"), "fast", [3.0, 3.0]])
def test_a_store_of_an_impossible_rate_is_refused(tmp_path, fps):
    write_store(tmp_path / "a.h5", [], {**ATTRIBUTES, "fps": fps})
    with pytest.raises(UserError, match=r"a.h5: not a whole feature store \(.+\); extract"):
        FeatureStore(tmp_path / "a.h5")


def test_a_damaged_item_is_named(path):
    data = path.read_bytes()
    at = data.rindex(b"OHDR", 0, data.index(b"GCOL"))  # the header of the last data set, items; before it the features'
    at = data.rindex(b"OHDR", 0, at)
    path.write_bytes(data[: at + 20] + b"\xff" + data[at + 21 :])
    store = FeatureStore(path)
    with pytest.raises(UserError, match=rf"{path}: .*: not a whole feature store \(.*checksum"):
        [store.read(item) for item in store.items]


@pytest.mark.parametrize("dtype", [h5py.ref_dtype, np.dtype([("a", "f4")]), "c8", h5py.string_dtype()])
def test_arrays_of_another_type_are_refused_before_their_bytes_are_read(tmp_path, dtype):
    """Bytes of a file in the place of references would be pointers."""
    path = tmp_path / "a.h5"
    write_store(path, [("a", np.zeros((2, 3)))], ATTRIBUTES)
    with h5py.File(path, "r+") as file:
        del file["features/a"]
        file.create_dataset("features/a", (2, 3), dtype=dtype)
    with pytest.raises(UserError, match=rf"^{path}: a: .*numbers of type"):
        FeatureStore(path).read("a")


def test_an_error_while_writing_leaves_nothing(tmp_path):
    def arrays():
        yield "a", np.zeros((1, 4), np.float16)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_store(tmp_path / "a.h5", arrays(), ATTRIBUTES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("items", [["a/b"], [""], ["."], ["a\0"], ["a", "a"]])
def test_ids_that_hdf5_would_misread(items):
    with pytest.raises(UserError, match="item id"):
        check_item_ids(items)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fps", np.array([1.0, 2.0])),
        ("fps", "abc"),
        ("fps", np.nan),
        ("backbone", np.array([1, 2])),
        ("backbone", b"half \xff"),
        ("weights_sha256", 5),
        ("dim", -4),
        ("dim", 4.5),
        ("grid", 10**9),
    ],
)
def test_attributes_of_another_kind_are_refused(path, name, value):
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(UserError, match=rf"^{path}: not a whole feature store \({name} is .*\); extract \(or fetch\)"):
        FeatureStore(path)


@pytest.mark.parametrize("out", ["a/b/out", "out.npz"])
@pytest.mark.parametrize("item", ["../../evil", "/evil", ".."])
def test_an_item_that_is_a_path_is_never_exported(tmp_path, item, out):
    path = tmp_path / "a.h5"
    write_store(path, [(item, np.zeros((2, 4)))], ATTRIBUTES)
    with pytest.raises(UserError, match=rf"^{path}: item id '.*': cannot name a data set"):
        export_features(path, tmp_path / out)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["items", "features", "features/clip"])
@pytest.mark.parametrize("how", ["soft", "external"])
def test_a_link_is_not_followed(tmp_path, name, how):
    write_store(tmp_path / "other.h5", [("clip", np.ones((2, 4)))], ATTRIBUTES)
    write_store(tmp_path / "a.h5", [("clip", np.zeros((2, 4)))], ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.move(name, "elsewhere")
        file[name] = h5py.SoftLink("/elsewhere") if how == "soft" else h5py.ExternalLink("other.h5", name)
    with pytest.raises(UserError, match=r"not a whole feature store \(\w+ is a link\); extract"):
        FeatureStore(tmp_path / "a.h5").read("clip")


@pytest.mark.parametrize("how", ["external", "virtual"])
def test_data_of_other_files_are_not_read(tmp_path, how):
    (tmp_path / "secret.txt").write_bytes(b"s" * 32)
    write_store(tmp_path / "other.h5", [("clip", np.ones((2, 4)))], ATTRIBUTES)
    write_store(tmp_path / "a.h5", [("clip", np.zeros((2, 4)))], ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["features/clip"]
        if how == "external":
            source = [(str(tmp_path / "secret.txt"), 0, 32)]
            file["features"].create_dataset("clip", (4, 4), np.float16, external=source)
        else:
            layout = h5py.VirtualLayout((2, 4), np.float16)
            layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "features/clip", (2, 4))
            file["features"].create_virtual_dataset("clip", layout)
    with pytest.raises(UserError, match=r"a.h5: clip: .* \(clip has its data in another file\); extract"):
        FeatureStore(tmp_path / "a.h5").read("clip")


def test_more_items_than_the_file_can_hold_take_no_memory(tmp_path):
    write_store(tmp_path / "a.h5", [("clip", np.zeros((2, 4)))], ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["items"]
        file.create_dataset("items", (2**40,), "S1", chunks=(1024,))
    with pytest.raises(UserError, match=r"not a whole feature store \(claims to be [\d,]+ bytes, in [\d,]+\)"):
        FeatureStore(tmp_path / "a.h5")


def test_threads_may_read_at_once(path):
    for _ in range(50):
        store, barrier = FeatureStore(path), Barrier(4)

        def read(item, store=store, barrier=barrier):
            barrier.wait()
            return store.read(item)

        items = [*ARRAYS, next(iter(ARRAYS))]
        with ThreadPoolExecutor(4) as pool:
            for item, found in zip(items, pool.map(read, items), strict=True):
                assert np.array_equal(found, ARRAYS[item])


def test_a_store_that_is_gone_says_how_to_have_it_made_again(tmp_path):
    with pytest.raises(UserError, match=r"a.h5: no such feature store$"):
        FeatureStore(tmp_path / "a.h5")
    (tmp_path / "a.json").touch()
    with pytest.raises(UserError, match=r"a.h5: no such feature store; if .*a.json was made with it, delete that"):
        FeatureStore(tmp_path / "a.h5")
