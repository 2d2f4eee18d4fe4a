"""Processes that tests start: programs in Python, and forks of this process, which has everything imported."""

import os
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

# `#!` cannot name a Python whose path has spaces. To sh, line 2 is a command; to Python, lines 2 and 3 are a string.
HEAD = """#!/bin/sh
'''exec' {python} {options}"$0" "$@"
' '''
"""


def write_program(path: Path, text: str, options: str = "") -> Path:
    python = shlex.quote(sys.executable)
    path.write_text(HEAD.format(python=python, options=options and f"{options} ") + text)
    path.chmod(0o755)
    return path


def fork(program: Callable[[], None]) -> int:
    """The id of a fork of this process that runs a program, and ends with its status."""
    if child := os.fork():
        return child
    status = 1
    try:
        program()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
