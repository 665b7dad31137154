from __future__ import annotations

import math
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

import sgdsheet
from sgdsheet.engines import available
from sgdsheet.errors import Error
from trainer.results import report
from trainer.results.predictions import Predictions

ENGINES = [name for name in ("ironcalc", "libreoffice") if name in available()]
TRICKY = ["=1+1", "+a", "-b", "@c", 'say "hi", you', "*", "<5", "TRUE", "007", "it's; ünï", "a~?", "#N/A"]
HISTORY = [
    {"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 0.4 + 1 / epoch, "error_rate": 0.3 / epoch, "lr": 3e-3}
    for epoch in range(1, 6)
]


def drawn(count: int, classes: list[str], never: int | None = None, seed: int = 0) -> Predictions:
    """Predictions with mistakes among them, `never` one of the class of that number."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), count)
    scores = rng.normal(size=(count, len(classes)))
    scores[np.arange(count), labels] += 1.5
    if never is not None:
        scores[:, never] = -9
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return Predictions([f"{classes[label]}{n}.jpg" for n, label in enumerate(labels)], classes, labels, probabilities)


def check(read: dict[str, Any], made: Predictions) -> None:
    """The workbook's numbers are those of scikit-learn."""
    labels, predicted, classes = made.labels, made.predicted, range(len(made.classes))
    assert (read["confusion"] == confusion_matrix(labels, predicted, labels=classes)).all()
    scores = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)  # type: ignore[arg-type]
    for name, expected in zip(("precision", "recall", "f1_score", "class_pictures"), scores, strict=True):
        assert read[name] == pytest.approx(np.asarray(expected), abs=1e-12), name
    assert read["pictures"] == len(labels)
    assert read["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert read["error_rate"] == pytest.approx(1 - accuracy_score(labels, predicted))
    expected = log_loss(labels, made.probabilities.astype(np.float64), labels=classes)
    assert read["mean_loss"] == pytest.approx(expected, rel=1e-5)
    order = np.argsort(-made.losses, kind="stable")
    assert read["loss"] == pytest.approx(made.losses[order])
    assert read["is_right"].tolist() == (labels == predicted)[order].tolist()
    assert read["probability"] == pytest.approx(made.probabilities.max(1)[order])
    names = np.array(made.classes, dtype=object)
    assert read["picture"].tolist() == [made.names[number] for number in order]
    assert read["actual"].tolist() == names[labels][order].tolist()
    assert read["predicted"].tolist() == names[predicted][order].tolist()
    assert read["class_name"].tolist() == made.classes


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("count", "classes", "never"),
    [
        (1, ["black", "teddy"], None),
        (80, ["black", "grizzly", "teddy"], 1),
        (200, TRICKY, None),
        (150, [f"class {n}" for n in range(30)], 29),
    ],
    ids=["one picture", "never predicted", "tricky names", "many classes"],
)
def test_every_number_is_that_of_sklearn(
    tmp_path: Path, engine: str, count: int, classes: list[str], never: int | None
) -> None:
    made = drawn(count, classes, never)
    report.save(made, tmp_path / "report.xlsx", HISTORY)
    read = sgdsheet.read(tmp_path / "report.xlsx", engine=engine)
    check(read, made)
    assert read["train_loss"].tolist() == pytest.approx([row["train_loss"] for row in HISTORY])


def test_the_values_are_stored_and_no_cell_holds_an_error(tmp_path: Path) -> None:
    made = drawn(60, TRICKY[:3], never=2)
    report.save(made, tmp_path / "report.xlsx")
    stored = openpyxl.load_workbook(tmp_path / "report.xlsx", data_only=True)
    assert stored.sheetnames == ["about", "results", "confusion", "predictions"]
    cells = [cell for sheet in stored for row in sheet.iter_rows() for cell in row]
    assert [cell.coordinate for cell in cells if cell.data_type == "e"] == []
    found = [cell.value for cell in cells if isinstance(cell.value, (int, float))]
    assert made.error_rate in found


def test_names_are_never_formulas(tmp_path: Path) -> None:
    report.save(drawn(30, TRICKY), tmp_path / "report.xlsx")
    with zipfile.ZipFile(tmp_path / "report.xlsx") as parts:
        sheets = [parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/worksheets/sheet")]
    assert any('<is><t xml:space="preserve">=1+1</t>' in sheet for sheet in sheets)
    formulas = {text for sheet in sheets for text in re.findall("<f>(.*?)</f>", sheet)}
    assert formulas
    assert formulas.isdisjoint(name[1:] for name in TRICKY[:4])


def test_a_corrected_label_is_followed(tmp_path: Path) -> None:
    made = drawn(40, ["a", "b"])
    report.save(made, tmp_path / "report.xlsx")
    changed = openpyxl.load_workbook(tmp_path / "report.xlsx")
    sheet = changed["predictions"]
    head = next(row for row in sheet.iter_rows() if row[0].value == "picture")
    column = next(cell for cell in head if cell.value == "label")
    first = sheet.cell(column.row + 3, column.column)
    worst = made.losses.argmax()
    assert first.value == made.labels[worst]
    first.value = int(made.predicted[worst])  # type: ignore[misc]
    changed.save(tmp_path / "changed.xlsx")
    read = sgdsheet.read(tmp_path / "changed.xlsx")
    labels = made.labels.copy()
    labels[worst] = made.predicted[worst]
    assert (read["confusion"] == confusion_matrix(labels, made.predicted)).all()
    assert read["accuracy"] == pytest.approx(accuracy_score(labels, made.predicted))


def test_a_loss_that_is_not_finite_is_an_error_value_in_its_cell_alone(tmp_path: Path) -> None:
    broken = [*HISTORY[:2], HISTORY[2] | {"train_loss": math.nan, "valid_loss": math.inf}]
    report.save(drawn(9, ["a", "b"]), tmp_path / "report.xlsx", broken)
    read = sgdsheet.read(tmp_path / "report.xlsx")
    assert np.isnan(read["train_loss"]).tolist() == np.isnan(read["valid_loss"]).tolist() == [False, False, True]
    assert openpyxl.load_workbook(tmp_path / "report.xlsx")["history"]._charts  # type: ignore[union-attr]


def test_one_epoch_and_impossible_probabilities(tmp_path: Path) -> None:
    made = Predictions(["x", "y"], ["a", "b"], np.array([0, 1]), np.array([[0.0, 1], [0.0, 1]], np.float32))
    report.save(made, tmp_path / "report.xlsx", HISTORY[:1])
    read = sgdsheet.read(tmp_path / "report.xlsx")
    assert read["loss"] == pytest.approx(made.losses[np.argsort(-made.losses)])
    assert read["epoch"].tolist() == [1]


def test_verify_says_in_one_line_that_there_is_nothing_to_compare(tmp_path: Path) -> None:
    report.save(drawn(9, ["a", "b"]), tmp_path / "report.xlsx")
    with pytest.raises(Error, match="no PyTorch program stands behind this workbook") as raised:
        sgdsheet.verify(tmp_path / "report.xlsx")
    assert "\n" not in str(raised.value)
    about = openpyxl.load_workbook(tmp_path / "report.xlsx")["about"]
    assert not any("sgdsheet verify" in str(cell.value) for row in about for cell in row)


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.xlsx", "two.xlsx"):
        report.save(drawn(9, ["a", "b"]), tmp_path / name, HISTORY)
    assert (tmp_path / "one.xlsx").read_bytes() == (tmp_path / "two.xlsx").read_bytes()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sgdsheet.book")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(Error, match="needs openpyxl, which is not installed; pip install openpyxl"):
        report.save(drawn(9, ["a", "b"]), tmp_path / "report.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="cannot be written"):
        report.save(drawn(9, ["a", "b"]), tmp_path / "file" / "report.xlsx")
