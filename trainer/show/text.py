"""Names and figures as lines of text: what comes from files may hold anything, and is to stay in its line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

WIDEST = 32  # columns of a terminal for a name
JOINERS = "\u200c\u200d"  # make one letter, or one emoji, of several


def plain(text: str) -> str:
    """The text in one line, all of it to be seen: a control character, or half of one, as `\\x1b`."""
    return spelled(" ".join(text.split()))


def spelled(text: str) -> str:
    """The text with what cannot be seen spelled out, its line breaks too: `\\n`, `\\x1b`, `\\udce4`."""
    if text.isprintable():
        return text
    seen = (each if each.isprintable() or each in JOINERS else each.encode("unicode_escape").decode() for each in text)
    return "".join(seen)


def width(text: str) -> int:
    """How many columns of a terminal it takes: two for a Chinese character, none for an accent of its own."""
    marks = ("Mn", "Me", "Cf")
    return sum(
        0 if unicodedata.category(each) in marks else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text
    )


def cut(text: str, columns: int = WIDEST) -> str:
    """The text without its middle where it takes more columns of a terminal than these."""
    if width(text) <= columns:
        return text
    left, right, room = "", "", columns - 3
    while room > 0:
        begins = len(left) <= len(right)
        each = text[len(left)] if begins else text[-1 - len(right)]
        room -= width(each)
        if room >= 0:
            left, right = (left + each, right) if begins else (left, each + right)
    return f"{left}...{right}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table as lines: the first column to the left, the others to the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = [" " * (room - width(cell)) + cell for cell, room in zip(row[1:], widths[1:], strict=True)]
        return "  ".join([row[0] + " " * (widths[0] - width(row[0])), *cells])

    return "\n".join(map(line, rows))


def share(value: float) -> str:
    """A share from 0 to 1 in per cent: nothing but 0 is shown as 0.0%."""
    return f"{value:.4%}" if 0 < value < 0.0005 else f"{value:.1%}"
