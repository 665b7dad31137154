"""What depends on constants alone while a model is traced: it is computed for real, and so may be looked at.

A mask made of sizes, a table that the model keeps as a plain attribute: neither depends on an input or a parameter.
Code may ask whether such a mask is causal, choose rows by it, or change a copy of it in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.weak import WeakIdKeyDictionary

# Constants without any tensor to begin with. Others, such as `torch.rand`, are no constants.
_MAKERS = {torch.arange, torch.eye, torch.full, torch.linspace, torch.ones, torch.tensor, torch.zeros}
_MAKERS |= {torch.tril_indices, torch.triu_indices}
_RANDOM = ("rand", "dropout", "bernoulli", "multinomial", "normal", "uniform", "exponential", "geometric", "cauchy")
UNKNOWN = object()


class Constants:
    """The values of tensors that depend on constants alone.

    `is_outside(value)` tells a tensor that has its values from one that torch only traces.
    """

    def __init__(self, is_outside: Callable[[Any], bool]) -> None:
        self._is_outside = is_outside
        self._values = WeakIdKeyDictionary()  # of traced tensors
        self._made: list[Any] = []  # the storages of what was computed here, kept so that none takes their place

    def owns(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor with values was computed here: it may be changed in place."""
        return any(tensor.untyped_storage().data_ptr() == each.data_ptr() for each in self._made)

    def compute(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """What a call gives, computed for real, or `UNKNOWN` if it depends on more than constants."""
        leaves = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        name = getattr(func, "__name__", "")
        if (not leaves and func not in _MAKERS) or any(word in name for word in _RANDOM):
            return UNKNOWN
        if any(self._value(each) is None for each in leaves):
            return UNKNOWN
        real_args, real_kwargs = pytree.tree_map(self._real, (args, kwargs))
        try:
            with _disable_current_modes(), torch.no_grad():
                found = func(*real_args, **real_kwargs)
        except Exception:  # what torch refuses it will refuse again where it is traced
            return UNKNOWN
        for each in pytree.tree_leaves(found):
            if isinstance(each, torch.Tensor) and not any(each is given for given in leaves):
                self._made.append(each.untyped_storage())
        return found

    def index(self, index: Any) -> Any:
        """An index, as `x[index]` has it, with whole numbers in place of a mask that is constant."""
        found = []
        for each in index if isinstance(index, tuple) else (index,):
            mask = self._value(each) if isinstance(each, torch.Tensor) and each.dtype == torch.bool else None
            with _disable_current_modes():
                found += [each] if mask is None or not mask.dim() else mask.nonzero(as_tuple=True)
        return tuple(found) if isinstance(index, tuple) or len(found) > 1 else found[0]

    def only(self, args: Any, kwargs: Any) -> bool:
        """Whether a call takes tensors, and all of them have values."""
        leaves = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        return bool(leaves) and all(map(self._is_outside, leaves))

    def remember(self, traced: Any, real: Any) -> None:
        """The values of what a traced call gave are those that were computed for real."""
        for one, other in zip(pytree.tree_leaves(traced), pytree.tree_leaves(real), strict=False):
            if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and not self._is_outside(one):
                self._values[one] = other

    def forget(self, changed: torch.Tensor) -> None:
        """What was changed in place by more than constants is none any more, nor what shares its memory."""
        held = self._values.get(changed)
        if held is not None:
            place = held.untyped_storage().data_ptr()
            for each in [each for each, value in self._values.items() if value.untyped_storage().data_ptr() == place]:
                del self._values[each]

    def _value(self, tensor: torch.Tensor) -> torch.Tensor | None:
        return tensor if self._is_outside(tensor) else self._values.get(tensor)

    def _real(self, value: Any) -> Any:
        return self._value(value) if isinstance(value, torch.Tensor) else value
