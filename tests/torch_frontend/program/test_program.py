"""The program that a workbook carries: as text and back, and what becomes of one that somebody has edited."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import sgdsheet
from sgdsheet import Error
from sgdsheet.engines.libreoffice import find_soffice
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.compiled import Compiled
from sgdsheet.torch_frontend.program.graph import MOST, Graph
from sgdsheet.torch_frontend.program.program import Program
from sgdsheet.torch_frontend.sheets.build import build

Rows = list[list[str]]
Made = tuple[Program, dict[str, np.ndarray], Rows]
needs_soffice = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")


def compiled() -> Compiled:
    """Two steps of Adam on a small network with dropout, a mask and a split."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.drop, self.last = nn.Linear(2, 4), nn.Dropout(0.25), nn.Linear(2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a, b = self.drop(self.first(x)).split(2, 1)
            return self.last(torch.where(a > 0, a, b) + torch.ones(2))

    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x = torch.tensor([[0.5, -1.0], [1.0, 0.25], [-0.75, 2.0]])
    return sgdsheet.compile(model, x, x[:, :1], mse_loss, optimizer, steps=2)


@pytest.fixture(scope="module")
def program() -> Made:
    """The program, the numbers that it begins with, and its text."""
    made = compiled()
    _, placed = build(made.program, made.values, "")
    return made.program, dict(made.values), made.program.rows(placed)


@pytest.fixture(scope="module")
def workbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.xlsx"
    compiled().save(path)
    return path


@pytest.fixture
def edited(workbook: Path, tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """A copy of the workbook that a function has changed."""

    def edit(change: Callable[[Any], None]) -> Path:
        book = openpyxl.load_workbook(workbook)
        change(book)
        book.save(tmp_path / "edited.xlsx")
        return tmp_path / "edited.xlsx"

    return edit


def refused(path: Path) -> str:
    with pytest.raises(Error) as caught:
        sgdsheet.verify(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 600
    return message


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


# --- as text ----------------------------------------------------------------------------------------------------------


def test_text_and_back(program: Made) -> None:
    made, values, rows = program
    again, placed = Program.from_rows(rows, "here")
    assert again.rows(placed) == rows
    expected, got = made.run(values, placed=placed), again.run(values, placed=placed)
    assert expected.keys() == got.keys()
    assert len(expected) > 50
    assert all(np.array_equal(expected[name], got[name]) for name in expected)


def test_blank_cells_and_rows_around_it_do_no_harm(program: Made) -> None:
    rows = [["a title"], [], *([*row, "", ""] for row in program[2]), [], [""]]
    again, placed = Program.from_rows(rows, "here")
    assert again.rows(placed) == program[2]


def changed(program: Any, find: str, column: int, value: str) -> Rows:
    """The program's rows with one cell replaced, in the first row whose first or second cell is `find`."""
    return replaced(program[2], find, column, value)


def replaced(rows: Rows, find: str, column: int, value: str) -> Rows:
    rows = [list(row) for row in rows]
    row = next(row for row in rows if find in row[:2])
    row[column] = value
    return rows


def head(program: Any, **values: Any) -> Rows:
    """The program's rows with other values in its first one."""
    rows = [list(row) for row in program[2]]
    rows[0][1] = json.dumps(json.loads(rows[0][1]) | values)
    return rows


def group(program: Any, **values: Any) -> Rows:
    """The program's rows with other values in its group of parameters."""
    old = json.loads(program[2][0][1])["groups"][0]
    return head(program, groups=[old | values])


MM = "mm.default"
USE = '{"node": "input/0"}'
HOSTILE: dict[str, Callable[[Any], Rows]] = {
    "no program": lambda p: [["something"], ["else"]],
    "empty": lambda p: [],
    "no graph": lambda p: [list(p[2][0])],
    "an unknown operation": lambda p: changed(p, MM, 1, "svd.default"),
    "a private name": lambda p: changed(p, MM, 1, "_foobar.default"),
    "an attribute": lambda p: changed(p, MM, 1, "__class__"),
    "a path": lambda p: changed(p, MM, 1, "mm.default.__globals__"),
    "another module": lambda p: changed(p, MM, 1, "os.system"),
    "an operation in place": lambda p: changed(p, MM, 1, "add_.Tensor"),
    "an operation that reads files": lambda p: changed(p, MM, 1, "from_file.default"),
    "no operation": lambda p: changed(p, MM, 1, ""),
    "no JSON": lambda p: changed(p, MM, 2, "[1, 2"),
    "code": lambda p: changed(p, MM, 2, "__import__('os').getcwd()"),
    "too few arguments": lambda p: changed(p, MM, 2, f"[{USE}]"),
    "a text for a tensor": lambda p: changed(p, MM, 2, f'[{USE}, "x"]'),
    "numbers for tensors": lambda p: changed(p, MM, 2, "[1, 2]"),
    "arguments in a dict": lambda p: changed(p, MM, 2, '{"x": 1}'),
    "an unknown keyword": lambda p: changed(p, MM, 3, '{"out": 1}'),
    "an unknown dtype": lambda p: changed(p, MM, 3, '{"dtype": "object"}'),
    "keywords in a list": lambda p: changed(p, MM, 3, "[1]"),
    "a node that comes later": lambda p: changed(p, MM, 2, f'[{USE}, {{"node": "loss/mean"}}]'),
    "a node that is no text": lambda p: changed(p, MM, 2, f'[{USE}, {{"node": {{"node": "input/0"}}}}]'),
    "a list as a node": lambda p: changed(p, MM, 2, f'[{USE}, {{"node": ["input/0"]}}]'),
    "nested without end": lambda p: changed(p, MM, 2, "[" * 100_000 + "]" * 100_000),
    "a shape that is not so": lambda p: changed(p, MM, 4, "[7, 7]"),
    "a shape of text": lambda p: changed(p, MM, 4, '["a"]'),
    "a negative shape": lambda p: changed(p, MM, 4, "[-1, 4]"),
    "a shape of fractions": lambda p: changed(p, MM, 4, "[1.5, 4]"),
    "no shape": lambda p: changed(p, MM, 4, "null"),
    "a huge shape": lambda p: changed(p, MM, 4, "[1000000000, 1000000000]"),
    "a huge input": lambda p: changed(p, "input/0", 4, "[100000, 100000]"),
    "a huge number": lambda p: changed(p, MM, 4, f"[{'9' * 400}]"),
    "a huge repetition": lambda p: replaced(
        changed(p, MM, 1, "repeat.default"), "repeat.default", 2, f"[{USE}, [90000, 90000]]"
    ),
    "a huge constant": lambda p: changed(p, "constant", 4, "[100000, 100000]"),
    "a constant of text": lambda p: changed(p, "constant", 2, '["a"]'),
    "a constant of too many numbers": lambda p: changed(p, "constant", 2, "[[1, 2, 3, 4, 5, 6, 7]]"),
    "an item out of range": lambda p: changed(p, "getitem", 2, '[{"node": "split_with_sizes"}, 7]'),
    "an item of a tensor": lambda p: changed(p, "getitem", 2, f'[{USE}, "__class__"]'),
    "an unknown dtype of a node": lambda p: changed(p, MM, 5, "object"),
    "another dtype": lambda p: changed(p, MM, 5, "bool"),
    "a name twice": lambda p: changed(p, MM, 0, "input/0"),
    "missing columns": lambda p: [row[:5] for row in p[2]],
    "another order": lambda p: p[2][:2] + p[2][:1:-1],
    "a fed node of another name": lambda p: changed(p, "input/0", 0, "x"),
    "an output that nothing computes": lambda p: changed(p, "loss", 2, '{"node": "nothing"}'),
    "an output of another kind": lambda p: changed(p, "loss", 0, "system"),
    "a loss of many numbers": lambda p: changed(p, "loss", 2, USE),
    "a gradient of another shape": lambda p: changed(p, "grad/first.weight", 2, USE),
    "a gradient of nothing": lambda p: changed(p, "grad/first.weight", 0, "grad/x"),
    "a block that nothing computes": lambda p: changed(p, "graph", 2, '["nothing"]'),
    "blocks that are no list": lambda p: changed(p, "graph", 2, "7"),
    "an unknown optimiser": lambda p: head(p, optimizer="LBFGS"),
    "an attribute as optimiser": lambda p: head(p, optimizer="lr_scheduler"),
    "a list as optimiser": lambda p: head(p, optimizer=["Adam"]),
    "no optimiser": lambda p: head(p, optimizer=None),
    "a step without a graph": lambda p: head(p, which=[0, 1]),
    "a negative graph": lambda p: head(p, which=[0, -1]),
    "no steps": lambda p: head(p, which=[]),
    "a text as graph": lambda p: head(p, which=["0"]),
    "no groups": lambda p: head(p, groups=[]),
    "groups of text": lambda p: head(p, groups="abc"),
    "steps without number": lambda p: head(p, begun=1e999),
    "an unknown parameter": lambda p: group(p, params=["first.weight", "x"]),
    "a parameter twice": lambda p: group(p, params=["first.weight", "first.weight"]),
    "an unknown hyperparameter": lambda p: group(p, cells={"lr": 0.1, "x": 1}),
    "an unknown fixed one": lambda p: group(p, fixed={"closure": True}),
    "a hyperparameter of text": lambda p: group(p, cells={"lr": "fast"}),
    "a schedule that is too short": lambda p: group(p, cells={"lr": [0.1]}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_refused(program: Made, name: str) -> None:
    rows = HOSTILE[name](program)
    assert rows != program[2]
    started = time.perf_counter()
    with pytest.raises(Error) as caught:
        Program.from_rows(rows, "model.xlsx: sheet 'program'")
    assert str(caught.value).startswith("model.xlsx: sheet 'program'")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - started < 2


def test_a_line_is_named_by_its_number(program: Made) -> None:
    rows = changed(program, MM, 1, "svd.default")
    number = next(i for i, row in enumerate(rows, start=1) if row[1] == "svd.default")
    with pytest.raises(Error, match=f"here, line {number + 3}: .*svd.default"):
        Program.from_rows([["title"], ["note"], [], *rows], "here")


def test_random_edits_are_refused_or_run(program: Made) -> None:
    """Never anything but an `Error`, whatever a cell is replaced by; what is read can be run, or torch refuses it."""
    _, values, made = program
    pieces = [
        "",
        "null",
        "[]",
        "{}",
        "0",
        "-1",
        "1e999",
        '"x"',
        "[[0]]",
        "true",
        USE,
        "int",
        "[1]",
        "[2, 2]",
        "backward",
    ]
    chosen = random.Random(0)
    cells = [cell for row in made for cell in row]
    outcomes = []
    for _ in range(250):
        rows = [list(row) for row in made]
        row = chosen.choice(rows)
        row[chosen.randrange(len(row))] = chosen.choice([*pieces, chosen.choice(cells)])
        try:
            read, placed = Program.from_rows(rows, "here")
            read.run(values, placed=placed)
            outcomes.append("run")
        except Error as error:
            assert "\n" not in str(error)
            outcomes.append("refused")
        except KeyError as error:  # a block that is not among the values; verify asks for all of them first
            assert error.args[0] not in values
    assert 20 < outcomes.count("run") < outcomes.count("refused")


@pytest.mark.parametrize("op", ["__class__", "mm", "mm.", ".default", "ops.aten", "_foobar.default", "mm.default.x"])
def test_only_known_operations_are_looked_up(op: str) -> None:
    assert not ops.known(op)
    with pytest.raises(Error, match="not one that sgdsheet knows"):
        ops.overload(op)


def test_nothing_large_is_allocated() -> None:
    """A file of a few lines cannot ask for more than half a gigabyte."""
    size = str(MOST // 2)
    rows = [
        ["input/0", "input", "[]", "{}", f"[{size}]", "float", "", "forward"],
        ["a", "mul.Tensor", '[{"node": "input/0"}, 2]', "{}", f"[{size}]", "float", "", "forward"],
        ["b", "mul.Tensor", '[{"node": "a"}, 2]', "{}", f"[{size}]", "float", "", "forward"],
    ]
    Graph.from_rows(rows[:2], "here").check("here")
    with pytest.raises(Error, match="line 3: 'b' .* would hold more than"):
        Graph.from_rows(rows, "here").check("here")


# --- in a workbook ----------------------------------------------------------------------------------------------------


def test_the_program_follows_what_a_reader_types(edited: Callable[[Callable[[Any], None]], Path]) -> None:
    blocks = sgdsheet.read(edited(lambda book: None))

    typed = {"lr": 0.02, "input": 0.75, "target": -1.0, "0/param/first.weight": 0.5, "0/mask": 0.0}
    masks = [name for name in blocks if name.startswith("0/") and name.endswith("mask")]

    def change(book: Any) -> None:
        places = sgdsheet.verification.book.read(edited(lambda book: None)).blocks
        for name, value in typed.items():
            panel = places[masks[0] if name == "0/mask" else name].panels[0]
            book[panel.sheet].cell(panel.top, panel.left).value = value

    path = edited(change)
    now = sgdsheet.read(path)
    for name, value in typed.items():
        assert now[masks[0] if name == "0/mask" else name].flat[0] == value
    assert bad(path) == {}
    assert not np.allclose(now["2/param/first.weight"], blocks["2/param/first.weight"])


@needs_soffice
def test_after_libreoffice_has_saved_it(workbook: Path, tmp_path: Path) -> None:
    command = [str(find_soffice()), f"-env:UserInstallation=file://{tmp_path}/profile", "--headless"]
    command += ["--convert-to", "xlsx", "--outdir", str(tmp_path / "saved"), str(workbook)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    assert bad(tmp_path / "saved" / "model.xlsx") == {}


def test_a_formula_that_was_overwritten_is_named(edited: Callable[[Callable[[Any], None]], Path]) -> None:
    def overwrite(book: Any) -> None:
        for row in book["step 1"].iter_rows():
            for cell in row:
                if isinstance(cell.value, str) and cell.value.startswith("="):
                    cell.value = 7
                    return

    verdicts = bad(edited(overwrite))
    assert any("formula overwritten by 7 at 'step 1'!" in verdict for verdict in verdicts.values())


def program_cells(book: Any) -> list[list[Any]]:
    return [list(row) for row in book["program"].iter_rows()]


def test_without_its_program(edited: Callable[[Callable[[Any], None]], Path]) -> None:
    assert "sheet 'program'" in refused(edited(lambda book: book.remove(book["program"])))
    assert "sheet 'program'" in refused(edited(lambda book: setattr(book["program"], "title", "Tabelle1")))

    def empty(book: Any) -> None:
        book["program"].delete_rows(1, 10_000)

    assert "sheet 'program'" in refused(edited(empty))


def test_rows_that_were_moved(edited: Callable[[Callable[[Any], None]], Path]) -> None:
    assert bad(edited(lambda book: book["program"].insert_rows(1, 4))) == {}  # which does no harm
    assert "which no line before it computes" in refused(edited(lambda book: book["program"].delete_rows(8)))

    def swapped(book: Any) -> None:
        rows = program_cells(book)
        for a, b in zip(rows[5], rows[-12], strict=False):
            a.value, b.value = b.value, a.value

    assert "sheet 'program', line" in refused(edited(swapped))


def test_a_program_of_another_model(edited: Callable[[Callable[[Any], None]], Path]) -> None:
    def more_steps(book: Any) -> None:
        cell = book["program"]["B4"]
        cell.value = cell.value.replace('"which": [0, 0]', '"which": [0, 0, 0]')

    refused(edited(more_steps))

    def other_shapes(book: Any) -> None:
        for row in program_cells(book):
            for cell in row:
                if cell.value == "[3, 2]":
                    cell.value = "[2, 3]"

    refused(edited(other_shapes))


def test_a_number_that_is_not_whole() -> None:
    """An embedding's row is a whole number; the message names the block."""
    rows = [
        ["target/0", "target", "[]", "{}", "[2]", "int", "", "forward"],
        ["sum", "sum.default", '[{"node": "target/0"}]', "{}", "[]", "int", "", "forward"],
    ]
    program = Program((Graph.from_rows(rows, "here"),), (0,), True)
    with pytest.raises(Error, match="'target' takes whole numbers, got 1.5"):
        program.run({"target": np.array([1.0, 1.5])})
