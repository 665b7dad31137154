"""Which ATen operations are taken apart before they are put on a sheet, and into what.

An operation that `ops` knows is a readable formula as a whole, and stays whole. Every other is taken apart by torch's
own table of decompositions, so that each part is a block of its own which torch computes too: a softmax's
exponentials, their sum, and the quotient. Some are taken apart here, so that the parts are what a reader wants to see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch._decomp import core_aten_decompositions, get_decompositions

from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.ops.products import TERMS
from sgdsheet.torch_frontend.tracing import gradients, grid

aten = torch.ops.aten


# What torch's table takes apart, but not torch's core set.
APART = (
    "_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data mse_loss mse_loss_backward smooth_l1_loss "
    "smooth_l1_loss_backward huber_loss huber_loss_backward "
    "native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward "
    "_native_batch_norm_legit _native_batch_norm_legit_functional native_batch_norm_backward gelu gelu_backward std "
    "nll_loss_forward nll_loss_backward nll_loss2d_forward nll_loss2d_backward hardswish_backward hardsigmoid_backward "
    "mish_backward silu_backward hardtanh_backward elu_backward softplus_backward log_sigmoid_backward "
    "leaky_relu_backward l1_loss soft_margin_loss linalg_vector_norm logsumexp logaddexp logaddexp2 lerp addcmul "
    "addcdiv std_mean upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d dist addmv "
    "narrow_copy unbind_copy rrelu_with_noise_backward"
).split()


@cache
def table() -> Mapping[Any, Callable[..., Any]]:
    """The operations to take apart, each with the function that does it in terms of others.

    torch goes through all its operations to make its own; it is the same each time.
    """
    more = get_decompositions([getattr(aten, name) for name in APART])
    both = {**dict(core_aten_decompositions()), **more}
    taken = {op: each for op, each in both.items() if not ops.known(_name(op))}
    taken[aten.var_mean.correction] = _var_mean
    taken[aten.sum.dim_IntList] = _sum
    taken[aten.sum.default] = lambda x, **kwargs: _sum(x, range(x.ndim), **kwargs)
    taken[aten.mean.dim] = _mean
    taken[aten.mean.default] = lambda x, **kwargs: _mean(x, range(x.ndim), **kwargs)
    taken[aten.var.correction] = lambda *args, **kwargs: _var_mean(*args, **kwargs)[0]
    taken[aten.rrelu_with_noise_functional.default] = _rrelu
    for op in (aten.replication_pad1d_backward, aten.replication_pad2d_backward, aten.replication_pad3d_backward):
        taken[op.default] = _replication_pad_backward
    taken[aten.convolution.default] = _convolution
    taken[aten.convolution_backward.default] = _convolution_backward
    return taken | gradients.table() | grid.table()


def _name(op: Any) -> str:
    return str(op).removeprefix("aten.")


def in_place() -> dict[Any, Callable[..., Any]]:
    """What to replace first, because torch's own kernel changes something that its signature does not tell of."""
    return {aten.native_batch_norm.default: _native_batch_norm}


def _var_mean(x: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    """Variance and mean, by way of the distances from the mean, which most of what follows needs too."""
    dims = dim or list(range(x.ndim))
    count = 1
    for each in dims:
        count *= x.shape[each]
    mean = aten.mean.dim(x, dims, True)
    away = x - mean
    var = (away * away).sum(dims, keepdim) / max(0, count - (1 if correction is None else correction))
    return var, mean if keepdim else mean.squeeze(dims)


def _rrelu(
    x: Any, noise: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> Any:
    """A leaky ReLU whose slope below 0 is drawn for each element, or the middle of the slopes outside training."""
    if training:
        noise = torch.where(x > 0, 1.0, torch.rand_like(x) * (upper - lower) + lower)
        return x * noise, noise
    return aten.leaky_relu(x, (lower + upper) / 2), aten.alias(noise)


def _replication_pad_backward(grad: Any, x: Any, padding: list[int]) -> Any:
    """Each element's gradient and those of its copies, summed, along one dimension after the other."""
    for number, before in enumerate(padding[::2]):
        axis = x.ndim - 1 - number
        copied = torch.arange(-before, grad.shape[axis] - before).clamp(0, x.shape[axis] - 1)
        shape = [*grad.shape[:axis], x.shape[axis], *grad.shape[axis + 1 :]]
        grad = grad.new_zeros(shape).index_add(axis, copied, grad)
    return grad


def _native_batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float
) -> Any:
    """Batch norm, with its running statistics changed in place as torch's own kernel does unseen."""
    if not training:  # the gradient takes the running statistics, and neither of the saved ones
        along = [1, -1, *[1] * (x.ndim - 2)]
        y = (x - mean.view(along)) * (var + eps).rsqrt().view(along)
        y = y if weight is None else y * weight.view(along)
        return y if bias is None else y + bias.view(along), x.new_empty(0), x.new_empty(0)
    if mean is None:
        return aten._native_batch_norm_legit.no_stats(x, weight, bias, training, momentum, eps)
    y, saved, rstd, new_mean, new_var = aten._native_batch_norm_legit_functional.default(
        x, weight, bias, mean, var, training, momentum, eps
    )
    mean.copy_(new_mean)
    var.copy_(new_var)
    return y, saved, rstd


def _convolution(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Any:
    """A convolution that looks at windows without gaps: rows and columns of 0 stand where there was nothing.

    A dilated filter gets them between its weights; a transposed convolution gets them between the elements of x, and
    its filter is turned. Both are laid out in cells, so that a window is one range. One of so many channels that one
    formula could not name them all is the sum of convolutions of some channels each.
    """
    dims = x.ndim - 2
    stride, padding, dilation = (_each_of(given, dims) for given in (stride, padding, dilation))
    if transposed:
        turned = weight.flip(list(range(2, weight.ndim)))
        parts = turned.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).transpose(1, 2)
        turned = parts.reshape(-1, weight.shape[0] // groups, *weight.shape[2:])
        spread = _spread(x, stride)
        edges = []
        for axis in reversed(range(dims)):
            before = dilation[axis] * (weight.shape[2 + axis] - 1) - padding[axis]
            edges += [before, before + _each_of(output_padding, dims)[axis]]
        spread = aten.constant_pad_nd.default(spread, edges, 0.0)
        ones, none = [1] * dims, [0] * dims
        return aten.convolution.default(spread, turned, bias, ones, none, dilation, False, none, groups)
    if any(each > 1 for each in dilation):
        ones, none = [1] * dims, [0] * dims
        spread = _spread(weight, dilation)
        return aten.convolution.default(x, spread, bias, stride, padding, ones, False, none, groups)
    channels, matrices = weight.shape[1], math.prod(weight.shape[2:-2])
    if dims < 2 or channels == 1 or channels * matrices <= TERMS:
        return NotImplemented
    looked = x.unflatten(1, (groups, channels))
    parts = [
        aten.convolution.default(
            looked.narrow(2, start, part.shape[1]).flatten(1, 2),
            part,
            None,
            stride,
            padding,
            dilation,
            False,
            output_padding,
            groups,
        )
        for start, part in _split(weight, 1, TERMS // matrices)
    ]
    found = torch.stack(parts).sum(0)
    return found if bias is None else found + bias.reshape(-1, *[1] * dims)


def _split(x: Any, axis: int, size: int) -> list[tuple[int, Any]]:
    """Parts of x of at most that size along an axis, each with where it begins."""
    size = max(1, size)
    length = x.shape[axis]
    return [(start, x.narrow(axis, start, min(size, length - start))) for start in range(0, length, size)]


def _sum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """A sum over so many matrices that one formula could not name them all: each matrix's sum first, or in parts."""
    if x.ndim < 3:
        return NotImplemented
    dims = sorted(each % x.ndim for each in dim) if dim else list(range(x.ndim))
    outer, inner = [each for each in dims if each < x.ndim - 2], [each for each in dims if each >= x.ndim - 2]
    count = math.prod(x.shape[each] for each in outer)
    if count <= TERMS or not x.numel():
        return NotImplemented
    x = x if dtype is None else x.to(dtype)
    shape = [1 if axis in dims else size for axis, size in enumerate(x.shape)]
    if inner:
        found = x.sum(inner).sum(outer)
    else:
        axis = max(outer, key=lambda each: x.shape[each])
        found = torch.stack([part.sum(dims) for _, part in _split(x, axis, TERMS * x.shape[axis] // count)]).sum(0)
    return found.reshape(shape) if keepdim else found


def _mean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """A mean over so many matrices, likewise."""
    total = _sum(x, dim, keepdim, dtype=dtype)
    return total if total is NotImplemented else total / (x.numel() // total.numel())


def _convolution_backward(
    grad: Any,
    x: Any,
    weight: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    wanted: Any,
) -> Any:
    """The three gradients of a convolution, as convolutions themselves."""
    dims = x.ndim - 2
    none = [0] * dims
    stride, padding, dilation = (_each_of(given, dims) for given in (stride, padding, dilation))
    grad_x = grad_weight = grad_bias = None
    if wanted[0]:
        if transposed:
            grad_x = aten.convolution.default(grad, weight, None, stride, padding, dilation, False, none, groups)
            grad_x = _first(grad_x, x.shape[2:])
        else:
            missing = [
                x.shape[2 + i]
                - ((grad.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1)
                for i in range(dims)
            ]
            grad_x = aten.convolution.default(grad, weight, None, stride, padding, dilation, True, missing, groups)
    if wanted[1]:
        seen, other = (grad, x) if transposed else (x, grad)
        parts = [
            _weight_gradient(a, b, weight.shape[2:], stride, padding, dilation)
            for a, b in zip(seen.chunk(groups, 1), other.chunk(groups, 1), strict=True)
        ]
        grad_weight = parts[0] if groups == 1 else torch.cat(parts)
    if wanted[2]:
        grad_bias = grad.sum([0, *range(2, grad.ndim)])
    return grad_x, grad_weight, grad_bias


def _weight_gradient(x: Any, grad: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    """For each weight the sum of what it was multiplied with, times the gradient of what it went into."""
    ones, none = [1] * len(kernel), [0] * len(kernel)
    moved = _spread(grad.transpose(0, 1), stride)
    found = aten.convolution.default(x.transpose(0, 1), moved, None, dilation, padding, ones, False, none, 1)
    return _first(found, kernel).transpose(0, 1)


def _first(x: Any, sizes: Any) -> Any:
    """The first rows and columns of x, as many as that."""
    for axis, size in enumerate(sizes, start=2):
        x = x.narrow(axis, 0, size)
    return x


def _spread(x: Any, steps: Any) -> Any:
    """x with steps - 1 elements of 0 between its elements, in its last dimensions."""
    for axis, step in enumerate(steps, start=x.ndim - len(steps)):
        if step > 1 and x.shape[axis] > 1:
            shape = list(x.shape)
            shape[axis] = (shape[axis] - 1) * step + 1
            x = aten.slice_scatter.default(x.new_zeros(shape), x, axis, 0, shape[axis], step)
    return x


def _each_of(given: Any, dims: int) -> list[int]:
    return list(given) * (dims if len(given) == 1 else 1)
