"""Whether a workbook agrees with torch, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet import book, lessons
from sgdsheet.book import NO_LESSON, Block, Saved
from sgdsheet.engines import CellError, engine
from sgdsheet.errors import Error
from sgdsheet.expr import quoted
from sgdsheet.reference import COMPILED, Reference, float64_by_default

if TYPE_CHECKING:
    import pandas as pd

HUGE = 1e300


@dataclass(frozen=True)
class Row:
    """How one block compares: its place and shape, the largest differences, and the verdict in words."""

    block: str
    place: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    ok: bool
    verdict: str


@dataclass(frozen=True)
class Report:
    """The comparison of one file, recalculated by one engine, with torch: a row a block."""

    path: Path
    engine: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether every block agrees."""
        return all(row.ok for row in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame with the columns block, place, shape, max_abs, max_rel, ok and verdict."""
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
    saved, values = _calculated(Path(path), engine)
    return {name: _plain(values[name]) for name in saved.blocks}


def verify(path: str | Path, engine: str = "ironcalc") -> Report:
    """Recalculates a workbook, runs torch in float64 on the inputs that stand in it, and compares every block.

    A block agrees if `max|cell - torch| <= 1e-12 * max(1, max|torch|)`, in a compiled model's workbook if
    `max|cell - torch| <= 1e-10 * max(0.001, max|torch|)`; a lesson may name the size of the numbers whose
    difference a block is, which then counts if it is larger. Where torch itself has no finite number (a run that
    diverged beyond float64) the cell must hold an error value; where it has one beyond 1e300, the cell may. Arguments
    and errors as for `read`; an input that is blank or makes no sense is an `Error` too, with its address.
    """
    saved, values = _calculated(Path(path), engine)
    reference = _reference(saved)
    inputs = _inputs(saved, values, reference)
    with float64_by_default(), np.errstate(all="ignore"):  # a run that diverges is not this program's trouble
        try:
            expected = reference.run(inputs)
        except (ValueError, RuntimeError) as error:
            raise Error(f"{path}: torch refuses its inputs: {' '.join(str(error).split())}") from None
        sizes = reference.sizes(inputs, expected)
    texts = {spec.name for spec in reference.inputs if spec.choices}
    rows = []
    for name, block in saved.blocks.items():
        if name in texts:
            rows.append(_chosen(saved, block, values[name]))
        else:
            rows.append(_compare(saved, block, values[name], expected.get(name), sizes.get(name), reference))
    for name in expected.keys() - saved.blocks.keys() - texts:
        shape = expected[name].shape
        rows.append(Row(name, "", shape, np.nan, np.nan, False, "is not listed on the sheet 'about'"))
    return Report(Path(path), engine, tuple(rows))


def _calculated(path: Path, name: str) -> tuple[Saved, dict[str, np.ndarray]]:
    calculator = engine(name)
    saved = book.read(path)
    return saved, saved.arrange(calculator.calculate(path, saved.ranges()))


def _inputs(saved: Saved, values: Mapping[str, np.ndarray], reference: Reference) -> dict[str, Any]:
    """What the reader may type, by block name: a float, a text, or an array of the block's shape.

    Constants are taken from the file, which keeps every digit; a formula in an input cell counts with its value.
    """
    specs = {spec.name: spec for spec in reference.inputs}
    inputs: dict[str, Any] = {}
    for name, block in saved.blocks.items():
        typed = _typed(block)
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
                f"{saved.path}: the sheet 'about' says that {typed.sum()} of the cells of {name!r}, "
                f"{book.shape_text(block.shape)}, may be changed, which is not so in {reference.name}; it was edited"
            )
        if name in specs:
            position = tuple(np.argwhere(typed)[0])
            where = f"{saved.path}: cell {_address(block, position)} ({name})"
            inputs[name] = specs[name].check(_held(saved, values, name)[position], where)
        else:
            inputs[name] = _numbers(saved, block, _held(saved, values, name))
    missing = [name for name in (*specs, *reference.dims) if name not in inputs]
    if missing:
        raise Error(
            f"{saved.path}: the sheet 'about' lists no cell for the input {missing[0]!r}; generate the workbook anew"
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


def _reference(saved: Saved) -> Reference:
    if saved.lesson == NO_LESSON:
        raise Error(f"{saved.path}: no PyTorch program stands behind this workbook, so there is nothing to verify")
    if saved.program or saved.lesson == COMPILED:
        from sgdsheet.torch_frontend.program.reference import reference

        return reference(saved)
    try:
        return lessons.find(saved.lesson).checked()
    except Error as error:
        raise Error(f"{saved.path}: {error}") from None


def _chosen(saved: Saved, block: Block, values: np.ndarray) -> Row:
    """The row of an input that is a text: there is nothing to compare, only where it is."""
    moved = saved.moved.get(block.name)
    verdict = f"the sheet 'about' says {block.panels[0].place}, but {moved}" if moved else f"chosen: {values.item()}"
    return Row(block.name, block.panels[0].place, block.shape, np.nan, np.nan, not moved, verdict)


def _compare(
    saved: Saved,
    block: Block,
    values: np.ndarray,
    torch: np.ndarray | None,
    size: np.ndarray | None,
    reference: Reference,
) -> Row:
    cells = _floats(values)
    differs, relative = np.nan, np.nan

    def row(ok: bool, verdict: str) -> Row:
        return Row(block.name, block.panels[0].place, block.shape, differs, relative, ok, verdict)

    overwritten = _overwritten(saved, block)
    if overwritten is not None:
        held = saved.contents[block.name][overwritten]
        what = "formula deleted" if held is None else f"formula overwritten by {held!r}"
        return row(False, f"{what} at {_address(block, overwritten)}")
    if block.name in saved.moved:
        return row(False, f"the sheet 'about' says {block.panels[0].place}, but {saved.moved[block.name]}")
    if torch is None:
        return row(False, "torch has no block of this name")
    if torch.shape != block.shape:
        return row(False, f"torch's shape is {torch.shape}")
    # Near float64's limit a sum overflows before it is divided: an error is right there.
    finite = np.isfinite(torch) & ~((np.abs(torch) > HUGE) & ~np.isfinite(cells))
    # A mask's infinity is a huge number in a cell.
    masked = np.isinf(torch) & (np.abs(cells) > HUGE) & (np.sign(cells) == np.sign(torch))
    wrong = np.argwhere((finite != np.isfinite(cells)) & ~masked)
    if len(wrong):
        position = tuple(wrong[0])
        return row(False, f"{_address(block, position)} holds {values[position]}, torch has {torch[position]:.17g}")
    difference = np.where(finite, np.abs(cells - np.where(finite, torch, 0)), 0)
    scale = np.full_like(torch, max(reference.least, float(np.abs(torch[finite]).max(initial=0))))
    if size is not None:
        scale = np.fmax(scale, np.where(finite & np.isfinite(size), size, 1))
    differs = float(difference.max(initial=0))
    relative = float((difference / scale).max(initial=0))
    if relative > reference.tolerance:
        position = np.unravel_index(int((difference / scale).argmax()), difference.shape)
        where = _address(block, position)
        return row(False, f"differs most at {where}: {cells[position]:.17g}, torch has {torch[position]:.17g}")
    return row(True, "agrees" if finite.all() else "agrees, up to where both have no finite number")


def _overwritten(saved: Saved, block: Block) -> tuple[int, ...] | None:
    """The first cell that should hold a formula and does not."""
    formulas = np.asarray(np.frompyfunc(_is_formula, 1, 1)(saved.contents[block.name]), dtype=bool)
    wrong = np.argwhere(~formulas & ~_typed(block))
    return tuple(wrong[0]) if len(wrong) else None


def _is_formula(held: Any) -> bool:
    return isinstance(held, str) and held.startswith("=")


def _typed(block: Block) -> np.ndarray:
    """Which of the block's cells the reader may type into."""
    if block.typed == block.panels:
        return np.ones(block.shape, dtype=bool)
    masks = []
    for panel in block.panels:
        mask = np.zeros(panel.shape, dtype=bool)
        for typed in block.typed:
            if typed.sheet == panel.sheet:
                rows = slice(max(typed.top - panel.top, 0), max(typed.bottom - panel.top + 1, 0))
                columns = slice(max(typed.left - panel.left, 0), max(typed.right - panel.left + 1, 0))
                mask[rows, columns] = True
        masks.append(mask)
    return block.whole(masks)


def _address(block: Block, position: Sequence[Any]) -> str:
    """The cell of one of the block's elements, as in `sgd!D12`."""
    cell = block.cell(position)
    return f"{quoted(cell.sheet)}!{cell.address}"


def _numbers(saved: Saved, block: Block, held: np.ndarray) -> np.ndarray:
    """The numbers in a block of data. Raises `Error` for the first cell that holds none."""
    for flat, value in enumerate(held.flat):
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)):
            where = _address(block, np.unravel_index(flat, held.shape))
            what = "a blank cell" if value is None else repr(value)
            raise Error(f"{saved.path}: cell {where} ({block.name}): expected a number, got {what}")
    return held.astype(float)


def _floats(values: np.ndarray) -> np.ndarray:
    """Numbers and booleans as floats; NaN for whatever else a cell may hold."""
    floats = [float(value) if isinstance(value, (int, float)) else np.nan for value in values.reshape(-1)]
    return np.array(floats).reshape(values.shape)


def _plain(values: np.ndarray) -> np.ndarray:
    """An engine's values as floats, or as text if the block holds one."""
    first = values.reshape(-1)[0]
    if isinstance(first, str) and not isinstance(first, CellError):
        return values.astype(str)
    return _floats(values)
