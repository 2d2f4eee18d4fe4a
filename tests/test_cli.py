"""The command line: its help, its errors in one line, and the commands that users call themselves."""

import ast
import io
import json
import math
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from captionrl import __version__, cli
from captionrl.cli import COMMANDS, GROUPS, load_command
from captionrl.config import Params, load_paper
from captionrl.config.backbones import BACKBONES
from captionrl.datasets.manifest import VARIABLE, manifest
from captionrl.datasets.mini.write import NAMES
from captionrl.datasets.read import READERS
from captionrl.evaluation.aggregate import METRICS
from captionrl.files import HOST, write_json
from captionrl.state import open_state

PAPERS = Path(__file__).parents[1] / "papers"
TRAIN = ["--seed", "1", "--captions", "c", "--features", "f.h5", "--out", "o", "--scale", "mini"]


def without(option, words):
    at = words.index(option)
    return [*words[:at], *words[at + 2 :]]


@pytest.fixture
def refused(command_line):
    """The one line of stderr with which a command refuses its arguments' content."""

    def call(*arguments):
        status, out, err = command_line(*arguments)
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


def test_help_lists_every_command_in_its_group(command_line):
    status, out, _ = command_line("--help")
    assert status == 0
    groups = {title: re.findall(r"^  ([\w-]+) +[A-Z].+\.$", body, re.MULTILINE) for title, body in sections(out)}
    assert groups == {title: names.split() for title, names in GROUPS.items()}
    assert max(map(len, out.splitlines())) <= 110


def sections(text):
    return re.findall(r"^([A-Z][\w ]+):\n((?:  .+\n)+)", text, re.MULTILINE)


def test_a_command_is_a_module_with_a_line_of_help_its_options_and_what_it_does():
    """The version of a command's code is about `run`: so nothing of the package that it calls stands outside."""
    for command in COMMANDS:
        path = Path(load_command(command).__file__)
        tree = ast.parse(path.read_text())
        assert "\n" not in ast.get_docstring(tree)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert [node.name for node in functions] == ["add_arguments", "run"], command
        imports = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        ours = {module for module in imports if module.startswith("captionrl")}
        assert ours <= {"captionrl.commands", "captionrl.errors"}, command
    shared = {"__init__", "arguments", "extraction"}
    modules = {path.stem for path in path.parent.glob("*.py")} - shared
    assert modules == {command.replace("-", "_") for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command_line, command):
    status, out, _ = command_line(command, "--help")
    assert status == 0
    assert out.startswith(f"usage: captionrl {command} ")
    assert out.endswith(f"\nexample:\n  {load_command(command).EXAMPLE}\n")


def test_every_default_is_shown(command_line):
    assert (
        "--allowed-failures N  missing or broken videos to leave out (default: 0)\n"
        in command_line("features", "--help")[1]
    )
    out = " ".join(command_line("evaluate", "--help")[1].split())
    assert "--split {train,val,test} the items to use (default: test)" in out
    assert out.count("default") == 2  # --workers, too; nothing is said of None and of no files


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_a_command_parses_and_names_what_the_papers_make(command):
    program, name, *arguments = shlex.split(load_command(command).EXAMPLE)
    assert (program, name) == ("captionrl", command)
    cli.parser().parse_args([name, *arguments])
    for place in re.findall(r"checkpoints/(\S+)/seed1.safetensors", " ".join(arguments)):
        corpus, paper, run, phase = place.split("/")
        settings = load_paper(PAPERS / paper, "mini")
        assert corpus in settings.corpora
        assert phase in settings.runs[run].phases


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("render", NAMES),
        ("check-data", READERS),
        ("corpus", READERS),
        ("features", BACKBONES),
        ("frames", ["mini-frames", "inception-resnet-v2-frames"]),
        ("download", manifest()),
    ],
)
def test_help_names_all_data_sets_and_backbones(command_line, command, names):
    out = re.sub(r"-\n +", "-", command_line(command, "--help")[1])  # argparse breaks lines at hyphens
    assert set(names) <= set(re.findall(r"[\w-]+", out))


def test_help_and_errors_import_nothing_slow():
    script = "import sys; from captionrl.cli import parser; parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pydantic", "yaml"} & set(done.stdout.split())


def test_version(command_line):
    assert command_line("--version") == (0, f"{__version__}\n", "")


def test_the_installed_command_runs():
    command = Path(sys.executable).with_name("captionrl")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "captionrl: the following arguments are required: COMMAND"),
        (["paint"], "captionrl: argument COMMAND: invalid choice: 'paint'; choose from render, check-data, download"),
        (["trian"], "captionrl: argument COMMAND: invalid choice: 'trian'; did you mean 'train'?"),
        (["check_data"], "captionrl: argument COMMAND: invalid choice: 'check_data'; did you mean 'check-data'?"),
        (["--verison"], "captionrl: unknown option --verison; did you mean --version?"),
        (["train", "--fetures=f.h5"], "captionrl train: unknown option --fetures; did you mean --features?"),
        (["train", "--feat", "f.h5"], "captionrl train: unknown option --feat; "),  # no abbreviations
        (["score", "--references", "-x.json"], "unknown option -x.json; if it is a file, write ./-x.json"),
        (["goals", "-x.safetensors"], "unknown option -x.safetensors; if it is a file, put -- before it"),
        (["corpus", "msrvtt"], "captionrl corpus: the following arguments are required: --raw"),
        (["corpus", "msrvtt", "--raw", ".", "--min-count", "0"], "--min-count: '0' is not a whole number from 1"),
        (["corpus", "msrvtt", "--raw", ".", "--min-count", "two"], "--min-count: 'two' is not a whole number"),
        (
            ["render", "msrvtt-mini", "--raw", ".", "--workers", "-1"],
            "'-1' is not a whole number from 1 to 1,000",
        ),
        (["predict", "--beam", "1000000000"], "--beam: '1000000000' is not a whole number from 1 to 1,000"),
        (["predict", "--size", "9" * 23], f"--size: '{'9' * 23}' is not a whole number from 1 to 1,000"),
        (
            ["render", "msrvtt-mini", "--raw", ".", "--workers", "9" * 5000],
            "999' is not a whole number from 1 to 1,000",
        ),
        (["train", "hrl/xe-baseline/xe", "--seed", str(2**63)], f"--seed: '{2**63}' is not a whole number from 0 to"),
        (["watch", "--every", "9" * 23], f"--every: '{'9' * 23}' is not a whole number from 1 to 31,536,000"),
        (["features", "--allowed-failures", "-1"], "--allowed-failures: '-1' is not a whole number from 0 to"),
        (["features", "--fps", "nan"], "--fps: 'nan' is not a number from 0.001 to 1,000"),
        (["features", "--fps=-3"], "--fps: '-3' is not a number from 0.001 to 1,000"),
        (["frames", "--fps", "0"], "--fps: '0' is not a number from 0.001 to 1,000"),
        (["state", "prune", "--days", "nan"], "--days: 'nan' is not a number from 0 to"),
        (["state", "prune", "--gib", "-1"], "--gib: '-1' is not a number from 0 to"),
        (["features", "--part", "5/4"], "--part: '5/4' is not K/N with K from 1 to N"),
        (["features", "--part", "1/x/2"], "--part: '1/x/2' is not K/N with K from 1 to N"),
        (["features", "--part", "half"], "--part: 'half' is not K/N with K from 1 to N"),
        (["train", "hrl/xe-baseline", "--corpus", "msrvtt"], "'hrl/xe-baseline' is not 3 names with / between them"),
        (
            ["train", "hrl/xe-baseline/xe", "--corpus", "m", *without("--seed", TRAIN), "--seed", "one"],
            "'one' is not a whole number from",
        ),
        (
            ["train", "hrl/xe-baseline/xe", "--corpus", "m", *without("--scale", TRAIN), "--scale", "papr"],
            "--scale: invalid choice: 'papr'",
        ),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--overrides", "{"], "--overrides: '{' is not JSON"),
        (["config", "hrl", "--scale", "mini", "--overrides", "[" * 50_000], "nested too deep, or a number too long"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--overrides", "[1]"], "'[1]' is not a JSON object"),
        (["train", "hrl/xe-baseline/xe", "--corpus", "m", *TRAIN, "--device", "gpu"], "choose from auto, cpu, cuda"),
        (["table", "hrl", "--scale", "mini"], "'hrl' is not 2 names with / between them"),
        (["predict", "--look-ahead", "1.5"], "argument --look-ahead: '1.5' is not a number from 0 to 1"),
        (["predict", "--look-ahead", "nan"], "argument --look-ahead: 'nan' is not a number from 0 to 1"),
        (["predict", "--look-ahead", "half"], "argument --look-ahead: 'half' is not a number from 0 to 1"),
        (["state", "burn"], "argument what: invalid choice: 'burn'; choose from list, prune"),
    ],
)
def test_a_wrong_call_is_one_line_that_says_what_to_do(command_line, arguments, message):
    status, out, err = command_line(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    program = "captionrl" if err.startswith("captionrl:") else f"captionrl {arguments[0]}"
    assert re.fullmatch(rf"{program}: .+ \(see `{program} --help`\)\n", err)


def test_a_commands_two_words_may_stand_apart(command_line):
    assert command_line("features", "import", "--help") == command_line("features-import", "--help")
    assert command_line("features", "--backbone", "mini")[2].startswith("captionrl features: ")  # a command itself


def test_imported_features_are_called_own(refused, tmp_path):
    files = [tmp_path / "a.npz", "--captions", tmp_path, "--out", tmp_path / "a.h5"]
    message = refused("features-import", *files, "--name", "mini")
    assert "--name: 'mini'; features of your own are called own:NAME, such as own:clip" in message


@pytest.mark.parametrize("other", [("--set", "sample"), ("--stage", "0")])
def test_looking_ahead_is_for_single_captions_of_a_last_stage(refused, tmp_path, other):
    files = [f"--{name}={tmp_path / name}" for name in ("checkpoint", "captions", "features", "out")]
    message = refused("predict", *files, "--look-ahead", "0.5", *other)
    assert "--look-ahead: not together with --set or --stage; leave one of them out" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "sample", "--beam", "5"), "--beam: not together with --set, which has --size captions an item"),
        (("--size", "5"), "--size: only --set writes more than one caption an item"),
    ],
)
def test_a_width_that_nothing_would_heed_is_refused(refused, tmp_path, options, message):
    files = [f"--{name}={tmp_path / name}" for name in ("checkpoint", "captions", "features", "out")]
    assert message in refused("predict", *files, *options)


@pytest.mark.parametrize("other", [("--set", "sample"), ("--stage", "0"), ("--look-ahead", "0.5")])
def test_reranking_is_of_a_beam_search(refused, tmp_path, other):
    files = [f"--{name}={tmp_path / name}" for name in ("checkpoint", "captions", "features", "out")]
    message = refused("predict", *files, "--rerank", *other)
    assert "--rerank: not together with --set, --stage or --look-ahead; leave one of them out" in message


def test_a_users_mistake_is_one_line_without_a_traceback(refused, tmp_path):
    assert "vatex: neither a data set (charades, charades-annotations, coco, " in refused(
        "corpus", "vatex", "--raw", tmp_path
    )


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
    write_json(tmp_path / "metadata.json", {"origin": "x", "splits": {"test": {"items": 1}}})
    write_json(tmp_path / "no-visual-input/seed1.json", {"scores": {}, "provenance": {}})
    files = [
        "--metadata",
        tmp_path / "metadata.json",
        "--scores",
        tmp_path / "no-visual-input/seed1.json",
        "--out",
        tmp_path / "t.csv",
    ]
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


def test_the_systems_refusal_is_one_line_with_the_files_name(command_line, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = command_line("schema", "--out", tmp_path / "file/below")
    assert (status, out) == (1, "")
    assert err == f"captionrl schema: {tmp_path / 'file/below'}: Not a directory\n"


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def run(args):
        raise RuntimeError("ours")

    monkeypatch.setattr(load_command("schema"), "run", run)
    monkeypatch.setattr(sys, "argv", ["captionrl", "schema", "--out", "."])
    with pytest.raises(RuntimeError, match="ours"):
        cli.main()


def test_an_output_is_no_input(refused, tmp_path):
    """Whatever the path is called, and however many inputs there are."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    (tmp_path / "a.h5").write_bytes(b"kept")
    for command in (
        ("corpus", "tgif", "--raw", tmp_path / "raw", "--out", tmp_path / "link"),
        ("features-export", tmp_path / "a.h5", "--out", tmp_path / "raw/../a.h5"),
        (
            "predict",
            "--checkpoint",
            "x",
            "--captions",
            "c",
            *("--features", tmp_path / "a.h5", "--out", tmp_path / "a.h5"),
        ),
    ):
        assert "is read, too" in refused(*command)
    assert (tmp_path / "a.h5").read_bytes() == b"kept"
    assert list((tmp_path / "raw").iterdir()) == []


def test_nothing_is_written_over_what_is_read_with_or_below_an_input(refused, tmp_path):
    for name in ("img/list.json", "captions/captions.parquet", "raw/a.png", "raw/a.h5", "ck.safetensors", "ck.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"kept")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/splits").symlink_to(tmp_path / "raw")
    where = {option: tmp_path / option for option in ("raw", "captions")}
    extraction = ("features", "--backbone", "mini", "--raw", where["raw"])
    for command in (
        (*extraction, "--images", tmp_path / "img/list.json", "--out", tmp_path / "img/list.h5"),
        (*extraction, "--captions", where["captions"], "--out", tmp_path / "raw/a.png"),
        ("segment", "--captions", where["captions"], "--backend", "shallow",
         "--out", where["captions"] / "captions.parquet"),
        ("evaluate", "--predictions", "p", "--checkpoint", tmp_path / "ck.safetensors", "--captions", where["captions"],
         "--out", tmp_path / "ck.json"),
        ("corpus", "tgif", "--raw", tmp_path, "--out", tmp_path / "out"),
    ):  # fmt: skip
        assert "is read, too" in refused(*command)
    a_store = refused(*extraction, "--captions", where["captions"], "--out", tmp_path / "raw/a.h5")
    assert "is read, too" not in a_store


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (".", "--out: . is a directory; name a file"),
        ("", "--out: . is a directory; name a file"),
        ("a.json", "a.json: a .json is written beside it; give it another suffix"),
        ("/dev/null", "/dev/null is a device or a pipe, and would be replaced; name a file"),
        ("{}/pipe", "pipe is a device or a pipe, and would be replaced; name a file"),
    ],
)
def test_an_output_is_a_file(refused, tmp_path, out, said):
    os.mkfifo(tmp_path / "pipe")
    command = ("segment", "--captions", tmp_path, "--backend", "shallow", "--out", out.format(tmp_path))
    assert said in refused(*command)


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "captionrl schema: interrupted\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (
            RuntimeError("Symlink loop from '/a'"),
            1,
            "captionrl schema: Symlink loop from '/a'; name a file or folder\n",
        ),
    ],
)
def test_the_ends_of_a_terminals_life_are_quiet(tmp_path, fault, status, said):
    code = f"""
import sys
from captionrl import cli
def run(args):
    raise {type(fault).__name__}{fault.args}
cli.load_command("schema").run = run
sys.argv = ["captionrl", "schema", "--out", "."]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize(
    "callback",
    [
        "kept = weakref.ref(thing := Thing(), interrupt); del thing",
        "ctypes.CFUNCTYPE(None, ctypes.c_int)(interrupt)(1)",
    ],
)
def test_an_interrupt_that_falls_into_a_callback_is_not_lost(callback):
    code = f"""
import ctypes, signal, sys, time, weakref
from captionrl import cli
class Thing: pass
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
def interrupt(_):
    signal.raise_signal(signal.SIGINT)
def run(args):
    {callback}
    time.sleep(30)
cli.load_command("schema").run = run
sys.argv = ["captionrl", "schema", "--out", "."]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stderr) == (130, "captionrl schema: interrupted\n")


def test_what_is_ignored_else_is_still_said():
    code = """
import weakref
from captionrl import cli
class Thing: pass
def fail(_):
    raise ValueError("lost")
def run(args):
    kept = weakref.ref(thing := Thing(), fail)
    del thing
cli.load_command("schema").run = run
import sys
sys.argv = ["captionrl", "schema", "--out", "."]
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "ValueError: lost" in done.stderr


def test_what_killed_ones_left_beside_outputs_goes(tmp_path, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f".{gone.pid}.{HOST}.seed1.json").touch()
    monkeypatch.setattr(load_command("predict"), "run", lambda args: None)
    outputs = [str(tmp_path / folder / "seed1.json") for folder in ("a", "b")]
    given = ["--checkpoint", "x", "y", "--captions", "c", "--features", "f", "--out", *outputs]
    monkeypatch.setattr(sys, "argv", ["captionrl", "predict", *given])
    cli.main()
    assert [list((tmp_path / folder).iterdir()) for folder in ("a", "b")] == [[], []]


def test_an_interrupt_while_options_are_read_is_quiet():
    code = """
import sys
from captionrl import cli
def parser():
    raise KeyboardInterrupt
cli.parser = parser
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "captionrl: interrupted\n")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("bytearray(10**13)", "a MemoryError"),
        ("import numpy; numpy.ones(10**12)", "Unable to allocate 7.28 TiB"),
        ("import torch; torch.ones(10**12)", "you tried to allocate 4000000000000 bytes"),
    ],
)
def test_where_memory_runs_out_a_line_says_so(statement, said):
    code = f"""
import sys
from captionrl import cli
def run(args):
    {statement}
cli.load_command("schema").run = run
sys.argv = ["captionrl", "schema", "--out", "."]
cli.main()
"""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1
    assert re.fullmatch(rf"captionrl schema: not enough memory \(.*{re.escape(said)}.*\); close .*\n", done.stderr)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_streams_may_be_closed(closed):
    call = f"{shlex.quote(sys.executable)} -c 'from captionrl.cli import main; main()' config hrl --scale mini {closed}"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert (done.stdout == "") == (">&-" in closed.split())


def test_a_file_name_that_is_no_text_is_printed(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8"))
    cli.prepare_streams()
    print(os.fsdecode(b"caf\xe9.png"), flush=True)
    assert written.getvalue() == b"caf\\udce9.png\n"


def test_nobody_reads_on():
    """`captionrl … | true`, with all that it prints in one buffer."""
    call = f"{shlex.quote(sys.executable)} -c 'from captionrl.cli import main; main()' config hrl --scale mini"
    command = ["bash", "-c", f"{call} | true; echo ${{PIPESTATUS[0]}}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_schemas_are_written(command_line, tmp_path):
    assert command_line("schema", "--out", tmp_path)[0] == 0
    schema = json.loads((tmp_path / "params.schema.json").read_text())
    assert set(schema["properties"]) == set(Params.model_fields) > {"scale", "seeds", "overrides"}
    assert "phases" in json.loads((tmp_path / "paper.schema.json").read_text())["properties"]


def test_config_prints_the_settings_of_a_paper_or_of_one_key(command_line, monkeypatch):
    called = []
    settings = ModuleType("captionrl.config.settings")
    settings.render_settings = lambda *arguments: called.append(arguments) or "beam: 5"
    monkeypatch.setitem(sys.modules, settings.__name__, settings)
    assert command_line("config", "hrl", "--scale", "mini") == (0, "beam: 5\n", "")
    command_line("config", "hrl", "beam", "--scale", "paper", "--papers", "p", "--overrides", '{"beam": 5}')
    assert called == [(Path("papers/hrl"), "mini", None, None), (Path("p/hrl"), "paper", {"beam": 5}, "beam")]


def test_corpus_prints_what_was_read(command_line, msrvtt):
    status, out, _ = command_line("corpus", "msrvtt", "--raw", msrvtt)
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][0] == "msrvtt:"
    counts = {line[0]: (line[1], line[3], line[5]) for line in lines[1:4]}
    assert counts == {"train": ("2", "4", "3.50"), "val": ("1", "2", "3.50"), "test": ("1", "2", "3.50")}
    assert lines[4][:3] == ["vocabulary", "of", "8"]  # four words and the specials


def test_corpus_as_json_is_the_metadata(command_line, msrvtt, tmp_path):
    metadata = json.loads(command_line("corpus", "msrvtt-mini", "--raw", msrvtt, "--json", "--min-count", 3)[1])
    assert (metadata["name"], metadata["vocabulary"], metadata["min_count"]) == ("msrvtt-mini", 7, 3)
    assert {split: numbers["items"] for split, numbers in metadata["splits"].items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }
    out = tmp_path / "prepared"
    assert (
        json.loads(command_line("corpus", "msrvtt-mini", "--raw", msrvtt, "--json", "--min-count", 3, "--out", out)[1])
        == metadata
    )
    assert json.loads((out / "metadata.json").read_text()) == metadata


@pytest.mark.slow
def test_score_prints_every_metric(command_line, captions):
    status, out, _ = command_line("score", *captions, "--format", "json", "--items")
    assert status == 0
    (report,) = json.loads(out).values()
    assert tuple(report) == METRICS
    assert report["BLEU-1"]["value"] == pytest.approx(100 * 7 / 9 * math.exp(1 - 11 / 9))  # 7 of 9 words, where 11
    assert all(score["low"] <= score["value"] <= score["high"] for score in report.values())
    assert report["CIDEr-D"]["items"]["v1"] > report["CIDEr-D"]["items"]["v2"]
    text = command_line("score", *captions)[1]
    assert text.startswith("BLEU-1")
    assert f"{report['METEOR']['value']:.2f}" in text


@pytest.mark.parametrize(("items", "warnings"), [(1, 1), (2, 0)])
def test_of_one_item_scores_come_with_a_warning(command_line, captions, monkeypatch, items, warnings):
    score = {"value": 0.0, "low": 0.0, "high": 0.0, "signature": "s", "n": items, "items": {"a": 0.1}}
    monkeypatch.setattr("captionrl.evaluation.score_files.score_files", lambda *_, **__: {"h": {"CIDEr-D": score}})
    status, out, err = command_line("score", *captions)
    assert (status, out.splitlines()[0]) == (0, f"{'CIDEr-D':15}   0.00  [0.00, 0.00]")
    assert err.count("captionrl score: of one item CIDEr-D is 0 whatever it says") == err.count("\n") == warnings


def test_where_no_word_is_rare_scores_come_with_a_warning(command_line, captions, tmp_path):
    write_json(tmp_path / "one.json", {"1": ["a man is riding a red horse"]})
    status, _, err = command_line("score", *captions, "--metrics", "CIDEr-D", "--df", tmp_path / "one.json")
    assert (status, err.count("captionrl score: ")) == (0, 1)
    assert "CIDEr-D of every item is 0: either no caption shares a word with its references, or document freq" in err
    assert "captionrl score: " not in command_line("score", *captions, "--metrics", "CIDEr-D")[2]


def test_document_frequencies_of_nothing_are_refused(command_line, captions, tmp_path):
    write_json(tmp_path / "none.json", {})
    status, _, err = command_line("score", *captions, "--metrics", "CIDEr-D", "--df", tmp_path / "none.json")
    assert status == 2
    assert "none.json: holds no captions; --df needs those of at least one item" in err


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (["--references", "b.json"], "--references is given twice; give it once, with all its values behind it"),
        (["--metrics=BLEU-1", "--metrics", "METEOR"], "--metrics is given twice; give it once"),
        (["--items", "--items"], "--items is given twice; give it once"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(command_line, captions, again, said):
    """argparse would keep the last one."""
    status, _, err = command_line("score", *captions, *again)
    assert (status, err.count("\n")) == (2, 1)
    assert said in err


def test_a_text_that_lies_where_another_would_be_written_is_not_replaced(command_line, tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    call = ("leaderboard", "stackcap/table4", "--scale", "mini", "--out", tmp_path / "notes.csv")
    status, _, err = command_line(*call)
    assert status == 2
    assert "notes.md, which is written beside it, is there already; move it, give another name, or, if capt" in err
    assert (tmp_path / "notes.md").read_text() == "mine"
    (tmp_path / "notes.md").unlink()
    assert [command_line(*call)[0] for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("name", ["claims.md", "claims.csv"])
def test_claims_of_a_users_own_are_not_replaced(command_line, tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / "t.csv").touch()
    call = ("metrics", "hrl", "--scale", "mini", "--tables", tmp_path / "t.csv", "--out", tmp_path / "metrics.json")
    status, _, err = command_line(*call)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{name}, which is written beside it, is there already; move it" in err
    assert (tmp_path / name).read_text() == "mine"


def test_settings_on_the_command_line_name_a_key_once(command_line):
    status, _, err = command_line("config", "hrl", "beam", "--scale", "mini", "--overrides", '{"beam": 3, "beam": 4}')
    assert status == 2
    assert "--overrides: " in err
    assert "'beam' stands twice in one object; keep one" in err


@pytest.fixture
def states(tmp_path):
    """The states of an old and of a new training."""
    for title, days in (("hrl/xe-baseline/xe old", 40), ("hrl/rl-baseline/rl new", 3)):
        with open_state(tmp_path / "state", {"name": title}, title) as directory:
            (directory / "last.pt").write_bytes(bytes(1 << 20))
        for path in directory.iterdir():
            os.utime(path, (time.time() - days * 86400,) * 2)
    return tmp_path / "state"


def test_state_list_shows_every_training_the_oldest_first(command_line, states):
    status, out, _ = command_line("state", "list", "--state", states)
    assert status == 0
    old, new, count = out.splitlines()
    assert "1.0 MiB" in old
    assert "40.0 days" in old
    assert old.endswith("hrl/xe-baseline/xe old")
    assert new.endswith("hrl/rl-baseline/rl new")
    assert count == "2 kept"
    assert len(list(states.iterdir())) == 2


def test_state_prune_deletes_only_the_untouched(command_line, states):
    assert command_line("state", "prune", "--state", states)[1].splitlines()[-1] == "1 deleted"
    out = command_line("state", "list", "--state", states)[1]
    assert "new" in out
    assert "old" not in out
    assert command_line("state", "prune", "--state", states, "--days", "1")[1].splitlines()[-1] == "1 deleted"
    assert list(states.iterdir()) == []


def test_state_prune_by_size_deletes_the_oldest(command_line, states):
    """Of two states of 1 MiB and a little."""
    prune = "state", "prune", "--state", states, "--days", "1000", "--gib"
    assert command_line(*prune, "0.01")[1] == "0 deleted\n"
    out = command_line(*prune, 1.5 / 1024)[1]
    assert "old" in out
    assert out.endswith("\n1 deleted\n")
    assert command_line(*prune, "0")[1].splitlines()[-1] == "1 deleted"
    assert list(states.iterdir()) == []


def test_a_title_is_printed_whatever_it_holds(command_line, tmp_path):
    (tmp_path / "0123456789abcdef").mkdir()
    (tmp_path / "0123456789abcdef/identity.json").write_text(r'{"title": "half \ud800"}')
    status, out, _ = command_line("state", "list", "--state", tmp_path)
    assert (status, out.splitlines()[0][-11:]) == (0, r"half \ud800")


def test_no_states_is_no_error(command_line, tmp_path):
    assert command_line("state", "list", "--state", tmp_path / "none")[:2] == (0, "0 kept\n")


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="a kernel without huge pages")
@pytest.mark.parametrize("users", [None, "0"])
def test_large_tensors_lie_on_huge_pages_unless_the_user_says_no(users, tmp_path):
    setting = {} if users is None else {"THP_MEM_ALLOC_ENABLE": users}
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"} | setting
    code = f"""
import os, re, sys
from captionrl.cli import main
sys.argv = ["captionrl", "schema", "--out", {str(tmp_path)!r}]
main()
import torch
tensor = torch.zeros(64 << 20, dtype=torch.uint8)
maps, place = open("/proc/self/smaps").read(), tensor.data_ptr()
for block in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", maps)[1:]:
    low, high = (int(end, 16) for end in block.split(None, 1)[0].split("-"))
    if low <= place < high:
        print(re.search(r"VmFlags:(.*)", block)[1].split())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    flags = done.stdout.splitlines()[-1]
    assert ("'hg'" in flags) == (users is None)  # madvise(MADV_HUGEPAGE)


def test_a_record_of_what_was_fetched_takes_no_other_files_place(tmp_path, command_line, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")  # the command sets it
    (tmp_path / "manifest.yaml").write_text(
        "g: [{name: a, what: b, licence: none, into: a.txt, url: http://localhost:9/a.txt, recorded: true}]\n"
    )
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.txt").write_text("annotation")
    options = ["g", "--manifest", tmp_path / "manifest.yaml", "--into", tmp_path / "d", "--state", tmp_path / "state"]
    status, _, err = command_line("download", *options, "--record", tmp_path / "d/a.txt")
    assert (status, (tmp_path / "d/a.txt").read_text()) == (2, "annotation")
    assert err.endswith("a.txt: not the list that captionrl writes there; move it to another place\n")
    (tmp_path / "mine.json").write_text('{"clip1": {"caption": "mine"}}')
    status, _, err = command_line("download", *options, "--record", tmp_path / "mine.json")
    assert (status, (tmp_path / "mine.json").read_text()) == (2, '{"clip1": {"caption": "mine"}}')
    status, _, err = command_line("download", *options, "--record", tmp_path / "manifest.yaml")
    assert status == 2
    assert "manifest.yaml is read, too (manifest), and would be lost" in err
    assert command_line("download", *options, "--record", tmp_path / "d/downloads.json")[0] == 0
