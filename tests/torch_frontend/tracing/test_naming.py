"""What blocks are called: by modules, variables, and what an operation means there."""

from __future__ import annotations

import torch
from torch import nn

import sgdsheet
from sgdsheet.torch_frontend.program.program import Program
from sgdsheet.torch_frontend.sheets import estimate
from sgdsheet.torch_frontend.sheets.estimate import fits_one_sheet

mse = nn.functional.mse_loss


def blocks(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, str]:
    """The blocks of one step by name, without the step, and their formulas in words."""
    book = sgdsheet.compile(model, x, y, mse, torch.optim.SGD(model.parameters(), lr=0.1)).book()
    return {name[2:]: block.words for name, block in book.blocks.items() if name.startswith("0/")}


class Own(nn.Module):
    """Attention in a user's own words."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(2, 2) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled = x * 2 + 1
        asked, offered = self.query(doubled), self.key(doubled)
        scores = asked @ offered.T
        weights = scores.masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf).softmax(1)
        return weights @ self.value(doubled)


def test_modules_variables_and_what_attention_is() -> None:
    found = blocks(Own(), torch.randn(3, 2), torch.zeros(3, 2))
    named = {"doubled", "query", "key", "value", "scores", "attention weights", "output"}
    assert named <= {*found}
    assert {f"{name}/gradient of {name}" for name in ("query", "key", "value")} | {"gradient of output"} <= {*found}
    assert found["scores"] == "query @ key.T"


def test_gates_with_their_steps_of_time() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(1, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0][-1]

    found = blocks(Reads(), torch.randn(3, 1), torch.zeros(2))
    for time in (1, 2, 3):
        for name in ("input gate", "forget gate", "candidate", "output gate"):
            assert f"lstm/{name} (time {time})" in found
    # The order in which torch keeps the gates: input, forget, candidate, output.
    assert found["lstm/forget gate (time 2)"] == "sigmoid(part 2 of gates)"
    assert found["lstm/gradient of cell state (time 1)"].startswith("[gradient of cell state (time 2)] * [forget gate")


class Looks(nn.Module):
    def __init__(self, attention: nn.Module, weights: bool) -> None:
        super().__init__()
        self.attention, self.weights = attention, weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=self.weights)[0]


def test_numbers_say_where_they_come_from() -> None:
    model, x = nn.MultiheadAttention(4, 2), torch.randn(3, 4)
    for weights, reason in (
        (True, "query * 1/sqrt(2); the scores are divided by sqrt(2)"),
        (
            False,
            "query * 1/sqrt(sqrt(2)); query and key each, so the scores are divided by sqrt(2)",
        ),
    ):
        found = sgdsheet.compile(Looks(model, weights), x).book()
        assert reason in [block.words for name, block in found.blocks.items() if "scaled query" in name]
    assert "difference * 2/4" in blocks(nn.Linear(2, 2), torch.randn(2, 2), torch.zeros(2, 2))["gradient of output"]


def test_a_step_is_one_sheet_while_it_is_small() -> None:
    def program(width: int) -> Program:
        model = nn.Linear(1, width)
        return sgdsheet.compile(model, torch.ones(1, 1)).program

    # Weights, biases and outputs, and the input.
    most = (estimate.TOGETHER - 1) // 3
    assert fits_one_sheet(program(most))
    assert not fits_one_sheet(program(most + 1))
    assert [sheet.name for sheet in sgdsheet.compile(nn.Linear(1, most), torch.ones(1, 1)).book().sheets][2] == "step 1"
