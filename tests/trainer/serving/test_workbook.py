"""A run's classifier as a workbook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import sgdsheet
from sgdsheet.cli import main as sheets
from trainer.cleaning import run as runs
from trainer.cli import main
from trainer.models.own import from_file
from trainer.training import loop

MODELS = """
from torch import nn

def Net(num_classes):
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, num_classes))

def Large(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16_000), nn.Linear(16_000, num_classes))
"""


def called(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "small.py"
    path.write_text(MODELS, encoding="utf-8")
    return path


def fitted(pictures: Path, arch: str, out: Path) -> Path:
    how = ["--weights", "none", "--size", 8, "--epochs", 1, "--batch-size", 16, "--device", "cpu"]
    made = called("fit", pictures, "--arch", arch, "--out", out, "--cache", out.parent / "cache", *how)
    assert made.exit_code == 0, made.output
    return out


def test_it_says_what_validation_said(pictures: Path, models: Path, tmp_path: Path) -> None:
    run, path = fitted(pictures, f"{models}:Net", tmp_path / "run"), tmp_path / "net.xlsx"
    made = called("export-workbook", run, "-o", path, "--pictures", 3)
    assert made.exit_code == 2
    assert "is one of yours" in made.output
    made = called("export-workbook", run, "-o", path, "--arch", f"{models}:Net", "--pictures", 3)
    assert made.exit_code == 0, made.output
    assert "at 8 x 8 pixels: about " in made.output
    opened = runs.opened(run, show=False, arch=from_file(f"{models}:Net"))
    chosen = opened.setup.data.valid[:1]
    said = loop.probabilities(opened.setup, loop.outputs(opened.model, opened.setup, chosen))  # in float32
    values = sgdsheet.read(path)
    assert values["held_pixels"].shape == (3, 3, 8, 8)
    np.testing.assert_allclose(values["probability"], np.asarray(said)[0], atol=1e-5)
    assert values["true_class"] == int(opened.setup.data.labels[chosen[0]])


def test_what_is_too_large_is_refused(pictures: Path, models: Path, tmp_path: Path) -> None:
    run, path = fitted(pictures, f"{models}:Large", tmp_path / "run"), tmp_path / "large.xlsx"
    arguments = ["export-classifier", str(run), "-o", str(path), "--arch", f"{models}:Large"]
    made = CliRunner().invoke(sheets, arguments)
    assert made.exit_code == 2
    assert "cells, and 3,000,000 is the most; train a smaller model on smaller pictures" in made.output
    assert not path.exists()
    assert "no class or function 'Nett'" in called("fit", pictures, "--arch", f"{models}:Nett").output
