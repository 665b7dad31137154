"""What the cells of an .xlsx file hold: numbers with every digit, also those that are formatted as dates, and formulas.

Read here and not by openpyxl, which makes dates of numbers, goes through every row that a damaged file claims to have,
and takes twice as long. Namespaces are not looked at, so that strict Open XML reads like any other.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

from sgdsheet.book.formulas import shifted
from sgdsheet.errors import Error, one_line
from sgdsheet.expr import MAX_COLUMNS, MAX_ROWS, column_number
from sgdsheet.files import why_no_file

Cells = dict[tuple[int, int], Any]

MOST = 2**30  # bytes of a part; a sheet of three million cells has a fifth of it
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # how an encrypted workbook, and an .xls of before 2007, begins


class CellFile:
    """An .xlsx file: `sheets` gives each sheet's part by its name, in order, `names` the defined names and their texts.

    Raises `Error` for a file that is none, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._texts: list[str] | None = None
        self._kinds: dict[str, str] = {}
        if why := why_no_file(path):
            raise Error(f"{path}: {why}")
        start = self._explained(self._start)
        if start == _OLE:
            raise Error(f"{path}: is encrypted, or an .xls of before 2007; save it as .xlsx without a password")
        if not zipfile.is_zipfile(path):
            raise Error(f"{path}: is no .xlsx file, or is only part of one")
        self.sheets, self.names = self._explained(self._workbook)

    def cells(self, sheet: str) -> Cells:
        """What the cells of a sheet hold by row and column, from 1: a number, a text, a boolean, or a formula's text.

        A formula begins with `=`; a cell that is not there is blank.
        """
        return self._explained(lambda: self._read(self.sheets[sheet]))

    def elements(self, sheet: str, begin: Callable[[str, Mapping[str, str]], None]) -> None:
        """Calls `begin` with the name and the attributes of each element of a sheet's part, as they come."""

        def read() -> None:
            with zipfile.ZipFile(self.path) as archive:
                _parse(archive, self.sheets[sheet], begin)

        self._explained(read)

    def rows(self, sheet: str) -> list[list[Any]]:
        """The same as a list a row, as far as the last cell that is not blank; None where one is."""
        cells = self.cells(sheet)
        rows: list[list[Any]] = [[] for _ in range(max((row for row, _ in cells), default=0))]
        for (row, column), held in sorted(cells.items()):
            line = rows[row - 1]
            line += [None] * (column - 1 - len(line))
            line.append(held)
        return rows

    def _start(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(len(_OLE))

    def _explained(self, read: Callable[[], Any]) -> Any:
        """What `read` returns; what it raises for a damaged file becomes one clear line."""
        try:
            return read()
        except Error:
            raise
        except OSError as error:
            raise Error(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except Exception as error:  # whatever there is to stumble over in a damaged file
            raise Error(f"{self.path}: is no .xlsx file that can be read: {one_line(error, 200)}") from None

    def _workbook(self) -> tuple[dict[str, str], dict[str, str]]:
        with zipfile.ZipFile(self.path) as archive:
            if "mimetype" in archive.namelist() and archive.read("mimetype").startswith(b"application/vnd.oasis"):
                raise Error(f"{self.path}: is an OpenDocument file (.ods); save it as .xlsx and verify that")
            start = _links(archive, "")
            book = next((part for kind, part in start.values() if kind == "officeDocument"), None)
            if book is None:
                raise Error(f"{self.path}: is no .xlsx file: it has no workbook")
            links = _links(archive, book)
            self._kinds = dict(links.values())
            sheets: dict[str, str] = {}
            names: dict[str, str] = {}
            text: list[str] = []

            def begin(tag: str, attributes: Mapping[str, str]) -> None:
                text.clear()
                if tag == "sheet":
                    link = next(value for name, value in attributes.items() if name.rpartition(":")[2] == "id")
                    kind, part = links[link]
                    if kind == "worksheet":
                        sheets[attributes["name"]] = part
                elif tag == "definedName" and "localSheetId" not in attributes:
                    names[attributes["name"]] = ""

            def end(tag: str) -> None:
                if tag == "definedName" and names and not (last := next(reversed(names)), names[last])[1]:
                    names[last] = "".join(text)

            _parse(archive, book, begin, end, text.append)
        return sheets, names

    def _read(self, part: str) -> Cells:
        with zipfile.ZipFile(self.path) as archive:
            if self._texts is None:
                strings = self._kinds.get("sharedStrings")
                self._texts = _texts(archive, strings) if strings in archive.namelist() else []
            return _cells(archive, part, self._texts)


def _parse(
    archive: zipfile.ZipFile,
    part: str,
    begin: Callable[[str, Mapping[str, str]], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], Any] | None = None,
) -> None:
    """Goes through a part's elements, whose names come without a prefix."""
    if archive.getinfo(part).file_size > MOST:
        raise ValueError(f"{part} is larger than {MOST >> 20:,} MB")
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def no_doctype(*_: Any) -> None:
        raise ValueError(f"{part} has a DOCTYPE")

    parser.StartDoctypeDeclHandler = no_doctype
    parser.StartElementHandler = lambda tag, attributes: begin(tag.rpartition(":")[2], attributes)
    if end:
        parser.EndElementHandler = lambda tag: end(tag.rpartition(":")[2])
    parser.CharacterDataHandler = text
    with archive.open(part) as file:
        parser.ParseFile(file)


def _links(archive: zipfile.ZipFile, part: str) -> dict[str, tuple[str, str]]:
    """What a part, or the whole archive, refers to: the kind and the part of each link."""
    folder, name = posixpath.split(part)
    found: dict[str, tuple[str, str]] = {}

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "Relationship" and attributes.get("TargetMode") != "External":
            target = posixpath.normpath(posixpath.join("/", folder, attributes["Target"])).lstrip("/")
            found[attributes["Id"]] = (posixpath.basename(attributes["Type"]), target)

    _parse(archive, posixpath.join(folder, "_rels", f"{name}.rels"), begin)
    return found


def _texts(archive: zipfile.ZipFile, part: str) -> list[str]:
    """The texts that cells share."""
    found: list[str] = []
    pieces: list[str] = []
    inside: list[str] = []

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "si":
            pieces.clear()
        inside.append(tag)

    def end(tag: str) -> None:
        inside.pop()
        if tag == "si":
            found.append("".join(pieces))

    def text(piece: str) -> None:
        if inside[-1] == "t" and "rPh" not in inside:  # how a word is pronounced is not the word
            pieces.append(piece)

    _parse(archive, part, begin, end, text)
    return found


def _cells(archive: zipfile.ZipFile, part: str, texts: list[str]) -> Cells:
    found: Cells = {}
    shared: dict[str, tuple[str, int, int]] = {}  # a formula that several cells share, and where it stands as written
    row = column = 0
    kind = value = formula = None
    rule: Mapping[str, str] = {}
    pieces: list[str] = []

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal row, column, kind, value, formula, rule
        if tag == "c":
            address = attributes.get("r")
            column = column_number(address.rstrip("0123456789")) if address else column + 1
            if column > MAX_COLUMNS:
                raise ValueError(f"{part} has a cell {address}")
            kind, value, formula = attributes.get("t", "n"), None, None
            pieces.clear()
        elif tag == "row":
            row, column = int(attributes.get("r", row + 1)), 0
            if not 1 <= row <= MAX_ROWS:
                raise ValueError(f"{part} has a row {row}")
        elif tag == "f":
            rule = attributes
            pieces.clear()
        elif tag == "v":
            pieces.clear()

    def end(tag: str) -> None:
        nonlocal value, formula
        if tag == "v":
            value = "".join(pieces)
        elif tag == "f":
            formula = "".join(pieces)
            if rule.get("t") == "shared":
                if formula:
                    shared[rule["si"]] = (formula, row, column)
                else:
                    text, top, left = shared[rule["si"]]
                    formula = shifted(text, row - top, column - left)
        elif tag == "t" and kind == "inlineStr":
            value = "".join(pieces)
        elif tag == "c":
            held = f"={formula}" if formula is not None else None if value is None else _held(kind, value, texts)
            if held is not None:
                found[row, column] = held

    _parse(archive, part, begin, end, pieces.append)
    return found


def _held(kind: str | None, value: str, texts: list[str]) -> Any:
    """A cell's content from its type and text."""
    if kind == "n":
        return int(value) if value.lstrip("-").isdigit() else float(value)
    if kind == "b":
        return value == "1"
    return texts[int(value)] if kind == "s" else value
