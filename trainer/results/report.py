"""`report.xlsx`: predictions as data, and all that is counted of them as formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.errors import Error
from trainer.results.predictions import LEAST, Predictions

if TYPE_CHECKING:
    from sgdsheet.book import Book, Sheet, Table

NAMED = 12  # up to so many classes stand above the columns of the confusion matrix by name, more by number alone
SHARE = "0.0%"
SPACED = '0"   "'  # a number that does not touch the name right of it


def save(predictions: Predictions, path: str | Path, history: Sequence[Mapping[str, float]] = ()) -> None:
    """Writes a workbook: results per class, confusion matrix, predictions, and the training's epochs if given.

    A row of `history` is an epoch: `epoch`, `train_loss`, `valid_loss`, `error_rate` (0 to 1), `lr`. Every formula has
    its value. Raises `Error` if the file cannot be written, or if a package that workbooks need is not installed.
    """
    try:
        from sgdsheet.book import NO_LESSON, Book
        from sgdsheet.book import save as write
        from sgdsheet.engines import engine

        calculate = engine("ironcalc").calculate
    except ImportError as error:
        raise Error(f"{path}: writing it needs {error.name}, which is not installed; pip install openpyxl") from None
    book = Book(
        NO_LESSON,
        "What the classifier gets right and wrong",
        [
            f"{len(predictions.names):,} pictures, of {len(predictions.classes)} classes: what each one is, what the "
            "classifier took it for, and how sure it was.",
            "The predictions are data. All that is counted of them is a formula: click on it to see how.",
        ],
        [
            "On 'predictions', look at the top rows: there the classifier was sure and wrong. Or is the label wrong?",
            "Correct a label there: type the number of the right class. The confusion matrix and the results follow; "
            "the loss follows once you type the new class's probability too.",
            "On 'confusion', find the largest number outside the frames: which two classes are hard to tell apart?",
            "On 'results', compare a class's precision and recall: is it seen too often, or overlooked?",
        ],
    )
    results = book.sheet(
        "results",
        "How good is the classifier?",
        "Counted over all pictures of the sheet 'predictions', and for each class by itself.",
        "Precision: of the pictures taken for a class, the share that is of it; 0 if there are none.",
        "Recall: of the pictures of a class, the share that was taken for it; 0 if there are none. F1 is high only if "
        "precision and recall are.",
    )
    confusion = book.sheet(
        "confusion",
        "What was taken for what?",
        "A row is what a picture is, a column what it was taken for. In the frames: what is right.",
    )
    summary = results.next_row
    table = results.table(summary + 6, 1, len(predictions.classes))
    classes, numbers = _classes(table, predictions.classes)
    columns = _predictions_sheet(book, predictions, classes)
    counts = _confusion_sheet(confusion, columns, classes, numbers, predictions.classes)
    _results_sheet(results, summary, table, columns, counts)
    if history:
        _history_sheet(book, history)
    write(book, path, calculate)


def _typed(values: Any) -> list[Any]:
    """Cells that the reader may change. A text stays a text, also one that begins with `=`."""
    from sgdsheet.book import Typed

    return [Typed(value) for value in np.asarray(values, dtype=object).tolist()]


def _width(names: Sequence[str]) -> int:
    """Of a column that holds these names."""
    return min(max(13, *map(len, names)) + 2, 40)


def _classes(table: Table, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the classes' names and numbers."""
    from sgdsheet.book import WHOLE

    layout: dict[str, Any] = {"width": _width(names), "absolute": True}
    classes = table.column("class_name", "data", _typed(names), words="type here to rename it", **layout)
    layout = {"words": "counts from 0", "number_format": WHOLE, "absolute": True}
    return classes, table.column("class_number", "check", np.arange(len(names)), **layout)


def _predictions_sheet(book: Book, predictions: Predictions, classes: np.ndarray) -> dict[str, np.ndarray]:
    """A row a picture, the highest loss first; gives the columns that are counted."""
    from sgdsheet import tensor
    from sgdsheet.book import HEAT, WHOLE

    sheet = book.sheet(
        "predictions",
        "What the classifier says of each picture",
        "The highest loss comes first: there the classifier was surest of something wrong.",
        "The numbers of the classes are those of the sheet 'results'.",
    )
    order = predictions.worst()
    names = [predictions.names[number] for number in order]
    labels, predicted = predictions.labels[order], predictions.predicted[order]
    probabilities = predictions.probabilities[order].astype(float)
    table = sheet.table(sheet.next_row, 1, len(order))
    column, wide = table.column, _width(predictions.classes)

    column("picture", "data", _typed(names), words="its file", width=_width(names))
    layout: dict[str, Any] = {"number_format": SPACED, "torch": "labels"}
    label = column("label", "data", _typed(labels), words="the number of what it is: type here", **layout)
    column("actual", "check", [tensor.index(classes, each + 1) for each in label], words="its name", width=wide)
    layout |= {"torch": "probabilities.argmax(1)"}
    prediction = column("prediction", "data", _typed(predicted), words="the number of what it was taken for", **layout)
    column("predicted", "check", [tensor.index(classes, each + 1) for each in prediction], words="its name", width=wide)
    right = tensor.where(tensor.equal(label, prediction), 1, 0)
    right = column("is_right", "check", right, words="1 if label = prediction", number_format=WHOLE)
    layout = {"number_format": SHARE, "torch": "probabilities.amax(1)"}
    column("probability", "data", _typed(probabilities.max(1)), words="of the predicted class", **layout)
    given = probabilities[np.arange(len(order)), labels]
    layout = {"number_format": SHARE, "torch": "probabilities[i, labels]", "width": 20}
    given = column("probability_of_label", "data", _typed(given), words="what the right class was given", **layout)
    losses = -tensor.log(tensor.minimum(tensor.maximum(given, LEAST), 1))
    layout = {"words": "-log(probability_of_label)", "torch": "-probabilities[i, labels].log()", "width": 22}
    losses = column("loss", "loss", losses, **layout)
    sheet.heat_map(losses, HEAT)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {"label": label, "prediction": prediction, "is_right": right, "loss": losses}


def _confusion_sheet(
    sheet: Sheet, columns: Mapping[str, np.ndarray], classes: np.ndarray, numbers: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """Counts of each pair of classes, a row for what it is, a column for what it was taken for."""
    from sgdsheet.book import HEAT
    from sgdsheet.book.style import HEADING, TABLE_HEAD
    from sgdsheet.expr import Call

    count, top, left = len(names), sheet.next_row + 3, 3
    named = count <= NAMED
    sheet.width(1, _width(names))
    sheet.width(2, 6)
    sheet.width(left, min(max(9, *map(len, names)) + 2, 16) if named else 6, left + count - 1)
    sheet.write(top - 3, left, "predicted", HEADING)
    sheet.write(top - 1, 1, "actual", HEADING)
    head = replace(TABLE_HEAD, horizontal="center", wrap=True)
    if named:
        sheet.row_heights[top - 2] = 15.5 * max(math.ceil(len(name) / 14) for name in names) + 2
    rows, across = [], []
    for offset, (name, number) in enumerate(zip(classes, numbers, strict=True)):
        if named:
            sheet.write(top - 2, left + offset, name, head)
        across.append(sheet.write(top - 1, left + offset, number, head))
        sheet.write(top + offset, 1, name, replace(TABLE_HEAD, shrink=True))
        rows.append(sheet.write(top + offset, 2, number, head))

    pairs = _counts(columns["label"], columns["prediction"], rows, across)
    words = "how many of the row's class were taken for the column's"
    layout: dict[str, Any] = {"words": words, "torch": "sklearn.metrics.confusion_matrix", "number_format": "0;;"}
    placed = sheet.place("confusion", pairs, "check", top, left, **layout)
    sheet.heat_map(placed, HEAT)
    sheet.frame(placed, row=Call("COLUMN") + (top - left))
    sheet.freeze(top, left)
    sheet.print_on_one_page()
    return placed


def _counts(label: np.ndarray, prediction: np.ndarray, rows: list[Any], across: list[Any]) -> np.ndarray:
    """How many pictures have the number of each row as their label and that of each column as their prediction."""
    from sgdsheet import tensor
    from sgdsheet.expr import Call, Range

    if len(label) == 1:  # IronCalc's COUNTIFS wants ranges of more than one cell
        found = tensor.both(tensor.equal(label, np.array(rows)[:, None]), tensor.equal(prediction, np.array(across)))
        return tensor.where(found, 1, 0)
    first, second = (
        Range(found.sheet, found.top, found.left, found.bottom, found.right, absolute=True)
        for found in (tensor.span(label), tensor.span(prediction))
    )
    counts = [[Call("COUNTIFS", first, row, second, column) for column in across] for row in rows]
    return np.array(counts, dtype=object)


def _results_sheet(sheet: Sheet, row: int, table: Table, columns: Mapping[str, np.ndarray], counts: np.ndarray) -> None:
    """The figures over all pictures, and the rest of the table of classes."""
    from sgdsheet import tensor
    from sgdsheet.book import WHOLE

    right, losses = columns["is_right"], columns["loss"]
    layout: dict[str, Any] = {"words": "their number", "number_format": WHOLE}
    pictures = sheet.value(row, 1, "pictures", len(right), "check", **layout)
    layout["words"] = "how many were taken for what they are"
    total = sheet.value(row + 1, 1, "right_pictures", tensor.sum(right), "check", **layout)
    layout = {"words": "their share", "number_format": SHARE, "torch": "sklearn.metrics.accuracy_score"}
    accuracy = sheet.value(row + 2, 1, "accuracy", total / pictures, "check", **layout)
    layout = {"words": "the share that was taken for something else", "number_format": SHARE}
    sheet.value(row + 3, 1, "error_rate", 1 - accuracy, "check", **layout)
    layout = {"words": "the mean of the pictures' losses", "torch": "F.nll_loss(probabilities.log(), labels)"}
    sheet.value(row + 4, 1, "mean_loss", tensor.sum(losses) / pictures, "loss", **layout)

    def whole(name: str, array: list[Any], words: str) -> np.ndarray:
        return table.column(name, "check", array, words=words, number_format=WHOLE)

    is_it = whole("class_pictures", [tensor.sum(row) for row in counts], "pictures of it")
    taken = whole("class_predicted", [tensor.sum(column) for column in counts.T], "pictures taken for it")
    both = whole("class_right", list(counts.diagonal()), "pictures of it taken for it")
    for name, share, of, words in (
        ("precision", both, taken, "class_right / class_predicted"),
        ("recall", both, is_it, "class_right / class_pictures"),
        ("f1_score", 2 * both, is_it + taken, "2 * class_right / (class_pictures + class_predicted)"),
    ):
        array = tensor.where(tensor.equal(of, 0), 0, share / of)
        layout = {"words": words, "number_format": SHARE, "width": 18}
        table.column(name, "check", array, torch="sklearn.metrics.precision_recall_fscore_support", **layout)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)


def _history_sheet(book: Book, history: Sequence[Mapping[str, float]]) -> None:
    """A row an epoch, below charts of the losses and of the error rate."""
    from sgdsheet.book import NUMBER, PRECISE, WHOLE, Series, Typed, scatter
    from sgdsheet.expr import Call

    sheet = book.sheet(
        "history",
        "How the training went",
        "The losses should fall. If the validation loss rises while the error rate still falls, nothing is wrong yet.",
    )
    chart_row = sheet.next_row
    table = sheet.table(chart_row + 19, 1, len(history))

    def column(name: str, key: str, role: str, words: str, number_format: str = NUMBER) -> np.ndarray:
        numbers = [float(row[key]) for row in history]
        # No cell can hold an infinite loss; #N/A is a gap in the chart.
        cells = [Typed(number) if math.isfinite(number) else Call("NA") for number in numbers]
        return table.column(name, role, cells, words=words, number_format=number_format)

    epoch = column("epoch", "epoch", "data", "a pass over all pictures", WHOLE)
    train = column("train_loss", "train_loss", "data", "of the pictures trained with")
    valid = column("valid_loss", "valid_loss", "data", "of the validation pictures")
    errors = column("valid_error_rate", "error_rate", "data", "of the validation pictures", SHARE)
    column("lr", "lr", "data", "learning rate", PRECISE)
    points = len(history) <= 30
    lines = [Series(name, epoch, y, points=points) for name, y in (("training", train), ("validation", valid))]
    sheet.chart(chart_row, 1, scatter("Losses", "epoch", "loss", lines, width=15))
    lines = [Series("error rate", epoch, errors, points=points, color=3)]
    sheet.chart(chart_row, 6, scatter("Error rate", "epoch", "error rate", lines, width=15, y_range=(0, None)))
    sheet.repeat_rows(table.head, table.first - 1)
