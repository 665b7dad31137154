"""How cells are drawn, as spreadsheet programs draw them: where a text stands and is cut, and what a list offers."""

from __future__ import annotations

from typing import Any

import pytest

LONG = "a text that is much wider than its cell"
# Columns of 64 pixels, rows of 20; column 4 has 24 pixels. A1 has free cells beside it, A2 has not, C2 stands at the
# right of its cell; A3 is over several lines that its row has no room for; A4 is to be filled; A5 is a list that takes
# other values too. Column 8 has room for the digits of H8 in this machine's font, and for nothing beside them.
START = """async (texts) => {
    const { Grid } = await import("./grid.js");
    const root = document.getElementById("root");
    root.style.cssText = "position:relative;display:block;height:400px;width:800px";
    window.edits = [];
    const ask = async () => ({ version: 1, cells: texts });
    window.grid = new Grid(root, { ask, onSelect() {}, onLink() {}, onEdit: (cells) => edits.push(cells) });
    const line = "1px solid #000000";
    grid.styles([{}, { align: "right" }, { wrap: true }, { bottom: line, right: line }, { align: "fill" },
        { left: line, top: line }]);
    const list = { kind: "list", open: true, block: "optimiser", choices: ["SGD", "Adam"] };
    const digits = Math.ceil(grid.looks.width("123", grid.looks.of(texts[0], 1).font)) + 1;
    const layout = { rows: 20, columns: 10, width: 64, height: 20, widths: [[4, 4, 24], [8, 8, digits]], heights: [],
        frozen: [1, 4], merged: [], links: [], notes: [], charts: [],
        inputs: [[5, 1, 5, 1, list], [6, 3, 6, 4, { kind: "number", block: "w" }]] };
    await grid.show(layout, "made up");
}"""
TEXTS = [
    [1, 1, LONG, 0],
    [2, 1, LONG, 0],
    [2, 2, "next", 3],
    [2, 3, LONG, 1],
    [3, 1, "several lines of text", 2],
    [4, 1, "-", 4],
    [5, 1, "SGD", 0, {"kind": "s", "input": True}],
    *([row, column, "", 5] for row in (1, 2, 4) for column in (4, 5, 6)),
    [6, 3, "1", 0, {"kind": "n", "value": 1, "input": True}],
    [6, 4, "2", 0, {"kind": "n", "value": 2, "input": True}],
    [8, 8, "123", 0, {"kind": "n", "value": 123}],
    [9, 8, "12345", 0, {"kind": "n", "value": 12345}],
]
# How wide a cell's text is, how far it and what of it can be seen are from the cell's edges, and how far below the
# cell's top the middle of its last line is.
EDGES = """([row, column]) => {
    const cell = grid.elementOf(row, column);
    const words = document.createRange();
    words.selectNodeContents(document.createTreeWalker(cell, NodeFilter.SHOW_TEXT).nextNode());
    const [box, line, seen] = [cell, words, cell.firstElementChild ?? cell].map((each) => each.getBoundingClientRect());
    const told = ({ left, right }) => ({ left: left - box.left, right: right - box.right });
    const last = [...words.getClientRects()].at(-1);
    return { width: line.width, text: told(line), seen: told(seen), middle: (last.top + last.bottom) / 2 - box.top };
}"""


@pytest.fixture
def cells(parts: Any) -> Any:
    parts.add_style_tag(url="explorer.css")
    parts.evaluate(START, TEXTS)
    return parts


def edges(cells: Any, row: int, column: int) -> Any:
    return cells.evaluate(EDGES, [row, column])


def test_a_text_is_cut_at_the_edge_of_its_cell_and_not_before(cells: Any) -> None:
    assert edges(cells, 1, 1)["seen"]["right"] > 64  # over the free cells beside it
    cut = edges(cells, 2, 1)
    assert cut["seen"]["right"] == pytest.approx(-1, abs=0.1)  # the line to the next cell stays
    assert cut["text"]["left"] == pytest.approx(2, abs=0.1)
    cut = edges(cells, 2, 3)  # B2 is not free: the end of the text is seen
    assert cut["seen"]["left"] == pytest.approx(0, abs=0.1)
    assert cut["text"]["right"] == pytest.approx(-3, abs=0.1)


@pytest.mark.parametrize(
    ("row", "column"), [(2, 1), (2, 2), (3, 1)]
)  # plain, with lines around the cell, too many lines
def test_the_last_line_of_a_text_stands_at_the_foot_of_its_cell(cells: Any, row: int, column: int) -> None:
    assert edges(cells, row, column)["middle"] == pytest.approx(20 - 18 / 2, abs=0.6)


def test_a_text_that_is_to_fill_its_cell_does(cells: Any) -> None:
    assert edges(cells, 4, 1)["text"]["right"] > -10
    assert set(cells.locator("[aria-rowindex='4'] [aria-colindex='1']").inner_text()) == {"-"}


def test_letters_have_the_same_widths_in_any_size(cells: Any) -> None:
    width = edges(cells, 1, 1)["width"]
    for scale in (0.8, 1.7):
        cells.evaluate("scale => grid.zoom(scale)", scale)
        measured = cells.evaluate("text => grid.looks.width(text, grid.elementOf(1, 1).sgdLook.font)", LONG)
        assert measured == pytest.approx(scale * width, rel=0.003)


@pytest.mark.parametrize("weight", ["", "bold "])
def test_digits_are_as_wide_as_columns_are_made_for(cells: Any, weight: str) -> None:
    measure = "([digits, weight]) => grid.looks.width(digits, weight + grid.elementOf(1, 1).sgdLook.font)"
    wide = cells.evaluate(measure, ["0" * 20, weight])
    assert wide == pytest.approx(20 * 0.507 * 44 / 3, rel=0.02)  # Calibri's digits are 0.507 of the size wide


def test_lines_beside_frozen_cells_can_be_seen(cells: Any) -> None:
    at = """([row, column]) => {
        const cell = grid.elementOf(row, column);
        return [cell.offsetLeft, cell.parentElement.offsetTop + cell.offsetTop];
    }"""
    starts = (
        "([row, column]) => [grid.headWidth + grid.columns.starts[column], grid.headHeight + grid.rows.starts[row]]"
    )
    for place, (back, up) in {(4, 6): (1, 1), (4, 5): (0, 1), (2, 6): (1, 0), (1, 6): (1, 0)}.items():
        left, top = cells.evaluate(starts, place)
        assert cells.evaluate(at, place) == [left - back, top - up]


def test_a_grip_hides_no_number(cells: Any) -> None:
    cells.evaluate("grid.select(6, 3)")
    assert cells.locator(".sgd-grip").count() == 1
    cells.evaluate("grid.select(6, 4)")
    assert cells.locator(".sgd-grip").count() == 0


def test_a_number_takes_the_room_beside_it_before_it_is_smaller(cells: Any) -> None:
    sizes = [
        cells.evaluate("row => parseFloat(getComputedStyle(grid.elementOf(row, 8)).fontSize)", row) for row in (8, 9)
    ]
    assert sizes[1] < sizes[0] == pytest.approx(44 / 3, abs=0.01)
    for row in (8, 9):
        ends = edges(cells, row, 8)["text"]
        assert ends["left"] >= -0.1
        assert ends["right"] == pytest.approx(-1, abs=0.1)  # the line to the next cell stays


def test_a_list_that_takes_other_values_offers_both(cells: Any) -> None:
    cell = cells.locator("[aria-rowindex='5'] [aria-colindex='1']")
    box = cell.bounding_box()
    cells.mouse.click(box["x"] + box["width"] - 6, box["y"] + 10)  # the arrow
    field = cells.locator(".sgd-edit")
    assert field.get_attribute("placeholder") == "SGD"
    assert field.evaluate("field => [...field.list.options].map(({ value }) => value)") == ["SGD", "Adam"]
    cells.keyboard.press("Escape")
    assert cells.locator("datalist").count() == 0
    cells.keyboard.type("RMSprop")
    cells.keyboard.press("Enter")
    cells.evaluate("grid.typing.edit(5, 1, null, true)")
    cells.keyboard.press("Enter")  # nothing chosen: it stays
    assert cells.evaluate("edits") == [[[5, 1, "RMSprop"]]]
