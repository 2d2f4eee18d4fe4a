"""What a machine does to a training besides ending it: it is stopped, its folders vanish, its clock jumps."""

import multiprocessing
import os
import shutil
import signal
import time
from functools import partial

import pytest
from test_resume import at, attempt, state_file

from captionrl.state import list_states, open_state, prune_states


@pytest.fixture
def train(world):
    return partial(world.train, "xe-baseline", "xe")


def test_a_stopped_process_keeps_its_state_to_itself_and_goes_on(train, xe, tmp_path):
    """SIGSTOP, as a cluster does that suspends jobs, or a terminal's Ctrl-Z."""

    def stopped() -> None:
        at("step", 7, lambda: os.kill(os.getpid(), signal.SIGSTOP))
        train(tmp_path / "a.safetensors")

    process = multiprocessing.get_context("fork").Process(target=stopped)
    process.start()
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    (state,) = list_states(tmp_path / "state")
    assert state["holder"].startswith(f"process {process.pid} on ")
    assert prune_states(tmp_path / "state", 0) == []
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    assert process.exitcode == 0
    assert (tmp_path / "a.safetensors").read_bytes() == xe.read_bytes()


def test_a_state_that_vanishes_in_the_middle_costs_no_result(train, xe, tmp_path):
    out = tmp_path / "a.safetensors"
    assert attempt(train, out, lambda: at("step", 7, lambda: shutil.rmtree(tmp_path / "state")), saving=1) == 0
    assert out.read_bytes() == xe.read_bytes()
    assert attempt(train, out, lambda: None) == 0
    assert out.read_bytes() == xe.read_bytes()


@pytest.mark.parametrize("years", [-30, 30])
def test_clocks_and_times_of_files_may_jump(train, xe, tmp_path, monkeypatch, years):
    out, jump = tmp_path / "a.safetensors", years * 365 * 86400
    assert attempt(train, out, lambda: at("step", 7)) == -signal.SIGKILL
    for path in state_file(out).parent.rglob("*"):
        os.utime(path, (time.time() + jump,) * 2)
    (state,) = list_states(tmp_path / "state")
    assert state["days"] == pytest.approx(max(0, -years) * 365, abs=0.1)
    now = time.time
    assert attempt(train, out, lambda: at("step", 9, lambda: setattr(time, "time", lambda: now() + jump))) == 0
    assert out.read_bytes() == xe.read_bytes()


def test_a_state_in_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o555)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may write everywhere
    try:
        with pytest.raises(PermissionError) as raised, open_state(tmp_path / "state", {"seed": 1}, "mine"):
            pytest.fail("written")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o755)
    assert raised.value.filename.startswith(str(tmp_path / "state"))
