"""Where a number came from: the version of the code that a command runs, and the commit it stands in.

A rule's shell line does not change when the module behind it does, so every rule that computes carries
`code_version(command)`, a hash of just the modules which that command imports.
"""

import ast
import hashlib
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


@cache
def code_version(command: str) -> str:
    """A hash of the function `command` of cli.py and of every module of this package that it comes to import."""
    tree = ast.parse((PACKAGE / "cli.py").read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    function = functions[command.replace("-", "_")]
    digest = hashlib.sha256(ast.unparse(function).encode())
    for path in sorted(_closure(_imports(function))):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def commit() -> str:
    """The git commit of the working tree, with "+" when files differ from it; "unknown" outside git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _closure(modules: frozenset[str]) -> set[Path]:
    """The files of `modules` and of all that they import from this package, however deep."""
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        path = _file(waiting.pop())
        if path is not None and path not in found:
            found.add(path)
            waiting += _imports_of(path)
    return found


@cache
def _imports_of(path: Path) -> frozenset[str]:
    return _imports(ast.parse(path.read_text(encoding="utf-8")))


def _imports(tree: ast.AST) -> frozenset[str]:
    """Every dotted name of this package that is imported anywhere in `tree`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE.name)


def _file(module: str) -> Path | None:
    """The source of a dotted module name, or None where the name is a function or class."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
