"""Which learning rate to take: each step of a short training tries a larger one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from trainer.show import plots
from trainer.show.progress import Counted
from trainer.training import loop
from trainer.training.schedule import sweep

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

SMOOTH = 0.9  # how much of the running mean of the losses is kept at each step
WORSE = 4.0  # times the best loss: where the sweep ends
LEAST = 0.01  # the share by which the loss must fall at all, or there is nothing to suggest


@dataclass(frozen=True)
class Found:
    """What a sweep found: the rates, the smoothed losses, and two suggestions.

    Both lie before the lowest loss: `steepest` where the loss fell fastest (over the logarithm of the rate), `valley`
    two thirds into the longest stretch over which it fell, which is safer where the curve has several. Both are nan
    where the loss did not fall.
    """

    rates: list[float] = field(repr=False)
    losses: list[float] = field(repr=False)
    steepest: float
    valley: float

    def frame(self) -> pd.DataFrame:
        """The sweep as a table."""
        import pandas as pd

        return pd.DataFrame({"lr": self.rates, "loss": self.losses})

    def plot(self) -> Image.Image:
        """The loss over the learning rate, with both suggestions."""
        suggested = {"valley": self.valley, "steepest": self.steepest}
        return plots.picture(plots.sweep(self.rates, self.losses, suggested))

    def __str__(self) -> str:
        if math.isnan(self.valley):
            return "The loss did not fall at any rate, so there is none to suggest; try more steps or larger batches."
        return f"The loss falls fastest at {self.steepest:.1e}; a safer choice is {self.valley:.1e}."


def search(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    setup: loop.Setup,
    steps: Iterator[loop.Step],
    count: int,
    counted: Counted,
) -> Found:
    """Sweeps over `count` steps; weights, running statistics and torch's random numbers are put back in the end."""
    before = {name: each.detach().clone() for name, each in model.state_dict().items()}
    device, dtype = setup.feed.device, setup.precision.dtype
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for number, step in enumerate(steps):
                rate = sweep(number, count)
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["peak"]
                loss = loop.loss_of(model, setup, step)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                mean = SMOOTH * mean + (1 - SMOOTH) * setup.world.mean(loss.detach()).item()
                smoothed = mean / (1 - SMOOTH ** (number + 1))
                if not math.isfinite(smoothed) or (losses and smoothed > WORSE * min(losses)):
                    break
                rates.append(rate)
                losses.append(smoothed)
                counted(number + 1, count)
    finally:
        model.load_state_dict(before)
        optimizer.zero_grad()
    return Found(rates, losses, *suggestions(rates, losses))


def suggestions(rates: list[float], losses: list[float]) -> tuple[float, float]:
    """The steepest and the valley's rate of a sweep, as far as its lowest loss: what falls later has jumped before.

    The first steps' losses are those of single batches, hardly smoothed, and say nothing of the rate: a tenth of the
    sweep goes by before one counts. How fast the loss falls at a rate is the slope of a line through a tenth of the
    sweep on either side.
    """
    settled = max(1, len(losses) // 10)
    counted = losses[settled:]
    counted = counted[: counted.index(min(counted)) + 1] if counted else []
    if len(counted) < 4 or not counted[-1] < (1 - LEAST) * counted[0]:
        return math.nan, math.nan
    reach = max(1, len(losses) // 10)
    slopes = [_slope(counted[max(0, i - reach) : i + reach + 1]) for i in range(len(counted))]
    steepest = rates[settled + min(range(len(slopes)), key=slopes.__getitem__)]
    start, end = _longest_fall(counted)
    return steepest, rates[settled + start + (end - start) * 2 // 3]


def _slope(values: list[float]) -> float:
    """Of the line that comes nearest to values a step apart."""
    middle = (len(values) - 1) / 2
    above = sum((i - middle) * value for i, value in enumerate(values))
    return above / sum((i - middle) ** 2 for i in range(len(values)))


def _longest_fall(losses: list[float]) -> tuple[int, int]:
    """Where the longest subsequence that falls begins and ends."""
    lengths, begins = [1] * len(losses), list(range(len(losses)))
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[i] < losses[j] and lengths[j] + 1 > lengths[i]:
                lengths[i], begins[i] = lengths[j] + 1, begins[j]
    end = max(range(len(losses)), key=lengths.__getitem__)
    return begins[end], end
