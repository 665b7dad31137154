"""What a spreadsheet program lets a reader type into a cell."""

from __future__ import annotations

from typing import Any

from openpyxl.worksheet.datavalidation import DataValidation

from sgdsheet.book.inputs import Input

MOST = 20  # whole numbers in a drop-down


def rule(spec: Input, cell: str) -> DataValidation:
    """Returns a rule for a cell: it refuses what does not fit, offers the choices, and shows the meaning beside it."""
    if spec.choices:
        rule = DataValidation(type="list", formula1='"' + ",".join(spec.choices) + '"')
    else:
        rule = _bounds(spec, cell)
    stop = "" if spec.meaning.endswith((".", "?", "!")) else "."
    rule.allow_blank = False
    rule.showErrorMessage = rule.showInputMessage = True
    rule.promptTitle, rule.prompt = spec.name[:32], f"{spec.meaning}{stop} Expects {spec.expects}."[:255]
    rule.errorTitle, rule.error = "That does not fit here", f"{spec.name}: expected {spec.expects}."[:255]
    rule.add(cell)
    return rule


def _bounds(spec: Input, cell: str) -> DataValidation:
    kind = "whole" if spec.whole else "decimal"
    ends = {">=": spec.minimum, ">": spec.above, "<=": spec.maximum, "<": spec.below}
    given = {sign: bound for sign, bound in ends.items() if bound is not None}
    if spec.whole and set(given) == {">=", "<="} and given["<="] - given[">="] < MOST:
        each = range(int(given[">="]), int(given["<="]) + 1)
        return DataValidation(type="list", formula1='"' + ",".join(map(str, each)) + '"')
    if set(given) == {">=", "<="}:
        low, high = (f"{bound:g}" for bound in given.values())
        return DataValidation(type=kind, operator="between", formula1=low, formula2=high)
    if not given:
        return DataValidation(type=kind, operator="between", formula1="-1E+300", formula2="1E+300")
    if len(given) == 1:
        ((sign, bound),) = given.items()
        return DataValidation(type=kind, operator=_OPERATORS[sign], formula1=f"{bound:g}")
    # "Between" would take both ends.
    inside = [f"{cell}{sign}{bound:g}" for sign, bound in given.items()]
    whole = [f"{cell}=INT({cell})"] if spec.whole else []
    return DataValidation(type="custom", formula1=f"AND(ISNUMBER({cell}),{','.join([*whole, *inside])})")


_OPERATORS: Any = {
    ">=": "greaterThanOrEqual",
    ">": "greaterThan",
    "<=": "lessThanOrEqual",
    "<": "lessThan",
}
