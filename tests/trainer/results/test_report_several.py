"""The workbook of several labels a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpyxl
import pytest
from openpyxl.utils.cell import coordinate_to_tuple
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, precision_recall_fscore_support

import sgdsheet
from sgdsheet.engines import available
from trainer.results import report
from trainer.results.multilabel import MultiLabelPredictions
from trainer.results.report import several_labels

ENGINES = [name for name in ("ironcalc", "libreoffice") if name in available()]
HISTORY = [{"epoch": 1, "train_loss": 0.5, "valid_loss": 0.4, "error_rate": 0.1, "lr": 3e-3}]


def drawn(count: int, classes: list[str], seed: int = 0) -> MultiLabelPredictions:
    """Predictions with mistakes among them."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, len(classes))) < 0.3).astype(np.int64)
    probabilities = 1 / (1 + np.exp(1.5 - 3 * labels + rng.normal(0, 1.5, labels.shape)))
    made = MultiLabelPredictions([f"{n}.jpg" for n in range(count)], classes, labels, probabilities)
    return made.with_thresholds(made.best_thresholds())


def check(read: dict[str, np.ndarray], labels: np.ndarray, predicted: np.ndarray) -> None:
    """The workbook's numbers are those of scikit-learn."""
    for number in range(labels.shape[1]):
        scores = precision_recall_fscore_support(
            labels[:, number],
            predicted[:, number],
            average="binary",
            zero_division=0.0,  # type: ignore[arg-type]
        )
        found = [read[name][number] for name in ("precision", "recall", "f1_score")]
        assert found == pytest.approx(scores[:3], abs=1e-12)
    assert read["class_pictures"].tolist() == labels.sum(0).tolist()
    assert read["class_predicted"].tolist() == predicted.sum(0).tolist()
    assert read["error_rate"] == pytest.approx(hamming_loss(labels, predicted))
    assert read["exact_match"] == pytest.approx(accuracy_score(labels, predicted))
    both = 2 * (labels * predicted).sum() / max(1, labels.sum() + predicted.sum())
    assert read["micro_f1"] == pytest.approx(both)
    f1 = [f1_score(a, b, zero_division=0.0) for a, b in zip(labels.T, predicted.T, strict=True)]  # type: ignore[arg-type]
    assert read["macro_f1"] == pytest.approx(np.mean(f1))


TRICKY = ["=1+1", "\udce4rger", "x" * 200, "two\nlines", "*"]


@pytest.mark.parametrize(
    ("engine", "count", "classes"),
    [("ironcalc", 1, ["a", "b"]), ("ironcalc", 30, ["alone"]), *((engine, 80, TRICKY) for engine in ENGINES)],
)
def test_every_number_is_that_of_sklearn(tmp_path: Path, engine: str, count: int, classes: list[str]) -> None:
    made = drawn(count, classes)
    report.save(made, tmp_path / "report.xlsx", HISTORY)
    read = sgdsheet.read(tmp_path / "report.xlsx", engine=engine)
    check(read, made.labels, made.predicted)
    order = made.worst()
    assert read["picture"].tolist() == [made.names[number] for number in order]
    assert (read["labels"].reshape(-1, len(classes)) == made.labels[order]).all()
    assert read["probabilities"].reshape(-1, len(classes)) == pytest.approx(made.probabilities[order])
    assert read["picture_loss"] == pytest.approx(made.losses[order])
    assert read["wrong_decisions"].tolist() == (made.predicted != made.labels).sum(1)[order].tolist()
    assert read["threshold"] == pytest.approx(np.asarray(made.thresholds), rel=1e-12)
    expected = made.average_precisions
    assert np.isnan(read["average_precision"]).tolist() == np.isnan(expected).tolist()
    assert read["average_precision"][~np.isnan(expected)] == pytest.approx(expected[~np.isnan(expected)])
    sheets = openpyxl.load_workbook(tmp_path / "report.xlsx", data_only=True)
    assert sheets.sheetnames == ["about", "results", "predictions", "history", "blocks"]


def typed(path: Path, sheet: str, block: str, row: int, column: int, value: float) -> None:
    """Types a number into a block's cell, as a reader would."""
    workbook = openpyxl.load_workbook(path)
    first = workbook.defined_names[block].attr_text.rpartition("!")[2].split(":")[0]
    top, left = coordinate_to_tuple(first.replace("$", ""))
    workbook[sheet].cell(top + row, left + column, value)
    workbook.save(path)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.95, 1.0])
def test_a_threshold_is_followed(tmp_path: Path, threshold: float) -> None:
    made, path = drawn(60, ["a", "b", "c"]), tmp_path / "report.xlsx"
    report.save(made, path)
    typed(path, "results", "threshold", 1, 0, threshold)
    thresholds = np.array(made.thresholds)
    thresholds[1] = threshold
    check(sgdsheet.read(path), made.labels, made.with_thresholds(thresholds).predicted)


def test_a_corrected_label_is_followed(tmp_path: Path) -> None:
    made, path = drawn(60, ["a", "b", "c"]), tmp_path / "report.xlsx"
    report.save(made, path)
    labels, worst = made.labels.copy(), made.worst()[0]
    labels[worst, 2] = 1 - labels[worst, 2]
    typed(path, "predictions", "labels", 0, 2, int(labels[worst, 2]))
    check(sgdsheet.read(path), labels, made.predicted)


@pytest.mark.parametrize("listed", [1, 7])
def test_pictures_that_are_not_listed_count_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    monkeypatch.setattr(several_labels, "CELLS", 6 * listed)
    made, path = drawn(60, ["a", "b", "c"]), tmp_path / "report.xlsx"
    report.save(made, path)
    read = sgdsheet.read(path)
    assert len(read["wrong_decisions"].ravel()) == listed
    check(read, made.labels, made.predicted)
    for name in ("about", "predictions"):
        cells = [str(cell.value) for row in openpyxl.load_workbook(path)[name].iter_rows(max_row=6) for cell in row]
        assert any("do not follow a threshold that is changed" in each for each in cells), name
