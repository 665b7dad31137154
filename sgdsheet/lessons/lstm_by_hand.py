"""An LSTM on one screen: four named gates, time from left to right, and the gradients back through time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sgdsheet.book import PRECISE, SHORT, WHOLE, Book, Input, Sheet, typed
from sgdsheet.book.style import HEADING, LABEL, NOTE, Look
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Column, Named, activation, data, formulas, gradient, inputs, loss, parameter, place
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, dot, equal, matmul, maximum, mean, sigmoid, tanh, where
from sgdsheet.tensor import sum as total

STEPS, UNITS = 3, 2
GATES = ("input", "forget", "candidate", "output")  # in torch's order
MEANT = ("how much of the candidate is added", "how much of the cell is kept", "what may be added", "how much is shown")
NAMED = {"before": "cell before"}  # where the picture says more than a block's name does
SIGNALS = ("x 1", "x 2", "hidden 1", "hidden 2", "bias")  # that a gate weighs
# The first columns: the weights, the rows' names, the steps, what is said of a row, the gradients, the new weights.
WEIGHTS, NAMES, TIME, SAYS, SLOPES, NEW = 1, 7, 8, 16, 18, 24
TOP = 8
ARROW = Look(color="7F7F7F", horizontal="center")
SIGNAL = Look(color="595959", size=9, horizontal="right")


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheet `lstm`."""
    sheet = book.sheet(
        "lstm",
        "A cell that remembers, and how it learns",
        "Two columns are one step in time, one for each unit of the cell. Above, from left to right: what comes in, "
        "what the four gates say, what the cell holds. Below, from right to left: how the loss changes with each.",
    )
    sheet.width(WEIGHTS, 6.7, NEW + len(SIGNALS) - 1)
    sheet.width(NAMES, 19)
    sheet.width(SAYS, 43)
    for gap in (NAMES - 1, SLOPES - 1, NEW - 1, *(TIME + 3 * step - 1 for step in range(1, STEPS))):
        sheet.width(gap, 3)
    cell = inputs(sheet, "lr", left=NAMES, torch={"lr": "torch.optim.SGD(..., lr=lr)"})

    w = gates(sheet, WEIGHTS, "w_", lambda gate: parameter(typed(given[f"w_{gate}"]), "type here", "", PRECISE))
    last = TIME + 3 * (STEPS - 1)
    wanted = data(typed(given["target"]), "what the cell shall show in the end", "target", WHOLE)
    sheet.write(TOP - 2, last - 2, "target", LABEL)
    target = place(sheet, TOP - 2, last, "target", wanted, across=True)
    t = unrolled(sheet, given["x"], w, target)
    sheet.write(TOP - 4, last - 2, "loss", LABEL)
    place(sheet, TOP - 4, last, "loss", t.loss)
    sheet.write(TOP - 4, last + 2, t.loss.words, NOTE)
    sheet.write(TOP - 2, last + 2, wanted.words, NOTE)

    def slope(gate: str) -> Array:
        """Each weight's gradient: at every step what the gate's sum is pulled by, times what the weight multiplies."""
        pulled = t[f"grad_sum_{gate}"]
        parts = [[total(pulled[:, 0, unit] * t.x[:, 0, each]) for each in range(2)] for unit in range(UNITS)]
        held = [[total(pulled[1:, 0, unit] * t.hidden[:-1, 0, each]) for each in range(UNITS)] for unit in range(UNITS)]
        return np.array([[*parts[unit], *held[unit], total(pulled[:, 0, unit])] for unit in range(UNITS)], dtype=object)

    grads = gates(
        sheet, SLOPES, "grad_w_", lambda gate: gradient(slope(gate), f"over time: grad_sum_{gate} * signal", "", SHORT)
    )
    gates(
        sheet,
        NEW,
        "new_w_",
        lambda gate: parameter(w[gate] - cell.lr * grads[gate], "w - lr * grad", "", SHORT),
    )
    picture(sheet, TOP + 24, SLOPES, t)
    sheet.print_on_one_page()


def picture(sheet: Sheet, top: int, left: int, t: Named) -> None:
    """One unit in one step as a circuit, with its numbers: the cell's line, and the gates that open on it."""
    sheet.write(top, left, "One unit in one step, as a circuit", HEADING)
    at = inputs(sheet, "step", "unit", prefix="shown_", row=top + 1, left=left)

    def of(block: Array, step: Any = at.step) -> Any:
        row = block[0, 0, 0].row
        return Call("INDEX", Range(sheet.name, row, TIME, row, TIME + 3 * STEPS - 2), 1, 3 * (step - 1) + at.unit)

    line, gate, below = top + 5, top + 7, top + 9
    first = equal(at.step, 1)
    shown = Named()
    for name, row, right, formula, words in (
        ("before", line, 0, where(first, 0, of(t.cell, maximum(at.step - 1, 1))), "the cell of the step before"),
        ("forget", gate, 2, of(t.forget), "forget of that step and unit"),
        ("input", below, 3, of(t.input), "input of that step and unit"),
        ("candidate", below, 6, of(t.candidate), "candidate of that step and unit"),
        ("added", gate, 4, lambda: shown.input * shown.candidate, "input * candidate"),
        ("cell", line, 6, lambda: shown.before * shown.forget + shown.added, "before * forget + added"),
        ("output", gate, 8, of(t.output), "output of that step and unit"),
        ("hidden", line, 10, lambda: tanh(shown.cell) * shown.output, "tanh(cell) * output"),
    ):
        column = activation(formula() if callable(formula) else formula, words, "", SHORT)
        setattr(shown, name, place(sheet, row, left + right, f"shown_{name}", column).item())
        sheet.write(row - 1 if row == line else row + 1, left + right, NAMED.get(name, name), SIGNAL)
    circuit = {1: "→", 2: "×", 3: "→", 4: "+", 5: "→", 7: "tanh →", 8: "×", 9: "→"}
    for row, signs in ((line, circuit), (line + 1, dict.fromkeys((2, 4, 8), "↑")), (below, {4: "×"})):
        for right, sign in signs.items():
            sheet.write(row, left + right, sign, ARROW)


def gates(sheet: Sheet, left: int, prefix: str, made: Callable[[str], Column]) -> dict[str, Array]:
    """A block a gate below each other, each (units, 5): the weights of x and of hidden, and the bias."""
    blocks = {}
    for number, (gate, meaning) in enumerate(zip(GATES, MEANT, strict=True)):
        top = TOP - 1 + 6 * number
        each = made(gate)
        sheet.write(top, left, f"{prefix}{gate}", HEADING)
        sheet.write(top + 1, left, meaning if prefix == "w_" else each.words, NOTE)
        flow.labels(sheet, top + 2, left, SIGNALS, SIGNAL, across=True)
        blocks[gate] = place(sheet, top + 3, left, f"{prefix}{gate}", each)
    return blocks


def unrolled(sheet: Sheet, x: Any, w: Mapping[str, Array], target: Array) -> Named:
    """All that the cell computes, a row a block, each (steps, 1, units); and the `loss`, yet to be placed."""
    zeros = np.zeros((1, 1, UNITS), dtype=object)

    def before(block: Array) -> Array:
        return np.concatenate([zeros, block[:-1]])

    def after(block: Array) -> Array:
        return np.concatenate([block[1:], zeros])

    def weighed(gate: str) -> Column:
        def formula(t: Named) -> Array:
            weights = w[gate]
            seen = [dot(t.x[0], weights[:, :2])]
            seen += [dot(t.x[k], weights[:, :2]) + dot(t.hidden[k - 1], weights[:, 2:4]) for k in range(1, STEPS)]
            return np.stack(seen) + weights[:, 4]

        return activation(formula, f"w_{gate} * (x, the hidden before) + bias", "", SHORT)

    def through(gate: str) -> Column:
        """Back through the sigmoid, or tanh, of a gate."""
        if gate == "candidate":
            formula, words = (lambda t: t.grad_candidate * (1 - t.candidate**2)), "* (1 - candidate^2)"
        else:
            formula = lambda t: t[f"grad_{gate}"] * t[gate] * (1 - t[gate])  # noqa: E731
            words = f"* {gate} * (1 - {gate})"
        return gradient(formula, f"grad_{gate} {words}", f"sum_{gate}.grad", SHORT)

    def sent_back(t: Named) -> Array:
        """What the next step's gates pull at this one's hidden."""
        later = [sum(matmul(t[f"grad_sum_{gate}"][k], w[gate][:, 2:4]) for gate in GATES) for k in range(1, STEPS)]
        wrong = 2 * (t.hidden[-1] - target) / UNITS
        return np.stack([*later, wrong])

    forward = {"x": data(typed(x), "what comes in: type here", "x", WHOLE)}
    forward |= {f"sum_{gate}": weighed(gate) for gate in GATES}
    forward |= {
        gate: activation(lambda t, gate=gate: sigmoid(t[f"sum_{gate}"]), f"sigmoid(sum_{gate})", gate, SHORT)
        for gate in GATES
    }
    forward["candidate"] = activation(lambda t: tanh(t.sum_candidate), "tanh(sum_candidate)", "candidate", SHORT)
    forward["cell"] = activation(
        lambda t: t.forget * before(t.cell) + t.input * t.candidate,
        "forget * the cell before + input * candidate",
        "c_t",
        SHORT,
    )
    forward["hidden"] = activation(lambda t: t.output * tanh(t.cell), "output * tanh(cell)", "h_t", SHORT)
    backward = {
        "grad_hidden": gradient(sent_back, "from the step after; the last: hidden - target", "h_t.grad", SHORT),
        "grad_output": gradient(
            lambda t: t.grad_hidden * tanh(t.cell), "grad_hidden * tanh(cell)", "output.grad", SHORT
        ),
        "grad_cell": gradient(
            lambda t: t.grad_hidden * t.output * (1 - tanh(t.cell) ** 2) + after(t.grad_cell) * after(t.forget),
            "grad_hidden * output * (1 - tanh(cell)^2) + kept",
            "c_t.grad",
            SHORT,
        ),
        "grad_candidate": gradient(lambda t: t.grad_cell * t.input, "grad_cell * input", "candidate.grad", SHORT),
        "grad_forget": gradient(
            lambda t: t.grad_cell * before(t.cell), "grad_cell * the cell before", "forget.grad", SHORT
        ),
        "grad_input": gradient(lambda t: t.grad_cell * t.candidate, "grad_cell * candidate", "input.grad", SHORT),
        **{f"grad_sum_{gate}": through(gate) for gate in GATES},
    }
    t = Named()
    for first, half in ((TOP, forward), (TOP + len(forward) + 2, backward)):
        for row, (name, each) in enumerate(half.items(), first):
            sheet.write(row, NAMES, name, LABEL)
            sheet.write(row, SAYS, each.words, NOTE)
            layout: dict[str, Any] = {"words": each.words, "torch": each.torch}
            setattr(t, name, sheet.block(name, (STEPS, 1, UNITS), each.role, row, TIME, **layout))
        for step in range(STEPS):
            sheet.write(first - 1, TIME + 3 * step, f"step {step + 1}", LABEL)
            if step:
                sheet.write(first - 1, TIME + 3 * step - 1, "→" if half is forward else "←", ARROW)
    for name, each in (forward | backward).items():
        sheet.fill(name, formulas(each, t), each.digits)
    t.loss = loss(
        mean((t.hidden[-1] - target) ** 2), "the mean of (hidden - target)^2", "F.mse_loss(h_n, target)", SHORT
    )
    return t


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64: the weights' gradients by `torch.nn.LSTM`, a gate's by autograd."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    w = {gate: v[f"w_{gate}"].clone().requires_grad_() for gate in GATES}
    optimizer = torch.optim.SGD(w.values(), lr=v.lr)
    whole = torch.cat([*w.values()])
    named = {"weight_ih_l0": whole[:, :2], "weight_hh_l0": whole[:, 2:4], "bias_ih_l0": whole[:, 4]}
    lstm = torch.nn.LSTM(2, UNITS).double()
    hidden, _ = torch.func.functional_call(lstm, named | {"bias_hh_l0": torch.zeros(4 * UNITS).double()}, (v.x,))
    loss = F.mse_loss(hidden[-1, 0], v.target)
    loss.backward()
    blocks = {"loss": loss, "hidden": hidden} | {f"grad_w_{gate}": each.grad for gate, each in w.items()}
    inner = opened(v, {gate: each.detach() for gate, each in w.items()})
    blocks |= inner
    now = {name: inner[name][v.shown_step - 1, 0, v.shown_unit - 1] for name in (*GATES, "cell")}
    before = inner["cell"][v.shown_step - 2, 0, v.shown_unit - 1] if v.shown_step > 1 else 0
    now |= {"before": before, "added": now["input"] * now["candidate"]}
    now["hidden"] = hidden[v.shown_step - 1, 0, v.shown_unit - 1]
    blocks |= {f"shown_{name}": each for name, each in now.items()}
    optimizer.step()
    return blocks | {f"new_w_{gate}": each for gate, each in w.items()}


def opened(v: Named, w: Mapping[str, Any]) -> dict[str, Any]:
    """What `torch.nn.LSTM` does not show: each gate at each step, and the gradient of each."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    rows: dict[str, list[Any]] = {}

    def kept(name: str, value: Any) -> Any:
        value.requires_grad_().retain_grad()
        rows.setdefault(name, []).append(value)
        return value

    hidden = cell = torch.zeros(1, UNITS, dtype=torch.float64)
    for x in v.x:
        seen = torch.cat([x, hidden, torch.ones(1, 1)], 1)
        sums = {gate: kept(f"sum_{gate}", seen @ each.T) for gate, each in w.items()}
        opening = {
            gate: kept(gate, torch.tanh(each) if gate == "candidate" else torch.sigmoid(each))
            for gate, each in sums.items()
        }
        cell = kept("cell", opening["forget"] * cell + opening["input"] * opening["candidate"])
        hidden = kept("hidden", opening["output"] * torch.tanh(cell))
    F.mse_loss(hidden[0], v.target).backward()
    blocks = {name: torch.stack(each) for name, each in rows.items() if name != "hidden"}
    return blocks | {f"grad_{name}": torch.stack([one.grad for one in each]) for name, each in rows.items()}


ABOUT = [
    "A recurrent network reads step by step, and must carry along what it has seen. The cell of an LSTM is a number "
    "that stays as it is unless a gate changes it: one gate says how much of it is kept, one how much of something new "
    "is added, one how much of it is shown. Each gate is a sigmoid, a number from 0 to 1, of a weighed sum.",
    "To learn, the loss at the end is followed back: from the last step to the first, through every gate. A gradient "
    "that goes back through the cell is multiplied by the forget gate, so that an open one lets it through.",
]
TRY = [
    "Make the forget gate's bias -5: the cell forgets at once, and grad_cell of the first step is nearly 0: what came "
    "in there cannot be learned any more. Make it 5: it keeps everything.",
    "Make the output gate's bias -5: the cell holds the same, but shows nothing.",
    "Set shown_step to 1, 2 and 3, and follow the cell through its circuit: what is kept, added, shown?",
    "Change x of the first step and see how far to the right the change goes.",
    "Set lr to 1 and copy the values of the new weights over the old ones, a few times: hidden nears the target.",
]
STARTS: dict[str, Any] = {
    "x": [[[1, 0]], [[0, 1]], [[1, 1]]],
    "target": [1, 0],
    "w_input": [[1, 0, 0, 1, 0], [0, 1, 1, 0, 0]],
    "w_forget": [[0, 1, 0, 0, 1], [1, 0, 0, 0, 1]],
    "w_candidate": [[2, -1, 1, 0, 0], [-1, 2, 0, 1, 0]],
    "w_output": [[1, 1, 0, 0, 0], [0, 1, 0, 1, 0]],
}
EXERCISES = (
    Exercise(
        "grad_candidate",
        1,
        "How fast does the loss grow with each candidate? The cell has it times the input gate. Three steps in time, "
        "two units.",
        {
            "the input gate is missing": lambda t: t.grad_cell,
            "that is the input gate's": lambda t: t.grad_cell * t.candidate,
        },
    ),
    Exercise(
        "new_w_forget",
        2,
        "One step of gradient descent for the forget gate's weights.",
        {
            "it climbs: step against it": lambda t: t.w_forget + t.lr * t.grad_w_forget,
            "lr is missing": lambda t: t.w_forget - t.grad_w_forget,
            "the old weights are missing": lambda t: -t.lr * t.grad_w_forget,
        },
    ),
    Exercise(
        "cell",
        3,
        "What the unit keeps: the cell before times forget, plus candidate times input. Before the first step it is 0.",
        {"what was there before is missing": lambda t: t.input * t.candidate},
    ),
    Exercise(
        "hidden",
        3,
        "What the unit shows: the tanh of its cell, times output.",
        {"tanh is missing": lambda t: t.output * t.cell, "output is missing": lambda t: tanh(t.cell)},
    ),
)

LSTM_BY_HAND = Lesson(
    "lstm_by_hand",
    "an LSTM on one screen: four named gates over three steps in time, and the gradients back through them",
    (
        Input("lr", 1, "learning rate", minimum=0),
        Input("shown_step", 2, "of the three", minimum=1, maximum=STEPS, whole=True),
        Input("shown_unit", 1, "of the two", minimum=1, maximum=UNITS, whole=True),
    ),
    Data({name: np.ndim(numbers) for name, numbers in STARTS.items()}, lambda source: STARTS),
    build=build,
    reference=reference,
    title="An LSTM, by hand",
    about=ABOUT,
    things_to_try=TRY,
    again={f"w_{gate}": f"new_w_{gate}" for gate in GATES},
    exercises=EXERCISES,
)
