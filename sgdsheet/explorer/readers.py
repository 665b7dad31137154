"""Which formulas read a cell: looked up in an index, each part of which is made when it is first needed."""

from __future__ import annotations

import re
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from html import unescape
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet.book import Block
from sgdsheet.book.register import parse_name
from sgdsheet.explorer.places import kept, places
from sgdsheet.expr import Range, Ref, column_letters, column_number, corners

if TYPE_CHECKING:
    from sgdsheet.explorer.session import Session

# Of a formula: its references; of texts, functions, names and numbers nothing is kept.
_READ = re.compile(
    r'"[^"]*"|'
    r"((?:'(?:[^']|'')+'!|[^\W\d][\w.]*!)?\$?[A-Z]{1,3}\$?\d+(?::\$?[A-Z]{1,3}\$?\d+)?)(?![\w(.])|"
    r"[^\W\d][\w.]*|\d[\d.]*(?:E[-+]?\d+)?"
)
_CELL = re.compile(rb'<c r="([A-Z]+)(\d+)"[^>]*><f>([^<]*)</f>')


class Readers:
    """The formulas of a workbook by what they read."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._preparing = threading.Lock()
        self._sheets: dict[str, _Formulas] = {}
        self._indexes: dict[tuple[str, str], _Index] = {}
        self._named: dict[tuple[str, str], list[int]] = {}
        self._names: dict[str, list[tuple[str, Range]]] = {}
        for name, ranges in names(session).values():
            for each in ranges:
                self._names.setdefault(each.sheet, []).append((name, each))

    def of(self, cell: Ref) -> list[tuple[Block | None, Range]]:
        """Who reads a cell: the blocks that do, each with the range around its cells that do.

        A cell of no block stands for itself, with None. Those on the same sheet come first, then the others as the
        sheets come.
        """
        sheets = [cell.sheet, *(each for each in self._session.file.sheets if each != cell.sheet)]
        words = [name for name, range_ in self._names.get(cell.sheet, []) if _inside(cell, range_)]
        found = []
        for sheet in sheets:
            numbers = [*self._index(sheet, cell.sheet).of(cell)]
            for word in words:
                numbers += self._using(sheet, word)
            found += self._grouped(sheet, dict.fromkeys(numbers))
        return found

    def prepare(self, read: str) -> None:
        """Makes the indexes that tell who reads a cell of this sheet; what is typed does not change them."""
        with self._preparing:
            for sheet in self._session.file.sheets:
                self._index(sheet, read)

    def formula(self, cell: Ref) -> str | None:
        """The formula of a cell, without its `=`; None if it has none."""
        return self._formulas(cell.sheet).at.get((cell.row, cell.column))

    def _grouped(self, sheet: str, numbers: Iterable[int]) -> Iterator[tuple[Block | None, Range]]:
        """The cells of these formulas by block."""
        where, formulas = places(self._session), self._formulas(sheet)
        held: dict[str, list[int]] = {}
        for number in numbers:
            row, column = formulas.rows[number], formulas.columns[number]
            panel = where.panel(sheet, row, column)
            key = panel.block.name if panel else f"\n{number}"
            box = held.setdefault(key, [row, column, row, column])
            box[:] = min(box[0], row), min(box[1], column), max(box[2], row), max(box[3], column)
        for key, box in held.items():
            yield where.blocks.get(key), Range(sheet, box[0], box[1], box[2], box[3])

    def _index(self, sheet: str, read: str) -> _Index:
        """What the formulas of a sheet read on another one, or on itself."""
        if (sheet, read) not in self._indexes:
            own = sheet == read
            begins = [f"{read}!", "'{}'!".format(read.replace("'", "''"))]
            formulas = self._formulas(sheet)
            numbers = formulas.all if own else [*dict.fromkeys(n for each in begins for n in formulas.having(each))]
            self._indexes[sheet, read] = _Index(formulas, numbers, [*begins, ""] if own else begins)
        return self._indexes[sheet, read]

    def _using(self, sheet: str, word: str) -> list[int]:
        """The formulas of a sheet that use a name."""
        if (sheet, word) not in self._named:
            used, formulas = re.compile(rf"(?<![\w.!]){re.escape(word)}(?![\w.(!])"), self._formulas(sheet)
            self._named[sheet, word] = [n for n in formulas.having(word) if used.search(formulas.texts[n])]
        return self._named[sheet, word]

    def _formulas(self, sheet: str) -> _Formulas:
        if sheet not in self._sheets:
            self._sheets[sheet] = _Formulas(self._session, sheet)
        return self._sheets[sheet]


readers = kept(Readers)


class _Formulas:
    """The formulas of a sheet, without their `=`."""

    def __init__(self, session: Session, sheet: str) -> None:
        with zipfile.ZipFile(session.file.path) as archive:
            part = archive.read(session.file.sheets[sheet])
        cells = _CELL.findall(part)
        if len(cells) == part.count(b"</f>") + part.count(b"<f/>"):
            columns = {letters: column_number(letters.decode()) for letters in {each for each, _, _ in cells}}
            self.rows, self.columns = [int(row) for _, row, _ in cells], [columns[letters] for letters, _, _ in cells]
            self.texts = [text.decode() for _, _, text in cells]
            if b"&" in part:
                self.texts = [unescape(text) if "&" in text else text for text in self.texts]
        else:  # another program wrote it, in its own way
            held = [(at, text) for at, text in session.file.cells(sheet).items() if isinstance(text, str)]
            held = [(row, column, text[1:]) for (row, column), text in held if text.startswith("=")]
            self.rows, self.columns = [row for row, _, _ in held], [column for _, column, _ in held]
            self.texts = [text for _, _, text in held]
        self.text = "\n".join(self.texts)
        self.all = range(len(self.texts))

    @cached_property
    def at(self) -> dict[tuple[int, int], str]:
        """The same by row and column."""
        return dict(zip(zip(self.rows, self.columns, strict=True), self.texts, strict=True))

    def having(self, mention: str) -> list[int]:
        """The numbers of those in which a text occurs."""
        return [number for number, text in enumerate(self.texts) if mention in text] if mention in self.text else []


class _Index:
    """Some formulas by the cells and ranges that they read on one sheet, which they write in one of several ways."""

    def __init__(self, formulas: _Formulas, numbers: Iterable[int], begins: list[str]) -> None:
        self._begins = begins
        self._read: dict[str, list[int]] = defaultdict(list)
        for number in numbers:
            for token in _READ.findall(formulas.texts[number]):
                if token:
                    self._read[token].append(number)
        ranges = [each for each in self._read if ":" in each and each[: each.rfind("!") + 1] in begins]
        self._ranges = [self._read[each] for each in ranges]
        self._corners = np.array([corners(each.rpartition("!")[2]) for each in ranges], dtype=np.int64).reshape(-1, 4)

    def of(self, cell: Ref) -> Iterator[int]:
        letters = column_letters(cell.column)
        for begin in self._begins:
            for across in ("", "$"):
                for down in ("", "$"):
                    yield from self._read.get(f"{begin}{across}{letters}{down}{cell.row}", ())
        top, left, bottom, right = self._corners.T
        inside = (top <= cell.row) & (cell.row <= bottom) & (left <= cell.column) & (cell.column <= right)
        for number in np.flatnonzero(inside).tolist():
            yield from self._ranges[number]


def _names(session: Session) -> dict[str, tuple[str, list[Range]]]:
    """The workbook's defined names that stand for ranges, and these, by name in small letters."""
    found = {}
    for name, text in session.file.names.items():
        try:
            ranges = parse_name(text)
        except ValueError:
            continue
        if ranges:
            found[name.lower()] = name, ranges
    return found


names = kept(_names)


def _inside(cell: Ref, range_: Range) -> bool:
    across = range_.left <= cell.column <= range_.right
    return range_.sheet == cell.sheet and range_.top <= cell.row <= range_.bottom and across
