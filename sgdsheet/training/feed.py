"""The examples that a training takes: rows of numbers, a batch at a time, and after the last one the first again."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgdsheet import csv_file
from sgdsheet.errors import Error
from sgdsheet.reference import Loop

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Feed:
    """Examples, a row each: the numbers of each block that a batch fills, in order."""

    rows: np.ndarray
    loop: Loop
    shapes: Shapes

    def blocks(self, first: int) -> dict[str, np.ndarray]:
        """What stands in the blocks of the data when the training begins with that batch, counted from 0."""
        found = {}
        for offset, names in enumerate(self.loop.batch):
            start = (first + offset) * self.loop.rows
            rows = self.rows[(start + np.arange(self.loop.rows)) % len(self.rows)]
            ends = np.cumsum([width(self.loop, self.shapes[name]) for name in names])[:-1]
            for name, part in zip(names, np.split(rows, ends, axis=1), strict=True):
                found[name] = part.reshape(self.shapes[name])
        return found

    @property
    def count(self) -> int:
        """How many batches there are before the first comes again."""
        return len(self.rows) // math.gcd(len(self.rows), self.loop.rows)


def width(loop: Loop, shape: tuple[int, ...]) -> int:
    """How many numbers an example has in a block of that shape."""
    return math.prod(shape) // loop.rows


def read(path: Path, loop: Loop, shapes: Shapes, whole: Collection[str]) -> np.ndarray:
    """Reads examples from a CSV, a row each; a first row without a number is its head.

    `whole` names the blocks that hold whole numbers. Raises `Error` for a file or a cell that does not fit.
    """
    if not loop.batch:
        raise Error(f"{path}: the data of this workbook are no batches; make one with compile(..., batches=...)")
    widths = [[width(loop, shapes[name]) for name in names] for names in loop.batch]
    if any(each != widths[0] for each in widths):
        raise Error(f"{path}: the workbook's steps have batches of different shapes, which one file cannot fill")
    parts = dict(zip(loop.batch[0], widths[0], strict=True))
    held = csv_file.read(path)
    rows = held.rows
    if rows and all(_number(cell, held.separator) is None for cell in rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise Error(f"{path}: has no row of numbers")
    of = [name for name, count in parts.items() for _ in range(count)]
    return np.array([_row(path, number, cells, held.separator, of, parts, whole) for number, cells in rows])


def _row(
    path: Path,
    number: int,
    cells: Sequence[str],
    separator: str,
    of: Sequence[str],
    parts: Mapping[str, int],
    whole: Collection[str],
) -> list[float]:
    """The numbers of a row; `of` names each column's block."""
    if len(cells) != len(of):
        said = " and ".join(f"{count} for {name!r}" for name, count in parts.items())
        raise Error(f"{path}, row {number}: expected {len(of)} numbers, {said}, got {len(cells)}")
    found = []
    for column, (name, cell) in enumerate(zip(of, cells, strict=True), start=1):
        value = _number(cell, separator)
        if value is None or (name in whole and not value.is_integer()):
            kind = "a whole number" if name in whole else "a number"
            raise Error(f"{path}, row {number}, column {column}: expected {kind} for {name!r}, got {cell!r:.40}")
        found.append(value)
    return found


def _number(text: str, separator: str) -> float | None:
    """The finite number that a text is, if it is one; a comma may be a decimal one where it separates no cells."""
    try:
        value = float(text if separator == "," else text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
