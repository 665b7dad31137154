"""What a workbook keeps of its training: the loss of every step with a chart, and the numbers that it began with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.book import NO_LESSON, NUMBER, WHOLE, Book, Series, Sheet, scatter, shape_text, style
from sgdsheet.book.blocks import parse_shape
from sgdsheet.book.cells import CellFile
from sgdsheet.book.tables import Table
from sgdsheet.errors import Error
from sgdsheet.tensor import Array

TRAINED, FROM = "trained", "trained from"
EXAMPLES = "the examples"  # stands in place of a block's name
ACROSS = 500  # numbers in a row of the sheet `trained from`
STEEP = 50  # times as high as its lowest, and a loss is shown on powers of ten


@dataclass(frozen=True)
class Run:
    """A training: what was typed in before it, by block, and the loss of each of its steps.

    `batches` has each step's batch, from 1, where the data changed. `examples` are those of a file, None if they are
    the workbook's own.
    """

    start: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    examples: np.ndarray | None = None


def book(runs: Sequence[Run], title: str) -> Book:
    """The sheets that tell of all runs, in a book to be put into the workbook."""
    made = Book(NO_LESSON, title, [], [])
    _curve(made, runs)
    _beginnings(made, runs)
    return made


def _curve(made: Book, runs: Sequence[Run]) -> None:
    losses = [loss for run in runs for loss in run.losses]
    count = len(losses)
    sheet = made.sheet(
        TRAINED,
        f"Trained: {count:,} step{'s' * (count > 1)}, the loss from {losses[0]:.4g} to {losses[-1]:.4g}",
        "sgdsheet train has typed what each step left behind into the cells that it began with. The numbers there are "
        "the trained ones; sgdsheet verify makes the same steps in torch and compares.",
    )
    table = sheet.table(sheet.next_row, 1, count)
    step = _column(table, "step", "check", range(1, count + 1), "of training", WHOLE)
    batches = [number for run in runs for number in run.batches or [0] * len(run.losses)]
    if any(batches):
        _column(table, "batch", "check", batches, "its number", WHOLE)
    loss = _column(table, "loss", "loss", losses, "before the step", NUMBER)
    sheet.freeze(table.first, 1)
    line = [Series("loss", step, loss, points=count < 40)]
    says: dict[str, Any] = {"log": min(losses) > 0 and max(losses) > STEEP * min(losses), "x_range": (1, count)}
    axis = "loss (powers of ten)" if says["log"] else "loss"
    sheet.chart(table.head, 5, scatter("The loss of each step", "step", axis, line, width=30, height=14, **says))


def _column(table: Table, name: str, role: str, numbers: Iterable[float], words: str, digits: str) -> Array:
    """A column of plain numbers: no formula has led to them."""
    cells = table.column(name, role, words=words)
    look = style.body(role, digits)
    for cell, number in zip(cells, numbers, strict=True):
        table.sheet.write(cell.row, cell.column, number, look)
    return cells


def _beginnings(made: Book, runs: Sequence[Run]) -> None:
    sheet = made.sheet(
        FROM,
        "What the training began with",
        "sgdsheet verify reads this: the numbers that were typed in before the first step. Leave it as it is.",
        details=True,
    )
    row = sheet.next_row
    for column, text in enumerate(("step", "block", "shape", "its numbers, row after row"), start=1):
        sheet.write(row, column, text, style.TABLE_HEAD)
    sheet.width(2, 26)
    step, row = 1, row + 1
    for run in runs:
        held = run.start | ({} if run.examples is None else {EXAMPLES: run.examples})
        for name, value in held.items():
            row = _numbers(sheet, row, step, name, value)
        step += len(run.losses)


def _numbers(sheet: Sheet, row: int, step: int, name: str, value: Any) -> int:
    """One block in as many rows as it takes; returns the next one."""
    if isinstance(value, str):
        numbers: list[Any] = [value]
    else:
        numbers = np.asarray(value, dtype=float).ravel().tolist()
    shape = shape_text(np.shape(value))
    for start in range(0, len(numbers), ACROSS):
        sheet.write(row, 1, step, style.FAINT)
        sheet.write(row, 2, name)
        sheet.write(row, 3, shape, style.FAINT)
        for column, number in enumerate(numbers[start : start + ACROSS], start=4):
            sheet.write(row, column, number, replace(style.TEXT, number_format=NUMBER))
        row += 1
    return row


def read(path: Path) -> list[Run]:
    """The runs that a workbook tells of, none if it was not trained. Raises `Error` if their sheets were edited."""
    file = CellFile(path)
    if TRAINED not in file.sheets and FROM not in file.sheets:
        return []
    try:
        curve, begun = _rows(file, TRAINED), _rows(file, FROM)
        return _runs(curve, begun)
    except (KeyError, ValueError, TypeError, IndexError):
        raise Error(
            f"{path}: the sheets {TRAINED!r} and {FROM!r} do not tell of a training any more; they were edited"
        ) from None


def _rows(file: CellFile, sheet: str) -> list[list[Any]]:
    """The rows of a sheet from its table's first on: those that begin with the number of a step."""
    return [row for row in file.rows(sheet) if row and isinstance(row[0], (int, float))]


def _runs(curve: list[list[Any]], begun: list[list[Any]]) -> list[Run]:
    blocks: dict[int, dict[str, tuple[str, list[Any]]]] = {}
    for step, name, shape, *numbers in begun:
        blocks.setdefault(int(step), {}).setdefault(name, (shape, []))[1].extend(numbers)
    starts = sorted(blocks)
    if not curve or starts[0] != 1 or [row[0] for row in curve] != [*range(1, len(curve) + 1)]:
        raise ValueError
    found = []
    for start, end in zip(starts, [*starts[1:], len(curve) + 1], strict=True):
        rows = curve[start - 1 : end - 1]
        held = {name: _value(*each) for name, each in blocks[start].items()}
        examples = held.pop(EXAMPLES, None)
        batches = [int(row[1]) for row in rows] if len(rows[0]) > 2 else []
        found.append(Run(held, [float(row[-1]) for row in rows], batches if any(batches) else [], examples))
    return found


def _value(shape: str, numbers: list[Any]) -> Any:
    sizes = parse_shape(shape)
    if not sizes:
        (value,) = numbers
        return value if isinstance(value, str) else float(value)
    return np.array(numbers, dtype=float).reshape(sizes)
