"""A frozen body: what it makes of each picture is calculated once, and the head trains on that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from trainer.training import loop
from trainer.training.augment import draw

KEPT = 2_000_000_000  # bytes of features at most
VIEWS = 1  # times that each picture is cut anew; later epochs begin with the first again


class Features:
    """What the body of a model gives its head for each picture, in memory.

    Each training picture is cut once, as its number and the seed decide, so that a run that goes on and several
    processes see the same; the validation pictures as always. `counted` shows how it goes on.
    """

    def __init__(self, model: nn.Module, head: nn.Module, setup: loop.Setup, counted: Any) -> None:
        self.setup, self._body, self._counted = setup, _Body(model, head), counted
        self._rows = np.empty(int(max(setup.data.train)) + 1, dtype=np.int64)
        self._rows[setup.data.train] = np.arange(len(setup.data.train))
        self._views: dict[int, torch.Tensor] = {}
        self._looked: dict[str, torch.Tensor] = {}

    def steps(self, epoch: int) -> Iterator[loop.Step]:
        """The steps of an epoch of the head."""
        setup, view = self.setup, epoch % VIEWS
        if view not in self._views:
            sizes = setup.data.cache.sizes[setup.data.train]
            drawn = draw(setup.recipe.augment, sizes, np.random.default_rng([setup.recipe.seed, view, 0]))
            cut = lambda _, places: drawn.rows(places)  # noqa: E731
            self._views[view] = loop.outputs(self._body, setup, setup.data.train, cut, counted=self._counted)
        for batch in loop.batches(setup, epoch):
            numbers = batch.numbers[setup.world.part(len(batch.numbers))]
            rows = torch.from_numpy(self._rows[numbers]).to(setup.feed.device)
            target = setup.labels[torch.from_numpy(numbers).to(setup.feed.device)]
            yield loop.Step(self._views[view][rows], target, int(batch.rng.integers(2**62)) + setup.world.rank)

    def valid(self) -> torch.Tensor:
        """Those of the validation pictures."""
        if "valid" not in self._looked:
            self._looked["valid"] = loop.outputs(self._body, self.setup, self.setup.data.valid)
        return self._looked["valid"]


class _Body:
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
