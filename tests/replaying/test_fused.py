"""A kernel that has the hyperparameters in float32, as torch's fused ones on a GPU: 1 - 0.999 keeps four digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgdsheet.replaying import rounding
from sgdsheet.replaying.followed import UNIT


@pytest.mark.parametrize("beta2", [0.999, 0.99])
def test_a_mean_of_squares_may_be_off_by_what_float32_makes_of_its_beta(beta2: float) -> None:
    grad = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    beta = np.float32(beta2)
    kernel = (np.float32(1) - beta) * grad * grad
    exact = (1 - beta2) * grad.astype(float) ** 2
    zero = np.zeros(1000)
    v: dict[str, Any] = {"grad": grad.astype(float), "param": zero, "old_exp_avg": zero, "old_exp_avg_sq": zero}
    v |= {"exp_avg": 0.1 * v["grad"], "exp_avg_sq": exact, "bias_correction1": 0.1, "bias_correction2": 1 - beta2}
    h = {"lr": 1e-3, "beta1": 0.9, "beta2": beta2, "eps": 1e-8}

    def share(fused: bool) -> float:
        sizes = rounding.sizes("Adam", h, {"amsgrad": False}, v, fused=fused)
        return float(np.max(np.abs(kernel - exact) / (rounding.STATE * UNIT["float32"] * sizes["exp_avg_sq"])))

    assert share(fused=True) < 1
    if beta2 == 0.999:
        assert share(fused=False) > 1
    # A wrong beta is still far outside.
    wrong = (1 - 0.98 * beta2) * grad.astype(float) ** 2
    sizes = rounding.sizes("Adam", h, {"amsgrad": False}, v, fused=True)
    assert np.min(np.abs(wrong - exact) / (rounding.STATE * UNIT["float32"] * sizes["exp_avg_sq"])) > 1000
