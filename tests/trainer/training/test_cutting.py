"""Cutting: what the pixels of a part are, beside an independent cut, and that every device makes the same."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.data.cache import Cache, build
from trainer.data.folder import listing
from trainer.recipe import Augment
from trainer.training import feed as feeding
from trainer.training.augment import Drawn, draw, plain
from trainer.training.cutting import Cutter, packed
from trainer.training.feed import Feed, Order

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = np.array([[48, 72], [96, 48], [48, 48], [48, 190], [8, 8]])  # heights and widths
SIZES = SHAPES[:, ::-1] * 4


def smooth(height: int, width: int) -> np.ndarray:
    """A picture whose red rises to the right and whose green rises downwards, from 0 to 255; blue is 100."""
    across, down = ((np.arange(length) + 0.5) / length * 255 for length in (width, height))
    red, green = np.broadcast_to(across, (height, width)), np.broadcast_to(down[:, None], (height, width))
    return np.stack([red, green, np.full((height, width), 100.0)], -1).round().astype(np.uint8)


def both(pictures: list[np.ndarray], drawn: Drawn, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch as a CPU cuts it, and as every other device does; colours from 0 to 255."""
    cutter = Cutter(CPU, (0, 0, 0), (1, 1, 1))
    shapes = np.array([picture.shape[:2] for picture in pictures])
    lengths = shapes.prod(1)
    pixels = torch.from_numpy(np.concatenate([picture.reshape(-1, 3) for picture in pictures]))
    rows = torch.from_numpy(packed(np.arange(len(pictures)), lengths.cumsum() - lengths, shapes, drawn))
    return cutter.each(pictures, drawn, size) * 255, cutter.sampled(pixels, rows, size) * 255


def test_the_middle_square() -> None:
    for cut in both([smooth(*shape) for shape in SHAPES[:2]], plain(SIZES[:2])):
        # What is left of the red of the wide picture is its middle two thirds; of the green of the high one, a half.
        np.testing.assert_allclose(cut[0, 0, :, [0, -1]].mean(0), (255 / 6 + 2.7, 255 * 5 / 6 - 2.7), atol=3)
        np.testing.assert_allclose(cut[1, 1, [0, -1]].mean(1), (255 / 4 + 2, 255 * 3 / 4 - 2), atol=3)
        np.testing.assert_allclose(cut[:, 2], 100, atol=0.01)


@pytest.mark.parametrize("rotate", [0, 25])
def test_both_ways_of_cutting_are_the_same(rotate: float) -> None:
    pictures = [smooth(*shape) for shape in SHAPES] * 8
    drawn = draw(Augment(rotate=rotate), np.concatenate([SIZES] * 8), np.random.default_rng(1))
    one, other = both(pictures, drawn)
    # Parts that are not turned are taken as whole stored pixels, up to 255 / 48 of a ramp each, and 32 of the tiny one.
    tiny = np.arange(len(pictures)) % 5 == 4
    assert (one - other)[~tiny].abs().max() < (4.5 if not rotate else 0.01)
    assert (one - other)[tiny].abs().max() < (32 if not rotate else 0.01)
    assert (one - other).abs().mean() < 1.5


def test_a_turn_goes_round_also_where_a_picture_is_wide() -> None:
    drawn = plain(SIZES[:1])
    turned = Drawn(drawn.boxes, np.array([np.pi / 2]), drawn.flips, drawn.gain, drawn.offset)
    for straight, cut in zip(both([smooth(48, 72)], drawn), both([smooth(48, 72)], turned), strict=True):
        sides = [torch.rot90(cut, quarter, (2, 3)) for quarter in (1, -1)]
        assert min((straight - each).abs().max() for each in sides) < 4


def test_a_part_beside_pillow() -> None:
    rng = np.random.default_rng(0)
    noise = np.array(Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((120, 90), 3))
    drawn = Drawn(np.array([[0.4, 0.6, 0.3, 0.2]]), np.zeros(1), np.array([True]), np.ones(1), np.zeros(1))
    for cut in both([noise], drawn, 48):
        part = Image.fromarray(noise).resize((48, 48), Image.Resampling.BILINEAR, box=(12, 36, 84, 72))
        found = cut[0].permute(1, 2, 0).flip(1).numpy()
        # Pillow's bilinear looks at more pixels where it makes a picture smaller.
        assert np.abs(found - np.asarray(part, dtype=float)).mean() < 1


def test_mirrored_and_lit() -> None:
    drawn, pictures = plain(SIZES[2:3]), [smooth(48, 48)]
    for number in (0, 1):
        straight = both(pictures, drawn)[number]
        torch.testing.assert_close(both(pictures, plain(SIZES[2:3], flip=True))[number].flip(3), straight)
        lit = Drawn(drawn.boxes, drawn.angles, drawn.flips, np.array([1.5]), np.array([0.1]))
        wanted = 1.5 * (straight - 127.5) + 127.5 + 25.5
        torch.testing.assert_close(both(pictures, lit)[number], wanted, rtol=0, atol=0.01)


def test_the_models_colours_go_on_and_come_off() -> None:
    pictures, drawn = [smooth(48, 48)], plain(SIZES[2:3])
    cutter = Cutter(CPU, MEAN, STD)
    cut, raw = cutter.each(pictures, drawn, 32), both(pictures, drawn)[0]
    for channel in range(3):
        torch.testing.assert_close(cut[0, channel], (raw[0, channel] / 255 - MEAN[channel]) / STD[channel])
    np.testing.assert_allclose(cutter.shown(cut)[0], raw[0].permute(1, 2, 0), atol=0.51)


def test_autocast_does_not_move_a_pixel() -> None:
    # In bfloat16 a place is known to a 256th: in a picture of 600 pixels, to two of them.
    pictures = [smooth(600, 800)]
    drawn = draw(Augment(), np.array([[800, 600]]), np.random.default_rng(0))
    plainly = both(pictures, drawn, 224)
    with torch.autocast("cpu", torch.bfloat16):
        cast = both(pictures, drawn, 224)
    for one, other in zip(plainly, cast, strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_one_kernel_gives_what_the_operations_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter runs on the CPU what an NVIDIA GPU would."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, "trainer.training.kernel", raising=False)
    from trainer.training.kernel import cut

    pictures = [smooth(*shape) for shape in SHAPES]
    lengths = SHAPES.prod(1)
    pixels = torch.from_numpy(np.concatenate([picture.reshape(-1, 3) for picture in pictures]))
    starts = lengths.cumsum() - lengths
    cutter, rng = Cutter(CPU, MEAN, STD), np.random.default_rng(1)
    for drawn in (plain(SIZES), draw(Augment(rotate=0), SIZES, rng), draw(Augment(rotate=25), SIZES, rng)):
        rows = torch.from_numpy(packed(np.arange(len(SIZES)), starts, SHAPES, drawn))
        found, expected = cut(pixels, rows, 24, cutter._mean, cutter._std), cutter.sampled(pixels, rows, 24)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        assert found.stride() == expected.stride()


def test_places_beyond_what_float32_counts_to() -> None:
    start = 3 * 2**24 + 1
    rows = torch.from_numpy(packed(np.array([7]), np.array([start]), np.array([[2, 2]]), plain(np.array([[2, 2]]))))
    pixels = torch.zeros((start + 4, 1), dtype=torch.uint8)
    pixels[start:] = 255
    cut = Cutter(CPU, (0, 0, 0), (1, 1, 1)).sampled(pixels.expand(-1, 3), rows, 2)
    torch.testing.assert_close(cut, torch.ones(1, 3, 2, 2))


def test_no_picture_is_a_batch_too() -> None:
    none = plain(SIZES[:0])
    cutter = Cutter(CPU, MEAN, STD)
    rows = torch.from_numpy(packed(np.empty(0), np.empty(0), np.empty((0, 2)), none))
    assert cutter.sampled(torch.empty((0, 3), dtype=torch.uint8), rows, 32).shape == (0, 3, 32, 32)
    assert cutter.each([], none, 32).shape == (0, 3, 32, 32)


@pytest.fixture
def cache(pictures: Path, tmp_path: Path) -> Cache:
    return build(listing(pictures), 24, folder=tmp_path)


def orders(cache: Cache, rotate: float = 10) -> list[Order]:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        numbers = rng.permutation(len(cache.starts))[: 5 + seed]
        found.append(Order(numbers, draw(Augment(rotate=rotate), cache.sizes[numbers], rng)))
    return found


def test_the_gpus_way_of_feeding_gives_what_the_cpus_gives(cache: Cache) -> None:
    cutter = Cutter(CPU, MEAN, STD)
    ways = [Feed(cache, cutter, sampled)(orders(cache), 24) for sampled in (False, True)]
    for one, other, order in zip(*ways, orders(cache), strict=True):
        np.testing.assert_array_equal(one.order.numbers, order.numbers)
        for cut in (one, other):
            np.testing.assert_array_equal(cut.numbers, order.numbers)
        torch.testing.assert_close(one.pictures, other.pictures, rtol=0, atol=1e-4)


def test_pixels_that_lie_on_the_device_are_the_same(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    monkeypatch.setattr(feeding, "PIECE", 5_000)  # so that they go there in several pieces
    some = cache.kept(np.arange(0, len(cache.starts), 3))
    kept = feeding._resident(some, CPU)
    assert kept is not None
    pixels, starts = kept
    for number, start in enumerate(starts):
        picture = some.picture(number)
        np.testing.assert_array_equal(pixels[start : start + picture.size // 3].reshape(picture.shape), picture)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**4, 10**9))
    assert feeding._resident(some, CPU) is None


def test_a_failure_of_fetching_reaches_who_asked() -> None:
    def fetch(order: Order) -> int:
        if order.numbers[0] == 2:
            raise OSError("the disk is gone")
        return order.numbers[0]

    several = (Order(np.array([number]), plain(SIZES[:1])) for number in range(5))
    found = feeding.ahead(several, fetch)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)
