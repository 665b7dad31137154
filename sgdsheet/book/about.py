"""What is added when all else is there: the first sheet, the register, links from sheet to sheet, the tabs' colours.

The sheet `about` is one screen: what the workbook is, what to try with a link to the very cell, how the numbers flow.
"""

from __future__ import annotations

import re
import textwrap

from sgdsheet.book import style
from sgdsheet.book.geometry import LETTER
from sgdsheet.book.navigation import link_blocks, link_sheets
from sgdsheet.book.register import write_register
from sgdsheet.book.sheet import Book, Sheet
from sgdsheet.expr import Expr, Range

TRY, SHEETS = 1, 11  # the columns in which what to try, and the list of sheets, begin
_PROSE = SHEETS - 2  # the last column of the prose
_SAYS = _PROSE - 2  # the first column of what is said of a task
_TRY_WIDTH, _WIDTH, _COLUMNS = 20, 12.5, _PROSE - 1
_LETTERS = int((_TRY_WIDTH + _WIDTH * _COLUMNS) * 7 / LETTER)  # in a line of prose
_ROWS = 42  # of one screen
KINDS = {
    "play": "something here is for you to change",
    "read": "to read: it follows what you change elsewhere",
    "details": "details that a first reader may pass over",
}
# What follows what in a step of training, as far as a workbook has it.
_FLOW = ("data", "parameter", "activation", "loss", "gradient", "optimiser state")


def finish(book: Book) -> None:
    """Completes a book: sorts the details to its end, adds the register, fills the first sheet, links all of them."""
    write_register(book)
    book.arrange(lambda sheet: sheet.details)
    changed = {panel.sheet for block in book.blocks.values() for panel in block.typed}
    changed |= {task.where.sheet for task in book.tasks}
    shown = [sheet for sheet in book.sheets if not sheet.hidden]
    kinds = {each.name: _kind(each, changed) for each in shown[1:]}
    for sheet in shown[1:]:
        sheet.worksheet.sheet_properties.tabColor = style.TABS[kinds[sheet.name]]
    _front(book, shown, kinds)
    link_sheets(shown)
    link_blocks(book)


def _kind(sheet: Sheet, changed: set[str]) -> str:
    return "details" if sheet.details else "play" if sheet.name in changed else "read"


def _front(book: Book, shown: list[Sheet], kinds: dict[str, str]) -> None:
    sheet = book.about
    sheet.width(TRY, _TRY_WIDTH)
    sheet.width(TRY + 1, _WIDTH, _PROSE)
    sheet.width(SHEETS - 1, 3)
    sheet.width(SHEETS, 22)
    sheet.width(SHEETS + 1, 64)
    sheet.write(1, 1, book.title, style.TITLE)
    sheet.row_heights[1] = 27
    row = 3
    for text in book.summary:
        row = _prose(sheet, row, TRY, text)
    row = _flow(book, row + 1)
    if book.progress is None:
        _try(book, row)
    else:
        _tasks(book, row, book.progress)
    _list(book, shown, kinds, 3)


def _try(book: Book, row: int) -> None:
    """What to try, each with a link to where."""
    sheet = book.about
    sheet.write(row, 1, "What to try", style.HEADING)
    row += 1
    for text in book.things_to_try:
        target = _target(book, text)
        if target:
            sheet.link(row, TRY, f"→ {target[0]}", target[1])
        row = _prose(sheet, row, TRY + 1 if target else TRY, text)


def _tasks(book: Book, row: int, progress: Expr) -> None:
    """What is for the reader to do, each with a link to where, and how far it is done."""
    sheet = book.about
    sheet.write(row, TRY, "Your turn", style.HEADING)
    sheet.write(row, TRY + 1, progress, style.HEADING)
    row = _prose(sheet, row + 1, TRY, "Write the formulas that are missing. A cell beside each says how it is.")
    for task in book.tasks:
        sheet.link(row, TRY, f"→ {task.name}", task.where)
        after = max(row + 2, _prose(sheet, row, TRY + 1, task.asks, _SAYS - 1))
        sheet.write(row, _SAYS, "", style.PARAGRAPH)
        sheet.says(row, _SAYS, task.says)
        sheet.merge(row, _SAYS, _PROSE, after - 1)
        row = after


def _prose(sheet: Sheet, row: int, left: int, text: str, right: int = _PROSE) -> int:
    """Writes a paragraph over as many rows as it needs, and returns the row after it."""
    letters = int(_LETTERS - ((left > TRY) * _TRY_WIDTH + (_PROSE - right) * _WIDTH) * 7 / LETTER)
    last = row + max(1, len(textwrap.wrap(text, letters))) - 1
    sheet.write(row, left, text, style.PARAGRAPH)
    sheet.merge(row, left, right, last)
    return last + 1


def _flow(book: Book, row: int) -> int:
    """A small picture of how the numbers of a step follow each other, in the colours of their cells."""
    used = {block.role for block in book.blocks.values()}
    roles = [role for role in _FLOW if role in used]
    if not {"parameter", "gradient"} <= used:
        return row
    sheet = book.about
    for column, role in enumerate(roles, start=TRY):
        sheet.write(row, column, f"{role} →", style.flow(role))
    sheet.write(row, TRY + len(roles), "parameter", style.flow("parameter"))
    sheet.write(row, TRY + len(roles) + 1, "and so on", style.NOTE)
    return row + 2


def _list(book: Book, shown: list[Sheet], kinds: dict[str, str], row: int) -> None:
    """The sheets, with the colours of their tabs, and the colours of the cells."""
    sheet, used = book.about, {block.role for block in book.blocks.values()}
    sheet.write(row, SHEETS, "Sheets", style.HEADING)
    room = _ROWS - row - (len(set(kinds.values())) + 2) - (len(used) + 2) - 1
    listed = shown[1 : 1 + room]
    for each in listed:
        row += 1
        sheet.link(row, SHEETS, each.name, Range(each.name, 1, 1, 1, 1), style.tab(kinds[each.name]))
        sheet.write(row, SHEETS + 1, each.title, style.INDENTED)
    if more := len(shown) - 1 - len(listed):
        row += 1
        sheet.write(row, SHEETS + 1, f"and {more} more: see the tabs below", style.NOTE)
    row += 2
    sheet.write(row, SHEETS, "Tabs", style.HEADING)
    for kind in (each for each in KINDS if each in kinds.values()):
        row += 1
        sheet.write(row, SHEETS, kind, style.Look(fill=style.TABS[kind]))
        sheet.write(row, SHEETS + 1, KINDS[kind], style.INDENTED)
    row += 2
    sheet.write(row, SHEETS, "Cells", style.HEADING)
    for role in (role for role in style.ROLES if role in used):
        row += 1
        sheet.write(row, SHEETS, role, style.body(role))
        sheet.write(row, SHEETS + 1, style.ROLES[role][2], style.INDENTED)


def _target(book: Book, text: str) -> tuple[str, Range] | None:
    """Where a line of advice begins: the first block that it names, on a sheet that it quotes if it quotes any."""
    quoted = [name for name in re.findall(r"'([^']+)'", text) if any(sheet.name == name for sheet in book.sheets)]
    found = []
    for name, block in book.blocks.items():
        place = (block.typed or block.panels)[0]
        match = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        plain = block.typed or "_" in name  # a word such as loss may be meant as a word
        if match and plain and (not quoted or place.sheet in quoted):
            found.append((match.start(), name, place))
    if found:
        return min(found)[1:]
    return (quoted[0], Range(quoted[0], 1, 1, 1, 1)) if quoted else None
