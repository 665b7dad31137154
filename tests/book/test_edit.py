"""A file with other numbers in it is the one that would be written with them, whichever program saved it last."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.book import NO_LESSON, Book, Series, scatter, typed
from sgdsheet.engines.libreoffice import find_soffice
from sgdsheet.errors import Error
from sgdsheet.expr import Ref
from sgdsheet.writing import retyped
from tests.lessons.pages import pages

Workbook = Callable[[str], Path]


def _cell(path: Path, block: str) -> Ref:
    place = book.read(path).blocks[block].panels[0]
    return Ref(place.sheet, place.top, place.left)


def _more(name: str, steps: int) -> Book:
    more = Book(NO_LESSON, "more", [], [])
    sheet = more.sheet(name, "How it went", "A line a step")
    step = sheet.place("trained_step", typed(np.arange(1.0, steps + 1)[:, None]), "data", 5, 1)
    loss = sheet.place("trained_loss", typed(np.exp(-np.arange(steps) / 10)[:, None]), "loss", 5, 2)
    sheet.chart(5, 5, scatter("Loss", "step", "loss", [Series("loss", step, loss)], log=True))
    return more


def test_it_is_the_file_that_would_be_written(tmp_path: Path) -> None:
    first, wanted, out = (tmp_path / f"{name}.xlsx" for name in ("first", "wanted", "out"))
    sgdsheet.generate("batch_norm", first)
    sgdsheet.generate("batch_norm", wanted, lr=0.05)
    retyped(first, out, {_cell(first, "lr"): 0.05})
    assert book.difference(out, wanted) is None
    retyped(out, out, {_cell(first, "lr"): 0.1})
    assert book.difference(out, first) is None


@pytest.mark.parametrize("saved_by", ["sgdsheet", "openpyxl", "libreoffice"])
def test_sheets_are_added_and_replaced(workbook: Workbook, tmp_path: Path, saved_by: str) -> None:
    path, out = tmp_path / "saved.xlsx", tmp_path / "out.xlsx"
    shutil.copy(workbook("batch_norm"), path)
    if saved_by == "openpyxl":
        openpyxl.load_workbook(path).save(path)
    elif saved_by == "libreoffice":
        soffice = find_soffice() or pytest.skip("LibreOffice is not installed")
        profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
        again = tmp_path / "again"
        command = [soffice, profile, "--headless", "--convert-to", "xlsx", "--outdir", str(again), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        path = again / path.name
    retyped(path, out, {_cell(path, "lr"): 0.2}, _more("how it went", 30))
    retyped(out, out, {}, _more("how it went", 20))
    report = sgdsheet.verify(out, sets=0)
    assert report.ok, [row for row in report.rows if not row.ok]
    loaded: Any = openpyxl.load_workbook(out, data_only=True)
    assert loaded.sheetnames[-2:] == ["how it went", "blocks"]
    sheet = loaded["how it went"]
    assert sheet["A1"].font.b
    shown = {sheet.cell(row, column).value for row in range(1, 60) for column in range(1, 5)}
    assert {np.exp(-0.1), np.exp(-1.9)} <= shown
    assert np.exp(-2.0) not in shown
    assert loaded["backward"]["A5"].value == 0.2
    assert len(sheet._charts) == 1
    values = sgdsheet.read(out)
    place = book.read(out).blocks["loss"].panels[0]
    assert loaded[place.sheet].cell(place.top, place.left).value == values["loss"]


def test_blank_text_and_new_cells(workbook: Workbook, tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    cells = {
        Ref("about", 3, 1): None,
        Ref("about", 400, 3): "=1+1 & <b>",
        Ref("about", 1, 90): 0.1 + 0.2,
        Ref("about", 3, 60): -1.5e-300,
    }
    retyped(workbook("batch_norm"), out, cells)
    sheet: Any = openpyxl.load_workbook(out)["about"]
    assert sheet.cell(3, 1).value is None
    assert (sheet.cell(400, 3).value, sheet.cell(400, 3).data_type) == ("=1+1 & <b>", "s")
    assert (sheet.cell(1, 90).value, sheet.cell(3, 60).value) == (0.1 + 0.2, -1.5e-300)
    assert pages(out).sheets["about"].tab == pages(workbook("batch_norm")).sheets["about"].tab


def test_what_cannot_be(workbook: Workbook, tmp_path: Path) -> None:
    out = tmp_path / "out.xlsx"
    with pytest.raises(Error, match="there is no sheet 'nowhere'"):
        retyped(workbook("batch_norm"), out, {Ref("nowhere", 1, 1): 1.0})
    with pytest.raises(Error, match=r"expected a name that ends with \.xlsx"):
        retyped(workbook("batch_norm"), tmp_path / "out.ods", {})
    with pytest.raises(Error, match="not an .xlsx workbook"):
        retyped(Path(__file__), out, {})
    assert not out.exists()
