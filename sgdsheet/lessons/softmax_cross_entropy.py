"""From scores to probabilities to the loss and its gradient: softmax and cross-entropy, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import DIVERGING, HEAT, PRECISE, SHORT, SPARSE, WHOLE, Book, Input, Series, Sheet, bars, scatter
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Named, activation, check, counter, data, gradient, inputs, loss, typed, values
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, argmax, equal, exp, index, largest, log, maximum, mean, one_hot, span, where
from sgdsheet.tensor import sum as total

ANIMALS = ("cat", "dog", "bird", "fish", "horse")
CLASSES = ANIMALS[:3]
REACH = 8
Z = np.arange(-2 * REACH, 2 * REACH + 1) / 2  # the rows of the sheets of two classes
ENDS = (-REACH, REACH)
BINARY = "F.binary_cross_entropy_with_logits(z, y)"


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `softmax`, `one example`, `finite differences`, `batch`, `sigmoid`, `confident mistake`."""
    softmax_sheet(book, given["scores"])
    t, label = one_example_sheet(book, given["logits"])
    differences_sheet(book, t, label)
    batch_sheet(book, given["batch_logits"], given["batch_label"])
    sigmoid_sheet(book)
    mistake_sheet(book)


def names(sheet: Sheet, row: int, texts: Any) -> Array:
    """Words below each other in the first column. Returns references to them, for a chart."""
    return np.array([sheet.write(row + offset, 1, text, LABEL) for offset, text in enumerate(texts)], dtype=object)


def softmax_sheet(book: Book, scores: Any) -> None:
    sheet = book.sheet(
        "softmax",
        "Softmax: scores become probabilities",
        "softmax of an animal = e ^ its score / (e ^ cat + e ^ dog + e ^ bird + e ^ fish + e ^ horse): its share of "
        "all, so they add up to 1. Change one score, and all five shares change.",
        "The sigmoid asks for each animal alone whether it is there, 1 / (1 + e ^ -score). Two can be there, or none: "
        "make all scores -5, and softmax still has to choose.",
    )
    sheet.width(1, 9)
    table = sheet.table(sheet.next_row, 2, len(ANIMALS))
    labels = names(sheet, table.first, ANIMALS)
    t = flow.columns(
        table,
        width=13,
        scores=data(typed(scores), "what the network says: type here", "scores", PRECISE),
        powers=activation(lambda t: exp(t.scores), "e ^ score", "scores.exp()"),
        powers_total=activation(lambda t: [total(t.powers)] * len(ANIMALS), "all powers, added up", "powers.sum()"),
        shares=activation(lambda t: t.powers / t.powers_total, "powers / powers_total: softmax", "F.softmax(scores)"),
        sigmoids=activation(lambda t: tensor.sigmoid(t.scores), "1 / (1 + e ^ -score)", "F.sigmoid(scores)"),
    )
    sheet.heat_map(t.shares, HEAT)
    row = table.first + len(ANIMALS)
    sheet.write(row, 1, "total", LABEL)
    for name, column in (("powers", t.powers), ("shares", t.shares), ("sigmoids", t.sigmoids)):
        words = f"the sum of {name}"
        flow.place(sheet, row, column[0].column, f"sum_of_{name}", check(total(column), words, f"{name}.sum()"))
    both = [("softmax", t.shares), ("sigmoid", t.sigmoids)]
    chart = bars("What the network believes", "", "probability", labels, both, width=20, height=13, y_range=(0, 1))
    sheet.chart(table.head, 9, chart)


def one_example_sheet(book: Book, logits: Any) -> tuple[Named, Any]:
    sheet = book.sheet(
        "one example",
        "One picture: from its scores to the loss and the gradient",
        "The network's scores are called logits. The loss is -log of the probability of the animal that it really is. "
        "Its gradient is what the bars lack: softmax - one_hot. It pulls the right bar up, all others down.",
    )
    cell = inputs(sheet, "label", "shift", "temperature", torch={"label": "target"}, across=True)
    top = sheet.next_row
    table = sheet.table(top, 2, len(ANIMALS))
    labels = names(sheet, table.first, ANIMALS)
    sheet.write(top - 2, 4, Call("INDEX", span(labels), cell.label + 1), HEADING)
    sheet.write(top - 3, 4, "it really is a", NOTE)
    t = flow.columns(
        table,
        width=10,
        class_number=counter(np.arange(len(ANIMALS)), "counts from 0"),
        logits=data(typed(logits), "scores: type here", "logits", SHORT),
        scaled=activation(lambda t: (t.logits + cell.shift) / cell.temperature, "(logits + shift) / temperature"),
        exp_scaled=activation(lambda t: exp(t.scaled - largest(t.scaled)), "e ^ (scaled - largest)"),
        softmax=activation(lambda t: t.exp_scaled / total(t.exp_scaled), "exp_scaled / total", "F.softmax(scaled, 0)"),
        log_softmax=activation(
            lambda t: t.scaled - largest(t.scaled) - log(total(t.exp_scaled)),
            "scaled - largest - log(total)",
            "F.log_softmax(scaled, 0)",
        ),
        one_hot=data(
            lambda t: where(equal(t.class_number, cell.label), 1, 0), "1 at the label", "F.one_hot(target, 5)", WHOLE
        ),
        grad=gradient(lambda t: t.softmax - t.one_hot, "with respect to scaled: softmax - one_hot", "scaled.grad"),
        grad_logits=gradient(
            lambda t: t.grad / cell.temperature, "with respect to logits: grad / temperature", "logits.grad"
        ),
        naive_exp=activation(lambda t: exp(t.scaled), "e ^ scaled, as one would first write it"),
        naive_softmax=activation(lambda t: t.naive_exp / total(t.naive_exp), "naive_exp / their sum"),
    )
    sheet.heat_map(t.softmax, HEAT)
    sheet.width(1, 15)
    sheet.width(3, 12)
    below = table.first + len(ANIMALS) + 1
    values(
        sheet,
        row=below,
        loss=loss(
            -total(t.one_hot * t.log_softmax), "minus the log_softmax of the label", "F.cross_entropy(scaled, target)"
        ),
        largest=activation(largest(t.scaled), "the largest scaled logit: subtracting it changes no share"),
        total=activation(total(t.exp_scaled), "the sum of exp_scaled"),
        sum_of_softmax=check(total(t.softmax), "probabilities add up to 1"),
        predicted=counter(argmax(t.scaled), "the class with the largest logit", "logits.argmax()"),
    )
    for line, text in enumerate(NATURAL, start=5):
        sheet.write(below + line, 1, text, NOTE)
    both = [("softmax", t.softmax), ("one_hot: what it should be", t.one_hot)]
    chart = bars(
        "Probabilities, and the right answer", "", "probability", labels, both, width=22, height=12, y_range=(0, 1)
    )
    sheet.chart(below, 8, chart)
    return t, cell.label


def differences_sheet(book: Book, t: Named, label: Any) -> None:
    sheet = book.sheet(
        "finite differences",
        "Is the gradient right? Nudge and see",
        "A gradient says how fast the loss grows with a logit. So nudge one logit up, then down, and divide the "
        "difference of the two losses by the way between them: it is the gradient of 'one example'.",
    )
    sheet.width(1, 15)
    nudge = inputs(sheet, "nudge", across=True).nudge
    table = sheet.table(sheet.next_row, 2, len(ANIMALS))
    names(sheet, table.first, ANIMALS)
    losses = {}
    row = table.first + len(ANIMALS) + 2
    for side, sign, left in (("up", 1, 2), ("down", -1, 9)):
        nudged = t.scaled + np.eye(len(ANIMALS), dtype=object) * (sign * nudge)
        words = f"each row: the scaled logits, the row's own {'+' if sign > 0 else '-'} nudge"
        nudged = sheet.headed(f"nudged_{side}", nudged, "activation", row, left, words=words, number_format="0.0000")
        losses[side] = [log(total(exp(z - largest(z)))) - (index(z, label + 1) - largest(z)) for z in nudged]
    sheet.width(2, 11, 13)
    torch, fine = "F.cross_entropy(nudged, target)", "0.000000"
    flow.columns(
        table,
        loss_up=loss(losses["up"], "the loss with the logit + nudge", torch, fine),
        loss_down=loss(losses["down"], "the loss with the logit - nudge", torch, fine),
        fd_grad=gradient(
            lambda t: (t.loss_up - t.loss_down) / (2 * nudge), "(loss_up - loss_down) / (2 * nudge)", "", fine
        ),
        grad_again=gradient(t.grad, "the gradient of 'one example'", "scaled.grad", fine),
    )


def batch_sheet(book: Book, logits: Any, labels: Any) -> None:
    sheet = book.sheet(
        "batch",
        "Several pictures at once: a mini-batch",
        "A row is one picture. The loss of the batch is the mean of the rows' losses, so each row's gradient is "
        "divided by the number of rows.",
        "With label smoothing the network shall not be quite sure: a little of the 1 is shared among all classes.",
    )
    cell = inputs(
        sheet, "label_smoothing", torch={"label_smoothing": "F.cross_entropy(..., label_smoothing)"}, across=True
    )
    smoothing, count, classes, summary = cell.label_smoothing, len(labels), len(CLASSES), sheet.next_row
    wide: dict[str, Any] = {"parts": CLASSES}

    def top(t: Named) -> Array:
        return np.array([[largest(row)] for row in t.logits], dtype=object)

    def sums(t: Named) -> Array:
        return np.array([[total(row)] for row in t.exp], dtype=object)

    table = sheet.table(summary + 3, 2, count, CLASSES)
    pictures = names(sheet, table.first, [f"picture {number + 1}" for number in range(count)])
    t = flow.columns(
        table,
        "batch_",
        width=8.5,
        short=True,
        label=data(typed(labels), "0, 1 or 2: type here", "target", WHOLE),
        logits=data(typed(logits), "scores: type here", "logits", SHORT, **wide),
        exp=activation(lambda t: exp(t.logits - top(t)), "e ^ (logit - the row's largest)", **wide),
        softmax=activation(lambda t: t.exp / sums(t), "share of the row", "F.softmax(logits, 1)", **wide),
        log_softmax=activation(
            lambda t: t.logits - top(t) - log(sums(t)), "logarithm of the share", "F.log_softmax(logits, 1)", **wide
        ),
        target=data(
            lambda t: (1 - smoothing) * one_hot(t.label, classes) + smoothing / classes,
            f"(1 - label_smoothing) at the label, + label_smoothing / {classes}",
            "F.one_hot(target), smoothed",
            SPARSE,
            **wide,
        ),
        losses=loss(
            lambda t: [-total(row) for row in t.target * t.log_softmax],
            "-sum of target * log_softmax",
            "F.cross_entropy(..., reduction='none')",
            width=11,
        ),
        grad=gradient(
            lambda t: (t.softmax - t.target) / count,
            f"with respect to logits: (softmax - target) / {count}",
            "logits.grad",
            **wide,
        ),
        predicted=counter(lambda t: list(map(argmax, t.logits)), "the largest logit", "logits.argmax(1)"),
    )
    sheet.heat_map(t.softmax, HEAT)
    sheet.heat_map(t.grad, DIVERGING)
    sheet.width(1, 16)
    right = where(equal(t.predicted, t.label), 1, 0)
    values(
        sheet,
        "batch_",
        row=summary,
        loss=loss(mean(t.losses), "the mean of the losses below", "F.cross_entropy(logits, target)"),
        right=counter(total(right), f"of {count} have the label as their largest logit"),
    )
    chart = bars("What each picture costs", "", "loss", pictures, [("loss", t.losses)], width=22, height=10)
    sheet.chart(table.first + count + 1, 1, chart)


def sigmoid_sheet(book: Book) -> None:
    sheet = book.sheet(
        "sigmoid",
        "Two classes: softmax is the sigmoid",
        "If there are only two classes, one logit is enough: z for yes, 0 for no. Softmax of (z, 0) is then 1 / (1 + "
        "e^-z), the sigmoid. Both are here, side by side.",
        "The loss is binary cross-entropy: -log(p) if the answer is yes, -log(1 - p) if it is no. Move your_z along "
        "the curves.",
    )
    sheet.width(1, 17)
    z = inputs(sheet, "your_z").your_z
    yours = values(
        sheet,
        row=sheet.next_row - 1,
        your_p=activation(tensor.sigmoid(z), "the probability of yes", "F.sigmoid(z)"),
        your_loss_if_yes=loss(binary_cross_entropy(-1 * z, z), "-log(your_p)", BINARY),
        your_loss_if_no=loss(binary_cross_entropy(z, z), "-log(1 - your_p)", BINARY),
    )

    def share_of_two(z: Array) -> Array:
        top = maximum(z, 0)
        return exp(z - top) / (exp(z - top) + exp(-top))

    t = flow.steps(
        sheet,
        len(Z),
        freeze=None,
        z=data(Z, "the logit", "z", "0.0", width=17),
        sigmoid_of_z=activation(lambda t: tensor.sigmoid(t.z), "p = 1 / (1 + e^-z)", "F.sigmoid(z)"),
        softmax_of_two=activation(
            lambda t: share_of_two(t.z), "e^z / (e^z + e^0)", "F.softmax(torch.stack([z, 0]), 0)[0]"
        ),
        loss_if_yes=loss(lambda t: binary_cross_entropy(-1 * t.z, t.z), "-log(p)", BINARY),
        loss_if_no=loss(lambda t: binary_cross_entropy(t.z, t.z), "-log(1 - p)", BINARY),
        grad_if_yes=gradient(lambda t: t.sigmoid_of_z - 1, "p - 1", "z.grad"),
        grad_if_no=gradient(lambda t: t.sigmoid_of_z, "p - 0", "z.grad"),
    )
    curve = Series("sigmoid", t.z, t.sigmoid_of_z, width=2.5)
    beside(sheet, t.head, 0, "The sigmoid", "probability of yes", (0, 1), [curve, mark("your_z", z, yours.your_p, 6)])
    curves = [Series(f"if the answer is {each}", t.z, t[f"loss_if_{each}"], width=2.5) for each in ("yes", "no")]
    marks = [
        mark(f"your_z, if {each}", z, yours[f"your_loss_if_{each}"], color) for color, each in enumerate(("yes", "no"))
    ]
    beside(sheet, t.head, 1, "Binary cross-entropy", "loss", (0, REACH), [*curves, *marks])


def mark(label: str, z: Any, height: Any, color: int) -> Series:
    """One point of a chart: where the reader's logit is."""
    return Series(label, [z], [height], points=True, line=False, color=color)


def beside(
    sheet: Sheet, row: int, place: int, title: str, y_title: str, ends: tuple[float, float], curves: list[Series]
) -> None:
    """The first or the second chart over z on the right of a table of seven columns."""
    sheet.width(8, 2)
    chart = scatter(title, "z", y_title, curves, width=13.5, height=13, x_range=ENDS, y_range=ends)
    sheet.chart(row, 9 + 8 * place, chart)


def binary_cross_entropy(against: Array, z: Array) -> Array:
    """log(1 + e^against), in a form that does not overflow: `against` is -z if the answer is yes, z if it is no."""
    return maximum(against, 0) + log(1 + exp(-tensor.abs(z)))


def mistake_sheet(book: Book) -> None:
    sheet = book.sheet(
        "confident mistake",
        "What a confident mistake costs",
        "The answer is yes. The further left, the surer the network is that it is no. Cross-entropy grows without end, "
        "and its gradient nears -1: a sure mistake is corrected with full force.",
        "The squared error is at most 1, and its gradient dies: the network would stay wrong. Move network_z from "
        "-8 to 8 and watch both.",
    )
    sheet.width(1, 21)
    z = inputs(sheet, "network_z").network_z
    p = values(
        sheet,
        row=sheet.next_row - 1,
        gap=0,
        network_p=activation(tensor.sigmoid(z), "probability of yes", "F.sigmoid(z)"),
    ).network_p

    def formulas(z: Any, p: Any) -> dict[str, Any]:
        entropy, squared = "F.binary_cross_entropy_with_logits(z, 1)", "F.mse_loss(F.sigmoid(z), 1)"
        return {
            "cross_entropy": loss(binary_cross_entropy(-1 * z, z), "-log(p): cross-entropy", entropy),
            "squared_error": loss((1 - p) ** 2, "(1 - p)^2: squared error", squared),
            "grad_cross_entropy": gradient(p - 1, "p - 1", "z.grad"),
            "grad_squared_error": gradient(-2 * (1 - p) * p * (1 - p), "-2 * (1 - p) * p * (1 - p)", "z.grad"),
        }

    short = ("network_entropy", "network_squared", "network_entropy_grad", "network_squared_grad")
    at_z = values(sheet, row=sheet.next_row, **dict(zip(short, formulas(z, p).values(), strict=True)))
    yours = dict(zip(formulas(0, 0), vars(at_z).values(), strict=True))
    start = data(Z, "the logit of yes", "z", "0.0", width=21)
    t = flow.steps(
        sheet,
        len(Z),
        freeze=None,
        mistake_z=start,
        mistake_p=activation(lambda t: tensor.sigmoid(t.mistake_z), "probability of yes", "F.sigmoid(z)"),
        **{
            name: replace(each, formula=lambda t, name=name: formulas(t.mistake_z, t.mistake_p)[name].formula)
            for name, each in formulas(0, 0).items()
        },
    )
    for place, (title, prefix, ends) in enumerate((("The loss", "", (0, REACH)), ("Its gradient", "grad_", (-1, 0)))):
        curves = []
        for color, name in enumerate(("cross_entropy", "squared_error")):
            words = name.replace("_", " ")
            curves.append(Series(words, t.mistake_z, t[prefix + name], color=color, width=2.5))
            curves.append(mark(f"{words} at network_z", z, yours[prefix + name], color))
        beside(sheet, t.head, place, title, title.lower(), ends, curves)


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64."""
    wrong = [value for value in v.batch_label.tolist() if value not in range(len(CLASSES))]
    if wrong:
        raise ValueError(f"batch_label: expected whole numbers from 0 to {len(CLASSES) - 1}, got {wrong[0]:g}")
    return reference_softmax(v) | reference_example(v) | reference_batch(v) | reference_two_classes(v)


def reference_softmax(v: Named) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    powers, sigmoids = v.scores.exp(), F.sigmoid(v.scores)
    summed = powers.sum()
    # As one first writes it: a share of what no number is large enough for, or of 0, is an error in a cell.
    shares = F.softmax(v.scores, 0) if 0 < summed < torch.inf else torch.full_like(powers, torch.nan)
    blocks = {"powers": powers, "powers_total": summed.expand(len(powers)), "shares": shares, "sigmoids": sigmoids}
    return blocks | {"sum_of_powers": summed, "sum_of_shares": shares.sum(), "sum_of_sigmoids": sigmoids.sum()}


def reference_example(v: Named) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    target = torch.tensor(v.label)
    logits = v.logits.clone().requires_grad_()
    scaled = (logits + v.shift) / v.temperature
    scaled.retain_grad()
    loss = F.cross_entropy(scaled, target)
    loss.backward()
    grad, scaled = scaled.grad, scaled.detach()
    powers, naive, softmax = (scaled - scaled.max()).exp(), scaled.exp(), F.softmax(scaled, 0)
    # A spreadsheet knows no infinity: a share of it is an error there, not 0.
    naive_total = torch.where(naive.sum().isfinite(), naive.sum(), torch.nan)
    up, down = (scaled + nudge * torch.eye(len(ANIMALS)) for nudge in (v.nudge, -v.nudge))
    loss_up, loss_down = (F.cross_entropy(each, target.expand(len(each)), reduction="none") for each in (up, down))
    blocks = {"class_number": torch.arange(len(ANIMALS)), "one_hot": F.one_hot(target, len(ANIMALS)), "scaled": scaled}
    blocks |= {"exp_scaled": powers, "largest": scaled.max(), "total": powers.sum(), "predicted": scaled.argmax()}
    blocks |= {"softmax": softmax, "sum_of_softmax": softmax.sum(), "log_softmax": F.log_softmax(scaled, 0)}
    blocks |= {"naive_exp": naive, "naive_softmax": naive / naive_total, "loss": loss}
    blocks |= {"grad": grad, "grad_again": grad, "grad_logits": logits.grad}
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

    z, your_z, network_z = torch.as_tensor(Z), torch.tensor(v.your_z), torch.tensor(v.network_z)
    blocks = {"z": z, "sigmoid_of_z": F.sigmoid(z), "softmax_of_two": F.softmax(torch.stack([z, 0 * z]), 0)[0]}
    blocks |= {
        "mistake_z": z,
        "mistake_p": F.sigmoid(z),
        "your_p": F.sigmoid(your_z),
        "network_p": F.sigmoid(network_z),
    }

    def yes(z: Any) -> Any:
        return F.binary_cross_entropy_with_logits(z, torch.ones_like(z), reduction="none")

    def no(z: Any) -> Any:
        return F.binary_cross_entropy_with_logits(z, torch.zeros_like(z), reduction="none")

    def squared(z: Any) -> Any:
        return F.mse_loss(F.sigmoid(z), torch.ones_like(z), reduction="none")

    for name, grad, at, loss_of in (
        ("loss_if_yes", "grad_if_yes", z, yes),
        ("loss_if_no", "grad_if_no", z, no),
        ("cross_entropy", "grad_cross_entropy", z, yes),
        ("squared_error", "grad_squared_error", z, squared),
        ("network_entropy", "network_entropy_grad", network_z, yes),
        ("network_squared", "network_squared_grad", network_z, squared),
    ):
        logits = at.clone().requires_grad_()
        blocks[name] = loss_of(logits)
        blocks[name].sum().backward()
        assert logits.grad is not None
        blocks[grad] = logits.grad
    return blocks | {"your_loss_if_yes": yes(your_z), "your_loss_if_no": no(your_z)}


def sizes(v: Named, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is as exact as the largest logit that it is made of.
    """
    return {"fd_grad": np.maximum(np.abs(blocks["scaled"]).max(), 1) / v.nudge}


NATURAL = (
    "log is the natural logarithm, as in torch; in a worksheet that is LN.",
    "LOG is to base 10: with it a loss of 0.1357 comes out as 0.0589.",
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
    "On 'softmax', make the cat's score 4 and see the shares of all others shrink. Make all scores -5: the sigmoid "
    "finds no animal, softmax must choose one.",
    "On 'one example', set shift to 5: all logits grow alike, and no probability changes. Set it to 800: the "
    "columns that begin with naive fail, for e^800 is too large a number. The others do not: they subtract the "
    "largest logit first.",
    "On 'one example', make temperature 0.1, then 10: sure of itself, then undecided.",
    "On 'one example', change label to 2: the loss jumps, and the gradient says which logits should go up and down.",
    "On 'finite differences', set nudge to 1: now fd_grad is only near the gradient. Set it to 1E-12: too little is "
    "left of the losses' digits.",
    "On 'batch', set label_smoothing to 0.1: even the sure answers now cost more.",
    "On 'sigmoid', move your_z from -8 to 8, and the marks run along the curves.",
    "On 'confident mistake', set network_z to -8, then to 0: cross-entropy still pushes with all its might where the "
    "squared error has stopped pushing.",
]
BATCH_LOGITS = [[3.2, 0.1, -1], [0.3, 2.4, 0.2], [-0.5, 0.1, 1.9], [1.2, 1.1, 0.9], [4, -2, 0.5], [0.2, 2.9, -0.4]]
STARTS: dict[str, Any] = {
    "scores": [2, 0, -1, 3, 1],
    "logits": [2.1, 0.4, -1.3, 3.2, 0.9],
    "batch_logits": BATCH_LOGITS,
    "batch_label": [0, 1, 2, 0, 1, 1],
}
EXERCISES = (
    Exercise(
        "grad",
        1,
        "On 'one example': how fast does the loss grow with each scaled logit? All the way back it comes to one "
        "subtraction, of two columns that stand there.",
        {
            "the label is missing": lambda t: t.softmax,
            "softmax is missing": lambda t: -t.one_hot,
            "log_softmax has no place here": lambda t: t.log_softmax - t.one_hot,
        },
        conceal=["softmax - one_hot"],
    ),
    Exercise(
        "batch_grad",
        2,
        "On 'batch': the same for each row, but the loss is now the mean of the rows' losses.",
        {
            "the rows' mean: divide by their number": lambda t: t.batch_softmax - t.batch_target,
            "the target is missing": lambda t: t.batch_softmax / len(t.batch_losses),
        },
    ),
    Exercise(
        "softmax",
        3,
        "On 'one example': each exp_scaled as a share of total.",
        {
            "their total is missing": lambda t: t.exp_scaled,
            "the scaled, not their powers": lambda t: t.scaled / t.total,
        },
    ),
    Exercise(
        "batch_losses",
        3,
        "On 'batch': the loss of each row, from its target and its log_softmax.",
        {"softmax, not its logarithm": lambda t: -(t.batch_target * t.batch_softmax).sum(-1)},
    ),
)

SOFTMAX_CROSS_ENTROPY = Lesson(
    "softmax_cross_entropy",
    "from logits to probabilities, the loss and its gradient; the sigmoid; what a confident mistake costs",
    (
        Input("label", 0, "the animal that it really is: 0 cat, 1 dog, ...", minimum=0, maximum=4, whole=True),
        Input("shift", 0, "a number that is added to all logits"),
        Input("temperature", 1, "a number that all logits are divided by", above=0),
        Input("nudge", 0.0001, "how far the finite difference moves a logit", above=0),
        Input("label_smoothing", 0, "how much of the 1 is shared among all classes", minimum=0, maximum=1),
        Input("your_z", 2, f"a logit; the charts go from -{REACH} to {REACH}"),
        Input("network_z", -5, f"the network's logit of yes; the charts go from -{REACH} to {REACH}"),
    ),
    Data({name: np.ndim(numbers) for name, numbers in STARTS.items()}, lambda source: STARTS),
    build=build,
    reference=reference,
    sizes=sizes,
    title="Softmax and cross-entropy",
    about=ABOUT,
    things_to_try=TRY,
    exercises=EXERCISES,
)
