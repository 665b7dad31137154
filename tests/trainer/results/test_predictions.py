from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support, zero_one_loss

from sgdsheet.errors import Error
from trainer.results import predictions
from trainer.results.multilabel import MultiLabelPredictions
from trainer.results.predictions import Predictions, grid
from trainer.show import drawing, text


def drawn(count: int, classes: int, seed: int = 0) -> Predictions:
    """Predictions with mistakes among them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    scores = rng.normal(size=(count, classes))
    scores[np.arange(count), labels] += 1.5
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    names = [f"folder/{number}.jpg" for number in range(count)]
    return Predictions(names, [f"class {number}" for number in range(classes)], labels, probabilities)


SURE = Predictions(
    ["a.png", "b.png", "c.png", "d.png", "e.png"],
    ["cat", "dog", "ant"],
    np.array([0, 0, 1, 2, 1]),
    np.array([[0.0, 1, 0], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0, 0, 1], [0.5, 0.4, 0.1]]),
)


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (200, 2), (500, 7), (50, 40)])
def test_figures_are_those_of_sklearn(count: int, classes: int) -> None:
    made = drawn(count, classes)
    assert (made.confusion() == confusion_matrix(made.labels, made.predicted, labels=range(classes))).all()
    assert made.error_rate == pytest.approx(zero_one_loss(made.labels, made.predicted))
    assert made.losses.mean() == pytest.approx(log_loss(made.labels, made.probabilities, labels=range(classes)))
    assert made.predicted.dtype == made.confusion().dtype == np.int64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_is_finite_and_not_below_0(dtype: Any) -> None:
    made = Predictions(["a", "b"], ["x", "y"], np.array([0, 0]), np.array([[0, 1], [1 + 1e-7, 0]], dtype))
    assert made.losses == pytest.approx([87.3365, 0], abs=1e-3)
    assert (made.losses >= 0).all()


def test_most_confused() -> None:
    assert SURE.most_confused() == [("cat", "dog", 2), ("dog", "cat", 2)]
    assert SURE.most_confused(3) == []
    assert drawn(300, 5).most_confused(1) == sorted(drawn(300, 5).most_confused(1), key=lambda each: (-each[2], each))


def test_top_losses() -> None:
    frame = SURE.top_losses(2)
    assert list(frame) == ["name", "actual", "predicted", "loss", "probability"]
    assert frame["name"].tolist() == ["a.png", "b.png"]
    assert frame["predicted"].tolist() == ["dog", "dog"]
    assert frame["probability"].tolist() == [1, 0.7]
    assert frame["loss"].tolist() == pytest.approx([87.3365, -np.log(0.2)], abs=1e-3)
    assert len(SURE.top_losses()) == 5


def test_to_frame_and_csv(tmp_path: Path) -> None:
    frame = SURE.to_frame()
    assert list(frame) == ["name", "actual", "predicted", "right", "loss", "probability", "cat", "dog", "ant"]
    assert frame["right"].tolist() == [False, False, False, True, False]
    SURE.save_csv(tmp_path / "new" / "predictions.csv")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["predictions.csv"]
    read = pd.read_csv(tmp_path / "new" / "predictions.csv")
    assert read.columns.tolist() == list(frame)
    assert read["name"].tolist() == SURE.names
    assert read["loss"].tolist() == pytest.approx(SURE.losses.tolist())


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ["=1+1", 'a "b", c\nd.jpg', "\udcff.jpg"]
    made = Predictions(names, ["loss", "Grüße"], np.array([0, 1, 1]), np.full((3, 2), 0.5))
    made.save_csv(tmp_path / "p.csv")
    read = pd.read_csv(tmp_path / "p.csv")
    assert read.columns[-2:].tolist() == ["probability of loss", "Grüße"]
    assert read["name"].tolist() == ["'=1+1", names[1], "\\udcff.jpg"]


def test_no_spreadsheet_calculates_a_name(tmp_path: Path) -> None:
    classes = ["=1+1", "-2", "@SUM(A1)", "\tx", "plain=1"]
    probabilities = np.eye(5)[::-1]
    Predictions(["+a.jpg", "b", "c", "d", "e"], classes, np.arange(5), probabilities).save_csv(tmp_path / "one.csv")
    MultiLabelPredictions(["+a.jpg"], classes, np.ones((1, 5)), np.ones((1, 5))).save_csv(tmp_path / "several.csv")
    for name in ("one.csv", "several.csv"):
        text = (tmp_path / name).read_text()
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert {"'+a.jpg", "'=1+1", "'-2", "'@SUM(A1)", "'\tx", "plain=1"} <= set(cells)
        assert {cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))} <= {"-0.0"}  # a number


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(Error, match="cannot be written"):
        SURE.save_csv(tmp_path / "p.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["p.csv"]


@pytest.mark.parametrize(
    ("names", "labels", "probabilities", "message"),
    [
        (["a"], [0, 1], [[0.5, 0.5]], "need labels of shape"),
        (["a"], [0], [[0.5, 0.2, 0.3]], "probabilities of shape"),
        ([], [], np.zeros((0, 2)), "at least one of each"),
        (["a"], [2], [[0.5, 0.5]], "labels from 0 to 1"),
        (["a"], [-1], [[0.5, 0.5]], "labels from 0 to 1"),
        (["a"], [0], [[np.nan, 0.5]], "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(names: list[str], labels: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(Error, match=message):
        Predictions(names, ["x", "y"], np.array(labels), np.array(probabilities))


def color(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    found = picture.getpixel((int(x), int(y)))
    assert isinstance(found, tuple)
    return found


def test_grid_places_pictures_whole() -> None:
    red, wide = Image.new("RGB", (50, 50), "red"), Image.new("RGBA", (300, 100), (0, 0, 255, 255))
    clear, line = Image.new("RGBA", (9, 9), (0, 0, 0, 0)), Image.new("L", (1000, 1), 0)
    made = grid([red, wide, clear, line, red], ["one", "two\nlines", "", "x" * 300, "Grüße 中"], columns=2, side=90)
    assert made.mode == "RGB"
    assert made.width == 10 + 2 * 100
    assert color(made, 55, 55) == color(made, 11, 98) == (255, 0, 0)
    assert color(made, 155, 55) == (0, 0, 255)
    assert color(made, 155, 15) == (245, 246, 247)
    columns = {grid([red] * count, [""] * count, side=90).width // 100 for count in (5, 9)}
    assert columns == {3}
    assert grid([red], ["one"], columns=8).width == 180


@pytest.mark.parametrize(("pictures", "captions"), [(0, 0), (2, 1)])
def test_a_grid_wants_a_caption_for_each_picture(pictures: int, captions: int) -> None:
    with pytest.raises(Error, match=f"got {pictures} and {captions}"):
        grid([Image.new("L", (8, 8))] * pictures, ["x"] * captions)


def test_long_words_lose_their_middle() -> None:
    text, font = drawing._shortened("a long name of a picture.jpg", 90, 13)
    assert text.startswith("a lo")
    assert text.endswith(".jpg")
    assert "…" in text
    assert 60 < font.getlength(text) <= 90
    assert drawing._shortened("two\nwords", 90, 13)[0] == "two words"


def test_letters_beyond_ascii_where_no_font_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_fonts", lambda size: [])
    assert drawing._shortened("Bär 中", 90, 13)[0] == "Bar ?"


def test_the_font_that_has_most_of_the_letters() -> None:
    text, font = drawing._shortened("Bär, Медведь, אב 🐻", 500, 13)
    assert text == "Bär, Медведь, אב ?"  # matplotlib brings DejaVu, which has no bear
    assert font.getname()[0] == "DejaVu Sans"


def test_a_picture_that_is_gone_leaves_its_place_grey() -> None:
    def opened(name: str) -> Image.Image:
        if name == "a.png":
            raise FileNotFoundError(2, "No such file or directory")
        if name == "b.png":
            raise ValueError("no picture\x1b[31m " + "x" * 300)
        return Image.new("RGB", (20, 20), "green")

    made = SURE.show_top_losses(opened, 3)
    assert color(made, 20, 20) == color(made, 230, 20) == (225, 228, 232)
    places = [np.asarray(made.convert("L").crop((left, 10, left + 200, 210))) for left in (10, 220, 430)]
    assert [bool((place < 150).any() and (place > 200).any()) for place in places] == [True, True, False]
    assert SURE.show_top_losses(lambda name: Image.open(f"missing/{name}"), 1).size == (220, 281)


def test_top_losses_as_pictures() -> None:
    asked = []

    def opened(name: str) -> Image.Image:
        asked.append(name)
        return Image.new("RGB", (20, 30), "green")

    made = SURE.show_top_losses(opened, 3)
    assert asked == ["a.png", "b.png", "c.png"]
    assert color(made, 110, 110) == (0, 128, 0)


@pytest.mark.parametrize("classes", [2, 13, 46])
def test_confusion_as_a_picture(classes: int) -> None:
    count = 10 * classes
    labels = np.arange(count) % classes
    predicted = np.where(np.arange(count) < classes, (labels + 1) % classes, labels)
    made = Predictions(["x"] * count, [f"class {n}" for n in range(classes)], labels, np.eye(classes)[predicted])
    picture = made.plot_confusion()
    shades = np.asarray(picture).astype(int)
    dark = (shades[..., 2] - shades[..., 0] > 60) & (shades[..., 0] < 100)
    rows, columns = np.nonzero(dark)
    side = (rows.max() - rows.min()) / classes
    where = set(
        zip(((rows - rows.min()) / side).astype(int), ((columns - columns.min()) / side).astype(int), strict=True)
    )
    assert {(n, n) for n in range(classes)} <= where
    assert max(abs(row - column) for row, column in where) <= 1
    assert (shades == 255).all(2).any()  # white figures, and white where nothing was


def spread(classes: int, each: int = 2) -> Predictions:
    """Every class is sometimes taken for the next one, the last ones most often."""
    labels = np.repeat(np.arange(classes), each * 10)
    wrong = np.tile(np.arange(each * 10), classes) < 1 + 3 * (labels >= classes - 20)
    predicted = np.where(wrong, (labels + 1) % classes, labels)
    names = [f"class {number}" for number in range(classes)]
    return Predictions([f"{n}.jpg" for n in range(len(labels))], names, labels, np.eye(classes)[predicted])


@pytest.mark.parametrize("classes", [100, 150, 700])
def test_a_confusion_matrix_of_many_classes_is_not_too_wide(classes: int) -> None:
    picture = spread(classes).plot_confusion()
    assert max(picture.size) <= 2500
    assert (picture.width < 1500) == (classes > 100)


def test_a_confusion_matrix_of_large_numbers_is_not_too_wide() -> None:
    labels, classes = np.repeat(np.arange(59), 40_000), 59
    made = Predictions([""] * len(labels), ["x"] * classes, labels, np.eye(classes, dtype=np.float32)[labels])
    assert max(made.plot_confusion().size) <= 2500


def test_the_classes_that_are_confused_most() -> None:
    made = spread(150)
    chosen = made.confused_classes(20)
    assert set(chosen.tolist()) <= {0, *range(130, 150)}
    assert len(chosen) == 20
    whole, part = made.confusion(), made.confusion_of(chosen)
    assert (part[:, :-1] == whole[np.ix_(chosen, chosen)]).all()
    assert (part.sum(1) == whole[chosen].sum(1)).all()
    # Without mistakes there are no such classes: the first ones stand for all.
    right = Predictions(["a"] * 3, list("abc"), np.arange(3), np.eye(3))
    assert right.confused_classes(2).tolist() == [0, 1]
    assert right.confused_classes(9).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("count", "classes"), [(1, 2), (200, 2), (500, 7), (60, 40)])
def test_per_class_is_that_of_sklearn(count: int, classes: int) -> None:
    made = drawn(count, classes)
    frame = made.per_class()
    assert list(frame) == ["class", "pictures", "precision", "recall", "f1"]
    assert frame["class"].tolist() == made.classes
    expected = precision_recall_fscore_support(
        made.labels,
        made.predicted,
        labels=range(classes),  # type: ignore[arg-type]
        zero_division=0.0,  # type: ignore[arg-type]
    )
    for name, column in zip(("precision", "recall", "f1", "pictures"), expected, strict=True):
        assert frame[name].to_numpy() == pytest.approx(np.asarray(column), abs=1e-12), name


def test_a_summary_of_few_classes() -> None:
    made = Predictions([*SURE.names, "f"], SURE.classes, np.append(SURE.labels, 2), np.eye(3)[[1, 1, 0, 2, 0, 2]])
    assert made.summary().splitlines() == [
        "4 of 6 validation pictures wrong (66.7%)",
        "",
        "class  pictures  precision  recall      f1",
        "cat           2       0.0%    0.0%    0.0%",
        "dog           2       0.0%    0.0%    0.0%",
        "ant           2     100.0%  100.0%  100.0%",
        "",
        "  2 x cat taken for dog",
        "  2 x dog taken for cat",
    ]
    right = Predictions(["a"], ["x"], np.array([0]), np.ones((1, 1)), "test")
    assert right.summary().splitlines()[0] == "0 of 1 test pictures wrong (0.0%)"
    assert len(right.summary().splitlines()) == 4


def test_a_summary_of_many_classes_has_the_worst_ones() -> None:
    made = spread(150)
    lines = made.summary(7).splitlines()
    assert lines[0] == "210 of 3,000 validation pictures wrong (7.0%)"
    assert lines[2] == "the 7 of 150 classes with the lowest f1:"
    worst = made.per_class().sort_values("f1", kind="stable")["class"].head(7).tolist()
    assert [line.split("  ")[0] for line in lines[4:11]] == worst
    assert lines[12:] == [f"  4 x class {number} taken for class {number + 1}" for number in range(130, 137)]
    right = Predictions(["a"] * 30, list(map(str, range(30))), np.arange(30), np.eye(30))
    assert right.summary() == "0 of 30 validation pictures wrong (0.0%)"


def test_a_class_without_pictures_is_not_the_worst() -> None:
    made = Predictions(["a", "b"], list(map(str, range(30))), np.array([3, 4]), np.eye(30)[[4, 4]])
    lines = made.summary().splitlines()
    assert lines[2] == "the 2 of 30 classes with the lowest f1:"
    assert [line.split()[0] for line in lines[4:6]] == ["3", "4"]


def test_a_summary_keeps_its_lines_whatever_a_class_is_called() -> None:
    names = ["two\nlines\tand", "\x1b[31mred", "\udce4rger", "x" * 300, "=1+1", "熊貓", "שלום", "🐻"]
    made = Predictions(["a"] * 8, names, np.arange(8), np.eye(8)[[1, 0, 3, 2, 5, 4, 7, 6]])
    lines = made.summary().splitlines()
    assert len(lines) == 2 + 9 + 1 + 8
    assert "two lines and" in lines[3]
    assert "\\x1b[31mred" in lines[4]
    assert "\\udce4rger" in lines[5]
    assert "xxx...xxx" in lines[6]
    assert {text.width(line) for line in lines[2:11]} == {text.width(lines[2])}
    assert text.width(lines[2]) < 80


def test_what_it_is_in_a_line() -> None:
    made = drawn(400, 3)
    assert repr(made) == "<Predictions of 3 classes: 80 of 400 validation pictures wrong (20.0%)>"
    with pytest.raises(Error, match="part: expected valid, test, train, got 'all'"):
        Predictions(made.names, made.classes, made.labels, made.probabilities, "all")


def test_a_csv_of_very_many_probabilities_has_the_highest_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "WHOLE_CSV", 1000)
    made = drawn(40, 30)
    made.save_csv(tmp_path / "p.csv")
    read = pd.read_csv(tmp_path / "p.csv")
    others = [f"{kind}_{rank}" for rank in range(2, 6) for kind in ("class", "probability")]
    assert list(read) == ["name", "actual", "predicted", "right", "loss", "probability", *others]
    order = np.argsort(-made.probabilities, 1)
    for rank, head in ((1, "predicted"), (3, "class_3"), (5, "class_5")):
        assert read[head].tolist() == [made.classes[number] for number in order[:, rank - 1]]
    assert read["probability_5"].tolist() == pytest.approx(np.sort(made.probabilities, 1)[:, -5].tolist())
    assert list(drawn(9, 3).to_frame(5))[-4:] == ["class_2", "probability_2", "class_3", "probability_3"]


def test_neither_pandas_nor_pillow_is_imported_before_it_is_used() -> None:
    names = "trainer.results.diagnosis, trainer.results.predictions, trainer.results.multilabel, trainer.results.report"
    code = f"import sys, {names}; print({{'pandas', 'PIL', 'openpyxl'}} & sys.modules.keys())"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "set()\n"
