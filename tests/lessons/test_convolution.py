"""The lesson `convolution`: a picture's way through the network, whatever its size and shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from PIL import Image
from scipy.signal import correlate2d

import sgdsheet
from sgdsheet import book
from sgdsheet.lessons import train_convolution
from sgdsheet.lessons.convolution import WEIGHTS
from sgdsheet.lessons.pictures import LARGE, digits, enlarged, held_out
from sgdsheet.lessons.train_classifier import fit

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]


def bad(path: Path, engine: str = "ironcalc") -> dict[str, str]:
    return {row.block: row.verdict for row in sgdsheet.verify(path, engine).rows if not row.ok}


def noise(folder: Path) -> Path:
    path = folder / "noise.png"
    Image.effect_noise((60, 40), 80).convert("RGB").save(path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A picture of 8 x 8, which is quicker than one of 28 x 28."""
    path = tmp_path / "small.csv"
    np.savetxt(path, digits()[0][7] / 16, fmt="%.3f", delimiter=",")
    return path


@pytest.mark.parametrize(("padding", "stride"), [(0, 1), (1, 1), (1, 2), (2, 2), (3, 3), (5, 1)])
def test_padding_and_stride(tmp_path: Path, small: Path, padding: int, stride: int) -> None:
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("convolution", path, data=small, padding=padding, stride=stride)
    assert bad(path) == {}
    side = (8 + 2 * padding - 3) // stride + 1
    assert book.read(path).blocks["conv1"].shape == (2, side, side)


@pytest.mark.parametrize("label", [3, 8])
def test_label_chooses_the_picture_and_it_is_read_rightly(edited: Edit, label: int) -> None:
    path = edited("convolution", {"label": label})
    blocks = sgdsheet.read(path)
    np.testing.assert_array_equal(blocks["picture"], blocks["pictures"][label])
    assert blocks["predicted"] == label
    assert bad(path) == {}


def test_the_stored_weights_read_digits_that_they_were_not_trained_on() -> None:
    weights = {name: torch.tensor(array) for name, array in json.loads(WEIGHTS.read_text()).items()}
    edges = torch.tensor([[[-1, -1, -1], [0, 0, 0], [1, 1, 1]], [[-1, 0, 1]] * 3])[:, None].float()
    dense = torch.nn.Linear(288, 10)
    with torch.no_grad():
        dense.weight.copy_(weights["dense_weight"].flatten(1))
        dense.bias.copy_(weights["dense_bias"])

        def right(which: Any) -> torch.Tensor:
            x = torch.nn.functional.conv2d(torch.tensor(enlarged(digits()[0][which])).float()[:, None], edges).relu()
            x = torch.nn.functional.conv2d(x, weights["conv2_weight"]).relu()
            x = torch.nn.functional.max_pool2d(x, 2).flatten(1)
            return dense(x).argmax(1) == torch.tensor(digits()[1][which])

        assert right(list(LARGE)).all()
        assert right(held_out(len(digits()[1]))).double().mean() > 0.96


def test_training_again_writes_such_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Two epochs instead of twenty, for the time that it takes."""
    monkeypatch.setattr(train_convolution, "WEIGHTS", tmp_path / "weights.json")
    monkeypatch.setattr(train_convolution, "fit", lambda *given, **more: fit(*given, **{**more, "epochs": 2}))
    train_convolution.main()
    right, _, total = capsys.readouterr().out.split(": ")[1].split()[:3]
    assert int(right) / int(total) > 0.8
    again, stored = (json.loads(path.read_text()) for path in (tmp_path / "weights.json", WEIGHTS))
    assert {name: np.shape(a) for name, a in again.items()} == {name: np.shape(a) for name, a in stored.items()}


def test_a_picture_is_taken_for_ink(tmp_path: Path) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "black.png")
    sgdsheet.generate("convolution", tmp_path / "made.xlsx", image=tmp_path / "black.png", size=8)
    assert (sgdsheet.read(tmp_path / "made.xlsx")["picture"] == 1).all(), "what is black is full ink"


@pytest.mark.parametrize("rgb", [False, True])
def test_a_picture_of_28(tmp_path: Path, rgb: bool) -> None:
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("convolution", path, image=noise(tmp_path), rgb=rgb)
    blocks = sgdsheet.read(path)
    assert blocks["picture"].shape == (3 if rgb else 1, 28, 28)
    assert bad(path) == {}


def test_a_csv_of_any_shape(tmp_path: Path) -> None:
    grid = tmp_path / "grid.csv"
    grid.write_text("\n".join(",".join(str((i * j) % 5) for j in range(12)) for i in range(6)))
    path = tmp_path / "made.xlsx"
    sgdsheet.generate("convolution", path, data=grid, padding=0)
    blocks = sgdsheet.read(path)
    assert blocks["pool"].shape == (2, 1, 4)
    assert bad(path) == {}


@pytest.mark.parametrize(("lesson", "stride"), [("convolution", 2), ("conv_backward", 3)])
def test_headings_of_small_maps_do_not_overlap(tmp_path: Path, lesson: str, stride: int) -> None:
    """Excel calls a file damaged in which a cell is in two merged ranges."""
    path = tmp_path / "made.xlsx"
    sgdsheet.generate(lesson, path, stride=stride)
    for sheet in openpyxl.load_workbook(path):
        cells = [cell for merged in sheet.merged_cells.ranges for cell in merged.cells]
        assert len(cells) == len(set(cells)), sheet.title


def test_the_maps_are_what_scipy_computes(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("convolution"))
    picture = blocks["picture"][0]
    for number, edge in enumerate(([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], [[-1, 0, 1]] * 3)):
        np.testing.assert_allclose(blocks["conv1"][number], correlate2d(picture, edge, "valid"), atol=1e-15)
    assert blocks["softmax"].sum() == pytest.approx(1)
    assert blocks["loss"] == pytest.approx(-np.log(blocks["softmax"][7]))
    assert len(blocks["logits"]) == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"filter_1": "outline", "filter_2": "own 2"},
        {("presets", 4): 3.5, "label": 0},
        {("pictures", 7 * 784 + 12): 40, ("conv1_bias", 1): -2, ("conv2_weight", 35): 9.5},
        {("dense_weight", 319): -3, ("dense_bias", 0): 800, ("draw", 3): 0.95, "p": 0.9},
        {("draw", 0): 0, "p": 0},
    ],
)
def test_agrees_after_changes(edited: Edit, changes: dict[Any, Any]) -> None:
    assert bad(edited("convolution", changes)) == {}


@pytest.mark.parametrize("p", [0, 0.2, 0.5, 0.9])
def test_dropout_drops_what_was_drawn_below_p(edited: Edit, p: float) -> None:
    blocks = sgdsheet.read(edited("convolution", {"p": p}))
    dropped = blocks["draw"] < p
    assert p == 0 or dropped.mean() == pytest.approx(p, abs=0.15)
    np.testing.assert_array_equal(blocks["dropped"][dropped], 0)
    np.testing.assert_allclose(blocks["dropped"][~dropped], blocks["pool"][~dropped] / (1 - p), rtol=1e-14)
    assert blocks["share_before"] == blocks["softmax"][7]
    assert (blocks["share_dropped"] == blocks["share_before"]) == (p == 0)


def test_a_wrong_formula_is_named(edited: Edit, place_of: Callable[..., tuple[str, str]]) -> None:
    _, address = place_of("convolution", "conv2", 70)
    (verdict,) = [bad(edited("convolution", {("conv2", 70): "=1"}))["conv2"]]
    assert address in verdict


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"padding": 0, "stride": 3}, "a kernel of 3 x 3 is larger than the 2 x 2 that layer 2 looks at"),
        ({"padding": 1, "stride": 8}, "max-pooling takes 2 x 2 cells, but has 1 x 1"),
        ({"padding": -1}, "expected a whole number at least 0"),
        ({"padding": 1e154}, "at most 10, got 1e"),
        ({"stride": 0}, "expected a whole number at least 1"),
        ({"filter_1": "top"}, "expected one of top edge"),
    ],
)
def test_what_cannot_be_built(tmp_path: Path, small: Path, inputs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(sgdsheet.Error, match=complaint):
        sgdsheet.generate("convolution", tmp_path / "made.xlsx", data=small, **inputs)
    assert list(tmp_path.iterdir()) == [small]


def test_a_fixed_input_that_was_changed_is_refused(edited: Edit) -> None:
    for content in (1, "=1", "=7"):
        with pytest.raises(sgdsheet.Error) as caught:
            sgdsheet.verify(edited("convolution", {"padding": content}))
        assert "\n" not in str(caught.value)


def test_sources_that_a_lesson_has_no_use_for(tmp_path: Path) -> None:
    for name, arguments, complaint in [
        ("linear_sgd", {"image": noise(tmp_path)}, "linear_sgd takes no --image but --data FILE.csv"),
        ("convolution", {"size": 9}, "give --image too"),
        ("convolution", {"rgb": True}, "give --image too"),
        ("conv_backward", {"image": noise(tmp_path), "rgb": True}, "leave --rgb out"),
        ("cnn_training", {"image": noise(tmp_path)}, "cnn_training takes no --image"),
        ("classifier", {"image": noise(tmp_path), "size": 28}, "leave --size and --rgb out"),
    ]:
        with pytest.raises(sgdsheet.Error, match=complaint):
            sgdsheet.generate(name, tmp_path / "made.xlsx", **arguments)  # type: ignore[arg-type]
