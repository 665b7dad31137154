"""From scores to probabilities to the loss and its gradient: softmax and cross-entropy, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, WHOLE, Book, Input, Series, scatter
from sgdsheet.book.style import LABEL, NOTE
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Named, activation, check, counter, data, gradient, inputs, loss, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, argmax, equal, exp, index, largest, log, maximum, mean, one_hot, where
from sgdsheet.tensor import sum as total

ANIMALS = ("cat", "dog", "bird", "fish", "horse")
CLASSES = ANIMALS[:3]
Z = np.arange(-16, 17)  # the rows of the sheets of two classes, in steps
BINARY = "F.binary_cross_entropy_with_logits(z, y)"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `one example`, `batch`, `sigmoid`, `confident mistake`."""
    one_example_sheet(book, given["logits"])
    batch_sheet(book, given["batch_logits"], given["batch_label"])
    sigmoid_sheet(book)
    mistake_sheet(book)


def one_example_sheet(book: Book, logits: Any) -> None:
    sheet = book.sheet(
        "one example",
        "One picture, five animals it could show",
        "From left to right: the logits, e to their power, their shares, and the loss of the animal that it really is.",
    )
    cell = inputs(sheet, "label", "shift", "temperature", "nudge", torch={"label": "target"})
    summary = sheet.next_row
    table = sheet.table(summary + 7, 2, len(ANIMALS))
    flow.labels(sheet, table.first, 1, ANIMALS)
    t = flow.columns(
        table,
        width=13,
        class_number=counter(np.arange(len(ANIMALS)), "counts from 0"),
        logits=data(typed(logits), "scores: type here", "logits"),
        scaled=activation(lambda t: (t.logits + cell.shift) / cell.temperature, "(logits + shift) / temperature"),
        exp_scaled=activation(lambda t: exp(t.scaled - largest(t.scaled)), "e ^ (scaled - largest scaled)"),
        softmax=activation(lambda t: t.exp_scaled / total(t.exp_scaled), "exp_scaled / total", "F.softmax(scaled, 0)"),
        log_softmax=activation(
            lambda t: t.scaled - largest(t.scaled) - log(total(t.exp_scaled)),
            "scaled - largest - log(total)",
            "F.log_softmax(scaled, 0)",
        ),
        one_hot=data(
            lambda t: where(equal(t.class_number, cell.label), 1, 0), "1 at the label", "F.one_hot(target, 5)", WHOLE
        ),
        grad=gradient(lambda t: t.softmax - t.one_hot, "softmax - one_hot", "scaled.grad"),
        fd_grad=gradient(None, "(loss_up - loss_down) / (2 * nudge), see below", "finite difference", width=15),
        naive_exp=activation(lambda t: exp(t.scaled), "e ^ scaled, as one would first write it"),
        naive_softmax=activation(lambda t: t.naive_exp / total(t.naive_exp), "naive_exp / their sum"),
    )
    sheet.heat_map(t.softmax, HEAT)
    values(
        sheet,
        row=summary,
        largest=activation(largest(t.scaled), "the largest scaled logit: subtracting it changes no share"),
        total=activation(total(t.exp_scaled), "the sum of exp_scaled"),
        sum_of_softmax=check(total(t.softmax), "probabilities add up to 1"),
        loss=loss(
            -total(t.one_hot * t.log_softmax), "minus the log_softmax of the label", "F.cross_entropy(scaled, target)"
        ),
        predicted=counter(argmax(t.scaled), "the class with the largest logit", "logits.argmax()"),
    )
    sheet.write(summary + 5, 1, NATURAL, NOTE)
    sheet.width(1, 18)
    dots = Series("softmax", t.class_number, t.softmax, points=True, line=False)
    sheet.chart(3, 9, scatter("Probabilities", "class number", "softmax", [dots], width=13, height=6, y_range=(0, 1)))

    losses = []
    for row, side, sign in ((table.first + 7, "up", 1), (table.first + 16, "down", -1)):
        sheet.write(row, 2, f"Each row: the scaled logits, one of them nudged {side}, and the loss that follows", LABEL)
        nudged = t.scaled + np.eye(len(ANIMALS), dtype=object) * (sign * cell.nudge)
        words = f"scaled, the row's own logit {'+' if sign > 0 else '-'} nudge"
        nudged = sheet.headed(f"nudged_{side}", nudged, "activation", row + 1, 2, words=words)
        entropy = [log(total(exp(z - largest(z)))) - (index(z, cell.label + 1) - largest(z)) for z in nudged]
        says: dict[str, Any] = {"words": "its cross-entropy", "torch": "F.cross_entropy(nudged, target)"}
        losses.append(sheet.headed(f"loss_{side}", entropy, "loss", row + 1, 8, number_format="0.00000000", **says))
    table.fill("fd_grad", (losses[0] - losses[1]) / (2 * cell.nudge))


def batch_sheet(book: Book, logits: Any, labels: Any) -> None:
    sheet = book.sheet(
        "batch",
        "Several pictures at once: a mini-batch",
        "A row is one picture. The loss of the batch is the mean of the rows' losses, so each row's gradient is "
        "divided by the number of rows.",
        "With label smoothing the network shall not be quite sure: a little of the 1 is shared among all classes.",
    )
    cell = inputs(sheet, "label_smoothing", torch={"label_smoothing": "F.cross_entropy(..., label_smoothing)"})
    smoothing, count, classes, summary = cell.label_smoothing, len(labels), len(CLASSES), sheet.next_row
    wide: dict[str, Any] = {"parts": CLASSES}

    def top(t: Named) -> Array:
        return np.array([[largest(row)] for row in t.logits], dtype=object)

    def sums(t: Named) -> Array:
        return np.array([[total(row)] for row in t.exp], dtype=object)

    t = flow.columns(
        sheet.table(summary + 4, 1, count, CLASSES),
        "batch_",
        width=10,
        label=data(typed(labels), "0, 1 or 2: type here", "target", WHOLE, width=16),
        logits=data(typed(logits), "scores: type here", "logits", **wide),
        exp=activation(lambda t: exp(t.logits - top(t)), "e ^ (logit - the row's largest)", **wide),
        softmax=activation(lambda t: t.exp / sums(t), "share of the row", "F.softmax(logits, 1)", **wide),
        log_softmax=activation(
            lambda t: t.logits - top(t) - log(sums(t)), "logarithm of the share", "F.log_softmax(logits, 1)", **wide
        ),
        target=data(
            lambda t: (1 - smoothing) * one_hot(t.label, classes) + smoothing / classes,
            f"(1 - label_smoothing) at the label, + label_smoothing / {classes}",
            "F.one_hot(target), smoothed",
            **wide,
        ),
        losses=loss(
            lambda t: [-total(row) for row in t.target * t.log_softmax],
            "-sum of target * log_softmax",
            "F.cross_entropy(..., reduction='none')",
        ),
        grad=gradient(lambda t: (t.softmax - t.target) / count, f"(softmax - target) / {count}", "logits.grad", **wide),
        predicted=counter(lambda t: list(map(argmax, t.logits)), "the largest logit", "logits.argmax(1)"),
    )
    sheet.heat_map(t.softmax, HEAT)
    right = where(equal(t.predicted, t.label), 1, 0)
    values(
        sheet,
        "batch_",
        row=summary,
        loss=loss(mean(t.losses), "the mean of batch_losses", "F.cross_entropy(logits, target)"),
        right=counter(total(right), f"of {count} have the label as their largest logit"),
    )


def sigmoid_sheet(book: Book) -> None:
    sheet = book.sheet(
        "sigmoid",
        "Two classes: softmax is the sigmoid",
        "If there are only two classes, one logit is enough: z for yes, 0 for no. Softmax of (z, 0) is then 1 / (1 + "
        "e^-z), the sigmoid. Both are here, side by side.",
        "The loss is binary cross-entropy: -log(p) if the answer is yes, -log(1 - p) if it is no.",
    )
    cell = inputs(sheet, "z_step")
    table = sheet.table(sheet.next_row + 20, 1, len(Z))
    sheet.repeat_rows(table.head, table.first - 1)

    def share_of_two(z: Array) -> Array:
        top = maximum(z, 0)
        return exp(z - top) / (exp(z - top) + exp(-top))

    t = flow.columns(
        table,
        z=data(Z * cell.z_step, "the logit: steps of z_step", "z"),
        sigmoid=activation(
            lambda t: tensor.sigmoid(t.z), "1 / (1 + e^-z), in a form that does not overflow", "F.sigmoid(z)"
        ),
        softmax_of_two=activation(
            lambda t: share_of_two(t.z),
            "e^z / (e^z + e^0), the larger subtracted",
            "F.softmax(torch.stack([z, 0]), 0)[0]",
        ),
        loss_if_yes=loss(lambda t: binary_cross_entropy(-1 * t.z, t.z), "-log(sigmoid)", BINARY),
        loss_if_no=loss(lambda t: binary_cross_entropy(t.z, t.z), "-log(1 - sigmoid)", BINARY),
        grad_if_yes=gradient(lambda t: t.sigmoid - 1, "sigmoid - 1", "z.grad"),
        grad_if_no=gradient(lambda t: t.sigmoid, "sigmoid - 0", "z.grad"),
    )
    curve = Series("sigmoid", t.z, t.sigmoid, width=2.5)
    sheet.chart(table.head - 20, 1, scatter("The sigmoid", "z", "probability of yes", [curve], height=9))
    curves = [Series(f"if the answer is {each}", t.z, t[f"loss_if_{each}"], width=2.5) for each in ("yes", "no")]
    sheet.chart(table.head - 20, 8, scatter("Binary cross-entropy", "z", "loss", curves, height=9))


def binary_cross_entropy(against: Array, z: Array) -> Array:
    """log(1 + e^against), in a form that does not overflow: `against` is -z if the answer is yes, z if it is no."""
    return maximum(against, 0) + log(1 + exp(-tensor.abs(z)))


def mistake_sheet(book: Book) -> None:
    sheet = book.sheet(
        "confident mistake",
        "What a confident mistake costs",
        "The answer is yes. On the left the network is sure that it is no, on the right that it is yes.",
        "Cross-entropy grows without end, and its gradient nears -1: a sure mistake is corrected with full force. The "
        "squared error is at most 1, and its gradient dies: the network would stay wrong.",
    )
    cell = inputs(sheet, "mistake_step")
    table = sheet.table(sheet.next_row + 20, 1, len(Z))
    sheet.repeat_rows(table.head, table.first - 1)
    t = flow.columns(
        table,
        mistake_z=data(Z * cell.mistake_step, "the logit of yes", "z", width=14),
        mistake_p=activation(lambda t: tensor.sigmoid(t.mistake_z), "probability of yes", "F.sigmoid(z)"),
        cross_entropy=loss(
            lambda t: binary_cross_entropy(-t.mistake_z, t.mistake_z),
            "-log(mistake_p)",
            "F.binary_cross_entropy_with_logits(z, 1)",
        ),
        squared_error=loss(lambda t: (1 - t.mistake_p) ** 2, "(1 - mistake_p)^2", "F.mse_loss(F.sigmoid(z), 1)"),
        grad_cross_entropy=gradient(lambda t: t.mistake_p - 1, "mistake_p - 1", "z.grad"),
        grad_squared_error=gradient(
            lambda t: -2 * (1 - t.mistake_p) * t.mistake_p * (1 - t.mistake_p),
            "-2 * (1 - mistake_p) * mistake_p * (1 - mistake_p)",
            "z.grad",
        ),
    )
    for title, left, entropy, squared in (
        ("The loss", 1, t.cross_entropy, t.squared_error),
        ("Its gradient", 7, t.grad_cross_entropy, t.grad_squared_error),
    ):
        both = (("cross-entropy", entropy), ("squared error", squared))
        curves = [Series(name, t.mistake_z, y, width=2.5) for name, y in both]
        chart = scatter(title, "z: sure of no ... sure of yes", title.lower(), curves, height=9)
        sheet.chart(table.head - 20, left, chart)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    wrong = [value for value in v.batch_label.tolist() if value not in range(len(CLASSES))]
    if wrong:
        raise ValueError(f"batch_label: expected whole numbers from 0 to {len(CLASSES) - 1}, got {wrong[0]:g}")
    return reference_example(v) | reference_batch(v) | reference_two_classes(v)


def reference_example(v: Named) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    target = torch.tensor(v.label)
    scaled = ((v.logits + v.shift) / v.temperature).requires_grad_()
    loss = F.cross_entropy(scaled, target)
    loss.backward()
    powers, naive, softmax = (scaled - scaled.max()).exp(), scaled.exp(), F.softmax(scaled, 0)
    # A spreadsheet knows no infinity: a share of it is an error there, not 0.
    naive_total = torch.where(naive.sum().isfinite(), naive.sum(), torch.nan)
    up, down = (scaled + nudge * torch.eye(len(ANIMALS)) for nudge in (v.nudge, -v.nudge))
    loss_up, loss_down = (F.cross_entropy(each, target.expand(len(each)), reduction="none") for each in (up, down))
    blocks = {"class_number": torch.arange(len(ANIMALS)), "one_hot": F.one_hot(target, len(ANIMALS)), "scaled": scaled}
    blocks |= {"exp_scaled": powers, "largest": scaled.max(), "total": powers.sum(), "predicted": scaled.argmax()}
    blocks |= {"softmax": softmax, "sum_of_softmax": softmax.sum(), "log_softmax": F.log_softmax(scaled, 0)}
    blocks |= {"naive_exp": naive, "naive_softmax": naive / naive_total, "loss": loss, "grad": scaled.grad}
    blocks |= {"nudged_up": up, "nudged_down": down, "loss_up": loss_up, "loss_down": loss_down}
    return blocks | {"fd_grad": (loss_up - loss_down) / (2 * v.nudge)}


def reference_batch(v: Named) -> dict[str, Any]:
    from torch.nn import functional as F  # noqa: N812

    logits, target, smoothing = v.batch_logits.clone().requires_grad_(), v.batch_label.long(), v.label_smoothing
    loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
    loss.backward()
    powers, predicted = (logits - logits.amax(1, keepdim=True)).exp(), logits.argmax(1)
    blocks = {"exp": powers, "softmax": F.softmax(logits, 1), "log_softmax": F.log_softmax(logits, 1)}
    blocks["target"] = (1 - smoothing) * F.one_hot(target, len(CLASSES)) + smoothing / len(CLASSES)
    blocks["losses"] = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
    blocks |= {"loss": loss, "grad": logits.grad, "predicted": predicted, "right": (predicted == target).sum()}
    return {f"batch_{name}": block for name, block in blocks.items()}


def reference_two_classes(v: Named) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    z, mistake_z = torch.as_tensor(Z) * v.z_step, torch.as_tensor(Z) * v.mistake_step
    yes, no = torch.ones(len(Z)), torch.zeros(len(Z))
    blocks = {"z": z, "sigmoid": F.sigmoid(z), "softmax_of_two": F.softmax(torch.stack([z, no]), 0)[0]}
    blocks |= {"mistake_z": mistake_z, "mistake_p": F.sigmoid(mistake_z)}

    def entropy(z: Any, y: Any) -> Any:
        return F.binary_cross_entropy_with_logits(z, y, reduction="none")

    for name, grad, at, loss_of in (
        ("loss_if_yes", "grad_if_yes", z, lambda z: entropy(z, yes)),
        ("loss_if_no", "grad_if_no", z, lambda z: entropy(z, no)),
        ("cross_entropy", "grad_cross_entropy", mistake_z, lambda z: entropy(z, yes)),
        ("squared_error", "grad_squared_error", mistake_z, lambda z: F.mse_loss(F.sigmoid(z), yes, reduction="none")),
    ):
        logits = at.clone().requires_grad_()
        blocks[name] = loss_of(logits)
        blocks[name].sum().backward()
        blocks[grad] = logits.grad
    return blocks


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is as exact as the largest logit that it is made of.
    """
    return {"fd_grad": np.maximum(np.abs(blocks["scaled"]).max(), 1) / v.nudge}


NATURAL = (
    "log is the natural logarithm, as in torch; in a worksheet that is LN. LOG is to base 10: with it a loss of 0.1357 "
    "comes out as 0.0589, 2.3026 times smaller."
)
ABOUT = [
    "A network that tells cats from dogs ends with a score for each class, a logit: any number, the larger the more it "
    "believes in the class. Softmax makes probabilities of them: e to the power of each, as a share of all, so that "
    "every one is above 0 and they add up to 1.",
    "The loss says how wrong that is. Cross-entropy looks only at the probability p of the class that would have been "
    "right, the label, and takes -log(p): 0 for being sure and right, large for being sure and wrong. Its gradient "
    "with respect to the logits is as simple as can be: the probabilities, minus 1 at the label.",
]
TRY = [
    "On 'one example', make a logit larger and see the probabilities of all others shrink.",
    "Set shift to 5: all logits grow alike, and no probability changes. Set it to 800: the columns that begin with "
    "naive fail, for e^800 is too large a number. The others do not: they subtract the largest logit first.",
    "Make temperature 0.1, then 10: sure of itself, then undecided.",
    "Change the label to 2: the loss jumps, and the gradient says which logits should go up and down.",
    "On 'batch', set label_smoothing to 0.1: even the sure answers now cost more.",
    "On 'confident mistake', look at the left end: cross-entropy still pushes with all its might where the squared "
    "error has stopped pushing.",
]
BATCH_LOGITS = [[3.2, 0.1, -1], [0.3, 2.4, 0.2], [-0.5, 0.1, 1.9], [1.2, 1.1, 0.9], [4, -2, 0.5], [0.2, 2.9, -0.4]]
STARTS: dict[str, Any] = {
    "logits": [2.1, 0.4, -1.3, 3.2, 0.9],
    "batch_logits": BATCH_LOGITS,
    "batch_label": [0, 1, 2, 0, 1, 1],
}
SOFTMAX_CROSS_ENTROPY = Lesson(
    "softmax_cross_entropy",
    "from logits to probabilities, the loss and its gradient; the sigmoid; what a confident mistake costs",
    (
        Input("label", 0, "the animal that it really is: 0 cat, 1 dog, ...", minimum=0, maximum=4, whole=True),
        Input("shift", 0, "a number that is added to all logits"),
        Input("temperature", 1, "a number that all logits are divided by", above=0),
        Input("nudge", 0.0001, "how far the finite difference moves a logit", above=0),
        Input("label_smoothing", 0, "how much of the 1 is shared among all classes", minimum=0, maximum=1),
        Input("z_step", 0.5, "how far apart the logits of this sheet are", above=0),
        Input("mistake_step", 0.5, "how far apart the logits of this sheet are", above=0),
    ),
    Data({name: np.ndim(numbers) for name, numbers in STARTS.items()}, lambda source: STARTS),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Softmax and cross-entropy",
    about=ABOUT,
    things_to_try=TRY,
)
