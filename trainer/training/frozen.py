"""A frozen body: what it makes of each picture is calculated once, and the head trains on that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.data.image_folder import Batch
from trainer.show.progress import Counted
from trainer.training import loop
from trainer.training.augment import draw

KEPT = 2_000_000_000  # bytes of features at most


class Features:
    """What the body of a model gives its head for each picture, in memory: `valid` (n, width) for the validation ones.

    Each training picture is cut once, as the seed alone decides, so that a run that goes on and several processes see
    the same. `counted` shows how it goes on.
    """

    def __init__(self, model: nn.Module, head: nn.Module, setup: loop.Setup, counted: Counted) -> None:
        self.setup, train, body = setup, setup.data.train, Body(model, head)
        rng = np.random.default_rng([setup.recipe.seed, 0, 0])
        drawn = draw(setup.recipe.augment, setup.data.cache.sizes[train], rng)
        cut = lambda _, places: drawn.rows(places)  # noqa: E731
        self._train = loop.outputs(body, setup, train, cut, counted=counted)
        self._rows = np.empty(int(max(train)) + 1, dtype=np.int64)
        self._rows[train] = np.arange(len(train))
        self.valid = loop.outputs(body, setup, setup.data.valid)

    def steps(self, epoch: int, batches: Iterable[Batch]) -> Iterator[loop.Step]:
        """The steps of an epoch of the head, one for each batch."""
        setup = self.setup
        for batch in batches:
            numbers = batch.numbers[setup.world.part(len(batch.numbers))]
            rows = torch.from_numpy(self._rows[numbers]).to(setup.feed.device)
            target = setup.labels[torch.from_numpy(numbers).to(setup.feed.device)]
            yield loop.Step(self._train[rows], target, int(batch.rng.integers(2**62)) + setup.world.rank)


class Body:
    """Calls a model, and gives what its head was given."""

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        self.model, self.head = model, head

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        given: list[torch.Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            self.model(pictures)
        finally:
            hook.remove()
        return given[0]


@torch.no_grad()
def ends_in(model: nn.Module, head: nn.Module, picture: torch.Tensor) -> int:
    """How many numbers the head is given for this picture (1, 3, side, side), if it has the last word.

    0 where the model does something with what the head gives, or calls it more than once. The model is in evaluation.
    """
    marks: list[torch.Tensor] = []
    sizes: list[int] = []

    def mark(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        sizes.append(inputs[0].numel() if inputs[0].ndim == 2 else 0)
        marks.append(torch.rand_like(output))
        return marks[-1]

    hook: Callable[..., Any] = mark
    handle = head.register_forward_hook(hook)
    try:
        output = model(picture)
    finally:
        handle.remove()
    return sizes[0] if len(marks) == 1 and isinstance(output, torch.Tensor) and torch.equal(output, marks[0]) else 0
