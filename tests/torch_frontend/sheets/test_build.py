"""What a compiled workbook looks like: which nodes have cells, where they stand, and what their formulas say."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from torch import nn

import sgdsheet
from sgdsheet.torch_frontend.compiled import compile
from sgdsheet.torch_frontend.sheets import estimate

mse = nn.functional.mse_loss
X = torch.tensor([[0.5, -1.0], [2.0, 0.25], [1.5, -0.5]])
Y = torch.tensor([[1.0], [0.0], [-1.0]])


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))


def saved(path: Path, model: nn.Module, *args: Any, **options: Any) -> Any:
    compile(model, *args, **options).save(path)
    report = sgdsheet.verify(path)
    assert report.ok, report.to_frame().query("not ok").to_string()
    return openpyxl.load_workbook(path)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sheet for each module, as of a large model."""
    monkeypatch.setattr(estimate, "TOGETHER", 0)


@pytest.mark.usefixtures("apart")
def test_sheets_come_in_the_order_of_the_data(tmp_path: Path) -> None:
    model = small()
    book = saved(tmp_path / "m.xlsx", model, X, Y, mse, torch.optim.SGD(model.parameters(), lr=0.1), steps=2)
    steps = [f"{k} {name}" for k in range(2) for name in ("0 Linear", "1 Tanh", "2 Linear", "loss")]
    assert book.sheetnames == ["about", "training", "data", *steps, "2 0 Linear", "2 2 Linear", "program", "blocks"]
    links = {cell.value for row in book["training"].iter_rows() for cell in row if cell.hyperlink}
    assert links >= {"data", *steps, "2 0 Linear", "2 2 Linear"}
    beside = {cell.value: cell.hyperlink.location for cell in book["1 1 Tanh"][2] if cell.hyperlink}
    assert beside == {"← step 1": "'0 1 Tanh'!A1"}


@pytest.mark.usefixtures("apart")
def test_formulas_read_as_in_a_textbook(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    book = saved(tmp_path / "m.xlsx", model, X, Y, mse, optimizer, steps=1)
    cells = {
        name: book[sheet][place].value
        for name in (
            "_0_0_Linear",
            "_0_1_Tanh",
            "_0_grad_0_weight",
            "_0_0_gradient_of_0_Linear",
            "_1_param_0_weight",
        )
        for sheet, place in [next(iter(book.defined_names[name].destinations))]
        for place in [place.replace("$", "").partition(":")[0]]
    }
    assert cells["_0_0_Linear"] == "=SUMPRODUCT(data!A6:B6,A6:B6)+A13"
    assert cells["_0_1_Tanh"].startswith("=TANH('0 0 Linear'!A")
    assert cells["_0_grad_0_weight"].startswith("=SUMPRODUCT('0 1 Tanh'!A")
    assert cells["_0_0_gradient_of_0_Linear"] == "='0 2 Linear'!A20*(1-A6*A6)"
    # torch leaves the buffer out where somebody types a momentum of 0.
    assert cells["_1_param_0_weight"] == "='0 0 Linear'!A6-lr*IF(momentum=0,'0 0 Linear'!F6,F6)"
    notes = [cell.value for row in book["0 0 Linear"].iter_rows() for cell in row if isinstance(cell.value, str)]
    assert "3 x 4 · bias + input @ weight.T" in notes
    notes = [cell.value for row in book["1 0 Linear"].iter_rows() for cell in row if isinstance(cell.value, str)]
    assert "4 x 2 · param - lr * momentum_buffer, after step 1" in notes


@pytest.mark.usefixtures("apart")
def test_blocks_that_are_alike_stand_side_by_side(tmp_path: Path) -> None:
    class Gates(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x).tanh() * torch.sin(x).exp() * torch.sin(x).cos()

    book = saved(tmp_path / "m.xlsx", Gates(), X)
    places = [book.defined_names[f"_0_{name}"].attr_text for name in ("sin_of_input", "output")]
    assert places == ["'0 Gates'!$A$6:$B$8", "'0 Gates'!$F$6:$G$8"]


def test_moving_elements_and_conditions_spend_no_cells(tmp_path: Path) -> None:
    class Moves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            turned = x.T.reshape(-1).flip(0)[1:4]
            return torch.where(turned > 0, turned, turned * 3)

    saved(tmp_path / "m.xlsx", Moves(), X)
    assert set(sgdsheet.read(tmp_path / "m.xlsx")) == {"input", "0/input", "0/output"}
    np.testing.assert_allclose(sgdsheet.read(tmp_path / "m.xlsx")["0/output"], Moves()(X))


class Twice(nn.Module):
    """The same tensor, and an input, as outputs."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = x * 2
        return y, y, x, y.T, x > 0, torch.ones(2)


def test_outputs_that_are_the_same_or_no_formula_at_all(tmp_path: Path) -> None:
    saved(tmp_path / "m.xlsx", Twice(), X)
    values = sgdsheet.read(tmp_path / "m.xlsx")
    for number, each in enumerate(Twice()(X)):
        np.testing.assert_array_equal(values[f"0/output/{number}"], each.double())


class Masked(nn.Module):
    """Attention's usual mask: minus infinity reaches no cell."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ahead = torch.ones(3, 3).triu(1).bool()
        return self.linear(x).masked_fill(ahead, float("-inf")).softmax(1)


def test_a_mask_of_infinities(tmp_path: Path) -> None:
    model = Masked()
    saved(tmp_path / "m.xlsx", model, X, Y.expand(3, 3), mse, torch.optim.Adam(model.parameters(), lr=0.1), steps=2)
    found = sgdsheet.read(tmp_path / "m.xlsx")["0/output"]
    np.testing.assert_allclose(found, model.double()(X.double()).detach(), rtol=1e-12)
    assert found[0].tolist() == [1, 0, 0]


class Tied(nn.Module):
    """One weight used twice, one never, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.5, -0.25], [1.0, 0.75]]))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.tensor([0.5]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(x @ self.weight) @ self.weight.T * self.scale).sum(1, keepdim=True) * self.frozen


def test_parameters_used_twice_never_or_frozen(tmp_path: Path) -> None:
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    saved(tmp_path / "m.xlsx", model, X, Y, mse, optimizer, steps=3)
    values = sgdsheet.read(tmp_path / "m.xlsx")
    assert "0/grad/unused" not in values
    assert "0/grad/frozen" not in values
    model.double()
    for _ in range(3):
        optimizer.zero_grad()
        mse(model(X.double()), Y.double()).backward()
        optimizer.step()
    for name, param in model.named_parameters():
        last = f"3/param/{name}" if f"3/param/{name}" in values else f"0/param/{name}"
        np.testing.assert_allclose(values[last], param.detach(), rtol=1e-12, err_msg=name)


@pytest.mark.usefixtures("apart")
def test_sheets_of_deep_modules_have_names_of_their_own(tmp_path: Path) -> None:
    inner: nn.Module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    for name in ("a_rather_long_name_for_a_module", "another_rather_long_one"):
        inner = nn.Sequential(OrderedDict([(name, inner)]))
    book = saved(tmp_path / "m.xlsx", inner, X)
    assert all(len(name) <= 31 for name in book.sheetnames)
    assert len({name.lower() for name in book.sheetnames}) == len(book.sheetnames) == 8


def test_one_batch_a_step(tmp_path: Path) -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    book = saved(tmp_path / "m.xlsx", model, [X, X[:2] * 2, X], [Y, Y[:2], -Y], mse, optimizer)
    assert book.sheetnames == ["about", "training", "step 1", "step 2", "step 3", "program", "blocks"]
    values = sgdsheet.read(tmp_path / "m.xlsx")
    np.testing.assert_allclose(values["1/input"], X[:2] * 2)
    model.double()
    for x, y in ((X, Y), (X[:2] * 2, Y[:2]), (X, -Y)):
        optimizer.zero_grad()
        mse(model(x.double()), y.double()).backward()
        optimizer.step()
    for name, param in model.named_parameters():
        np.testing.assert_allclose(values[f"3/param/{name}"], param.detach(), rtol=1e-12, err_msg=name)
