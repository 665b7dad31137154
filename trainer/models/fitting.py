"""Weights put into a model, if they fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from sgdsheet.errors import Error
from trainer.models.heads import heads

State = Mapping[str, torch.Tensor]

# What running means of weights are called; they are preferred.
AVERAGES = re.compile(r"(?<![a-z])(ema|averaged|teacher)(?![a-z])", re.IGNORECASE)


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
