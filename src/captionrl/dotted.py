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
    except Exception as error:  # a user's module may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            file = Path(*name.split(".")).with_suffix(".py")
            raise UserError(f"{path}: no module {name}; write {file} in {here}, or install it") from None
        last = error if isinstance(error, SyntaxError) else extract_tb(error.__traceback__)[-1]
        what = f"{last.filename}:{last.lineno}: {type(error).__name__}: {error}"
        raise UserError(f"{path}: cannot be imported: {what}") from error
    if not hasattr(module, attribute):
        raise UserError(f"{path}: {module.__file__ or name} has no {attribute}; define it there")
    return getattr(module, attribute)
