"""Which learning rate to take: each step of a short training tries a larger one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import count, islice
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
    model: nn.Module, optimizer: torch.optim.Optimizer, setup: loop.Setup, steps: int, counted: Counted
) -> Found:
    """Sweeps; weights, running statistics and torch's random numbers are put back, whatever happens."""
    before = {name: each.detach().clone() for name, each in model.state_dict().items()}
    training, random = model.training, torch.get_rng_state()
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    batches = (batch for epoch in count() for batch in setup.data.batches(epoch, setup.batch_size, setup.seed))
    try:
        model.train()
        for step, (batch, stored) in enumerate(loop.ahead(islice(batches, steps), setup)):
            rate = sweep(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["peak"]
            loss = loop.loss_of(model, setup, batch, stored)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean = SMOOTH * mean + (1 - SMOOTH) * setup.world.mean(loss.detach()).item()
            smoothed = mean / (1 - SMOOTH ** (step + 1))
            if not math.isfinite(smoothed) or (losses and smoothed > WORSE * min(losses)):
                break
            rates.append(rate)
            losses.append(smoothed)
            counted(step + 1, steps)
    finally:
        model.load_state_dict(before)
        model.train(training)
        torch.set_rng_state(random)
        optimizer.zero_grad()
    return Found(rates, losses, *suggestions(rates, losses))


def suggestions(rates: list[float], losses: list[float]) -> tuple[float, float]:
    """The steepest and the valley's rate of a sweep, as far as its lowest loss: what falls later has jumped before."""
    losses = losses[: losses.index(min(losses)) + 1] if losses else []
    if len(losses) < 4:
        return math.nan, math.nan
    slopes = [losses[i + 1] - losses[i - 1] for i in range(1, len(losses) - 1)]
    steepest = rates[1 + min(range(len(slopes)), key=slopes.__getitem__)]
    start, end = _longest_fall(losses)
    return steepest, rates[start + (end - start) * 2 // 3]


def _longest_fall(losses: list[float]) -> tuple[int, int]:
    """Where the longest subsequence that falls begins and ends."""
    lengths, begins = [1] * len(losses), list(range(len(losses)))
    for i in range(1, len(losses)):
        for j in range(i):
            if losses[i] < losses[j] and lengths[j] + 1 > lengths[i]:
                lengths[i], begins[i] = lengths[j] + 1, begins[j]
    end = max(range(len(losses)), key=lengths.__getitem__)
    return begins[end], end
