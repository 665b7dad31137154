"""Whether a workbook agrees with torch, block by block."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet import book, lessons
from sgdsheet.book import NO_LESSON, Block, Saved, typed_cells
from sgdsheet.draws import drawn, farther, nudged
from sgdsheet.engines import CellError, Formula, Opened, engine, opened
from sgdsheet.errors import Error
from sgdsheet.exercises.left import Left, answered, left
from sgdsheet.expr import Ref
from sgdsheet.lessons import Lesson
from sgdsheet.reference import COMPILED, REPLAY, Reference, float64_by_default
from sgdsheet.training import check, record

if TYPE_CHECKING:
    import pandas as pd

AGREES = "agrees"
NOT_FINITE = ", up to where both have no finite number"
HUGE = 1e300
SQUARED = 1e150  # beyond it a square overflows, in one order of a product's factors and not in another
SETS = 2  # other inputs to compare each block with
MORE = 30  # as many where a formula was rewritten and all agrees so far: each of ten may have to be the largest once
REACHES = (0.5, 0.3, 0.15, 0.05, 0.02)  # how far other inputs are from those in the file; less where numbers run wild
WIDE = (1.0, 3.0, 0.3)  # the same where a formula was rewritten, by turns
GROWTH = 1e3  # of a block's largest number, from which on too little of its smaller ones would show
NUDGED = 5  # runs of torch from a rounding's width away, where a block differs
ROUNDINGS = 10  # times as far as those lead may it be off: as much as a hundred terms in another order
HOPELESS = 1e3  # times as far as that, and the first of those runs is enough


@dataclass(frozen=True)
class Row:
    """How one block compares: its place and shape, the largest differences, and the verdict in words.

    `rewritten` says where a formula is not the one that was written, `moved` where the block stood then.
    """

    block: str
    place: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    ok: bool
    verdict: str
    rewritten: str = ""
    moved: str = ""


@dataclass(frozen=True)
class Report:
    """The comparison of one file, recalculated by one engine, with torch: a row a block.

    `sets` counts the other sets of inputs for which it was made too. `known` says whether the file still tells which
    formulas were written.
    """

    path: Path
    engine: str
    rows: tuple[Row, ...]
    sets: int = 0
    known: bool = True

    @property
    def ok(self) -> bool:
        """Whether every block agrees."""
        return all(row.ok for row in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame, a column for each of a row's fields."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.rows], columns=list(Row.__dataclass_fields__))


def read(path: str | Path, engine: str = "ironcalc") -> dict[str, np.ndarray]:
    """Every block of a workbook by name, in its own shape, freshly recalculated.

    Arguments:
      path: a workbook that sgdsheet made.
      engine: what recalculates it: `ironcalc`, `libreoffice`, `gnumeric` or `excel`.

    Returns float64 arrays, NaN where a cell holds an error; an input that is a text comes as an array of text. Raises
    `Error` for a file that cannot be read and an engine that is not there.
    """
    saved, values, _ = _calculated(Path(path), engine)
    return {name: _plain(values[name]) for name in saved.blocks}


def verify(path: str | Path, engine: str = "ironcalc", *, sets: int = SETS, lesson: Lesson | None = None) -> Report:
    """Recalculates a workbook, runs torch in float64 on the inputs that stand in it, and compares every block.

    A block agrees if `max|cell - torch| <= 1e-12 * max(1, max|torch|)`, in a compiled model's workbook if
    `max|cell - torch| <= 1e-10 * max(0.001, max|torch|)`; a lesson may name the size of the numbers whose
    difference a block is, which then counts if it is larger. Where torch itself has no finite number (a run that
    diverged beyond float64) the cell must hold an error value; where it has one beyond 1e300, the cell may.

    A formula may be right by accident: beside a bias of 0, say. So all is compared for other sets of inputs and data
    too, drawn from a fixed seed near those that stand there, in memory: the file stays as it is. Sets for which torch
    diverges, or where a rounding grows beyond what is compared, are drawn anew. A formula that is not the one that was
    written is named; if it agrees for all sets, and for thirty more, it counts as right. Where an exercise is blank,
    all is compared as if its answer stood there. A workbook that `sgdsheet train` wrote is trained in torch over the
    same batches all the way: the loss of every step is compared, and the numbers that it led to.

    Arguments:
      path: a workbook that sgdsheet made.
      engine: what recalculates it: `ironcalc`, `libreoffice` or `excel`. Only ironcalc compares other inputs.
      sets: how many sets of other inputs, or 0.
      lesson: the lesson that the workbook was made for, if it is none of the catalogue.

    Raises `Error` as `read` does, and for an input that is blank or makes no sense, with its address.
    """
    return verified(path, engine, sets=sets, lesson=lesson)[0]


def verified(
    path: str | Path, engine: str = "ironcalc", *, sets: int = SETS, lesson: Lesson | None = None
) -> tuple[Report, Saved, dict[str, np.ndarray]]:
    """What `verify` returns, and what it has read for that: the file, and every block as `read` returns it."""
    saved, values, model = _calculated(Path(path), engine)
    reference = reference_of(saved, lesson)
    rows, done = compared(saved, values, model, reference, sets)
    rows = (*rows, *_trained(saved, values, reference))
    exercises = {each.block: each for each in left(saved)[2]}
    rows = [_of_exercise(row, exercises[row.block], saved) if row.block in exercises else row for row in rows]
    report = Report(Path(path), engine, tuple(rows), done, saved.rewritten is not None)
    return report, saved, {name: _plain(each) for name, each in values.items()}


@dataclass(frozen=True)
class Beside:
    """A workbook beside torch: what torch has for each block, a row a block, and how far each of its cells may be off.

    Blocks that cannot be compared have no `bounds`.
    """

    inputs: Mapping[str, Any]
    torch: Mapping[str, np.ndarray]
    rows: dict[str, Row]
    bounds: Mapping[str, np.ndarray]


def beside(saved: Saved, values: Mapping[str, np.ndarray], reference: Reference) -> Beside:
    """Runs torch on the inputs of a workbook that an engine has calculated, and compares every block.

    Raises `Error` for inputs that make no sense, or that torch refuses.
    """
    inputs = inputs_of(saved, values, reference)
    try:
        expected, sizes = run(reference, inputs)
    except REFUSALS as error:
        raise Error(f"{saved.path}: torch refuses its inputs: {' '.join(str(error).split())}") from None
    texts = {spec.name for spec in reference.inputs if spec.choices} | {*reference.mixed}
    unfit = {name: _unfit(saved, block, expected.get(name)) for name, block in saved.blocks.items()}
    fit = {name: block for name, block in saved.blocks.items() if name not in texts and not unfit[name]}
    found, sizes = _measured(fit, values, expected, sizes, reference, inputs)
    rows = {}
    for name, block in saved.blocks.items():
        if name in texts:
            rows[name] = _chosen(saved, block, values[name])
        else:
            differs, relative, wrong = found.get(name, (np.nan, np.nan, unfit[name]))
            agrees = AGREES + ("" if wrong or np.isfinite(expected[name]).all() else NOT_FINITE)
            rows[name] = Row(name, block.panels[0].place, block.shape, differs, relative, not wrong, wrong or agrees)
    for name in expected.keys() - saved.blocks.keys() - texts:
        shape = expected[name].shape
        rows[name] = Row(name, "", shape, np.nan, np.nan, False, "is not listed on the sheet 'blocks'")
    bounds = {
        name: reference.tolerance * _scale(expected[name], np.isfinite(expected[name]), sizes.get(name), reference)
        for name in fit
    }
    return Beside(inputs, expected, rows, bounds)


def compared(
    saved: Saved, values: Mapping[str, np.ndarray], model: Opened | None, reference: Reference, sets: int
) -> tuple[tuple[Row, ...], int]:
    """A row for each block, and for how many other sets of inputs they were compared: `verify` of what was read."""
    found = beside(saved, values, reference)
    rows, done = found.rows, 0
    if model is not None and all(row.ok for row in rows.values()):
        for said, differences in _others(saved, model, reference, found.inputs, found.torch, sets):
            done += 1
            for name, difference in differences.items():
                rows[name] = replace(rows[name], ok=False, verdict=f"differs for other inputs ({said}): {difference}")
            if differences:
                break
    return tuple(_told(saved, row, done) for row in rows.values()), done


def _trained(saved: Saved, values: Mapping[str, np.ndarray], reference: Reference) -> Iterator[Row]:
    """A row for the losses of a workbook that `sgdsheet train` wrote, and one for the numbers that it led to."""
    runs = record.read(saved.path)
    if not runs:
        return
    if reference.loop is None:
        raise Error(f"{saved.path}: has a sheet {record.TRAINED!r}, but no step that can be repeated; it was edited")
    specs = {spec.name: spec for spec in reference.inputs}
    shapes = {name: block.shape for name, block in saved.blocks.items()}
    now = inputs_of(saved, values, reference)

    def near(start: Mapping[str, Any], generator: np.random.Generator) -> Mapping[str, Any]:
        return nudged(start, specs, generator)

    try:
        found = check.compared(reference, runs, now, shapes, near, NUDGED, ROUNDINGS)
    except REFUSALS as error:
        raise Error(f"{saved.path}: its training cannot be made in torch: {' '.join(str(error).split())}") from None
    for each in found:
        verdict = each.wrong or AGREES
        yield Row(each.name, record.TRAINED, (each.count,), each.differs, each.relative, not each.wrong, verdict)


# What made a workbook that is no lesson's: the module's `reference(saved)` is what it must agree with.
MAKERS = {
    COMPILED: "sgdsheet.torch_frontend.program.reference",
    "a fit of a table": "sgdsheet.table.reference",
    REPLAY: "sgdsheet.replaying.reference",
    "a trained classifier": "sgdsheet.exported.reference",
}
REFUSALS = (ValueError, RuntimeError, ArithmeticError, LookupError)


def _calculated(path: Path, name: str) -> tuple[Saved, dict[str, np.ndarray], Opened | None]:
    calculator = engine(name)
    saved = book.read(path)
    model = opened(calculator, path)
    ranges = saved.ranges()
    saved, answers = answered(saved, left(saved)[2])
    if answers and not model:
        raise Error(f"{path}: has blank exercises, whose answers {name} cannot put in; leave --engine out")
    return (
        saved,
        saved.arrange(model.calculate(answers, ranges) if model else calculator.calculate(path, ranges)),
        model,
    )


def run(reference: Reference, inputs: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Every block as torch computes it, and the sizes of those that need one."""
    with float64_by_default(), np.errstate(all="ignore"):  # a run that diverges is not this program's trouble
        expected = reference.run(inputs)
        return expected, reference.sizes(inputs, expected)


def _others(
    saved: Saved,
    model: Opened,
    reference: Reference,
    inputs: Mapping[str, Any],
    expected: Mapping[str, np.ndarray],
    sets: int,
) -> Iterator[tuple[str, dict[str, str]]]:
    """Compares other sets of inputs: what each is, and in words how each block differs that does.

    There are as many as it takes for each block to be compared `sets` times without running wild, the nearer the more
    often one does; and more of all kinds if a formula was rewritten.
    """
    specs = {spec.name: spec for spec in reference.inputs}
    blocks = {name: block for name, block in saved.blocks.items() if name in expected and name not in specs}

    def tried(number: int, reach: float, far: bool = False) -> tuple[str, dict[str, str], set[str]] | None:
        """What a set is, how it differs, and which blocks run wild; None if torch refuses it."""
        other = other_inputs(reference, inputs, number, reach, far)
        try:
            torch, sizes = run(reference, other)
        except REFUSALS:
            return None
        values = saved.arrange(model.calculate(typed_in(saved, specs, other), saved.ranges()))
        found, _ = _measured(blocks, values, torch, sizes, reference, other)
        said = f"set {number}: {what_changed(reference, inputs, other)}"
        wild = {name for name in blocks if is_wild(torch[name], expected[name])}
        far_out = {name for name in blocks if np.abs(torch[name][np.isfinite(torch[name])]).max(initial=0) > SQUARED}
        differ = {name: wrong for name, (_, _, wrong) in found.items() if wrong and name not in far_out}
        return said, differ, wild | far_out

    unseen = dict.fromkeys(blocks, sets)
    reaches, number = [*REACHES], 0
    while reaches and any(unseen.values()):
        number += 1
        wild = set(blocks)
        if found := tried(number, reaches[0]):
            said, differences, wild = found
            yield said, differences
        unseen = {name: left - (left > 0 and name not in wild) for name, left in unseen.items()}
        if any(unseen[name] for name in wild):
            del reaches[0]
    for further in range(MORE if saved.rewritten and sets else 0):
        if found := tried(number + 1 + further, WIDE[further % len(WIDE)], far=True):
            yield found[:2]


def other_inputs(
    reference: Reference, inputs: Mapping[str, Any], number: int, reach: float, far: bool = False
) -> dict[str, Any]:
    """The so manyth set of inputs other than those in the file, see `drawn` and `farther`."""
    specs = {spec.name: spec for spec in reference.inputs}
    generator = np.random.default_rng((number, int(1000 * reach)))
    with np.errstate(all="ignore"):  # numbers near float64's limit have no deviation
        other = drawn(inputs, specs, reference.whole, generator, reach)
        return farther(other, specs, generator) if far else other


def what_changed(reference: Reference, inputs: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In words what other inputs are."""
    names = [spec.name for spec in reference.inputs]
    changed = [f"{name} {_short(other[name])}" for name in names if other[name] != inputs[name]]
    changed[3:] = ["…"] if len(changed) > 3 else []
    return ", ".join([*changed, *(["other data"] if reference.dims else [])])


def is_wild(torch: np.ndarray, expected: np.ndarray) -> bool:
    """Whether other inputs lead where numbers grow beyond measure, or are none any more."""
    finite = np.isfinite(torch)
    if torch.shape != expected.shape or finite.sum() < np.isfinite(expected).sum():
        return True
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=1)
    return bool(np.abs(torch[finite]).max(initial=0) / GROWTH > largest)  # a product may overflow


def typed_in(saved: Saved, specs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[tuple[Ref, Any]]:
    """The cells that a reader may type into, with what other inputs have in them."""
    for name, value in inputs.items():
        if name in specs and specs[name].fixed:
            continue
        block = saved.blocks[name]
        whole = np.full(block.shape, value, dtype=object) if name in specs else np.asarray(value, dtype=object)
        typed = typed_cells(block)
        for (panel, held), (_, free) in zip(block.panels_of(whole), block.panels_of(typed), strict=True):
            for row, column in np.argwhere(free).tolist():
                yield Ref(panel.sheet, panel.top + row, panel.left + column), held[row, column]


def _measured(
    blocks: Mapping[str, Block],
    values: Mapping[str, np.ndarray],
    torch: Mapping[str, np.ndarray],
    sizes: Mapping[str, np.ndarray],
    reference: Reference,
    inputs: Mapping[str, Any],
) -> tuple[dict[str, tuple[float, float, str]], dict[str, np.ndarray]]:
    """How each block compares, as `_measure` says it, and the sizes that count.

    A block's rounding counts as far as the training enlarges it.
    """
    sizes = dict(sizes)
    with np.errstate(all="ignore"):  # near float64's limit a difference overflows
        found = {n: _measure(block, values[n], torch[n], sizes.get(n), reference) for n, block in blocks.items()}
        off = {name: differs for name, (differs, _, wrong) in found.items() if wrong}
        for name, allowed in (_enlarged(reference, inputs, torch, off) if off else {}).items():
            if np.isinf(allowed):
                found[name] = (*found[name][:2], "")
                sizes[name] = np.full(torch[name].shape, np.inf)
            else:
                sizes[name] = np.fmax(sizes.get(name, 0), np.full(torch[name].shape, allowed / reference.tolerance))
                found[name] = _measure(blocks[name], values[name], torch[name], sizes[name], reference)
    return found, sizes


def _enlarged(
    reference: Reference, inputs: Mapping[str, Any], torch: Mapping[str, np.ndarray], off: Mapping[str, float]
) -> dict[str, float]:
    """How far blocks, which are off by so much, may be off because the training enlarges each rounding.

    Several runs tell that begin a rounding's width away: `ROUNDINGS` times as far as the farthest leads. It is infinite
    where one of them has finite numbers in other places.
    """
    specs = {spec.name: spec for spec in reference.inputs}
    generator = np.random.default_rng(0)
    allowed = dict.fromkeys(off, 0.0)
    for _ in range(NUDGED):
        try:
            near, _ = run(reference, nudged(inputs, specs, generator, whole=reference.whole))
        except REFUSALS:
            continue
        for name in off:
            finite = np.isfinite(torch[name])
            apart = np.abs(near[name] - torch[name])[finite].max(initial=0)
            same = (finite == np.isfinite(near[name])).all()
            allowed[name] = max(allowed[name], ROUNDINGS * float(apart) if same else np.inf)
        if any(not off[name] <= HOPELESS * allowed[name] for name in off):
            break
    return allowed


def inputs_of(saved: Saved, values: Mapping[str, np.ndarray], reference: Reference) -> dict[str, Any]:
    """What the reader may type, by block name: a float, a text, or an array of the block's shape.

    Constants are taken from the file, which keeps every digit; a formula in an input cell counts with its value.
    """
    specs = {spec.name: spec for spec in reference.inputs}
    inputs: dict[str, Any] = {}
    for name, block in saved.blocks.items():
        typed = typed_cells(block)
        if name in specs and specs[name].fixed:
            where = f"{saved.path}: cell {_address(block, ())} ({name})"
            if not _is_formula(saved.contents[name].item()):
                raise Error(f"{where}: was chosen when the workbook was made; to choose anew, generate it anew")
            inputs[name] = specs[name].check(values[name].item(), where)
            continue
        if not typed.any():
            continue
        dims = reference.dims
        as_made = typed.sum() == 1 if name in specs else name in dims and typed.all() and typed.ndim == dims[name]
        if not as_made:
            raise Error(
                f"{saved.path}: the sheet 'blocks' says that {typed.sum()} of the cells of {name!r}, "
                f"{book.shape_text(block.shape)}, may be changed, which is not so in {reference.name}; it was edited"
            )
        if name in specs:
            position = tuple(np.argwhere(typed)[0])
            where = f"{saved.path}: cell {_address(block, position)} ({name})"
            inputs[name] = specs[name].check(_held(saved, values, name)[position], where)
        else:
            inputs[name] = _data(saved, block, _held(saved, values, name), reference.mixed.get(name))
    missing = [name for name in (*specs, *reference.dims) if name not in inputs]
    if missing:
        raise Error(
            f"{saved.path}: the sheet 'blocks' lists no cell for the input {missing[0]!r}; generate the workbook anew"
        )
    return inputs


def _held(saved: Saved, values: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """What the block's cells hold: the value of each formula, and every digit of what is not a formula."""
    held = [
        computed if _is_formula(held) else held
        for held, computed in zip(saved.contents[name].flat, values[name].flat, strict=True)
    ]
    found = np.empty(len(held), dtype=object)
    found[:] = held
    return found.reshape(saved.contents[name].shape)


def reference_of(saved: Saved, lesson: Lesson | None) -> Reference:
    if saved.lesson == NO_LESSON:
        raise Error(f"{saved.path}: no PyTorch program stands behind this workbook, so there is nothing to verify")
    if lesson is not None and lesson.name != saved.lesson:
        raise Error(f"{saved.path}: was made for the lesson {saved.lesson!r}, not for {lesson.name!r}")
    if made := MAKERS.get(saved.lesson, MAKERS[COMPILED] if saved.program else None):
        return importlib.import_module(made).reference(saved)
    try:
        return (lesson or lessons.find(saved.lesson)).checked()
    except Error as error:
        raise Error(f"{saved.path}: {error}; for a lesson of your own give --lesson FILE.py") from None


def _told(saved: Saved, row: Row, sets: int) -> Row:
    """The row, with what is to be said of formulas that were rewritten and of where the block stood."""
    rewritten, moved = (saved.rewritten or {}).get(row.block, ""), saved.moved.get(row.block, "")
    verdict = row.verdict
    if rewritten and not verdict.startswith("formula "):  # that one is gone is said already
        also = f" (also for {sets} other sets of inputs)" if sets else ""
        verdict = f"values agree{also}" if verdict == AGREES else verdict
        verdict = f"formula changed at {rewritten}; {verdict}"
    if moved:
        verdict = f"{verdict}; {moved}"
    return replace(row, verdict=verdict, rewritten=rewritten, moved=moved)


def _of_exercise(row: Row, exercise: Left, saved: Saved) -> Row:
    """The row of a block that a learner is to write: how much is written, and whether that agrees."""
    written = sum(not isinstance(held, Formula) for held in exercise.held(saved))
    if not written:
        return replace(row, verdict="exercise: blank" if row.ok else f"exercise: blank; {row.verdict}", rewritten="")
    verdict = row.verdict.removeprefix(f"formula changed at {row.rewritten}; ")
    total = len(exercise.answers)
    return replace(row, verdict=f"exercise: {written} of {total} cells written; {verdict}", rewritten="")


def _chosen(saved: Saved, block: Block, values: np.ndarray) -> Row:
    """The row of an input that is a text, or of data that are texts too: nothing to compare, only where it is."""
    problem = saved.astray.get(block.name)
    held = "as given" if block.shape else f"chosen: {values.item()}"
    verdict = f"the sheet 'blocks' says {block.panels[0].place}, but {problem}" if problem else held
    return Row(block.name, block.panels[0].place, block.shape, np.nan, np.nan, not problem, verdict)


def _unfit(saved: Saved, block: Block, torch: np.ndarray | None) -> str:
    """Why there is no comparing a block; an empty text if there is."""
    if block.name in saved.astray:
        return f"the sheet 'blocks' says {block.panels[0].place}, but {saved.astray[block.name]}"
    if (overwritten := _overwritten(saved, block)) is not None:
        held = saved.contents[block.name][overwritten]
        what = "formula deleted" if held is None else f"formula overwritten by {held!r}"
        return f"{what} at {_address(block, overwritten)}"
    if torch is None:
        return "torch has no block of this name"
    return "" if torch.shape == block.shape else f"torch's shape is {torch.shape}"


def _measure(
    block: Block, values: np.ndarray, torch: np.ndarray, size: Any, reference: Reference
) -> tuple[float, float, str]:
    """The largest difference, the largest relative to the block's size, and in words where they are too large."""
    difference, share = apart(values, torch, size, reference)
    wrong = np.argwhere(np.isinf(difference))
    if len(wrong):
        position = tuple(wrong[0])
        where = _address(block, position)
        return np.nan, np.nan, f"{where} holds {values[position]}, torch has {torch[position]:.17g}"
    differs, relative = float(difference.max(initial=0)), float(share.max(initial=0))
    if relative <= reference.tolerance:
        return differs, relative, ""
    position = np.unravel_index(int(share.argmax()), share.shape)
    where = _address(block, position)
    return differs, relative, f"differs most at {where}: {values[position]:.17g}, torch has {torch[position]:.17g}"


def apart(values: np.ndarray, torch: np.ndarray, size: Any, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """How far each cell is from torch, and how far relative to the block's size; infinite where one of them is none."""
    cells = _floats(values)
    # Near float64's limit a sum overflows before it is divided: an error is right there.
    finite = np.isfinite(torch) & ~((np.abs(torch) > HUGE) & ~np.isfinite(cells))
    # A mask's infinity is a huge number in a cell.
    masked = np.isinf(torch) & (np.abs(cells) > HUGE) & (np.sign(cells) == np.sign(torch))
    difference = np.where(finite, np.abs(cells - np.where(finite, torch, 0)), 0)
    difference[(finite != np.isfinite(cells)) & ~masked] = np.inf
    return difference, difference / _scale(torch, finite, size, reference)


def _scale(torch: np.ndarray, finite: np.ndarray, size: Any, reference: Reference) -> np.ndarray:
    """What a difference is measured against: the largest of the block's numbers, or a size that is larger."""
    scale = np.full_like(torch, max(reference.least, float(np.abs(torch[finite]).max(initial=0))))
    return scale if size is None else np.fmax(scale, np.where(finite & np.isfinite(size), size, 1))


def _overwritten(saved: Saved, block: Block) -> tuple[int, ...] | None:
    """The first cell that should hold a formula and does not."""
    formulas = np.asarray(np.frompyfunc(_is_formula, 1, 1)(saved.contents[block.name]), dtype=bool)
    wrong = np.argwhere(~formulas & ~typed_cells(block))
    return tuple(wrong[0]) if len(wrong) else None


def _is_formula(held: Any) -> bool:
    return isinstance(held, str) and held.startswith("=")


def _address(block: Block, position: Sequence[Any]) -> str:
    """The cell of one of the block's elements, as in `sgd!D12`."""
    return block.cell(position).place


def _data(saved: Saved, block: Block, held: np.ndarray, numbers: Sequence[bool] | None) -> np.ndarray:
    """What a block of data holds: floats, or where `numbers` says which columns hold them, also texts and None.

    Raises `Error` for the first cell that holds something else.
    """
    for flat, value in enumerate(held.flat):
        number = numbers is None or numbers[flat % len(numbers)]
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
        if not (fits or (numbers is not None and (value is None or (isinstance(value, str) and not number)))):
            where = _address(block, np.unravel_index(flat, held.shape))
            what = "a blank cell" if value is None else repr(value)
            expected = "a number" if numbers is None else "a number or nothing" if number else "a text"
            raise Error(f"{saved.path}: cell {where} ({block.name}): expected {expected}, got {what}")
    return held.astype(float) if numbers is None else np.frompyfunc(_plain_cell, 1, 1)(held)


def _plain_cell(value: Any) -> Any:
    return float(value) if isinstance(value, int) else value


def _floats(values: np.ndarray) -> np.ndarray:
    """Numbers and booleans as floats; NaN for whatever else a cell may hold."""
    floats = [float(value) if isinstance(value, (int, float)) else np.nan for value in values.reshape(-1)]
    return np.array(floats).reshape(values.shape)


def _plain(values: np.ndarray) -> np.ndarray:
    """An engine's values as floats, as text if the block holds nothing else, or as they are where it holds both."""
    texts = sum(isinstance(each, str) and not isinstance(each, CellError) for each in values.flat)
    return _floats(values) if not texts else values.astype(str) if texts == values.size else values


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
