"""The version of a command's code changes with the modules it imports, and with no other."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from captionrl import cli, provenance
from captionrl.config.methods import LEARNERS, MODELS
from captionrl.provenance import code_version, commit

COMMANDS = tuple(cli.parser()._subparsers._group_actions[0].choices)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that may be edited; code_version reads it."""
    copy = tmp_path / "captionrl"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    forget()
    yield copy
    forget()


METHODS = {  # what a rule says that its command loads, if it is about all models and objectives
    "train": [*MODELS.values(), *LEARNERS.values()],
    "predict": MODELS.values(),
    "figures": MODELS.values(),
}


def forget():
    for cached in (code_version, provenance._imports_of, provenance._parse, provenance._file):
        cached.cache_clear()


def versions():
    forget()
    return {command: code_version(command, *METHODS.get(command, ())) for command in COMMANDS}


def edit(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("module", "changed", "unchanged"),
    [
        ("objectives/xe.py", {"train"}, {"features", "predict", "table", "score", "corpus", "world"}),
        ("rewards/cider.py", {"train", "evaluate"}, {"features", "predict", "table", "corpus"}),
        ("objectives/exploration.py", {"train"}, {"features", "predict", "table", "score"}),
        ("evaluation/diversity.py", {"evaluate"}, {"train", "predict", "table", "goals"}),
        ("features/regions.py", {"regions"}, {"train", "features", "corpus"}),
        ("rewards/ngrams.py", {"train"}, {"features", "table"}),
        ("rewards/bleu.py", {"train", "evaluate"}, {"features", "predict", "table", "corpus"}),
        ("rewards/words.py", {"train", "evaluate"}, {"features", "predict", "table", "corpus"}),
        ("models/critic.py", {"train", "predict", "boundaries"}, {"table", "score", "features", "segment"}),
        ("models/hrl.py", {"train", "predict", "goals", "caption", "figures"}, {"table", "score", "features"}),
        ("objectives/hrl.py", {"train"}, {"predict", "goals", "table"}),
        ("objectives/boundaries.py", {"train", "boundaries"}, {"predict", "table"}),
        ("text/corenlp.py", {"segment"}, {"train", "corpus", "table"}),
        ("text/shallow.py", {"segment"}, {"train", "corpus", "table"}),
        ("datasets/segments.py", {"segment", "train", "boundaries"}, {"predict", "corpus", "features"}),
        ("features/annotations.py", {"annotations"}, {"train", "features", "corpus"}),
        ("evaluation/goals.py", {"goals"}, {"train", "table", "predict"}),
        ("evaluation/retrieval.py", {"retrieval"}, {"train", "value", "evaluate"}),
        ("evaluation/value.py", {"value"}, {"train", "retrieval", "evaluate"}),
        ("evaluation/embedding.py", {"evaluate"}, {"train", "predict", "score", "table"}),
        ("models/actor_critic.py", {"train", "predict", "retrieval", "value"}, {"evaluate", "score", "table"}),
        ("tables/curves.py", {"figures"}, {"table", "train", "publish"}),
        ("training/loop.py", {"train", "backbone"}, {"table", "score", "corpus", "world"}),
        ("models/attention.py", {"train", "predict"}, {"table", "score", "features", "corpus"}),
        ("evaluation/metrics.py", {"evaluate", "score"}, {"train", "features", "corpus", "backbone"}),
        ("evaluation/bootstrap.py", {"table", "score"}, {"train", "features", "predict"}),
        ("tables/table.py", {"table"}, {"train", "evaluate", "score", "publish"}),
        ("tables/publish.py", {"publish"}, {"table", "train"}),
        ("datasets/mini/draw.py", {"world"}, {"corpus", "train", "features"}),
        ("datasets/msrvtt.py", {"corpus", "require"}, {"table", "score"}),
        ("features/video.py", {"features", "backbone", "frames"}, {"corpus", "table"}),
        ("text/ptb.py", {"corpus", "train", "score"}, {"world", "require", "publish"}),
        ("files.py", set(COMMANDS), set()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_knows_the_modules_that_it_imports(package, module, changed, unchanged):
    before = versions()
    edit(package / module)
    after = versions()
    different = {command for command in COMMANDS if before[command] != after[command]}
    assert changed <= different
    assert not unchanged & different


def test_every_command_has_a_version_of_its_own():
    found = versions()
    assert {"train", "table", "score"} < found.keys()
    assert all(len(version) == 16 for version in found.values())
    assert len(set(found.values())) == len(found)


def test_a_commands_own_lines_count_but_those_of_others_do_not(package):
    before = versions()
    text = (package / "cli.py").read_text(encoding="utf-8")
    edited = text.replace("    name, run, phase = args.phase\n", "    name, run, phase = args.phase[:]\n")
    assert edited != text
    (package / "cli.py").write_text("# a comment\n" + edited, encoding="utf-8")
    after = versions()
    assert {command for command in COMMANDS if before[command] != after[command]} == {"train"}


def test_a_new_import_deep_below_counts(package):
    before = versions()
    (package / "new.py").write_text("VALUE = 1\n")
    assert versions() == before
    metrics = package / "evaluation/metrics.py"
    metrics.write_text(
        metrics.read_text(encoding="utf-8") + "\n\ndef late():\n    import captionrl.new\n", encoding="utf-8"
    )
    imported = versions()
    (package / "new.py").write_text("VALUE = 2\n")
    assert versions()["table"] != imported["table"]
    assert versions()["train"] == imported["train"] == before["train"]


def test_the_place_of_the_package_does_not_count(package):
    copied = versions()
    provenance.PACKAGE = Path(cli.__file__).parent
    assert versions() == copied


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_commit_says_whether_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / "cli.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "-am", "one", "v1")  # a tag must not take the hash's place
    assert commit() == git(tmp_path, "rev-parse", "HEAD")[:12]
    (tmp_path / "cli.py").write_text("2")
    assert commit() == git(tmp_path, "rev-parse", "HEAD")[:12] + "+"


def test_outside_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == "unknown"
