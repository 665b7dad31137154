"""What a learner handed in, exercise by exercise, with torch as the judge.

Only the learner's formulas of one exercise are calculated: in all other blocks stand the numbers that torch has, and
the sheet of answers is empty. So a mistake counts once, a formula that was overwritten elsewhere changes no mark, and
none can be copied from the answers. It must hold for the inputs in the file and for three other sets of inputs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet import book, lessons
from sgdsheet import verification as judge
from sgdsheet.book import ANSWERS, Saved, typed_cells
from sgdsheet.engines import CellError
from sgdsheet.errors import Error
from sgdsheet.exercises.exercise import LEVELS, Exercise, Reads, chosen
from sgdsheet.exercises.left import Left, digest, left
from sgdsheet.grading.handed import Handed
from sgdsheet.lessons import Lesson
from sgdsheet.reference import COMPILED, Reference

if TYPE_CHECKING:
    import pandas as pd

RIGHT, PARTLY, BLANK, TYPED, WRONG = "right", "partly", "blank", "typed number", "wrong"
SETS = 3  # other inputs for which a formula must be right
TRIES = 12
BROKEN = CellError("#ERROR!")  # what a formula holds that cannot be read
TEXTS = 100  # characters of a learner's formula or text that a table has room for


@dataclass(frozen=True)
class Mark:
    """One exercise of one file.

    `verdict` is `right`, `partly` (what is there is right, but cells are blank), `blank`, `typed number` or `wrong`.
    `right` of its `cells` hold formulas that are right for all inputs; `cell` is the first that does not, and `reason`
    says what is wrong there.
    """

    exercise: str
    level: int
    verdict: str
    right: int
    cells: int
    cell: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Graded:
    """What was handed in: the marks, an exercise each.

    `lesson` names what the workbook was made of; `program` is what a compiled model is known by: it is the same for
    all who were handed out the same file. `elsewhere` tells of formulas that were changed and are no exercise: they
    make no difference to the marks.
    """

    path: Path
    lesson: str
    program: str
    level: int
    marks: tuple[Mark, ...]
    elsewhere: tuple[str, ...]

    @property
    def right(self) -> int:
        """How many exercises are right."""
        return sum(mark.verdict == RIGHT for mark in self.marks)

    def to_frame(self) -> pd.DataFrame:
        """The marks as a pandas DataFrame: a row an exercise."""
        import pandas as pd

        return pd.DataFrame([vars(mark) for mark in self.marks], columns=list(Mark.__dataclass_fields__))


def grade(path: str | Path, *, lesson: Lesson | None = None) -> Graded:
    """Marks the exercises of a workbook that `generate(..., exercise=level)` or `compile(..., exercise=[...])` made.

    A formula counts as right, whichever way it is written, if its values are torch's for the inputs in the file and for
    three other sets of inputs; a typed number never does. The file is not changed.

    Arguments:
      path: the workbook as it was handed in; rows may have been inserted above or below tables, sheets renamed.
      lesson: the lesson that it was made for, if it is none of the catalogue.

    Raises `Error` for a file that cannot be read or has no exercises, and for one whose list of exercises, inputs or
    program are no longer those of its lesson.
    """
    return Grader(lesson).grade(path)


@dataclass(frozen=True)
class Trial:
    """One set of inputs: what an exercise's block holds for it, and what torch has. `other` says what is other then."""

    other: str
    values: np.ndarray
    torch: Mapping[str, np.ndarray]
    sizes: Mapping[str, np.ndarray]


class Grader:
    """Grades file after file; what torch computes for the same inputs is kept, for a class has the same in all."""

    def __init__(self, lesson: Lesson | None = None) -> None:
        self._lesson = lesson
        self._known: dict[Any, Any] = {}

    def grade(self, path: str | Path) -> Graded:
        """See `sgdsheet.grade`."""
        path = Path(path)
        saved = book.read(path)
        level, program, exercises = left(saved)
        if not exercises:
            raise Error(f"{path}: has no exercises; make one that has with sgdsheet generate NAME --exercise")
        reference = judge.reference_of(saved, self._lesson)
        declared = self._declared(saved, level, program, exercises)
        for each in exercises:
            if problem := saved.astray.get(each.block):
                where = saved.blocks[each.block].panels[0].place
                raise Error(
                    f"{path}: block {each.block!r} is no longer at {where}, {problem}; undo that, and save anew"
                )
        handed = Handed(saved, exercises)
        filled, values = handed.answered()
        inputs = judge.inputs_of(filled, values, reference)
        reasons = {each.block: _unfair(saved, handed, each, values[each.block]) for each in exercises}
        marks = []
        for each in exercises:
            if reasons[each.block]:
                marks.append(_refused(saved, each, declared[each.block], reasons[each.block]))
                continue
            handed.single_out(each)
            trials = self._trials(handed, reference, inputs, each, (saved.lesson, program))
            marks.append(_mark(saved, each, declared[each.block], reference, trials))
        return Graded(path, saved.lesson, program, level, tuple(marks), tuple(_elsewhere(saved, exercises)))

    def _declared(self, saved: Saved, level: int, program: str, exercises: list[Left]) -> dict[str, Exercise]:
        """The exercises as the lesson has them, by block. Raises `Error` if the file has others."""
        where = f"{saved.path}: sheet {ANSWERS!r}"
        if saved.lesson == COMPILED:
            if digest(saved.program[1:]) != program:
                raise Error(f"{saved.path}: the program that it carries was edited, so there is nothing to judge it by")
            return {each.block: Exercise(each.block, 1, "") for each in exercises}
        lesson = self._lesson or lessons.find(saved.lesson)
        if level not in LEVELS:
            raise Error(f"{where}: was edited: there is no level {level}")
        declared = {each.block: each for each in chosen(lesson.name, lesson.exercises, level)}
        listed = {each.block: each for each in exercises}
        if listed.keys() != declared.keys():
            raise Error(
                f"{where}: was edited, or the lesson's exercises have changed since: expected "
                f"{', '.join(declared)}, got {', '.join(listed)}"
            )
        for name, each in listed.items():
            cells = np.zeros(each.cells.shape, dtype=bool)
            cells[declared[name].at] = True
            if (cells & ~typed_cells(saved.blocks[name]) != each.cells).any():
                raise Error(f"{where}: was edited: {name!r} has other cells to write")
        return declared

    def _trials(
        self, handed: Handed, reference: Reference, inputs: Mapping[str, Any], exercise: Left, what: tuple[str, str]
    ) -> Iterator[Trial]:
        """What an exercise's block holds for the inputs in the file, and for `SETS` others or more: until each input
        has been another one.
        """
        torch, sizes = expected, _ = self._torch(reference, inputs, what)
        yield Trial("", handed.values(exercise, inputs, torch, reference), torch, sizes)
        done, unchanged = 0, {spec.name for spec in reference.inputs if not spec.fixed}
        for number in range(1, TRIES + 1):
            if done >= SETS and not unchanged:
                return
            other = judge.other_inputs(reference, inputs, number, judge.REACHES[number % len(judge.REACHES)])
            try:
                torch, sizes = self._torch(reference, other, what)
            except Error:
                continue
            if not judge.is_wild(torch[exercise.block], expected[exercise.block]):
                done += 1
                unchanged -= {name for name in unchanged if other[name] != inputs[name]}
                said = judge.what_changed(reference, inputs, other)
                yield Trial(said, handed.values(exercise, other, torch, reference), torch, sizes)

    def _torch(
        self, reference: Reference, inputs: Mapping[str, Any], what: tuple[str, str]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What torch computes. Raises `Error` if it refuses the inputs."""
        key = (what, *((name, np.asarray(value).tobytes()) for name, value in inputs.items()))
        if key not in self._known:
            try:
                self._known[key] = judge.run(reference, inputs)
            except judge.REFUSALS as error:
                raise Error(f"torch refuses the inputs: {' '.join(str(error).split())}") from None
        return self._known[key]


def _mark(saved: Saved, exercise: Left, declared: Exercise, reference: Reference, trials: Iterator[Trial]) -> Mark:
    """The mark of an exercise for the trials that it is to stand."""
    held, cells = exercise.held(saved), exercise.lives(saved)
    count, right = len(cells), np.array([_is_formula(each) for each in held])
    formulas = right.copy()

    def mark(verdict: str, at: int, reason: str) -> Mark:
        return Mark(exercise.block, declared.level, verdict, int(right.sum()), count, cells[at].place, reason)

    if all(each is None for each in held):
        return Mark(exercise.block, declared.level, BLANK, 0, count)
    reason, unread = "", exercise.cells.copy()
    unread[exercise.cells] = [_is_open(each) for each in held]
    for trial in trials:
        values = trial.values
        values[unread] = BROKEN
        _, share = judge.apart(values, trial.torch[exercise.block], trial.sizes.get(exercise.block), reference)
        good = (share <= reference.tolerance)[exercise.cells]
        wrong = np.flatnonzero(formulas & ~good)
        if wrong.size and not reason:
            reason = _reason(declared, exercise, values, trial.torch, wrong, reference)
            if trial.other:
                reason = f"right for the inputs in the file only; with {trial.other}: {reason}"
        right &= good
    if right.all():
        return Mark(exercise.block, declared.level, RIGHT, count, count)
    for at, each in enumerate(held):
        if each is not None and not formulas[at]:
            if isinstance(each, str):
                return mark(WRONG, at, f"it holds the text {each[:TEXTS]!r}")
            return mark(TYPED, at, f"it holds the number {each:g}, not a formula")
    at = int(np.flatnonzero(~right)[0])
    return mark(WRONG, at, reason) if reason else mark(PARTLY, at, "the rest is blank")


def _unfair(saved: Saved, handed: Handed, exercise: Left, values: np.ndarray) -> str:
    """Why an exercise's formulas cannot be right, whatever they hold; an empty text if they can."""
    for held in exercise.held(saved):
        if _is_formula(held) and re.search(rf"\b{ANSWERS}'?!", held, re.IGNORECASE):
            return "it reads the sheet of answers"
    return "it refers to itself, by way of other cells" if handed.is_circular(exercise, values) else ""


def _refused(saved: Saved, exercise: Left, declared: Exercise, reason: str) -> Mark:
    at = next(at for at, held in enumerate(exercise.held(saved)) if _is_formula(held))
    count, place = len(exercise.answers), exercise.lives(saved)[at].place
    return Mark(exercise.block, declared.level, WRONG, 0, count, place, reason)


def _is_formula(held: Any) -> bool:
    return isinstance(held, str) and held.startswith("=")


def _is_open(held: Any) -> bool:
    """Whether a formula lacks a parenthesis, which the engine would add."""
    plain = re.sub(r"\"[^\"]*\"|'[^']*'", "", held) if _is_formula(held) else ""
    return plain.count("(") != plain.count(")")


def _reason(
    declared: Exercise,
    exercise: Left,
    values: np.ndarray,
    torch: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    reference: Reference,
) -> str:
    """What is wrong with cells, given by their numbers: in words if it is a mistake that is known."""
    answer = torch[exercise.block]
    held = values[exercise.cells][wrong[0]]
    if isinstance(held, CellError):
        return "it cannot be read as a formula" if held == BROKEN else f"it is {held}"
    if held is None or isinstance(held, str):
        return f"it is the text {held or ''!r:.{TEXTS}}"
    with np.errstate(all="ignore"):
        mistakes = declared.mistakes(Reads(torch.__getitem__, answer))
        shares = {
            said: judge.apart(values, np.array(each, dtype=float), None, reference)[1]
            for said, each in mistakes.items()
        }
    found = {said: int((share[exercise.cells][wrong] <= reference.tolerance).sum()) for said, share in shares.items()}
    most = max(found, key=lambda said: found[said])  # in some rows two may lead to the same number
    if found[most]:
        return most
    return f"it is {held:.6g}, torch has {answer[exercise.cells][wrong[0]]:.6g}"


def _elsewhere(saved: Saved, exercises: list[Left]) -> Iterator[str]:
    """The formulas that are no exercise and are no longer as they were written."""
    learners = {each.block: each.cells for each in exercises}
    for name, block in saved.blocks.items():
        own = learners.get(name, np.zeros(block.shape, dtype=bool))
        for position in np.argwhere(~typed_cells(block) & ~own):
            held = saved.contents[name][tuple(position)]
            if not _is_formula(held):
                what = "deleted" if held is None else f"overwritten by {held!r:.{TEXTS}}"
                yield f"{name}: formula {what} at {block.cell(tuple(position)).place}"
                break
        else:
            if name not in learners and name in (saved.rewritten or {}):
                yield f"{name}: formula changed at {(saved.rewritten or {})[name]}"
