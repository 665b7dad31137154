"""A folder of pictures as data for training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sgdsheet.errors import require
from trainer import distributed
from trainer.data.cache import build, default_folder
from trainer.data.folder import check_no_class_lost, listing
from trainer.data.labels import Label
from trainer.show.progress import counting, say

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Batch:
    """The numbers of a batch's pictures, and the generator of what is drawn for it."""

    numbers: np.ndarray
    rng: np.random.Generator = field(repr=False)


class ImageFolder:
    """Pictures, their classes, and which of them are for validation and for a test.

    `root` is a folder with a folder for each class; or one with `train`, and `valid` or `test`, each of those; or, with
    `label`, a folder of pictures whose names say the class; or a CSV (or `csv`), of which `path_column`,
    `label_column`, `split_column`, `label_delim`, `folder` and `suffix` say what it does not say itself: see
    `trainer.data.folder.listing`, and `trainer.data.table` for CSVs. Where none are given for validation, `valid_pct`
    of the pictures are: which ones depends on `seed` and each file's name alone. `size` is the side of the squares to
    train on, in pixels. Folders `without` are passed over.

    The pictures are decoded once, by `workers` threads (one a core), into a file in the folder `cache` (see
    `trainer.data.cache`). `unreadable` says by name why some could not be; they are left out. `show` is for a bar, and
    for a line of each of these and of all that was taken or passed over. Raises `Error` where too little remains.

    `train`, `valid` and `test` are numbers of pictures, int64. `labels` are (n,) int64, places in `classes`; or, where
    a picture may have several labels or none (`multi_label`), (n, classes) float32 of 0 and 1.
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
        label: Label | None = None,
        path_column: str | None = None,
        label_column: str | Sequence[str] | None = None,
        split_column: str | None = None,
        label_delim: str | None = None,
        folder: Path | str | None = None,
        suffix: str | None = None,
        without: Path | str | Sequence[Path | str] = (),
    ) -> None:
        require(size, "size", 8, whole=True)
        require(seed, "seed", 0, whole=True)
        without = [without] if isinstance(without, (str, Path)) else [*without]
        self._given = {
            "valid_pct": valid_pct,
            "seed": seed,
            "size": size,
            "cache": _absolute(cache),
            "label": label,
            "path_column": path_column,
            "label_column": label_column,
            "split_column": split_column,
            "label_delim": label_delim,
            "suffix": suffix,
            "without": [_absolute(each) for each in without],
        }
        cache = Path(cache).expanduser() if cache else default_folder()
        found = listing(
            root,
            valid_pct=valid_pct,
            seed=seed,
            csv=csv,
            label=label,
            path_column=path_column,
            label_column=label_column,
            split_column=split_column,
            label_delim=label_delim,
            folder=folder,
            suffix=suffix,
            without=[*without, cache],
        )
        said = show and distributed.first()
        for line in found.said if said else ():
            say(line)
        with counting("Decoding pictures", show) as progress:  # of several processes any may be the one that decodes
            decoded = build(found, size, folder=cache, workers=workers, progress=progress)
        self.unreadable = {found.names[number]: reason for number, reason in decoded.unreadable.items()}
        for name, reason in self.unreadable.items() if said else ():
            say(f"left out: {name}: {reason}")
        kept = np.array([number for number in range(len(found.names)) if number not in decoded.unreadable])
        self.listing = check_no_class_lost(found, decoded.unreadable)
        self.cache, self.size, self.seed = decoded.kept(kept), size, seed
        self.classes, self.multi_label = self.listing.classes, self.listing.multi_label
        self.labels = torch.from_numpy(self.listing.labels)
        self.train, self.valid, self.test = (
            np.flatnonzero(self.listing.part == part) for part in ("train", "valid", "test")
        )

    def given(self) -> dict[str, Any]:
        """The arguments that open the same pictures again, wherever a program is started from; as JSON has them.

        A `label` that is a function is there as its name in brackets, which opens nothing.
        """
        label, columns = self._given["label"], self._given["label_column"]
        return self._given | {
            "root": _absolute(self.listing.root),
            "csv": _absolute(self.listing.csv),
            "label": {"function": getattr(label, "__name__", "given")} if callable(label) else label,
            "label_column": columns if columns is None or isinstance(columns, str) else [*columns],
        }

    def counts(self) -> pd.DataFrame:
        """A row a class: its name, and how many pictures there are to train, to validate and to test with."""
        import pandas as pd

        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return pd.DataFrame({"class": self.classes, **{part: self._count(its) for part, its in parts.items()}})

    def class_weights(self) -> torch.Tensor:
        """A weight for each class, float32: the rarer it is in training, the larger; their mean over pictures is 1.

        With several labels a picture it is the mean over labels.
        """
        counts = torch.from_numpy(self._count(self.train))
        return (counts.sum() / (len(counts) * counts)).float()

    def _count(self, numbers: np.ndarray) -> np.ndarray:
        """How many of these pictures show each class."""
        return np.array([self.listing.of(label)[numbers].sum() for label in range(len(self.classes))], dtype=np.int64)

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has; what is left over after the last whole one waits for another epoch.

        Where there are fewer pictures than `batch_size`, all of them are one batch.
        """
        return max(1, len(self.train) // batch_size)

    def batches(self, epoch: int, batch_size: int, seed: int, balanced: bool = False) -> Iterator[Batch]:
        """The batches of an epoch of training, in an order that `seed` and the epoch decide.

        `balanced` has every class equally often in an epoch of the same length: those of a rare class come several
        times, not all of a frequent one come.
        """
        rng = np.random.default_rng([seed, epoch])
        count = min(len(self.train), self.steps(batch_size) * batch_size)
        order = self._balanced(count, rng) if balanced else rng.permutation(self.train)
        for step in range(self.steps(batch_size)):
            numbers = order[step * batch_size : (step + 1) * batch_size]
            yield Batch(numbers, np.random.default_rng([seed, epoch, step + 1]))

    def _balanced(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` training pictures, equally many drawn for each class, or for none; each one's equally often."""
        groups = [self.train[self.listing.of(label)[self.train]] for label in range(len(self.classes))]
        if self.multi_label:
            groups.append(self.train[self.listing.labels[self.train].sum(1) == 0])
        groups = [group for group in groups if len(group)]
        shares = np.full(len(groups), count // len(groups))
        shares[rng.permutation(len(groups))[: count % len(groups)]] += 1
        drawn = [
            np.concatenate([rng.permutation(group) for _ in range(-(-share // len(group)))])[:share]
            for group, share in zip(groups, shares.tolist(), strict=True)
            if share
        ]
        return rng.permutation(np.concatenate(drawn))

    def show(self, count: int = 9) -> Any:
        """A grid of pictures with their classes, as a Pillow picture."""
        from PIL import Image

        from trainer.show.drawing import grid

        numbers = np.random.default_rng(self.seed).permutation(self.train)[:count]
        pictures = []
        for number in numbers:
            width, height = self.cache.sizes[number]
            scale = self.cache.side / max(width, height)
            shape = max(1, round(width * scale)), max(1, round(height * scale))
            pictures.append(Image.fromarray(self.cache.picture(number)).resize(shape, Image.Resampling.BILINEAR))
        return grid(pictures, [", ".join(self._classes_of(number)) for number in numbers])

    def _classes_of(self, number: int) -> list[str]:
        labels = self.listing.labels[number]
        return [self.classes[label] for label in (np.flatnonzero(labels) if self.multi_label else [labels])]

    def __repr__(self) -> str:
        test = f", {len(self.test):,} to test with" if len(self.test) else ""
        return (
            f"ImageFolder({str(self.listing.root)!r}: {len(self.train):,} pictures to train with, {len(self.valid):,} "
            f"to validate with{test}, {len(self.classes)} classes{', several a picture' if self.multi_label else ''}, "
            f"{len(self.unreadable):,} unreadable)"
        )


def _absolute(path: Path | str | None) -> str | None:
    return os.path.abspath(Path(path).expanduser()) if path else None
