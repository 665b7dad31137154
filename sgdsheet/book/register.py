"""The sheet `blocks`, the last that a reader needs: every block of numbers. It is also the manifest."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from sgdsheet import expr
from sgdsheet.book import style
from sgdsheet.book.blocks import Block, parse_shape, shape_text
from sgdsheet.book.formulas import Formulas, elements
from sgdsheet.book.sheet import NO_LESSON, Book, Sheet
from sgdsheet.errors import Error
from sgdsheet.expr import Range

REGISTER = "blocks"
ALL = "all of it"
LESSON = "made by sgdsheet for the lesson"
COLUMNS = ("block", "role", "shape", "place", "you may change", "in torch", "in words")
FORMULAS = "formulas as written"  # the last column's head; workbooks of before it was there lack it
MOST = 20_000_000  # cells of all blocks together; Excel itself fills memory with fewer
_WIDTHS = (26, 16, 14, 30, 22, 40, 62, 19)
_WIDEST = 60  # for names; longer ones go on in a second line


def write_register(book: Book) -> None:
    """Adds the sheet to a book whose blocks are all there."""
    note = "Its name is also a defined name: choose it in the name box, left of the formula bar, to go there."
    if book.lesson == NO_LESSON:
        note = note.replace("Its", "A block's", 1)
    else:
        note = "Each is checked against PyTorch in float64: put the file's name after 'sgdsheet verify'. " + note
    sheet = book.sheet(REGISTER, "Blocks: every number in this workbook", note, details=True)
    names = max(map(len, book.blocks), default=0) + 2
    for column, width in enumerate((min(max(names, _WIDTHS[0]), _WIDEST), *_WIDTHS[1:]), start=1):
        sheet.width(column, width)
    row = sheet.next_row
    sheet.write(row, 1, LESSON, style.LABEL)
    sheet.write(row, 3, book.lesson, style.LABEL)
    row += 1
    for column, text in enumerate(COLUMNS, start=1):
        sheet.write(row, column, text, style.TABLE_HEAD)
    last = len(COLUMNS) + 1
    sheet.write(row, last, FORMULAS, style.FAINT)
    sheet.repeat_rows(row, row)
    sheet.freeze(row + 1, 2)
    for block, fingerprint in zip(book.blocks.values(), _fingerprints(book), strict=True):
        row += 1
        _block_row(sheet, row, block)
        sheet.write(row, last, fingerprint, style.FAINT)


def _fingerprints(book: Book) -> Iterator[str]:
    """What `verify` knows each block's formulas by."""
    formulas = Formulas(book.blocks.values())
    sheets = {sheet.name: sheet.cells for sheet in book.sheets}
    for block in book.blocks.values():
        held = ((number, cell, sheets[cell.sheet][cell.row][cell.column]) for number, cell in elements(block))
        yield formulas.fingerprint(
            block, ((number, cell, content.value) for number, cell, content in held if content.kind == "f")
        )


def _block_row(sheet: Sheet, row: int, block: Block) -> None:
    links = style.TABLE_CELL
    typed = ALL if block.typed == block.panels else _place(block.typed)
    place = _place(block.panels)
    texts = (block.name, block.role, shape_text(block.shape), "", typed, block.torch, block.words)
    name = links if len(block.name) + 2 <= _WIDEST else style.TABLE_PROSE
    looks = (name, style.body(block.role), links, links, links, style.TABLE_PROSE, style.TABLE_PROSE)
    for column, (text, look) in enumerate(zip(texts, looks, strict=True), start=1):
        sheet.write(row, column, text, look)
    sheet.link(row, 4, place, block.panels[0], style.WRAPPED_LINK)
    wrapped = ((block.name, _WIDEST), (place, _WIDTHS[3]), (block.torch, _WIDTHS[5]), (block.words, _WIDTHS[6]))
    lines = max(len(textwrap.wrap(text, width - 2)) for text, width in wrapped)
    if lines > 1:
        sheet.row_heights[row] = 15.5 * lines


def _place(ranges: list[Range]) -> str:
    """Ranges of one sheet as `'by hand'!D12:F14 H12:J14`, or as `maps!D12:F14, 8 down every 5, 2 across every 4`."""
    if not ranges:
        return ""
    sheet, first = f"{expr.quoted(ranges[0].sheet)}!", ranges[0]
    across = sum(each.top == first.top for each in ranges)
    if len(ranges) > 2 and len(ranges) % across == 0:
        down = len(ranges) // across
        rows = ranges[across].top - first.top if down > 1 else 1
        columns = ranges[1].left - first.left if across > 1 else 1
        grid = _grid(first, down, rows, across, columns)
        if [each.address for each in grid] == [each.address for each in ranges]:
            steps = (("down", down, rows), ("across", across, columns))
            return f"{sheet}{first.address}" + "".join(f", {n} {way} every {by}" for way, n, by in steps if n > 1)
    return sheet + " ".join(each.address for each in ranges)


def _grid(first: Range, down: int, rows: int, across: int, columns: int) -> list[Range]:
    """`down` times `across` ranges like the first, so many rows and columns apart."""
    return [
        Range(first.sheet, first.top + y, first.left + x, first.bottom + y, first.right + x)
        for y in range(0, down * rows, rows)
        for x in range(0, across * columns, columns)
    ]


def parse_place(text: str) -> list[Range]:
    """The ranges that `_place` wrote. Raises `ValueError` for any other text."""
    if not text:
        return []
    if match := re.fullmatch(r"(.+?)(?:, (\d+) down every (\d+))?(?:, (\d+) across every (\d+))?", text):
        place, *steps = match.groups()
        if any(steps):
            first, *others = parse_place(place)
            down, rows, across, columns = (int(step or 1) for step in steps)
            inside = first.bottom + (down - 1) * rows <= expr.MAX_ROWS
            inside = inside and first.right + (across - 1) * columns <= expr.MAX_COLUMNS
            if others or not inside or min(down, rows, across, columns) < 1 or down * across > expr.MAX_ROWS:
                raise ValueError(text)
            return _grid(first, down, rows, across, columns)
    sheet, bang, addresses = text.rpartition("!")
    if not bang:
        raise ValueError(text)
    if sheet.startswith("'") and sheet.endswith("'"):
        sheet = sheet[1:-1].replace("''", "'")
    return [_parse_address(sheet, address) for address in addresses.split(" ")]


def parse_name(text: str) -> list[Range]:
    """The ranges that a defined name's text stands for. Raises `ValueError` for any other text."""
    return [each for place in re.findall(r"(?:'[^']*'|[^,'])+", text) for each in parse_place(place)[:1]]


def _parse_address(sheet: str, address: str) -> Range:
    top, left, bottom, right = expr.corners(address)
    if top < 1 or bottom > expr.MAX_ROWS or right > expr.MAX_COLUMNS:
        raise ValueError(address)
    return Range(sheet, top, left, bottom, right)


def read_register(rows: list[list[Any]], file: str, sheet: str) -> tuple[str, list[Block], dict[str, str]]:
    """The lesson's name, the blocks that the register lists, and what each block's formulas are known by.

    Raises `Error` if the table is not as `write_register` left it.
    """
    lesson = next((held for row in rows if row[:1] == [LESSON] for held in row[2:3]), None)
    start = next((i for i, row in enumerate(rows) if tuple(row[: len(COLUMNS)]) == COLUMNS), None)
    if not isinstance(lesson, str) or start is None:
        raise Error(
            f"{file}: sheet {sheet!r} was edited: its line {LESSON!r} or its table's head {', '.join(COLUMNS)} is "
            "gone; restore it, or generate the workbook anew"
        )
    last = len(COLUMNS)
    known = rows[start][last : last + 1] == [FORMULAS]
    blocks, fingerprints, cells = [], {}, 0
    for number, row in enumerate(rows[start + 1 :], start=start + 2):
        if all(value in (None, "") for value in row):
            continue
        where = f"{file}: sheet {sheet!r}, row {number}"
        block = _read_block(row, where)
        cells += math.prod(block.shape)
        if cells > MOST:
            raise Error(f"{where}: the blocks up to {block.name!r} have more than {MOST:,} cells; it was edited")
        blocks.append(block)
        if known:
            fingerprints[block.name] = str(row[last]) if len(row) > last else ""
    return lesson, blocks, fingerprints


def _read_block(row: list[Any], where: str) -> Block:
    name, role, shape, place, typed, torch, words = (
        "" if value is None else str(value) for value in [*row, *[None] * len(COLUMNS)][: len(COLUMNS)]
    )
    if not name or role not in style.ROLES:
        raise Error(
            f"{where}: expected a block's name and one of the roles {', '.join(style.ROLES)}, got {name!r}, {role!r}"
        )
    everything = typed == ALL
    typed = "" if everything else typed
    parsers = (("shape", parse_shape, shape), ("place", parse_place, place), ("you may change", parse_place, typed))
    parsed: list[Any] = []
    for column, parser, text in parsers:
        try:
            parsed.append(parser(text))
        except ValueError:
            raise Error(f"{where}: column {column!r} of block {name!r} was edited: {text!r} cannot be read") from None
    size = sum(rows * columns for rows, columns in (panel.shape for panel in parsed[1]))
    count = math.prod(parsed[0])
    if size != count or not size:
        raise Error(
            f"{where}: block {name!r} of shape {shape!r} has {count} elements, but its place {place!r} has {size} cells"
        )
    block = Block(name, role, parsed[0], parsed[1], parsed[1 if everything else 2], torch, words)
    try:
        list(block.parts())
    except ValueError as error:
        raise Error(f"{where}: column 'place' of block {name!r} was edited: {error}") from None
    return block
