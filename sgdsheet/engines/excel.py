"""Microsoft Excel, driven through xlwings: it runs on Windows and macOS only."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.engines.common import CellError, Value, as_array, require_sheets, require_workbook
from sgdsheet.errors import Error, one_line
from sgdsheet.expr import Range, Ref

# Excel's own numbers for its errors (XlCVError). COM hands an error over as an integer that ends in one of them.
ERRORS = {
    2000: "#NULL!",
    2007: "#DIV/0!",
    2015: "#VALUE!",
    2023: "#REF!",
    2029: "#NAME?",
    2036: "#NUM!",
    2042: "#N/A",
    2043: "#GETTING_DATA",
    2045: "#SPILL!",
    2050: "#CALC!",
}
NEVER_RUN_MACROS = 3  # msoAutomationSecurityForceDisable


class Excel:
    """Calculates in a hidden Excel of its own, which is closed afterwards. See `sgdsheet.engines.Engine`.

    On macOS Excel does not tell a blank cell from one with an empty text; both come back as `None`.

    Arguments:
      platform: the system it runs on, as in `sys.platform`.
    """

    name = "excel"

    def __init__(self, platform: str = sys.platform) -> None:
        self.platform = platform

    def missing(self) -> str | None:
        if self.platform not in ("win32", "darwin"):
            return "Excel runs on Windows and macOS only; use ironcalc or libreoffice"
        if importlib.util.find_spec("xlwings") is None:
            return "the package xlwings is not installed; pip install xlwings"
        if not _installed(self.platform):
            return "Excel itself is not installed; use ironcalc or libreoffice"
        return None

    @contextmanager
    def watched(self, path: Path) -> Iterator[Watched]:
        """The workbook in the Excel that the user sees, opened there if it is not open yet; it stays open, unsaved.

        Formulas are calculated when they are asked for, until the end. Raises `Error` as `calculate` does.
        """
        require_workbook(path)
        import xlwings  # pyright: ignore[reportMissingImports]

        with _explained(path):
            book = xlwings.Book(str(path.resolve()))
            mode, book.app.calculation = book.app.calculation, "manual"
            try:
                yield Watched(self, path, book)
            finally:
                book.app.calculation = mode

    def calculate(self, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        require_workbook(path)
        import xlwings  # pyright: ignore[reportMissingImports]

        # Leaving the block quits this instance and no other, whatever happened.
        with _explained(path), xlwings.App(visible=False, add_book=False) as app:
            app.display_alerts = False
            if self.platform == "win32":
                app.api.AutomationSecurity = NEVER_RUN_MACROS
            book = app.books.open(str(path.resolve()), update_links=False, read_only=True, add_to_mru=False)
            try:
                if self.platform == "win32":
                    app.api.CalculateFullRebuild()
                else:
                    app.api.calculate_full_rebuild()
                return self.read(path, book, ranges)
            finally:
                book.close()

    def read(self, path: Path, book: Any, ranges: Sequence[Range]) -> list[np.ndarray]:
        """The values of ranges in a workbook that Excel has open."""
        require_sheets(path, ranges, [sheet.name for sheet in book.sheets])
        return [self._read(book.sheets[range_.sheet].range(range_.address), range_) for range_ in ranges]

    def _read(self, cells: Any, range_: Range) -> np.ndarray:
        # Not xlwings' own `value`, which makes dates of numbers and `None` of errors.
        if self.platform == "win32":
            values = [_from_windows(value) for value in _flat(cells.api.Value2)]
        else:
            raw = list(_flat(cells.api.value.get()))
            plain = (bool, int, float, str, datetime.datetime, type(None))
            # macOS gives no value for an error; which one it is can only be read off the text that is shown.
            shown = raw if all(isinstance(value, plain) for value in raw) else _flat(cells.api.string_value.get())
            values = [_from_macos(value, text) for value, text in zip(raw, shown, strict=True)]
        return as_array(values, range_.shape)


class Watched:
    """A workbook that somebody looks at while its cells change. See `sgdsheet.engines.Opened`."""

    def __init__(self, excel: Excel, path: Path, book: Any) -> None:
        self._excel, self._path, self._book = excel, path, book

    def calculate(self, cells: Iterable[tuple[Ref, Any]], ranges: Sequence[Range]) -> list[np.ndarray]:
        for range_, values in in_ranges(cells):
            self._book.sheets[range_.sheet].range(range_.address).value = values
        self._book.app.calculate()
        return self._excel.read(self._path, self._book, ranges)


def in_ranges(cells: Iterable[tuple[Ref, Any]]) -> Iterator[tuple[Range, list[list[Any]]]]:
    """Cells that come row after row as ranges, each with its rows: Excel takes a range in the time of one cell."""
    lines: list[tuple[Ref, list[Any]]] = []
    for cell, value in cells:
        first, values = lines[-1] if lines else (cell, [])
        if values and (cell.sheet, cell.row, cell.column) == (first.sheet, first.row, first.column + len(values)):
            values.append(value)
        else:
            lines.append((cell, [value]))
    while lines:
        first, values = lines[0]
        rows = [values]
        for cell, more in lines[1:]:
            below = (cell.sheet, cell.row, cell.column) == (first.sheet, first.row + len(rows), first.column)
            if not below or len(more) != len(values):
                break
            rows.append(more)
        bottom, right = first.row + len(rows) - 1, first.column + len(values) - 1
        yield Range(first.sheet, first.row, first.column, bottom, right), rows
        del lines[: len(rows)]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What goes wrong in Excel becomes one clear line."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        details = getattr(error, "excepinfo", None)
        said = details[2] if details and details[2] else error
        raise Error(f"{path}: Excel cannot calculate this file: {one_line(said)}") from None


def _from_windows(value: Any) -> Value:
    if isinstance(value, int) and not isinstance(value, bool):  # a number is always a float
        return CellError(ERRORS.get(value & 0xFFFF, "#UNKNOWN!"))
    return value


def _from_macos(value: Any, text: Any) -> Value:
    if isinstance(value, datetime.datetime):  # a number that is formatted as a date
        return (value - datetime.datetime(1899, 12, 30)) / datetime.timedelta(days=1)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    if value is None or isinstance(value, str):
        return value or None
    return CellError(text if text in ERRORS.values() else "#UNKNOWN!")


def _flat(values: Any) -> Iterator[Any]:
    """The values row after row; one cell alone comes without a row around it."""
    if isinstance(values, list | tuple):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def _installed(platform: str) -> bool:
    if platform == "darwin":
        application = "Applications/Microsoft Excel.app"
        return Path("/", application).exists() or Path.home().joinpath(application).exists()
    import winreg

    try:
        winreg.CloseKey(winreg.OpenKey(winreg.HKEY_CLASSES_ROOT, "Excel.Application"))  # pyright: ignore
    except OSError:
        return False
    return True
