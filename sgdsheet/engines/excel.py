"""Microsoft Excel, driven through xlwings: it runs on Windows and macOS only."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.engines.common import CellError, Value, as_array, require_sheets, require_workbook
from sgdsheet.errors import Error, one_line
from sgdsheet.expr import Range

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

    def calculate(self, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        require_workbook(path)
        import xlwings  # pyright: ignore[reportMissingImports]

        try:
            # Leaving the block quits this instance and no other, whatever happened.
            with xlwings.App(visible=False, add_book=False) as app:
                app.display_alerts = False
                if self.platform == "win32":
                    app.api.AutomationSecurity = NEVER_RUN_MACROS
                book = app.books.open(str(path.resolve()), update_links=False, read_only=True, add_to_mru=False)
                try:
                    if self.platform == "win32":
                        app.api.CalculateFullRebuild()
                    else:
                        app.api.calculate_full_rebuild()
                    require_sheets(path, ranges, [sheet.name for sheet in book.sheets])
                    return [self._read(book.sheets[range_.sheet].range(range_.address), range_) for range_ in ranges]
                finally:
                    book.close()
        except Error:
            raise
        except Exception as error:
            details = getattr(error, "excepinfo", None)
            said = details[2] if details and details[2] else error
            raise Error(f"{path}: Excel cannot calculate this file: {one_line(said)}") from None

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
