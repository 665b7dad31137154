"""What a workbook must agree with, whichever way it was made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet.book import Input

COMPILED = "a compiled PyTorch model"  # stands for the lesson's name in a workbook that carries its own program

Values = Mapping[str, Any]
Blocks = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """A torch program, and what it takes from a workbook's cells.

    `inputs` are single cells; `dims` names the blocks of data that the reader may change, with their numbers of
    dimensions. `run(values)` gets both by block name (a float, a text or an array) and returns every block by name as a
    float64 array. `sizes(values, blocks)` gives, for a block whose formula takes a difference of larger numbers, how
    large they are: its rounding is measured against that.

    `whole` names the blocks of data that hold whole numbers alone, labels and the like; if it is None, these are
    the ones that hold whole numbers now.

    A block agrees if it is off by at most `tolerance` times the largest of its numbers, or times `least` if all are
    smaller.
    """

    name: str
    inputs: tuple[Input, ...]
    dims: Mapping[str, int]
    run: Callable[[Values], dict[str, np.ndarray]]
    sizes: Callable[[Values, Blocks], dict[str, np.ndarray]] = lambda values, blocks: {}
    tolerance: float = 1e-12
    least: float = 1.0
    whole: Collection[str] | None = None


@contextmanager
def float64_by_default() -> Iterator[None]:
    """torch with float64 for what has no dtype of its own; some optimisers keep such scalars, a step size for one."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
