"""`sgdsheet.compile`: a PyTorch model's training, step by step, as a workbook."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgdsheet.book import save
from sgdsheet.engines import engine
from sgdsheet.errors import Error
from sgdsheet.hyperparameters import parts
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.build import build
from sgdsheet.torch_frontend.graph import CONSTANT, FED, ITEM, Graph, Node
from sgdsheet.torch_frontend.program import Group, Program
from sgdsheet.torch_frontend.trace import float64, trace


@dataclass(frozen=True)
class Compiled:
    """A model's training as a program and the numbers that it begins with."""

    program: Program
    values: Mapping[str, np.ndarray]
    title: str

    def save(self, path: str | Path) -> None:
        """Writes the workbook, every formula with its value; an existing file is replaced when the new one is complete.

        Raises `Error` if the folder cannot be written, or the model is too large for a workbook.
        """
        book, _ = build(self.program, self.values, self.title)
        save(book, path, engine("ironcalc").calculate)


def compile(
    model: torch.nn.Module,
    inputs: Any,
    targets: Any = None,
    loss: Callable[..., torch.Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    scheduler: Any = None,
    steps: int | None = None,
    title: str | None = None,
) -> Compiled:
    """A PyTorch model's forward pass, backward pass and optimiser steps as a workbook of live formulas.

    Arguments:
      model: any module whose operations sgdsheet knows. It is copied, in float64, and not changed.
      inputs: a tensor, or a tuple of tensors for a model that takes several; or a list of these, one batch a step.
      targets: likewise; what `loss` gets after the model's output.
      loss: a function `loss(output, *targets)` that returns one number. Without it the forward pass alone.
      optimizer: a `torch.optim` optimiser over the model's parameters. Its class, parameter groups, hyperparameters
        and state are read from it; it is not changed. Without it no step is made.
      scheduler: a `torch.optim.lr_scheduler` of that optimiser, whose `step` follows each step.
      steps: how many steps; as many as there are batches by default, or 1.
      title: the workbook's title; the model's class by default.

    The random masks of dropout are drawn once, with torch's generator as it stands, and become data. Raises `Error` for
    what cannot be put on a sheet: an operation that is not known, with its module and line, an optimiser that is not
    element-wise, shapes that disagree, a run that leads to a number that is not finite.
    """
    batches = _batches(inputs, targets, steps)
    if optimizer is not None and loss is None:
        raise Error("an optimizer needs a loss: compile(..., loss=torch.nn.functional.mse_loss)")
    copied = float64(model)
    graphs: list[Graph] = []
    known: dict[Any, int] = {}
    which = []
    for x, y in batches:
        shapes = tuple((tuple(each.shape), each.dtype) for each in (*x, *y))
        if shapes not in known:
            known[shapes] = len(graphs)
            graphs.append(trace(copied, x, y, loss))
            _require_known(graphs[-1])
        which.append(known[shapes])
    values: dict[str, np.ndarray] = {}
    for kind, tensors in (("param", copied.named_parameters()), ("buffer", copied.named_buffers())):
        values |= {f"0/{kind}/{name}": each.detach().numpy() for name, each in tensors}
    shared = all(batch is batches[0] for batch in batches)
    groups, begun, resumed = _groups(model, optimizer, scheduler, len(batches), values)
    name = type(optimizer).__name__ if optimizer is not None else None
    program = Program(tuple(graphs), tuple(which), shared, name, groups, begun, resumed)
    for k, (x, y) in enumerate(batches):
        for kind, tensors in (("input", x), ("target", y)):
            values |= {program.fed(k, f"{kind}/{number}"): each.numpy() for number, each in enumerate(tensors)}
    for number, group in enumerate(groups):
        values |= {program.cell(number, name): np.array(value) for name, value in group.cells.items()}
    values |= _drawn(program, values)
    return Compiled(program, values, title or f"{type(model).__name__}, step by step")


def _batches(inputs: Any, targets: Any, steps: int | None) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """A pair of inputs and targets for each step."""
    if steps is not None and steps < 1:
        raise Error(f"steps: expected at least 1, got {steps}")
    several = isinstance(inputs, list)
    given = inputs if several else [inputs]
    wanted = targets if isinstance(targets, list) else [targets] * len(given)
    if isinstance(targets, list) and not several:
        raise Error("targets is a list, one batch a step, but inputs is not")
    if len(given) != len(wanted):
        raise Error(f"expected as many batches of targets as of inputs, got {len(wanted)} and {len(given)}")
    if not given:
        raise Error("expected at least one batch of inputs, got none")
    batches = [(_tensors(x, "inputs"), _tensors(y, "targets")) for x, y in zip(given, wanted, strict=True)]
    if not several:
        return batches * (steps or 1)
    if steps is not None and steps != len(batches):
        raise Error(f"inputs is a list of {len(batches)} batches, one a step, but steps is {steps}")
    return batches


def _tensors(given: Any, what: str) -> list[torch.Tensor]:
    """A batch as tensors in float64, or of whole numbers or booleans."""
    if given is None:
        return []
    found = []
    for each in given if isinstance(given, tuple) else (given,):
        if not isinstance(each, torch.Tensor):
            raise Error(f"{what}: expected a tensor or a tuple of tensors, got {type(each).__name__}")
        if each.layout != torch.strided or each.is_complex() or each.is_quantized:
            raise Error(f"{what}: expected plain tensors of numbers, got a {each.layout} tensor of {each.dtype}")
        each = each.detach().cpu()
        if each.numel() == 0:
            raise Error(f"{what}: a tensor of shape {tuple(each.shape)} has no elements")
        each = each.double() if each.is_floating_point() else each if each.dtype == torch.bool else each.long()
        if each.is_floating_point() and not each.isfinite().all():
            raise Error(f"{what}: a cell can hold finite numbers only, and this tensor has others")
        found.append(each)
    return found


def _require_known(graph: Graph) -> None:
    for node in graph.nodes:
        if node.op not in FED and node.op not in (CONSTANT, ITEM) and not ops.known(node.op):
            where = f" in module {node.path!r}" if node.path else ""
            line = f", {node.line}" if node.line else ""
            raise Error(f"the operation {node.op}{where}{line} cannot be put on a sheet")


def _groups(
    model: torch.nn.Module, optimizer: Any, scheduler: Any, steps: int, values: dict[str, np.ndarray]
) -> tuple[tuple[Group, ...], int, bool]:
    """The optimiser's groups, how many steps it has made, and whether its state is among `values` now."""
    if optimizer is None:
        return (), 0, False
    name = type(optimizer).__name__
    if name not in OPTIMIZERS:
        raise Error(f"the optimiser {name} is not element-wise; sgdsheet has {', '.join(OPTIMIZERS)}")
    names = {id(param): path for path, param in model.named_parameters()}
    if any(id(param) not in names for group in optimizer.param_groups for param in group["params"]):
        raise Error("the optimizer has parameters that are not the model's: make it from model.parameters()")
    defaults = OPTIMIZERS[name].defaults()
    schedule = _schedule(optimizer, scheduler, steps)
    groups, begun, resumed = [], 0, False
    for number, group in enumerate(optimizer.param_groups):
        fixed: dict[str, Any] = {}
        cells: dict[str, Any] = {}
        for key in defaults:
            for part, value in _flat(key, group[key]):
                over = [dict(_flat(key, each[number][key]))[part] for each in schedule]
                if isinstance(value, bool) or (all(each == 0 for each in over) and key != "lr"):
                    fixed[part] = value
                else:
                    cells[part] = over if len(set(over)) > 1 else over[0]
        params = tuple(names[id(param)] for param in group["params"] if param.requires_grad)
        groups.append(Group(params, fixed, cells))
        for param in group["params"]:
            state = optimizer.state.get(param, {})
            if "step" in state:
                begun = max(begun, int(state["step"]))
            for key, value in state.items():
                if isinstance(value, torch.Tensor) and key != "step":
                    values[f"0/state/{names[id(param)]}/{key}"] = value.detach().double().cpu().numpy()
                    resumed = True
    return tuple(groups), begun, resumed


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        value = value.item()
    return list(parts(name, tuple(value) if isinstance(value, (tuple, list)) else value))


def _schedule(optimizer: Any, scheduler: Any, steps: int) -> list[list[dict[str, Any]]]:
    """The hyperparameters of each group at each step, found by stepping copies."""
    if scheduler is None:
        return [[dict(group) for group in optimizer.param_groups]] * steps
    if getattr(scheduler, "optimizer", None) is not optimizer:
        raise Error("the scheduler belongs to another optimizer")
    stepped, following = copy.deepcopy((optimizer, scheduler))
    found = []
    for _ in range(steps):
        found.append(
            [{key: value for key, value in group.items() if key != "params"} for group in stepped.param_groups]
        )
        stepped.step()
        following.step()
    return found


def _drawn(program: Program, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The random masks, by block; raises `Error` where the run has a number that is not finite."""

    def draw(node: Node, args: list[Any]) -> torch.Tensor:
        name, _, kind = str(args[0]).partition(".")
        known: Sequence[Any] = args[1:]
        return getattr(getattr(torch.ops.aten, name), kind)(*known, **node.kwargs).double()

    blocks = program.run(values, draw)
    masks = {
        program.fed(k, node.name)
        for k, i in enumerate(program.which)
        for node in program.graphs[i].nodes
        if node.op == "random"
    }
    for name, block in blocks.items():
        if not np.isfinite(block).all():
            raise Error(f"the run leads to a number that is not finite: it first appears in {name!r}")
    return {name: block for name, block in blocks.items() if name in masks}
