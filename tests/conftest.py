"""Workbooks that are generated once, and copies of them in which something was changed as a reader would."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from filelock import FileLock

import sgdsheet
from sgdsheet import book, engines
from sgdsheet.expr import column_letters
from sgdsheet.lessons import pictures
from tests.exercises.learner import LESSON, POINTS


@pytest.fixture(scope="session")
def workbook(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The freshly generated workbook of a lesson. Not to be written to.

    Or a quicker one: `small` is linear_sgd with 5 points, `race` is optimizers with 3, `brief` is cnn_training with 3
    steps, `few` is classifier with 9 held-out digits.

    Where .ci/run has just written them, SGDSHEET_WORKBOOKS says in which folder.
    """
    folder = given = tmp_path_factory.mktemp("fresh")
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent
    written = os.environ.get("SGDSHEET_WORKBOOKS")

    def generated(name: str) -> Path:
        if written is not None and (there := Path(written, f"{name}.xlsx")).exists():
            return there
        path = folder / f"{name}.xlsx"
        with FileLock(path.with_suffix(".lock")):  # what several processes test is generated once for all
            if not path.exists():
                generate(name, path)
        return path

    def generate(name: str, path: Path) -> None:
        if name == "small":
            points = given / "points.csv"
            points.write_text("x,y\n0.5,4\n1,5.25\n0.25,3\n1.75,6.5\n1.5,6\n", encoding="utf-8")
            sgdsheet.generate("linear_sgd", path, data=points)
        elif name == "race":
            points = given / "three.csv"
            points.write_text("x,y\n0.5,4\n1.75,6.5\n1.25,5\n", encoding="utf-8")
            sgdsheet.generate("optimizers", path, data=points)
        elif name == "brief":
            sgdsheet.generate("cnn_training", path, steps=3)
        elif name == "few":
            digits = given / "digits.csv"
            pixels, labels = pictures.digits()
            table = np.column_stack([labels[:9], pixels[:9].reshape(9, -1)])
            np.savetxt(digits, table, fmt="%d", delimiter=",")
            sgdsheet.generate("classifier", path, data=digits)
        else:
            sgdsheet.generate(name, path)

    return generated


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """linear_sgd with five points and all its exercises left blank. Not to be written to."""
    folder = tmp_path_factory.mktemp("exercise")
    (folder / "points.csv").write_text(POINTS, encoding="utf-8")
    sgdsheet.generate(LESSON, folder / "blank.xlsx", data=folder / "points.csv", exercise=3)
    return folder / "blank.xlsx"


@pytest.fixture(scope="session")
def place_of(workbook: Callable[[str], Path]) -> Callable[..., tuple[str, str]]:
    """Where an element of a block, counted row by row and panel by panel, stands: its sheet and its address."""
    known: dict[str, book.Saved] = {}

    def place(lesson: str, block: str, element: int = 0) -> tuple[str, str]:
        if lesson not in known:
            known[lesson] = book.read(workbook(lesson))
        panels = known[lesson].blocks[block].panels
        rows, columns = panels[0].shape
        number, rest = divmod(element, rows * columns)
        down, right = divmod(rest, columns)
        panel = panels[number]
        return panel.sheet, f"{column_letters(panel.left + right)}{panel.top + down}"

    return place


@pytest.fixture
def edited(
    tmp_path: Path, workbook: Callable[[str], Path], place_of: Callable[..., tuple[str, str]]
) -> Callable[[str, Mapping[Any, Any]], Path]:
    """A copy of a lesson's workbook, changed and saved by openpyxl.

    `changes` gives new contents by block name, or by (block name, element).
    """
    numbers = itertools.count()

    def edit(lesson: str, changes: Mapping[Any, Any]) -> Path:
        changed = openpyxl.load_workbook(workbook(lesson))
        for key, value in changes.items():
            sheet, address = place_of(lesson, *(key if isinstance(key, tuple) else (key,)))
            changed[sheet][address].value = value
        path = tmp_path / f"edited{next(numbers)}.xlsx"
        changed.save(path)
        return path

    return edit


@pytest.fixture(scope="session")
def play(workbook: Callable[[str], Path]) -> Callable[..., dict[str, np.ndarray]]:
    """What the blocks of a lesson's workbook hold when other numbers are typed, by block name or (block name, element).

    The workbook stays loaded, so this is much quicker than `edited`; what was typed is taken back.
    """
    known: dict[str, tuple[book.Saved, Any, dict[Any, Any]]] = {}

    def played(lesson: str, changes: Mapping[Any, Any] | None = None) -> dict[str, np.ndarray]:
        if lesson not in known:
            path = workbook(lesson)
            known[lesson] = book.read(path), engines.opened(engines.engine("ironcalc"), path), {}
        saved, model, before = known[lesson]
        typed = [*before.items()]
        before.clear()
        for key, value in (changes or {}).items():
            name, element = key if isinstance(key, tuple) else (key, 0)
            shape = saved.blocks[name].shape
            position = tuple(map(int, np.unravel_index(element, shape))) if shape else ()
            cell = saved.blocks[name].cell(position)
            typed.append((cell, value))
            before[cell] = saved.contents[name][position]
        return {name: floats(held) for name, held in saved.arrange(model.calculate(typed, saved.ranges())).items()}

    def floats(held: np.ndarray) -> np.ndarray:
        numbers = [each if isinstance(each, float) else np.nan for each in held.flat]
        return np.array(numbers).reshape(held.shape)

    return played


@pytest.fixture
def about_edited(tmp_path: Path, workbook: Callable[[str], Path]) -> Callable[[Mapping[tuple[str, str], Any]], Path]:
    """A copy of `small` with cells of its sheet `blocks` changed, by the texts that begin its row and its column."""

    def edit(changes: Mapping[tuple[str, str], Any]) -> Path:
        changed = openpyxl.load_workbook(workbook("small"))
        sheet = changed["blocks"]
        # From below, for a word of the table may also stand above it.
        rows = {row[0].value: row[0].row for row in sheet.iter_rows() if row[0].value}
        for (text, column), value in changes.items():
            sheet[f"{column}{rows[text]}"] = value
        path = tmp_path / "about.xlsx"
        changed.save(path)
        return path

    return edit
