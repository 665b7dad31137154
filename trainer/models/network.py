"""What `create` returns: a model, and the pictures that it expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

# The mean and standard deviation of ImageNet's colours, which most pretrained models expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of pictures of which nothing more is known.
UNSEEN: dict[str, Any] = {"size": None, "crop": None}


@dataclass(frozen=True)
class Network:
    """A model, and the pictures that it expects.

    Pictures of values 0 to 1 are to have `mean` taken off and to be divided by `std`, a number for each colour. The
    weights were trained on squares of `size` pixels, for which validation takes `crop` of the short side from the
    middle; None where that is not known. `source` says in words where the weights came from, "" for random numbers.
    """

    model: nn.Module
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    size: int | None = None
    crop: float | None = None
    source: str = ""
