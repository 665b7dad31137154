"""What is fitted to a table and how: the model, its parameters in one row, the optimiser and its numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet.book import Input
from sgdsheet.errors import Error, nearest, require
from sgdsheet.hyperparameters import arguments
from sgdsheet.optim import ADAM, OPTIMIZERS, Optimizer, Variant

MODELS = {
    "linear": "a number: a weight for each column, and a bias",
    "logistic": "one of two: the same, made a probability",
    "mlp": "either: a layer of hidden units between",
}
VARIANTS = {
    variant.name.lower(): (optimizer, variant)
    for optimizer in OPTIMIZERS.values()
    for variant in optimizer.variants or (Variant(optimizer.name),)
}
MOST_EPOCHS, MOST_HIDDEN = 1_000, 64


@dataclass(frozen=True)
class Fit:
    """What decides which formulas there are. `hidden` is 0 but for an mlp; `train` and `valid` count rows."""

    model: str
    optimizer: str
    hidden: int
    epochs: int
    batch_size: int
    train: int
    valid: int

    @property
    def recurrence(self) -> tuple[Optimizer, Variant]:
        return VARIANTS[self.optimizer]

    @property
    def batches(self) -> list[slice]:
        """The rows of each step of an epoch."""
        starts = range(0, self.train, self.batch_size)
        return [slice(start, min(start + self.batch_size, self.train)) for start in starts]

    @property
    def steps(self) -> int:
        return self.epochs * len(self.batches)

    def batch(self, step: int) -> slice:
        """The rows of a step, which counts from 0."""
        return self.batches[step % len(self.batches)]

    def row(self) -> list[Any]:
        """Returns it as the cells of a row."""
        return ["fit", *vars(self).values()]

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]], where: str) -> Fit:
        """Returns what a sheet holds. Raises `Error`, naming `where`, if it was edited."""
        row = next((row[1:] for row in rows if row[:1] == ["fit"]), [])
        whole = len(row) == 7 and all(isinstance(each, int) and each >= 0 for each in row[2:])
        if not whole or row[0] not in MODELS or row[1] not in VARIANTS or min(row[3:]) < 1:
            raise Error(f"{where}: was edited; restore it, or fit the table anew")
        return cls(*row)

    def parameters(self, features: Sequence[str]) -> list[str]:
        """Returns what each parameter belongs to, in their order."""
        if not self.hidden:
            return [*features, "bias"]
        units = [f"h{number}" for number in range(1, self.hidden + 1)]
        inside = [f"{unit}: {feature}" for unit in units for feature in features]
        return [*inside, *(f"{unit}: bias" for unit in units), *(f"of {unit}" for unit in units), "bias"]

    def split(self, flat: Any, features: int) -> tuple[Any, Any, Any, Any]:
        """Returns what a row of parameters is: the hidden units' weights, `(hidden, features)`, and biases, `(hidden)`,
        None without them; then the last unit's weights and its bias."""
        if not self.hidden:
            return None, None, flat[:features], flat[features]
        inside = self.hidden * features
        end = inside + self.hidden
        return flat[:inside].reshape(self.hidden, features), flat[inside:end], flat[end:-1], flat[-1]

    def start(self, features: int, seed: int) -> np.ndarray:
        """Returns the parameters before the first step: 0, or for an mlp as torch draws them, from -1 / sqrt(inputs)
        to 1 / sqrt(inputs)."""
        if not self.hidden:
            return np.zeros(features + 1)
        draw = random.Random(seed).uniform
        inside, outside = 1 / math.sqrt(features), 1 / math.sqrt(self.hidden)
        first = [round(draw(-inside, inside), 6) for _ in range(self.hidden * (features + 1))]
        return np.array(first + [round(draw(-outside, outside), 6) for _ in range(self.hidden + 1)])

    def hyperparameters(self) -> dict[str, float]:
        """Returns the optimiser's numbers that have a cell, with what they begin with. One that is 0 has none."""
        optimizer, variant = self.recurrence
        lr = (
            optimizer.lr
            if optimizer.lr is None or optimizer.family != ADAM
            else optimizer.lr / (10 if self.hidden else 5)
        )
        starts = optimizer.cells() | ({} if lr is None else {"lr": lr}) | variant.start
        return {name: start for name, start in starts.items() if start and name not in variant.without}

    def arguments(self, cells: dict[str, Any]) -> dict[str, Any]:
        """Returns what the optimiser takes, from what stands in the cells."""
        return arguments({name: cells[name] for name in self.hyperparameters()}) | self.recurrence[1].flags

    def inputs(self) -> tuple[Input, ...]:
        """Returns the cells of the sheet `fit`: the optimiser's numbers for the reader to change, and the rest."""
        optimizer, variant = self.recurrence
        live = []
        for name, start in self.hyperparameters().items():
            meaning, limits = optimizer.meaning(name)
            live.append(Input(name, start, meaning, **variant.limits.get(name, limits)))
        return (
            *live,
            Input("model", self.model, "what is fitted", choices=tuple(MODELS), fixed=True),
            Input("optimizer", self.optimizer, "how its parameters move", choices=tuple(VARIANTS), fixed=True),
            Input("epochs", self.epochs, "times through all rows", minimum=1, whole=True, fixed=True),
            Input("batch_size", self.batch_size, "rows of a step", minimum=1, whole=True, fixed=True),
        )


def chosen(
    model: str, optimizer: str, hidden: int, epochs: int, batch_size: int, lr: float | None, train: int, valid: int
) -> tuple[Fit, dict[str, float | str]]:
    """Returns what is fitted, and the values that its cells begin with. Raises `Error` for what makes no sense."""
    fit = Fit(model, optimizer.lower(), hidden if model == "mlp" else 0, epochs, min(batch_size, train), train, valid)
    specs = {spec.name: spec for spec in fit.inputs()}
    values = {name: spec.value for name, spec in specs.items()}
    if lr is not None:
        values["lr"] = specs["lr"].check(lr, "lr")
    return fit, values


def require_known(model: str, optimizer: str, hidden: int, epochs: int, batch_size: int, valid: float) -> None:
    """Raises `Error` for arguments that make no sense, before a file is read."""
    if model not in MODELS:
        raise Error(f"model: expected one of {', '.join(MODELS)}, got {model!r}")
    if not isinstance(optimizer, str) or optimizer.lower() not in VARIANTS:
        raise Error(f"optimizer: there is no {optimizer!r}{nearest(str(optimizer), VARIANTS)}")
    require(hidden, "hidden", 1, MOST_HIDDEN, whole=True)
    require(epochs, "epochs", 1, MOST_EPOCHS, whole=True)
    require(batch_size, "batch_size", 1, whole=True)
    require(valid, "valid", 0.01, 0.9)
