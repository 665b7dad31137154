"""Every optimiser on the same data from the same start, each on a sheet with all its state; and their race."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import NUMBER, WHOLE, Book, Input, Series, Sheet, Typed, scatter
from sgdsheet.hyperparameters import MEANINGS, OF_ONE, arguments, parts
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.lessons.schedules import cosine, one_cycle
from sgdsheet.optim import OPTIMIZERS as RECURRENCES
from sgdsheet.tensor import previous

EPOCHS = 6
PARTS = ("intercept", "slope")
SMALL = "0.000000"
FAR = 1e300  # stands for the mean squared gradient of an epoch that diverged beyond all numbers
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle", "anneal")


@dataclass(frozen=True)
class Entry:
    """One sheet: an optimiser with the flags that decide its formulas, and its starting hyperparameters.

    Hyperparameters that are not in `start` begin with torch's defaults; those in `without` keep them and have no cell.
    """

    name: str
    optimizer: str
    family: str
    lr: float
    flags: dict[str, bool] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    without: tuple[str, ...] = ()


ENTRIES = (
    Entry("SGD", "SGD", "steps along the gradient", 0.03, without=("momentum", "dampening")),
    Entry("Momentum", "SGD", "steps along the gradient", 0.03, start={"momentum": 0.9}),
    Entry(
        "Nesterov",
        "SGD",
        "steps along the gradient",
        0.03,
        flags={"nesterov": True},
        start={"momentum": 0.9},
        without=("dampening",),
    ),
    Entry("ASGD", "ASGD", "steps along the gradient", 0.03),
    Entry("Rprop", "Rprop", "steps along the gradient", 0.02),
    Entry("Adagrad", "Adagrad", "steps scaled by past gradients", 0.7),
    Entry("Adadelta", "Adadelta", "steps scaled by past gradients", 20.0),
    Entry("RMSprop", "RMSprop", "steps scaled by past gradients", 0.03),
    Entry("RMSpropCentered", "RMSprop", "steps scaled by past gradients", 0.03, flags={"centered": True}),
    Entry("Adam", "Adam", "Adam and its relatives", 0.1),
    Entry("AdamW", "AdamW", "Adam and its relatives", 0.1),
    Entry("AMSGrad", "Adam", "Adam and its relatives", 0.1, flags={"amsgrad": True}),
    Entry("Adamax", "Adamax", "Adam and its relatives", 0.1),
    Entry("NAdam", "NAdam", "Adam and its relatives", 0.1),
    Entry("RAdam", "RAdam", "Adam and its relatives", 0.1),
    Entry("Eve", "Eve", "Adam and its relatives", 0.1),
)

# What the same word means, or allows, on one sheet only.
SPECIAL: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("ASGD", "alpha"): OF_ONE["ASGD", "alpha"],
    ("Nesterov", "momentum"): ("how much of the last step is kept", {"above": 0}),
}


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `setup`, `race`, and one for each optimiser."""
    check_columns(data, 1_000_000 // EPOCHS, "optimizers")
    points = len(data["data_x"])
    book = Book(
        "optimizers",
        "Optimisers, step by step",
        [
            "Sixteen ways to go downhill, each on a sheet of its own, all with the same points and the same start. A "
            "row is one step: the point, the parameters, the loss, the gradient, what the optimiser remembers, and the "
            "new parameters, which begin the next row.",
            f"Each run goes {EPOCHS} times over {points} points, one point a step. Names are torch's: put a sheet "
            "beside the page of torch.optim and you find the same words.",
        ],
        [
            "On 'race', see who is fastest. Then give the slow ones another learning rate on their own sheets.",
            "On 'Momentum', set momentum to 0, to 0.5, to 0.99: from plain SGD to a ball that rolls past the bottom.",
            "On 'Adam', look at bias_correction1: without it the first steps would be ten times too small. Make beta1 "
            "smaller and see how it matters less.",
            "On 'setup', choose another schedule: all learning rates follow it. 'anneal' halves a learning rate "
            "whenever the mean squared gradient of an epoch is no longer the smallest so far.",
            "Change a point on 'setup' to an outlier: which optimisers are thrown off, and which shrug?",
        ],
        INPUTS,
        values,
    )
    setup = _setup_sheet(book, data)
    race = book.sheet(
        "race",
        "The race",
        "The mean loss over all points before each step, and the way of the parameters. Each learning rate is on the "
        "optimiser's own sheet.",
    )
    runs = {entry.name: _optimizer_sheet(book, entry, setup) for entry in ENTRIES}
    _race_sheet(race, runs, setup)
    return book


def _setup_sheet(book: Book, data: Values) -> dict[str, Any]:
    sheet = book.sheet(
        "setup",
        "What all share: the start, the schedule, the points",
        "The schedule says by what each optimiser's own learning rate is multiplied at each step.",
        "torch.optim.lr_scheduler: step is StepLR, exponential ExponentialLR, cosine CosineAnnealingLR, one-cycle "
        "OneCycleLR (momentum left alone), anneal ReduceLROnPlateau with patience 0.",
    )
    start = sheet.inputs(sheet.next_row, 1, ("start_intercept", "start_slope"))
    schedule, step_size, step_gamma, gamma, pct_start, div, final_div, anneal = sheet.inputs(
        sheet.next_row, 1, [spec.name for spec in SCHEDULE_INPUTS]
    )
    top = sheet.next_row
    table = sheet.table(top, 1, len(data["data_x"]))
    points = {
        name: table.column(name, "data", [Typed(v) for v in data[name]], words=words, torch=torch, absolute=True)
        for name, words, torch in (("data_x", "what is known", "x"), ("data_y", "what to predict", "y"))
    }
    sheet.width(1, 20)
    total = len(data["data_x"]) * EPOCHS
    table = sheet.table(top, 4, total)
    column = table.column
    step = column("step", "check", words="counts the steps", number_format=WHOLE)
    table.fill("step", previous(step + 1, 1), WHOLE)
    epoch = tensor.floor((step - 1) / len(data["data_x"])) + 1
    epoch = column("epoch", "check", epoch, words="passes over the data", number_format=WHOLE)
    whole = tensor.floor((epoch - 1) / step_size)
    factors = {
        "step": column("factor_step", "check", step_gamma**whole, words="step_gamma ^ whole step_sizes so far"),
        "exponential": column(
            "factor_exponential", "check", gamma ** (epoch - 1), words="gamma ^ (epoch - 1)", width=17
        ),
        "cosine": column(
            "factor_cosine", "check", cosine(1, 0, (step - 1) / total), words="half a cosine from 1 down to 0"
        ),
    }
    factors["one-cycle"] = column(
        "factor_one_cycle",
        "check",
        one_cycle(step, total, pct_start, (1 / div, 1, 1 / div / final_div)),
        words="up from 1/div_factor, then down",
        width=16,
    )
    chosen: Any = np.broadcast_to(np.array(1, dtype=object), step.shape)
    for name, factor in factors.items():
        chosen = tensor.where(tensor.equal(schedule, name), factor, chosen)
    chosen = column("factor", "check", chosen, words="the one that was chosen; 1 for constant and anneal")
    sheet.freeze(table.first, 1)
    sheet.repeat_rows(table.head, table.first - 1)
    curves = [Series(name, step, factor) for name, factor in factors.items()]
    chart = scatter("What the schedule makes of the learning rate", "step", "factor", curves, height=10)
    sheet.chart(top, 12, chart)
    return {**points, "start": start, "step": step, "factor": chosen, "schedule": schedule, "anneal": anneal}


def _optimizer_sheet(book: Book, entry: Entry, setup: dict[str, Any]) -> dict[str, Any]:
    optimizer = RECURRENCES[entry.optimizer]
    flags = "".join(f" with {flag}=True" for flag in entry.flags)
    maker = "sgdsheet.eve.Eve" if entry.optimizer == "Eve" else f"torch.optim.{entry.optimizer}"
    sheet = book.sheet(entry.name, f"{entry.name}: {maker}{flags}", optimizer.summary, optimizer.source)
    labels = list(hyperparameters(entry))
    names = [f"{entry.name}_{label}" for label in labels]
    cells = dict(zip(labels, sheet.inputs(sheet.next_row, 1, names, labels=labels), strict=True))
    points, total = len(setup["data_x"]), len(setup["step"])
    table = sheet.table(sheet.next_row, 1, total, PARTS)

    def column(block: str, array: Any, role: str, words: str, torch: str = "", digits: str = NUMBER) -> Any:
        """The next column, as an array with a row for each step."""
        name, flat = f"{entry.name}_{block}", np.reshape(array, -1)
        made = table.column(name, role, flat, words=words, torch=torch, title=block, number_format=digits)
        return made.reshape(-1, 1)

    step = column("step", setup["step"], "check", "counts the steps", digits=WHOLE)
    x = column("x", np.tile(setup["data_x"], EPOCHS), "data", "the point's x", "x")
    y = column("y", np.tile(setup["data_y"], EPOCHS), "data", "the point's y", "y")
    names = {block: f"{entry.name}_{block}" for block in ("lr_now", "param", "grad")}
    words = "lr * the schedule's factor"
    lr = table.column(names["lr_now"], "check", words=words, torch="group['lr']", title="lr_now").reshape(-1, 1)
    words = "the new_param of the row above"
    param = table.columns(names["param"], "parameter", words=words, torch="param", title="param")
    error = param[:, 1:] * x + param[:, :1] - y
    loss = column("loss", error**2, "loss", "(slope * x + intercept - y)^2", "loss")
    grad = table.columns(
        names["grad"], "gradient", words="2 * (y_hat - y), and the same * x", torch="param.grad", title="grad"
    )
    table.fill(names["grad"], np.concatenate([2 * error, 2 * x * error], axis=1))

    start = optimizer.init(**arguments(cells) | entry.flags | {"lr": lr[0, 0]})
    placed = {}
    for block, (wide, words) in _columns(entry).items():
        role = "optimiser state" if block in start else "parameter" if block == "new_param" else "activation"
        torch = f"state['{block}']" if block in start else "param, after the step" if block == "new_param" else ""
        make = table.columns if wide else table.column
        placed[block] = make(f"{entry.name}_{block}", role, words=words, torch=torch, title=block).reshape(total, -1)

    def place(block: str, array: Any, _: str) -> Any:
        table.fill(f"{entry.name}_{block}", np.reshape(array, book.blocks[f"{entry.name}_{block}"].shape))
        return placed[block]

    new_param, _ = optimizer.step(
        place,
        param,
        grad,
        {block: previous(placed[block], first) for block, first in start.items()},
        step=step,
        **arguments(cells) | {"lr": lr},
        **entry.flags,
        **({"loss": loss} if entry.optimizer == "Eve" else {}),
    )
    table.fill(names["param"], previous(new_param, np.array(setup["start"], dtype=object)))
    full = [tensor.mean((p[1] * setup["data_x"] + p[0] - setup["data_y"]) ** 2) for p in param]
    mean_loss = column("mean_loss", np.array(full, dtype=object), "loss", "mean loss over all points")
    factor = _anneal_columns(table, entry.name, step, grad, points, setup["anneal"])
    now = tensor.where(tensor.equal(setup["schedule"], "anneal"), factor, setup["factor"])
    table.fill(names["lr_now"], cells["lr"] * now, SMALL)
    sheet.width(1, 26)
    sheet.freeze(table.first, 2)
    sheet.repeat_rows(table.head, table.first - 1)
    return {"step": step, "param": param, "mean_loss": mean_loss, "new_param": new_param}


def _columns(entry: Entry) -> dict[str, tuple[bool, str]]:
    """The columns that the recurrence places, in its order: whether there is one for each part, and their words.

    A run on two numbers tells. Its hyperparameters are arrays, so that a 0 leaves no formula out: the sheet has all.
    """
    columns: dict[str, tuple[bool, str]] = {}

    def note(block: str, array: Any, words: str) -> Any:
        columns[block] = (np.size(array) > 1, words)
        return array

    optimizer = RECURRENCES[entry.optimizer]
    given = arguments({name: np.array(value) for name, value in hyperparameters(entry).items()})
    ones = np.ones(len(PARTS))
    start = optimizer.init(**given, **entry.flags)
    state = {block: 1.0 if block in optimizer.scalars else ones for block in start}
    with np.errstate(all="ignore"):
        loss = {"loss": 1.0} if entry.optimizer == "Eve" else {}
        optimizer.step(note, ones, ones, state, step=2.0, **given, **entry.flags, **loss)
    return columns


def _anneal_columns(table: Any, sheet: str, step: Any, grad: Any, points: int, rate: Any) -> Any:
    """The factor of the schedule `anneal`: smaller after each epoch whose mean squared gradient was not the best."""
    begins = tensor.equal(tensor.mod(step[:, 0] - 1, points), 0)
    total = table.column(
        f"{sheet}_sum_sq_grad",
        "check",
        words="mean square of both gradients, added up within the epoch",
        title="sum_sq_grad",
    )
    squares = (grad[:, 0] ** 2 + grad[:, 1] ** 2) / 2
    table.fill(f"{sheet}_sum_sq_grad", tensor.where(begins, 0, previous(total, 0)) + squares)
    best = table.column(
        f"{sheet}_best_sq_grad",
        "check",
        words="the smallest epoch's mean so far; 0 in the first epoch",
        title="best_sq_grad",
    )
    factor = table.column(
        f"{sheet}_anneal_factor",
        "check",
        words="* anneal_rate after an epoch that was no better",
        title="anneal_factor",
    )
    mean = tensor.finite_or(previous(total, 0) / points, FAR)
    before, second = previous(best, 0), points + 1  # the second epoch's first step
    smaller = tensor.where(tensor.equal(step[:, 0], second), mean, tensor.minimum(mean, before))
    now = tensor.where(begins, smaller, before)
    worse = tensor.both(tensor.greater(step[:, 0], second), tensor.greater_equal(mean, before))
    shrunk = tensor.where(tensor.both(begins, worse), rate, 1)
    table.fill(f"{sheet}_best_sq_grad", now)
    table.fill(f"{sheet}_anneal_factor", previous(factor, 1) * shrunk)
    return factor


def _race_sheet(sheet: Sheet, runs: dict[str, dict[str, Any]], setup: dict[str, Any]) -> None:
    top = sheet.next_row
    names = list(runs)
    table = sheet.table(top, 2, len(names), PARTS)
    sheet.width(1, 20)
    sheet.width(2, 13, 24)
    for offset, entry in enumerate(names):
        sheet.write(table.first + offset, 1, entry)
    last = np.array([run["new_param"][-1] for run in runs.values()], dtype=object)
    last = table.column("race_param", "parameter", last, words="after the last step", torch="param", title="param")
    x, y = setup["data_x"], setup["data_y"]
    final = [tensor.mean((slope * x + intercept - y) ** 2) for intercept, slope in last]
    table.column("race_loss", "loss", final, words="mean loss over all points, after the last step", title="mean loss")
    everyone = list(range(len(names)))
    groups = {"all optimisers": everyone}
    for position, entry in enumerate(ENTRIES):
        groups.setdefault(entry.family, []).append(position)
    for position, (title, members) in enumerate(groups.items()):
        big = position == 0
        row = top if big else top + 36 + (position - 1) * 21
        width, height = (22, 17) if big else (19, 10)
        losses, ways = [], []
        for member in members:
            run, color = runs[names[member]], member if big else members.index(member)
            losses.append(Series(names[member], run["step"], run["mean_loss"], color=color, width=1.5))
            ways.append(Series(names[member], run["param"][:, 0], run["param"][:, 1], color=color, width=1.5))
        left = 6 if big else 2
        loss_chart = scatter(
            f"Mean loss: {title}", "step", "mean loss (powers of ten)", losses, width=width, height=height, log=True
        )
        way_chart = scatter(
            f"The way of the parameters: {title}", "intercept", "slope", ways, width=width, height=height
        )
        sheet.chart(row, left, loss_chart)
        sheet.chart(row, left + (9 if big else 8), way_chart)


def hyperparameters(entry: Entry) -> dict[str, float]:
    """The numbers that the entry's sheet has a cell for, with their starting values; tuples are taken apart."""
    defaults = RECURRENCES[entry.optimizer].defaults() | {"lr": entry.lr} | entry.start
    return {
        part: value
        for name, default in defaults.items()
        if not isinstance(default, bool) and name not in entry.without
        for part, value in parts(name, default)
    }


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file.

    Parameters, losses, gradients, states and learning rates come from `torch.optim` and its schedulers (Eve from
    `sgdsheet.eve`). What lies between and torch does not show, such as a bias correction, is computed by numpy from
    torch's values of the same step.
    """
    import torch
    from torch.nn.functional import mse_loss

    x, y = (torch.as_tensor(values[name], dtype=torch.float64) for name in ("data_x", "data_y"))
    total = len(x) * EPOCHS
    step = np.arange(1.0, total + 1)
    blocks: dict[str, Any] = {name: value for name, value in values.items() if not isinstance(value, str)}
    blocks |= {"step": step, "epoch": (step - 1) // len(x) + 1}
    for schedule in SCHEDULES[1:5]:
        blocks[f"factor_{schedule.replace('-', '_')}"] = _factors(schedule, values, len(x))
    chosen = values["schedule"]
    blocks["factor"] = blocks.get(f"factor_{chosen.replace('-', '_')}", np.ones(total))
    final, last = [], []
    for entry in ENTRIES:
        run = _run(entry, values, x, y)
        param = torch.tensor(run["new_param"][-1], dtype=torch.float64)
        last.append(run["new_param"][-1])
        final.append(float(mse_loss(param[1] * x + param[0], y)))
        blocks |= {f"{entry.name}_{name}": np.array(column) for name, column in run.items()}
    blocks |= {"race_param": np.array(last), "race_loss": np.array(final)}
    return {name: np.asarray(block, dtype=np.float64) for name, block in blocks.items()}


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """RAdam's rho_t is the difference of rho_inf and a number that is nearly as large."""
    return {"RAdam_rho_t": blocks["RAdam_rho_inf"]}


def _run(entry: Entry, values: Values, x: Any, y: Any) -> dict[str, list[Any]]:
    """One optimiser's sheet: a list for each column, an item a step."""
    import torch
    from torch.nn.functional import mse_loss

    from sgdsheet.eve import Eve

    recurrence = RECURRENCES[entry.optimizer]
    given = {name: float(values[f"{entry.name}_{name}"]) for name in hyperparameters(entry)}
    param = torch.tensor([values["start_intercept"], values["start_slope"]], dtype=torch.float64, requires_grad=True)
    make: Any = Eve if entry.optimizer == "Eve" else getattr(torch.optim, entry.optimizer)
    optimizer = make([param], **arguments(given), **entry.flags)
    schedule = values["schedule"]
    scheduler, every = _scheduler(schedule, optimizer, values, len(x))
    # As arrays, so that a 0 leaves no formula out: a sheet has them all.
    arrays = {**arguments({name: np.array(value) for name, value in given.items()}), **entry.flags}
    state = recurrence.init(**arrays | {"lr": optimizer.param_groups[0]["lr"]})
    run: dict[str, list[Any]] = {}
    squares, mean, best, factor = 0.0, 0.0, 0.0, 1.0
    for number in range(len(x) * EPOCHS):
        point = number % len(x)
        before, lr = param.detach().clone().numpy(), float(optimizer.param_groups[0]["lr"])
        mean_loss = float(mse_loss(param.detach()[1] * x + param.detach()[0], y))

        def closure(point: int = point) -> Any:
            optimizer.zero_grad()
            loss = mse_loss(param[1] * x[point] + param[0], y[point])
            loss.backward()
            return loss

        loss = float(optimizer.step(closure).detach())
        assert param.grad is not None
        grad = param.grad.clone().numpy()
        row: dict[str, Any] = {}

        def record(name: str, array: Any, words: str, row: dict[str, Any] = row) -> Any:
            row[name] = array
            return array

        extra = {"loss": loss} if entry.optimizer == "Eve" else {}
        with np.errstate(all="ignore"):
            recurrence.step(record, before, grad, state, step=number + 1.0, **arrays | {"lr": lr}, **extra)
        state = {
            name: torch.as_tensor(optimizer.state[param].get(name, row.get(name))).numpy().copy() for name in state
        }
        squares = (0.0 if point == 0 else squares) + float((grad**2).mean())
        row |= state
        row |= {"step": number + 1, "x": float(x[point]), "y": float(y[point]), "lr_now": lr, "param": before}
        row |= {"loss": loss, "grad": grad, "mean_loss": mean_loss, "new_param": param.detach().clone().numpy()}
        row |= {"sum_sq_grad": squares, "best_sq_grad": best, "anneal_factor": factor}
        for name, value in row.items():
            run.setdefault(name, []).append(value)
        if point == len(x) - 1:
            mean = squares / len(x) if np.isfinite(squares) else FAR
            worse = number >= len(x) and mean >= best
            best = min(best, mean) if number >= len(x) else mean
            factor *= float(values["anneal_rate"]) if worse else 1
        if scheduler is not None and (number + 1) % every == 0 and number + 1 < len(x) * EPOCHS:
            scheduler.step(mean) if schedule == "anneal" else scheduler.step()
    return run


def _scheduler(schedule: str, optimizer: Any, values: Values, points: int) -> tuple[Any, int]:
    """torch's scheduler for this choice, and after how many updates it is to be stepped."""
    from torch.optim import lr_scheduler

    lr, total = float(optimizer.param_groups[0]["lr"]), points * EPOCHS
    if schedule == "step":
        return lr_scheduler.StepLR(optimizer, int(values["step_size"]), float(values["step_gamma"])), points
    if schedule == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, float(values["exponential_gamma"])), points
    if schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=total), 1
    if schedule == "one-cycle":
        made = lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=lr,
            total_steps=total,
            pct_start=float(values["pct_start"]),
            cycle_momentum=False,
            div_factor=float(values["div_factor"]),
            final_div_factor=float(values["final_div_factor"]),
        )
        return made, 1
    if schedule == "anneal":
        rate = float(values["anneal_rate"])
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=rate, patience=0, threshold=0, eps=0), points
    return None, 1


def _factors(schedule: str, values: Values, points: int) -> np.ndarray:
    """What torch's scheduler makes of a learning rate of 1, step by step."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, every = _scheduler(schedule, optimizer, values, points)
    factors = []
    for number in range(1, points * EPOCHS + 1):
        factors.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if number % every == 0 and number < points * EPOCHS:
            scheduler.step()
    return np.array(factors)


SCHEDULE_INPUTS = (
    Input("schedule", "constant", "how the learning rate changes over the run", choices=SCHEDULES),
    Input("step_size", 2, "step: after so many epochs", minimum=1, whole=True),
    Input("step_gamma", 0.5, "step: multiply by this", above=0, maximum=1),
    Input("exponential_gamma", 0.7, "exponential: multiply by this after each epoch", above=0, maximum=1),
    Input("pct_start", 0.3, "one-cycle: the share of the steps that go up", minimum=0.05, maximum=0.95),
    Input("div_factor", 25, "one-cycle: begin at lr divided by this", minimum=1),
    Input("final_div_factor", 10000, "one-cycle: end at that beginning divided by this", minimum=1),
    Input("anneal_rate", 0.5, "anneal: multiply by this after an epoch that was no better", above=0, below=1),
)
INPUTS = (
    Input("start_intercept", 0, "where every optimiser starts: the intercept"),
    Input("start_slope", 0, "where every optimiser starts: the slope"),
    *SCHEDULE_INPUTS,
    *(
        Input(f"{entry.name}_{name}", value, meaning, **limits)
        for entry in ENTRIES
        for name, value in hyperparameters(entry).items()
        for meaning, limits in [SPECIAL.get((entry.name, name), MEANINGS[name])]
    ),
)
OPTIMIZERS = Lesson(
    "optimizers",
    "sixteen optimisers on the same data, a sheet each, a choice of schedules, and their race",
    INPUTS,
    csv_columns(noisy_line(seed=7, count=29, x=(0, 2), slope=2, intercept=3, noise=(-0.5, 0.5))),
    build=build,
    reference=reference,
    sizes=sizes,
)
