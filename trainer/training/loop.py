"""The training loop: an epoch of training, and a pass over pictures that are only looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from sgdsheet.errors import Error
from trainer.data.image_folder import Batch, ImageFolder
from trainer.distributed import World
from trainer.recipe import Recipe
from trainer.training.augment import Drawn, draw, mix, plain
from trainer.training.feed import Feed, Order
from trainer.training.optimizer import set_rates
from trainer.training.precision import Precision, exact

CHECKED = 16  # steps after which the loss is looked at: looking makes a GPU wait


@dataclass
class Setup:
    """What training needs besides model and optimizer. `labels`, and `weights` of the classes, are on the device."""

    data: ImageFolder
    recipe: Recipe
    world: World
    feed: Feed
    precision: Precision
    labels: torch.Tensor
    weights: torch.Tensor | None = None


@dataclass(frozen=True)
class Step:
    """What this process trains on in a step: n pictures, or whatever the model takes, and what they show.

    `seed` is for what the model draws itself, in dropout for one: it follows from the step alone, so that a run that
    goes on draws the same.
    """

    inputs: torch.Tensor
    target: torch.Tensor
    seed: int


# --- What is trained on -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan(Order):
    """A batch's order, and where this process's own pictures and those that they are mixed with are in it."""

    own: np.ndarray
    other: np.ndarray
    seed: int


def steps(setup: Setup, planned: Iterable[Batch]) -> Iterator[Step]:
    """A step for each batch, its pictures cut as they are drawn for it."""
    plans = (_planned(setup, batch) for batch in planned)
    for cut in setup.feed(plans, setup.data.size):
        plan: Any = cut.order
        pictures, target = cut.pictures, setup.labels[cut.numbers]
        if plan.drawn.share < 1:
            own, other = (torch.from_numpy(places).to(pictures.device) for places in (plan.own, plan.other))
            target = target if target.ndim == 2 else one_hot(target, len(setup.data.classes)).float()
            pictures, target = mix(pictures[own], pictures[other], target[own], target[other], plan.drawn)
        yield Step(pictures, target, plan.seed)


def batches(setup: Setup, epoch: int) -> Iterator[Batch]:
    """The batches of an epoch."""
    recipe = setup.recipe
    return setup.data.batches(epoch, recipe.batch_size, recipe.seed, balanced=recipe.balance == "sampling")


def _planned(setup: Setup, batch: Batch) -> _Plan:
    drawn = draw(setup.recipe.augment, setup.data.cache.sizes[batch.numbers], batch.rng)
    seed = int(batch.rng.integers(2**62)) + setup.world.rank
    count, part = len(batch.numbers), setup.world.part(len(batch.numbers))
    mine = np.arange(part.start, part.stop)
    # A picture's partner stands opposite it in the whole batch, and may be another process's.
    partners = count - 1 - mine if drawn.share < 1 else mine
    places = np.union1d(mine, partners)
    own, other = np.searchsorted(places, mine), np.searchsorted(places, partners)
    return _Plan(batch.numbers[places], drawn.rows(places), own, other, seed)


# --- Training ---------------------------------------------------------------------------------------------------------


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    setup: Setup,
    steps: Iterable[Step],
    rates: list[tuple[float, float]],
    stepped: Callable[[int, float | None], None] = lambda step, loss: None,
    updated: Callable[[], None] = lambda: None,
    recorded: Callable[[torch.Tensor], None] = lambda loss: None,
) -> np.ndarray:
    """One epoch; returns each step's loss. The modes of the model's layers are the caller's.

    `rates` has for each step the share of each group's `peak` learning rate, and the momentum. `stepped(step, loss)` is
    called after each step, with the loss where it was looked at, `updated()` after each change of the weights, and
    `recorded(loss)` before the gradients of that go, with the mean loss of this process's batches. Raises `Error` at a
    loss that is not finite.
    """
    losses = torch.empty(0)
    every, scaler = setup.recipe.accumulate, setup.precision.scaler
    for number, step in enumerate(steps):
        set_rates(optimizer, *rates[number])
        group = min(every, len(rates) - number // every * every)  # the last group may have fewer batches
        last = number % every == group - 1
        with nullcontext() if last else _apart(model):
            loss = loss_of(model, setup, step)
            scaler.scale(loss / group).backward()
        losses = losses if number else loss.new_zeros(len(rates))
        losses[number] = loss.detach()
        if last:
            if setup.recipe.clip:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), setup.recipe.clip)
            scaler.step(optimizer)
            scaler.update()
            recorded(losses[number + 1 - group : number + 1].mean())
            optimizer.zero_grad()
            updated()
        look = number % CHECKED == 0 or number + 1 == len(rates)
        stepped(number, _finite(loss, number) if look else None)
    return setup.world.mean(losses).double().cpu().numpy()


def _apart(model: nn.Module) -> AbstractContextManager[Any]:
    """Several processes need each other's gradients only in the batch that ends a step."""
    return model.no_sync() if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext()


def loss_of(model: nn.Module, setup: Setup, step: Step) -> torch.Tensor:
    """The mean loss over this process's part of a batch: cross-entropy, or binary cross-entropy for several labels."""
    torch.manual_seed(step.seed)
    with setup.precision.autocast():
        output = model(step.inputs)
    output, smoothing = exact(output), setup.recipe.label_smoothing
    if setup.data.multi_label:
        target = step.target * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(output, target, setup.weights)
    # Not torch's own mean, which divides by the weights of the part at hand: several processes would not train as one.
    return cross_entropy(output, step.target, setup.weights, label_smoothing=smoothing, reduction="none").mean()


def _finite(loss: torch.Tensor, step: int) -> float:
    found = loss.item()
    if not np.isfinite(found):
        raise Error(f"the loss is {found} in step {step + 1}; a lower learning rate may help, find_lr suggests one")
    return found


# --- Looking ----------------------------------------------------------------------------------------------------------


Draw = Callable[[np.ndarray, slice], Drawn]


def in_the_middle(sizes: np.ndarray, _: slice) -> Drawn:
    """For looking: the largest square in the middle of each picture."""
    return plain(sizes)


def orders(setup: Setup, numbers: np.ndarray, drawn: Draw) -> Iterator[tuple[int, Order]]:
    """Batches over all these pictures: how many all processes have in each, and this process's part of it.

    `drawn` is given the true widths and heights of some of the pictures, and their places in `numbers`.
    """
    size = setup.recipe.batch_size
    for start in range(0, len(numbers), size):
        count = min(size, len(numbers) - start)
        part = setup.world.part(count)
        mine = slice(start + part.start, start + part.stop)
        yield count, Order(numbers[mine], drawn(setup.data.cache.sizes[numbers[mine]], mine))


@torch.no_grad()
def outputs(
    model: Callable[[torch.Tensor], torch.Tensor],
    setup: Setup,
    numbers: np.ndarray,
    drawn: Draw = in_the_middle,
    size: int | None = None,
    counted: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """What a model in evaluation makes of these pictures, all processes' together: (n, …), on the device, float32."""
    planned = [*orders(setup, numbers, drawn)]
    cuts = setup.feed((order for _, order in planned), size or setup.data.size)
    found, done = [], 0
    for (count, _), cut in zip(planned, cuts, strict=True):
        with setup.precision.autocast():
            # A process may have no picture of a last small batch; it learns of the others what an output looks like.
            output = exact(_of_one_size(model, setup, cut.pictures)) if len(cut.pictures) else cut.pictures
        found.append(setup.world.gathered(output, count))
        done += count
        counted(done, len(numbers))
    return torch.cat(found)


def _of_one_size(model: Callable[..., torch.Tensor], setup: Setup, pictures: torch.Tensor) -> torch.Tensor:
    """The model's outputs; a compiled model sees a small last batch as a whole one, or it would be compiled anew."""
    missing = setup.recipe.batch_size // setup.world.size - len(pictures)
    if not setup.recipe.compile or missing <= 0:
        return model(pictures)
    whole = torch.cat([pictures, pictures[-1:].expand(missing, -1, -1, -1)])
    return model(whole.contiguous(memory_format=torch.channels_last))[: len(pictures)]


def probabilities(setup: Setup, output: torch.Tensor) -> torch.Tensor:
    """What a model's outputs (n, classes) say: of each picture the probabilities of the classes, on the CPU."""
    return (output.sigmoid() if setup.data.multi_label else output.softmax(1)).cpu()


def judged(setup: Setup, found: torch.Tensor, numbers: np.ndarray) -> tuple[float, float]:
    """The mean loss and the error rate of probabilities (n, classes) over these pictures.

    With several labels a picture the error rate is the share of wrong decisions, one for each picture and class.
    """
    right, least = setup.data.labels[numbers], torch.finfo(torch.float32).tiny
    if setup.data.multi_label:
        given = torch.where(right > 0, found, 1 - found)
        wrong = (found >= 0.5) != (right > 0)
    else:
        given = found.gather(1, right[:, None])
        wrong = found.argmax(1) != right
    return -given.clamp_min(least).log().mean().item(), wrong.float().mean().item()
