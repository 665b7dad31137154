"""Tensors before any network: shapes, sums, the matrix product, broadcasting, and a batch through `x @ a`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, PRECISE, SHORT, WHOLE, Book, Input, Series, Sheet, Typed, scatter, shape_text
from sgdsheet.book.style import HEADING, LABEL, NOTE, Scale
from sgdsheet.expr import Call, Range, compare
from sgdsheet.lessons.data import Data, Source, check_columns, noisy_line, read_csv
from sgdsheet.lessons.lesson import Lesson, Values
from sgdsheet.lessons.network import LEFT, explain, maps_sheet
from sgdsheet.tensor import Array

DIMS = 4  # of the two shapes that are tried against each other
AT = ("at_image", "at_channel", "at_row", "at_column")
LIGHTS = (
    Scale(("FFFFFF", "F8C4C4", "EE8888"), "percent"),
    Scale(("FFFFFF", "C5E6BE", "8CCB80"), "percent"),
    Scale(("FFFFFF", "C3D8F2", "85AFE3"), "percent"),
)
TOWNS, QUARTERS = ("Bergen", "Cairo", "Mumbai"), ("winter", "spring", "summer", "autumn")
GOODS = ("apples", "bread", "cheese", "dates")
SHOPPERS, SHOPS = ("Ann", "Ben", "Cem"), ("market", "corner", "online")
LINES = ("line 0", "line 1", "line 2")


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `ranks`, `order`, `reductions`, `dot product`, `matrix product`, `broadcasting`, `batch`."""
    check_columns({"data_x": data["data_x"]}, 100_000, "tensors")
    book = Book(
        "tensors",
        "Tensors: numbers in rows, tables and stacks of tables",
        [
            "A network's data, its parameters and all that it computes are tensors: numbers in a fixed order. A single "
            "number is one, and so are a row of numbers (a vector), a table (a matrix), a colour picture and a stack "
            "of pictures. Here is what one does with them: put them in another order, add them up, multiply matrices, "
            "calculate with tensors of different shapes.",
            "The words are those of PyTorch, the program that most networks are written in. It counts from 0: the "
            "first row is row 0, the first dimension is dim 0.",
        ],
        [
            "On 'ranks', change at_image, at_channel, at_row and at_column: the frame moves, and each index that you "
            "give takes one dimension away.",
            "On 'order', change follow, and watch where the same cell goes in view, transpose and permute.",
            "On 'dot product', type 3 and 1 into u, -1 and 3 into v: at a right angle the dot product is 0.",
            "On 'matrix product', choose another shopper and another shop. Which products make up the framed number?",
            "On 'matrix product', let Ann buy 1 of the bread and nothing else: her bills are then the prices of bread.",
            "On 'broadcasting', type sizes into the two shapes. Find two that do not fit.",
            "On 'batch', type slope 3 and intercept 2.5 into a, and see mse fall. Can you make it smaller still?",
        ],
        INPUTS,
        values,
    )
    picture = _ranks_sheet(book, data)
    _order_sheet(book, data)
    _reductions_sheet(book, data, picture)
    _dot_product_sheet(book, data)
    _matrix_product_sheet(book, data)
    _broadcasting_sheet(book, data)
    _batch_sheet(book, data)
    return book


def _ranks_sheet(book: Book, data: Values) -> Array:
    sheet = maps_sheet(
        book,
        "ranks",
        "Shapes and ranks: from one number to a batch of pictures",
        "A tensor's rank is the number of its dimensions: how many indices (places, counted from 0) you must give to "
        "point at one of its numbers.",
        "Its shape says how many places each dimension has: a tensor of shape 3 x 4 has 3 * 4 = 12 numbers.",
    )
    row = _band(sheet, "Rank 0: a number", "No index: a temperature, a loss, a learning rate. Its shape is ().", 5)
    spec = book.inputs["number"]
    _put(sheet, "number", book.typed("number"), "input", row, LEFT, 17, words=spec.meaning, torch="torch.tensor(number)")
    row = _band(sheet, "Rank 1: a vector", "One index: the temperatures of four days, or four parameters.", 5)
    _put(sheet, "vector", _typed(data["vector"]), "data", row, LEFT, 17, across=True, torch="torch.tensor([...])")
    row = _band(sheet, "Rank 2: a matrix", "Two indices, row and column: four days in three towns.", 6)
    words = "rows x columns"
    _put(sheet, "matrix", _typed(data["matrix"]), "data", row, LEFT, 17, HEAT, words=words, torch="torch.tensor([...])")
    text = "Three indices: channel, row, column. The channels say how much red, green and blue light each point has."
    row = _band(sheet, "Rank 3: a picture", text, 8)
    words = "channels x rows x columns: red, green, blue from 0 to 1. A flower in front of the sky"
    picture = _put(sheet, "picture", _typed(data["picture"]), "data", row, LEFT, 17, words=words, torch="picture")

    text = "Four indices: which picture comes first. A network is given many at once, a batch: here the picture above "
    row = _band(sheet, "Rank 4: a batch", text + "and its negative. The framed cell is the one that you choose below.", 15)
    words = "images x channels x rows x columns: the picture, and 1 - picture"
    torch = "torch.stack([picture, 1 - picture])"
    batch = np.stack([picture, 1 - picture])
    batch = _put(sheet, "pictures", batch, "activation", row, LEFT, 17, words=words, torch=torch)

    sheet.write(sheet.next_row, 1, "Each index takes one dimension away", HEADING)
    chosen = sheet.inputs(sheet.next_row + 1, 1, AT)
    row, column = sheet.next_row, 1
    ...
