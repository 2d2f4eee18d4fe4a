"""The command line: its help, its errors in one line, and the commands that users call themselves."""

import json
import math
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from captionrl import __version__, cli
from captionrl.config import Params
from captionrl.evaluation.aggregate import METRICS
from captionrl.files import write_json
from captionrl.state import open_state

PAPERS = Path(__file__).parents[1] / "papers"
COMMANDS = tuple(cli.parser()._subparsers._group_actions[0].choices)
TRAIN = ["--seed", "1", "--captions", "c", "--features", "f.h5", "--out", "o", "--scale", "mini"]


@pytest.fixture
def run(monkeypatch, capsys):
    """(exit status, stdout, stderr) of a command."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["captionrl", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def refused(run):
    """The one line of stderr with which a command refuses its arguments' content."""

    def call(*arguments):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith(f"captionrl {arguments[0]}: ")
        assert err.count("\n") == 1
        return err

    return call


@pytest.fixture
def msrvtt(tmp_path):
    """A directory in MSR-VTT's format: two clips for training, one each for the other splits."""
    splits = {"train_val": ["train", "train", "validate"], "test": ["test"]}
    first = 0
    for name, parts in splits.items():
        ids = [f"video{first + i}" for i in range(len(parts))]
        first += len(parts)
        videos = [{"video_id": id, "split": split} for id, split in zip(ids, parts, strict=True)]
        sentences = [{"caption": text, "video_id": id} for id in ids for text in ("a man runs", "a man runs fast")]
        write_json(tmp_path / f"{name}_videodatainfo.json", {"videos": videos, "sentences": sentences})
    return tmp_path


@pytest.fixture
def captions(tmp_path):
    """Tiny reference and hypothesis files."""
    references = {"v1": ["a man is riding a red horse", "a man rides a horse"], "v2": ["a dog runs on the beach"]}
    write_json(tmp_path / "references.json", references)
    write_json(tmp_path / "hypotheses.json", {"v1": "a man is riding a horse", "v2": "a cat sleeps"})
    return ["--references", tmp_path / "references.json", "--hypotheses", tmp_path / "hypotheses.json"]


def test_help_lists_every_command(run):
    status, out, _ = run("--help")
    assert status == 0
    # The longest name touches, or leaves, the column in which argparse explains them.
    assert re.findall(r"^    (\w+)(?= |$)", out, re.MULTILINE) == list(COMMANDS)
    assert {"corpus", "world", "train", "predict", "evaluate", "table", "score", "state", "publish"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert out.startswith(f"usage: captionrl {command} ")


def test_version(run):
    assert run("--version") == (0, f"{__version__}\n", "")


def test_the_installed_command_runs():
    command = Path(sys.executable).with_name("captionrl")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["corpus", "msrvtt"], "the following arguments are required: --raw"),
        (["corpus", "msrvtt", "--raw", ".", "--min-count", "0"], "'0' is no positive whole number"),
        (["corpus", "msrvtt", "--raw", ".", "--min-count", "two"], "'two' is no positive whole number"),
        (["world", "msrvtt-mini", "--raw", ".", "--workers", "-1"], "--workers"),
        (["train", "hrl/xe-baseline", "--corpus", "msrvtt"], "'hrl/xe-baseline' needs 3 names with / between them"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--seed", "one"], "--seed: invalid int value"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--scale", "big"], "--scale: invalid choice: 'big'"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--overrides", "{"], "argument --overrides"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--overrides", "[1]"], "argument --overrides"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--device", "gpu"], "--device: invalid choice"),
        (["table", "hrl", "--scale", "mini"], "'hrl' needs 2 names with / between them"),
        (["predict", "--look-ahead", "1.5"], "argument --look-ahead: '1.5' is no number from 0 to 1"),
        (["predict", "--look-ahead", "nan"], "argument --look-ahead: 'nan' is no number from 0 to 1"),
        (["predict", "--look-ahead", "half"], "argument --look-ahead: 'half' is no number from 0 to 1"),
        (["state", "burn"], "argument what: invalid choice: 'burn'"),
    ],
)
def test_a_bad_option_is_explained(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert err.startswith("usage: captionrl")


@pytest.mark.parametrize("other", [("--set", "sample"), ("--stage", "0")])
def test_looking_ahead_is_for_single_captions_of_a_last_stage(refused, tmp_path, other):
    files = [f"--{name}={tmp_path}" for name in ("checkpoint", "captions", "features", "out")]
    message = refused("predict", *files, "--look-ahead", "0.5", *other)
    assert "--look-ahead: not together with --set or --stage; leave one of them out" in message


def test_a_users_mistake_is_one_line_without_a_traceback(refused, tmp_path):
    assert "vatex: no such corpus; choose one of" in refused("corpus", "vatex", "--raw", tmp_path)


def test_a_missing_file_is_named(refused, captions, tmp_path):
    captions[1] = tmp_path / "none.json"
    assert refused("score", *captions) == f"captionrl score: {tmp_path / 'none.json'}: no such file\n"


@pytest.mark.parametrize(
    ("phase", "corpus", "message"),
    [
        ("hrl/xe-baselin/xe", "msrvtt-mini", "xe-baselin"),
        ("hrl/xe-baseline/ex", "msrvtt-mini", "ex"),
        ("hrl/xe-baseline/rl", "msrvtt-mini", "rl"),  # a phase, but none of this run's
        ("hrl/xe-baseline/xe", "msvd", "msvd"),
        ("hlr/xe-baseline/xe", "msrvtt-mini", "hlr/paper.yaml: no such file"),
    ],
)
def test_training_what_no_paper_knows_is_one_line(refused, tmp_path, phase, corpus, message):
    files = ["--captions", tmp_path, "--features", tmp_path / "f.h5", "--out", tmp_path / "o", "--state", tmp_path]
    where = ["--papers", PAPERS, "--scale", "mini"]
    line = refused("train", phase, "--corpus", corpus, "--seed", 1, *files, *where)
    assert message in line
    assert "f.h5" not in line


def test_a_table_that_no_paper_knows_is_one_line(refused, tmp_path):
    write_json(tmp_path / "card.json", {"origin": "x"})
    write_json(tmp_path / "blind/seed1.json", {"scores": {}, "provenance": {}})
    files = ["--card", tmp_path / "card.json", "--scores", tmp_path / "blind/seed1.json", "--out", tmp_path / "t.csv"]
    assert "table9" in refused("table", "hrl/table9", *files, "--papers", PAPERS, "--scale", "mini")


def test_a_full_disk_is_one_line_with_the_files_name(tmp_path):
    def fill_disk():  # no file may grow: what a full disk says, but for the words
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))

    command = [sys.executable, "-c", "from captionrl.cli import main; main()", "schema", "--out", tmp_path]
    done = subprocess.run(command, preexec_fn=fill_disk, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"captionrl schema: {tmp_path}/")
    assert done.stderr.endswith("params.schema.json: File too large\n")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_systems_refusal_is_one_line_with_the_files_name(run, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = run("schema", "--out", tmp_path / "file/below")
    assert (status, out) == (1, "")
    assert err == f"captionrl schema: {tmp_path / 'file/below'}: Not a directory\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def schema(args):
        raise RuntimeError("ours")

    monkeypatch.setattr(cli, "schema", schema)
    monkeypatch.setattr(sys, "argv", ["captionrl", "schema", "--out", "."])
    with pytest.raises(RuntimeError, match="ours"):
        cli.main()


def test_schemas_are_written(run, tmp_path):
    assert run("schema", "--out", tmp_path)[0] == 0
    schema = json.loads((tmp_path / "params.schema.json").read_text())
    assert set(schema["properties"]) == set(Params.model_fields) > {"scale", "seeds", "overrides"}
    assert "phases" in json.loads((tmp_path / "paper.schema.json").read_text())["properties"]


def test_corpus_prints_what_was_read(run, msrvtt):
    status, out, _ = run("corpus", "msrvtt", "--raw", msrvtt)
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == "msrvtt:"
    counts = {line[0]: (line[1], line[3], line[5]) for line in lines[1:4]}
    assert counts == {"train": ("2", "4", "3.50"), "val": ("1", "2", "3.50"), "test": ("1", "2", "3.50")}
    assert lines[4][:3] == ["vocabulary", "of", "8"]  # four words and the specials


def test_corpus_as_json_is_the_card(run, msrvtt, tmp_path):
    metadata = json.loads(run("corpus", "msrvtt-mini", "--raw", msrvtt, "--json", "--min-count", 3)[1])
    assert (metadata["name"], metadata["vocabulary"], metadata["min_count"]) == ("msrvtt-mini", 7, 3)
    assert {split: numbers["items"] for split, numbers in metadata["splits"].items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }
    out = tmp_path / "prepared"
    assert (
        json.loads(run("corpus", "msrvtt-mini", "--raw", msrvtt, "--json", "--min-count", 3, "--out", out)[1])
        == metadata
    )
    assert json.loads((out / "card.json").read_text()) == metadata


@pytest.mark.slow
def test_score_prints_every_metric(run, captions):
    status, out, _ = run("score", *captions, "--json", "--items")
    assert status == 0
    report = json.loads(out)
    assert tuple(report) == METRICS
    assert report["BLEU-1"]["value"] == pytest.approx(100 * 7 / 9 * math.exp(1 - 11 / 9))  # 7 of 9 words, where 11
    assert all(score["low"] <= score["value"] <= score["high"] for score in report.values())
    assert report["CIDEr-D"]["items"]["v1"] > report["CIDEr-D"]["items"]["v2"]
    text = run("score", *captions)[1]
    assert text.startswith("BLEU-1")
    assert f"{report['METEOR']['value']:.2f}" in text


@pytest.fixture
def states(tmp_path):
    """The states of an old and of a new training."""
    for title, days in (("hrl/xe-baseline/xe old", 40), ("hrl/rl-baseline/rl new", 3)):
        with open_state(tmp_path / "state", {"name": title}, title) as directory:
            (directory / "last.pt").write_bytes(bytes(1 << 20))
        for path in directory.iterdir():
            os.utime(path, (time.time() - days * 86400,) * 2)
    return tmp_path / "state"


def test_state_list_shows_every_training_the_oldest_first(run, states):
    status, out, _ = run("state", "list", "--state", states)
    assert status == 0
    old, new, count = out.splitlines()
    assert "1.0 MiB" in old
    assert "40.0 days" in old
    assert old.endswith("hrl/xe-baseline/xe old")
    assert new.endswith("hrl/rl-baseline/rl new")
    assert count == "2 kept"
    assert len(list(states.iterdir())) == 2


def test_state_prune_deletes_only_the_untouched(run, states):
    assert run("state", "prune", "--state", states)[1].splitlines()[-1] == "1 deleted"
    out = run("state", "list", "--state", states)[1]
    assert "new" in out
    assert "old" not in out
    assert run("state", "prune", "--state", states, "--days", "1")[1].splitlines()[-1] == "1 deleted"
    assert list(states.iterdir()) == []


def test_no_states_is_no_error(run, tmp_path):
    assert run("state", "list", "--state", tmp_path / "none")[:2] == (0, "0 kept\n")
