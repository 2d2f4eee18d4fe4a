"""Modules import from lower layers only, by the table of docs/architecture.md, which names every module."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/captionrl"


def layers() -> dict[str, int]:
    """{module or package below captionrl: its layer}."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("\n## Layers")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text, re.MULTILINE)
    return {name: int(layer) for layer, names in rows for name in re.findall(r"`(\w+)`", names)}


def imported(tree: ast.AST) -> set[str]:
    """The first names below captionrl that are imported anywhere in a module, in functions and for types too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "captionrl":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("captionrl."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("captionrl.")}
    return names - {"__version__"}


def test_the_table_names_every_module_once():
    own = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" and path.stem != "__init__"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(layers()) == own | packages


def test_no_module_imports_from_a_higher_layer():
    of = layers()
    upward = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if name == "__init__":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        upward += [f"{path.relative_to(PACKAGE)} imports {other}" for other in imported(tree) if of[other] > of[name]]
    assert upward == []
