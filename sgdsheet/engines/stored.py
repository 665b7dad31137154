"""The values that are stored in an .xlsx file which an engine wrote.

Not through openpyxl: that turns numbers which are formatted as dates into dates.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import numpy as np

from sgdsheet.engines.common import CellError, Value, as_array, require_sheets
from sgdsheet.expr import Range, column_number

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def read_stored(stored: Path, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
    """The values of `ranges` as they are stored in the file `stored`, which an engine made of the user's `path`.

    Raises `Error`, naming `path`, if there is no such sheet.
    """
    with zipfile.ZipFile(stored) as parts:
        return _read(parts, path, ranges)


def _read(parts: zipfile.ZipFile, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
    links = {link.attrib["Id"]: link.attrib["Target"] for link in _tree(parts, "xl/_rels/workbook.xml.rels")}
    sheets = {
        sheet.attrib["name"]: links[sheet.attrib[_LINK]]
        for sheet in _tree(parts, "xl/workbook.xml").iter(_MAIN + "sheet")
    }
    require_sheets(path, ranges, sheets)
    texts: list[str] = []
    if "xl/sharedStrings.xml" in parts.namelist():
        for item in _tree(parts, "xl/sharedStrings.xml"):
            runs = [*item.findall(_MAIN + "t"), *item.findall(f"{_MAIN}r/{_MAIN}t")]
            texts.append("".join(run.text or "" for run in runs))
    cells: dict[str, dict[tuple[int, int], Value]] = {}
    for name in {range_.sheet for range_ in ranges}:
        with parts.open("xl/" + sheets[name]) as part:
            cells[name] = _cells(part, texts)
    return [
        as_array(
            [
                cells[range_.sheet].get((row, column))
                for row in range(range_.top, range_.bottom + 1)
                for column in range(range_.left, range_.right + 1)
            ],
            range_.shape,
        )
        for range_ in ranges
    ]


def _cells(part: IO[bytes], texts: list[str]) -> dict[tuple[int, int], Value]:
    cells: dict[tuple[int, int], Value] = {}
    for _, row in ElementTree.iterparse(part):
        if row.tag != _MAIN + "row":
            continue
        number = row.attrib["r"]
        for cell in row:
            place = int(number), column_number(cell.attrib["r"].removesuffix(number))
            stored, kind = cell.find(_MAIN + "v"), cell.get("t", "n")
            if kind == "inlineStr":
                cells[place] = "".join(each.text or "" for each in cell.iter(_MAIN + "t"))
            if stored is None:
                continue
            text = stored.text or ""
            value: Value
            if kind == "n":
                # Gnumeric calculates with more than float64 where it can, and beyond its largest number.
                value = float(text) if math.isfinite(float(text)) else CellError("#NUM!")
            elif kind == "b":
                value = text == "1"
            elif kind == "e":
                value = CellError(text)
            else:
                value = texts[int(text)] if kind == "s" else text
            cells[place] = value
        row.clear()
    return cells


def _tree(parts: zipfile.ZipFile, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(parts.read(name))
