import json
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import fill

from captionrl.errors import UserError
from captionrl.features import extract as module
from captionrl.features.backbones import Backbone, load_backbone
from captionrl.features.extract import extract
from captionrl.features.resize import Resize
from captionrl.features.store import FeatureStore
from captionrl.features.video import read_clip, sample_frames
from captionrl.files import sha256
from captionrl.interrupt import RESUME_ME

CLIPS = 10


@pytest.fixture
def items(noise, tmp_path):
    return [(f"clip{i}", noise(tmp_path / f"clip{i}.mp4", 1 + i % 3, seed=i)) for i in range(CLIPS)]


@pytest.fixture
def call(items, mini_weights, tmp_path):
    """extract() with everything given; keywords replace."""

    def call(name="a", **changes):
        backbone = load_backbone("mini", mini_weights)
        arguments = {"items": items, "backbone": backbone, "fps": 3.0, "shard_items": 3, "state": tmp_path / "state"}
        arguments |= {"code_version": "1", "workers": 2, "out": tmp_path / f"{name}.h5"}
        return extract(manifest=tmp_path / f"{name}.json", **arguments | changes)

    return call


@pytest.fixture
def forwards(monkeypatch):
    """Counts the items that go through the backbone."""
    calls = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, *clip: calls.append(len(clip[0])) or forward(self, *clip))
    return calls


def test_store_holds_the_features_of_every_sampled_frame(call, items, mini_weights, tmp_path):
    summary = call()
    store, backbone = FeatureStore(tmp_path / "a.h5"), load_backbone("mini", mini_weights)
    assert store.items == [item for item, _ in items]
    for i, (item, media) in enumerate(items):
        frames = np.stack([image for _, image in sample_frames(media, 3.0, backbone.resize)])
        assert len(frames) == 3 * (1 + i % 3)
        assert np.array_equal(store.read(item), backbone.forward(torch.from_numpy(frames)).numpy())
    assert json.loads((tmp_path / "a.json").read_text()) == summary
    assert (summary["items"], summary["frames"], summary["failures"]) == (CLIPS, 57, {})
    assert {name: summary[name] for name in store.attributes} == store.attributes
    assert summary["weights_sha256"] == sha256(mini_weights)


def test_real_clips_through_the_store(call, real_clip, tmp_path):
    call(items=[(real_clip.stem, real_clip)])
    array = FeatureStore(tmp_path / "a.h5").read(real_clip.stem)
    assert array.shape == (len(list(sample_frames(real_clip))), 128)
    assert np.isfinite(array).all()


CHILD = """
import sys, time
from pathlib import Path
from captionrl.features.backbones import Backbone, load_backbone
from captionrl.features.extract import extract
folder, weights = Path(sys.argv[1]), Path(sys.argv[2])
forward = Backbone.forward
def slow(self, *clip):
    time.sleep(0.15)
    features = forward(self, *clip)
    with open(folder / "forwards", "a") as file:
        file.write(".")
    return features
Backbone.forward = slow
items = [(f"clip{i}", folder / f"clip{i}.mp4") for i in range(int(sys.argv[3]))]
extract(items, load_backbone("mini", weights), folder / "killed.h5", folder / "killed.json", fps=3.0, shard_items=3,
        state=folder / "killed-state", code_version="1", workers=2)
"""


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_in_the_middle_and_resumed_gives_the_same_bytes(call, forwards, mini_weights, tmp_path, stop):
    call("whole")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(mini_weights), str(CLIPS)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("killed-state/*/shard-00000.h5")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(stop)
    status = child.wait(20)
    kept = sum(len(FeatureStore(shard)) for shard in tmp_path.glob("killed-state/*/shard-*.h5"))
    done = len((tmp_path / "forwards").read_text())
    assert 3 <= kept < CLIPS
    if stop == signal.SIGKILL:  # a shard is lost at most
        assert (status, kept % 3) == (-stop, 0)
        assert kept >= done - 3
    else:  # nothing is
        assert (status, kept) == (RESUME_ME, done)
    assert not (tmp_path / "killed.h5").exists()

    forwards.clear()
    call("killed", state=tmp_path / "killed-state")
    assert len(forwards) == CLIPS - kept  # nothing that was kept was computed again
    for suffix in (".h5", ".json"):
        assert sha256(tmp_path / f"killed{suffix}") == sha256(tmp_path / f"whole{suffix}")


@pytest.mark.parametrize("place", ["shards", "store"])
def test_no_room_for_features_loses_none(call, forwards, items, small_disk, tmp_path, place):
    """The file is named; what was finished stays; with room the same call goes on."""
    call("whole", shard_items=4)
    forwards.clear()
    state, out = (small_disk, tmp_path / "a.h5") if place == "shards" else (tmp_path / "s", small_disk / "a.h5")
    again = partial(call, state=state, out=out, shard_items=4)
    filler = fill(small_disk, leave=(28 if place == "shards" else 12) << 10)  # room for one shard; for half a store
    with pytest.raises(OSError, match="No space left on device") as raised:
        again()
    assert Path(raised.value.filename).name == ("shard-00001.h5" if place == "shards" else "a.h5")
    assert not out.exists()
    assert not list(small_disk.rglob(".*"))
    kept = sum(len(FeatureStore(shard)) for shard in state.glob("*/shard-*.h5"))
    assert kept == (4 if place == "shards" else CLIPS)
    filler.unlink()
    forwards.clear()
    again()
    assert len(forwards) == CLIPS - kept
    assert sha256(out) == sha256(tmp_path / "whole.h5")


def test_half_a_shard_is_never_joined(call, tmp_path):
    """What a process killed while writing leaves is swept away, not read."""
    call("whole")
    (directory,) = (tmp_path / "state").iterdir()
    shard = directory / "shard-00001.h5"
    (directory / ".123.host.shard-00001.h5").write_bytes(shard.read_bytes()[:500])
    (tmp_path / ".123.host.again.h5").write_bytes(b"half")
    shard.unlink()
    call("again")
    assert sha256(tmp_path / "again.h5") == sha256(tmp_path / "whole.h5")
    assert not list(directory.glob(".*"))
    assert not list(tmp_path.glob(".*.h5"))


def test_bad_clips_stop_no_other_and_only_they_are_tried_again(call, items, forwards, tmp_path, capsys):
    call("whole", state=tmp_path / "other")
    good = {i: items[i][1].read_bytes() for i in (1, 7)}
    items[1][1].write_bytes(b"")
    items[7][1].unlink()
    forwards.clear()
    with pytest.raises(UserError) as raised:
        call()
    message = str(raised.value)
    assert "2 of 10 items" in message
    assert "clip1: the file is empty" in message
    assert "clip7: cannot be read (No such file or directory)" in message
    assert "clip1" in capsys.readouterr().err
    assert len(forwards) == CLIPS - 2
    assert not (tmp_path / "a.h5").exists()
    assert not (tmp_path / "a.json").exists()

    summary = call(allowed_failures=2)
    assert len(forwards) == CLIPS - 2  # nothing was computed again
    assert summary["failures"].keys() == {"clip1", "clip7"}
    assert summary["items"] == CLIPS - 2
    assert "clip1" not in FeatureStore(tmp_path / "a.h5")

    for i, content in good.items():
        items[i][1].write_bytes(content)
    call()
    assert len(forwards) == CLIPS
    assert sha256(tmp_path / "a.h5") == sha256(tmp_path / "whole.h5")


def test_long_lists_of_failures_are_cut(call, tmp_path):
    with pytest.raises(UserError) as raised:
        call(items=[(f"x{i}", tmp_path / "none.mp4") for i in range(30)])
    assert "... and 10 more" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 22


def test_nobody_resumes_into_another_run(call, items, forwards, noise, tmp_path):
    call()
    for changes in ({"fps": 2.0}, {"code_version": "2"}, {"shard_items": 4}, {"items": items[::-1]}):
        forwards.clear()
        call(**changes)
        assert len(forwards) == CLIPS, changes
    forwards.clear()
    call()
    assert forwards == []
    noise(items[4][1], 2.0, seed=99)  # the same name, another clip
    call("b")
    assert len(forwards) == 1
    a, b = FeatureStore(tmp_path / "a.h5"), FeatureStore(tmp_path / "b.h5")
    assert [item for item in a.items if not np.array_equal(a.read(item), b.read(item))] == ["clip4"]


def test_a_clip_that_went_bad_does_not_keep_its_old_features(call, items, tmp_path):
    call()
    items[4][1].write_bytes(b"")
    assert call(allowed_failures=1)["items"] == CLIPS - 1
    assert "clip4" not in FeatureStore(tmp_path / "a.h5")


def test_on_a_cpu_each_thread_decodes_and_computes_on_one_core(call, monkeypatch):
    both, forward, seen = threading.Barrier(2, timeout=10), Backbone.forward, []

    def meet(self, *clip):
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        if len(seen) <= 2:
            both.wait()  # one alone would wait for ever
        return forward(self, *clip)

    monkeypatch.setattr(Backbone, "forward", meet)
    threads = torch.get_num_threads()
    call()
    assert len(seen) == CLIPS
    assert all(name.startswith("decode") and cores == 1 for name, cores in seen)
    assert torch.get_num_threads() == threads


def test_for_a_gpu_threads_decode_while_this_one_computes(items, monkeypatch):
    """While the backbone has the first item, other threads decode the next ones; but not all: memory is bounded."""
    decoded, waited = [], []

    def count(media, fps, resize):
        decoded.append(threading.current_thread().name)
        return read_clip(media, fps, resize)

    def wait_for_others(frames, shown):
        deadline = time.monotonic() + 10
        while len(decoded) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # for one more, if there were one
        waited.append((len(decoded), threading.current_thread().name))
        return torch.zeros(len(shown), 3)

    monkeypatch.setattr(module, "read_clip", count)
    monkeypatch.setattr(module, "AHEAD", 2)
    gpu = SimpleNamespace(device=torch.device("cuda"), resize=Resize(64), forward=wait_for_others)
    with module._Ahead(items, gpu, 3.0, workers=2) as ahead:
        assert [item for item, _ in ahead] == [item for item, _ in items]
    assert waited[0] == (4, threading.current_thread().name)  # 2 workers look 2 items ahead each
    assert all(name.startswith("decode") for name in decoded)


def test_item_ids_are_checked_first(call, tmp_path):
    with pytest.raises(UserError, match="'a/b'"):
        call(items=[("a/b", tmp_path / "a.mp4")])
