"""Numba's cache is optional, and replaceable."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from captionrl.rewards.compiled import compiled

CODE = """
from captionrl.rewards.compiled import compiled

@compiled
def twice(x):
    return x + x

print(twice(21))
"""


@pytest.fixture
def call(tmp_path):
    """Run CODE with Numba's cache in a folder; what it prints."""
    script = tmp_path / "script.py"
    script.write_text(CODE)

    def call() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def kept(folder: Path) -> set[Path]:
    return set(folder.rglob("*.nb?"))


def test_what_was_compiled_is_kept_and_a_cut_index_made_anew(call, tmp_path):
    assert call() == "42\n"
    files = kept(tmp_path / "cache")
    (index,) = [path for path in files if path.suffix == ".nbi"]
    for rest in (b"", index.read_bytes()[:20]):
        index.write_bytes(rest)
        assert call() == "42\n"
        assert len(index.read_bytes()) > 20


def test_without_a_place_to_keep_it_it_is_compiled_all_the_same(monkeypatch):
    def nowhere(*_: object, cache: bool = False, **options: object):
        if cache:
            raise RuntimeError("cannot cache function 'twice': no locator available")
        return numba.njit(**options)

    monkeypatch.setattr("captionrl.rewards.compiled.njit", nowhere)
    assert compiled(lambda x: x + x)(21) == 42
