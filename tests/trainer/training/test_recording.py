"""A fit that is recorded: what the record says is what the run did, with all that is between a loss and a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from sgdsheet.errors import Error
from sgdsheet.recording import record
from trainer import Augment, Classifier, ImageFolder

PLAIN = Augment(scale=(0.9, 1.0), flip=0.0, rotate=0.0, zoom=1.0, lighting=0.0)
CONVOLUTION, HEAD = "0.weight[4,1,1,1]", "4.weight[1,4]"


class Small(nn.Sequential):
    def __init__(self, num_classes: int = 3, **_: Any) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
        )


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> ImageFolder:
    return ImageFolder(pictures, size=24, cache=tmp_path / "cache")


def classifier(data: ImageFolder, **options: Any) -> Classifier:
    options = {"batch_size": 16, "augment": PLAIN, "amp": False, "device": "cpu", "show": False, "record": 4} | options
    return Classifier(data, Small, **options)


def followed(rows: Any, weight: str) -> Any:
    return rows[rows["weight"] == weight].reset_index(drop=True)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "AdamW"),
        ({"amp": True}, "AdamW"),
        ({"accumulate": 2, "clip": 1e-3, "optimizer": "sgd"}, "SGD"),
        ({"ema": 0.9, "optimizer": "adam"}, "Adam"),
    ],
)
def test_a_fit_is_recorded(data: ImageFolder, tmp_path: Path, options: dict[str, Any], kind: str) -> None:
    clf = classifier(data, out=tmp_path / "run", **options)
    convolution: Any = clf.model.get_parameter("0.weight")
    begun = convolution[4, 1, 1, 1].item()
    clf.fit_one_cycle(2, lr=1e-2)
    rows = record.read(record.found(tmp_path / "run"))
    assert set(rows["optimizer"]) == {kind}
    assert set(rows["dtype"]) == {"float32"}
    own = followed(rows, CONVOLUTION)
    every = options.get("accumulate", 1)
    epoch = -(-len(clf.steps) // 2 // every)
    assert own["step"].tolist() == [*range(1, 2 * epoch + 1)]
    assert own["param"][0] == begun
    assert own["new_param"].iloc[-1] == convolution[4, 1, 1, 1].item()
    halves = clf.steps.reshape(2, -1, 3)
    losses = [half[start : start + every, 2].mean() for half in halves for start in range(0, half.shape[0], every)]
    assert own["loss"].to_numpy() == pytest.approx(losses, rel=1e-6)
    peaks = [
        half[start + min(every, half.shape[0] - start) - 1, :2]
        for half in halves
        for start in range(0, half.shape[0], every)
    ]
    assert followed(rows, HEAD)["lr"].to_numpy() == pytest.approx([lr for lr, _ in peaks])
    assert own["lr"].to_numpy() == pytest.approx([0.1 * lr for lr, _ in peaks])  # the body's
    if kind == "SGD":
        assert np.abs(rows["grad"]).max() <= 1e-3  # clipped
        assert own["momentum"].to_numpy() == pytest.approx([momentum for _, momentum in peaks])
        assert own["momentum_buffer"][0] == pytest.approx(own["grad"][0] + 0.01 * own["param"][0])


def test_two_phases_are_one_record(data: ImageFolder, tmp_path: Path) -> None:
    """Of the frozen body there is nothing until it is trained."""
    classifier(data, out=tmp_path, record=[CONVOLUTION, HEAD]).fine_tune(1, frozen_epochs=1)
    rows = record.read(record.found(tmp_path))
    steps = int(rows["step"].max()) // 2
    assert followed(rows, CONVOLUTION)["step"].tolist() == [*range(steps + 1, 2 * steps + 1)]
    assert followed(rows, HEAD)["count"].tolist() == [*range(1, steps + 1)] * 2


def test_a_run_that_goes_on_has_the_record_of_one_that_was_not_interrupted(data: ImageFolder, tmp_path: Path) -> None:
    classifier(data, out=tmp_path / "whole").fit_one_cycle(3, lr=1e-2)
    clf = classifier(data, out=tmp_path / "run")

    def stop(epoch: int, step: int, *_: Any) -> None:
        if (epoch, step) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clf.fit_one_cycle(3, lr=1e-2, stepped=stop)
    whole, cut = (record.read(record.found(tmp_path / name)) for name in ("whole", "run"))
    assert 0 < len(cut) < len(whole)  # with the steps of the epoch that will be done again
    clf._lock.release()
    with pytest.raises(Error, match="this run does not; resume with the same weights"):
        classifier(data, out=tmp_path / "run", resume=True, record=[HEAD]).fit_one_cycle(3, lr=1e-2)
    classifier(data, out=tmp_path / "run", resume=True).fit_one_cycle(3, lr=1e-2)
    assert record.read(record.found(tmp_path / "run")).equals(whole)


def test_what_cannot_be_recorded(data: ImageFolder, tmp_path: Path) -> None:
    with pytest.raises(Error, match="record: expected out as well, the folder that the record is written to"):
        classifier(data)
    with pytest.raises(Error, match="there is no parameter 'conv1.weight'"):
        classifier(data, out=tmp_path, record=["conv1.weight[0]"]).fit_one_cycle(1)
