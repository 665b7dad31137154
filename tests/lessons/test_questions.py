"""The questions in workbooks/README.md: the cells that it names are there, to type in, on the first screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sgdsheet import book
from tests.lessons.pages import pages

TEXT = (Path(__file__).parents[2] / "workbooks/README.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| [^|]*\? \| `(\w+)`, (?:sheet )?`([^`]+)` \| ([A-Z]+\d+), `(\w+)`")
QUESTIONS = [match.groups() for match in ROW.finditer(TEXT)]


def test_there_are_nine_that_a_cell_answers() -> None:
    assert len(QUESTIONS) == 9


@pytest.mark.parametrize(("name", "sheet", "cell", "block"), QUESTIONS)
def test_the_cell_is_there(workbook: Callable[[str], Path], name: str, sheet: str, cell: str, block: str) -> None:
    (place,) = book.read(workbook(name)).blocks[block].typed
    page = pages(workbook(name)).sheets[sheet]
    assert (place.sheet, place.address) == (sheet, cell)
    assert page.box(place).seen
    assert any(box.seen for box, _ in page.charts)
