"""The lesson `tensors`: what it says about shapes, products and broadcasting, whatever the reader types."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.engines.libreoffice import find_soffice

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
Place = Callable[..., tuple[str, str]]

needs_soffice = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine, sets=0).rows if not row.ok}


def changed(edited: Edit, changes: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """The blocks of a copy that was changed, which still agrees with torch."""
    path = edited("tensors", changes)
    assert bad(path) == {}
    return sgdsheet.read(path)


def whole(name: str, numbers: Any) -> dict[tuple[str, int], float]:
    """A block typed anew: only blocks of one panel."""
    return {(name, element): number for element, number in enumerate(np.ravel(numbers).tolist())}


@needs_soffice
def test_agrees_in_libreoffice(edited: Edit) -> None:
    changes = {"at_image": 1, "a_size_2": 2, "follow": 11, "point": 500, **whole("v", [-3.1, 0])}
    assert bad(edited("tensors", changes), "libreoffice") == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"number": -1e300, ("vector", 0): "=1/3", ("matrix", 5): -7.25, ("picture", 3): 2},
        whole("rain", [0] * 12),
        whole("rain", [-5, -5, -1, -1] * 3),
        {("rain", 0): 1e16, ("rain", 1): -1e16},
        whole("amounts", [1e6 + 0.1, 3, -3, 0.1]) | whole("unit_prices", [1, 1e6 + 0.1, 1e6 + 0.1, -1e7]),
        whole("u", [300000.1, 1.7]) | whole("v", [1.7, -300000.1]),
        whole("u", [0, 0]),
        whole("lists", [1e5 + 0.3, -1e5 - 0.1, 0.7, 0] * 3),
        whole("grades", [1e8, 1e8 + 0.1, 1e8 + 0.3] * 4),
        whole("square", [0.1] * 9),
        whole("a", [1e6 + 0.1, -1e6]) | whole("lines", [1e200] * 6),
        {("data_y", 3): 1e7, ("data_x", 4): -1e7, "point": 4},
        {("data_y", 3): 1e200},
    ],
    ids=str,
)
def test_agrees_after_a_change(workbook: Workbook, edited: Edit, changes: Mapping[Any, Any]) -> None:
    before, after = sgdsheet.read(workbook("tensors")), changed(edited, changes)
    assert any((before[name] != after[name]).any() for name in before)


@pytest.mark.parametrize(
    "name", ["one_number", "permuted", "argmax_dim_1", "bills", "mistaken", "fits", "y_hats", "grad"]
)
def test_a_wrong_formula_is_found(edited: Edit, name: str) -> None:
    assert name in bad(edited("tensors", {(name, 0): "=0.5+17"}))


@pytest.mark.parametrize("changes", [{"at_row": 5}, {"follow": 2.5}, {"a_size_0": 0}, {("cells", 3): "x"}], ids=str)
def test_what_makes_no_sense_is_refused(edited: Edit, changes: Mapping[Any, Any]) -> None:
    with pytest.raises(sgdsheet.Error, match="expected a"):
        sgdsheet.verify(edited("tensors", changes))


def test_a_csv_takes_the_place_of_the_points(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y\n1,5\n2,7\n4,11\n")
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("tensors", path, data=tmp_path / "points.csv", point=2)
    assert bad(path) == {}
    assert sgdsheet.read(path)["x"].tolist() == [[1, 1], [2, 1], [4, 1]]


def test_each_index_takes_one_dimension_away(edited: Edit) -> None:
    for at in ((0, 0, 0, 0), (1, 2, 4, 4), (1, 0, 3, 2)):
        blocks = changed(edited, dict(zip(("at_image", "at_channel", "at_row", "at_column"), at, strict=True)))
        names = ("one_picture", "one_channel", "one_row", "one_number")
        for given, name in enumerate(names, start=1):
            np.testing.assert_array_equal(blocks[name], blocks["pictures"][at[:given]])


def test_the_frame_is_where_the_chosen_number_stands(workbook: Workbook, place_of: Place) -> None:
    """The formats' formulas, calculated here for every choice."""
    loaded = openpyxl.load_workbook(workbook("tensors"))["order"]
    rules = [
        (area, rule.formula[0])
        for area in loaded.conditional_formatting
        for rule in area.rules
        if rule.type == "expression" and "follow" in rule.formula[0]
    ]
    assert len(rules) == 6
    for follow in range(12):
        for area, formula in rules:
            row, column = _framed(formula, follow)
            assert loaded.cell(row, column).coordinate in area
            assert _origin(loaded, row, column) == place_of("tensors", "cells", follow)[1]


def _framed(formula: str, follow: int) -> tuple[int, int]:
    """The row and column for which the formula of a frame is 1."""
    python = formula.replace("INT", "int").replace("follow", str(follow)).replace("=", "==").replace(">0", "")
    scope = {"MOD": lambda a, b: a % b, "IF": lambda a, b, c: b if a else c, "AND": lambda *each: all(each)}
    cells = itertools.product(range(1, 60), range(1, 30))
    (found,) = (at for at in cells if eval(python, {**scope, "ROW": lambda: at[0], "COLUMN": lambda: at[1]}))  # noqa: B023
    return found


def _origin(sheet: Any, row: int, column: int) -> str:
    held = sheet.cell(row, column).value
    return held.removeprefix("=") if isinstance(held, str) else sheet.cell(row, column).coordinate


def test_views_keep_the_order_and_transpose_does_not(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("tensors"))
    in_order = list(range(12))
    assert blocks["viewed"].ravel().tolist() == blocks["cube"].ravel().tolist() == in_order
    assert blocks["transposed"].shape == blocks["viewed"].shape
    assert blocks["transposed"].ravel().tolist() != in_order
    for i, j, k in np.ndindex(2, 2, 3):
        assert blocks["permuted"][k, i, j] == blocks["cube"][i, j, k]


def test_arrows_at_a_right_angle(edited: Edit) -> None:
    assert changed(edited, whole("u", [3, 1]) | whole("v", [-1, 3]))["uv"] == 0
    assert changed(edited, whole("u", [3, 1]) | whole("v", [-6, -2]))["cosine"] == pytest.approx(-1)


def test_bills_are_rows_times_columns(edited: Edit) -> None:
    blocks = changed(edited, whole("lists", [[0, 1, 0, 0], [0, 2, 1, 0], [8, 0, 0, 4]]) | {"at_shopper": 2})
    assert blocks["bills"][0].tolist() == blocks["prices"][1].tolist()
    for i, j in np.ndindex(3, 3):
        total = sum(blocks["lists"][i, k] * blocks["prices"][k, j] for k in range(4))
        assert blocks["bills"][i, j] == pytest.approx(total, rel=1e-14)
    assert blocks["framed"] == blocks["pairs_sum"] == blocks["bills"][2, 1]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 1, 4, 3), (1, 1, 1, 3)),
        ((1, 1, 4, 3), (1, 1, 1, 4)),
        ((1, 1, 4, 3), (1, 1, 4, 1)),
        ((8, 1, 6, 1), (1, 7, 1, 5)),
        ((2, 3, 4, 5), (5, 4, 3, 2)),
        ((1, 1, 1, 1), (1000, 1000, 1000, 1000)),
    ],
)
def test_whether_shapes_fit(edited: Edit, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    sizes = {f"{name}_size_{dim}": size for name, shape in (("a", a), ("b", b)) for dim, size in enumerate(shape)}
    blocks = changed(edited, sizes)
    try:
        result = np.broadcast_shapes(a, b)
    except ValueError:
        assert blocks["all_fit"] == blocks["result_numbers"] == 0
        assert 0 in blocks["fits"]
    else:
        assert blocks["fits"].tolist() == [1] * 4
        assert blocks["result_size"].tolist() == list(result)
        assert blocks["result_numbers"] == np.prod(result, dtype=float)


def test_forgetting_keepdim_is_wrong(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("tensors"))
    assert blocks["intended"].mean(axis=1) == pytest.approx([0, 0, 0])
    assert abs(blocks["mistaken"].mean(axis=1)).max() > 1


def test_a_better_line_has_a_smaller_mse(workbook: Workbook, edited: Edit) -> None:
    before, after = sgdsheet.read(workbook("tensors")), changed(edited, whole("a", [3, 2.5]))
    assert after["mse"] < before["mse"] / 50
    assert abs(after["grad"]).max() < abs(before["grad"]).max() / 10
    x, y = before["data_x"], before["data_y"]
    best = np.polyfit(x, y, 1)
    at_best = changed(edited, whole("a", best))
    assert at_best["mse"] < after["mse"]
    assert at_best["grad"] == pytest.approx([0, 0], abs=1e-12)


def test_the_gradient_is_what_a_nudge_of_a_changes(workbook: Workbook) -> None:
    blocks, nudge = sgdsheet.read(workbook("tensors")), 1e-6

    def mse(slope: float, intercept: float) -> float:
        return float(np.mean((slope * blocks["data_x"] + intercept - blocks["data_y"]) ** 2))

    slope, intercept = blocks["a"]
    nudged = [mse(slope + nudge, intercept) - mse(slope - nudge, intercept)]
    nudged.append(mse(slope, intercept + nudge) - mse(slope, intercept - nudge))
    assert blocks["grad"] == pytest.approx(np.array(nudged) / (2 * nudge), rel=1e-6)


@pytest.mark.parametrize("point", [0, 7, 19, 1000])
def test_one_point_at_a_time_gives_what_the_batch_gives(edited: Edit, point: int) -> None:
    blocks = changed(edited, {"point": point})
    assert blocks["point_y_hat"] == blocks["batch_y_hat"] == blocks["y_hat"][min(point, 19)]
    assert blocks["y_hats"][:, 0].tolist() == blocks["y_hat"].tolist()  # line 0 is the same line


def test_every_matrix_may_be_changed(workbook: Workbook) -> None:
    blocks = book.read(workbook("tensors")).blocks
    data = {name for name, block in blocks.items() if block.role == "data" or name in ("a", "lines")}
    assert len(data) == 19
    assert all(list(map(repr, blocks[name].typed)) == list(map(repr, blocks[name].panels)) for name in data)
