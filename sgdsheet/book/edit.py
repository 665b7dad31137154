"""A workbook's file with other numbers in its cells: formulas, looks and charts stay as they are.

The file may have been saved by any program since sgdsheet wrote it. So its parts are changed as text, and only where a
value stands: what else another program has put into them is not looked at.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from sgdsheet.book.cells import CellFile
from sgdsheet.book.charted import with_values
from sgdsheet.book.graft import grafted
from sgdsheet.book.write import pack, stored
from sgdsheet.errors import Error
from sgdsheet.expr import Range, Ref, column_letters, column_number
from sgdsheet.files import replacing

Typed = Mapping[Ref, float | str | None]
Recalculate = Callable[[Typed, Sequence[Range]], list[np.ndarray]]

_CELL = re.compile(r"<((?:\w+:)?)c((?:\s[^>]*?)?)(?:/>|>(.*?)</\1c>)", re.DOTALL)
_ROW = re.compile(r"<((?:\w+:)?)row((?:\s[^>]*?)?)(?:/>|>(.*?)</\1row>)", re.DOTALL)
_FORMULA = re.compile(r"<(?:\w+:)?f\b[^>]*?(?:/>|>.*?</(?:\w+:)?f>)", re.DOTALL)


def retype(path: Path, out: Path, typed: Typed, recalculate: Recalculate, add: Path | None = None) -> None:
    """Writes `out`: the workbook at `path` with other numbers or texts in the cells `typed`, blank where None.

    `recalculate(typed, ranges)` gives the values of ranges with these in their cells, for each formula to be stored
    with its new value, in charts too. The sheets of the workbook at `add` but its first and its last one take their
    places before the last of this one; those that are there under such a name are replaced. `out` may be `path`
    itself. Raises `Error` for a file that cannot be read, a sheet that is not there, and a folder that cannot be
    written.
    """
    file = CellFile(path)
    for cell in typed:
        if cell.sheet not in file.sheets:
            raise Error(f"{path}: there is no sheet {cell.sheet!r}")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    texts = {sheet: parts[part].decode("utf-8-sig") for sheet, part in file.sheets.items()}
    ranges = {sheet: _extent(sheet, text, typed) for sheet, text in texts.items()}
    values = dict(zip(ranges, recalculate(typed, [*ranges.values()]), strict=True))
    for sheet, text in texts.items():
        own = {(cell.row, cell.column): value for cell, value in typed.items() if cell.sheet == sheet}
        parts[file.sheets[sheet]] = _retyped(text, own, values[sheet]).encode()
    for part in [each for each in parts if re.fullmatch(r"xl/charts/chart[^/]*\.xml", each)]:
        parts[part] = with_values(parts[part], values)
    if add is not None:
        parts = grafted(parts, add)
    with replacing(out) as temporary:
        pack(temporary, parts, zipfile.ZIP_DEFLATED)


def _extent(sheet: str, text: str, typed: Typed) -> Range:
    """The range from A1 of all cells that there are."""
    bottom = right = 1
    for letters, row in re.findall(r'<(?:\w+:)?c\s[^>]*?\br="([A-Z]+)(\d+)"', text):
        bottom, right = max(bottom, int(row)), max(right, column_number(letters))
    for cell in typed:
        if cell.sheet == sheet:
            bottom, right = max(bottom, cell.row), max(right, cell.column)
    return Range(sheet, 1, 1, bottom, right)


def _retyped(text: str, typed: Mapping[tuple[int, int], float | str | None], values: np.ndarray) -> str:
    """A sheet's part in which each formula has its new value, and each typed cell its own."""
    left = dict(typed)

    def cell(match: re.Match[str]) -> str:
        prefix, attributes, inside = match[1], match[2], match[3] or ""
        address = re.search(r'\br="([A-Z]+)(\d+)"', attributes)
        if address is None:  # the schema lets a cell go without, and no program that we know of does
            return match[0]
        row, column = int(address[2]), column_number(address[1])
        kept = re.sub(r'\s+t="[^"]*"', "", attributes)
        if (row, column) in left:
            return _cell(prefix, kept, left.pop((row, column)))
        formula = _FORMULA.search(inside)
        if formula is None:
            return match[0]
        kind, value = stored(values[row - 1, column - 1])
        return f"<{prefix}c{kept}{kind}>{formula[0]}<{prefix}v>{value}</{prefix}v></{prefix}c>"

    text = _CELL.sub(cell, text)
    return _with_new(text, left) if left else text


def _cell(prefix: str, attributes: str, value: float | str | None) -> str:
    """A cell without a formula."""
    if value is None:
        return f"<{prefix}c{attributes}/>"
    if isinstance(value, str):
        words = f'<{prefix}is><{prefix}t xml:space="preserve">{escape(value)}</{prefix}t></{prefix}is>'
        return f'<{prefix}c{attributes} t="inlineStr">{words}</{prefix}c>'
    return f"<{prefix}c{attributes}><{prefix}v>{value!r}</{prefix}v></{prefix}c>"


def _with_new(text: str, cells: Mapping[tuple[int, int], float | str | None]) -> str:
    """A sheet's part with cells that it did not have, which were blank and without a look of their own."""
    rows: dict[int, dict[int, float | str | None]] = {}
    for (at, column), value in cells.items():
        if value is not None:
            rows.setdefault(at, {})[column] = value

    def extended(match: re.Match[str]) -> str:
        number = re.search(r'\br="(\d+)"', match[2])
        own = rows.pop(int(number[1]), {}) if number else {}
        if not own:
            return match[0]
        assert number is not None
        held = {column_number(each[1]): each[0] for each in _addressed(match[3] or "")}
        held |= {column: _new(match[1], int(number[1]), column, value) for column, value in own.items()}
        return f"<{match[1]}row{match[2]}>{''.join(held[column] for column in sorted(held))}</{match[1]}row>"

    text = _ROW.sub(extended, text)
    if not rows:
        return text
    data = re.search(r"<((?:\w+:)?)sheetData\s*(?:/>|>(.*)</\1sheetData>)", text, re.DOTALL)
    if data is None:
        raise Error("a sheet of this workbook has no place for cells; it is damaged")
    prefix = data[1]
    found = {int(number): whole for whole, number in _numbered(data[2] or "")}
    for number, own in rows.items():
        new = "".join(_new(prefix, number, column, value) for column, value in sorted(own.items()))
        found[number] = f'<{prefix}row r="{number}">{new}</{prefix}row>'
    whole = "".join(found[number] for number in sorted(found))
    return f"{text[: data.start()]}<{prefix}sheetData>{whole}</{prefix}sheetData>{text[data.end() :]}"


def _new(prefix: str, row: int, column: int, value: float | str | None) -> str:
    return _cell(prefix, f' r="{column_letters(column)}{row}"', value)


def _addressed(cells: str) -> list[tuple[str, str]]:
    """The cells of a row with their columns' letters."""
    return [
        (each[0], address[1]) for each in _CELL.finditer(cells) if (address := re.search(r'\br="([A-Z]+)\d', each[2]))
    ]


def _numbered(rows: str) -> list[tuple[str, str]]:
    return [(each[0], number[1]) for each in _ROW.finditer(rows) if (number := re.search(r'\br="(\d+)"', each[2]))]
