"""Code that YAML names by MODULE:NAME, a user's own too: how it is loaded, and that it counts in code versions."""

import sys

import pytest
from test_provenance import forget

from captionrl.dotted import is_dotted, load_object
from captionrl.errors import UserError
from captionrl.provenance import code_version, sources
from captionrl.rewards import CiderD


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of a user's, in which commands run; what is imported there is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    forget()
    yield tmp_path
    forget()
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["a:b", "a.b_c.d:E", "captionrl.rewards:CiderD"])
def test_a_module_and_a_name_are_dotted(name):
    assert is_dotted(name)


@pytest.mark.parametrize("name", ["CIDEr-D", "a.b", "a:", ":b", "a:b:c", "a-b:c", "../a:b", "a:b.c", "timm:resnet 18"])
def test_anything_else_is_not(name):
    assert not is_dotted(name)


def test_a_part_of_the_package_and_a_module_of_the_folder_are_loaded(folder):
    (folder / "mine_one.py").write_text("def answer():\n    return 42\n")
    assert load_object("captionrl.rewards:CiderD") is CiderD
    assert load_object("mine_one:answer")() == 42


def test_a_users_file_does_not_take_an_installed_modules_place(folder):
    (folder / "json.py").write_text("raise SystemExit")
    assert load_object("json:dumps")([]) == "[]"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "absent_one:f", r"absent_one:f: no module absent_one; write absent_one.py in .*, or install it"),
        ("x = 1\n", "mine_two:f", r"mine_two:f: .*mine_two.py has no f; define it there"),
        ("x = 1\nx = y\n", "mine_two:x", r"mine_two:x: cannot be imported: .*mine_two.py:2: NameError: .*'y'"),
        ("import absent_one\n", "mine_two:x", r"cannot .*mine_two.py:1: ModuleNotFoundError: .*absent_one"),
        ("raise SystemExit\n", "mine_two:x", r"mine_two:x: cannot be imported: .*mine_two.py:1: SystemExit: "),
        (None, "mine_two.py:x", r"mine_two.py:x: write it without .py: mine_two:x$"),
        (None, "json:x", r"json:x: .*json/__init__.py has no x; define it there"),
        ("x = (\n", "mine_two:x", r"mine_two:x: cannot be imported: .*mine_two.py:1: SyntaxError: .*"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_line(folder, text, name, message):
    if text is not None:
        (folder / "mine_two.py").write_text(text)
    with pytest.raises(UserError, match=f"^{message}" if message.startswith(name) else message) as raised:
        load_object(name)
    assert "\n" not in str(raised.value)


def test_an_installed_module_that_hides_a_users_own_is_said_to(folder):
    (folder / "json.py").write_text("x = 1\n")
    with pytest.raises(UserError, match=r"json/__init__.py has no x; it hides .*/json.py; give that another name$"):
        load_object("json:x")


def version(method):
    forget()
    return code_version("train", method)


def test_a_users_module_counts_with_what_it_imports_of_the_folder(folder):
    """Comments do not count, as in the package; neither do modules that it does not import."""
    (folder / "tools").mkdir()
    files = {
        "mine.py": "from tools import deep\n",
        "tools/__init__.py": "",
        "tools/deep.py": "from .deeper import x\n",
        "tools/deeper.py": "from . import side\nx = 1\n",
        "tools/side.py": "y = 1\n",
        "other.py": "z = 1\n",
        "json.py": "",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    before = version("mine:f")
    counted = {path.relative_to(folder).as_posix() for path in sources("train", "mine:f") if folder in path.parents}
    assert counted == files.keys() - {"other.py", "json.py"}
    for name in counted:
        text = (folder / name).read_text()
        (folder / name).write_text(f"# a comment\n{text}")
        assert version("mine:f") == before, name
        (folder / name).write_text(f"{text}w = 2\n")
        assert version("mine:f") != before, name
        (folder / name).write_text(text)
    (folder / "other.py").write_text("z = 2\n")
    assert version("mine:f") == before
    assert before != version("captionrl.models.hrl:HRL")


def test_where_the_folder_lies_does_not_count(folder, monkeypatch):
    versions = []
    for place in ("a", "b"):
        (folder / place).mkdir()
        (folder / place / "mine.py").write_text("x = 1\n")
        monkeypatch.chdir(folder / place)
        versions.append(version("mine:f"))
    assert versions[0] == versions[1]
