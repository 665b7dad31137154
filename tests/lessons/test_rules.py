"""What holds on every sheet of every workbook: a person sees at once what it is, what to change, and what follows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sgdsheet import book
from sgdsheet.expr import column_number
from sgdsheet.lessons import catalogue
from tests.lessons.pages import HEIGHT, WIDTH, Box, Page, pages

Workbook = Callable[[str], Path]

PLAY, READ, DETAILS = "FFD966", "9DC3E6", "BFBFBF"
# How torch calls what it computes: words for its makers. Those of the second line are everybody's, but for a number.
OPERATIONS = (
    r"(addmm|baddbmm|mm|bmm|mul|rsub|where|_?(unsafe_)?view|permute|t|unsqueeze|native_\w+|\w+_backward|amax|amin|cat)(_\d+)?",
    r"(add|sub|div|neg|pow|exp|log|sum|mean|relu|sigmoid|tanh|transpose|expand|squeeze|slice|select|clone|gather)_\d+",
)


@pytest.fixture(params=catalogue())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def _shown(path: Path) -> dict[str, Page]:
    """The sheets that a first reader is meant to look at."""
    return {each: page for each, page in pages(path).sheets.items() if page.tab != DETAILS}


def _of(problems: list[str]) -> None:
    assert not problems, "\n".join(problems)


def test_little_is_frozen(workbook: Workbook, name: str) -> None:
    """At most 400 pixels of a row and 250 of a column: the rest of a screen is for what one scrolls to."""
    sheets = pages(workbook(name)).sheets
    _of([f"{each}: {page.frozen}" for each, page in sheets.items() if page.frozen[0] > 400 or page.frozen[1] > 250])


def test_the_first_screen_has_what_may_be_changed_and_where_it_shows(workbook: Workbook, name: str) -> None:
    path, problems = workbook(name), []
    blocks = book.read(path).blocks
    for each, page in _shown(path).items():
        typed = [place for block in blocks.values() for place in block.typed if place.sheet == each]
        inputs = [p for block in blocks.values() if block.role == "input" for p in block.typed if p.sheet == each]
        problems += [f"{each}: {place.address} is for typing" for place in inputs if not page.box(place).seen]
        first = [place for place in typed if page.left(place.left) < WIDTH - 50 and page.top(place.top) < HEIGHT - 20]
        if typed and not first:
            problems.append(f"{each}: nothing for typing is on the first screen")
        if page.charts and not any(box.seen for box, _ in page.charts):
            problems.append(f"{each}: no chart is on the first screen: {[box for box, _ in page.charts]}")
    _of(problems)


def test_what_may_be_typed_has_one_mark_and_nothing_else_has_it(workbook: Workbook, name: str) -> None:
    path, problems = workbook(name), []
    found = pages(path)
    typed: dict[str, set[tuple[int, int]]] = {}
    for block in book.read(path).blocks.values():
        for place in block.typed:
            rows, columns = range(place.top, place.bottom + 1), range(place.left, place.right + 1)
            typed.setdefault(place.sheet, set()).update((row, column) for row in rows for column in columns)
    for each, page in found.sheets.items():
        if each in ("about", "blocks"):  # which explain the mark
            continue
        marked = {cell for cell, style in page.styles.items() if style in found.marked}
        for what, cells in (
            ("lacks the mark", typed.get(each, set()) - marked),
            ("is marked", marked - typed.get(each, set())),
        ):
            problems += [f"{each}: row {row}, column {column} {what}" for row, column in sorted(cells)[:3]]
    _of(problems)


def test_what_helps_the_sheet_alone_is_out_of_sight(workbook: Workbook, name: str) -> None:
    """No error and no huge number that stands for one: the cells that make them are in closed columns or on details."""
    problems = []
    for each, page in _shown(workbook(name)).items():
        errors = re.findall(r'<c r="([A-Z]+)(\d+)"[^>]* t="e"', page.xml)
        huge = re.findall(r'<c r="([A-Z]+)(\d+)"[^>]*>(?:<f>[^<]*</f>)?<v>-?[\d.]+[eE]\+?[23]\d\d<', page.xml)
        seen = [f"{letters}{row}" for letters, row in errors + huge if not page.hidden(column_number(letters))]
        problems += [f"{each}: {cell}" for cell in seen[:3]]
    _of(problems)


def test_the_first_sheet_is_one_screen_with_links(workbook: Workbook, name: str) -> None:
    page = pages(workbook(name)).sheets["about"]
    assert page.box(page.end).seen
    assert len(page.links) > len(pages(workbook(name)).sheets) / 2


def test_tabs_tell_what_a_sheet_is_for(workbook: Workbook, name: str) -> None:
    path = workbook(name)
    typed = {place.sheet for block in book.read(path).blocks.values() for place in block.typed}
    order = []
    for each, page in list(pages(path).sheets.items())[1:]:
        order.append(page.tab == DETAILS)
        assert page.tab in ((PLAY, DETAILS) if each in typed else (READ, DETAILS)), each
    assert order == sorted(order)  # the details are at the end
    assert "blocks" in pages(path).sheets


def test_each_sheet_leads_to_its_neighbours(workbook: Workbook, name: str) -> None:
    sheets = pages(workbook(name)).sheets
    names = list(sheets)
    for number, each in enumerate(names[1:], start=1):
        row = [place for cell, place in sheets[each].links.items() if re.fullmatch(r"[A-Z]+1", cell)]
        neighbours = {names[0], *names[max(1, number - 1) : number], *names[number + 1 : number + 2]}
        leads = {place.rpartition("!")[0].strip("'").replace("''", "'").replace("&amp;", "&") for place in row}
        assert leads == neighbours, each


def test_charts_can_be_seen_by_all(workbook: Workbook, name: str) -> None:
    """They hold values, have square corners and no legend over the plot; what closed columns hold is drawn."""
    for each, page in pages(workbook(name)).sheets.items():
        for _, chart in page.charts:
            for reference in re.findall(r"<(numRef|strRef)>(.*?)</\1>", chart, re.DOTALL):
                assert "Cache>" in reference[1], each
            assert '<roundedCorners val="0">' in chart, each
            assert '<plotVisOnly val="0">' in chart, each
            assert "<legend>" not in chart or '<overlay val="0"></overlay></legend>' in chart, each


def test_charts_do_not_hide_cells_or_each_other(workbook: Workbook, name: str) -> None:
    problems = []
    for each, page in _shown(workbook(name)).items():
        boxes = [box for box, _ in page.charts]
        problems += [f"{each}: charts at {a} and {b}" for n, a in enumerate(boxes) for b in boxes[:n] if a.meets(b)]
        for row, column in page.styles:
            left, top = page.left(column), page.top(row)
            if not page.hidden(column) and any(box.meets(Box(left, top, left + 6, top + 6)) for box in boxes):
                problems.append(f"{each}: a chart hides row {row}, column {column}")
                break
    _of(problems)


def test_no_block_is_called_as_torch_calls_an_operation(workbook: Workbook, name: str) -> None:
    blocks = book.read(workbook(name)).blocks
    _of([each for each in blocks if re.search(rf"(^|[/.])({'|'.join(OPERATIONS)})$", each)][:20])
