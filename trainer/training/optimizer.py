"""The optimizer of a fit, and the learning rate of each depth of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from sgdsheet.errors import Error

DEPTHS = 4  # groups of the body's parameters, from the first layers to the last, each with a rate of its own
BODY = 0.1  # the share of the head's rate that the body gets where one rate is given


def rates_of(lr: Any) -> tuple[float | None, float]:
    """The lowest rate of the body, None where nothing is said, and the head's rate.

    `lr` is a number, a text as "3e-3" or "1e-6:1e-4", `slice(1e-6, 1e-4)`, or what `find_lr` has found. Raises `Error`
    for anything else.
    """
    wanted = f"lr: expected a rate above 0, as 3e-3, or the body's and the head's, as 1e-6:1e-4; got {lr!r}"
    given = getattr(lr, "valley", lr)
    if isinstance(given, slice):
        given = [given.start, given.stop]
    elif isinstance(given, str):
        given = given.split(":")
    try:
        rates = [None if each is None else float(each) for each in (given if isinstance(given, list) else [given])]
    except (TypeError, ValueError):
        raise Error(wanted) from None
    if len(rates) > 2 or rates[-1] is None or not all(each is None or 0 < each < math.inf for each in rates):
        raise Error(wanted)
    return (rates[0] if len(rates) == 2 else None), rates[-1]


def make(
    kind: str, body: Sequence[torch.Tensor], head: Sequence[torch.Tensor], lr: Any, weight_decay: float, device: Any
) -> torch.optim.Optimizer:
    """An optimizer of the parameters that are trained; each group's `peak` is the highest rate of its cycle.

    The first quarter of the body's parameters gets the lowest rate, each quarter after it the same factor more, and so
    does the head, whose rate is the highest. One rate alone is the head's, and the body gets a tenth of it.
    """
    low, high = rates_of(lr)
    body, head = ([param for param in params if param.requires_grad] for params in (body, head))
    if low is None:
        parts = [(body, high * BODY)]
    else:
        edges = [round(len(body) * depth / DEPTHS) for depth in range(DEPTHS + 1)]
        rates = [low * (high / low) ** (depth / DEPTHS) for depth in range(DEPTHS)]
        parts = [(body[start:end], rate) for start, end, rate in zip(edges, edges[1:], rates, strict=False)]
    groups = [{"params": params, "lr": rate, "peak": rate} for params, rate in [*parts, (head, high)] if params]
    fused = {"fused": True} if device.type in ("cpu", "cuda") else {}
    if kind == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay, **fused)
    adam = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return adam(groups, betas=(0.9, 0.99), eps=1e-5, weight_decay=weight_decay, **fused)


def set_rates(optimizer: torch.optim.Optimizer, share: float, momentum: float) -> None:
    """Gives each parameter group its share of its `peak` learning rate, and the momentum."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif "momentum" in group:
            group["momentum"] = momentum
