"""Every optimiser on the same data from the same start, each on a sheet with all its state; and their race."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sgdsheet.book import Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import TEXT
from sgdsheet.hyperparameters import arguments
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import Column, Named, check, counter, data, gradient, inputs, loss, parameter, steps
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.schedules import cosine, one_cycle
from sgdsheet.optim import OPTIMIZERS as CATALOGUE
from sgdsheet.optim import Optimizer, Variant
from sgdsheet.tensor import both, equal, finite_or, floor, greater, greater_equal, mean, minimum, mod, previous, where

EPOCHS = 6
PARTS = ("intercept", "slope")
FAR = 1e300  # stands for the mean squared gradient of an epoch that diverged beyond all numbers
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle", "anneal")
FAMILIES = list(dict.fromkeys(each.family for each in CATALOGUE.values()))
RUNS = {
    variant.name: (optimizer, variant)
    for optimizer in sorted(CATALOGUE.values(), key=lambda each: FAMILIES.index(each.family))
    for variant in optimizer.variants or (Variant(optimizer.name),)
}


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `setup`, `race`, and one for each optimiser."""
    check_columns(given, 1_000_000 // EPOCHS, "optimizers")
    book.summary = about(len(given["data_x"]))
    setup = setup_sheet(book, given)
    race = book.sheet(
        "race",
        "The race",
        "The mean loss over all points before each step, and the way of the parameters. Each learning rate is on the "
        "optimiser's own sheet.",
    )
    race_sheet(race, {name: optimizer_sheet(book, *run, setup) for name, run in RUNS.items()}, setup)


def setup_sheet(book: Book, given: Mapping[str, Any]) -> Named:
    sheet = book.sheet(
        "setup",
        "What all share: the start, the schedule, the points",
        "The schedule says by what each optimiser's own learning rate is multiplied at each step.",
        "torch.optim.lr_scheduler: step is StepLR, exponential ExponentialLR, cosine CosineAnnealingLR, one-cycle "
        "OneCycleLR (momentum left alone), anneal ReduceLROnPlateau with patience 0.",
    )
    start = inputs(sheet, "start_intercept", "start_slope")
    cell = inputs(sheet, *(spec.name for spec in SCHEDULE))
    row, points = sheet.next_row, len(given["data_x"])
    total, first = points * EPOCHS, 1 / cell.div_factor
    known = steps(
        sheet,
        points,
        freeze=None,
        data_x=data(typed(given["data_x"]), "what is known", "x", absolute=True),
        data_y=data(typed(given["data_y"]), "what to predict", "y", absolute=True),
    )
    sheet.width(1, 20)

    def chosen(t: Named) -> Any:
        factor: Any = np.array(1, dtype=object)
        for schedule in SCHEDULES[1:5]:
            factor = where(equal(cell.schedule, schedule), t[factor_name(schedule)], factor)
        return factor

    t = steps(
        sheet,
        total,
        row=row,
        left=4,
        step=counter(lambda t: previous(t.step + 1, 1), "counts the steps"),
        epoch=counter(lambda t: floor((t.step - 1) / points) + 1, "passes over the data"),
        factor_step=check(
            lambda t: cell.step_gamma ** floor((t.epoch - 1) / cell.step_size), "step_gamma ^ whole step_sizes so far"
        ),
        factor_exponential=check(lambda t: cell.exponential_gamma ** (t.epoch - 1), "gamma ^ (epoch - 1)"),
        factor_cosine=check(lambda t: cosine(1, 0, (t.step - 1) / total), "half a cosine from 1 down to 0"),
        factor_one_cycle=check(
            lambda t: one_cycle(t.step, total, cell.pct_start, (first, 1, first / cell.final_div_factor)),
            "up from 1/div_factor, then down",
        ),
        factor=check(chosen, "the one that was chosen; 1 for constant and anneal"),
    )
    curves = [Series(schedule, t.step, t[factor_name(schedule)]) for schedule in SCHEDULES[1:5]]
    title = "What the schedule makes of the learning rate"
    sheet.chart(row, 12, scatter(title, "step", "factor", curves, height=10))
    return Named(x=known.data_x, y=known.data_y, start=[*vars(start).values()], step=t.step, factor=t.factor, cell=cell)


def factor_name(schedule: str) -> str:
    return f"factor_{schedule.replace('-', '_')}"


def optimizer_sheet(book: Book, optimizer: Optimizer, variant: Variant, setup: Named) -> Named:
    name, points = variant.name, len(setup.x)
    flags = "".join(f" with {flag}=True" for flag in variant.flags)
    title = f"{name}: {optimizer.module}.{optimizer.name}{flags}"
    sheet = book.sheet(name, title, optimizer.summary, optimizer.source)
    cell = inputs(sheet, *hyperparameters(optimizer, variant), prefix=f"{name}_")

    def error(t: Named) -> Any:
        return t.param[:, 1] * t.x + t.param[:, 0] - t.y

    # The schedule `anneal`: smaller after each epoch whose mean squared gradient was not the best.
    def begins(t: Named) -> Any:
        return equal(mod(t.step - 1, points), 0)

    def epoch_mean(t: Named) -> Any:
        return finite_or(previous(t.sum_sq_grad, 0) / points, FAR)

    def best(t: Named) -> Any:
        before, second = previous(t.best_sq_grad, 0), points + 1  # the second epoch's first step
        smaller = where(equal(t.step, second), epoch_mean(t), minimum(epoch_mean(t), before))
        return where(begins(t), smaller, before)

    def factor(t: Named) -> Any:
        no_better = greater_equal(epoch_mean(t), previous(t.best_sq_grad, 0))
        worse = both(begins(t), both(greater(t.step, points + 1), no_better))
        return previous(t.anneal_factor, 1) * where(worse, setup.cell.anneal_rate, 1)

    t = steps(
        sheet,
        len(setup.step),
        f"{name}_",
        parts=PARTS,
        freeze=2,
        short=True,
        step=counter(setup.step, "counts the steps"),
        x=data(np.tile(setup.x, EPOCHS), "the point's x", "x"),
        y=data(np.tile(setup.y, EPOCHS), "the point's y", "y"),
        lr_now=check(
            lambda t: cell.lr * where(equal(setup.cell.schedule, "anneal"), t.anneal_factor, setup.factor),
            "lr * the schedule's factor",
            "group['lr']",
            "0.000000",
        ),
        param=parameter(
            lambda t: previous(t.new_param, setup.start), "the new_param of the row above", "param", parts=PARTS
        ),
        loss=loss(lambda t: error(t) ** 2, "(slope * x + intercept - y)^2", "loss"),
        grad=gradient(
            lambda t: np.stack([2 * error(t), 2 * t.x * error(t)], axis=1),
            "2 * (y_hat - y), and the same * x",
            "param.grad",
            parts=PARTS,
        ),
        **recurrence(optimizer, variant),
        mean_loss=loss(
            lambda t: [mean((slope * setup.x + intercept - setup.y) ** 2) for intercept, slope in t.param],
            "mean loss over all points",
        ),
        sum_sq_grad=check(
            lambda t: where(begins(t), 0, previous(t.sum_sq_grad, 0)) + (t.grad[:, 0] ** 2 + t.grad[:, 1] ** 2) / 2,
            "mean square of both gradients, added up within the epoch",
        ),
        best_sq_grad=check(best, "the smallest epoch's mean so far; 0 in the first epoch"),
        anneal_factor=check(factor, "* anneal_rate after an epoch that was no better"),
    )
    sheet.width(1, 26)

    def rows(block: str) -> Any:
        return t[block].reshape(len(setup.step), -1)

    def place(block: str, array: Any, words: str) -> Any:
        t.table.fill(f"{name}_{block}", np.reshape(array, t[block].shape))
        return rows(block)

    given = arguments(vars(cell)) | variant.flags
    start = optimizer.init(**given | {"lr": t.lr_now[0]})
    state = {block: previous(rows(block), first) for block, first in start.items()}
    given |= {"lr": rows("lr_now")} | ({"loss": rows("loss")} if optimizer.takes_loss else {})
    optimizer.step(place, t.param, t.grad, state, step=rows("step"), **given)
    return t


def recurrence(optimizer: Optimizer, variant: Variant) -> dict[str, Any]:
    """The columns that the recurrence places, in its order, to be filled by it.

    A run on two numbers tells. Its hyperparameters are arrays, so that a 0 leaves no formula out: the sheet has all.
    """
    found = {}
    given = as_arrays(hyperparameters(optimizer, variant), variant)
    start = optimizer.init(**given)

    def note(block: str, array: Any, words: str) -> Any:
        role = "optimiser state" if block in start else "parameter" if block == "new_param" else "activation"
        torch = f"state['{block}']" if block in start else "param, after the step" if block == "new_param" else ""
        found[block] = Column(role, None, words, torch, parts=PARTS if np.size(array) > 1 else ())
        return array

    ones = np.ones(len(PARTS))
    state = {block: 1.0 if block in optimizer.scalars else ones for block in start}
    with np.errstate(all="ignore"):
        optimizer.step(note, ones, ones, state, step=2.0, **given, **{"loss": 1.0} if optimizer.takes_loss else {})
    return found


def as_arrays(numbers: Mapping[str, float], variant: Variant) -> dict[str, Any]:
    """The recurrence's arguments, none of them the number 0: a sheet has the formulas for whatever is typed."""
    return {**arguments({name: np.array(number) for name, number in numbers.items()}), **variant.flags}


def hyperparameters(optimizer: Optimizer, variant: Variant) -> dict[str, float]:
    """The numbers that the sheet has a cell for, with their starting values; tuples are taken apart."""
    starts = optimizer.cells() | ({} if optimizer.lr is None else {"lr": optimizer.lr}) | variant.start
    return {name: start for name, start in starts.items() if name not in variant.without}


def race_sheet(sheet: Sheet, runs: dict[str, Named], setup: Named) -> None:
    top = sheet.next_row
    table = sheet.table(top, 2, len(runs), PARTS)
    flow.labels(sheet, table.first, 1, runs, TEXT)
    last = np.array([run.new_param[-1] for run in runs.values()], dtype=object)
    flow.columns(
        table,
        race_param=parameter(last, "after the last step", "param", parts=PARTS, title="param"),
        race_loss=loss(
            lambda t: [mean((slope * setup.x + intercept - setup.y) ** 2) for intercept, slope in t.race_param],
            "mean loss over all points, after the last step",
            title="mean loss",
        ),
    )
    sheet.width(1, 20)
    sheet.width(2, 13, 24)

    def pair(title: str, shown: dict[str, Named], row: int, left: int, apart: int, width: float, height: float) -> None:
        curves = [Series(name, run.step, run.mean_loss, width=1.5) for name, run in shown.items()]
        ways = [Series(name, run.param[:, 0], run.param[:, 1], width=1.5) for name, run in shown.items()]
        losses, way = f"Mean loss: {title}", f"The way of the parameters: {title}"
        look: dict[str, Any] = {"width": width, "height": height}
        sheet.chart(row, left, scatter(losses, "step", "mean loss (powers of ten)", curves, log=True, **look))
        sheet.chart(row, left + apart, scatter(way, "intercept", "slope", ways, **look))

    pair("all optimisers", runs, top, 6, 9, 22, 17)
    for position, family in enumerate(FAMILIES):
        shown = {name: run for name, run in runs.items() if RUNS[name][0].family == family}
        pair(family, shown, top + 36 + 21 * position, 2, 8, 19, 10)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64.

    Parameters, losses, gradients, states and learning rates come from `torch.optim` and its schedulers (Eve from
    `sgdsheet.eve`). What lies between and torch does not show, such as a bias correction, is computed by numpy from
    torch's values of the same step.
    """
    import torch
    from torch.nn.functional import mse_loss

    step = torch.arange(1, len(v.data_x) * EPOCHS + 1)
    blocks: dict[str, Any] = {"step": step, "epoch": (step - 1) // len(v.data_x) + 1}
    blocks |= {factor_name(schedule): factors(schedule, v) for schedule in SCHEDULES[1:5]}
    blocks["factor"] = blocks.get(factor_name(v.schedule), torch.ones(len(step)))
    last = []
    for name, (optimizer, variant) in RUNS.items():
        run = reference_run(optimizer, variant, v)
        blocks |= {f"{name}_{block}": array for block, array in run.items()}
        last.append(run["new_param"][-1])
    blocks["race_param"] = torch.stack(last)
    blocks["race_loss"] = torch.stack([mse_loss(slope * v.data_x + intercept, v.data_y) for intercept, slope in last])
    return blocks


def reference_run(optimizer: Optimizer, variant: Variant, v: Named) -> dict[str, Any]:
    """One optimiser's sheet."""
    import torch
    from torch.nn.functional import mse_loss

    x, y, points = v.data_x, v.data_y, len(v.data_x)
    given = {name: v[f"{variant.name}_{name}"] for name in hyperparameters(optimizer, variant)}
    arrays = as_arrays(given, variant)
    param = torch.tensor([v.start_intercept, v.start_slope], requires_grad=True)
    made = optimizer.torch_class([param], **arguments(given), **variant.flags)
    advance = schedule(made, v.schedule, v)
    start = optimizer.init(**arrays | {"lr": made.param_groups[0]["lr"]})
    squares = 0.0

    def loss_of(point: int, note: Callable[..., None]) -> Any:
        note(lr_now=made.param_groups[0]["lr"])
        return mse_loss(param[1] * x[point] + param[0], y[point])

    def after(point: int, note: Callable[..., None]) -> None:
        nonlocal squares
        grad: Any = param.grad
        squares = (squares if point else 0.0) + float(grad.square().mean())
        note(sum_sq_grad=squares, **{name: made.state[param].get(name, torch.zeros(2)) for name in start})
        advance(squares / points)

    run = vars(flow.descend({"param": param}, made, [*range(points)] * EPOCHS, loss_of, after))
    run |= {"step": torch.arange(1, points * EPOCHS + 1), "grad": run.pop("grad_param")}
    run |= {"x": x.repeat(EPOCHS), "y": y.repeat(EPOCHS)}
    intercept, slope = run["param"].T[:, :, None]
    run["mean_loss"] = mse_loss(slope * x + intercept, y.expand(len(run["step"]), points), reduction="none").mean(1)
    means = run["sum_sq_grad"][points - 1 :: points] / points
    means = torch.where(means.isfinite(), means, FAR)
    best = torch.cat([torch.zeros(1), means.cummin(0).values[:-1]])
    run |= {"best_sq_grad": best.repeat_interleave(points), "anneal_factor": factors("anneal", v, means)}

    rows = {name: array.numpy().reshape(len(run["step"]), -1) for name, array in run.items()}
    between: dict[str, Any] = {}

    def record(name: str, array: Any, words: str) -> Any:
        between[name] = torch.as_tensor(array).squeeze(1)
        return array

    state = {name: previous(rows[name], first) for name, first in start.items()}
    arrays |= {"lr": rows["lr_now"]} | ({"loss": rows["loss"]} if optimizer.takes_loss else {})
    with np.errstate(all="ignore"):
        optimizer.step(record, rows["param"], rows["grad"], state, step=rows["step"].astype(float), **arrays)
    unseen = {name for name in start if name not in made.state[param]}
    return between | {name: array for name, array in run.items() if name not in unseen}


def schedule(optimizer: Any, name: str, v: Named) -> Callable[[float], None]:
    """torch's scheduler, to be called after each step with the mean squared gradient of its epoch so far."""
    from torch.optim import lr_scheduler

    lr, points, done = optimizer.param_groups[0]["lr"], len(v.data_x), 0
    total, every = points * EPOCHS, 1 if name in ("cosine", "one-cycle") else points
    cycle = {"pct_start": v.pct_start, "div_factor": v.div_factor, "final_div_factor": v.final_div_factor}
    plateau = {"factor": v.anneal_rate, "patience": 0, "threshold": 0, "eps": 0}
    made: Any = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, 1),
        "step": lambda: lr_scheduler.StepLR(optimizer, v.step_size, v.step_gamma),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, v.exponential_gamma),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, total),
        "one-cycle": lambda: lr_scheduler.OneCycleLR(optimizer, lr, total, cycle_momentum=False, **cycle),
        "anneal": lambda: lr_scheduler.ReduceLROnPlateau(optimizer, **plateau),
    }[name]()

    def advance(mean: float) -> None:
        nonlocal done
        done += 1
        if done % every == 0 and done < total:
            made.step(*[mean if math.isfinite(mean) else FAR] if name == "anneal" else [])

    return advance


def factors(name: str, v: Named, means: Any = None) -> Any:
    """What torch's scheduler makes of a learning rate of 1, step by step; `means` are the epochs' squared gradients."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    advance, found = schedule(optimizer, name, v), []
    for step in range(len(v.data_x) * EPOCHS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        advance(0.0 if means is None else float(means[step // len(v.data_x)]))
    return torch.tensor(found)


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """RAdam's rho_t is the difference of rho_inf and a number that is nearly as large."""
    return {"RAdam_rho_t": blocks["RAdam_rho_inf"]}


def about(points: int) -> list[str]:
    return [
        f"{len(RUNS)} ways to go downhill, each on a sheet of its own, all with the same points and the same start. A "
        "row is one step: the point, the parameters, the loss, the gradient, what the optimiser remembers, and the new "
        "parameters, which begin the next row.",
        f"Each run goes {EPOCHS} times over {points} points, one point a step. Names are torch's: put a sheet beside "
        "the page of torch.optim and you find the same words.",
    ]


TRY = [
    "On 'race', see who is fastest. Then give the slow ones another learning rate on their own sheets.",
    "On 'Momentum', set momentum to 0, to 0.5, to 0.99: from plain SGD to a ball that rolls past the bottom.",
    "On 'Adam', look at bias_correction1: without it the first steps would be ten times too small. Make beta1 smaller "
    "and see how it matters less.",
    "On 'setup', choose another schedule: all learning rates follow it. 'anneal' halves a learning rate whenever the "
    "mean squared gradient of an epoch is no longer the smallest so far.",
    "Change a point on 'setup' to an outlier: which optimisers are thrown off, and which shrug?",
]
SCHEDULE = (
    Input("schedule", "constant", "how the learning rate changes over the run", choices=SCHEDULES),
    Input("step_size", 2, "step: after so many epochs", minimum=1, whole=True),
    Input("step_gamma", 0.5, "step: multiply by this", above=0, maximum=1),
    Input("exponential_gamma", 0.7, "exponential: multiply by this after each epoch", above=0, maximum=1),
    Input("pct_start", 0.3, "one-cycle: the share of the steps that go up", minimum=0.05, maximum=0.95),
    Input("div_factor", 25, "one-cycle: begin at lr divided by this", minimum=1),
    Input("final_div_factor", 10000, "one-cycle: end at that beginning divided by this", minimum=1),
    Input("anneal_rate", 0.5, "anneal: multiply by this after an epoch that was no better", above=0, below=1),
)
OPTIMIZERS = Lesson(
    "optimizers",
    f"{len(RUNS)} optimisers on the same data, a sheet each, a choice of schedules, and their race",
    (
        Input("start_intercept", 0, "where every optimiser starts: the intercept"),
        Input("start_slope", 0, "where every optimiser starts: the slope"),
        *SCHEDULE,
        *(
            Input(f"{run}_{name}", value, meaning, **variant.limits.get(name, limits))
            for run, (optimizer, variant) in RUNS.items()
            for name, value in hyperparameters(optimizer, variant).items()
            for meaning, limits in [optimizer.meaning(name)]
        ),
    ),
    csv_columns(noisy_line(seed=7, count=29, x=(0, 2), slope=2, intercept=3, noise=(-0.5, 0.5))),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Optimisers, step by step",
    things_to_try=TRY,
)
