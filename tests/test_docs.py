"""What the documentation says exists: commands, targets, links, numbers, and the code of every equation."""

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import snakemake.cli

from captionrl import cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
PUBLISHED_PAGES = sorted((ROOT / "docs/results").glob("*/README.md"))
EQUATIONS = {"hrl": 26, "sle": 16, "stackcap": 15, "policy_value": 12, "e2e": 8}  # numbered in the paper
MENTION = re.compile(r"[Ee]q(?:uation|\.)s?\s*(\d+(?:\s*(?:,|to|and|-)\s*\d+)*)")


def commands(page: Path) -> list[list[str]]:
    """The command lines in a page's code blocks, as words, without variables set before them and comments; and those
    of Snakemake within sentences.
    """
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^( *)```[^\n]*\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^(?: {4}.*)\n)+", re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S), re.M)
    spoken = [span.replace("\n", " ") for span in re.findall(r"(?<!`)`(snakemake [^`]+)`(?!`)", text)]
    found = []
    for block in [*(body for _, body in fenced), *indented, *spoken]:
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for part in re.split(r"&&|\|\|", line):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:  # not a shell's line
                    continue
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words = words[1:]
                if words:
                    found.append([words[0].removeprefix(".venv/bin/"), *words[1:]])
    return found


def lines(program: str, pages: list[Path] = PAGES) -> list[list[str]]:
    return [words[1:] for page in pages for words in commands(page) if words[0] == program]


@pytest.mark.parametrize("words", lines("captionrl"), ids=" ".join)
def test_every_captionrl_line_parses(words, capsys):
    try:
        cli.parser().parse_args(words)
    except SystemExit:
        pytest.fail(capsys.readouterr().err)


def test_every_snakemake_line_parses_and_asks_for_something_that_a_rule_makes(tmp_path, monkeypatch):
    """One dry run a scale, of all targets together, in a copy of the workflow.

    Those of docs/own-*.md are a user's own project's: `.ci/pages` runs them.
    """
    monkeypatch.chdir(ROOT)
    targets: dict[str, set[str]] = {"mini": set(), "laptop": set(), "paper": set()}
    for words in lines("snakemake", [page for page in PAGES if not page.name.startswith("own-")]):
        _, arguments = snakemake.cli.parse_args(words)
        config = snakemake.cli.parse_config(arguments.config or [])
        scale = config.get("scale", "mini")
        for target in arguments.targets:
            targets[scale].update(expanded(target))
    assert all(targets.values())
    for name in ("Snakefile", "params.yaml", "papers", "profiles", "workflow"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for scale, names in targets.items():
        options = ["--dry-run", "--quiet", "all", "--config", f"scale={scale}", "seeds=[1]", "--"]
        command = [sys.executable, "-m", "snakemake", *options, *sorted(names)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def expanded(word: str) -> list[str]:
    """A word with bash's {a,b} as the words that bash makes of it."""
    if not (match := re.search(r"\{([^{}]*,[^{}]*)\}", word)):
        return [word]
    return [new for choice in match[1].split(",") for new in expanded(word.replace(match[0], choice, 1))]


@pytest.mark.parametrize("page", [*PAGES, *PUBLISHED_PAGES], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_and_picture_exists(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http:", "https:")):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            if anchor:
                assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readmes_numbers_are_those_of_the_published_tables():
    published = re.sub("[†‡]", "", "".join(page.read_text(encoding="utf-8") for page in PUBLISHED_PAGES))
    text = README.read_text(encoding="utf-8").replace("\u2212", "-")
    intervals = re.findall(r"[+-]?[\d.]+ \[[^\]]*\d, [^\]]*\d\]", text)
    assert len(intervals) >= 10
    assert [interval for interval in intervals if interval not in published] == []


def test_the_readme_fits_on_a_few_screens():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def ledger(paper: str) -> dict[int, str]:
    """{equation: its cell "code"} of the ledger on a paper's page."""
    text = (ROOT / f"docs/{paper}.md").read_text(encoding="utf-8")
    section = text.split("\n## Equations\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\d, -]+) \| .* \| ([^|]+) \|$", section, re.MULTILINE)
    return {number: code for numbers, code in rows for number in listed(numbers)}


def listed(numbers: str) -> list[int]:
    """The numbers of "1, 3-5" or "1, 3 to 5"."""
    found = []
    for first, last in re.findall(r"(\d+)(?:\s*(?:-|to)\s*(\d+))?", numbers):
        found += range(int(first), int(last or first) + 1)
    return found


@pytest.mark.parametrize("paper", EQUATIONS)
def test_every_numbered_equation_of_a_paper_is_in_its_ledger(paper):
    assert sorted(ledger(paper)) == list(range(1, EQUATIONS[paper] + 1))


@pytest.mark.parametrize(
    ("paper", "equation", "path"),
    [
        (paper, number, path)
        for paper in EQUATIONS
        for number, code in ledger(paper).items()
        for path in re.findall(r"`([\w.]+:[\w.]+)`", code)
    ],
)
def test_the_code_of_an_equation_cites_its_number(paper, equation, path):
    module, _, name = path.partition(":")
    found = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    cited = [number for numbers in MENTION.findall(inspect.getsource(found)) for number in listed(numbers)]
    assert equation in cited, f"{path} does not mention eq. {equation} of {paper}"
