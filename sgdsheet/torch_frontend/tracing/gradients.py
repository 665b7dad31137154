"""Gradients that torch computes in a kernel of its own, taken apart into operations that a sheet has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

aten = torch.ops.aten

MEAN, SUM = 1, 2  # what torch calls the reductions of a loss
BAG_MEAN, BAG_MAX = 1, 2  # what it calls the modes of an embedding bag


def table() -> dict[Any, Callable[..., Any]]:
    """Returns each operation with the function that does it in terms of others."""
    return {
        aten.binary_cross_entropy.default: _binary_cross_entropy,
        aten.binary_cross_entropy_backward.default: _binary_cross_entropy_backward,
        aten.multi_margin_loss_backward.default: _multi_margin_backward,
        aten.multilabel_margin_loss_forward.default: _multilabel_margin,
        aten.multilabel_margin_loss_backward.default: _multilabel_margin_backward,
        aten.upsample_linear1d_backward.default: _upsample_backward(_linear),
        aten.upsample_bilinear2d_backward.default: _upsample_backward(_linear),
        aten.upsample_trilinear3d_backward.default: _upsample_backward(_linear),
        aten.upsample_bicubic2d_backward.default: _upsample_backward(_cubic),
        aten._embedding_bag.default: _embedding_bag,
        aten._embedding_bag_forward_only.default: _embedding_bag,
        aten._embedding_bag_backward.default: _embedding_bag_backward,
        aten._embedding_bag_per_sample_weights_backward.default: _embedding_bag_weights_backward,
    }


# --- losses ----------------------------------------------------------------------------------------------------------


def _binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: int = MEAN) -> Any:
    """The cross entropy of probabilities, whose logarithms torch cuts off at -100: before a cell takes that of 0."""
    least = math.exp(-100)
    loss = (target - 1) * (1 - x).clamp(min=least).log() - target * x.clamp(min=least).log()
    loss = loss if weight is None else loss * weight
    return loss.mean() if reduction == MEAN else loss.sum() if reduction == SUM else loss


def _binary_cross_entropy_backward(grad: Any, x: Any, target: Any, weight: Any = None, reduction: int = MEAN) -> Any:
    """Its gradient; torch's least divisor is 1e-12 in float32, whatever it computes in."""
    found = grad * (x - target) / ((1 - x) * x).clamp(min=torch.tensor(1e-12, dtype=torch.float32).item())
    found = found if weight is None else found * weight
    return found / x.numel() if reduction == MEAN else found


def _multi_margin_backward(
    grad: Any, x: Any, target: Any, p: Any, margin: Any, weight: Any = None, reduction: int = MEAN
) -> Any:
    """Each class that comes within the margin is pushed down, and the right one up by as much. `x` is (n, classes)."""
    rows, labels = x.reshape(-1, x.shape[-1]), target.reshape(-1, 1)
    count, classes = rows.shape
    within = margin - rows.gather(1, labels) + rows
    right = torch.arange(classes) == labels
    pushed = torch.where((within > 0) & ~right, 2 * within if p == 2 else 1.0, 0.0) / classes
    if weight is not None:
        pushed = pushed * weight.index_select(0, labels.reshape(-1)).unsqueeze(1)
    found = torch.where(right, -pushed.sum(1, keepdim=True), pushed)
    return (found * _of_each(grad, count, reduction)).reshape(x.shape)


def _multilabel_margin(x: Any, target: Any, reduction: int) -> Any:
    """How far each wrong class comes within the margin of each right one; and which are right. `x` is (n, classes).

    torch's own way to take it apart counts labels after the first -1, in 2.13 and before.
    """
    rows, labels, there = _labels(x, target)
    right = (torch.where(there, labels, -1).unsqueeze(2) == torch.arange(rows.shape[1])).any(1)
    within = 1 - rows.gather(1, labels).unsqueeze(2) + rows.unsqueeze(1)
    counts = there.unsqueeze(2) & ~right.unsqueeze(1)
    losses = torch.where(counts, within.clamp(min=0), 0).sum((1, 2)) / rows.shape[1]
    loss = losses.mean() if reduction == MEAN else losses.sum() if reduction == SUM else losses.reshape(x.shape[:-1])
    return loss, right.to(x.dtype).reshape(target.shape)


def _multilabel_margin_backward(grad: Any, x: Any, target: Any, reduction: int, is_target: Any) -> Any:
    """Each wrong class within the margin of a right one is pushed down, the right one up. `x` is (n, classes)."""
    rows, labels, there = _labels(x, target)
    count, classes = rows.shape
    within = 1 - rows.gather(1, labels).unsqueeze(2) + rows.unsqueeze(1)
    wrong = is_target.reshape(count, 1, classes) == 0
    pushed = torch.where((within > 0) & there.unsqueeze(2) & wrong, 1.0, 0.0) / classes
    found = pushed.sum(1).scatter_add(1, labels, -pushed.sum(2))
    return (found * _of_each(grad, count, reduction)).reshape(x.shape)


def _labels(x: Any, target: Any) -> tuple[Any, Any, Any]:
    """The rows of `x`, the labels of each, and which of them count: they end with the first -1."""
    rows, labels = x.reshape(-1, x.shape[-1]), target.reshape(-1, x.shape[-1])
    there = (labels >= 0).to(rows.dtype).cumprod(1) > 0
    return rows, torch.where(there, labels, 0), there


def _of_each(grad: Any, count: int, reduction: int) -> Any:
    """The gradient of each row's loss."""
    return grad / count if reduction == MEAN else grad if reduction == SUM else grad.reshape(-1, 1)


# --- upsampling ------------------------------------------------------------------------------------------------------


def _upsample_backward(shares: Callable[[float, int], dict[int, float]]) -> Callable[..., Any]:
    """The gradient of an interpolation: along each dimension the product with the matrix that interpolates."""

    def backward(
        grad: Any, output_size: Sequence[int], input_size: Sequence[int], align_corners: bool, *scales: float | None
    ) -> Any:
        for number, (long, short) in enumerate(zip(output_size, input_size[2:], strict=True)):
            scale = scales[number] if number < len(scales) else None
            matrix = [[0.0] * short for _ in range(long)]
            for place in range(long):
                for seen, share in shares(_source(place, long, short, align_corners, scale), short).items():
                    matrix[place][seen] = share
            axis = 2 + number
            grad = torch.matmul(grad.transpose(axis, -1), torch.tensor(matrix, dtype=grad.dtype)).transpose(axis, -1)
        return grad

    return backward


def _source(place: int, long: int, short: int, align_corners: bool, scale: float | None) -> float:
    """Where a place of the output lies in the input."""
    if align_corners:
        return place * (short - 1) / (long - 1) if long > 1 else 0.0
    return (place + 0.5) * (1 / scale if scale else short / long) - 0.5


def _linear(source: float, size: int) -> dict[int, float]:
    """The share of each element in one that lies between two of them."""
    source = max(source, 0.0)
    before = min(math.floor(source), size - 1)
    after = min(before + 1, size - 1)
    share = min(max(source - before, 0.0), 1.0)
    return _shares([(before, 1 - share), (after, share)])


def _cubic(source: float, size: int) -> dict[int, float]:
    """The share of each element in one that lies between four of them (Keys, with a = -0.75)."""
    first, a = math.floor(source), -0.75
    found = []
    for place in range(first - 1, first + 3):
        away = abs(source - place)
        near = ((a + 2) * away - (a + 3)) * away * away + 1
        far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
        found.append((min(max(place, 0), size - 1), near if away <= 1 else far))
    return _shares(found)


def _shares(pairs: Sequence[tuple[int, float]]) -> dict[int, float]:
    found: dict[int, float] = {}
    for place, share in pairs:
        found[place] = found.get(place, 0.0) + share
    return found


# --- bags of embeddings ----------------------------------------------------------------------------------------------


def _embedding_bag(
    weight: Any,
    indices: Any,
    offsets: Any,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:
    """The sum, the mean or the largest of each bag's rows of `weight`.

    A bag begins where `offsets` says. Returns also what the gradient asks for: the bag of each index, each bag's size,
    and the row from which each largest number comes.
    """
    offsets = offsets[:-1] if include_last_offset else offsets
    bag = (torch.arange(indices.shape[0]).unsqueeze(1) >= offsets).to(torch.int64).sum(1) - 1
    inside = torch.arange(offsets.shape[0]).unsqueeze(1) == bag
    if padding_idx >= 0:
        inside = inside & (indices != padding_idx)
    size = inside.to(torch.int64).sum(1)
    rows = aten.embedding.default(weight, indices)
    if mode == BAG_MAX:
        masked = torch.where(inside.unsqueeze(2), rows, -math.inf)
        largest = torch.where((size > 0).unsqueeze(1), masked.amax(1), 0.0)
        return largest, bag, size, indices[masked.argmax(1)]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    found = inside.to(weight.dtype) @ rows
    if mode == BAG_MEAN:
        found = found / size.clamp(min=1).to(weight.dtype).unsqueeze(1)
    return found, bag, size, size


def _embedding_bag_backward(
    grad: Any,
    indices: Any,
    offsets: Any,
    bag: Any,
    size: Any,
    largest: Any,
    count: int,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Any = None,
    padding_idx: int = -1,
) -> Any:
    """For each row of the weights the sum of the gradients of all bags that took it."""
    if mode == BAG_MAX:
        return grad.new_zeros(count, grad.shape[1]).scatter_add(0, largest, grad)
    if mode == BAG_MEAN:
        grad = grad / size.clamp(min=1).to(grad.dtype).unsqueeze(1)
    rows = grad.index_select(0, bag)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    return aten.embedding_dense_backward.default(rows, indices, count, padding_idx, scale_grad_by_freq)


def _embedding_bag_weights_backward(
    grad: Any, weight: Any, indices: Any, offsets: Any, bag: Any, mode: int, padding_idx: int = -1
) -> Any:
    """The gradient of the factors that the rows were multiplied with."""
    found = (grad.index_select(0, bag) * aten.embedding.default(weight, indices)).sum(1)
    return found if padding_idx < 0 else torch.where(indices != padding_idx, found, 0.0)
