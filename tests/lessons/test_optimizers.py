"""The lesson `optimizers`: what is registered has a sheet."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sgdsheet
from sgdsheet import lessons, optim, tensor
from sgdsheet.lessons import optimizers


def signsgd(
    place: optim.Place,
    param: Any,
    grad: Any,
    state: optim.State,
    *,
    step: Any,
    lr: Any = 1e-3,
    inertia: Any = 0.9,
) -> optim.Result:
    """SignSGD with momentum: only the buffer's sign counts."""
    buffer = inertia * state["momentum_buffer"] + (1 - inertia) * grad
    buffer = place("momentum_buffer", buffer, "inertia * momentum_buffer + (1 - inertia) * grad")
    new_param = place("new_param", param - lr * tensor.sign(buffer), "param - lr * sign(momentum_buffer)")
    return new_param, {"momentum_buffer": buffer}


class SignSGD(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float = 1e-3, inertia: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "inertia": inertia})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(param))
                buffer.lerp_(param.grad, 1 - group["inertia"])
                param.sub_(group["lr"] * buffer.sign())


def test_what_is_registered_has_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanings: Any = {"inertia": ("how much of the buffer is kept", {"minimum": 0, "below": 1})}
    start = {"momentum_buffer": 0.0}
    made = optim.Optimizer("SignSGD", signsgd, lambda _: start, module=__name__, meanings=meanings)
    monkeypatch.setattr(optim, "OPTIMIZERS", {"SignSGD": made, "RAdam": optim.OPTIMIZERS["RAdam"]})
    spec: Any = importlib.util.spec_from_file_location("afresh", optimizers.__file__)
    afresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(afresh)
    monkeypatch.setattr(lessons, "catalogue", lambda: {"optimizers": afresh.OPTIMIZERS})
    path = tmp_path / "made.xlsx"
    with pytest.raises(sgdsheet.Error, match="SignSGD_inertia.* at least 0 and below 1"):
        sgdsheet.generate("optimizers", path, SignSGD_inertia=1)
    sgdsheet.generate("optimizers", path, SignSGD_lr=0.05, SignSGD_inertia=0.5, schedule="anneal")
    report = sgdsheet.verify(path)
    assert {row.block: row.verdict for row in report.rows if not row.ok} == {}
    blocks = sgdsheet.read(path)
    moves = np.abs(np.diff(blocks["SignSGD_param"], axis=0)) / blocks["SignSGD_lr_now"][:-1, None]
    np.testing.assert_allclose(moves, 1, rtol=1e-12)
    assert blocks["SignSGD_lr_now"].min() < 0.05
    assert len(blocks["race_loss"]) == 2
