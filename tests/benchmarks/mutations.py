"""How many changes of one formula `sgdsheet verify` catches, in every workbook of a folder.

    python tests/benchmarks/mutations.py [FOLDER] [--cells N] [--only NAME ...]

Takes N formulas of each workbook (6 by default), of blocks and cells drawn from a fixed seed, and changes each in every
way of `KINDS`, one at a time. A change is caught if verify does not agree. Of one that is not, all values are compared
with those of the right workbook for `TRIALS` other inputs, further away than verify's own: if they are ever off by more
than rounding, verify ought to have caught it. Target: 99 % of those. Whether caught or not, verify says of each change
that the formula is not the one that was written. Prints a table by workbook, one by kind of change, and each that was
missed.

Each workbook is loaded once: what is changed is the engine's copy, and torch runs once for each set of inputs.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet import verification
from sgdsheet.book import Saved
from sgdsheet.book.formulas import Formulas, elements, shifted
from sgdsheet.draws import drawn, farther
from sgdsheet.expr import Range, Ref
from sgdsheet.reference import Reference

TRIALS = 40
TARGET = 0.99
_CELL = re.compile(r"(?<![\w$.!'])\$?[A-Z]{1,3}\$?\d+(?![\w(])")
_NUMBER = re.compile(r"(?<![\w$.!:'])\d+(?:\.\d+)?(?:E[+-]?\d+)?(?![\w.(!])")

Write = Callable[[Ref, str], None]


def one_row_on(formula: str, rng: random.Random) -> str | None:
    """Another row in one of a formula's references."""
    return _replaced(_CELL, formula, rng, lambda text: shifted(text.replace("$", ""), 1, 0))


def another_sign(formula: str, rng: random.Random) -> str | None:
    return _replaced(re.compile(r"(?<=[\w)])[+-]"), formula, rng, {"+": "-", "-": "+"}.__getitem__)


def times_for_divided(formula: str, rng: random.Random) -> str | None:
    return _replaced(re.compile(r"[*/]"), formula, rng, {"*": "/", "/": "*"}.__getitem__)


def one_more(formula: str, rng: random.Random) -> str | None:
    """A number that is higher by 1."""
    return _replaced(_NUMBER, formula, rng, lambda text: repr(float(text) + 1))


def _replaced(what: re.Pattern[str], formula: str, rng: random.Random, by: Callable[[str], str]) -> str | None:
    """The formula with one of the places that match, outside of texts in quotes, replaced."""
    quotes = [match.span() for match in re.finditer(r'"[^"]*"|\'[^\']*\'!', formula)]
    found = [m for m in what.finditer(formula) if not any(a <= m.start() < b for a, b in quotes)]
    if not found:
        return None
    match = rng.choice(found)
    return formula[: match.start()] + by(match[0]) + formula[match.end() :]


# By kind: from a formula without its `=`, its value and a generator, the changed one.
KINDS: dict[str, Callable[[str, Any, random.Random], str | None]] = {
    "its value times 1.001": lambda formula, value, rng: f"({formula})*1.001",
    "its own value, as a formula": lambda formula, value, rng: repr(value) if isinstance(value, float) else None,
    "a reference one row on": lambda formula, value, rng: one_row_on(formula, rng),
    "+ for -, - for +": lambda formula, value, rng: another_sign(formula, rng),
    "* for /, / for *": lambda formula, value, rng: times_for_divided(formula, rng),
    "a number one higher": lambda formula, value, rng: one_more(formula, rng),
    "times (1 + 1e-9)": lambda formula, value, rng: f"({formula})*(1+1E-9)",
}
SWAPPED = "two cells swapped"


class Copy:
    """The engine's copy of a workbook, in which formulas are changed and restored."""

    def __init__(self, saved: Saved, model: Any) -> None:
        self.saved, self.model, self.inputs = saved, model, []
        self._sheets = model._sheets

    def write(self, cell: Ref, formula: str) -> None:
        """Puts a formula, without its `=`, into a cell."""
        self.model._model.update_cell_with_formula(self._sheets[cell.sheet], cell.row, cell.column, f"={formula}")

    def calculate(self, cells: Iterable[tuple[Ref, Any]], ranges: Sequence[Range]) -> list[np.ndarray]:
        """As an engine's `Opened` does it, but the file's own inputs come back where no others are given."""
        return self.model.calculate(list(cells) or self.inputs, ranges)


def remembered(reference: Reference) -> Reference:
    """The same, whose torch runs once for each inputs."""
    runs: dict[Any, Any] = {}
    sizes: dict[Any, Any] = {}

    def key(values: Mapping[str, Any]) -> Any:
        return tuple((k, v if isinstance(v, str) else np.asarray(v, dtype=float).tobytes()) for k, v in values.items())

    def run(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if (found := runs.get(key(values))) is None:
            try:
                found = reference.run(values)
            except verification.REFUSALS as error:
                found = error
            runs[key(values)] = found
        if isinstance(found, Exception):
            raise found
        return found

    def size(values: Mapping[str, Any], blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if key(values) not in sizes:
            sizes[key(values)] = reference.sizes(values, blocks)
        return sizes[key(values)]

    return replace(reference, run=run, sizes=size)


class Attack:
    """One workbook under attack."""

    def __init__(self, path: Path, seed: int) -> None:
        self.saved, self.values, model = verification._calculated(path, "ironcalc")
        self.copy = Copy(self.saved, model)
        self.reference = remembered(verification.reference_of(self.saved, None))
        self.given = verification.inputs_of(self.saved, self.values, self.reference)
        self.specs = {spec.name: spec for spec in self.reference.inputs}
        self.copy.inputs = list(verification.typed_in(self.saved, self.specs, self.given))
        self.rng = random.Random(f"{path.stem} {seed}")
        self.formulas = Formulas(self.saved.blocks.values())
        self._right: dict[int, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}

    def cells(self, count: int) -> Iterator[tuple[str, Ref, str, Any]]:
        """Formulas to change: block, cell, text and value."""
        names = [
            name
            for name, block in self.saved.blocks.items()
            if block.typed != block.panels and not (name in self.specs and self.specs[name].fixed)
        ]
        while count:
            name = self.rng.choice(names)
            block = self.saved.blocks[name]
            position = tuple(self.rng.randrange(length) for length in block.shape)
            held, value = self.saved.contents[name][position], self.values[name][position]
            if isinstance(held, str) and held.startswith("="):
                count -= 1
                yield name, block.cell(position), held[1:], value

    def changes(self, count: int) -> Iterator[tuple[str, list[tuple[str, Ref, str, str]]]]:
        """Kinds of changes, and what each does: block, cell, formula before and after."""
        for name, cell, formula, value in self.cells(count):
            for kind, change in KINDS.items():
                changed = change(formula, value, self.rng)
                if changed is not None:
                    yield kind, [(name, cell, formula, changed)]
            block = self.saved.blocks[name]
            others = [c for _, c in elements(block) if (c.row, c.column) != (cell.row, cell.column)]
            for other in self.rng.sample(others, min(1, len(others))):
                number = next(n for n, c in elements(block) if (c.row, c.column) == (other.row, other.column))
                held = self.saved.contents[name].reshape(-1)[number]
                if isinstance(held, str) and held.startswith("=") and held[1:] != formula:
                    yield SWAPPED, [(name, cell, formula, held[1:]), (name, other, held[1:], formula)]

    def caught(self, change: list[tuple[str, Ref, str, str]]) -> bool:
        """Whether verify says that a workbook with this change does not agree."""
        rewritten = {name: cell.place for name, cell, _, _ in change}
        saved = replace(self.saved, rewritten=rewritten)
        values = saved.arrange(self.copy.calculate((), saved.ranges()))
        rows, _ = verification.compared(saved, values, self.copy, self.reference, verification.SETS)
        return not all(row.ok for row in rows)

    def matters(self, names: list[str]) -> bool:
        """Whether the workbook as it is now has other values than the right one for any of many other inputs."""
        for trial in range(TRIALS):
            (right, sizes), now = self._right[trial], self.tried(trial)
            for name in names:
                was, has = (verification._floats(each[name]) for each in (right, now))
                if (np.isfinite(was) != np.isfinite(has)).any():
                    return True
                finite = np.isfinite(was)
                size = np.full(was.shape, np.abs(was[finite]).max(initial=self.reference.least))
                size = np.fmax(size, sizes.get(name, 0))
                if (np.abs(has - was) > self.reference.tolerance * size)[finite].any():
                    return True
        return False

    def other(self, trial: int) -> dict[str, Any]:
        """Other inputs than verify's, far and near by turns."""
        rng = np.random.default_rng((99, trial))
        other = drawn(self.given, self.specs, self.reference.whole, rng, (1.0, 0.4, 0.1)[trial % 3])
        return farther(other, self.specs, rng) if trial % 2 else other

    def tried(self, trial: int) -> dict[str, np.ndarray]:
        """The values for other inputs."""
        cells = verification.typed_in(self.saved, self.specs, self.other(trial))
        return self.saved.arrange(self.copy.calculate(cells, self.saved.ranges()))

    def prepare(self) -> None:
        """Calculates what the right workbook has for all trials, and what the lesson says of its rounding."""
        if self._right:
            return
        for trial in range(TRIALS):
            try:
                _, sizes = verification.run(self.reference, self.other(trial))
            except verification.REFUSALS:
                sizes = {}
            self._right[trial] = self.tried(trial), sizes


@dataclass
class Found:
    """What came of the changes, by kind; `cells` says of each that was missed where and what it was."""

    caught: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    never: Counter[str] = field(default_factory=Counter)
    cells: list[str] = field(default_factory=list)

    def __iadd__(self, other: Found) -> Found:
        for name, each in vars(other).items():
            setattr(self, name, getattr(self, name) + each)
        return self

    @property
    def share(self) -> float:
        """Of those that can ever give another value, the share that was caught."""
        return self.caught.total() / max(1, self.caught.total() + self.missed.total())


def attacked(path: Path, count: int, seed: int) -> Found:
    """The changes to so many cells of a workbook, and whether verify catches them."""
    attack = Attack(path, seed)
    made = Found()
    for kind, change in attack.changes(count):
        name, cell, formula, changed = change[0]
        if attack.formulas.canonical(formula, cell) == attack.formulas.canonical(changed, cell):
            continue  # as for `A$1` and `A1`
        for _, where, _, new in change:
            attack.copy.write(where, new)
        found = attack.caught(change)
        for _, where, old, _ in change:
            attack.copy.write(where, old)
        if found:
            made.caught[kind] += 1
            continue
        attack.prepare()
        for _, where, _, new in change:
            attack.copy.write(where, new)
        matters = attack.matters([name for name, *_ in change])
        for _, where, old, _ in change:
            attack.copy.write(where, old)
        (made.missed if matters else made.never)[kind] += 1
        if matters:
            made.cells.append(f"{name}, {cell.place}: ={formula:.90} -> ={changed:.90}")
    return made


def main() -> None:
    """Attacks and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("workbooks"))
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=())
    given = parser.parse_args()
    paths = [path for path in sorted(given.folder.glob("*.xlsx")) if not given.only or path.stem in given.only]
    total = Found()
    print(f"{'workbook':<24}{'changes':>9}{'can differ':>12}{'caught':>8}{'missed':>8}{'seconds':>9}")
    for path in paths:
        started = time.perf_counter()
        found = attacked(path, given.cells, given.seed)
        print(_line(path.stem, found) + f"{time.perf_counter() - started:>9.0f}", flush=True)
        for each in found.cells:
            print(f"  missed: {each}", flush=True)
        total += found
    print(_line("all", total))
    print(f"\n{'the change':<30}{'caught':>8}{'missed':>8}{'never another value':>21}")
    for kind in (*KINDS, SWAPPED):
        print(f"{kind:<30}{total.caught[kind]:>8}{total.missed[kind]:>8}{total.never[kind]:>21}")
    print(f"caught {total.share:.2%} of those that can ever give another value (target: {TARGET:.0%})")
    sys.exit(0 if total.share >= TARGET else 1)


def _line(name: str, found: Found) -> str:
    caught, missed, never = (each.total() for each in (found.caught, found.missed, found.never))
    return f"{name:<24}{caught + missed + never:>9}{caught + missed:>12}{caught:>8}{missed:>8}"


if __name__ == "__main__":
    main()
