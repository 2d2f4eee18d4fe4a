"""Files are whole or not there, and a complaint names its file and line."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from threading import Thread

import pytest
import torch

from captionrl.errors import UserError
from captionrl.features.backbones import MiniResNet, save_mini
from captionrl.features.store import write_store
from captionrl.features.weights import read_weights
from captionrl.files import (
    HOST,
    MUCH,
    atomic,
    atomic_folder,
    check_claim,
    check_listing,
    check_readable,
    damage_named,
    decode_utf8,
    files_below,
    fingerprint,
    parse_json,
    read_bytes,
    read_csv,
    read_json,
    sha256,
    sweep,
    sweep_killed,
    write_json,
)
from captionrl.training.checkpoint import Metadata, load_module, save_checkpoint


def write_half(path):
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="killed"):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_first_write_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError, match="killed"):
        write_half(tmp_path / "new.csv")
    assert list(tmp_path.iterdir()) == []


def test_until_the_end_readers_see_the_old_content(tmp_path):
    path = tmp_path / "deep/er/table.csv"
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent  # else the renaming would not be atomic
        assert temporary.suffix == ".csv"
    assert path.read_text() == "new"
    with atomic(path) as temporary:
        temporary.write_text("newer")
        assert path.read_text() == "new"
    assert path.read_text() == "newer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_alone_says_who_may_read_a_file(tmp_path, mask, mode):
    """Whatever a library thinks of it."""
    paths = [tmp_path / name for name in ("a.json", "mini.safetensors", "store.h5", "a.safetensors")]
    before = os.umask(mask)
    try:
        write_json(paths[0], {})
        save_mini(MiniResNet({"place": 3}), paths[1])
        write_store(paths[2], [], {})
        save_checkpoint(paths[3], torch.nn.Linear(1, 1), Metadata(**dict.fromkeys(Metadata.__annotations__)))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in paths} == {mode}


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "old"


def test_equal_values_are_written_as_equal_bytes(tmp_path):
    write_json(tmp_path / "one.json", {"b": {"y": 1.5, "x": "é"}, "a": [2, 1]})
    write_json(tmp_path / "other.json", {"a": [2, 1], "b": {"x": "é", "y": 1.5}})
    written = (tmp_path / "one.json").read_bytes()
    assert written == (tmp_path / "other.json").read_bytes()
    assert "é".encode() in written
    assert written.endswith(b"}\n")
    assert read_json(tmp_path / "one.json") == {"a": [2, 1], "b": {"x": "é", "y": 1.5}}


def test_text_that_is_not_utf8_is_named_by_its_line():
    with pytest.raises(UserError, match=r"^captions\.txt: line 3: not UTF-8 \(byte 0xe9\)"):
        decode_utf8(b"a\nb\ncaf\xe9\n", "captions.txt")


def test_a_byte_order_mark_is_no_text():
    assert decode_utf8(b"\xef\xbb\xbfid,split", "a.csv") == "id,split"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1,\n "b": oops}', r"^a\.json: line 2, column 7: not JSON"),
        (b"", r"^a\.json: line 1, column 1: not JSON"),
        (b'{"a":\n"\xff"}', r"^a\.json: line 2: not UTF-8 \(byte 0xff\)"),
        (b"[" * 100_000, r"^a\.json: not JSON that can be read \(nested too deep, or a number too long\)"),
        (b"9" * 5000, r"^a\.json: not JSON that can be read \(nested too deep, or a number too long\)"),
    ],
)
def test_json_faults_name_file_and_line(data, message):
    with pytest.raises(UserError, match=message) as error:
        parse_json(data, "a.json")
    assert "\n" not in str(error.value)


def test_a_csv_is_rows_by_its_first_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"x\ny"\n2\n')
    assert read_csv(path) == [{"a": "1", "b": "x\ny"}, {"a": "2", "b": ""}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", "line 1: the name 'a' stands twice; keep one"),
        ("a,b\n1,2\n1,2,3\n", "row 2: more fields than the first line has names; correct it"),
        (f"a,b\n1,{'x' * 200_000}\n", "line 2: not CSV (field larger than field limit (131072)); correct it"),
    ],
)
def test_csv_faults_name_file_and_place(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_csv(path)
    assert str(error.value) == f"{path}: {message}"


def test_whatever_a_library_raises_is_the_files_fault():
    for error, reason in ((KeyError("a"), "'a'"), (ValueError("odd\n  thing"), "odd thing"), (EOFError(), "EOFError")):
        with pytest.raises(UserError) as raised, damage_named("a.h5", "damaged", "fetch it again"):
            raise error
        assert str(raised.value) == f"a.h5: damaged ({reason}); fetch it again"
    with pytest.raises(UserError, match=r"^b\.h5: ours"), damage_named("a.h5", "damaged", "fetch it again"):
        raise UserError("b.h5: ours")


def test_few_bytes_are_not_many_of_data():
    check_claim(MUCH, 1)
    check_claim(100 * MUCH, MUCH)
    with pytest.raises(ValueError, match=r"claims to be 134,217,729 bytes, in 1,342,177"):
        check_claim(MUCH + 1, MUCH // 100)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json: no such file"):
        read_bytes(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_bytes(tmp_path)


def test_sha256_is_that_of_the_bytes(tmp_path):
    data = bytes(range(256)) * 8200  # more than one block
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_a_fingerprint_knows_values_but_not_the_order_of_keys():
    value = {"sizes": {"decoder": 192, "encoder": 96}, "words": ["a", "é"], "rate": 0.1, "start": None}
    shuffled = json.loads(json.dumps(dict(reversed(value.items()))))
    shuffled["sizes"] = {"encoder": 96, "decoder": 192}
    assert fingerprint(value) == fingerprint(shuffled)
    assert fingerprint("\ud83d") != fingerprint("\ud83e")  # JSON can spell half a character
    for other in ({**value, "rate": 0.2}, {**value, "words": ["é", "a"]}, {**value, "start": "None"}):
        assert fingerprint(other) != fingerprint(value)


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_the_disk_names_the_file(tmp_path, reason):
    path = tmp_path / "state.pt"
    path.write_text("old")
    with pytest.raises(OSError, match=os.strerror(reason)) as raised, atomic(path):
        raise OSError(reason, os.strerror(reason))
    assert raised.value.filename == str(path)
    assert path.read_text() == "old"


def test_a_folder_that_may_not_be_written_is_said_to_be_that_of_the_file():
    folder = Path(tempfile.mkdtemp())  # others may not even look into pytest's
    path = folder / "table.csv"
    path.write_text("old")
    folder.chmod(0o555)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may write everywhere
    try:
        with pytest.raises(PermissionError) as raised:
            write_json(path, {})
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
    assert raised.value.filename == str(path)  # not the temporary one
    assert path.read_text() == "old"
    shutil.rmtree(folder)


def test_a_folder_that_vanishes_meanwhile_is_made_anew_by_the_next_attempt(tmp_path):
    path = tmp_path / "results/table.csv"

    def write() -> None:
        with atomic(path) as temporary:
            temporary.write_text("new")
            shutil.rmtree(path.parent)

    with pytest.raises(FileNotFoundError) as raised:
        write()
    assert raised.value.filename == str(path)
    write_json(path, {})
    assert list(path.parent.iterdir()) == [path]


def test_a_new_folder_is_whole_or_not_there(tmp_path):
    path = tmp_path / "deep/features"

    def write_half() -> None:
        with atomic_folder(path) as folder:
            (folder / "a.npy").write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "a.npy"))

    with pytest.raises(OSError, match="No space left") as raised:
        write_half()
    assert raised.value.filename == str(path)
    assert list(path.parent.iterdir()) == []
    with atomic_folder(path) as folder:
        (folder / "a.npy").write_text("whole")
        assert not path.exists()
    assert [found.name for found in path.parent.rglob("*")] == ["features", "a.npy"]


def test_what_killed_processes_left_is_swept(tmp_path):
    (tmp_path / ".123.host.a.tensorboard").mkdir()
    (tmp_path / ".123.host.a.tensorboard/events").touch()
    kept = [".123.host.b.a.safetensors", ".123.host.b.safetensors", ".a.safetensors", "a.safetensors"]
    for name in [".77.host.a.safetensors", *kept]:
        (tmp_path / name).touch()
    sweep(tmp_path, "a.*")
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_files_below_are_found_through_links_and_none_twice(tmp_path):
    folder, other = tmp_path / "folder", tmp_path / "other"
    for path in (folder / "b/one.npy", other / "two.npy", folder / "a.npy"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "linked").symlink_to(other)
    (other / "back").symlink_to(folder)
    (folder / "gone.npy").symlink_to(tmp_path / "gone")
    assert files_below(folder) == [folder / "a.npy", folder / "b/one.npy", folder / "linked/two.npy"]
    assert files_below(tmp_path / "none") == []


def test_what_killed_processes_of_this_machine_left_goes_and_nothing_else(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    kept = [f".{os.getpid()}.{HOST}.table1.csv", f".{gone.pid}.other-{HOST}.table1.csv", f".x.{HOST}.a", "table1.csv"]
    for name in [*kept, f".{gone.pid}.{HOST}.table1.csv"]:
        (tmp_path / name).touch()
    (tmp_path / f".{gone.pid}.{HOST}.a.tensorboard").mkdir()
    sweep_killed(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_file_that_may_not_be_read_is_not_said_to_be_absent(tmp_path):
    """Nor by those whose library mixes the two up."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        for read in (read_bytes, read_weights, load_module):
            with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read \(Permission denied\)"):
                read(path)
    finally:
        os.seteuid(user)


def test_a_name_that_is_too_long_is_the_users_own(tmp_path):
    name = f"{'x' * 252}.txt"
    with pytest.raises(OSError, match="File name too long") as error, atomic(tmp_path / name) as temporary:
        temporary.write_text("a")
    assert Path(error.value.filename).name == name


@pytest.mark.parametrize("name", ["x" * 251 + ".npz", "é" * 123 + ".a.json", "y" * 253 + ".z"])
def test_a_name_as_long_as_names_may_be_is_written(tmp_path, name):
    with atomic(tmp_path / name) as temporary:
        temporary.write_text("a")
        assert (temporary.suffix, len(os.fsencode(temporary.name)) <= 255) == (Path(name).suffix, True)
        (seen,) = (path.name for path in tmp_path.iterdir())
        assert seen.startswith(f".{os.getpid()}.{HOST}.")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_pipe_is_read_once_or_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=r"pipe: a pipe, which cannot be read here; write it to a file first$"):
        check_readable(pipe)
    writer = Thread(target=pipe.write_bytes, args=(b"{}",))
    writer.start()
    assert read_json(pipe) == {}
    writer.join()


def test_a_name_that_is_not_utf8_can_be_written_as_json(tmp_path):
    write_json(tmp_path / "a.json", {"path": os.fsdecode(b"caf\xe9")})
    assert read_json(tmp_path / "a.json") == {"path": "caf\udce9"}


@pytest.mark.parametrize("text", ['{"clips": ["a.mp4"]}', "[1]", "not JSON", ""])
def test_a_users_file_is_no_list(tmp_path, text):
    path = tmp_path / "raw.json"
    check_listing(path, lambda found: False)
    path.write_text(text)
    with pytest.raises(UserError, match=r"raw.json: not the list that captionrl writes there; move it"):
        check_listing(path, lambda found: all(type(what) is int for what in found.values()))
    path.write_text('{"a.jpg": 3}')
    check_listing(path, lambda found: found == {"a.jpg": 3})
