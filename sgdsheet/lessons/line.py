"""The sheets that the lessons of a line share: watch it, nudge it, fit it by hand, and compare learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import SHORT, Book, Input, Series, Sheet, scatter
from sgdsheet.book.style import LABEL, LABEL_ABOVE
from sgdsheet.lessons.flow import (
    Named,
    activation,
    charts,
    check,
    columns,
    counter,
    data,
    descend,
    gradient,
    inputs,
    loss,
    parameter,
    steps,
    values,
)
from sgdsheet.lessons.surface import (
    FAR,
    axis,
    closed_maps,
    inside,
    reference_axis,
    reference_inside,
    reference_valley,
    reference_visits,
    valley,
    visits,
)
from sgdsheet.tensor import finite_or, index, largest, mean, minimum, previous, smallest, sqrt

GRID = 21  # the loss is shown for so many intercepts and slopes
PATH = 300  # at most so many steps of the path are drawn on it
CURVE = 51  # so many slopes make the curve of the loss
NUDGES = np.array([1, 10, 100, 1000])  # the nudge is tried as it is, and so many times smaller
RATE_STEPS = 60  # the three learning rates are compared over so many steps
RATES = ("low", "good", "high")
MSE = "F.mse_loss(model(x), y)"
ABOVE = "the row above after its step"


def shared_sheets(book: Book, x: Any, y: Any, run: Named) -> Any:
    """The sheets `charts`, `nudge`, `by hand`, `rates`, and what they draw. Returns the cell `nudge`.

    `run` has `step`, `intercept`, `slope` and `loss`, a row a step.
    """
    drawn = book.sheet(
        "drawn", "What the charts draw", "Columns for the charts and maps of other sheets.", details=True
    )
    charts_sheet(book, drawn, x, y, run)
    nudge = nudge_sheet(book, drawn, x, y, run.intercept[0])
    by_hand_sheet(book, drawn, x, y, run)
    rates_sheet(book, x, y)
    return nudge


def run_charts(sheet: Sheet, t: Named) -> None:
    """The loss of each step and the two parameters, to the right of the table of steps."""
    left = t.table.next_column + 1
    sheet.width(left - 1, 2)
    size: dict[str, Any] = {"width": 17, "height": 7.8, "x_range": (0, len(t.step))}
    losses = [Series("loss", t.step, t.loss, width=1.25)]
    sheet.chart(
        t.first, left, scatter("The loss of each step", "step", "loss (powers of ten)", losses, log=True, **size)
    )
    both = [Series("intercept", t.step, t.intercept), Series("slope", t.step, t.slope)]
    sheet.chart(t.first + 15, left, scatter("The two parameters", "step", "value", both, **size))


def charts_sheet(book: Book, drawn: Sheet, x: Any, y: Any, run: Named) -> None:
    sheet = book.sheet(
        "charts",
        "Watch it learn",
        "Change show_step and press Enter: the line is the one at the beginning of that row of 'sgd'.",
    )
    show = minimum(inputs(sheet, "show_step", across=True).show_step, len(run.step))  # with other data there are fewer
    shown = values(
        sheet,
        shown_intercept=parameter(index(run.intercept, show), "the intercept at that step", "model.bias"),
        shown_slope=parameter(index(run.slope, show), "the slope at that step", "model.weight"),
        shown_loss=loss(
            lambda t: mean((t.shown_slope * x + t.shown_intercept - y) ** 2),
            "the mean loss of that line over all points",
            MSE,
        ),
    )
    sheet.width(1, 16)
    ends = steps(
        drawn,
        2,
        row=4,
        left=5,
        freeze=None,
        line_x=check(np.array([smallest(x), largest(x)]), "the ends of the line at show_step"),
        line_y=activation(
            lambda t: shown.shown_slope * t.line_x + shown.shown_intercept,
            "shown_slope * line_x + shown_intercept",
            width=16,
        ),
    )
    mark = steps(
        drawn,
        1,
        row=4,
        left=8,
        freeze=None,
        shown_step=counter(np.array([show]), "show_step, or the last"),
        shown_step_loss=loss(np.array([index(run.loss, show)]), "the loss of that step"),
    )
    cloud = Series("points", x, y, points=True, line=False)
    line = Series("the line at show_step", ends.line_x, ends.line_y, color=3, width=2.5)
    losses = Series("loss", run.step, run.loss, width=1.25)
    here = Series("show_step", mark.shown_step, mark.shown_step_loss, points=True, line=False, color=3)
    title = "The loss of each step, and where you are"
    size: dict[str, Any] = {"log": True, "x_range": (0, len(run.step))}
    charts(
        sheet,
        scatter("The line at the step you chose", "x", "y", [cloud, line], width=21, height=15),
        scatter(title, "step", "loss (powers of ten)", [losses, here], width=21, height=15, **size),
    )


def nudge_sheet(book: Book, drawn: Sheet, x: Any, y: Any, intercept: Any) -> Any:
    sheet = book.sheet(
        "nudge",
        "The gradient without its formula: a nudge",
        "Move the slope a little and see how far the loss moves: rise / nudge is nearly the gradient. The smaller the "
        "nudge, the nearer. (The intercept stays where sheet 'sgd' begins.)",
    )
    cell = inputs(sheet, "nudge_slope", "nudge", across=True)

    def errors(slope: Any) -> Any:
        return slope * x + intercept - y

    here = values(
        sheet,
        loss_here=loss(mean(errors(cell.nudge_slope) ** 2), "the mean loss at nudge_slope", MSE),
        grad_here=gradient(
            2 * mean(x * errors(cell.nudge_slope)), "the gradient there, by its formula: 2 * mean of x * (y_hat - y)"
        ),
    )
    t = steps(
        sheet,
        len(NUDGES),
        freeze=None,
        tried_nudge=check(cell.nudge / NUDGES, "nudge, and 10, 100, 1000 times smaller", digits="General", width=13),
        tried_slope=parameter(lambda t: cell.nudge_slope + t.tried_nudge, "nudge_slope + tried_nudge"),
        tried_loss=loss(lambda t: [mean(errors(slope) ** 2) for slope in t.tried_slope], "the mean loss there", MSE),
        rise=loss(lambda t: t.tried_loss - here.loss_here, "tried_loss - loss_here"),
        rise_over_nudge=gradient(lambda t: t.rise / t.tried_nudge, "rise / tried_nudge", "finite difference"),
        off_by=check(lambda t: t.rise_over_nudge - here.grad_here, "rise_over_nudge - grad_here", width=13),
    )
    curve = steps(
        drawn,
        CURVE,
        row=4,
        left=11,
        freeze=None,
        curve_slope=check(cell.nudge_slope + np.linspace(-1, 5, CURVE), "from 1 left to 5 right of nudge_slope"),
        curve_loss=loss(lambda t: [mean(errors(slope) ** 2) for slope in t.curve_slope], "the mean loss there"),
        tangent_loss=check(
            lambda t: here.loss_here + here.grad_here * (t.curve_slope - cell.nudge_slope),
            "loss_here + grad_here * (curve_slope - nudge_slope)",
        ),
    )
    ends = steps(
        drawn,
        2,
        row=4,
        left=15,
        freeze=None,
        nudge_from_to=check(np.array([cell.nudge_slope + 0, t.tried_slope[0] + 0]), "nudge_slope, and after the nudge"),
        nudge_losses=loss(np.array([here.loss_here + 0, t.tried_loss[0] + 0]), "the losses there"),
    )
    short = slice(0, CURVE // 2 + 1)
    lines = [
        Series("the loss", curve.curve_slope, curve.curve_loss, width=2.5),
        Series("the gradient's line", curve.curve_slope[short], curve.tangent_loss[short], color=2),
        Series("before and after the nudge", ends.nudge_from_to, ends.nudge_losses, points=True, color=3, width=2.5),
    ]
    sheet.chart(3, 9, scatter("The loss, by the slope", "slope", "mean loss", lines, width=27, height=18))
    sheet.width(1, 13)
    return cell.nudge


def by_hand_sheet(book: Book, drawn: Sheet, x: Any, y: Any, run: Named) -> None:
    some = slice(None, None, math.ceil(len(run.step) / PATH))
    path = steps(
        drawn,
        len(run.step[some]),
        row=4,
        freeze=None,
        path_step=counter(run.step[some], "step of 'sgd'"),
        path_intercept=parameter(finite_or(run.intercept[some], FAR), "1E+300 where it left all numbers"),
        path_slope=parameter(finite_or(run.slope[some], FAR), "1E+300 where it left all numbers"),
    )
    sheet = book.sheet(
        "by hand",
        "Be the optimiser yourself",
        "Type an intercept and a slope and bring hand_loss down. The map shows the loss of 441 lines, pale is good. "
        "The frame is where your line is, the dots are where SGD came through on sheet 'sgd'.",
    )
    row = sheet.next_row
    left, top = 8, row + 5
    sheet.width(1, 10, 7)
    sheet.width(3, 12)
    sheet.width(left, 6.6, left + GRID - 1)
    cell = inputs(sheet, "hand_intercept", "hand_slope", across=True)
    hand_loss = mean((cell.hand_slope * x + cell.hand_intercept - y) ** 2)
    sheet.write(row, 3, "hand_loss", LABEL_ABOVE)
    sheet.place("hand_loss", hand_loss, "loss", row + 1, 3, words="mean loss of your line", torch=MSE)
    limits = ("intercept_from", "intercept_to", "slope_from", "slope_to")
    cell = Named(**vars(cell), **vars(inputs(sheet, *limits, row=row, left=4, across=True)))
    along, half_intercept = axis(cell.intercept_from, cell.intercept_to, GRID)
    down, half_slope = axis(cell.slope_from, cell.slope_to, GRID)
    sheet.write(top - 2, left, "The mean loss of each line: its intercept above, its slope on the left", LABEL)
    says: dict[str, Any] = {"number_format": SHORT}
    words = "each column's intercept"
    along = sheet.place("map_intercept", along, "parameter", top - 1, left, words=words, across=True, **says)
    down = sheet.place("map_slope", down, "parameter", top, left - 1, words="each row's slope", **says)
    losses = [[mean((s * x + i - y) ** 2) for i in along] for s in down]
    grid = sheet.place("loss_map", losses, "loss", top, left, words="mean loss of each line", torch=MSE, **says)

    ways = {
        "mine": (np.array([cell.hand_intercept]), np.array([cell.hand_slope]), "1 in the cell of your line"),
        "visits": (path.path_intercept, path.path_slope, "how many of SGD's steps fall into each cell of the map"),
    }
    maps = {
        name: (visits((across, along, half_intercept), (below, down, half_slope), edges=name == "mine"), words)
        for name, (across, below, words) in ways.items()
    }
    marks = closed_maps(sheet, top, left + GRID + 1, maps)
    sheet.mark(grid, marks[0])
    sheet.dot(grid, marks[1])
    sheet.heat_map(grid)

    hand = steps(
        sheet,
        len(x),
        row=top + GRID + 2,
        freeze=None,
        hand_x=data(x, "the point's x", "x"),
        hand_y=data(y, "the point's y", "y"),
        hand_y_hat=activation(
            lambda t: cell.hand_slope * t.hand_x + cell.hand_intercept,
            "hand_slope * x + hand_intercept",
            "model(x)",
            width=12,
        ),
        hand_error=loss(lambda t: (t.hand_y_hat - t.hand_y) ** 2, "(hand_y_hat - y)^2"),
    )
    cloud = Series("points", hand.hand_x, hand.hand_y, points=True, line=False)
    line = Series("your line", hand.hand_x, hand.hand_y_hat, color=3, width=2.5)
    sheet.chart(top - 2, 1, scatter("Your line", "x", "y", [cloud, line], width=11, height=12))


def rates_sheet(book: Book, x: Any, y: Any) -> None:
    sheet = book.sheet(
        "rates",
        "Learning rate: too low, good, too high",
        "The same start and points, three learning rates; each step goes by the mean gradient of all points. Too low "
        "creeps; with a higher rate the steps zigzag from one side of the valley to the other; beyond lr_limit they "
        "climb out.",
    )
    cell = inputs(sheet, *(f"lr_{rate}" for rate in RATES), "rate_intercept", "rate_slope", across=True)
    intercept, slope = cell.rate_intercept, cell.rate_slope
    squares, centre = mean(x**2), mean(x)
    values(
        sheet,
        curvature=check(
            squares + 1 + sqrt((squares - 1) ** 2 + 4 * centre**2),
            "how fast the gradient changes in the steepest direction: the larger of the loss's two curvatures",
            "torch.linalg.eigvalsh(hessian)[-1]",
        ),
        lr_limit=check(
            lambda t: 2 / t.curvature,
            "2 / curvature: beyond this learning rate every step across the valley is longer than the last",
        ),
    )
    chart_row = sheet.next_row
    t = steps(
        sheet,
        RATE_STEPS,
        row=chart_row + 30,
        freeze=None,
        rate_step=counter(lambda t: previous(t.rate_step + 1, 1), "counts the steps", width=10),
    )

    def errors(t: Any) -> list[Any]:
        return [s * x + i - y for i, s in zip(t.intercept, t.slope, strict=True)]

    land = valley(book, x, y, intercept, slope)
    curves, ways = [], list(land.series)
    pictured = steps(book.sheets[-1], RATE_STEPS, row=land.head, left=12, freeze=None)
    for color, rate in enumerate(RATES):
        lr = cell[f"lr_{rate}"]
        run = columns(
            t.table,
            f"{rate}_",
            intercept=parameter(
                lambda t, lr=lr: previous(t.intercept - lr * t.grad_intercept, intercept), ABOVE, "model.bias"
            ),
            slope=parameter(lambda t, lr=lr: previous(t.slope - lr * t.grad_slope, slope), ABOVE, "model.weight"),
            loss=loss(lambda t: [mean(error**2) for error in errors(t)], "mean of (y_hat - y)^2", MSE),
            grad_intercept=gradient(
                lambda t: [2 * mean(error) for error in errors(t)], "2 * mean of (y_hat - y)", ".grad"
            ),
            grad_slope=gradient(
                lambda t: [2 * mean(error * x) for error in errors(t)], "2 * mean of x * (y_hat - y)", ".grad"
            ),
        )
        seen = inside(land, run.intercept, run.slope)
        way = columns(
            pictured.table,
            f"{rate}_way_",
            intercept=parameter(seen["intercept"], "as the picture shows it"),
            slope=parameter(seen["slope"], "as the picture shows it"),
        )
        label = f"lr_{rate}"
        curves.append(Series(label, t.rate_step, run.loss, width=2.25, color=color))
        ways.append(Series(label, way.intercept, way.slope, width=2.25, color=color, points=True))
    charts(
        sheet,
        scatter(
            "The loss with each learning rate",
            "step",
            "mean loss (powers of ten)",
            curves,
            width=21,
            height=15,
            log=True,
            x_range=(0, RATE_STEPS),
        ),
        scatter("Their ways over the valley of the loss", "intercept", "slope", ways, width=21, height=15),
        row=chart_row,
    )


def reference_shared(v: Named, run: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of these sheets as torch computes them; `run` holds those of the sheet `sgd`."""
    import torch
    from torch.nn.functional import mse_loss

    x, y = v.data_x, v.data_y
    shown = min(v.show_step, len(run["step"])) - 1
    intercept, slope, ends = run["intercept"][shown], run["slope"][shown], torch.stack([x.min(), x.max()])
    blocks: dict[str, Any] = {
        "shown_intercept": intercept,
        "shown_slope": slope,
        "shown_loss": mse_loss(slope * x + intercept, y),
        "line_x": ends,
        "line_y": slope * ends + intercept,
        "shown_step": run["step"][shown].view(1),
        "shown_step_loss": run["loss"][shown].view(1),
    }
    blocks |= reference_nudge(v)

    y_hat = v.hand_slope * x + v.hand_intercept
    blocks |= {"hand_x": x, "hand_y": y, "hand_y_hat": y_hat, "hand_loss": mse_loss(y_hat, y)}
    blocks["hand_error"] = mse_loss(y_hat, y, reduction="none")
    some = slice(None, None, math.ceil(len(run["step"]) / PATH))
    blocks["path_step"] = run["step"][some]
    axes, mine = [], []
    for name in ("intercept", "slope"):
        way = run[name][some]
        along, half = reference_axis(v[f"{name}_from"], v[f"{name}_to"], GRID)
        blocks |= {f"path_{name}": torch.where(way.isfinite(), way, FAR), f"map_{name}": along}
        axes.append((blocks[f"path_{name}"], along, half))
        mine.append((torch.tensor([v[f"hand_{name}"]]), along, half))
    blocks |= {"visits": reference_visits(*axes), "mine": reference_visits(*mine, edges=True)}
    y_hat = axes[1][1][:, None, None] * x + axes[0][1][None, :, None]
    blocks["loss_map"] = mse_loss(y_hat, y.expand_as(y_hat), reduction="none").mean(-1)

    hessian: Any = torch.autograd.functional.hessian(lambda p: mse_loss(p[0] * x + p[1], y), torch.zeros(2))
    curvature = torch.linalg.eigvalsh(hessian)[-1]
    blocks |= {"curvature": curvature, "lr_limit": 2 / curvature, "rate_step": torch.arange(1, RATE_STEPS + 1)}
    blocks |= reference_valley(x, y, v.rate_intercept, v.rate_slope)
    for rate in RATES:
        params = {name: torch.tensor(v[f"rate_{name}"], requires_grad=True) for name in ("intercept", "slope")}
        optimizer = torch.optim.SGD(params.values(), lr=v[f"lr_{rate}"])

        def loss_of(_: int, note: Any, params: Any = params) -> Any:
            return mse_loss(params["slope"] * x + params["intercept"], y)

        rows = vars(descend(params, optimizer, range(RATE_STEPS), loss_of))
        blocks |= {f"{rate}_{name}": column for name, column in rows.items() if not name.startswith("new_")}
        seen = reference_inside(blocks, rows["intercept"], rows["slope"])
        blocks |= {f"{rate}_way_{part}": way for part, way in seen.items()}
    return blocks


def reference_nudge(v: Named) -> dict[str, Any]:
    """The sheet `nudge`, and the curve that it draws."""
    import torch
    from torch.nn.functional import mse_loss

    def losses(slopes: Any) -> Any:
        y_hat = slopes[:, None] * v.data_x + v.intercept
        return mse_loss(y_hat, v.data_y.expand_as(y_hat), reduction="none").mean(1)

    slope = torch.tensor([v.nudge_slope], requires_grad=True)
    here = losses(slope)
    (grad,) = torch.autograd.grad(here.sum(), slope)
    nudges = v.nudge / torch.tensor(NUDGES)
    tried, around = v.nudge_slope + nudges, v.nudge_slope + torch.linspace(-1, 5, CURVE)
    here, rise = here.detach(), losses(tried) - here.detach()
    return {
        "loss_here": here[0],
        "grad_here": grad[0],
        "tried_nudge": nudges,
        "tried_slope": tried,
        "tried_loss": losses(tried),
        "rise": rise,
        "rise_over_nudge": rise / nudges,
        "off_by": rise / nudges - grad,
        "curve_slope": around,
        "curve_loss": losses(around),
        "tangent_loss": here + grad * (around - v.nudge_slope),
        "nudge_from_to": torch.stack([torch.tensor(v.nudge_slope), tried[0]]),
        "nudge_losses": torch.cat([here, losses(tried)[:1]]),
    }


def nudge_sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts."""
    x, y = np.asarray(v.data_x), np.asarray(v.data_y)
    farthest = np.abs(blocks["tried_slope"]).max() * np.abs(x).max() + abs(v.intercept) + np.abs(y).max()
    losses = np.maximum(blocks["tried_loss"], blocks["loss_here"])
    rounding = losses + 2 * np.sqrt(losses) * farthest
    quotient = rounding / blocks["tried_nudge"]
    return {"rise": rounding, "rise_over_nudge": quotient, "off_by": quotient}


LIMITS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "lr": ("learning rate: how far to step against the gradient", {"minimum": 0}),
    "batch_size": ("how many points share one step of the parameters", {"minimum": 1, "whole": True}),
    "intercept": ("where the intercept starts", {}),
    "slope": ("where the slope starts", {}),
    "show_step": ("the step whose line is drawn", {"minimum": 1, "whole": True}),
    "nudge_slope": ("the slope where you stand", {}),
    "nudge": ("how far a finite difference moves a parameter", {"above": 0}),
    "hand_intercept": ("your intercept", {}),
    "hand_slope": ("your slope", {}),
    "intercept_from": ("the map's first intercept", {}),
    "intercept_to": ("the map's last intercept", {}),
    "slope_from": ("the map's first slope", {}),
    "slope_to": ("the map's last slope", {}),
    "lr_low": ("a learning rate that is too low", {"minimum": 0}),
    "lr_good": ("a learning rate that is good", {"minimum": 0}),
    "lr_high": ("a learning rate that is too high", {"minimum": 0}),
    "rate_intercept": ("where all three start: the intercept", {}),
    "rate_slope": ("where all three start: the slope", {}),
}


def line_inputs(**starts: float) -> tuple[Input, ...]:
    """The inputs of a lesson of a line, with the values that they begin with."""
    return tuple(Input(name, start, LIMITS[name][0], **LIMITS[name][1]) for name, start in starts.items())
