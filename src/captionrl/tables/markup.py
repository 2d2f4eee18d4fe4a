"""Text in cells of Markdown and LaTeX."""

import re


def barred(text: str) -> str:
    """`text` with Markdown's bar between cells as itself."""
    return text.replace("|", r"\|")


def escaped(text: str) -> str:
    """`text` with LaTeX's special characters as themselves."""
    return re.sub(r"[&%$#_{}]", r"\\\g<0>", text)
