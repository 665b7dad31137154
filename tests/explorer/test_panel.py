"""The explanation of a cell in a page: formulas as buttons, the way back, torch's line, late answers."""

from __future__ import annotations

from typing import Any

import pytest

HOSTILE = "<img src=x onerror=alert(1)>"
# A sheet of three cells: loss (row 3) reads y_hat (row 2), which reads w (row 1). Questions are kept in `asked`.
MOUNT = """async (changes) => {
    const {Panel} = await import("./panel.js");
    const cell = (row) => ({sheet: "steps", top: row, left: 4, bottom: row, right: 4});
    const names = {1: "w", 2: "y_hat", 3: "loss"};
    window.asked = []; window.went = []; window.drawn = []; window.delays = {};
    window.torch = {state: "agrees", torch: 0.123456789012345, cell: 0.12345678901234502, difference: 2e-17,
                    bound: 1e-12, said: ""};
    const explained = (row) => ({sheet: "steps", row, column: 4, address: `steps!D${row}`, block: names[row] ?? null,
        element: "[2, 0]", role: row === 1 ? "input" : "activation", words: "w * x", in_torch: "w.grad",
        value: "0.12345678901234568", formula: row > 1 ? `=D${row - 1}*2` : null, input: row === 1,
        named: [{text: names[row - 1], cell: cell(row - 1)}, {text: " * 2"}],
        numbers: [{text: "0.5", cell: cell(row - 1)}, {text: " * 2"}],
        reads: row > 1 ? [{...cell(row - 1), name: names[row - 1]}] : [], ...changes[row]});
    const readBy = (row) => ({more: 12,
        readers: row < 3 ? [{...cell(row + 1), sheet: "other sheet", bottom: 9, name: names[row + 1]}] : [],
        ...changes[row]});
    const ask = async (message) => {
        asked.push(`${message.ask} ${message.row}`);
        await new Promise((done) => setTimeout(done, delays[message.row] ?? 0));
        if (message.row === 99) throw new Error("there is no such cell");
        return {torch: () => torch, readers: readBy, explain: explained}[message.ask](message.row);
    };
    const element = document.createElement("aside");
    root.replaceChildren(element);
    window.panel = new Panel(element, {
        ask,
        go: (sheet, row, column) => { went.push(`${sheet} ${row} ${column}`); panel.show("steps", row, column); },
        arrows: (reads, readers) => drawn.push([reads.map((each) => each.top), readers.map((each) => each.top)]),
    });
}"""


@pytest.fixture
def panel(parts: Any) -> Any:
    parts.evaluate(MOUNT, {})
    return parts


def show(page: Any, row: int, name: str) -> None:
    page.evaluate("row => { panel.show('steps', row, 4); }", row)
    page.get_by_role("heading", name=name, exact=True).wait_for()


def test_a_cell_is_explained(panel: Any) -> None:
    show(panel, 2, "y_hat[2, 0]")
    assert panel.locator("header p").all_inner_texts() == [
        "D2 on steps",
        "0.12345678901234568",
        "activation · w * x · in torch: w.grad",
    ]
    assert panel.locator(".explained-formula").all_inner_texts() == ["w * 2", "0.5 * 2"]
    assert panel.locator("code").inner_text() == "=D1*2"
    assert panel.get_by_role("list", name="Reads").inner_text() == "w D1"
    assert panel.get_by_role("list", name="Read by").inner_text() == "loss other sheet D3:D9"
    panel.get_by_text("and 12 more").wait_for()
    panel.get_by_text("Agrees with torch").wait_for()
    assert panel.get_by_role("status").inner_text().split("\n")[-1] == (
        "torch: 0.123456789012345; this cell differs by 2e-17: the same"
    )
    assert panel.evaluate("asked") == ["explain 2", "readers 2", "torch 2"]
    # Pointed at, a piece draws its own arrow; then all are there again.
    panel.get_by_role("button", name="0.5").hover()
    panel.locator("code").hover()
    assert panel.evaluate("drawn") == [[[1], []], [[1], [3]], [[1], []], [[1], [3]]]


def test_steps_by_keyboard_and_the_way_back(panel: Any) -> None:
    show(panel, 3, "loss[2, 0]")
    panel.get_by_role("button", name="y_hat", exact=True).press("Enter")
    panel.get_by_role("heading", name="y_hat[2, 0]", exact=True).wait_for()
    panel.get_by_role("button", name="← back").press("[")
    panel.get_by_role("heading", name="w[2, 0]", exact=True).wait_for()
    way = panel.get_by_role("navigation", name="the way here")
    assert way.get_by_role("button").all_inner_texts() == ["← back", "loss[2, 0]", "y_hat[2, 0]"]
    panel.get_by_role("button", name="← back").press("Alt+ArrowLeft")
    panel.get_by_role("heading", name="y_hat[2, 0]", exact=True).wait_for()
    panel.get_by_role("button", name="← back").press("Backspace")
    panel.get_by_role("heading", name="loss[2, 0]", exact=True).wait_for()
    assert way.count() == 0
    assert panel.evaluate("went") == ["steps 2 4", "steps 1 4", "steps 2 4", "steps 3 4"]
    assert panel.evaluate("[panel.precedent(), panel.reader()]") == [True, False]
    # Who selects another cell by hand has not come that way.
    show(panel, 1, "w[2, 0]")
    assert way.count() == 0


def test_torch_is_asked_one_thing_at_a_time(panel: Any) -> None:
    panel.evaluate("() => { torch = new Promise((done) => { window.answerTorch = done; }); }")
    show(panel, 2, "y_hat[2, 0]")
    panel.wait_for_function("asked.includes('torch 2')")
    show(panel, 3, "loss[2, 0]")
    panel.evaluate("() => new Promise((done) => setTimeout(done, 200))")  # longer than torch is left alone
    assert panel.evaluate("asked.filter((each) => each.startsWith('torch'))") == ["torch 2"]
    panel.evaluate(
        "() => { torch = {state: 'agrees', said: 'the same'}; answerTorch({state: 'differs', said: 'old'}); }"
    )
    panel.get_by_text("Agrees with torch").wait_for()
    assert panel.evaluate("asked.filter((each) => each.startsWith('torch'))") == ["torch 2", "torch 3"]


def test_stale_answers_are_dropped_and_torch_is_asked_once(panel: Any) -> None:
    panel.evaluate("delays[3] = 60; for (const row of [3, 2, 3, 2, 1]) panel.show('steps', row, 4)")
    panel.get_by_role("heading", name="w[2, 0]", exact=True).wait_for()
    panel.wait_for_function("asked.length === 4")
    assert panel.evaluate("asked") == ["explain 3", "explain 1", "readers 1", "torch 1"]
    # Torch's answer about a cell that was left is not shown beside the next.
    panel.evaluate("torch = {...torch, state: 'differs'}; panel.refresh()")
    panel.get_by_text("Differs from torch").wait_for()
    panel.evaluate("torch = {...torch, state: 'agrees'}; delays[3] = 1; panel.show('steps', 3, 4)")
    panel.get_by_text("Agrees with torch").wait_for()
    assert panel.get_by_text("Differs from torch").count() == 0


def test_focus_stays_when_a_number_changes(panel: Any) -> None:
    show(panel, 2, "y_hat[2, 0]")
    panel.get_by_role("button", name="0.5").focus()
    panel.evaluate("panel.refresh()")
    assert panel.evaluate("document.activeElement.textContent") == "0.5"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (None, "Type into it, and everything that reads it changes."),
        ({"kind": "number", "least": 0, "most": 1}, "Type a number from 0 to 1."),
        (
            {"kind": "number", "least": 1, "whole": True, "message": "how many."},
            "how many. Type a whole number of at least 1.",
        ),
        ({"kind": "list", "choices": ["SGD", "Adam"]}, "Choose one of SGD, Adam."),
    ],
)
def test_what_may_be_typed(panel: Any, typed: dict[str, Any] | None, words: str) -> None:
    panel.evaluate("typed => { panel.show('steps', 1, 4, typed); }", typed)
    assert panel.locator(".explained-input").inner_text() == f"An input. {words}"


def test_an_error_is_told(panel: Any) -> None:
    panel.evaluate("panel.show('steps', 99, 4)")
    assert panel.get_by_role("alert").inner_text() == "there is no such cell"


def test_hostile_texts_show_as_text(parts: Any) -> None:
    bad = {"sheet": HOSTILE, "top": 1, "left": 28, "bottom": 1, "right": 28, "name": HOSTILE}
    pieces = [{"text": HOSTILE, "cell": bad}, {"text": HOSTILE}]
    same = dict.fromkeys(("block", "element", "role", "words", "in_torch", "value", "formula", "sheet"), HOSTILE)
    parts.evaluate(MOUNT, {"2": {**same, "named": pieces, "numbers": pieces, "reads": [bad], "readers": [bad]}})
    parts.evaluate("said => { torch = {state: 'unknown', said}; panel.show('steps', 2, 4); }", HOSTILE)
    parts.get_by_role("status").get_by_text(HOSTILE).wait_for()
    assert parts.locator("img").count() == 0
    assert parts.locator("code").inner_text() == HOSTILE
    assert parts.get_by_role("list", name="Reads").inner_text() == f"{HOSTILE} {HOSTILE} AB1"
    parts.get_by_role("button", name=HOSTILE).first.click()
    assert parts.evaluate("went") == [f"{HOSTILE} 1 28"]
