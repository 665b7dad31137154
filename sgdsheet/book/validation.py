"""What a spreadsheet program lets a reader type into a cell."""

from __future__ import annotations

from openpyxl.worksheet.datavalidation import DataValidation

from sgdsheet.book.inputs import Input


def rule(spec: Input) -> DataValidation:
    """Returns a rule that refuses what does not fit, offers the choices, and shows the meaning beside the cell."""
    if spec.choices:
        rule = DataValidation(type="list", formula1='"' + ",".join(spec.choices) + '"')
    else:
        low, high = spec.minimum, spec.maximum
        low = spec.above if low is None else low
        high = spec.below if high is None else high
        kind = "whole" if spec.whole else "decimal"
        if low is not None and high is not None:
            rule = DataValidation(type=kind, operator="between", formula1=f"{low:g}", formula2=f"{high:g}")
        elif low is not None:
            strict = spec.minimum is None
            operator = "greaterThan" if strict else "greaterThanOrEqual"
            rule = DataValidation(type=kind, operator=operator, formula1=f"{low:g}")
        else:
            rule = DataValidation(type=kind, operator="between", formula1="-1E+300", formula2="1E+300")
    rule.allow_blank = False
    rule.showErrorMessage = rule.showInputMessage = True
    rule.promptTitle, rule.prompt = spec.name[:32], f"{spec.meaning} Expects {spec.expects}."[:255]
    rule.errorTitle, rule.error = "That does not fit here", f"{spec.name}: expected {spec.expects}."[:255]
    return rule
