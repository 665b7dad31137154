"""`sgdsheet.fit`: somebody's own table becomes a workbook that learns from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet.errors import Error, require
from sgdsheet.table import model as models
from sgdsheet.table.model import Fit
from sgdsheet.table.plan import Plan
from sgdsheet.table.reading import read
from sgdsheet.table.sheets import workbook
from sgdsheet.table.training import recurrence
from sgdsheet.writing import write

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS, MOST_COLUMNS = 1_000_000, 16_000


@dataclass(frozen=True)
class Fitted:
    """What was written: the file, its number of cells and of formulas, its size in bytes, and how good the model is.

    `rows` and `valid` count the rows that train and that only check. `scores` has, for these, `loss` and either
    `accuracy` and `majority`, what is right by always giving the commoner answer, or `r_squared`. `notes` say what
    became of columns and rows that the model does not see, a line each.
    """

    path: Path
    cells: int
    formulas: int
    size: int
    rows: int
    valid: int
    scores: dict[str, float]
    notes: list[str]


def fit(
    data: str | Path | pd.DataFrame,
    target: str,
    *,
    path: str | Path | None = None,
    model: str = "linear",
    hidden: int = 8,
    optimizer: str = "adam",
    epochs: int = 10,
    batch_size: int = 16,
    lr: float | None = None,
    seed: int = 0,
    valid: float = 0.2,
    without: Collection[str] = (),
) -> Fitted:
    """Writes a workbook that learns to predict one column of a table from the others, all of it in formulas.

    Numbers are normalised, their gaps filled with the median; dates become days and months; of texts each frequent
    value becomes a column of 0 and 1; columns that number the rows or whose texts are nearly all different are left
    out. The rows are shuffled once and split; each step takes the next batch. Of more than 1,000 rows as many are
    drawn.
    `sgdsheet.verify` compares the workbook with torch.

    Arguments:
      data: a CSV file in UTF-8, whose first row names the columns, or a DataFrame.
      target: the column to predict.
      path: the .xlsx file to write; by default the CSV's name with that ending, beside where you are.
      model: `linear` for a number, `logistic` for one of two values, `mlp` for either, with a layer of relu units.
      hidden: how many units that layer has.
      optimizer: any of torch's that sgdsheet has: `sgd`, `momentum`, `adam`, `adamw`, `rmsprop`, …
      epochs: how often all rows that train are gone through.
      batch_size: how many rows a step takes.
      lr: the learning rate; by default one that suits the optimiser. It is a cell, as its other numbers are.
      seed: decides the order of the rows, which of them only check, and an mlp's start.
      valid: the share of rows that only check.
      without: columns to leave out.

    Raises `Error` for a table that cannot be read or learned from, a target that does not fit the model, more than 30
    numbers a row, and a workbook of more than a million cells.
    """
    models.require_known(model, optimizer, hidden, epochs, batch_size, valid)
    require(seed, "seed", -(2**63), 2**63, whole=True)
    if path is None and not isinstance(data, (str, Path)):
        raise Error("path: expected the .xlsx file to write, as in path='fit.xlsx'")
    name = Path(data).name if isinstance(data, (str, Path)) else "a table"
    path = Path(f"{Path(name).stem}.xlsx") if path is None else Path(path)
    table = read(data, target, model, seed=seed, valid=valid, without=without)
    rows = len(table.cells) - table.valid
    chosen, values = models.chosen(model, optimizer, hidden, epochs, batch_size, lr, rows, table.valid)
    require_fits(chosen, table.plan)
    scores: dict[str, float] = {}

    def check(blocks: Mapping[str, np.ndarray]) -> None:
        scores.update(_scores(blocks))

    written = write(workbook(table, chosen, values, name, seed), path, check)
    notes = [f"{column}: {note}" for column, note in table.notes]
    return Fitted(**vars(written), rows=rows, valid=table.valid, scores=scores, notes=notes)


def require_fits(fit: Fit, plan: Plan) -> None:
    """Raises `Error` if the workbook would be too large, and says what to make smaller."""
    features = len(plan.features)
    params = len(fit.parameters(plan.features))
    across = params * (2 + sum(bool(each.parts) for each in recurrence(fit, ["", ""]).values()))
    if across > MOST_COLUMNS:
        raise Error(f"a step would take {across:,} columns, {MOST_COLUMNS:,} are the most: give a smaller hidden")
    if 3 * fit.batch_size > MOST_COLUMNS:
        raise Error(f"expected a batch_size of at most {MOST_COLUMNS // 3:,}, got {fit.batch_size:,}")
    step = 3 + across + 3 * fit.batch_size * (1 + fit.hidden)
    epoch = len(fit.batches) * step + fit.valid * (3 + fit.hidden)
    table = (fit.train + fit.valid) * (3 + 3 * features)
    if (cells := table + fit.epochs * epoch) > MOST_CELLS:
        enough = (MOST_CELLS - table) // epoch
        less = [f"epochs ({enough} would do)"] if enough else []
        less += ["hidden"] if fit.hidden else []
        raise Error(
            f"the workbook would have about {cells:,} cells, {MOST_CELLS:,} are the most: give fewer "
            f"{' or '.join(less) or 'rows'}, or a larger batch_size"
        )


def _scores(blocks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How good the model is at last. Raises `Error` if the training ran away."""
    losses = blocks["loss"].ravel()
    bad = [step for step, each in enumerate(losses, start=1) if not isinstance(each, (int, float)) or each > 1e100]
    if bad:
        raise Error(f"the loss has no finite number from step {bad[0]} on: the training ran away; give a smaller lr")
    names = {"valid_loss": "loss", "accuracy": "accuracy", "majority": "majority", "r_squared": "r_squared"}
    return {said: float(blocks[name].ravel()[-1]) for name, said in names.items() if name in blocks}
