"""From scores to probabilities to the loss and its gradient: softmax and cross-entropy, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import HEAT, WHOLE, Book, Input, Series, Sheet, Table, Typed, scatter
from sgdsheet.book.style import LABEL
from sgdsheet.lessons.data import Data, Source
from sgdsheet.lessons.lesson import OldLesson as Lesson
from sgdsheet.lessons.lesson import Values
from sgdsheet.tensor import Array

ANIMALS = ("cat", "dog", "bird", "fish", "horse")
CLASSES = ("cat", "dog", "bird")
LOGITS = (2.1, 0.4, -1.3, 3.2, 0.9)
BATCH_LOGITS = (
    (3.2, 0.1, -1.0),
    (0.3, 2.4, 0.2),
    (-0.5, 0.1, 1.9),
    (1.2, 1.1, 0.9),
    (4.0, -2.0, 0.5),
    (0.2, 2.9, -0.4),
)
BATCH_LABELS = (0, 1, 2, 0, 1, 1)
SIDES = {"up": 1, "down": -1}
HALF = 16  # rows on either side of 0 on the sheets of two classes


def build(values: Values, data: Values) -> Book:
    """The workbook: sheets `one example`, `batch`, `sigmoid`, `confident mistake`."""
    book = Book(
        "softmax_cross_entropy",
        "Softmax and cross-entropy",
        [
            "A network that tells cats from dogs ends with a score for each class, a logit: any number, the larger the "
            "more it believes in the class. Softmax makes probabilities of them: e to the power of each, as a share of "
            "all, so that every one is above 0 and they add up to 1.",
            "The loss says how wrong that is. Cross-entropy looks only at the probability p of the class that would "
            "have been right, the label, and takes -log(p): 0 for being sure and right, large for being sure and "
            "wrong. Its gradient with respect to the logits is as simple as can be: the probabilities, minus 1 at the "
            "label.",
        ],
        [
            "On 'one example', make a logit larger and see the probabilities of all others shrink.",
            "Set shift to 5: all logits grow alike, and no probability changes. Set it to 800: the columns that begin "
            "with naive fail, for e^800 is too large a number. The others do not: they subtract the largest logit "
            "first.",
            "Make temperature 0.1, then 10: sure of itself, then undecided.",
            "Change the label to 2: the loss jumps, and the gradient says which logits should go up and down.",
            "On 'batch', set label_smoothing to 0.1: even the sure answers now cost more.",
            "On 'confident mistake', look at the left end: cross-entropy still pushes with all its might where the "
            "squared error has stopped pushing.",
        ],
        INPUTS,
        values,
    )
    _one_example_sheet(book, data["logits"])
    _batch_sheet(book, data["batch_logits"], data["batch_label"])
    _sigmoid_sheet(book)
    _mistake_sheet(book)
    return book


def _one_example_sheet(book: Book, logits: Any) -> None:
    sheet = book.sheet(
        "one example",
        "One picture, five animals it could show",
        "From left to right: the logits, e to their power, their shares, and the loss of the animal that it really is.",
    )
    names = ("label", "shift", "temperature", "nudge")
    torch = {"label": "target"}
    label, shift, temperature, nudge = sheet.inputs(sheet.next_row, 1, names, torch=torch)
    summary = sheet.next_row
    sheet.next_row += 7
    table = sheet.table(sheet.next_row, 2, len(ANIMALS))
    _names(sheet, table, ANIMALS)
    column = table.column
    number = column("class_number", "check", np.arange(len(ANIMALS)), words="counts from 0", number_format=WHOLE)
    raw = column("logits", "data", [Typed(value) for value in logits], words="scores: type here", torch="logits")
    words = "(logits + shift) / temperature"
    scaled = column("scaled", "activation", (raw + shift) / temperature, words=words)
    largest = tensor.largest(scaled)
    powers = column("exp_scaled", "activation", tensor.exp(scaled - largest), words="e ^ (scaled - largest scaled)")
    total = tensor.sum(powers)
    words, torch_says = "exp_scaled / total", "F.softmax(scaled, 0)"
    softmax = column("softmax", "activation", powers / total, words=words, torch=torch_says)
    sheet.heat_map(softmax, HEAT)
    words, torch_says = "scaled - largest - log(total)", "F.log_softmax(scaled, 0)"
    logs = column("log_softmax", "activation", scaled - largest - tensor.log(total), words=words, torch=torch_says)
    one_hot = tensor.where(tensor.equal(number, label), 1, 0)
    words, torch_says = "1 at the label", "F.one_hot(target, 5)"
    one_hot = column("one_hot", "data", one_hot, words=words, torch=torch_says, number_format=WHOLE)
    words = "softmax - one_hot"
    column("grad", "gradient", softmax - one_hot, words=words, torch="scaled.grad")
    words = "(loss_up - loss_down) / (2 * nudge), see below"
    column("fd_grad", "gradient", words=words, torch="finite difference", width=15)
    naive = column("naive_exp", "activation", tensor.exp(scaled), words="e ^ scaled, as one would first write it")
    column("naive_softmax", "activation", naive / tensor.sum(naive), words="naive_exp / their sum", width=15)

    words = "the largest scaled logit: subtracting it changes no share"
    sheet.value(summary, 1, "largest", largest, "activation", words=words)
    sheet.value(summary + 1, 1, "total", total, "activation", words="the sum of exp_scaled")
    sheet.value(summary + 2, 1, "sum_of_softmax", tensor.sum(softmax), "check", words="probabilities add up to 1")
    words, torch_says = "minus the log_softmax of the label", "F.cross_entropy(scaled, target)"
    sheet.value(summary + 3, 1, "loss", -tensor.sum(one_hot * logs), "loss", words=words, torch=torch_says)
    predicted = tensor.argmax(scaled)
    words = "the class with the largest logit"
    layout: dict[str, Any] = {"words": words, "torch": "logits.argmax()", "number_format": WHOLE}
    sheet.value(summary + 4, 1, "predicted", predicted, "check", **layout)
    sheet.width(1, 18)
    dots = Series("softmax", number, softmax, points=True, line=False)
    chart = scatter("Probabilities", "class number", "softmax", [dots], width=13, height=6, y_range=(0, 1))
    sheet.chart(3, 9, chart)

    row, losses = table.first + len(ANIMALS) + 2, {}
    for side, sign in SIDES.items():
        sheet.write(row, 2, f"Each row: the scaled logits, one of them nudged {side}, and the loss that follows", LABEL)
        nudged = scaled[None, :] + np.eye(len(ANIMALS), dtype=object) * (sign * nudge)
        words = f"scaled, the row's own logit {'+' if sign > 0 else '-'} nudge"
        nudged = sheet.headed(f"nudged_{side}", nudged, "activation", row + 1, 2, words=words)
        loss = [
            tensor.log(tensor.sum(tensor.exp(each - tensor.largest(each))))
            - (tensor.index(each, label + 1) - tensor.largest(each))
            for each in nudged
        ]
        words, torch_says = "its cross-entropy", "F.cross_entropy(nudged, target)"
        at: dict[str, Any] = {"words": words, "torch": torch_says, "number_format": "0.00000000"}
        losses[side] = sheet.headed(f"loss_{side}", np.array(loss, dtype=object), "loss", row + 1, 8, **at)
        row += len(ANIMALS) + 4
    table.fill("fd_grad", (losses["up"] - losses["down"]) / (2 * nudge))


def _names(sheet: Sheet, table: Table, names: tuple[str, ...]) -> None:
    """What the classes are called, left of a table."""
    for offset, name in enumerate(names):
        sheet.write(table.first + offset, 1, name, LABEL)


def _batch_sheet(book: Book, logits: Any, labels: Any) -> None:
    sheet = book.sheet(
        "batch",
        "Several pictures at once: a mini-batch",
        "A row is one picture. The loss of the batch is the mean of the rows' losses, so each row's gradient is "
        "divided by the number of rows.",
        "With label smoothing the network shall not be quite sure: a little of the 1 is shared among all classes.",
    )
    torch = {"label_smoothing": "F.cross_entropy(..., label_smoothing)"}
    (smoothing,) = sheet.inputs(sheet.next_row, 1, ("label_smoothing",), torch=torch)
    summary, count = sheet.next_row, len(labels)
    table = sheet.table(summary + 4, 1, count, CLASSES)

    def columns(name: str, role: str, array: Any, words: str, torch: str = "") -> Array:
        return table.column(name, role, array, words=words, torch=torch, width=10)

    typed = [Typed(value) for value in labels]
    label = table.column(
        "batch_label", "data", typed, words="0, 1 or 2: type here", torch="target", number_format=WHOLE
    )
    typed = np.array([Typed(value) for value in np.ravel(logits)], dtype=object).reshape(count, len(CLASSES))
    logits = columns("batch_logits", "data", typed, "scores: type here", "logits")
    largest = np.array([tensor.largest(row) for row in logits], dtype=object)[:, None]
    words = "e ^ (logit - the row's largest)"
    powers = columns("batch_exp", "activation", tensor.exp(logits - largest), words)
    totals = np.array([tensor.sum(row) for row in powers], dtype=object)[:, None]
    softmax = columns("batch_softmax", "activation", powers / totals, "share of the row", "F.softmax(logits, 1)")
    sheet.heat_map(softmax, HEAT)
    logs = logits - largest - tensor.log(totals)
    logs = columns("batch_log_softmax", "activation", logs, "logarithm of the share", "F.log_softmax(logits, 1)")
    target = (1 - smoothing) * tensor.one_hot(label, len(CLASSES)) + smoothing / len(CLASSES)
    words = f"(1 - label_smoothing) at the label, + label_smoothing / {len(CLASSES)}"
    target = columns("batch_target", "data", target, words, "F.one_hot(target), smoothed")
    losses = np.array([-tensor.sum(a * b) for a, b in zip(target, logs, strict=True)], dtype=object)
    words, says = "-sum of target * log_softmax", "F.cross_entropy(..., reduction='none')"
    losses = table.column("batch_losses", "loss", losses, words=words, torch=says)
    words = f"(softmax - target) / {count}"
    columns("batch_grad", "gradient", (softmax - target) / count, words, "logits.grad")
    predicted = np.array([tensor.argmax(row) for row in logits], dtype=object)
    words, says = "the largest logit", "logits.argmax(1)"
    predicted = table.column("batch_predicted", "check", predicted, words=words, torch=says, number_format=WHOLE)
    words, says = "the mean of batch_losses", "F.cross_entropy(logits, target)"
    sheet.value(summary, 1, "batch_loss", tensor.mean(losses), "loss", words=words, torch=says)
    right = tensor.sum(tensor.where(tensor.equal(predicted, label), 1, 0))
    layout: dict[str, Any] = {"words": f"of {count} have the label as their largest logit", "number_format": WHOLE}
    sheet.value(summary + 1, 1, "batch_right", right, "check", **layout)
    sheet.width(1, 16)


def _sigmoid_sheet(book: Book) -> None:
    sheet = book.sheet(
        "sigmoid",
        "Two classes: softmax is the sigmoid",
        "If there are only two classes, one logit is enough: z for yes, 0 for no. Softmax of (z, 0) is then 1 / (1 + "
        "e^-z), the sigmoid. Both are here, side by side.",
        "The loss is binary cross-entropy: -log(p) if the answer is yes, -log(1 - p) if it is no.",
    )
    (step,) = sheet.inputs(sheet.next_row, 1, ("z_step",))
    chart_row = sheet.next_row
    table = sheet.table(chart_row + 20, 1, 2 * HALF + 1)
    column = table.column
    z = column("z", "data", np.arange(-HALF, HALF + 1) * step, words="the logit: steps of z_step", torch="z")
    words = "1 / (1 + e^-z), in a form that does not overflow"
    p = column("sigmoid", "activation", tensor.sigmoid(z), words=words, torch="F.sigmoid(z)")
    largest = tensor.maximum(z, 0)
    pair = tensor.exp(z - largest) / (tensor.exp(z - largest) + tensor.exp(-largest))
    words, says = "e^z / (e^z + e^0), the larger subtracted", "F.softmax(torch.stack([z, 0]), 0)[0]"
    column("softmax_of_two", "activation", pair, words=words, torch=says, width=16)
    losses = {}
    for answer, sign in (("yes", -1), ("no", 1)):
        share = "sigmoid" if answer == "yes" else "1 - sigmoid"
        words, says = f"-log({share})", "F.binary_cross_entropy_with_logits(z, y)"
        array = tensor.maximum(sign * z, 0) + tensor.log(1 + tensor.exp(-tensor.abs(z)))
        losses[answer] = column(f"loss_if_{answer}", "loss", array, words=words, torch=says)
    column("grad_if_yes", "gradient", p - 1, words="sigmoid - 1", torch="z.grad")
    column("grad_if_no", "gradient", p, words="sigmoid - 0", torch="z.grad")
    chart = scatter("The sigmoid", "z", "probability of yes", [Series("sigmoid", z, p, width=2.5)], height=9)
    sheet.chart(chart_row, 1, chart)
    curves = [Series(f"if the answer is {answer}", z, loss, width=2.5) for answer, loss in losses.items()]
    sheet.chart(chart_row, 8, scatter("Binary cross-entropy", "z", "loss", curves, height=9))
    sheet.width(1, 13)
    sheet.repeat_rows(table.head, table.first - 1)


def _mistake_sheet(book: Book) -> None:
    sheet = book.sheet(
        "confident mistake",
        "What a confident mistake costs",
        "The answer is yes. On the left the network is sure that it is no, on the right that it is yes.",
        "Cross-entropy grows without end, and its gradient nears -1: a sure mistake is corrected with full force. The "
        "squared error is at most 1, and its gradient dies: the network would stay wrong.",
    )
    (step,) = sheet.inputs(sheet.next_row, 1, ("mistake_step",))
    chart_row = sheet.next_row
    table = sheet.table(chart_row + 20, 1, 2 * HALF + 1)
    column = table.column
    z = column("mistake_z", "data", np.arange(-HALF, HALF + 1) * step, words="the logit of yes", torch="z")
    p = column("mistake_p", "activation", tensor.sigmoid(z), words="probability of yes", torch="F.sigmoid(z)")
    entropy = tensor.maximum(-z, 0) + tensor.log(1 + tensor.exp(-tensor.abs(z)))
    words, says = "-log(mistake_p)", "F.binary_cross_entropy_with_logits(z, 1)"
    entropy = column("cross_entropy", "loss", entropy, words=words, torch=says, width=15)
    words, says = "(1 - mistake_p)^2", "F.mse_loss(F.sigmoid(z), 1)"
    squared = column("squared_error", "loss", (1 - p) ** 2, words=words, torch=says, width=15)
    words = "mistake_p - 1"
    grad_entropy = column("grad_cross_entropy", "gradient", p - 1, words=words, torch="z.grad", width=20)
    words = "-2 * (1 - mistake_p) * mistake_p * (1 - mistake_p)"
    grad = -2 * (1 - p) * p * (1 - p)
    grad_squared = column("grad_squared_error", "gradient", grad, words=words, torch="z.grad", width=20)
    for title, left, curves in (
        ("The loss", 1, (("cross-entropy", entropy), ("squared error", squared))),
        ("Its gradient", 7, (("cross-entropy", grad_entropy), ("squared error", grad_squared))),
    ):
        series = [Series(label, z, array, width=2.5) for label, array in curves]
        sheet.chart(chart_row, left, scatter(title, "z: sure of no ... sure of yes", title.lower(), series, height=9))
    sheet.width(1, 14)
    sheet.repeat_rows(table.head, table.first - 1)


def reference(values: Values) -> dict[str, np.ndarray]:
    """Every block as torch computes it in float64, from the inputs and data that stand in a file."""
    import torch

    given = {spec.name: torch.tensor(float(values[spec.name])) for spec in INPUTS}
    data = {name: torch.as_tensor(values[name], dtype=torch.float64) for name in DIMS}
    _check_labels(values)
    blocks = given | data | _reference_example(data["logits"], given)
    blocks |= _reference_batch(data["batch_logits"], data["batch_label"].long(), float(given["label_smoothing"]))
    blocks |= _reference_two_classes(given)
    return {name: block.detach().double().numpy() for name, block in blocks.items()}


def _check_labels(values: Values) -> None:
    """Raises `ValueError` for a label that is none of the classes."""
    wrong = [value for value in values["batch_label"] if value not in range(len(CLASSES))]
    if wrong:
        raise ValueError(f"batch_label: expected whole numbers from 0 to {len(CLASSES) - 1}, got {wrong[0]:g}")


def _reference_example(logits: Any, given: dict[str, Any]) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    target, nudge = given["label"].long(), given["nudge"]
    scaled = ((logits + given["shift"]) / given["temperature"]).requires_grad_()
    loss = F.cross_entropy(scaled, target)
    loss.backward()
    scaled, grad = scaled.detach(), scaled.grad
    assert grad is not None
    powers, naive = (scaled - scaled.max()).exp(), scaled.exp()
    # A spreadsheet knows no infinity: a share of it is an error there, not 0.
    total = torch.where(naive.sum().isfinite(), naive.sum(), torch.nan)
    blocks = {
        "class_number": torch.arange(len(ANIMALS)),
        "scaled": scaled,
        "exp_scaled": powers,
        "softmax": F.softmax(scaled, 0),
        "log_softmax": F.log_softmax(scaled, 0),
        "one_hot": F.one_hot(target, len(ANIMALS)),
        "grad": grad,
        "naive_exp": naive,
        "naive_softmax": naive / total,
        "largest": scaled.max(),
        "total": powers.sum(),
        "sum_of_softmax": F.softmax(scaled, 0).sum(),
        "loss": loss,
        "predicted": scaled.argmax(),
    }
    for side, sign in SIDES.items():
        nudged = scaled + sign * nudge * torch.eye(len(ANIMALS))
        blocks[f"nudged_{side}"] = nudged
        blocks[f"loss_{side}"] = F.cross_entropy(nudged, target.expand(len(ANIMALS)), reduction="none")
    return blocks | {"fd_grad": (blocks["loss_up"] - blocks["loss_down"]) / (2 * nudge)}


def _reference_batch(logits: Any, target: Any, smoothing: float) -> dict[str, Any]:
    from torch.nn import functional as F  # noqa: N812

    logits = logits.clone().requires_grad_()
    loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
    loss.backward()
    predicted = logits.argmax(1)
    return {
        "batch_exp": (logits - logits.amax(1, keepdim=True)).exp(),
        "batch_softmax": F.softmax(logits, 1),
        "batch_log_softmax": F.log_softmax(logits, 1),
        "batch_target": (1 - smoothing) * F.one_hot(target, len(CLASSES)) + smoothing / len(CLASSES),
        "batch_losses": F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none"),
        "batch_grad": logits.grad,
        "batch_predicted": predicted,
        "batch_loss": loss,
        "batch_right": (predicted == target).sum(),
    }


def _reference_two_classes(given: dict[str, Any]) -> dict[str, Any]:
    import torch
    from torch.nn import functional as F  # noqa: N812

    z = torch.arange(-HALF, HALF + 1) * given["z_step"]
    blocks = {
        "z": z,
        "sigmoid": F.sigmoid(z),
        "softmax_of_two": F.softmax(torch.stack([z, torch.zeros_like(z)]), 0)[0],
    }

    def loss_and_gradient(logits: Any, loss: Any) -> tuple[Any, Any]:
        logits = logits.clone().requires_grad_()
        losses = loss(logits)
        return losses, torch.autograd.grad(losses.sum(), logits)[0]

    for answer, y in (("yes", torch.ones_like(z)), ("no", torch.zeros_like(z))):
        blocks[f"loss_if_{answer}"], blocks[f"grad_if_{answer}"] = loss_and_gradient(
            z, lambda logits, y=y: F.binary_cross_entropy_with_logits(logits, y, reduction="none")
        )
    z = torch.arange(-HALF, HALF + 1) * given["mistake_step"]
    yes = torch.ones_like(z)
    blocks |= {"mistake_z": z, "mistake_p": F.sigmoid(z)}
    blocks["cross_entropy"], blocks["grad_cross_entropy"] = loss_and_gradient(
        z, lambda logits: F.binary_cross_entropy_with_logits(logits, yes, reduction="none")
    )
    blocks["squared_error"], blocks["grad_squared_error"] = loss_and_gradient(
        z, lambda logits: F.mse_loss(F.sigmoid(logits), yes, reduction="none")
    )
    return blocks


def sizes(values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A finite difference keeps only the digits that the two losses have: their rounding, not its own size, counts.

    A loss is as exact as the largest logit that it is made of.
    """
    return {"fd_grad": np.maximum(np.abs(blocks["scaled"]).max(), 1) / np.asarray(values["nudge"])}


def load(source: Source) -> dict[str, Any]:
    """The logits of one example, and those of a mini-batch with its labels."""
    del source
    return {"logits": LOGITS, "batch_logits": BATCH_LOGITS, "batch_label": BATCH_LABELS}


INPUTS = (
    Input("label", 0, "the animal that it really is: 0 cat, 1 dog, ...", minimum=0, maximum=4, whole=True),
    Input("shift", 0, "a number that is added to all logits"),
    Input("temperature", 1, "a number that all logits are divided by", above=0),
    Input("nudge", 0.0001, "how far the finite difference moves a logit", above=0),
    Input("label_smoothing", 0, "how much of the 1 is shared among all classes", minimum=0, maximum=1),
    Input("z_step", 0.5, "how far apart the logits of this sheet are", above=0),
    Input("mistake_step", 0.5, "how far apart the logits of this sheet are", above=0),
)
DIMS = {"logits": 1, "batch_logits": 2, "batch_label": 1}
SOFTMAX_CROSS_ENTROPY = Lesson(
    "softmax_cross_entropy",
    "from logits to probabilities, the loss and its gradient; the sigmoid; what a confident mistake costs",
    INPUTS,
    Data(DIMS, load),
    build=build,
    reference=reference,
    sizes=sizes,
)
