"""The Excel engine against a small stand-in for xlwings, for Excel itself runs on Windows and macOS only.

The stand-in does what xlwings 0.37 does with the calls that the engine makes: on Windows a range's `api` is a COM
object, on macOS an appscript reference.
"""

import datetime
import importlib.machinery
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import openpyxl
import pytest

from sgdsheet.engines import CellError
from sgdsheet.engines.excel import Excel
from sgdsheet.errors import Error
from sgdsheet.expr import Range, Ref


class ComError(Exception):
    """As pywintypes.com_error: no kin to any error that the engine could import."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.excepinfo = args[2]


class MissingValue:
    """As appscript's `k.missing_value`."""


class FakeExcel:
    """What happens to Excel, in order; `cells` maps a sheet and an address to what the system hands over."""

    def __init__(self, cells: dict[tuple[str, str], Any], fails: str = "") -> None:
        self.cells, self.fails, self.events = cells, fails, []

    def note(self, event: str) -> None:
        self.events.append(event)
        if self.fails and event.startswith(self.fails):
            raise ComError(-2147352567, "Exception occurred.", (0, "Microsoft Excel", "It is\nbusy.", None, 0, 0), None)

    def module(self) -> ModuleType:
        module = ModuleType("xlwings")
        module.__spec__ = importlib.machinery.ModuleSpec("xlwings", None)
        module.App = lambda **options: FakeApp(self, options)  # pyright: ignore[reportAttributeAccessIssue]
        module.Book = lambda path: FakeBook(self, path)  # pyright: ignore[reportAttributeAccessIssue]
        return module


class FakeApp:
    display_alerts = True

    def __init__(self, excel: FakeExcel, options: dict[str, Any]) -> None:
        excel.note(f"start {options}")
        self.excel = excel
        self.books = SimpleNamespace(open=self.open)
        self.api = SimpleNamespace(
            CalculateFullRebuild=lambda: excel.note("calculate"), calculate_full_rebuild=lambda: excel.note("calculate")
        )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.excel.note("quit")

    def open(self, path: str, **options: Any) -> Any:
        assert self.display_alerts is False
        self.excel.note(f"open {Path(path).name} {options}")
        return SimpleNamespace(sheets=FakeSheets(self.excel), close=lambda: self.excel.note("close"))


class FakeBook:
    """A workbook that is open before the user's eyes."""

    def __init__(self, excel: FakeExcel, path: str) -> None:
        excel.note(f"open {Path(path).name}")
        self.excel, self.app, self.sheets = excel, self, FakeSheets(excel)
        self._mode = "automatic"

    def calculate(self) -> None:
        self.excel.note("calculate")

    @property
    def calculation(self) -> str:
        return self._mode

    @calculation.setter
    def calculation(self, mode: str) -> None:
        self.excel.note(mode)
        self._mode = mode


class FakeCells:
    """A range that notes what it is given."""

    excel: FakeExcel
    address: str

    def __init__(self, excel: FakeExcel, name: str, address: str) -> None:
        object.__setattr__(self, "api", excel.cells.get((name, address)))
        object.__setattr__(self, "excel", excel)
        object.__setattr__(self, "address", address)

    def __setattr__(self, name: str, given: Any) -> None:
        assert name == "value"
        self.excel.note(f"write {self.address} {given}")


class FakeSheets:
    def __init__(self, excel: FakeExcel) -> None:
        self.excel = excel
        self.names = list(dict.fromkeys(sheet for sheet, _ in excel.cells))

    def __iter__(self) -> Any:
        return iter([SimpleNamespace(name=name) for name in self.names])

    def __getitem__(self, name: str) -> Any:
        def cells(address: str) -> Any:
            if (name, address) in self.excel.cells:
                self.excel.note(f"read {address}")
            return FakeCells(self.excel, name, address)

        return SimpleNamespace(range=cells)


def com(value: Any) -> Any:
    return SimpleNamespace(Value2=value)


def appscript(value: Any, text: Any = None) -> Any:
    def shown() -> Any:
        assert text is not None, "the text was asked for without need"
        return text

    return SimpleNamespace(value=SimpleNamespace(get=lambda: value), string_value=SimpleNamespace(get=shown))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    openpyxl.Workbook().save(tmp_path / "book.xlsx")
    return tmp_path / "book.xlsx"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeExcel], FakeExcel]:
    def put(excel: FakeExcel) -> FakeExcel:
        monkeypatch.setitem(sys.modules, "xlwings", excel.module())
        return excel

    return put


def types(values: list[list[Any]]) -> list[type]:
    return [type(value) for row in values for value in row]


def test_on_windows(path: Path, install: Callable[[FakeExcel], FakeExcel]) -> None:
    block = (
        (1.5, True, "text", None),
        (-2146826281, -2146826246, -2146826252, ""),
        (43831.0, False, "#N/A", -2146826259),
    )
    more = ((-2146826288, -2146826265, -2146826273, -2146820000),)
    excel = install(
        FakeExcel({("by hand", "B2:E4"): com(block), ("it's", "A1:D1"): com(more), ("it's", "C3"): com(7.0)})
    )
    ranges = [Range("by hand", 2, 2, 4, 5), Range("it's", 1, 1, 1, 4), Range("it's", 3, 3, 3, 3)]
    first, second, third = (array.tolist() for array in Excel("win32").calculate(path, ranges))
    assert first == [[1.5, True, "text", None], ["#DIV/0!", "#N/A", "#NUM!", ""], [43831.0, False, "#N/A", "#NAME?"]]
    assert types(first) == [float, bool, str, type(None), *[CellError] * 3, str, float, bool, str, CellError]
    assert second == [["#NULL!", "#REF!", "#VALUE!", "#UNKNOWN!"]]
    assert types(second) == [CellError] * 4
    assert third == [[7.0]]
    assert excel.events == [
        "start {'visible': False, 'add_book': False}",
        "open book.xlsx {'update_links': False, 'read_only': True, 'add_to_mru': False}",
        "calculate",
        "read B2:E4",
        "read A1:D1",
        "read C3",
        "close",
        "quit",
    ]


def test_on_macos(path: Path, install: Callable[[FakeExcel], FakeExcel]) -> None:
    block = [[1.5, True, "text", ""], [MissingValue(), 2, datetime.datetime(2020, 1, 1, 6), MissingValue()]]
    shown = [["2", "TRUE", "text", ""], ["#NUM!", "2", "01.01.2020", "###"]]
    cells = {
        ("S", "A1:D2"): appscript(block, shown),
        ("S", "F1"): appscript(MissingValue(), "#DIV/0!"),
        ("S", "F2"): appscript(0.5),
    }
    excel = install(FakeExcel(cells))
    ranges = [Range("S", 1, 1, 2, 4), Range("S", 1, 6, 1, 6), Range("S", 2, 6, 2, 6)]
    first, second, third = (array.tolist() for array in Excel("darwin").calculate(path, ranges))
    assert first == [[1.5, True, "text", None], ["#NUM!", 2.0, 43831.25, "#UNKNOWN!"]]
    assert types(first) == [float, bool, str, type(None), CellError, float, float, CellError]
    assert second == [["#DIV/0!"]]
    assert types(second) == [CellError]
    assert third == [[0.5]]
    assert excel.events[2] == "calculate"
    assert excel.events[-2:] == ["close", "quit"]


@pytest.mark.parametrize(
    ("fails", "last"),
    [("start", ["start"]), ("open", ["quit"]), ("calculate", ["close", "quit"]), ("read", ["close", "quit"])],
)
def test_what_was_opened_is_closed_upon_failure(
    path: Path, install: Callable[[FakeExcel], FakeExcel], fails: str, last: list[str]
) -> None:
    excel = install(FakeExcel({("S", "A1"): com(1.0)}, fails))
    with pytest.raises(Error) as caught:
        Excel("win32").calculate(path, [Range("S", 1, 1, 1, 1)])
    assert str(caught.value) == f"{path}: Excel cannot calculate this file: It is busy."
    assert [event.split()[0] for event in excel.events][-len(last) :] == last


def test_a_workbook_is_seen_to_train_and_stays_open(path: Path, install: Callable[[FakeExcel], FakeExcel]) -> None:
    excel = install(FakeExcel({("S", "A9"): com(0.5)}))
    cells = [(Ref("S", row, column), float(10 * row + column)) for row in (2, 3) for column in (1, 2)]
    with Excel("win32").watched(path) as book:
        assert book.calculate([*cells, (Ref("S", 7, 4), 1.0)], [Range("S", 9, 1, 9, 1)])[0].tolist() == [[0.5]]
    assert excel.events == [
        "open book.xlsx",
        "manual",
        "write A2:B3 [[21.0, 22.0], [31.0, 32.0]]",
        "write D7 [[1.0]]",
        "calculate",
        "read A9",
        "automatic",
    ]


def test_a_sheet_that_is_not_there(path: Path, install: Callable[[FakeExcel], FakeExcel]) -> None:
    excel = install(FakeExcel({("S", "A1"): com(1.0)}))
    with pytest.raises(Error, match="there is no sheet 'T'; there is S$"):
        Excel("win32").calculate(path, [Range("T", 1, 1, 1, 1)])
    assert excel.events[-2:] == ["close", "quit"]


def test_excel_is_not_started_for_a_file_that_is_no_workbook(
    tmp_path: Path, install: Callable[[FakeExcel], FakeExcel]
) -> None:
    excel = install(FakeExcel({}))
    with pytest.raises(Error):
        Excel("win32").calculate(tmp_path / "none.xlsx", [])
    assert excel.events == []


def test_missing_says_why(monkeypatch: pytest.MonkeyPatch, install: Callable[[FakeExcel], FakeExcel]) -> None:
    assert "Windows and macOS only" in (Excel("linux").missing() or "")
    monkeypatch.setitem(sys.modules, "xlwings", None)
    monkeypatch.setattr("sgdsheet.engines.excel.importlib.util.find_spec", lambda _: None)
    assert "pip install xlwings" in (Excel("win32").missing() or "")
    monkeypatch.undo()
    install(FakeExcel({}))
    monkeypatch.setattr("sgdsheet.engines.excel._installed", lambda _: False)
    assert "not installed" in (Excel("darwin").missing() or "")
    monkeypatch.setattr("sgdsheet.engines.excel._installed", lambda _: True)
    monkeypatch.setitem(sys.modules, "xlwings", FakeExcel({}).module())
    assert Excel("darwin").missing() is None
