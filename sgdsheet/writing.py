"""The one writer: a book becomes a file in which every formula has its value."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgdsheet.book import Book, retype, save
from sgdsheet.engines import Opened, engine, opened
from sgdsheet.errors import Error
from sgdsheet.expr import Range, Ref

Check = Callable[[Mapping[str, np.ndarray]], None]


@dataclass(frozen=True)
class Written:
    """What was written: the file, its number of cells and of formulas, and its size in bytes."""

    path: Path
    cells: int
    formulas: int
    size: int


def write(book: Book, path: str | Path, check: Check | None = None) -> Written:
    """Writes a book with the value of each formula; an existing file is replaced when the new one is complete.

    `check` is called before that with the values of each block, by its name and in its shape: what it raises leaves the
    existing file as it was. Raises `Error` if the name does not end with .xlsx, and if the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".xlsx":
        raise Error(f"{path}: expected a name that ends with .xlsx")

    def calculate(file: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        values = engine("ironcalc").calculate(file, ranges)
        if check is not None:
            check(_by_block(book, values))
        return values

    save(book, path, calculate)
    kinds = [content.kind for sheet in book.sheets for row in sheet.cells.values() for content in row.values()]
    return Written(path, len(kinds), kinds.count("f"), path.stat().st_size)


def retyped(
    path: str | Path,
    out: str | Path,
    typed: Mapping[Ref, float | str | None],
    add: Book | None = None,
    model: Opened | None = None,
) -> None:
    """Writes a workbook anew with other numbers or texts in some of its cells; formulas, looks and charts stay.

    Arguments:
      path: a workbook, as any program saved it.
      out: the file to write, which may be `path` itself; it is replaced when the new one is complete.
      typed: what stands in cells that hold no formula; None leaves one blank.
      add: a book whose sheets are to stand in the workbook too, but for `about` and `blocks`; they replace those of
        the same names. They hold numbers, or formulas over themselves alone.
      model: the workbook as an engine has opened it, if it has; IronCalc opens it otherwise.

    Raises `Error` for a file that cannot be read or written.
    """
    path, out = Path(path), Path(out)
    if out.suffix.lower() != ".xlsx":
        raise Error(f"{out}: expected a name that ends with .xlsx")
    opened_ = model or opened(engine("ironcalc"), path)
    assert opened_ is not None

    def calculate(cells: Mapping[Ref, float | str | None], ranges: Sequence[Range]) -> list[np.ndarray]:
        return opened_.calculate(cells.items(), ranges)

    with tempfile.TemporaryDirectory() as folder:
        sheets = None
        if add is not None:
            sheets = Path(folder) / "add.xlsx"
            write(add, sheets)
        retype(path, out, typed, calculate, sheets)


def _by_block(book: Book, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The values of each block, from those of each sheet."""
    sheets = {sheet.name: held for sheet, held in zip(book.sheets, values, strict=True)}
    return {
        name: block.whole(
            [sheets[panel.sheet][panel.top - 1 : panel.bottom, panel.left - 1 : panel.right] for panel in block.panels]
        )
        for name, block in book.blocks.items()
    }


def cells(book: Book) -> int:
    """Returns how many cells of a book hold anything."""
    return sum(len(row) for sheet in book.sheets for row in sheet.cells.values())
