"""Tables: blocks that share rows, one row a step."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.book import style
from sgdsheet.book.text import broken
from sgdsheet.tensor import Array

if TYPE_CHECKING:
    from sgdsheet.book.sheet import Sheet


LINES = 3  # of words above a column, at most


class Table:
    """Blocks that share rows: a head of name and formula in words, then one row a step.

    Its columns are set aside first where formulas refer to them before they are filled, as every recurrence does.
    """

    def __init__(self, sheet: Sheet, row: int, column: int, length: int, parts: Sequence[str]) -> None:
        self.sheet, self.length, self.parts = sheet, length, parts
        self.head, self.next_column = row, column
        self.first = row + 2 + bool(parts)
        sheet.row_heights[row], sheet.row_heights[row + 1] = 18, 14
        sheet.next_row = self.first + length + 1

    def column(
        self,
        name: str,
        role: str,
        array: Any = None,
        *,
        words: str = "",
        torch: str = "",
        title: str | None = None,
        parts: Sequence[str] = (),
        number_format: str = style.NUMBER,
        width: float = 10,
        absolute: bool = False,
    ) -> Array:
        """The next column, or as many as the array has where it has two dimensions, as a block.

        Without an array one column is set aside, to be filled later. `title` is what stands above it where that is not
        the block's name. `parts` name its columns where they are not the table's parts.
        """
        shape = (self.length,) if array is None else np.shape(array)
        return self._column(name, role, shape, array, words, torch, title, parts, number_format, width, absolute)

    def columns(
        self,
        name: str,
        role: str,
        *,
        words: str = "",
        torch: str = "",
        title: str | None = None,
        parts: Sequence[str] = (),
        width: float = 10,
        absolute: bool = False,
    ) -> Array:
        """Sets aside one column for each of the parts, the table's own or others, as one block of two dimensions."""
        shape = (self.length, len(parts or self.parts))
        return self._column(name, role, shape, None, words, torch, title, parts, style.NUMBER, width, absolute)

    def fill(self, name: str, array: Any, number_format: str = style.NUMBER) -> None:
        """Fills a column that was set aside."""
        self.sheet.fill(name, array, number_format)

    def _column(
        self,
        name: str,
        role: str,
        shape: tuple[int, ...],
        array: Any,
        words: str,
        torch: str,
        title: str | None,
        parts: Sequence[str],
        number_format: str,
        width: float,
        absolute: bool,
    ) -> Array:
        left, sheet = self.next_column, self.sheet
        count = shape[1] if len(shape) == 2 else 1
        right = left + count - 1
        references = sheet.block(name, shape, role, self.first, left, words=words, torch=torch, absolute=absolute)
        if array is not None:
            sheet.fill(name, array, number_format)
        width = max(width, _narrowest(title or name, count, style.LETTER_OF_A_HEAD))
        name_lines = [
            line
            for text in (title or name).split("\n")
            for line in broken(text, int(width * count / style.LETTER_OF_A_HEAD)).split("\n")
        ]
        while len(word_lines := textwrap.wrap(words, max(1, int(1.2 * width * count)))) > LINES:
            width += 1
        self._tall(0, 16 * len(name_lines) + 2)
        self._tall(1, 12.5 * max(1, len(word_lines)) + 2)
        for offset, (text, look) in enumerate((("\n".join(name_lines), style.head(role)), (words, style.words(role)))):
            for column in range(left, right + 1):
                sheet.write(self.head + offset, column, text if column == left else "", look)
            sheet.merge(self.head + offset, left, right)
        if self.parts:
            names = parts or self.parts
            for column in range(left, right + 1):
                part = names[column - left] if count == len(names) else ""
                sheet.write(self.head + 2, column, part, style.words(role))
        sheet.width(left, width, right)
        self.next_column = right + 1
        return references

    def fold(self, first: int) -> None:
        """Closes the columns from `first` on, all that there are by now, and says so in the column after them."""
        last, at = self.next_column - 1, self.next_column
        self.sheet.fold(first, last)
        self.sheet.width(at, 9)
        count = last - first + 1
        self.sheet.write(self.head, at, f"+ {count} more", style.MORE)
        self.sheet.write(self.head + 1, at, "click the + above this column", style.MORE)
        self._tall(1, 12.5 * LINES + 2)
        self.next_column += 1

    def _tall(self, row: int, points: float) -> None:
        heights, row = self.sheet.row_heights, self.head + row
        heights[row] = max(heights.get(row, 0), points)


def _narrowest(name: str, count: int, letter: float) -> float:
    """The least width of so many columns below a name, in one line or two."""
    return max(map(len, broken(name, 1).split("\n"))) * letter / count + 1
