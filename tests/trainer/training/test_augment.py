"""What is drawn for a batch: where the parts lie, that only the seed decides, and how pictures are mixed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.recipe import Augment
from trainer.training.augment import Drawn, draw, mix, plain

SIZES = np.array([[300, 200], [120, 480], [64, 64], [1000, 90]] * 25)


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
    assert not drawn.flips.any()
    assert plain(SIZES[:2], flip=True).flips.all()


def test_the_seed_decides_and_nothing_else() -> None:
    one, same, other = (draw(Augment(mixup=0.4), SIZES, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for name in ("boxes", "angles", "flips", "gain", "offset", "share"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.rows(np.array([3, 17])).boxes, one.boxes[[3, 17]])


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_mixed_pictures_have_mixed_labels(mixup: float, cutmix: float) -> None:
    batch = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    labels = torch.eye(3)[:2]
    for seed in range(20):
        drawn = draw(Augment(mixup=mixup, cutmix=cutmix), SIZES[:2], np.random.default_rng(seed))
        mixed, target = mix(batch, batch.flip(0), labels, labels.flip(0), drawn)
        # A picture's mean is the share of the white one in it, and so is its label.
        torch.testing.assert_close(mixed.mean((1, 2, 3)), target[:, 1])
        torch.testing.assert_close(target.sum(1), torch.ones(2))
        assert not target[:, 2].any()
