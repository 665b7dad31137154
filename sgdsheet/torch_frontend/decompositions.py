"""Which ATen operations are taken apart before they are put on a sheet, and into what.

torch's own core ATen decompositions do most of it. An operation that is one readable formula a cell as a whole stays
whole; one whose parts a reader wants to see (a softmax's exponentials and their sum) is taken apart, so that each part
is a block of its own which torch computes too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import core_aten_decompositions, get_decompositions

aten = torch.ops.aten

WHOLE = (
    "addmm mm bmm convolution convolution_backward max_pool2d_with_indices max_pool2d_with_indices_backward avg_pool2d "
    "avg_pool2d_backward embedding embedding_dense_backward nll_loss_forward nll_loss_backward sigmoid relu "
    "threshold_backward masked_fill"
).split()

# Not in torch's core set, but in its table.
APART = (
    "_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data mse_loss mse_loss_backward smooth_l1_loss "
    "smooth_l1_loss_backward huber_loss huber_loss_backward binary_cross_entropy binary_cross_entropy_backward "
    "native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward "
    "_native_batch_norm_legit_functional _native_batch_norm_legit_no_training native_batch_norm_backward gelu "
    "gelu_backward _adaptive_avg_pool2d std var"
).split()


def table() -> dict[Any, Callable[..., Any]]:
    """The operations to take apart, each with the function that does it in terms of others."""
    taken = dict(core_aten_decompositions())
    more = [getattr(aten, name) for name in APART if hasattr(aten, name)]
    taken.update(get_decompositions(more))
    taken[aten.var_mean.correction] = _var_mean
    taken[aten.var.correction] = lambda *args, **kwargs: _var_mean(*args, **kwargs)[0]
    return {op: function for op, function in taken.items() if op._schema.name.partition("::")[2] not in WHOLE}


def in_place() -> dict[Any, Callable[..., Any]]:
    """What to replace first, because torch's own kernel changes something that its signature does not tell of."""
    return {aten.native_batch_norm.default: _native_batch_norm}


def _var_mean(x: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    """Variance and mean, by way of the distances from the mean, which most of what follows needs too."""
    dims = list(range(x.ndim)) if not dim else dim
    count = 1
    for each in dims:
        count *= x.shape[each]
    mean = aten.mean.dim(x, dims, True)
    away = x - mean
    var = (away * away).sum(dims, keepdim) / max(0, count - (1 if correction is None else correction))
    return var, mean if keepdim else mean.squeeze(dims)


def _native_batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float
) -> Any:
    """Batch norm, with its running statistics changed in place as torch's own kernel does unseen."""
    if not training:
        return aten._native_batch_norm_legit_no_training.default(x, weight, bias, mean, var, momentum, eps)
    if mean is None:
        return aten._native_batch_norm_legit.no_stats(x, weight, bias, training, momentum, eps)
    y, saved, rstd, new_mean, new_var = aten._native_batch_norm_legit_functional.default(
        x, weight, bias, mean, var, training, momentum, eps
    )
    mean.copy_(new_mean)
    var.copy_(new_var)
    return y, saved, rstd
