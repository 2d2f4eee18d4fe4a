"""Read many changed files of every kind that comes from outside, and keep those that are neither read nor refused.

    python tests/fuzz/run.py                          # 2,000 mutants of every target, fewer of slow ones
    python tests/fuzz/run.py video gif -n 100000 --seed 7
    python tests/fuzz/run.py video --case work/fuzz/video/7-1234/a.mp4    # one again, in this process

The targets are those of targets.py. The same seed gives the same mutants, whatever their number. The status is 1 if
there are faults; Ctrl-C ends it with what has been found.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzzing import Mutant, Outcome, attempt, mutant, outcomes, room
from targets import TARGETS

BATCH = 250  # mutants a process
KEPT = 3  # of each fault


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is named")
    parser.add_argument("-n", type=int, default=2000, metavar="N", help="mutants of each (2000); of slow ones fewer")
    parser.add_argument("--seed", type=int, default=1, help="of the mutants (1)")
    parser.add_argument("--keep", type=Path, default=Path("work/fuzz"), metavar="DIR", help="for faults (work/fuzz)")
    parser.add_argument(
        "--case", type=Path, metavar="FILE", help="read only this changed file, of the one TARGET named"
    )
    given = parser.parse_args()
    names = given.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    if given.case:
        return try_case(names[0], given.case)
    return fuzz_all({name: max(1, given.n // TARGETS[name].cost) for name in names}, given.seed, given.keep)


def fuzz_all(numbers: dict[str, int], seed: int, keep: Path) -> int:
    """Fuzz so many mutants of each target, and print how that goes; the exit status."""
    began, before, found = time.monotonic(), 0, 0
    print(f"{'target':12}{'tried':>9}{'read':>9}{'refused':>9}{'faults':>9}{'a second':>10}{'left':>10}")
    try:
        for name, most in numbers.items():
            for tried, faults in fuzz(name, most, seed, keep):  # noqa: B007 - the last one
                done = before + tried
                left = (sum(numbers.values()) - done) * (time.monotonic() - began) / done
                print(
                    f"{time.strftime('%H:%M:%S', time.gmtime(left)):>10}",
                    end="\n" if tried == most else "\r",
                    flush=True,
                )
            before, found = before + most, found + faults
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
    return int(found > 0)


def fuzz(name: str, most: int, seed: int, keep: Path) -> Iterator[tuple[int, int]]:
    """Print a line of counts, and yield how many mutants have been tried and how many were faults, after each batch."""
    samples, began = TARGETS[name].samples(), time.monotonic()
    counts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for start in range(0, most, BATCH):
        numbers = range(start, min(most, start + BATCH))
        mutants = [mutant(TARGETS[name], samples, seed, number) for number in numbers]
        with room() as folder:
            found = outcomes(TARGETS[name].read, mutants, Path(folder))
            for number, changed, outcome in zip(numbers, mutants, found, strict=True):
                counts["fault" if outcome.fault else "read" if outcome.read else "refused"] += 1
                if outcome.fault:
                    faults[outcome.fault] += 1
                    if faults[outcome.fault] <= KEPT:
                        report(name, changed, outcome, keep / name / f"{seed}-{number}")
        tried, rate = sum(counts.values()), sum(counts.values()) / (time.monotonic() - began)
        row = [tried, counts["read"], counts["refused"], counts["fault"]]
        print(f"{name:12}{''.join(f'{number:9,}' for number in row)}{rate:10,.0f}", end="")
        yield tried, counts["fault"]


def report(name: str, mutant: Mutant, outcome: Outcome, folder: Path) -> None:
    """Keep a fault, and say how to see it again."""
    path = folder / mutant.changed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mutant.files[mutant.changed])
    print(f"{name}: {outcome.fault}: python tests/fuzz/run.py {name} --case {path}")


def case(name: str, path: Path) -> Mutant:
    """A changed file that has been kept, among the files that it was kept with."""
    for files in TARGETS[name].samples():
        for file in files:
            if path.as_posix().endswith(f"/{file}"):
                return Mutant({**files, file: path.read_bytes()}, file)
    raise SystemExit(f"{path}: no file of {name} is called so")


def try_case(name: str, path: Path) -> int:
    with room() as folder:
        outcome = attempt(TARGETS[name].read, case(name, path.resolve()), Path(folder))
    print(outcome.fault or ("read" if outcome.read else "refused"), outcome.detail, sep="\n")
    return int(bool(outcome.fault))


if __name__ == "__main__":
    sys.exit(main())
