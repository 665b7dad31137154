"""`report.xlsx`: predictions as data, and all that is counted of them as formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sgdsheet.errors import Error
from trainer.results.multilabel import MultiLabelPredictions
from trainer.results.predictions import Predictions


def save(
    predictions: Predictions | MultiLabelPredictions, path: str | Path, history: Sequence[Mapping[str, float]] = ()
) -> None:
    """Writes a workbook: results per class, confusion matrix, predictions, and the training's epochs if given.

    A row of `history` is an epoch: `epoch`, `train_loss`, `valid_loss`, `error_rate` (0 to 1), `lr`. Every formula has
    its value. Of more than 60 classes the confusion matrix has the 30 that are confused most, beside a list of the most
    frequent mistakes. Of very many pictures those with the highest losses are listed, and the others are counted as
    numbers in the formulas. The sheets say so. For several labels a picture the thresholds are cells to type into, in
    place of a confusion matrix. Raises `Error` if the file cannot be written, or if a package that workbooks need is
    not installed.
    """
    try:
        from sgdsheet.writing import write
        from trainer.results.report import common, one_label, several_labels
    except ImportError as error:
        raise Error(f"{path}: writing it needs {error.name}, which is not installed; pip install openpyxl") from None
    several = isinstance(predictions, MultiLabelPredictions)
    book = several_labels.book(predictions) if several else one_label.book(predictions)
    if history:
        common.history_sheet(book, history)
    write(book, path)
