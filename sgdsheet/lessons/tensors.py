"""Tensors before any network: shapes, sums, the matrix product, broadcasting, and a batch through `x @ a`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import Book, Input, Series, Sheet, scatter, shape_text, typed
from sgdsheet.book.style import (
    DIVERGING,
    HEADING,
    HEAT,
    LABEL,
    LIGHT,
    NOTE,
    PRECISE,
    SEQUENTIAL,
    SHORT,
    TEXT,
    WHOLE,
    Scale,
)
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data, Source, check_columns, noisy_line, read_csv
from sgdsheet.lessons.flow import Named, activation, check, data, inputs, labels, loss, row_of, values
from sgdsheet.lessons.lesson import Lesson, Values
from sgdsheet.lessons.network import LEFT, explain, maps_sheet
from sgdsheet.tensor import Array, equal, floor, index, mean, minimum, mod, span

WIDE = 17  # the columns for a heading
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
REDUCTIONS = {"sum": tensor.sum, "mean": mean, "max": tensor.largest, "argmax": tensor.argmax}


def build(book: Book, given: Values) -> None:
    """The sheets `ranks`, `order`, `reductions`, `dot product`, `matrix product`, `broadcasting`, `batch`."""
    check_columns({"data_x": given["data_x"]}, 1_000_000, "tensors")
    picture = ranks_sheet(book, given)
    order_sheet(book, given)
    reductions_sheet(book, given, picture)
    dot_product_sheet(book, given)
    matrix_product_sheet(book, given)
    broadcasting_sheet(book, given)
    batch_sheet(book, given)


def ranks_sheet(book: Book, given: Values) -> Array:
    sheet = maps_sheet(
        book,
        "ranks",
        "Shapes and ranks: from one number to a batch of pictures",
        "A tensor's rank is the number of its dimensions: how many indices (places, counted from 0) you must give to "
        "point at one of its numbers.",
        "Its shape says how many places each dimension has: a tensor of shape 3 x 4 has 3 * 4 = 12 numbers.",
    )
    sheet.width(LEFT, 4.7, LEFT + 2 * WIDE + 2)
    top = sheet.next_row
    row = band(sheet, "Rank 0: a number", "No index: a temperature, a loss. Its shape is ().", 4)
    words = book.inputs["number"].meaning
    put(sheet, "number", book.typed("number"), row, LEFT, "torch.tensor(number)", words, digits=PRECISE, role="input")
    row = band(sheet, "Rank 1: a vector", "One index: the temperatures of four days.", 4)
    put_data(sheet, "vector", given, row, LEFT, "one number a day")
    row = band(sheet, "Rank 2: a matrix", "Two indices, row and column: three towns on four days.", 6)
    put_data(sheet, "matrix", given, row, LEFT, "towns x days; the darker a cell, the warmer", SEQUENTIAL)
    text = "Three indices: channel, row, column. The channels say how much red, green and blue light there is."
    row = band(sheet, "Rank 3: a picture", text, 8)
    words = "channels x rows x columns: a flower in front of the sky. The stronger a colour, the more of its light"
    picture = put_data(sheet, "picture", given, row, LEFT, words)
    light(sheet, picture)

    text = "Four indices: which picture comes first. A network is given many at once: a batch. Here it is the picture "
    row = band(sheet, "Rank 4: a batch", text + "above and its negative. A frame marks the cell that you choose.", 13)
    words = "pictures x channels x rows x columns: the picture, and 1 - picture"
    batch = np.stack([picture, 1 - picture])
    batch = put(sheet, "pictures", batch, row, LEFT, "torch.stack([picture, 1 - picture])", words)
    light(sheet, batch)

    left = LEFT + WIDE + 2
    sheet.write(top, left - 1, "Each index that you give takes one dimension away", HEADING)
    chosen = list(vars(inputs(sheet, *AT, row=top + 2, left=left - 1)).values())
    sheet.width(left - 1, 11)
    for channel in range(len(LIGHTS)):
        sheet.frame(batch[:, channel], *place_of(batch, chosen))
    torch = [f"pictures[{', '.join(AT[:count])}]" for count in range(5)]
    light(sheet, put(sheet, "one_picture", rest(batch, chosen[:1]), top + 8, left, torch[1]))
    put(sheet, "one_channel", rest(batch, chosen[:2]), top + 16, left, torch[2], scale=HEAT)
    put(sheet, "one_row", rest(batch, chosen[:3]), top + 24, left, torch[3], scale=HEAT)
    put(sheet, "one_number", rest(batch, chosen), top + 28, left, torch[4])
    return picture


def light(sheet: Sheet, pictures: Array) -> None:
    """Shows each channel in its colour."""
    for channel, scale in enumerate(LIGHTS):
        sheet.heat_map(pictures[..., channel, :, :], scale)


def rest(batch: Array, chosen: Sequence[Any]) -> Array:
    """What is left of the batch of pictures when its first indices are given."""
    first, last, side = batch.flat[0], batch.flat[-1], batch.shape[-1]
    whole = Range(first.sheet, first.row, first.column, last.row, last.column, absolute=True)
    left = np.empty(batch.shape[len(chosen) :], dtype=object)
    for free in np.ndindex(left.shape):
        image, channel, row, column = *chosen, *free
        # There is a blank cell between one panel and the next.
        left[free] = Call("INDEX", whole, image * (side + 1) + (row + 1), channel * (side + 1) + (column + 1))
    return left


def order_sheet(book: Book, given: Values) -> None:
    sheet = maps_sheet(
        book,
        "order",
        "The same cells in another order",
        "Nothing is computed here: each cell is one of the twelve on top. The colours show where each has gone, "
        "from the lightest, the smallest, to the darkest; a frame marks the one that you follow.",
        "In memory the twelve stand in one row, as in flat. A view only says how that row is cut into pieces.",
    )
    follow = inputs(sheet, "follow").follow
    row = band(sheet, "Twelve cells", "Three rows of four: type other numbers if you like.", 6)
    cells = put_data(sheet, "cells", given, row, LEFT, "type here", HEAT)
    i, j = floor(follow / 4), mod(follow, 4)
    sheet.frame(cells, *place_of(cells, (i, j)))

    def show(name: str, heading: str, text: str, torch: str, array: Array, *indices: Any) -> None:
        row = band(sheet, heading, text, {1: 4, 2: 7, 3: 5}[array.ndim])
        array = put(sheet, name, array, row, LEFT, torch, scale=HEAT, digits=PRECISE)
        sheet.frame(array, *place_of(array, indices))

    text = "All in one row: row 0, then row 1, then row 2."
    show("flat", "flatten", text, "cells.flatten()", cells.reshape(-1), follow)
    text = "The same row, cut after every third cell."
    show("viewed", "view", text, "cells.view(4, 3)", cells.reshape(4, 3), floor(follow / 3), mod(follow, 3))
    text = "Rows become columns. The shape is that of viewed, the order is not."
    show("transposed", "transpose", text, "cells.T", cells.T, j, i)
    text = "Cut after every third cell, and into two halves. The last index runs fastest."
    cube, half, third, last = cells.reshape(2, 2, 3), floor(follow / 6), floor(mod(follow, 6) / 3), mod(follow, 3)
    show("cube", "view with rank 3", text, "cells.view(2, 2, 3)", cube, half, third, last)
    text = "The dimensions of cube change places: what was dim 2 is dim 0 now."
    torch, permuted = "cells.view(2, 2, 3).permute(2, 0, 1)", cube.transpose(2, 0, 1)
    show("permuted", "permute", text, torch, permuted, last, half, third)


def reductions_sheet(book: Book, given: Values, picture: Array) -> None:
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
    rain = data(
        typed(given["rain"]), "mm of rain, towns x quarters: type here. The darker, the more rain", "rain", PRECISE
    )
    rain = labelled(sheet, "rain", rain, top, 1, TOWNS, QUARTERS)
    sheet.heat_map(rain, SEQUENTIAL)
    below, beside = top + 3 + len(TOWNS) + 1, 2 + len(QUARTERS) + 1
    sheet.width(beside, 15, beside + len(REDUCTIONS) - 1)
    for offset, (name, reduce) in enumerate(REDUCTIONS.items()):
        row, column, torch = below + offset, beside + offset, f"rain.{'amax' if name == 'max' else name}"
        digits, counted = (WHOLE, ", counted row by row") if name == "argmax" else (SHORT, "")
        made = activation(list(map(reduce, rain.T)), f"{name} of each column", f"{torch}(dim=0)", digits)
        in_row(sheet, f"{name}_dim_0", made, row, 1, note=False)
        sheet.write(top + 2, column, f"{name}_dim_1", RIGHT)
        made = activation(list(map(reduce, rain)), f"{name} of each row", f"{torch}(dim=1)", digits)
        place(sheet, f"{name}_dim_1", made, top + 3, column, across=False)
        made = activation(reduce(rain), f"{name} of all twelve{counted}", f"{torch}()", digits)
        values(sheet, f"{name}_", row=row, left=beside, all=made)

    row = below + len(REDUCTIONS) + 1
    sheet.write(row, 1, "The picture of sheet 'ranks' has shape 3 x 5 x 5", HEADING)
    grey = [[mean(point) for point in line] for line in np.moveaxis(picture, 0, -1)]
    words = "mean of red, green and blue: a grey picture"
    put(sheet, "grey", grey, row + 2, 2, "picture.mean(dim=0)", words, LIGHT, room=0)
    lights, words = [mean(channel) for channel in picture], "mean of each channel: red, green, blue"
    put(sheet, "lights", lights, row + 2, 8, "picture.mean(dim=(1, 2))", words, room=0)


def dot_product_sheet(book: Book, given: Values) -> None:
    sheet = book.sheet(
        "dot product",
        "The dot product: multiply in pairs, then add up",
        "What does the shopping cost? Each amount times its price, and all that added up: this is a dot product. It "
        "takes two vectors of one length and gives one number.",
        "A neuron, the smallest part of a network, does the same with its inputs and its weights.",
    )
    sheet.width(1, 16)
    table = sheet.table(sheet.next_row, 2, len(GOODS))
    labels(sheet, table.first, 1, GOODS)
    t = flow.columns(
        table,
        amounts=data(typed(given["amounts"]), "how many, or how much", "amounts", PRECISE),
        unit_prices=data(typed(given["unit_prices"]), "the price of one", "unit_prices", PRECISE),
        products=activation(lambda t: t.amounts * t.unit_prices, "amount * price", "amounts * unit_prices"),
    )
    values(sheet, bill=activation(tensor.sum(t.products), "the sum of the products", "amounts @ unit_prices"))

    row = sheet.next_row + 1
    sheet.write(row, 1, "Two arrows", HEADING)
    labels(sheet, row + 1, 1, ARROWS, TEXT)
    u, v = (
        in_row(sheet, name, data(typed(given[name]), "to the right, up", name, PRECISE), row, 1, note=False)
        for name, row in (("u", row + 5), ("v", row + 6))
    )
    products = in_row(sheet, "uv_products", activation(u * v, "u * v", "u * v"), row + 7, 1, note=False)
    values(
        sheet,
        row=row + 8,
        uv=activation(tensor.sum(products), "their sum", "u @ v"),
        u_length=activation(tensor.sqrt(tensor.sum(u * u)), "root of u @ u", "u.norm()"),
        v_length=activation(tensor.sqrt(tensor.sum(v * v)), "root of v @ v", "v.norm()"),
        cosine=check(
            lambda t: t.uv / (t.u_length * t.v_length),
            "uv / (u_length * v_length): 1 is the same way, -1 opposite",
            "u @ v / (...)",
        ),
    )
    drawn = book.sheet("drawn", "What the chart draws", "The arrows of 'dot product', from 0, 0.", details=True)
    first, lines = drawn.next_row + 2, []
    for name, arrow, column in (("u", u, 1), ("v", v, 4)):
        line, words = np.array([[0, 0], arrow], dtype=object), f"from 0, 0 to {name}"
        line = put(drawn, f"{name}_arrow", line, first, column, "", words, None, 0, PRECISE, "check")
        lines.append(Series(name, line[:, 0], line[:, 1], points=True, width=3))
    chart = scatter("u and v", "to the right", "up", lines, width=15, height=13, x_range=(-5, 5), y_range=(-5, 5))
    sheet.chart(row, 8, chart)


def matrix_product_sheet(book: Book, given: Values) -> None:
    sheet = book.sheet(
        "matrix product",
        "The matrix product: each row with each column",
        "Three shoppers, three shops: nine bills at once. Each number of lists @ prices is the dot product of a row of "
        "lists and a column of prices: look left of it, and above it.",
        "So the rows of the first must be as long as the columns of the second: (3 x 4) @ (4 x 3) is 3 x 3. The inner "
        "size, here 4, disappears.",
    )
    sheet.width(1, 14)
    cell = inputs(sheet, "at_shopper", "at_shop")
    top, left = sheet.next_row, 3 + len(GOODS)
    prices = data(typed(given["prices"]), "goods x shops: type here", "prices", PRECISE)
    prices = labelled(sheet, "prices", prices, top, left, GOODS, SHOPS)
    labels(sheet, top + 1, 1, FRAMED, TEXT)
    row = top + 3 + len(GOODS) + 1
    lists = data(typed(given["lists"]), "shoppers x goods, how much of each: type here", "lists", PRECISE)
    lists = labelled(sheet, "lists", lists, row, 1, SHOPPERS, GOODS)
    bills = activation(tensor.matmul(lists, prices), "lists @ prices; the darker, the dearer", "lists @ prices", SHORT)
    bills = labelled(sheet, "bills", bills, row, left, SHOPPERS, SHOPS)
    sheet.heat_map(bills, SEQUENTIAL)
    framed_row, framed_column = place_of(bills, (cell.at_shopper, cell.at_shop))
    sheet.frame(lists, row=framed_row)
    sheet.frame(prices, column=framed_column)
    sheet.frame(bills, framed_row, framed_column)

    row += 3 + len(SHOPPERS) + 1
    sheet.write(row, 1, "The framed number, step by step", HEADING)
    table = sheet.table(row + 1, 2, len(GOODS))
    labels(sheet, table.first, 1, GOODS)
    i, j = "lists[at_shopper]", "prices[:, at_shop]"
    t = flow.columns(
        table,
        chosen_row=activation(row_of(lists, cell.at_shopper + 1), "lists[i]", i, SHORT),
        chosen_column=activation(row_of(prices.T, cell.at_shop + 1), "prices[:, j]", j, SHORT),
        pairs=activation(lambda t: t.chosen_row * t.chosen_column, "row * column", f"{i} * {j}", SHORT),
    )
    sheet.width(2, 14, left + len(SHOPS))
    sheet.width(left - 1, 4)
    framed = Call("INDEX", span(bills), cell.at_shopper + 1, cell.at_shop + 1)
    values(
        sheet,
        pairs_sum=activation(tensor.sum(t.pairs), "the sum of the pairs", f"{i} @ {j}", SHORT),
        framed=activation(framed, "what stands in the frame: the same", "(lists @ prices)[at_shopper, at_shop]", SHORT),
    )


def broadcasting_sheet(book: Book, given: Values) -> None:
    sheet = maps_sheet(
        book,
        "broadcasting",
        "Broadcasting: calculating with different shapes",
        "Two tensors of one shape are added number by number. If a dimension of one has size 1 and that of the other "
        "does not, then the one is repeated along it until both have the same shape.",
        "Nothing is really copied: each cell refers to the one number again and again. Click on a few to see it. The "
        "darker a cell, the larger its number; blue is below 0.",
    )
    sheet.width(LEFT, 5, 60)
    beside = sheet.next_row + 9

    def show(name: str, array: Any, column: int, torch: str, scale: Scale | None, digits: str = SHORT) -> Array:
        return put(sheet, name, array, row, LEFT + column, torch, scale=scale, room=5, digits=digits)

    row = band(sheet, "A column and a row", "3 x 1 and 1 x 4: both are repeated, and the sum is 3 x 4.", 7)
    tens = put_data(sheet, "tens", given, row, LEFT, "repeated to the right", HEAT, 5)
    units = put_data(sheet, "units", given, row, LEFT + 5, "repeated downwards", HEAT, 5)
    shape = (len(tens), units.shape[1])
    show("tens_repeated", np.broadcast_to(tens, shape), 10, "tens.expand(3, 4)", HEAT, PRECISE)
    show("units_repeated", np.broadcast_to(units, shape), 15, "units.expand(3, 4)", HEAT, PRECISE)
    show("tens_plus_units", tens + units, 20, "tens + units", HEAT, PRECISE)

    text = "Four pupils, three tests. The mean of each test has shape 3. A shape that is too short gets sizes of 1 "
    row = band(sheet, "A matrix and a vector", text + "in front: 3 counts as 1 x 3.", 9)
    grades = put_data(sheet, "grades", given, row, LEFT, "pupils x tests", SEQUENTIAL, 5)
    means = show("test_mean", list(map(mean, grades.T)), 5, "grades.mean(dim=0)", None)
    show("grades_less_test", grades - means, 10, "grades - test_mean", DIVERGING)
    text = "The mean of each pupil must keep its dimension: 4 x 1 fits 4 x 3. Without keepdim it has shape 4, counts "
    row = band(sheet, "keepdim", text + "as 1 x 4, and does not fit.", 9)
    means = show("pupil_mean", [[mean(line)] for line in grades], 5, "grades.mean(dim=1, keepdim=True)", None)
    show("grades_less_pupil", grades - means, 10, "grades - pupil_mean", DIVERGING)

    text = "Where there are as many rows as columns, forgetting keepdim is no error but wrong: row i should lose the "
    row = band(sheet, "The trap", text + "mean of row i, and column i loses it.", 9)
    square = put_data(sheet, "square", given, row, LEFT, "rows x columns", SEQUENTIAL, 5)
    means = show("row_mean", list(map(mean, square)), 5, "square.mean(dim=1)", None)
    show("intended", square - means[:, None], 10, "square - row_mean[:, None]", DIVERGING)
    show("mistaken", square - means, 15, "square - row_mean", DIVERGING)
    fitting(book, sheet, beside, LEFT + 19)


def fitting(book: Book, sheet: Sheet, row: int, left: int) -> None:
    """Two shapes that the reader types, and whether they fit, beside the rest."""
    sheet.write(row, left, "Do two shapes fit?", HEADING)
    note = "Type a size into each yellow cell; where a shape has fewer than four dimensions, type 1 in front of it."
    sheet.write(row + 1, left, note, NOTE)
    cells = left + 3  # beside their names
    sizes = np.empty((2, DIMS), dtype=object)
    for position, shape in enumerate(SIZES):
        sheet.write(row + 2 + position, left, f"shape_{shape}", LABEL)
        for dim, name in enumerate(size_names(shape)):
            size = flow.Column("input", book.typed(name), book.inputs[name].meaning, digits=WHOLE)
            sizes[position, dim] = place(sheet, name, size, row + 2 + position, cells + dim).item()
    a, b = sizes

    def whole(name: str, array: Any, offset: int, words: str, torch: str) -> Array:
        sheet.write(row + offset, left, name, LABEL)
        sheet.write(row + offset, cells + DIMS, words, NOTE)
        return place(sheet, name, check(array, words, torch, WHOLE), row + offset, cells)

    fits = tensor.where(tensor.either(equal(a, b), equal(minimum(a, b), 1)), 1, 0)
    words = "1 where both sizes are the same or one of them is 1, else 0"
    fits = whole("fits", fits, 4, words, "torch.broadcast_shapes((a,), (b,)) raises no error")
    words = "the larger of both sizes, and 0 where they do not fit"
    size = whole("result_size", fits * tensor.maximum(a, b), 5, words, "torch.broadcast_shapes(a, b)")
    torch = "torch.broadcast_shapes(a, b) raises no error"
    whole("all_fit", tensor.smallest(fits), 6, "1 if all dimensions fit", torch)
    words = "so many numbers has the result; 0 if there is none"
    whole("result_numbers", math.prod(size), 7, words, "(a + b).numel()")


def batch_sheet(book: Book, given: Values) -> None:
    sheet = book.sheet(
        "batch",
        "A batch: all points at once through x @ a",
        "A line, y = slope * x + intercept, for many points: each row of x holds a point's number and a 1, a holds the "
        "slope and the intercept. Then x @ a is slope * number + intercept * 1 in every row: one product for all.",
        "mse, the mean of the squared errors, says how wrong the line is. A matrix with three columns in place of a "
        "makes three lines at once, as a layer of a network does.",
    )
    sheet.width(1, 15)
    sheet.width(2, 9, 13)
    top, count = sheet.next_row, len(given["data_x"])
    parts, names = ("slope", "intercept"), ("line 0", "line 1", "line 2")
    a = flow.parameter(typed(given["a"]), "a line", "a", PRECISE, absolute=True)
    a = labelled(sheet, "a", a, top, 1, (), parts)
    lines = flow.parameter(typed(given["lines"]), "three lines, one a column", "lines", PRECISE, absolute=True)
    lines = labelled(sheet, "lines", lines, top, 6, parts, names)

    table = sheet.table(top + 15, 1, count)
    sheet.repeat_rows(table.head, table.first - 1)
    t = flow.columns(
        table,
        width=9,
        data_x=data(typed(given["data_x"]), "what is known", "x", width=15),
        data_y=data(typed(given["data_y"]), "what to predict", "y"),
        x=activation(
            lambda t: np.stack([t.data_x, np.ones_like(t.data_x)], axis=1),
            "data_x and a 1",
            "torch.stack([x, torch.ones(n)], 1)",
            parts=parts,
        ),
        y_hat=activation(lambda t: tensor.matmul(t.x, a[:, None])[:, 0], "x @ a", "x @ a"),
        error=activation(lambda t: t.y_hat - t.data_y, "y_hat - data_y", "y_hat - y"),
        squared_error=loss(lambda t: t.error**2, "error^2", "(y_hat - y) ** 2"),
        y_hats=activation(lambda t: tensor.matmul(t.x, lines), "x @ lines", "x @ lines", parts=names),
        errors=activation(
            lambda t: t.y_hats - t.data_y[:, None],
            "y_hats - data_y, which is n x 1 here",
            "y_hats - y[:, None]",
            parts=names,
        ),
    )
    values(sheet, row=top + 5, mse=loss(mean(t.squared_error), "mean of squared_error", "F.mse_loss(x @ a, y)"))
    grad = [2 * tensor.sum(column * t.error) / count for column in t.x.T]
    grad = flow.gradient(grad, "2 * x.T @ error / n: how mse changes with slope and intercept", "a.grad")
    in_row(sheet, "grad", grad, top + 6, 1)
    mses = [mean(column**2) for column in t.errors.T]
    in_row(sheet, "mses", loss(mses, "one a line", "((x @ lines - y[:, None]) ** 2).mean(dim=0)"), top + 5, 6)

    sheet.write(top + 8, 1, "One point at a time", HEADING)
    point = minimum(inputs(sheet, "point", row=top + 9).point, count - 1) + 1  # with other data there may be fewer
    x = activation(row_of(t.x, point), "the point's row of x", "x[point]")
    x = in_row(sheet, "point_x", x, top + 10, 1)
    products = activation(x * a, "the row times a, in pairs", "x[point] * a")
    products = in_row(sheet, "point_products", products, top + 11, 1)
    words = "what the batch has for this point: the same"
    values(
        sheet,
        row=top + 12,
        point_y_hat=activation(tensor.sum(products), "their sum", "x[point] @ a"),
        batch_y_hat=activation(index(t.y_hat, point), words, "(x @ a)[point]"),
    )
    cloud = Series("points", t.data_x, t.data_y, points=True, line=False)
    line = Series("x @ a", t.data_x, t.y_hat, color=3, width=2.5)
    three = [Series(name, t.data_x, t.y_hats[:, k], color=k + 1) for k, name in enumerate(names)]
    size: dict[str, Any] = {"width": 18, "height": 9.6}
    flow.charts(
        sheet,
        scatter("One line: x @ a", "x", "y", [cloud, line], **size),
        scatter("Three lines: x @ lines", "x", "y", [cloud, *three], **size),
        across=1,
        row=top,
        left=sheet.column_from(sheet.left_of(table.next_column) + 10),
    )


def band(sheet: Sheet, heading: str, text: str, height: int) -> int:
    """A few words on the left, and `height` rows for the blocks beside them. Returns the first of these rows."""
    row = sheet.next_row
    explain(sheet, row, heading, text)
    sheet.next_row = row + height
    return row


def put(
    sheet: Sheet,
    name: str,
    array: Any,
    row: int,
    column: int,
    torch: str,
    words: str = "",
    scale: Scale | None = None,
    room: int = WIDE,
    digits: str = SHORT,
    role: str = "activation",
) -> Array:
    """A block below a heading that keeps to `room` columns, as a heat map if there is a `scale`. Its words are torch's
    if no others are given."""
    says: dict[str, Any] = {"words": words or torch, "torch": torch, "number_format": digits}
    made = sheet.headed(name, array, role, row, column, room=room, across=True, **says)
    if scale:
        sheet.heat_map(made, scale)
    return made


def put_data(
    sheet: Sheet,
    name: str,
    given: Values,
    row: int,
    column: int,
    words: str,
    scale: Scale | None = None,
    room: int = WIDE,
) -> Array:
    """A block of the data, for the reader to change."""
    return put(sheet, name, typed(given[name]), row, column, name, words, scale, room, PRECISE, "data")


def place(sheet: Sheet, name: str, block: flow.Column, row: int, column: int, across: bool = True) -> Array:
    says: dict[str, Any] = {"words": block.words, "torch": block.torch, "number_format": block.digits}
    return sheet.place(name, block.formula, block.role, row, column, across=across, absolute=block.absolute, **says)


def in_row(sheet: Sheet, name: str, block: flow.Column, row: int, column: int, note: bool = True) -> Array:
    """A block of one dimension, in a row between its name and its words."""
    sheet.write(row, column, name, LABEL)
    made = place(sheet, name, block, row, column + 1)
    if note:
        sheet.write(row, column + 1 + made.size, block.words, NOTE)
    return made


def labelled(
    sheet: Sheet, name: str, block: flow.Column, row: int, column: int, down: Sequence[str], along: Sequence[str]
) -> Array:
    """A block below its heading, with words beside its rows and above its columns."""
    sheet.write(row, column, name, HEADING)
    sheet.write(row + 1, column, f"{shape_text(np.shape(block.formula))} · {block.words}", NOTE)
    labels(sheet, row + 2, column + 1, along, RIGHT, across=True)
    labels(sheet, row + 3, column, down)
    return place(sheet, name, block, row + 3, column + 1)


def place_of(references: Array, indices: Sequence[Any]) -> tuple[Any, Any]:
    """The row and the column of the sheet of the element with these indices, which may be formulas."""
    first = references.flat[0]
    row, column = first.row, first.column
    for dim, at in enumerate(indices):
        following = references[(0,) * dim + (1,) + (0,) * (references.ndim - dim - 1)]
        row = row + at * (following.row - first.row)
        column = column + at * (following.column - first.column)
    return row, column


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    import torch

    image, channel, row, column = (v[name] for name in AT)
    pictures = torch.stack([v.picture, 1 - v.picture])
    blocks = {"pictures": pictures, "one_picture": pictures[image], "one_channel": pictures[image, channel]}
    blocks |= {"one_row": pictures[image, channel, row], "one_number": pictures[image, channel, row, column]}
    blocks |= {"flat": v.cells.flatten(), "viewed": v.cells.view(4, 3), "transposed": v.cells.T}
    blocks |= {"cube": v.cells.view(2, 2, 3), "permuted": v.cells.view(2, 2, 3).permute(2, 0, 1)}
    for name, reduce in (("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("argmax", torch.argmax)):
        blocks |= {f"{name}_dim_0": reduce(v.rain, dim=0), f"{name}_dim_1": reduce(v.rain, dim=1)}
        blocks[f"{name}_all"] = reduce(v.rain)
    blocks |= {"grey": v.picture.mean(dim=0), "lights": v.picture.mean(dim=(1, 2))}

    one, other, origin = v.u, v.v, torch.zeros(2)
    uv, u_length, v_length = one @ other, (one @ one).sqrt(), (other @ other).sqrt()
    blocks |= {"products": v.amounts * v.unit_prices, "bill": v.amounts @ v.unit_prices, "uv_products": one * other}
    blocks |= {"uv": uv, "u_length": u_length, "v_length": v_length, "cosine": uv / (u_length * v_length)}
    blocks |= {"u_arrow": torch.stack([origin, one]), "v_arrow": torch.stack([origin, other])}
    i, j, bills = v.lists[v.at_shopper], v.prices[:, v.at_shop], v.lists @ v.prices
    blocks |= {"bills": bills, "chosen_row": i, "chosen_column": j, "pairs": i * j, "pairs_sum": i @ j}
    blocks["framed"] = bills[v.at_shopper, v.at_shop]
    return blocks | reference_broadcasting(v) | reference_batch(v)


def reference_broadcasting(v: Named) -> dict[str, Any]:
    import torch

    def together(*shapes: Sequence[int]) -> tuple[int, ...] | None:
        """The shape that torch makes of these, or None if they do not fit."""
        try:
            return tuple(torch.broadcast_shapes(*map(tuple, shapes)))
        except RuntimeError:
            return None

    shapes = [[v[name] for name in size_names(shape)] for shape in SIZES]
    dims, whole = [together((a,), (b,)) for a, b in zip(*shapes, strict=True)], together(*shapes)
    blocks: dict[str, Any] = {"all_fit": whole is not None, "fits": [dim is not None for dim in dims]}
    blocks["result_size"] = [dim[0] if dim else 0 for dim in dims]
    blocks["result_numbers"] = torch.empty(1).expand(whole).numel() if whole else 0
    test_mean, pupil_mean, row_mean = v.grades.mean(dim=0), v.grades.mean(dim=1, keepdim=True), v.square.mean(dim=1)
    blocks |= {"tens_repeated": v.tens.expand(3, 4), "units_repeated": v.units.expand(3, 4)}
    blocks |= {"tens_plus_units": v.tens + v.units, "test_mean": test_mean, "grades_less_test": v.grades - test_mean}
    blocks |= {"pupil_mean": pupil_mean, "grades_less_pupil": v.grades - pupil_mean, "row_mean": row_mean}
    return blocks | {"intended": v.square - row_mean[:, None], "mistaken": v.square - row_mean}


def reference_batch(v: Named) -> dict[str, Any]:
    import torch
    from torch.nn.functional import mse_loss

    y, point = v.data_y, min(v.point, len(v.data_y) - 1)
    x, a = torch.stack([v.data_x, torch.ones(len(y))], dim=1), v.a.clone().requires_grad_()
    y_hat, y_hats = x @ a, x @ v.lines
    errors = y_hats - y[:, None]
    mse = mse_loss(y_hat, y)
    mse.backward()
    blocks = {"x": x, "y_hat": y_hat, "error": y_hat - y, "squared_error": mse_loss(y_hat, y, reduction="none")}
    blocks |= {"y_hats": y_hats, "errors": errors, "mse": mse, "grad": a.grad, "mses": (errors**2).mean(dim=0)}
    blocks |= {"point_x": x[point], "point_products": x[point] * a}
    return blocks | {"point_y_hat": x[point] @ a, "batch_y_hat": y_hat[point]}


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A sum of numbers that nearly cancel is as exact as they are: its size is the sum without their signs."""
    size = Named(**{name: v[name].abs().numpy() for name in DIMENSIONS})
    rain, x, bills = size.rain, np.abs(blocks["x"]), size.lists @ size.prices
    y_hat, y_hats = x @ size.a, x @ size.lines
    error, errors = y_hat + size.data_y, y_hats + size.data_y[:, None]
    squared = 2 * np.abs(blocks["error"]) * error
    found = {"bill": size.amounts @ size.unit_prices, "uv": size.u @ size.v, "bills": bills}
    for name, reduce in (("sum", np.sum), ("mean", np.mean)):
        found |= {f"{name}_dim_0": reduce(rain, 0), f"{name}_dim_1": reduce(rain, 1), f"{name}_all": reduce(rain)}
    found |= dict.fromkeys(("pairs_sum", "framed"), bills.max())
    found |= dict.fromkeys(("grades_less_test", "grades_less_pupil"), size.grades.max())
    found |= dict.fromkeys(("intended", "mistaken"), size.square.max())
    found |= dict.fromkeys(("point_y_hat", "batch_y_hat"), y_hat.max())
    found |= {"y_hat": y_hat, "error": error, "squared_error": squared, "mse": squared.mean()}
    found |= {"grad": 2 * x.T @ error / len(error), "y_hats": y_hats, "errors": errors}
    return found | {"mses": (2 * np.abs(blocks["errors"]) * errors).mean(0)}


def size_names(shape: str) -> list[str]:
    return [f"{shape}_size_{dim}" for dim in range(DIMS)]


def load(source: Source) -> dict[str, Any]:
    return STARTS | (read_csv(source.csv, list(POINTS)) if source.csv else POINTS)


ARROWS = (
    "Two numbers are an arrow: how far to the right, and how far up.",
    "The dot product of two arrows is above 0 if they go much the same way,",
    "0 if they are at a right angle, below 0 if they go opposite ways.",
)
FRAMED = (
    "The row i and the column j that you choose are framed.",
    "bills[i, j] is their dot product:",
    "lists[i, 0] * prices[0, j] + lists[i, 1] * prices[1, j]",
    "+ lists[i, 2] * prices[2, j] + lists[i, 3] * prices[3, j]",
)
ABOUT = [
    "A network's data, its parameters and all that it computes are tensors: numbers in a fixed order. A single number "
    "is one, and so are a row of numbers (a vector), a table (a matrix), a colour picture and a stack of pictures. "
    "Here is what one does with them: put them in another order, add them up, multiply matrices, calculate with "
    "tensors of different shapes.",
    "The words are those of PyTorch, a program library that many networks are written with. It counts from 0: the "
    "first row is row 0, the first dimension is dim 0.",
]
TRY = [
    "On 'ranks', change at_image, at_channel, at_row and at_column: the frame moves, and each index that you give "
    "takes one dimension away.",
    "On 'order', change follow, and watch where the same cell goes in view, transpose and permute.",
    "On 'dot product', type 3 and 1 into u, -1 and 3 into v: at a right angle the dot product is 0.",
    "On 'matrix product', choose another shopper and another shop. Which products make up the framed number?",
    "On 'matrix product', let Ann buy 1 of the bread and nothing else: her bills are then the prices of bread.",
    "On 'broadcasting', type sizes into the two shapes. Find two shapes that do not fit.",
    "On 'batch', type slope 3 and intercept 2.5 into a, and see mse fall. Can you make it smaller still?",
]
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
DIMENSIONS = {name: np.ndim(numbers) for name, numbers in (STARTS | POINTS).items()}
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
        for dim, (name, size) in enumerate(zip(size_names(shape), starts, strict=True))
    ),
    Input("point", 3, "which point, counted from 0", minimum=0, whole=True),
)
TENSORS = Lesson(
    "tensors",
    "shapes, sums, the matrix product, broadcasting, and a batch of points through x @ a",
    INPUTS,
    Data(DIMENSIONS, load, ("csv",)),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Tensors: numbers in rows, tables and stacks of tables",
    about=ABOUT,
    things_to_try=TRY,
)
