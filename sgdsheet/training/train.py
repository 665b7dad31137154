"""A workbook's step, made again and again from outside: what it leaves behind is typed in where it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import book, engines, lessons
from sgdsheet.book import Saved
from sgdsheet.engines import Opened
from sgdsheet.errors import Error, require
from sgdsheet.expr import Range, Ref
from sgdsheet.lessons import Lesson
from sgdsheet.reference import Loop, Reference
from sgdsheet.training import feed as examples
from sgdsheet.training import record
from sgdsheet.training.feed import Feed
from sgdsheet.training.following import onward
from sgdsheet.training.record import Run
from sgdsheet.verification import inputs_of, reference_of, typed_in
from sgdsheet.writing import retyped

ENGINES = ("ironcalc", "excel")
INTERRUPTED = "interrupted"
Progress = Callable[[int, float], Any]


@dataclass(frozen=True)
class Trained:
    """What a training has led to: the file, the steps made now and in all, the first and the last loss.

    `stopped` says why there are fewer steps than were asked for: `INTERRUPTED`, or which step leads
    to a number that is not finite. `rewritten` names the blocks whose formulas are not those that were written.
    """

    path: Path
    steps: int
    in_all: int
    first_loss: float
    last_loss: float
    stopped: str = ""
    rewritten: Sequence[str] = ()


def train(
    path: str | Path,
    out: str | Path | None = None,
    *,
    steps: int = 1000,
    data: str | Path | None = None,
    engine: str = "ironcalc",
    lesson: Lesson | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Trains a workbook and writes it anew: the trained numbers in its cells, formulas as they were.

    The workbook is calculated; its new parameters, and the optimiser's new state, become the old ones; the next batch
    goes into the cells of the data; and again. Two sheets are added: `trained` has the loss of every step with a chart,
    `trained from` what the training began with, for `verify`. A trained workbook is trained on in the same way.

    Arguments:
      path: a model that was compiled, with `batches` best, or a lesson whose parameters can be typed in.
      out: the file to write; by default beside `path` with `_trained` after its name.
      steps: how many steps to make; where the workbook has several, as many more as it takes for the last of them.
      data: a CSV of examples, a row each: the input's numbers, then the target's; from the first again after the last.
      engine: `ironcalc`, or `excel`, where the workbook is seen to train.
      lesson: the lesson that the workbook was made for, if it is none of the catalogue.
      progress: called after each round of steps with how many were made, and the last loss.

    An interrupt (Ctrl-C), and a loss that is not finite, end it with the last whole step. Raises `Error` for a workbook
    without a step to repeat, cells and examples that do not fit, an engine that is not there, and a loss that is not
    finite to begin with; nothing is written then.
    """
    path = Path(path)
    target = Path(out) if out is not None else path.with_name(f"{path.stem}_trained.xlsx")
    require(steps, "steps", 1, whole=True)
    if engine not in ENGINES:
        raise Error(f"engine {engine!r}: only {' and '.join(ENGINES)} can train")
    if target.suffix.lower() != ".xlsx":
        raise Error(f"{target}: expected a name that ends with .xlsx")
    calculator = engines.engine(engine)
    saved = book.read(path)
    reference = trainable(saved, reference_of(saved, lesson))
    runs = record.read(path)
    with _opened(calculator, path) as model:
        run, stopped, cells = steps_on(model, saved, reference, runs, steps, data, progress)
    runs.append(_without(run, reference.loop))
    retyped(path, target, cells, record.book(runs, saved.lesson), model if engine == "ironcalc" else None)
    count = len(run.losses)
    made = (count, sum(len(each.losses) for each in runs))
    return Trained(target, *made, run.losses[0], run.losses[-1], stopped, sorted(saved.rewritten or ()))


def steps_on(
    model: Opened,
    saved: Saved,
    reference: Reference,
    runs: Sequence[Run],
    steps: int,
    data: str | Path | None = None,
    progress: Progress | None = None,
    first: int | None = None,
) -> tuple[Run, str, dict[Ref, Any]]:
    """Makes so many steps more in a workbook that an engine has opened, after `runs`; arguments as for `train`.

    `first` is the batch to begin with, from 0, if it is not the one after the last of `runs`. Returns the run, why it
    ended before the last step, and what is to be typed in then. Raises `Error` as `train` does.
    """
    values = saved.arrange(model.calculate((), saved.ranges()))
    start = inputs_of(saved, values, reference)
    fed = _feed(saved, reference, start, data)
    run = Run(start, examples=fed.rows if fed and data else None)
    first = _first(runs, fed, data) if first is None else first
    stopped, last = _rounds(model, _Cells(saved, reference), run, start, fed, first, steps, progress)
    if not run.losses:
        raise Error(f"{saved.path}: {stopped}, to begin with: there is nothing to train")
    return run, stopped, dict(typed_in(saved, {each.name: each for each in reference.inputs}, last))


def trainable(saved: Saved, reference: Reference) -> Reference:
    """The reference, if it has a step to repeat."""
    if reference.loop is not None:
        return reference
    if saved.program:
        raise Error(
            f"{saved.path}: has no step to repeat: its loss, optimiser or the optimiser's state is no cell; "
            "compile the model with batches=[(x, y), ...]"
        )
    some = ", ".join(name for name, each in lessons.catalogue().items() if each.again)
    raise Error(f"{saved.path}: has no step to repeat; these have: compiled models, {some}")


@contextmanager
def _opened(calculator: Any, path: Path) -> Iterator[Opened]:
    """The workbook as the engine trains it: in Excel it is open for all to see."""
    if hasattr(calculator, "watched"):
        with calculator.watched(path) as model:
            yield model
    else:
        model = engines.opened(calculator, path)
        assert model is not None
        yield model


def _feed(saved: Saved, reference: Reference, start: Mapping[str, Any], data: str | Path | None) -> Feed | None:
    """The examples to train with; None if the data stay as they are."""
    loop = reference.loop
    assert loop is not None
    shapes = {name: block.shape for name, block in saved.blocks.items()}
    if data is not None:
        return Feed(examples.read(Path(data), loop, shapes, reference.whole or ()), loop, shapes)
    return Feed(start[loop.batches], loop, shapes) if loop.batches else None


def _first(runs: Sequence[Run], fed: Feed | None, data: Any) -> int:
    """The batch to begin with, from 0: the one after the last that was taken of the same examples."""
    if fed is None or data is not None or not runs or not runs[-1].batches or runs[-1].examples is not None:
        return 0
    return runs[-1].batches[-1] % fed.count


def _without(run: Run, loop: Loop | None) -> Run:
    """The run as it is kept: the workbook's own examples stand in it already."""
    if loop is not None and loop.batches:
        run.start.pop(loop.batches, None)
    return run


def _rounds(
    model: Opened,
    cells: _Cells,
    run: Run,
    start: Mapping[str, Any],
    fed: Feed | None,
    first: int,
    steps: int,
    progress: Progress | None,
) -> tuple[str, dict[str, Any]]:
    """Makes the steps and notes them in `run`. Returns why it ended before the last, and what is typed in then."""
    loop = cells.loop
    now, before = dict(start), None
    try:
        while len(run.losses) < steps:
            if fed is not None:
                now |= fed.blocks(first)
            found = cells.calculated(model, now)
            if found is None:
                # What led here was finite, and its step leads beyond: the workbook keeps to the former.
                if before is not None:
                    made = len(run.losses) - before[1]
                    now = before[0]
                    del run.losses[made:], run.batches[made:]
                return f"step {len(run.losses) + 1:,} leads to a number that is not finite", now
            losses = found["loss"].ravel().tolist()
            before = (now, len(losses))
            now = onward(loop, now, found)
            run.losses.extend(losses)
            if fed is not None:
                taken = [(first + k) % fed.count + 1 for k in range(len(loop.batch))]
                run.batches.extend(taken if len(taken) == len(losses) else taken[:1] * len(losses))
                first += len(loop.batch)
            if progress is not None:
                progress(len(run.losses), losses[-1])
    except KeyboardInterrupt:
        if not run.losses:
            raise
        return INTERRUPTED, now | (fed.blocks(first) if fed is not None else {})
    return "", now | (fed.blocks(first) if fed is not None else {})


class _Cells:
    """The cells that a round of steps is typed into, and those that are read after it."""

    def __init__(self, saved: Saved, reference: Reference) -> None:
        assert reference.loop is not None
        self.loop = reference.loop
        specs = {each.name: each for each in reference.inputs}
        changing = [*self.loop.back, *(name for names in self.loop.batch for name in names)]
        changing += [self.loop.made] if self.loop.made else []
        self._typed: dict[str, tuple[list[Ref], np.ndarray]] = {}
        for name in changing:
            shape = saved.blocks[name].shape
            places: Any = 0 if name in specs else np.arange(int(np.prod(shape))).reshape(shape)
            pairs = [*typed_in(saved, specs, {name: places})]
            self._typed[name] = [cell for cell, _ in pairs], np.array([int(place) for _, place in pairs])
        self._read = {name: saved.blocks[name] for name in dict.fromkeys(["loss", *self.loop.back.values()])}
        self._ranges: list[Range] = [panel for block in self._read.values() for panel in block.panels]

    def calculated(self, model: Opened, values: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """What the steps leave behind with `values` typed in; None if a number of it is not finite."""
        pieces = iter(model.calculate(self._new(values), self._ranges))
        found = {}
        for name, block in self._read.items():
            held = block.whole([next(pieces) for _ in block.panels])
            try:
                found[name] = held.astype(float)
            except (TypeError, ValueError):  # an error's text, or a blank
                return None
            if not np.isfinite(found[name]).all():
                return None
        return found

    def _new(self, values: Mapping[str, Any]) -> Iterator[tuple[Ref, float]]:
        for name, (cells, places) in self._typed.items():
            numbers = np.asarray(values[name], dtype=float).ravel()[places]
            yield from zip(cells, numbers.tolist(), strict=True)
