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
from sgdsheet import book
from sgdsheet.engines import available, engine
from sgdsheet.errors import Error
from tests.lessons.pages import pages
from trainer.results import report
from trainer.results.predictions import Predictions
from trainer.results.report import one_label

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


def compare_stored(path: Path) -> None:
    """What is stored in the file, some of it known to its maker, is what an engine calculates."""
    stored = openpyxl.load_workbook(path, data_only=True)
    ranges = book.read(path).ranges()
    for place, values in zip(ranges, engine("ironcalc").calculate(path, ranges), strict=True):
        cells = stored[place.sheet].iter_rows(place.top, place.bottom, place.left, place.right, values_only=True)
        assert [list(row) for row in cells] == values.tolist(), place


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


@pytest.mark.parametrize("engine", ENGINES)
def test_many_classes(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_label, "ALL", 12)
    monkeypatch.setattr(one_label, "SHOWN", 8)
    monkeypatch.setattr(one_label, "PAIRS", 20)
    made = drawn(400, [f"class {n}" for n in range(25)], never=24)
    path = tmp_path / "report.xlsx"
    report.save(made, path)
    assert openpyxl.load_workbook(path).sheetnames == [
        "about",
        "results",
        "confusion",
        "pairs",
        "predictions",
        "blocks",
    ]
    read = sgdsheet.read(path, engine=engine)
    whole = confusion_matrix(made.labels, made.predicted, labels=range(25))
    chosen = made.confused_classes(8)
    check(read | {"confusion": whole}, made)
    assert (read["confusion"] == whole[np.ix_(chosen, chosen)]).all()
    assert (read["confusion_others"] == whole[chosen].sum(1) - read["confusion"].sum(1)).all()
    assert read["confusion"].sum() - read["confusion"].trace() > 8
    pairs = list(zip(read["pair_actual_name"], read["pair_predicted_name"], read["pair_count"], strict=True))
    assert pairs == made.most_confused(1)[:20]
    of = whole.sum(1)[read["pair_actual"].astype(int)]
    assert read["pair_share"] == pytest.approx(read["pair_count"] / of)
    words = [cell.value for row in openpyxl.load_workbook(path)["confusion"].iter_rows(max_row=4) for cell in row]
    assert any("shows 8 of the 25 classes" in str(each) for each in words)


def test_many_classes_without_a_mistake(tmp_path: Path) -> None:
    made = Predictions(["x"] * 70, [str(n) for n in range(70)], np.arange(70), np.eye(70))
    report.save(made, tmp_path / "report.xlsx")
    assert "pairs" not in openpyxl.load_workbook(tmp_path / "report.xlsx").sheetnames
    read = sgdsheet.read(tmp_path / "report.xlsx")
    assert (read["confusion"] == np.eye(30)).all()
    assert read["f1_score"].tolist() == [1] * 70


@pytest.mark.parametrize("classes", [5, 70], ids=["few classes", "many classes"])
@pytest.mark.parametrize("listed", [1, 2, 40])
def test_pictures_that_are_not_listed_count_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, listed: int
) -> None:
    monkeypatch.setattr(one_label, "LISTED", listed)
    made = drawn(300, [f"class {n}" for n in range(classes)])
    path = tmp_path / "report.xlsx"
    report.save(made, path)
    read = sgdsheet.read(path)
    assert read["loss"] == pytest.approx(np.sort(made.losses)[::-1][:listed])
    whole = confusion_matrix(made.labels, made.predicted, labels=range(classes))
    chosen = np.arange(classes) if classes == 5 else made.confused_classes(30)
    assert (read["confusion"] == whole[np.ix_(chosen, chosen)]).all()
    frame = made.per_class()
    for name, head in (("precision", "precision"), ("recall", "recall"), ("f1_score", "f1")):
        assert read[name] == pytest.approx(frame[head].to_numpy())
    assert read["pictures"] == 300
    assert read["error_rate"] == pytest.approx(made.error_rate)
    assert read["mean_loss"] == pytest.approx(made.losses.mean())
    for name in ("about", "predictions"):
        cells = [str(cell.value) for row in openpyxl.load_workbook(path)[name].iter_rows(max_row=6) for cell in row]
        assert any(f"the {listed} pictures with the highest losses are listed" in each for each in cells), name


@pytest.mark.parametrize("classes", [3, 70])
@pytest.mark.parametrize("listed", [25, 100_000])
def test_what_is_stored_is_what_an_engine_calculates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, listed: int
) -> None:
    monkeypatch.setattr(one_label, "LISTED", listed)
    report.save(drawn(90, [f"class {n}" for n in range(classes)]), tmp_path / "report.xlsx", HISTORY)
    compare_stored(tmp_path / "report.xlsx")


def test_imagenet_is_not_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(pictures: int, classes: int) -> tuple[int, int]:
        """How many pictures are listed, and how many cells the counting formulas look at."""
        labels = np.arange(pictures) % classes
        made = Predictions([""] * pictures, [""] * classes, labels, np.broadcast_to(np.float32(1), (pictures, classes)))
        sheets = one_label.book(made)
        formulas = [
            each.value
            for sheet in sheets.sheets
            for row in sheet.cells.values()
            for each in row.values()
            if each.kind == "f" and each.value.startswith("COUNTIFS")
        ]
        (listed,) = sheets.blocks["loss"].shape
        return listed, listed * len(formulas)

    monkeypatch.setattr(one_label, "LOOKS", 200_000)  # a thousandth, and so are the pictures here
    assert kept(50, 1000)[0] == 50
    for pictures, classes in ((100, 1000), (50, 3000), (500, 60), (3000, 10)):
        assert kept(pictures, classes)[1] <= 200_000
    monkeypatch.setattr(one_label, "LISTED", 100)
    assert kept(150, 2)[0] == 100


def test_the_values_are_stored_and_no_cell_holds_an_error(tmp_path: Path) -> None:
    made = drawn(60, TRICKY[:3], never=2)
    report.save(made, tmp_path / "report.xlsx")
    stored = openpyxl.load_workbook(tmp_path / "report.xlsx", data_only=True)
    assert stored.sheetnames == ["about", "results", "confusion", "predictions", "blocks"]
    cells = [cell for sheet in stored for row in sheet.iter_rows() for cell in row]
    assert [cell.coordinate for cell in cells if cell.data_type == "e"] == []
    found = [cell.value for cell in cells if isinstance(cell.value, (int, float))]
    assert made.error_rate in found


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("two\nlines\tand", "two\\nlines\\tand"),
        ("\udce4rger", "\\udce4rger"),
        ("\x00\x1b[31m", "\\x00\\x1b[31m"),
        ("it's", "it's"),
        ("שלום \U0001f43b", "שלום \U0001f43b"),
        ("x" * 300, "x" * 19 + "..." + "x" * 18),
    ],
)
def test_names_of_any_kind(tmp_path: Path, name: str, held: str) -> None:
    labels = np.array([0, 1, 0])
    made = Predictions([name] * 3, [name, "other"], labels, np.eye(2)[[1, 1, 0]])
    report.save(made, tmp_path / "report.xlsx")
    read = sgdsheet.read(tmp_path / "report.xlsx")
    assert read["class_name"].tolist() == [held, "other"]
    assert read["actual"].tolist() == [held, "other", held]
    assert read["picture"].tolist() == [held if len(name) < 300 else name] * 3
    heights = [
        row.height for row in openpyxl.load_workbook(tmp_path / "report.xlsx")["confusion"].row_dimensions.values()
    ]
    assert max(height or 0 for height in heights) < 110


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
    first = sheet.cell(column.row + 2, column.column)
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


def test_no_chart_hides_another(tmp_path: Path) -> None:
    report.save(drawn(9, ["a", "b"]), tmp_path / "report.xlsx", HISTORY)
    first, second = (box for box, _ in pages(tmp_path / "report.xlsx").sheets["history"].charts)
    assert not first.meets(second)
    assert first.seen
    assert second.seen


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
    for name in [name for name in sys.modules if name.startswith(("sgdsheet.book", "sgdsheet.writing"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(Error, match="needs openpyxl, which is not installed; pip install openpyxl"):
        report.save(drawn(9, ["a", "b"]), tmp_path / "report.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="cannot be written"):
        report.save(drawn(9, ["a", "b"]), tmp_path / "file" / "report.xlsx")
