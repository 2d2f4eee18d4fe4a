"""Text in cells of Markdown and LaTeX."""

import re

LATEX = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}  # others: a \ before


def barred(text: str) -> str:
    """`text` with Markdown's bar between cells as itself."""
    return text.replace("|", r"\|")


def escaped(text: str) -> str:
    """`text` with LaTeX's special characters as themselves."""
    return re.sub(r"[&%$#_{}\\^~]", lambda found: LATEX.get(found[0], "\\" + found[0]), text)
