"""What a trained classifier gets right and wrong: errors, confusions, top losses, as tables and as pictures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.files import put
from trainer.show.drawing import confusion_picture, fits, grid, opened
from trainer.show.text import aligned, cut, plain, share

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

__all__ = ["Predictions", "grid"]

# The least probability that a loss is computed from, as in training: a loss is at most 87.3, never infinite.
LEAST = float(np.finfo(np.float32).tiny)

FORMULA = tuple("=+-@\t\r")  # how a text begins that a spreadsheet would calculate
MANY = 20  # up to so many classes are all named in a summary
WHOLE_CSV = 2_000_000  # probabilities, the most that are all written to a CSV: 40 MB and some seconds
SHOWN = 40  # classes of a confusion matrix that cannot show all
TOP = 5  # classes of each picture in a CSV that would be larger
PARTS = {"valid": "validation", "test": "test", "train": "training"}  # of the pictures


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """What a classifier says of n pictures, and what they are.

    `names` (n) are the pictures' file names, `classes` the names of the k classes, `labels` (n), int64 from 0 to k - 1,
    what each picture is, `probabilities` (n, k) what the classifier gives each class. `part` says which pictures they
    are: "valid", "test" or "train". Raises `Error` where these do not fit together.
    """

    names: list[str]
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    part: str = "valid"

    def __post_init__(self) -> None:
        check(self.names, self.classes, self.labels, (len(self.names),), self.probabilities, self.part)
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise Error(f"predictions: expected labels from 0 to {len(self.classes) - 1}, got one beyond")

    def __repr__(self) -> str:
        classes = f"{len(self.classes):,} classes"
        return f"<Predictions of {classes}: {self._headline()}>"

    def _headline(self) -> str:
        wrong = int((self.predicted != self.labels).sum())
        return f"{wrong:,} of {len(self.names):,} {PARTS[self.part]} pictures wrong ({share(self.error_rate)})"

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """The class with the largest probability for each picture, the first of equal ones: int64 (n)."""
        return self.probabilities.argmax(1).astype(np.int64)

    @functools.cached_property
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

    def confused_classes(self, most: int) -> np.ndarray:
        """The numbers of at most so many classes that are often taken for one another: those of the frequent mistakes.

        In rising order, int64. Where there are fewer mistakes, the first of the other classes too.
        """
        kept: dict[int, None] = {}
        for pair in self.mistakes()[:, :2].tolist():
            if len(kept.keys() | set(pair)) <= most:
                kept.update(dict.fromkeys(pair))
        others = (number for number in range(len(self.classes)) if number not in kept)
        return np.sort(np.array([*kept, *others][:most], np.int64))

    def confusion_of(self, chosen: np.ndarray) -> np.ndarray:
        """`confusion` for some of the classes, with a last column for all others: int64 (m, m + 1)."""
        return among(self.labels, self.predicted, chosen, len(self.classes))

    def mistakes(self) -> np.ndarray:
        """The pairs of classes that were confused, the most frequent first: int64 (pairs, 3), actual, predicted, count.

        Equally frequent ones are sorted by their names.
        """
        predicted, count = self.predicted, len(self.classes)
        wrong = predicted != self.labels
        keys, counts = np.unique(self.labels[wrong] * count + predicted[wrong], return_counts=True)
        pairs = np.stack([keys // count, keys % count, counts], 1)
        order = sorted(pairs.tolist(), key=lambda pair: (-pair[2], self.classes[pair[0]], self.classes[pair[1]]))
        return np.array(order, np.int64).reshape(-1, 3)

    def most_confused(self, least: int = 2) -> list[tuple[str, str, int]]:
        """The mistakes that were made `least` times or more: (actual, predicted, count), the most frequent first."""
        pairs = self.mistakes()
        kept = pairs[pairs[:, 2] >= least].tolist()
        return [(self.classes[actual], self.classes[predicted], count) for actual, predicted, count in kept]

    def totals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each class the pictures of it, those taken for it, and those of it taken for it: int64 (k) each."""
        return totals(self.labels, self.predicted, len(self.classes))

    def per_class(self) -> pd.DataFrame:
        """A row a class: class, pictures, precision, recall, f1.

        Precision is the share of the pictures taken for a class that are of it, recall the share of the pictures of a
        class that were taken for it, f1 their harmonic mean; each is 0 where there are no such pictures.
        """
        import pandas as pd

        totals = self.totals()
        precision, recall, f1 = scores(*totals)
        columns = {"class": self.classes, "pictures": totals[0]}
        return pd.DataFrame(columns | {"precision": precision, "recall": recall, "f1": f1})

    def summary(self, most: int = 10) -> str:
        """A few lines for a terminal: the error rate, a table of the classes, the most frequent mistakes.

        Of more than 20 classes the table has the `most` with the lowest f1; of the mistakes there are at most so many.
        """
        totals = self.totals()
        columns = {"pictures": totals[0], **dict(zip(("precision", "recall", "f1"), scores(*totals), strict=True))}
        pairs = self.most_confused(1)
        if len(pairs) > most:
            pairs = [pair for pair in pairs if pair[2] > 1][:most]
        room = max((len(f"{pair[2]:,}") for pair in pairs), default=0)
        lines = [f"  {count:>{room},} x {cut(plain(a))} taken for {cut(plain(b))}" for a, b, count in pairs]
        return "\n\n".join(filter(None, [self._headline(), figures(self.classes, columns, most), "\n".join(lines)]))

    def worst(self, count: int | None = None) -> np.ndarray:
        """The numbers of the `count` pictures, or of all, with the highest losses, the highest first."""
        return np.argsort(-self.losses, kind="stable")[:count]

    def top_losses(self, count: int = 9) -> pd.DataFrame:
        """The pictures with the highest losses, the highest first.

        Columns: name, actual, predicted, loss, probability (of the predicted class).
        """
        import pandas as pd

        rows = self.worst(count)
        columns = self._columns(rows)
        return pd.DataFrame({key: columns[key] for key in ("name", "actual", "predicted", "loss", "probability")})

    def _columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        names = np.array(self.classes, dtype=object)
        return {
            "name": np.array(self.names, dtype=object)[rows],
            "actual": names[self.labels[rows]],
            "predicted": names[self.predicted[rows]],
            "right": (self.predicted == self.labels)[rows],
            "loss": self.losses[rows],
            "probability": self.probabilities[rows].max(1),
        }

    def to_frame(self, top: int | None = None) -> pd.DataFrame:
        """A row a picture: name, actual, predicted, right, loss, probability (of the predicted class).

        Then each class's probability, under its name; a class that is called like a column before it has the column
        `probability of NAME`. With `top` instead that many of each picture's most probable classes, and their
        probabilities: class_2, probability_2, class_3, and so on, after the predicted one.
        """
        import pandas as pd

        columns = self._columns(np.arange(len(self.names)))
        if top is None:
            return with_probabilities(columns, self.classes, self.probabilities)
        names = np.array(self.classes, dtype=object)
        order = np.argsort(-self.probabilities, 1, kind="stable")[:, 1:top]
        sorted_ = np.take_along_axis(self.probabilities, order, 1)
        for rank in range(order.shape[1]):
            columns |= {f"class_{rank + 2}": names[order[:, rank]], f"probability_{rank + 2}": sorted_[:, rank]}
        return pd.DataFrame(columns)

    def save_csv(self, path: str | Path) -> None:
        """Writes `to_frame` as a CSV in UTF-8 (see `as_csv`), whole or not at all. Raises `Error` where that cannot be.

        Of more than two million probabilities only those of each picture's five most probable classes are in it.
        """
        top = TOP if self.probabilities.size > WHOLE_CSV else None
        put(Path(path), as_csv(self.to_frame(top)))

    def plot_confusion(self) -> Image.Image:
        """The confusion matrix as a picture: a row for what a picture is, a column for what it was taken for.

        Where there are too many for 2,500 pixels, above about 100 classes, it has the 40 that are confused most.
        """
        count = len(self.classes)
        if fits(count, int(self.totals()[0].max())):
            return confusion_picture(self.confusion(), self.classes)
        chosen = self.confused_classes(SHOWN)
        names = [self.classes[number] for number in chosen]
        caption = f"{len(names)} of {count:,} classes: those that are most often taken for one another"
        return confusion_picture(self.confusion_of(chosen), names, [*names, "another class"], caption)

    def show_top_losses(self, open_picture: Callable[[str], Image.Image], count: int = 9) -> Image.Image:
        """The pictures with the highest losses in a grid, each with what it is, what it was taken for, and its loss.

        `open_picture` gives the picture of a name; where it raises OSError or ValueError, as for a file that was
        deleted, the reason stands in its place.
        """
        rows = self.top_losses(count).to_dict("records")
        captions = [
            f"{plain(row['actual'])}\npredicted {plain(row['predicted'])}, {row['probability']:.0%}\n"
            f"loss {row['loss']:.2f}, {plain(Path(row['name']).name)}"
            for row in rows
        ]
        return grid([opened(open_picture, row["name"], 200) for row in rows], captions, side=200)


def check(
    names: Sequence[str],
    classes: Sequence[str],
    labels: np.ndarray,
    labelled: tuple[int, ...],
    probabilities: np.ndarray,
    part: str,
) -> None:
    """Raises `Error` unless labels of the shape `labelled` and probabilities fit the names and the classes."""
    shape, wanted = probabilities.shape, (len(names), len(classes))
    if shape != wanted or labels.shape != labelled or 0 in wanted:
        raise Error(
            f"predictions: {wanted[0]} names and {wanted[1]} classes, at least one of each, need labels of shape "
            f"{labelled} and probabilities of shape {wanted}, got {labels.shape} and {shape}"
        )
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise Error("predictions: a probability is not finite, or below 0; did the training diverge?")
    if part not in PARTS:
        raise Error(f"predictions: part: expected {', '.join(PARTS)}, got {part!r}")


def totals(labels: np.ndarray, predicted: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of so many classes the pictures of each, those taken for it, and those of it taken for it: int64 (k) each."""
    right = labels[labels == predicted]
    of, taken, both = (np.bincount(each, minlength=count).astype(np.int64) for each in (labels, predicted, right))
    return of, taken, both


def among(labels: np.ndarray, predicted: np.ndarray, chosen: np.ndarray, count: int) -> np.ndarray:
    """How many pictures of each chosen class were taken for which, the last column for any other: int64 (m, m + 1)."""
    size = len(chosen) + 1
    place = np.full(count, size - 1)
    place[chosen] = np.arange(size - 1)
    pairs = place[labels] * size + place[predicted]
    return np.bincount(pairs, minlength=size**2).reshape(size, size)[:-1]


def scores(of: np.ndarray, taken: np.ndarray, both: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, float64, from the pictures of it, those taken for it, and those of both.

    Each is 0 where it is the share of nothing.
    """
    shares = ((both, taken), (both, of), (2 * both, of + taken))
    precision, recall, f1 = (part / np.maximum(whole, 1) for part, whole in shares)
    return precision, recall, f1


def figures(classes: Sequence[str], columns: Mapping[str, np.ndarray], most: int) -> str:
    """A table of the classes, or of the `most` with the lowest f1 where there are many."""
    f1, pictures = columns["f1"], columns["pictures"]
    chosen, above = np.arange(len(f1)), ""
    if len(f1) > MANY:
        chosen = np.flatnonzero((pictures > 0) & (f1 < 1))
        chosen = chosen[np.lexsort((-pictures[chosen], f1[chosen]))][:most]
        above = f"the {len(chosen)} of {len(f1):,} classes with the lowest f1:\n"
    if not len(chosen):
        return ""
    names = [cut(plain(classes[int(number)])) for number in chosen]
    cells = [[head, *map(_figure, column[chosen].tolist())] for head, column in columns.items()]
    return above + aligned(list(zip(["class", *names], *cells, strict=True)))


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-" if np.isnan(value) else share(value)


def as_csv(frame: pd.DataFrame) -> str:
    """The text of a CSV; names of files and classes that begin as a formula does get a ' in front."""
    written = frame.copy()
    for place, kind in enumerate(frame.dtypes):
        if kind.kind not in "biuf":
            written.isetitem(place, [harmless(each) for each in frame.iloc[:, place]])
    return written.to_csv(index=False, lineterminator="\n", header=[harmless(name) for name in frame.columns])


def harmless(cell: Any) -> Any:
    """The cell of a CSV, with a ' in front of a text that a spreadsheet would calculate."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell


def with_probabilities(
    columns: dict[str, np.ndarray], classes: Sequence[str], probabilities: np.ndarray
) -> pd.DataFrame:
    """The columns, then each class's probability under its name, or as `probability of NAME` where that is taken."""
    import pandas as pd

    heads = [f"probability of {name}" if name in columns else name for name in classes]
    return pd.concat([pd.DataFrame(columns), pd.DataFrame(probabilities, columns=heads)], axis=1)
