"""The one kind of error that is meant for the person at the keyboard."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


class Error(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was expected, what came, where (file, sheet, cell, row) and what to do. The command
    line prints it and exits with code 2.
    """


class Ended(SystemExit):
    """A signal has asked the program to end: no code of a user's, and not to be reported as such."""


def one_line(said: object, most: int = 300) -> str:
    """Returns what another program or somebody's code had to say, an exception perhaps, fit to be part of an `Error`.

    It has at most `most` characters and no terminal codes; of an exception that says nothing it is the type.
    """
    try:
        text = str(said)
    except (Exception, GeneratorExit, SystemExit):  # an exception whose text raises another one
        text = ""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    if not line and isinstance(said, BaseException):
        line = type(said).__name__
    return line if len(line) <= most else line[: most - 1] + "…"


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean …?` with the name most like this one, or else the first names that there are."""
    names = list(names)
    if not names:
        return ""
    near = difflib.get_close_matches(name, names, n=1) or [each for each in names if name.lower() in each.lower()]
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there is {', '.join(names[:10])}" + (", …" if len(names) > 10 else "")


def require(value: Any, name: str, least: float, most: float = math.inf, *, whole: bool = False) -> None:
    """Raises `Error` for a value beyond these, and for what is no number, or no whole one where that is asked for."""
    expected = f"at least {least:g}" if math.isinf(most) else f"{least:g} to {most:g}"
    kind: type = Integral if whole else Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise Error(f"{name}: expected {'a whole' if whole else 'a'} number, {expected}, got {value!r}")
    if not least <= value <= most:
        raise Error(f"{name}: expected {expected}, got {value:g}")
