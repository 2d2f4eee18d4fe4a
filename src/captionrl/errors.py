"""The one error a user is meant to read."""

LONGEST = 2000  # characters of a line


class UserError(Exception):
    """A mistake in a file, an option or a value that the user can fix.

    The message is one line that names the file, the place in it, and the fix. The command line prints it
    without a traceback and exits with status 2. Lines that are meant to follow it are arguments of their own.

    Whatever a file says of itself, a line stays one, writes nothing but text to the terminal, and is not endless.
    """

    def __str__(self) -> str:
        first, *others = map(_printable, self.args)
        if len(first) > LONGEST:
            first = f"{first[: LONGEST - 505]} ... {first[-500:]}"
        return "\n".join([first, *others])


def _printable(text: str) -> str:
    """The text, its line breaks and other characters that are not printed as Python writes them in a string."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
