"""Workbooks: blocks, tables, inputs, looks, charts, the manifest, and the file. The only user of openpyxl."""

from sgdsheet.book.blocks import Block, Known, Typed, columns_of, shape_text, typed
from sgdsheet.book.chart import Series, bars, scatter
from sgdsheet.book.compare import difference
from sgdsheet.book.edit import retype
from sgdsheet.book.inputs import Input
from sgdsheet.book.read import PROGRAM, Saved, read, typed_cells
from sgdsheet.book.sheet import ANSWERS, NO_LESSON, Book, Sheet, Task
from sgdsheet.book.style import (
    DIVERGING,
    DOTTED,
    HEAT,
    INK,
    LIGHT,
    NUMBER,
    PRECISE,
    SEQUENTIAL,
    SHORT,
    SPARSE,
    SQUARE,
    WHOLE,
)
from sgdsheet.book.tables import Table
from sgdsheet.book.write import save

__all__ = [
    "ANSWERS",
    "DIVERGING",
    "DOTTED",
    "HEAT",
    "INK",
    "LIGHT",
    "NO_LESSON",
    "NUMBER",
    "PRECISE",
    "PROGRAM",
    "SEQUENTIAL",
    "SHORT",
    "SPARSE",
    "SQUARE",
    "WHOLE",
    "Block",
    "Book",
    "Input",
    "Known",
    "Saved",
    "Series",
    "Sheet",
    "Table",
    "Task",
    "Typed",
    "bars",
    "columns_of",
    "difference",
    "read",
    "retype",
    "save",
    "scatter",
    "shape_text",
    "typed",
    "typed_cells",
]
