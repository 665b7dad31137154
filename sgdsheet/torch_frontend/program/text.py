"""A program's texts as the cells of a sheet hold them, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LONGEST = 30_000  # characters in a cell; Excel takes 32,767


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
