"""Whether verify tells right from wrong, against runs written here anew and against files changed in every way."""

from __future__ import annotations

import re
import shutil
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
from openpyxl.comments import Comment

import sgdsheet
from sgdsheet import book, lessons
from sgdsheet.book.register import REGISTER
from sgdsheet.engines.libreoffice import find_soffice

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
AboutEdit = Callable[[Mapping[tuple[str, str], Any]], Path]
Place = Callable[..., tuple[str, str]]

MADE = "made by sgdsheet for the lesson"
needs_soffice = pytest.mark.skipif(find_soffice() is None, reason="LibreOffice is not installed")


def bad(report: sgdsheet.Report) -> dict[str, str]:
    """The blocks that do not agree, with the verdict on each."""
    return {row.block: row.verdict for row in report.rows if not row.ok}


def agrees(path: Path, engine: str = "ironcalc") -> sgdsheet.Report:
    report = sgdsheet.verify(path, engine)
    assert bad(report) == {}
    assert report.ok
    return report


def refused(path: Path) -> str:
    """The error's one line, which names the file."""
    with pytest.raises(sgdsheet.Error) as caught:
        sgdsheet.verify(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def refused_or_named(path: Path) -> None:
    """An edit that breaks the manifest ends with a clear error or a row that does not agree, never otherwise."""
    try:
        report = sgdsheet.verify(path)
    except sgdsheet.Error as error:
        assert "\n" not in str(error)
    else:
        assert not report.ok


def repacked(source: Path, target: Path, change: Mapping[str, Callable[[bytes], bytes] | None]) -> Path:
    """A copy of an archive with some parts changed, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            part, edit = old.read(name), change.get(name, bytes)
            if edit is not None:
                new.writestr(name, edit(part))
    return target


def run_by_hand(x: list[float], y: list[float], lr: float, batch_size: int, epochs: int) -> dict[str, np.ndarray]:
    """SGD on a line as one would write it without knowing the sheet: a row a point, a step a batch."""
    rows: dict[str, list[float]] = {name: [] for name in ("intercept", "slope", "y_hat", "loss")}
    rows |= {f"grad_{name}": [] for name in ("intercept", "slope")}
    intercept = torch.zeros((), dtype=torch.float64)
    slope = torch.zeros((), dtype=torch.float64)
    for _ in range(epochs):
        for start in range(0, len(x), batch_size):
            batch = range(start, min(start + batch_size, len(x)))
            sums = [0.0, 0.0]
            for point in batch:
                i, s = intercept.clone().requires_grad_(), slope.clone().requires_grad_()
                y_hat = s * x[point] + i
                loss = (y_hat - y[point]) ** 2
                loss.backward()
                assert i.grad is not None
                assert s.grad is not None
                grads = (i.grad.item(), s.grad.item())
                values = (i.item(), s.item(), y_hat.item(), loss.item(), *grads)
                for column, value in zip(rows.values(), values, strict=True):
                    column.append(value)
                sums = [total + grad for total, grad in zip(sums, grads, strict=True)]
            intercept = intercept - lr * sums[0] / len(batch)
            slope = slope - lr * sums[1] / len(batch)
    return {name: np.array(column) for name, column in rows.items()}


@pytest.mark.parametrize("name", ["linear_sgd", "race"])  # tests/lessons/test_catalogue.py has them all
def test_fresh_workbook_agrees(workbook: Workbook, name: str) -> None:
    report = agrees(workbook(name))
    assert report.path == workbook(name)
    assert report.engine == "ironcalc"
    assert len({row.block for row in report.rows}) == len(report.rows) > 50


@needs_soffice
@pytest.mark.parametrize("name", ["small", "race"])  # .ci/run has them all
def test_fresh_workbook_agrees_in_libreoffice(workbook: Workbook, name: str) -> None:
    agrees(workbook(name), "libreoffice")


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_sheet_is_what_a_plain_loop_computes(edited: Edit, batch_size: int) -> None:
    values = sgdsheet.read(edited("small", {"batch_size": batch_size, "lr": 0.05}))
    x, y = (values[name].tolist() for name in ("data_x", "data_y"))
    epochs, rest = divmod(len(values["loss"]), len(x))
    assert rest == 0
    assert epochs >= 10
    for name, column in run_by_hand(x, y, 0.05, batch_size, epochs).items():
        np.testing.assert_allclose(values[name], column, rtol=0, atol=1e-12 * max(1, abs(column).max()), err_msg=name)


def test_finite_differences_are_near_the_gradients(workbook: Workbook) -> None:
    values = sgdsheet.read(workbook("linear_sgd"))
    nudge = values["nudge"].item()
    # The loss is a parabola: moved by h, its difference quotient is the gradient and h times half its curvature.
    np.testing.assert_allclose(values["fd_grad_intercept"] - values["grad_intercept"], nudge, atol=1e-10)
    np.testing.assert_allclose(values["fd_grad_slope"] - values["grad_slope"], nudge * values["x"] ** 2, atol=1e-10)


def test_read_gives_every_block_in_its_shape(workbook: Workbook) -> None:
    saved, values = book.read(workbook("linear_sgd")), sgdsheet.read(workbook("linear_sgd"))
    assert list(values) == list(saved.blocks)
    for name, block in saved.blocks.items():
        assert values[name].shape == block.shape
        assert values[name].dtype == np.float64
    assert values["lr"].shape == ()
    assert values["y_hat"].shape == (290,)
    assert values["loss_map"].ndim == 2
    assert all(np.isfinite(each).all() for each in values.values())


def test_read_gives_text_as_text_and_errors_as_nan(workbook: Workbook, edited: Edit) -> None:
    assert sgdsheet.read(workbook("race"))["schedule"].item() == "constant"
    values = sgdsheet.read(edited("small", {("y_hat", 3): "=1/0"}))
    assert np.isfinite(values["y_hat"][:3]).all()
    assert np.isnan(values["y_hat"][3])


def test_report_as_frame(edited: Edit) -> None:
    frame = sgdsheet.verify(edited("small", {("y_hat", 5): 1.0})).to_frame()
    assert list(frame.columns)[:7] == ["block", "place", "shape", "max_abs", "max_rel", "ok", "verdict"]
    row = frame.set_index("block").loc["y_hat"]
    assert row["shape"] == (50,)
    assert not row["ok"]


def test_verify_leaves_torch_and_the_file_as_they_were(workbook: Workbook) -> None:
    before = workbook("small").read_bytes()
    agrees(workbook("small"))
    assert torch.get_default_dtype() == torch.float32
    assert workbook("small").read_bytes() == before


# What the sheets themselves invite the reader to try is among these.
@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0},
        {"lr": "=0.02+0.01"},
        {"lr": 3},
        {"batch_size": 2},
        {"intercept": 2.5, "slope": -1},
        {("data_y", 3): 7.25},
        {("data_y", 3): 1000},
        {("data_x", 3): 55},
        {"nudge": 1e-4},
        {"nudge": 1e-8},
        {"nudge": 1e-8, "batch_size": 2},
        {"show_step": 50},
        {"intercept_from": 3, "intercept_to": -3},
    ],
    ids=str,
)
def test_changed_input_agrees_again(edited: Edit, workbook: Workbook, changes: dict[Any, Any]) -> None:
    path = edited("small", changes)
    report = agrees(path)
    assert all(np.isfinite(row.max_abs) for row in report.rows)
    if changes.get("lr") != "=0.02+0.01":  # which is what was there
        before, after = sgdsheet.read(workbook("small")), sgdsheet.read(path)
        assert any((before[name] != after[name]).any() for name in before)


@pytest.mark.parametrize("schedule", ["step", "exponential", "cosine", "one-cycle", "anneal"])
def test_every_schedule_agrees(edited: Edit, workbook: Workbook, schedule: str) -> None:
    path = edited("race", {"schedule": schedule, "SGD_lr": 0.5})
    report = agrees(path)
    assert {row.block: row.verdict for row in report.rows}["schedule"] == f"chosen: {schedule}"
    lr = sgdsheet.read(path)["SGD_lr_now"]  # whose gradient grows
    assert lr.min() < lr.max()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "SGD_weight_decay": 0.1,
            "Momentum_momentum": 0,
            "Momentum_dampening": 0.5,
            "Adam_beta1": 0.5,
            "Eve_beta3": 0.5,
        },
        {
            "RMSprop_momentum": 0.9,
            "RMSprop_alpha": 0,
            "ASGD_t0": 0,
            "ASGD_lambd": 0.1,
            "Adadelta_rho": 0,
            "Rprop_etaplus": 2,
        },
        {
            "Adagrad_initial_accumulator_value": 0.3,
            "Adagrad_lr_decay": 0.2,
            "NAdam_momentum_decay": 0,
            "RAdam_beta2": 0.9,
        },
        {"Rprop_step_size_min": 5, "Rprop_step_size_max": 1, "Eve_threshold_low": 20, "Eve_threshold_high": 1},
        {"start_intercept": -4, "start_slope": 9, ("data_x", 2): 50},
        {"AdamW_beta2": 0.9999, "RAdam_beta2": 0.9999},
    ],
    ids=str,
)
def test_changed_hyperparameters_agree(edited: Edit, changes: dict[Any, Any]) -> None:
    agrees(edited("race", changes))


def test_a_hyperparameter_that_torch_refuses_is_an_error(edited: Edit, place_of: Place) -> None:
    path = edited("race", {"Nesterov_momentum": 0})  # torch: "Nesterov momentum requires a momentum"
    assert "!".join(place_of("race", "Nesterov_momentum")) in refused(path)


def test_loss_of_zero_everywhere_agrees(edited: Edit) -> None:
    agrees(edited("race", {("data_y", point): 0 for point in range(3)}))


@pytest.mark.parametrize(
    ("lesson", "changes"),
    [
        ("small", {"lr": 1e20}),
        ("small", {"lr": 1e200}),
        ("small", {"lr_high": 1e20}),
        ("small", {("data_x", 3): 1e200}),
        ("race", {"SGD_lr": 1e100}),
    ],
    ids=str,
)
def test_diverged_run_agrees(edited: Edit, lesson: str, changes: dict[Any, Any]) -> None:
    report = agrees(edited(lesson, changes))
    assert any("no finite number" in row.verdict for row in report.rows)


@needs_soffice
@pytest.mark.parametrize(
    ("lesson", "changes"),
    [("linear_sgd", {"lr": 0.05, "batch_size": 5, ("data_x", 2): 1.5}), ("optimizers", {"schedule": "cosine"})],
    ids=["linear_sgd", "optimizers"],
)
def test_changed_input_agrees_in_libreoffice(edited: Edit, lesson: str, changes: dict[Any, Any]) -> None:
    agrees(edited(lesson, changes), "libreoffice")


@needs_soffice
@pytest.mark.parametrize(
    ("lesson", "changes"),
    [("small", {"lr": 0.05}), ("optimizers", {"schedule": "step"}), ("convolution", {}), ("attention", {})],
)
def test_saved_by_libreoffice_agrees(edited: Edit, tmp_path: Path, lesson: str, changes: dict[str, Any]) -> None:
    """Each formula is still known as it was written, whatever LibreOffice makes of its text."""
    path = edited(lesson, changes)
    soffice = find_soffice()
    assert soffice
    command = [
        soffice,
        f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}",
        "--headless",
        "--convert-to",
        "xlsx",
    ]
    subprocess.run(
        [*command, "--outdir", str(tmp_path / "out"), str(path)], check=True, capture_output=True, timeout=120
    )
    report = agrees(tmp_path / "out" / path.name)
    assert report.known
    assert not any(row.rewritten for row in report.rows)


@pytest.mark.parametrize(
    ("element", "content", "what"),
    [
        (5, 1.0, "overwritten"),
        (5, None, "deleted"),
        (5, "hello", "overwritten"),
        (0, True, "overwritten"),
        (49, 7, "overwritten"),
    ],
)
def test_lost_formula_is_named(edited: Edit, place_of: Place, element: int, content: Any, what: str) -> None:
    verdict = bad(sgdsheet.verify(edited("small", {("y_hat", element): content})))["y_hat"]
    assert what in verdict
    assert verdict.endswith("!".join(place_of("small", "y_hat", element)))


def test_lost_formula_is_named_even_if_its_value_is_right(edited: Edit, workbook: Workbook) -> None:
    value = sgdsheet.read(workbook("small"))["y_hat"][5].item()
    report = sgdsheet.verify(edited("small", {("y_hat", 5): value}))
    assert "overwritten" in bad(report)["y_hat"]


@pytest.mark.parametrize("formula", ["=1+1", '="hello"', "=TRUE", "=1/0", '=""'])
def test_wrong_formula_does_not_agree(edited: Edit, formula: str) -> None:
    changes = {"y_hat": formula, "hand_loss": formula, "visits": formula}
    assert changes.keys() <= bad(sgdsheet.verify(edited("small", changes))).keys()


@pytest.mark.parametrize(
    ("block", "element", "content", "said"),
    [
        ("lr", 0, None, "blank"),
        ("lr", 0, "abc", "'abc'"),
        ("lr", 0, "0.1", "'0.1'"),
        ("lr", 0, -0.1, "-0.1"),
        ("lr", 0, True, "True"),
        ("lr", 0, "=1/0", "#DIV/0!"),
        ("batch_size", 0, 0, "at least 1"),
        ("batch_size", 0, 2.5, "whole number"),
        ("nudge", 0, 0, "above 0"),
        ("show_step", 0, 0, "at least 1"),
        ("intercept", 0, None, "blank"),
        ("slope", 0, "x", "'x'"),
        ("data_x", 2, None, "blank"),
        ("data_y", 4, "n/a", "'n/a'"),
    ],
)
def test_input_that_makes_no_sense(
    edited: Edit, place_of: Place, block: str, element: int, content: Any, said: str
) -> None:
    message = refused(edited("small", {(block, element): content}))
    assert "!".join(place_of("small", block, element)) in message
    assert said in message


@pytest.mark.parametrize("content", ["foo", None, 3, "Step"])
def test_schedule_that_is_no_choice(edited: Edit, place_of: Place, content: Any) -> None:
    message = refused(edited("race", {"schedule": content}))
    assert "!".join(place_of("race", "schedule")) in message
    assert "one-cycle" in message


@pytest.mark.parametrize(
    "changes",
    [
        {("y_hat", "C"): "abc"},
        {("y_hat", "C"): None},
        {("y_hat", "C"): 51},
        {("y_hat", "C"): "-50"},
        {("y_hat", "C"): "5 x 10"},
        {("y_hat", "C"): "0", ("y_hat", "D"): None},
        {("y_hat", "B"): "foo"},
        {("y_hat", "B"): None},
        {("y_hat", "D"): "somewhere else"},
        {("y_hat", "D"): None},
        {("y_hat", "A"): "yhat"},
        {("y_hat", "A"): None},
        {("y_hat", column): None for column in "ABCDEFG"},
        {("lr", "A"): "learning rate"},
        {("lr", "C"): "1"},
        {("lr", "E"): None},
        {("lr", "E"): "garbage"},
        {("data_x", "C"): "5 x 1"},
        {("data_x", "E"): None},
        {("data_x", "E"): "data!A1:A2"},
        {("intercept", "E"): None},
        {("block", "A"): "name"},
        {(MADE, "A"): None},
        {(MADE, "C"): None},
        {(MADE, "C"): "nope"},
        {(MADE, "C"): "optimizers"},
        {(MADE, "C"): "lesson2_sgd"},
    ],
    ids=str,
)
def test_edited_manifest(about_edited: AboutEdit, changes: dict[tuple[str, str], Any]) -> None:
    refused_or_named(about_edited(changes))


def test_a_place_that_is_not_there(about_edited: AboutEdit) -> None:
    """The defined name says where the block is, as after a sheet was renamed."""
    report = sgdsheet.verify(about_edited({("y_hat", "D"): "nosheet!A1:A50"}))
    assert report.ok
    assert {row.block: row.moved for row in report.rows if row.moved} == {"y_hat": "moved here from nosheet!A1:A50"}


def test_unknown_lesson_in_the_manifest_names_the_file(about_edited: AboutEdit) -> None:
    assert "nope" in refused(about_edited({(MADE, "C"): "nope"}))


@pytest.mark.parametrize("block", ["data_x", "intercept", "lr"])
def test_manifest_that_allows_fewer_cells_to_change(about_edited: AboutEdit, place_of: Place, block: str) -> None:
    sheet, address = place_of("small", block)
    try:
        sgdsheet.verify(about_edited({(block, "E"): f"{sheet}!{address}"}))
    except sgdsheet.Error as error:
        assert "\n" not in str(error)


def test_manifest_that_allows_a_formula_to_be_overwritten(about_edited: AboutEdit, place_of: Place) -> None:
    """Or else one more word on the sheet `about` would hide that a formula is lost."""
    sheet, address = place_of("small", "y_hat", 5)
    path = about_edited({("y_hat", "E"): f"{sheet}!{address}"})
    changed = openpyxl.load_workbook(path)
    changed[sheet][address].value = sgdsheet.read(path)["y_hat"][5].item()
    changed.save(path)
    refused_or_named(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda changed: changed.remove(changed["blocks"]),
        lambda changed: changed["blocks"].delete_cols(3),
        lambda changed: changed["blocks"].delete_rows(5, 1000),
        lambda changed: changed.remove(changed["sgd"]),
        lambda changed: setattr(changed["sgd"], "title", "steps"),
        lambda changed: changed["sgd"].insert_rows(3),
        lambda changed: changed["sgd"].delete_rows(20),
        lambda changed: changed.defined_names.pop("y_hat"),
        lambda changed: setattr(changed.defined_names["y_hat"], "value", "sgd!$A$1:$A$50"),
        lambda changed: setattr(changed.defined_names["y_hat"], "value", "#REF!"),
        lambda changed: setattr(changed.defined_names["y_hat"], "value", ""),
        lambda changed: setattr(changed.defined_names["y_hat"], "value", "sgd!$A$1,sgd!$A$3"),
    ],
    ids=lambda change: str(change.__code__.co_names) + str(change.__code__.co_consts[1:]),
)
def test_manifest_and_sheets_that_no_longer_fit(
    workbook: Workbook, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    changed = openpyxl.load_workbook(workbook("small"))
    change(changed)
    path = tmp_path / "changed.xlsx"
    changed.save(path)
    refused_or_named(path)


@pytest.mark.parametrize("name", ["y_hat", "step", "loss_map"])
def test_block_that_the_manifest_does_not_list(workbook: Workbook, tmp_path: Path, name: str) -> None:
    changed = openpyxl.load_workbook(workbook("small"))
    sheet = changed["blocks"]
    sheet.delete_rows(next(number for number, row in enumerate(sheet.iter_rows(), 1) if row[0].value == name))
    path = tmp_path / "changed.xlsx"
    changed.save(path)
    assert bad(sgdsheet.verify(path)) == {name: "is not listed on the sheet 'blocks'"}


def _register(path: Path) -> str:
    """The part of the sheet 'blocks', which is the last."""
    with zipfile.ZipFile(path) as archive:
        return f"xl/worksheets/sheet{sum(name.startswith('xl/worksheets/sheet') for name in archive.namelist())}.xml"


def test_manifest_cell_that_is_not_there(workbook: Workbook, tmp_path: Path) -> None:
    """A cell that was cleared altogether makes its row shorter."""

    def without(part: bytes) -> bytes:
        cleared, count = re.subn(rf'({MADE}</t></is></c>)<c r="C\d+".*?</c>'.encode(), rb"\1", part)
        assert count == 1
        return cleared

    path = repacked(workbook("small"), tmp_path / "cleared.xlsx", {_register(workbook("small")): without})
    refused(path)


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("xl/workbook.xml", None),
        ("xl/workbook.xml", lambda _: b""),
        ("xl/workbook.xml", lambda _: b"<a/>"),
        ("[Content_Types].xml", None),
        ("xl/_rels/workbook.xml.rels", None),
        (REGISTER, lambda part: part[:500]),
        ("xl/worksheets/sheet3.xml", None),
        ("xl/worksheets/sheet3.xml", lambda part: part[:5000]),
        ("xl/worksheets/sheet3.xml", lambda _: b"junk"),
        ("xl/worksheets/sheet3.xml", lambda _: b""),
        ("xl/styles.xml", None),
        ("xl/styles.xml", lambda _: b""),
    ],
)
def test_part_that_is_broken(workbook: Workbook, tmp_path: Path, part: str, edit: Any) -> None:
    part = _register(workbook("small")) if part == REGISTER else part
    path = repacked(workbook("small"), tmp_path / "broken.xlsx", {part: edit})
    refused(path)


@pytest.mark.parametrize("share", [0, 0.00001, 0.001, 0.3, 0.7, 0.999, 0.99999])
def test_truncated_file(workbook: Workbook, tmp_path: Path, share: float) -> None:
    content = workbook("small").read_bytes()
    path = tmp_path / "part.xlsx"
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


@pytest.mark.parametrize("engine", ["ironcalc", "libreoffice"])
def test_damaged_in_the_middle(workbook: Workbook, tmp_path: Path, engine: str) -> None:
    """A byte changed within a sheet's compressed text: what a bad disk or a broken download leaves."""
    content = bytearray(workbook("small").read_bytes())
    with zipfile.ZipFile(workbook("small")) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.compress_size)
    middle = largest.header_offset + largest.compress_size // 2
    content[middle : middle + 20] = b"\xff" * 20
    path = tmp_path / "damaged.xlsx"
    path.write_bytes(content)
    if engine == "libreoffice" and find_soffice() is None:
        pytest.skip("LibreOffice is not installed")
    with pytest.raises(sgdsheet.Error, match=re.escape(str(path))):
        sgdsheet.verify(path, engine)


# --- formulas that are right for the inputs in the file alone -----------------------------------------------------


def test_value_typed_as_a_formula_is_wrong_for_other_inputs(workbook: Workbook, edited: Edit, place_of: Place) -> None:
    """Nothing that stands in the file tells it from the right formula: 120 of 120 once went unnoticed."""
    value = sgdsheet.read(workbook("small"))["y_hat"][5].item()
    path = edited("small", {("y_hat", 5): f"={value!r}"})
    content = path.read_bytes()
    verdict = bad(sgdsheet.verify(path))["y_hat"]
    where = "!".join(place_of("small", "y_hat", 5))
    assert verdict.startswith(f"formula changed at {where}; differs for other inputs (set 1: lr ")
    assert f"differs most at {where}: {str(value)[:12]}" in verdict
    assert path.read_bytes() == content
    assert sgdsheet.verify(path, sets=0).ok


def test_bias_of_zero_hides_nothing(edited: Edit, workbook: Workbook) -> None:
    """slope and intercept begin at 0: the first y_hat is 0 whatever is done with the point's x."""
    formula = book.read(workbook("small")).contents["y_hat"][0]
    assert sgdsheet.read(workbook("small"))["y_hat"][0] == 0
    wrong = formula.replace("*", "/")
    assert wrong != formula
    assert "y_hat" in bad(sgdsheet.verify(edited("small", {("y_hat", 0): wrong})))


def test_formula_rewritten_rightly_is_named_and_counts_as_right(edited: Edit, workbook: Workbook) -> None:
    formula = book.read(workbook("softmax_cross_entropy")).contents["scaled"][1]
    report = agrees(edited("softmax_cross_entropy", {("scaled", 1): f"=(0+{formula[1:]})*1"}))
    row = next(row for row in report.rows if row.block == "scaled")
    said = re.fullmatch(r"formula changed at [^;]+; values agree \(also for (\d+) other sets of inputs\)", row.verdict)
    assert said
    assert 30 < int(said[1]) <= 35  # thirty, and a few nearer ones
    assert [each.block for each in report.rows if each.rewritten] == ["scaled"]


@pytest.mark.parametrize("spelling", [lambda f: f.lower(), lambda f: "= " + f[1:].replace("*", " * "), lambda f: f])
def test_formula_spelt_otherwise_is_the_same(edited: Edit, workbook: Workbook, spelling: Any) -> None:
    held = book.read(workbook("small")).contents["y_hat"]
    path = edited("small", {("y_hat", k): spelling(held[k]) for k in range(3)} | {"lr": "=0.02+0.01"})
    assert book.read(path).rewritten == {}


def test_several_formulas_changed(edited: Edit, workbook: Workbook) -> None:
    held = book.read(workbook("small")).contents["y_hat"]
    assert book.read(edited("small", {("y_hat", k): held[k] + "+0" for k in (3, 4)})).rewritten == {
        "y_hat": "several cells"
    }


def test_workbook_that_does_not_know_its_formulas(workbook: Workbook, tmp_path: Path) -> None:
    """Those made before the manifest had that column still verify."""
    changed = openpyxl.load_workbook(workbook("small"))
    changed["blocks"].delete_cols(8)
    changed.save(tmp_path / "old.xlsx")
    assert not agrees(tmp_path / "old.xlsx").known


def test_other_inputs_where_a_schedule_is_chosen(edited: Edit, workbook: Workbook) -> None:
    """The branch of an IF that no input in the file takes."""
    name = "factor"
    formula = next(held for held in book.read(workbook("race")).contents[name] if "cosine" in held)
    path = edited("race", {(name, 3): formula.replace('"cosine"', '"cosina"')})
    assert name in bad(sgdsheet.verify(path))


# --- what a reader moves -------------------------------------------------------------------------------------------


def shifted(text: str, own: str, sheet: str, row: int) -> str:
    """A formula on the sheet `own` after a row was inserted in `sheet` before `row`."""

    def moved(match: re.Match[str]) -> str:
        if (match[1] or own).strip("'") != sheet:
            return match[0]
        return re.sub(r"\d+$|\d+(?=:)", lambda n: str(int(n[0]) + (int(n[0]) >= row)), match[0])

    reference = r"(?:('[^']+'|\b[A-Za-z_]\w*)!)?\$?\b[A-Z]{1,3}\$?\d+(?::\$?[A-Z]{1,3}\$?\d+)?(?![\w(!])"
    return re.sub(reference, moved, text)


def with_row(source: Path, target: Path, sheet: str, row: int) -> Path:
    """A copy in which a row was inserted, as a spreadsheet program does it: formulas and names follow."""
    changed = openpyxl.load_workbook(source)
    for each in changed:
        formulas: Any = (cell for line in each.iter_rows() for cell in line if cell.data_type == "f")
        for cell in formulas:
            cell.value = shifted(str(cell.value), each.title, sheet, row)
    for name in changed.defined_names.values():
        name.value = ",".join(shifted(place, "", sheet, row) for place in name.value.split(","))
    changed[sheet].insert_rows(row)
    changed.save(target)
    return target


def test_row_inserted_above_a_table(workbook: Workbook, tmp_path: Path) -> None:
    report = agrees(with_row(workbook("small"), tmp_path / "moved.xlsx", "sgd", 3))
    rows = {row.block: row for row in report.rows}
    old = book.read(workbook("small")).blocks
    for name in ("lr", "y_hat", "intercept"):
        assert rows[name].verdict == f"agrees; moved here from {old[name].panels[0].place}"
        assert rows[name].place != old[name].panels[0].place
    assert rows["data_x"].verdict == "agrees"
    assert not any(row.rewritten for row in report.rows)


def test_row_inserted_within_a_table(workbook: Workbook, tmp_path: Path) -> None:
    top = book.read(workbook("small")).blocks["y_hat"].panels[0].top
    problems = bad(sgdsheet.verify(with_row(workbook("small"), tmp_path / "torn.xlsx", "sgd", top + 5)))
    assert "points to" in problems["y_hat"]


def test_wrong_formula_is_told_from_one_that_moved(edited: Edit, tmp_path: Path, place_of: Place) -> None:
    wrong = edited("small", {("y_hat", 5): "=1+1"})
    problems = bad(sgdsheet.verify(with_row(wrong, tmp_path / "moved.xlsx", "sgd", 3)))
    sheet, address = place_of("small", "y_hat", 5)
    below = re.sub(r"\d+", lambda row: str(int(row[0]) + 1), address)
    assert f"formula changed at {sheet}!{below}; differs most at {sheet}!{below}: 2," in problems["y_hat"]


@pytest.mark.parametrize(("was", "now"), [("sgd", "Schritte 1, 2"), ("blocks", "read me"), ("by hand", "byhand")])
def test_sheet_renamed(workbook: Workbook, tmp_path: Path, was: str, now: str) -> None:
    changed = openpyxl.load_workbook(workbook("small"))
    changed[was].title = now
    old = f"'{was}'" if " " in was else was
    formulas: Any = (c for sheet in changed for line in sheet.iter_rows() for c in line if c.data_type == "f")
    for cell in formulas:
        cell.value = str(cell.value).replace(f"{old}!", f"'{now}'!")
    for name in changed.defined_names.values():
        name.value = name.value.replace(f"{old}!", f"'{now}'!")
    changed.save(tmp_path / "renamed.xlsx")
    report = agrees(tmp_path / "renamed.xlsx")
    assert not any(row.rewritten for row in report.rows)
    assert any(row.moved for row in report.rows) == (was != "blocks")


def test_manifest_that_says_another_place_than_the_name(about_edited: AboutEdit) -> None:
    report = agrees(about_edited({("y_hat", "D"): "sgd!A1:A50"}))
    assert [row.moved for row in report.rows if row.moved] == ["moved here from sgd!A1:A50"]


# --- files of other programs ---------------------------------------------------------------------------------------


def test_note_added_by_openpyxl(workbook: Workbook, tmp_path: Path) -> None:
    changed = openpyxl.load_workbook(workbook("small"))
    changed["sgd"]["B4"].comment = Comment("why is it so small?", "a reader")
    changed.save(tmp_path / "noted.xlsx")
    agrees(tmp_path / "noted.xlsx")


@pytest.mark.parametrize("look", ["h:mm:ss", "yyyy-mm-dd", "0%", "@"])
def test_number_whatever_its_format(workbook: Workbook, tmp_path: Path, place_of: Place, look: str) -> None:
    sheet, address = place_of("small", "lr")
    changed = openpyxl.load_workbook(workbook("small"))
    changed[sheet][address].number_format = look
    changed.save(tmp_path / "formatted.xlsx")
    agrees(tmp_path / "formatted.xlsx")


def test_open_document(tmp_path: Path) -> None:
    path = tmp_path / "other.ods"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    assert "OpenDocument" in refused(path)


# --- small files that exhaust --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["sgd!A1:XFD1048576", "sgd!A1:XFD20000", "sgd!A1, 1000000 down every 1"])
def test_block_as_large_as_a_sheet(about_edited: AboutEdit, place: str) -> None:
    rows, columns = {"6": (1048576, 16384), "0": (20000, 16384), "1": (1000000, 1)}[place[-1]]
    refused_or_named(about_edited({("y_hat", "C"): f"{rows} x {columns}", ("y_hat", "D"): place}))


def test_row_beyond_every_sheet(workbook: Workbook, tmp_path: Path) -> None:
    def far(part: bytes) -> bytes:
        return part.replace(b"</sheetData>", b'<row r="99999999999"><c r="A99999999999"><v>1</v></c></row></sheetData>')

    assert "row 99999999999" in refused(
        repacked(workbook("small"), tmp_path / "far.xlsx", {"xl/worksheets/sheet3.xml": far})
    )


def test_part_that_nobody_needs_is_not_read(workbook: Workbook, tmp_path: Path) -> None:
    path = Path(shutil.copy(workbook("small"), tmp_path / "padded.xlsx"))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/media/x.bin", "w") as part:
        for _ in range(64):
            part.write(bytes(2**20))
    tracemalloc.start()
    agrees(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


def test_program_of_a_hundred_thousand_steps(edited: Edit, workbook: Workbook) -> None:
    path = edited("xor_mlp", {})
    changed = openpyxl.load_workbook(path)
    for line in changed["program"].iter_rows():
        for cell in line:
            if isinstance(cell.value, str) and '"which"' in cell.value:
                changed["program"][cell.coordinate] = re.sub(
                    r'"which": \[[^]]*\]', f'"which": {[0] * 6000}', cell.value
                )
    changed.save(path)
    assert "6,000 steps" in refused(path)


# --- lessons that are none of the catalogue ------------------------------------------------------------------------


def test_lesson_given_from_outside(about_edited: AboutEdit) -> None:
    mine = replace(lessons.find("linear_sgd"), name="mine")
    path = about_edited({(MADE, "C"): "mine"})
    assert sgdsheet.verify(path, lesson=mine).ok
    assert "'mine'" in refused(path)
    with pytest.raises(sgdsheet.Error, match="was made for the lesson 'mine', not for 'linear_sgd'"):
        sgdsheet.verify(path, lesson=lessons.find("linear_sgd"))


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing.xlsx")
    refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted"),
        (b"x,y\n1,2\n", "no .xlsx"),
        (b"%PDF-1.7", "no .xlsx"),
    ],
)
def test_file_that_is_no_xlsx(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "other.xlsx"
    path.write_bytes(content)
    assert said in refused(path)


def test_workbooks_by_others(tmp_path: Path) -> None:
    other = openpyxl.Workbook()
    path = tmp_path / "other.xlsx"
    other.save(path)
    assert "sgdsheet did not make it" in refused(path)
    sheet = other.active
    assert sheet is not None
    sheet.title = "about"
    other.save(path)
    refused(path)
    other.remove(sheet)
    other.create_sheet("data")
    other.create_chartsheet("about")
    other.save(path)
    refused(path)


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    refused(path)


@pytest.mark.parametrize(("name", "said"), [("libreofice", "'libreoffice'"), ("works", "ironcalc")])
def test_unknown_engine(workbook: Workbook, name: str, said: str) -> None:
    with pytest.raises(sgdsheet.Error, match=said):
        sgdsheet.verify(workbook("small"), name)
