"""Numbers that are infinite, or none, on the way: what matters is what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import sgdsheet
from sgdsheet.engines import available
from sgdsheet.errors import Error

D = torch.float64
HUGE = [800.0, -800.0, 0.0, 0.5]
COUNTS = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=D)
TARGETS = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=D)

# What torch computes, and at which numbers something on its way is not finite.
CASES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], list[float]]] = {
    **{name: (getattr(F, name), HUGE) for name in "elu selu celu softplus mish silu gelu logsigmoid".split()},
    "sinc": (torch.sinc, [0.0, 0.5, 2.0, -1.0]),
    "norm": (lambda x: x.norm(), [0.0] * 4),
    "norms": (lambda x: torch.linalg.vector_norm(x.reshape(2, 2), 3, 1), [0.0, 0.0, 3.0, -4.0]),
    "normalize": (lambda x: F.normalize(x.reshape(2, 2), dim=1), [0.0, 0.0, 3.0, -4.0]),
    "bce": (lambda x: F.binary_cross_entropy(x, TARGETS, reduction="none"), [1.0, 0.0, 1.0, 0.0]),
    "bce, mean": (lambda x: F.binary_cross_entropy(x, TARGETS, COUNTS + 1), [0.25, 0.0, 0.999, 1e-30]),
    "bce, logits": (lambda x: F.binary_cross_entropy_with_logits(x, x.detach().sign().abs(), reduction="sum"), HUGE),
    "poisson": (lambda x: F.poisson_nll_loss(x, COUNTS, full=True), [0.5, 0.2, 0.1, 1.0]),
    "kl": (lambda x: F.kl_div(x, TARGETS, reduction="none"), [-1.0, -2.0, -3.0, -1.0]),
    "xlogy": (lambda x: torch.xlogy(x, COUNTS), [0.0, 1.0, 2.0, 3.0]),
    "logit": (torch.logit, [0.1, 0.2, 0.7, 0.9]),
    "pow": (lambda x: COUNTS**x, [1.0, 2.0, 2.0, 0.5]),
    "prod": (lambda x: x.prod(), [2.0, 0.0, 3.0, 4.0]),
    "cumprod": (lambda x: x.cumprod(0), [2.0, 0.0, 3.0, 4.0]),
    "amax": (lambda x: torch.where(x > 0, x, -torch.inf).amax(), HUGE),
}


class All(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.given = nn.ParameterList(nn.Parameter(torch.tensor(x, dtype=D)) for _, x in CASES.values())

    def forward(self, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(function(given) for (function, _), given in zip(CASES.values(), self.given, strict=True))


def weighted(outputs: Any) -> torch.Tensor:
    weights = [torch.cos(torch.arange(each.numel(), dtype=D) + 1).reshape(each.shape) for each in outputs]
    return torch.stack([(each * weight).sum() for each, weight in zip(outputs, weights, strict=True)]).sum()


def test_what_a_choice_leaves_out_may_be_infinite(tmp_path: Path) -> None:
    path = tmp_path / "all.xlsx"
    sgdsheet.compile(All(), torch.zeros(1), loss=weighted).save(path)
    model = All()
    outputs = model(torch.zeros(1))
    weighted(outputs).backward()
    for engine in {"ironcalc", "libreoffice"} & {*available()}:
        cells = sgdsheet.read(path, engine=engine)
        assert sgdsheet.verify(path, engine=engine).ok
        for number, (name, given) in enumerate(zip(CASES, model.given, strict=True)):
            assert given.grad is not None
            for block, value in ((f"0/output/{number}", outputs[number]), (f"0/grad/given.{number}", given.grad)):
                wanted = value.detach().numpy()
                np.testing.assert_allclose(cells[block], wanted, rtol=1e-10, atol=1e-13, err_msg=f"{name} in {engine}")


class Applied(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function, self.w = function, nn.Parameter(torch.tensor([1.0, 0.0], dtype=D))

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.function(self.w)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (
            lambda w: torch.where(w > 0.5, w.log(), 2.0),
            "div.Tensor: step 1 .* not a number; it first appears in 0/grad/w",
        ),
        (lambda w: 1 / (1 + torch.exp(800 * w)), "exp.default: step 1 .* infinite; it first appears in 0/exp"),
        (lambda w: torch.log(w).exp(), "log.default: step 1 .* infinite; it first appears in 0/log"),
        (lambda w: torch.where(w > 2, w, -torch.inf), "step 1 .* infinite; it first appears in 0/output"),
        (lambda w: (w - w) / w, "div.Tensor: step 1 .* not a number; it first appears in 0/output"),
    ],
)
def test_what_would_leave_an_error_in_the_result_is_refused(
    function: Callable[[torch.Tensor], torch.Tensor], said: str
) -> None:
    with pytest.raises(Error, match=said):
        sgdsheet.compile(Applied(function), torch.zeros(1), loss=torch.sum)
