"""Tensors before any network: shapes, sums, the matrix product, broadcasting, and a batch through `x @ a`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import (
    DIVERGING,
    HEAT,
    LIGHT,
    PRECISE,
    SEQUENTIAL,
    SHORT,
    WHOLE,
    Book,
    Input,
    Series,
    Sheet,
    Typed,
    scatter,
    shape_text,
)
from sgdsheet.book.style import HEADING, LABEL, NOTE, TEXT, Scale
from sgdsheet.expr import Call, Range
from sgdsheet.lessons.data import Data, Source, check_columns, noisy_line, read_csv
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.network import LEFT, explain, maps_sheet
from sgdsheet.tensor import Array, span

WIDE = 17  # so many narrow columns there are for a heading
DIMS = 4  # dimensions of the two shapes that are tried against each other
RIGHT = replace(LABEL, horizontal="right")
AT = ("at_image", "at_channel", "at_row", "at_column")
LIGHTS = (
    Scale(("FFFFFF", "F8C4C4", "EE8888"), "percent"),
    Scale(("FFFFFF", "C5E6BE", "8CCB80"), "percent"),
    Scale(("FFFFFF", "C3D8F2", "85AFE3"), "percent"),
)
TOWNS, QUARTERS = ("Bergen", "Cairo", "Mumbai"), ("winter", "spring", "summer", "autumn")
GOODS = ("apples", "bread", "cheese", "dates")
SHOPPERS, SHOPS = ("Ann", "Ben", "Cem"), ("market", "corner", "online")
REDUCTIONS = {"sum": tensor.sum, "mean": tensor.mean, "max": tensor.largest, "argmax": tensor.argmax}


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `ranks`, `order`, `reductions`, `dot product`, `matrix product`, `broadcasting`, `batch`."""
    check_columns({"data_x": data["data_x"]}, 1_000_000, "tensors")
    book = Book(
        "tensors",
        "Tensors: numbers in rows, tables and stacks of tables",
        [
            "A network's data, its parameters and all that it computes are tensors: numbers in a fixed order. A single "
            "number is one, and so are a row of numbers (a vector), a table (a matrix), a colour picture and a stack "
            "of pictures. Here is what one does with them: put them in another order, add them up, multiply matrices, "
            "calculate with tensors of different shapes.",
            "The words are those of PyTorch, a program library that many networks are written with. It counts from 0: "
            "the first row is row 0, the first dimension is dim 0.",
        ],
        [
            "On 'ranks', change at_image, at_channel, at_row and at_column: the frame moves, and each index that you "
            "give takes one dimension away.",
            "On 'order', change follow, and watch where the same cell goes in view, transpose and permute.",
            "On 'dot product', type 3 and 1 into u, -1 and 3 into v: at a right angle the dot product is 0.",
            "On 'matrix product', choose another shopper and another shop. Which products make up the framed number?",
            "On 'matrix product', let Ann buy 1 of the bread and nothing else: her bills are then the prices of bread.",
            "On 'broadcasting', type sizes into the two shapes. Find two shapes that do not fit.",
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
    row = _band(sheet, "Rank 0: a number", "No index: a temperature, a loss. Its shape is ().", 5)
    words, torch = book.inputs["number"].meaning, "torch.tensor(number)"
    _put(sheet, "number", book.typed("number"), "input", row, LEFT, words=words, torch=torch, number_format=PRECISE)
    row = _band(sheet, "Rank 1: a vector", "One index: the temperatures of four days.", 5)
    _typed_block(sheet, "vector", data, row, LEFT, words="one number a day", across=True)
    row = _band(sheet, "Rank 2: a matrix", "Two indices, row and column: three towns on four days.", 7)
    _typed_block(sheet, "matrix", data, row, LEFT, SEQUENTIAL, words="towns x days")
    text = "Three indices: channel, row, column. The channels say how much red, green and blue light there is."
    row = _band(sheet, "Rank 3: a picture", text, 9)
    words = "channels x rows x columns: red, green, blue. A flower in front of the sky"
    picture = _typed_block(sheet, "picture", data, row, LEFT, words=words)
    _light(sheet, picture)

    text = "Four indices: which picture comes first. A network is given many at once: a batch. Here it is the picture "
    row = _band(sheet, "Rank 4: a batch", text + "above and its negative. A frame marks the cell that you choose.", 15)
    words = "pictures x channels x rows x columns: the picture, and 1 - picture"
    torch = "torch.stack([picture, 1 - picture])"
    batch = np.stack([picture, 1 - picture])
    batch = _put(sheet, "pictures", batch, "activation", row, LEFT, words=words, torch=torch, number_format=SHORT)
    _light(sheet, batch)
    chosen = sheet.inputs(sheet.next_row, 1, AT)
    for channel in range(len(LIGHTS)):
        sheet.frame(batch[:, channel], *_place(batch, chosen))
    text = "Each index that you give takes one dimension away: with one, rank 3 is left."
    row = _band(sheet, "One dimension less", text, 8)
    layout = {"number_format": SHORT, "across": True}
    indexed = [f"pictures[{', '.join(AT[:given])}]" for given in range(5)]
    rest = {"words": indexed[1], "torch": indexed[1], **layout}
    _light(sheet, _put(sheet, "one_picture", _rest(batch, chosen[:1]), "activation", row, LEFT, **rest))
    row = _band(sheet, "And so on", "Two indices leave rank 2, three rank 1, four a number.", 8)
    for given, name in enumerate(("one_channel", "one_row", "one_number"), start=2):
        rest = {"words": indexed[given], "torch": indexed[given], "room": 5, **layout}
        column = LEFT + 6 * (given - 2)
        _put(sheet, name, _rest(batch, chosen[:given]), "activation", row, column, **rest)
    return picture


def _light(sheet: Sheet, pictures: Array) -> None:
    """Shows each channel in its colour."""
    for channel, scale in enumerate(LIGHTS):
        sheet.heat_map(pictures[..., channel, :, :], scale)


def _rest(batch: Array, chosen: Sequence[Any]) -> Array:
    """What is left of the batch of pictures when its first indices are given."""
    first, last, side = batch.flat[0], batch.flat[-1], batch.shape[-1]
    whole = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    rest = np.empty(batch.shape[len(chosen) :], dtype=object)
    for free in np.ndindex(rest.shape):
        image, channel, row, column = *chosen, *free
        # There is a blank cell between one panel and the next.
        rest[free] = Call("INDEX", whole, image * (side + 1) + (row + 1), channel * (side + 1) + (column + 1))
    return rest


def _order_sheet(book: Book, data: Values) -> None:
    sheet = maps_sheet(
        book,
        "order",
        "The same cells in another order",
        "Nothing is computed here: each cell is one of the twelve on top. The colours show where each has gone, and a "
        "frame marks the one that you follow.",
        "In memory the twelve stand in one row, as in flat. A view only says how that row is cut into pieces.",
    )
    (follow,) = sheet.inputs(sheet.next_row, 1, ("follow",))
    row = _band(sheet, "Twelve cells", "Three rows of four: type other numbers if you like.", 7)
    cells = _typed_block(sheet, "cells", data, row, LEFT, HEAT, words="type here")
    index = tensor.floor(follow / 4), tensor.mod(follow, 4)
    sheet.frame(cells, *_place(cells, index))
    thirds = tensor.floor(follow / 6), tensor.floor(tensor.mod(follow, 6) / 3), tensor.mod(follow, 3)
    by_thirds = cells.reshape(2, 2, 3)
    for name, heading, text, torch, arranged, indices in (
        (
            "flat",
            "flatten",
            "All in one row: row 0, then row 1, then row 2.",
            "cells.flatten()",
            cells.reshape(-1),
            (follow,),
        ),
        (
            "viewed",
            "view",
            "The same row, cut after every third cell.",
            "cells.view(4, 3)",
            cells.reshape(4, 3),
            (tensor.floor(follow / 3), tensor.mod(follow, 3)),
        ),
        (
            "transposed",
            "transpose",
            "Rows become columns. The shape is that of viewed, the order is not.",
            "cells.T",
            cells.T,
            index[::-1],
        ),
        (
            "cube",
            "view with rank 3",
            "Cut after every third cell, and into two halves. The last index runs fastest.",
            "cells.view(2, 2, 3)",
            by_thirds,
            thirds,
        ),
        (
            "permuted",
            "permute",
            "The dimensions of cube change places: what was dim 2 is dim 0 now.",
            "cells.view(2, 2, 3).permute(2, 0, 1)",
            by_thirds.transpose(2, 0, 1),
            (thirds[2], *thirds[:2]),
        ),
    ):
        row = _band(sheet, heading, text, 5 if arranged.ndim == 1 else 7)
        layout = {"words": torch, "torch": torch, "number_format": PRECISE, "across": True}
        placed = _put(sheet, name, arranged, "activation", row, LEFT, HEAT, **layout)
        sheet.frame(placed, *_place(placed, indices))


def _reductions_sheet(book: Book, data: Values, picture: Array) -> None:
    sheet = book.sheet(
        "reductions",
        "Sums and means: dimensions that disappear",
        "A reduction makes one number of many. dim says which dimension disappears: with dim=0 each column becomes one "
        "number, with dim=1 each row does. Without dim all of them become one.",
        "argmax is the place of the largest, counted from 0. With keepdim=True the dimension stays, with size 1: 3 x 4 "
        "becomes 3 x 1 instead of 3.",
    )
    sheet.width(1, 16)
    sheet.width(2, 13, 20)
    top = sheet.next_row
    layout: dict[str, Any] = {"words": "mm of rain: towns x quarters", "torch": "rain"}
    rain = _labelled(sheet, "rain", _typed(data["rain"]), "data", top, 1, TOWNS, QUARTERS, **layout)
    sheet.heat_map(rain, SEQUENTIAL)
    below, beside = top + 3 + len(TOWNS) + 1, 2 + len(QUARTERS) + 1
    sheet.width(beside, 15, beside + len(REDUCTIONS) - 1)
    for offset, (name, function) in enumerate(REDUCTIONS.items()):
        torch = f"rain.{'amax' if name == 'max' else name}"
        layout = {"number_format": WHOLE if name == "argmax" else SHORT}
        columns = [function(column) for column in rain.T]
        sheet.write(below + offset, 1, f"{name}_dim_0", LABEL)
        layout |= {"words": f"{name} of each column", "torch": f"{torch}(dim=0)"}
        sheet.place(f"{name}_dim_0", columns, "activation", below + offset, 2, across=True, **layout)
        rows = [function(row) for row in rain]
        sheet.write(top + 2, beside + offset, f"{name}_dim_1", RIGHT)
        layout |= {"words": f"{name} of each row", "torch": f"{torch}(dim=1)"}
        sheet.place(f"{name}_dim_1", rows, "activation", top + 3, beside + offset, **layout)
        counted = ", counted row by row" if name == "argmax" else ""
        layout |= {"words": f"{name} of all twelve{counted}", "torch": f"{torch}()"}
        sheet.value(below + offset, beside, f"{name}_all", function(rain), "activation", **layout)

    row = below + len(REDUCTIONS) + 1
    sheet.write(row, 1, "The picture of sheet 'ranks' has shape 3 x 5 x 5", HEADING)
    grey = [[tensor.mean(point) for point in line] for line in np.moveaxis(picture, 0, -1)]
    layout = {"words": "mean of red, green and blue: a grey picture", "torch": "picture.mean(dim=0)"}
    grey = sheet.headed("grey", grey, "activation", row + 2, 2, number_format=SHORT, **layout)
    sheet.heat_map(grey, LIGHT)
    lights = [tensor.mean(channel) for channel in picture]
    layout = {"words": "mean of each channel: red, green, blue", "torch": "picture.mean(dim=(1, 2))"}
    sheet.headed("lights", lights, "activation", row + 2, 8, number_format=SHORT, across=True, **layout)


def _dot_product_sheet(book: Book, data: Values) -> None:
    sheet = book.sheet(
        "dot product",
        "The dot product: multiply in pairs, then add up",
        "What does the shopping cost? Each amount times its price, and all that added up: this is a dot product. It "
        "takes two vectors of one length and gives one number.",
        "A neuron, the smallest part of a network, does the same with its inputs and its weights.",
    )
    sheet.width(1, 16)
    table = sheet.table(sheet.next_row, 2, len(GOODS))
    for offset, good in enumerate(GOODS):
        sheet.write(table.first + offset, 1, good, LABEL)
    amounts, prices = (
        table.column(name, "data", _typed(data[name]), words=words, torch=name, number_format=PRECISE)
        for name, words in (("amounts", "how many, or how much"), ("unit_prices", "the price of one"))
    )
    layout: dict[str, Any] = {"words": "amount * price", "torch": "amounts * unit_prices"}
    products = table.column("products", "activation", amounts * prices, **layout)
    layout = {"words": "the sum of the products", "torch": "amounts @ unit_prices"}
    sheet.value(sheet.next_row, 1, "bill", tensor.sum(products), "activation", **layout)

    row = sheet.next_row + 1
    sheet.write(row, 1, "Two arrows", HEADING)
    says = (
        "Two numbers are an arrow: how far to the right, and how far up.",
        "The dot product of two arrows is above 0 if they go much the same way,",
        "0 if they are at a right angle, below 0 if they go opposite ways.",
    )
    for offset, line in enumerate(says, start=1):
        sheet.write(row + offset, 1, line, TEXT)
    row += 5
    arrows = []
    for offset, name in enumerate(("u", "v")):
        sheet.write(row + offset, 1, name, LABEL)
        layout = {"words": "to the right, up", "torch": name, "number_format": PRECISE, "across": True}
        arrows.append(sheet.place(name, _typed(data[name]), "data", row + offset, 2, **layout))
    u, v = arrows
    sheet.write(row + 2, 1, "uv_products", LABEL)
    products = sheet.place("uv_products", u * v, "activation", row + 2, 2, words="u * v", torch="u * v", across=True)
    layout = {"words": "their sum", "torch": "u @ v"}
    dot = sheet.value(row + 3, 1, "uv", tensor.sum(products), "activation", **layout)
    lengths = [
        sheet.value(
            row + offset,
            1,
            f"{name}_length",
            tensor.sqrt(tensor.sum(arrow * arrow)),
            "activation",
            words=f"root of {name} @ {name}",
            torch=f"{name}.norm()",
        )
        for offset, (name, arrow) in enumerate((("u", u), ("v", v)), start=4)
    ]
    layout = {"words": "uv / (u_length * v_length): 1 is the same way, -1 opposite", "torch": "u @ v / (...)"}
    sheet.value(row + 6, 1, "cosine", dot / (lengths[0] * lengths[1]), "check", **layout)
    lines = []
    for color, (name, arrow) in enumerate((("u", u), ("v", v))):
        points = np.array([[0, 0], arrow], dtype=object)
        layout = {"words": f"from 0, 0 to {name}", "number_format": PRECISE}
        points = sheet.headed(f"{name}_arrow", points, "check", row + 8, 2 + 3 * color, **layout)
        lines.append(Series(name, points[:, 0], points[:, 1], points=True, color=color, width=3))
    chart = scatter("u and v", "to the right", "up", lines, width=12, height=12, x_range=(-5, 5), y_range=(-5, 5))
    sheet.chart(row - 5, 8, chart)


def _matrix_product_sheet(book: Book, data: Values) -> None:
    sheet = book.sheet(
        "matrix product",
        "The matrix product: each row with each column",
        "Three shoppers, three shops: nine bills at once. Each number of lists @ prices is the dot product of a row of "
        "lists and a column of prices: look left of it, and above it.",
        "So the rows of the first must be as long as the columns of the second: (3 x 4) @ (4 x 3) is 3 x 3. The inner "
        "size, here 4, disappears.",
    )
    sheet.width(1, 14)
    shopper, shop = sheet.inputs(sheet.next_row, 1, ("at_shopper", "at_shop"))
    top, left = sheet.next_row, 3 + len(GOODS)
    layout: dict[str, Any] = {"words": "goods x shops", "torch": "prices"}
    prices = _labelled(sheet, "prices", _typed(data["prices"]), "data", top, left, GOODS, SHOPS, **layout)
    says = (
        "The row i and the column j that you choose are framed.",
        "bills[i, j] is their dot product:",
        "lists[i, 0] * prices[0, j] + lists[i, 1] * prices[1, j]",
        "+ lists[i, 2] * prices[2, j] + lists[i, 3] * prices[3, j]",
    )
    for offset, line in enumerate(says, start=1):
        sheet.write(top + offset, 1, line, TEXT)
    row = top + 3 + len(GOODS) + 1
    layout = {"words": "shoppers x goods: how much of each", "torch": "lists"}
    lists = _labelled(sheet, "lists", _typed(data["lists"]), "data", row, 1, SHOPPERS, GOODS, **layout)
    layout = {"words": "lists @ prices", "torch": "lists @ prices", "number_format": SHORT}
    bills = tensor.matmul(lists, prices)
    bills = _labelled(sheet, "bills", bills, "activation", row, left, SHOPPERS, SHOPS, **layout)
    sheet.heat_map(bills, SEQUENTIAL)
    framed_row, framed_column = _place(bills, (shopper, shop))
    sheet.frame(lists, row=framed_row)
    sheet.frame(prices, column=framed_column)
    sheet.frame(bills, framed_row, framed_column)

    row += 3 + len(SHOPPERS) + 1
    sheet.write(row, 1, "The framed number, step by step", HEADING)
    table = sheet.table(row + 1, 2, len(GOODS))
    for offset, good in enumerate(GOODS):
        sheet.write(table.first + offset, 1, good, LABEL)
    amounts = [tensor.index(column, shopper + 1) for column in lists.T]
    layout = {"words": "lists[i]", "torch": "lists[at_shopper]", "number_format": SHORT}
    amounts = table.column("chosen_row", "activation", amounts, **layout)
    costs = [tensor.index(line, shop + 1) for line in prices]
    layout |= {"words": "prices[:, j]", "torch": "prices[:, at_shop]"}
    costs = table.column("chosen_column", "activation", costs, **layout)
    layout |= {"words": "row * column", "torch": "lists[at_shopper] * prices[:, at_shop]"}
    pairs = table.column("pairs", "activation", amounts * costs, **layout)
    sheet.width(2, 14, left + len(SHOPS))
    sheet.width(left - 1, 4)
    row = sheet.next_row
    torch = "lists[at_shopper] @ prices[:, at_shop]"
    sheet.value(row, 1, "pairs_sum", tensor.sum(pairs), "activation", words="the sum of the pairs", torch=torch)
    framed = Call("INDEX", span(bills), shopper + 1, shop + 1)
    torch = "(lists @ prices)[at_shopper, at_shop]"
    sheet.value(row + 1, 1, "framed", framed, "activation", words="what stands in the frame: the same", torch=torch)


def _broadcasting_sheet(book: Book, data: Values) -> None:
    sheet = maps_sheet(
        book,
        "broadcasting",
        "Broadcasting: calculating with different shapes",
        "Two tensors of one shape are added number by number. If a dimension of one has size 1 and that of the other "
        "does not, then the one is repeated along it until both have the same shape.",
        "Nothing is really copied: each cell refers to the one number again and again. Click on a few to see it.",
    )
    row = _band(sheet, "A column and a row", "3 x 1 and 1 x 4: both are repeated, and the sum is 3 x 4.", 7)
    tens = _typed_block(sheet, "tens", data, row, LEFT, HEAT, 5, words="repeated to the right")
    units = _typed_block(sheet, "units", data, row, LEFT + 5, HEAT, 5, words="repeated downwards")
    repeated = np.broadcast_arrays(tens, units)
    for position, (name, array, torch) in enumerate(
        (
            ("tens_repeated", repeated[0], "tens.expand(3, 4)"),
            ("units_repeated", repeated[1], "units.expand(3, 4)"),
            ("tens_plus_units", tens + units, "tens + units"),
        )
    ):
        layout = {"words": torch, "torch": torch, "number_format": PRECISE}
        _put(sheet, name, array, "activation", row, LEFT + 10 + 5 * position, HEAT, 5, **layout)

    text = "Four pupils, three tests. The mean of each test has shape 3. A shape that is too short gets sizes of 1 "
    row = _band(sheet, "A matrix and a vector", text + "in front: 3 counts as 1 x 3.", 9)
    grades = _typed_block(sheet, "grades", data, row, LEFT, SEQUENTIAL, 5, words="pupils x tests")
    _less_mean(sheet, "test", grades, 0, row, "grades.mean(dim=0)")
    text = "The mean of each pupil must keep its dimension: 4 x 1 fits 4 x 3. Without keepdim it has shape 4, counts "
    row = _band(sheet, "keepdim", text + "as 1 x 4, and does not fit.", 9)
    _less_mean(sheet, "pupil", grades, 1, row, "grades.mean(dim=1, keepdim=True)")

    text = "Where there are as many rows as columns, forgetting keepdim is no error but wrong: row i should lose the "
    row = _band(sheet, "The trap", text + "mean of row i, and column i loses it.", 9)
    square = _typed_block(sheet, "square", data, row, LEFT, SEQUENTIAL, 5, words="rows x columns")
    layout = {"number_format": SHORT, "across": True}
    means = [tensor.mean(line) for line in square]
    torch = "square.mean(dim=1)"
    means = _put(sheet, "row_mean", means, "activation", row, LEFT + 5, None, 5, words=torch, torch=torch, **layout)
    for name, mean, column, torch in (
        ("intended", means[:, None], LEFT + 10, "square - row_mean[:, None]"),
        ("mistaken", means, LEFT + 15, "square - row_mean"),
    ):
        _put(sheet, name, square - mean, "activation", row, column, DIVERGING, 5, words=torch, torch=torch, **layout)
    _fitting(book, sheet)


def _less_mean(sheet: Sheet, name: str, grades: Array, dim: int, row: int, torch: str) -> None:
    """The means of the columns or the rows, and the grades less these means."""
    means = np.array([tensor.mean(each) for each in (grades.T if dim == 0 else grades)], dtype=object)
    means = means if dim == 0 else means[:, None]
    layout = {"words": torch, "torch": torch, "number_format": SHORT, "across": True}
    means = _put(sheet, f"{name}_mean", means, "activation", row, LEFT + 5, None, 5, **layout)
    words = f"grades - {name}_mean"
    layout |= {"words": words, "torch": words}
    _put(sheet, f"grades_less_{name}", grades - means, "activation", row, LEFT + 10, DIVERGING, 5, **layout)


def _fitting(book: Book, sheet: Sheet) -> None:
    """Two shapes that the reader types, and whether they fit."""
    row = sheet.next_row
    sheet.write(row, 1, "Do two shapes fit?", HEADING)
    note = "Type a size into each yellow cell; where a shape has fewer than four dimensions, type 1 in front of it."
    sheet.write(row + 1, 1, note, NOTE)
    sizes = np.empty((2, DIMS), dtype=object)
    for position, shape in enumerate(("a", "b")):
        sheet.write(row + 2 + position, 1, f"shape_{shape}", LABEL)
        for dim, name in enumerate(_size_names(shape)):
            typed, words = book.typed(name), book.inputs[name].meaning
            place = row + 2 + position, LEFT + dim
            sizes[position, dim] = sheet.place(name, typed, "input", *place, words=words, number_format=WHOLE).item()
    a, b = sizes
    fits = tensor.where(tensor.either(tensor.equal(a, b), tensor.equal(tensor.minimum(a, b), 1)), 1, 0)
    words = "1 where both sizes are the same or one of them is 1, else 0"
    fits = _row(sheet, "fits", fits, row + 4, words, "torch.broadcast_shapes((a,), (b,)) raises no error")
    words = "the larger of both sizes, and 0 where they do not fit"
    size = _row(sheet, "result_size", fits * tensor.maximum(a, b), row + 5, words, "torch.broadcast_shapes(a, b)")
    words = "1 if all dimensions fit"
    _row(sheet, "all_fit", tensor.smallest(fits), row + 6, words, "torch.broadcast_shapes(a, b) raises no error")
    words = "so many numbers has the result; 0 if there is none"
    _row(sheet, "result_numbers", math.prod(size), row + 7, words, "(a + b).numel()")


def _row(sheet: Sheet, name: str, array: Any, row: int, words: str, torch: str) -> Array:
    """A row of whole numbers between its name and its words."""
    sheet.write(row, 1, name, LABEL)
    sheet.write(row, LEFT + DIMS, words, NOTE)
    return sheet.place(name, array, "check", row, LEFT, words=words, torch=torch, number_format=WHOLE, across=True)


def _batch_sheet(book: Book, data: Values) -> None:
    sheet = book.sheet(
        "batch",
        "A batch: all points at once through x @ a",
        "A line, y = slope * x + intercept, for many points: each row of x holds a point's number and a 1, a holds the "
        "slope and the intercept. Then x @ a is slope * number + intercept * 1 in every row: one product for all.",
        "mse, the mean of the squared errors, says how wrong the line is. A matrix with three columns in place of a "
        "makes three lines at once, as a layer of a network does.",
    )
    sheet.width(1, 15)
    sheet.width(2, 12, 13)
    top = sheet.next_row
    count = len(data["data_x"])
    parts = ("slope", "intercept")
    layout = {"words": "a line", "torch": "a"}
    a = _labelled(sheet, "a", _typed(data["a"]), "parameter", top, 1, (), parts, across=True, absolute=True, **layout)
    layout = {"words": "three lines, one a column", "torch": "lines", "absolute": True}
    names = ("line 0", "line 1", "line 2")
    lines = _labelled(sheet, "lines", _typed(data["lines"]), "parameter", top, 5, parts, names, **layout)

    table = sheet.table(top + 19, 1, count)
    data_x, y = (
        table.column(name, "data", _typed(data[name]), words=words, torch=name.removeprefix("data_"), width=15)
        for name, words in (("data_x", "what is known"), ("data_y", "what to predict"))
    )
    x = np.stack([data_x, np.ones_like(data_x)], axis=1)
    x = table.column("x", "activation", x, words="data_x and a 1", torch="torch.stack([x, torch.ones(n)], 1)")
    y_hat = tensor.matmul(x, a[:, None])[:, 0]
    y_hat = table.column("y_hat", "activation", y_hat, words="x @ a", torch="x @ a")
    error = table.column("error", "activation", y_hat - y, words="y_hat - data_y", torch="y_hat - y")
    squared = table.column("squared_error", "loss", error**2, words="error^2", torch="(y_hat - y) ** 2")
    y_hats = table.column("y_hats", "activation", tensor.matmul(x, lines), words="x @ lines", torch="x @ lines")
    words = "y_hats - data_y, which is n x 1 here"
    errors = table.column("errors", "activation", y_hats - y[:, None], words=words, torch="y_hats - y[:, None]")

    layout = {"words": "mean of squared_error", "torch": "F.mse_loss(x @ a, y)"}
    sheet.value(top + 5, 1, "mse", tensor.mean(squared), "loss", **layout)
    grad = np.array([2 * tensor.sum(column * error) / count for column in x.T], dtype=object)
    words = "2 * x.T @ error / n: how mse changes with slope and intercept"
    _beside(sheet, "grad", grad, "gradient", top + 6, 1, words=words, torch="a.grad")
    mses = [tensor.mean(column**2) for column in errors.T]
    torch = "((x @ lines - y[:, None]) ** 2).mean(dim=0)"
    _beside(sheet, "mses", mses, "loss", top + 5, 5, words="one a line", torch=torch)

    sheet.write(top + 8, 1, "One point at a time", HEADING)
    (point,) = sheet.inputs(top + 9, 1, ("point",))
    place = tensor.minimum(point, count - 1) + 1  # with other data there may be fewer
    row = np.array([tensor.index(column, place) for column in x.T], dtype=object)
    row = _beside(sheet, "point_x", row, "activation", top + 10, 1, words="the point's row of x", torch="x[point]")
    layout = {"words": "the row times a, in pairs", "torch": "x[point] * a"}
    products = _beside(sheet, "point_products", row * a, "activation", top + 11, 1, **layout)
    layout = {"words": "their sum", "torch": "x[point] @ a"}
    sheet.value(top + 12, 1, "point_y_hat", tensor.sum(products), "activation", **layout)
    layout = {"words": "what the batch has for this point: the same", "torch": "(x @ a)[point]"}
    sheet.value(top + 13, 1, "batch_y_hat", tensor.index(y_hat, place), "activation", **layout)

    points = Series("points", data_x, y, points=True, line=False)
    line = Series("x @ a", data_x, y_hat, color=3, width=2.5)
    sheet.chart(top, 10, scatter("One line: x @ a", "x", "y", [points, line], width=12))
    three = [
        Series(name, data_x, column, color=k) for k, (name, column) in enumerate(zip(names, y_hats.T, strict=True), 1)
    ]
    sheet.chart(top, 16, scatter("Three lines: x @ lines", "x", "y", [points, *three], width=12))
    sheet.repeat_rows(table.head, table.first - 1)


def _typed(numbers: Any) -> Array:
    """Numbers that the reader may change."""
    numbers = np.array(numbers, dtype=object)
    return np.array([Typed(number) for number in numbers.flat], dtype=object).reshape(numbers.shape)


def _band(sheet: Sheet, heading: str, text: str, height: int) -> int:
    """A few words on the left, and so many rows for the blocks beside them. Returns the first of these rows."""
    row = sheet.next_row
    explain(sheet, row, heading, text)
    sheet.next_row = row + height
    return row


def _put(
    sheet: Sheet,
    name: str,
    array: Any,
    role: str,
    row: int,
    column: int,
    scale: Scale | None = None,
    room: int = WIDE,
    **layout: Any,
) -> Array:
    """A block below a heading that keeps to `room` columns, as a heat map if there is a `scale`."""
    references = sheet.headed(name, array, role, row, column, room=room, **layout)
    if scale:
        sheet.heat_map(references, scale)
    return references


def _typed_block(
    sheet: Sheet, name: str, data: Values, row: int, column: int, scale: Scale | None = None, *room: int, **layout: Any
) -> Array:
    """A block of the data, for the reader to change."""
    layout |= {"torch": name, "number_format": PRECISE}
    return _put(sheet, name, _typed(data[name]), "data", row, column, scale, *room, **layout)


def _labelled(
    sheet: Sheet,
    name: str,
    array: Any,
    role: str,
    row: int,
    column: int,
    down: Sequence[str],
    along: Sequence[str],
    *,
    words: str,
    number_format: str = PRECISE,
    **layout: Any,
) -> Array:
    """A block below its heading, with words beside its rows and above its columns."""
    array = np.asarray(array, dtype=object)
    sheet.write(row, column, name, HEADING)
    sheet.write(row + 1, column, f"{shape_text(array.shape)} · {words}", NOTE)
    for offset, label in enumerate(along, start=1):
        sheet.write(row + 2, column + offset, label, RIGHT)
    for offset, label in enumerate(down, start=3):
        sheet.write(row + offset, column, label, LABEL)
    return sheet.place(name, array, role, row + 3, column + 1, words=words, number_format=number_format, **layout)


def _beside(sheet: Sheet, name: str, array: Any, role: str, row: int, column: int, *, words: str, torch: str) -> Array:
    """A block of one dimension, in a row between its name and its words."""
    references = sheet.place(name, array, role, row, column + 1, words=words, torch=torch, across=True)
    sheet.write(row, column, name, LABEL)
    sheet.write(row, column + 1 + references.size, words, NOTE)
    return references


def _place(references: Array, indices: Sequence[Any]) -> tuple[Any, Any]:
    """The row and the column of the sheet in which the element with these indices, which may be formulas, stands."""
    first = references.flat[0]
    row, column = first.row, first.column
    for dim, index in enumerate(indices):
        following = references[(0,) * dim + (1,) + (0,) * (references.ndim - dim - 1)]
        row = row + index * (following.row - first.row)
        column = column + index * (following.column - first.column)
    return row, column


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch

    data = {name: torch.as_tensor(values[name], dtype=torch.float64) for name in DATA_DIMS}
    single = {spec.name: torch.tensor(values[spec.name], dtype=torch.float64) for spec in INPUTS}
    at = {name: int(values[name]) for name in (*AT, "at_shopper", "at_shop", "point")}
    blocks = {**data, **single}

    picture, cells, rain = data["picture"], data["cells"], data["rain"]
    pictures = torch.stack([picture, 1 - picture])
    image, channel, row, column = (at[name] for name in AT)
    blocks |= {
        "pictures": pictures,
        "one_picture": pictures[image],
        "one_channel": pictures[image, channel],
        "one_row": pictures[image, channel, row],
        "one_number": pictures[image, channel, row, column],
        "flat": cells.flatten(),
        "viewed": cells.view(4, 3),
        "transposed": cells.T,
        "cube": cells.view(2, 2, 3),
        "permuted": cells.view(2, 2, 3).permute(2, 0, 1),
        "grey": picture.mean(dim=0),
        "lights": picture.mean(dim=(1, 2)),
    }
    for name, reduce in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("argmax", torch.argmax)):
        blocks |= {f"{name}_dim_{dim}": reduce(rain, dim=dim) for dim in (0, 1)}
        blocks[f"{name}_all"] = reduce(rain)

    amounts, unit_prices, u, v = (data[name] for name in ("amounts", "unit_prices", "u", "v"))
    u_length, v_length = (u @ u).sqrt(), (v @ v).sqrt()
    origin = torch.zeros(2)
    blocks |= {
        "products": amounts * unit_prices,
        "bill": amounts @ unit_prices,
        "uv_products": u * v,
        "uv": u @ v,
        "u_length": u_length,
        "v_length": v_length,
        "cosine": u @ v / (u_length * v_length),
        "u_arrow": torch.stack([origin, u]),
        "v_arrow": torch.stack([origin, v]),
    }
    lists, prices = data["lists"], data["prices"]
    chosen_row, chosen_column = lists[at["at_shopper"]], prices[:, at["at_shop"]]
    blocks |= {
        "bills": lists @ prices,
        "chosen_row": chosen_row,
        "chosen_column": chosen_column,
        "pairs": chosen_row * chosen_column,
        "pairs_sum": chosen_row @ chosen_column,
        "framed": (lists @ prices)[at["at_shopper"], at["at_shop"]],
    }
    blocks |= _reference_broadcasting(data, values) | _reference_batch(data, at["point"])
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _reference_broadcasting(data: Mapping[str, Any], values: Values) -> dict[str, Any]:
    import torch

    tens, units, grades, square = (data[name] for name in ("tens", "units", "grades", "square"))
    test_mean, pupil_mean = grades.mean(dim=0), grades.mean(dim=1, keepdim=True)
    shapes = [[int(values[name]) for name in _size_names(shape)] for shape in ("a", "b")]

    def together(*shapes: Sequence[int]) -> tuple[int, ...] | None:
        """The shape that torch makes of these, or None if they do not fit."""
        try:
            return tuple(torch.broadcast_shapes(*map(tuple, shapes)))
        except RuntimeError:
            return None

    dims = [together((a,), (b,)) for a, b in zip(*shapes, strict=True)]
    whole = together(*shapes)
    return {
        "tens_repeated": tens.expand(3, 4),
        "units_repeated": units.expand(3, 4),
        "tens_plus_units": tens + units,
        "test_mean": test_mean,
        "grades_less_test": grades - test_mean,
        "pupil_mean": pupil_mean,
        "grades_less_pupil": grades - pupil_mean,
        "row_mean": square.mean(dim=1),
        "intended": square - square.mean(dim=1, keepdim=True),
        "mistaken": square - square.mean(dim=1),
        "fits": torch.tensor([float(dim is not None) for dim in dims]),
        "result_size": torch.tensor([float(dim[0]) if dim else 0.0 for dim in dims]),
        "all_fit": torch.tensor(float(whole is not None)),
        "result_numbers": torch.tensor(float(torch.empty(1).expand(whole).numel()) if whole else 0.0),
    }


def _reference_batch(data: Mapping[str, Any], point: int) -> dict[str, Any]:
    import torch
    from torch.nn.functional import mse_loss

    y, lines = data["data_y"], data["lines"]
    x = torch.stack([data["data_x"], torch.ones(len(y))], dim=1)
    a = data["a"].clone().requires_grad_()
    y_hat = x @ a
    mse = mse_loss(y_hat, y)
    (grad,) = torch.autograd.grad(mse, [a])
    errors = x @ lines - y[:, None]
    point = min(point, len(y) - 1)
    return {
        "x": x,
        "y_hat": y_hat,
        "error": y_hat - y,
        "squared_error": mse_loss(y_hat, y, reduction="none"),
        "y_hats": x @ lines,
        "errors": errors,
        "mse": mse,
        "grad": grad,
        "mses": (errors**2).mean(dim=0),
        "point_x": x[point],
        "point_products": x[point] * a,
        "point_y_hat": x[point] @ a,
        "batch_y_hat": y_hat[point],
    }


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A sum of numbers that nearly cancel is as exact as they are: its size is the sum without their signs."""
    size = {name: np.abs(values[name]) for name in DATA_DIMS}
    rain, x = size["rain"], np.abs(blocks["x"])
    bills = size["lists"] @ size["prices"]
    y_hat, y_hats = x @ size["a"], x @ size["lines"]
    error = y_hat + size["data_y"]
    errors = y_hats + size["data_y"][:, None]
    squared = 2 * np.abs(blocks["error"]) * error
    dims = {"dim_0": 0, "dim_1": 1, "all": None}
    reduced = {f"{name}_{of}": getattr(rain, name)(dim) for name in ("sum", "mean") for of, dim in dims.items()}
    return reduced | {
        "bill": size["amounts"] @ size["unit_prices"],
        "uv": size["u"] @ size["v"],
        "bills": bills,
        "pairs_sum": bills.max(),
        "framed": bills.max(),
        "grades_less_test": size["grades"].max(),
        "grades_less_pupil": size["grades"].max(),
        "intended": size["square"].max(),
        "mistaken": size["square"].max(),
        "y_hat": y_hat,
        "error": error,
        "squared_error": squared,
        "mse": squared.mean(),
        "grad": 2 * x.T @ error / len(error),
        "y_hats": y_hats,
        "errors": errors,
        "mses": (2 * np.abs(blocks["errors"]) * errors).mean(0),
        "point_y_hat": y_hat.max(),
        "batch_y_hat": y_hat.max(),
    }


def _size_names(shape: str) -> list[str]:
    return [f"{shape}_size_{dim}" for dim in range(DIMS)]


def _load(source: Source) -> dict[str, Any]:
    points = read_csv(source.csv, ["data_x", "data_y"]) if source.csv else POINTS
    return STARTS | points


SKY, PETAL, MIDDLE, LEAF = (0.6, 0.8, 1), (1, 0.2, 0.4), (1, 0.9, 0), (0.2, 0.7, 0.1)
FLOWER = (
    (SKY, PETAL, PETAL, PETAL, SKY),
    (SKY, PETAL, MIDDLE, PETAL, SKY),
    (SKY, PETAL, PETAL, PETAL, SKY),
    (SKY, SKY, LEAF, SKY, SKY),
    (LEAF, LEAF, LEAF, LEAF, LEAF),
)
POINTS = noisy_line(seed=2, count=20, x=(-1, 1), slope=3, intercept=2, noise=(0, 1))
STARTS: dict[str, Any] = {
    "vector": [18.5, 21.5, 24, 19],
    "matrix": [[18.5, 21.5, 24, 19], [9, 12.5, 11, 8.5], [30, 31.5, 33, 32]],
    "picture": [[[point[channel] for point in row] for row in FLOWER] for channel in range(3)],
    "cells": [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]],
    "rain": [[680, 380, 520, 840], [15, 4, 0, 6], [2, 15, 1750, 420]],
    "amounts": [5, 1, 0.5, 2],
    "unit_prices": [0.4, 2.5, 9, 1.2],
    "u": [3, 1],
    "v": [1, 4],
    "lists": [[5, 1, 0.5, 2], [0, 2, 1, 0], [8, 0, 0, 4]],
    "prices": [[0.4, 0.5, 0.3], [2.5, 2, 3], [9, 11, 8], [1.2, 1, 1.5]],
    "tens": [[10], [20], [30]],
    "units": [[1, 2, 3, 4]],
    "grades": [[12, 15, 9], [8, 10, 6], [14, 18, 13], [10, 13, 4]],
    "square": [[1, 2, 3], [10, 20, 30], [5, 5, 5]],
    "a": [-1, 1],
    "lines": [[-1, 3, 0], [1, 2, 2.5]],
}
DATA_DIMS = {name: np.ndim(numbers) for name, numbers in (STARTS | POINTS).items()}
SIZES = {"a": (1, 4, 3, 1), "b": (2, 1, 3, 5)}
INPUTS = (
    Input("number", 21.5, "today's temperature"),
    Input("at_image", 0, "which picture of the batch", minimum=0, maximum=1, whole=True),
    Input("at_channel", 1, "which channel: 0 is red, 1 green, 2 blue", minimum=0, maximum=2, whole=True),
    Input("at_row", 1, "which row of the picture", minimum=0, maximum=4, whole=True),
    Input("at_column", 2, "which column of the picture", minimum=0, maximum=4, whole=True),
    Input("follow", 5, "which of the twelve cells to follow, counted from 0", minimum=0, maximum=11, whole=True),
    Input("at_shopper", 0, "whose bill: 0 is Ann, 1 Ben, 2 Cem", minimum=0, maximum=2, whole=True),
    Input(
        "at_shop", 1, "at which shop: 0 is the market, 1 the corner shop, 2 online", minimum=0, maximum=2, whole=True
    ),
    *(
        Input(name, size, f"size of dimension {dim} of shape_{shape}", minimum=1, maximum=1000, whole=True)
        for shape, starts in SIZES.items()
        for dim, (name, size) in enumerate(zip(_size_names(shape), starts, strict=True))
    ),
    Input("point", 3, "which point, counted from 0", minimum=0, whole=True),
)
TENSORS = Lesson(
    "tensors",
    "shapes, sums, the matrix product, broadcasting, and a batch of points through x @ a",
    INPUTS,
    Data(DATA_DIMS, _load, ("csv",)),
    build=build,
    reference=reference,
    sizes=sizes,
)
