"""What a column is taken for, and whether a table's training is as good as another program's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sgdsheet.errors import Error
from sgdsheet.table.model import chosen
from sgdsheet.table.plan import DATE, NUMBER, TEXT, Column, Plan
from sgdsheet.table.reading import read
from sgdsheet.table.reference import fitted
from tests.table.tables import ship

MANY = [f"text {n}" for n in range(40)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.5", "", "3"] * 14, Column("c", NUMBER)),
        (["TRUE", "false"] * 21, Column("c", NUMBER)),
        (["2024-02-01", "2023-12-24", ""] * 14, Column("c", DATE)),
        (["24.12.2023", "1.2.2024"] * 21, Column("c", DATE)),
        (["red", "Red", "blue"] * 14, Column("c", TEXT, ("blue", "red"))),
        (["red", "", "NA"] * 14, Column("c", TEXT, ("red",), gap=True)),
        (["red"] * 30 + ["blue"] * 30 + ["odd", "odder"], Column("c", TEXT, ("blue", "red"), rest=True)),
        ([f"{chr(97 + n % 12)}" for n in range(42)], 10),
        ([str(n + 1) for n in range(42)], "left out: it numbers the rows"),
        (["7"] * 42, "left out: '7' in every row"),
        ([""] * 42, "left out: all blank"),
        ([*MANY, "text 0", "text 1"], "left out: 40 different texts in 42 cells, as 'text "),
        (["1"] * 30 + ["2"] * 30 + ["three", ""], Column("c", TEXT, ("1", "2"), gap=True, rest=True)),
    ],
)
def test_what_a_column_is(cells: list[str], expected: Any) -> None:
    table = pd.DataFrame(
        {"c": cells, "other": [n % 5 for n in range(len(cells))], "y": [n % 4 for n in range(len(cells))]}
    )
    found = read(table, "y", "linear")
    if isinstance(expected, str):
        assert dict(found.notes)["c"].startswith(expected)
    elif isinstance(expected, int):
        assert len(found.plan.columns[0].levels) == expected
    else:
        assert found.plan.columns[0] == expected


def test_ids_and_years_are_told_apart() -> None:
    table = pd.DataFrame({"orderId": range(500, 530), "year": range(1990, 2020), "y": [n % 7 for n in range(30)]})
    assert [column.name for column in read(table, "y", "linear").plan.columns] == ["year"]


cell = st.sampled_from(["", "1", "2.5", "-3e4", "a", "B", "=1+1", "2024-01-31", "true", "x" * 500]) | st.text(
    max_size=6
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(st.lists(cell, min_size=3, max_size=3), min_size=1, max_size=12),
    model=st.sampled_from(["linear", "mlp"]),
)
def test_any_table_is_read_or_refused_in_one_line(rows: list[list[str]], model: str) -> None:
    try:
        table = read(pd.DataFrame(rows, columns=["a", "b", "c"]), "c", model)
    except Error as error:
        assert "\n" not in str(error)
    else:
        assert Plan.from_rows(table.plan.rows(), "here") == table.plan
        assert {len(row) for row in table.cells} == {len(table.plan.columns)}
        for column, *cells in zip(table.plan.columns, *table.cells, strict=True):
            kind = str if column.kind == TEXT else float
            assert all(held is None or isinstance(held, kind) for held in cells)


def test_it_learns_as_much_as_another_program(tmp_path: Path) -> None:
    table = read(ship(tmp_path / "ship.csv"), "Survived", "logistic")
    fit, values = chosen("logistic", "adam", 8, 10, 16, None, 713, 178)
    cells = np.array(table.cells, dtype=object)
    given = {**values, "data": cells, "new_rows": cells[:5], "target": np.array(table.target)}
    blocks = fitted(fit, table.plan, {**given, "start": np.zeros(len(table.plan.features) + 1)})
    x, y = blocks["x"], blocks["y"]
    other = LogisticRegression(C=1e6, max_iter=1000).fit(x[:713], y[:713])
    accuracy = blocks["accuracy"][-1]
    assert accuracy > blocks["majority"][-1] + 0.1
    assert abs(accuracy - other.score(x[713:], y[713:])) < 0.02
