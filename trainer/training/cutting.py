"""Making batches from stored pictures: parts cut, turned, lit and normalised, on whatever device trains.

On a CPU each picture is cut by itself, by threads, from where it lies in the mapped file. On any other device the whole
batch is sampled at once from pixels that lie there (see `feed`); all that was drawn for it is then one array of float32
numbers, a row a picture, which goes to the device in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

from trainer.training.augment import Drawn, plain

# The columns of a row. A place among the pixels may be beyond what float32 can count to, so it stands in two numbers.
NUMBER, START, REST, HEIGHT, WIDTH, GAIN, OFFSET = range(7)
AFFINE = slice(7, 13)
COLUMNS = 13
PLACES = 2**20


def packed(numbers: np.ndarray, starts: np.ndarray, shapes: np.ndarray, drawn: Drawn) -> np.ndarray:
    """All that there is to know of n pictures of a batch: float32 (n, 13).

    `numbers` (n) are the pictures', `starts` (n) say at which pixel each begins, `shapes` (n, 2) are heights, widths.
    """
    rows = np.empty((len(numbers), COLUMNS), dtype=np.float32)
    rows[:, NUMBER] = numbers
    rows[:, START], rows[:, REST] = np.divmod(starts, PLACES)
    rows[:, HEIGHT], rows[:, WIDTH] = shapes.T
    rows[:, GAIN], rows[:, OFFSET] = drawn.gain, drawn.offset
    rows[:, AFFINE] = drawn.affine(shapes).reshape(-1, 6)
    return rows


class Cutter:
    """Cuts parts out of stored pictures as squares of `size` pixels, normalised to a model's colours.

    `mean` and `std` are the colours' that the model expects, of values from 0 to 1, for red, green and blue. What it
    makes is float32, channels last.
    """

    def __init__(self, device: torch.device, mean: Sequence[float], std: Sequence[float]) -> None:
        self.device = device
        self._mean, self._std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (mean, std))
        self._threads = ThreadPoolExecutor(torch.get_num_threads())
        self._kernel = _kernel(device)

    def each(self, pictures: Sequence[np.ndarray], drawn: Drawn, size: int) -> torch.Tensor:
        """A batch (n, 3, size, size) from pictures uint8 (height, width, 3), one by one, on a CPU.

        Parts that are not turned are resized in uint8, which takes less than half the time of sampling floats; their
        edges are rounded to whole stored pixels, and colours to 1/255.
        """
        cut = torch.empty((len(pictures), 3, size, size), memory_format=torch.channels_last)
        low, high = drawn.boxes[:, :2] - drawn.boxes[:, 2:], drawn.boxes[:, :2] + drawn.boxes[:, 2:]
        shapes = np.array([picture.shape[:2] for picture in pictures]).reshape(-1, 2)
        theta = torch.from_numpy(drawn.affine(shapes)).float()

        def one(number: int) -> None:
            picture = torch.from_numpy(pictures[number]).permute(2, 0, 1)[None]
            if drawn.angles[number]:
                grid = affine_grid(theta[number : number + 1], [1, 3, size, size], align_corners=False)
                part = grid_sample(picture.float(), grid, "bilinear", "reflection", align_corners=False)
            else:
                (height, width), (left, top), (right, bottom) = shapes[number], low[number], high[number]
                x, y = round(left * width), round(top * height)
                wide, high_ = max(1, round(right * width) - x), max(1, round(bottom * height) - y)
                part = picture[:, :, y : y + high_, x : x + wide]
                part = interpolate(part, (size, size), mode="bilinear", align_corners=False)
                part = part.flip(3) if drawn.flips[number] else part
            cut[number] = part[0]

        with torch.autocast("cpu", enabled=False):
            list(self._threads.map(one, range(len(pictures))))
            gain, offset = (torch.from_numpy(each).float() for each in (drawn.gain, drawn.offset))
            return self._lit(cut, gain, offset)

    def sampled(self, pixels: torch.Tensor, rows: torch.Tensor, size: int) -> torch.Tensor:
        """A batch (n, 3, size, size) from pixels uint8 (m, 3) and what `packed` has made, both on the device.

        Each pixel is taken between the four that it lies among; beyond its edges a picture is mirrored.
        """
        if not len(rows):
            return torch.empty((0, 3, size, size), device=self.device)
        if self._kernel is not None:
            return self._kernel(pixels, rows, size, self._mean, self._std)
        with torch.autocast(self.device.type, enabled=False):  # a place in bfloat16 would be off by half a pixel
            grid = affine_grid(rows[:, AFFINE].view(-1, 2, 3), [len(rows), 3, size, size], align_corners=False)
            height, width = (rows[:, column].view(-1, 1, 1) for column in (HEIGHT, WIDTH))
            x, y = _inside(grid[..., 0], width), _inside(grid[..., 1], height)
            left, top = x.floor(), y.floor()
            right, bottom = torch.minimum(left + 1, width - 1).long(), torch.minimum(top + 1, height - 1).long()
            start = (rows[:, START].long() * PLACES + rows[:, REST].long()).view(-1, 1, 1)
            across, down = (x - left).unsqueeze(-1), (y - top).unsqueeze(-1)
            upper, lower = (start + edge * width.long() for edge in (top.long(), bottom))
            taken = [pixels[row + column].float() for row in (upper, lower) for column in (left.long(), right)]
            above, below = torch.lerp(taken[0], taken[1], across), torch.lerp(taken[2], taken[3], across)
            cut = torch.lerp(above, below, down).permute(0, 3, 1, 2)
            return self._lit(cut, rows[:, GAIN], rows[:, OFFSET])

    def _lit(self, cut: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        """Lighting and normalisation in one multiplication and one addition."""
        gain, offset = gain.view(-1, 1, 1, 1), offset.view(-1, 1, 1, 1)
        scale, shift = gain / (255 * self._std), (0.5 + offset - 0.5 * gain - self._mean) / self._std
        return torch.addcmul(shift, cut, scale).contiguous(memory_format=torch.channels_last)

    def shown(self, batch: torch.Tensor) -> np.ndarray:
        """A batch as uint8 (n, size, size, 3): the normalisation undone, for somebody to look at."""
        pixels = ((batch.float() * self._std + self._mean).clamp(0, 1) * 255).round().byte()
        return pixels.permute(0, 2, 3, 1).cpu().numpy()


def _kernel(device: torch.device) -> Callable[..., torch.Tensor] | None:
    """One kernel that samples a batch, for a GPU on which Triton can make it: that takes Triton and a C compiler."""
    if device.type != "cuda" or find_spec("triton") is None:
        return None
    try:
        from trainer.training.kernel import cut

        one = plain(np.ones((1, 2)))
        rows = torch.from_numpy(packed(np.zeros(1), np.zeros(1), np.ones((1, 2)), one)).to(device)
        colours = torch.ones(3, device=device)
        cut(torch.zeros((1, 3), dtype=torch.uint8, device=device), rows, 1, colours, colours)
    except Exception:  # whatever is missing, there is another way
        return None
    return cut


def _inside(place: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Places from -1 to 1 as places between pixels, 0 to `length` - 1; what lies beyond an edge is mirrored at it."""
    pixel = ((place + 1) * length / 2).remainder(2 * length)
    return (torch.minimum(pixel, 2 * length - pixel) - 0.5).clamp_min(0).minimum(length - 1)
