"""A run's state in one file: tensors as safetensors, everything else as JSON inside it. Nothing in it is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from sgdsheet.errors import Error, one_line
from sgdsheet.files import put
from trainer.models.files import CHECKSUM, SAID, checksum, require_unchanged

NAME = "checkpoint.safetensors"


def write(path: Path, tensors: Mapping[str, torch.Tensor], said: Mapping[str, Any] | None = None) -> None:
    """Writes tensors by name, and what is said of them; the file is the old one or the new one, never half of it."""
    from safetensors.torch import save

    held = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
    metadata = {"format": "pt"} | ({} if said is None else {SAID: json.dumps(said)})
    metadata[CHECKSUM] = checksum(held, metadata.get(SAID, ""))
    put(path, _in_order(save(held, metadata)))


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted: safetensors writes them in an order of its own each time."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


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


def locked(folder: Path) -> Any:
    """Returns what keeps other processes from writing a run to this folder, as long as it is held.

    Raises `Error` if one does so now.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Error(f"{folder}: another run is writing to it; wait for it, or choose another folder") from None
    except (OSError, NotImplementedError):  # a file system without locks
        return None
    return lock


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors by name, and what is said of them. Raises `Error` for a file that `write` has not written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            said = json.loads(metadata[SAID])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        require_unchanged(tensors, metadata)
        _require_run(said, len(tensors["steps"]))
        return tensors, said
    except FileNotFoundError:
        raise Error(f"{path}: there is no such file") from None
    except KeyError as error:
        raise Error(f"{path}: it is no checkpoint of this trainer: it has no {error.args[0]!r}") from None
    except (SafetensorError, ValueError, TypeError, RecursionError, OSError) as error:
        raise Error(f"{path}: it is no checkpoint of this trainer: {one_line(error)}") from None


def _require_run(said: Any, steps: int) -> None:
    """Raises KeyError, TypeError or ValueError unless this tells of a run: each epoch of each fit, and its steps."""
    done, taken = 0, 0
    for fit in said["fits"]:
        done += int(fit["epochs"])
        [float(rate) for rate in fit["lr"]]
    done += int(said["epochs"]) - int(said["fits"][-1]["epochs"]) if said["fits"] else 0
    for row in said["history"]:
        taken += int(row["steps"])
        [float(row[name]) for name in ("epoch", "train_loss", "valid_loss", "error_rate", "lr", "seconds")]
    if (done, steps) != (len(said["history"]), taken):
        raise ValueError(f"its history has {len(said['history'])} epochs of {taken} steps, not {done} of {steps}")


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
