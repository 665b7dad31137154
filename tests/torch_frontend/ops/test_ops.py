"""Every operation of the tables, called in torch and calculated in cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import sgdsheet
from sgdsheet.engines import available, engine
from sgdsheet.expr import Range, Ref
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.compiled import compile
from sgdsheet.torch_frontend.ops.elementwise import erf, erfc

aten = torch.ops.aten
Function = Callable[[torch.Tensor], Any]
D = torch.float64

# Halves, ties, zeros, large and small numbers of both signs.
X = torch.tensor([[0.5, -1.5, 0.0, 2.25], [-0.75, 2.25, 2.5, -30.0], [1e-3, 0.5, -2.5, 40.0]], dtype=D)
WEIGHTS = torch.tensor([[0.25, -1.0, 2.0], [1.5, 0.5, -0.125], [0.0, 3.0, 1.0], [-2.0, 1.0, 0.75]], dtype=D)
PICTURES = torch.sin(torch.arange(96, dtype=D) * 1.7).reshape(2, 3, 4, 4)
LARGE = torch.sin(torch.arange(360, dtype=D) * 0.7).reshape(1, 1, 18, 20)
BLOCKS = torch.sin(torch.arange(128, dtype=D) * 2.3).reshape(1, 2, 4, 4, 4)
PLACES = torch.tensor([2, 0, 1])


def mask(x: torch.Tensor) -> torch.Tensor:
    return x > 0.25


def negative_twice(x: torch.Tensor) -> torch.Tensor:
    return torch.neg(torch.neg(x))


# By name: of a matrix of 3 x 4, unless a later table says otherwise.
ELEMENTWISE: dict[str, Function] = {
    **{name: getattr(torch, name) for name in "sin cos tan atan sinh cosh asinh floor trunc ceil frac exp2".split()},
    **{name: getattr(torch, name) for name in "neg exp abs sign tanh sigmoid relu erf erfc expm1 square".split()},
    "asin": lambda x: (x / 50).asin(),
    "acos": lambda x: (x / 50).acos(),
    "atanh": lambda x: (x / 50).atanh(),
    "acosh": lambda x: (x.abs() + 1.5).acosh(),
    "sgn": lambda x: x.detach().sgn(),
    "logarithms": lambda x: [each(x.abs() + 0.5) for each in (torch.log, torch.log2, torch.log10, torch.log1p)],
    "roots": lambda x: [each(x.abs() + 0.5) for each in (torch.sqrt, torch.rsqrt, torch.reciprocal)],
    "lgamma": lambda x: [
        (x.detach().abs() + 0.5).lgamma(),
        (x.detach() * 0.99 - 0.37).lgamma(),
        (x.detach() - 1e6 - 0.1).lgamma(),
    ],
    "two minuses": lambda x: [
        negative_twice(x * 3) ** 2,
        x / negative_twice((x + 0.1) * (x + 0.1) * 3),
        1 / negative_twice((x + 0.1) / 3),
        5 - x / negative_twice((x + 0.1) / 7),
    ],
    "add": lambda x: [x + x.flip(0), x + 1.5, 1.5 + x, torch.add(x, x.flip(1), alpha=-3)],
    "sub": lambda x: [x - x.flip(0), x - 1.5, 1.5 - x, torch.sub(x, x.flip(1), alpha=2)],
    "mul": lambda x: [x * x.flip(0), x * -1.5, x * x[:1], x[:, :1] * x],
    "div": lambda x: [x / (x.flip(0) + 3), x / -1.5, 1.5 / (x + 3), torch.trapezoid(x, x.detach())],
    "div, rounded": lambda x: [
        torch.div(x, each, rounding_mode=mode) for mode in ("floor", "trunc") for each in (x.flip(0) + 3, -0.75)
    ],
    "floor_divide": lambda x: x.detach() // (x.detach().flip(1) + 3),
    "pow": lambda x: [x**2, x**3, (x + 3) ** -1, (x.abs() + 0.5) ** 0.5, 2 ** (x / 8)],
    "pow of two": lambda x: (x.abs() + 0.1) ** (x.flip(0) / 10),
    "remainder": lambda x: [x % (x.flip(0) + 3), x % 0.75, x % -0.75, torch.remainder(7, x.detach() + 3)],
    "fmod": lambda x: [torch.fmod(x, x.flip(0) + 3), torch.fmod(x, 0.75), torch.fmod(x, -0.75)],
    "round": lambda x: [x.round(), (x / 3).round(decimals=2), (x * 7).round(decimals=-1)],
    "atan2": lambda x: torch.atan2(x, x.flip(0)),
    "hypot": lambda x: torch.hypot(x, x.flip(0)),
    "copysign": lambda x: [torch.copysign(x + 1e-3, x.flip(0) + 1e-6), torch.copysign(x + 1e-3, -1)],
    "signbit": lambda x: (x + 1e-6).signbit(),
    "heaviside": lambda x: torch.heaviside(x.detach(), x.detach().flip(0)),
    "ldexp": lambda x: torch.ldexp(x, torch.tensor([1, -2, 0, 3])),
    "xlogy": lambda x: [
        torch.xlogy(x, x.flip(1).abs() + 0.5),
        torch.xlogy(2, x.abs() + 1),
        torch.xlogy(x, 3),
        torch.xlogy(x.detach() * 0, x.detach()),
    ],
    "maximum": lambda x: [torch.maximum(x, x.flip(0)), torch.fmax(x, x.flip(1))],
    "minimum": lambda x: [torch.minimum(x, x.flip(0)), torch.fmin(x, x.flip(1))],
    "clamp": lambda x: [
        x.clamp(-1, 2),
        x.clamp(min=0.5),
        x.clamp(max=0.5),
        x.clamp(x.flip(0) - 1, x.flip(0) + 1),
        x.clamp_min(x.flip(0)),
        x.clamp_max(x.flip(0)),
        aten.clamp_min(x, 0.0),
        aten.clamp_max(x, 0.0),
    ],
    "activations": lambda x: [
        F.hardtanh(x),
        F.leaky_relu(x, 0.1),
        F.elu(x, 0.5),
        F.softshrink(x),
        F.hardshrink(x),
        F.threshold(x, 0.5, -1.0),
    ],
    "compared": lambda x: [
        x == x.flip(1),
        x == 0.5,
        x != x.flip(1),
        x != 0.5,
        x < x.flip(0),
        x < 0.5,
        x <= x.flip(0),
        x <= 0.5,
        x > x.flip(0),
        x > 0.5,
        x >= x.flip(0),
        x >= 0.5,
    ],
    "logical": lambda x: [
        mask(x) & mask(x.flip(0)),
        mask(x) | mask(x.flip(0)),
        mask(x) ^ mask(x.flip(0)),
        ~mask(x),
        torch.logical_and(x, x.flip(0)),
        torch.logical_or(x, x.flip(0)),
        torch.logical_xor(x, x.flip(0)),
        torch.logical_not(x),
    ],
    "where": lambda x: [torch.where(mask(x), x, -x), torch.where(x < 0, 0.5, x)],
    "masked_fill": lambda x: [x.masked_fill(x < 0, -7.5), x.masked_fill(x < 0, x.sum())],
    "finite": lambda x: [x.isnan(), x.isinf(), x.isposinf(), x.isneginf(), x.isfinite()],
    "to": lambda x: [mask(x).double(), x.to(torch.int64)],
}
REARRANGED: dict[str, Function] = {
    "view": lambda x: [
        x.t().reshape(2, 6),
        x.reshape(4, 3),
        x.view(2, 6),
        x.t(),
        x.transpose(0, 1),
        x.unsqueeze(1),
        x[None].squeeze(0),
    ],
    "permute": lambda x: x.reshape(3, 2, 2).permute(2, 0, 1),
    "expand": lambda x: x[:, None].expand(3, 2, 4),
    "squeeze": lambda x: [x[None, :, None].squeeze(), x[None, :, None].squeeze((0, 2))],
    "select": lambda x: [x[1], x[:, -1], x[1:, ::2], x[..., 1:3]],
    "split": lambda x: [*x.split(2), *x.split([1, 3], 1), *x.unbind(), *x.chunk(2, 1)],
    "cat": lambda x: [torch.cat([x, x.flip(0)], 1), torch.stack([x, x], 1)],
    "roll": lambda x: [x.roll(1), x.roll((1, -1), (0, 1)), x.flip(0, 1)],
    "diagonal": lambda x: [x.diagonal(), x.diagonal(1), x[:, :3].tril(), x.triu(1)],
    "as_strided": lambda x: x.as_strided((2, 2), (4, 2), 1),
    "pad": lambda x: [F.pad(x, (1, 2, 0, 1), value=0.5), F.pad(x, (-1, 1))],
    "pad, reflected": lambda x: [F.pad(x[None], (1, 2), "reflect"), F.pad(x[None], (2, 1), "replicate")],
    "pad, of pictures": lambda x: [F.pad(PICTURES * x[0, 0], (1, 2, 1, 1), each) for each in ("reflect", "replicate")],
    "repeat": lambda x: [x.repeat(2, 1), x.repeat_interleave(2, 1)],
    "scattered slices": lambda x: [
        torch.select_scatter(x, x[0] * 2, 0, 2),
        torch.slice_scatter(x, x[:, :2] * 2, 1, 1, 4, 2),
        torch.diagonal_scatter(x, x[0, :3] * 2),
        torch.as_strided_scatter(x, x[:2, :2] * 2, (2, 2), (4, 2), 1),
    ],
    "copies": lambda x: [torch.view_copy(x, (4, 3)), torch.permute_copy(x, (1, 0)), torch.expand_copy(x, (2, 3, 4))],
    "unfold": lambda x: [x.unfold(1, 3, 1), F.unfold(PICTURES * x[0, 0], 2, stride=2)],
    "shuffle": lambda x: [F.pixel_shuffle(x.reshape(1, 4, 1, 3), 2), F.pixel_unshuffle(x.reshape(1, 1, 2, 6), 2)],
    "interpolated": lambda x: [
        F.interpolate(x[None], scale_factor=2, mode="linear"),
        F.interpolate(PICTURES * x[0, 0], size=(3, 6), mode="bilinear"),
        F.interpolate(PICTURES[:1, :1] * x[0, 0], size=(3, 5), mode="bicubic"),
    ],
    "interpolated, larger": lambda x: [
        F.interpolate(PICTURES * x[0, 0] + x.mean(), scale_factor=2, mode="bilinear"),
        F.interpolate(x[None, None], size=(7, 5), mode="bicubic", align_corners=True),
        F.interpolate(BLOCKS[:, :1, :2] * x[0, 0] + x[0], size=(3, 5, 6), mode="trilinear"),
    ],
    "nearest": lambda x: [F.interpolate(x[None], scale_factor=2), F.interpolate(PICTURES * x[0, 0], size=(3, 6))],
}
REDUCED: dict[str, Function] = {
    "sum": lambda x: [x.sum(), x.sum(0), x.sum(1, keepdim=True), x.sum((0, 1)), mask(x).sum(1)],
    "mean": lambda x: [x.mean(), x.mean(0), x.mean(1, keepdim=True), (PICTURES * x[0, 0]).mean((2, 3))],
    "of many matrices": lambda x: [
        each(x[0] + torch.arange(280, dtype=D).reshape(70, 1, 4), dim)
        for each in (torch.sum, torch.mean)
        for dim in (0, (0, 1), (0, 2), (0, 1, 2))
    ],
    "extremes": lambda x: [x.amax(1), x.amin(0), x.max(), x.min(), *x.max(1), *x.min(0), x.amax((0, 1))],
    "places": lambda x: [x.argmax(), x.argmin(), x.argmax(1), x.argmin(0, keepdim=True)],
    "prod": lambda x: [(x / 3).prod(), (x / 3).prod(1)],
    "any and all": lambda x: (
        [each(mask(x)) for each in (torch.any, torch.all)]
        + [each(mask(x), dim) for each in (torch.any, torch.all) for dim in (0, (0, 1))]
    ),
    "running": lambda x: [x.cumsum(1), (x / 3 + 0.1).cumprod(0), *x.cummax(1), *x.cummin(0)],
    "margins": lambda x: (
        [F.multi_margin_loss(x, PLACES, reduction=reduction) for reduction in ("none", "mean", "sum")]
        + [
            F.multi_margin_loss(x, PLACES, 2, 0.7, torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=D)),
            F.multilabel_margin_loss(x, torch.tensor([[1, 0, -1, 2], [3, -1, 0, 0], [-1, 0, 1, 2]])),
            F.multilabel_margin_loss(x, torch.tensor([[1, 0, 2, 3], [3, 2, 0, -1], [2, -1, 1, 2]]), reduction="none"),
        ]
    ),
    "variance": lambda x: [x.var(), x.std(1), x.var(0, correction=0), *torch.var_mean(x, 1)],
    "norms": lambda x: [x.norm(), x.norm(dim=1), torch.linalg.vector_norm(x, 3, 1)],
    "softmax": lambda x: [torch.softmax(x, 1), torch.log_softmax(x, 0), torch.logsumexp(x, 1)],
    "sort": lambda x: [
        *x.sort(1),
        *x.sort(0, descending=True),
        *torch.sort(x, stable=True, dim=1),
        *x.topk(2),
        x.argsort(1),
    ],
    "ranks": lambda x: [*x.kthvalue(2), *x.median(1), x.median(), *x.nanmedian(1), x.nanmedian()],
}
PRODUCTS: dict[str, Function] = {
    "matrices": lambda x: [x @ WEIGHTS, x.t() @ x, x @ x[0], torch.outer(x[0], x[1])],
    "batches": lambda x: torch.bmm(x.reshape(3, 2, 2), x.flip(0).reshape(3, 2, 2)),
    "linear": lambda x: [F.linear(x, WEIGHTS.t(), x[0, :3]), torch.addmm(x[:, :3], x, WEIGHTS, beta=2, alpha=-0.5)],
    "einsum": lambda x: torch.einsum("ij,jk,ik->i", x, WEIGHTS, x[:, :3]),
    "conv1d": lambda x: F.conv1d(x[None], x[:, :2][None], padding=1),
    "conv2d": lambda x: [
        F.conv2d(PICTURES, x[0, 0] * PICTURES[:, :, :3, :3], x[0, :2], padding=1),
        F.conv2d(PICTURES, x[0, 0] * PICTURES[:, :, :3, :3], stride=2, dilation=2, padding=2),
        F.conv2d(PICTURES, x[0, 0] * PICTURES[0, :, None, :2, :2], groups=3),
    ],
    "conv_transpose2d": lambda x: [
        F.conv_transpose2d(PICTURES[:1, :2], x[0, 0] * PICTURES[:, :2, :3, :3], stride=2, padding=1, output_padding=1),
        F.conv_transpose2d(PICTURES[:1, :2], x[0, 0] * PICTURES[:, :1, :2, :2], groups=2),
    ],
    "conv3d": lambda x: F.conv3d(BLOCKS, x[0, 0] * BLOCKS[:, :, :2, :2, :2], stride=2),
}
POOLED: dict[str, Function] = {
    "max_pool2d": lambda x: [
        *F.max_pool2d(PICTURES * x[0, 0], 2, return_indices=True),
        F.max_pool2d(PICTURES * x[0, 0], 3, stride=2, padding=1, ceil_mode=True),
        F.max_pool2d(PICTURES * x[0, 0], 2, stride=1, dilation=2),
    ],
    "max_pool1d": lambda x: F.max_pool1d(x[None], 2, stride=1),
    "max_pool3d": lambda x: [F.max_pool3d(BLOCKS * x[0, 0], 2), F.max_pool3d(BLOCKS * x[0, 0], 4, 2, 1)],
    "large windows": lambda x: [
        *F.max_pool2d(LARGE * x[0, 0], 9, return_indices=True),
        *F.max_pool2d(LARGE * x[0, 0], 3, dilation=4, return_indices=True),
        *F.max_pool2d((LARGE * x[0, 0]).round(), 6, 6, return_indices=True),  # ties
        F.adaptive_avg_pool2d(LARGE * x[0, 0], 1),
    ],
    "avg_pool2d": lambda x: [
        F.avg_pool2d(PICTURES * x[0, 0], 2),
        F.avg_pool2d(PICTURES * x[0, 0], 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        F.avg_pool2d(PICTURES * x[0, 0], 3, stride=1, padding=1, divisor_override=2),
    ],
    "avg_pool3d": lambda x: F.avg_pool3d(BLOCKS * x[0, 0], 2, stride=1),
    "adaptive": lambda x: [
        F.adaptive_avg_pool2d(PICTURES * x[0, 0], (3, 2)),
        F.adaptive_avg_pool2d(PICTURES * x[0, 0], 1),
        *F.adaptive_max_pool2d(PICTURES * x[0, 0], (3, 2), return_indices=True),
        F.adaptive_avg_pool3d(BLOCKS * x[0, 0], (2, 3, 1)),
        F.adaptive_max_pool3d(BLOCKS * x[0, 0], (2, 3, 1)),
    ],
}
LOOKED_UP: dict[str, Function] = {
    "gather": lambda x: [x.gather(1, x[:, :2].argsort(1)), x.gather(0, PLACES[None, [0, 1, 2, 0]])],
    "embedding": lambda x: [F.embedding(PLACES, x, padding_idx=1), F.embedding(x.detach().argmax(1) % 3, x)],
    "grid_sample": lambda x: [
        F.grid_sample(LARGE[:, :, :3, :4] * x[0, 0], (x[:, :2] / 4).reshape(1, 3, 1, 2), align_corners=False),
        F.grid_sample(
            PICTURES[:1],
            F.affine_grid(x[:1, :3].expand(1, 2, 3) / 3, [1, 3, 2, 3], align_corners=False),
            padding_mode="border",
            align_corners=False,
        ),
        F.grid_sample(x[None, None], x.reshape(1, 3, 2, 2).detach() / 2, align_corners=True),  # at pixels too
        F.grid_sample(x[None, None].detach(), x.reshape(1, 3, 2, 2).detach() / 3, "bicubic", align_corners=True),
    ],
    "embedding_bag": lambda x: (
        [F.embedding_bag(torch.tensor([[0, 2, 2], [1, 0, 1]]), x, mode=mode) for mode in ("sum", "mean", "max")]
        + [
            F.embedding_bag(PLACES, x, torch.tensor([0, 1, 1]), mode="mean"),
            F.embedding_bag(PLACES, x, torch.tensor([0, 2, 3]), mode="max", include_last_offset=True),
            F.embedding_bag(PLACES[None], x, mode="mean", padding_idx=2),
            F.embedding_bag(PLACES[None], x, mode="sum", per_sample_weights=x[:1, :3] * 1),
        ]
    ),
    "index": lambda x: [x[PLACES], x[:, PLACES], x[PLACES, PLACES], x[x.argmax(0) % 3], x.index_select(1, PLACES)],
    "scatter": lambda x: [
        x.scatter(1, x[:, :2].argsort(1), x[:, 2:]),
        x.scatter(1, x[:, :1].argsort(1), 9.5),
        x.scatter_add(1, x[:, :2].argsort(1), x[:, 2:]),
        F.one_hot(x.argmax(1), 4),
    ],
    "index_put": lambda x: [
        x.index_put((PLACES,), x * 2),
        aten._unsafe_index_put(x, [PLACES], x * 2),
        x.index_put((x.argmax(1)[:1] % 3,), x[0] * 2, accumulate=True),
        x.index_add(0, PLACES, x.flip(0)),
    ],
}
TABLES: dict[str, dict[str, Function]] = {
    "element": ELEMENTWISE,
    "rearranged": REARRANGED,
    "reduced": REDUCED,
    "product": PRODUCTS,
    "pooled": POOLED,
    "looked up": LOOKED_UP,
}


class Many(nn.Module):
    """All of the functions, each of a parameter of its own."""

    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = tuple(functions.values())
        self.given = nn.ParameterList([nn.Parameter(X.clone()) for _ in functions])

    def forward(self, _: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(each for results in self.each() for each in results)

    def each(self) -> list[list[torch.Tensor]]:
        """What each of the functions gives."""
        found = [function(given) for function, given in zip(self.functions, self.given, strict=True)]
        return [[*result] if isinstance(result, (list, tuple)) else [result] for result in found]


def weighted(outputs: Any) -> torch.Tensor:
    """Their sum, each element times a number that says where it stands."""
    learned = [each for each in outputs if each.requires_grad]
    weights = [torch.cos(torch.arange(each.numel(), dtype=D) + 1).reshape(each.shape) for each in learned]
    return torch.stack([(each * weight).sum() for each, weight in zip(learned, weights, strict=True)]).sum()


class Checked:
    """A table, compiled and written once; and what torch, called plainly, has: operation, block, value."""

    def __init__(self, functions: dict[str, Function], path: Path) -> None:
        model = Many(functions)
        found = model.each()
        outputs = [(name, each) for name, results in zip(functions, found, strict=True) for each in results]
        learned = any(each.requires_grad for _, each in outputs)
        self.wanted = [(name, f"0/output/{number}", each) for number, (name, each) in enumerate(outputs)]
        if learned:
            grads = torch.autograd.grad(weighted([each for _, each in outputs]), [*model.given], allow_unused=True)
            named = zip(functions, enumerate(grads), strict=True)
            self.wanted += [
                (name, f"0/grad/given.{number}", each) for name, (number, each) in named if each is not None
            ]
        self.compiled = compile(model, (torch.zeros(1),), loss=weighted if learned else None)
        self.path = self.compiled.save(path).path


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Checked]:
    folder = tmp_path_factory.mktemp("ops")
    return cache(lambda kind: Checked(TABLES[kind], folder / f"{kind}.xlsx"))


def differs(cells: np.ndarray, value: torch.Tensor) -> bool:
    """Whether cells hold anything else than torch has."""
    expected = value.detach().double().numpy()
    atol = 1e-10 * max(1e-3, np.abs(expected).max())
    return cells.shape != expected.shape or not np.allclose(cells, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("engine", ["ironcalc", "libreoffice"])
def test_outputs_and_gradients_are_torchs(checked: Callable[[str], Checked], kind: str, engine: str) -> None:
    if engine not in available():
        pytest.skip(f"{engine} is not on this machine")
    made = checked(kind)
    cells = sgdsheet.read(made.path, engine=engine)
    assert {f"{name}: {block}" for name, block, value in made.wanted if differs(cells[block], value)} == set()


def test_every_operation_is_tried(checked: Callable[[str], Checked]) -> None:
    graphs = [graph for kind in TABLES for graph in checked(kind).compiled.program.graphs]
    tried = {node.op for graph in graphs for node in graph.nodes}
    assert {*ops.ELEMENTWISE, *ops.FORMULAS, *ops.REARRANGED} - tried == set()


def test_erf_has_all_digits(tmp_path: Path) -> None:
    """IronCalc's ERF, ERFC and NORMSDIST are off by 5e-11 above a half: no rounding of a training explains that."""
    x = [0.0, 1e-9, 0.3, -0.5002, 0.5002, 0.7, -0.9, 1.1, -1.6, 2.2, 2.9, -3.1, 3.5, -8.0, 1e200]
    written = openpyxl.Workbook()
    sheet: Any = written.active
    cells = np.array([Ref(sheet.title, row, 1) for row in range(1, len(x) + 1)], dtype=object)
    for value, *formulas in zip(x, erf(cells), erfc(cells), strict=True):
        sheet.append([value, *(f"={formula.text(sheet.title)}" for formula in formulas)])
    written.save(tmp_path / "erf.xlsx")
    values = engine("ironcalc").calculate(tmp_path / "erf.xlsx", [Range(sheet.title, 1, 2, len(x), 3)])[0]
    wanted = [[math.erf(value), math.erfc(value)] for value in x]
    np.testing.assert_allclose(values.astype(float), wanted, rtol=1e-10, atol=2e-15)
