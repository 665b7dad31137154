"""What a spreadsheet program lets a reader type is what the lesson takes."""

from __future__ import annotations

from typing import Any

import pytest

from sgdsheet.book import Input
from sgdsheet.book.validation import rule

SIGNS = {"greaterThan": ">", "greaterThanOrEqual": ">=", "lessThan": "<", "lessThanOrEqual": "<="}
NUMBERS = [-1e9, -1, -0.5, 0, 0.25, 0.5, 0.999, 1, 1.5, 2, 3, 10, 11, 1e9]


def takes(allowed: Any, number: float) -> bool:
    """What Excel's documentation says of these kinds of rules."""
    if allowed.type == "custom":
        inside = allowed.formula1.removeprefix("AND(").removesuffix(")").split(",")
        said = [each.replace("B6=", "B6==") for each in inside]
        return all(eval(each, {"ISNUMBER": lambda x: True, "INT": int, "B6": number}) for each in said)
    if allowed.type == "list":
        return number in map(float, allowed.formula1.strip('"').split(","))
    if allowed.type == "whole" and number != int(number):
        return False
    if allowed.operator == "between":
        return float(allowed.formula1) <= number <= float(allowed.formula2)
    return bool(eval(f"{number}{SIGNS[allowed.operator]}{allowed.formula1}"))


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"minimum": 0},
        {"above": 0},
        {"maximum": 10},
        {"below": 1},
        {"minimum": 0, "maximum": 1},
        {"minimum": 0, "below": 1},
        {"above": 0, "maximum": 1},
        {"above": 0, "below": 1},
        {"minimum": 1, "maximum": 10, "whole": True},
        {"minimum": 0, "maximum": 100, "whole": True},
        {"above": 0, "below": 3, "whole": True},
        {"minimum": 1, "whole": True},
    ],
    ids=str,
)
def test_takes_what_the_lesson_takes(bounds: dict[str, Any]) -> None:
    spec = Input("lr", 1, "learning rate", **bounds)
    allowed = rule(spec, "B6")
    assert str(allowed.sqref) == "B6"
    assert [takes(allowed, number) for number in NUMBERS] == [spec.fits(float(number)) for number in NUMBERS]


@pytest.mark.parametrize(("meaning", "said"), [("learning rate", "learning rate. Expects"), ("How far?", "How far? E")])
def test_the_prompt_is_two_sentences(meaning: str, said: str) -> None:
    prompt: Any = rule(Input("lr", 1, meaning), "B6").prompt
    assert prompt.startswith(said)
