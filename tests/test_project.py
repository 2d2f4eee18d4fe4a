"""`captionrl init`: what it writes can be planned, and it writes all or nothing."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from captionrl import project
from captionrl.config import load_paper, load_params
from captionrl.project import write_project

ROOT = Path(__file__).parents[1]
FILES = {
    ".gitignore",
    "Snakefile",
    "data/clips/README",
    "papers/mine/own.yaml",
    "params.yaml",
    "profiles/default/config.yaml",
}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_project_is_valid_as_written(tmp_path, command_line):
    status, out, err = command_line("init", tmp_path / "new", "--backbone", "mini")
    assert (status, err) == (0, "")
    assert f"{tmp_path / 'new'}: see data/clips/README" in out
    assert files(tmp_path / "new") == FILES
    assert load_params(tmp_path / "new/params.yaml").scale == "own"
    paper = load_paper(tmp_path / "new/papers/mine", "own")
    assert (paper.paper, list(paper.corpora), paper.backbone) == ("mine", ["clips"], "mini")
    assert paper.tables["table1"].control is None
    assert not any(row.cited for row in paper.tables["table1"].rows)
    assert [paper.lineage(run) for run in paper.runs] == [[("xe", "xe")], [("xe", "xe"), ("rl", "rl")]]


def test_every_setting_of_a_project_has_its_place_in_its_file(tmp_path, command_line, monkeypatch):
    write_project(tmp_path, "mine", "clips", "mini")
    monkeypatch.chdir(tmp_path)
    status, out, _ = command_line("config", "mine", "phases.rl.epochs", "--scale", "own")
    assert status == 0
    line = out.rstrip().splitlines()[-1]
    number = int(line.rpartition(":")[2])
    assert "epochs:" in Path("papers/mine/own.yaml").read_text().splitlines()[number - 1]


def test_names_are_taken_everywhere(tmp_path):
    write_project(tmp_path, "surf", "beach-2", "mini-grid")
    assert {"papers/surf/own.yaml", "data/beach-2/README"} < files(tmp_path)
    paper = load_paper(tmp_path / "papers/surf", "own")
    assert (paper.paper, list(paper.corpora), paper.backbone) == ("surf", ["beach-2"], "mini-grid")
    assert "mine" not in (tmp_path / "papers/surf/own.yaml").read_text()
    assert "clips" not in (tmp_path / "papers/surf/own.yaml").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "My_own"], "--name: String should match pattern"),
        (["--corpus", "a/b"], "--corpus: String should match pattern"),
        (["--corpus", "coco"], "--corpus: coco: a data set is so called; choose another name"),
        (["--corpus", "x-mini"], "--corpus: x-mini: a data set is so called"),
        (["--corpus", "frames"], "--corpus: frames: a rule of the workflow is so called; choose another name"),
        (["--corpus", "results"], "--corpus: results: a rule of the workflow is so called"),
        (["--name", "train"], "--name: train: a rule of the workflow is so called"),
        (["--name", "clips"], "--corpus: clips: the project is so called, and both name a target"),
        (["--backbone", "vgg61"], "--backbone: no backbone is called 'vgg61'; did you mean 'vgg16'?"),
        (["--backbone", "mini-frames"], "runs.xe: attention has no CNN and needs features, which mini-frames on clips"),
    ],
)
def test_a_refusal_leaves_nothing_behind(tmp_path, command_line, options, message):
    backbone = [] if "--backbone" in options else ["--backbone", "mini"]
    status, out, err = command_line("init", tmp_path / "a/new", *backbone, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_a_file_of_a_project_stays_as_it_is(tmp_path, command_line):
    (tmp_path / "data/clips").mkdir(parents=True)
    (tmp_path / "data/clips/captions.jsonl").write_text("{}\n")
    for name in ("params.yaml", "Snakefile"):
        (tmp_path / name).write_text("mine\n")
    status, _, err = command_line("init", tmp_path, "--backbone", "mini")
    assert status == 2
    assert f"{tmp_path}: holds params.yaml, Snakefile already; choose another folder" in err
    assert files(tmp_path) == {"data/clips/captions.jsonl", "params.yaml", "Snakefile"}
    for name in ("params.yaml", "Snakefile"):
        (tmp_path / name).unlink()
    assert command_line("init", tmp_path, "--backbone", "mini")[0] == 0
    assert files(tmp_path) == FILES | {"data/clips/captions.jsonl"}


def test_what_was_written_before_a_failure_is_taken_back(tmp_path, monkeypatch):
    write_text = project.write_text

    def fails(path, text):
        if path.name == "Snakefile":
            raise OSError("disk full")
        write_text(path, text)

    monkeypatch.setattr(project, "write_text", fails)
    with pytest.raises(OSError, match="disk full"):
        write_project(tmp_path / "new", "mine", "clips", "mini")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of what git would see of this tree."""
    tree = tmp_path_factory.mktemp("tree")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("no git checkout")
    for name in filter(None, found.stdout.split("\0")):
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tree / "out",
        tree,
    ]
    subprocess.run(build, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (path,) = (tree / "out").iterdir()
    return tree, path


def test_the_wheel_holds_the_package_and_the_workflow_and_nothing_else(wheel):
    tree, path = wheel
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist() if ".dist-info/" not in name}
        notes = {name.partition(".dist-info/")[2] for name in file.namelist() if ".dist-info/" in name}
    expected = {}
    for name in ("Snakefile", "workflow", "papers", "profiles", "slurm"):
        parts = [tree / name] if (tree / name).is_file() else sorted((tree / name).rglob("*"))
        expected |= {f"captionrl/pipeline/{part.relative_to(tree)}": part for part in parts if part.is_file()}
    for part in (tree / "src/captionrl").rglob("*"):
        if part.is_file() and not part.is_symlink():
            expected[part.relative_to(tree / "src").as_posix()] = part
    assert content == {name: part.read_bytes() for name, part in expected.items()}
    assert {"licenses/LICENSE", "licenses/NOTICE", "entry_points.txt", "METADATA"} <= notes
