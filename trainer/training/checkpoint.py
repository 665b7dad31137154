"""A run's state in one file: tensors as safetensors, everything else as JSON inside it. Nothing in it is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from sgdsheet.errors import Error
from sgdsheet.files import put

NAME = "checkpoint.safetensors"


def write(path: Path, tensors: Mapping[str, torch.Tensor], said: Mapping[str, Any] | None = None) -> None:
    """Writes tensors by name, and what is said of them; the file is the old one or the new one, never half of it."""
    from safetensors.torch import save

    held = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
    metadata = {"format": "pt"} | ({} if said is None else {"trainer": json.dumps(said)})
    put(path, save(held, metadata))


def prepare(folder: Path) -> None:
    """Raises `Error` if no checkpoint can be written to a folder: better before a training than after it."""
    missing = [name for name in ("pandas", "safetensors") if find_spec(name) is None]
    if missing:
        raise Error(f"{folder}: writing to it needs {' and '.join(missing)}; pip install {' '.join(missing)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Error(f"{folder}: this folder cannot be written to: {error.strerror or error}") from None


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors by name, and what is said of them. Raises `Error` for a file that `write` has not written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {})["trainer"])
            return {name: file.get_tensor(name) for name in file.keys()}, said  # noqa: SIM118, it is no dict
    except FileNotFoundError:
        raise Error(f"{path}: there is no such file") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise Error(f"{path}: it is no checkpoint of this trainer: {error}") from None


def of_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What an optimizer remembers: `optimizer/3/exp_avg` for its fourth parameter."""
    return {
        f"optimizer/{number}/{name}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def into_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts back what `of_optimizer` took."""
    own = optimizer.state_dict()
    params = [param for group in optimizer.param_groups for param in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, number, key = name.split("/")
            param = params[int(number)]
            if tensor.shape == param.shape and tensor.ndim:  # fused optimizers take it to lie in memory as param does
                tensor = torch.empty_like(param, dtype=tensor.dtype).copy_(tensor)
            state.setdefault(int(number), {})[key] = tensor
    own["state"] = state
    optimizer.load_state_dict(own)
