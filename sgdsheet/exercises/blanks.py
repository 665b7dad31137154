"""Formulas left blank in a workbook, and what judges in the workbook itself what the learner writes there.

The rest of the workbook reads the learner's cells, so its charts come alive when they are right. The answers stand on a
hidden last sheet and read the same cells as the learner's formulas do, so that each is judged by itself, whatever is
wrong above it. A cell in place of the formula in words says how it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgdsheet import expr
from sgdsheet.book import ANSWERS, PROGRAM, Block, Book, Sheet, Task, typed_cells
from sgdsheet.errors import Error, nearest
from sgdsheet.exercises.exercise import NO_NUMBER, NOT_YET, RIGHT, WRONG, Exercise, Reads
from sgdsheet.exercises.left import HEAD, LEVEL, digest, elements_text
from sgdsheet.expr import Expr, Range, Ref

NEAR = 4  # rows and columns between a block and its formula in words, at most
ROOM = 250  # pixels for what is said of an exercise


class Verbatim(Expr):
    """A formula that is there as text already; it stands alone."""

    __slots__ = ("written",)

    def __init__(self, written: str) -> None:
        self.written = written

    def parts(self, sheet: str) -> Sequence[Expr | str]:
        return [self.written]


def blank(book: Book, exercises: Sequence[Exercise], level: int) -> None:
    """Leaves the formulas of exercises blank in a book that is complete but for its first sheet.

    Raises `Error` for a block that is not there, or holds no formulas.
    """
    names = [each.block for each in exercises]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Error(f"block {twice!r} is to be blank twice")
    held = [_cells(book, each) for each in exercises]
    sheet = book.sheet(ANSWERS, "The answers", "sgdsheet reads this: leave it as it is.", hidden=True)
    top = sheet.next_row
    for column, content in enumerate((LEVEL, level, digest(_program(book))), start=1):
        sheet.write(top, column, content)
    for column, text in enumerate(HEAD, start=1):
        sheet.write(top + 1, column, text)
    first, column = top + len(exercises) + 4, 1
    for number, (exercise, cells) in enumerate(zip(exercises, held, strict=True)):
        column = _judge(sheet, exercise, cells, top + 2 + number, first, column)
    says = f"{ANSWERS}!F{top + 2}:F{top + 1 + len(exercises)}"
    book.progress = Verbatim(f'COUNTIF({says},"{RIGHT}")&" of {len(exercises)} right"')


def _program(book: Book) -> list[list[Any]]:
    """The cells of the sheet `program` below its title, a list a row."""
    sheet = next((each for each in book.sheets if each.name == PROGRAM), None)
    cells = {} if sheet is None else sheet.cells
    return [[each.value for _, each in sorted(cells[row].items())] for row in sorted(cells) if row > 1]


def _cells(book: Book, exercise: Exercise) -> np.ndarray:
    """Which of a block's cells are to be blank: booleans of its shape."""
    block = book.blocks.get(exercise.block)
    if block is None:
        raise Error(f"no block is called {exercise.block!r}{nearest(exercise.block, book.blocks)}")
    cells = np.zeros(block.shape, dtype=bool)
    cells[exercise.at] = True
    cells &= ~typed_cells(block)
    if not cells.any():
        raise Error(f"block {exercise.block!r} holds no formulas to leave blank")
    return cells


def _judge(sheet: Sheet, exercise: Exercise, cells: np.ndarray, row: int, first: int, column: int) -> int:
    """Blanks an exercise; writes its answers and what judges it from a column on. Returns the next free column."""
    book, block = sheet.book, sheet.book.blocks[exercise.block]
    sheets = {each.name: each for each in book.sheets}
    live: list[Ref] = block.references()[cells].tolist()
    answers = block.references()
    for number, (position, cell) in enumerate(zip(np.argwhere(cells), live, strict=True)):
        formula = Verbatim(sheets[cell.sheet].blank(cell.row, cell.column))
        answers[tuple(position)] = sheet.write(first + number, column, formula)
    mistakes = exercise.mistakes(Reads(lambda name: book.blocks[name].references(), answers))
    wrong = zip(*(each[cells].tolist() for each in mistakes.values()), strict=True)
    for number, (cell, answer, mistaken) in enumerate(zip(live, answers[cells].tolist(), wrong, strict=True)):
        sheet.write(first + number, column + 1, _verdict(cell, answer, mistaken))
    ends = [Ref(ANSWERS, end, column + 1).address for end in (first, first + len(live) - 1)]
    span = ":".join(ends)  # a range even of one cell: COUNTIF wants one
    ways = [WRONG, *mistakes, NO_NUMBER]
    each_way = Range(ANSWERS, row, len(HEAD), row, len(HEAD) + len(ways) - 1).address
    most = f"MATCH(MAX({each_way}),{each_way},0)"
    counts = (f'COUNTIF({span},"{RIGHT}")', f"COUNT({span})", most, _says(row, ways))
    elements, start = elements_text(np.flatnonzero(cells).tolist()), Ref(ANSWERS, first, column).address
    for place, content in enumerate((block.name, len(live), *map(Verbatim, counts), elements, start), start=1):
        sheet.write(row, place, content)
    for way in range(len(ways)):
        sheet.write(row, len(HEAD) + way, Verbatim(f"COUNTIF({span},{way})"))
    says, begins = Verbatim(f"{ANSWERS}!F{row}"), live[0]
    sheets[begins.sheet].says(*_beside(sheets[begins.sheet], block, begins), says)
    for phrase in exercise.conceal:
        _conceal(book, phrase)
    block.words = "yours to write"
    where = Range(begins.sheet, begins.row, begins.column, begins.row, begins.column)
    book.tasks.append(Task(block.name, exercise.ask, where, says))
    return column + 3


def _verdict(live: Ref, answer: Ref, wrong: Sequence[Any]) -> Expr:
    """Of one cell: `right`, nothing where it is blank, or the number of the way in which it is wrong."""
    held, true = (expr.formula(each, ANSWERS)[1:] for each in (live, answer))

    def near(value: str) -> str:
        return f"ABS({held}-({value}))<=1E-9*ABS({held})+1E-12"

    found = "0"
    for way, mistake in reversed(list(enumerate(wrong, start=1))):
        value = expr.formula(mistake, ANSWERS)[1:]
        found = f"IF(IFERROR({near(value)},FALSE),{way},{found})"
    number_there = f'IF(ISNUMBER({true}),IF({near(true)},"{RIGHT}",{found}),0)'
    error_there = f'IF(AND(ISERROR({held}),ISERROR({true})),"{RIGHT}",{len(wrong) + 1})'
    return Verbatim(f'IF(ISBLANK({held}),"",IF(ISNUMBER({held}),{number_there},{error_there}))')


def _says(row: int, texts: Sequence[str]) -> str:
    """Of all cells of an exercise: how many are right, and in which way most others are wrong."""
    ways = ",".join(f'"{text}"' for text in texts)
    some = f'IF(C{row}>0,C{row}&" of "&B{row}&" right, else: ","")&CHOOSE(E{row},{ways})'
    so_far = f'IF(D{row}=0,C{row}&" of "&B{row}&" right, go on",{some})'
    return f'IF(C{row}=B{row},"{RIGHT}",IF(C{row}+D{row}=0,"{NOT_YET}",{so_far}))'


def _beside(sheet: Sheet, block: Block, cell: Ref) -> tuple[int, int]:
    """Where to say how an exercise is: in place of the block's formula in words, or else in a free cell beside it."""
    found, panels = [], block.panels
    top, left = min(each.top for each in panels), min(each.left for each in panels)
    bottom, right = max(each.bottom for each in panels), max(each.right for each in panels)
    for row in range(max(1, top - NEAR), bottom + NEAR):
        for column, content in sheet.cells.get(row, {}).items():
            above, beside = left <= column <= right, top <= row <= bottom and left - NEAR <= column <= right + NEAR
            text = content.value if content.kind == "s" and (above or beside) else ""
            if block.words and (text == block.words or text.endswith(f"· {block.words}")):
                found.append((abs(row - cell.row) + abs(column - cell.column), row, column))
    if found:
        return min(found)[1:]
    panel = panels[0]
    around = [(panel.top, panel.right + 1), (panel.top - 1, panel.left), (panel.bottom + 1, panel.left)]
    around += [(panel.top, panel.left - 1)]
    free = [(row, column) for row, column in around if row > 1 and column > 0 and not _taken(sheet, row, column)]
    if not free:
        raise Error(f"block {block.name!r}: there is no free cell beside it to say how it is")
    return max(free, key=lambda place: min(ROOM, _room(sheet, *place)))  # the first that has it


def _conceal(book: Book, phrase: str) -> None:
    """Leaves a phrase out of the texts of all sheets."""
    for sheet in book.sheets:
        for cells in sheet.cells.values():
            for column, content in cells.items():
                if content.kind == "s" and phrase in content.value:
                    cells[column] = content._replace(value=content.value.replace(phrase, "…"))


def _room(sheet: Sheet, row: int, column: int) -> float:
    """How many pixels there are right of a cell's edge up to the next cell that is taken."""
    taken = [each for each in sheet.cells.get(row, {}) if each > column]
    return sheet.left_of(min(taken)) - sheet.left_of(column) if taken else ROOM


def _taken(sheet: Sheet, row: int, column: int) -> bool:
    return column in sheet.cells.get(row, {})
