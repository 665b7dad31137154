"""Gradient clipping, as torch does it and as operations to be traced."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from sgdsheet.errors import Error

CLIP = "clip"  # stands for the module where its operations are


@dataclass(frozen=True)
class Clipping:
    """Clips by the norm of all gradients together, by each gradient's value, or not at all."""

    norm: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        for name, given in (("clip_norm", self.norm), ("clip_value", self.value)):
            if given is None:
                continue
            if isinstance(given, bool) or not isinstance(given, Real) or not 0 < given < math.inf:
                raise Error(f"{name}: expected a number above 0, got {given!r}")
        if self.norm is not None and self.value is not None:
            raise Error("clip_norm and clip_value are two ways to clip gradients; give one of them")

    def __bool__(self) -> bool:
        return self.norm is not None or self.value is not None

    def clip(self, params: Iterable[torch.Tensor]) -> None:
        """Clips the gradients of these parameters in place, by torch's own functions."""
        if self.norm is not None:
            torch.nn.utils.clip_grad_norm_(params, self.norm)
        if self.value is not None:
            torch.nn.utils.clip_grad_value_(params, self.value)

    def clipped(self, grads: Mapping[str, Any]) -> dict[str, Any]:
        """The clipped gradients, by plain operations."""
        if self.norm is not None and grads:
            total = torch.stack([(grad * grad).sum() for grad in grads.values()]).sum().sqrt()
            factor = torch.clamp(self.norm / (total + 1e-6), max=1.0)
            return {name: grad * factor for name, grad in grads.items()}
        if self.value is not None:
            return {name: grad.clamp(-self.value, self.value) for name, grad in grads.items()}
        return dict(grads)


UNCLIPPED = Clipping()
