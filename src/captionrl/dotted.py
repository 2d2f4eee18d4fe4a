"""Code that YAML names, MODULE:NAME: a part of this package, or a user's own in the folder that commands run in."""

import re
import sys
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any

from captionrl.errors import UserError

DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"


def is_dotted(name: str) -> bool:
    """Whether a name in YAML is MODULE:NAME."""
    return re.fullmatch(DOTTED, name) is not None


def load_object(path: str) -> Any:
    """What MODULE:NAME names. Installed modules come first, then those of the current folder.

    Raises UserError where there is no such module or name, or where importing the module fails.
    """
    name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            if name.endswith(".py"):
                raise UserError(f"{path}: write it without .py: {name.removesuffix('.py')}:{attribute}") from None
            file = Path(*name.split(".")).with_suffix(".py")
            raise UserError(f"{path}: no module {name}; write {file} in {here}, or install it") from None
        last = error if isinstance(error, SyntaxError) else extract_tb(error.__traceback__)[-1]
        what = f"{last.filename}:{last.lineno}: {type(error).__name__}: {error}"
        raise UserError(f"{path}: cannot be imported: {what}") from error
    if not hasattr(module, attribute):
        found, mine = Path(module.__file__ or name), Path(here, *name.split(".")).with_suffix(".py")
        hidden = mine.exists() and not (found.exists() and mine.samefile(found))
        fix = f"it hides {mine}; give that another name" if hidden else "define it there"
        raise UserError(f"{path}: {found} has no {attribute}; {fix}")
    return getattr(module, attribute)


def failure(error: Exception, path: str) -> str:
    """An error that the code of MODULE:NAME raised, in one line that begins with where it stood in its own file."""
    frames = extract_tb(error.__traceback__)
    file = sys.modules[path.partition(":")[0]].__file__
    last = ([frame for frame in frames if frame.filename == file] or frames)[-1]
    return f"{last.filename}:{last.lineno}: {type(error).__name__}: {' '.join(str(error).split())}"
