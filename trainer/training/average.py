"""A running mean of a model's weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn


class Average:
    """`model` is the running mean of another model's weights and of its running statistics.

    After step t it keeps `min(decay, (1 + t) / (10 + t))` of itself: the first steps, whose weights are still far from
    anything, are soon forgotten (as in tf.train.ExponentialMovingAverage). Whole numbers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """To be called after each step of the optimizer."""
        self.steps += 1
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps))
        means, owns = [*_state(self.model)], [*_state(model)]
        real = [mean.is_floating_point() for mean in means]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [mean for mean, is_real in zip(means, real, strict=True) if is_real],
            [own for own, is_real in zip(owns, real, strict=True) if is_real],
            1 - kept,
        )
        for mean, own, is_real in zip(means, owns, real, strict=True):
            if not is_real:
                mean.copy_(own)


def _state(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()
