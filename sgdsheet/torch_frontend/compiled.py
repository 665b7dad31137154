"""`sgdsheet.compile`: a PyTorch model's training, step by step, as a workbook."""

from __future__ import annotations

import inspect
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgdsheet.book import Book
from sgdsheet.errors import Error
from sgdsheet.exercises.blanks import blank
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import quoted
from sgdsheet.reference import float64_by_default
from sgdsheet.torch_frontend.program.finite import require_finite, watcher
from sgdsheet.torch_frontend.program.graph import RANDOM, Graph, Node, place
from sgdsheet.torch_frontend.program.program import BATCHES, MADE, Program, examples
from sgdsheet.torch_frontend.sheets.build import build
from sgdsheet.torch_frontend.sheets.estimate import Estimate, estimate, fits_one_sheet, placed, require_fits
from sgdsheet.torch_frontend.tracing.agreement import difference, first_difference, wrong_cell
from sgdsheet.torch_frontend.tracing.batches import Batch, repeated, unfit
from sgdsheet.torch_frontend.tracing.batches import batches as one_a_step
from sgdsheet.torch_frontend.tracing.clipping import Clipping
from sgdsheet.torch_frontend.tracing.lent import lent
from sgdsheet.torch_frontend.tracing.naming import named
from sgdsheet.torch_frontend.tracing.own_loop import Ran, run
from sgdsheet.torch_frontend.tracing.supported import counted, refusal, require_supported, unsupported
from sgdsheet.torch_frontend.tracing.trace import Loss, float64, own_loss, trace, unwrapped
from sgdsheet.torch_frontend.tracing.training import Settings, Training, kind, schedulers, settings, training
from sgdsheet.writing import Written, write


@dataclass(frozen=True)
class Compiled:
    """A model's training as a program and the numbers that it begins with."""

    program: Program = field(repr=False)
    values: Mapping[str, np.ndarray] = field(repr=False)
    title: str
    exercise: tuple[str, ...] = field(default=(), repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)

    def book(self) -> Book:
        """The workbook, not yet written."""
        book = build(self.program, self.values, self.title, self.classes)[0]
        if self.exercise:
            blank(book, [Exercise(name, 1, _task(book, name)) for name in self.exercise], 1)
        return book

    def save(self, path: str | Path) -> Written:
        """Writes the workbook, every formula with its value; an existing file is replaced when the new one is complete.

        Returns the path, the numbers of cells and formulas, and the size in bytes. Raises `Error` if the folder cannot
        be written, or the name does not end with .xlsx, and for a cell that does not agree with torch: then nothing is
        written.
        """
        book, placed = build(self.program, self.values, self.title, self.classes)

        def check(cells: Mapping[str, np.ndarray]) -> None:
            with float64_by_default(), np.errstate(all="ignore"):
                wrong = wrong_cell(self.program, placed, self.values, cells)
            if wrong is not None:
                name, place = wrong
                cell, held = book.blocks[name].cell(place), cells[name][place]
                raise Error(
                    f"{path}: not written, for cell {quoted(cell.sheet)}!{cell.address} ({name}) would hold {held}, "
                    "which is not what torch computes; please report this"
                )

        if not self.exercise:
            return write(book, path, check)
        with tempfile.TemporaryDirectory() as folder:  # the answers are checked before they are taken away
            write(book, Path(folder) / "answers.xlsx", check)
        return write(self.book(), path)


def _task(book: Book, name: str) -> str:
    """What to ask of whoever is to write a block's formulas."""
    block = book.blocks.get(name)
    return f"In PyTorch this is {block.torch}." if block and block.torch else "Write its formulas."


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
    inputs: Any = None,
    targets: Any = None,
    loss: Callable[..., torch.Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    scheduler: Any = None,
    steps: int | None = None,
    batches: Iterable[Any] | None = None,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    exercise: Sequence[str] = (),
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
      loss: a function `loss(output, *targets)` that returns one number; it may have an argument `step` too, which
        counts from 0. Without it the forward pass alone; with an optimizer, what the model itself returns as its loss:
        one number, the last of several things, or what is named `loss`.
      optimizer: one of torch's element-wise optimisers, or `sgdsheet.eve.Eve`, over the model's parameters. Its class,
        groups, hyperparameters and state are read from it. Without it no step is made.
      scheduler: a `torch.optim.lr_scheduler` of that optimiser, whose `step` follows each step; what it sets stands in
        the workbook as numbers. ReduceLROnPlateau is given the loss of each step. Several in a list follow in order.
      steps: how many steps; as many as there are batches by default, or 1.
      batches: for `sgdsheet train`, in place of inputs and targets: pairs `(inputs, targets)` of one shape, such as a
        DataLoader gives. The workbook then has one step, made with the first of them; the optimiser's state and the
        number of steps made before are cells, and all batches stand on the sheet `batches`.
      title: the workbook's title; the model's class by default.
      classes: a name for each class of a small classifier, to stand on the first sheet beside its number.
      clip_norm, clip_value: clips the gradients before each step, as `torch.nn.utils.clip_grad_norm_` or
        `clip_grad_value_` does with all of the model's parameters.
      exercise: names of blocks, as in `["0/grad/2.weight"]`, whose formulas are left blank for a learner to write. The
        workbook says how each is, and `sgdsheet.grade` marks it.

    The same steps are made by the model, loss, optimizer and scheduler themselves, in float64, and compared. Afterwards
    all of them are as they were before. Dropout's masks and other random numbers are those that these steps draw with
    torch's generator as it stands, which is left as it was, and become data.

    Raises `Error` for what cannot be put on a sheet: an operation that is not known, with its module and line, an
    optimiser that is not element-wise, shapes that disagree, more than 3,000,000 cells, a run that leads to a number
    that is not finite; and where the steps differ from what was traced, with the first block that does.
    """
    given = _Given(model, inputs, targets, loss, optimizer, scheduler, steps, Clipping(clip_norm, clip_value), batches)
    traced = given.traced()
    for graph in traced.graphs:
        require_supported(graph)
    require_fits(given.program(traced)[0])
    traced = given.named(traced)
    ran = given.ran()
    program, values, blocks = _computed(given, traced, ran)
    if (block := first_difference(program, values, blocks, ran)) is not None and not block.startswith("0/"):
        # What changes with the step may be different graphs.
        program, values, blocks = _computed(given, given.named(given.traced(each=True)), ran)
        block = first_difference(program, values, blocks, ran)
    if block is not None:
        raise Error(difference(block, blocks, ran, optimizer))
    exercise = (exercise,) if isinstance(exercise, str) else tuple(exercise)
    made = Compiled(program, values, title or f"{type(model).__name__}, step by step", exercise, tuple(classes or ()))
    if exercise:
        made.book()  # which refuses a name that is none
    return made


@torch.inference_mode(False)
def survey(
    model: torch.nn.Module,
    inputs: Any = None,
    targets: Any = None,
    loss: Callable[..., torch.Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    scheduler: Any = None,
    steps: int | None = None,
    batches: Iterable[Any] | None = None,
    title: str | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    exercise: Sequence[str] = (),
) -> Survey:
    """What `compile` would make of the same arguments, without computing or building anything."""
    given = _Given(model, inputs, targets, loss, optimizer, scheduler, steps, Clipping(clip_norm, clip_value), batches)
    traced = given.traced()
    counts = sum((counted(graph) for graph in traced.graphs), Counter[str]())
    refusals = dict.fromkeys(refusal(node) for graph in traced.graphs for node in unsupported(graph))
    return Survey(counts, list(refusals), estimate(given.program(traced)[0]))


@dataclass(frozen=True)
class _Traced:
    """The graphs that there are, which of them each step has, and for each where its random nodes are drawn."""

    graphs: list[Graph] = field(default_factory=list)
    which: list[int] = field(default_factory=list)
    draws: list[Mapping[str, int]] = field(default_factory=list)


class _Given:
    """The arguments of `compile`, checked."""

    def __init__(
        self,
        model: Any,
        inputs: Any,
        targets: Any,
        loss: Any,
        optimizer: Any,
        scheduler: Any,
        steps: int | None,
        clipping: Clipping,
        repeat: Iterable[Any] | None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise Error(f"model: expected a torch.nn.Module, got {type(model).__name__}")
        if loss is not None and not callable(loss):
            raise Error(f"loss: expected a function of the output and the targets, got {type(loss).__name__}")
        if optimizer is not None:
            kind(optimizer)
        if loss is None and optimizer is not None:
            if targets is not None:
                raise Error("an optimizer needs a loss, as in compile(..., loss=torch.nn.functional.mse_loss)")
            loss = own_loss
        if clipping and loss is None:
            raise Error("there are no gradients to clip without a loss")
        self._model, self._optimizer, self._clipping = unwrapped(model), optimizer, clipping
        self._schedulers = schedulers(scheduler, optimizer)
        self._repeat = _repeated(repeat, inputs, targets, steps, scheduler, optimizer)
        self._batches = self._repeat[:1] or one_a_step(inputs, targets, steps)
        self._losses = [_at_step(loss, k) for k in range(len(self._batches))]
        self._copied = float64(model)
        _require_plain(self._copied)

    def traced(self, each: bool = False) -> _Traced:
        """The graph of each step: one for all batches of a shape, unless each step is to be traced by itself."""
        found = _Traced()
        known: dict[Any, int] = {}
        with lent(self._model, self._losses):
            for batch, loss in zip(self._batches, self._losses, strict=True):
                shape = (batch.shape(), None if loss is self._losses[0] else loss)
                if each or shape not in known:
                    # From a copy of its own, for a model may keep what it has seen.
                    copied = float64(self._copied)
                    step = trace(copied, batch.inputs, batch.targets, loss, self._model, self._clipping)
                    if step.graph not in found.graphs:
                        found.graphs.append(step.graph)
                        found.draws.append(step.draws)
                    known[shape] = found.graphs.index(step.graph)
                found.which.append(known[shape])
        return found

    def named(self, traced: _Traced) -> _Traced:
        """The same graphs with names that say what is computed."""
        modules = {path: type(module).__name__ for path, module in self._model.named_modules()}
        graphs = []
        generator = torch.Generator().manual_seed(0)
        for number, graph in enumerate(traced.graphs):
            feeds = self._batches[traced.which.index(number)].tensors()
            # Near the model's own numbers, but without their zeros, which would make different gradients alike.
            for name, param in self._copied.named_parameters():
                noise = torch.randn(param.shape, generator=generator, dtype=torch.float64)
                feeds[f"param/{name}"] = param.detach() + 0.1 * noise
            feeds |= {f"buffer/{name}": each for name, each in self._copied.named_buffers()}
            for node in graph.nodes:
                if node.op == RANDOM:
                    drawn = torch.rand(node.shape or (), generator=generator, dtype=torch.float64)
                    feeds[node.name] = (
                        drawn
                        if node.dtype == "float"
                        else drawn.round().to(torch.bool if node.dtype == "bool" else torch.int64)
                    )
            graphs.append(named(graph, modules, feeds, (node.name for node in placed(graph))))
        return _Traced(graphs, traced.which, traced.draws)

    def ran(self) -> Ran:
        """The same steps as the caller's own objects make them."""
        return run(self._model, self._batches, self._losses, self._optimizer, self._schedulers, self._clipping)

    def program(
        self, traced: _Traced, schedule: Sequence[Settings] | None = None
    ) -> tuple[Program, dict[str, np.ndarray]]:
        """The program with the settings of each step, and the numbers that it begins with, without what is drawn.

        By default the settings are the optimiser's own as it stands.
        """
        read = Training()
        if self._optimizer is not None:
            schedule = schedule or [settings(self._optimizer)] * len(self._batches)
            read = training(self._model, self._optimizer, schedule, _moving(traced.graphs), bool(self._repeat))
        program = Program(
            tuple(traced.graphs),
            tuple(traced.which),
            all(batch is self._batches[0] for batch in self._batches),
            read.optimizer,
            read.groups,
            read.begun,
            bool(read.state or self._repeat),
            {path: type(module).__name__ for path, module in self._model.named_modules()},
        )
        program = replace(program, together=fits_one_sheet(program))
        values = dict(read.state) | _cells(program)
        if self._repeat:
            rows = [examples(each.tensors().values(), program.rows_of_batch(0)) for each in self._repeat]
            values[BATCHES] = np.concatenate(rows)
            program = replace(program, examples=len(values[BATCHES]))
            values[MADE] = np.array(read.begun)
        for what, tensors in (("param", self._copied.named_parameters()), ("buffer", self._copied.named_buffers())):
            values |= {f"0/{what}/{name}": each.detach().numpy().copy() for name, each in tensors}
        for k, batch in enumerate(self._batches):
            values |= {program.fed(k, name): each.numpy().copy() for name, each in batch.tensors().items()}
        return program, values


def _computed(given: _Given, traced: _Traced, ran: Ran) -> tuple[Program, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The program with the schedule and the random numbers of a run, what it begins with, and what it computes."""
    program, values = given.program(traced, ran.settings)
    for k, number in enumerate(program.which):
        for node in traced.graphs[number].nodes:
            if node.op == RANDOM:
                values[program.fed(k, node.name)] = _drawn(node, traced.draws[number][node.name], ran.drawn[k])
    with float64_by_default(), np.errstate(all="ignore"):
        blocks = program.run(values, watch=watcher(program))
        require_finite(program, blocks)
    return program, values, blocks


def _drawn(node: Node, number: int, drawn: Sequence[torch.Tensor]) -> np.ndarray:
    """The random numbers of a node, which are the so manyth that the caller's own step has drawn."""
    if number >= len(drawn) or tuple(drawn[number].shape) != node.shape:
        op = str(node.args[0]).partition(".")[0]
        raise Error(
            f"{place(node.path, node.line)}{op} does not draw the same each time; draw before, and give it as an input"
        )
    return drawn[number].numpy().astype(float)


def _moving(graphs: Sequence[Graph]) -> set[str]:
    """The parameters that have a gradient, which must be the same ones in all steps."""
    found = [{key[5:] for key in graph.outputs if key.startswith("grad/")} for graph in graphs]
    if some := set.union(*found) - set.intersection(*found):
        raise Error(f"the parameter {min(some)!r} has a gradient with some of the batches and none with others")
    return found[0]


def _repeated(
    given: Iterable[Any] | None, inputs: Any, targets: Any, steps: Any, scheduler: Any, optimizer: Any
) -> list[Batch]:
    """The batches of a step that is to be repeated; none if none are given. Raises `Error` for what does not fit."""
    if given is None:
        if inputs is None:
            raise Error("inputs: expected a tensor, got None; or give batches=[(x, y), ...]")
        return []
    others = {"inputs": inputs, "targets": targets, "steps": steps, "scheduler": scheduler}
    if also := [name for name, each in others.items() if each is not None]:
        raise Error(f"with batches there is one step, for sgdsheet train to repeat: leave {' and '.join(also)} out")
    if optimizer is None:
        raise Error("with batches there is a step to repeat, which needs an optimizer")
    return repeated(given)


def _at_step(loss: Loss | None, k: int) -> Loss | None:
    """The loss of one step: with its number, if it has an argument `step`."""
    if loss is None:
        return None
    try:
        takes = "step" in inspect.signature(loss).parameters
    except (TypeError, ValueError):  # what is built in has no signature
        takes = False
    return partial(loss, step=k) if takes else loss


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
