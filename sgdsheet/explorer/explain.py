"""Where a cell's number comes from: its formula with names and with numbers, what it reads, and what reads it.

    named    w - lr * grad
    numbers  1.2 - 0.1 * 0.5

A name is what the sheet calls the block. Which element is meant is said where it is not the one in the cell's own
place: `bias[2]`, `x[0, 0:3]` as torch has it; in tables of steps `slope above` and `loss of step 12`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.book import Block
from sgdsheet.book.formulas import TOKEN
from sgdsheet.engines import CellError
from sgdsheet.explorer.places import Panel, Places, Table, address, described, places
from sgdsheet.explorer.readers import names, readers
from sgdsheet.expr import Range, Ref, corners

if TYPE_CHECKING:
    from sgdsheet.explorer.session import Session

MOST = 40  # readers that are listed
SHOWN = 3  # values of a range
_OPENING = ("(", ",", "{", ";")
_OPERATOR = re.compile(r"<>|<=|>=|[-+*/&=<>^]")

Message = dict[str, Any]


def explain(session: Session, cell: Ref) -> Message:
    """What there is to know about a cell, as the message `explain` has it.

    Raises `Error` if there is no such sheet.
    """
    where, formula = places(session), readers(session).formula(cell)
    panel = where.panel(cell.sheet, cell.row, cell.column)
    block = panel.block if panel else None
    position = panel.position(cell.row, cell.column) if panel else ()
    parts = [*_parts(session, formula, cell)] if formula else []
    calls = _Names(where, cell).of([part.range for part in parts if part.range is not None])
    return {
        "address": cell.place,
        "sheet": cell.sheet,
        "row": cell.row,
        "column": cell.column,
        "block": block.name if block else None,
        "element": f"[{', '.join(map(str, position))}]" if position else "",
        "role": block.role if block else "",
        "words": block.words if block else "",
        "in_torch": block.torch if block else "",
        "value": in_full(session.value(cell)),
        "formula": formula and f"={formula}",
        "named": _named(parts, calls),
        "numbers": [*_numbers(session, parts)],
        "reads": [described(each.range) | {"name": each.text} for each in calls.values()],
        "input": session.rule(cell) is not None,
    }


def read_by(session: Session, cell: Ref) -> Message:
    """Who reads a cell, as the message `readers` has it.

    To look through a large workbook's formulas takes seconds the first time: the session's lock is free meanwhile.
    Raises `Error` if there is no such sheet.
    """
    index = readers(session)
    index.prepare(cell.sheet)
    with session.lock:
        where, read = places(session), index.of(cell)
        named = [described(each) | {"name": _reader(where, owner, each, cell)} for owner, each in read[:MOST]]
    return {"readers": named, "more": max(0, len(read) - MOST)}


def in_full(value: Any) -> str:
    """A value with every digit that it has."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float)):
        return repr(float(value)).removesuffix(".0")
    return "" if value is None else str(value)


def short(value: Any) -> str:
    """A value as a reader takes it in: five digits, a whole number in full."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, (int, float)):
        return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e9 else f"{value:.5g}"
    if value is None:
        return "blank"
    return str(value) if isinstance(value, CellError) else f'"{value}"'


@dataclass(frozen=True)
class _Part:
    """A piece of a formula: a text as it stands there, or a range that it reads."""

    text: str
    range: Range | None = None


@dataclass(frozen=True)
class _Call:
    """What a range is called: the block, which of its elements, and of which step."""

    range: Range
    name: str
    index: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        return f"{self.name}{self.index}{self.after}"

    @property
    def within(self) -> str:
        """The same beside other things, in brackets if it has blanks."""
        if self.after:
            return f"[{self.text}]"
        return f"[{self.name}]{self.index}" if " " in self.name else self.text


def _parts(session: Session, formula: str, cell: Ref) -> Iterator[_Part]:
    """Takes a formula apart, with a blank on both sides of operators but `^`."""
    known, sheets = names(session), session.file.sheets
    at, before = 0, "("  # after an operator, a comma or an opening parenthesis a minus is a sign
    for match in [*TOKEN.finditer(formula), None]:
        between = formula[at : match.start() if match else len(formula)]
        for sign in re.findall(r"<>|<=|>=|.", between, re.DOTALL):
            binary = _OPERATOR.fullmatch(sign) and before not in _OPENING and not _OPERATOR.fullmatch(before)
            yield _Part(f" {sign} " if binary and sign != "^" else f"{sign} " if sign in (",", ";") else sign)
            before = sign
        if match is None:
            return
        at = match.end()
        if match["space"]:
            continue
        before = "x"
        if match["first"]:
            place = match["sheet"]
            sheet = cell.sheet if place is None else place.strip("'").replace("''", "'")
            if sheet in sheets:
                held = match[0].rpartition("!")[2]
                yield _Part(match[0].replace("$", ""), Range(sheet, *corners(held)))
                continue
        elif (
            match["word"]
            and formula[at : at + 1] != "("
            and len(held := known.get(match["word"].lower(), ("", ()))[1]) == 1
        ):
            yield _Part(match[0], held[0])
            continue
        text = match[0]
        if match["number"]:
            text = short(float(text)) if len(text) > 7 else text
        yield _Part(text.removeprefix("_xlfn."))


def _named(parts: list[_Part], calls: dict[str, _Call]) -> list[Message]:
    found = []
    for part in parts:
        if part.range is None:
            found.append({"text": part.text})
        else:
            call = calls[part.range.place]
            text = call.text if len(parts) == 1 else call.within
            found.append({"text": text, "cell": described(call.range)})
    return _together(found)


def _numbers(session: Session, parts: list[_Part]) -> Iterator[Message]:
    found = []
    for number, part in enumerate(parts):
        if part.range is None:
            found.append({"text": part.text})
            continue
        text = _values(session, part.range)
        beside = [parts[k].text.strip() for k in (number - 1, number + 1) if 0 <= k < len(parts)]
        if text.startswith("-") and ((number and beside[0][-1:] not in ("(", ",")) or beside[-1:] == ["^"]):
            text = f"({text})"
        found.append({"text": text, "cell": described(part.range)})
    yield from _together(found)


def _values(session: Session, range_: Range) -> str:
    rows, columns = range_.shape
    shown = [divmod(number, columns) for number in range(min(rows * columns, SHOWN + 1))]
    texts = [short(session.value(Ref(range_.sheet, range_.top + down, range_.left + right))) for down, right in shown]
    if len(texts) == 1:
        return texts[0]
    return f"[{', '.join(texts if len(texts) == rows * columns else [*texts[:SHOWN], '…'])}]"


def _together(pieces: list[Message]) -> list[Message]:
    """The same with neighbouring texts as one."""
    found: list[Message] = []
    for piece in pieces:
        if found and "cell" not in piece and "cell" not in found[-1]:
            found[-1]["text"] += piece["text"]
        else:
            found.append(piece)
    return found


class _Names:
    """What the ranges of one cell's formula are called."""

    def __init__(self, where: Places, cell: Ref) -> None:
        self.where, self.cell = where, cell
        self.panel = where.panel(cell.sheet, cell.row, cell.column)
        self.position = self.panel.position(cell.row, cell.column) if self.panel else None
        self.table = where.table(cell.sheet, cell.row, self.panel.block) if self.panel else None

    def of(self, ranges: list[Range]) -> dict[str, _Call]:
        """The name of each range by its place; where several elements of a block are read, each says which it is."""
        met: dict[str, set[str]] = {}
        across: dict[str, set[tuple[int, int]]] = {}
        for range_ in ranges:
            if panel := self._panel(range_):
                met.setdefault(panel.block.name, set()).add(range_.place)
                across.setdefault(panel.block.name, set()).add((range_.left, range_.right))
        found = {}
        for range_ in ranges:
            if range_.place not in found:
                panel = self._panel(range_)
                alone = panel is None or len(met[panel.block.name]) == 1
                column = panel is None or len(across[panel.block.name]) == 1
                call = self._call(panel, range_, alone, column) if panel else None
                found[range_.place] = call or _Call(range_, address(range_, self.cell.sheet))
        return self._told_apart(found)

    def _panel(self, range_: Range) -> Panel | None:
        """The panel that holds all of a range."""
        panel = self.where.panel(range_.sheet, range_.top, range_.left)
        fits = panel is not None and range_.bottom <= panel.range.bottom and range_.right <= panel.range.right
        return panel if fits else None

    def _told_apart(self, calls: dict[str, _Call]) -> dict[str, _Call]:
        """The same, with the whole names of blocks that would be called alike."""
        count = Counter(call.text for call in calls.values())
        found = {}
        for place, call in calls.items():
            panel = self._panel(call.range) if count[call.text] > 1 else None
            if panel is not None:
                call = replace(call, name=panel.block.name)
            found[place] = call
        return found

    def _call(self, panel: Panel, range_: Range, alone: bool, column: bool) -> _Call:
        """What a range of a block is called, which is read `alone` of that block, or alone of its columns."""
        block, label = panel.block, self.where.label(panel.block)
        table = self.where.table(range_.sheet, range_.top, block)
        if table is not None and range_.top == range_.bottom:
            up = self.cell.row - range_.top if table is self.table else None
            if up is not None or not (alone and self._is_own_place(panel, range_)):
                after = "" if up == 0 else " above" if up == 1 else self._of_row(table, range_.top)
                return _Call(range_, label, self._part_of_row(table, panel, range_, column), after)
        after = self.of_step(block)
        whole = block.panels == [panel.range] and range_.place == panel.range.place
        if whole or (alone and self._is_own_place(panel, range_)):
            return _Call(range_, label, "", after)
        return _Call(range_, label, _slice(panel, range_), after)

    def of_step(self, block: Block) -> str:
        """Of which step a block is, where that is not the explained cell's own."""
        own, its = self.where.step(self.panel.block) if self.panel else None, self.where.step(block)
        return f" of step {its}" if its is not None and its != own else ""

    def _is_own_place(self, panel: Panel, range_: Range) -> bool:
        """Whether one cell is the element in the place that the explained cell has in a block of the same shape."""
        if self.panel is None or self.position is None or range_.shape != (1, 1):
            return False
        other = panel.position(range_.top, range_.left)
        return _squeezed(self.panel.block, self.position) == _squeezed(panel.block, other)

    def _part_of_row(self, table: Table, panel: Panel, range_: Range, alone: bool) -> str:
        """Which columns of a table's row are meant: by the name above one, or else by number; none if all are."""
        left, right = range_.left - panel.range.left, range_.right - panel.range.left
        if len(panel.block.shape) == 1 or (left, right) == (0, panel.block.shape[1] - 1):
            return ""
        if left != right:
            return f"[{_from_to(left, right, panel.block.shape[1])}]"
        same_width = self.panel is not None and self.panel.block.shape == panel.block.shape
        if alone and same_width and table is self.table and self.position is not None and self.position[-1] == left:
            return ""
        above = self.where.value(Ref(table.sheet, table.first - 1, range_.left))
        plain = isinstance(above, str) and re.fullmatch(r"[^\W\d]\w*", above)
        return f"[{above if plain else left}]"

    def _of_row(self, table: Table, row: int) -> str:
        count = self.where.value(table.counter.cell((row - table.first,)))
        return f" of {table.what} {short(count)}"


def _slice(panel: Panel, range_: Range) -> str:
    """Which elements of a block a range holds, as torch writes it."""
    shape = panel.block.shape
    first, last = panel.position(range_.top, range_.left), panel.position(range_.bottom, range_.right)
    if np.prod(shape) == 1:
        return ""
    one = range_.shape == (1, 1)
    ends = zip(first, last, shape, strict=True)
    held = [str(a) if a == b and (one or size > 1) else _from_to(a, b, size) for a, b, size in ends]
    return f"[{', '.join(held)}]"


def _from_to(first: int, last: int, size: int) -> str:
    return ":" if (first, last) == (0, size - 1) else f"{first}:{last + 1}"


def _squeezed(block: Block, position: tuple[int, ...]) -> list[tuple[int, int]]:
    """The sizes and the places along the dimensions that have more than one element."""
    return [each for each in zip(block.shape, position, strict=True) if each[0] > 1]


def _reader(where: Places, block: Block | None, range_: Range, cell: Ref) -> str:
    """What a reader is called: the block, and which element of it if it is one."""
    if block is None:
        return address(range_, cell.sheet)
    panel = where.panel(range_.sheet, range_.top, range_.left)
    calls = _Names(where, cell)
    if panel is not None and panel.block is block and range_.shape == (1, 1):
        return calls.of([range_])[range_.place].text
    return f"{where.label(block)}{calls.of_step(block)}"
