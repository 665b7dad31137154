"""How large things are on a screen: columns, rows and charts in pixels, as Excel draws them at 100 %.

Excel counts a column in characters of its font, Calibri 11, whose digits are 7 pixels wide; a program with another font
(LibreOffice takes Carlito, of the same widths) makes the column as wide all the same.
"""

from __future__ import annotations

import math
from functools import lru_cache

SCREEN = (1680, 860)  # what a common screen shows of a sheet at first: width and height
DIGIT = 7  # pixels
COLUMN, ROW = 64, 20  # pixels of a column and a row of which nothing is said
TITLE_LETTER, HEADING_LETTER, LETTER = 10, 8, 6.5  # pixels of an average letter of a title, a heading, a plain text

NARROW, MIDDLE, WIDE, LARGE, USUAL = 0.25, 0.32, 0.85, 0.6, 0.51  # letters, in heights of the font
WIDTHS = dict.fromkeys(" ijl,.I:;", NARROW) | dict.fromkeys("()f-[]Jtr/", MIDDLE) | dict.fromkeys("wm@MW", WIDE)


def column_pixels(characters: float) -> int:
    """The width of a column that is so many characters wide in the file."""
    return int((256 * characters + 128 // DIGIT) / 256 * DIGIT)


def row_pixels(points: float) -> int:
    """The height of a row that is so many points high in the file."""
    return math.floor(points * 4 / 3 + 0.5)


def chart_pixels(centimetres: float) -> int:
    """The width or height of a chart."""
    return round(centimetres * 96 / 2.54)


def text_pixels(text: str, points: float) -> float:
    """About how wide a text of Calibri is."""
    return sum(WIDTHS.get(each, LARGE if each.isupper() else USUAL) for each in text) * points * 4 / 3


@lru_cache(maxsize=10_000)
def text_lines(text: str, points: float, pixels: float) -> int:
    """How many lines a text takes in cells that are so many pixels wide."""
    lines, taken = 1, 0.0
    for word in text.split(" "):
        wide = text_pixels(word, points)
        blank = text_pixels(" ", points) if taken else 0
        if taken and taken + blank + wide > pixels:
            lines, taken, blank = lines + 1, 0.0, 0
        over = int(wide // pixels)  # a word that is too long is broken anywhere
        lines, taken = lines + over, taken + blank + wide - over * pixels
    return lines
