"""One process at a time in a state directory; a dead one holds nothing."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from captionrl.errors import UserError
from captionrl.state import list_states, open_state, prune_states

IDENTITY = {"seed": 1}
CHILD = """
import sys, time
from pathlib import Path
from captionrl.state import open_state
with open_state(Path(sys.argv[1]), {"seed": 1}, "another's"):
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a process that is in the state directory until it is told to end, or killed."""
    started = []

    def start(**environment: str) -> subprocess.Popen:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, tmp_path],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        assert child.stdout.readline() == "in\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def only(states: Path) -> Path:
    (directory,) = states.iterdir()
    return directory


def test_the_name_is_that_of_all_that_determines_the_result(tmp_path):
    names = set()
    for identity in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}, {"a": 1}):
        with open_state(tmp_path, identity, "a training") as directory:
            names.add(directory.name)
    assert len(names) == 3


def test_a_second_process_is_refused_and_told_who_is_there(holder, tmp_path, capsys):
    first = holder(SLURM_JOB_ID="4711")
    begun = time.monotonic()
    with pytest.raises(UserError) as raised, open_state(tmp_path, IDENTITY, "mine", patience=0.5):
        pytest.fail("two processes in one directory")
    assert time.monotonic() - begun >= 0.5
    who = f"{only(tmp_path)}: process {first.pid} on {os.uname().nodename}, SLURM job 4711 is at this"
    assert str(raised.value) == f"{who}; wait until it has finished, or stop it, and run again"
    assert capsys.readouterr().err == f"{who}; waiting up to 0.5 s for its end\n"


def test_other_work_is_free(holder, tmp_path):
    holder()
    with open_state(tmp_path, {"seed": 2}, "mine", patience=0):
        pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_process_holds_nothing(holder, tmp_path, end):
    first = holder()
    first.send_signal(end)
    first.wait(20)
    assert "process" in (only(tmp_path) / "lock").read_text()  # it left its name
    with open_state(tmp_path, IDENTITY, "mine", patience=0):
        pass


def test_one_that_ends_soon_is_waited_for(holder, tmp_path):
    first = holder()
    threading.Timer(0.7, first.kill).start()
    with open_state(tmp_path, IDENTITY, "mine", patience=20):
        assert first.wait(1) == -signal.SIGKILL


def test_a_child_process_does_not_keep_the_lock(tmp_path):
    with open_state(tmp_path, IDENTITY, "mine"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with open_state(tmp_path, IDENTITY, "mine", patience=0):
        assert child.poll() is None
    child.communicate(b"\n", timeout=20)


def test_work_in_progress_is_listed_and_never_pruned(holder, tmp_path):
    first = holder()
    (row,) = list_states(tmp_path)
    assert row["title"] == "another's"
    assert row["holder"] == f"process {first.pid} on {os.uname().nodename}"
    assert prune_states(tmp_path, 0) == []
    assert only(tmp_path).is_dir()
    first.communicate("\n")
    assert list_states(tmp_path)[0]["holder"] is None
    assert len(prune_states(tmp_path, 0)) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", '{"title": ', "[" * 100_000])
def test_a_damaged_identity_stops_no_listing(tmp_path, content):
    for name in ("a", "b"):
        with open_state(tmp_path, {"name": name}, f"work {name}") as directory:
            pass
    (directory / "identity.json").write_text(content)
    assert sorted(row["title"] for row in list_states(tmp_path)) == ["(identity.json is damaged)", "work a"]
    assert len(prune_states(tmp_path, 0)) == 2


@pytest.mark.parametrize("content", ["{}", "[]", '"a"', '{"my": "id"}'])
def test_a_folder_with_an_identity_of_another_kind_is_nobodys_state(tmp_path, content):
    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    (folder / "identity.json").write_text(content)
    (folder / "precious.txt").touch()
    assert list_states(tmp_path) == prune_states(tmp_path, days=0) == []
    assert (folder / "precious.txt").exists()


def test_of_a_link_in_a_state_what_it_points_to_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    with open_state(tmp_path / "states", {"name": "a"}, "work a") as directory:
        (directory / "link").symlink_to(tmp_path / "mine")
    assert len(prune_states(tmp_path / "states", 0)) == 1
    assert not directory.exists()
    assert (tmp_path / "mine/file").exists()


def test_folders_that_are_no_states_are_neither_listed_nor_deleted(tmp_path):
    for name in ("passport", "passport/0123456789abcdef0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "identity.json").write_text('{"name": "me"}')
    (tmp_path / "0123456789abcdef/identity.json").mkdir(parents=True)
    assert list_states(tmp_path) == prune_states(tmp_path, days=0) == []
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    with pytest.raises(UserError, match=r"identity\.json: not a directory; give the one that trainings have"):
        list_states(tmp_path / "passport/identity.json")


def test_a_directory_pruned_while_waiting_is_made_anew(holder, tmp_path):
    first, directory = holder(), only(tmp_path)

    def prune() -> None:
        shutil.rmtree(directory)
        first.kill()

    threading.Timer(0.5, prune).start()
    with open_state(tmp_path, IDENTITY, "mine", patience=20) as mine:
        assert mine == directory
        assert (mine / "identity.json").exists()
        assert list_states(tmp_path)[0]["title"] == "mine"


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="its file system has no locks; have it mounted"):
        open_state(tmp_path, IDENTITY, "mine").__enter__()


def test_files_that_a_training_renames_meanwhile_end_no_listing(tmp_path, monkeypatch):
    with open_state(tmp_path, IDENTITY, "mine") as directory:
        (directory / "state.pt").write_bytes(b"12345")
        (directory / ".1.state.pt").write_bytes(b"123456789")
    whole = sum(path.stat().st_size for path in directory.iterdir())
    stat = os.stat

    def renamed(path, **options):
        if os.fspath(path).endswith(".1.state.pt"):
            raise FileNotFoundError(path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", renamed)
    assert [(row["title"], row["bytes"]) for row in list_states(tmp_path)] == [("mine", whole - 9)]
