"""Whatever comes from outside is read, or refused in one line; tests/fuzz/run.py tries more of it, by hand."""

import os
import time
from pathlib import Path

import pytest
from files import Files
from fuzzing import MEMORY, Mutant, attempt, mutant, outcomes, room
from run import case
from targets import TARGETS

from captionrl.errors import UserError

MUTANTS = 150  # of a quick target
CASES = sorted(path for path in (Path(__file__).parent / "cases").rglob("*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_what_mutants_begin_from_is_read(tmp_path, name):
    for files in TARGETS[name].samples():
        outcome = attempt(TARGETS[name].read, Mutant(files, ""), tmp_path)
        assert outcome.read, outcome


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}")
def test_what_was_a_fault_is_refused(path):
    name = path.relative_to(Path(__file__).parent / "cases").parts[0]
    with room() as folder:
        (outcome,) = outcomes(TARGETS[name].read, [case(name, path)], Path(folder))
    assert (outcome.read, outcome.fault) == (False, ""), outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_mutant_is_read_or_refused(name):
    target = TARGETS[name]
    samples = target.samples()
    mutants = [mutant(target, samples, 0, number) for number in range(MUTANTS // target.cost)]
    with room() as folder:
        found = list(outcomes(target.read, mutants, Path(folder)))
    assert [(number, outcome) for number, outcome in enumerate(found) if outcome.fault] == []
    assert len(found) == len(mutants)


def test_equal_seeds_give_equal_mutants():
    target = TARGETS["msrvtt"]
    samples = target.samples()
    first, again = ([mutant(target, samples, 0, number) for number in range(50)] for _ in range(2))
    assert first == again
    assert first != [mutant(target, samples, 1, number) for number in range(50)]


def read(folder: Path, out: Path) -> None:
    """Does what its file says."""
    path = folder / "a.txt"
    match path.read_text():
        case "raise":
            raise KeyError("a")
        case "refuse":
            raise UserError(f"{path}: refused")
        case "refuse nothing":
            raise UserError("refused")
        case "refuse in lines":
            raise UserError(f"{path}: refused", "and more")
        case "change":
            path.write_text("changed")
        case "leave":
            (folder.parent / "new").write_text("new")
        case "write":
            (out / "new").write_text("new")
        case "hang":
            while True:
                time.monotonic()
        case "die":
            os.abort()
        case "take":
            bytearray(b"x") * (MEMORY + 2**28)


@pytest.mark.parametrize(
    ("what", "fault"),
    [
        ("raise", "KeyError at another place"),
        ("refuse", ""),
        ("refuse nothing", "no file named at another place"),
        ("refuse in lines", "more than one line at another place"),
        ("change", "changes files that were not to be written"),
        ("leave", "changes files that were not to be written"),
        ("write", ""),
        ("die", "the process died: SIGABRT"),
        ("take", "more than 1024 MiB"),
        pytest.param("hang", "more than 10 s", marks=pytest.mark.slow),
    ],
)
def test_a_fault_is_noticed_and_the_next_mutant_is_read(what, fault):
    def files(text: str) -> Files:
        return {"a.txt": text.encode()}

    with room() as folder:
        found = list(outcomes(read, [Mutant(files(text), "a.txt") for text in (what, "nothing")], Path(folder)))
    assert [outcome.fault for outcome in found] == [fault, ""]
    assert found[1].read
