"""The one writer: a book becomes a file in which every formula has its value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgdsheet.book import Book, save
from sgdsheet.engines import engine
from sgdsheet.errors import Error


@dataclass(frozen=True)
class Written:
    """What was written: the file, its number of cells and of formulas, and its size in bytes."""

    path: Path
    cells: int
    formulas: int
    size: int


def write(book: Book, path: str | Path) -> Written:
    """Writes a book with the value of each formula; an existing file is replaced when the new one is complete.

    Raises `Error` if the name does not end with .xlsx, and if the folder cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".xlsx":
        raise Error(f"{path}: expected a name that ends with .xlsx")
    save(book, path, engine("ironcalc").calculate)
    kinds = [content.kind for sheet in book.sheets for row in sheet.cells.values() for content in row.values()]
    return Written(path, len(kinds), kinds.count("f"), path.stat().st_size)


def cells(book: Book) -> int:
    """Returns how many cells of a book hold anything."""
    return sum(len(row) for sheet in book.sheets for row in sheet.cells.values())
