"""docs/security.md: the tests that it names exist, and what it says of all modules is so."""

import ast
import re
from datetime import date
from pathlib import Path

import pytest

from captionrl.files import sha256

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
MODULES = {path.relative_to(ROOT / "src"): path for path in sorted((ROOT / "src").rglob("*.py"))}
UNSAFE = {"pickle.load", "pickle.loads", "marshal.loads", "os.system", "os.popen", "eval", "exec", "yaml.unsafe_load"}
CONNECTING = {"http", "requests", "socketserver", "urllib.request", "httpx", "aiohttp", "ftplib"}


@pytest.mark.parametrize(("file", "test"), re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE))
def test_a_test_that_the_page_names_exists(file, test):
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_untrusted_input_has_a_test():
    rows = re.findall(r"^\| (.+) \|$", PAGE.split("\n## Not trusted\n")[1].split("\n## ")[0], re.MULTILINE)
    assert len(rows) > 10
    assert [row for row in rows[2:] if "::test_" not in row.rpartition(" | ")[2]] == []


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Every call in a module by its dotted name."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [(ast.unparse(node.func), node) for node in nodes if isinstance(node, ast.Call)]


def is_unsafe(name: str, call: ast.Call) -> bool:
    """Whether a call could run what a file, or a text, says."""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    loader = [ast.unparse(argument) for argument in call.args[1:2]]
    return (
        name in UNSAFE
        or (name == "torch.load" and given.get("weights_only") != "True")
        or (name == "yaml.load" and loader != ["UniqueKeys"])  # of yaml.CSafeLoader
        or given.get("allow_pickle", "False") != "False"
        or given.get("shell", "False") != "False"
    )


def test_no_module_runs_what_a_file_says():
    assert [f"{name}: {ast.unparse(call)}" for name, path in MODULES.items() for call_name, call in calls(path)
            if is_unsafe(call_name, call)] == []  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["torch.load(p)", "yaml.load(t, yaml.Loader)", "np.load(p, allow_pickle=True)", "run(c, shell=True)", "eval(t)"],
)
def test_such_a_line_would_be_found(line):
    call = ast.parse(line, mode="eval").body
    assert is_unsafe(ast.unparse(call.func), call)


def test_three_modules_alone_open_connections():
    found = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(f"{module}.".startswith(tuple(f"{known}." for known in CONNECTING)) for module in imported):
                found.add(name.as_posix())
    downloads = {"captionrl/datasets/transfer.py", "captionrl/datasets/listed.py"}
    assert found == {*downloads, "captionrl/text/corenlp.py"}


def test_the_locked_dependencies_have_a_line_in_the_list_of_audits():
    audits = re.findall(r"^\| (\d{4}-\d\d-\d\d) \| `([0-9a-f]{16})` \| .+ \|$", PAGE, re.MULTILINE)
    assert sha256(ROOT / "requirements.lock")[:16] == audits[-1][1]
    days = [date.fromisoformat(day) for day, _ in audits]
    assert sorted(days) == days
