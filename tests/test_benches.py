"""Each script of bench/ runs: it finds ours and the other's results equal, times them, and prints a table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.mark.slow
@pytest.mark.parametrize("script", ["reward"])
def test_a_bench_runs(script, tmp_path):
    command = [sys.executable, BENCH / f"{script}.py", "--seconds", "0", "--json", tmp_path / "rows.json"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert len(rows) >= 4
    assert all(row["what"] in printed for row in rows)
