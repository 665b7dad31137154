"""`sgdsheet.compile`: a PyTorch model's training, step by step, as a workbook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgdsheet.book import Book
from sgdsheet.errors import Error
from sgdsheet.reference import float64_by_default
from sgdsheet.torch_frontend.program.finite import require_finite, watcher
from sgdsheet.torch_frontend.program.graph import RANDOM, Graph, Node
from sgdsheet.torch_frontend.program.program import Program
from sgdsheet.torch_frontend.sheets.build import build
from sgdsheet.torch_frontend.sheets.estimate import Estimate, estimate, require_fits
from sgdsheet.torch_frontend.tracing.batches import batches, unfit
from sgdsheet.torch_frontend.tracing.supported import counted, refusal, require_supported, unsupported
from sgdsheet.torch_frontend.tracing.trace import float64, trace, unwrapped
from sgdsheet.torch_frontend.tracing.training import Settings, Training, kind, settings, training
from sgdsheet.writing import Written, write


@dataclass(frozen=True)
class Compiled:
    """A model's training as a program and the numbers that it begins with."""

    program: Program = field(repr=False)
    values: Mapping[str, np.ndarray] = field(repr=False)
    title: str

    def book(self) -> Book:
        """The workbook, not yet written."""
        return build(self.program, self.values, self.title)[0]

    def save(self, path: str | Path) -> Written:
        """Writes the workbook, every formula with its value; an existing file is replaced when the new one is complete.

        Returns the path, the numbers of cells and formulas, and the size in bytes. Raises `Error` if the folder cannot
        be written, or the name does not end with .xlsx.
        """
        return write(self.book(), path)


@dataclass(frozen=True)
class Survey:
    """What `compile` would make of a model: how often each operation occurs, what stands in the way, how large it is.

    `refusals` holds the message of each operation that cannot be put on a sheet.
    """

    ops: Mapping[str, int]
    refusals: Sequence[str]
    estimate: Estimate


@torch.inference_mode(False)
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

        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        book = sgdsheet.compile(model, x, y, torch.nn.functional.mse_loss, optimizer, steps=5)
        book.save("model.xlsx")

    Arguments:
      model: any module whose operations sgdsheet knows, in training or evaluation mode. Everything is computed in
        float64, whatever its own precision.
      inputs: a tensor, or a tuple of tensors for a model that takes several; or a list of these, one batch a step.
      targets: likewise; what `loss` gets after the model's output.
      loss: a function `loss(output, *targets)` that returns one number. Without it the forward pass alone.
      optimizer: one of torch's element-wise optimisers, or `sgdsheet.eve.Eve`, over the model's parameters. Its class,
        groups, hyperparameters and state are read from it. Without it no step is made.
      scheduler: a `torch.optim.lr_scheduler` of that optimiser, whose `step` follows each step; what it sets stands in
        the workbook as numbers. ReduceLROnPlateau is given the loss of each step.
      steps: how many steps; as many as there are batches by default, or 1.
      title: the workbook's title; the model's class by default.

    Model, optimiser and scheduler are not changed. Dropout's masks and other random numbers are drawn once with torch's
    generator as it stands, which is left as it was, and become data.

    Raises `Error` for what cannot be put on a sheet: an operation that is not known, with its module and line, an
    optimiser that is not element-wise, shapes that disagree, more than 3,000,000 cells, a run that leads to a number
    that is not finite.
    """
    given = _Given(model, inputs, targets, loss, optimizer, scheduler, steps)
    for graph in given.graphs:
        require_supported(graph)
    program = given.program()
    require_fits(program)
    with float64_by_default(), np.errstate(all="ignore"):
        values = given.values(program)
        if any(node.op == RANDOM for graph in program.graphs for node in graph.nodes):
            values |= _drawn(program, values)
        if scheduler is not None:
            program = given.program(given.scheduled(program, values))
            values |= _cells(program)
        require_finite(program, program.run(values, watch=watcher(program)))
    return Compiled(program, values, title or f"{type(model).__name__}, step by step")


@torch.inference_mode(False)
def survey(
    model: torch.nn.Module,
    inputs: Any,
    targets: Any = None,
    loss: Callable[..., torch.Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    scheduler: Any = None,
    steps: int | None = None,
    title: str | None = None,
) -> Survey:
    """What `compile` would make of the same arguments, without computing or building anything."""
    given = _Given(model, inputs, targets, loss, optimizer, scheduler, steps)
    counts = sum((counted(graph) for graph in given.graphs), Counter[str]())
    refusals = dict.fromkeys(refusal(node) for graph in given.graphs for node in unsupported(graph))
    return Survey(counts, list(refusals), estimate(given.program()))


class _Given:
    """The arguments of `compile`, checked, with the graph of each step."""

    def __init__(
        self, model: Any, inputs: Any, targets: Any, loss: Any, optimizer: Any, scheduler: Any, steps: int | None
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise Error(f"model: expected a torch.nn.Module, got {type(model).__name__}")
        if loss is not None and not callable(loss):
            raise Error(f"loss: expected a function of the output and the targets, got {type(loss).__name__}")
        if optimizer is not None and loss is None:
            raise Error("an optimizer needs a loss, as in compile(..., loss=torch.nn.functional.mse_loss)")
        if optimizer is not None:
            kind(optimizer)
        if scheduler is not None and optimizer is None:
            raise Error("a scheduler needs its optimizer, as in compile(..., optimizer=scheduler.optimizer)")
        self._model, self._optimizer, self._scheduler = unwrapped(model), optimizer, scheduler
        self._batches = batches(inputs, targets, steps)
        self._copied = float64(model)
        _require_plain(self._copied)
        self.graphs: list[Graph] = []
        self._which: list[int] = []
        known: dict[Any, int] = {}
        for batch in self._batches:
            if batch.shape() not in known:
                known[batch.shape()] = len(self.graphs)
                # Each from a copy of its own, for a model may keep what it has seen.
                self.graphs.append(trace(float64(self._copied), batch.inputs, batch.targets, loss))
            self._which.append(known[batch.shape()])

    def program(self, schedule: list[Settings] | None = None) -> Program:
        """The program with the settings of each step, by default the optimiser's own."""
        steps = len(self._batches)
        read = Training()
        if self._optimizer is not None:
            own = settings(self._optimizer, None, steps, lambda _: [])
            read = training(self._model, self._optimizer, schedule or own, self._moving())
        self._state = read.state
        return Program(
            tuple(self.graphs),
            tuple(self._which),
            all(batch is self._batches[0] for batch in self._batches),
            read.optimizer,
            read.groups,
            read.begun,
            bool(read.state),
            {path: type(module).__name__ for path, module in self._model.named_modules()},
        )

    def values(self, program: Program) -> dict[str, np.ndarray]:
        """The numbers that the program begins with, by block, without what is drawn."""
        found = dict(self._state) | _cells(program)
        for what, tensors in (("param", self._copied.named_parameters()), ("buffer", self._copied.named_buffers())):
            found |= {f"0/{what}/{name}": each.detach().numpy().copy() for name, each in tensors}
        for k, batch in enumerate(self._batches):
            found |= {program.fed(k, name): each.numpy().copy() for name, each in batch.tensors().items()}
        return found

    def scheduled(self, program: Program, values: Mapping[str, np.ndarray]) -> list[Settings]:
        """The settings of each step as the scheduler makes them."""

        def losses(schedule: list[Settings]) -> list[float]:
            program = self.program(schedule)
            return program.run({**values, **_cells(program)})["loss"].tolist()

        assert self._optimizer is not None
        return settings(self._optimizer, self._scheduler, len(program.which), losses)

    def _moving(self) -> set[str]:
        """The parameters that have a gradient, which must be the same ones in all steps."""
        found = [{key[5:] for key in graph.outputs if key.startswith("grad/")} for graph in self.graphs]
        if some := set.union(*found) - set.intersection(*found):
            raise Error(f"the parameter {min(some)!r} has a gradient with some of the batches and none with others")
        return found[0]


def _require_plain(model: torch.nn.Module) -> None:
    """Raises `Error` for a parameter or a buffer that cells cannot hold."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if (problem := unfit(tensor)) is not None:
            raise Error(f"the model's {name!r} is {problem}; a cell holds one real number")
        if tensor.numel() == 0:
            raise Error(f"the model's {name!r}, of shape {tuple(tensor.shape)}, has no elements")
        if not bool(tensor.isfinite().all()):
            raise Error(f"the model's {name!r} holds a number that is not finite")


def _cells(program: Program) -> dict[str, np.ndarray]:
    """The hyperparameters that have cells, by block."""
    return {
        program.cell(number, name): np.array(value)
        for number, group in enumerate(program.groups)
        for name, value in group.cells.items()
    }


def _drawn(program: Program, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The random numbers, by block."""

    def draw(node: Node, args: list[Any]) -> torch.Tensor:
        name, _, kind = str(args[0]).partition(".")
        dtypes = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
        kwargs = {key: dtypes[value] if key == "dtype" else value for key, value in node.kwargs.items()}
        if "generator" in kind:
            kwargs["generator"] = None
        return getattr(getattr(torch.ops.aten, name), kind)(*args[1:], **kwargs).to(dtypes[node.dtype])

    with torch.random.fork_rng(devices=[]):
        blocks = program.run(values, draw)
    names = {
        (k, node.name) for k, i in enumerate(program.which) for node in program.graphs[i].nodes if node.op == RANDOM
    }
    return {program.fed(k, name): blocks[program.fed(k, name)] for k, name in names}
