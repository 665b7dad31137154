"""Trains the weights of the lesson `classifier` and writes them, rounded, beside this file.

    python -m sgdsheet.lessons.train_classifier

takes a few seconds. The weights are stored with the package, not trained anew on every machine: another processor's
arithmetic would train slightly other ones.
"""

from __future__ import annotations

import json

from sgdsheet.lessons.classifier import FILTERS, SHAPES, WEIGHTS, forward
from sgdsheet.lessons.network import KERNEL
from sgdsheet.lessons.pictures import INK, digits, held_out

EPOCHS = 60
BATCH_SIZE = 32


def main() -> None:
    """Trains with Adam on the digits that are not held out, and reports the accuracy on those that are."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    torch.manual_seed(1)
    pixels, labels = digits()
    held = held_out(len(labels))
    x, y = torch.tensor(pixels / INK, dtype=torch.float64)[:, None], torch.tensor(labels)
    train_x, train_y = x[~held], y[~held]
    fan_in = {"conv_weight": KERNEL**2, "conv_bias": KERNEL**2, "dense_weight": FILTERS * 9, "dense_bias": FILTERS * 9}
    params = {
        name: ((torch.rand(shape, dtype=torch.float64) * 2 - 1) / fan_in[name] ** 0.5).requires_grad_()
        for name, shape in SHAPES.items()
    }
    optimizer = torch.optim.AdamW(params.values(), lr=1e-2, weight_decay=1e-2)
    steps = -(-len(train_y) // BATCH_SIZE) * EPOCHS
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(train_y)).split(BATCH_SIZE):
            optimizer.zero_grad()
            F.cross_entropy(forward(train_x[chosen], params)["logits"], train_y[chosen]).backward()
            optimizer.step()
            schedule.step()
    rounded = {name: param.detach().round(decimals=3) for name, param in params.items()}
    right = forward(x[held], rounded)["logits"].argmax(1) == y[held]
    WEIGHTS.write_text(json.dumps({name: param.tolist() for name, param in rounded.items()}) + "\n", encoding="utf-8")
    print(f"{WEIGHTS.name}: {int(right.sum())} of {len(right)} held-out digits are right, {right.double().mean():.1%}")


if __name__ == "__main__":
    main()
