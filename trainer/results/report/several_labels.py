"""The workbook of a classifier that gives each picture any number of labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, NO_LESSON, PRECISE, WHOLE, Book, Input, Sheet, Table, Typed, typed
from sgdsheet.book.style import LABEL
from sgdsheet.expr import Binary, Call, Expr, Number, Range
from trainer.results.multilabel import MultiLabelPredictions
from trainer.results.predictions import PARTS
from trainer.results.report.common import (
    LISTED,
    SHARE,
    class_column,
    column_width,
    fixed,
    held,
    left_out,
    score_columns,
    texts,
)
from trainer.show.text import cut, width

CELLS = 800_000  # labels and probabilities of the listed pictures, at most
NARROW = 13  # characters: the width of a class's columns on the sheet of predictions


def book(predictions: MultiLabelPredictions) -> Book:
    """Results per class, with the thresholds as cells to type into, and the predictions."""
    pictures, count = predictions.labels.shape
    kept = min(pictures, LISTED, max(1, CELLS // (2 * count)))
    made = Book(
        NO_LESSON,
        "What the classifier gets right and wrong",
        [
            f"{pictures:,} {PARTS[predictions.part]} pictures, and {count:,} classes that each may be of or not: what "
            "each one is, and how probable each class was to the classifier.",
            "Probabilities and labels are data. All that is counted of them is a formula: click on it to see how.",
            *_left_out(pictures, kept),
        ],
        [
            "On 'results', lower a threshold: more pictures are taken for the class. Recall rises, precision falls.",
            "On 'results', find the class with the lowest F1. Does another threshold help it?",
            "On 'predictions', look at the top rows: there the classifier was surest of something wrong. Or is a label "
            "wrong? Type 1 for a class that the picture is of, 0 for one that it is not of.",
        ],
    )
    results = made.sheet(
        "results",
        "How good is the classifier?",
        "A picture is taken for each class whose probability reaches the threshold of the class. Each picture and "
        "class is a decision.",
        "Precision: of the pictures taken for a class, the share that is of it; 0 if there are none.",
        "Recall: of the pictures of a class, the share that was taken for it; 0 if there are none. F1 is high only if "
        "precision and recall are.",
    )
    summary = results.next_row
    table = results.table(summary + 10, 1, count)
    class_column(table, predictions.classes)
    spec = Input("threshold", 0.5, "From this probability on the class counts as seen.", minimum=0, maximum=1)
    cells = [Typed(each, spec) for each in np.asarray(predictions.thresholds).tolist()]
    thresholds = table.column("threshold", "input", cells, words="type here", number_format=PRECISE)
    order = predictions.worst()
    labels, probabilities, wrong = _predictions_sheet(made, predictions, order[:kept], thresholds)

    rest = order[kept:]
    label, taken = predictions.labels[rest], predictions.predicted[rest]
    more = label.sum(0).tolist(), taken.sum(0).tolist(), (label * taken).sum(0).tolist()
    columns = [(fixed(a), fixed(b)) for a, b in zip(labels.T, probabilities.T, strict=True)]
    of = [Call("SUM", of) + plus for (of, _), plus in zip(columns, more[0], strict=True)]
    seen = [Binary(">=", given, threshold) for (_, given), threshold in zip(columns, thresholds, strict=True)]
    as_it = [Call("SUMPRODUCT", _number(each)) + plus for each, plus in zip(seen, more[1], strict=True)]
    both = [
        Call("SUMPRODUCT", Binary("*", each, is_it)) + plus
        for each, (is_it, _), plus in zip(seen, columns, more[2], strict=True)
    ]
    errors = (label != taken).sum(1)
    _results_sheet(results, summary, table, predictions, (of, as_it, both), wrong, errors)
    return made


def _left_out(pictures: int, kept: int) -> list[str]:
    return [f"{each} They do not follow a threshold that is changed." for each in left_out(pictures, kept)]


def _number(condition: Expr) -> Expr:
    """1 for each cell that fulfils it, 0 for the others: SUMPRODUCT does not add TRUE."""
    return Binary("*", condition, Number(1))


def _predictions_sheet(
    made: Book, predictions: MultiLabelPredictions, listed: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row a picture, the highest loss first: gives the columns of labels, probabilities and wrong decisions."""
    sheet = made.sheet(
        "predictions",
        "What the classifier says of each picture",
        "The highest loss comes first: there the classifier was surest of something wrong.",
        *_left_out(len(predictions.names), len(listed)),
    )
    count, top = len(predictions.classes), sheet.next_row
    names = [predictions.names[number] for number in listed]
    classes = [cut(held(name)) for name in predictions.classes]
    table = sheet.table(top + 2, 1, len(listed), classes)
    sheet.row_heights[table.head + 3] = 13.5 * max(math.ceil(width(name) / NARROW) for name in classes) + 2
    layout: dict[str, Any] = {"parts": [""]} if count == 1 else {}
    table.column("picture", "data", texts(names), words="its file", width=column_width(names, 60), **layout)
    words = "decisions that differ from its labels"
    wrong = table.column("wrong_decisions", "check", words=words, **layout)
    words, torch = "when this workbook was made", "F.binary_cross_entropy(probabilities, labels)"
    loss = predictions.losses[listed]
    table.column("picture_loss", "loss", loss, words=words, torch=torch, width=15, **layout)
    data = typed(predictions.labels[listed])
    words = "1 for what it is: type here"
    layout = {"width": NARROW}
    labels = table.column("labels", "data", data, words=words, torch="labels", number_format="0;;", **layout)
    data = typed(predictions.probabilities[listed].astype(float))
    words, left = "of each class", table.next_column
    layout |= {"words": words, "torch": "scores.sigmoid()", "number_format": SHARE}
    probabilities = table.column("probabilities", "data", data, **layout)
    sheet.heat_map(probabilities, HEAT)

    # Beside the probabilities, so that a formula can compare a row of them with a row of thresholds.
    sheet.write(top, left - 1, "thresholds", LABEL)
    layout = {"words": "those of the sheet 'results'", "number_format": PRECISE, "across": True}
    across = fixed(sheet.place("thresholds_again", thresholds, "check", top, left, **layout))
    sheet.fill("wrong_decisions", [_wrong(*each, across) for each in zip(labels, probabilities, strict=True)], WHOLE)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return labels, probabilities, wrong


def _wrong(labels: np.ndarray, probabilities: np.ndarray, thresholds: Range) -> Expr:
    """How many classes are seen that are not there, or there and not seen."""
    of, given = tensor.span(labels), tensor.span(probabilities)
    too_many = Binary("*", Binary(">=", given, thresholds), 1 - of)
    missing = Binary("*", Binary("<", given, thresholds), of)
    return Call("SUMPRODUCT", too_many + missing)


def _results_sheet(
    sheet: Sheet,
    row: int,
    table: Table,
    predictions: MultiLabelPredictions,
    totals: tuple[list[Any], list[Any], list[Any]],
    wrong: np.ndarray,
    rest: np.ndarray,
) -> None:
    """The rest of the table of classes, and the figures over all of them; `rest` are wrong decisions not listed."""

    def column(name: str, array: list[Any], words: str) -> np.ndarray:
        return table.column(name, "check", array, words=words, number_format=WHOLE)

    of = column("class_pictures", totals[0], "pictures of it")
    taken = column("class_predicted", totals[1], "pictures whose probability reaches the threshold")
    both = column("class_right", totals[2], "pictures of it taken for it")
    f1 = score_columns(table, of, taken, both)
    found = [each if not np.isnan(each) else Call("NA") for each in predictions.average_precisions.tolist()]
    words, torch = "when this workbook was made; no threshold changes it", "sklearn.metrics.average_precision_score"
    table.column("average_precision", "check", found, words=words, torch=torch, number_format=SHARE, width=22)

    def value(offset: int, name: str, formula: Any, words: str, number_format: str = SHARE) -> Any:
        return sheet.value(row + offset, 1, name, formula, "check", words=words, number_format=number_format)

    pictures, count = predictions.labels.shape
    whole = value(0, "pictures", pictures, "their number", WHOLE)
    errors = value(1, "wrong", tensor.sum(wrong) + int(rest.sum()), "decisions that differ from the labels", WHOLE)
    value(2, "error_rate", errors / (whole * count), "the share of the decisions, pictures times classes")
    exact = Call("SUMPRODUCT", _number(Binary("=", fixed(wrong), Number(0)))) + int((rest == 0).sum())
    value(3, "exact_match", exact / whole, "the share of the pictures without a wrong decision")
    value(4, "macro_f1", Call("AVERAGE", fixed(f1)), "the mean of the classes' F1")
    all_f1 = 2 * tensor.sum(both) / Call("MAX", 1, tensor.sum(of) + tensor.sum(taken))
    value(5, "micro_f1", all_f1, "the F1 of all decisions together")
    mean = predictions.mean_average_precision
    words = "the mean of the classes' average precisions, when this workbook was made"
    value(6, "mean_average_precision", Call("NA") if np.isnan(mean) else mean, words)
    value(7, "mean_loss", float(predictions.losses.mean()), "of the pictures, when this workbook was made", "0.0000")
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
