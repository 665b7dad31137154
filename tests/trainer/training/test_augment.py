"""What is cut from pictures: where it lies, what is done to its pixels, and that only the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.training.augment import MEAN, STD, Augment, Cutter, Drawn, draw, mix, plain

CPU = torch.device("cpu")
SIZES = np.array([[300, 200], [120, 480], [64, 64], [1000, 90]] * 25)


def smooth(count: int, side: int = 48) -> np.ndarray:
    """Pictures whose red rises to the right and whose green rises downwards, from 0 to 255; blue is 100."""
    ramp = np.round((np.arange(side) + 0.5) / side * 255)
    picture = np.stack([np.broadcast_to(ramp, (side, side)), np.broadcast_to(ramp[:, None], (side, side))], -1)
    picture = np.concatenate([picture, np.full((side, side, 1), 100.0)], -1)
    return np.broadcast_to(picture, (count, side, side, 3)).astype(np.uint8)


def colours(batch: torch.Tensor) -> torch.Tensor:
    """The batch with colours from 0 to 255 again."""
    std, mean = (torch.tensor(each).view(3, 1, 1) for each in (STD, MEAN))
    return (batch * std + mean) * 255


def taken(drawn: Drawn, number: int) -> tuple[float, float, float, float]:
    x, y, width, height = drawn.boxes[number]
    return x - width, y - height, x + width, y + height


def test_parts_lie_inside_and_have_the_right_size_and_shape() -> None:
    drawn = draw(Augment(scale=(0.35, 1), zoom=1), SIZES, np.random.default_rng(0))
    for number, (width, height) in enumerate(SIZES):
        left, top, right, bottom = taken(drawn, number)
        assert -1e-12 <= left < right <= 1 + 1e-12
        assert -1e-12 <= top < bottom <= 1 + 1e-12
        if width == height == 64:
            assert 0.35 * 0.7 < (right - left) * (bottom - top) <= 1
            ratio = (right - left) * width / ((bottom - top) * height)
            assert 3 / 4 - 1e-9 <= ratio <= 4 / 3 + 1e-9


def test_the_middle_square_for_validation() -> None:
    drawn = plain(SIZES[:2])
    np.testing.assert_allclose(taken(drawn, 0), (1 / 6, 0, 5 / 6, 1))
    np.testing.assert_allclose(taken(drawn, 1), (0, 3 / 8, 1, 5 / 8))
    cut = colours(Cutter(32, CPU)(smooth(2), SIZES[:2], drawn))
    # What is left of the red of the wide picture is its middle two thirds; of the green of the high one, a quarter.
    np.testing.assert_allclose(cut[0, 0, :, [0, -1]].mean(0), (255 / 6 + 2.7, 255 * 5 / 6 - 2.7), atol=3)
    np.testing.assert_allclose(cut[1, 1, [0, -1]].mean(1), (255 * 3 / 8 + 1, 255 * 5 / 8 - 1), atol=3)
    np.testing.assert_allclose(cut[:, 2], 100, atol=0.01)


def test_both_ways_of_cutting_are_the_same() -> None:
    rng = np.random.default_rng(1)
    drawn = draw(Augment(rotate=0), SIZES, rng)
    cutter = Cutter(32, CPU)
    stored = torch.from_numpy(smooth(len(SIZES), 192))
    one = cutter._resized(stored, drawn).float()
    other = cutter._sampled(stored, SIZES, drawn)
    # The first takes whole stored pixels, 1.3 of 255 each, and rounds the colours.
    assert (one - other).abs().max() < 3
    assert (one - other).abs().mean() < 1


def test_turning_keeps_the_proportions() -> None:
    # A picture 300 wide and 200 high, stored as a square: a turn by 90 degrees of its middle square.
    drawn = plain(SIZES[:1])
    turned = Drawn(drawn.boxes, np.array([np.pi / 2]), drawn.flips, drawn.gain, drawn.offset)
    cutter = Cutter(32, CPU)
    straight = cutter(smooth(1), SIZES[:1], drawn)
    back = torch.rot90(cutter(smooth(1), SIZES[:1], turned), 1, (2, 3))
    other = torch.rot90(cutter(smooth(1), SIZES[:1], turned), -1, (2, 3))
    assert min((colours(straight) - colours(each)).abs().max() for each in (back, other)) < 3


def test_mirrored_and_lit() -> None:
    drawn = plain(SIZES[2:3])
    cutter = Cutter(32, CPU)
    straight = cutter(smooth(1), SIZES[2:3], drawn)
    mirrored = Drawn(drawn.boxes, drawn.angles, np.array([True]), drawn.gain, drawn.offset)
    torch.testing.assert_close(cutter(smooth(1), SIZES[2:3], mirrored).flip(3), straight)
    lit = Drawn(drawn.boxes, drawn.angles, drawn.flips, np.array([1.5]), np.array([0.1]))
    wanted = 1.5 * (colours(straight) - 127.5) + 127.5 + 25.5
    torch.testing.assert_close(colours(cutter(smooth(1), SIZES[2:3], lit)), wanted, rtol=0, atol=0.01)


def test_the_seed_decides_and_nothing_else() -> None:
    one, same, other = (draw(Augment(mixup=0.4), SIZES, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for name in ("boxes", "angles", "flips", "gain", "offset", "share"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.boxes, other.boxes)
    part = one.part(10, 20)
    np.testing.assert_array_equal(part.boxes, one.boxes[10:20])


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_mixed_pictures_have_mixed_labels(mixup: float, cutmix: float) -> None:
    batch = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    for seed in range(20):
        drawn = draw(Augment(mixup=mixup, cutmix=cutmix), SIZES[:2], np.random.default_rng(seed))
        mixed, labels = mix(batch, torch.tensor([0, 1]), 3, drawn)
        # A picture's mean is the share of the white one in it, and so is its label.
        torch.testing.assert_close(mixed.mean((1, 2, 3)), labels[:, 1])
        torch.testing.assert_close(labels.sum(1), torch.ones(2))
        assert not labels[:, 2].any()
