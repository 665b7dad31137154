"""Which weights to follow: by name and place, or some that are spread over a model."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from sgdsheet.errors import Error, nearest, require

WRAPPED = re.compile(r"(module\.|_orig_mod\.)*")  # what DistributedDataParallel and torch.compile put before a name
MOST = 1000


@dataclass(frozen=True)
class Weight:
    """One number of a parameter: the parameter's name, the parameter, and where in it."""

    name: str
    param: torch.Tensor
    index: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}[{','.join(map(str, self.index))}]"

    def element(self, tensor: torch.Tensor) -> torch.Tensor:
        """Its place in a tensor of the parameter's shape, or the one number of a tensor of one, in the tensor's memory.

        Raises `Error` for a tensor that is spread over devices, or sparse.
        """
        if tensor.layout != torch.strided or type(tensor).__name__ == "DTensor":
            raise Error(f"{self}: expected an ordinary tensor, got {type(tensor).__name__} with layout {tensor.layout}")
        if tensor.requires_grad:
            tensor = tensor.detach()
        place = tensor.storage_offset() + (_offset(self.index, tensor.stride()) if tensor.numel() > 1 else 0)
        return tensor.as_strided((1,), (1,), place)


@cache
def _offset(index: tuple[int, ...], stride: tuple[int, ...]) -> int:
    return sum(i * each for i, each in zip(index, stride, strict=True))


def chosen(watch: Any, optimizer: torch.optim.Optimizer, model: nn.Module | None) -> list[Weight]:
    """The weights that `watch` says: how many, or a list of `("conv1.weight", (0, 0, 1, 2))` or its text.

    Raises `Error` for a name or a place that there is not.
    """
    named = _named(optimizer, model)
    if isinstance(watch, int):
        require(watch, "watch", 1, MOST, whole=True)
        return spread(watch, named, model)
    if isinstance(watch, str) or not isinstance(watch, Iterable):
        watch = [watch]
    found = [_one(each, named) for each in watch]
    if not 1 <= len(found) <= MOST:
        raise Error(f"watch: expected 1 to {MOST:,} weights, got {len(found):,}")
    if twice := [str(each) for number, each in enumerate(found) if str(each) in map(str, found[:number])]:
        raise Error(f"watch: {twice[0]} stands there twice")
    return found


def spread(count: int, named: Mapping[str, torch.Tensor], model: nn.Module | None = None) -> list[Weight]:
    """So many weights: of the first and the last convolution, a norm, the head, and the parameters in between.

    They come in the order of the parameters; of each it is one in the middle, and others where there are more weights
    asked for than parameters.
    """
    names = [name for name, param in named.items() if param.numel()]
    taken = [*dict.fromkeys(name for name in _telling(model) if name in names)][:count]
    others = [name for name in names if name not in taken]
    wanted = min(count - len(taken), len(others))
    taken += [others[(2 * number + 1) * len(others) // (2 * wanted)] for number in range(wanted)]
    taken.sort(key=names.index)
    found: dict[str, Weight] = {}
    rounds = -(-count // len(taken))
    for turn, name in itertools.product(range(rounds), taken):
        param = named[name]
        middle = int(np.ravel_multi_index([size // 2 for size in param.shape], param.shape)) if param.ndim else 0
        place = (middle + turn * param.numel() // rounds) % param.numel()
        weight = Weight(name, param, tuple(map(int, np.unravel_index(place, param.shape))))
        found.setdefault(str(weight), weight)
    return sorted([*found.values()][:count], key=lambda each: names.index(each.name))


def _telling(model: nn.Module | None) -> list[str]:
    """The names of the parameters that tell most: of the first convolution, the head, the last convolution, a norm."""
    if model is None:
        return []

    def of(*kinds: Any) -> list[str]:
        return [f"{name}.weight".lstrip(".") for name, each in model.named_modules() if isinstance(each, kinds)]

    convolutions, linear = of(nn.modules.conv._ConvNd), of(nn.Linear)
    norms = of(nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    telling = [*convolutions[:1], *linear[-1:], *convolutions[-1:], *norms[len(norms) // 2 :][:1]]
    telling += [name.removesuffix("weight") + "bias" for name in linear[-1:]]
    return [WRAPPED.sub("", name, count=1) for name in telling]


def _named(optimizer: torch.optim.Optimizer, model: nn.Module | None) -> dict[str, torch.Tensor]:
    """The parameters by name: the model's, or the optimizer's, which may have been told names, or else by place."""
    if model is not None:
        if not isinstance(model, nn.Module):
            raise Error(f"model: expected a torch.nn.Module, got {type(model).__name__}")
        return {WRAPPED.sub("", name, count=1): param for name, param in model.named_parameters()}
    named = {}
    for number, group in enumerate(optimizer.param_groups):
        names = group.get("param_names") or [f"group{number}.param{place}" for place in range(len(group["params"]))]
        named |= dict(zip(names, group["params"], strict=True))
    return named


def _one(given: Any, named: Mapping[str, torch.Tensor]) -> Weight:
    example = 'as ("conv1.weight", (0, 0, 1, 2)) or "conv1.weight[0,0,1,2]"'
    if isinstance(given, str):
        match = re.fullmatch(r"(.+?)\s*\[([\d\s,]*)\]", given.strip())
        if not match:
            raise Error(f"watch: expected a weight with its place, {example}, got {given!r}{_shaped(given, named)}")
        given = (match[1], tuple(int(each) for each in match[2].split(",") if each.strip()))
    try:
        name, index = given
        index = tuple(int(each) for each in ([index] if isinstance(index, int) else index))
    except (TypeError, ValueError):
        raise Error(f"watch: expected a weight with its place, {example}, got {given!r}") from None
    if name not in named:
        raise Error(f"watch: there is no parameter {name!r}{nearest(str(name), named)}")
    shape = tuple(named[name].shape)
    if len(index) != len(shape) or not all(0 <= each < size for each, size in zip(index, shape, strict=True)):
        raise Error(f"watch: {name} has the shape {shape}, and no place {index}")
    return Weight(name, named[name], index)


def _shaped(name: str, named: Mapping[str, torch.Tensor]) -> str:
    return f"; {name} has the shape {tuple(named[name].shape)}" if name in named else ""
