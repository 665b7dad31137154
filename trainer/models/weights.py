"""Files of weights: read without running anything of them, and put into a model if they fit."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from sgdsheet.errors import Error
from trainer.models.heads import heads

State = Mapping[str, torch.Tensor]

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
# What holds the weights in a folder: the trainer's own, those of the Hugging Face hub, and of a run that was cut short.
IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model.pth", "pytorch_model.pth", "checkpoint.safetensors")
# What running means of weights are called; they are preferred.
AVERAGES = re.compile(r"(?<![a-z])(ema|averaged|teacher)(?![a-z])", re.IGNORECASE)
# The two sets of weights in a checkpoint of the trainer: names like model/conv1.weight.
OWN = ("model", "averaged")


@dataclass(frozen=True)
class Stored:
    """What a file holds: one or more sets of weights by the name that they have in it, and what is said beside them.

    `said` may have mean and std of the colours, size and crop, as `Network` has them.
    """

    path: Path
    states: dict[str, State]
    said: dict[str, Any] = field(default_factory=dict)


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Stored:
    """Reads a file, or the one in a folder. Raises `Error` for what holds no weights."""
    file = _inside(path) if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            begin = opened.read(32)
    except FileNotFoundError:
        raise Error(f"{path}: there is no such file") from None
    except OSError as error:
        raise Error(f"{file}: it cannot be read: {error.strerror or error}") from None
    try:
        content = _safetensors(file) if begin[8:9] == b"{" else _pickled(file)
    except Exception as error:  # a broken file raises many kinds
        raise Error(f"{file}: it is no file of weights that can be read ({_why(error, begin)})") from None
    states = _states(content)
    if not states:
        keys = f" of {', '.join(map(str, [*content][:5]))}" if isinstance(content, Mapping) and content else ""
        raise Error(f"{file}: expected the weights of a model by name, got a {type(content).__name__}{keys}")
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
    from safetensors.torch import load_file

    return load_file(file)


class _Nothing:
    """Stands for everything in a file that is neither a tensor nor a plain value: a dict of what was said of it."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


def _pickled(file: Path) -> Any:
    """What torch.save has written. Of what its classes and functions would do, nothing is done."""
    unknown: list[str] = []
    while True:
        try:
            with torch.serialization.safe_globals([(_Nothing, name) for name in unknown]):
                return torch.load(file, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
            name = found[1] if found and "." in found[1] else f"builtins.{found[1]}" if found else None
            if name is None or name in unknown:
                raise
            unknown.append(name)


def _states(content: Any, depth: int = 0) -> dict[str, State]:
    """The sets of weights in what a file holds, by the keys that lead to them."""
    if not isinstance(content, Mapping) or depth > 3:
        return {}
    if "_modules" in getattr(content, "__dict__", ()):
        return {"": dict(_of_module(content))}
    inner = {
        f"{key}.{name}".rstrip("."): state
        for key, value in content.items()
        if isinstance(key, str)
        for name, state in _states(value, depth + 1).items()
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


def _of_module(module: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a whole model that was saved."""
    held = vars(module)
    passing = held.get("_non_persistent_buffers_set") or ()
    for name, each in [*held.get("_parameters", {}).items(), *held.get("_buffers", {}).items()]:
        if isinstance(each, torch.Tensor) and name not in passing:
            yield prefix + name, each
    for name, child in held.get("_modules", {}).items():
        if child is not None:
            yield from _of_module(child, f"{prefix}{name}.")


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
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())  # torch writes some of it in bold
    if "TorchScript" in text:
        return "it is a TorchScript program; save its state_dict() instead"
    if found := re.search(r"unsupported GLOBAL (\S+)", text):
        return f"it would run {found[1]}"
    text = text.rpartition("WeightsUnpickler error: ")[2]
    return re.split(r"\. | Check the documentation", text)[0][:200] or type(error).__name__


# --- putting into a model ---------------------------------------------------------------------------------------------


def load(model: nn.Module, state: State, source: str) -> None:
    """Puts weights into the model that they are of. Raises `Error` for any difference in names and shapes."""
    own = model.state_dict()
    _refuse(_differences(own, state), source)
    model.load_state_dict(state)


class MisfitError(Error):
    """Weights that are another model's."""


@dataclass(frozen=True)
class Leave:
    """In what weights may differ from a model, besides a prefix and the head.

    `unused` and `new` are how the names begin that are of no use to it, and those that may stay as they are in it;
    `adapt` changes weights that do not fit otherwise: (weights, model) -> weights.
    """

    unused: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    adapt: Callable[[State, nn.Module], State] = lambda state, model: state


def fit(
    model: nn.Module, states: Mapping[str, State], source: str, leave: Leave = Leave(), head: bool = True
) -> list[str]:
    """Puts the one of these sets of weights that fits best into a model; returns what is to be said of it.

    A prefix that its names carry is taken off. The head is taken where it is for as many classes, unless `head` is
    False, and stays as it is otherwise. Raises `MisfitError`, the model as before, for any other difference.
    """
    state, said = _matched(model, states, source, leave, head)
    for name, each in state.items():
        if each.is_floating_point() and each.isnan().any():
            raise Error(f"{source}: {name} holds values that are no numbers, as after a training that diverged")
    model.load_state_dict(state, strict=False)
    return said


def fits(model: nn.Module, states: Mapping[str, State], leave: Leave) -> bool:
    """Whether `fit` would take these; the model may lie on the meta device."""
    with suppress(MisfitError):
        _matched(model, states, "", leave, True)
        return True
    return False


def _matched(
    model: nn.Module, states: Mapping[str, State], source: str, leave: Leave, head: bool
) -> tuple[State, list[str]]:
    """What of these goes into the model, and what is to be said of it."""
    own = _Own(model)
    state, said = _nearest(own, states)
    kept, words, wrong = _compared(own, state, leave, head)
    if wrong:
        adapted = _compared(own, leave.adapt(state, model), leave, head)
        if not adapted[2]:
            kept, words, wrong = adapted
            said.append("adapted")
    _refuse(wrong, source)
    return kept, said + words


class _Own:
    """A model's tensors by name, which of them are its heads', and how names of a head begin, be it these or others."""

    def __init__(self, model: nn.Module) -> None:
        self.state, self.tops = model.state_dict(), heads(model)
        self.heads = {name for name in self.state for top in self.tops if name.startswith(f"{top}.")}
        scopes = {f"{top}." for top in self.tops}
        for word in {top.partition(".")[0] + "." for top in self.tops}:
            if all(name in self.heads for name in self.state if name.startswith(word)):
                scopes.add(word)
        self.scopes = tuple(scopes)


def _nearest(own: _Own, states: Mapping[str, State]) -> tuple[State, list[str]]:
    """The set of weights that has most of the model's names, without their prefix, and what is to be said of it."""
    found = []
    for label, state in states.items():
        for prefix in _prefixes(own, state):
            hits = sum(prefix + name in state for name in own.state)
            found.append((hits, bool(AVERAGES.search(f"{label} {prefix}")), label, prefix))
    most = max(each[:2] for each in found)
    label, prefix = next(each[2:] for each in found if each[:2] == most)  # the first of these
    said = [f"its {label}"] if len({each[2] for each in found if each[0] == most[0]}) > 1 else []
    whole = states[label]
    state = {name[len(prefix) :]: each for name, each in whole.items() if name.startswith(prefix)}
    if prefix:
        said.append(f"without the prefix {prefix!r}")
        state |= {name: whole[name] for name in own.heads if name not in state and name in whole}  # a head beside it
        if others := len(whole) - len(state) - ("n_averaged" in whole):
            said.append(f"{others} {'tensors' if others > 1 else 'tensor'} of other names left out")
    return state, said


def _prefixes(own: _Own, state: State) -> list[str]:
    some = [*own.state][:5]
    found = {name[: -len(each)]: None for each in some for name in state if name.endswith(f".{each}")}
    return ["", *found]


def _compared(own: _Own, state: State, leave: Leave, head: bool) -> tuple[State, list[str], list[str]]:
    """What of these weights goes into the model, what is to be said of it, and what does not fit."""
    unused = [name for name in state if name not in own.state and name.startswith((*leave.unused, "n_averaged"))]
    given = {name for name in state if name in own.heads or name.startswith(own.scopes)}
    words = [f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in unused))} left out"] if unused else []
    if head and given == own.heads and all(state[name].shape == own.state[name].shape for name in given):
        given = set()
        words.append("its head too")
    elif head:
        words.append(_of_the_head(own, state, given))
    kept = {name: each for name, each in state.items() if name not in given and name not in unused}
    spared = {name for name in own.state if name.startswith(leave.new) or name.endswith("num_batches_tracked")}
    needed = {name: each for name, each in own.state.items() if name in kept or name not in spared | own.heads}
    return kept, words, _differences(needed, kept)


def _of_the_head(own: _Own, state: State, given: set[str]) -> str:
    if not given:
        return "without a head"
    weight = state.get(f"{own.tops[0]}.weight")
    return "another head left out" if weight is None else f"head for {weight.shape[0]} classes left out"


def _differences(own: State, state: State) -> list[str]:
    wrong = []
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            wrong.append(f"{name} is missing")
        elif name not in own:
            wrong.append(f"{name} is not in the model")
        elif own[name].shape != state[name].shape:
            wrong.append(f"{name} is {_shape(state[name])}, the model's is {_shape(own[name])}")
    return wrong


def _refuse(wrong: list[str], source: str) -> None:
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise MisfitError(f"{source}: the weights do not fit the model: {'; '.join(wrong[:3])}{more}")


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
