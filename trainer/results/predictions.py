"""What a trained classifier gets right and wrong: errors, confusions, top losses, as tables and as pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet.errors import Error
from trainer.files import put
from trainer.show.drawing import confusion_picture, grid

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

__all__ = ["Predictions", "grid"]

# The least probability that a loss is computed from, as in training: a loss is at most 87.3, never infinite.
LEAST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier says of n pictures, and what they are.

    `names` (n) are the pictures' file names, `classes` the names of the k classes, `labels` (n), int64 from 0 to k - 1,
    what each picture is, `probabilities` (n, k) what the classifier gives each class. Raises `Error` where these do not
    fit together.
    """

    names: list[str]
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray

    def __post_init__(self) -> None:
        shape, wanted = self.probabilities.shape, (len(self.names), len(self.classes))
        if shape != wanted or self.labels.shape != wanted[:1] or 0 in wanted:
            raise Error(
                f"predictions: {wanted[0]} names and {wanted[1]} classes, at least one of each, need labels of shape "
                f"{wanted[:1]} and probabilities of shape {wanted}, got {self.labels.shape} and {shape}"
            )
        if not (np.isfinite(self.probabilities).all() and (self.probabilities >= 0).all()):
            raise Error("predictions: a probability is not finite, or below 0; did the training diverge?")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise Error(f"predictions: expected labels from 0 to {len(self.classes) - 1}, got one beyond")

    @property
    def predicted(self) -> np.ndarray:
        """The class with the largest probability for each picture, the first of equal ones: int64 (n)."""
        return self.probabilities.argmax(1).astype(np.int64)

    @property
    def losses(self) -> np.ndarray:
        """Each picture's cross-entropy, -log of what its right class was given: float64 (n), always finite."""
        right = np.take_along_axis(self.probabilities, self.labels[:, None], 1)[:, 0]
        # Rounding may leave a little more than 1; no loss is below 0.
        return -np.log(right.astype(np.float64).clip(LEAST, 1))

    @property
    def error_rate(self) -> float:
        """The share of the pictures that are taken for another class, from 0 to 1."""
        return float((self.predicted != self.labels).mean())

    def confusion(self) -> np.ndarray:
        """How many pictures of each class were taken for which: int64 (k, k), `[actual, predicted]`."""
        count = len(self.classes)
        return np.bincount(self.labels * count + self.predicted, minlength=count**2).reshape(count, count)

    def most_confused(self, least: int = 2) -> list[tuple[str, str, int]]:
        """The mistakes that were made `least` times or more: (actual, predicted, count), the most frequent first."""
        counts = self.confusion()
        pairs = [
            (self.classes[actual], self.classes[predicted], int(counts[actual, predicted]))
            for actual, predicted in np.argwhere(counts >= max(1, least))
            if actual != predicted
        ]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))

    def worst(self, count: int | None = None) -> np.ndarray:
        """The numbers of the `count` pictures, or of all, with the highest losses, the highest first."""
        return np.argsort(-self.losses, kind="stable")[:count]

    def top_losses(self, count: int = 9) -> pd.DataFrame:
        """The pictures with the highest losses, the highest first.

        Columns: name, actual, predicted, loss, probability (of the predicted class).
        """
        rows = self.to_frame().iloc[self.worst(count)].reset_index(drop=True)
        return rows[["name", "actual", "predicted", "loss", "probability"]]

    def to_frame(self) -> pd.DataFrame:
        """A row a picture: name, actual, predicted, right, loss, probability (of the predicted class).

        Then each class's probability, under its name; a class that is called like a column before it has the column
        `probability of NAME`.
        """
        import pandas as pd

        names = np.array(self.classes, dtype=object)
        columns = {
            "name": self.names,
            "actual": names[self.labels],
            "predicted": names[self.predicted],
            "right": self.predicted == self.labels,
            "loss": self.losses,
            "probability": self.probabilities.max(1),
        }
        heads = [f"probability of {name}" if name in columns else name for name in self.classes]
        return pd.concat([pd.DataFrame(columns), pd.DataFrame(self.probabilities, columns=heads)], axis=1)

    def save_csv(self, path: str | Path) -> None:
        """Writes `to_frame` as a CSV in UTF-8, whole or not at all. Raises `Error` where that cannot be."""
        put(Path(path), self.to_frame().to_csv(index=False, lineterminator="\n"))

    def plot_confusion(self) -> Image.Image:
        """The confusion matrix as a picture: a row for what a picture is, a column for what it was taken for."""
        return confusion_picture(self.confusion(), self.classes)

    def show_top_losses(self, open_picture: Callable[[str], Image.Image], count: int = 9) -> Image.Image:
        """The pictures with the highest losses in a grid, each with what it is, what it was taken for, and its loss.

        `open_picture` gives the picture of a name.
        """
        rows = self.top_losses(count).to_dict("records")
        captions = [
            f"{row['actual']}\npredicted {row['predicted']}, {row['probability']:.0%}\n"
            f"loss {row['loss']:.2f}, {Path(row['name']).name}"
            for row in rows
        ]
        return grid([open_picture(row["name"]) for row in rows], captions, side=200)
