"""The steps of a run, torch beside each cell, and more steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import sgdsheet
from sgdsheet import verification
from sgdsheet.book import read
from sgdsheet.explorer.beside import torch as beside
from sgdsheet.explorer.play import play, train, trains
from sgdsheet.explorer.session import Session
from sgdsheet.expr import Ref
from sgdsheet.training import train as by_command


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of a small network that goes through three batches."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.5], [2, 0]])
    y = (x[:, :1] - x[:, 1:]).abs()
    batches = [(x[k : k + 2], y[k : k + 2]) for k in (0, 2, 4)]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    path = tmp_path_factory.mktemp("compiled") / "net.xlsx"
    sgdsheet.compile(net, loss=F.mse_loss, optimizer=optimizer, batches=batches).save(path)
    return path


@pytest.mark.parametrize(
    ("lesson", "told"),
    [
        ("small", {"what": "step", "count": 50, "sheet": "sgd", "rows": [[9, 58]], "name": "step"}),
        ("race", {"what": "step", "count": 18, "sheet": "SGD", "rows": [[28, 45]], "name": "SGD_step"}),
        ("brief", {"sheet": "training", "count": 3, "sheets": ["step 1", "step 2", "step 3"], "at": [7, 7, 7]}),
        ("gpt", {"what": "place", "count": 7, "sheet": "network", "rows": [[7, 13]]}),
        ("attention_by_hand", None),
    ],
)
def test_the_rows_that_are_steps(workbook: Callable[[str], Path], lesson: str, told: dict[str, Any] | None) -> None:
    found = play(Session(workbook(lesson)))
    assert found == told or (found is not None and told is not None and found == found | told)


def test_more_steps_are_those_of_the_command_and_one_edit(compiled: Path, tmp_path: Path) -> None:
    here = Session(compiled)
    assert trains(here)
    view = {"sheet": "training", "top": 1, "left": 1, "bottom": 20, "right": 8}
    first = here.answer({"ask": "train", "steps": 2, "view": view})
    assert first["undo"] == 1
    losses = [*first["losses"], *train(here, 3)]
    trained = by_command.train(compiled, tmp_path / "trained.xlsx", steps=5)
    assert (losses[0], losses[-1], len(losses)) == (trained.first_loss, trained.last_loss, 5)
    saved, were = read(trained.path), read(compiled)
    for name, block in saved.blocks.items():
        if name.startswith("0/param/") or name == "steps_made":
            for row, column in [(each.top, each.left) for each in block.typed]:
                cell = Ref(block.panels[0].sheet, row, column)
                assert here.value(cell) == saved.contents[name].ravel()[0]
    here.answer({"ask": "undo", "view": view})
    here.answer({"ask": "undo", "view": view})
    assert not here.typed
    cell = were.blocks["0/param/0.weight"].cell((0, 0))
    assert here.value(cell) == were.contents["0/param/0.weight"][0, 0]


def test_torch_beside_a_cell(workbook: Callable[[str], Path]) -> None:
    here = Session(workbook("small"))
    lr, slope = here.blocks["lr"].cell(()), here.blocks["new_slope"].cell((7,))
    before = beside(here, slope)
    here.enter([(lr, 0.07)])
    found = beside(here, slope)
    assert found["state"] == "agrees"
    assert found["torch"] != before["torch"]
    assert abs(found["cell"] - found["torch"]) == found["difference"] <= found["bound"]
    assert found["blocks"] == found["of"] == len(here.blocks)
    assert beside(here, lr)["state"] == "input"
    here.model.calculate([(slope, 9.0)], ())  # as if a formula were wrong
    here.version += 1
    found = beside(here, slope)
    assert (found["state"], found["cell"], found["blocks"] < found["of"]) == ("differs", 9.0, True)


def test_what_is_typed_while_torch_computes_counts(
    workbook: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Session(workbook("small"))
    lr, slope, rates = here.blocks["lr"].cell(()), here.blocks["new_slope"].cell((7,)), [0.07, 0.09]
    compared = verification.beside

    def slowly(*given: Any) -> Any:
        made = compared(*given)
        if rates:
            here.enter([(lr, rates.pop())])
        return made

    monkeypatch.setattr(verification, "beside", slowly)
    found = beside(here, slope)
    assert (found["state"], found["cell"], rates) == ("agrees", here.value(slope), [])


def test_no_torch_beside_a_workbook_that_makes_no_sense(workbook: Callable[[str], Path]) -> None:
    here = Session(workbook("small"))
    here.enter([(here.blocks["lr"].cell(()), -1.0)])
    found = beside(here, here.blocks["new_slope"].cell((7,)))
    assert (found["state"], found["torch"], found["of"]) == ("unknown", None, 0)
    assert found["said"].startswith("cell sgd!A5 (lr): expected a number")
    assert not trains(Session(workbook("race")))
