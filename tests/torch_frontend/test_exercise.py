"""Exercises in a compiled model's workbook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import pytest
import torch

import sgdsheet
from sgdsheet import book
from sgdsheet.exercises.left import left
from sgdsheet.torch_frontend.compiled import Compiled

BLANK = ["0/grad/2.weight", "1/param/2.bias"]


def compiled(exercise: Any = ()) -> Compiled:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    x, y = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]), torch.tensor([[0.0], [1], [1], [0]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = torch.nn.functional.mse_loss
    return sgdsheet.compile(model, x, y, loss, optimizer, steps=2, exercise=exercise)


def test_blank_then_written_then_graded(tmp_path: Path) -> None:
    compiled(BLANK).save(tmp_path / "blank.xlsx")
    compiled().save(tmp_path / "full.xlsx")
    report = sgdsheet.verify(tmp_path / "blank.xlsx", sets=1)
    assert report.ok
    assert {row.block for row in report.rows if row.verdict == "exercise: blank"} == {*BLANK}
    assert [mark.verdict for mark in sgdsheet.grade(tmp_path / "blank.xlsx").marks] == ["blank"] * 2

    full: Any
    workbook: Any
    full, workbook = (openpyxl.load_workbook(tmp_path / f"{name}.xlsx") for name in ("full", "blank"))
    saved = book.read(tmp_path / "blank.xlsx")
    for each, after in zip(left(saved)[2], ("", "*2"), strict=True):
        for cell in each.lives(saved):
            answer = full[cell.sheet].cell(cell.row, cell.column).value
            workbook[cell.sheet].cell(cell.row, cell.column).value = f"=({str(answer)[1:]}){after}"
    workbook.save(tmp_path / "in.xlsx")
    graded = sgdsheet.grade(tmp_path / "in.xlsx")
    assert [(mark.exercise, mark.verdict) for mark in graded.marks] == list(zip(BLANK, ("right", "wrong"), strict=True))
    assert graded.marks[1].reason == "twice too large"

    for row in workbook["program"].iter_rows(min_row=4):  # so that another formula would be right
        for cell in row:
            cell.value = str(cell.value or "").replace("tanh", "sigmoid")
    workbook.save(tmp_path / "forged.xlsx")
    with pytest.raises(sgdsheet.Error, match="program that it carries was edited"):
        sgdsheet.grade(tmp_path / "forged.xlsx")


@pytest.mark.parametrize(
    ("exercise", "says"),
    [
        (["0/grad/9.weight"], "no block is called '0/grad/9.weight'; did you mean"),
        ("0/param/0.weight", "holds no formulas"),
        (BLANK * 2, "is to be blank twice"),
    ],
)
def test_refused(exercise: Any, says: str) -> None:
    with pytest.raises(sgdsheet.Error, match=says):
        compiled(exercise)
