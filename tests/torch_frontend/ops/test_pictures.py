"""Networks that people make pictures with, trained in cells and by torch's own loop."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F  # noqa: N812

import sgdsheet

D = torch.float64


class UNet(nn.Module):
    """One level down and up again, with the way across."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 2, 3, padding=1)
        self.below = nn.Conv2d(2, 3, 3, padding=1)
        self.right = nn.Conv2d(5, 2, 3, padding=1)
        self.out = nn.Conv2d(2, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left = self.left(x).relu()
        below = self.below(F.max_pool2d(left, 2)).relu()
        up = F.interpolate(below, scale_factor=2, mode="bilinear")
        return self.out(self.right(torch.cat([left, up], 1)).relu())


def generator() -> nn.Module:
    """DCGAN's, two levels of it."""
    return nn.Sequential(
        nn.ConvTranspose2d(3, 3, 4, 1, 0, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.ConvTranspose2d(3, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


@pytest.mark.parametrize(("make", "given"), [(UNet, (2, 1, 8, 8)), (generator, (2, 3, 1, 1))])
def test_two_steps_are_those_of_torchs_own_loop(tmp_path: Path, make: type[nn.Module], given: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, x, y = make().double(), torch.randn(given, dtype=D), torch.rand(2, 1, 8, 8, dtype=D)
    plain = copy.deepcopy(model)
    path = tmp_path / "pictures.xlsx"
    sgdsheet.compile(model, x, y, F.mse_loss, optim.SGD(model.parameters(), lr=0.5), steps=2).save(path)
    optimizer = optim.SGD(plain.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        F.mse_loss(plain(x), y).backward()
        optimizer.step()
    cells = sgdsheet.read(path)
    for name, param in plain.named_parameters():
        np.testing.assert_allclose(cells[f"2/param/{name}"], param.detach().numpy(), rtol=1e-10, atol=1e-13)
