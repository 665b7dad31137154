"""Trains the weights of the lesson `classifier` and writes them, rounded, beside this file.

    python -m sgdsheet.lessons.train_classifier

takes a few seconds. The weights are stored with the package, not trained anew on every machine: another processor's
arithmetic would train slightly other ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sgdsheet.lessons.classifier import SHAPES, WEIGHTS, forward
from sgdsheet.lessons.pictures import INK, digits, held_out

if TYPE_CHECKING:
    import torch

BATCH_SIZE = 32


def main() -> None:
    """Trains on the digits that are not held out, and reports the accuracy on those that are."""
    import torch

    pixels, labels = digits()
    held = held_out(len(labels))
    x, y = torch.tensor(pixels / INK, dtype=torch.float64)[:, None], torch.tensor(labels)
    params = fit(lambda x, params: forward(x, params)["logits"], SHAPES, x[~held], y[~held])
    rounded = {name: param.round(decimals=3) for name, param in params.items()}
    right = forward(x[held], rounded)["logits"].argmax(1) == y[held]
    WEIGHTS.write_text(json.dumps({name: param.tolist() for name, param in rounded.items()}) + "\n", encoding="utf-8")
    print(f"{WEIGHTS.name}: {int(right.sum())} of {len(right)} held-out digits are right, {right.double().mean():.1%}")


def fit(
    logits: Callable[..., torch.Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epochs: int = 60,
    weight_decay: float = 1e-2,
) -> dict[str, torch.Tensor]:
    """Trained parameters of these shapes, by AdamW in one cycle. `logits(x, params)` is the network.

    A bias, `a_bias`, stands after its weight, `a_weight`; both begin as in torch.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    torch.manual_seed(1)
    params: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        inputs = math.prod(shapes[name.replace("bias", "weight")][1:])
        params[name] = ((torch.rand(shape, dtype=torch.float64) * 2 - 1) / inputs**0.5).requires_grad_()
    optimizer = torch.optim.AdamW(params.values(), lr=1e-2, weight_decay=weight_decay)
    steps = -(-len(y) // BATCH_SIZE) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(y)).split(BATCH_SIZE):
            optimizer.zero_grad()
            F.cross_entropy(logits(x[chosen], params), y[chosen]).backward()
            optimizer.step()
            schedule.step()
    return {name: param.detach() for name, param in params.items()}


if __name__ == "__main__":
    main()
