"""Where a cell's number comes from, said to a student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from sgdsheet.explorer.explain import explain, read_by
from sgdsheet.explorer.session import Session
from sgdsheet.expr import Ref


@pytest.fixture(scope="module")
def session(workbook: Callable[[str], Path]) -> Callable[[str], Session]:
    known: dict[str, Session] = {}

    def opened(name: str) -> Session:
        if name not in known:
            known[name] = Session(workbook(name))
        return known[name]

    return opened


@pytest.mark.parametrize(
    ("lesson", "block", "position", "named"),
    [
        ("small", "new_slope", (3,), "slope - lr * mean_grad_slope"),
        ("small", "slope", (3,), "new_slope above"),
        ("small", "epoch_slope", (0,), "new_slope of step 5"),
        ("small", "epoch_loss", (1,), "SUM(loss[5:10]) / 5"),
        ("small", "shown_slope", (), "INDEX(slope, MIN(show_step, 50))"),
        ("small", "shown_loss", (), "SUMPRODUCT((shown_slope * data_x + shown_intercept - data_y)^2) / 5"),
        ("race", "Adam_exp_avg", (3, 1), "beta1 * [exp_avg above] + (1 - beta1) * decayed_grad"),
        ("race", "Adam_grad", (3, 0), "2 * (param[slope] * x + param[intercept] - y)"),
        ("attention_by_hand", "new_w_v", (0, 2), "w_v - lr * grad_w_v"),
        ("attention_by_hand", "q", (1, 2), "x[1, 0] * w_q[0, 2] + x[1, 1] * w_q[1, 2] + x[1, 2] * w_q[2, 2]"),
        ("attention_by_hand", "grad_k", (2, 0), "SUMPRODUCT(grad_scores[:, 2], q[:, 0])"),
        ("gpt", "hidden", (4, 20), "MAX(SUMPRODUCT(calmer, wide[20, :]), 0)"),
        ("gpt", "attention", (6, 4), "SUMPRODUCT(q, [k of place 5]) / 3.4641"),
        ("brief", "1/state/exp_avg_sq/conv.bias", (1,), 'IF(optimizer = "Adam", (1 - beta2) * conv.bias.grad^2, 0)'),
        ("brief", "1/param/conv.bias", (1,), "new conv.bias of step 1"),
        ("brief", "0/conv", (2, 1, 0, 3), "SUMPRODUCT(x[2, :, 0:3, 3:6], conv.weight[1, :, :, :]) + conv.bias[1]"),
    ],
)
def test_the_formula_with_names(
    session: Callable[[str], Session], lesson: str, block: str, position: tuple[int, ...], named: str
) -> None:
    here = session(lesson)
    cell = here.blocks[block].cell(position)
    found = explain(here, cell)
    assert "".join(piece["text"] for piece in found["named"]) == named
    assert (found["address"], found["block"]) == (cell.place, block)
    pieces = [[piece.get("cell") for piece in found[each] if "cell" in piece] for each in ("named", "numbers")]
    assert pieces[0] == pieces[1]
    assert all(each in [{k: r[k] for k in each} for r in found["reads"]] for each in pieces[0])


def test_the_formula_with_numbers(session: Callable[[str], Session]) -> None:
    here = session("attention_by_hand")
    texts = {
        name: "".join(piece["text"] for piece in explain(here, here.blocks[name].cell(at))["numbers"])
        for name, at in [("new_w_v", (0, 2)), ("scaled", (2, 0)), ("scores", (0, 0))]
    }
    assert texts["new_w_v"] == "0 - 0.1 * (-0.57501)"
    assert texts["scaled"] == "IF(0 = 1, -99, 5 / 2)"
    assert texts["scores"] == "SUMPRODUCT([3, 0, 1, 0], [0, 3, 1, 0])"


def test_a_number_that_was_typed_counts(workbook: Callable[[str], Path]) -> None:
    here = Session(workbook("attention_by_hand"))
    cell, lr = here.blocks["new_w_v"].cell((0, 0)), here.blocks["lr"].cell(())
    here.enter([(lr, 0.25)])
    assert " - 0.25 * " in "".join(piece["text"] for piece in explain(here, cell)["numbers"])
    found = explain(here, lr)
    assert (found["input"], found["formula"], found["named"], found["value"]) == (True, None, [], "0.25")
    assert [each["name"] for each in read_by(here, lr)["readers"]] == ["new_w_q", "new_w_k", "new_w_v"]


def test_readers_are_said_by_block(session: Callable[[str], Session]) -> None:
    here = session("brief")
    found = read_by(here, here.blocks["1/param/conv.bias"].cell((1,)))
    assert [each["name"] for each in found["readers"]] == ["conv", "new conv.bias"]
    panels = [panel.address for panel in here.blocks["1/conv"].panels if panel.left == found["readers"][0]["left"]]
    assert len(panels) == 10
    assert found["readers"][0]["bottom"] - found["readers"][0]["top"] > 50  # the feature's maps of all ten pictures


def test_a_workbook_of_another_program(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    sheet.title = "it's"
    sheet["A1"], sheet["A2"], sheet["B1"], sheet["B2"] = 2, -3, '=A1-A2*(A1&"A2"="A1")', "=SUM($A$1:A2)%"
    other = made.create_sheet("two")
    other["A1"] = "=-'it''s'!A2^2"
    made.save(tmp_path / "theirs.xlsx")
    here = Session(tmp_path / "theirs.xlsx")
    found = explain(here, Ref("it's", 1, 2))
    assert "".join(piece["text"] for piece in found["named"]) == 'A1 - A2 * (A1 & "A2" = "A1")'
    assert "".join(piece["text"] for piece in found["numbers"]) == '2 - (-3) * (2 & "A2" = "A1")'
    assert found["block"] is None
    assert "".join(piece["text"] for piece in explain(here, Ref("two", 1, 1))["named"]) == "-'it''s'!A2^2"
    assert [each["name"] for each in read_by(here, Ref("it's", 2, 1))["readers"]] == ["B1", "B2", "two!A1"]
