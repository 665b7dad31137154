"""From numbers of pictures to batches on the device, the next ones fetched while one is used.

On a CPU the cutter reads from the mapped file. On another device the stored pixels lie there already, if they fit;
else those of a batch are gathered into pinned memory by threads and copied on a stream of their own, so that neither
the CPU nor the GPU waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from trainer.data.cache import Cache
from trainer.training.augment import Drawn
from trainer.training.cutting import NUMBER, Cutter, packed

SHARE = 0.4  # of a GPU's free memory, which the pixels of all pictures may take; the model needs the rest
AHEAD = 3  # batches that are on their way, gathered by two threads
PIECE = 100_000_000  # pixels that go to the device at once


@dataclass(frozen=True)
class Order:
    """A batch to come: the numbers (n) of its pictures, and what was drawn for them."""

    numbers: np.ndarray
    drawn: Drawn


@dataclass(frozen=True)
class Cut:
    """What came of an order: `pictures` (n, 3, size, size) and their `numbers` (n, int64), both on the device."""

    order: Order
    pictures: torch.Tensor
    numbers: torch.Tensor


class Feed:
    """Cuts batches from a cache. `sampled` is how it is done on every device but a CPU, for which it is slow."""

    def __init__(self, cache: Cache, cutter: Cutter, sampled: bool | None = None) -> None:
        self.cache, self.cutter, self.device = cache, cutter, cutter.device
        self.sampled = self.device.type != "cpu" if sampled is None else sampled
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._resident = _resident(cache, self.device) if self._stream is not None else None

    def __call__(self, orders: Iterable[Order], size: int) -> Iterator[Cut]:
        """The batches, as squares of `size` pixels; orders are read a few ahead."""
        if self.sampled:
            for order, pixels, rows, sent in ahead(orders, self._fetched, self._in_a_thread):
                self._arrived(sent, pixels, rows)
                yield Cut(order, self.cutter.sampled(pixels, rows, size), rows[:, NUMBER].long())
            return
        for order in orders:
            pictures = [self.cache.picture(number) for number in order.numbers]
            yield Cut(order, self.cutter.each(pictures, order.drawn, size), torch.from_numpy(order.numbers))

    def _in_a_thread(self) -> None:
        """Has a thread of this process use its GPU, not the first one."""
        if self._stream is not None:
            torch.cuda.set_device(self.device)

    def _fetched(self, order: Order) -> tuple[Order, torch.Tensor, torch.Tensor, Any]:
        """Pixels and rows for the cutter, on their way to the device, and the event that says when they are there."""
        shapes = self.cache.shapes[order.numbers]
        if self._resident is not None:
            pixels, all_starts = self._resident
            starts = all_starts[order.numbers]
        else:
            # PyTorch hands pinned memory out again once the copy from it is done: a ring of buffers, in effect.
            pixels = torch.empty((int(shapes.prod(1).sum()), 3), dtype=torch.uint8, pin_memory=self._stream is not None)
            starts = self.cache.take(order.numbers, pixels.numpy())[1]
        rows = torch.from_numpy(packed(order.numbers, starts, shapes, order.drawn))
        if self._stream is None:
            return order, pixels.to(self.device), rows.to(self.device), None
        with torch.cuda.stream(self._stream):
            pixels, rows = (each.to(self.device, non_blocking=True) for each in (pixels, rows.pin_memory()))
            return order, pixels, rows, self._stream.record_event()

    def _arrived(self, sent: Any, *tensors: torch.Tensor) -> None:
        """Makes the GPU wait, not the CPU, until they are there."""
        if sent is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_event(sent)
            for each in tensors:
                each.record_stream(now)


def ahead(
    orders: Iterable[Order], fetch: Callable[[Order], Any], begin: Callable[[], None] = lambda: None
) -> Iterator[Any]:
    """What `fetch` makes of each order, in order, a few begun before they are asked for; `begin` begins a thread."""
    orders = iter(orders)
    with ThreadPoolExecutor(2, initializer=begin) as pool:
        begun: list[Future[Any]] = [pool.submit(fetch, order) for order in islice(orders, AHEAD)]
        while begun:
            found = begun.pop(0).result()
            begun += [pool.submit(fetch, order) for order in islice(orders, 1)]
            yield found


def _resident(cache: Cache, device: torch.device) -> tuple[torch.Tensor, np.ndarray] | None:
    """All pictures' pixels on a GPU and where each begins; None where they would take too much of its memory."""
    lengths = cache.shapes.prod(1)
    if 3 * lengths.sum() > SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    ends = lengths.cumsum()
    starts = ends - lengths
    pixels = torch.empty((int(lengths.sum()), 3), dtype=torch.uint8, device=device)
    for piece in np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(ends // PIECE)) + 1):
        taken, _ = cache.take(piece)
        pixels[starts[piece[0]] : ends[piece[-1]]] = torch.from_numpy(taken).to(device)
    return pixels, starts
