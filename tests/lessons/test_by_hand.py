"""The lessons `attention_by_hand` and `lstm_by_hand`: what they say, and that each fits one screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import sgdsheet
from sgdsheet import book
from sgdsheet.lessons import lstm_by_hand
from sgdsheet.lessons.flow import Named
from tests.lessons.pages import pages

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]


@pytest.mark.parametrize(("name", "sheet"), [("attention_by_hand", "attention"), ("lstm_by_hand", "lstm")])
def test_it_fits_one_screen(workbook: Workbook, name: str, sheet: str) -> None:
    page = pages(workbook(name)).sheets[sheet]
    assert page.box(page.end).seen


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_is_torchs_own(edited: Edit, causal: int) -> None:
    blocks = sgdsheet.read(edited("attention_by_hand", {"causal": causal}))
    q, k, v = (torch.tensor(blocks[each])[None] for each in "qkv")
    expected = scaled_dot_product_attention(q, k, v, is_causal=bool(causal))[0]
    np.testing.assert_allclose(blocks["output"], expected, rtol=1e-14)
    if causal:
        np.testing.assert_allclose(blocks["output"][0], blocks["v"][0], rtol=1e-14)


@pytest.mark.parametrize("name", ["attention_by_hand", "lstm_by_hand"])
def test_the_new_weights_are_better(workbook: Workbook, edited: Edit, name: str) -> None:
    blocks = sgdsheet.read(workbook(name))
    new = {
        (each.removeprefix("new_"), place): number
        for each, value in blocks.items()
        if each.startswith("new_")
        for place, number in enumerate(value.flat)
    }
    assert sgdsheet.read(edited(name, new))["loss"] < 0.9 * blocks["loss"]


def test_the_cell_is_torchs_own(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("lstm_by_hand"))
    own = torch.nn.LSTMCell(2, 2).double()
    w = np.concatenate([blocks[f"w_{gate}"] for gate in lstm_by_hand.GATES])
    state = {"weight_ih": w[:, :2], "weight_hh": w[:, 2:4], "bias_ih": w[:, 4], "bias_hh": 0 * w[:, 4]}
    own.load_state_dict({name: torch.tensor(each) for name, each in state.items()})
    hidden = cell = torch.zeros(1, 2, dtype=torch.float64)
    for k, x in enumerate(torch.tensor(blocks["x"])):
        hidden, cell = own(x, (hidden, cell))
        np.testing.assert_allclose(blocks["hidden"][k], hidden.detach(), rtol=1e-14)
        np.testing.assert_allclose(blocks["cell"][k], cell.detach(), rtol=1e-14)


def test_a_closed_forget_gate_learns_nothing_of_the_first_step() -> None:
    starts = {name: torch.tensor(each, dtype=torch.float64) for name, each in lstm_by_hand.STARTS.items()}
    v = Named(**lstm_by_hand.LSTM_BY_HAND.values({}), **starts)
    grads = {}
    for bias in (-5, 0, 5):
        v.w_forget[:, 4] = bias
        grads[bias] = lstm_by_hand.reference(v)["grad_cell"][0].abs().max().item()
    assert grads[-5] < 0.1 * grads[5]
    assert grads[0] < grads[5]


@pytest.mark.parametrize(("step", "unit"), [(1, 2), (3, 1)])
def test_the_circuit_shows_the_chosen_unit(edited: Edit, step: int, unit: int) -> None:
    blocks = sgdsheet.read(edited("lstm_by_hand", {"shown_step": step, "shown_unit": unit}))
    for name in ("forget", "input", "candidate", "output", "cell", "hidden"):
        np.testing.assert_allclose(blocks[f"shown_{name}"], blocks[name][step - 1, 0, unit - 1], rtol=1e-14)
    assert blocks["shown_before"] == (blocks["cell"][step - 2, 0, unit - 1] if step > 1 else 0)


def test_each_box_of_the_picture_leads_to_its_block(workbook: Workbook) -> None:
    path = workbook("attention_by_hand")
    links, blocks = pages(path).sheets["attention"].links, book.read(path).blocks
    for name in ("x", "q", "k", "v", "scores", "scaled", "weights", "output"):
        assert blocks[name].panels[0].place in links.values(), name
