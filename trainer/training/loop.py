"""The training loop: an epoch of training, and a pass over the validation pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sgdsheet.errors import Error
from trainer.data.image_folder import Batch, ImageFolder
from trainer.distributed import World
from trainer.training.augment import Augment, Cutter, draw, mix, plain

CHECKED = 16  # steps after which the loss is looked at: looking makes a GPU wait


@dataclass
class Setup:
    """What an epoch of training needs besides the model and its optimizer."""

    data: ImageFolder
    cutter: Cutter
    world: World
    augment: Augment
    batch_size: int
    seed: int
    bf16: bool
    label_smoothing: float = 0.0
    clip: float = 0.0
    accumulate: int = 1

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where the model gains by it; weights and sums stay float32."""
        return torch.autocast(self.cutter.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def pixels(self, numbers: np.ndarray) -> torch.Tensor:
        """A batch's stored pictures, as many as are this process's, in memory that a GPU can fetch from by itself."""
        taken = torch.from_numpy(self.data.cache.take(numbers[self.world.part(len(numbers))]))
        return taken.pin_memory() if self.cutter.device.type == "cuda" else taken


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    setup: Setup,
    epoch: int,
    rates: Callable[[int], tuple[float, float]],
    stepped: Callable[[int, float | None], None] = lambda step, loss: None,
) -> np.ndarray:
    """One epoch; returns each step's loss.

    `rates(step)` gives the share of each group's `peak` learning rate, and the momentum. `stepped(step, loss)` is
    called after each step, with the loss where it was looked at. Raises `Error` at a loss that is not finite.
    """
    model.train()
    steps = setup.data.steps(setup.batch_size)
    losses = torch.zeros(steps, device=setup.cutter.device)
    batches = setup.data.batches(epoch, setup.batch_size, setup.seed)
    for step, (batch, stored) in enumerate(ahead(batches, setup)):
        set_rates(optimizer, *rates(step))
        loss = loss_of(model, setup, batch, stored)
        (loss / setup.accumulate).backward()
        if (step + 1) % setup.accumulate == 0 or step + 1 == steps:
            if setup.clip:
                nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
            optimizer.step()
            optimizer.zero_grad()
        losses[step] = loss.detach()
        look = step % CHECKED == 0 or step + 1 == steps
        stepped(step, _finite(loss, epoch, step) if look else None)
    return setup.world.mean(losses).double().cpu().numpy()


def loss_of(model: nn.Module, setup: Setup, batch: Batch, stored: torch.Tensor) -> torch.Tensor:
    """The loss of this process's part of a batch, whose pictures are drawn anew."""
    data, world = setup.data, setup.world
    mine = world.part(len(batch.numbers))
    drawn = draw(setup.augment, data.cache.sizes[batch.numbers], batch.rng)
    numbers = batch.numbers[mine]
    # What a model draws itself, in dropout for one, follows from the step alone: a run that goes on draws the same.
    torch.manual_seed(int(batch.rng.integers(2**62)) + world.rank)
    pictures = setup.cutter(stored, data.cache.sizes[numbers], drawn.part(mine.start, mine.stop))
    labels = data.labels[numbers].to(setup.cutter.device, non_blocking=True)
    target: torch.Tensor = labels
    if drawn.share < 1:
        pictures, target = mix(pictures, labels, len(data.classes), drawn)
    with setup.autocast():
        output = model(pictures)
    return cross_entropy(_exact(output), target, label_smoothing=setup.label_smoothing)


def _exact(output: torch.Tensor) -> torch.Tensor:
    """What bfloat16 gave, as float32: a softmax needs the digits."""
    return output.float() if output.dtype == torch.bfloat16 else output


def ahead(batches: Iterator[Batch], setup: Setup) -> Iterator[tuple[Batch, torch.Tensor]]:
    """Each batch with its stored pictures, those of the next one fetched meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        fetched = [(batch, pool.submit(setup.pixels, batch.numbers)) for batch in islice(batches, 1)]
        while fetched:
            fetched += [(batch, pool.submit(setup.pixels, batch.numbers)) for batch in islice(batches, 1)]
            batch, pixels = fetched.pop(0)
            yield batch, pixels.result()


def set_rates(optimizer: torch.optim.Optimizer, share: float, momentum: float) -> None:
    """Gives each parameter group its share of its `peak` learning rate, and the momentum."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif "momentum" in group:
            group["momentum"] = momentum


def _finite(loss: torch.Tensor, epoch: int, step: int) -> float:
    found = loss.item()
    if not np.isfinite(found):
        raise Error(
            f"the loss is {found} in step {step + 1} of epoch {epoch + 1}; a lower learning rate may help, find_lr "
            "suggests one"
        )
    return found


@torch.no_grad()
def probabilities(model: nn.Module, setup: Setup, numbers: np.ndarray) -> torch.Tensor:
    """What the model thinks of these pictures, each cut to the square in its middle: (n, classes), on the CPU."""
    model.eval()
    found = []
    batches = (
        Batch(numbers[start : start + 2 * setup.batch_size], np.random.default_rng(0))
        for start in range(0, len(numbers), 2 * setup.batch_size)
    )
    for batch, stored in ahead(batches, setup):
        mine = setup.world.part(len(batch.numbers))
        sizes = setup.data.cache.sizes[batch.numbers[mine]]
        with setup.autocast():
            output = model(setup.cutter(stored, sizes, plain(sizes)))
        found.append(setup.world.gathered(_exact(output).softmax(1), len(batch.numbers)))
    return torch.cat(found).cpu()


def validate(model: nn.Module, setup: Setup) -> tuple[float, float]:
    """The mean loss and the error rate over the validation pictures."""
    right = setup.data.labels[setup.data.valid]
    found = probabilities(model, setup, setup.data.valid)
    loss = -found.gather(1, right[:, None]).clamp_min(torch.finfo(torch.float32).tiny).log().mean()
    return loss.item(), (found.argmax(1) != right).float().mean().item()
