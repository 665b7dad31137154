"""Whether a model can take pictures of a size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sgdsheet.errors import Error, one_line


@contextmanager
def sized(arch: str, size: int, usual: int | None = None) -> Iterator[None]:
    """Around what makes or calls a model: its complaints about the size become an `Error`."""
    try:
        yield
    except Error:
        raise
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        other = f"another size, as {usual}" if usual and usual != size else "another size"
        raise Error(
            f"{arch} cannot take pictures of {size} x {size} pixels; choose {other} ({one_line(error, 200)})"
        ) from None


def require_scores(model: nn.Module, arch: str, classes: int, size: int, usual: int | None) -> None:
    """Raises `Error` unless a model makes a score for each class of a picture of that size."""
    training = model.training
    with sized(arch, size, usual), torch.no_grad():
        scores = model.eval()(torch.zeros(1, 3, size, size))
    model.train(training)
    if not isinstance(scores, torch.Tensor) or scores.shape != (1, classes):
        got = f"a tensor {tuple(scores.shape)}" if isinstance(scores, torch.Tensor) else f"a {type(scores).__name__}"
        raise Error(f"{arch}: expected scores of the shape (1, {classes}) for one picture, got {got}")
