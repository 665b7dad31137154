"""The run of torch beside a workbook that trained: the same step, on what the step before has left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sgdsheet.reference import Loop, Reference, float64_by_default
from sgdsheet.training.feed import Feed

Values = dict[str, Any]


def follow(
    reference: Reference, start: Mapping[str, Any], feed: Feed | None, first: int
) -> Iterator[tuple[Any, Values]]:
    """Trains without end: yields the losses of each round of the workbook's steps, and what is typed in after it.

    `start` is what is typed in before, by block; `first` is the batch of `feed` that it begins with, from 0.
    """
    loop = reference.loop
    assert loop is not None
    values = dict(start)
    while True:
        if feed is not None:
            values |= feed.blocks(first)
            first += len(loop.batch)
        with float64_by_default(), np.errstate(all="ignore"):
            blocks = reference.run(values)
        values = onward(loop, values, blocks)
        yield blocks["loss"].ravel(), values


def onward(loop: Loop, values: Mapping[str, Any], blocks: Mapping[str, np.ndarray]) -> Values:
    """What is typed in after the steps that have led to `blocks`."""
    found = dict(values)
    for into, source in loop.back.items():
        last = np.asarray(blocks[source]).ravel()[-np.size(values[into]) :]
        found[into] = float(last[0]) if np.ndim(values[into]) == 0 else last.reshape(np.shape(values[into]))
    if loop.made is not None:
        found[loop.made] = values[loop.made] + blocks["loss"].size
    return found
