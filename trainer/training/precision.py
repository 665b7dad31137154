"""Half precision: where a device gains by it, and what float16 needs besides."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def half(device: torch.device, amp: bool | None = None) -> torch.dtype | None:
    """bfloat16 where the device has instructions for it, float16 on older GPUs (V100, T4), None elsewhere.

    `amp` says whether to take half precision at all, in spite of what is fast.
    """
    if amp is False:
        return None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    fast = device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return torch.bfloat16 if fast or amp else None


class Precision:
    """What the model calculates in: `dtype`, or float32 if None. Weights and sums stay float32.

    float16 ends at 65,504 and has no number between 0 and 6e-8, so the loss is scaled before its gradients are taken,
    by a factor that follows from how they come out: torch's `GradScaler`.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype | None) -> None:
        self.device, self.dtype = device, dtype
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """For the forward pass."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)


def exact(output: torch.Tensor) -> torch.Tensor:
    """What half precision gave, as float32: a softmax needs the digits."""
    return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
