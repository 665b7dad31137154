"""A program's texts as the cells of a sheet hold them, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sgdsheet.errors import Error

LONGEST = 30_000  # characters in a cell; Excel takes 32,767
UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no XML file can hold


def require_fits(text: object, what: str) -> None:
    """Raises `Error` unless `text`, which is `what`, is one that a cell can hold."""
    if not isinstance(text, str):
        raise Error(f"{what}: expected a text, got {text!r:.60}")
    if found := UNFIT.search(text):
        raise Error(f"{what}: a cell cannot hold the character {found[0]!r}, which {text!r:.60} has; leave it out")
    if len(text) > LONGEST:
        raise Error(f"{what}: a cell holds {LONGEST:,} characters, and {text[:40]!r}… has {len(text):,}")


def pieces(text: str) -> list[str]:
    """A text as cells can hold it; each but the last ends with an ellipsis."""
    parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)] or [""]
    return [part + "…" for part in parts[:-1]] + parts[-1:]


def joined(cells: Iterable[Any]) -> list[str]:
    """The texts that `pieces` made cells of."""
    texts: list[str] = []
    more = False
    for cell in cells:
        text = "" if cell is None else str(cell)
        if more:
            texts[-1] = texts[-1][:-1] + text
        else:
            texts.append(text)
        more = len(text) == LONGEST + 1 and text.endswith("…")
    return texts
