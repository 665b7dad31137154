"""One process or several: which part of each batch is whose, and what they tell each other.

`torchrun --nproc-per-node 2 -m trainer fit …` starts several; PyTorch's own DistributedDataParallel averages their
gradients, over NCCL on GPUs and gloo on CPUs. All draw the same random numbers for the whole batch and take their part
of it, so that several processes train as one would; what a model draws itself, as in dropout, is each one's own.
"""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from sgdsheet.errors import Error


@dataclass(frozen=True)
class World:
    """This process among `size` of them, and its device."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Which of `count` elements are this process's."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of all processes' values."""
        if self.size > 1:
            dist.all_reduce(value)
        return value / self.size

    def gathered(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All processes' rows, of which there are `count`, in order."""
        if self.size == 1:
            return rows
        whole = rows.new_zeros((count, *rows.shape[1:]))
        whole[self.part(count)] = rows
        dist.all_reduce(whole)
        return whole

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()

    def together(self, model: nn.Module) -> nn.Module:
        """The model, its gradients averaged over the processes and its batch norms over the whole batch."""
        if self.size == 1:
            return model
        _share_norms(model)
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def first() -> bool:
    """Whether this process is the one that speaks, known before `join` too."""
    return int(os.environ.get("RANK", 0)) == 0


def join(device: str | None = None) -> World:
    """The world that torchrun has started, or this process alone.

    `device` is "cpu", "cuda", "cuda:1", "mps"; by default a GPU where there is one. Raises `Error` if it is not there.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    chosen = _device(device, local)
    if chosen.type == "cpu":
        _keep_freed_memory()
    elif chosen.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches are of one shape: the fastest convolution is sought once
    if size > 1 and not dist.is_initialized():
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(rank, size, chosen)


def _device(name: str | None, local: int) -> torch.device:
    gpus = torch.cuda.device_count()
    if name is None:
        return torch.device(f"cuda:{local}") if gpus > local else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Error(f"--device: expected cpu, cuda, cuda:1 or mps, got {name!r}") from None
    if device.type == "cuda":
        number = local if device.index is None else device.index
        if number >= gpus:
            raise Error(f"--device {name}: this machine has {gpus or 'no'} GPU{'s' * (gpus > 1)} that PyTorch can use")
        return torch.device(f"cuda:{number}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise Error("--device mps: this machine has no Apple GPU that PyTorch can use")
    return device


def _keep_freed_memory() -> None:
    """Lets glibc hand freed memory out again instead of returning it to the system, which then must clear it anew.

    Each batch and each layer frees and takes tens of megabytes: a training on a CPU gains a tenth by it, the cutting of
    pictures more. mallopt(3) explains both settings.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        # M_MMAP_THRESHOLD: what is smaller comes from the heap. Older ones take no more than 32 MB.
        if not libc.mallopt(-3, 1 << 30):
            libc.mallopt(-3, 1 << 25)
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD: and the heap stays as large as it has become


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is the gradient's."""

    @staticmethod
    def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: object, *grads: torch.Tensor) -> torch.Tensor:
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad


def _share_norms(model: nn.Module) -> None:
    """Batch norm in training takes its mean and variance over the batches of all processes.

    torch's SyncBatchNorm is for GPUs alone, and this is little code.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = _shared_norm.__get__(module)  # type: ignore[method-assign]


def _shared_norm(self: nn.modules.batchnorm._BatchNorm, x: torch.Tensor) -> torch.Tensor:
    if not self.training:
        return type(self).forward(self, x)
    dims = [axis for axis in range(x.ndim) if axis != 1]
    values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    ones = values.new_full((1,), values.numel() / values.shape[1])
    total = _Sum.apply(torch.cat([values.sum(dims), ones]))
    count = total[-1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    mean = total[:-1] / count
    away = values - mean.view(shape)
    var = _Sum.apply((away * away).sum(dims)) / count
    if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(var * count / (count - 1), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
    scale = torch.rsqrt(var + self.eps)
    scale = scale if self.weight is None else scale * self.weight
    found = away * scale.view(shape)
    return (found if self.bias is None else found + self.bias.view(shape)).to(x.dtype)
