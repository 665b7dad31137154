"""Each recurrence against torch.optim: as numbers, and as formulas on a sheet."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ironcalc
import numpy as np
import openpyxl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.formula.translate import Translator

from sgdsheet.errors import Error
from sgdsheet.eve import Eve
from sgdsheet.expr import Number, Ref, formula
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.tensor import previous

STEPS = 50
TOLERANCE = 1e-12
NOT_ELEMENTWISE = {"Adafactor", "LBFGS", "Muon", "SparseAdam"}
# How torch computes, not what; Adam's decoupled weight decay is AdamW.
NOT_MATHEMATICS = {"params", "foreach", "fused", "capturable", "differentiable"}


def grid(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


FLAG, DECAY, BETAS = (False, True), (0.0, 0.1), ((0.9, 0.999), (0.0, 0.6))
GRIDS = {
    "SGD": [
        given
        for given in grid(
            lr=(0.1,), momentum=(0.0, 0.9), dampening=(0.0, 0.5), weight_decay=DECAY, nesterov=FLAG, maximize=FLAG
        )
        if not given["nesterov"] or (given["momentum"] and not given["dampening"])
    ],
    "Adagrad": grid(
        lr=(0.1,), lr_decay=(0.0, 0.3), weight_decay=DECAY, initial_accumulator_value=(0.0, 0.5), maximize=FLAG
    ),
    "Adadelta": grid(rho=(0.9, 0.0, 1.0), weight_decay=DECAY, maximize=FLAG),
    "RMSprop": grid(
        alpha=(0.99, 0.9), momentum=(0.0, 0.9), weight_decay=DECAY, centered=FLAG, maximize=FLAG, eps=(1e-8, 1e-3)
    ),
    "Adam": grid(lr=(0.1,), betas=BETAS, weight_decay=DECAY, amsgrad=FLAG, maximize=FLAG),
    "AdamW": grid(lr=(0.1,), betas=BETAS, weight_decay=DECAY, amsgrad=FLAG, maximize=FLAG),
    "Adamax": grid(lr=(0.1,), betas=BETAS, weight_decay=DECAY, maximize=FLAG, eps=(1e-8, 1e-2)),
    "NAdam": grid(
        lr=(0.1,),
        betas=BETAS,
        weight_decay=DECAY,
        momentum_decay=(0.0, 4e-3),
        decoupled_weight_decay=FLAG,
        maximize=FLAG,
    ),
    "RAdam": grid(
        lr=(0.1,), betas=(*BETAS, (0.9, 0.9)), weight_decay=DECAY, decoupled_weight_decay=FLAG, maximize=FLAG
    ),
    "ASGD": grid(lr=(0.1,), lambd=(0.0, 1e-2), alpha=(0.0, 0.75), t0=(1e6, 3.0), weight_decay=DECAY, maximize=FLAG),
    "Rprop": grid(etas=((0.5, 1.2), (0.3, 2.0)), step_sizes=((1e-6, 50.0), (5e-3, 3e-2)), maximize=FLAG),
    "Eve": grid(
        lr=(0.1,), betas=((0.9, 0.999, 0.999), (0.0, 0.6, 0.0)), thresholds=((0.1, 10.0), (0.01, 0.5)), eps=(1e-8, 1e-3)
    ),
}
CONFIGURATIONS = [
    pytest.param(name, config, id=f"{name}-{number}")
    for name, configs in GRIDS.items()
    for number, config in enumerate(configs)
]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    # torch keeps ASGD's eta and mu and NAdam's mu_product in the default dtype, whatever the parameter's.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def draw_run(seed: int, steps: int, typed: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A start, gradients and losses. Columns: ordinary, often 0, turning at each step, tiny, large, constant."""
    rng = np.random.default_rng(seed)
    grads = rng.normal(size=(steps, 6))
    grads[:, 1] *= rng.random(steps) < 0.3
    grads[:, 2] = np.abs(grads[:, 2]) * (-1.0) ** np.arange(steps)
    grads[:, 3] *= 1e-12
    grads[:, 4] *= 1e4
    grads[:, 5] = rng.uniform(2, 4) * rng.choice([-1, 1])
    grads[: len(typed), 0] = typed
    # Small changes, large ones and ties.
    losses = np.exp(np.cumsum(rng.normal(size=steps) * rng.choice([0, 0.1, 3], size=steps)))
    # Far from where weight decay and gradient balance (0 where there is no gradient): there Adam and its like bounce to
    # and fro by the sign alone, and a difference in the last bit grows from step to step.
    return rng.uniform(6, 10, size=6) * rng.choice([-1, 1], size=6), grads, losses


def torch_class(name: str) -> Any:
    return Eve if name == "Eve" else getattr(torch.optim, name)


def run_torch(
    name: str, config: dict[str, Any], start: np.ndarray, grads: np.ndarray, losses: np.ndarray, lrs: Any = None
) -> list[dict[str, np.ndarray]]:
    """The parameter (`new_param`) and every state of the torch optimiser after each step."""
    param = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch_class(name)([param], **config)
    history = []
    for step, (grad, loss) in enumerate(zip(grads, losses, strict=True)):
        param.grad = torch.tensor(grad)
        if lrs is not None:
            optimizer.param_groups[0]["lr"] = float(lrs[step])
        optimizer.step(lambda loss=loss: torch.tensor(loss))
        state = {key: value for key, value in optimizer.state[param].items() if key != "step" and value is not None}
        values = {"new_param": param.detach()} | state
        history.append({key: torch.as_tensor(value).numpy().copy() for key, value in values.items()})
    return history


def run_here(
    name: str,
    config: dict[str, Any],
    start: np.ndarray,
    grads: np.ndarray,
    losses: np.ndarray,
    lrs: Any = None,
    place: Any = lambda name, array, words: array,
) -> list[dict[str, np.ndarray]]:
    """The same by the recurrence, with numbers."""
    optimizer = OPTIMIZERS[name]
    param, state = start, optimizer.init(**config)
    history = []
    for step, (grad, loss) in enumerate(zip(grads, losses, strict=True)):
        extra = {"loss": loss} if name == "Eve" else {}
        if lrs is not None:
            extra["lr"] = lrs[step]
        param, state = optimizer.step(place, param, grad, state, **{**config, **extra}, step=step + 1)
        history.append({"new_param": param, **state})
    return history


def assert_agree(here: list[dict[str, Any]], there: list[dict[str, np.ndarray]]) -> None:
    assert [values.keys() for values in here] == [values.keys() for values in there]
    for key in there[0]:
        got, expected = (np.array([values[key] for values in history], dtype=np.float64) for history in (here, there))
        assert np.isfinite(expected).all(), key
        # Each parameter by itself: a large one must not hide a small one.
        tolerance = TOLERANCE * np.maximum(1, np.abs(expected).max(axis=0))
        assert (np.abs(got - expected) <= tolerance).all(), f"{key} differs by {np.abs(got - expected).max()}"


@pytest.mark.parametrize(("name", "config"), CONFIGURATIONS)
def test_numbers_agree_with_torch(name: str, config: dict[str, Any]) -> None:
    @settings(max_examples=5, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), typed=st.lists(st.floats(-1e6, 1e6), max_size=6))
    def check(seed: int, typed: list[float]) -> None:
        run = draw_run(seed, STEPS, typed)
        assert_agree(run_here(name, config, *run), run_torch(name, config, *run))

    check()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rate_of_each_step(name: str) -> None:
    run, lrs = draw_run(1, STEPS), np.linspace(0.1, 0.01, STEPS)
    config = OPTIMIZERS[name].defaults() | {"lr": 0.1}
    assert_agree(run_here(name, config, *run, lrs), run_torch(name, config, *run, lrs))


def on_sheet(
    path: Path,
    name: str,
    config: dict[str, Any],
    run: tuple[np.ndarray, np.ndarray, np.ndarray],
    as_references: bool,
) -> tuple[list[dict[str, np.ndarray]], dict[str, list[Any]]]:
    """The recurrence as formulas, calculated by IronCalc: its history, and the formulas of the first parameter."""
    optimizer, (start, grads, losses) = OPTIMIZERS[name], run
    steps, width = grads.shape
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "t"
    first, column = 4, itertools.count(1)  # hyperparameters in row 1, states before step 1 in row 3

    def cells(columns: int) -> np.ndarray:
        numbers = [next(column) for _ in range(columns)]
        return np.array([[Ref("t", first + row, number) for number in numbers] for row in range(steps)], dtype=object)

    def write(references: Any, values: Any) -> None:
        for ref, value in np.broadcast(references, np.asarray(values, dtype=object)):
            sheet.cell(ref.row, ref.column, value if isinstance(value, float) else formula(value, "t"))

    def known(references: np.ndarray, values: Any) -> np.ndarray:
        write(references, np.asarray(values, dtype=np.float64).reshape(steps, -1).astype(object))
        return references

    def reference(value: float) -> Any:
        ref = Ref("t", 1, next(column), absolute=True)
        sheet.cell(ref.row, ref.column, value)
        return ref

    def before(references: np.ndarray, value: Any) -> np.ndarray:
        heads = np.array([Ref("t", first - 1, ref.column) for ref in references[0]], dtype=object)
        write(heads, value if isinstance(value, np.ndarray) else np.array([value], dtype=object))
        return previous(references, heads)

    given_ = dict(config)
    if as_references:
        for key, value in config.items():
            if isinstance(value, tuple):
                given_[key] = tuple(reference(each) for each in value)
            elif not isinstance(value, bool) and not (key == "dampening" and config["nesterov"]):
                given_[key] = reference(value)
    if name == "Eve":
        given_["loss"] = known(cells(1), losses)
    step, grad = known(cells(1), np.arange(steps) + 1.0), known(cells(width), grads)
    initial = optimizer.init(**{key: value for key, value in given_.items() if key != "loss"})
    places = {key: cells(1 if key in optimizer.scalars else width) for key in initial}
    places["new_param"] = cells(width)
    state = {key: before(places[key], value) for key, value in initial.items()}
    param = before(places["new_param"], start.astype(object))
    placed: list[str] = []

    def place(key: str, array: Any, words: str) -> np.ndarray:
        assert key not in placed
        placed.append(key)
        assert array.shape in ((steps, 1), (steps, width)), key
        references = places.setdefault(key, cells(array.shape[1]) if key not in places else places[key])
        assert references.shape == array.shape, key
        write(references, array)
        return references

    new_param, new_state = optimizer.step(place, param, grad, state, **given_, step=step)
    assert new_param is places["new_param"]
    assert new_state.keys() == initial.keys()
    book.save(path)
    model = ironcalc.load_from_xlsx(str(path), "en", "UTC", "en")
    model.evaluate()
    values = {
        key: [[model.get_cell_value(0, ref.row, ref.column) for ref in row] for row in places[key]] for key in placed
    }
    for key, rows in values.items():
        assert all(isinstance(value, float) for row in rows for value in row), (key, rows)
    history = []
    for row in range(steps):
        blocks = {key: np.array(values[key][row]) for key in ("new_param", *initial)}
        history.append({key: value[0] if key in optimizer.scalars else value for key, value in blocks.items()})
    formulas = {key: [sheet.cell(ref.row, ref.column).value for ref in places[key][:, 0]] for key in placed}
    return history, formulas


@pytest.mark.parametrize("as_references", [True, False], ids=["references", "numbers"])
@pytest.mark.parametrize(("name", "config"), CONFIGURATIONS)
def test_formulas_agree_with_torch(name: str, config: dict[str, Any], as_references: bool, tmp_path: Path) -> None:
    run = draw_run(2, 9)
    here, formulas = on_sheet(tmp_path / "t.xlsx", name, config, run, as_references)
    there = run_torch(name, config, *run)
    if as_references:
        # A momentum of 0 in a cell leaves the buffer on the sheet; torch then has none.
        extra = here[0].keys() - there[0].keys()
        assert extra <= {"momentum_buffer"}
        here = [{key: value for key, value in values.items() if key not in extra} for values in here]
    assert_agree(here, there)
    for key, column in formulas.items():
        # Every row has the same formula, also the first, so that a reader can copy one down.
        for above, below in itertools.pairwise(column):
            assert Translator(above, "A1").translate_formula("A2") == below, key


def test_learning_rate_of_each_step_on_a_sheet() -> None:
    placed = {}
    lr = np.array([[Ref("t", row, 1)] for row in (4, 5)], dtype=object)
    grad = np.array([[Ref("t", row, 2)] for row in (4, 5)], dtype=object)

    def place(name: str, array: Any, words: str) -> Any:
        placed[name] = [formula(value, "t") for value in array.ravel()]
        return array

    OPTIMIZERS["SGD"].step(place, 0 * grad, grad, {}, step=grad, lr=lr)
    assert placed == {"new_param": ["=(-A4)*B4", "=(-A5)*B5"]}
    assert OPTIMIZERS["Rprop"].init(lr=lr)["step_size"] is lr[0, 0]


@pytest.mark.parametrize(("name", "config"), CONFIGURATIONS)
def test_words_say_what_is_computed(name: str, config: dict[str, Any]) -> None:
    config = OPTIMIZERS[name].defaults() | config
    run = draw_run(3, 8)
    names: dict[str, Any] = {
        "sqrt": np.sqrt,
        "max": np.maximum,
        "min": np.minimum,
        "sign": np.sign,
        "abs": np.abs,
    } | config
    names |= {f"beta{number}": beta for number, beta in enumerate(config.get("betas", ()), 1)}
    names |= OPTIMIZERS[name].init(**config)
    history: list[dict[str, Any]] = []

    def place(key: str, array: Any, words: str) -> Any:
        if not re.search(r";| where | or ", words):  # those have a case in prose
            expected = eval(words.replace("^", "**"), names)
            np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-12, err_msg=f"{key}: {words}")
            history.append({key: array})
        names[key] = array
        return array

    start, grads, losses = run
    param, state = start, OPTIMIZERS[name].init(**config)
    for step, (grad, loss) in enumerate(zip(grads, losses, strict=True), 1):
        names |= {"param": param, "grad": grad, "step": step, "loss": loss}
        extra = {"loss": loss} if name == "Eve" else {}
        param, state = OPTIMIZERS[name].step(place, param, grad, state, **config, **extra, step=step)
    assert {"new_param"} <= {key for each in history for key in each}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hyperparameters_are_those_of_torch(name: str) -> None:
    signature = inspect.signature(torch_class(name)).parameters
    torch_has = {key: each.default for key, each in signature.items() if key not in NOT_MATHEMATICS}
    if name == "Adam":
        assert not torch_has.pop("decoupled_weight_decay", False)
    assert OPTIMIZERS[name].defaults() == torch_has


def test_every_dense_elementwise_optimizer_is_here() -> None:
    has = {
        name
        for name, each in vars(torch.optim).items()
        if inspect.isclass(each) and issubclass(each, torch.optim.Optimizer)
    }
    assert has - {"Optimizer"} - NOT_ELEMENTWISE == OPTIMIZERS.keys() - {"Eve"}
    assert all(
        name == each.name and each.summary.endswith(".") and each.source.endswith(".")
        for name, each in OPTIMIZERS.items()
    )


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"momentum": 0}, {"momentum": 0.9, "dampening": 0.5}):
        with pytest.raises(Error, match="nesterov takes a momentum and no dampening"):
            OPTIMIZERS["SGD"].step(lambda *_: None, 1.0, 1.0, {}, step=1, nesterov=True, **wrong)
    with pytest.raises(TypeError, match="Adam has no momentum; it has lr, betas"):
        OPTIMIZERS["Adam"].init(momentum=0.9)


def test_only_the_number_zero_leaves_formulas_out() -> None:
    assert OPTIMIZERS["SGD"].init(momentum=0) == {}
    assert OPTIMIZERS["SGD"].init(momentum=Number(0)) == {"momentum_buffer": 0.0}
    placed: list[str] = []

    def place(name: str, array: Any, words: str) -> Any:
        placed.append(name)
        return array

    state = {"momentum_buffer": np.zeros(1)}
    one = np.array([Ref("t", 1, 1)], dtype=object)
    OPTIMIZERS["SGD"].step(place, one, one, state, step=1, momentum=Number(0), weight_decay=Number(0))
    assert placed == ["decayed_grad", "momentum_buffer", "new_param"]


LOSSES = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=30)


def run_eve(losses: list[float], **hyperparameters: Any) -> list[dict[str, np.ndarray]]:
    start, grads, _ = draw_run(4, len(losses))
    return run_torch("Eve", hyperparameters, start, grads, np.array(losses))


@settings(max_examples=20, deadline=None)
@given(LOSSES)
def test_eve_without_feedback_is_adam(losses: list[float]) -> None:
    eve = run_eve(losses, lr=0.1, betas=(0.9, 0.999, 1.0))
    start, grads, _ = draw_run(4, len(losses))
    adam = run_torch("Adam", {"lr": 0.1}, start, grads, np.array(losses))
    assert_agree([{key: step[key] for key in adam[0]} for step in eve], adam)


@settings(max_examples=20, deadline=None)
@given(LOSSES)
def test_eve_sees_only_the_loss_relative_to_itself(losses: list[float]) -> None:
    # A factor of 2^k rounds nothing, so that even ties stay ties.
    for here, there in zip(run_eve(losses), run_eve([4 * loss for loss in losses]), strict=True):
        assert here["d"] == there["d"]
        assert (here["new_param"] == there["new_param"]).all()


def test_eve_takes_a_still_loss_for_the_smallest_change() -> None:
    # f_hat cannot stand still: it goes up by k and back again, so that d tends to k.
    d = [step["d"] for step in run_eve([2.5] * STEPS, betas=(0.9, 0.999, 0.5))]
    expected = [0.1 + 0.9 * 0.5**step for step in range(STEPS)]
    assert np.allclose(d, expected, rtol=1e-12, atol=0)


def test_eve_by_hand() -> None:
    # Three steps worked out on paper: the loss halves (r = 1), then grows a hundredfold, which counts as elevenfold.
    steps = run_eve([8.0, 4.0, 400.0], betas=(0.9, 0.999, 0.75))
    assert [float(step["f_hat"]) for step in steps] == [8, 4, 44]
    assert [float(step["d"]) for step in steps] == [1, 1, 0.75 + 0.25 * 10]


def placed_by(name: str, config: dict[str, Any], steps: int, key: str) -> list[float]:
    shown: list[float] = []

    def place(placed: str, array: Any, words: str) -> Any:
        if placed == key:
            shown.append(float(array))
        return array

    run_here(name, config, *draw_run(5, steps), place=place)
    return shown


def test_what_is_shown_before_there_is_a_past() -> None:
    # With beta2 = 0.999, rho_t is 4.99 at step 5 and 5.99 at step 6.
    rect = placed_by("RAdam", {}, 7, "rect")
    assert rect[:5] == [1] * 5
    assert 0 < rect[5] < rect[6] < 0.1
    assert placed_by("Eve", {}, 1, "change") == [1]
    assert placed_by("Eve", {}, 1, "r") == [0]
    assert placed_by("SGD", {"momentum": 0.9, "dampening": 0.5}, 2, "grad_weight") == [1, 0.5]


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "Eve"])
def test_what_may_be_typed_is_what_torch_takes(name: str) -> None:
    optimizer = OPTIMIZERS[name]
    for argument, default in optimizer.defaults().items():
        if not isinstance(default, (bool, tuple)):
            _, limits = optimizer.meaning(argument)
            param = torch.nn.Parameter(torch.zeros(1))
            if "minimum" in limits:
                torch_class(name)([param], **{argument: limits["minimum"]})
    if "betas" in optimizer.defaults():
        assert [optimizer.meaning(part)[1] for part in ("beta1", "beta2")] == [{"minimum": 0, "below": 1}] * 2
    assert optimizer.meaning("lr")[1] == optimizer.meaning("eps")[1] == {"minimum": 0}
