"""What test_distributed.py starts twice with torchrun: `two_processes.py CASE`, of which the first prints JSON."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from sgdsheet.errors import Error
from sgdsheet.recording.recorder import Recorder
from trainer import distributed

# Those of timm whose norms have an activation of their own, some with fewer blocks; the first for efficientnet_b0.
NETWORKS: dict[str, dict[str, Any]] = {
    "test_efficientnet": {},
    "regnety_002": {},
    "mobilenetv3_small_050": {},
    "densenet121": {"block_config": (2, 2, 2, 2)},
    "resnetv2_50": {"layers": (1, 1, 1, 1)},
}


def norms() -> dict[str, Any]:
    """How far two processes are from one, for each kind of norm and some of timm's networks."""
    import timm

    found, few = {}, slice(0, 1) if dist.get_rank() == 0 else slice(1, 4)
    for name, (model, shape) in layers().items():
        found[name] = differences(model.double(), torch.randn(4, 3, *shape).double() + 20, few, steps=3)
    found["channels last"] = differences(
        conv(nn.BatchNorm2d(8)).double(), torch.randn(4, 3, 6, 6).double().to(memory_format=torch.channels_last), few
    )
    for name, smaller in NETWORKS.items():
        model = timm.create_model(name, num_classes=3, **smaller).double()
        found[name] = differences(model, torch.randn(4, 3, 32, 32).double(), few)
    # One number of each channel in each process, which torch's own batch norm refuses.
    halves = slice(dist.get_rank(), dist.get_rank() + 1)
    found["one number each"] = differences(conv(nn.BatchNorm1d(8), 0).double(), torch.randn(2, 3).double(), halves)
    nobody = slice(0, 4) if dist.get_rank() == 0 else slice(4, 4)
    found["none for one"] = differences(conv(nn.BatchNorm2d(8)).double(), torch.randn(4, 3, 6, 6).double(), nobody)
    return found


def on_gpus() -> dict[str, Any]:
    """As `norms`, the way of GPUs: torch's own SyncBatchNorm, whose kernels for GPUs have stand-ins here."""
    before = {name: getattr(torch, name) for name in vars(Kernels) if name.startswith("batch_norm")}
    for name in before:
        setattr(torch, name, getattr(Kernels, name))
    on_gpu, distributed._on_gpu = distributed._on_gpu, lambda x: True
    few = slice(0, 1) if dist.get_rank() == 0 else slice(1, 4)
    found = {
        name: differences(model.double(), torch.randn(4, 3, *shape).double(), few, steps=3)
        for name, (model, shape) in layers().items()
    }
    distributed._on_gpu = on_gpu
    for name, function in before.items():
        setattr(torch, name, function)
    return found


class Kernels:
    """What torch's kernels of these names do on a GPU."""

    @staticmethod
    def batch_norm_stats(x: torch.Tensor, eps: float) -> Any:
        var, mean = torch.var_mean(x, others(x), correction=0)
        return mean, torch.rsqrt(var + eps)

    @staticmethod
    def batch_norm_gather_stats_with_counts(
        x: Any, means: Any, invstds: Any, running_mean: Any, running_var: Any, momentum: float, eps: float, counts: Any
    ) -> Any:
        counts = counts[:, None]
        mean = (means * counts).sum(0) / counts.sum()
        var = ((invstds**-2 - eps + (means - mean) ** 2) * counts).sum(0) / counts.sum()
        if running_mean is not None:
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * counts.sum() / (counts.sum() - 1), momentum)
        return mean, torch.rsqrt(var + eps)

    @staticmethod
    def batch_norm_elemt(x: Any, weight: Any, bias: Any, mean: Any, invstd: Any, eps: float) -> Any:
        return nn.functional.batch_norm(x, mean, invstd**-2 - eps, weight, bias, eps=eps)

    @staticmethod
    def batch_norm_backward_reduce(dy: Any, x: Any, mean: Any, invstd: Any, weight: Any, *_: bool) -> Any:
        sums = dy.sum(others(x)), (dy * (x - over(mean, x))).sum(others(x))
        return *sums, sums[1] * invstd, sums[0]

    @staticmethod
    def batch_norm_backward_elemt(
        dy: Any, x: Any, mean: Any, invstd: Any, weight: Any, sum_dy: Any, sum_dy_xmu: Any, counts: Any
    ) -> Any:
        scale = invstd if weight is None else invstd * weight
        owed = over(sum_dy, x) + (x - over(mean, x)) * over(invstd**2 * sum_dy_xmu, x)
        return (dy - owed / counts.sum()) * over(scale, x)


def others(x: torch.Tensor) -> list[int]:
    """All axes but that of the channels."""
    return [axis for axis in range(x.ndim) if axis != 1]


def over(each: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A number a channel, in the shape of `x`."""
    return each.view(1, -1, *[1] * (x.ndim - 2))


def halves() -> dict[str, Any]:
    """The same in fewer digits, against float64, beside how far torch's own batch norm in one process is."""
    found = {}
    for dtype, mixed in (
        (torch.bfloat16, True),
        (torch.float16, True),
        (torch.bfloat16, False),
        (torch.float32, False),
    ):
        exact = nn.BatchNorm2d(8).double()
        own = copy.deepcopy(exact).to(torch.float32 if mixed else dtype)
        one = copy.deepcopy(own)
        x = (torch.randn(8, 8, 6, 6) * 0.1 + 3).to(dtype)
        part = slice(0, 3) if dist.get_rank() == 0 else slice(3, 8)
        distributed.share_norms(own, torch.device("cpu"))
        results = []
        for model, rows in ((exact, x.double()), (one, x), (own, x[part])):
            rows = rows.clone().requires_grad_()
            output = model(rows)
            output.backward(torch.cos(x[part] if model is own else x).to(output.dtype) * (output.detach() > 0))
            results.append([output, rows.grad, model.running_mean, model.running_var])
        wanted = [each if each.ndim == 1 else each[part] for each in results[0]]
        ones = [each if each.ndim == 1 else each[part] for each in results[1]]
        assert [each.dtype for each in results[2]] == [each.dtype for each in ones]
        kinds = ("output", "gradient", "mean", "variance")
        for kind, right, theirs, ours in zip(kinds, wanted, ones, results[2], strict=True):
            name = f"{dtype} {'mixed' if mixed else 'alone'} {kind}"
            found[name] = [away(theirs.double(), right), away(ours.double(), right)]
    return found


def frozen() -> dict[str, Any]:
    """How many collectives the norms make, forward and backward: in training, frozen, and in evaluation."""
    model = nn.Sequential(conv(nn.BatchNorm2d(8)), conv(nn.BatchNorm2d(8)))
    distributed.share_norms(model, torch.device("cpu"))
    found = {}
    for name in ("training", "frozen", "evaluation"):
        model.train(name == "training")
        if name == "frozen":
            model[1].train()
            for param in model[0].parameters():
                param.requires_grad_(False)
        with counted() as calls:
            model(torch.randn(2, 3, 12, 12)).sum().backward()
        found[name] = calls
    return found


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """The collectives made meanwhile."""
    calls, before = [], {name: getattr(dist, name) for name in ("all_reduce", "all_gather", "broadcast")}

    def counting(name: str) -> Any:
        return lambda *args, **kwargs: (calls.append(name), before[name](*args, **kwargs))[1]

    for name in before:
        setattr(dist, name, counting(name))
    yield calls
    for name, function in before.items():
        setattr(dist, name, function)


def gathered() -> dict[str, Any]:
    """All rows of all processes, of as many as there are; whoever has none knows neither columns nor dtype."""
    world, found = distributed.join("cpu"), {}
    for count in range(6):
        for dtype in (torch.float32, torch.float64, torch.int64):
            whole = torch.arange(count * 3).view(count, 3).to(dtype)
            mine = whole[world.part(count)]
            came = world.gathered(mine if len(mine) or count == 0 else torch.empty(0), count)
            found[f"{count} {dtype}"] = came.dtype == dtype and torch.equal(came, whole)
    value = torch.tensor([1.0 + world.rank])
    found["mean"] = [world.mean(value).item(), value.item() == 1 + world.rank]
    return found


def differences(model: nn.Module, x: torch.Tensor, mine: slice, steps: int = 1) -> dict[str, float]:
    """Steps of two processes, each with `mine` of the batch, against one process's with all of it."""
    world = distributed.join("cpu")
    names, parameters = list(model.state_dict()), list(map(id, model.parameters()))
    one = copy.deepcopy(model)
    trained = world.together(model)
    trained = world.together(model)  # as after unfreezing
    assert list(model.state_dict()) == names
    assert list(map(id, model.parameters())) == parameters
    found: dict[str, float] = {}
    for _ in range(steps):
        whole, part = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
        expected, output = one(whole), trained(part)
        kinds = torch.arange(len(x)) % 3
        nn.functional.cross_entropy(expected.flatten(1), kinds).backward()
        losses = nn.functional.cross_entropy(output.flatten(1), kinds[mine], reduction="sum")
        (losses / len(x) * world.size).backward()  # the mean over the processes is the mean over the batch
        assert whole.grad is not None
        assert part.grad is not None
        found = {
            "output": away(output, expected[mine]),
            "gradient": away(gradients(model), gradients(one)),
            "input's gradient": away(part.grad / world.size, whole.grad[mine]),
            "buffers": max(map(away, model.buffers(), one.buffers()), default=0.0),
        }
    model.eval()
    one.eval()
    found["in evaluation"] = away(model(x), one(x))
    found["copied"] = away(copy.deepcopy(model).train()(x[mine]), one.train()(x)[mine])
    every: list[Any] = [None] * world.size
    dist.all_gather_object(every, found)
    return {name: max(each[name] for each in every) for name in found}


def gradients(model: nn.Module) -> torch.Tensor:
    """All of them, one after another."""
    return torch.cat([param.grad.flatten() for param in model.parameters() if param.grad is not None])


def away(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, beside the largest number; infinite where one is not finite."""
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    if not other.numel():
        return 0.0
    found = ((one - other).abs().max() / other.abs().max().clamp_min(1e-3)).item()
    return found if found == found else float("inf")


class Doubled(nn.BatchNorm2d):
    """A norm of a user's own, that does more before and after."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002, torch's own name
        return torch.tanh(super().forward(input + 1)) * 2


def conv(norm: nn.Module, dims: int = 2) -> nn.Module:
    if dims == 0:
        return nn.Sequential(nn.Linear(3, 8), norm, nn.Linear(8, 3))
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    return nn.Sequential(kind(3, 8, 3), norm, kind(8, 3, 3))


def layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Norms of all kinds, each in a small network, and the shape of one of its inputs."""
    from timm.layers.norm_act import BatchNormAct2d

    flat = {
        "plain": nn.BatchNorm2d(8),
        "momentum=None": nn.BatchNorm2d(8, momentum=None),
        "momentum": nn.BatchNorm2d(8, momentum=0.7, eps=0.1),
        "track_running_stats=False": nn.BatchNorm2d(8, track_running_stats=False),
        "affine=False": nn.BatchNorm2d(8, affine=False),
        "neither": nn.BatchNorm2d(8, affine=False, track_running_stats=False),
        "timm's": BatchNormAct2d(8, act_layer=nn.SiLU, drop_layer=nn.Softplus),
        "timm's without": BatchNormAct2d(8, apply_act=False),
        "a user's": Doubled(8),
        "nested": nn.Sequential(Doubled(8), nn.ReLU(), nn.BatchNorm2d(8)),
    }
    found: dict[str, tuple[nn.Module, tuple[int, ...]]] = {name: (conv(norm), (6, 6)) for name, norm in flat.items()}
    return found | {
        "of vectors": (conv(nn.BatchNorm1d(8), 0), ()),
        "of sequences": (conv(nn.BatchNorm1d(8), 1), (6,)),
        "of volumes": (conv(nn.BatchNorm3d(8), 3), (6, 6, 6)),
    }


def recorded() -> dict[str, Any]:
    """What a Recorder says of the steps of two processes: the gradient is the mean of both, and one of them records."""
    world = distributed.join("cpu")
    model = nn.Linear(3, 2).double()
    together = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(optimizer, ["weight[1,2]"], model=together)
    expected = []
    for step in range(3):
        x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2 * step + world.rank))
        (own,) = torch.autograd.grad(model(x).square().sum(), model.weight)
        expected.append(world.mean(own)[1, 2].item())
        optimizer.zero_grad()
        together(x).square().sum().backward()
        optimizer.step()
    rows = recorder.frame()
    recorder.close()
    counts = world.gathered(torch.tensor([[len(rows)]]), 2)
    return {"counts": counts.flatten().tolist(), "grad": rows["grad"].tolist(), "expected": expected}


def too_many() -> None:
    """What both meet: two processes, one GPU."""
    torch.cuda.device_count = lambda: 1
    distributed.join()


def dies() -> None:
    """What the first meets, while the other waits for it."""
    world = distributed.join("cpu")
    world.wait()
    if world.first:
        raise Error("the disk is full")
    world.wait()


def measured() -> None:
    torch.manual_seed(0)
    world = distributed.join("cpu")
    found = {each.__name__: each() for each in (norms, on_gpus, halves, frozen, gathered, recorded)}
    if world.first:
        print(json.dumps(found))


if __name__ == "__main__":
    case = {"measured": measured, "too_many": too_many, "dies": dies}[sys.argv[1]]
    try:
        with distributed.command():
            case()
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
