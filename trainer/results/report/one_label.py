"""The workbook of a classifier that gives each picture one class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgdsheet import expr, tensor
from sgdsheet.book import HEAT, NO_LESSON, WHOLE, Book, Known, Sheet, Table, typed
from sgdsheet.book.style import HEADING, TABLE_HEAD
from sgdsheet.expr import Call, Range
from trainer.results.predictions import LEAST, PARTS, Predictions, among, totals
from trainer.results.report.common import (
    LISTED,
    SHARE,
    class_column,
    column_width,
    fixed,
    left_out,
    score_columns,
    texts,
)
from trainer.show.text import width

NAMED = 12  # up to so many classes stand above the columns of the confusion matrix by name, more by number alone
ALL = 60  # up to so many classes the confusion matrix has all of them
SHOWN, PAIRS = 30, 50  # classes in the confusion matrix of more, and mistakes in the list beside it
LOOKS = 200_000_000  # cells that the counting formulas look at, at most: whatever opens the workbook counts them anew
SPACED = '0"   "'  # a number that does not touch the name right of it


def book(predictions: Predictions) -> Book:
    """Results per class, confusion matrix, the most frequent mistakes where there are many classes, predictions."""
    pictures, count = len(predictions.names), len(predictions.classes)
    whole = count <= ALL
    kept = min(pictures, LISTED, max(1, LOOKS // (count**2 if whole else 3 * count + SHOWN**2 + PAIRS)))
    made = Book(
        NO_LESSON,
        "What the classifier gets right and wrong",
        [
            f"{pictures:,} {PARTS[predictions.part]} pictures, of {count:,} classes: what each one is, what the "
            "classifier took it for, and how sure it was.",
            "The predictions are data. All that is counted of them is a formula: click on it to see how.",
            *left_out(pictures, kept),
        ],
        [
            "On 'predictions', look at the top rows: there the classifier was sure and wrong. Or is the label wrong?",
            "Correct a label there: type the number of the right class. The confusion matrix and the results follow; "
            "the loss follows once you type the new class's probability too.",
            "On 'confusion', find the largest number outside the frames: which two classes are hard to tell apart?",
            "On 'results', compare a class's precision and recall: is it seen too often, or overlooked?",
        ],
    )
    results = made.sheet(
        "results",
        "How good is the classifier?",
        "Counted over all pictures, and for each class by itself.",
        "Precision: of the pictures taken for a class, the share that is of it; 0 if there are none.",
        "Recall: of the pictures of a class, the share that was taken for it; 0 if there are none. F1 is high only if "
        "precision and recall are.",
    )
    confusion = made.sheet(
        "confusion",
        "What was taken for what?",
        "A row is what a picture is, a column what it was taken for. In the frames: what is right.",
        *([] if whole else [_PART.format(SHOWN, count)]),
    )
    mistakes = predictions.mistakes()[:PAIRS]
    pairs = None if whole or not len(mistakes) else made.sheet("pairs", "The most frequent mistakes", *_ABOUT_PAIRS)

    summary = results.next_row
    table = results.table(summary + 6, 1, count)
    classes, numbers = _classes(table, predictions.classes)
    counted = _predictions_sheet(made, predictions, classes, kept)
    if whole:
        placed = _confusion_sheet(confusion, counted, np.arange(count), classes, numbers, predictions.classes)
        of, taken = (np.array([tensor.sum(line) for line in lines], object) for lines in (placed, placed.T))
        _results_sheet(results, summary, table, counted, of, taken, placed.diagonal())
        return made
    of = _results_sheet(results, summary, table, counted, *counted.totals(numbers))
    chosen = predictions.confused_classes(SHOWN)
    placed = _confusion_sheet(confusion, counted, chosen, classes, numbers, predictions.classes)
    _others(confusion, placed, of[chosen])
    if pairs is not None:
        _pairs_sheet(pairs, counted, mistakes, classes, numbers, of, predictions.classes)
    return made


_PART = (
    "It shows {} of the {:,} classes: those that were most often taken for one another when this workbook was made. "
    "The last column has what was taken for any other class."
)
_ABOUT_PAIRS = (
    "The pairs of classes that were confused most often when this workbook was made. How often is counted anew when a "
    "label is corrected.",
)


@dataclass(frozen=True)
class _Counted:
    """The columns of the pictures that are listed, and all pictures in the order of that list.

    `label`, `prediction`, `is_right` and `loss` are columns; `labels`, `predicted` and `losses` have first the listed
    pictures, then the others.
    """

    label: Range
    prediction: Range
    is_right: np.ndarray
    loss: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray
    classes: int

    @property
    def rest(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions of the pictures that are not listed."""
        return self.labels[len(self.loss) :], self.predicted[len(self.loss) :]

    def pairs(self, rows: Sequence[Any], columns: Sequence[Any], chosen: np.ndarray) -> np.ndarray:
        """A count for each of the chosen classes, whose numbers stand in `rows`, and each whose do in `columns`."""
        total = among(self.labels, self.predicted, chosen, self.classes).tolist()
        rest = among(*self.rest, chosen, self.classes).tolist()
        counts = [
            [
                self.count(total[i][j], rest[i][j], (self.label, row), (self.prediction, column))
                for j, column in enumerate(columns)
            ]
            for i, row in enumerate(rows)
        ]
        return np.array(counts, dtype=object)

    def totals(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each class the pictures of it, those taken for it, and those of it taken for it."""
        total = totals(self.labels, self.predicted, self.classes)
        rest = totals(*self.rest, self.classes)
        of, taken, both = (
            np.array(
                [
                    self.count(whole, more, *((column, number) for column in columns))
                    for whole, more, number in zip(each.tolist(), others.tolist(), numbers, strict=True)
                ],
                dtype=object,
            )
            for columns, each, others in zip(
                ((self.label,), (self.prediction,), (self.label, self.prediction)), total, rest, strict=True
            )
        )
        return of, taken, both

    def count(self, total: int, rest: int, *wanted: tuple[Range, Any]) -> Known:
        """How many pictures have these numbers in these columns: the listed ones are counted, `rest` are not listed.

        `total` is known: for ImageNet IronCalc would take minutes to count.
        """
        if len(self.loss) == 1:  # IronCalc's COUNTIFS wants ranges of more than one cell
            found = expr.choose(Call("AND", *(expr.compare("=", *each) for each in wanted)), 1, 0)
        else:
            found = Call("COUNTIFS", *(part for each in wanted for part in each))
        return Known(found + rest, total)


def _classes(table: Table, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the classes' names and numbers."""
    layout: dict[str, Any] = {"words": "counts from 0", "number_format": WHOLE, "absolute": True}
    return class_column(table, names), table.column("class_number", "check", np.arange(len(names)), **layout)


def _predictions_sheet(made: Book, predictions: Predictions, classes: np.ndarray, kept: int) -> _Counted:
    """A row a picture, the highest loss first, until so many are listed."""
    sheet = made.sheet(
        "predictions",
        "What the classifier says of each picture",
        "The highest loss comes first: there the classifier was surest of something wrong.",
        "The numbers of the classes are those of the sheet 'results'.",
        *left_out(len(predictions.names), kept),
    )
    order = predictions.worst()
    listed = order[:kept]
    names = [predictions.names[number] for number in listed]
    labels, predicted = predictions.labels[listed], predictions.predicted[listed]
    probabilities = predictions.probabilities[listed]
    table = sheet.table(sheet.next_row, 1, kept)
    column, wide, named = table.column, column_width(predictions.classes), fixed(classes)

    column("picture", "data", texts(names), words="its file", width=column_width(names, 60))
    layout: dict[str, Any] = {"number_format": SPACED, "torch": "labels"}
    label = column("label", "data", typed(labels), words="the number of what it is: type here", **layout)
    column("actual", "check", [Call("INDEX", named, each + 1) for each in label], words="its name", width=wide)
    layout |= {"torch": "probabilities.argmax(1)"}
    words = "the number of what it was taken for"
    prediction = column("prediction", "data", typed(predicted), words=words, **layout)
    column("predicted", "check", [Call("INDEX", named, each + 1) for each in prediction], words="its name", width=wide)
    right = tensor.where(tensor.equal(label, prediction), 1, 0)
    right = column("is_right", "check", right, words="1 if label = prediction", number_format=WHOLE)
    layout = {"number_format": SHARE, "torch": "probabilities.amax(1)"}
    column("probability", "data", typed(probabilities.max(1).astype(float)), words="of the predicted class", **layout)
    given = np.take_along_axis(probabilities, labels[:, None], 1)[:, 0].astype(float)
    layout = {"number_format": SHARE, "torch": "probabilities[i, labels]", "width": 20}
    given = column("probability_of_label", "data", typed(given), words="what the right class was given", **layout)
    losses = -tensor.log(tensor.minimum(tensor.maximum(given, LEAST), 1))
    layout = {"words": "-log(probability_of_label)", "torch": "-probabilities[i, labels].log()", "width": 22}
    losses = column("loss", "loss", losses, **layout)
    sheet.heat_map(losses, HEAT)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    labels, predicted = predictions.labels[order], predictions.predicted[order]
    columns = fixed(label), fixed(prediction), right, losses
    return _Counted(*columns, labels, predicted, predictions.losses[order], len(predictions.classes))


def _confusion_sheet(
    sheet: Sheet,
    counted: _Counted,
    chosen: np.ndarray,
    classes: np.ndarray,
    numbers: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """Counts of each pair of the chosen classes, a row for what it is, a column for what it was taken for."""
    names = [names[int(number)] for number in chosen]
    count, top, left = len(chosen), sheet.next_row + 3, 3
    named = count <= NAMED
    sheet.width(1, column_width(names))
    sheet.width(2, 6)
    sheet.width(left, min(max(9, *map(width, names)) + 2, 16) if named else 6, left + count - 1)
    sheet.write(top - 3, left, "predicted", HEADING)
    sheet.write(top - 1, 1, "actual", HEADING)
    head = replace(TABLE_HEAD, horizontal="center", wrap=True)
    if named:
        lines = min(6, max(math.ceil(width(name) / 14) for name in names))
        sheet.row_heights[top - 2] = 15.5 * lines + 2
    rows, across = [], []
    for offset, (name, number) in enumerate(zip(classes[chosen], numbers[chosen], strict=True)):
        if named:
            sheet.write(top - 2, left + offset, name, head)
        across.append(sheet.write(top - 1, left + offset, number, head))
        sheet.write(top + offset, 1, name, replace(TABLE_HEAD, shrink=True))
        rows.append(sheet.write(top + offset, 2, number, head))

    words = "how many of the row's class were taken for the column's"
    layout: dict[str, Any] = {"words": words, "torch": "sklearn.metrics.confusion_matrix", "number_format": "0;;"}
    pairs = counted.pairs(rows, across, chosen)
    placed = sheet.place("confusion", pairs, "check", top, left, **layout)
    sheet.heat_map(placed, HEAT)
    sheet.frame(placed, row=Call("COLUMN") + (top - left))
    sheet.freeze(top, left)
    sheet.print_on_one_page()
    return placed


def _others(sheet: Sheet, placed: np.ndarray, of: np.ndarray) -> None:
    """Right of a part of the confusion matrix: what was taken for a class that is not in it."""
    first = placed[0, -1]
    column = first.column + 2
    sheet.width(column - 1, 2)
    sheet.width(column, 10)
    sheet.write(first.row - 1, column, "another", replace(TABLE_HEAD, horizontal="center"))
    counts = [total - tensor.sum(row) for total, row in zip(of, placed, strict=True)]
    words = "how many of the row's class were taken for a class that is not shown"
    sheet.place("confusion_others", counts, "check", first.row, column, words=words, number_format="0;;")


def _pairs_sheet(
    sheet: Sheet,
    counted: _Counted,
    mistakes: np.ndarray,
    classes: np.ndarray,
    numbers: np.ndarray,
    of: np.ndarray,
    names: Sequence[str],
) -> None:
    """The pairs of classes that were confused most, each with how often."""
    table = sheet.table(sheet.next_row, 1, len(mistakes))
    wide = column_width([names[int(number)] for number in mistakes[:, :2].ravel()])
    references = {}
    for name, side, words in (
        ("pair_actual", mistakes[:, 0], "what it is"),
        ("pair_predicted", mistakes[:, 1], "what it was taken for"),
    ):
        references[name] = table.column(name, "check", numbers[side], words="its number", number_format=SPACED)
        table.column(f"{name}_name", "check", classes[side], words="its name", width=wide, title=words)
    pair = references["pair_actual"], references["pair_predicted"]
    label, taken = counted.rest
    counts = [
        counted.count(
            total, int(((label == a) & (taken == p)).sum()), (counted.label, actual), (counted.prediction, predicted)
        )
        for (a, p, total), actual, predicted in zip(mistakes.tolist(), *pair, strict=True)
    ]
    words = "pictures of the one taken for the other"
    counts = table.column("pair_count", "check", counts, words=words, number_format=WHOLE)
    whole = of[mistakes[:, 0]]
    shares = tensor.where(tensor.equal(whole, 0), 0, counts / whole)
    placed = table.column(
        "pair_share", "check", shares, words="pair_count / class_pictures of what it is", number_format=SHARE, width=18
    )
    if len(mistakes) > 1:
        sheet.heat_map(placed, HEAT)
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(table.head, table.first - 1)


def _results_sheet(
    sheet: Sheet,
    row: int,
    table: Table,
    counted: _Counted,
    of: np.ndarray,
    taken: np.ndarray,
    both: np.ndarray,
) -> np.ndarray:
    """The figures over all pictures, and the rest of the table of classes; gives each class's pictures."""
    label, prediction = counted.rest
    layout: dict[str, Any] = {"words": "their number", "number_format": WHOLE}
    pictures = sheet.value(row, 1, "pictures", len(counted.labels), "check", **layout)
    layout["words"] = "how many were taken for what they are"
    right = tensor.sum(counted.is_right) + int((label == prediction).sum())
    total = sheet.value(row + 1, 1, "right_pictures", right, "check", **layout)
    layout = {"words": "their share", "number_format": SHARE, "torch": "sklearn.metrics.accuracy_score"}
    accuracy = sheet.value(row + 2, 1, "accuracy", total / pictures, "check", **layout)
    layout = {"words": "the share that was taken for something else", "number_format": SHARE}
    sheet.value(row + 3, 1, "error_rate", 1 - accuracy, "check", **layout)
    layout = {"words": "the mean of the pictures' losses", "torch": "F.nll_loss(probabilities.log(), labels)"}
    loss = (tensor.sum(counted.loss) + float(counted.losses[len(counted.loss) :].sum())) / pictures
    sheet.value(row + 4, 1, "mean_loss", loss, "loss", **layout)

    def column(name: str, array: np.ndarray, words: str) -> np.ndarray:
        return table.column(name, "check", array, words=words, number_format=WHOLE)

    of = column("class_pictures", of, "pictures of it")
    taken = column("class_predicted", taken, "pictures taken for it")
    both = column("class_right", both, "pictures of it taken for it")
    score_columns(table, of, taken, both)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return of
