"""A caller's own objects, lent: whatever is done with them, they are afterwards as they were before.

A loss may count its calls, an optimiser keeps its state, a model changes its buffers. To run them for a few steps and
to leave no trace takes three things: what each object holds is noted beforehand, as far as it can be reached from
those that are lent; a tensor's numbers are noted before the first operation that changes them; and so are the
generators of random numbers.
"""

from __future__ import annotations

import functools
import random
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

# Values that nothing can change, and objects that belong to everybody.
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType, types.BuiltinFunctionType)
_LIBRARIES = sys.stdlib_module_names | {"numpy"}
_ITERATORS = (type(iter([])), type(iter(())), type(iter(range(0))))  # those whose place can be set
_MISSING = object()


@contextmanager
def lent(*objects: Any) -> Iterator[None]:
    """Puts everything back at the end, also after an error: attributes, containers, which tensors, random numbers.

    What cannot be put back: a generator function's place, a file's, and what another program or a device holds.
    """
    notes = _Notes()
    notes.generators()
    notes.walk(objects)
    try:
        yield
    finally:
        notes.put_back()


@contextmanager
def written_back() -> Iterator[None]:
    """Puts the numbers back into each tensor that an operation changes, also after an error."""
    writes = _Writes()
    try:
        with writes:
            yield
    finally:
        writes.put_back()


class _Notes:
    """What objects hold, and how it is put back."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}  # by id, which stays an object's own as long as it is kept here
        self._back: list[Callable[[], None]] = []

    def put_back(self) -> None:
        for each in self._back:
            each()

    def generators(self) -> None:
        """The generators that everybody shares."""
        python, numbers, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self._back += [
            lambda: random.setstate(python),
            lambda: np.random.set_state(numbers),
            lambda: torch.set_rng_state(torchs),
        ]
        if torch.cuda.is_initialized():
            devices = torch.cuda.get_rng_state_all()
            self._back.append(lambda: torch.cuda.set_rng_state_all(devices))

    def walk(self, objects: Iterable[Any]) -> None:
        """All that is reached from these."""
        waiting = [*objects]
        while waiting:
            value = waiting.pop()
            if isinstance(value, _PLAIN) or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            waiting.extend(self._held(value))

    def _held(self, value: Any) -> Iterable[Any]:
        """What an object refers to, after noting it."""
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, dict):
            return [*self._dict(value), *self._attributes(value)]
        if isinstance(value, (list, deque, set)):
            return [*self._container(value), *self._attributes(value)]
        if isinstance(value, (tuple, frozenset)):
            return value
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return (value.__self__, value.__func__)
        if isinstance(value, functools.partial):
            return (value.func, value.args, value.keywords)
        if isinstance(value, random.Random):
            return self._state(value.getstate, value.setstate)
        if isinstance(value, torch.Generator):
            return self._state(value.get_state, value.set_state)
        if isinstance(value, np.random.RandomState):
            return self._state(value.get_state, value.set_state)
        if isinstance(value, np.random.Generator):
            bits: Any = value.bit_generator
            return self._state(lambda: bits.state, lambda state: setattr(bits, "state", state))
        if isinstance(value, _ITERATORS):
            iterator: Any = value
            _, sources, *place = iterator.__reduce__()
            self._back += [functools.partial(iterator.__setstate__, each) for each in place]
            return sources
        if _library(type(value)):
            return ()
        return self._attributes(value)

    def _tensor(self, tensor: torch.Tensor) -> Iterable[Any]:
        if not (tensor.is_leaf and tensor.layout == torch.strided) or tensor.is_meta or tensor.is_quantized:
            return ()
        data, grad, learned = tensor.data, tensor.grad, tensor.requires_grad

        def back() -> None:
            if tensor.dtype != data.dtype or tensor.data_ptr() != data.data_ptr():
                tensor.grad = None
                tensor.data = data
            if tensor.grad is not grad:
                tensor.grad = grad
            if tensor.requires_grad != learned:
                tensor.requires_grad_(learned)

        self._back.append(back)
        return self._attributes(tensor)

    def _dict(self, value: dict[Any, Any]) -> Iterable[Any]:
        kind: Any = OrderedDict if isinstance(value, OrderedDict) else dict
        before = [*value.items()]

        def back() -> None:
            if not _same([*value.items()], before):
                kind.clear(value)
                kind.update(value, before)

        self._back.append(back)
        return [each for pair in before for each in pair]

    def _container(self, value: Any) -> Iterable[Any]:
        before = [*value]

        def back() -> None:
            if not _same([(each,) for each in value], [(each,) for each in before]):
                value.clear()
                (value.update if isinstance(value, set) else value.extend)(before)

        self._back.append(back)
        return before

    def _function(self, function: types.FunctionType) -> Iterable[Any]:
        """A function's variables: those that it closes over, its defaults, and the globals that it names."""
        if _library(function) or (function.__module__ or "").partition(".")[0] == "torch":
            return ()
        held: list[Any] = [function.__defaults__, function.__kwdefaults__, vars(function)]
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not yet filled
                continue
            self._back.append(lambda cell=cell, content=content: setattr(cell, "cell_contents", content))
            held.append(content)
        shared = function.__globals__
        for name in _named(function.__code__):
            content = shared.get(name, _MISSING)
            if content is not _MISSING:
                held.append(content)
            self._back.append(lambda name=name, content=content: _set(shared, name, content))
        return held

    def _attributes(self, value: Any) -> Iterable[Any]:
        held: list[Any] = [vars(value)] if hasattr(value, "__dict__") else []
        for kind in type(value).__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and (content := getattr(value, name, None)) is not None:
                    held.append(content)
                    self._back.append(functools.partial(_assign, value, name, content))
        return held

    def _state(self, get: Callable[[], Any], put: Callable[[Any], Any]) -> Iterable[Any]:
        state = get()
        self._back.append(lambda: put(state))
        return ()


class _Writes(TorchDispatchMode):
    """Notes the numbers of each tensor before the first operation that changes it."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[int, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in _written(func, args, kwargs):
            storage = value.untyped_storage()
            if storage._cdata not in self._before:
                self._before[storage._cdata] = (storage, storage.clone())
        return func(*args, **kwargs)

    def put_back(self) -> None:
        for storage, before in self._before.values():
            if storage.nbytes() == before.nbytes():
                storage.copy_(before)


def _written(func: Any, args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    """The tensors that an operation changes."""
    for number in _places(func):
        argument = func._schema.arguments[number]
        given = args[number] if number < len(args) else kwargs.get(argument.name)
        yield from (each for each in pytree.tree_leaves(given) if isinstance(each, torch.Tensor))


@functools.cache
def _places(func: Any) -> tuple[int, ...]:
    """Which arguments an operation changes. What batch norms do to their statistics, their signatures do not tell."""
    arguments = func._schema.arguments
    if "batch_norm" in func._schema.name:
        return tuple(number for number, each in enumerate(arguments) if each.name.startswith("running"))
    return tuple(n for n, each in enumerate(arguments) if each.alias_info is not None and each.alias_info.is_write)


def _same(now: list[Any], before: list[Any]) -> bool:
    """Whether two lists of tuples hold the same objects."""
    return len(now) == len(before) and all(
        a is b for pair, other in zip(now, before, strict=True) for a, b in zip(pair, other, strict=True)
    )


def _library(value: Any) -> bool:
    return (value.__module__ or "").partition(".")[0] in _LIBRARIES


def _named(code: types.CodeType) -> Iterator[str]:
    """The names that a function's code, and that of functions in it, takes from outside."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _named(each)


def _set(held: dict[str, Any], name: str, content: Any) -> None:
    if content is _MISSING:
        held.pop(name, None)
    elif held.get(name, _MISSING) is not content:
        held[name] = content


def _assign(value: Any, name: str, content: Any) -> None:
    if getattr(value, name, None) is not content:
        setattr(value, name, content)
