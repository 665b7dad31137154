"""Expressions: what is printed, and that Python, IronCalc and LibreOffice read the print as the same value."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openpyxl
import openpyxl.utils
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.workbook.defined_name import DefinedName

from sgdsheet import engines
from sgdsheet.errors import Error
from sgdsheet.expr import (
    MAX_COLUMNS,
    MAX_FORMULA,
    MAX_ROWS,
    Binary,
    Call,
    Expr,
    Negative,
    Number,
    Range,
    Ref,
    Sum,
    Text,
    add,
    choose,
    column_letters,
    column_number,
    compare,
    corners,
    divide,
    formula,
    lift,
    looks_like_cell,
    multiply,
    negative,
    power,
    quoted,
    subtract,
)

A1, B1, C1, D1 = (Ref("s", 1, column) for column in range(1, 5))
# The product of numpy and an expression is an array or an expression, which no type checker can see.
ANY_A1: Any = A1


def printed(value: Any) -> str:
    """The formula without its `=`, for a cell on the sheet of A1."""
    return formula(value, "s")[1:]


# --- The same value in Python, in IronCalc and in LibreOffice -------------------------------------------------------

TREES = 3000
ROUNDING = 8 * 2.0**-53  # what one operation may add, relative to its value: libraries differ in a function's last bits
TOLERANCE = 1e-12

INPUTS = [-3.0, 2.0, 0.5, -1.25, 7.0, 1 / 3, -math.pi, 1e-7, -2.5e5, 0.1, 12.0, -0.7]
OTHER_SHEET = "it's 1"


class Tree(NamedTuple):
    """An expression and its value in Python, computed side by side.

    `largest` is the largest value met on the way, and what an engine's value is compared relative to: after a
    subtraction that nearly cancels, the last digits of what was subtracted are all that is left. `error` is how far
    another program's value may be away if each of its operations is right but for the last bits.
    """

    expr: Any
    value: float
    largest: float
    error: float


def leaf(expr: Any, value: float) -> Tree:
    return Tree(expr, value, abs(value), 0.0)


def combined(build: Callable[..., Any], compute: Callable[..., Any], *operands: Tree) -> Tree | None:
    """`build` of the expressions beside `compute` of the values.

    None where spreadsheets may rightly differ from Python: overflow, roots of negative numbers, and values that
    hang on the last bits of what they are computed from, so that no tolerance would be fair.
    """
    values = [operand.value for operand in operands]
    try:
        value = compute(*values)
        error = ROUNDING * abs(value)
        for place, operand in enumerate(operands):
            for shift in (operand.error, -operand.error):
                moved = [*values]
                moved[place] += shift
                error += abs(compute(*moved) - value)
    except (ArithmeticError, ValueError):
        return None
    largest = max(abs(value), *(operand.largest for operand in operands))
    # Beyond 1e100 or below 1e-100 a product of a few more would leave the range of a float64.
    if not (value == 0 or 1e-100 < abs(value) < 1e100) or error > TOLERANCE / 10 * largest:
        return None
    return Tree(build(*(operand.expr for operand in operands)), value, largest, error)


def nearly_equal(a: float, b: float) -> bool:
    """Whether LibreOffice and Excel may take a and b for equal though they are not: `a-b` is then snapped to 0."""
    return a != b and abs(a - b) < 1e-9 * max(abs(a), abs(b))


def is_condition(tree: Tree) -> bool:
    return isinstance(tree.expr, Binary) and tree.expr.operator in COMPARISONS


def power_value(base: float, exponent: float) -> float:
    if base == 0 and exponent <= 0:
        raise ZeroDivisionError  # Excel calls 0^0 an error, Python calls it 1
    value = math.pow(base, exponent)  # unlike **, refuses the complex roots of a negative number
    if value == 0 and base != 0:
        raise ArithmeticError  # LibreOffice calls an underflow an error
    return value


ARITHMETIC: dict[str, tuple[Callable[..., Any], Callable[..., float]]] = {
    "+": (operator.add, operator.add),
    "-": (operator.sub, operator.sub),
    "*": (operator.mul, operator.mul),
    "/": (operator.truediv, operator.truediv),
    "^": (lambda a, b: power(a, b), power_value),
}
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "SQRT": (math.sqrt, 1),
    "EXP": (math.exp, 1),
    "LN": (math.log, 1),
    "TANH": (math.tanh, 1),
    "ABS": (abs, 1),
    "MAX": (max, 2),
    "MIN": (min, 2),
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def binary(sign: str, a: Tree, b: Tree) -> Tree | None:
    if sign in "+-" and nearly_equal(a.value, b.value if sign == "-" else -b.value):
        return None
    return combined(*ARITHMETIC[sign], a, b)


def call(name: str, *operands: Tree) -> Tree | None:
    return combined(lambda *inner: Call(name, *inner), FUNCTIONS[name][0], *operands)


def comparison(sign: str, a: Tree, b: Tree) -> Tree | None:
    """A condition, worth 1 or 0 in arithmetic; None where the last bits of a and b would decide.

    None also for a comparison of conditions: beside a number Excel ranks TRUE above every number while LibreOffice
    takes it for 1, and of `(a<b)=(d>c)` IronCalc 0.9.1 loses the second parentheses. Write AND and OR instead.
    """
    if is_condition(a) or is_condition(b):
        return None
    if nearly_equal(a.value, b.value) or (a.value == b.value and (a.error or b.error)):
        return None
    if 0 < abs(a.value - b.value) < 1e-15:
        return None  # IronCalc takes them for equal
    held = float(COMPARISONS[sign](a.value, b.value))
    return Tree(compare(sign, a.expr, b.expr), held, max(1.0, a.largest, b.largest), 0.0)


def chosen(condition: Tree, yes: Tree, no: Tree) -> Tree:
    branch = yes if condition.value else no
    return branch._replace(
        expr=choose(condition.expr, yes.expr, no.expr), largest=max(branch.largest, condition.largest)
    )


# The inputs, in each way in which a formula refers to a cell.
REFERENCES = [
    leaf(reference, value)
    for row, value in enumerate(INPUTS, 1)
    for reference in (
        Ref("s", row, 1),
        Ref("s", row, 1, absolute=True),
        Ref(OTHER_SHEET, row, 1),
        Ref(OTHER_SHEET, row, 1, absolute=True),
        Ref("s", row, 1, name=f"input_{row}"),
    )
]
NUMBERS: list[Callable[[random.Random], float]] = [
    lambda draw: float(draw.randint(-4, 5)),
    lambda draw: round(draw.uniform(-100, 100), 3),
    lambda draw: draw.choice((-1, 1)) * 10 ** draw.uniform(-12, 12),
    lambda draw: draw.choice([0.1, -0.1, 1 / 3, 1e-8, -1e-8, 1.5e-5, 1e16, -1e22, 123456789.0]),
]


def tree(draw: random.Random, depth: int) -> Tree:
    """A random tree. Where two operands do not go together (see `combined`), the first stands alone."""
    if depth == 0 or draw.random() < 0.1:
        if draw.random() < 0.7:
            return draw.choice(REFERENCES)
        value = draw.choice(NUMBERS)(draw)
        return leaf(draw.choice([value, Number(value)]), value)  # a plain number must do as well
    first = tree(draw, depth - 1)
    kind = draw.choice(["binary", "binary", "binary", "negative", "negative", "call", "if", "condition"])
    if kind == "negative":
        return combined(operator.neg, operator.neg, first) or first
    if kind == "call":
        name = draw.choice(sorted(FUNCTIONS))
        return call(name, first, *(tree(draw, depth - 1) for _ in range(FUNCTIONS[name][1] - 1))) or first
    second = tree(draw, depth - 1)
    if kind == "binary":
        return binary(draw.choice("+-**//^^"), first, second) or first
    held = comparison(draw.choice(sorted(COMPARISONS)), first, second)
    if held is None:
        return first
    if kind == "if":
        return chosen(held, first, tree(draw, depth - 1))
    # A condition inside arithmetic, on either side.
    third = tree(draw, depth - 1)
    sides = (held, third) if draw.random() < 0.5 else (third, held)
    return binary(draw.choice("+-*"), *sides) or first


def random_trees() -> list[Tree]:
    """Many different trees, the same ones every time."""
    draw = random.Random(0)
    found: dict[str, Tree] = {}
    while len(found) < TREES:
        grown = tree(draw, draw.randint(2, 6))
        text = printed(grown.expr)
        if any(sign in text for sign in "+-*/^("):
            found.setdefault(text, grown)
    return [*found.values()]


def traps() -> list[Tree]:
    """Where a printer goes wrong that forgets parentheses, or sets them by mathematics' rules instead of Excel's."""
    a, b, c, d = (leaf(Ref("s", row, 1), INPUTS[row - 1]) for row in range(1, 5))
    two, three = leaf(Number(2), 2.0), leaf(Number(3), 3.0)

    def minus(x: Tree | None) -> Tree | None:
        return x and combined(operator.neg, operator.neg, x)

    def number(value: float) -> Tree:
        return leaf(Number(value), value)

    def tree(left: Tree | None, sign: str, right: Tree | None) -> Tree | None:
        return left and right and binary(sign, left, right)

    def twice(x: Tree | None) -> Tree | None:
        return minus(minus(x))

    def condition(left: Tree | None, sign: str, right: Tree | None) -> Tree | None:
        return left and right and comparison(sign, left, right)

    found = [
        minus(tree(a, "^", two)),  # -(a^2)
        tree(minus(a), "^", two),  # (-a)^2
        tree(number(-3.0), "^", two),
        tree(number(-3.0), "^", number(-2.0)),
        tree(tree(two, "^", three), "^", b),  # (2^3)^b
        tree(two, "^", tree(three, "^", b)),  # 2^(3^b)
        tree(two, "^", minus(c)),  # 2^-c
        tree(tree(a, "*", b), "^", two),
        tree(a, "*", tree(b, "^", two)),
        tree(two, "^", tree(b, "*", c)),
        tree(tree(a, "+", b), "^", two),
        tree(tree(a, "/", b), "^", three),
        tree(a, "-", tree(b, "-", c)),
        tree(tree(a, "-", b), "-", c),
        tree(a, "-", tree(b, "+", c)),
        tree(a, "/", tree(b, "/", c)),
        tree(tree(a, "/", b), "/", c),
        tree(a, "/", tree(b, "*", c)),
        tree(a, "*", tree(b, "/", c)),
        tree(a, "*", tree(b, "+", c)),
        tree(tree(a, "-", b), "/", tree(c, "-", d)),
        minus(minus(a)),
        tree(twice(tree(a, "*", three)), "^", two),
        tree(a, "/", twice(tree(tree(a, "*", a), "*", three))),
        tree(number(1.0), "/", twice(tree(a, "/", three))),
        tree(number(5.0), "-", tree(a, "/", twice(tree(a, "/", number(7.0))))),
        tree(minus(twice(tree(a, "*", b))), "^", two),
        tree(c, "/", minus(tree(minus(tree(a, "/", b)), "*", d))),
        minus(tree(a, "-", b)),
        minus(tree(a, "*", b)),
        tree(b, "*", minus(c)),
        tree(minus(a), "*", b),
        tree(minus(a), "-", minus(b)),
        tree(a, "-", minus(tree(b, "-", c))),
        tree(a, "-", number(-2.0)),
        tree(a, "*", number(-1e-8)),
        tree(a, "-", tree(b, "^", two)),
        tree(minus(tree(b, "^", two)), "+", a),
        tree(condition(a, "<", b), "*", c),
        tree(c, "-", condition(a, "<", b)),
        tree(condition(a, "<", b), "+", condition(c, ">=", d)),
        minus(condition(a, "<>", b)),
        tree(two, "*", condition(tree(a, "+", b), "<=", tree(c, "*", d))),
    ]
    assert None not in found
    return [trap for trap in found if trap is not None]


def nestings() -> list[Tree]:
    """Every operator inside every other inside every third, on either side."""

    def grown(tree: Tree, other: Tree) -> list[Tree]:
        found = [combined(operator.neg, operator.neg, tree)]
        for left, right in ((tree, other), (other, tree)):
            found += [*(binary(sign, left, right) for sign in ARITHMETIC), comparison("<", left, right)]
        return [tree for tree in found if tree is not None]

    once, twice, thrice = (leaf(Ref("s", row, 1), INPUTS[row - 1]) for row in (2, 3, 6))
    found = []
    for start in (leaf(Ref("s", 1, 1), INPUTS[0]), leaf(Ref("s", 11, 1), INPUTS[10])):  # a negative, a positive
        inner = grown(start, once)
        middle = [tree for part in inner for tree in grown(part, twice)]
        found += inner + middle + [tree for part in middle for tree in grown(part, thrice)]
    return found


class Exam(NamedTuple):
    path: Path
    trees: list[Tree]
    random: list[Tree]


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Exam:
    """All the trees in one workbook, so that each engine has to start and calculate only once."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "s"
    for place in (sheet, book.create_sheet(OTHER_SHEET)):
        for row, value in enumerate(INPUTS, 1):
            place.cell(row, 1, value)
    for row in range(1, len(INPUTS) + 1):
        book.defined_names[f"input_{row}"] = DefinedName(f"input_{row}", attr_text=f"s!$A${row}")
    drawn = random_trees()
    examined = traps() + nestings() + drawn
    for row, tree in enumerate(examined, 1):
        sheet.cell(row, 3, formula(tree.expr, "s"))
    path = tmp_path_factory.mktemp("expr") / "trees.xlsx"
    book.save(path)
    return Exam(path, examined, drawn)


def test_the_random_trees_are_many_and_reach_everything(exam: Exam) -> None:
    texts = [printed(tree.expr) for tree in exam.random]
    assert len(texts) >= TREES
    wanted = [
        *ARITHMETIC,
        *COMPARISONS,
        *FUNCTIONS,
        "IF",
        "'it''s 1'!",
        "$A$",
        "input_",
        "(-",
        ")^",
        "^(",
        ")*",
        ")/",
        "/(",
    ]
    for part in wanted:
        assert sum(part in text for text in texts) >= 5, part


@pytest.mark.parametrize("name", engines.ENGINES)
def test_python_and_the_engine_agree(exam: Exam, name: str) -> None:
    if name not in engines.available():
        pytest.skip(f"{name} is not on this machine")
    [values] = engines.engine(name).calculate(exam.path, [Range("s", 1, 3, len(exam.trees), 3)])
    wrong = []
    for tree, value in zip(exam.trees, values[:, 0], strict=True):
        if name == "gnumeric" and OTHER_SHEET.replace("'", "''") in printed(tree.expr):
            continue  # it cannot read a sheet's name with an apostrophe
        number = isinstance(value, float | bool) and not isinstance(value, str)
        if not number or not abs(float(value) - tree.value) <= TOLERANCE * tree.largest:
            wrong.append(f"{formula(tree.expr, 's')} is {tree.value!r} in Python, {value!r} in {name}")
    # The shortest formula says most.
    assert not wrong, f"{len(wrong)} of {len(exam.trees)} differ, among them:\n" + "\n".join(sorted(wrong, key=len)[:5])


# --- Printing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-(ANY_A1**2), "-(A1^2)"),
        ((-ANY_A1) ** 2, "(-A1)^2"),
        (Number(-3) ** 2, "(-3)^2"),
        (2**ANY_A1, "2^A1"),
        ((2**ANY_A1) ** 3, "(2^A1)^3"),
        (2 ** (ANY_A1**3), "2^(A1^3)"),
        (2 ** (-ANY_A1), "2^(-A1)"),
        (A1 - (B1 - C1), "A1-(B1-C1)"),
        (A1 - B1 - C1, "A1-B1-C1"),
        (A1 + (B1 + C1), "A1+(B1+C1)"),  # the order of evaluation, and so the rounding, is the tree's
        (A1 / (B1 / C1), "A1/(B1/C1)"),
        (A1 / (B1 * C1), "A1/(B1*C1)"),
        (A1 / B1 * C1, "A1/B1*C1"),
        ((A1 + B1) * C1, "(A1+B1)*C1"),
        (A1 + B1 * C1, "A1+B1*C1"),
        (A1 * B1**2, "A1*B1^2"),
        ((A1 * B1) ** 2, "(A1*B1)^2"),
        (negative(-ANY_A1), "A1"),
        (negative(-(ANY_A1 * 3)) ** 2, "(A1*3)^2"),
        (A1 * -B1, "A1*(-B1)"),
        (A1 - -B1, "A1-(-B1)"),
        (A1 - Number(-2), "A1-(-2)"),
        (-A1 + B1, "-A1+B1"),
        (+A1, "A1"),
        (Number(-2) + A1, "-2+A1"),
        (-A1 * B1, "(-A1)*B1"),
        (1e-8 * ANY_A1, "1E-08*A1"),
        (Binary("*", Binary("<", A1, B1), C1), "(A1<B1)*C1"),
        (Binary("=", Binary("<", A1, B1), A1 + 1), "(A1<B1)=(A1+1)"),
        (Binary("=", Binary("<", A1, B1), Binary(">", D1, C1)), "(A1<B1)=(D1>C1)"),
        (Sum([A1 - B1, C1 * D1, C1 - D1, -A1, Number(-1)]), "A1-B1+C1*D1+(C1-D1)+(-A1)+(-1)"),
        (Sum([A1, B1]) * 2, "(A1+B1)*2"),
        (A1 - Sum([B1, C1]), "A1-(B1+C1)"),
        (Call("SQRT", A1**2 + 1), "SQRT(A1^2+1)"),
        (Call("MAX", -2, -A1, "x"), 'MAX(-2,-A1,"x")'),
        (-Call("SQRT", A1), "-SQRT(A1)"),
    ],
)
def test_operators_print_with_the_parentheses_that_excel_needs(value: Any, text: str) -> None:
    assert printed(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_prints_so_that_the_same_float_comes_back(value: float) -> None:
    text = printed(Number(value))
    assert float(text) == value
    assert sum(sign.isdigit() for sign in text.upper().partition("E")[0].strip("-0.")) <= 17


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (3.0, "3"), (-0.5, "-0.5"), (0.1 + 0.2, "0.30000000000000004"), (1e22, "1E+22"), (1e-5, "1E-05")],
)
def test_numbers_print_short(value: float, text: str) -> None:
    assert printed(value) == text


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_must_be_finite(value: float) -> None:
    with pytest.raises(Error, match="finite"):
        lift(value)


@pytest.mark.parametrize(
    ("value", "text"), [("Adam", '"Adam"'), ("", '""'), ('say "hi"', '"say ""hi"""'), ("it's", '"it\'s"')]
)
def test_texts_double_their_quotes(value: str, text: str) -> None:
    assert printed(Text(value)) == text
    assert printed(value) == text


@pytest.mark.parametrize(
    ("sheet", "text"),
    [
        ("data", "data"),
        ("step_2", "step_2"),
        ("_x", "_x"),
        ("by hand", "'by hand'"),
        ("it's", "'it''s'"),
        ("2nd", "'2nd'"),
        ("a-b", "'a-b'"),
        ("a!b", "'a!b'"),
        ("w1", "'w1'"),  # would be read as a cell
        ("XFE1", "XFE1"),  # one past the last column, so no cell
        ("R", "'R'"),
        ("r2c3", "'r2c3'"),
        ("größe", "'größe'"),
    ],
)
def test_sheets_are_quoted_where_they_must_be(sheet: str, text: str) -> None:
    assert quoted(sheet) == text
    assert printed(Ref(sheet, 2, 3)) == f"{text}!C2"
    assert formula(Ref(sheet, 2, 3), sheet) == "=C2"
    assert printed(Range(sheet, 1, 1, 2, 2)) == f"{text}!A1:B2"
    assert formula(Range(sheet, 1, 1, 2, 2), sheet) == "=A1:B2"


def test_references_print_relative_absolute_or_by_name() -> None:
    assert printed(Ref("s", 12, 28)) == "AB12"
    assert printed(Ref("s", 12, 28, absolute=True)) == "$AB$12"
    assert printed(Ref("t", 12, 28, absolute=True)) == "t!$AB$12"
    assert printed(Ref("t", 12, 28, absolute=True, name="lr")) == "lr"
    assert Ref("t", 12, 28, absolute=True, name="lr").address == "AB12"


def test_ranges_print_relative_absolute_and_as_one_cell() -> None:
    rectangle = Range("by hand", 2, 3, 5, 4)
    assert rectangle.shape == (4, 2)
    assert rectangle.address == "C2:D5"
    assert rectangle.place == "'by hand'!C2:D5"
    assert rectangle.absolute_place == "'by hand'!$C$2:$D$5"
    assert printed(Range("s", 2, 3, 5, 4, absolute=True)) == "$C$2:$D$5"
    assert printed(Range("t", 2, 3, 5, 4, absolute=True)) == "t!$C$2:$D$5"
    assert printed(Range("s", 2, 3, 2, 3)) == "C2"
    assert Range("s", 2, 3, 2, 3).shape == (1, 1)


# --- Constants ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (add(A1, 0), "A1"),
        (add(0, A1), "A1"),
        (subtract(A1, 0.0), "A1"),
        (subtract(0, A1), "-A1"),
        (multiply(A1, 1), "A1"),
        (multiply(1.0, A1), "A1"),
        (multiply(A1, 0), "0"),
        (multiply(0, A1), "0"),
        (multiply(-1, A1), "(-1)*A1"),
        (divide(A1, 1), "A1"),
        (divide(0, A1), "0"),
        (divide(1, A1), "1/A1"),
        (power(A1, 1), "A1"),
        (power(A1, 0), "1"),
        (power(0, 0), "1"),
        (power(1, A1), "1^A1"),
        (add(True, A1), "1+A1"),  # True counts as 1, as it does in torch
        (multiply(True, A1), "A1"),
        (-Number(3), "-3"),
        (-Number(-3), "3"),
    ],
)
def test_constants_that_change_nothing_leave_no_trace(value: Expr, text: str) -> None:
    assert printed(value) == text


@pytest.mark.parametrize(
    ("operate", "value"),
    [
        (lambda: add(2, 3), 5.0),
        (lambda: subtract(2, 3), -1.0),
        (lambda: multiply(2, 3), 6.0),
        (lambda: divide(2, 3), 2 / 3),
        (lambda: Number(0.1) + 0.2, 0.1 + 0.2),
        (lambda: 1 - Number(0.9), 1 - 0.9),
        (lambda: Number(4) / Number(8) * 6, 3.0),
        (lambda: Number(2) - Number(2), 0.0),  # a folded 0 is a constant like any other
    ],
)
def test_two_constants_are_computed_at_once(operate: Callable[[], Expr], value: float) -> None:
    folded = operate()
    assert isinstance(folded, Number)
    assert folded.value == value


def test_folding_beyond_the_largest_float_is_an_error() -> None:
    with pytest.raises(Error, match="finite"):
        multiply(1e308, 10)


@pytest.mark.parametrize("numerator", [A1, 1, 0, Number(0)])
def test_dividing_by_the_constant_0_is_an_error(numerator: Any) -> None:
    with pytest.raises(ZeroDivisionError, match="constant 0"):
        divide(numerator, 0)


@pytest.mark.parametrize("sign", sorted(COMPARISONS))
@given(a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_two_constants_are_compared_at_once(sign: str, a: float, b: float) -> None:
    assert compare(sign, a, b) is COMPARISONS[sign](a, b)
    assert compare(sign, a, a) is COMPARISONS[sign](a, a)
    assert printed(compare(sign, A1, 2)) == f"A1{sign}2"
    assert printed(compare(sign, A1, "Adam")) == f'A1{sign}"Adam"'


def test_a_choice_is_made_at_once_where_the_condition_is_known() -> None:
    assert printed(choose(True, A1, B1)) == "A1"
    assert printed(choose(np.bool_(False), A1, 2)) == "2"
    assert printed(choose(compare("<", A1, B1), 1, -C1)) == "IF(A1<B1,1,-C1)"


# --- Names of columns and cells -------------------------------------------------------------------------------------


@given(st.integers(1, MAX_COLUMNS))
def test_column_letters_go_there_and_back(column: int) -> None:
    letters = column_letters(column)
    assert letters == openpyxl.utils.get_column_letter(column)
    assert column_number(letters) == column
    assert column_number(letters.lower()) == column


def test_an_address_has_corners() -> None:
    assert [corners(each) for each in ("D12", "$b$2:C4", "C4:B2")] == [(12, 4, 12, 4), (2, 2, 4, 3), (2, 2, 4, 3)]
    for text in ("B", "B:C", "s!A1", "A1:", "A1:B2 "):
        with pytest.raises(ValueError, match=text):
            corners(text)


@given(st.integers(1, MAX_COLUMNS), st.integers(1, MAX_ROWS))
def test_every_cell_looks_like_a_cell(column: int, row: int) -> None:
    address = Ref("s", row, column).address
    assert openpyxl.utils.cell.coordinate_from_string(address) == (openpyxl.utils.get_column_letter(column), row)
    assert looks_like_cell(address)
    assert looks_like_cell(address.lower())
    assert looks_like_cell(f"R{row}C{column}")


@pytest.mark.parametrize("name", ["w1", "b1", "x2", "err2", "r", "c", "R", "rc", "R1", "c7", "r2c3", "XFD1048576"])
def test_names_that_excel_refuses(name: str) -> None:
    assert looks_like_cell(name)


@pytest.mark.parametrize("name", ["w", "lr", "loss", "y_hat", "w_1", "XFE1", "abcd1", "w1_grad", "r2c3x", "beta1b"])
def test_names_that_excel_takes(name: str) -> None:
    assert not looks_like_cell(name)


def test_a_formula_as_deep_as_it_is_long_prints() -> None:
    added: Any = A1
    nested: Any = A1
    for _ in range(1500):
        added, nested = added + 1, Call("MAX", -nested, 0)
    assert added.text("s") == "A1" + "+1" * 1500
    assert nested.text("s") == "MAX(-" * 1500 + "A1" + ",0)" * 1500


# --- What is refused ------------------------------------------------------------------------------------------------


def test_a_formula_may_not_be_longer_than_excel_takes() -> None:
    longest = Text("x" * (MAX_FORMULA - 3))  # beside two quotes and the equals sign
    assert len(formula(longest, "s")) == MAX_FORMULA
    with pytest.raises(Error, match=r"8,193 characters .* 8,192"):
        formula(Text(longest.value + "x"), "s")


def test_a_formula_deeper_than_excel_takes() -> None:
    deep: Expr = Call("IF", Ref("(((sheet", 1, 1), Text("("), 1)
    for _ in range(63):
        deep = Call("ABS", deep)
    assert formula(deep, "s").count("(") == 64 + 3 + 1
    with pytest.raises(Error, match=r"65 levels .* 64"):
        formula(Call("ABS", deep), "s")


@pytest.mark.parametrize("value", [A1, A1 + 1, Number(0), Call("TRUE"), Negative(A1)])
def test_an_expression_has_no_truth_value(value: Expr) -> None:
    with pytest.raises(TypeError, match="where"):
        bool(value)


@pytest.mark.parametrize("value", [None, [1.0], (1,), {}, object(), 1j])
def test_only_expressions_numbers_and_texts_are_lifted(value: Any) -> None:
    with pytest.raises(TypeError, match=f"expected an expression, a number or a text, got {type(value).__name__}"):
        lift(value)
    with pytest.raises(TypeError, match="expected an expression"):
        _ = A1 + value
    with pytest.raises(TypeError, match="expected an expression"):
        Call("SQRT", value)


def test_numbers_of_every_library_are_lifted() -> None:
    for value in (2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0)):
        assert printed(lift(value)) == "2"
    assert lift(A1) is A1


# --- Beside numpy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "operate"),
    [
        ("+", operator.add),
        ("-", operator.sub),
        ("*", operator.mul),
        ("/", operator.truediv),
        ("^", operator.pow),
    ],
)
def test_an_array_on_the_other_side_is_taken_element_by_element(sign: str, operate: Callable[[Any, Any], Any]) -> None:
    numbers, refs = np.array([[2.0, 3.0], [4.0, 5.0]]), np.array([B1, C1])
    right, left, both = operate(A1, numbers), operate(numbers, A1), operate(A1, refs)
    assert isinstance(right, np.ndarray)
    assert isinstance(left, np.ndarray)
    assert [printed(element) for element in right.ravel()] == [f"A1{sign}{digit}" for digit in "2345"]
    assert [printed(element) for element in left.ravel()] == [f"{digit}{sign}A1" for digit in "2345"]
    assert [printed(element) for element in both] == [f"A1{sign}B1", f"A1{sign}C1"]
    assert operate(numbers, refs).shape == (2, 2)


def test_a_numpy_scalar_on_the_other_side_is_a_number() -> None:
    assert printed(np.float64(2) * ANY_A1) == "2*A1"
    assert printed(ANY_A1 - np.float64(2)) == "A1-2"
    assert printed(np.float64(2) ** ANY_A1) == "2^A1"
    assert printed(np.array(2.0) / ANY_A1) == "2/A1"
