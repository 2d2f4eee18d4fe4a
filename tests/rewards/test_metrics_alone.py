"""Metrics and rewards of text need no more than `pip install captionrl` brings: no torch, no extra."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
USE = """
import captionrl
from captionrl.rewards import Bleu, CiderD, PairwiseBleu
from captionrl.rewards.trl import reward
references = {"a": ["a man kicks a ball", "he kicks a ball"], "b": ["a dog sleeps"]}
assert captionrl.score(references, {"a": "A man kicks.", "b": "A dog."})["METEOR"]["value"] > 0
assert captionrl.score(references, {"a": "A man.", "b": "A dog."}, frequencies=references)["CIDEr-D"]["value"] > 0
assert captionrl.score(references, {id: ["A man.", "Dogs."] for id in references}, sets=True)["Div-1"]["value"] > 0
cider = CiderD.from_captions(references)
assert cider.texts(["A man kicks a ball!"], ["a"])[0] == cider.tokenised(["a man kicks a ball"], ["a"])[0] > 0
assert PairwiseBleu().texts([["a man", "a man"]]).shape == (1, 2, 2, 2)
assert reward(Bleu.from_captions(references), items="video")(["A dog"], video=["b"])[0] > 0
"""
BLOCK = """
import sys
class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent)
"""


def distribution(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return name[0].lower().replace("_", "-")


def installed_without_extras() -> set[str]:
    """The distributions that captionrl's dependencies are and need, without an extra."""
    found: set[str] = set()
    waiting = [distribution(requirement) for requirement in PROJECT["dependencies"]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [distribution(line) for line in requires(name) or [] if "extra ==" not in line]
    return found


def absent() -> set[str]:
    """The modules that are installed here but would not be then."""
    there = installed_without_extras()
    return {
        module
        for module, names in packages_distributions().items()
        if module != "captionrl" and not there & {name.lower().replace("_", "-") for name in names}
    }


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    code = BLOCK.format(names=absent()) + code
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


def test_there_are_at_most_15_packages_and_none_is_large_for_training_alone():
    there = installed_without_extras()
    assert len(there) + 1 <= 15
    assert there.isdisjoint({"torch", "torchvision", "snakemake", "dvc", "pyarrow", "matplotlib"})


def test_metrics_and_rewards_of_text_run_without_the_others():
    assert "torch" in absent()
    done = run(USE)
    said = [line for line in re.split(r"[\r\n]+", done.stderr) if line and not line.startswith("scoring: ")]
    assert (done.returncode, said) == (0, [])  # but for progress, on a slow machine


def test_captionrl_score_runs_without_the_others(tmp_path):
    (tmp_path / "references.json").write_text(json.dumps({"a": ["a man kicks a ball"], "b": ["a dog sleeps"]}))
    (tmp_path / "hypotheses.json").write_text(json.dumps({"a": "a man kicks", "b": "a dog"}))
    code = "from captionrl.cli import main\nmain()"
    files = ("--references", tmp_path / "references.json", "--hypotheses", tmp_path / "hypotheses.json")
    done = run(code, "score", *files, "--metrics", "BLEU-1,CIDEr-D")
    assert done.returncode == 0, done.stderr
    assert "CIDEr-D" in done.stdout


@pytest.mark.parametrize("command", [("caption", "model.safetensors", "a.png"), ("corpus", "coco", "--raw", ".")])
def test_a_command_that_needs_more_says_what_to_install(command):
    done = run("from captionrl.cli import main\nmain()", *command)
    assert done.returncode == 1
    line = f"captionrl {command[0]}: the package \\w+ is not installed; pip install 'captionrl\\[train\\]' .*\n"
    assert re.fullmatch(line, done.stderr)
