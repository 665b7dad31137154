"""What is typed into a window's workbook: what it then shows, the way back, and the file that comes of it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from openpyxl.worksheet.datavalidation import DataValidation

import sgdsheet
from sgdsheet.engines import CellError
from sgdsheet.errors import Error
from sgdsheet.explorer.session import Session
from sgdsheet.expr import Range, Ref

Workbook = Callable[[str], Path]
WORKBOOKS = Path(__file__).parents[2] / "workbooks"
VIEW = {"sheet": "sgd", "top": 1, "left": 1, "bottom": 20, "right": 20}


@pytest.fixture(scope="module")
def path(workbook: Workbook) -> Path:
    return workbook("small")


@pytest.fixture
def session(path: Path) -> Session:
    return Session(path)


def place(session: Session, block: str) -> list[Any]:
    """The first cell of a block that may be typed into, as messages name it."""
    cell = session.blocks[block].typed[0]
    return [cell.sheet, cell.top, cell.left]


def typed(session: Session, block: str, value: Any, view: dict[str, Any] = VIEW) -> dict[str, Any]:
    return session.answer({"ask": "set", "cells": [[*place(session, block), value]], "view": view})


def shown(session: Session) -> dict[str, np.ndarray]:
    """All blocks as the window has them, in the form of `sgdsheet.read`."""
    found = {}
    for name, block in session.blocks.items():
        values = block.whole([session.values(panel) for panel in block.panels])
        flat = [np.nan if isinstance(each, CellError) else each for each in values.ravel()]
        text = any(isinstance(each, str) for each in flat)
        found[name] = np.array(flat, dtype=object if text else float).reshape(block.shape)
    return found


def saved(session: Session, folder: Path) -> Path:
    answer = session.answer({"ask": "save"})
    out = folder / answer["name"]
    out.write_bytes(base64.b64decode(answer["base64"]))
    return out


def test_a_number_that_is_dragged_is_one_step_back(session: Session) -> None:
    cell = place(session, "lr")
    typed(session, "lr", 0.5)
    for value in (0.4, 0.3, 0.2):
        told = session.answer({"ask": "set", "cells": [[*cell, value]], "view": VIEW, "dragging": True})
    assert told["undo"] == 2
    session.answer({"ask": "undo", "view": VIEW})
    assert session.value(Ref(*cell)) == 0.5


@pytest.mark.parametrize(
    ("name", "changes"),
    [("linear_sgd", {"lr": 0.02, "batch_size": 7}), ("relu_net", {"neuron_weight": -1.25, "lr": "2e-2"})],
)
def test_what_is_shown_is_what_the_saved_file_holds_to_the_last_bit(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    session = Session(WORKBOOKS / f"{name}.xlsx")
    cells = [[*place(session, block), value] for block, value in changes.items()]
    view = {"sheet": cells[0][0], "top": 1, "left": 1, "bottom": 40, "right": 30}
    assert session.answer({"ask": "set", "cells": cells, "view": view})["changed"]
    wanted = sgdsheet.read(saved(session, tmp_path))
    now = shown(session)
    assert now.keys() == wanted.keys()
    for block, values in wanted.items():
        np.testing.assert_array_equal(now[block], values, block)


def test_the_cells_are_those_of_the_view_that_hold_or_show_something(session: Session) -> None:
    answer = session.answer({"ask": "cells", "view": VIEW, "charts": True})
    sheet, row, column = place(session, "lr")
    cells = {(each[0], each[1]): each[2:] for each in answer["cells"]}
    text, style, extra = cells[row, column]
    assert sheet == "sgd"
    assert (text, extra) == ("0.03", {"kind": "n", "value": 0.03, "input": True})
    look = session.answer({"ask": "open"})["styles"][style]
    assert look["fill"] == "#fff2cc"
    assert look["bold"]
    assert cells[1, 1][0] == "Stochastic gradient descent, step by step"
    assert [*cells] == sorted(cells)
    losses = answer["series"]["0"][0]
    assert losses["name"] == "loss"
    assert losses["y"] == session.values(session.blocks["loss"].panels[0]).ravel().tolist()


def test_a_change_is_told_and_taken_back_exactly(session: Session) -> None:
    first = session.answer({"ask": "cells", "view": VIEW})
    before = shown(session)
    answer = typed(session, "lr", "0.05")
    assert place(session, "lr")[1:] in answer["changed"]
    assert (answer["undo"], answer["redo"]) == (1, 0)
    now = {(row, column): rest for row, column, *rest in answer["cells"]}
    was = {(row, column): rest for row, column, *rest in first["cells"]}
    assert {cell for cell in now if now[cell] != was[cell]} <= {tuple(cell) for cell in answer["changed"]}
    assert session.value(Ref(*place(session, "lr"))) == session.content(Ref(*place(session, "lr"))) == 0.05
    back = session.answer({"ask": "undo", "view": VIEW})
    assert back["cells"] == first["cells"]
    assert back["at"] == dict(zip(("sheet", "row", "column"), place(session, "lr"), strict=True))
    for name, values in before.items():
        np.testing.assert_array_equal(shown(session)[name], values)
    assert session.typed == {}
    again = session.answer({"ask": "redo", "view": VIEW})
    assert again["cells"] == answer["cells"]
    typed(session, "lr", 0.06)
    with pytest.raises(Error, match="nothing to redo"):
        session.answer({"ask": "redo", "view": VIEW})


@pytest.mark.parametrize(
    ("value", "held"), [("1e-3", 0.001), (" 50% ", 0.5), ("\N{MINUS SIGN}0", 0), (2, 2), (0.25, 0.25), (".5", 0.5)]
)
def test_a_text_that_reads_as_a_number_is_one(session: Session, value: Any, held: float) -> None:
    typed(session, "lr", value)
    assert session.value(Ref(*place(session, "lr"))) == held


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("fast", r"lr \(sgd!A5\): expected a number at least 0, got the text 'fast'"),
        ("0,5", "write a point for a comma"),
        (-1, "expected a number at least 0, got -1"),
        (float("nan"), "expected a number at least 0, got nan"),
        ("1e999", "expected a number at least 0, got inf"),
        (10**400, "expected a number at least 0, got inf"),
        ("nan", "got the text 'nan'"),
        ("1_000", "got the text '1_000'"),
        ("=1+1", "got a formula"),
        (None, "got nothing"),
        (True, "got 'True'"),
        ([1], "expected a number"),
    ],
)
def test_what_does_not_fit_leaves_all_as_it_was(session: Session, value: Any, said: str) -> None:
    version = session.answer({"ask": "cells", "view": VIEW})["version"]
    cells = [[*place(session, "intercept"), 3], [*place(session, "lr"), value]]
    with pytest.raises(Error, match=said) as caught:
        session.answer({"ask": "set", "cells": cells, "view": VIEW})
    assert "\n" not in str(caught.value)
    assert session.answer({"ask": "cells", "view": VIEW})["version"] == version
    assert session.typed == {}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({}, "expected ask to be one of open"),
        ({"ask": ["open"]}, "expected ask to be one of open"),
        ({"ask": "sheet", "sheet": "sdg"}, "there is no sheet 'sdg'; did you mean 'sgd'"),
        ({"ask": "sheet", "sheet": 3}, "there is no sheet '3'"),
        ({"ask": "cells"}, "expected a view"),
        ({"ask": "cells", "view": {**VIEW, "bottom": 100_000}}, "2,000,000 cells is too large"),
        ({"ask": "cells", "view": {**VIEW, "bottom": 2_000_000}}, "expected bottom to be a whole number"),
        ({"ask": "cells", "view": {**VIEW, "top": 21}}, "from its top left"),
        ({"ask": "cells", "view": {**VIEW, "top": True}}, "expected top to be a whole number"),
        ({"ask": "set", "view": VIEW, "cells": []}, "expected cells to be a list"),
        ({"ask": "set", "view": VIEW, "cells": [["sgd", 5, 1]]}, "expected cells to be a list"),
        ({"ask": "set", "view": VIEW, "cells": [["sgd", 9, 6, 1]]}, "sgd!F9: this cell holds a formula"),
        ({"ask": "set", "view": VIEW, "cells": [["sgd", 1, 1, "x"]]}, "sgd!A1: this cell is not one to type into"),
        ({"ask": "undo", "view": VIEW}, "there is nothing to undo"),
    ],
)
def test_a_message_that_cannot_be_answered_is_one_clear_line(path: Path, message: Any, said: str) -> None:
    with pytest.raises(Error, match=said):
        Session(path).answer(message)


def test_answers_are_plain_json(session: Session) -> None:
    told = session.answer({"ask": "open"})
    assert [sheet["name"] for sheet in told["sheets"]][:2] == ["about", "data"]
    typed(session, "lr", 1e200)  # overflows on the way
    for sheet in told["sheets"]:
        view = {"sheet": sheet["name"], "top": 1, "left": 1, "bottom": 40, "right": 30}
        answers = (
            session.answer({"ask": "sheet", "sheet": sheet["name"]}),
            session.answer({"ask": "cells", "view": view, "charts": True}),
        )
        json.dumps(answers, allow_nan=False)


def test_windows_and_other_programs_do_not_disturb_each_other(workbook: Workbook, tmp_path: Path) -> None:
    path = tmp_path / "mine.xlsx"
    path.write_bytes(workbook("small").read_bytes())
    one, two = Session(path), Session(path)
    typed(one, "lr", 0.5)
    path.write_bytes(b"gone")
    assert two.value(Ref(*place(two, "lr"))) == 0.03
    assert saved(one, tmp_path).name == "mine.xlsx"
    assert sgdsheet.read(path)["lr"] == 0.5


def test_threads_take_turns(session: Session) -> None:
    failed: list[BaseException] = []

    def change(values: tuple[float, float]) -> None:
        try:
            for value in values:  # none twice: what stands there already would be no step to undo
                typed(session, "lr", value)
                session.answer({"ask": "undo", "view": VIEW})
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=change, args=(values,)) for values in ((0.01, 0.02), (0.04, 0.05))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert session.value(Ref(*place(session, "lr"))) == 0.03


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A workbook that sgdsheet did not make."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "sheet <script>"
    sheet["A1"], sheet["B1"], sheet["C1"] = "price", 2, "=B1*B2"
    sheet["B3"], sheet["E1"], sheet["E2"] = "low", "low", "high"
    for rule, cell in (
        (DataValidation(type="list", formula1="$E$1:$E$2", allow_blank=True), "B3"),
        (DataValidation(type="custom", formula1="AND(ISNUMBER(B4),B4=INT(B4),B4>0,B4<5)"), "B4"),
    ):
        rule.showErrorMessage = True
        sheet.add_data_validation(rule)
        rule.add(cell)
    path = tmp_path / "foreign.xlsx"
    book.save(path)
    return path


def test_another_programs_workbook_is_shown_and_its_numbers_can_be_typed(foreign: Path, tmp_path: Path) -> None:
    session, sheet = Session(foreign), "sheet <script>"
    view = {"sheet": sheet, "top": 1, "left": 1, "bottom": 5, "right": 5}
    assert session.saved is None
    assert session.answer({"ask": "open"})["sheets"][0]["name"] == sheet

    def put(row: int, column: int, value: Any) -> dict[str, Any]:
        return session.answer({"ask": "set", "cells": [[sheet, row, column, value]], "view": view})

    assert session.value(Ref(sheet, 1, 3)) == 0
    put(1, 2, 3)
    put(3, 2, "high")
    put(4, 2, "4")
    for row, column, value in ((3, 2, "higher"), (4, 2, 5), (4, 2, 1.5), (1, 1, 4), (1, 3, 4), (2, 2, 4)):
        with pytest.raises(Error, match="expected|not one to type into|holds a formula"):
            put(row, column, value)
    put(3, 2, None)
    assert session.answer({"ask": "undo", "view": view})["at"]["row"] == 3
    out = openpyxl.load_workbook(saved(session, tmp_path)).worksheets[0]
    assert [out["B1"].value, out["B3"].value, out["B4"].value] == [3, "high", 4]
    for _ in range(3):
        session.answer({"ask": "undo", "view": view})
    assert session.value(Ref(sheet, 4, 2)) is None
    assert session.values(Range(sheet, 1, 1, 1, 3)).tolist() == [["price", 2.0, 0.0]]
