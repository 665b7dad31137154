"""Blocks: named tensors, and the ranges of a sheet that hold them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet import expr
from sgdsheet.book.inputs import Input
from sgdsheet.expr import Expr, Range, Ref
from sgdsheet.tensor import Array, span

BAND = 16_000  # columns of the widest panel: a sheet has 16,384, and a block may begin right of the first


@dataclass(frozen=True)
class Typed:
    """A cell's content that the reader may replace: a number, or a text with choices. `input` says what fits there."""

    value: float | str
    input: Input | None = None


def typed(values: Any) -> np.ndarray:
    """Returns cells that the reader may replace, one for each element of an array of numbers or texts, in its shape."""
    array = np.array(values)
    cells = np.empty(array.size, dtype=object)
    cells[:] = [Typed(each) for each in array.ravel().tolist()]
    return cells.reshape(array.shape)


@dataclass(frozen=True)
class Known:
    """A formula whose value the book's maker knows: no engine has to calculate it for the file to hold it."""

    formula: Expr
    value: float


@dataclass
class Block:
    """A named tensor on a sheet.

    `panels` are the ranges that hold it: one for up to two dimensions, one for each matrix beyond; a matrix wider than
    a sheet is in bands, several panels of some of its columns each. `typed` are the ranges within them that the reader
    may change; every other cell holds a formula. `torch` is what it is in torch, `words` its formula in plain notation.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    panels: list[Range]
    typed: list[Range]
    torch: str
    words: str

    def parts(self) -> Iterator[tuple[Range, int, slice]]:
        """Each panel with what it holds: the number of its matrix, and which of the matrix's columns.

        Raises `ValueError` if the panels do not make up the shape.
        """
        rows, columns = self.matrix()
        matrix = start = 0
        for panel in self.panels:
            height, width = panel.shape
            if height != rows or start + width > columns:
                raise ValueError(f"{panel.address} holds no columns of a matrix of {rows} rows and {columns} columns")
            yield panel, matrix, slice(start, start + width)
            matrix, start = (matrix, start + width) if start + width < columns else (matrix + 1, 0)
        if start or matrix * rows * columns != math.prod(self.shape):
            raise ValueError(f"{len(self.panels)} panels do not make up {shape_text(self.shape)}")

    def whole(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """The block's array, of its shape, from an array for each panel."""
        rows, columns = self.matrix()
        found = np.empty((math.prod(self.shape) // (rows * columns), rows, columns), np.result_type(*pieces))
        for piece, (_, matrix, held) in zip(pieces, self.parts(), strict=True):
            found[matrix, :, held] = piece
        return found.reshape(self.shape)

    def panels_of(self, array: np.ndarray) -> Iterator[tuple[Range, np.ndarray]]:
        """Each panel with what it holds of an array of the block's shape: what `whole` puts together."""
        matrices = array.reshape(-1, *self.matrix())
        for panel, matrix, held in self.parts():
            yield panel, matrices[matrix, :, held]

    def references(self, name: str | None = None) -> Array:
        """Returns the references to its cells, in its shape; those of a single cell print its `name`, if it has one."""
        found = []
        for panel in self.panels:
            down, across = range(panel.top, panel.bottom + 1), range(panel.left, panel.right + 1)
            flat = [Ref(panel.sheet, row, column, panel.absolute, name) for row in down for column in across]
            found.append(np.array(flat, dtype=object).reshape(panel.shape))
        return self.whole(found)

    def cell(self, position: Sequence[int]) -> Ref:
        """The cell of one element."""
        rows, columns = self.matrix()
        flat = int(np.ravel_multi_index(tuple(position), self.shape)) if self.shape else 0
        number, rest = divmod(flat, rows * columns)
        row, column = divmod(rest, columns)
        for panel, matrix, held in self.parts():
            if matrix == number and held.start <= column < held.stop:
                return Ref(panel.sheet, panel.top + row, panel.left + column - held.start)
        raise IndexError(position)

    def matrix(self) -> tuple[int, int]:
        """The rows and columns of each matrix; of one dimension the first panel says whether it runs down or across."""
        if len(self.shape) > 1:
            return self.shape[-2], self.shape[-1]
        rows = self.panels[0].shape[0]
        return rows, math.prod(self.shape) // rows


def defined_name(block: str) -> str:
    """The workbook-level name for a block: letters, digits and underscores, and nothing that looks like a cell."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", block)
    if not re.match(r"[A-Za-z_]", name) or expr.looks_like_cell(name):
        name = "_" + name
    return name


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as a reader sees it: `one number`, `290`, `21 x 21`."""
    return " x ".join(map(str, shape)) if shape else "one number"


def parse_shape(text: str) -> tuple[int, ...]:
    """The shape that `shape_text` wrote. Raises `ValueError` for any other text."""
    shape = () if text == "one number" else tuple(int(size) for size in text.split(" x "))
    if any(size < 1 for size in shape):
        raise ValueError(text)
    return shape


def panels(
    sheet: str,
    shape: tuple[int, ...],
    row: int,
    column: int,
    *,
    across: bool = False,
    absolute: bool = False,
    down: bool = False,
    band: int | None = None,
    most: int = expr.MAX_COLUMNS,
) -> list[Range]:
    """Returns the ranges of a block of that shape whose first cell is at `row`, `column`; all as for `Sheet.block`."""
    rows, columns = _matrix(shape, across)
    found = []
    for below, beside, width in _layout(shape[:-2], columns, down, min(most, expr.MAX_COLUMNS - column + 1)):
        top, left = row + below * (band or rows + 1), column + beside
        found.append(Range(sheet, top, left, top + rows - 1, left + width - 1, absolute))
    return found


def _matrix(shape: tuple[int, ...], across: bool) -> tuple[int, int]:
    """The rows and columns of a block's panel."""
    if len(shape) >= 2:
        return shape[-2], shape[-1]
    length = shape[0] if shape else 1
    return (1, length) if across else (length, 1)


def columns_of(shape: tuple[int, ...], most: int = expr.MAX_COLUMNS) -> int:
    """How many columns a block takes whose one dimension, if it has only one, runs across."""
    width = shape[-1] if shape else 1
    return max(beside + panel for _, beside, panel in _layout(shape[:-2], width, down=False, most=most))


def _layout(leading: tuple[int, ...], columns: int, down: bool, most: int) -> Iterator[tuple[int, int, int]]:
    """Where the panels of a block go: how many panels down, how many columns across, and how wide each is.

    The bands of a matrix are the same wherever it stands, so that ranges in formulas over two of them line up.
    """
    bands = _shares(columns, BAND)
    length = leading[-1] if leading and not down else 1
    rows = _shares(length, (most + 1) // (columns + 1)) if len(bands) == 1 else [1] * length
    below = 0
    for _ in range(math.prod(leading) // length):
        for across in rows:
            for width in bands:
                for beside in range(across):
                    yield below, beside * (width + 1), width
                below += 1


def _shares(length: int, most: int) -> list[int]:
    """`length` in as few shares as can be with none larger than `most` (or 1), all but the last of one size."""
    count = math.ceil(length / max(1, most))
    size = math.ceil(length / count)
    return [min(size, length - start) for start in range(0, length, size)]


def named(panels: list[Range]) -> list[Range]:
    """What a block's defined name refers to: its panels, or the range around them where a name cannot hold so many."""
    fit = sum(len(panel.absolute_place) + 1 for panel in panels) < expr.MAX_FORMULA
    return panels if fit else [around(panels)]


def around(ranges: Sequence[Range]) -> Range:
    """The smallest range that holds all of them, which are on one sheet."""
    top, left = min(each.top for each in ranges), min(each.left for each in ranges)
    bottom, right = max(each.bottom for each in ranges), max(each.right for each in ranges)
    return Range(ranges[0].sheet, top, left, bottom, right)


def ranges(references: Array) -> list[Range]:
    """The ranges of a block's matrices, several of one that is in bands, or the one range of fewer dimensions."""
    matrices = references.reshape(-1, *references.shape[-2:]) if references.ndim > 2 else [references]
    return [each for matrix in matrices for each in _bands(matrix)]


def _bands(matrix: Array) -> list[Range]:
    """The range that a matrix fills, or those of its bands: its rows begin anew where a band does."""
    first = matrix[0] if matrix.ndim > 1 else matrix
    starts = [0] + [j for j in range(1, len(first)) if matrix.size > 1 and first[j].row > first[j - 1].row]
    if matrix.ndim < 2 and len(starts) == len(first):  # it runs down
        return [span(matrix)]
    return [span(matrix[..., start:end]) for start, end in zip(starts, [*starts[1:], len(first)], strict=True)]


def addresses(ranges: Sequence[Range]) -> str:
    return " ".join(each.address for each in ranges)


def rectangles(cells: list[Ref]) -> list[Range]:
    """The cells as ranges: one where they fill one, else a range for each run down a column or along a row."""
    if not cells:
        return []
    try:
        return [span(cells)]
    except ValueError:
        middle = len(cells) // 2
        return rectangles(cells[:middle]) + rectangles(cells[middle:])
