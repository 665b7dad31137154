"""The page in a real Chromium: every workbook, typing, two windows, a hostile file, the keyboard, a phone's width.

Takes most of a minute, for every committed workbook is opened; one server, one browser and one window of each
workbook serve all tests of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.comments import Comment

import sgdsheet
from sgdsheet import book
from sgdsheet.explorer.session import Session
from tests.explorer.cells import asked, cell, seen, show, texts, until

WORKBOOKS = sorted((Path(__file__).parents[2] / "workbooks").glob("*.xlsx"))


def type_into(page: Any, row: int, column: int, text: str) -> dict[str, Any]:
    """Types into a cell, by the keyboard; returns the session's answer."""
    cell(page, row, column).click()
    with page.expect_response(lambda answer: asked(answer) == "set") as answer:
        page.keyboard.type(text)
        page.keyboard.press("Enter")
    return answer.value.json()


@pytest.mark.parametrize("path", WORKBOOKS, ids=lambda path: path.stem)
def test_every_sheet_of_every_workbook_is_shown(path: Path, window: Callable[..., Any]) -> None:
    page = window(path)
    names = page.get_by_role("tab").all_text_contents()
    assert names == [sheet for sheet, state in states(path) if state == "visible"]
    for name in [*names[1:], names[0]]:
        show(page, name)
        page.locator("[role=gridcell]:not(:empty)").nth(3).wait_for()
    assert not page.locator("[role=status].sgd-error").count()


def states(path: Path) -> list[tuple[str, str]]:
    opened = openpyxl.load_workbook(path, read_only=True)
    found = [(sheet.title, sheet.sheet_state) for sheet in opened.worksheets]
    opened.close()
    return found


@pytest.mark.parametrize(
    ("name", "block", "text"), [("linear_sgd", "lr", "0.037"), ("relu_net", "neuron_weight", "1.5e-1")]
)
def test_what_is_typed_is_what_the_saved_file_holds(
    name: str, block: str, text: str, window: Callable[..., Any], tmp_path: Path
) -> None:
    path = next(each for each in WORKBOOKS if each.stem == name)
    page, at = window(path), book.read(path).blocks[block].cell(())
    show(page, at.sheet)
    before = texts(page)
    answer = type_into(page, at.row, at.column, text)
    assert answer["changed"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as .xlsx").click()
    download.value.save_as(tmp_path / "saved.xlsx")
    assert download.value.suggested_filename == path.name
    session = Session(tmp_path / "saved.xlsx")
    until(page, lambda: texts(page) == seen(session, at.sheet, texts(page)))
    assert sum(words != before.get(place) for place, words in texts(page).items()) > 5

    held, saved = sgdsheet.read(tmp_path / "saved.xlsx"), book.read(tmp_path / "saved.xlsx")
    file = {
        (ref.row, ref.column): value
        for block_name, values in held.items()
        for ref, value in zip(saved.blocks[block_name].references().flat, values.flat, strict=True)
        if ref.sheet == at.sheet
    }
    numbers = {(row, column): extra["value"] for row, column, _, _, extra in filled(answer) if "value" in extra}
    common = [place for place in numbers if place in file]
    assert len(common) > 5
    assert [numbers[place] for place in common] == [file[place] for place in common]
    assert held[block] == float(text)


def filled(answer: dict[str, Any]) -> list[list[Any]]:
    return [each for each in answer["cells"] if len(each) == 5]


def test_two_windows_do_not_disturb_each_other(window: Callable[..., Any], workbook: Callable[[str], Path]) -> None:
    path = workbook("small")
    before = path.read_bytes()
    at = book.read(path).blocks["lr"].cell(())
    one, other = window(path), window(path)
    for page in (one, other):
        show(page, at.sheet)
    session = Session(path)
    until(other, lambda: texts(other) == seen(session, at.sheet, texts(other)))
    type_into(one, at.row, at.column, "0.25")
    type_into(other, at.row, at.column, "0.5")
    cell(one, at.row, at.column).filter(has_text="0.25").wait_for()
    cell(other, at.row, at.column).filter(has_text="0.5").wait_for()
    other.keyboard.press("Control+z")
    cell(other, at.row, at.column).filter(has_text=seen(session, at.sheet, texts(other))[at.row, at.column]).wait_for()
    until(other, lambda: texts(other) == seen(session, at.sheet, texts(other)))
    assert texts(one)[at.row, at.column].startswith("0.25")
    assert path.read_bytes() == before


def test_a_hostile_workbook_shows_as_text(window: Callable[..., Any], tmp_path: Path) -> None:
    script = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    made = openpyxl.Workbook()
    sheet: Any = made.active
    sheet.title = "<svg onload=alert(3)>"
    sheet.column_dimensions["A"].width = 60
    sheet["A1"], sheet["A2"], sheet["A3"] = script, 5, "javascript"
    sheet["A2"].number_format = '0"<img src=x onerror=alert(4)>"'
    sheet["A3"].hyperlink = "javascript:alert(5)"
    sheet["A2"].comment = Comment(script, script)
    made.save(tmp_path / "hostile.xlsx")
    page = window(tmp_path / "hostile.xlsx")
    assert page.get_by_role("tab").all_text_contents() == ["<svg onload=alert(3)>"]
    cell(page, 2, 1).wait_for()
    shown = texts(page)
    assert (shown[1, 1], shown[2, 1]) == (script, "5<img src=x onerror=alert(4)>")
    cell(page, 3, 1).click()
    cell(page, 2, 1).hover()
    cell(page, 1, 1).click()
    assert page.evaluate("document.querySelectorAll('.sgdsheet img, .sgdsheet script, [href^=javascript]').length") == 0


def test_by_the_keyboard_alone(window: Callable[..., Any], workbook: Callable[[str], Path]) -> None:
    path = workbook("small")
    at = book.read(path).blocks["lr"].cell(())
    page = window(path)
    tabs = page.get_by_role("tab")
    for _ in range(60):  # to the tabs, past what comes before
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "tab":
            break
    here = tabs.all_text_contents()
    for _ in range(here.index(at.sheet) - here.index(page.evaluate("document.activeElement.textContent"))):
        page.keyboard.press("ArrowRight")
    page.get_by_role("grid", name=f"sheet {at.sheet}", exact=True).wait_for()
    for _ in range(60):  # and back into the cells
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "gridcell":
            break
    page.keyboard.press("Control+Home")
    for key, times in (("ArrowDown", at.row - 1), ("ArrowRight", at.column - 1)):
        for _ in range(times):
            page.keyboard.press(key)
            if page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''").startswith("lr,"):
                break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("lr, ")
    with page.expect_response(lambda answer: asked(answer) == "set"):
        page.keyboard.press("F2")
        page.keyboard.type("0.25")
        page.keyboard.press("Enter")
    cell(page, at.row, at.column).filter(has_text="0.25").wait_for()


def test_stepping_to_what_a_cell_reads_and_back(window: Callable[..., Any], workbook: Callable[[str], Path]) -> None:
    path = workbook("small")
    new = book.read(path).blocks["new_slope"].cell((1,))
    page = window(path)
    show(page, new.sheet)
    cell(page, new.row, new.column).click()
    page.locator(".explained").get_by_role("button", name="slope").first.wait_for()
    names = ["new_slope[1]", "slope[1]", "new_slope[0]", "slope[1]", "new_slope[1]"]
    for key, name in zip([None, "[", "[", "Alt+ArrowLeft", "Alt+ArrowLeft"], names, strict=True):
        if key:
            page.keyboard.press(key)
        page.get_by_role("heading", name=name, exact=True).wait_for()


def test_a_phone_has_one_column(window: Callable[..., Any], workbook: Callable[[str], Path]) -> None:
    path = workbook("small")
    at = book.read(path).blocks["lr"].cell(())
    page = window(path, 390, 780)
    show(page, at.sheet)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    field = page.get_by_label("lr").and_(page.locator("input")).first
    with page.expect_response(lambda answer: asked(answer) == "set") as answer:
        field.fill("0.25")
        field.press("Enter")
    assert answer.value.json()["changed"] or answer.value.ok
    cell(page, at.row, at.column).filter(has_text="0.25").wait_for(state="attached")
