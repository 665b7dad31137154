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


def test_each_step_of_time_is_one_row_of_blocks(workbook: Workbook) -> None:
    """What is read from the same gates stands below that of the time before; all of a step takes three screens."""
    path = workbook("lstm")
    blocks, page = book.read(path).blocks, pages(path).sheets["step 1"]
    parts = ("input gate", "forget gate", "candidate", "output gate")
    places = {(part, time): blocks[f"0/lstm/{part} (time {time})"].panels[0] for part in parts for time in (1, 2, 3)}
    for time in (1, 2, 3):
        assert len({places[part, time].top for part in parts}) == 1
    for part in parts:
        assert len({places[part, time].left for time in (1, 2, 3)}) == 1
    assert page.box(page.end).bottom <= 3 * SCREEN[1]


def test_a_gradient_stands_below_what_it_is_of(workbook: Workbook) -> None:
    """Of the scores of attention too, which softmax leads to by way of two parts; they stand right of it."""
    path = workbook("attention")
    blocks, page = book.read(path).blocks, pages(path).sheets["step 1"]
    below = {"scores": "gradient of masked scores", "value": "gradient of value", "query": "gradient of query"}
    for what, gradient in below.items():
        over, under = (blocks[f"0/attention/{each}"].panels[0] for each in (what, gradient))
        assert over.left == under.left
        assert over.bottom < under.top
    part, whole = (blocks[f"0/attention/{each}gradient of masked scores"].panels[0] for each in ("part of ", ""))
    assert part.top == whole.top
    assert part.left > whole.left
    assert page.box(page.end).bottom <= 2.8 * SCREEN[1]


@pytest.mark.parametrize(
    ("name", "block", "words"),
    [
        ("attention", "attention/scaled key", "key.T * 1/sqrt(2)"),
        ("attention", "attention/gradient of value", "[attention weights].T @ [gradient of mixed values]"),
        ("attention", "attention/exponentials", "exp(scores + mask - largest); the mask is -inf at the dots"),
        ("attention", "attention/attention weights", "exponentials / [sum of exponentials]; 0 where all are masked"),
        ("attention", "loss", "[sum of the losses] / [how many are counted]"),
        ("lstm", "lstm/gradient before output gate (time 3)", "[output gate] * (1 - [output gate])"),
        ("lstm", "grad/lstm.weight_hh_l0", "[hidden state (time 2)] + the same for time 2"),
        ("lstm", "grad/lstm.bias_hh_l0", "[gradient of bias_hh_l0 from time 3] + the same for time 2, 1"),
        ("lstm", "grad/lstm.bias_ih_l0", "sum(gradient before input gate to output gate (times 1 to 3))"),
    ],
)
def test_a_formula_is_said_in_words_above_its_cells(workbook: Workbook, name: str, block: str, words: str) -> None:
    path = workbook(name)
    place = book.read(path).blocks[f"0/{block}"].panels[0]
    assert words in pages(path).sheets["step 1"].cells[place.top - 2, place.left].value
