from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss, zero_one_loss

from sgdsheet.errors import Error
from trainer.results.predictions import Predictions, grid
from trainer.show import drawing


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
    assert read["name"].tolist() == [*names[:2], "\\udcff.jpg"]


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
    monkeypatch.setattr(drawing, "_wide_font", lambda size: None)
    assert drawing._shortened("Bär 中", 90, 13)[0] == "Bar ?"


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


def test_neither_pandas_nor_pillow_is_imported_before_it_is_used() -> None:
    names = "trainer.results.diagnosis, trainer.results.predictions, trainer.results.report"
    code = f"import sys, {names}; print({{'pandas', 'PIL', 'openpyxl'}} & sys.modules.keys())"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "set()\n"
