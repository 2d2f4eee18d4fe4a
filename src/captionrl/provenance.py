"""Where a number came from: the version of the code that a command runs, and the commit it stands in.

A rule's shell line does not change when the module behind it does, so every rule that computes carries
`code_version(command)`, a hash of what just the modules which that command imports do: of their syntax trees, so that
comments, docstrings and layout are free. (Python itself changes how it writes a tree: a hash is one release's.)
Modules are those of this package, and of the current folder those that YAML names and that they import.
"""

import ast
import hashlib
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Set
from functools import cache
from importlib.metadata import version
from importlib.util import resolve_name
from pathlib import Path

from captionrl.errors import UserError

PACKAGE = Path(__file__).parent


@cache
def code_version(command: str, *methods: str) -> str:
    """A hash of the function `run` of a command's module, of its `sources`, and of which methods it uses.

    What a command's module imports outside `run` are options and their types, which do not count.
    """
    digest = hashlib.sha256("\n".join([_dump(_run(command)), *sorted(methods)]).encode())
    for path in sorted(sources(command, *methods)):
        base = PACKAGE if path.is_relative_to(PACKAGE) else Path.cwd()
        digest.update(path.relative_to(base).as_posix().encode() + b"\0" + _digest(_read(path)))
    return digest.hexdigest()[:16]


@cache
def sources(command: str, *methods: str) -> frozenset[Path]:
    """The files of this package that a command comes to import; `methods`: what YAML has it load, MODULE:NAME each.

    Those outside this package are a user's own: they count with what they import of the current folder.
    """
    return _closure(_ours(_imports(_run(command))) | {method.partition(":")[0] for method in methods})


def _run(command: str) -> ast.FunctionDef:
    tree = _parse(_read(PACKAGE / "commands" / f"{command.replace('-', '_')}.py"))
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")


@cache
def commit() -> str:
    """The git commit of the checkout, with "+" when files differ from it; of an installed package its version.

    Where git knows none it is "unknown"; git's reason, with git's own advice, goes to stderr.
    """
    snakefile = PACKAGE / "pipeline/Snakefile"  # in a checkout a link
    if snakefile.is_file() and not snakefile.is_symlink():
        return f"captionrl {version('captionrl')}"
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True).stdout.strip()
    except OSError as error:
        reason = f"git: {error.strerror}"
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())
    print(f"captionrl: the commit is recorded as unknown ({reason})", file=sys.stderr)
    return "unknown"


def _closure(modules: Set[str]) -> frozenset[Path]:
    """The files of `modules` and of all that they import, however deep, but for config/.

    What config/ says enters every rule as a hash of the values that its command uses.
    """
    files: set[Path] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        path = _file(module)
        if path is not None and path not in files and path.parent != PACKAGE / "config":
            files.add(path)
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            try:
                imported = {_absolute(name, package) for name in _imports_of(_read(path))}
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None)
                place = f"{path}: line {line}" if line else f"{path}"
                raise UserError(f"{place}: not Python ({getattr(error, 'msg', error)}); correct it") from None
            waiting += [*(_ours(imported) if path.is_relative_to(PACKAGE) else imported), *_packages(module)]
    return frozenset(files)


def _absolute(name: str, package: str) -> str:
    """A dotted name as it is imported in a module of `package`; a relative one that leads out of it stays."""
    try:
        return resolve_name(name, package)
    except ImportError:  # Python will say so when it is imported
        return name


def _ours(modules: Set[str]) -> Set[str]:
    return {module for module in modules if module.split(".")[0] == PACKAGE.name}


def _packages(module: str) -> list[str]:
    """The packages around a module, whose `__init__.py` Python runs first; but for captionrl itself."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(2 if parts[0] == PACKAGE.name else 1, len(parts))]


@cache
def _read(path: Path) -> str:
    """A module's source, in the encoding that its first lines name."""
    with tokenize.open(path) as file:
        return file.read()


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
    """Every dotted name that `tree` imports anywhere, of modules and of what is in them; `from .` keeps its dot."""
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            prefix = module if not node.module else f"{module}."
            names |= {module, *(f"{prefix}{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(names)


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
    """The source of a dotted module name; None where it is a function's or class' name, or of somewhere else."""
    first, *parts = module.split(".")
    if not first:
        return None
    base = PACKAGE.joinpath(*parts) if first == PACKAGE.name else Path.cwd().joinpath(first, *parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
