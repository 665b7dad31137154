"""The grid in a browser, with made-up answers: what is in view, what is typed and dragged, and the way by keyboard."""

from __future__ import annotations

import random
from typing import Any

import pytest

# A sheet of 20,000 rows with a number in each of ten columns; A2 may be typed into, A1 is a long text that begins
# as markup does; rows 1 and 2 are frozen.
START = """async () => {
    const { Grid } = await import("./grid.js");
    const root = document.getElementById("root");
    root.style.cssText = "position:relative;display:block;height:600px;width:800px";
    window.asked = [];
    window.edits = [];
    const ask = async ({ view }) => {
        asked.push(view);
        const cells = [];
        for (let row = view.top; row <= view.bottom; row++)
            for (let column = view.left; column <= Math.min(view.right, 10); column++)
                cells.push(row === 1 ? [1, column, column === 1 ? "<b>long</b> ".repeat(9) : "", 0]
                    : [row, column, String(row), 0, { kind: "n", value: row }]);
        return { version: 1, cells };
    };
    window.grid = new Grid(root, { ask, onSelect() {}, onLink() {}, onSay(text) { window.said = text; },
        onEdit: (cells, dragging) => edits.push([cells, dragging]) });
    grid.styles([{}]);
    const layout = { rows: 20000, columns: 10, width: 64, height: 20, widths: [], heights: [],
        frozen: [2, 0], merged: [], links: [],
        notes: [], charts: [], inputs: [[2, 1, 2, 1, { kind: "number", block: "lr", least: 0 }]] };
    await grid.show(layout, "made up");
    grid.select(2, 1);
}"""


@pytest.fixture
def grid(parts: Any) -> Any:
    parts.add_style_tag(url="explorer.css")
    parts.evaluate(START)
    return parts


def test_only_what_is_in_view_is_there(grid: Any) -> None:
    assert grid.locator(".sgd-cell").count() < 800
    grid.locator(".sgd-scroll").evaluate("element => element.scrollTo(0, 300000)")
    far = grid.locator("[aria-rowindex='15010'] [aria-colindex='3']")
    far.wait_for()
    assert far.inner_text() == "15010"
    assert grid.locator(".sgd-cell").count() < 800
    assert grid.locator("[aria-rowindex='2'] [aria-colindex='1']").is_visible()  # frozen
    assert max(each["bottom"] - each["top"] for each in grid.evaluate("asked")) < 300
    assert grid.locator("[aria-rowindex='1']").inner_text().startswith("<b>long</b>")


def test_typing_commits_moves_on_and_is_given_up(grid: Any) -> None:
    cell = grid.locator("[aria-label='lr, A2, 2, may be typed into']")
    assert cell.evaluate("element => element === document.activeElement")
    grid.keyboard.type("0.5")
    grid.keyboard.press("Enter")
    assert grid.evaluate("edits") == [[[[2, 1, "0.5"]], False]]
    assert grid.evaluate("grid.selected") == [3, 1]
    grid.keyboard.type("7")
    assert grid.locator(".sgd-edit").count() == 0
    assert "computed" in grid.evaluate("said")
    grid.keyboard.press("ArrowUp")
    grid.keyboard.press("F2")
    grid.keyboard.type("9")
    grid.keyboard.press("Escape")
    assert len(grid.evaluate("edits")) == 1
    assert cell.evaluate("element => element === document.activeElement")


def test_a_number_is_dragged_by_its_grip(grid: Any) -> None:
    box = grid.locator(".sgd-grip").bounding_box()
    grid.mouse.move(box["x"] + 5, box["y"] + 8)
    grid.mouse.down()
    grid.mouse.move(box["x"] + 21, box["y"] + 8)
    grid.mouse.up()
    assert [each[1] for each in grid.evaluate("edits")][-1] is False
    assert grid.evaluate("edits.at(-1)[0]") == [[2, 1, 3]]  # two steps up the ladder 2, 2.5, 3


@pytest.mark.parametrize(
    ("value", "steps", "input_", "expected"),
    [
        (0.1, 1, {"block": "lr"}, 0.15),
        (0.1, -1, {"block": "lr"}, 0.09),
        (0.25, 3, {"block": "w"}, 0.28),
        (1e-8, 1, {"block": "eps"}, 1.5e-8),
        (4, 2, {"block": "batch_size", "whole": True}, 6),
        (4, -9, {"block": "batch_size", "whole": True, "least": 1}, 1),
        (-1.5, 1, {"block": "slope"}, -1.4),
    ],
)
def test_the_step_is_the_numbers_own(
    parts: Any, value: float, steps: int, input_: dict[str, Any], expected: float
) -> None:
    made = parts.evaluate(
        """async ([value, steps, input]) => {
            const { dragStep, draggedNumber } = await import("./numbers.js");
            return draggedNumber(value, steps, dragStep(value, input, false), input);
        }""",
        [value, steps, input_],
    )
    assert made == expected


def test_after_fast_scrolling_each_cell_is_the_one_of_its_row_once(grid: Any) -> None:
    grid.evaluate(  # old rows leave before new ones have come
        "ask = grid.ask; grid.ask = async (told) => (await new Promise((go) => setTimeout(go, 90)), ask(told)); null"
    )
    grid.locator(".sgd-scroll").evaluate(
        """scroller => new Promise((done) => {
            const way = [...Array(26).keys()].map((i) => 700 * i);
            for (let at = 17500; at >= 0; at -= 1250) way.push(at); // back faster
            const frame = () => {
                if (!way.length) return done();
                scroller.scrollTop = way.shift();
                requestAnimationFrame(frame);
            };
            frame();
        })"""
    )
    seen = grid.locator("[aria-rowindex='4'] [aria-colindex='3']")
    seen.wait_for()
    grid.wait_for_timeout(500)
    lines = grid.locator(".sgd-row").evaluate_all(
        "rows => rows.map((row) => [row.ariaRowIndex, row.offsetTop, [...row.children].map((cell) => cell.innerText)])"
    )
    shown = [(int(row), texts) for row, _, texts in lines if row]
    assert len({row for row, _ in shown}) == len(shown) > 30
    assert all(set(texts) == {str(row)} for row, texts in shown if row > 1)
    assert len({top - 20 * int(row) for row, top, _ in lines if row}) == 1  # where they belong
    assert all(top < -1000 for row, top, _ in lines if not row)  # those that wait


def test_rows_that_wait_are_nobodys(grid: Any) -> None:
    grid.evaluate("grid.select(30, 1)")
    grid.evaluate("grid.ask = () => new Promise(() => {}); null")  # no new rows come
    grid.locator(".sgd-scroll").evaluate("scroller => scroller.scrollTo(0, 200000)")
    grid.wait_for_timeout(400)
    grid.evaluate("grid.select(2, 1)")  # the cell that was selected is out of view
    waiting = grid.locator(".sgd-row:not([aria-rowindex])")
    assert waiting.count() > 10
    assert waiting.and_(grid.locator("[aria-hidden=true]")).count() == waiting.count()
    assert waiting.locator("[tabindex='0'], [aria-selected=true]").count() == 0
    assert grid.locator("[tabindex='0'][role=gridcell]").count() == 1


def test_rectangles_are_cut_and_joined_without_losing_a_cell(parts: Any) -> None:
    draw = random.Random(5)

    def rectangle() -> dict[str, int]:
        top, left = draw.randint(1, 6), draw.randint(1, 6)
        return {"top": top, "left": left, "bottom": top + draw.randint(0, 4), "right": left + draw.randint(0, 4)}

    pairs = [[rectangle(), rectangle()] for _ in range(3000)]
    answers = parts.evaluate(
        """async (pairs) => {
            const { common, cut, together, without } = await import("./rectangles.js");
            return pairs.map(([one, other]) => [without(one, other), together(one, other), common(one, other),
                cut(one, 6, [-1, 0]), cut(one, 6, [0, 1])]);
        }""",
        pairs,
    )
    for (one, other), (rest, whole, shared, above, beside) in zip(pairs, answers, strict=True):
        assert cells_of(one) - cells_of(other) <= cells_of(rest) <= cells_of(one)
        assert whole is None or cells_of(whole) == cells_of(one) | cells_of(other)
        assert cells_of(shared) == cells_of(one) & cells_of(other)
        assert {"bottom": one["bottom"], "left": one["left"], "right": one["right"]}.items() <= above.items()
        assert {"top": one["top"], "bottom": one["bottom"], "left": one["left"]}.items() <= beside.items()
        assert all(0 < len(cells_of(each)) <= 6 and cells_of(each) <= cells_of(one) for each in (above, beside))
    assert 0 < sum(rest is None for rest, *_ in answers) < sum(whole is not None for _, whole, *_ in answers) < 3000


def cells_of(rectangle: dict[str, int] | None) -> set[tuple[int, int]]:
    if rectangle is None:
        return set()
    rows = range(rectangle["top"], rectangle["bottom"] + 1)
    return {(row, column) for row in rows for column in range(rectangle["left"], rectangle["right"] + 1)}
