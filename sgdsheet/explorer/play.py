"""The steps of a workbook's run: what the slider moves, and more of them with the session's own engine."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sgdsheet import lessons
from sgdsheet.book import PROGRAM
from sgdsheet.engines import Formula
from sgdsheet.errors import Error
from sgdsheet.explorer.beside import reference, typed_saved
from sgdsheet.explorer.places import Table, kept, places
from sgdsheet.expr import Ref
from sgdsheet.reference import COMPILED
from sgdsheet.training import record

if TYPE_CHECKING:
    from sgdsheet.explorer.session import Session


def play(session: Session) -> dict[str, Any] | None:
    """The run of a workbook as the message `play` has it, or None if it has none.

    `sheet` and `rows` are the table whose row k is step k; `tables` has every table of steps, for the others' sheets.
    Where each step has cells of its own, `sheets` and `at` have the sheet and the row where each begins.
    """
    return _play(session)


def _found(session: Session) -> dict[str, Any] | None:
    tables = [each for each in places(session).tables if _is_run(session, each)]
    if not tables:
        return None
    first = _main([each for each in tables if _losses(each)] or tables)
    found = _told(first) | {"tables": [_told(each) for each in tables]}
    return found | _steps(session, first.last - first.first + 1)


_play = kept(_found)


def _main(tables: list[Table]) -> Table:
    """The table that the slider begins with: that of `step`, or the first of those of one length with most columns."""
    columns = Counter[tuple[str, int]]()
    for each in tables:
        columns[each.what, each.last - each.first] += len(each.blocks)
    return max(tables, key=lambda each: (each.counter.name == "step", columns[each.what, each.last - each.first]))


def _told(table: Table) -> dict[str, Any]:
    count = table.last - table.first + 1
    rows = [[table.first, table.last]]
    return {"what": table.what, "count": count, "sheet": table.sheet, "rows": rows, "name": table.counter.name}


def _losses(table: Table) -> bool:
    return any(block.role == "loss" for block in table.blocks.values())


def _is_run(session: Session, table: Table) -> bool:
    """Whether its rows are steps of a run: there is a loss, or a row is made of the one above."""
    if _losses(table):
        return True
    address = re.compile(rf"(?<![\w!$.])\$?[A-Z]{{1,3}}\$?{table.first}(?![\w.(])")
    others = [each for each in table.blocks.values() if each is not table.counter]
    second = [block.cell((1, *[0] * (len(block.shape) - 1))) for block in others]
    return any(address.search(str(session.content(cell))) for cell in second if cell.sheet == table.sheet)


def _steps(session: Session, count: int) -> dict[str, Any]:
    """The sheet and the row where each step begins, if all of them have cells of their own."""
    where, begin = places(session), dict[int, tuple[str, int]]()
    for block in where.blocks.values():
        number, panel = where.step(block), block.panels[0]
        if number is not None:
            sheet, row = begin.get(number, (panel.sheet, panel.top))
            begin[number] = sheet, min(row, panel.top) if sheet == panel.sheet else row
    steps = [begin.get(number) for number in range(1, count + 1)]
    if None in steps:
        return {}
    return {"sheets": [each[0] for each in steps if each], "at": [each[1] for each in steps if each]}


def trains(session: Session) -> bool:
    """Whether a step of the workbook can be repeated, see `train`."""
    return _trains(session)


def _can(session: Session) -> bool:
    if not session.blocks:
        return False
    lesson = session.lesson or lessons.catalogue().get(session.made_for)
    if lesson is not None:
        return bool(lesson.again)
    if session.made_for != COMPILED or PROGRAM not in session.file.sheets:
        return False
    from sgdsheet.torch_frontend.program.program import Program
    from sgdsheet.torch_frontend.program.reference import loop
    from sgdsheet.torch_frontend.program.text import joined

    try:
        rows = [joined(cells) for cells in session.file.rows(PROGRAM)]
        return loop(Program.from_rows(rows, PROGRAM)[0]) is not None
    except Error:
        return False


_trains = kept(_can)


def train(session: Session, steps: int) -> list[float]:
    """Makes so many steps more, as one edit of the session, and returns the loss of each.

    They are those of `sgdsheet train` for the workbook as it stands now. Raises `Error` where that does.
    """
    from sgdsheet.training.train import steps_on, trainable

    saved = typed_saved(session)
    repeated = trainable(saved, reference(session))
    runs, made = record.read(session.path), repeated.loop.made if repeated.loop else None
    first = None
    if made is not None and all(run.examples is None for run in runs):
        held = session.values(session.blocks[made].panels[0])
        first = int(held[0, 0])  # also of steps that this session has made
    before = [(cell, _held(session, cell)) for cell in _typed(session)]
    try:
        run, _, cells = steps_on(session.model, saved, repeated, runs, steps, first=first)
    finally:
        session.model.calculate(before, ())  # an edit begins with what stands there
    session.enter(cells.items())
    return run.losses


def _typed(session: Session) -> Iterator[Ref]:
    """The cells that the reader may type into."""
    for block in session.blocks.values():
        for each in block.typed:
            for row in range(each.top, each.bottom + 1):
                yield from (Ref(each.sheet, row, column) for column in range(each.left, each.right + 1))


def _held(session: Session, cell: Ref) -> Any:
    held = session.content(cell)
    return Formula(held) if isinstance(held, str) and held.startswith("=") else held
