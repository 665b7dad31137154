"""Formulas as they were written: what a block's are, wherever its cells stand now, in a few letters.

A formula is compared by what it refers to, each cell as a block's element. So it stays the same when rows are inserted,
sheets renamed, or another program writes it in its own way.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from sgdsheet.book.blocks import Block, defined_name
from sgdsheet.expr import Range, Ref, column_letters, column_number, quoted

_PRIME = 2**31 - 1
_CELL = r"(\$?)([A-Z]{1,3})(\$?)(\d{1,7})"
TOKEN = re.compile(
    r'(?P<text>"(?:[^"]|"")*")'
    r"|(?:(?P<sheet>'(?:[^']|'')+'|[^\W\d][\w.]*)!)?"
    r"(?P<first>\$?[A-Z]{1,3}\$?\d{1,7})(?::(?P<last>\$?[A-Z]{1,3}\$?\d{1,7}))?(?![\w.(])"
    r"|(?P<number>\d+\.?\d*(?:E[+-]?\d+)?|\.\d+(?:E[+-]?\d+)?)"
    r"|(?P<word>[^\W\d][\w.]*)(?P<empty>\(\))?"
    r"|(?P<space>\s+)",
    re.IGNORECASE,
)
# The same tokens, and the signs between them. A word keeps the parenthesis after it, so that what looks like a cell, as
# LOG10 does, is told from one without what follows.
_PIECE = re.compile(
    r'"(?:[^"]|"")*"'
    r"|(?:(?:'(?:[^']|'')+'|[^\W\d][\w.]*)!)?\$?[A-Za-z]{1,3}\$?\d{1,7}(?::\$?[A-Za-z]{1,3}\$?\d{1,7})?(?![\w.(])"
    r"|[-+*/^(),=<>]+"
    r"|\d+\.?\d*(?:[Ee][+-]?\d+)?|\.\d+(?:[Ee][+-]?\d+)?"
    r"|[^\W\d][\w.]*(?:\(\)?)?"
    r"|.",
    re.DOTALL,
)
_REFERENCE = re.compile(
    rf"\"(?:[^\"]|\"\")*\"|'(?:[^']|'')+'!|[^\W\d][\w.]*!|(?<![\w.$]){_CELL}(?![\w.(!])|[^\W\d][\w.]*", re.IGNORECASE
)


def shifted(formula: str, rows: int, columns: int) -> str:
    """The formula as it reads that many rows further down and columns further right."""

    def moved(match: re.Match[str]) -> str:
        fixed_column, letters, fixed_row, row = match.groups()
        if letters is None:
            return match[0]
        letters = letters if fixed_column else column_letters(column_number(letters) + columns)
        return f"{fixed_column}{letters}{fixed_row}{row if fixed_row else int(row) + rows}"

    return _REFERENCE.sub(moved, formula)


def qualified(formula: str, sheet: str) -> str:
    """The formula of a cell on `sheet` as it reads on any other: each of its references names the sheet."""

    def named(match: re.Match[str]) -> str:
        return f"{quoted(sheet)}!{match[0]}" if match["first"] and match["sheet"] is None else match[0]

    return TOKEN.sub(named, formula)


class Formulas:
    """The one way to write each formula of a book whose blocks are these."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._names: dict[str, str] = {}
        self._panels: dict[tuple[str, int], list[tuple[int, int, str, int, int]]] = {}
        self._known: dict[str, _Known] = {}  # by the sheet on which a formula stands
        for block in blocks:
            self._names[defined_name(block.name).lower()] = f"{block.name}[0]" if not block.shape else block.name
            for panel, start, step in _spread(block):
                for offset in range(panel.shape[1]):
                    held = (panel.top, panel.bottom, block.name, start + offset, step)
                    self._panels.setdefault((panel.sheet.lower(), panel.left + offset), []).append(held)
        for held in self._panels.values():
            held.sort()

    def fingerprint(self, block: Block, formulas: Iterable[tuple[int, Ref, str]]) -> str:
        """Two sums over a block's formulas: each element's number, its cell and its text.

        One formula that changes, changes both, and by how much tells which it was: see `changed`.
        """
        total = weighted = 0
        for number, cell, text in formulas:
            digest = hashlib.blake2b(self.canonical(text, cell).encode(), digest_size=8).digest()
            own = int.from_bytes(digest, "big") % _PRIME
            total += own
            weighted += own * (number + 1)
        return f"{total % _PRIME:08x}{weighted % _PRIME:08x}"

    def canonical(self, formula: str, cell: Ref) -> str:
        """A formula's text without its `=`, of a cell, with elements of blocks in place of addresses."""
        known = self._known.get(cell.sheet)
        if known is None:
            known = self._known[cell.sheet] = _Known(self)
        known.cell = cell
        return "".join(map(known.__getitem__, _PIECE.findall(formula)))

    def reads(self, formula: str, cell: Ref) -> list[str]:
        """The blocks that a formula's text without its `=` refers to, as first met; of a range, those at its ends."""
        found = []
        for match in TOKEN.finditer(formula):
            if match["first"]:
                sheet = (match["sheet"] or cell.sheet).strip("'").replace("''", "'")
                ends = [end for end in (match["first"], match["last"]) if end]
                found += [block[0] for end in ends if (block := self._held(sheet, end))]
            elif match["word"] and match["empty"] is None and (name := self._names.get(match["word"].lower())):
                found.append(name.removesuffix("[0]"))
        return [*dict.fromkeys(found)]

    def piece(self, text: str, cell: Ref) -> str:
        """What one of the pieces reads that the formula of a cell is cut into."""
        return TOKEN.sub(lambda match: self._token(match, cell), text)

    def _token(self, match: re.Match[str], cell: Ref) -> str:
        if match["first"]:
            quoted, first, last = match["sheet"], match["first"], match["last"]
            sheet = cell.sheet if quoted is None else quoted.strip("'").replace("''", "'")
            element = self._element(sheet, first, cell)
            return element if last is None else f"{element}:{self._element(sheet, last, cell)}"
        if match["number"]:
            return f"{float(match[0]):.14e}"  # LibreOffice writes so many digits
        if word := match["word"]:
            name = self._names.get(word.lower()) if match["empty"] is None else None
            return name or word.upper().removeprefix("_XLFN.")
        return match["text"] or ""

    def _element(self, sheet: str, address: str, cell: Ref) -> str:
        """What stands at an address: an element of a block, or else how far it is from the formula's own cell."""
        if held := self._held(sheet, address):
            return f"{held[0]}[{held[1]}]"
        row, column = _place(address)
        beside = "" if sheet == cell.sheet else "another sheet "
        return f"{beside}({row - cell.row},{column - cell.column})"

    def _held(self, sheet: str, address: str) -> tuple[str, int] | None:
        """The block at an address, and which of its elements."""
        row, column = _place(address)
        panels = self._panels.get((sheet.lower(), column), [])
        place = bisect_right(panels, row, key=lambda panel: panel[0]) - 1
        if place < 0 or row > panels[place][1]:
            return None
        top, _, name, start, step = panels[place]
        return name, start + (row - top) * step


class _Known(dict[str, str]):
    """What each piece reads of the formulas of one sheet; `cell` is the one whose formula is read now."""

    def __init__(self, formulas: Formulas) -> None:
        self._formulas = formulas
        self.cell = Ref("", 1, 1)

    def __missing__(self, text: str) -> str:
        found = self._formulas.piece(text, self.cell)
        if found == text or text.endswith("(") or "(" not in found:  # or else it depends on where the formula stands
            self[text] = found
        return found


def _place(address: str) -> tuple[int, int]:
    """An address's row and column."""
    address = address.replace("$", "")
    letters = address.rstrip("0123456789")
    return int(address[len(letters) :]), column_number(letters)


def elements(block: Block) -> Iterator[tuple[int, Ref]]:
    """The number and the cell of each of a block's elements."""
    for panel, start, step in _spread(block):
        sheet, left, width = panel.sheet, panel.left, panel.shape[1]
        for row in range(panel.top, panel.bottom + 1):
            first = start + (row - panel.top) * step
            for offset in range(width):
                yield first + offset, Ref(sheet, row, left + offset)


def changed(was: str, now: str, size: int) -> int | None:
    """The number of the one element, of so many, whose formula makes the difference; None if it is more than one."""
    try:
        total, weighted = (int(now[i : i + 8], 16) - int(was[i : i + 8], 16) for i in (0, 8))
    except ValueError:
        return None
    if total % _PRIME == 0:
        return None
    number = weighted * pow(total, -1, _PRIME) % _PRIME - 1
    return number if number < size else None


def _spread(block: Block) -> Iterator[tuple[Range, int, int]]:
    """Each panel with the number of its first element, and by how much that grows with each row."""
    rows, columns = block.matrix()
    for panel, matrix, held in block.parts():
        yield panel, matrix * rows * columns + held.start, columns
