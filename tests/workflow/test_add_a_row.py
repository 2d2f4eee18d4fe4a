"""docs/add-a-row.md, followed word for word in a clone, with next to no training."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/add-a-row.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|sh) ?(\S*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_page_adds_a_row_to_the_table(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    (clone / ".venv").symlink_to(Path(sys.executable).parents[1])
    params, smoke = (yaml.safe_load((clone / name).read_text()) for name in ("params.yaml", ".ci/smoke.yaml"))
    (clone / "params.yaml").write_text(yaml.safe_dump({**params, **smoke}))
    assert [language for language, *_ in BLOCKS] == ["python", "sh", "sh", "sh", "sh"]
    printed = ""
    for language, file, text in BLOCKS:
        if language == "python":
            (clone / file).write_text(text)
            continue
        environment = os.environ | {"PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        printed += done.stdout
    row = printed.splitlines()[-1]
    assert re.match(r"\| GRU \| \d", row), row
