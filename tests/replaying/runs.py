"""Trainings of single weights that are recorded, for the replay's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sgdsheet.optim import OPTIMIZERS
from sgdsheet.recording.recorder import Recorder
from sgdsheet.reference import float64_by_default
from sgdsheet.replaying import reference
from sgdsheet.replaying.followed import Followed

CONFIGURATIONS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"lr": 0.05, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 1.0, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "fused": True}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "foreach": True}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.01, "betas": (0.9, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"lr": 0.01, "lambd": 0.01, "t0": 5.0, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.01}),
    ("Eve", {"lr": 0.01}),
]


def trained(
    name: str,
    options: dict[str, Any],
    dtype: torch.dtype = torch.float32,
    steps: int = 30,
    seed: int = 0,
    kinds: Sequence[int] = range(6),
    label: str = "",
) -> Any:
    """The record of a few weights: gradients that are ordinary, often 0, turning, tiny, large, of one sign."""
    rng = np.random.default_rng(seed)
    grads = rng.normal(size=(steps, 6))
    grads[:, 1] *= rng.random(steps) < 0.3
    grads[:, 2] = np.abs(grads[:, 2]) * (-1.0) ** np.arange(steps)
    grads[:, 3] *= 1e-9
    grads[:, 4] *= 1e4
    grads[:, 5] = rng.uniform(0.1, 0.2, steps)
    param = torch.nn.Parameter(torch.tensor(rng.normal(size=6), dtype=dtype))
    optimizer = OPTIMIZERS[name].torch_class([param], **options)
    recorder = Recorder(optimizer, [("group0.param0", kind) for kind in kinds])
    for step, grad in enumerate(grads):
        param.grad = torch.tensor(grad, dtype=dtype)
        optimizer.param_groups[0]["lr"] = options["lr"] * (1 - step / steps)
        optimizer.step(lambda: torch.tensor(1.0 + rng.random()))
    recorder.close()
    rows = recorder.frame()
    rows["weight"] = label + rows["weight"]
    return rows


def numbers(weight: Followed) -> dict[str, np.ndarray]:
    """All blocks of a weight's sheet as `verify` expects them: which it does of the cells, too."""
    rows, data = weight.starts, weight.data
    typed = {"grad": np.nan_to_num(data["grad"]), "trainer": data["new_param"], "start_param": data["param"][rows]}
    typed |= {f"trainer_{name}": np.nan_to_num(data[name]) for name in weight.states} | weight.varying
    typed |= {name: np.array(value) for name, value in weight.constant.items() if value}
    typed["start_count"] = np.array([weight.count(row) for row in rows])
    if weight.optimizer.takes_loss:
        typed["loss"] = data["loss"]
    if not weight.taken.all():
        typed["taken"] = weight.taken
    if not weight.fresh:
        typed |= {f"start_{name}": np.array([weight.start(name, row) for row in rows]) for name in weight.states}
    says = (weight.optimizer, weight.dtype, weight.flags, weight.capturable, weight.fused, data["step"], rows)
    sheet = reference._Sheet("", *says, frozenset(typed))
    with float64_by_default(), np.errstate(all="ignore"):
        return reference._run(sheet, typed)
