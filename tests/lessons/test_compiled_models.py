"""The three compiled models learn what their titles say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.book.geometry import SCREEN
from tests.lessons.pages import pages

Workbook = Callable[[str], Path]


@pytest.mark.parametrize(("name", "off"), [("xor_mlp", 0.1), ("lstm", 0.1), ("attention", 0)])
def test_what_comes_out_after_training_is_right(workbook: Workbook, name: str, off: float) -> None:
    values = sgdsheet.read(workbook(name))
    wrong = {each: abs(values[each] - values["target"]).max() for each in ("before", "after")}
    assert wrong["after"] <= off
    assert wrong["before"] > 5 * wrong["after"]


def test_a_step_of_xor_is_one_screen(workbook: Workbook) -> None:
    """From the input to the loss, down to the last new parameter."""
    page = pages(workbook("xor_mlp")).sheets["step 1"]
    blocks = book.read(workbook("xor_mlp")).blocks.values()
    ends = [page.box(panel) for block in blocks for panel in block.panels if panel.sheet == "step 1"]
    assert max(box.right for box in ends) <= SCREEN[0]
    assert max(box.bottom for box in ends) <= SCREEN[1]
