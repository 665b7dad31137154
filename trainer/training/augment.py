"""What is drawn for a batch of pictures: which part of each is taken, how it is turned, mirrored, lit and mixed.

Everything random is drawn here, from a seed, as a few numbers a picture; the pixels follow from them (see `cutting`).
So the same seed gives the same pictures on a CPU, on a GPU and on several of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.recipe import Augment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Drawn:
    """What was drawn for a batch of n pictures.

    `boxes` is (n, 4): the middle (x, y) and half the width and height of the part to take, as shares of the picture's
    own width and height. `angles` are radians. `gain` and `offset` are the lighting: pixels from 0 to 1 become
    `gain * (pixel - 0.5) + 0.5 + offset`. `share` is how much of the picture itself is left in a mix with the one that
    stands opposite in the batch, 1 for all of it; `patch` is (left, top, right, bottom) in shares of the side, for
    cutmix, else None.
    """

    boxes: np.ndarray
    angles: np.ndarray
    flips: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    share: float = 1.0
    patch: tuple[float, float, float, float] | None = None

    def rows(self, places: np.ndarray | slice) -> Drawn:
        """What was drawn for the pictures at these places in the batch."""
        each = (self.boxes, self.angles, self.flips, self.gain, self.offset)
        boxes, angles, flips, gain, offset = (array[places] for array in each)
        return Drawn(boxes, angles, flips, gain, offset, self.share, self.patch)

    def affine(self, shapes: np.ndarray) -> np.ndarray:
        """Where in a picture each pixel of the part comes from: (n, 2, 3), as `affine_grid` takes it.

        Places run from -1 to 1 over the part and over the whole picture. `shapes` (n, 2) are heights and widths, in
        whose proportions a turn goes round.
        """
        middle, half = 2 * self.boxes[:, :2] - 1, 2 * self.boxes[:, 2:]
        sign = np.where(self.flips, -1.0, 1.0)
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        ratio = shapes[:, 1] / shapes[:, 0]
        rows = [
            [half[:, 0] * cos * sign, -half[:, 1] / ratio * sin, middle[:, 0]],
            [half[:, 0] * ratio * sin * sign, half[:, 1] * cos, middle[:, 1]],
        ]
        return np.stack([np.stack(row, -1) for row in rows], 1)


def draw(augment: Augment, sizes: np.ndarray, rng: np.random.Generator) -> Drawn:
    """Draws for pictures of these (n, 2) widths and heights."""
    count = len(sizes)
    area = rng.uniform(*augment.scale, count) / rng.uniform(1.0, augment.zoom, count) ** 2
    ratio = np.exp(rng.uniform(math.log(augment.ratio[0]), math.log(augment.ratio[1]), count))
    width, height = sizes[:, 0].astype(float), sizes[:, 1].astype(float)
    half = np.sqrt(area * width * height * np.stack([ratio, 1 / ratio])) / 2
    half = np.minimum(half / np.stack([width, height]), 0.5).T
    middle = 0.5 + rng.uniform(-1, 1, (count, 2)) * (0.5 - half)
    share, patch = _mixed(augment, rng)
    return Drawn(
        np.concatenate([middle, half], axis=1),
        np.deg2rad(rng.uniform(-augment.rotate, augment.rotate, count)),
        rng.random(count) < augment.flip,
        np.exp(rng.uniform(-1, 1, count) * math.log1p(augment.lighting)),
        rng.uniform(-0.5, 0.5, count) * augment.lighting,
        share,
        patch,
    )


def plain(sizes: np.ndarray, flip: bool = False) -> Drawn:
    """For validation: the largest square in the middle, as it is or mirrored."""
    count = len(sizes)
    half = sizes.min(axis=1, keepdims=True) / sizes / 2
    zeros = np.zeros(count)
    boxes = np.concatenate([np.full((count, 2), 0.5), half], axis=1)
    return Drawn(boxes, zeros, np.full(count, flip), zeros + 1, zeros)


def _mixed(augment: Augment, rng: np.random.Generator) -> tuple[float, tuple[float, float, float, float] | None]:
    cut = augment.cutmix > 0 and (augment.mixup <= 0 or rng.random() < 0.5)
    alpha = augment.cutmix if cut else augment.mixup
    if alpha <= 0:
        return 1.0, None
    share = float(rng.beta(alpha, alpha))
    if not cut:
        return share, None
    half, (x, y) = math.sqrt(1 - share) / 2, rng.random(2)
    return share, (max(0.0, x - half), max(0.0, y - half), min(1.0, x + half), min(1.0, y + half))


def mix(
    own: torch.Tensor, other: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, drawn: Drawn
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (n, 3, side, side) mixed with the ones opposite them in the batch, and their labels (n, classes) too.

    `labels` and `others` are probabilities: 1 for what a picture shows.
    """
    share = drawn.share
    if drawn.patch is None:
        return own.lerp(other, 1 - share), labels.lerp(others, 1 - share)
    side = own.shape[-1]
    left, top, right, bottom = (round(each * side) for each in drawn.patch)
    mixed = own.clone()
    mixed[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return mixed, labels.lerp(others, (right - left) * (bottom - top) / side**2)
