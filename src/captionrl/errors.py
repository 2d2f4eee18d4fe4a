"""The one error a user is meant to read."""


class UserError(Exception):
    """A mistake in a file, an option or a value that the user can fix.

    The message is one line that names the file, the place in it, and the fix. The command line prints it
    without a traceback and exits with status 2.
    """
