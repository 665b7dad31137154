"""What learners write, right and wrong in the ways that are common, and what grade says of it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner

import sgdsheet
from sgdsheet import book
from sgdsheet.cli import main
from sgdsheet.grading.grader import Grader
from tests.exercises.learner import LESSON, RIGHT, ROWS, first_row, handed_in
from tests.test_verification import with_row

GRADER = Grader()

# Each is judged by itself, so a file has several mistakes: by exercise what is written, the verdict, how many rows are
# right, a part of the reason.
CASES: dict[str, dict[str, tuple[Any, str, int, str]]] = {
    "right in other ways": {
        "grad_slope": ("=-({y}-{y_hat})*2*{x}", "right", ROWS, ""),
        "new_slope": ("={slope}-{batch_ends}*lr*{sum_grad_slope}/{in_batch}", "right", ROWS, ""),
        "y_hat": ("=SUM({intercept},PRODUCT({slope},{x}))", "right", ROWS, ""),
        "grad_intercept": ("={y_hat}-{y}+SUM({y_hat},-{y})", "right", ROWS, ""),
    },
    "a cell that holds it": {
        "grad_slope": ("={x}*{grad_intercept}", "right", ROWS, ""),
        "y_hat": ("={grad_intercept}/2+{y}", "wrong", 0, "refers to itself"),  # which reads y_hat
        "new_slope": ("=epoch_slope", "wrong", 0, "refers to itself"),
    },
    "signs and factors": {
        "grad_slope": ("=2*({y}-{y_hat})*{x}", "wrong", 0, "the sign is wrong"),
        "new_slope": ("={slope}+lr*{sum_grad_slope}/{in_batch}", "wrong", 0, "it climbs"),
        "y_hat": ("={slope}*{x}", "wrong", 0, "the intercept is missing"),
        "grad_intercept": ("={y_hat}-{y}", "wrong", 0, "only half of it"),
    },
    "right by accident": {
        "grad_slope": ("={sum_grad_slope}", "wrong", 0, "refers to itself"),
        "new_slope": ("={slope}-lr*{sum_grad_slope}", "wrong", 10, "right for the inputs in the file only"),
    },
    "no formulas": {
        "grad_slope": (-4, "typed number", 0, "the number -4"),
        "new_slope": (first_row("I do not know"), "wrong", 0, "the text 'I do not know'"),
        "y_hat": ("=0*{x}", "wrong", 0, "it is 0, torch has"),
    },
    "half done": {
        "grad_slope": (lambda row: RIGHT["grad_slope"] if row < 12 else None, "partly", 12, "the rest is blank"),
        "y_hat": ("=2*({slope}", "wrong", 0, "cannot be read"),
        "grad_intercept": ("=NOSUCH({x})", "wrong", 0, "#NAME?"),
    },
    "copied": {"grad_slope": ("=answers!$A$12", "wrong", 0, "reads the sheet of answers")},
}


@pytest.mark.parametrize("case", CASES)
def test_marks(blank: Path, tmp_path: Path, case: str) -> None:
    expected = CASES[case]
    path = handed_in(blank, tmp_path / "in.xlsx", {name: each[0] for name, each in expected.items()})
    marks = {mark.exercise: mark for mark in GRADER.grade(path).marks}
    assert marks.keys() == RIGHT.keys()
    for name, (_, verdict, right, reason) in expected.items():
        assert (marks[name].verdict, marks[name].cells) == (verdict, ROWS), marks[name]
        assert reason in marks[name].reason
        assert marks[name].right == right, marks[name]
    assert all(marks[name].verdict == "blank" for name in RIGHT.keys() - expected.keys())


def test_a_file_of_a_class(blank: Path, tmp_path: Path) -> None:
    """Inputs of one's own, formulas overwritten that are no exercise: neither changes a mark, nor the file."""

    def change(workbook: Any) -> None:
        places = {name: block.panels[0] for name, block in book.read(blank).blocks.items()}
        for name, content in (("lr", 0.05), ("batch_size", 5), ("loss", 0)):
            workbook[places[name].sheet].cell(places[name].top, places[name].left).value = content
        workbook["sgd"]["AB60"] = "=2"  # a helper cell of one's own

    written = {**RIGHT, "grad_slope": "=$AB$60*({y_hat}-{y})*{x}"}
    path = handed_in(blank, tmp_path / "in.xlsx", written, change)
    before = path.read_bytes()
    graded = sgdsheet.grade(path)
    assert [mark.verdict for mark in graded.marks] == ["right"] * 4
    assert graded.right == 4
    assert len(graded.elsewhere) == 1
    assert "loss: formula overwritten by 0 at sgd!" in graded.elsewhere[0]
    assert list(graded.to_frame()["right"]) == [ROWS] * 4
    assert path.read_bytes() == before


def test_the_list_of_exercises_cannot_be_cut(blank: Path, tmp_path: Path) -> None:
    def shorter(workbook: Any) -> None:
        workbook["answers"].delete_rows(6)

    def easier(workbook: Any) -> None:
        workbook["answers"]["B4"] = 1

    def other_cells(workbook: Any) -> None:
        workbook["answers"]["G6"] = "0-3"

    def no_list(workbook: Any) -> None:
        workbook["answers"]["A4"] = "exercise"

    for change in (shorter, easier, other_cells, no_list):
        path = handed_in(blank, tmp_path / "in.xlsx", {}, change)
        with pytest.raises(sgdsheet.Error, match="'answers': was edited"):
            GRADER.grade(path)


def test_command(blank: Path, tmp_path: Path) -> None:
    """A file that cannot be graded is named and makes the exit code 2; all others are graded."""
    half = handed_in(blank, tmp_path / "half.xlsx", {"y_hat": RIGHT["y_hat"], "grad_slope": "={x}"})
    text = tmp_path / "essay.xlsx"
    text.write_text("Dear teacher", encoding="utf-8")
    run = CliRunner()
    result = run.invoke(main, ["grade", str(half), str(text), "--csv"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {text}: ")
    rows = {row["exercise"]: row for row in csv.DictReader(io.StringIO(result.stdout))}
    assert {name: row["mark"] for name, row in rows.items()} == {
        "grad_slope": "wrong",
        "new_slope": "blank",
        "y_hat": "right",
        "grad_intercept": "blank",
    }
    assert rows["y_hat"]["lesson"] == LESSON
    assert rows["y_hat"]["right"] == rows["y_hat"]["cells"] == str(ROWS)
    result = run.invoke(main, ["grade", str(half), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["right"] == 1
    result = run.invoke(main, ["grade", str(half)])
    assert result.exit_code == 0
    assert f"{half}: 1 of 4 right" in result.output


def test_rows_inserted_and_a_sheet_renamed(blank: Path, tmp_path: Path) -> None:
    moved = with_row(handed_in(blank, tmp_path / "in.xlsx", RIGHT), tmp_path / "moved.xlsx", "sgd", 3)
    workbook: Any = openpyxl.load_workbook(moved)
    workbook["sgd"].title = "my steps"
    for cell in (cell for sheet in workbook for row in sheet.iter_rows() for cell in row if cell.data_type == "f"):
        cell.value = cell.value.replace("sgd!", "'my steps'!")
    for name in workbook.defined_names.values():
        name.value = name.value.replace("sgd!", "'my steps'!")
    workbook.save(moved)
    graded = GRADER.grade(moved)
    assert [mark.verdict for mark in graded.marks] == ["right"] * 4
    assert graded.elsewhere == ()
    torn = with_row(handed_in(blank, tmp_path / "in.xlsx", RIGHT), tmp_path / "torn.xlsx", "sgd", 20)
    with pytest.raises(sgdsheet.Error, match="'grad_slope' is no longer at sgd!"):
        GRADER.grade(torn)
