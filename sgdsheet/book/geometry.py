"""How large things are on a screen: columns, rows and charts in pixels, as Excel draws them at 100 %.

Excel counts a column in characters of its font, Calibri 11, whose digits are 7 pixels wide; a program with another font
(LibreOffice takes Carlito, of the same widths) makes the column as wide all the same.
"""

from __future__ import annotations

import math

SCREEN = (1680, 860)  # what a common screen shows of a sheet at first: width and height
DIGIT = 7  # pixels
COLUMN, ROW = 64, 20  # pixels of a column and a row of which nothing is said
TITLE_LETTER, HEADING_LETTER, LETTER = 10, 8, 6.5  # pixels of an average letter of a title, a heading, a plain text


def column_pixels(characters: float) -> int:
    """The width of a column that is so many characters wide in the file."""
    return int((256 * characters + 128 // DIGIT) / 256 * DIGIT)


def row_pixels(points: float) -> int:
    """The height of a row that is so many points high in the file."""
    return math.floor(points * 4 / 3 + 0.5)


def chart_pixels(centimetres: float) -> int:
    """The width or height of a chart."""
    return round(centimetres * 96 / 2.54)
