"""The lesson `classifier`: what one paints, what it answers, and how often it is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sgdsheet
from sgdsheet.engines.libreoffice import find_soffice
from sgdsheet.lessons import train_classifier
from sgdsheet.lessons.classifier import CLASSIFIER, WEIGHTS
from sgdsheet.lessons.data import Source
from sgdsheet.lessons.pictures import digits, held_out

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]

needs_soffice = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


def network() -> torch.nn.Module:
    """The same network from torch's modules, with the stored weights."""
    weights = {name: torch.tensor(array) for name, array in json.loads(WEIGHTS.read_text()).items()}
    conv, dense = torch.nn.Conv2d(1, 6, 3), torch.nn.Linear(54, 10)
    net = torch.nn.Sequential(conv, torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), dense)
    with torch.no_grad():
        conv.weight.copy_(weights["conv_weight"].unsqueeze(1))
        conv.bias.copy_(weights["conv_bias"])  # type: ignore[union-attr]
        dense.weight.copy_(weights["dense_weight"].flatten(1))
        dense.bias.copy_(weights["dense_bias"])
    return net


def test_its_accuracy_is_torchs(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("classifier"))
    pixels, labels = digits()
    held = held_out(len(labels))
    assert held.sum() >= 300
    with torch.no_grad():
        predicted = network()(torch.tensor(pixels[held] / 16, dtype=torch.float32)[:, None]).argmax(1).numpy()
    right = int((predicted == labels[held]).sum())
    assert right / held.sum() >= 0.97
    assert blocks["right"] == right
    assert blocks["accuracy"] == pytest.approx(right / held.sum())
    np.testing.assert_array_equal(blocks["held_predicted"], predicted)
    wrong = np.flatnonzero(predicted != labels[held])
    assert len(wrong) == 6
    np.testing.assert_array_equal(blocks["misread_number"][:6], wrong + 1)
    np.testing.assert_array_equal(blocks["misread"][:6], pixels[held][wrong])
    np.testing.assert_array_equal(blocks["misread_is"][:6], labels[held][wrong])
    np.testing.assert_array_equal(blocks["misread_as"][:6], predicted[wrong])
    assert (blocks["misread_number"][6:] == -1).all()
    assert blocks["true_digit"] == -1, "nobody knows what was painted"
    assert blocks["confusion"].sum() == held.sum()
    assert np.trace(blocks["confusion"]) == right


def test_training_again_gives_weights_as_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Not the same to the last digit on every processor, but to what a reader would notice."""
    monkeypatch.setattr(train_classifier, "WEIGHTS", tmp_path / "weights.json")
    train_classifier.main()
    right, _, total = capsys.readouterr().out.split(": ")[1].split()[:3]
    assert int(right) / int(total) >= 0.97
    again, stored = json.loads((tmp_path / "weights.json").read_text()), json.loads(WEIGHTS.read_text())
    assert {name: np.shape(array) for name, array in again.items()} == {
        name: np.shape(array) for name, array in stored.items()
    }


@pytest.mark.parametrize("engine", ["ironcalc", pytest.param("libreoffice", marks=needs_soffice)])
def test_probabilities_follow_the_pixels(workbook: Workbook, edited: Edit, engine: str) -> None:
    before = sgdsheet.read(workbook("few"), engine)
    pixels, labels = digits()
    other = next(place for place in range(100) if labels[place] != before["predicted"])
    painted = {("painted", place): float(value) for place, value in enumerate(pixels[other].reshape(-1))}
    after = sgdsheet.read(edited("few", painted), engine)
    assert after["predicted"] == labels[other]
    assert after["probability"].sum() == pytest.approx(1)
    assert np.abs(after["probability"] - before["probability"]).max() > 0.5


def test_a_held_out_digit_goes_through(edited: Edit) -> None:
    path = edited("few", {"source": "held out", "digit": 9, ("held_pixels", 8 * 64 + 20): 3})
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    np.testing.assert_array_equal(blocks["picture"], blocks["held_pixels"][-1])
    assert blocks["true_digit"] == blocks["held_label"][-1]
    np.testing.assert_allclose(blocks["logits"], blocks["held_logits"][-1], atol=1e-12)


def test_agrees_after_changes_of_weights(edited: Edit) -> None:
    changes = {("conv_weight", 0): 0, ("conv_bias", 5): 3, ("dense_weight", 539): -2.5, ("dense_bias", 9): 700}
    assert bad(edited("few", changes)) == {}


def test_a_number_beyond_the_digits(edited: Edit) -> None:
    with pytest.raises(sgdsheet.Error, match="expected one of the 9 held-out digits, got 10"):
        sgdsheet.verify(edited("few", {"digit": 10}))


def test_a_picture_is_painted_in_ink(tmp_path: Path, edited: Edit) -> None:
    picture = np.full((16, 16), 255, dtype=np.uint8)
    picture[:, 6:10] = 0  # a dark stroke on white paper
    image = tmp_path / "one.png"
    Image.fromarray(picture).save(image)
    painted = CLASSIFIER.load(Source(image=image))["painted"]
    assert painted[4, 3] >= 14
    assert painted[4, 0] == 0
    path = edited("few", {("painted", place): float(ink) for place, ink in enumerate(painted.reshape(-1))})
    assert sgdsheet.read(path)["predicted"] == 1
    assert bad(path) == {}
