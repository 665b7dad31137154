"""A workbook that was handed in, as an engine holds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sgdsheet import verification as judge
from sgdsheet.book import ANSWERS, Saved, typed_cells
from sgdsheet.engines import Formula, engine, opened
from sgdsheet.exercises.left import Left, answered
from sgdsheet.expr import Ref
from sgdsheet.reference import Reference

CIRCLE = "#CIRC!"


class Handed:
    """At first the file as it is; from `single_out` on with one exercise's formulas, and numbers in all other blocks.

    The file itself is not changed.
    """

    def __init__(self, saved: Saved, exercises: list[Left]) -> None:
        self._saved, self._exercises = saved, exercises
        model = opened(engine("ironcalc"), saved.path)
        assert model is not None
        self._model = model
        self._references = {name: block.references() for name, block in saved.blocks.items()}
        self._formulas = {name: ~typed_cells(block) for name, block in saved.blocks.items()}

    def answered(self) -> tuple[Saved, dict[str, np.ndarray]]:
        """The workbook with the answers of what is blank, and all its values."""
        filled, given = answered(self._saved, self._exercises)
        return filled, filled.arrange(self._model.calculate(given, filled.ranges()))

    def is_circular(self, exercise: Left, values: np.ndarray) -> bool:
        """Whether its formulas, whose block holds such values, refer to themselves with all other exercises answered.

        Otherwise the circle is another exercise's.
        """
        if CIRCLE not in values[exercise.cells].tolist():
            return False
        others = [each for each in self._exercises if each is not exercise]
        _, given = answered(self._saved, others, whole=True)
        block = self._saved.blocks[exercise.block]
        found = block.whole(self._model.calculate(given, block.panels))
        for each in others:
            self._model.calculate(self._written(each), ())
        return CIRCLE in found[exercise.cells].tolist()

    def single_out(self, exercise: Left) -> None:
        """Puts an exercise's own formulas back, and empties the sheet of answers."""
        answers = self._saved.answers
        cells = [Ref(ANSWERS, row + 1, column + 1) for row, held in enumerate(answers) for column in range(len(held))]
        self._model.calculate([*((cell, None) for cell in cells), *self._written(exercise)], ())

    def values(
        self, exercise: Left, inputs: Mapping[str, Any], torch: Mapping[str, np.ndarray], reference: Reference
    ) -> np.ndarray:
        """What an exercise's block holds for such inputs, with what torch makes of them in all other blocks."""
        specs = {spec.name: spec for spec in reference.inputs}
        given = [*self._numbers(exercise, torch), *judge.typed_in(self._saved, specs, inputs)]
        block = self._saved.blocks[exercise.block]
        return block.whole(self._model.calculate(given, block.panels))

    def _written(self, exercise: Left) -> Iterator[tuple[Ref, Any]]:
        for cell, held in zip(exercise.lives(self._saved), exercise.held(self._saved), strict=True):
            yield cell, Formula(held) if isinstance(held, str) and held.startswith("=") else held

    def _numbers(self, exercise: Left, torch: Mapping[str, np.ndarray]) -> Iterator[tuple[Ref, Any]]:
        for name, cells in self._formulas.items():
            if name in torch:
                chosen = cells & ~exercise.cells if name == exercise.block else cells
                for cell, number in zip(self._references[name][chosen], torch[name][chosen].tolist(), strict=True):
                    yield cell, number if np.isfinite(number) else Formula("=NA()")
