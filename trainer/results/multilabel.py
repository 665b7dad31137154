"""What a classifier that gives several labels to a picture gets right and wrong: scores, thresholds, top losses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.files import put
from trainer.results.predictions import LEAST, PARTS, as_csv, check, figures, scores, with_probabilities
from trainer.show.drawing import grid, opened
from trainer.show.text import plain, share

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

BETWEEN = " | "  # the labels of a picture, in a cell of a table


@dataclass(frozen=True, eq=False, repr=False)
class MultiLabelPredictions:
    """What a classifier says of n pictures that have any number of labels each, and what they are.

    `names` (n) are the pictures' file names, `classes` the names of the k classes, `labels` (n, k), 0 or 1, which
    classes each picture is of, `probabilities` (n, k) what the classifier gives each class, by itself: a sigmoid.
    `thresholds` (k), or one for all, are the probabilities from which on a class counts as seen. `part` says which
    pictures they are: "valid", "test" or "train". Raises `Error` where these do not fit together.

    Each picture and class is a decision, n times k in all.
    """

    names: list[str]
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray | float = 0.5
    part: str = "valid"

    def __post_init__(self) -> None:
        shape, count = (len(self.names), len(self.classes)), len(self.classes)
        check(self.names, self.classes, self.labels, shape, self.probabilities, self.part)
        if not ((self.labels == 0) | (self.labels == 1)).all():
            raise Error("predictions: expected labels of 0 and 1, got another one")
        if self.probabilities.max() > 1:
            raise Error(f"predictions: expected probabilities from 0 to 1, got {self.probabilities.max():g}")
        thresholds = np.asarray(self.thresholds, np.float64)
        if thresholds.shape not in ((), (count,)):
            raise Error(
                f"predictions: expected one threshold or one for each of {count} classes, got {thresholds.shape}"
            )
        if not ((thresholds >= 0) & (thresholds <= 1)).all():
            raise Error("predictions: expected thresholds from 0 to 1, got one beyond")
        # A frozen dataclass is filled like this before anybody sees it.
        object.__setattr__(self, "labels", self.labels.astype(np.int64))
        object.__setattr__(self, "thresholds", np.broadcast_to(thresholds, (count,)).copy())

    def __repr__(self) -> str:
        return f"<MultiLabelPredictions of {len(self.classes):,} classes: {self._headline()}>"

    def _headline(self) -> str:
        wrong, pictures = int(self._wrong.sum()), len(self.names)
        return (
            f"{wrong:,} of {self.labels.size:,} decisions wrong ({share(self.error_rate)}), "
            f"{share(self.exact_match)} of {pictures:,} {PARTS[self.part]} pictures without any"
        )

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """Which classes each picture is taken for: int64 (n, k), 1 where the probability reaches the threshold."""
        return (self.probabilities >= self.thresholds).astype(np.int64)

    @functools.cached_property
    def _wrong(self) -> np.ndarray:
        """How many decisions are wrong for each picture: int64 (n)."""
        return (self.predicted != self.labels).sum(1)

    @functools.cached_property
    def losses(self) -> np.ndarray:
        """Each picture's binary cross-entropy, the mean over the classes: float64 (n), always finite."""
        given = np.where(self.labels == 1, self.probabilities, 1 - self.probabilities.astype(np.float64))
        return -np.log(given.clip(LEAST, 1)).mean(1)

    @property
    def error_rate(self) -> float:
        """The share of the n times k decisions that are wrong, from 0 to 1."""
        return float(self._wrong.mean() / len(self.classes))

    @property
    def exact_match(self) -> float:
        """The share of the pictures without a wrong decision, from 0 to 1."""
        return float((self._wrong == 0).mean())

    def totals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each class the pictures of it, those taken for it, and those of it taken for it: int64 (k) each."""
        return self.labels.sum(0), self.predicted.sum(0), (self.labels * self.predicted).sum(0)

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1."""
        return float(scores(*self.totals())[2].mean())

    @property
    def micro_f1(self) -> float:
        """The F1 of all decisions together."""
        of, taken, both = (each.sum(keepdims=True) for each in self.totals())
        return float(scores(of, taken, both)[2][0])

    @functools.cached_property
    def average_precisions(self) -> np.ndarray:
        """Each class's average precision, which no threshold changes: float64 (k), nan where no picture is of it.

        Going down the pictures by probability, the precision at each picture of the class, the mean over these.
        """
        return np.array([average_precision(*each) for each in zip(self.labels.T, self.probabilities.T, strict=True)])

    @property
    def mean_average_precision(self) -> float:
        """The mean of the average precisions, over the classes that pictures are of; nan where there is none."""
        found = self.average_precisions[~np.isnan(self.average_precisions)]
        return float(found.mean()) if len(found) else float("nan")

    def best_thresholds(self) -> np.ndarray:
        """For each class the threshold with the highest F1 on these pictures: float64 (k).

        Choose them on validation pictures, and judge them on others: `test.with_thresholds(valid.best_thresholds())`.
        Each lies half way between two probabilities, the one nearest 0.5 of equally good ones; 0.5 where no picture is
        of the class.
        """
        return np.array([best_threshold(*each) for each in zip(self.labels.T, self.probabilities.T, strict=True)])

    def with_thresholds(self, thresholds: np.ndarray | float) -> MultiLabelPredictions:
        """The same, decided by other thresholds."""
        return replace(self, thresholds=thresholds)

    def per_class(self) -> pd.DataFrame:
        """A row a class: class, pictures, precision, recall, f1, threshold, average_precision.

        As of `Predictions`; the last is nan where no picture is of the class.
        """
        import pandas as pd

        return pd.DataFrame({"class": self.classes, **self._per_class()})

    def _per_class(self) -> dict[str, np.ndarray]:
        totals = self.totals()
        columns = {"pictures": totals[0], **dict(zip(("precision", "recall", "f1"), scores(*totals), strict=True))}
        return columns | {"threshold": np.asarray(self.thresholds), "average_precision": self.average_precisions}

    def summary(self, most: int = 10) -> str:
        """A few lines for a terminal: wrong decisions, means of the scores, and a table of the classes.

        Of more than 20 classes the table has the `most` with the lowest f1.
        """
        means = (
            f"macro F1 {share(self.macro_f1)}, micro F1 {share(self.micro_f1)}, "
            f"mean average precision {share(self.mean_average_precision)}"
        )
        table = figures(self.classes, self._per_class(), most)
        return "\n\n".join(filter(None, [f"{self._headline()}\n{means}", table]))

    def worst(self, count: int | None = None) -> np.ndarray:
        """The numbers of the `count` pictures, or of all, with the highest losses, the highest first."""
        return np.argsort(-self.losses, kind="stable")[:count]

    def top_losses(self, count: int = 9) -> pd.DataFrame:
        """The pictures with the highest losses, the highest first.

        Columns: name, actual, predicted (labels as in `to_frame`), wrong (decisions), loss.
        """
        import pandas as pd

        return pd.DataFrame(self._columns(self.worst(count)))

    def _columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "name": np.array(self.names, dtype=object)[rows],
            "actual": self._joined(self.labels[rows]),
            "predicted": self._joined(self.predicted[rows]),
            "wrong": self._wrong[rows],
            "loss": self.losses[rows],
        }

    def _joined(self, chosen: np.ndarray) -> np.ndarray:
        names = [BETWEEN.join(self.classes[number] for number in np.flatnonzero(row)) for row in chosen]
        return np.array(names, dtype=object)

    def to_frame(self) -> pd.DataFrame:
        """A row a picture: name, actual, predicted, wrong (decisions), loss.

        The labels of a picture stand in one cell, as `primary | water`. Then each class's probability, under its name;
        a class that is called like a column before it has the column `probability of NAME`.
        """
        return with_probabilities(self._columns(np.arange(len(self.names))), self.classes, self.probabilities)

    def save_csv(self, path: str | Path) -> None:
        """Writes `to_frame` as a CSV (see `as_csv`), whole or not at all. Raises `Error` where that cannot be."""
        put(Path(path), as_csv(self.to_frame()))

    def show_top_losses(self, open_picture: Callable[[str], Image.Image], count: int = 9) -> Image.Image:
        """The pictures with the highest losses in a grid, each with what it is, what it was taken for, and its loss.

        `open_picture` gives the picture of a name, as for `Predictions.show_top_losses`.
        """
        rows = self.top_losses(count).to_dict("records")
        captions = [
            f"{plain(row['actual']) or 'none'}\npredicted {plain(row['predicted']) or 'none'}\n"
            f"loss {row['loss']:.2f}, {plain(Path(row['name']).name)}"
            for row in rows
        ]
        return grid([opened(open_picture, row["name"], 200) for row in rows], captions, side=200)


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The precision at each picture of a class, by falling probability, the mean over these: nan where there is none.

    Of pictures with equal probabilities the last one counts for all.
    """
    order, last = _falling(probabilities)
    of = labels[order]
    if not of.any():
        return float("nan")
    found = of.cumsum()[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / of.sum())


def best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the highest F1, as `MultiLabelPredictions.best_thresholds` describes it."""
    order, last = _falling(probabilities)
    of = labels[order]
    if not of.any():
        return 0.5
    f1 = 2 * of.cumsum()[last] / (of.sum() + last + 1)
    at = probabilities[order][last].astype(np.float64)
    between = (at + np.append(at[1:], 0.0)) / 2
    between = np.where(between > np.append(at[1:], 0.0), between, at)  # where no number lies between two
    best = between[f1 == f1.max()]
    return float(best[np.abs(best - 0.5).argmin()])


def _falling(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pictures by falling probability, and the places of the last ones of those that are equal."""
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    return order, np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
