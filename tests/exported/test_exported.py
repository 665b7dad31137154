"""Trained classifiers as workbooks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sgdsheet
from sgdsheet import book, verification
from sgdsheet.engines import engine, opened
from sgdsheet.errors import Error
from sgdsheet.exported.workbook import needed, pictured, save

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def net() -> nn.Module:
    """A small classifier whose batch norm has seen something."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 6, 6) + 1)
    return model.eval()


def typed(path: Path, pictures: np.ndarray) -> np.ndarray:
    """What a workbook says of each of the pictures that are painted into it."""
    saved, model = book.read(path), opened(engine("ironcalc"), path)
    assert model is not None
    cells = saved.blocks["painted"].references().ravel()
    found = []
    for picture in pictures:
        painted = [(saved.blocks["source"].cell(()), "painted"), *zip(cells, picture.ravel().tolist(), strict=True)]
        found.append(model.calculate(painted, saved.blocks["probability"].panels)[0].astype(float).ravel())
    return np.array(found)


@pytest.mark.parametrize(("shape", "fold"), [((6, 6), False), ((3, 6, 6), True)])
def test_the_workbook_says_what_torch_says(tmp_path: Path, shape: tuple[int, ...], fold: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, *shape))
    plain, path = net(), tmp_path / "net.xlsx"
    before = {name: each.clone() for name, each in plain.state_dict().items()}
    labels = np.arange(3).repeat(3)[:8]
    written = save(pictured(plain, MEAN, STD, fold=fold), path, pixels[:4], labels[:4], ["cat", "=dog", "cow"])
    assert all(torch.equal(each, before[name]) for name, each in plain.state_dict().items())
    assert abs(needed(pictured(plain, MEAN, STD, fold=fold), pixels[:4]).cells / written.cells - 1) < 0.3
    seen = torch.from_numpy(pixels / 255).reshape(8, -1, 6, 6).expand(8, 3, 6, 6) - torch.tensor(MEAN).double().view(
        3, 1, 1
    )
    expected = plain.double()(seen / torch.tensor(STD).double().view(3, 1, 1)).softmax(1).detach().numpy()
    assert np.abs(typed(path, pixels) - expected).max() < 1e-7  # MEAN and STD went through float32 here
    values = sgdsheet.read(path)
    assert values["predicted"] == expected[0].argmax()
    assert values["true_class"] == labels[0]
    assert any("running_mean" in name for name in values) != fold
    assert verification.verify(path, sets=1).ok


def test_what_cannot_become_a_workbook() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :3] if x.mean() > 0 else x.flatten(1)[:, :2]

    with pytest.raises(Error, match="cannot be folded: .*; leave --fold out"):
        pictured(Branches(), MEAN, STD, fold=True)
    large = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 30_000), nn.Linear(30_000, 3))
    assert not needed(pictured(large, MEAN, STD), np.zeros((1, 6, 6))).fits
