"""The lesson `relu_net`: what it says of lines and bends, its gradients, and what a reader may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch

import sgdsheet
from sgdsheet import book, lessons
from sgdsheet.engines import engine
from sgdsheet.engines.libreoffice import find_soffice
from sgdsheet.expr import Range
from sgdsheet.lessons.data import Source
from sgdsheet.reference import float64_by_default

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
Blocks = dict[str, np.ndarray]

needs_soffice = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")
FITTED = {"neuron1_weight": 1, "neuron1_bias": -0.5, "neuron1_out": 1}
FITTED |= {"neuron2_weight": -1, "neuron2_bias": 0.5, "neuron2_out": 1}


@pytest.fixture(scope="module")
def fresh(workbook: Workbook) -> Blocks:
    return sgdsheet.read(workbook("relu_net"))


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine, sets=0).rows if not row.ok}


def bends(curve: np.ndarray) -> np.ndarray:
    """How much a curve through evenly spaced x turns at each of them."""
    return np.abs(np.diff(curve, 2))


def test_two_neurons_by_hand(edited: Edit) -> None:
    blocks = sgdsheet.read(edited("relu_net", FITTED))
    expected = np.mean((np.abs(blocks["data_x"] - 0.5) - blocks["data_y"]) ** 2)
    assert blocks["hand_loss"] == pytest.approx(expected)
    assert blocks["hand_loss"] < 0.02
    assert bends(blocks["curve_y_hat"]).max() > 0.01
    blocks = sgdsheet.read(edited("relu_net", FITTED | {"hand_activation": "none"}))
    assert bends(blocks["curve_y_hat"]).max() < 1e-15


def test_one_neuron_bends_at_minus_bias_over_weight(edited: Edit) -> None:
    path = edited("relu_net", {"neuron_weight": -2, "neuron_bias": 3, "try_x": -3})
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    assert blocks["bend"] == blocks["mark_bend"] == blocks["drawn_x"][1] == 1.5
    x, output = blocks["neuron_x"], blocks["neuron_output"]
    assert output == pytest.approx(np.interp(x, blocks["drawn_x"], blocks["drawn_output"]))  # one bend, and it is there
    assert (output > 0).tolist() == (x < 1.5).tolist()
    assert blocks["try_output"] == 9


def test_a_neuron_without_bend(edited: Edit, workbook: Workbook) -> None:
    """A level line has none; without activation the head of the column says so too."""
    path = edited("relu_net", {"neuron_weight": 0, "neuron_bias": 2, "neuron_activation": "none"})
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    assert np.isnan(blocks["mark_bend"]).all()
    assert (blocks["neuron_output"] == 2).all()
    above = book.read(workbook("relu_net")).blocks["neuron_output"].panels[0]
    head = Range(above.sheet, above.top - 1, above.left, above.top - 1, above.left)
    for file, words in ((workbook("relu_net"), "max(0, z)"), (path, "z")):
        (found,) = engine("ironcalc").calculate(file, [head])
        assert found.item() == words


def test_two_layers_without_relu_are_one_line(edited: Edit) -> None:
    weight, bias, out = [0.8, -0.6], [-0.3, 0.9], [1.2, 0.7]
    changes = {("path_weight", n): weight[n] for n in (0, 1)} | {("path_bias", n): bias[n] for n in (0, 1)}
    changes |= {("path_out", n): out[n] for n in (0, 1)} | {"path_out_bias": 0.25}
    path = edited("relu_net", changes)
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    assert np.abs(blocks["difference"]).max() < 1e-14
    line = np.polynomial.Polynomial.fit(blocks["line_x"], blocks["two_layers"], 1).convert().coef
    assert [blocks["one_intercept"], blocks["one_slope"]] == pytest.approx(line)
    blocks = sgdsheet.read(edited("relu_net", changes | {"path_activation": "relu"}))
    bent = np.maximum(0, np.outer(blocks["line_x"], weight) + bias) @ out + 0.25
    assert blocks["two_layers"] == pytest.approx(bent)
    assert np.abs(blocks["difference"]).max() > 0.1


def test_only_relu_gets_below_the_best_line(fresh: Blocks) -> None:
    blocks = fresh
    x, y = blocks["data_x"], blocks["data_y"]
    slope, intercept = np.polyfit(x, y, 1)
    assert [blocks["line_slope"], blocks["line_intercept"]] == pytest.approx([slope, intercept])
    best = np.mean((slope * x + intercept - y) ** 2)
    assert blocks["without_relu_loss"].min() >= best - 1e-12
    assert blocks["without_relu_last"] == pytest.approx(best, rel=1e-9)
    assert blocks["with_relu_last"] < best / 40
    assert (blocks["with_relu_weight1"][0] == blocks["without_relu_weight1"][0]).all()


@pytest.mark.parametrize("prefix", ["with_relu", "without_relu", "mlp"])
def test_gradients_are_the_slopes_of_the_loss(fresh: Blocks, prefix: str) -> None:
    """Nudges, through a network of torch's modules: shares nothing with the lesson."""
    blocks = fresh
    x, y = torch.tensor(blocks[f"{prefix}_x"].T), torch.tensor(blocks[f"{prefix}_y"])
    neurons, step = blocks[f"{prefix}_bias1"].shape[1], 3
    layer1 = torch.nn.Linear(x.shape[1], neurons, dtype=torch.float64)
    layer2 = torch.nn.Linear(neurons, 1, dtype=torch.float64)
    activation = torch.nn.Identity() if prefix == "without_relu" else torch.nn.ReLU()
    net = torch.nn.Sequential(layer1, activation, layer2)
    own = {"weight1": layer1.weight, "bias1": layer1.bias, "weight2": layer2.weight, "bias2": layer2.bias}

    def loss(nudged: str = "", place: int = 0, nudge: float = 0) -> float:
        with torch.no_grad():
            for name, parameter in own.items():
                values = blocks[f"{prefix}_{name}"][step].copy()
                if name == nudged:
                    values[place] += nudge
                parameter.copy_(torch.tensor(values).view_as(parameter))
            return torch.nn.functional.mse_loss(net(x)[:, 0], y).item()

    assert blocks[f"{prefix}_loss"][step] == pytest.approx(loss(), rel=1e-12)
    for name, parameter in own.items():
        for place in range(parameter.numel()):
            slope = (loss(name, place, 1e-6) - loss(name, place, -1e-6)) / 2e-6
            assert blocks[f"{prefix}_grad_{name}"][step, place] == pytest.approx(slope, abs=1e-8), (name, place)


def test_dead_neurons_learn_nothing(edited: Edit) -> None:
    blocks = sgdsheet.read(edited("relu_net", {("start_bias1", 0): -2, ("start_bias1", 1): -2}))
    for name in ("weight1", "bias1", "weight2"):
        assert not blocks[f"with_relu_grad_{name}"].any()
    assert blocks["with_relu_bias2"][-1] == pytest.approx(blocks["data_y"].mean())
    assert blocks["without_relu_last"] == pytest.approx(blocks["line_loss"])


def test_only_relu_solves_the_puzzle(fresh: Blocks, edited: Edit) -> None:
    blocks = fresh
    assert blocks["mlp_loss"][-1] < 0.01
    assert (np.sign(blocks["step_y_hat"]) == blocks["corner_y"]).all()
    assert blocks["map_points"].sum() == 4
    marked = blocks["prediction"][blocks["map_points"] > 0]
    assert sorted(marked) == pytest.approx(sorted(blocks["step_y_hat"]))
    flat = sgdsheet.read(edited("relu_net", {"mlp_activation": "none", "map_from": -1.1, "map_to": 1.1}))
    assert flat["mlp_loss"][-1] == pytest.approx(1, abs=1e-3)
    assert np.abs(flat["prediction"]).max() < 0.02


def test_a_shown_step_is_that_row(edited: Edit) -> None:
    blocks = sgdsheet.read(edited("relu_net", {"mlp_show_step": 7, "show_step": 9}))
    for name in ("weight1", "bias1", "weight2", "bias2"):
        assert (blocks[f"step_{name}"].ravel() == blocks[f"mlp_{name}"][6]).all()
        assert blocks[f"step_new_{name}"].ravel() == pytest.approx(blocks[f"mlp_{name}"][7], abs=1e-14)
        assert (blocks[f"one_step_{name}"].ravel() == blocks[f"with_relu_{name}"][8]).all()
        assert (blocks[f"one_step_new_{name}"].ravel() == blocks[f"with_relu_{name}"][9]).all()
        assert (blocks[f"shown_{name}"][0] == blocks[f"with_relu_{name}"][8]).all()
        assert (blocks[f"shown_{name}"][1] == blocks[f"without_relu_{name}"][8]).all()


CHANGES: list[dict[Any, Any]] = [
    {"hand_activation": "none", "mlp_activation": "none", "map_from": -5, "map_to": 5, "show_step": 3, "mlp_lr": 0.2},
    {"lr": 0, "mlp_lr": 0, "map_from": 1, "map_to": 1, "mlp_show_step": 1000, "neuron1_weight": 1e6, "neuron1_out": -4},
    {("data_x", 2): 4, ("data_y", 5): -3, ("start_weight1", 1): 0.7, ("start_bias2", 0): 1}
    | {("corner_x", 3): 0.4, ("corner_y", 2): -2, ("mlp_start_weight1", 5): 0.3, ("mlp_start_weight2", 3): 0.1},
    {("data_x", place): 2 for place in range(12)},
]
DIVERGED: list[dict[Any, Any]] = [
    {"lr": 0.5, "mlp_lr": 3},
    {"lr": 1e200, ("mlp_start_weight1", 0): 1e308},
    {("data_x", 0): 1e150, "mlp_lr": 50},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_changes_agree(edited: Edit, changes: dict[Any, Any]) -> None:
    path = edited("relu_net", changes)
    assert bad(path) == {}
    assert all(np.isfinite(block).all() for block in sgdsheet.read(path).values() if block.dtype.kind == "f")


@pytest.mark.parametrize("changes", DIVERGED, ids=str)
def test_runs_that_diverge_agree(edited: Edit, changes: dict[Any, Any]) -> None:
    report = sgdsheet.verify(edited("relu_net", changes))
    assert report.ok
    assert any("no finite number" in row.verdict for row in report.rows)


@needs_soffice
@pytest.mark.parametrize("changes", [CHANGES[2], DIVERGED[0]], ids=str)
def test_changes_agree_in_libreoffice(edited: Edit, changes: dict[Any, Any]) -> None:
    assert bad(edited("relu_net", changes), "libreoffice") == {}


def test_a_run_that_enlarges_rounding_is_measured_by_it(edited: Edit) -> None:
    """At this learning rate a difference in the 16th digit is one in the 9th after 70 steps."""
    report = sgdsheet.verify(edited("relu_net", {"lr": 0.55}))
    assert report.ok
    assert max(row.max_abs for row in report.rows if row.block == "with_relu_weight1") > 1e-12


def test_an_ordinary_run_is_measured_as_ever(fresh: Blocks) -> None:
    lesson = lessons.find("relu_net")
    values = {**lesson.values({}), **{name: np.array(each) for name, each in lesson.data.load(Source()).items()}}
    with float64_by_default():
        sizes = lesson.checked().sizes(values, fresh)
    for name, size in sizes.items():
        assert np.max(size) < 30 * max(1, np.abs(fresh[name]).max()), name


def test_wrong_formulas_are_named(edited: Edit, workbook: Workbook, place_of: Callable[..., tuple[str, str]]) -> None:
    """None of these stands on another."""
    places = {"hand_hidden_1": 3, "one_line": 5, "with_relu_grad_z_1": 199 * 12, "without_relu_weight1": 398}
    places |= {
        "line_fit": 2,
        "step_new_weight2": 1,
        "prediction": 100,
        "map_points": 7,
        "neuron_output": 6,
        "mlp_grad_bias2": 199,
    }
    sheets = openpyxl.load_workbook(workbook("relu_net"))
    changes = {}
    for name, element in places.items():
        sheet, address = place_of("relu_net", name, element)
        changes[name, element] = f"{sheets[sheet][address].value}+0.001"
    found = bad(edited("relu_net", changes))
    assert {name for name in places if "differs" in found.get(name, "")} == set(places)


def test_own_points(tmp_path: Path) -> None:
    points, path = tmp_path / "points.csv", tmp_path / "made.xlsx"
    points.write_text("x,y\n2,1\n-1,3\n0.5,0\n", encoding="utf-8")
    sgdsheet.generate("relu_net", path, data=points)
    assert bad(path) == {}
    blocks = sgdsheet.read(path)
    assert blocks["data_x"].tolist() == [2, -1, 0.5]
    assert [blocks["curve_x"][0], blocks["curve_x"][-1]] == [-1, 2]
    assert blocks["with_relu_hidden_1"].shape == (200, 3)


def test_too_many_points(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y\n" + "1,2\n" * 201, encoding="utf-8")
    with pytest.raises(sgdsheet.Error, match="relu_net: expected at most 200 points, got 201: a training step has"):
        sgdsheet.generate("relu_net", tmp_path / "made.xlsx", data=points)
