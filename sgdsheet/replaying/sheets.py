"""The workbook of a replay: an overview, and a sheet for each weight with its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import NUMBER, Book, Input, Series, Sheet, scatter, typed
from sgdsheet.book.style import LINK, NOTE, TABLE_CELL, TABLE_HEAD
from sgdsheet.expr import Call, Range, Text, choose, compare
from sgdsheet.lessons import flow
from sgdsheet.lessons.flow import Column, Named, check, counter, data, parameter, state
from sgdsheet.optim import Optimizer
from sgdsheet.reference import REPLAY
from sgdsheet.replaying import chain, rounding
from sgdsheet.replaying.followed import OPTIONAL, Followed, note
from sgdsheet.tensor import greater, index, largest, maximum, span, where

SMALL, POWERS, DIGITS = "0.0E+00", "0.00E+00", "0.000000"
ROOM = 16  # rows for the charts of a weight's sheet


def book_of(weights: Sequence[Followed], source: str, cut: str) -> Book:
    """The book, not yet written. `source` says what was replayed, `cut` which of its steps, where that is not all."""
    inputs = [each for number, weight in enumerate(weights, start=1) for each in _inputs(number, weight)]
    book = Book(REPLAY, "A training, replayed", _about(weights, source, cut), _try(weights), inputs)
    overview = book.sheet("overview", f"What the trainer did to {len(weights)} weights, and what the formulas say", cut)
    runs = [_weight_sheet(book, number, weight) for number, weight in enumerate(weights, start=1)]
    _overview(overview, weights, runs)
    return book


def fixed(number: int, optimizer: str, dtype: str, flags: str) -> list[Input]:
    """The cells that say which formulas there are."""
    says = {"optimizer": (optimizer, "the class in torch.optim"), "dtype": (dtype, "what the weight is stored in")}
    says["flags"] = flags, "the optimizer's flags that are set"
    return [Input(f"w{number}_{n}", value, words, choices=(value,), fixed=True) for n, (value, words) in says.items()]


def free(number: int, optimizer: Optimizer, name: str, value: float) -> Input:
    """The cell of a hyperparameter that is the same in all steps."""
    words, limits = optimizer.meaning(name)
    return Input(f"w{number}_{name}", value, words, **limits)


def _inputs(number: int, weight: Followed) -> list[Input]:
    flags = [
        name
        for name, value in {**weight.flags, "capturable": weight.capturable, "fused": weight.fused}.items()
        if value
    ]
    said = fixed(number, weight.optimizer.name, weight.dtype, ", ".join(flags) or "none")
    return [*said, *(free(number, weight.optimizer, name, weight.constant[name]) for name in _constants(weight))]


def _constants(weight: Followed) -> list[str]:
    """The hyperparameters that have one cell: not those that are 0 and have no formula."""
    return [name for name, value in weight.constant.items() if value or name not in OPTIONAL]


# --- a weight ---------------------------------------------------------------------------------------------------------


def _weight_sheet(book: Book, number: int, weight: Followed) -> Named:
    prefix, optimizer = f"w{number}_", weight.optimizer
    name = f"{number} {weight.name.partition('[')[0]}"[:31]
    ended = f" The rows end here: {weight.end}." if weight.end else ""
    sheet = book.sheet(
        name,
        weight.name,
        f"{optimizer.summary} Gradients are data, all else is chained from the weight in 'start'; beside it what the "
        f"trainer had in {weight.dtype}.{ended}",
    )
    cell = flow.inputs(
        sheet, *(each.name.removeprefix(prefix) for each in _inputs(number, weight)), prefix=prefix, across=True
    )
    h: dict[str, Any] = {each: getattr(cell, each) if hasattr(cell, each) else 0 for each in weight.constant}
    start = _starts(sheet, prefix, weight)
    chart_row = sheet.next_row
    t = flow.steps(
        sheet,
        weight.steps,
        prefix,
        row=chart_row + ROOM,
        freeze=None,
        short=True,
        width=10,
        **_columns(weight, h, start),
    )
    sheet.repeat_rows(t.head, t.first - 1)
    h |= {each: t[each] for each in weight.varying}
    if weight.fresh:
        _begin_fresh(sheet, prefix, weight, h)
    _fill(t, prefix, weight, h, start)
    for row in range(weight.steps):
        if said := note(weight, row):
            sheet.write(t.first + row, t.table.next_column, said, NOTE)
    for row, why in enumerate(weight.why):
        if row or not weight.fresh:
            sheet.write(start["first"] + row, start["next"], why, NOTE)
    flow.charts(sheet, *_charts(t), row=chart_row)
    sheet.next_row = t.first + weight.steps + 1
    return t


def _starts(sheet: Sheet, prefix: str, weight: Followed) -> dict[str, Any]:
    """The table of where the chain begins: a row for each beginning, mostly one."""
    rows = weight.starts

    def begun(name: str) -> Any:
        return None if weight.fresh else typed([weight.start(name, row) for row in rows])

    columns: dict[str, Any] = {
        "begins": counter(1 + np.array(rows), "the row below in which it begins"),
        "count": counter(typed([float(weight.count(row)) for row in rows]), "steps before", "state['step']"),
        "param": data(typed([weight.data["param"][row] for row in rows]), "the weight", "param", digits=DIGITS),
        **{name: data(begun(name), "before the step", f"state['{name}']", POWERS) for name in weight.states},
    }
    t = flow.steps(sheet, len(rows), f"{prefix}start_", freeze=None, short=True, width=10, **columns)
    sheet.row_heights[t.first + len(rows)] = 6
    return {
        **{name: t[name] for name in columns},
        "first": t.first,
        "next": t.table.next_column,
        "table": t,
    }


def _begin_fresh(sheet: Sheet, prefix: str, weight: Followed, h: Mapping[str, Any]) -> None:
    """Fills in the states that torch begins with, which may be one of the hyperparameters."""
    for name in weight.states:
        values = []
        for row in weight.starts:
            at = {each: value[row] if isinstance(value, np.ndarray) else value for each, value in h.items()}
            values.append(weight.optimizer.init(**chain.given(weight.optimizer, weight.flags, at))[name])
        sheet.fill(f"{prefix}start_{name}", np.array(values, dtype=object), POWERS)


def _columns(weight: Followed, h: Mapping[str, Any], start: Mapping[str, Any]) -> dict[str, Any]:
    optimizer, states, recorded = weight.optimizer, weight.states, weight.data
    begins = weight.starts
    skips = not weight.taken.all()
    folded: dict[str, Any] = {"folded": True}
    columns: dict[str, Any] = {"step": counter(recorded["step"], "of the run")}
    if skips:
        columns["taken"] = counter(typed(weight.taken), "1: taken", width=6)
    columns["count"] = counter(
        lambda t: chain.before(t.count, begins, start["count"]) + (t.taken if skips else 1),
        "count above + 1",
        "state['step']",
    )
    for name, values in weight.varying.items():
        digits = POWERS if name == "lr" else "0.0000"
        columns[name] = data(typed(values), optimizer.meaning(name)[0], f"group['{name}']", digits=digits, width=11)
    if optimizer.takes_loss:
        columns["loss"] = data(typed(recorded["loss"]), "recorded", "loss")
    columns["grad"] = data(
        typed(np.where(np.isfinite(recorded["grad"]), recorded["grad"], 0)), "recorded", "param.grad", POWERS
    )
    hyperparameters = {**h, **dict.fromkeys(weight.varying, 1.0)}
    for name, words in chain.placed(optimizer, weight.flags, hyperparameters).items():
        if name == "new_param":
            columns[name] = parameter(None, words, "param, after the step", digits=DIGITS)
        elif name in states:
            columns[name] = state(None, words, f"state['{name}']")
        else:
            columns[name] = Column("activation", None, words)
    columns["trainer"] = data(typed(recorded["new_param"]), "what the trainer had", "param", digits=DIGITS, width=11)
    columns["difference"] = check(lambda t: t.new_param - t.trainer, "new_param - trainer", digits=SMALL)
    columns["allowed"] = check(None, "how far it may be off", digits=SMALL)
    columns["lower"] = check(lambda t: -t.allowed, "-allowed", digits=SMALL)
    columns["moved"] = parameter(lambda t: t.new_param - start["param"][0], "from the start", digits=DIGITS)
    columns["share"] = check(
        lambda t: share(t, weight, "new_param"), "of what this step alone may be off", digits="0.00"
    )
    columns["from_param"] = parameter(None, "one step from what the trainer had", digits=DIGITS, **folded)
    for name in states:
        had = np.where(np.isfinite(recorded[name]), recorded[name], 0)
        columns[f"trainer_{name}"] = data(typed(had), f"the trainer's {name}", f"state['{name}']", POWERS, **folded)
        columns[f"from_{name}"] = state(None, "one step from what the trainer had", **folded)
        columns[f"rounding_{name}"] = check(None, "how far one step may be off", digits=SMALL, **folded)
    columns["move"] = check(None, "the size of what the step is made of", digits=SMALL, **folded)
    columns["rounding"] = check(None, "how far one step may be off", digits=SMALL, **folded)
    columns["worst"] = check(lambda t: worst(t, weight), "the largest share, of the weight and the states", **folded)
    columns["off"] = counter(lambda t: where(greater(t.worst, 1), 1, 0), "1 where more than allowed", **folded)
    return columns


def share(t: Any, weight: Any, of: str) -> Any:
    """What the weight or a state is off by after one step, as a share of what it may be; in float64 after all steps."""
    if of == "new_param":
        return ((t.new_param if rounding.exact(weight) else t.from_param) - t.trainer) / t.rounding
    return ((t[of] if rounding.exact(weight) else t[f"from_{of}"]) - t[f"trainer_{of}"]) / maximum(
        t[f"rounding_{of}"], TINIEST
    )


def worst(t: Any, weight: Any) -> Any:
    """The largest share of the weight and its states."""
    found = tensor.abs(t.share)
    for name in weight.states:
        found = maximum(found, tensor.abs(share(t, weight, name)))
    return found


TINIEST = 1e-300  # in place of an allowance of 0


def _digits(name: str) -> str:
    if name in ("new_param", "decayed_param"):
        return DIGITS
    return NUMBER if name in chain.OF_THE_STEP else POWERS


def _fill(t: Named, prefix: str, weight: Followed, h: dict[str, Any], start: Mapping[str, Any]) -> None:
    """The recurrence, chained; the same from what the trainer had; and how far they may be apart."""
    optimizer, states, begins = weight.optimizer, weight.states, weight.starts
    arguments = chain.given(optimizer, weight.flags, h)
    taken = None if weight.taken.all() else t.taken

    def place(name: str, array: Any, words: str) -> Any:
        t.table.fill(f"{prefix}{name}", array, _digits(name))
        return t[name]

    def place_from(name: str, array: Any, words: str) -> Any:
        if name in chain.OF_THE_STEP and name not in states:
            return t[name]
        if name != "new_param" and name not in states:
            return array
        own = "from_param" if name == "new_param" else f"from_{name}"
        t.table.fill(f"{prefix}{own}", array, _digits(name))
        return t[own]

    old = {name: chain.before(t[name], begins, start[name]) for name in states}
    chain.step(optimizer, arguments, place, chain.before(t.new_param, begins, start["param"]), old, t, taken)
    param = chain.before(t.trainer, begins, start["param"])
    had = {name: chain.before(t[f"trainer_{name}"], begins, start[name]) for name in states}
    chain.step(optimizer, arguments, place_from, param, had, t, taken)
    for name, array in bounds(weight, h, t, param, had).items():
        t.table.fill(f"{prefix}{name}", array, SMALL)


def bounds(weight: Any, h: Mapping[str, Any], t: Any, param: Any, had: Mapping[str, Any]) -> dict[str, Any]:
    """The columns `move`, `rounding`, `rounding_…` and `allowed`, of cells or of numbers.

    `weight` says `optimizer`, `flags`, `dtype`, `capturable`, `fused` and `states`; `t` has the columns that are there
    already; `param` and `had` are what the trainer had before each step.
    """
    optimizer, states = weight.optimizer, weight.states
    names = {each for each in chain.OF_THE_STEP if hasattr(t, each) and each not in states}
    v: dict[str, Any] = {each: t[each] for each in names} | {"grad": t.grad, "param": param, "step": t.count}
    v |= {"new_param": t.from_param}
    for name in states:
        v |= {f"old_{name}": had[name], name: t[f"from_{name}"]}
    sizes = rounding.sizes(optimizer.name, h, weight.flags, v, fused=weight.fused)
    decoupled = optimizer.name == "AdamW" or weight.flags.get("decoupled_weight_decay", False)
    decays = optimizer.name == "ASGD" or (decoupled and rounding.given(h.get("weight_decay", 0)))
    found = {"move": sizes["move"]}
    placed = sizes | ({"move": t.move} if hasattr(t, "move") else {})
    for name in ("new_param", *states):
        own = "rounding" if name == "new_param" else f"rounding_{name}"
        scalar = name in optimizer.scalars
        found[own] = rounding.rounding(weight, name, placed, v, decays=decays, scalar=scalar) + 0 * t.count
    alone = t.rounding if hasattr(t, "rounding") else found["rounding"]
    return found | {"allowed": alone if rounding.exact(weight) else tensor.abs(t.new_param - t.from_param) + alone}


def _charts(t: Named) -> list[Any]:
    x: dict[str, Any] = {"width": 19.8, "height": 8.1}
    paths = [
        Series("what the trainer had", t.step, t.trainer, points=True, line=False, color="BFBFBF"),
        Series("the formulas", t.step, t.new_param, color=0),
    ]
    off = [
        Series("difference", t.step, t.difference, color=3),
        Series("allowed", t.step, t.allowed, color="7F7F7F", width=1.25),
        Series("", t.step, t.lower, color="7F7F7F", width=1.25),
    ]
    return [
        scatter("The weight after each step", "step", "weight", paths, **x),
        scatter("The difference, and how far it may be off", "step", "difference", off, **x),
    ]


# --- all of them ------------------------------------------------------------------------------------------------------


def _overview(sheet: Sheet, weights: Sequence[Followed], runs: Sequence[Named]) -> None:
    """A line for each weight, the loss, the learning rates, the ways of all weights, and how near they are."""
    longest = max(weights, key=lambda each: each.steps)
    top, count = sheet.next_row, len(weights)
    sheet.width(1, 34)
    heads = ("weight", "optimizer, stored in", "verdict")
    table = sheet.table(top, 4, count)
    for column, text in enumerate(heads, start=1):
        sheet.write(table.head, column, text, TABLE_HEAD)
        sheet.write(table.head + 1, column, "", TABLE_HEAD)
    sheet.width(2, 20)
    sheet.width(3, 30)
    for row, (weight, run) in enumerate(zip(weights, runs, strict=True)):
        first = run.step[0]
        sheet.link(table.first + row, 1, f"{row + 1} {weight.name}", Range(first.sheet, 1, 1, 1, 1), LINK)
        sheet.write(table.first + row, 2, f"{weight.optimizer.name}, {weight.dtype}", TABLE_CELL)
    t = flow.columns(
        table,
        "overview_",
        short=True,
        largest=check(
            np.array([largest(tensor.abs(run.difference)) for run in runs], dtype=object),
            "largest difference",
            digits=SMALL,
            width=12,
        ),
        allowed=check(
            np.array([largest(run.allowed) for run in runs], dtype=object),
            "the most that is allowed",
            digits=SMALL,
            width=12,
        ),
        worst=check(
            np.array([largest(run.worst) for run in runs], dtype=object),
            "largest share of what one step may be off, states too",
            width=12,
        ),
    )
    for row, (run, weight) in enumerate(zip(runs, weights, strict=True)):
        where_ = index(run.step, Call("MATCH", 1, span(run.off), 0))
        agrees = Text(f"agrees{f'; {weight.end}' if weight.end else ''}")
        said = choose(
            compare("<=", t.worst[row], 1), agrees, Call("CONCATENATE", Text("differs first at step "), where_)
        )
        sheet.write(table.first + row, 3, said, TABLE_CELL)
    chart_row = table.first + count + 1
    losses = np.isfinite(longest.data["loss"]).all()
    columns: dict[str, Any] = {"step": counter(longest.data["step"], "of the run")}
    if losses:
        columns["loss"] = data(longest.data["loss"], "recorded", "loss")
    s = flow.steps(sheet, longest.steps, "run_", row=chart_row + 26, left=4, freeze=None, short=True, **columns)
    rates = {}
    for weight, run in zip(weights, runs, strict=True):
        if "lr" in weight.varying:
            rates.setdefault(tuple(weight.varying["lr"]), Series(weight.name, run.step, run.lr, color=len(rates)))
    size: dict[str, Any] = {"width": 20.6, "height": 6.1}
    made = [scatter("The loss", "step", "loss", [Series("loss", s.step, s.loss, color=0)], **size)] if losses else []
    if rates:
        made.append(scatter("The learning rate", "step", "lr", [*rates.values()][:6], **size))
    ways = [Series(str(n + 1), run.step, run.moved, color=n) for n, run in enumerate(runs)]
    shares = [Series(str(n + 1), run.step, run.share, color=n, width=1.25) for n, run in enumerate(runs)]
    made.append(scatter("How far each weight went from where it began", "step", "new_param - start", ways, **size))
    made.append(
        scatter(
            "How far each step alone is off, as a share of what it may be",
            "step",
            "share",
            shares,
            y_range=(-1, 1),
            **size,
        )
    )
    flow.charts(sheet, *made, row=chart_row)
    sheet.next_row = s.first + longest.steps + 1


def _about(weights: Sequence[Followed], source: str, cut: str) -> list[str]:
    steps, kinds = max(each.steps for each in weights), dict.fromkeys(each.dtype for each in weights)
    dtype = " and ".join(kinds)
    return [
        f"{len(weights)} weights of {source}, followed through {steps:,} steps. Each gradient is what the optimizer "
        "saw in the real training; what it made of it, momentum, mean squares, bias corrections, decay, new weight, "
        "are the formulas of the small sheets, chained from the first weight alone. Beside each: what the trainer had.",
        f"The trainer calculates in {dtype}, these cells in float64. How far they may be apart is a formula too, "
        "'allowed': what the difference so far makes of the step (the same formula from what the trainer had, in "
        "'from_param') and the roundings of this one step: 16 of the size of its move, and one to three of the weight. "
        "'share' is how much of those roundings this step alone needs: above 1 it was not this formula. A "
        "rounding is one part in 2^24 in float32, in 2^8 in bfloat16. In float64 all is to be within 1e-12. A wrong "
        "beta, a bias "
        "correction that is missing, a weight decay that is not applied is far more, and is told with its step.",
    ]


def _try(weights: Sequence[Followed]) -> list[str]:
    first = weights[0]
    name = f"1 {first.name.partition('[')[0]}"[:31]
    constant = [each for each in _constants(first) if each != "lr"]
    tries = [f"On '{name}', change a gradient: all later steps follow, and leave what the trainer had."]
    if constant:
        tries.append(f"On '{name}', change {constant[0]}: the verdict on the overview says at which step it tells.")
    tries.append(
        "On 'overview', see the verdicts, the schedule, the ways of all weights, and that no difference drifts."
    )
    return tries
