"""Which exercises a file has: what stands at the head of its sheet of answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgdsheet.book import ANSWERS, Saved
from sgdsheet.engines import Formula
from sgdsheet.errors import Error
from sgdsheet.expr import Ref, column_number

LEVEL = "exercises of level"
HEAD = ("block", "cells", "right", "wrong", "most wrong", "says", "elements", "answers from", "wrong in each way")


@dataclass(frozen=True)
class Left:
    """An exercise that a file has: its block, which of the block's cells are the learner's, and their answers."""

    block: str
    cells: np.ndarray
    answers: tuple[Ref, ...]

    def lives(self, saved: Saved) -> list[Ref]:
        """The learner's cells, in the order of the answers."""
        return saved.blocks[self.block].references()[self.cells].tolist()

    def held(self, saved: Saved) -> list[Any]:
        """What they hold."""
        return saved.contents[self.block][self.cells].tolist()


def left(saved: Saved) -> tuple[int, str, list[Left]]:
    """The level of a file's exercises, what its program was known by, and the exercises; none in any other workbook.

    Raises `Error` if the sheet that lists them was edited.
    """
    if not saved.answers:
        return 0, "", []
    where = f"{saved.path}: sheet {ANSWERS!r}"
    try:
        top = next(number for number, row in enumerate(saved.answers) if row[:1] == [LEVEL])
        level, program = (*saved.answers[top][1:], "")[:2]
        found = []
        for row in saved.answers[top + 2 :]:
            if not row or row[0] is None:
                break
            block = saved.blocks[row[0]]
            cells = np.zeros(block.shape, dtype=bool)
            cells.flat[_elements(row[6], cells.size)] = True
            letters, first = re.fullmatch(r"([A-Z]+)(\d+)", row[7]).groups()  # type: ignore[union-attr]
            column = column_number(letters)
            answers = tuple(Ref(ANSWERS, int(first) + number, column) for number in range(int(cells.sum())))
            found.append(Left(block.name, cells, answers))
    except (StopIteration, LookupError, ValueError, TypeError, AttributeError):
        raise Error(f"{where}: was edited, so its exercises are not known; generate the workbook anew") from None
    if not found or not isinstance(level, int) or not isinstance(program or "", str):
        raise Error(f"{where}: was edited, so its exercises are not known; generate the workbook anew")
    return level, program or "", found


def elements_text(numbers: Sequence[int]) -> str:
    """Numbers in order as `0-3 7`."""
    held = set(numbers)
    starts = [number for number in numbers if number - 1 not in held]
    ends = [number for number in numbers if number + 1 not in held]
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _elements(text: Any, size: int) -> list[int]:
    """The numbers that `elements_text` wrote, all below `size`. Raises `ValueError` for any other text."""
    found = []
    for each in str(text).split():
        first, _, last = each.partition("-")
        span = range(int(first), int(last or first) + 1)
        if span.start < 0 or span.stop > size:
            raise ValueError(text)
        found += span
    return found


def digest(rows: Sequence[Sequence[Any]]) -> str:
    """What a compiled model's program is known by; an empty text if there is none."""
    text = "\n".join(str(cell) for row in rows for cell in row if cell not in (None, ""))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest() if text else ""


def answered(saved: Saved, exercises: Sequence[Left], whole: bool = False) -> tuple[Saved, list[tuple[Ref, Formula]]]:
    """The workbook with the answers of these exercises where the learner's cells are blank, or in all of them.

    Returns what its cells then hold, and the cells that an engine is to be given for that.
    """
    contents, given = dict(saved.contents), []
    for each in exercises:
        formulas = contents[each.block] = contents[each.block].copy()
        for position, live, answer in zip(np.argwhere(each.cells), each.lives(saved), each.answers, strict=True):
            if whole or formulas[tuple(position)] is None:
                formulas[tuple(position)] = formula = Formula(f"={answer.place}")
                given.append((live, formula))
    return replace(saved, contents=contents), given
