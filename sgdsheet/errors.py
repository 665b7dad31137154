"""The one kind of error that is meant for the person at the keyboard."""


class Error(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was expected, what came, where (file, sheet, cell, row) and what to do. The command
    line prints it and exits with code 2.
    """
