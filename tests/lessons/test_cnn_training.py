"""The lesson `cnn_training`: the training itself, whichever optimiser and whatever digits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.lessons.pictures import digits

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]

PARAMETERS = ["conv.weight", "conv.bias", "dense.weight", "dense.bias"]


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


def test_it_learns(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("cnn_training"))
    assert len(blocks["loss"]) == 24
    assert blocks["loss"][0] == pytest.approx(np.log(10), abs=0.2)
    assert blocks["loss"][-3:].mean() < 0.5
    assert blocks["right_before"] <= 5
    assert blocks["right_after"] >= 15


def test_every_gradient_and_every_new_parameter_is_compared(workbook: Workbook) -> None:
    blocks = book.read(workbook("cnn_training")).blocks
    for made in range(24):
        for name in PARAMETERS:
            assert {f"{made}/grad/{name}", f"{made + 1}/new_param/{name}", f"{made}/param/{name}"} <= blocks.keys()
    assert {f"24/param/{name}" for name in PARAMETERS} <= blocks.keys()


@pytest.mark.parametrize(
    "given",
    [
        {"optimizer": "SGD", "batch_size": 3},
        {"optimizer": "momentum", "momentum": 0.5},
        {"optimizer": "Adam", "beta1": 0.5, "eps": 0.1},
        {"optimizer": "momentum", "momentum_lr": 1e4},
        {"batch_size": 20, "steps": 1},
    ],
)
def test_agrees_with_other_inputs(tmp_path: Path, given: dict[str, Any]) -> None:
    path = tmp_path / "made.xlsx"
    inputs: dict[str, Any] = {"steps": 2} | given
    sgdsheet.generate("cnn_training", path, **inputs)
    assert bad(path) == {}


def test_agrees_after_changes(edited: Edit) -> None:
    changes = {
        "optimizer": "momentum",
        "show_digit": 20,
        ("train_label", 0): 9,
        ("train_pixels", 70): 16,
        ("held_label", 3): 0,
        ("0/param/conv.weight", 26): -1.5,
        ("0/param/dense.weight", 269): 3,
    }
    path = edited("brief", changes)
    assert bad(path) == {}
    assert (sgdsheet.read(path)["3/state/momentum_buffer/conv.weight"] != 0).all()
    assert (sgdsheet.read(path)["3/state/exp_avg/conv.weight"] == 0).all()


def test_only_what_a_person_looks_for_is_in_the_name_box(workbook: Workbook) -> None:
    """The names of later steps are hidden: still there for the file to be read by, wherever its cells are moved to."""
    names = openpyxl.load_workbook(workbook("brief")).defined_names
    shown = {name: each.attr_text for name, each in names.items() if not each.hidden}
    assert len(names) == len(book.read(workbook("brief")).blocks)
    assert {"train_pixels", "loss", "right_after", "_0_logits"} <= shown.keys()
    assert not [place for place in shown.values() if place.startswith(("'step 2'", "'step 3'", "'held out maps'"))]


def test_mistakes_are_told_of_each_held_out_digit(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("brief"))
    np.testing.assert_array_equal(blocks["held_digits"], blocks["held_pixels"])
    np.testing.assert_array_equal(blocks["after/good"], blocks["after/logits"].argmax(1) == blocks["held_label"])
    assert blocks["right_after"] == blocks["after/good"].sum()


def test_a_label_that_is_no_digit(edited: Edit) -> None:
    with pytest.raises(sgdsheet.Error, match="train_label: expected whole numbers from 0 to 9"):
        sgdsheet.verify(edited("brief", {("train_label", 0): 10}))


def test_a_wrong_formula_is_named(edited: Edit, place_of: Callable[..., tuple[str, str]]) -> None:
    sheet, address = place_of("brief", "1/grad_conv", 500)
    verdicts = bad(edited("brief", {("1/grad_conv", 500): "=1"}))
    assert f"'{sheet}'!{address}" in verdicts["1/grad_conv"]
    assert "2/new_param/conv.weight" in verdicts, "what follows from it is wrong too"
    assert "0/grad_conv" not in verdicts


def rows(count: int) -> list[str]:
    pixels, labels = digits()
    return [
        ",".join(map(str, [int(label), *map(int, picture.reshape(-1))]))
        for picture, label in zip(pixels[:count], labels[:count], strict=True)
    ]


@pytest.mark.parametrize("count", [5, 12, 105])
def test_a_csv_of_digits(tmp_path: Path, count: int) -> None:
    data, path = tmp_path / "digits.csv", tmp_path / "made.xlsx"
    data.write_text("\n".join(rows(count)))
    sgdsheet.generate("cnn_training", path, data=data, steps=1)
    blocks = sgdsheet.read(path)
    held = min(20, count // 5)
    assert len(blocks["held_label"]) == held
    assert len(blocks["train_label"]) == count - held
    assert bad(path) == {}


def test_too_few_digits(tmp_path: Path) -> None:
    data = tmp_path / "digits.csv"
    data.write_text("\n".join(rows(4)))
    with pytest.raises(sgdsheet.Error, match=re.escape(f"{data}: expected at least 5 digits, a row each, got 4")):
        sgdsheet.generate("cnn_training", tmp_path / "made.xlsx", data=data)
