"""`Cutter.sampled` as one kernel of an NVIDIA GPU, in Triton, which PyTorch brings along there.

PyTorch's own operations write each of their steps to memory: 256 pictures of 224 pixels take an H200 4.4 ms, here 0.15.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 512  # pixels of a picture that are cut together


def cut(pixels: torch.Tensor, rows: torch.Tensor, size: int, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """What `Cutter.sampled` gives for the same pixels and rows, and colours as `Cutter` holds them: (1, 3, 1, 1)."""
    made: Any = torch.empty(
        (len(rows), 3, size, size), device=pixels.device, memory_format=torch.channels_last, dtype=torch.float32
    )
    grid = (len(rows), triton.cdiv(size * size, BLOCK))
    kernel: Any = _cut[grid]
    kernel(pixels.contiguous(), rows.contiguous(), made, mean.flatten(), std.flatten(), size, rows.shape[1], BLOCK)
    return made


@triton.jit
def _cut(pixels, rows, made, mean, std, size, columns, block: tl.constexpr):  # the columns of a row: see `cutting`
    picture = tl.program_id(0)
    place = tl.program_id(1) * block + tl.arange(0, block)
    inside = place < size * size
    row = rows + picture * columns
    start = tl.load(row + 1).to(tl.int64) * 1048576 + tl.load(row + 2).to(tl.int64)
    height, width = tl.load(row + 3), tl.load(row + 4)
    gain, offset = tl.load(row + 5), tl.load(row + 6)

    across = (2 * (place % size) + 1).to(tl.float32) / size - 1
    down = (2 * (place // size) + 1).to(tl.float32) / size - 1
    x = _inside(tl.load(row + 7) * across + tl.load(row + 8) * down + tl.load(row + 9), width)
    y = _inside(tl.load(row + 10) * across + tl.load(row + 11) * down + tl.load(row + 12), height)
    left, top = tl.floor(x), tl.floor(y)
    right, bottom = tl.minimum(left + 1, width - 1).to(tl.int64), tl.minimum(top + 1, height - 1).to(tl.int64)
    x, y = x - left, y - top
    upper, lower = start + top.to(tl.int64) * width.to(tl.int64), start + bottom * width.to(tl.int64)
    left = left.to(tl.int64)

    out = made + (picture.to(tl.int64) * size * size + place) * 3
    for colour in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
        above = _between(pixels, upper, left, right, x, colour, inside)
        below = _between(pixels, lower, left, right, x, colour, inside)
        deviation = tl.load(std + colour)
        scale = gain / (255 * deviation)
        shift = (0.5 + offset - 0.5 * gain - tl.load(mean + colour)) / deviation
        tl.store(out + colour, (above + (below - above) * y) * scale + shift, mask=inside)


@triton.jit
def _between(pixels, line, left, right, x, colour, inside):
    one = tl.load(pixels + (line + left) * 3 + colour, mask=inside, other=0).to(tl.float32)
    other = tl.load(pixels + (line + right) * 3 + colour, mask=inside, other=0).to(tl.float32)
    return one + (other - one) * x


@triton.jit
def _inside(place, length):
    pixel = (place + 1) * length / 2
    pixel = pixel - tl.floor(pixel / (2 * length)) * (2 * length)
    return tl.minimum(tl.maximum(tl.minimum(pixel, 2 * length - pixel) - 0.5, 0.0), length - 1)
