"""Follow docs/add-a-row.md word for word in a clone of the smoke run, which trains the new row alone."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
page = (ROOT / "docs/add-a-row.md").read_text(encoding="utf-8")
blocks = re.findall(r"^```(python|sh) ?(\S*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
assert [language for language, *_ in blocks] == ["python", "sh", "sh", "sh", "sh"], blocks

with tempfile.TemporaryDirectory() as place:
    clone = Path(place, "captionrl")
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    for name in ("data", "work", "checkpoints", "results", ".snakemake"):
        shutil.copytree(ROOT / name, clone / name, dirs_exist_ok=True)  # with their dates
    (clone / ".venv").symlink_to(ROOT / ".venv")
    params, smoke = (yaml.safe_load((clone / name).read_text()) for name in ("params.yaml", ".ci/smoke.yaml"))
    (clone / "params.yaml").write_text(yaml.safe_dump({**params, **smoke}))
    printed = ""
    for language, file, text in blocks:
        if language == "python":
            (clone / file).write_text(text)
            continue
        environment = os.environ | {"PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"}
        command = ["bash", "-euxo", "pipefail", "-c", text]
        done = subprocess.run(command, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        printed += done.stdout
    trained = {path.parts[-3] for path in (clone / "checkpoints").rglob("*.safetensors")}
    trained -= {path.parts[-3] for path in (ROOT / "checkpoints").rglob("*.safetensors")}
assert trained == {"gru"}, trained
row = printed.splitlines()[-1]
assert re.match(r"\| GRU<sup>\d</sup> \| \d", row), row
print(f"docs/add-a-row.md: {row}")
