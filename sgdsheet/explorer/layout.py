"""What a sheet looks like without what its cells hold: sizes, hidden, frozen and merged cells, links, notes, charts.

openpyxl reads the file without its cells, which takes it a blink; their style numbers are read here.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpyxl import load_workbook
from openpyxl.workbook import Workbook

from sgdsheet.book.cells import CellFile
from sgdsheet.book.geometry import COLUMN, ROW, column_pixels, row_pixels
from sgdsheet.engines.common import DAMAGED
from sgdsheet.errors import Error, one_line
from sgdsheet.expr import MAX_COLUMNS, MAX_ROWS, column_number, corners

_CACHE = re.compile(rb"<(?:\w+:)?(num|str)Cache>.*?</(?:\w+:)?\1Cache>", re.DOTALL)
_NO_WORDS = re.compile(rb"<(\w+:)?t(/>|></(\w+:)?t>)")  # which openpyxl reads as the word None
_HYPERLINK = re.compile(r'=\s*HYPERLINK\(\s*"((?:[^"]|"")*)"', re.IGNORECASE)
_PLACE = re.compile(r"(?:(?P<sheet>'(?:[^']|'')+'|[^'!]+)!)?\$?(?P<letters>[A-Za-z]{1,3})\$?(?P<row>\d{1,7})(?::.*)?")
_WEB = ("http://", "https://", "mailto:")


@dataclass
class Grid:
    """What a sheet's part says of its rows, its columns and the styles of their cells, by number from 1.

    `styles` has each row's cells with their style numbers, `texts` those that hold a text and no formula; `row_styles`
    and `column_styles` are those of the cells that are not there. Sizes are in pixels; `levels` tell of groups,
    `merged` has the top, left, bottom and right of cells that are one.
    """

    styles: dict[int, dict[int, int]] = field(default_factory=dict)
    texts: set[tuple[int, int]] = field(default_factory=set)
    row_styles: dict[int, int] = field(default_factory=dict)
    column_styles: list[tuple[int, int, int]] = field(default_factory=list)
    widths: list[tuple[int, int, int]] = field(default_factory=list)
    heights: dict[int, int] = field(default_factory=dict)
    width: int = COLUMN
    height: int = ROW
    hidden_rows: list[int] = field(default_factory=list)
    hidden_columns: list[tuple[int, int]] = field(default_factory=list)
    row_levels: list[tuple[int, int, int]] = field(default_factory=list)
    column_levels: list[tuple[int, int, int]] = field(default_factory=list)
    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    rows: int = 1
    columns: int = 1

    def style(self, row: int, column: int) -> int:
        """The style number of a cell."""
        held = self.styles.get(row)
        if held is not None and (number := held.get(column)) is not None:
            return number
        return self._of_none(row, column)

    def column(self, column: int) -> int:
        """The width of a column."""
        return next((width for first, last, width in self.widths if first <= column <= last), self.width)

    def _of_none(self, row: int, column: int) -> int:
        if (number := self.row_styles.get(row)) is not None:
            return number
        return next((number for first, last, number in self.column_styles if first <= column <= last), 0)


def shell(path: Path) -> Workbook:
    """The workbook as openpyxl reads it without its cells. Raises `Error` if it cannot."""
    try:
        with zipfile.ZipFile(path) as archive, io.BytesIO() as lean:
            with zipfile.ZipFile(lean, "w") as out:
                for name in archive.namelist():
                    part = archive.read(name)
                    if name.startswith("xl/worksheets/"):
                        part = _without_cells(part)
                    elif name.startswith("xl/charts/"):
                        part = _NO_WORDS.sub(b"", _CACHE.sub(b"", part))  # the values are read from the cells
                    elif "sharedStrings" in name:
                        part = re.sub(rb"(<(\w+:)?sst\b[^>]*[^/])>.*", rb"\1></\2sst>", part, flags=re.DOTALL)
                    out.writestr(name, part)
            lean.seek(0)
            with warnings.catch_warnings():  # of what it does not keep, which is still there in the file
                warnings.simplefilter("ignore")
                return load_workbook(lean, keep_links=False)
    except OSError as error:
        raise Error(f"{path}: cannot be read: {error.strerror or error}") from None
    except (*DAMAGED, LookupError, TypeError, AttributeError, SyntaxError) as error:
        raise Error(f"{path}: how it looks cannot be read: {one_line(error, 200)}") from None


def _without_cells(part: bytes) -> bytes:
    start = re.search(rb"<((?:\w+:)?)sheetData\s*>", part)
    if start is None:
        return part
    close = b"</" + start[1] + b"sheetData>"
    end = part.rfind(close)
    return part[: start.start()] + b"<" + start[1] + b"sheetData/>" + part[end + len(close) :]


def grid(file: CellFile, sheet: str) -> Grid:
    """Reads the rows, columns and style numbers of a sheet. Raises `Error` for a damaged file."""
    found = Grid()
    row = column = 0
    cells: dict[int, int] = {}
    kind = ""

    def begin(tag: str, said: Mapping[str, str]) -> None:
        nonlocal row, column, cells, kind
        if tag == "c":
            address = said.get("r")
            column = column_number(address.rstrip("0123456789")) if address else column + 1
            cells[column] = int(said.get("s", 0))
            kind = said.get("t", "")
            if kind == "s" or kind == "inlineStr":
                found.texts.add((row, column))
        elif tag == "row":
            row, column = int(said.get("r", row + 1)), 0
            cells = found.styles.setdefault(row, {})
            _row(found, row, said)
        elif tag == "f":
            found.texts.discard((row, column))
        elif tag == "col":
            _columns(found, said)
        elif tag == "sheetFormatPr":
            if "defaultColWidth" in said:
                found.width = column_pixels(float(said["defaultColWidth"]))
            if "defaultRowHeight" in said:
                found.height = row_pixels(float(said["defaultRowHeight"]))
        elif tag == "mergeCell":
            found.merged.append(corners(said["ref"]))

    file.elements(sheet, begin)
    found.rows = max((number for number, held in found.styles.items() if held), default=1)
    found.columns = max((max(held) for held in found.styles.values() if held), default=1)
    if found.rows > MAX_ROWS or found.columns > MAX_COLUMNS:
        raise Error(f"{file.path}: sheet {sheet!r} has cells beyond the last that there can be; it is damaged")
    return found


def _row(found: Grid, row: int, said: Mapping[str, str]) -> None:
    if "ht" in said:
        found.heights[row] = row_pixels(float(said["ht"]))
    if _true(said, "hidden") or found.heights.get(row) == 0:
        found.hidden_rows.append(row)
    if _true(said, "customFormat"):
        found.row_styles[row] = int(said.get("s", 0))
    if level := int(said.get("outlineLevel", 0)):
        found.row_levels.append((row, row, level))


def _columns(found: Grid, said: Mapping[str, str]) -> None:
    first, last = int(said["min"]), int(said["max"])
    width = column_pixels(float(said["width"])) if "width" in said else found.width
    found.widths.append((first, last, width))
    if _true(said, "hidden") or width == 0:
        found.hidden_columns.append((first, last))
    if style := int(said.get("style", 0)):
        found.column_styles.append((first, last, style))
    if level := int(said.get("outlineLevel", 0)):
        found.column_levels.append((first, last, level))


def _true(said: Mapping[str, str], name: str) -> bool:
    return said.get(name) in ("1", "true")


def layout(worksheet: Any, held: Grid, names: Mapping[str, str], sheets: Iterable[str]) -> dict[str, Any]:
    """A sheet's sizes and what lies on it, as the page wants them, but for inputs, charts and formulas' links.

    Arguments:
      worksheet: the sheet of `shell`.
      held: its rows and columns.
      names: the workbook's defined names, to which links may lead.
      sheets: the names of its sheets.
    """
    pane, view = worksheet.sheet_view.pane, worksheet.sheet_view
    frozen = [0, 0]
    if pane is not None and pane.state in ("frozen", "frozenSplit"):
        frozen = [int(pane.ySplit or 0), int(pane.xSplit or 0)]
    there = [*sheets]
    links, notes = [], []
    for (row, column), cell in sorted(worksheet._cells.items()):
        link = getattr(cell, "hyperlink", None)
        if link and (target := _target(link, worksheet.title, names, there)):
            links.append([row, column, target])
        if note := getattr(cell, "comment", None):
            notes.append([row, column, note.text])
    rows = _spans((row, row) for row in held.hidden_rows)
    columns = _spans(held.hidden_columns)
    return {
        "rows": max([held.rows, *(each[2] for each in held.merged)]),
        "columns": max([held.columns, *(each[3] for each in held.merged)]),
        "widths": [list(each) for each in held.widths],
        "width": held.width,
        "heights": [[row, pixels] for row, pixels in sorted(held.heights.items()) if pixels != held.height],
        "height": held.height,
        "hidden_rows": rows,
        "hidden_columns": columns,
        "groups": {
            "rows": _groups(held.row_levels, rows),
            "columns": _groups(held.column_levels, columns),
        },
        "frozen": frozen,
        "merged": sorted(map(list, held.merged)),
        "gridlines": view.showGridLines is not False,
        "zoom": int(view.zoomScale or 100),
        "links": links,
        "notes": notes,
    }


def _target(link: Any, sheet: str, names: Mapping[str, str], sheets: list[str]) -> dict[str, Any] | None:
    """Where a link leads: to a cell of this workbook or to a page of the web, never to a file or a script."""
    if link.target:
        return {"url": link.target} if link.target.lower().startswith(_WEB) else None
    return place(link.location or "", sheet, names, sheets)


def place(location: str, sheet: str, names: Mapping[str, str], sheets: list[str]) -> dict[str, Any] | None:
    """The cell that a link's text means, as `'by hand'!D12` or a defined name; None if there is none."""
    text = location.removeprefix("#").strip()
    found = _PLACE.fullmatch(names.get(text, text).split(",")[0])
    if found is None:
        return None
    target = (found["sheet"] or sheet).strip("'").replace("''", "'")
    row, column = int(found["row"]), column_number(found["letters"].upper())
    if target not in sheets or not 1 <= row <= MAX_ROWS or column > MAX_COLUMNS:
        return None
    return {"sheet": target, "row": row, "column": column}


def formula_links(file: CellFile, sheet: str) -> list[list[Any]]:
    """The links that formulas make, as `=HYPERLINK("#sgd!A1","sgd")`, where the target stands in the formula itself."""
    with zipfile.ZipFile(file.path) as archive:
        if b"HYPERLINK(" not in archive.read(file.sheets[sheet]):
            return []
    found = []
    for (row, column), held in file.cells(sheet).items():
        if isinstance(held, str) and (match := _HYPERLINK.match(held)):
            text = match[1].replace('""', '"')
            web = {"url": text} if text.lower().startswith(_WEB) else None
            if target := web or (place(text, sheet, file.names, [*file.sheets]) if text.startswith("#") else None):
                found.append([row, column, target])
    return found


class Ruler:
    """Where rows or columns begin, in pixels: `runs` are the first, the last and the size of those of another size."""

    def __init__(self, usual: int, runs: Iterable[tuple[int, int, int]], most: int) -> None:
        self._usual, self._runs, self._most = usual, [*runs], most

    def start(self, number: int) -> int:
        """The pixels from the first one's beginning to that of this one."""
        other = ((min(last, number - 1) - first + 1, size) for first, last, size in self._runs if first < number)
        return self._usual * (number - 1) + sum(count * (size - self._usual) for count, size in other)

    def at(self, pixel: float) -> int:
        """The one that has this pixel."""
        return max(1, bisect_right(range(1, self._most + 1), pixel, key=self.start))


def rulers(held: Grid) -> tuple[Ruler, Ruler]:
    """The rulers of a sheet's rows and of its columns; what is hidden takes no room."""
    heights = dict(sorted((held.heights | dict.fromkeys(held.hidden_rows, 0)).items()))
    rows: list[tuple[int, int, int]] = []
    for row, size in heights.items():
        if rows and rows[-1][1] == row - 1 and rows[-1][2] == size:
            rows[-1] = (rows[-1][0], row, size)
        else:
            rows.append((row, row, size))
    hidden = {*held.hidden_columns}
    columns = [(first, last, 0 if (first, last) in hidden else size) for first, last, size in held.widths]
    return Ruler(held.height, rows, MAX_ROWS), Ruler(held.width, columns, MAX_COLUMNS)


def _spans(pieces: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Runs of numbers, those that touch put together."""
    found: list[list[int]] = []
    for first, last in sorted(pieces):
        if found and first <= found[-1][1] + 1:
            found[-1][1] = max(found[-1][1], last)
        else:
            found.append([first, last])
    return found


def _groups(levels: list[tuple[int, int, int]], hidden: list[list[int]]) -> list[list[Any]]:
    """Each group's first and last row, its level, and whether it is closed."""
    found = []
    for level in sorted({each for _, _, each in levels}):
        for first, last in _spans((a, b) for a, b, each in levels if each >= level):
            found.append([first, last, level, any(a <= first and last <= b for a, b in hidden)])
    return found
