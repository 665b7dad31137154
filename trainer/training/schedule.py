"""How the learning rate and the momentum change from step to step."""

from __future__ import annotations

import math

WARM = 0.25  # the share of the steps in which the rate rises
START, END = 25.0, 1e5  # by how much smaller the rate is at the first step, and at the last
MOMENTUM = (0.95, 0.85)  # at the ends, and where the rate is highest


def one_cycle(progress: float) -> tuple[float, float]:
    """The share of the highest rate, and the momentum, at `progress` from 0 to 1.

    Both follow half a cosine up and another down: Smith and Topin, Super-Convergence
    (https://arxiv.org/abs/1708.07120), with the numbers of fast.ai's `fit_one_cycle`.
    """
    if progress < WARM:
        return _between(1 / START, 1.0, progress / WARM), _between(MOMENTUM[0], MOMENTUM[1], progress / WARM)
    done = (progress - WARM) / (1 - WARM)
    return _between(1.0, 1 / END, done), _between(MOMENTUM[1], MOMENTUM[0], done)


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def sweep(step: int, steps: int, first: float = 1e-7, last: float = 10.0) -> float:
    """The learning rate of a step of a sweep, each the same factor above the one before."""
    return first * (last / first) ** (step / max(1, steps - 1))
