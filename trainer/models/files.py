"""Files of weights, read without running anything of them."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from sgdsheet.errors import Error, one_line
from trainer.models.fitting import State

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
# What holds the weights in a folder: the trainer's own, those of the Hugging Face hub, and of a run that was cut short.
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model.pth", "pytorch_model.pth", "checkpoint.safetensors")
# The two sets of weights in a checkpoint of the trainer: names like model/conv1.weight.
OWN = ("model", "averaged")
CHECKSUM, SAID = "checksum", "trainer"  # in the metadata of the trainer's own files


@dataclass(frozen=True)
class Stored:
    """What a file holds: one or more sets of weights by the name that they have in it, and what is said beside them.

    `said` may have mean and std of the colours, size and crop, as `Network` has them.
    """

    path: Path
    states: dict[str, State]
    said: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> Stored:
    """Reads a file, or the one in a folder. Raises `Error` for what holds no weights."""
    try:
        file = _inside(path) if path.is_dir() else path
        with file.open("rb") as opened:
            begin = opened.read(32)
    except FileNotFoundError:
        raise Error(f"{path}: there is no such file") from None
    except OSError as error:
        raise Error(f"{path}: it cannot be read: {error.strerror or error}") from None
    try:
        content = _safetensors(file) if begin[8:9] == b"{" else _pickled(file)
    except Exception as error:  # a broken file raises many kinds
        raise Error(f"{file}: it is no file of weights that can be read ({_why(error, begin)})") from None
    states = _states(content, set())
    if not states:
        keys = f" of {', '.join(map(str, [*content][:5]))}" if isinstance(content, Mapping) and content else ""
        raise Error(f"{file}: expected the weights of a model by name, got a {type(content).__name__}{keys}")
    for state in states.values():
        for name, each in state.items():
            if each.layout != torch.strided or each.is_meta or each.is_complex() or each.is_quantized:
                kind = "meta" if each.is_meta else "quantized" if each.is_quantized else str(each.layout)[6:]
                kind = "complex" if each.is_complex() else kind
                raise Error(f"{file}: expected plain numbers for {name}, got a tensor that is {kind}")
    return Stored(file, states, _said(file))


def _inside(folder: Path) -> Path:
    for name in IN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
    if len(found) != 1:
        have = f"it has {', '.join(each.name for each in found[:5])}" if found else "it has none of these"
        raise Error(f"{folder}: expected model.safetensors, pytorch_model.bin or one file of weights in it; {have}")
    return found[0]


def _safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as held:
        metadata, tensors = held.metadata() or {}, {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    require_unchanged(tensors, metadata)
    return tensors


def checksum(tensors: Mapping[str, torch.Tensor], said: str = "") -> str:
    """Returns what tells tensors on the CPU, with their names, shapes and types, and a text from others."""
    digest = hashlib.blake2b(said.encode(), digest_size=16)
    for name, each in sorted(tensors.items()):
        digest.update(f"{name} {each.dtype} {tuple(each.shape)}".encode())
        digest.update(each.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_unchanged(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Raises `ValueError` if a file of this trainer holds something else than was written: a bit may have changed."""
    expected = metadata.get(CHECKSUM)
    if expected is not None and expected != checksum(tensors, metadata.get(SAID, "")):
        raise ValueError("it is damaged: its checksum is another one")


class _Nothing:
    """Stands for everything in a file that is neither a tensor nor a plain value: a dict of what was said of it."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


def _pickled(file: Path) -> Any:
    """What torch.save has written. Of what its classes and functions would do, nothing is done."""
    unknown: list[str] = []
    while True:
        try:
            with torch.serialization.safe_globals([(_Nothing, name) for name in unknown]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the time that sparse tensors take; they are refused below
                return torch.load(file, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
            name = found[1] if found and "." in found[1] else f"builtins.{found[1]}" if found else None
            if name is None or name in unknown:
                raise
            unknown.append(name)


def _states(content: Any, seen: set[int], depth: int = 0) -> dict[str, State]:
    """The sets of weights in what a file holds, by the keys that lead to them. What was `seen` may hold itself."""
    if not isinstance(content, Mapping) or depth > 3 or id(content) in seen:
        return {}
    seen.add(id(content))
    if "_modules" in getattr(content, "__dict__", ()):
        return {"": dict(_of_module(content, seen))}
    inner = {
        f"{key}.{name}".rstrip("."): state
        for key, value in content.items()
        if isinstance(key, str)
        for name, state in _states(value, seen, depth + 1).items()
    }
    own: dict[str, dict[str, torch.Tensor]] = {}
    for name, each in content.items():
        if isinstance(name, str) and isinstance(each, torch.Tensor):
            label, _, rest = name.partition("/")
            label, rest = (label, rest) if label in OWN and rest else ("", name)
            own.setdefault(label, {})[rest] = each
    if inner and max(map(len, inner.values())) >= max(map(len, own.values()), default=0):
        return inner
    return {**own}


def _of_module(module: Any, seen: set[int], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a whole model that was saved."""
    held = vars(module)
    passing = held.get("_non_persistent_buffers_set") or ()
    for name, each in [*held.get("_parameters", {}).items(), *held.get("_buffers", {}).items()]:
        if isinstance(each, torch.Tensor) and name not in passing:
            yield prefix + name, each
    for name, child in held.get("_modules", {}).items():
        if child is not None and id(child) not in seen:
            yield from _of_module(child, seen | {id(child)}, f"{prefix}{name}.")


def _said(file: Path) -> dict[str, Any]:
    """What run.json or the hub's config.json beside a file say of the pictures."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        if (run := file.parent / "run.json").is_file():
            said = json.loads(run.read_text(encoding="utf-8"))
            return {"mean": tuple(said["mean"]), "std": tuple(said["std"]), "size": said["size"]}
        said = json.loads((file.parent / "config.json").read_text(encoding="utf-8"))["pretrained_cfg"]
        found = {"mean": tuple(said["mean"]), "std": tuple(said["std"])}
        return found | {"size": said["input_size"][-1], "crop": said["crop_pct"]}
    return {}


def _why(error: Exception, begin: bytes) -> str:
    if begin[8:9] != b"{" and not begin.startswith((b"PK", b"\x80")):
        return f"it begins with {begin!r}" if begin else "it is empty"
    text = one_line(error, 1000)
    if "TorchScript" in text:
        return "it is a TorchScript program; save its state_dict() instead"
    if found := re.search(r"unsupported GLOBAL (\S+)", text):
        return f"it would run {found[1]}"
    text = text.rpartition("WeightsUnpickler error: ")[2]
    return re.split(r"\. | Check the documentation", text)[0][:200]
