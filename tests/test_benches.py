"""Each script of bench/ runs: it finds ours and the other's results equal, times them, and prints a table."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from captionrl.datasets.mini.draw import write_clip
from captionrl.datasets.mini.world import ACTORS, sample_scene

BENCH = Path(__file__).parents[1] / "bench"


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, BENCH / f"{script}.py", "--scale", "mini", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


def check(script: str, rows: int, tmp_path: Path, *arguments: str | Path) -> None:
    printed = run(script, "--seconds", "0", "--json", tmp_path / "rows.json", *arguments)
    figures = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(figures) == rows
    assert all(row["what"] in printed for row in figures)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "rows"), [("reward", 6), ("step", 8), ("beam", 1), ("loading", 2), ("stages", 3)])
def test_a_bench_runs(script, rows, tmp_path):
    check(script, rows, tmp_path)


@pytest.mark.slow
def test_extraction_is_measured_on_any_clips(tmp_path):
    for number in range(2):
        scene = sample_scene(Random(number), train=True, actors=ACTORS, events=1, seconds=2.0)
        write_clip(scene, tmp_path / "clips" / f"{number}.mp4", Fraction(12))
    check("extraction", 1, tmp_path, tmp_path / "clips")


@pytest.mark.slow
def test_memory_is_measured_in_every_setting(tmp_path):
    printed = run(
        "memory", "--clips", "2", "--parts", "2", "--frames", "5", "--steps", "1", "--json", tmp_path / "rows.json"
    )
    *settings, loader = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(settings) == 7
    assert all(row["what"] in printed and min(row["peak"], row["seconds"]) > 0 for row in settings)
    assert loader["rate"] > 0


@pytest.mark.slow
def test_long_use_is_drawn(tmp_path):
    files = ["--json", tmp_path / "rows.json", "--draw", tmp_path / "long.png"]
    command = [sys.executable, BENCH / "long.py", "--items", "64", "--updates", "8", *files]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["what"] for row in rows] == ["features", "train", "predict"]
    assert all(f"| {row['what']} |" in printed and min(row["mib"]) > 0 for row in rows)
    assert Image.open(tmp_path / "long.png").width > 500


@pytest.mark.slow
def test_where_the_time_goes_is_drawn(tmp_path):
    run("parts", "--json", tmp_path / "before.json")
    run("parts", "--before", tmp_path / "before.json", "--draw", tmp_path / "parts.png")
    before = json.loads((tmp_path / "before.json").read_text())["steps"]
    assert {(step, whose) for step, bars in before.items() for whose in bars} == {
        (step, whose) for step in ("XE", "RL") for whose in ("a plain loop", "captionrl")
    }
    assert all(min(seconds.values()) >= 0 for bars in before.values() for seconds in bars.values())
    assert Image.open(tmp_path / "parts.png").width > 500


@pytest.mark.slow
def test_scoring_is_measured_against_others(tmp_path):
    captions = {f"p{n}": [f"a man kicks ball number {n + k}" for k in range(5)] for n in range(40)}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    printed = run("scoring", "--seconds", "0", "--json", tmp_path / "rows.json", tmp_path / "captions.json")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(rows) >= 9
    assert all(row["what"] in printed for row in rows)
