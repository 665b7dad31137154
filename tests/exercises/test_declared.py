"""The exercises that lessons declare: blanks do no harm, answers are right, and each mistake is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.engines import CellError, engine, opened
from sgdsheet.exercises.exercise import COMMON, Exercise, Reads
from sgdsheet.exercises.left import answered, left
from sgdsheet.expr import Range
from sgdsheet.lessons import catalogue
from sgdsheet.verification import inputs_of, other_inputs, reference_of, run
from tests.exercises.learner import POINTS

LESSONS = [name for name, lesson in catalogue().items() if lesson.exercises]
is_error: Any = np.frompyfunc(lambda held: isinstance(held, CellError), 1, 1)


@pytest.mark.parametrize("name", LESSONS)
def test_exercises_of_a_lesson(tmp_path: Path, name: str) -> None:
    lesson, path, points = catalogue()[name], tmp_path / f"{name}.xlsx", tmp_path / "points.csv"
    points.write_text(POINTS, encoding="utf-8")
    line = list(lesson.data.dims) == ["data_x", "data_y"] and "csv" in lesson.data.takes  # fewer points, less time
    sgdsheet.generate(name, path, exercise=3, data=points if line else None)
    saved = book.read(path)
    level, _, exercises = left(saved)
    declared = {each.block: each for each in lesson.exercises}
    assert level == 3
    assert [each.block for each in exercises] == list(declared)
    assert {each.level for each in declared.values()} == {1, 2, 3}

    model = opened(engine("ironcalc"), path)
    assert model is not None
    about = Range("about", 1, 1, 70, 9)
    *blanks, shown = model.calculate((), [*saved.ranges(), about])
    blank = saved.arrange(blanks)
    assert f"0 of {len(declared)} right" in shown.reshape(-1).tolist()
    filled, given = answered(saved, exercises)
    *answers, shown = model.calculate(given, [*filled.ranges(), about])
    values = filled.arrange(answers)
    assert f"{len(declared)} of {len(declared)} right" in shown.reshape(-1).tolist()
    assert not [each for each in values if np.any(is_error(blank[each]) > is_error(values[each]))]

    reference = reference_of(saved, None)
    inputs = inputs_of(filled, values, reference)
    torch, _ = run(reference, inputs)
    for each in exercises:
        holds = values[each.block].astype(float)
        assert np.allclose(holds, torch[each.block], rtol=1e-9, atol=1e-12)
    others = [run(reference, other_inputs(reference, inputs, number, 0.5))[0] for number in (1, 2, 3)]
    for each in exercises:
        told_apart(declared[each.block], each.cells, [torch, *others])


def told_apart(exercise: Exercise, cells: np.ndarray, runs: list[dict[str, np.ndarray]]) -> None:
    """No mistake is right in all runs, and no two are the same."""
    found: dict[str, list[np.ndarray]] = {"right": [torch[exercise.block][cells] for torch in runs]}
    for torch in runs:
        with np.errstate(all="ignore"):
            mistakes = exercise.mistakes(Reads(torch.__getitem__, torch[exercise.block]))
        for said in mistakes.keys() - COMMON.keys():
            assert len(said) <= 45, said
            found.setdefault(said, []).append(np.array(mistakes[said], dtype=float)[cells])
    held = {said: np.concatenate(each) for said, each in found.items()}
    same = [(one, two) for one in held for two in held if one < two and np.allclose(held[one], held[two], rtol=1e-9)]
    assert same == []
