"""Every optimiser on the same data from the same start, each on a sheet with all its state; and their race."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sgdsheet.book import Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import TEXT
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call, Range
from sgdsheet.hyperparameters import arguments
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import check_columns, csv_columns, noisy_line
from sgdsheet.lessons.flow import Column, Named, check, counter, data, gradient, inputs, loss, parameter, state, steps
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.lessons.schedules import cosine, one_cycle
from sgdsheet.lessons.surface import inside, reference_inside, reference_valley, valley
from sgdsheet.optim import OPTIMIZERS as CATALOGUE
from sgdsheet.optim import Optimizer, Variant
from sgdsheet.tensor import both, equal, finite_or, floor, greater, greater_equal, mean, minimum, mod, previous, where

EPOCHS = 6
PATH_STEPS = 100  # of the two paths, without momentum and with it
PARTS = ("intercept", "slope")
FAR = 1e300  # stands for the mean squared gradient of an epoch that diverged beyond all numbers
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle", "anneal")
FAMILIES = list(dict.fromkeys(each.family for each in CATALOGUE.values()))
RUNS = {
    variant.name: (optimizer, variant)
    for optimizer in sorted(CATALOGUE.values(), key=lambda each: FAMILIES.index(each.family))
    for variant in optimizer.variants or (Variant(optimizer.name),)
}

DRAWN = {"param": "", "ax": "ax, the mean since t0"}  # whose loss and way a sheet draws: the optimiser's, and others
OWN = {"t0": 58}  # where ASGD begins its mean, two epochs on: the million steps of torch's own are never made here
LONG = {"initial_accumulator_value": 20, "momentum_decay": 12.5}  # names too long for the columns that they stand above
FOLDED = ("mu_next", "rho_inf", "rho_t", "lowest", "highest", "r")  # what a sheet has no room for in its first screen
RACERS = ("racer_1", "racer_2", "racer_3", "racer_4")
FIRST = [*dict.fromkeys([name for name in ("SGD", "Momentum", "RMSprop", "Adam") if name in RUNS] + [*RUNS] * 4)]


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `setup`, `race`, `two paths`, `average_grad`, and one for each optimiser."""
    check_columns(given, 1_000_000 // EPOCHS, "optimizers")
    book.summary = about(len(given["data_x"]))
    setup = setup_sheet(book, given)
    setup.land = valley(book, setup.x, setup.y, *setup.start)
    race = book.sheet(
        "race",
        "The race: choose four",
        "The mean loss over all points before each step, and the ways over the valley of the loss. Each learning rate "
        "is on the optimiser's own sheet.",
    )
    drawn = book.sheet(
        "drawn", "What the charts draw", "Without momentum on 'two paths'; and each optimiser's run.", details=True
    )
    setup.drawn = drawn.table(drawn.next_row, two_paths_sheet(book, setup, drawn), len(setup.step), PARTS)
    averages = book.sheet(
        "average_grad",
        "average_grad: a running mean of the gradient, and torch's momentum_buffer",
        "momentum_buffer is 1 / (1 - beta) times average_grad. Dampened by beta it is average_grad itself but for step "
        "1, where torch takes the whole gradient: they differ by beta^step * the first gradient, soon by nothing.",
    )
    runs: dict[str, Named] = {}
    for name, run in RUNS.items():
        runs[name] = optimizer_sheet(book, *run, setup, runs)
    average_sheet(averages, next(iter(runs.values())).grad[:, 1])
    race_sheet(book, race, runs, setup)


def setup_sheet(book: Book, given: Mapping[str, Any]) -> Named:
    sheet = book.sheet(
        "setup",
        "What all share: the start, the schedule, the points",
        "The schedule says by what each optimiser's own learning rate is multiplied at each step. It is torch's StepLR,"
        " ExponentialLR, CosineAnnealingLR, OneCycleLR (momentum left alone) or ReduceLROnPlateau (anneal).",
    )
    sheet.width(1, 11, 11)
    cell = inputs(sheet, "start_intercept", "start_slope", *(spec.name for spec in SCHEDULE), across=True)
    row, points = sheet.next_row, len(given["data_x"])
    total, first = points * EPOCHS, 1 / cell.div_factor
    known = steps(
        sheet,
        points,
        freeze=None,
        width=11,
        data_x=data(typed(given["data_x"]), "what is known", "x", absolute=True),
        data_y=data(typed(given["data_y"]), "what to predict", "y", absolute=True),
    )

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
        freeze=1,
        width=11,
        step=counter(lambda t: previous(t.step + 1, 1), "counts the steps"),
        epoch=counter(lambda t: floor((t.step - 1) / points) + 1, "passes over the data"),
        factor=check(chosen, "of the schedule that was chosen; 1 for constant and anneal"),
        factor_step=check(
            lambda t: cell.step_gamma ** floor((t.epoch - 1) / cell.step_size), "step_gamma ^ whole step_sizes so far"
        ),
        factor_exponential=check(lambda t: cell.exponential_gamma ** (t.epoch - 1), "gamma ^ (epoch - 1)"),
        factor_cosine=check(lambda t: cosine(1, 0, (t.step - 1) / total), "half a cosine from 1 down to 0"),
        factor_one_cycle=check(
            lambda t: one_cycle(t.step, total, cell.pct_start, (first, 1, first / cell.final_div_factor)),
            "up from 1/div_factor, then down",
        ),
    )
    curves = [Series(name, t.step, t[factor_name(name)], width=1.25) for name in SCHEDULES[1:5]]
    curves.append(Series("the chosen one", t.step, t.factor, color=6, width=3))
    title = "What the schedule makes of the learning rate"
    chart = scatter(title, "step", "factor", curves, width=18, height=13, x_range=(0, total), y_range=(0, 1))
    sheet.chart(t.first, 12, chart)
    start = [cell.start_intercept, cell.start_slope]
    return Named(x=known.data_x, y=known.data_y, start=start, step=t.step, factor=t.factor, cell=cell)


def factor_name(schedule: str) -> str:
    return f"factor_{schedule.replace('-', '_')}"


def two_paths_sheet(book: Book, setup: Named, drawn: Sheet) -> int:
    """The sheet `two paths`, and what it draws on `drawn`. Returns the column of that sheet which is free."""
    sheet = book.sheet(
        "two paths",
        "What momentum looks like: two paths, without and with it",
        "Both go by the mean gradient of all points, with the same learning rate. Plain SGD forgets each gradient; the "
        "buffer keeps a share of all before, so that the path gathers speed and rolls past the bottom like a ball.",
    )
    cell = inputs(sheet, "path_lr", "path_momentum", across=True)
    x, y = setup.x, setup.y

    def errors(param: Any) -> list[Any]:
        return [slope * x + intercept - y for intercept, slope in param]

    def grads(param: Any) -> Any:
        return [[2 * mean(error), 2 * mean(error * x)] for error in errors(param)]

    def way(param: Any) -> Any:
        return np.stack([*inside(setup.land, param[:, 0], param[:, 1]).values()], axis=1)

    t = steps(
        sheet,
        PATH_STEPS,
        "path_",
        parts=PARTS,
        freeze=2,
        short=True,
        step=counter(np.arange(1, PATH_STEPS + 1), "row"),
        param=parameter(
            lambda t: previous(t.new_param, setup.start), "new_param above", "param", parts=PARTS, width=11
        ),
        loss=loss(lambda t: [mean(error**2) for error in errors(t.param)], "mean of (y_hat - y)^2", "loss"),
        grad=gradient(lambda t: grads(t.param), "2 * mean of (y_hat - y), of x * (y_hat - y)", "grad", parts=PARTS),
        momentum_buffer=state(
            lambda t: cell.path_momentum * previous(t.momentum_buffer, np.zeros(2)) + t.grad,
            "momentum * buffer above + grad",
            "state['momentum_buffer']",
            parts=PARTS,
        ),
        new_param=parameter(
            lambda t: t.param - cell.path_lr * t.momentum_buffer, "param - lr * buffer", "after the step", parts=PARTS
        ),
    )
    unseen = steps(
        drawn,
        PATH_STEPS,
        "path_",
        parts=PARTS,
        freeze=None,
        row=drawn.next_row,
        plain_param=parameter(
            lambda t: previous(t.plain_param - cell.path_lr * t.plain_grad, setup.start),
            "without momentum",
            parts=PARTS,
        ),
        plain_loss=loss(lambda t: [mean(error**2) for error in errors(t.plain_param)], "without momentum"),
        plain_grad=gradient(lambda t: grads(t.plain_param), "without momentum", parts=PARTS),
        way=parameter(way(t.param), "as the picture shows it", parts=PARTS),
        plain_way=parameter(lambda t: way(t.plain_param), "as the picture shows it", parts=PARTS),
    )
    plain, yours = "momentum 0", "your momentum"
    ways = [
        *setup.land.series,
        Series(plain, unseen.plain_way[:, 0], unseen.plain_way[:, 1], points=True, color=0),
        Series(yours, unseen.way[:, 0], unseen.way[:, 1], points=True, color=3),
    ]
    losses = [Series(plain, t.step, unseen.plain_loss, color=0), Series(yours, t.step, t.loss, color=3)]
    left = t.table.next_column + 1
    sheet.width(left - 1, 2)
    sheet.chart(t.first, left, scatter("The two paths", "intercept", "slope", ways, width=21, height=9.2))
    title, log = "Their losses", "mean loss (powers of ten)"
    chart = scatter(title, "step", log, losses, log=True, x_range=(0, PATH_STEPS), width=21, height=6.8)
    sheet.chart(t.first + 18, left, chart)
    return unseen.table.next_column + 1


def average_sheet(sheet: Sheet, grad: Any) -> None:
    cell = inputs(sheet, "beta", across=True)
    t = steps(
        sheet,
        len(grad),
        freeze=2,
        average_step=counter(np.arange(1, len(grad) + 1), "step", title="step"),
        noisy_grad=gradient(grad, "the slope's, of one point a step: sheet 'SGD'", ".grad"),
        average_grad=state(
            lambda t: cell.beta * previous(t.average_grad, 0) + (1 - cell.beta) * t.noisy_grad,
            "beta * average_grad + (1 - beta) * grad; from 0",
            "Adam's exp_avg with beta1 = beta",
        ),
        average_unbiased=state(
            lambda t: t.average_grad / (1 - cell.beta**t.average_step), "average_grad / (1 - beta^step)"
        ),
        momentum_buffer=state(
            lambda t: cell.beta * previous(t.momentum_buffer, 0) + t.noisy_grad,
            "beta * momentum_buffer + grad",
            "state['momentum_buffer'], momentum=beta",
        ),
        dampened_buffer=state(
            lambda t: (
                cell.beta * previous(t.dampened_buffer, 0)
                + where(equal(t.average_step, 1), 1, 1 - cell.beta) * t.noisy_grad
            ),
            "the same with (1 - beta) * grad, but the whole grad at step 1",
            "state['momentum_buffer'], momentum=beta, dampening=beta",
        ),
    )
    left = t.table.next_column + 1
    sheet.width(left - 1, 2)
    lines = [
        Series("grad, one point each", t.average_step, t.noisy_grad, points=True, line=False, color="BFBFBF"),
        Series("average_grad", t.average_step, t.average_grad, color=0, width=2.5),
        Series("dampened_buffer", t.average_step, t.dampened_buffer, color=3, width=1.25),
    ]
    ends: dict[str, Any] = {"x_range": (0, len(grad)), "width": 24}
    sheet.chart(
        t.first, left, scatter("Gradients, and their running mean", "step", "gradient", lines, height=9, **ends)
    )
    lines = [Series("momentum_buffer", t.average_step, t.momentum_buffer, color=2)]
    chart = scatter("momentum_buffer: 1 / (1 - beta) times as large", "step", "buffer", lines, height=6.5, **ends)
    sheet.chart(t.first + 18, left, chart)


def optimizer_sheet(
    book: Book, optimizer: Optimizer, variant: Variant, setup: Named, before: Mapping[str, Named]
) -> Named:
    """The sheet of one optimiser, beside the first of those `before` it."""
    name, points = variant.name, len(setup.x)
    flags = "".join(f" with {flag}=True" for flag in variant.flags)
    title = f"{name}: {optimizer.module}.{optimizer.name}{flags}"
    sheet = book.sheet(name, title, variant.summary or optimizer.summary, optimizer.source)
    cell = inputs(sheet, *hyperparameters(optimizer, variant), prefix=f"{name}_", across=True)
    chart_row = sheet.next_row

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
        row=chart_row + 17,
        parts=PARTS,
        freeze=None,
        short=True,
        width=8,
        step=counter(setup.step, "row"),
        x=data(np.tile(setup.x, EPOCHS), "the point's x", "x", width=11),
        y=data(np.tile(setup.y, EPOCHS), "the point's y", "y", width=11),
        lr_now=check(
            lambda t: cell.lr * where(equal(setup.cell.schedule, "anneal"), t.anneal_factor, setup.factor),
            "lr * factor",
            "group['lr']",
            width=10.5,
        ),
        param=parameter(
            lambda t: previous(t.new_param, setup.start), "new_param above", "param", parts=PARTS, width=11
        ),
        loss=loss(lambda t: error(t) ** 2, "(slope * x + intercept - y)^2", "loss", width=11.5),
        grad=gradient(
            lambda t: np.stack([2 * error(t), 2 * t.x * error(t)], axis=1),
            "2 * (y_hat - y), and the same * x",
            "param.grad",
            parts=PARTS,
        ),
        **recurrence(optimizer, variant),
        sum_sq_grad=check(
            lambda t: where(begins(t), 0, previous(t.sum_sq_grad, 0)) + (t.grad[:, 0] ** 2 + t.grad[:, 1] ** 2) / 2,
            "mean square of both gradients, added up within the epoch",
            folded=True,
        ),
        best_sq_grad=check(best, "the smallest epoch's mean so far; 0 in the first epoch", folded=True),
        anneal_factor=check(factor, "* anneal_rate after an epoch that was no better", folded=True),
    )
    sheet.repeat_rows(t.head, t.first - 1)
    for column, each in enumerate(vars(cell), start=1):
        if each in LONG:
            sheet.width(column, LONG[each])
    shown = dict([*before.items()][:1])
    for block in (block for block in DRAWN if block in vars(t)):
        param = t[block]
        shown[DRAWN[block] or name] = flow.columns(
            setup.drawn,
            f"{name}_{drawn_name(block, '')}",
            mean_loss=loss(
                [mean((slope * setup.x + intercept - setup.y) ** 2) for intercept, slope in param],
                "mean loss over all points",
            ),
            way=parameter(
                np.stack([*inside(setup.land, param[:, 0], param[:, 1]).values()], axis=1),
                "as the picture shows it",
                parts=PARTS,
            ),
        )
    t.mean_loss, t.way = shown[name].mean_loss, shown[name].way
    flow.charts(sheet, *race_charts(shown, setup, 19.8, 8.6), row=chart_row)

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


def drawn_name(block: str, what: str) -> str:
    """What is drawn of the parameters has no word before it, what of others has theirs."""
    return what if block == "param" else f"{block}_{what}"


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
        parts = PARTS if np.size(array) > 1 else ()
        found[block] = Column(role, None, words, torch, parts=parts, folded=block in FOLDED)
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
    return {name: OWN.get(name, start) for name, start in starts.items() if name not in variant.without}


def race_charts(runs: Mapping[Any, Named], setup: Named, width: float, height: float) -> list[Any]:
    """The losses and the ways over the valley of some runs, by their names or the cells that hold them."""
    look: dict[str, Any] = {"width": width, "height": height}
    colors = [0, 3, 2, 1]
    curves = [
        Series(name, setup.step, run.mean_loss, color=color)
        for color, (name, run) in zip(colors, runs.items(), strict=False)
    ]
    ways = [
        Series(name, run.way[:, 0], run.way[:, 1], color=color, width=1.25)
        for color, (name, run) in zip(colors, runs.items(), strict=False)
    ]
    log: dict[str, Any] = {"log": True, "x_range": (0, len(setup.step))}
    return [
        scatter("The loss of all points", "step", "mean loss (powers of ten)", curves, **log, **look),
        scatter("The way over the valley of the loss", "intercept", "slope", [*setup.land.series, *ways], **look),
    ]


def race_sheet(book: Book, sheet: Sheet, runs: Mapping[str, Named], setup: Named) -> None:
    sheet.width(1, 16, 4)
    sheet.width(5, 4, 40)
    racers = [*vars(inputs(sheet, *RACERS, across=True)).values()]
    top, left = sheet.next_row, sheet.column_from(1280)
    table = sheet.table(top, left + 1, len(runs), PARTS)
    sheet.width(left, 18)
    flow.labels(sheet, table.first, left, runs, TEXT)
    names = Range(sheet.name, table.first, left, table.first + len(runs) - 1, left, absolute=True)
    last = np.array([run.new_param[-1] for run in runs.values()], dtype=object)
    flow.columns(
        table,
        race_param=parameter(last, "after the last step", "param", parts=PARTS, title="param"),
        race_loss=loss(
            lambda t: [mean((slope * setup.x + intercept - setup.y) ** 2) for intercept, slope in t.race_param],
            "over all points",
            title="mean loss",
        ),
    )
    details = book.sheet(
        "race steps", "What the charts of the race draw", "Of the four that were chosen.", details=True
    )
    places: dict[str, Any] = {
        f"{racer}_number": counter(Call("MATCH", cell, names, 0), "its place in the list on 'race'", absolute=True)
        for racer, cell in zip(RACERS, racers, strict=True)
    }
    numbers = flow.values(details, **places)
    t = steps(details, len(setup.step), freeze=None, parts=PARTS, race_step=counter(setup.step, "step"))
    shown = {}
    for racer, cell in zip(RACERS, racers, strict=True):
        number = numbers[f"{racer}_number"]

        def chosen(block: str, number: Any = number) -> Any:
            return np.frompyfunc(lambda *each: Call("CHOOSE", number, *each), len(runs), 1)(
                *(run[block] for run in runs.values())
            )

        shown[cell] = flow.columns(
            t.table,
            f"{racer}_",
            mean_loss=loss(chosen("mean_loss"), "its mean loss over all points"),
            way=parameter(chosen("way"), "its way, as the picture shows it", parts=PARTS),
        )
    flow.charts(sheet, *race_charts(shown, setup, 16.6, 18), row=top)


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
    blocks |= reference_valley(v.data_x, v.data_y, v.start_intercept, v.start_slope)
    blocks |= reference_two_paths(v, blocks)
    last = []
    for name, (optimizer, variant) in RUNS.items():
        run = reference_run(optimizer, variant, v)
        blocks |= {f"{name}_{block}": array for block, array in run.items()}
        last.append(run["new_param"][-1])
        for block in DRAWN.keys() & run.keys():
            seen = reference_inside(blocks, *run[block].T)
            blocks[f"{name}_{drawn_name(block, 'way')}"] = torch.stack([seen["intercept"], seen["slope"]], 1)
    blocks["race_param"] = torch.stack(last)
    blocks["race_loss"] = torch.stack([mse_loss(slope * v.data_x + intercept, v.data_y) for intercept, slope in last])
    blocks |= {"race_step": step, **reference_average(v.beta, blocks[f"{next(iter(RUNS))}_grad"][:, 1])}
    for racer in RACERS:
        blocks[f"{racer}_number"] = [*RUNS].index(v[racer]) + 1
        blocks |= {f"{racer}_{block}": blocks[f"{v[racer]}_{block}"] for block in ("mean_loss", "way")}
    return blocks


def reference_two_paths(v: Named, land: Mapping[str, Any]) -> dict[str, Any]:
    """The sheet `two paths`: torch.optim.SGD with momentum and without it."""
    import torch
    from torch.nn.functional import mse_loss

    blocks: dict[str, Any] = {"path_step": torch.arange(1, PATH_STEPS + 1)}
    for prefix, momentum in (("path_", v.path_momentum), ("path_plain_", 0.0)):
        param = torch.tensor([v.start_intercept, v.start_slope], requires_grad=True)
        optimizer = torch.optim.SGD([param], lr=v.path_lr, momentum=momentum)

        def loss_of(_: int, note: Any, param: Any = param) -> Any:
            return mse_loss(param[1] * v.data_x + param[0], v.data_y)

        def after(_: int, note: Any, param: Any = param, optimizer: Any = optimizer) -> None:
            note(momentum_buffer=optimizer.state[param].get("momentum_buffer", param.grad))

        run = flow.descend({"param": param}, optimizer, range(PATH_STEPS), loss_of, after)
        seen = reference_inside(land, *run.param.T)
        blocks |= {f"{prefix}{name}": run[name] for name in ("param", "loss")}
        blocks |= {f"{prefix}grad": run.grad_param, f"{prefix}way": torch.stack([seen["intercept"], seen["slope"]], 1)}
        if prefix == "path_":
            blocks |= {"path_momentum_buffer": run.momentum_buffer, "path_new_param": run.new_param}
    return blocks


def reference_average(beta: float, grads: Any) -> dict[str, Any]:
    """The sheet `average_grad`: what torch's optimisers remember of the same gradients."""
    import torch

    def remembered(optimizer: Any, param: Any, name: str) -> Any:
        found = []
        for grad in grads:
            param.grad = grad.clone()
            optimizer.step()
            found.append(optimizer.state[param].get(name, grad).clone())
        return torch.stack(found)

    def buffers(dampening: float) -> Any:
        param = torch.tensor(0.0, requires_grad=True)
        return remembered(torch.optim.SGD([param], lr=0, momentum=beta, dampening=dampening), param, "momentum_buffer")

    param, step = torch.tensor(0.0, requires_grad=True), torch.arange(1, len(grads) + 1)
    average = remembered(torch.optim.Adam([param], lr=0, betas=(beta, 0.999)), param, "exp_avg")
    return {
        "average_step": step,
        "noisy_grad": grads,
        "average_grad": average,
        "average_unbiased": average / (1 - beta**step),
        "momentum_buffer": buffers(0),
        "dampened_buffer": buffers(beta),
    }


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
    for block in DRAWN.keys() & run.keys():
        intercept, slope = run[block].T[:, :, None]
        y_hat = slope * x + intercept
        run[drawn_name(block, "mean_loss")] = mse_loss(y_hat, y.expand(y_hat.shape), reduction="none").mean(1)
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
    "On 'two paths', set path_momentum to 0: the paths are one. With 0, 0.5, 0.8, 0.95 the loss is 0.415, 0.093, "
    "0.061, 0.074 after 100 steps. Some momentum speeds it up, too much rolls past the bottom again and again.",
    "On 'race', choose RAdam as racer_2: it ends at a loss of 1.301, SGD at 0.108. With a learning rate of 0.3 on its "
    "own sheet: 0.079.",
    "On 'Momentum', set momentum to 0: it goes SGD's way. With 0.5 it ends at 0.069, with 0.99 at 3.577.",
    "On 'average_grad', set beta to 0, 0.5, 0.98: the mean follows every gradient, then less and less.",
    "On 'Adam', bias_correction1 begins at 0.1: without it the first step would be ten times too small. With a beta1 "
    "of 0.5 it begins at 0.5, and is 0.938 at step 4.",
    "On 'setup', choose one-cycle as schedule: all learning rates follow it. Momentum ends at 0.065, not at 0.198.",
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
EXERCISES = (
    Exercise(
        "Momentum_momentum_buffer",
        1,
        "On 'Momentum': what the optimiser remembers. The buffer of the row above, which is 0 before the first, times "
        "momentum, plus decayed_grad times grad_weight. Write the first row, then the second, and copy that down.",
        {
            "the old buffer is missing": lambda t: t.Momentum_grad_weight[:, None] * t.Momentum_decayed_grad,
            "that is decayed_grad": lambda t: t.Momentum_decayed_grad,
        },
    ),
    Exercise(
        "Momentum_new_param",
        2,
        "On 'Momentum': the step, by lr_now and the buffer.",
        {
            "it climbs: step against it": lambda t: 2 * t.Momentum_param - t.answer,
            "the gradient, not the buffer": lambda t: (
                t.Momentum_param - t.Momentum_lr_now[:, None] * t.Momentum_decayed_grad
            ),
            "lr_now is missing": lambda t: t.Momentum_param - t.Momentum_momentum_buffer,
            "the old param is missing": lambda t: t.answer - t.Momentum_param,
        },
    ),
    Exercise(
        "Adam_new_param",
        3,
        "On 'Adam': the step. exp_avg begins at 0, so divide it by bias_correction1; then by denom, which has its own "
        "correction in it; and go against it, as far as lr_now says.",
        {
            "bias_correction1 is missing": lambda t: (
                t.Adam_param - t.Adam_lr_now[:, None] * t.Adam_exp_avg / t.Adam_denom
            ),
            "times bias_correction1: divide": lambda t: (
                t.Adam_param - (t.Adam_lr_now * t.Adam_bias_correction1)[:, None] * t.Adam_exp_avg / t.Adam_denom
            ),
            "the gradient, not exp_avg": lambda t: (
                t.Adam_param - (t.Adam_lr_now / t.Adam_bias_correction1)[:, None] * t.Adam_decayed_grad / t.Adam_denom
            ),
            "it climbs: step against it": lambda t: 2 * t.Adam_param - t.answer,
        },
    ),
)

OPTIMIZERS = Lesson(
    "optimizers",
    f"{len(RUNS)} optimisers on the same data, a sheet each, a choice of schedules, and their race",
    (
        Input("start_intercept", -1, "where every optimiser starts: the intercept"),
        Input("start_slope", 4, "where every optimiser starts: the slope"),
        *(
            Input(racer, FIRST[number % len(FIRST)], "who runs in the race", choices=tuple(RUNS))
            for number, racer in enumerate(RACERS)
        ),
        Input("path_lr", 0.03, "the learning rate of both paths", minimum=0),
        Input("path_momentum", 0.9, "how much of the buffer is kept", minimum=0, below=1),
        Input("beta", 0.9, "how much of the running mean is kept", minimum=0, below=1),
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
    exercises=EXERCISES,
)
