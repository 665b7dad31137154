"""The batches that a model is given: one for all steps, or one for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from sgdsheet.errors import Error

MOST_STEPS = 100_000  # a workbook of so many has more sheets than any program opens
EXACT = 2**53  # a cell's number has no more digits than that


@dataclass(frozen=True)
class Batch:
    """What one step is given: the model's arguments and what the loss gets after the output, tensors or tuples."""

    inputs: tuple[Any, ...]
    targets: tuple[Any, ...]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All of them, by the names of the nodes that they feed."""
        found = {}
        for kind, given in (("input", self.inputs), ("target", self.targets)):
            found |= {f"{kind}/{number}": each for number, each in enumerate(pytree.tree_leaves(given))}
        return found

    def shape(self) -> Any:
        """What a graph depends on: how the tensors are nested, their shapes and their kinds of number."""
        _, nested = pytree.tree_flatten((self.inputs, self.targets))
        return str(nested), tuple((each.shape, each.dtype) for each in self.tensors().values())


def batches(inputs: Any, targets: Any, steps: int | None) -> list[Batch]:
    """The batch of each step; the same object for all of them where there is one only.

    Tensors become float64, or int64 where they hold whole numbers. Raises `Error` for what is no tensor or does not fit
    into cells, and for numbers of batches and steps that disagree.
    """
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or not 0 < steps <= MOST_STEPS):
        raise Error(f"steps: expected a whole number from 1 to {MOST_STEPS:,}, got {steps!r:.40}")
    if not isinstance(inputs, list):
        if isinstance(targets, list):
            raise Error("targets is a list, one batch a step, but inputs is not")
        return [_batch(inputs, targets, "")] * (steps or 1)
    if not inputs:
        raise Error("inputs: expected at least one batch, got an empty list")
    if steps is not None and steps != len(inputs):
        raise Error(f"inputs is a list of {len(inputs)} batches, one a step, but steps is {steps}")
    if isinstance(targets, list) and len(targets) != len(inputs):
        raise Error(f"expected as many batches of targets as of inputs, got {len(targets)} and {len(inputs)}")
    wanted = targets if isinstance(targets, list) else [targets] * len(inputs)
    pairs = enumerate(zip(inputs, wanted, strict=True))
    return [_batch(x, y, f", batch {number}") for number, (x, y) in pairs]


def repeated(given: Any) -> list[Batch]:
    """The batches of a step that `sgdsheet train` repeats: pairs of inputs and targets, or inputs alone.

    Raises `Error` as `batches` does, for what is no collection of such, and for batches of different shapes.
    """
    if isinstance(given, (torch.Tensor, str)) or not isinstance(given, Iterable):
        raise Error(f"batches: expected pairs of inputs and targets, as in [(x, y), ...], got {type(given).__name__}")
    found = []
    for number, each in enumerate(given):
        if len(found) == MOST_STEPS:
            raise Error(f"batches: expected {MOST_STEPS:,} at most")
        pair = tuple(each) if isinstance(each, (list, tuple)) else (each, None)
        if len(pair) != 2:
            raise Error(f"batches: expected a pair of inputs and targets in batch {number}, got {len(pair)} things")
        x, y = (tuple(one) if isinstance(one, list) else one for one in pair)
        found.append(_batch(x, y, f", batch {number}"))
        if found[-1].shape() != found[0].shape():
            raise Error(
                f"batches: batch {number} has {_shapes(found[-1])}, the first one {_shapes(found[0])}, and the cells "
                "are for one shape; leave it out (DataLoader has drop_last=True)"
            )
    if not found:
        raise Error("batches: expected at least one, got none")
    return found


def _shapes(batch: Batch) -> str:
    return " and ".join(f"{tuple(each.shape)} of {each.dtype}" for each in batch.tensors().values())


def _batch(inputs: Any, targets: Any, number: str) -> Batch:
    return Batch(_tensors(inputs, f"inputs{number}"), () if targets is None else _tensors(targets, f"targets{number}"))


def _tensors(given: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(given, tuple):
        return (_tensor(given, where),)
    return tuple(_tensors(each, where) if isinstance(each, tuple) else _tensor(each, where) for each in given)


def _tensor(given: Any, where: str) -> torch.Tensor:
    if not isinstance(given, torch.Tensor):
        raise Error(f"{where}: expected a tensor or a tuple of tensors, got {type(given).__name__}")
    shape = tuple(given.shape)
    if (problem := unfit(given)) is not None:
        raise Error(f"{where}: expected a plain tensor of numbers, got {problem} of shape {shape}")
    if given.numel() == 0:
        raise Error(f"{where}: a tensor of shape {shape} has no elements")
    given = given.detach().cpu().contiguous()  # a graph views what lies in order
    if given.dtype == torch.bool:
        return given
    if not given.is_floating_point():
        given = given.long()
        if given.abs().max() > EXACT:
            raise Error(f"{where}: a cell holds whole numbers up to 2^53, and this tensor has larger ones")
        return given
    if not given.isfinite().all():
        raise Error(f"{where}: a cell holds finite numbers only, and this tensor of shape {shape} has others")
    return given.double()


def unfit(tensor: torch.Tensor) -> str | None:
    """What a tensor is that cells cannot hold, if it is that."""
    if tensor.is_quantized:
        return "a quantised tensor"
    if tensor.is_nested or tensor.layout != torch.strided:
        return "a nested tensor" if tensor.is_nested else "a sparse tensor"
    if tensor.is_complex():
        return "a tensor of complex numbers"
    return "a tensor without data, on the device 'meta'," if tensor.is_meta else None
