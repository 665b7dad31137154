"""What stands in an exercise's workbook, and what its formulas say of what a learner writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openpyxl
import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.engines import Formula, engine, opened
from sgdsheet.exercises.left import left
from sgdsheet.expr import Range
from tests.exercises.learner import LESSON, RIGHT, ROWS, Written, cells, first_row, handed_in

MARK = "FFFFF2CC"  # the fill of what is for typing


def said(blank: Path, written: Written) -> tuple[str, dict[str, str]]:
    """The progress, and what is said of each exercise, on the first sheet."""
    model = opened(engine("ironcalc"), blank)
    assert model is not None
    given = [(cell, Formula(each) if str(each)[:1] == "=" else each) for cell, each in cells(blank, written).items()]
    (found,) = model.calculate(given, [Range("about", 1, 1, 60, 9)])
    rows = [[each for each in row if each is not None] for row in found.tolist()]
    progress = next(row[1] for row in rows if row[:1] == ["Your turn"])
    return progress, {row[0].removeprefix("→ "): row[-1] for row in rows if row and str(row[0]).startswith("→")}


@pytest.mark.parametrize(
    ("written", "progress", "says"),
    [
        ({}, 0, {}),
        (RIGHT, 4, dict.fromkeys(RIGHT, "right")),
        (
            {
                "grad_slope": "=2*({y}-{y_hat})*{x}",
                "new_slope": "={slope}+lr*{sum_grad_slope}/{in_batch}",
                "y_hat": first_row("={slope}*{x}+{intercept}"),
                "grad_intercept": "={y_hat}-{y}",
            },
            0,
            {
                "grad_slope": "the sign is wrong",
                "new_slope": "it climbs: step against it",
                "y_hat": "1 of 50 right, go on",
                "grad_intercept": "only half of it",
            },
        ),
        (
            {
                "grad_slope": "=2*({y_hat}-{y})",
                "new_slope": lambda row: RIGHT["new_slope"] if row < 12 else f"=-({RIGHT['new_slope'][1:]})",
                "grad_intercept": lambda row: "=1/0" if row == ROWS - 1 else None,
            },
            0,
            {
                "grad_slope": "10 of 50 right, else: x is missing",  # where x is 1
                "new_slope": "12 of 50 right, else: the sign is wrong",
                "grad_intercept": "no number: a text or an error",
            },
        ),
        ({"grad_slope": 0, "y_hat": RIGHT["y_hat"]}, 1, {"grad_slope": "not right", "y_hat": "right"}),
    ],
    ids=["blank", "right", "wrong", "broken", "typed"],
)
def test_the_workbook_says_how_it_is(blank: Path, written: Written, progress: int, says: Mapping[str, str]) -> None:
    assert said(blank, written) == (f"{progress} of 4 right", dict.fromkeys(RIGHT, "not yet") | dict(says))


def test_blanks_have_the_mark_and_the_answer_is_out_of_sight(blank: Path) -> None:
    workbook, saved = openpyxl.load_workbook(blank), book.read(blank)
    assert workbook["answers"].sheet_state == "veryHidden"
    assert [sheet.title for sheet in workbook if sheet.sheet_state == "visible"][-1] == "blocks"
    for each in left(saved)[2]:
        first, *_ = blanks = each.lives(saved)
        there = [workbook[cell.sheet].cell(cell.row, cell.column) for cell in blanks]
        assert {(cell.value, cell.fill.fgColor.rgb) for cell in there} == {(None, MARK)}
        assert str(workbook[first.sheet].cell(first.row - 1, first.column).value).startswith("=answers!")
    shown = [str(cell.value) for sheet in workbook if sheet.title != "answers" for row in sheet for cell in row]
    words = {block.name: block.words for block in book.read(blank).blocks.values()}
    assert all(words[name] == "yours to write" for name in RIGHT)
    assert not [text for text in shown if text in ("2 * x * (y_hat - y)", "slope * x + intercept")]


def test_a_blank_makes_no_error(blank: Path) -> None:
    values = openpyxl.load_workbook(blank, data_only=True)
    assert not [cell for sheet in values for row in sheet for cell in row if str(cell.value)[:1] == "#"]


def test_verify_tells_blanks_from_mistakes(blank: Path, tmp_path: Path) -> None:
    path = handed_in(blank, tmp_path / "in.xlsx", {"y_hat": RIGHT["y_hat"], "grad_slope": first_row("={x}")})
    rows = {row.block: row for row in sgdsheet.verify(blank, sets=1).rows}
    assert all(row.ok for row in rows.values())
    assert {name for name, row in rows.items() if row.verdict == "exercise: blank"} == RIGHT.keys()
    rows = {row.block: row for row in sgdsheet.verify(path, sets=1).rows}
    assert rows["y_hat"].ok is False  # for the wrong gradient leads elsewhere
    assert rows["grad_slope"].verdict.startswith("exercise: 1 of 50 cells written; differs most at sgd!")
    assert rows["new_slope"].verdict.startswith("exercise: blank")


@pytest.mark.parametrize(("level", "count"), [(1, 1), (2, 2), (3, 4)])
def test_levels(level: int, count: int) -> None:
    from sgdsheet import generation, lessons

    assert len(generation.exercises(lessons.find(LESSON), level)) == count


@pytest.mark.parametrize(
    ("name", "level", "says"),
    [("tensors", 1, "tensors has no exercises; these have: linear_sgd"), (LESSON, 4, "a level of 1, 2 or 3, got 4")],
)
def test_refused(tmp_path: Path, name: str, level: Any, says: str) -> None:
    with pytest.raises(sgdsheet.Error, match=says):
        sgdsheet.generate(name, tmp_path / "x.xlsx", exercise=level)
    assert not list(tmp_path.iterdir())
