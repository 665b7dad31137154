"""One process or several: which part of each batch is whose, and what they tell each other.

`torchrun --nproc-per-node 2 -m trainer fit …` starts several; PyTorch's own DistributedDataParallel averages their
gradients, over NCCL on GPUs and gloo on CPUs. All draw the same random numbers for the whole batch and take their part
of it, so that several processes train as one would; what a model draws itself, as in dropout, is each one's own, and so
are the means of a layer that compares the pictures of a batch and is no batch norm.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm
from torch.nn.modules._functions import SyncBatchNorm as _NormOnGPUs
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from sgdsheet.errors import Error

# How long a process waits until all have their data: one machine may decode its pictures when others have done so.
GATHERING = timedelta(hours=3)
# How long it waits in training, where all come to the same place at nearly the same time.
TRAINING = timedelta(minutes=30)
# Seconds in which torchrun ends a process after another one has failed; it looks ten times a second.
LAST_WORDS = 10.0


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
        """Which of `count` elements are this process's.

        The parts follow one another and together are all of them. Their lengths differ by one at most: where `count` is
        a multiple of `size` they are equal, where it is below `size` some are empty.
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of all processes' values."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value / self.size

    def gathered(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """All processes' rows, of which there are `count`, in order.

        Whoever has no row may give an empty tensor of any shape, which only has to be on its device.
        """
        if self.size == 1:
            return rows
        if count < self.size:  # some have none, and learn of the others what a row is
            kinds: list[Any] = [None] * self.size
            dist.all_gather_object(kinds, (rows.dtype, rows.shape[1:]) if len(rows) else None)
            dtype, shape = next((kind for kind in kinds if kind), (rows.dtype, rows.shape[1:]))
            rows = rows if len(rows) else rows.new_empty((0, *shape), dtype=dtype)
        whole = rows.new_zeros((count, *rows.shape[1:]))
        whole[self.part(count)] = rows
        dist.all_reduce(whole)
        return whole

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()

    def together(self, model: nn.Module) -> nn.Module:
        """The model, its gradients averaged over the processes and its batch norms over the whole batch.

        From then on a call of the model in training mode is one that all processes make.
        """
        if self.size == 1:
            return model
        share_norms(model, self.device)
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


# --- who is there, and on which device --------------------------------------------------------------------------------


def first() -> bool:
    """Whether this process is the one that speaks, known before `join` too."""
    return _number("RANK", 0) == 0


def join(device: str | torch.device | None = None) -> World:
    """The world that torchrun has started, or this process alone.

    `device` is "cpu", "cuda", "cuda:1", "mps"; by default a GPU where there is one. Of several processes each takes a
    GPU of its own. Raises `Error`, in all of them alike, if there is no such device or there are too few, and if the
    others do not come.
    """
    if dist.is_available() and dist.is_initialized():
        rank, size = dist.get_rank(), dist.get_world_size()
    else:
        rank, size = _number("RANK", 0), _number("WORLD_SIZE", 1)
    # Without torchrun's word on it, all are on this machine.
    chosen = _device(device, size, _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", size))
    if chosen.type == "cpu":
        _keep_freed_memory()
    elif chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size > 1 and not dist.is_initialized():
        _meet(rank, size, chosen)
    return World(rank, size, chosen)


def device(name: str | None) -> torch.device:
    """The device of a process that works alone, whatever others there are. As `join`."""
    return _device(name, 1, 0, 1)


def _number(name: str, default: int) -> int:
    said = os.environ.get(name, str(default))
    if not said.isdecimal():
        raise Error(f"{name}: expected a whole number in this environment variable, got {said!r}; torchrun sets it")
    return int(said)


def _device(name: str | torch.device | None, size: int, local: int, processes: int) -> torch.device:
    """This process's device, of `processes` on this machine and `size` on all; decided alike in each of them."""
    gpus = torch.cuda.device_count()
    try:
        device = torch.device(name if name is not None else "cuda" if gpus else "cpu")
    except (RuntimeError, TypeError):
        device = None
    only = device is not None and device.type in ("cpu", "mps") and (device.index or 0) > 0  # there is one of each
    if device is None or device.type not in ("cpu", "cuda", "mps") or only:
        raise Error(f"--device: expected cpu, cuda, cuda:1 or mps, got {str(name)!r}")
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "mps":
        return _apple(size)
    if not gpus or (device.index or 0) >= gpus:
        raise Error(f"--device {device}: this machine has {gpus or 'no'} GPU{'s' * (gpus > 1)} that PyTorch can use")
    if processes == 1:
        return torch.device("cuda", device.index or 0)
    if device.index is not None:
        raise Error(f"--device {device}: {processes} processes would share this GPU; give cuda, and each takes its own")
    if processes > gpus:
        raise Error(
            f"{processes} processes on this machine, and {gpus} GPU{'s' * (gpus > 1)} that PyTorch can use: start "
            f"{gpus}, or use --device cpu"
        )
    return torch.device("cuda", local)


def _apple(size: int) -> torch.device:
    if not torch.backends.mps.is_available():
        raise Error("--device mps: this machine has no Apple GPU that PyTorch can use")
    if size > 1:
        raise Error(f"--device mps: {size} processes cannot train together on Apple GPUs; start one, or use cpu")
    return torch.device("mps")


def _meet(rank: int, size: int, device: torch.device) -> None:
    """Waits for all processes, sees that their devices are of one kind, and joins them."""
    from torch.distributed.rendezvous import rendezvous  # missing where torch was built without it

    try:
        store = next(rendezvous("env://", timeout=GATHERING))[0]
        everyone = [f"trainer/{each}" for each in range(size)]
        store.set(everyone[rank], device.type)
        store.wait(everyone, GATHERING)
        kinds = sorted({store.get(each).decode() for each in everyone})
    except (ValueError, dist.DistError) as error:
        reason = str(error).strip().splitlines()[0]
        raise Error(f"process {rank} of {size} does not meet the others ({reason}); start them with torchrun") from None
    if len(kinds) > 1:
        raise Error(f"--device: some processes have {kinds[0]}, others {kinds[1]}; give a device that all have")
    nccl = device.type == "cuda" and dist.is_nccl_available()  # which Windows lacks
    dist.init_process_group(
        "nccl" if nccl else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=TRAINING,
        device_id=device if nccl else None,
    )
    atexit.register(_leave)


def _leave() -> None:
    """At a process's end, unless an exception brought it: the others would still wait here for what does not come."""
    if getattr(sys, "last_value", None) is None and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def command() -> Iterator[None]:
    """Around what each process does of a command: what goes wrong is said once, by the process where it did.

    An `Error` that all meet is raised by the first of each machine. The others wait for torchrun to end them, as do
    those who have lost one of the others. If it does not, the exception is one's own, and is raised.
    """
    try:
        yield
    except BaseException as error:
        atexit.unregister(_leave)
        # gloo's errors are known by their words alone
        lost = isinstance(error, RuntimeError) and (type(error).__name__.startswith("Dist") or "gloo" in str(error))
        if lost or (isinstance(error, Error) and _number("LOCAL_RANK", 0) > 0):
            time.sleep(LAST_WORDS)
        raise


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


# --- batch norms over the whole batch ---------------------------------------------------------------------------------


def share_norms(model: nn.Module, device: torch.device) -> None:
    """Batch norms in training take their mean and variance over the batches of all processes.

    Each one's own `forward` still runs, with whatever it does besides, such as timm's activation; only the function
    `batch_norm` is another one in it. Names, parameters and types stay as they are.
    """
    forward = _uncompiled(_forward)
    for name, module in model.named_modules():
        if isinstance(module, nn.SyncBatchNorm):
            if device.type != "cuda":
                raise Error(f"{name}: SyncBatchNorm is for GPUs; BatchNorm does the same, here and there")
        elif isinstance(module, _BatchNorm) and getattr(module.forward, "func", None) is not forward:
            module.forward = functools.partial(forward, module, module.forward)  # type: ignore[method-assign]


# Here and not as a decorator, since it imports the compiler, which takes seconds.
_uncompiled = functools.cache(torch.compiler.disable)


def _forward(module: _BatchNorm, own: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
    if not module.training:
        return own(*args, **kwargs)
    with _Sharing():
        return own(*args, **kwargs)


class _Sharing(TorchFunctionMode):
    """While it lasts, `torch.nn.functional.batch_norm` is over all processes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_shared_batch_norm if func is batch_norm else func)(*args, **(kwargs or {}))


def _shared_batch_norm(
    input: torch.Tensor,  # noqa: A002, torch's own name
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    given = (input, weight, bias, running_mean, running_var)
    if not training:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    if _on_gpu(input):
        return _NormOnGPUs.apply(*given, eps, momentum, dist.group.WORLD, dist.get_world_size())
    return _Norm.apply(*given, eps, momentum)


def _on_gpu(x: torch.Tensor) -> bool:
    return x.device.type == "cuda"


class _Norm(torch.autograd.Function):
    """Batch norm over all processes' batches, on CPUs, where torch has none: one collective forward, one backward.

    The mean and the sum of squares come from each process's own mean and variance, since a sum of squares over all
    would lose the digits of a variance that is small beside its mean (Chan, Golub and LeVeque, 1979).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        eps: float,
        momentum: float,
    ) -> torch.Tensor:
        dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        weight, bias = (None if each is None else each.to(dtype) for each in (weight, bias))
        mean, var, count = _moments(x, dtype)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, mean, var, count)
        return batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        (grad,) = grads
        x, weight, mean, var, count = ctx.saved_tensors
        weight = torch.ones_like(mean) if weight is None else weight
        grad_x, grad_weight, grad_bias = None, torch.zeros_like(mean), torch.zeros_like(mean)
        if len(x):
            # As if mean and variance were given: what they owe to x is added below.
            _, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
                grad, x, weight, mean, var, None, None, False, ctx.eps, [False, True, True]
            )
        if ctx.needs_input_grad[0]:
            sums = torch.stack([grad_weight, grad_bias])
            dist.all_reduce(sums)
            scale = weight * torch.rsqrt(var + ctx.eps)
            owed_weight, owed_bias = -scale * sums / count
            grad_x = batch_norm(x.to(mean.dtype), mean, var, owed_weight, owed_bias, eps=ctx.eps)
            grad_x = grad_x.addcmul_(grad, scale.view(1, -1, *[1] * (x.ndim - 2))).to(x.dtype)
        needed = ctx.needs_input_grad[1:3]
        return grad_x, grad_weight if needed[0] else None, grad_bias if needed[1] else None, None, None, None, None


def _moments(x: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, variance and count of all processes' elements, of each channel but for the count."""
    channels = x.shape[1]
    own = torch.zeros(3, channels, dtype=dtype)
    if len(x):
        # The one fast reduction that torch has for channels last; what it keeps apart decides its dtype.
        own[0], own[1] = torch.batch_norm_update_stats(x, own[0].clone(), own[1].clone(), 0.0)
        own[2] = x.numel() // channels
    every = own.new_empty(dist.get_world_size(), *own.shape)
    dist.all_gather(list(every), own)
    means, variances, counts = every.unbind(1)
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return mean, var, total
