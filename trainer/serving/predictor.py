"""A classifier that was loaded from a file, and what it says of pictures.

The same picture gets the same digits alone, among others, from Python, from the command line and from the server. The
kernels of a CPU add in another order for another size of batch or another number of threads, which shows in the fifth
digit; so a CPU judges each picture by itself, on one thread, and several pictures at the same time on several threads,
which is also faster than sharing one picture among them. A GPU gets batches of one size, filled up with nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sgdsheet.errors import Error
from sgdsheet.pictures import TooLarge, Unreadable, size_of, too_large
from trainer import distributed
from trainer.data.pictures import shrunk
from trainer.data.walk import walk
from trainer.serving import bundle
from trainer.serving.batches import Batches
from trainer.training.augment import plain
from trainer.training.cutting import Cutter

BATCH = 32  # pictures at once on a GPU
AHEAD = 4  # batches that are asked for before the first is needed
# Of a picture that comes from elsewhere.
MOST_BYTES = 10 * 2**20
MOST_PIXELS = 50_000_000

Source = Path | str | bytes


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What a classifier says of one picture.

    `name` is the picture's, `classes` (k) and `probabilities` (k, float32) are in the same order, `labels` the classes
    that it is taken for: the most probable one, or with several labels a picture all that reach their thresholds, the
    most probable first. `error` says why the picture could not be read; there are no probabilities then.
    """

    name: str
    classes: list[str]
    probabilities: np.ndarray
    labels: list[str]
    error: str | None = None

    @property
    def label(self) -> str:
        """The most probable class; "" if the picture could not be read."""
        return self.top(1)[0][0] if self.error is None else ""

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """The most probable classes and their probabilities, the shortest decimals that mean the same float32."""
        if self.error is not None:
            return []
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[place], float(str(self.probabilities[place]))) for place in order]

    def said(self, count: int | None = None) -> dict[str, Any]:
        """The same as JSON has it, with the `count` most probable classes, or all: what the server answers."""
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        top = [{"class": name, "probability": each} for name, each in self.top(count or len(self.classes))]
        return {"name": self.name, "labels": self.labels, "classes": top}

    def __repr__(self) -> str:
        said = self.error or ", ".join(f"{name} {each:.4f}" for name, each in self.top())
        return f"<{self.name}: {said}>"


class Predictor:
    """A classifier that says what pictures show; `load` makes one of a file.

    `card` is all that the file says of it: classes, size, metrics, provenance (see `trainer.serving.bundle`). `device`
    is "cpu" by default, or "cuda", "cuda:1" or "mps". `threads` judge pictures at the same time, one a core by default.
    Raises `Error` for a file that is no exported classifier, and for a device that is not there.
    """

    def __init__(self, path: Path | str, device: str | None = None, threads: int | None = None) -> None:
        self.path = Path(path).expanduser()
        self.card, model = bundle.read(self.path)
        self._begin(model, device or "cpu", threads)

    def _begin(self, model: nn.Module, device: str, threads: int | None) -> None:
        self.device = distributed.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        on_cpu, before = self.device.type == "cpu", torch.get_num_threads()
        work, most = (self._one, 1) if on_cpu else (self._filled, BATCH)
        try:
            torch.set_num_threads(1)  # which threads that begin now have too, those of the cutter as well
            self._cutter = Cutter(torch.device("cpu"), self.card.mean, self.card.std)
            self._cutter.each([np.zeros((8, 8, 3), np.uint8)], plain(np.array([[8, 8]])), 8)
            self._batches = Batches(work, most, threads or _cores() if on_cpu else 1, _alone)
        finally:
            torch.set_num_threads(before)

    def __repr__(self) -> str:
        card = self.card
        return f"<Predictor {self.path}: {card.arch}, {len(card.classes)} classes, {card.size} pixels, {self.device}>"

    # --- pictures -----------------------------------------------------------------------------------------------------

    def predict(self, source: Source | Iterable[Source]) -> Any:
        """Returns the `Prediction` of a picture, given as a file or its bytes; of a folder or of several, a list.

        Raises `Error` if the one picture cannot be read; one of several has an `error` instead.
        """
        if isinstance(source, (str, Path)) and (folder := Path(source).expanduser()).is_dir():
            return [*self.each(folder / name for name in walk(folder).all_pictures())]
        if not isinstance(source, (str, bytes, Path)):
            return [*self.each(source)]
        (found,) = self.each([source])
        if found.error is not None:
            raise Error(f"{found.name}: {found.error}")
        return found

    def each(self, sources: Iterable[Source]) -> Iterator[Prediction]:
        """The predictions of pictures, in their order, some judged ahead of the one that is asked for."""
        return self.named((_name(each), each) for each in sources)

    def named(self, sources: Iterable[tuple[str, Source | Unreadable]]) -> Iterator[Prediction]:
        """As `each`, of pictures with names of their own; why one cannot be read may stand in its place."""
        coming = iter(sources)
        begun = deque((name, self.submit(each)) for name, each in islice(coming, AHEAD * BATCH))
        try:
            while begun:
                name, future = begun.popleft()
                yield self.judged(name, future.result())
                begun += [(name, self.submit(each)) for name, each in islice(coming, 1)]
        finally:
            for _, future in begun:
                future.cancel()

    def submit(self, source: Source | Unreadable) -> Future[np.ndarray | Unreadable]:
        """Returns the future of a picture's probabilities, or of why it cannot be read."""
        return self._batches.submit(Path(source).expanduser() if isinstance(source, str) else source)

    def judged(self, name: str, found: np.ndarray | Unreadable) -> Prediction:
        """What probabilities (k), or why there are none, mean for a picture of this name."""
        classes = self.card.classes
        if isinstance(found, Unreadable):
            return Prediction(name, classes, np.empty(0, np.float32), [], str(found))
        order = np.argsort(-found, kind="stable")
        seen = found >= np.array(self.card.thresholds) if self.card.thresholds else np.arange(len(found)) == order[0]
        return Prediction(name, classes, found, [classes[place] for place in order if seen[place]])

    def close(self) -> None:
        """Ends the threads; what has not begun is cancelled."""
        self._batches.close()

    # --- on the threads -----------------------------------------------------------------------------------------------

    def _cut(self, source: Path | bytes | Unreadable) -> torch.Tensor:
        """A picture (1, 3, size, size), as the trainer's validation sees it."""
        if isinstance(source, Unreadable):
            raise source
        pixels, (width, height) = shrunk(source, self.card.short_side)
        return self._cutter.each([pixels], plain(np.array([[width, height]])), self.card.size)

    def _one(self, sources: Sequence[Path | bytes | Unreadable]) -> list[np.ndarray | Unreadable]:
        (source,) = sources
        try:
            return [self._scored(self._cut(source))[0]]
        except Unreadable as error:
            return [error]

    def _filled(self, sources: Sequence[Path | bytes | Unreadable]) -> list[np.ndarray | Unreadable]:
        found: list[Any] = []
        batch = torch.zeros((BATCH, 3, self.card.size, self.card.size)).contiguous(memory_format=torch.channels_last)
        for place, source in enumerate(sources):
            try:
                batch[place] = self._cut(source)[0]
                found.append(None)
            except Unreadable as error:
                found.append(error)
        scored = self._scored(batch.to(self.device))
        return [scored[place] if each is None else each for place, each in enumerate(found)]

    @torch.inference_mode()
    def _scored(self, batch: torch.Tensor) -> np.ndarray:
        scores = self.model(batch)
        return (scores.sigmoid() if self.card.multi_label else scores.softmax(1)).cpu().numpy()


def require_small(content: bytes) -> None:
    """Raises `TooLarge` for a picture whose header says too many pixels, and `Unreadable` for what is none."""
    width, height = size_of(content)
    if width * height > MOST_PIXELS:
        raise TooLarge(too_large(width * height, MOST_PIXELS))


def _name(source: Source) -> str:
    return "the picture" if isinstance(source, bytes) else str(source)


def _alone() -> None:
    """Has a thread share its work with no other one."""
    torch.get_num_threads()  # at a thread's first question torch gives it the number that holds everywhere
    torch.set_num_threads(1)


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load(path: Path | str, device: str | None = None, threads: int | None = None) -> Predictor:
    """Returns the classifier of a file that `trainer export` or `clf.export` has written. As `Predictor`."""
    return Predictor(path, device, threads)
