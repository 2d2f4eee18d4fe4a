"""The version of a command's code changes with the modules it imports, and with no other."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import captionrl
from captionrl import provenance
from captionrl.cli import COMMANDS
from captionrl.config import MODELS, OBJECTIVES, REWARDS, backbones
from captionrl.errors import UserError
from captionrl.provenance import code_version, commit, sources

ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that may be edited; code_version reads it."""
    copy = tmp_path / "captionrl"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    forget()
    yield copy
    forget()


METHODS = {command: [model.path for model in MODELS.values()] for command in ("train", "predict", "figures")}
METHODS["train"] += [objective.path for objective in OBJECTIVES.values()]  # all that a rule may say that it loads
LOADERS = sorted({*backbones.LOADERS.values(), *(spec.loader for spec in backbones.BACKBONES.values())})
for name in ("train", "figures"):
    METHODS[name] += REWARDS.values()
for name in ("features", "frames", "train", "predict", "figures"):
    METHODS[name] = [*METHODS.get(name, ()), *LOADERS]


def forget():
    for function in (code_version, sources, commit, provenance._read, provenance._file):  # all that look at files
        function.cache_clear()


def versions(*commands):
    """Of these commands, or of all."""
    forget()
    return {command: code_version(command, *METHODS.get(command, ())) for command in commands or COMMANDS}


REMARK = """

def remarked():
    return 1
"""
REMARKED = '''# whatever somebody has to say


def remarked():  # about this

    """Likewise."""
    return (
        1
    )
'''


def test_comments_docstrings_and_layout_change_no_version(package):
    for path in package.rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + REMARK, encoding="utf-8")
    before = versions()
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8").removesuffix(REMARK) + "\n\n\n" + REMARKED
        if not ast.get_docstring(ast.parse(text)):
            text = f'"""What this is."""\n{text}'
        path.write_text(text, encoding="utf-8")
    assert versions() == before


def test_a_changed_statement_changes_the_versions_of_the_commands_that_import_its_module_and_no_other(
    package, monkeypatch
):
    before, read = versions(), provenance._read
    commands = importers(package)
    for edited in sorted(package.rglob("*.py")):
        changed = {edited: read(edited) + "\nEDITED = True\n"}
        code_version.cache_clear()
        with monkeypatch.context() as patched:
            patched.setattr(provenance, "_read", lambda path, changed=changed: changed.get(path) or read(path))
            after = {command: code_version(command, *METHODS.get(command, ())) for command in COMMANDS}
        assert {command for command in COMMANDS if before[command] != after[command]} == commands[edited], edited
    assert {"train", "table"} <= commands[package / "files.py"]


def importers(package: Path) -> dict[Path, set[str]]:
    """Which commands import each module, as Python would; config/ is left out, whose values enter as a hash."""
    modules = {path: ".".join(path.relative_to(package.parent).with_suffix("").parts) for path in package.rglob("*.py")}
    paths = {name.removesuffix(".__init__"): path for path, name in modules.items()}

    def imported(tree: ast.AST) -> set[str]:
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        around = {name.rpartition(".")[0] for name in names} - {"captionrl"}  # a package runs before its modules
        return {name for name in names | around if name in paths and not name.startswith("captionrl.config")}

    graph = {name: imported(ast.parse(path.read_text(encoding="utf-8"))) for name, path in paths.items()}
    found: dict[Path, set[str]] = {path: set() for path in modules}
    for command in COMMANDS:
        methods = {method.partition(":")[0] for method in METHODS.get(command, ())}
        run = function(package / f"commands/{command.replace('-', '_')}.py", "run")
        reached = set(methods | {name.rpartition(".")[0] for name in methods} | imported(run))
        while more := set().union(*(graph[name] for name in reached)) - reached:
            reached |= more
        for name in reached:
            found[paths[name]].add(command)
    return found


def function(path: Path, name: str) -> ast.FunctionDef:
    (found,) = (node for node in ast.parse(path.read_text()).body if getattr(node, "name", None) == name)
    return found


def test_the_documentation_says_what_runs_again():
    command = [sys.executable, "workflow/scripts/reach.py"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert table in (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_every_command_has_a_version_of_its_own():
    found = versions()
    assert {"train", "table", "score"} < found.keys()
    assert all(len(version) == 16 for version in found.values())
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("train", "paper, run, phase = args.phase\n", "paper, run, phase = args.phase[:]\n", {"train"}),
        ("extraction", 'args.state / "features"', 'args.state / "media"', {"features", "features-join", "frames"}),
        ("train", "arguments.seed, required=True", "arguments.seed, default=1", set()),  # options do not count
        ("arguments", '"default": 5', '"default": 6', set()),  # nor do shared ones
    ],
)
def test_what_a_command_does_counts_for_it_and_its_options_do_not(package, file, old, new, changed):
    before = versions()
    path = package / f"commands/{file}.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    after = versions()
    assert {command for command in COMMANDS if before[command] != after[command]} == changed


def test_a_new_import_deep_below_counts(package):
    (package / "new.py").write_text("VALUE = 1\n")
    before = versions("score", "table")
    metrics = package / "evaluation/metrics.py"
    metrics.write_text(
        metrics.read_text(encoding="utf-8") + "\n\ndef late():\n    import captionrl.new\n", encoding="utf-8"
    )
    imported = versions("score", "table")
    (package / "new.py").write_text("VALUE = 2\n")
    edited = versions("score", "table")
    assert len({before["score"], imported["score"], edited["score"]}) == 3
    assert edited["table"] == before["table"]


def test_the_place_of_the_package_does_not_count(package):
    copied = versions("train", "score", "render")
    provenance.PACKAGE = Path(captionrl.__file__).parent
    assert versions("train", "score", "render") == copied


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Where the package seems to be."""
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    forget()
    yield tmp_path
    forget()


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_commit_says_whether_files_differ_from_it(checkout):
    git(checkout, "init", "-q")
    (checkout / "a.py").write_text("1")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "one")
    git(checkout, "tag", "-am", "one", "v1")  # a tag must not take the hash's place
    assert commit() == git(checkout, "rev-parse", "HEAD")[:12]
    (checkout / "a.py").write_text("2")
    commit.cache_clear()
    assert commit() == git(checkout, "rev-parse", "HEAD")[:12] + "+"


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_an_unknown_commit_has_gits_reason_and_mend_once_in_one_line(checkout, monkeypatch, capfd):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))
    for reasons in (
        ["not a git repository"],
        ["dubious ownership in repository at", f"git config --global --add safe.directory {checkout}"],
    ):
        assert (commit(), commit()) == ("unknown", "unknown")
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("captionrl: the commit is recorded as unknown (fatal: ")
        assert all(reason in line for reason in reasons), line
        git(checkout, "init", "-q")
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as a container that mounts another user's clone
        commit.cache_clear()


def test_without_git_the_commit_is_unknown_and_a_line_says_so(checkout, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(checkout))
    assert commit() == "unknown"
    assert capfd.readouterr().err == "captionrl: the commit is recorded as unknown (git: No such file or directory)\n"


def test_a_users_module_is_read_as_python_reads_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forget()
    (tmp_path / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nNAME = 'café'\n".encode("latin-1"))
    assert code_version("train", "latin:NAME") != code_version("train")
    (tmp_path / "broken.py").write_text("def reward(:\n")
    with pytest.raises(UserError, match=r"broken.py: line 1: not Python \(.*\); correct it$"):
        code_version("train", "broken:reward")
    (tmp_path / "half.py").write_bytes(b"NAME = '\xe9'\n")
    with pytest.raises(UserError, match=r"half.py: .*not Python \(.*\); correct it$"):
        code_version("train", "half:NAME")
