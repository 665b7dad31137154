"""Eve for torch, written from the paper: the reference for `sgdsheet.optim.eve`, with which it shares no code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch


class Eve(torch.optim.Optimizer):
    """Adam whose steps are divided by d, a running mean of the relative change of the loss.

    Koushik, Hayashi: Improving Stochastic Gradient Descent with Feedback, arXiv 1611.01505v1, 4 November 2016,
    Algorithm 1. `betas` is (beta1, beta2, beta3), `thresholds` is the paper's (k, K). In a tie the loss has risen.

        optimizer.step(closure)     closure returns the loss, a positive number
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.999),
        eps: float = 1e-8,
        thresholds: tuple[float, float] = (0.1, 10.0),
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "thresholds": thresholds})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update with the gradients that `closure` leaves and the loss that it returns."""
        with torch.enable_grad():
            loss = closure()
        f = float(loss)
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, param.grad, f, group)
        return loss

    def _update(self, param: torch.Tensor, grad: torch.Tensor, f: float, group: dict[str, Any]) -> None:
        state = self.state[param]
        beta1, beta2, beta3 = group["betas"]
        if not state:
            # The first step has nothing to compare the loss with: plain Adam.
            state.update(step=1, f_hat=f, d=1.0, exp_avg=torch.zeros_like(param), exp_avg_sq=torch.zeros_like(param))
        else:
            state["step"] += 1
            f_hat = followed(f, state["f_hat"], *group["thresholds"])
            r = math.fabs(f_hat - state["f_hat"]) / min(f_hat, state["f_hat"])
            state["d"] = beta3 * state["d"] + (1 - beta3) * r
            state["f_hat"] = f_hat
        state["exp_avg"].lerp_(grad, 1 - beta1)
        state["exp_avg_sq"].lerp_(grad.square(), 1 - beta2)
        m_hat = state["exp_avg"] / (1 - beta1 ** state["step"])
        v_hat = state["exp_avg_sq"] / (1 - beta2 ** state["step"])
        param.sub_(group["lr"] * m_hat / (state["d"] * v_hat.sqrt() + group["eps"]))


def followed(f: float, f_hat: float, k: float, K: float) -> float:  # noqa: N803 (the paper's letter)
    """The objective as Eve sees it: each step changes it by a factor from 1 + k to 1 + K, or by the inverse of one."""
    if f_hat == 0:  # the paper divides by it
        return math.nan
    lowest, highest = (1 + k, 1 + K) if f >= f_hat else (1 / (1 + K), 1 / (1 + k))
    return min(max(f / f_hat, lowest), highest) * f_hat
