"""A folder of pictures as data for training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgdsheet.errors import require
from trainer import distributed
from trainer.data.cache import build
from trainer.data.folder import check_no_class_lost, listing
from trainer.show.progress import counting


@dataclass(frozen=True)
class Batch:
    """The numbers of a batch's pictures, and the generator of what is drawn for it."""

    numbers: np.ndarray
    rng: np.random.Generator = field(repr=False)


class ImageFolder:
    """Pictures, their classes, and which of them are for validation.

    `root` is a folder with a folder for each class; or one with `train` and `valid`, each of those; or a CSV of path
    and label. Of the first kind, `valid_pct` of the pictures are set aside for validation: which ones depends on `seed`
    and each file's name alone. `size` is the side of the squares to train on, in pixels.

    The pictures are decoded once, by `workers` threads (one a core), into a file in the folder `cache` (see
    `trainer.data.cache`). `unreadable` says by name why some could not be; they are left out. `show` is for a bar, and
    for a line of each that is left out. Raises `Error` where too little remains.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        valid_pct: float = 0.2,
        seed: int = 42,
        size: int = 224,
        csv: Path | str | None = None,
        cache: Path | str | None = None,
        workers: int | None = None,
        show: bool = True,
    ) -> None:
        require(size, "size", 8)
        require(seed, "seed", 0)
        found = listing(root, valid_pct=valid_pct, seed=seed, csv=csv)
        with counting("Decoding pictures", show) as progress:
            decoded = build(found, size, folder=cache, workers=workers, progress=progress)
        self.unreadable = {found.names[number]: reason for number, reason in decoded.unreadable.items()}
        if show and distributed.first():
            for name, reason in self.unreadable.items():
                print(f"left out: {name}: {reason}")
        kept = np.array([number for number in range(len(found.names)) if number not in decoded.unreadable])
        self.listing = check_no_class_lost(found, decoded.unreadable)
        self.cache, self.size, self.seed = decoded.kept(kept), size, seed
        self.classes = self.listing.classes
        self.labels = torch.from_numpy(self.listing.labels)
        self.train, self.valid = np.flatnonzero(~self.listing.valid), np.flatnonzero(self.listing.valid)

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has; what is left over after the last whole one waits for another epoch."""
        return max(1, len(self.train) // batch_size)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[Batch]:
        """The batches of an epoch of training, in an order that `seed` and the epoch decide."""
        order = np.random.default_rng([seed, epoch]).permutation(self.train)
        for step in range(self.steps(batch_size)):
            numbers = order[step * batch_size : (step + 1) * batch_size]
            yield Batch(numbers, np.random.default_rng([seed, epoch, step + 1]))

    def show(self, count: int = 9) -> Any:
        """A grid of pictures with their classes, as a Pillow picture."""
        from PIL import Image

        from trainer.results.predictions import grid

        numbers = np.random.default_rng(self.seed).permutation(self.train)[:count]
        pictures = []
        for number in numbers:
            width, height = self.cache.sizes[number]
            scale = self.cache.side / max(width, height)
            shape = max(1, round(width * scale)), max(1, round(height * scale))
            pictures.append(Image.fromarray(self.cache.picture(number)).resize(shape, Image.Resampling.BILINEAR))
        return grid(pictures, [self.classes[self.listing.labels[number]] for number in numbers])

    def __repr__(self) -> str:
        return (
            f"ImageFolder({str(self.listing.root)!r}: {len(self.train):,} pictures to train with, {len(self.valid):,} "
            f"to validate with, {len(self.classes)} classes, {len(self.unreadable):,} unreadable)"
        )
