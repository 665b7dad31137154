"""Cutting, turning and lighting pictures, a batch at a time, on whatever device trains.

Everything random is drawn first, from a seed, as a few numbers a picture; the pixels follow from them. So the same seed
gives the same pictures on a CPU, on a GPU and on several of them.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

from sgdsheet.errors import Error, require

# The mean and standard deviation of ImageNet's colours, which pretrained models expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Augment:
    """What is done to a picture in training.

    A random resized crop takes a part of `scale` (least and most share of the area) and `ratio` (width to height).
    `flip` is the chance to mirror it, `rotate` the most it is turned, in degrees, `zoom` the most it is enlarged
    besides, and `lighting` how far contrast and brightness go from 1 and 0. `mixup` and `cutmix` are the alpha of their
    beta distributions, 0 for none (https://arxiv.org/abs/1710.09412, https://arxiv.org/abs/1905.04899).
    """

    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rotate: float = 10.0
    zoom: float = 1.1
    lighting: float = 0.2
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high), most in (("scale", self.scale, 1), ("ratio", self.ratio, math.inf)):
            if not 0 < low <= high <= most:
                raise Error(
                    f"{name}: expected two numbers above 0 and up to {most:g}, the smaller first, got {low}, {high}"
                )
        require(self.flip, "flip", 0, 1)
        require(self.rotate, "rotate", 0, 180)
        require(self.zoom, "zoom", 1)
        require(self.lighting, "lighting", 0)
        require(self.mixup, "mixup", 0)
        require(self.cutmix, "cutmix", 0)


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

    def part(self, start: int, stop: int) -> Drawn:
        """What was drawn for the pictures from `start` to `stop`."""
        each = (self.boxes, self.angles, self.flips, self.gain, self.offset)
        boxes, angles, flips, gain, offset = (array[start:stop] for array in each)
        return Drawn(boxes, angles, flips, gain, offset, self.share, self.patch)


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


def plain(sizes: np.ndarray) -> Drawn:
    """For validation: the largest square in the middle, as it is."""
    count = len(sizes)
    half = sizes.min(axis=1, keepdims=True) / sizes / 2
    zeros = np.zeros(count)
    return Drawn(np.concatenate([np.full((count, 2), 0.5), half], axis=1), zeros, zeros > 0, zeros + 1, zeros)


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


class Cutter:
    """Makes batches for a model from stored pictures, on a device, in a dtype."""

    def __init__(
        self,
        size: int,
        device: torch.device,
        colours: tuple[tuple[float, ...], tuple[float, ...]] = (MEAN, STD),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.size, self.device, self.dtype = size, device, dtype
        self._threads = ThreadPoolExecutor(torch.get_num_threads()) if device.type == "cpu" else None
        self._mean, self._std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in colours)

    def __call__(self, pictures: np.ndarray | torch.Tensor, sizes: np.ndarray, drawn: Drawn) -> torch.Tensor:
        """A batch (n, 3, size, size), normalised, channels last, from uint8 (n, side, side, 3).

        On a CPU, parts that are not turned are resized one by one in uint8, which takes less than half the time of
        sampling a batch of floats; their edges are rounded to whole stored pixels, and colours to 1/255.
        """
        stored = torch.as_tensor(pictures)
        if self._threads is not None and not drawn.angles.any():
            cut = self._resized(stored, drawn)
        else:
            cut = self._sampled(stored.to(self.device, non_blocking=True), sizes, drawn)
        return self._lit(cut, drawn)

    def _resized(self, stored: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        count, side = len(stored), stored.shape[1]
        cut = torch.empty((count, 3, self.size, self.size), dtype=torch.uint8, memory_format=torch.channels_last)
        low = np.round((drawn.boxes[:, :2] - drawn.boxes[:, 2:]) * side).astype(int)
        high = np.maximum(np.round((drawn.boxes[:, :2] + drawn.boxes[:, 2:]) * side).astype(int), low + 1)

        def resize(numbers: range) -> None:
            for number in numbers:
                (left, top), (right, bottom) = low[number], high[number]
                part = stored[number, top:bottom, left:right].permute(2, 0, 1)[None]
                part = interpolate(part, (self.size, self.size), mode="bilinear", align_corners=False)[0]
                cut[number] = part.flip(2) if drawn.flips[number] else part

        assert self._threads is not None
        workers = self._threads._max_workers
        list(self._threads.map(resize, (range(each, count, workers) for each in range(workers))))
        return cut

    def _sampled(self, stored: torch.Tensor, sizes: np.ndarray, drawn: Drawn) -> torch.Tensor:
        """The parts from the batch as a whole: where each pixel of the result comes from is a linear function."""
        middle, half = 2 * drawn.boxes[:, :2] - 1, 2 * drawn.boxes[:, 2:]
        sign = np.where(drawn.flips, -1.0, 1.0)
        cos, sin = np.cos(drawn.angles), np.sin(drawn.angles)
        shape = sizes[:, 0] / sizes[:, 1]
        rows = [
            [half[:, 0] * cos * sign, -half[:, 1] / shape * sin, middle[:, 0]],
            [half[:, 0] * shape * sin * sign, half[:, 1] * cos, middle[:, 1]],
        ]
        theta = torch.from_numpy(np.stack([np.stack(row, -1) for row in rows], 1)).float().to(self.device)
        grid = affine_grid(theta, [len(stored), 3, self.size, self.size], align_corners=False)
        pixels = stored.permute(0, 3, 1, 2).contiguous().float()
        return grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def _lit(self, cut: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Lighting and normalisation in one multiplication and one addition."""
        gain = torch.from_numpy(drawn.gain).float().to(self.device).view(-1, 1, 1, 1)
        offset = torch.from_numpy(0.5 + drawn.offset - 0.5 * drawn.gain).float().to(self.device).view(-1, 1, 1, 1)
        scale, shift = gain / (255 * self._std), (offset - self._mean) / self._std
        return torch.addcmul(shift, cut, scale).to(self.dtype, memory_format=torch.channels_last)


def mix(batch: torch.Tensor, labels: torch.Tensor, classes: int, drawn: Drawn) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture mixed with the one opposite it in the batch, and the labels as probabilities (n, classes)."""
    right = torch.nn.functional.one_hot(labels, classes).to(batch.dtype)
    if drawn.share == 1.0:
        return batch, right
    other, share = batch.flip(0), drawn.share
    if drawn.patch is None:
        mixed = torch.lerp(other, batch, share)
    else:
        side = batch.shape[-1]
        left, top, edge, bottom = (round(each * side) for each in drawn.patch)
        mixed = batch.clone()
        mixed[:, :, top:bottom, left:edge] = other[:, :, top:bottom, left:edge]
        share = 1 - (edge - left) * (bottom - top) / side**2
    return mixed, torch.lerp(right.flip(0), right, share)


def shown(batch: torch.Tensor) -> list[Any]:
    """A batch as Pillow pictures, the normalisation undone."""
    from PIL import Image

    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    pixels = ((batch.float().cpu() * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(each) for each in pixels]
