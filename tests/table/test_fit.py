"""A table of somebody's own: does its workbook agree with torch, learn, and stay clear whatever the table holds?"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import sgdsheet
from sgdsheet.cli import main
from sgdsheet.table.model import VARIANTS
from tests.lessons import test_rules
from tests.table.tables import ship

KINDS: dict[str, dict[str, Any]] = {
    "linear": {"target": "Fare", "model": "linear", "epochs": 2},
    "logistic": {"target": "Survived", "model": "logistic", "epochs": 3, "optimizer": "adamw"},
    "classes": {"target": "Sex", "model": "mlp", "hidden": 3, "epochs": 2, "batch_size": 7},
    "numbers": {"target": "Fare", "model": "mlp", "hidden": 2, "epochs": 2, "optimizer": "momentum", "batch_size": 99},
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The workbook of 60 passengers for one of `KINDS`. Not to be written to."""
    folder = tmp_path_factory.mktemp("fits")
    table = ship(folder / "ship.csv", 60)

    @cache
    def made(kind: str) -> Path:
        return sgdsheet.fit(table, path=folder / f"{kind}.xlsx", **KINDS[kind]).path

    return made


def write(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def bad(path: Path, **arguments: Any) -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, **arguments).rows if not row.ok}


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_torch(fitted: Callable[[str], Path], kind: str) -> None:
    report = sgdsheet.verify(fitted(kind), sets=1)
    assert {row.block: row.verdict for row in report.rows if not row.ok} == {}
    assert report.sets == 1


def test_is_what_a_plain_loop_trains(fitted: Callable[[str], Path]) -> None:
    blocks = sgdsheet.read(fitted("logistic"))
    x, y = (torch.from_numpy(blocks[name][:48]) for name in ("x", "y"))
    model = torch.nn.Linear(x.shape[1], 1, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    losses = []
    for _ in range(3):
        for batch in torch.arange(48).split(16):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy(model(x[batch])[:, 0].sigmoid(), y[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    np.testing.assert_allclose(blocks["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(blocks["weight"], model.weight.detach().numpy()[0], rtol=0, atol=1e-12)


def test_numbers_are_those_of_the_rows_that_train(fitted: Callable[[str], Path], tmp_path: Path) -> None:
    table = pd.read_csv(ship(tmp_path / "ship.csv", 60))
    sheet = openpyxl.load_workbook(fitted("logistic"))["data"]
    rows = [sheet.cell(row, 1).value for row in range(5, 65) if sheet.cell(row, 2).value == "train"]
    ages = table["Age"].iloc[[int(str(row)) - 2 for row in rows]]
    blocks, filled = sgdsheet.read(fitted("logistic")), ages.fillna(ages.median())
    place = 2  # Pclass, Sex, Age, …: the second of the numbers
    known = [blocks[name][place - 1] for name in ("median", "mean", "std")]
    np.testing.assert_allclose(known, [ages.median(), filled.mean(), filled.std(ddof=0)], rtol=1e-12)
    np.testing.assert_allclose(blocks["x"][:48, 3], (filled - filled.mean()) / filled.std(ddof=0), rtol=0, atol=1e-12)
    sexes = table["Sex"].iloc[[int(str(row)) - 2 for row in rows]]
    np.testing.assert_array_equal(blocks["x"][:48, 1], sexes == "female")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_optimizer_agrees(tmp_path: Path, name: str) -> None:
    draw = random.Random(3)
    rows = [[draw.gauss(0, 1), draw.choice("ab"), draw.gauss(5, 2)] for _ in range(12)]
    table = write(tmp_path / "t.csv", [["size", "kind", "price"], *rows])
    made = sgdsheet.fit(table, "price", path=tmp_path / "t.xlsx", optimizer=name, epochs=2, batch_size=4)
    assert bad(made.path, sets=1) == {}


def test_a_changed_cell_changes_all_that_follows(fitted: Callable[[str], Path], tmp_path: Path) -> None:
    book = openpyxl.load_workbook(fitted("logistic"))
    sheet = book["data"]
    place = {sheet.cell(4, column).value: column for column in range(1, 11)}
    for row, name, held in ((6, "Age", 71), (7, "Sex", "FEMALE"), (8, "Embarked", "nowhere"), (9, "Fare", "")):
        sheet.cell(row, place[name], held)
    book.save(tmp_path / "changed.xlsx")
    assert bad(tmp_path / "changed.xlsx", sets=1) == {}
    before, after = (sgdsheet.read(path) for path in (fitted("logistic"), tmp_path / "changed.xlsx"))
    assert after["x"][2, 1:3].tolist() == [1, 0]
    assert after["weight"].tolist() != before["weight"].tolist()


def test_a_wrong_formula_and_a_text_for_a_number_are_named(fitted: Callable[[str], Path], tmp_path: Path) -> None:
    book = openpyxl.load_workbook(fitted("linear"))
    book["prepared"]["H20"] = "=0"
    book.save(tmp_path / "changed.xlsx")
    assert (
        "formula changed at prepared!H20; differs most at prepared!H20" in bad(tmp_path / "changed.xlsx", sets=0)["x"]
    )
    book["data"]["C9"] = "first"
    book.save(tmp_path / "changed.xlsx")
    with pytest.raises(sgdsheet.Error, match=r"cell data!C9 \(data\): expected a number or nothing, got 'first'"):
        sgdsheet.verify(tmp_path / "changed.xlsx")


@pytest.mark.parametrize("rule", [each for name, each in vars(test_rules).items() if name.startswith("test_")])
@pytest.mark.parametrize("kind", ["linear", "classes"])
def test_its_sheets_keep_the_rules(fitted: Callable[[str], Path], kind: str, rule: Any) -> None:
    rule(lambda _: fitted(kind), "linear_sgd")  # one of those whose steps are in tables


@pytest.mark.parametrize("separator", [",", ";"])
def test_texts_stay_texts_and_commas_are_understood(tmp_path: Path, separator: str) -> None:
    names = ["=1+1", "+cmd", "x" * 300, "\N{GRINNING FACE}", "@day", "truth"]
    lines = [names]
    for row in range(30):
        comma = f"{row},5" if separator == ";" else f"{row}.5"
        lines.append(
            [
                ("=2+3", "-a", "Ja")[row % 3],
                f'"say, {row % 2}"',
                comma,
                "\N{CAT}",
                f"2024-0{1 + row % 9}-01",
                f"{row % 2 == 0}",
            ]
        )
    text = "\n".join(
        separator.join(cell if separator == ";" or '"' in cell else f'"{cell}"' for cell in line) for line in lines
    )
    (tmp_path / "odd.csv").write_text(text, encoding="utf-8")
    made = sgdsheet.fit(tmp_path / "odd.csv", "truth", path=tmp_path / "odd.xlsx", model="logistic", epochs=1)
    assert bad(made.path, sets=1) == {}
    assert made.notes == ["\N{GRINNING FACE}: left out: '\N{CAT}' in every row"]
    book = openpyxl.load_workbook(made.path)
    assert book["data"]["C4"].value == "=1+1"
    assert book["data"]["C4"].data_type == "s"
    assert "=2+3" in [book["data"].cell(row, 3).value for row in range(5, 35)]
    days = sgdsheet.read(made.path)["filled"][:, 1]
    assert min(days) == 45292  # which is 2024-01-01


def test_from_the_command_line(tmp_path: Path) -> None:
    table = ship(tmp_path / "ship.csv", 40)
    arguments = [
        "fit",
        str(table),
        "--target",
        "Survived",
        "--model",
        "logistic",
        "--epochs",
        "1",
        "-o",
        str(tmp_path / "a.xlsx"),
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "Name: left out: 40 different texts" in done.output
    assert "32 rows train, 8 check: loss " in done.output
    assert CliRunner().invoke(main, [*arguments, "--optimizer", "adamm"]).exit_code == 2


def test_many_rows_are_drawn_and_gaps_in_the_target_left_out(tmp_path: Path) -> None:
    rows = [[n % 7, n % 5, "" if n % 100 == 0 else n % 3] for n in range(1200)]
    table = pd.DataFrame(rows, columns=["a", "b", "c"]).replace("", None)
    made = sgdsheet.fit(table, "c", path=tmp_path / "many.xlsx", epochs=1, batch_size=400)
    assert made.notes == ["c: 12 rows without it left out", "rows: 1,000 of 1,188 are here, drawn at random (--seed 0)"]
    assert (made.rows, made.valid) == (800, 200)


GOOD = [["a", "b", "y"], *([n, n * n % 7, n % 2] for n in range(3, 23))]


@pytest.mark.parametrize(
    ("rows", "given", "says"),
    [
        ([], {}, "is empty; expected a first row with the columns' names"),
        (GOOD[:1], {}, "expected at least 3 rows with a 'y', got 0"),
        (GOOD[:2], {}, "expected at least 3 rows with a 'y', got 1"),
        (GOOD, {"target": "Y"}, "has no column 'Y'; did you mean 'y'?"),
        (GOOD, {"without": ["c"]}, "has no column 'c'"),
        (GOOD, {"without": ["a", "b"]}, "has no column to learn from"),
        ([["a", "a", "y"], *GOOD[1:]], {}, "two columns are named 'a'"),
        ([GOOD[0], [1, 2, 3, 4]], {}, "row 2: expected 3 values, got 4"),
        ([["y"], [1], [2], [3]], {}, "expected a target and at least one other column"),
        ([["y", *range(300)], *([0] * 301 for _ in range(3))], {}, "expected at most 200 columns, got 301"),
        ([["a", "y"], [1, 5], [2, 5], [3, 5]], {}, "the target 'y' is '5' in every row: there is nothing to learn"),
        ([["a", "y"], [1, "no"], [2, "yes"], [4, "no"]], {}, "a linear model predicts numbers: give --model logistic"),
        ([["a", "y"], [1, "u"], [2, "v"], [4, "w"]], {}, "name a column of numbers, or one of two texts"),
        (
            [["a", "y"], [1, "u"], [2, "v"], [4, "w"]],
            {"model": "logistic"},
            "expected two different values in 'y', got 3",
        ),
        ([["a", "y"], [1, 5], [2, 6], [3, 7]], {"model": "logistic"}, "for numbers give --model linear"),
        ([["a", "y"], [1, 5], ["inf", 6], [3, 7]], {}, "column 'a': expected numbers up to 1E+100, got 'inf'"),
        ([["a", "y"], [1, 5], [2, "1e999"], [3, 7]], {}, "column 'y': expected numbers up to 1E+100, got '1e999'"),
        (
            [["y", *range(31)], *([n * k % 97 for k in range(1, 33)] for n in range(1, 9))],
            {},
            "become 31 numbers a row, 30 are the most",
        ),
        (GOOD, {"model": "mlp", "hidden": 64, "epochs": 500, "batch_size": 1}, "give fewer epochs"),
        (GOOD, {"lr": 1e9, "optimizer": "sgd", "epochs": 50}, "the training ran away; give a smaller lr"),
        (GOOD, {"lr": -1}, "lr: expected a number at least 0, got -1"),
        (GOOD, {"model": "tree"}, "model: expected one of linear, logistic, mlp, got 'tree'"),
        (GOOD, {"valid": 1}, "valid: expected 0.01 to 0.9, got 1"),
        (GOOD, {"epochs": 0}, "epochs: expected 1 to 1000, got 0"),
        (GOOD, {"path": "a.xls"}, "expected a name that ends with .xlsx"),
    ],
)
def test_what_cannot_be_learned_from(tmp_path: Path, rows: list[list[Any]], given: dict[str, Any], says: str) -> None:
    table = write(tmp_path / "t.csv", rows)
    given = {"target": "y", **given, "path": tmp_path / given.get("path", "t.xlsx")}
    with pytest.raises(sgdsheet.Error) as caught:
        sgdsheet.fit(table, **given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(sgdsheet.Error, match="No such file"):
        sgdsheet.fit(tmp_path / "none.csv", "y")
    (tmp_path / "latin.csv").write_bytes("größe,y\n1,2\n".encode("latin-1"))
    with pytest.raises(sgdsheet.Error, match="not text in UTF-8"):
        sgdsheet.fit(tmp_path / "latin.csv", "y")


def test_a_sheet_program_that_was_edited(fitted: Callable[[str], Path], tmp_path: Path) -> None:
    book = openpyxl.load_workbook(fitted("linear"))
    book["program"]["C4"] = "somehow"
    book.save(tmp_path / "changed.xlsx")
    with pytest.raises(sgdsheet.Error, match="sheet 'program': was edited"):
        sgdsheet.verify(tmp_path / "changed.xlsx")
