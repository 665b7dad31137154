"""How a lesson is written: columns that are declared once, pages that flow, and torch's run written down.

    t = steps(sheet, 20,
        step=counter(1 + np.arange(20), "counts the steps"),
        w=parameter(lambda t: previous(t.new_w, book.typed("w")), "the new_w of the row above", "w"),
        loss=loss(lambda t: t.w**2, "w^2", "loss"),
        grad=gradient(lambda t: 2 * t.w, "2 * w", "w.grad"),
        new_w=parameter(lambda t: t.w - lr * t.grad, "w - lr * grad", "optimizer.step()"),
    )  # fmt: skip

All columns are set aside before the first formula is made, so a formula may refer to columns further right: a
recurrence needs no order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.book import NUMBER, WHOLE, Book, Series, Sheet, Table, scatter, typed
from sgdsheet.book.geometry import chart_pixels
from sgdsheet.book.style import LABEL, Look
from sgdsheet.tensor import index

if TYPE_CHECKING:
    import torch

GAP = 10  # pixels between charts


class Named(SimpleNamespace):
    """Things by name: `t.loss`, or `t["loss"]` where the name is put together."""

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


@dataclass(frozen=True)
class Column:
    """A block of a table or of a list of values: what it holds, and what it says of itself.

    `formula` is an array of formulas, numbers or `Typed` cells, a function that makes it of the other columns, by their
    names in the table, or None for a column that `table.fill` is to fill later. `words` is the formula in plain
    notation, `torch` what the block is in PyTorch, `digits` its number format, `width` the least width of its column in
    characters: by default the table's, or what its words need. A block of two dimensions has as many columns as `parts`
    has names, which stand above them. An `absolute` one is referred to as `$A$1`. A `folded` one of a table goes after
    the others, into closed columns that a click opens: what a first reader may pass over.
    """

    role: str
    formula: Any
    words: str
    torch: str = ""
    digits: str = NUMBER
    width: float | None = None
    parts: Sequence[str] = ()
    absolute: bool = False
    title: str | None = None
    folded: bool = False


data = partial(Column, "data")
parameter = partial(Column, "parameter")
activation = partial(Column, "activation")
gradient = partial(Column, "gradient")
state = partial(Column, "optimiser state")
loss = partial(Column, "loss")
check = partial(Column, "check")
counter = partial(Column, "check", digits=WHOLE)


def columns(
    table: Table, prefix: str = "", *, short: bool = False, width: float | None = None, **given: Column | None
) -> Named:
    """Adds columns to a table, each named `prefix` and its own name. Returns their references by their own names.

    One dimension is `(rows,)`, a column with parts `(rows, parts)`. `short` leaves the prefix out of the heads. Columns
    that say no width of their own are at least `width` characters wide. None is no column.
    """
    t = Named()
    ordered = sorted(given.items(), key=lambda item: item[1] is not None and item[1].folded)
    there = {name: each for name, each in ordered if each is not None}
    fold_from = None
    for name, each in there.items():
        says: dict[str, Any] = {"words": each.words, "torch": each.torch, "absolute": each.absolute}
        says |= {"title": each.title or (name if short else None), "width": each.width or width or _width(each)}
        if each.parts:
            says["parts"] = each.parts
        if each.folded and fold_from is None:
            fold_from = table.next_column
        add = table.columns if each.parts else table.column
        setattr(t, name, add(prefix + name, each.role, **says))
    if fold_from is not None:
        table.fold(fold_from)
    for name, each in there.items():
        if each.formula is not None:
            table.fill(prefix + name, formulas(each, t), each.digits)
    return t


def steps(
    sheet: Sheet,
    length: int,
    prefix: str = "",
    *,
    row: int | None = None,
    left: int = 1,
    parts: Sequence[str] = (),
    freeze: int | None = 1,
    short: bool = False,
    width: float | None = None,
    **given: Column | None,
) -> Named:
    """A table of `length` rows at the next free row, or at `row` from column `left`. Returns its columns by name.

    Its head stays in view and is printed on every page, with the columns left of column `freeze` (None: neither).
    `parts` name the elements of columns of two dimensions; `prefix`, `short` and `width` are those of `columns`. Beside
    the columns, `head` and `first` are the rows in which its head and its numbers begin, and `table` is what `columns`
    adds more columns to.
    """
    table = sheet.table(sheet.next_row if row is None else row, left, length, parts)
    if freeze is not None:
        sheet.freeze(table.first, freeze)
        sheet.repeat_rows(table.head, table.first - 1)
    t = columns(table, prefix, short=short, width=width, **given)
    t.table, t.head, t.first = table, table.head, table.first
    return t


def values(
    sheet: Sheet, prefix: str = "", *, row: int | None = None, left: int = 1, gap: int = 1, **given: Column
) -> Named:
    """Single values below each other: name, number, words. Returns their references by name.

    A formula may be a function of the values above it. `gap` rows stay free below.
    """
    t = Named()
    row = sheet.next_row if row is None else row
    for offset, (name, each) in enumerate(given.items()):
        says: dict[str, Any] = {"words": each.words, "torch": each.torch, "absolute": each.absolute}
        says["number_format"] = each.digits
        made = sheet.value(row + offset, left, prefix + name, formulas(each, t), each.role, **says)
        setattr(t, name, made)
    sheet.next_row = max(sheet.next_row, row + len(given) + gap)
    return t


def place(sheet: Sheet, row: int, left: int, name: str, each: Column, **layout: Any) -> np.ndarray:
    """A block whose first cell is at `row`, `left`. Returns its references. `layout` is what `Sheet.block` takes."""
    says = {"words": each.words, "torch": each.torch, "number_format": each.digits, "absolute": each.absolute}
    return sheet.place(name, each.formula, each.role, row, left, **says, **layout)


def headed(sheet: Sheet, row: int, left: int, name: str, each: Column, **layout: Any) -> np.ndarray:
    """The same two rows further down, below its name, or title, and its words. `layout` as for `Sheet.headed`."""
    says = {"words": each.words, "torch": each.torch, "number_format": each.digits, "absolute": each.absolute}
    return sheet.headed(name, each.formula, each.role, row, left, title=each.title, **says, **layout)


def inputs(
    sheet: Sheet,
    *names: str,
    row: int | None = None,
    left: int = 1,
    prefix: str = "",
    torch: Mapping[str, str] | None = None,
    across: bool = False,
) -> Named:
    """Cells for the reader to type into, a row each, or a column each if they go `across`. Returns references by name.

    With a `prefix` each input is named with it, and labelled and returned without it; so are the keys of `torch`, what
    an input is in PyTorch.
    """
    row = sheet.next_row if row is None else row
    full = [prefix + name for name in names]
    meant = {prefix + name: text for name, text in (torch or {}).items()}
    made = sheet.inputs(row, left, full, torch=meant, labels=names if prefix else None, across=across)
    return Named(**dict(zip(names, made, strict=True)))


def charts(sheet: Sheet, *made: Any, across: int = 2, row: int | None = None, left: int = 1) -> None:
    """Charts in a grid, `across` beside each other. Set the widths of the columns that they stand over first.

    `sheet.next_row` is then below them.
    """
    row = sheet.next_row if row is None else row
    for start in range(0, len(made), across):
        line, column = made[start : start + across], left
        for chart in line:
            sheet.chart(row, column, chart)
            column = sheet.column_from(sheet.left_of(column) + chart_pixels(chart.width) + GAP)
        row = sheet.row_from(sheet.top_of(row) + max(chart_pixels(chart.height) for chart in line) + GAP)
    sheet.next_row = max(sheet.next_row, row)


def labels(
    sheet: Sheet, row: int, column: int, texts: Iterable[str], look: Look = LABEL, *, across: bool = False
) -> None:
    """Texts below each other, or beside each other if they run `across`."""
    for offset, text in enumerate(texts):
        down, beside = (0, offset) if across else (offset, 0)
        sheet.write(row + down, column + beside, text, look)


def row_of(block: Any, row: Any) -> np.ndarray:
    """The numbers of a block of shape `(rows, columns)` in the row that a cell says, counted from 1, as formulas."""
    return np.array([index(column, row) for column in block.T], dtype=object)


def points_sheet(book: Book, data_x: Any, data_y: Any, *notes: str, absolute: bool = False) -> tuple[Any, Any]:
    """The sheet `data`: points for the reader to change, `data_x` and `data_y` (each `(points,)`), and their chart."""
    sheet = book.sheet("data", "The points to fit", *notes)
    t = steps(
        sheet,
        len(data_x),
        data_x=data(typed(data_x), "what is known", "x", absolute=absolute),
        data_y=data(typed(data_y), "what to predict", "y", absolute=absolute),
    )
    sheet.width(1, 14, 2)
    cloud = Series("points", t.data_x, t.data_y, points=True, line=False)
    sheet.chart(t.head, 4, scatter("The points to fit", "x", "y", [cloud], width=18, height=11))
    return t.data_x, t.data_y


def descend(
    params: Mapping[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    loss_of: Callable[[Any, Callable[..., None]], torch.Tensor],
    after: Callable[[Any, Callable[..., None]], None] | None = None,
) -> Named:
    """A training by torch, written down: for each batch, in rows, what a table of steps holds.

    `loss_of(batch, note)` gives the loss that the step is to lower; `note(name=tensor, …)` adds rows of its own, and
    so does `after(batch, note)`, which is called when the step is made. Returns by name, each of shape `(steps, …)`:
    `loss`; each of `params`, its `grad_…`, its `new_…` after the step; and what was noted, with its `grad_…` if it
    retains that (`retain_grad()`).
    """
    import torch

    rows: dict[str, list[torch.Tensor]] = {}
    graded = dict(params)

    def note(**given: Any) -> None:
        for name, value in given.items():
            if getattr(value, "retains_grad", False):
                graded[name] = value
            rows.setdefault(name, []).append(torch.as_tensor(value).detach().clone())

    for batch in batches:
        optimizer.zero_grad()
        note(**params)
        loss: Any = loss_of(batch, note)
        loss.backward()
        note(loss=loss, **{f"grad_{name}": each.grad for name, each in graded.items()})
        optimizer.step(lambda loss=loss: loss)  # which Eve wants to know
        note(**{f"new_{name}": param for name, param in params.items()})
        if after is not None:
            after(batch, note)
    return Named(**{name: torch.stack(values) for name, values in rows.items()})


def _width(column: Column) -> float:
    """Returns the width that shows the numbers; the table widens it for words that would take many lines."""
    return 7 if column.digits == WHOLE else 10


def formulas(column: Column, t: Named) -> Any:
    """Returns what a declaration holds, made of the blocks that are there by now where it is a function of them."""
    return column.formula(t) if callable(column.formula) else column.formula
