"""What is particular to IronCalc."""

import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from openpyxl.formatting.rule import ColorScaleRule, FormulaRule
from openpyxl.workbook.defined_name import DefinedName

import sgdsheet.engines.ironcalc
from sgdsheet.book import Book, save
from sgdsheet.engines import CellError
from sgdsheet.engines.ironcalc import IronCalc
from sgdsheet.errors import Error
from sgdsheet.expr import Range

ironcalc = pytest.importorskip("ironcalc")
CELL = [Range("Sheet", 1, 1, 1, 1)]


def write(path: Path, formula: str) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active["A1"] = formula
    book.save(path)
    return path


def test_a_panic_in_rust_is_an_error_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ironcalc, "load_from_xlsx", lambda *_: ironcalc.test_panic())
    path = write(tmp_path / "a.xlsx", "=1")
    with pytest.raises(Error) as caught:
        IronCalc().calculate(path, CELL)
    assert str(caught.value).startswith(f"{path}: IronCalc cannot calculate this file: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def load(*_: str) -> None:
        raise stop

    monkeypatch.setattr(ironcalc, "load_from_xlsx", load)
    with pytest.raises(stop):
        IronCalc().calculate(write(tmp_path / "a.xlsx", "=1"), CELL)


@pytest.mark.parametrize(("formula", "error"), [("=A1+1", "#CIRC!"), ("=SQRT(-1)", "#NUM!"), ("=SUM(1", "#ERROR!")])
def test_errors_of_its_own(tmp_path: Path, formula: str, error: str) -> None:
    (found,) = IronCalc().calculate(write(tmp_path / "a.xlsx", formula), CELL)
    assert type(found[0, 0]) is CellError
    assert found[0, 0] == error


def test_nothing_is_snapped_to_zero(tmp_path: Path) -> None:
    (found,) = IronCalc().calculate(write(tmp_path / "a.xlsx", "=1.1-1-0.1"), CELL)
    assert found[0, 0] == 1.1 - 1 - 0.1


def test_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sgdsheet.engines.ironcalc.importlib.util, "find_spec", lambda _: None)
    assert "pip install ironcalc" in (IronCalc().missing() or "")


def test_names_that_formulas_use_are_known_among_many(tmp_path: Path) -> None:
    """Unused names are dropped where there are many, because IronCalc goes through all of them for every formula."""
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page["A1"], page["B1"], page["A2"] = 2, 10, "=3*Rate.of_it+N_4"
    for number in range(sgdsheet.engines.ironcalc.MANY_NAMES + 1):
        book.defined_names[f"n_{number}"] = DefinedName(f"n_{number}", attr_text="Sheet!$A$1")
    book.defined_names["rate.of_it"] = DefinedName("rate.of_it", attr_text="Sheet!$B$1")
    book.save(tmp_path / "many.xlsx")
    before = (tmp_path / "many.xlsx").read_bytes()
    (found,) = IronCalc().calculate(tmp_path / "many.xlsx", [Range("Sheet", 2, 1, 2, 1)])
    assert found[0, 0] == 32
    assert (tmp_path / "many.xlsx").read_bytes() == before


def test_hidden_names_that_no_formula_uses_are_kept_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = Book("none", "title", [], []), []
    sheet = made.sheet("page", "title", details=True)
    for number in range(sgdsheet.engines.ironcalc.MANY_NAMES + 1):
        sheet.place(f"block_{number}", np.ones(1), "check", 4, 1 + number)
    load = ironcalc.load_from_xlsx

    def loading(path: str, *rest: str) -> object:
        with zipfile.ZipFile(path) as archive:
            seen.append(archive.read("xl/workbook.xml").count(b"<definedName"))
        return load(path, *rest)

    monkeypatch.setattr(ironcalc, "load_from_xlsx", loading)
    save(made, tmp_path / "book.xlsx", IronCalc().calculate)
    with zipfile.ZipFile(tmp_path / "book.xlsx") as archive:
        assert archive.read("xl/workbook.xml").count(b"<definedName hidden=") > 100
    assert seen[0] <= 1  # what is printed on every page has a name of its own


def test_conditional_formats_are_kept_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For their sake IronCalc calculates the whole file while it loads it, and then once more."""
    seen = []
    load = ironcalc.load_from_xlsx

    def loading(path: str, *rest: str) -> object:
        with zipfile.ZipFile(path) as archive:
            seen.extend(archive.read(name) for name in archive.namelist() if "worksheets" in name)
        return load(path, *rest)

    monkeypatch.setattr(ironcalc, "load_from_xlsx", loading)
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page["A1"], page["A2"] = 2, "=A1+1"
    page.conditional_formatting.add("A1:A2", ColorScaleRule(start_type="min", end_type="max"))
    page.conditional_formatting.add("A1", FormulaRule(formula=["A2>1"], stopIfTrue=True))
    book.save(tmp_path / "colours.xlsx")
    (found,) = IronCalc().calculate(tmp_path / "colours.xlsx", [Range("Sheet", 2, 1, 2, 1)])
    assert found[0, 0] == 3
    assert len(seen) == 1
    assert b"conditionalFormatting" not in seen[0]
    assert b"</sheetData>" in seen[0]
