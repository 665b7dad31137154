"""What a workbook must agree with, whichever way it was made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdsheet.book import Input

COMPILED = "a compiled PyTorch model"  # stands for the lesson's name in a workbook that carries its own program
REPLAY = "a replayed training"  # the same in the workbook of a training that was recorded

Values = Mapping[str, Any]
Blocks = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Loop:
    """How a workbook's training goes on: what its steps leave behind is typed in where they began.

    `back` has, for each block to type into, the block whose last numbers go there; `made` is the block that counts the
    steps made before, if there is one. The block `loss` has a number for each step. `batch` names the blocks that a
    batch fills, none if a workbook's data stay as they are: the input's, then the target's, with a group for each batch
    that it has at once; `rows` is how many examples a batch has. On the block `batches`, if there is one, stand more.
    """

    back: Mapping[str, str]
    made: str | None = None
    batch: tuple[tuple[str, ...], ...] = ()
    rows: int = 1
    batches: str | None = None


@dataclass(frozen=True)
class Reference:
    """A torch program, and what it takes from a workbook's cells.

    `inputs` are single cells; `dims` names the blocks of data that the reader may change, with their numbers of
    dimensions. `run(values)` gets both by block name (a float, a text or an array) and returns every block by name as a
    float64 array. `sizes(values, blocks)` gives, for a block whose formula takes a difference of larger numbers, how
    large they are: its rounding is measured against that.

    `mixed` names the blocks of data in whose columns the reader may have numbers (True) or texts (False), and leave
    cells blank: a column each, or one for a block of one dimension. `run` gets them as object arrays of floats, texts
    and None, and need not return them.

    `whole` names the blocks of data that hold whole numbers alone, labels and the like; if it is None, these are
    the ones that hold whole numbers now.

    `loop` says how `sgdsheet train` goes on, if there is a step to repeat.

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
    mixed: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    loop: Loop | None = None


# Who is inside of `float64_by_default`, and the default dtype outside of it.
_guard = threading.Lock()
_inside = 0
_before: Any = None


@contextmanager
def float64_by_default() -> Iterator[None]:
    """torch with float64 for what has no dtype of its own; some optimisers keep such scalars, a step size for one.

    The default is the whole process's: of several threads that are here at once, the first sets it, and the last one to
    leave puts back what was.
    """
    import torch

    global _inside, _before
    with _guard:
        if _inside == 0:
            _before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
        _inside += 1
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0:
                torch.set_default_dtype(_before)
