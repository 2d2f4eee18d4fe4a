"""Where a number came from: the version of the code that a command runs, and the commit it stands in.

A rule's shell line does not change when the module behind it does, so every rule that computes carries
`code_version(command)`, a hash of what just the modules which that command imports do: of their syntax trees, so that
comments, docstrings and layout are free. (Python itself changes how it writes a tree: a hash is one release's.)
"""

import ast
import hashlib
import subprocess
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


@cache
def code_version(command: str, *methods: str) -> str:
    """A hash of the function `run` of a command's module, of its `sources`, and of which methods it uses.

    What a command's module imports outside `run` are options and their types, which do not count.
    """
    digest = hashlib.sha256("\n".join([_dump(_run(command)), *sorted(methods)]).encode())
    for path in sorted(sources(command, *methods)):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + _digest(_read(path)))
    return digest.hexdigest()[:16]


@cache
def sources(command: str, *methods: str) -> frozenset[Path]:
    """The files of this package that a command comes to import; `methods`: what YAML has it load, MODULE:NAME each."""
    return _closure(_imports(_run(command)) | {method.partition(":")[0] for method in methods})


def _run(command: str) -> ast.FunctionDef:
    tree = _parse(_read(PACKAGE / "commands" / f"{command.replace('-', '_')}.py"))
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")


def commit() -> str:
    """The git commit of the working tree, with "+" when files differ from it; "unknown" outside git."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _closure(modules: Set[str]) -> frozenset[Path]:
    """The files of `modules` and of all that they import from this package, however deep, but for config/.

    What config/ says enters every rule as a hash of the values that its command uses.
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is not None and path not in found and path.parent != PACKAGE / "config":
            found.add(path)
            waiting += [*_imports_of(_read(path)), *_packages(module)]
    return frozenset(found)


def _packages(module: str) -> list[str]:
    """The packages around a module, whose `__init__.py` Python runs first; but for captionrl itself."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(2, len(parts))]


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _digest(source: str) -> bytes:
    return hashlib.sha256(_dump(_parse(source)).encode()).digest()


@cache
def _imports_of(source: str) -> frozenset[str]:
    return _imports(_parse(source))


_dump = cache(ast.dump)


@cache
def _parse(source: str) -> ast.Module:
    """The syntax tree of a module, in which comments and layout never are, without its docstrings."""
    tree = ast.parse(source)
    for node in _statements(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if ast.get_docstring(node, clean=False) is not None:
                    node.body.pop(0)
    return tree


def _imports(tree: ast.AST) -> frozenset[str]:
    """Every dotted name of this package that is imported anywhere in `tree`."""
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] == PACKAGE.name)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """`tree` and every statement in it; ast.walk, which visits expressions too, takes ten times as long."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            waiting += getattr(node, block, ())


@cache
def _file(module: str) -> Path | None:
    """The source of a dotted module name, or None where the name is a function or class."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
