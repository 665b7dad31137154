"""Operations that only move elements: torch itself says where each comes from, and they spend no cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

REARRANGED = set(
    "view.default _unsafe_view.default permute.default transpose.int t.default expand.default "
    "squeeze.default squeeze.dim squeeze.dims unsqueeze.default select.int slice.Tensor split.Tensor "
    "split_with_sizes.default unbind.int cat.default stack.default flip.default roll.default diagonal.default "
    "as_strided.default constant_pad_nd.default repeat.default select_scatter.default slice_scatter.default "
    "diagonal_scatter.default view_copy.default permute_copy.default expand_copy.default tril.default triu.default "
    "unfold.default reflection_pad1d.default reflection_pad2d.default replication_pad1d.default "
    "replication_pad2d.default pixel_shuffle.default pixel_unshuffle.default upsample_nearest1d.default "
    "upsample_nearest2d.default im2col.default as_strided_scatter.default".split()
)


def rearrange(overload: Callable[..., Any], op: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Runs torch's operation on the elements' numbers, and puts the elements where their numbers went."""
    elements: list[Any] = [0]  # what torch fills with

    def numbered(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            start = len(elements)
            elements.extend(value.reshape(-1).tolist())
            return torch.arange(start, len(elements), dtype=torch.float64).reshape(value.shape)
        if isinstance(value, list) and any(isinstance(each, np.ndarray) for each in value):
            return [numbered(each) for each in value]
        return value

    numbers = [numbered(each) for each in args]
    if op == "constant_pad_nd.default":
        elements[0] = args[2] if len(args) > 2 else kwargs.pop("value", 0)
        numbers = numbers[:2]
    flat = np.empty(len(elements), dtype=object)
    flat[:] = elements
    found = overload(*numbers, **kwargs)
    if isinstance(found, (list, tuple)):
        return [flat[each.long().numpy()] for each in found]
    return np.asarray(flat[found.long().numpy()], dtype=object).reshape(tuple(found.shape))
