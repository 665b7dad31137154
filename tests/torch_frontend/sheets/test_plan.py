"""Who gets cells: what is too deep for one formula is taken apart, and what has no elements needs none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from torch import nn

import sgdsheet
from sgdsheet.engines import available
from sgdsheet.torch_frontend.compiled import Compiled, compile
from sgdsheet.torch_frontend.sheets import estimate as module
from sgdsheet.torch_frontend.sheets.estimate import estimate

NESTED = 64  # levels of functions that Excel takes
X = torch.tensor([[12.5, -3.0], [40.25, 0.75]], dtype=torch.float64)


class Applied(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def times(count: int, function: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    """A function of its own result, again and again."""

    def chain(x: torch.Tensor) -> torch.Tensor:
        for _ in range(count):
            x = function(x)
        return x

    return Applied(chain)


def every(x: torch.Tensor) -> torch.Tensor:
    """A condition of a hundred conditions."""
    found = x > -5
    for limit in range(100):
        found = torch.logical_xor(found, x > limit) if limit % 2 else torch.logical_and(found, x > -6 - limit)
    return torch.where(found, x, 2 * x)


DEEP: dict[str, nn.Module] = {
    "relu": times(100, lambda x: torch.relu(x - 0.1)),
    "relu 500": times(500, lambda x: torch.relu(x - 0.1)),
    "conditions": Applied(every),
}


def deepest(compiled: Compiled) -> int:
    """How deep the parentheses of any formula are."""
    book = compiled.book()
    texts = [
        cell.value for sheet in book.sheets for row in sheet.cells.values() for cell in row.values() if cell.kind == "f"
    ]
    return max(int(np.cumsum([(c == "(") - (c == ")") for c in text]).max(initial=0)) for text in texts)


@pytest.mark.parametrize("name", DEEP)
def test_no_formula_is_too_deep(tmp_path: Path, name: str) -> None:
    model = DEEP[name]
    compiled = compile(model, X)
    assert 4 < deepest(compiled) < NESTED // 2
    written = compiled.save(tmp_path / "deep.xlsx")
    expected = model(X).numpy()
    for engine in {"ironcalc", *available()} & ({"ironcalc"} if "500" in name else {"ironcalc", "libreoffice"}):
        found = sgdsheet.read(tmp_path / "deep.xlsx", engine=engine)["0/output"]
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=engine)
    assert 0.8 < estimate(compiled.program).cells / written.cells < 1.25


def test_a_condition_that_is_an_output_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Excel's SUM over cells leaves out TRUE."""

    def counted(x: torch.Tensor) -> Any:
        above = x > 0
        return above, above.sum()

    monkeypatch.setattr(module, "TOGETHER", 0)
    compile(Applied(counted), X).save(tmp_path / "counted.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "counted.xlsx", data_only=True)["0 Applied"]
    held = [cell.value for row in sheet.iter_rows() for cell in row if isinstance(cell.value, (bool, int, float))]
    assert held == [1, 0, 1, 1, 3]
    assert not any(isinstance(each, bool) for each in held)
