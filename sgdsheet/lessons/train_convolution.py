"""Trains the weights of the lesson `convolution` and writes them, rounded, beside this file.

    python -m sgdsheet.lessons.train_convolution

takes a minute. The filters of the first layer stay as they are chosen at first; with dropout, as on its sheet.
"""

from __future__ import annotations

import json

from sgdsheet.lessons.convolution import CHOSEN, PRESETS, SHAPES, WEIGHTS
from sgdsheet.lessons.network import KERNEL, POOL
from sgdsheet.lessons.pictures import digits, enlarged, held_out
from sgdsheet.lessons.train_classifier import fit


def main() -> None:
    """Trains on the enlarged digits that are not held out, and reports the accuracy on those that are."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    pixels, labels = digits()
    held, y = held_out(len(labels)), torch.tensor(labels)
    x = torch.tensor(enlarged(pixels))[:, None]
    filters = torch.tensor([PRESETS[name] for name in CHOSEN], dtype=torch.float64).reshape(-1, 1, KERNEL, KERNEL)
    seen = F.relu(F.conv2d(x, filters))

    def forward(seen: torch.Tensor, params: dict[str, torch.Tensor], p: float = 0.5) -> torch.Tensor:
        relu = F.relu(F.conv2d(seen, params["conv2_weight"]))
        dropped = F.dropout(F.max_pool2d(relu, POOL), p)
        return F.linear(dropped.flatten(1), params["dense_weight"].flatten(1), params["dense_bias"])

    params = fit(forward, SHAPES, seen[~held], y[~held], epochs=20, weight_decay=0.2)
    rounded = {name: param.round(decimals=2) for name, param in params.items()}
    right = forward(seen[held], rounded, p=0).argmax(1) == y[held]
    WEIGHTS.write_text(json.dumps({name: param.tolist() for name, param in rounded.items()}) + "\n", encoding="utf-8")
    print(f"{WEIGHTS.name}: {int(right.sum())} of {len(right)} held-out digits are right, {right.double().mean():.1%}")


if __name__ == "__main__":
    main()
