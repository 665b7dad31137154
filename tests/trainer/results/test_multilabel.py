from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    log_loss,
    precision_recall_fscore_support,
)

from sgdsheet.errors import Error
from trainer.results.multilabel import MultiLabelPredictions
from trainer.show import text


def drawn(count: int, classes: int, seed: int = 0, ties: bool = False, thresholds: Any = 0.5) -> MultiLabelPredictions:
    """Predictions with mistakes among them; with `ties`, many probabilities are equal."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, classes)) < rng.uniform(0.05, 0.6, classes)).astype(np.int64)
    probabilities = 1 / (1 + np.exp(2.5 - 3 * labels + rng.normal(0, 1.5, labels.shape)))
    if ties:
        probabilities = probabilities.round(1)
    names = [f"folder/{number}.jpg" for number in range(count)]
    return MultiLabelPredictions(names, [f"class {n}" for n in range(classes)], labels, probabilities, thresholds)


CASES = [(1, 2, False), (60, 1, False), (300, 7, False), (300, 7, True), (40, 30, True)]


@pytest.mark.parametrize("spread", [False, True], ids=["one threshold", "a threshold each"])
@pytest.mark.parametrize(("count", "classes", "ties"), CASES)
@pytest.mark.filterwarnings("ignore:No positive class found")
def test_figures_are_those_of_sklearn(count: int, classes: int, ties: bool, spread: bool) -> None:
    thresholds = np.linspace(0.2, 0.8, classes) if spread else 0.5
    made = drawn(count, classes, ties=ties, thresholds=thresholds)
    predicted = (made.probabilities >= thresholds).astype(int)
    assert (made.predicted == predicted).all()
    assert made.error_rate == pytest.approx(hamming_loss(made.labels, predicted))
    assert made.exact_match == pytest.approx(accuracy_score(made.labels, predicted))
    # scikit-learn takes a single column for one label of two classes.
    average: Any = {"macro": "binary", "micro": "binary"} if classes == 1 else {"macro": "macro", "micro": "micro"}
    zero: Any = 0.0
    for kind in ("macro", "micro"):
        expected = f1_score(made.labels, predicted, average=average[kind], zero_division=zero)
        assert getattr(made, f"{kind}_f1") == pytest.approx(expected)
    frame = made.per_class()
    heads = ["class", "pictures", "precision", "recall", "f1", "threshold", "average_precision"]
    assert list(frame) == heads
    assert frame["threshold"].tolist() == np.broadcast_to(thresholds, (classes,)).tolist()
    for number in range(classes):
        found = frame.iloc[number]
        scores = precision_recall_fscore_support(
            made.labels[:, number],
            predicted[:, number],
            average="binary",
            zero_division=zero,
        )
        assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(scores[:3])
        assert found["pictures"] == made.labels[:, number].sum()
        if found["pictures"]:
            expected = average_precision_score(made.labels[:, number], made.probabilities[:, number])
            assert found["average_precision"] == pytest.approx(expected)
        else:
            assert np.isnan(found["average_precision"])
    assert made.losses.shape == (count,)
    expected = log_loss(made.labels.ravel(), made.probabilities.ravel().clip(1e-12, 1 - 1e-12), labels=[0, 1])
    if not ties:
        assert made.losses.mean() == pytest.approx(expected)


def test_the_mean_average_precision_is_over_the_classes_that_are_there() -> None:
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    made = MultiLabelPredictions(["a", "b", "c"], ["x", "y", "z"], labels, drawn(3, 3).probabilities)
    expected = average_precision_score(labels[:, :2], made.probabilities[:, :2], average="macro")
    assert made.mean_average_precision == pytest.approx(expected)
    none = MultiLabelPredictions(["a"], ["x"], np.zeros((1, 1)), np.ones((1, 1)))
    assert np.isnan(none.mean_average_precision)
    assert none.micro_f1 == none.macro_f1 == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_is_finite_and_not_below_0(dtype: Any) -> None:
    made = MultiLabelPredictions(["a", "b"], ["x"], np.array([[0], [1]]), np.array([[1], [1]], dtype))
    assert made.losses == pytest.approx([87.3365, 0], abs=1e-3)
    assert (made.losses >= 0).all()


@pytest.mark.parametrize(("count", "classes", "ties"), CASES)
def test_the_best_thresholds_are_the_best_of_all(count: int, classes: int, ties: bool) -> None:
    made = drawn(count, classes, seed=3, ties=ties)
    best = made.best_thresholds()
    assert best.shape == (classes,)
    chosen = made.with_thresholds(best)
    assert (np.asarray(chosen.thresholds) == best).all()
    for number in range(classes):
        labels, given = made.labels[:, number], made.probabilities[:, number]
        if not labels.any():
            assert best[number] == 0.5
            continue
        seen = given >= np.array([*given, *np.linspace(0, 1, 101)])[:, None]
        found = 2 * (seen & (labels == 1)).sum(1) / (seen.sum(1) + labels.sum())
        assert f1_score(labels, chosen.predicted[:, number]) == pytest.approx(found.max())
        # It lies between probabilities, so that no rounding moves a picture.
        assert best[number] not in given


def test_thresholds_of_probabilities_that_nothing_lies_between() -> None:
    above = np.nextafter(0.3, 1)
    made = MultiLabelPredictions(["a", "b"], ["x"], np.array([[1], [0]]), np.array([[above], [0.3]]))
    assert made.with_thresholds(made.best_thresholds()).error_rate == 0
    every = MultiLabelPredictions(["a", "b"], ["x"], np.array([[1], [1]]), np.array([[0.0], [1.0]]))
    assert every.with_thresholds(every.best_thresholds()).error_rate == 0


def test_thresholds_are_judged_on_other_pictures() -> None:
    both = drawn(1200, 5, seed=1)
    valid, test = (
        MultiLabelPredictions(both.names[half], both.classes, both.labels[half], both.probabilities[half], part=part)
        for half, part in ((slice(600), "valid"), (slice(600, None), "test"))
    )
    judged = test.with_thresholds(valid.best_thresholds())
    assert judged.macro_f1 > test.macro_f1
    assert judged.part == "test"


def small() -> MultiLabelPredictions:
    labels = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    probabilities = np.array([[0.9, 0.8, 0.1], [0.1, 0.4, 0.2], [0.7, 0.1, 0.3]])
    return MultiLabelPredictions(["a.png", "b.png", "c.png"], ["clear", "water", "loss"], labels, probabilities)


def test_to_frame_and_csv(tmp_path: Path) -> None:
    made = small()
    frame = made.to_frame()
    heads = ["name", "actual", "predicted", "wrong", "loss", "clear", "water", "probability of loss"]
    assert list(frame) == heads
    assert frame["actual"].tolist() == ["clear | water", "", "loss"]
    assert frame["predicted"].tolist() == ["clear | water", "", "clear"]
    assert frame["wrong"].tolist() == [0, 0, 2]
    made.save_csv(tmp_path / "p.csv")
    read = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert read["actual"].tolist() == frame["actual"].tolist()
    assert read["probability of loss"].tolist() == [0.1, 0.2, 0.3]


def test_top_losses_as_a_table_and_as_pictures() -> None:
    made = small()
    rows = made.top_losses(2)
    assert list(rows) == ["name", "actual", "predicted", "wrong", "loss"]
    assert rows["name"].tolist() == ["c.png", "b.png"]
    expected = -np.log([0.3, 0.9, 0.3]).mean()
    assert rows["loss"][0] == pytest.approx(expected)
    asked = []

    def opened(name: str) -> Image.Image:
        asked.append(name)
        if name == "b.png":
            raise FileNotFoundError(2, "No such file or directory")
        return Image.new("RGB", (20, 30), "green")

    picture = made.show_top_losses(opened)
    assert asked == ["c.png", "b.png", "a.png"]
    assert picture.getpixel((110, 110)) == (0, 128, 0)
    assert picture.getpixel((230, 20)) == (225, 228, 232)


def test_a_summary() -> None:
    assert small().summary().splitlines() == [
        "2 of 9 decisions wrong (22.2%), 66.7% of 3 validation pictures without any",
        "macro F1 55.6%, micro F1 66.7%, mean average precision 100.0%",
        "",
        "class  pictures  precision  recall      f1  threshold  average_precision",
        "clear         1      50.0%  100.0%   66.7%      50.0%             100.0%",
        "water         1     100.0%  100.0%  100.0%      50.0%             100.0%",
        "loss          1       0.0%    0.0%    0.0%      50.0%             100.0%",
    ]
    assert repr(small()).startswith("<MultiLabelPredictions of 3 classes: 2 of 9 decisions wrong")
    lines = drawn(200, 40).summary(6).splitlines()
    assert lines[3] == "the 6 of 40 classes with the lowest f1:"
    assert len(lines) == 11
    assert len({text.width(line) for line in lines[4:]}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((3, 2))}, "labels of shape"),
        ({"labels": np.full((3, 3), 2)}, "labels of 0 and 1"),
        ({"labels": np.full((3, 3), np.nan)}, "labels of 0 and 1"),
        ({"probabilities": np.full((3, 3), 1.5)}, "probabilities from 0 to 1, got 1.5"),
        ({"probabilities": np.full((3, 3), np.nan)}, "not finite"),
        ({"thresholds": np.full(2, 0.5)}, "one for each of 3 classes, got"),
        ({"thresholds": 1.5}, "thresholds from 0 to 1"),
        ({"thresholds": np.nan}, "thresholds from 0 to 1"),
        ({"part": "all"}, "part: expected valid, test, train"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    made = small()
    given: dict[str, Any] = {"labels": made.labels, "probabilities": made.probabilities} | change
    with pytest.raises(Error, match=message):
        MultiLabelPredictions(made.names, made.classes, **given)
