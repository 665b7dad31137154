"""Arrays of references: the formulas that sums of them print, and that these have numpy's values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openpyxl
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own pages call it
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from openpyxl.utils import range_boundaries

from sgdsheet import engines
from sgdsheet import tensor as t
from sgdsheet.expr import Expr, Number, Range, Ref, formula


def cells(address: str, sheet: str = "s", absolute: bool = False) -> Any:
    """The references to a rectangle; a single row or column as a 1-D array."""
    left, top, right, bottom = (int(edge or 0) for edge in range_boundaries(address))
    rows, columns = range(top, bottom + 1), range(left, right + 1)
    array = np.array([[Ref(sheet, row, column, absolute) for column in columns] for row in rows], dtype=object)
    return array.ravel() if 1 in array.shape else array


def cell(address: str) -> Any:
    return cells(address)[0]


def printed(value: Any) -> str:
    """The formula without its `=`, for a cell on the sheet `s`."""
    return formula(value, "s")[1:]


def each(array: Any) -> list[str]:
    return [printed(element) for element in np.ravel(array)]


# --- What sums print ------------------------------------------------------------------------------------------------

A, B, E1 = cells("A1:A5"), cells("B1:B5"), cell("E1")
SQUARE, OTHER = cells("A1:C3"), cells("E1:G3")


@pytest.mark.parametrize(
    ("array", "text"),
    [
        # Ranges: a column, a row, a rectangle, one cell.
        (A, "SUM(A1:A5)"),
        (cells("B2:F2"), "SUM(B2:F2)"),
        (SQUARE, "SUM(A1:C3)"),
        (SQUARE[1:, :2], "SUM(A2:B3)"),
        (SQUARE[:, 1], "SUM(B1:B3)"),
        (SQUARE.T, "SUM(A1:C3)"),
        (SQUARE.reshape(-1), "SUM(A1:C3)"),
        (SQUARE.reshape(3, 1, 3), "SUM(A1:C3)"),
        (A[:1], "A1"),
        (cell("A1"), "A1"),
        (cells("A1:A5", "by hand"), "SUM('by hand'!A1:A5)"),
        (cells("A1:A5", absolute=True), "SUM($A$1:$A$5)"),
        # Products.
        (A * B, "SUMPRODUCT(A1:A5,B1:B5)"),
        (A * cells("B1:B5", "t"), "SUMPRODUCT(A1:A5,t!B1:B5)"),
        (SQUARE * OTHER, "SUMPRODUCT(A1:C3,E1:G3)"),
        (SQUARE.T * OTHER.T, "SUMPRODUCT(A1:C3,E1:G3)"),
        (SQUARE[:, 0] * OTHER[:, 2], "SUMPRODUCT(A1:A3,G1:G3)"),
        (SQUARE[0] * OTHER[2], "SUMPRODUCT(A1:C1,E3:G3)"),
        (A * A, "SUMPRODUCT(A1:A5,A1:A5)"),
        # Other arithmetic of one form, cells and numbers that all terms share included.
        ((A * E1 - B) ** 2, "SUMPRODUCT((A1:A5*E1-B1:B5)^2)"),
        ((A - 0.5) * B, "SUMPRODUCT((A1:A5-0.5)*B1:B5)"),
        (A * 2, "SUMPRODUCT(A1:A5*2)"),
        (A * E1, "SUMPRODUCT(A1:A5*E1)"),
        (A / B, "SUMPRODUCT(A1:A5/B1:B5)"),
        (A + B, "SUMPRODUCT(A1:A5+B1:B5)"),
        (-A, "SUMPRODUCT(-A1:A5)"),
        (2**A, "SUMPRODUCT(2^A1:A5)"),
        # The same term again and again.
        (np.array([E1, E1, E1]), "3*E1"),
        (np.array([E1 * 2 + 1] * 4), "4*(E1*2+1)"),
        (np.array([[E1, E1], [E1, E1]]), "4*E1"),
        (np.array([Number(2.5)] * 4), "10"),
        # Not in step: term by term, or the first axis taken apart.
        (A[::2], "A1+A3+A5"),
        (A[::-1], "A5+A4+A3+A2+A1"),
        (A[[0, 1, 3]], "A1+A2+A4"),
        (A[[0, 0, 1]], "A1+A1+A2"),
        (A[:2] * B[2:0:-1], "A1*B3+A2*B2"),
        (cells("A1:A3") * cells("B1:D1"), "A1*B1+A2*C1+A3*D1"),  # a column beside a row
        (cells("A1:A4") * cells("C1:D2").ravel(), "A1*C1+A2*D1+A3*C2+A4*D2"),
        (np.array([A[0], cells("A2:A3", "t")[0], A[2]]), "A1+t!A2+A3"),  # in step, but on two sheets
        (SQUARE[::2], "SUM(A1:C1)+SUM(A3:C3)"),
        (SQUARE * OTHER.T, "A1*E1+B1*E2+C1*E3+(A2*F1+B2*F2+C2*F3)+(A3*G1+B3*G2+C3*G3)"),
        (np.array([A[0], B[0] - A[1], -B[2], Number(-2)]), "A1+(B1-A2)+(-B3)+(-2)"),
        (np.array([A[0] * 2, A[1] * 3]), "A1*2+A2*3"),
        (np.array([A[0] + B[0], A[1] - B[1]]), "A1+B1+(A2-B2)"),
        # Functions and comparisons of ranges are not computed element by element everywhere.
        (t.exp(A[:3]), "EXP(A1)+EXP(A2)+EXP(A3)"),
        (t.where(t.greater(A[:2], 0), A[:2], 0), "IF(A1>0,A1,0)+IF(A2>0,A2,0)"),
        (t.greater(A[:2], 0), "(A1>0)+(A2>0)"),
        # Several panels: one SUMPRODUCT each.
        (np.stack([SQUARE, OTHER]) * cells("A11:C13"), "SUMPRODUCT(A1:C3,A11:C13)+SUMPRODUCT(E1:G3,A11:C13)"),
        (np.stack([A, B]) * cells("D1:D5"), "SUMPRODUCT(A1:A5,D1:D5)+SUMPRODUCT(B1:B5,D1:D5)"),
        # Zeros leave no trace: a sum over padding.
        (np.array([Number(0), A[0], Number(0), B[0]]), "A1+B1"),
        (np.array([0.0, A[0], 0, B[0]], dtype=object), "A1+B1"),
        (np.array([Number(0), A[0]]), "A1"),
        (np.array([0, 0], dtype=object), "0"),
        (np.array([], dtype=object), "0"),
    ],
)
def test_a_sum_prints_the_shortest_formula_over_ranges(array: Any, text: str) -> None:
    assert printed(t.sum(array)) == text


def test_a_mean_is_a_sum_over_a_number() -> None:
    assert printed(t.mean(A)) == "SUM(A1:A5)/5"
    assert printed(t.mean((A - B) ** 2)) == "SUMPRODUCT((A1:A5-B1:B5)^2)/5"
    assert printed(t.mean(A[::2])) == "(A1+A3+A5)/3"
    assert printed(t.mean(SQUARE * OTHER)) == "SUMPRODUCT(A1:C3,E1:G3)/9"
    assert printed(t.mean(A[:1])) == "A1"


# --- Ranges ---------------------------------------------------------------------------------------------------------


def test_span_is_the_range_that_references_fill() -> None:
    assert t.span(A).place == "s!A1:A5"
    assert t.span(SQUARE).place == "s!A1:C3"
    assert t.span(SQUARE[1, :]).place == "s!A2:C2"
    assert t.span(A[:1]).place == "s!A1"
    assert t.span(cells("A1:B2", "by hand", absolute=True)).absolute


@pytest.mark.parametrize(
    "references",
    [A[::2], A[::-1], SQUARE.T, SQUARE[::2], np.append(A, A[0]), np.append(A[:1], cells("A2:A2", "t"))],
)
def test_span_refuses_references_that_fill_no_range(references: Any) -> None:
    with pytest.raises(ValueError, match=rf"{np.size(references)} references from .* do not fill one range"):
        t.span(references)


def test_index_smallest_and_largest_take_one_range() -> None:
    assert printed(t.index(A, 2)) == "INDEX(A1:A5,2)"
    assert printed(t.index(SQUARE[1], E1 + 1)) == "INDEX(A2:C2,1,E1+1)"
    assert printed(t.smallest(A)) == "MIN(A1:A5)"
    assert printed(t.largest(SQUARE)) == "MAX(A1:C3)"
    for function in (lambda x: t.index(x, 1), t.span):
        with pytest.raises(ValueError, match="do not fill one range"):
            function(A[::2])


def test_previous_stands_one_step_earlier() -> None:
    assert each(t.previous(A, E1)) == ["E1", "A1", "A2", "A3", "A4"]
    assert each(t.previous(A[:2], 0.5)) == ["0.5", "A1"]
    assert each(t.previous(A[:1], 0)) == ["0"]
    # Of several columns a row at a time: one first value for all, or one for each.
    assert each(t.previous(SQUARE, 0)) == ["0", "0", "0", "A1", "B1", "C1", "A2", "B2", "C2"]
    assert each(t.previous(SQUARE, OTHER[0])) == ["E1", "F1", "G1", "A1", "B1", "C1", "A2", "B2", "C2"]
    assert each(A) == ["A1", "A2", "A3", "A4", "A5"]  # what was given stays as it was
    assert list(t.previous(np.array([1.0, 2.0, 3.0]), 0.5)) == [0.5, 1.0, 2.0]


# --- Functions, element by element ----------------------------------------------------------------------------------

ONE = {
    "sqrt": ("SQRT", np.sqrt),
    "exp": ("EXP", np.exp),
    "log": ("LN", np.log),
    "tanh": ("TANH", np.tanh),
    "cos": ("COS", np.cos),
    "abs": ("ABS", np.abs),
    "sign": ("SIGN", np.sign),
    "floor": ("INT", np.floor),
}
TWO = {"maximum": ("MAX", np.maximum), "minimum": ("MIN", np.minimum), "mod": ("MOD", np.mod)}
COMPARISONS = {
    "equal": ("=", np.equal),
    "less": ("<", np.less),
    "less_equal": ("<=", np.less_equal),
    "greater": (">", np.greater),
    "greater_equal": (">=", np.greater_equal),
}
NUMBERS = np.array([[0.25, 1.0, 2.5], [3.0, 0.5, 1e-3]])


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_array(name: str) -> None:
    function, (excel, compute) = getattr(t, name), ONE[name]
    assert printed(function(E1)) == f"{excel}(E1)"
    assert each(function(A[:2] * 2)) == [f"{excel}(A1*2)", f"{excel}(A2*2)"]
    assert function(SQUARE).shape == SQUARE.shape
    np.testing.assert_array_equal(function(NUMBERS), compute(NUMBERS))
    assert function(0.25) == compute(0.25)


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_arrays(name: str) -> None:
    function, (excel, compute) = getattr(t, name), TWO[name]
    assert each(function(A[:2], B[:2])) == [f"{excel}(A1,B1)", f"{excel}(A2,B2)"]
    assert each(function(0, A[:2])) == [f"{excel}(0,A1)", f"{excel}(0,A2)"]
    assert each(function(A[:2], np.array([1.5, 2]))) == [f"{excel}(A1,1.5)", f"{excel}(A2,2)"]
    assert function(SQUARE[0], A[:, None]).shape == (5, 3)
    np.testing.assert_array_equal(function(NUMBERS, 0.7), compute(NUMBERS, 0.7))


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_decided_at_once_for_constants(name: str) -> None:
    function, (sign, compute) = getattr(t, name), COMPARISONS[name]
    assert each(function(A[:2], E1)) == [f"A1{sign}E1", f"A2{sign}E1"]
    assert each(function(A[:1], "Adam")) == [f'A1{sign}"Adam"']
    mixed = function(np.array([A[0], 1.0, Number(2), 3], dtype=object), 2)
    assert isinstance(mixed[0], Expr)
    assert list(mixed[1:]) == [compute(1, 2), compute(2, 2), compute(3, 2)]
    np.testing.assert_array_equal(function(NUMBERS, 1.0), compute(NUMBERS, 1.0))


def test_where_chooses_at_once_where_the_condition_is_known() -> None:
    assert each(t.where(t.greater(A[:2], 0), A[:2], 0)) == ["IF(A1>0,A1,0)", "IF(A2>0,A2,0)"]
    assert each(t.where(np.array([True, False]), A[:2], B[:2])) == ["A1", "B2"]
    assert each(t.where(t.less(np.array([1, 3]), 2), A[:2], 5)) == ["A1", "5"]
    assert printed(t.where(True, E1, 0)) == "E1"
    assert printed(t.where(t.equal(E1, "Adam"), 1, 0)) == 'IF(E1="Adam",1,0)'
    np.testing.assert_array_equal(t.where(NUMBERS > 1, NUMBERS, 0), np.where(NUMBERS > 1, NUMBERS, 0))


def test_conditions_are_joined() -> None:
    low, high = t.less(A[:2], 0), t.greater(A[:2], 1)
    assert each(t.either(low, high)) == ["OR(A1<0,A1>1)", "OR(A2<0,A2>1)"]
    assert each(t.both(low, high)) == ["AND(A1<0,A1>1)", "AND(A2<0,A2>1)"]
    assert list(t.either(NUMBERS[0] < 0.5, NUMBERS[0] > 2)) == [True, False, True]
    assert list(t.both(NUMBERS[0] > 0.5, NUMBERS[0] < 2)) == [False, True, False]


def test_sums_of_numbers_are_numpys() -> None:
    assert t.sum(NUMBERS) == np.sum(NUMBERS)
    assert t.mean(NUMBERS) == pytest.approx(np.mean(NUMBERS), rel=1e-15)
    assert t.sum([1, 2, 3]) == 6
    assert t.sum(np.array([])) == 0


# --- Layers: torch's values, and short formulas -----------------------------------------------------------------------


def random(*shape: int) -> Any:
    return np.random.default_rng(5).normal(size=shape)


def test_matmul() -> None:
    a, b = random(3, 4), random(4, 2)
    np.testing.assert_allclose(t.matmul(a, b), a @ b, rtol=1e-14)
    found = each(t.matmul(SQUARE[:2], cells("E1:E3")[:, None]))
    assert found == ["A1*E1+B1*E2+C1*E3", "A2*E1+B2*E2+C2*E3"]  # a row times a column fills no common range
    found = each(t.matmul(SQUARE[:2], OTHER[:1].T))
    assert found == ["SUMPRODUCT(A1:C1,E1:G1)", "SUMPRODUCT(A2:C2,E1:G1)"]
    with pytest.raises(ValueError, match=re.escape("(n, k) and (k, m), got (3, 4) and (2, 4)")):
        t.matmul(a, b.T)


def test_relu_and_sigmoid() -> None:
    x = torch.tensor([-1000.0, -2.5, 0.0, 0.3, 40.0, 1000.0], dtype=torch.float64)
    np.testing.assert_array_equal(t.relu(x.numpy()), x.relu())
    np.testing.assert_allclose(t.sigmoid(x.numpy()), x.sigmoid(), rtol=1e-15)
    assert printed(t.relu(E1)) == "MAX(E1,0)"
    assert printed(t.sigmoid(E1)) == "EXP(MIN(E1,0))/(1+EXP(-ABS(E1)))"


@pytest.mark.parametrize(
    ("size", "padding", "stride"), [(1, 0, 1), (3, 0, 1), (3, 1, 1), (2, 0, 2), (3, 2, 3), (7, 0, 1)]
)
def test_conv2d(size: int, padding: int, stride: int) -> None:
    x, weight, bias = random(2, 3, 7, 8), random(4, 3, size, size), random(4)
    expected = F.conv2d(*map(torch.from_numpy, (x, weight, bias)), stride=stride, padding=padding)
    found = t.conv2d(t.pad2d(x, padding), weight, bias, stride)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    without = F.conv2d(*map(torch.from_numpy, (x, weight)), stride=stride, padding=padding)
    np.testing.assert_allclose(t.conv2d(t.pad2d(x, padding), weight, None, stride), without, rtol=1e-12, atol=1e-14)


def test_conv2d_prints_a_sum_for_each_channel() -> None:
    x, weight = np.stack([SQUARE, cells("A5:C7")]), np.stack([cells("J1:K2"), cells("J4:K5")])
    found = t.conv2d(x[None], weight[None], [Number(0.5)])
    assert found.shape == (1, 1, 2, 2)
    assert printed(found[0, 0, 1, 0]) == "SUMPRODUCT(A2:B3,J1:K2)+SUMPRODUCT(A6:B7,J4:K5)+0.5"
    with pytest.raises(ValueError, match="as many channels"):
        t.conv2d(x[None], weight[None, :1])
    with pytest.raises(ValueError, match=re.escape("a window of (3, 3) does not fit into (2, 2)")):
        t.windows(weight, (3, 3))


@pytest.mark.parametrize(("size", "stride"), [(2, None), (2, 1), (3, 2), (1, None)])
def test_max_pool2d(size: int, stride: int | None) -> None:
    x = random(2, 3, 7, 6)
    np.testing.assert_array_equal(t.max_pool2d(x, size, stride), F.max_pool2d(torch.from_numpy(x), size, stride))
    assert each(t.max_pool2d(SQUARE, 2, 1)) == ["MAX(A1:B2)", "MAX(B1:C2)", "MAX(A2:B3)", "MAX(B2:C3)"]


def test_argmax_takes_the_first_of_the_largest() -> None:
    ties = np.array([[1.0, 3.0], [3.0, 2.0]])
    assert t.argmax(ties) == torch.from_numpy(ties).argmax() == 1
    assert printed(t.argmax(A)) == "MATCH(MAX(A1:A5),A1:A5,0)-1"
    assert printed(t.argmax(A, E1)) == "MATCH(E1,A1:A5,0)-1"
    assert printed(t.argmax(SQUARE[:2, :2], E1)) == "IF(A1=E1,0,IF(B1=E1,1,IF(A2=E1,2,3)))"


def test_one_hot() -> None:
    labels = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(t.one_hot(labels, 3), F.one_hot(torch.from_numpy(labels), 3))
    assert each(t.one_hot(E1, 2)) == ["IF(E1=0,1,0)", "IF(E1=1,1,0)"]


# --- The same values as numpy ---------------------------------------------------------------------------------------

ROWS, COLUMNS = 9, 8
SHEETS = ("s", "by hand")
CASES = 500

FORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "x": lambda x, y, s: x,
    "x*y": lambda x, y, s: x * y,
    "(x*s-y)^2": lambda x, y, s: (x * s - y) ** 2,
    "-(x^2*y)": lambda x, y, s: -(x**2 * y),
    "x/y": lambda x, y, s: x / y,
    "x-(y-s)": lambda x, y, s: x - (y - s),
    "x*y*s": lambda x, y, s: x * y * s,
    "s/(x*y)": lambda x, y, s: s / (x * y),
    "2*x": lambda x, y, s: 2 * x,
    "s": lambda x, y, s: s + 0 * x,
    "tanh(x)*y": lambda x, y, s: t.tanh(x) * y,
    "relu(x)": lambda x, y, s: t.where(t.greater(x, 0), x, 0),
    "|x|+y": lambda x, y, s: t.abs(x) + t.maximum(y, s),
}


def grid(sheet: str) -> np.ndarray:
    return np.array([[Ref(sheet, row, column) for column in range(1, COLUMNS + 1)] for row in range(1, ROWS + 1)])


# Every view is taken from the references and from the numbers alike.
REFERENCES = np.stack([grid(sheet) for sheet in SHEETS])
_rng = np.random.default_rng(0)
VALUES = _rng.uniform(0.5, 2.0, REFERENCES.shape) * _rng.choice([-1.0, 1.0], REFERENCES.shape)


class Case(NamedTuple):
    form: str
    references: tuple[Any, Any, Any]
    values: tuple[Any, Any, Any]


@st.composite
def slices(draw: st.DrawFn, length: int, count: int) -> slice:
    """A slice that takes `count` of `length`, in some step, forwards or (more rarely) backwards."""
    step = draw(st.integers(1, max(1, (length - 1) // max(1, count - 1)))) if draw(st.booleans()) else 1
    start = draw(st.integers(0, length - 1 - step * (count - 1)))
    if draw(st.integers(0, 5)):
        return slice(start, start + step * (count - 1) + 1, step)
    stop = start - 1
    return slice(start + step * (count - 1), None if stop < 0 else stop, -step)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Two views of one shape, taken alike from the references and the numbers, and a cell that all terms share."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    flat, panels = draw(st.booleans()), draw(st.integers(0, 4)) == 0
    pairs = []
    for _ in range(2):
        transposed = draw(st.integers(0, 2)) == 0
        height, width = (columns, rows) if transposed else (rows, columns)
        which: Any = slice(None) if panels else draw(st.integers(0, 1))
        place = (which, draw(slices(ROWS, height)), draw(slices(COLUMNS, width)))
        views = [array[place] for array in (REFERENCES, VALUES)]
        if transposed:
            views = [view.swapaxes(-1, -2) for view in views]
        pairs.append([view.ravel() if flat else view for view in views])
    shared = draw(st.integers(0, 1)), draw(st.integers(0, ROWS - 1)), draw(st.integers(0, COLUMNS - 1))
    (x, x_values), (y, y_values) = pairs
    form = draw(st.sampled_from(sorted(FORMS)))
    return Case(form, (x, y, REFERENCES[shared]), (x_values, y_values, VALUES[shared]))


class Exam(NamedTuple):
    path: Path
    formulas: list[str]
    wanted: list[float]
    sizes: list[float]  # of the terms, without signs: a sum that nearly cancels has fewer digits


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Exam:
    """Every case's sum and mean in one workbook, so that each engine has to start and calculate only once."""
    found: dict[str, Case] = {}

    @settings(max_examples=CASES, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(cases())
    def collect(case: Case) -> None:
        found[printed(t.sum(FORMS[case.form](*case.references)))] = case  # each formula once

    collect()
    path = tmp_path_factory.mktemp("tensor") / "sums.xlsx"
    exam = Exam(path, [], [], [])
    for form, references, values in found.values():
        terms, numbers = FORMS[form](*references), FORMS[form](*values)
        for function, wanted, size in (
            (t.sum, np.sum(numbers), np.sum(np.abs(numbers))),
            (t.mean, np.mean(numbers), np.mean(np.abs(numbers))),
        ):
            assert function(numbers) == pytest.approx(wanted, rel=1e-15)  # numbers compute as numpy does
            exam.formulas.append(formula(function(terms), "s"))
            exam.wanted.append(float(wanted))
            exam.sizes.append(float(size))
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, block in zip(SHEETS, VALUES, strict=True):
        sheet = book.create_sheet(name)
        for row in block.tolist():
            sheet.append(row)
    for row, text in enumerate(exam.formulas, 1):
        book["s"].cell(row, COLUMNS + 2, text)
    book.save(path)
    return exam


def test_the_random_sums_reach_everything(exam: Exam) -> None:
    assert len(exam.formulas) >= CASES
    for part in ("SUM(", "SUMPRODUCT(", "'by hand'!", ")+SUM", ")+SUMPRODUCT", ",", ")^2", "IF(", "MAX(", "TANH("):
        assert sum(part in text for text in exam.formulas) >= 3, part


@pytest.mark.parametrize("name", engines.ENGINES)
def test_sums_have_numpys_values(exam: Exam, name: str) -> None:
    if name not in engines.available():
        pytest.skip(f"{name} is not on this machine")
    place = Range("s", 1, COLUMNS + 2, len(exam.formulas), COLUMNS + 2)
    [values] = engines.engine(name).calculate(exam.path, [place])
    wrong = [
        f"{text} is {wanted!r} in numpy, {value!r} in {name}"
        for text, wanted, size, value in zip(exam.formulas, exam.wanted, exam.sizes, values[:, 0], strict=True)
        if not isinstance(value, float) or abs(value - wanted) > 1e-12 * max(size, 1.0)
    ]
    # The shortest formula says most.
    assert not wrong, f"{len(wrong)} of {len(exam.formulas)} differ:\n" + "\n".join(sorted(wrong, key=len)[:5])


# --- Products of rows in several ranges -----------------------------------------------------------------------------

BANDS = np.concatenate([cells("A1:J1"), cells("A3:J3")])  # a row of 20 in two bands
OTHERS = np.concatenate([cells("A5:J5"), cells("A7:J7")])
THIRDS = np.concatenate([cells("A11:G11"), cells("A13:G13"), cells("A15:F15")])
DOWN = cells("Z1:Z20")


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (A, B, "SUMPRODUCT(A1:A5,B1:B5)"),
        (BANDS, OTHERS, "SUMPRODUCT(A1:J1,A5:J5)+SUMPRODUCT(A3:J3,A7:J7)"),
        # Cut where either begins anew.
        (
            BANDS,
            THIRDS,
            "SUMPRODUCT(A1:G1,A11:G11)+SUMPRODUCT(H1:J1,A13:C13)+SUMPRODUCT(A3:D3,D13:G13)+SUMPRODUCT(E3:J3,A15:F15)",
        ),
        # One runs down, the other across.
        (BANDS, DOWN, "SUMPRODUCT(MMULT(A1:J1,Z1:Z10))+SUMPRODUCT(MMULT(A3:J3,Z11:Z20))"),
        (DOWN, BANDS, "SUMPRODUCT(MMULT(A1:J1,Z1:Z10))+SUMPRODUCT(MMULT(A3:J3,Z11:Z20))"),
        # No references: term by term.
        (A[:2] + 1, B[:2], "SUMPRODUCT((A1:A2+1)*B1:B2)"),
        (A[:1], B[:1], "A1*B1"),
    ],
)
def test_a_product_of_rows_is_cut_where_either_begins_anew(a: Any, b: Any, text: str) -> None:
    assert each(t.dot(a[None], b[None])) == [text]


def test_the_pieces_of_a_row() -> None:
    places = [None if found is None else [piece.address for piece in found] for found in map(t.pieces, (BANDS, DOWN))]
    assert places == [["A1:J1", "A3:J3"], ["Z1:Z20"]]
    assert t.pieces([A[0], A[2], A[3], B[4]]) is not None
    assert [piece.address for piece in t.pieces([A[0], A[2], A[3], B[4]]) or []] == ["A1", "A3:A4", "B5"]
    assert t.pieces([A[0], Number(1)]) is None


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (BANDS, "SUM(A1:J1)+SUM(A3:J3)"),
        ((BANDS - OTHERS) ** 2, "SUMPRODUCT((A1:J1-A5:J5)^2)+SUMPRODUCT((A3:J3-A7:J7)^2)"),
        (np.concatenate([cells("A1:J2"), cells("A4:J5")], axis=1), "SUM(A1:J2)+SUM(A4:J5)"),
        (np.concatenate([cells("A1:J2"), cells("A4:J5")], axis=1).T, "SUM(A1:J2)+SUM(A4:J5)"),
        # A padded row: zeros leave no trace.
        (np.concatenate([np.zeros(9, dtype=object), BANDS, np.zeros(9, dtype=object)]), "SUM(A1:J1)+SUM(A3:J3)"),
        # Short stretches stay as they were.
        (np.concatenate([cells("A1:C1"), cells("A3:C3")]), "A1+B1+C1+A3+B3+C3"),
    ],
)
def test_a_sum_over_bands_is_a_range_each(array: Any, text: str) -> None:
    assert printed(t.sum(array)) == text


def test_the_largest_of_more_than_a_function_takes() -> None:
    scattered = cells("A1:A1000")[::2]
    text = printed(t.largest(scattered))
    assert text.startswith("MAX(MAX(A1,A3,")
    assert max(part.partition(")")[0].count(",") for part in text.split("MAX(")) < 255
    assert re.findall(r"A\d+", text) == [f"A{row}" for row in range(1, 1000, 2)]
