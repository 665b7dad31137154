"""Workbooks as a screen shows them, read from their files: how large columns, rows and charts are, what is where."""

from __future__ import annotations

import posixpath
import re
import zipfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import unescape
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from openpyxl.styles.numbers import BUILTIN_FORMATS
from openpyxl.utils.cell import column_index_from_string

from sgdsheet.expr import Range

WIDTH, HEIGHT = 1680, 860  # what a common screen shows of a sheet at 100 %
EMU = 9525  # of a drawing's units a pixel
# Letters of Carlito's (and Calibri's) bold of 11 points by how many pixels wide they are; 8 where nothing is said.
_LETTERS = {
    3: " '",
    4: "ijlI.-",
    5: "frtJ()",
    6: "cszL/",
    7: "aegkvxyEFSTZ0123456789_",
    9: "ADGHV",
    10: "NOQU",
    11: "w",
}
_PIXELS = {letter: pixels for pixels, letters in _LETTERS.items() for letter in letters} | {"m": 12, "M": 13, "W": 13}
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_CELL = re.compile(r'<c r="([A-Z]+)(\d+)" s="(\d+)"(?: t="(\w+)")?(?:/>|>(.*?)</c>)', re.DOTALL)
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing}"


def bold(text: str) -> float:
    """About how many pixels wide a bold text of 11 points is."""
    return sum(_PIXELS.get(letter, 8) for letter in text)


class Cell(NamedTuple):
    """What a cell holds: the number of its style, its formula (or none), and its value (or text) as the file has it."""

    style: int
    formula: str
    value: str
    number: bool


@dataclass
class Box:
    """A rectangle of pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def seen(self) -> bool:
        """Whether the first screen shows all of it."""
        return self.right <= WIDTH and self.bottom <= HEIGHT

    def meets(self, other: Box) -> bool:
        """Whether both cover a place, by more than the line between them."""
        beside = self.left < other.right - 2 and other.left < self.right - 2
        return beside and self.top < other.bottom - 2 and other.top < self.bottom - 2


class Page:
    """One sheet: its XML, and what follows from it."""

    def __init__(self, name: str, xml: str, charts: list[tuple[str, str]]) -> None:
        self.name, self.xml, self._anchors = name, xml, charts

    @cached_property
    def _widths(self) -> dict[int, float]:
        found = {}
        for text in re.findall(r"<col ([^>]*)>", self.xml):
            says = dict(re.findall(r'(\w+)="([^"]*)"', text))
            pixels = 0 if says.get("hidden") in ("1", "true") else int(float(says.get("width", 13)) * 7)
            found |= dict.fromkeys(range(int(says["min"]), int(says["max"]) + 1), pixels)
        return found

    @cached_property
    def _heights(self) -> dict[int, float]:
        found = {
            int(row): float(points) * 4 / 3 for row, points in re.findall(r'<row r="(\d+)" ht="([\d.]+)"', self.xml)
        }
        return found | {int(row): 0 for row in re.findall(r'<row r="(\d+)"[^>]* hidden="1"', self.xml)}

    @cached_property
    def _default(self) -> float:
        given = re.search(r'<sheetFormatPr[^>]*defaultColWidth="([\d.]+)"', self.xml)
        return int(float(given[1]) * 7) if given else 64

    def left(self, column: int) -> float:
        """Pixels left of a column, which counts from 1."""
        return sum(self._widths.get(each, self._default) for each in range(1, column))

    def top(self, row: int) -> float:
        return sum(self._heights.get(each, 20) for each in range(1, row))

    def box(self, place: Range) -> Box:
        return Box(self.left(place.left), self.top(place.top), self.left(place.right + 1), self.top(place.bottom + 1))

    def hidden(self, column: int) -> bool:
        return self._widths.get(column) == 0

    def closed(self, row: int) -> bool:
        return self._heights.get(row) == 0

    @cached_property
    def frozen(self) -> tuple[float, float]:
        """The width and height that stay in view."""
        pane = re.search(r"<pane ([^>]*)>", self.xml)
        says = dict(re.findall(r'(\w+)="([^"]*)"', pane[1])) if pane else {}
        return self.left(int(float(says.get("xSplit", 0))) + 1), self.top(int(float(says.get("ySplit", 0))) + 1)

    @cached_property
    def charts(self) -> list[tuple[Box, str]]:
        """Each chart's place and its XML."""
        found = []
        for anchor, chart in self._anchors:
            tree = ElementTree.fromstring(anchor)
            column, row = (int(tree.find(f".//{_DRAWING}from/{_DRAWING}{each}").text) for each in ("col", "row"))  # type: ignore[union-attr, arg-type]
            size = tree.find(f".//{_DRAWING}ext")
            assert size is not None
            left, top = self.left(column + 1), self.top(row + 1)
            found.append(
                (Box(left, top, left + int(size.get("cx", 0)) / EMU, top + int(size.get("cy", 0)) / EMU), chart)
            )
        return found

    @cached_property
    def tab(self) -> str | None:
        """The colour of its tab."""
        found = re.search(r'<tabColor rgb="00(\w{6})"', self.xml)
        return found[1] if found else None

    @cached_property
    def links(self) -> dict[str, str]:
        """Where each cell with a link leads."""
        found = {}
        for text in re.findall(r"<hyperlink ([^>]*)>", self.xml):
            says = dict(re.findall(r'(\w+)="([^"]*)"', text))
            found[says["ref"]] = says["location"]
        return found

    @cached_property
    def alternatives(self) -> list[str]:
        """What each drawing says to those who cannot see it."""
        return [says[1] if (says := re.search(r'descr="([^"]*)"', anchor)) else "" for anchor, _ in self._anchors]

    @cached_property
    def open(self) -> set[int]:
        """The hidden columns that no group holds: nobody finds them."""
        texts = [text for text in re.findall(r"<col ([^>]*)>", self.xml) if re.search(r'hidden="(1|true)"', text)]
        spans = [dict(re.findall(r'(\w+)="([^"]*)"', text)) for text in texts if "outlineLevel" not in text]
        return {each for says in spans for each in range(int(says["min"]), int(says["max"]) + 1)}

    @cached_property
    def styles(self) -> dict[tuple[int, int], int]:
        """The style's number of each cell, by row and column."""
        return {place: cell.style for place, cell in self.cells.items()}

    @cached_property
    def cells(self) -> dict[tuple[int, int], Cell]:
        """Each cell, by row and column."""
        found = {}
        for letters, row, number, kind, held in _CELL.findall(self.xml):
            formula, _, rest = held.partition("</f>") if held.startswith("<f") else ("", "", held)
            value = re.sub(r"<[^>]*>", "", rest)
            place = int(row), column_index_from_string(letters)
            found[place] = Cell(int(number), unescape(formula[3:]), unescape(value), kind in ("", "n") and value != "")
        return found

    @cached_property
    def end(self) -> Range:
        """The range of all that it holds."""
        found = re.search(r'<dimension ref="(?:A1:)?([A-Z]+)(\d+)"', self.xml)
        assert found is not None
        return Range(self.name, 1, 1, int(found[2]), column_index_from_string(found[1]))


@dataclass
class Pages:
    """A workbook's sheets by name, which of its styles have the mark of cells for typing, and each style's format."""

    sheets: dict[str, Page]
    marked: set[int]
    formats: list[str]


@lru_cache(maxsize=4)
def pages(path: Path) -> Pages:
    """Reads a workbook that sgdsheet wrote."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith((".xml", ".rels"))}
    names = re.findall(r'<sheet name="([^"]*)"', _attributes_sorted(parts["xl/workbook.xml"]))
    sheets = {}
    for number, name in enumerate(names, start=1):
        part, charts = f"xl/worksheets/sheet{number}.xml", []
        for drawing in _related(parts, part, "drawing"):
            linked = {link: target for link, target in _links(parts, drawing) if "chart" in target}
            for anchor in ElementTree.fromstring(parts[drawing]):
                text = ElementTree.tostring(anchor, encoding="unicode")
                chart = next(target for link, target in linked.items() if f'"{link}"' in text)
                charts.append((text, parts[chart]))
        plain = name.replace("&amp;", "&").replace("&quot;", '"')
        sheets[plain] = Page(plain, parts[part], charts)
    styles = parts["xl/styles.xml"]
    return Pages(sheets, _marked(styles), _formats(styles))


def _attributes_sorted(workbook: str) -> str:
    """Each sheet's element with its name first: the canonical form sorts the attributes."""
    return re.sub(r'<sheet [^>]*?name="([^"]*)"[^>]*>', r'<sheet name="\1">', workbook)


def _links(parts: dict[str, str], part: str) -> list[tuple[str, str]]:
    folder, name = posixpath.split(part)
    text = parts.get(posixpath.join(folder, "_rels", f"{name}.rels"), "")
    found = []
    for each in re.findall(r"<Relationship ([^>]*)>", text):
        says = dict(re.findall(r'(\w+)="([^"]*)"', each))
        found.append((says["Id"], posixpath.normpath(posixpath.join("/", folder, says["Target"])).lstrip("/")))
    return found


def _related(parts: dict[str, str], part: str, kind: str) -> list[str]:
    return [target for _, target in _links(parts, part) if f"/{kind}" in target]


def _formats(styles: str) -> list[str]:
    """The number format of each style."""
    tree = ElementTree.fromstring(styles)
    own = {int(each.get("numFmtId", 0)): each.get("formatCode", "") for each in tree.findall(f"{_MAIN}numFmts/*")}
    known = BUILTIN_FORMATS | own
    return [known[int(each.get("numFmtId", 0))] for each in tree.findall(f"{_MAIN}cellXfs/*")]


def _marked(styles: str) -> set[int]:
    """The numbers of the styles with the yellow of an input and its golden frame."""
    tree = ElementTree.fromstring(styles)

    def children(name: str) -> list[ElementTree.Element]:
        found = tree.find(f"{_MAIN}{name}")
        assert found is not None
        return list(found)

    fills, borders = (
        [ElementTree.tostring(each, encoding="unicode") for each in children(name)] for name in ("fills", "borders")
    )
    return {
        number
        for number, each in enumerate(children("cellXfs"))
        if "FFFFF2CC" in fills[int(each.get("fillId", 0))] and "FFBF9000" in borders[int(each.get("borderId", 0))]
    }
