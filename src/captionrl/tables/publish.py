"""Copy a scale's tables and figures into git, and the tables that the README shows into the README."""

import re
import shutil
from pathlib import Path

from captionrl.errors import UserError
from captionrl.files import atomic, decode_utf8, read_bytes, write_text

KINDS = (".csv", ".md", ".tex", ".jsonl", ".png", ".html")


def publish(results: Path, out: Path, readme: Path) -> list[Path]:
    """Copy every table and figure below `results` to `out`; refresh `<!-- FILE -->…<!-- end -->` in `readme`."""
    files = [path for path in sorted(results.rglob("*")) if path.suffix in KINDS]
    if not files:
        raise UserError(f"{results}: no tables; make them first with `snakemake all`")
    for path in files:
        with atomic(out / path.relative_to(results)) as temporary:
            shutil.copyfile(path, temporary)

    def shown(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{decode_utf8(read_bytes(results / match[1]), match[1])}<!-- end -->"

    text = decode_utf8(read_bytes(readme), readme)
    write_text(readme, re.sub(r"<!-- (\S+\.md) -->\n(?:(?!<!-- \S+\.md).)*?<!-- end -->", shown, text, flags=re.DOTALL))
    return files
