"""What hands do in the page, in a real Chromium: keys that commit, ranges copied and pasted, numbers dragged, links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.styles import PatternFill
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.hyperlink import Hyperlink

from tests.explorer.cells import asked, cell

COPIED = """text => {
  const data = new DataTransfer();
  if (text !== null) data.setData("text/plain", text);
  const kind = text === null ? "copy" : "paste";
  const event = new ClipboardEvent(kind, { clipboardData: data, bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(event);
  return data.getData("text/plain");
}"""


@pytest.fixture
def page(window: Callable[..., Any], tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A sheet of its own: A1:B3 may be typed into, C is A + B, A5 is a list, A6 and A7 are links, B6 is none."""
    made = openpyxl.Workbook()
    sheet: Any = made.active
    sheet.title = "hands"
    numbers = DataValidation("decimal", operator="between", formula1="-1000", formula2="1000")
    choices = DataValidation("list", formula1='"SGD,Adam,RMSprop"')
    choices.showErrorMessage = True
    for row in (1, 2, 3):
        sheet.append([row / 10, row, f"=A{row}+B{row}"])
        for each in "AB":
            numbers.add(f"{each}{row}")
            sheet[f"{each}{row}"].fill = PatternFill("solid", fgColor="FFF2CC")
    sheet["A5"] = "SGD"
    choices.add("A5")
    sheet["A6"], sheet["A6"].hyperlink = "outside", "https://example.org/"
    sheet["A7"], sheet["A7"].hyperlink = "inside", Hyperlink(ref="A7", location="hands!C3")
    sheet["B6"], sheet["B6"].hyperlink = "nowhere", "javascript:alert(1)"
    sheet.add_data_validation(numbers)
    sheet.add_data_validation(choices)
    made.save(tmp_path / "hands.xlsx")
    return window(tmp_path / "hands.xlsx", 900, 600, **getattr(request, "param", {}))


def changed(page: Any, act: Callable[[], Any], ask: str = "set") -> dict[str, Any]:
    """What the session answers to the change that this makes."""
    with page.expect_response(lambda answer: asked(answer) == ask) as answer:
        act()
    return answer.value.json()


def at(page: Any) -> str:
    return page.evaluate("""() => {
      const here = document.activeElement;
      return `${here.parentElement.getAttribute("aria-rowindex")} ${here.getAttribute("aria-colindex")}`;
    }""")


def says(page: Any, words: str) -> None:
    page.locator(".sgd-status").filter(has_text=words).wait_for()


@pytest.mark.parametrize(
    ("key", "to"), [("Enter", "3 2"), ("Shift+Enter", "1 2"), ("Tab", "2 3"), ("Shift+Tab", "2 1"), ("Escape", "2 2")]
)
def test_keys_commit_and_move_on(page: Any, key: str, to: str) -> None:
    cell(page, 2, 2).dblclick()
    field = page.locator(".sgd-edit")
    assert field.input_value() == "2"
    field.fill("0.5")
    if key == "Escape":
        page.keyboard.press(key)
    else:
        assert changed(page, lambda: page.keyboard.press(key))["undo"] == 1
    cell(page, 2, 3).filter(has_text="2.2" if key == "Escape" else "0.7").wait_for()
    assert at(page) == to


def test_a_range_is_copied_and_a_block_is_pasted_as_one_change(page: Any) -> None:
    cell(page, 1, 2).click()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    says(page, "B1:C2 chosen")
    assert page.evaluate(COPIED, None) == "1\t1.1\n2\t2.2"
    cell(page, 3, 1).click()
    page.mouse.move(*middle(cell(page, 3, 1)))
    page.mouse.down()
    page.mouse.move(*middle(cell(page, 1, 2)), steps=4)
    page.mouse.up()
    says(page, "A1:B3 chosen")
    answer = changed(page, lambda: page.evaluate(COPIED, "1\t10\r\n2\t20\r\n-3e-1\t30\r\n"))
    assert (answer["undo"], len(answer["changed"])) == (1, 9)
    cell(page, 3, 3).filter(has_text="29.7").wait_for()
    changed(page, lambda: page.keyboard.press("Control+z"), "undo")
    cell(page, 3, 3).filter(has_text="3.3").wait_for()
    changed(page, lambda: page.keyboard.press("Control+Shift+z"), "redo")
    cell(page, 3, 3).filter(has_text="29.7").wait_for()
    cell(page, 2, 2).click()
    page.evaluate(COPIED, "5\t6")
    says(page, "nothing was pasted: C2 is computed; only yellow cells take numbers")
    assert cell(page, 2, 2).inner_text() == "20"


def middle(where: Any) -> tuple[float, float]:
    box = where.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_links_lead_on(page: Any) -> None:
    outside = page.get_by_role("link", name="outside")
    assert (outside.get_attribute("target"), outside.get_attribute("rel")) == ("_blank", "noopener noreferrer")
    assert outside.get_attribute("href") == "https://example.org/"
    page.get_by_role("link", name="inside").click()
    cell(page, 3, 3).and_(page.locator(":focus")).wait_for()
    cell(page, 6, 2).click()
    page.keyboard.press("Enter")
    assert len(page.context.pages) == 1
    assert page.locator("a[href^=javascript]").count() == 0
    page.context.route("https://example.org/**", lambda route: route.fulfill(body="there", content_type="text/html"))
    with page.context.expect_page() as opened:
        outside.click()
    assert opened.value.evaluate("window.opener") is None


def test_a_list_by_the_keyboard(page: Any) -> None:
    cell(page, 5, 1).click()
    page.keyboard.press("F2")
    page.keyboard.press("Escape")  # the list that the browser opens
    page.locator(".sgd-list").focus()
    changed(page, lambda: page.keyboard.press("ArrowDown"))
    cell(page, 5, 1).filter(has=page.locator("option[value=Adam]:checked")).wait_for()


@pytest.mark.parametrize("page", [{"has_touch": True}], indirect=True)
@pytest.mark.parametrize("finger", [False, True], ids=["mouse", "finger"])
def test_a_number_is_dragged_as_one_change(page: Any, finger: bool) -> None:
    cell(page, 1, 2).click()
    x, y = middle(page.locator(".sgd-grip"))
    if finger:
        session = page.context.new_cdp_session(page)
        for kind, points in [("touchStart", [x]), *(("touchMove", [x + 4 * k]) for k in range(1, 9)), ("touchEnd", [])]:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": k, "y": y} for k in points]})
    else:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 32, y, steps=8)
        page.mouse.up()
    cell(page, 1, 3).filter(has_text="5.1").wait_for()
    answer = changed(page, lambda: page.keyboard.press("Control+z"), "undo")
    assert answer["undo"] == 0
    cell(page, 1, 3).filter(has_text="1.1").wait_for()


@pytest.mark.parametrize(
    ("page", "motion"),
    [({"reduced_motion": "no-preference"}, "ease-out"), ({"reduced_motion": "reduce"}, "step-end")],
    indirect=["page"],
)
def test_what_changed_flashes(page: Any, motion: str) -> None:
    cell(page, 1, 1).click()
    page.keyboard.type("7")
    changed(page, lambda: page.keyboard.press("Enter"))
    cell(page, 1, 3).and_(page.locator(".sgd-flash0, .sgd-flash1")).wait_for()
    style = cell(page, 1, 3).evaluate("cell => getComputedStyle(cell).animationTimingFunction")
    assert style == {"ease-out": "ease-out", "step-end": "steps(1)"}[motion]
    says(page, "2 cells on screen changed")
