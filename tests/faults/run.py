"""Do the tests notice faults? Each *.patch beside this file puts one into the code; some test should then fail.

    python tests/faults/run.py                            # every fault
    python tests/faults/run.py objectives-td-last-step-bootstraps
    python tests/faults/run.py --json found.json          # keeps what is found; what it holds already is skipped
    python tests/faults/run.py --tree ../other-checkout   # the faults of this tree, in the code and tests of another

All happens in a copy of the working tree. The tests nearest to a fault run first: those called after its file, then
those of its directory; all other fast ones if these pass. The exit status is 1 if a fault escapes, or if its patch does
not apply to this code any more. No two pytests ever run at a time; still, all faults take half an hour or more. A test
that fails without the fault, too, ends it all.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="patches, without .patch; all if none is named")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results there, and go on from them")
    parser.add_argument("--tree", type=Path, default=HERE.parents[1], help="the working tree to test, not this one")
    given = parser.parse_args()
    names = given.names or sorted(path.stem for path in HERE.glob("*.patch"))
    if unknown := [name for name in names if not (HERE / f"{name}.patch").is_file()]:
        parser.error(f"no {unknown[0]}.patch in {HERE}")
    known = json.loads(given.json.read_text()) if given.json and given.json.exists() else {}
    caught = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        copy = copy_tree(given.tree, Path(folder, "tree"))
        for name in names:
            result = known.get(name) or try_fault(copy, HERE / f"{name}.patch")
            if result is None:
                print(name, "does not apply: make it again", flush=True)
                continue
            caught += bool(result["test"])
            what = f"caught by {result['test']} in" if result["test"] else "ESCAPED after"
            print(name, what, result["seconds"], "s", flush=True)
            if given.json:
                known[name] = result
                given.json.write_text(json.dumps(known, indent=1) + "\n")
    print(f"{caught} of {len(names)} faults are caught")
    return int(caught < len(names))


def copy_tree(tree: Path, copy: Path) -> Path:
    """Copy what git would see of a working tree; exit if it is not the copy's package that tests would import."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=tree, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and ((tree / name).is_file() or (tree / name).is_symlink()):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, copy / name, follow_symlinks=False)
    imported = run(copy, sys.executable, "-c", "import captionrl; print(captionrl.__file__)").stdout.strip()
    if not Path(imported).is_relative_to(copy):
        sys.exit(f"{sys.executable} imports {imported or 'no captionrl'}, not that of {copy}")
    return copy


def try_fault(copy: Path, patch: Path) -> dict | None:
    """The first test that fails with the patch, None if none does, and the seconds until then; None: no such place."""
    began = time.monotonic()
    (changed,) = re.findall(r"^\+\+\+ b/(.+)$", patch.read_text(), re.MULTILINE)
    if not git_apply(copy, changed, str(patch)):
        return None
    try:
        near, own = nearest(copy, changed), own_tests(copy, changed)
        others = ["-n", "2", "--dist", "loadfile", *(f"--ignore={place}" for place in near)]
        test = (failing(copy, own) if own else None) or failing(copy, near) or failing(copy, others)
    finally:
        git_apply(copy, changed, "-R", str(patch))
    seconds = round(time.monotonic() - began)
    if test and failing(copy, [test]):
        sys.exit(f"{patch.stem}: {test} fails without it, too; fix that first")
    return {"test": test, "seconds": seconds}


def git_apply(copy: Path, changed: str, *arguments: str) -> bool:
    """Apply a patch, and forget what Python and numba have compiled beside: they might not see that a file changed."""
    done = run(copy, "git", "apply", *arguments)
    shutil.rmtree((copy / changed).parent / "__pycache__", ignore_errors=True)
    return done.returncode == 0


def nearest(copy: Path, changed: str) -> list[str]:
    """The tests of a file: the directory called as the one that it lies in, or where there is none, tests/test_*.py."""
    area = Path(changed).parts[2] if changed.startswith("src/") else "workflow"
    if (copy / "tests" / area).is_dir():
        return [f"tests/{area}"]
    return sorted(f"tests/{path.name}" for path in copy.glob("tests/test_*.py"))


def own_tests(copy: Path, changed: str) -> list[str]:
    """The test files called after a file: of training/learners/hrl.py all test_*hrl*.py, wherever they lie."""
    return sorted(str(path.relative_to(copy)) for path in copy.glob(f"tests/**/test_*{Path(changed).stem}*.py"))


def failing(copy: Path, arguments: list[str]) -> str | None:
    """The first test that fails, if one does."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-rfE", *arguments]
    done = run(copy, *command)
    if done.returncode in (0, 5):  # all passed; there are none
        return None
    if failed := re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE):
        return failed[1]
    sys.exit(f"{' '.join(command)}: status {done.returncode}, but no test failed:\n{done.stdout[-3000:]}")


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1", "GIT_CEILING_DIRECTORIES": str(copy.parent)}
    return subprocess.run(
        command, cwd=copy, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


if __name__ == "__main__":
    sys.exit(main())
