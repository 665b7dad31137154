"""From a book to a file: openpyxl writes all but the cells, and the cells are written here with their values.

openpyxl cannot store a formula together with its value, so it writes the sheets empty: styles, charts, heat maps,
names, drop-downs and page setup. The rows are put into its files as text, first without values for an engine to
calculate, then with them. Where Excel is stricter than openpyxl, the file is put right on the way.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import canonicalize
from xml.sax.saxutils import escape

import numpy as np

from sgdsheet.book.about import finish
from sgdsheet.book.axes import Axes
from sgdsheet.book.charted import with_descriptions, with_values
from sgdsheet.book.sheet import Book, Sheet
from sgdsheet.expr import Range, column_letters
from sgdsheet.files import replacing

Calculate = Callable[[Path, Sequence[Range]], list[np.ndarray]]

# One moment for every file, so that the same input gives the same bytes.
_MOMENT = (2026, 1, 1, 0, 0, 0)
_MOMENT_TEXT = b"2026-01-01T00:00:00Z"

# The order in which the schema wants a font's children; openpyxl has its own.
_FONT_ORDER = ("b", "i", "strike", "condense", "extend", "outline", "shadow", "u", "vertAlign", "sz", "color", "name")


def save(book: Book, path: str | Path, calculate: Calculate) -> None:
    """Writes `book` to `path` with every formula's value, calculated by an engine's `calculate`.

    An existing file is replaced only when the new one is complete. Raises `Error` if the folder cannot be written.
    """
    path = Path(path)
    finish(book)
    parts = _shell(book)
    sheets = {f"xl/worksheets/sheet{number}.xml": sheet for number, sheet in enumerate(book.sheets, start=1)}
    with replacing(path) as temporary:
        without = {part: _filled(parts[part], sheet, None) for part, sheet in sheets.items()}
        pack(temporary, parts | without, zipfile.ZIP_STORED)
        values = calculate(temporary, [sheet.extent() for sheet in book.sheets])
        for (part, sheet), computed in zip(sheets.items(), values, strict=True):
            parts[part] = _filled(parts[part], sheet, computed)
        by_name = {sheet.name: computed for sheet, computed in zip(book.sheets, values, strict=True)}
        axes = Axes(book)
        for part in [each for each in parts if each.startswith("xl/charts/chart")]:
            parts[part] = axes.fitted(with_values(parts[part], by_name), by_name)
        pack(temporary, parts, zipfile.ZIP_DEFLATED)


def _shell(book: Book) -> dict[str, bytes]:
    """The parts of the file as openpyxl writes them, the sheets without rows, put right where Excel is strict."""
    for sheet in book.sheets[1:]:
        sheet.show_powers()
    book.workbook.calculation.fullCalcOnLoad = True
    book.workbook.properties.creator = "sgdsheet"
    book.workbook.properties.title = book.title
    buffer = io.BytesIO()
    book.workbook.save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    core = parts["docProps/core.xml"]
    parts["docProps/core.xml"] = re.sub(rb"(?<=>)\d{4}-\d\d-\d\dT[\d:]+Z?(?=<)", _MOMENT_TEXT, core)
    parts["xl/styles.xml"] = re.sub(rb"<font>.*?</font>", _ordered_font, parts["xl/styles.xml"], flags=re.DOTALL)
    drawn = [sheet.worksheet._charts for sheet in book.sheets if sheet.worksheet._charts]  # type: ignore[attr-defined]
    for number, charts in enumerate(drawn, start=1):
        drawing = f"xl/drawings/drawing{number}.xml"
        parts[drawing] = with_descriptions(parts[drawing], charts)
    return {name: _canonical(part) for name, part in parts.items()}


def _canonical(part: bytes) -> bytes:
    """The part in XML's canonical form: openpyxl writes it otherwise where lxml happens to be installed."""
    return b'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + canonicalize(part.decode()).encode()


def _ordered_font(match: re.Match[bytes]) -> bytes:
    children = re.findall(rb"<(\w+)[^>]*/>", match[0])
    texts = re.findall(rb"<\w+[^>]*/>", match[0])
    order = sorted(
        range(len(texts)),
        key=lambda i: _FONT_ORDER.index(children[i].decode()) if children[i].decode() in _FONT_ORDER else 99,
    )
    return b"<font>" + b"".join(texts[i] for i in order) + b"</font>"


def _filled(shell: bytes, sheet: Sheet, values: np.ndarray | None) -> bytes:
    """A sheet's part with its rows in it; without values, formulas that an engine need not calculate are numbers."""
    extent = sheet.extent().address
    rows = "".join(_rows(sheet, values)).encode()
    whole = re.sub(
        rb"<sheetData>.*</sheetData>",
        lambda _: b"<sheetData>" + rows + b"</sheetData>",
        shell,
        count=1,
        flags=re.DOTALL,
    )
    whole = re.sub(rb'<dimension ref="[^"]*"', f'<dimension ref="{extent}"'.encode(), whole, count=1)
    # Formulas here differ from their neighbours by design: no green triangles for it.
    ignored = (
        f'<ignoredErrors><ignoredError sqref="{extent}" evalError="1" twoDigitTextYear="1" numberStoredAsText="1" '
        'formula="1" formulaRange="1" unlockedFormula="1" emptyCellReference="1"/></ignoredErrors>'
    ).encode()
    tail = re.search(rb"<drawing |<legacyDrawing |<tableParts |</worksheet>", whole)
    assert tail
    return whole[: tail.start()] + ignored + whole[tail.start() :]


def _rows(sheet: Sheet, values: np.ndarray | None) -> Iterator[str]:
    for row in sorted(sheet.cells.keys() | sheet.row_heights.keys() | sheet.folded_rows):
        height = sheet.row_heights.get(row)
        says = f' ht="{height}" customHeight="1"' if height else ""
        if row in sheet.folded_rows:
            says += ' hidden="1" outlineLevel="1"'
        elif row - 1 in sheet.folded_rows:
            says += ' collapsed="1"'
        yield f'<row r="{row}"{says}>'
        computed = None if values is None else values[row - 1] if row <= len(values) else None
        for column, (kind, value, number, known) in sorted(sheet.cells.get(row, {}).items()):
            start = f'<c r="{column_letters(column)}{row}" s="{number}"'
            if values is None and known is not None:
                yield f"{start}><v>{known!r}</v></c>"
            elif kind == "f":
                result = None if computed is None else computed[column - 1]
                # ironcalc complains of a formula without a value
                typed, text = stored(0 if result is None else result)
                yield f"{start}{typed}><f>{escape(value)}</f><v>{text}</v></c>"
            elif kind == "n":
                yield f"{start}><v>{value!r}</v></c>"
            elif value == "":
                yield f"{start}/>"
            else:
                yield f'{start} t="inlineStr"><is><t xml:space="preserve">{escape(_printable(value))}</t></is></c>'
        yield "</row>"


def stored(result: object) -> tuple[str, str]:
    """How the value of a formula is stored: what its cell says of its type, and its text."""
    if type(result) is float:  # as nearly all are
        return "", repr(result)
    if isinstance(result, bool):
        return ' t="b"', str(int(result))
    if isinstance(result, float | int):
        return "", repr(result)
    if result is None:
        return "", "0"
    return f' t="{"e" if type(result) is not str else "str"}"', escape(str(result))


def _printable(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)


def pack(path: Path, parts: dict[str, bytes], compression: int) -> None:
    """Writes an archive of these parts, the same bytes for the same parts."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.compress_type = compression
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, content)
