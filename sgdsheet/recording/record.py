"""A record: a row for each step and each weight that was followed. A file of it is CSV, or Parquet.

`step` counts the steps from 1, `weight` is a name and a place as in `conv1.weight[0,0,1,2]`, `optimizer` the class,
`dtype` the weight's. `happened` is `stepped`; or `skipped`, where a GradScaler found a gradient that is not finite; or
`no gradient`, where torch passes a weight over. `loss` is the step's, where it was told. Then come the hyperparameters
of the weight's parameter group, flags as 0 and 1; `grad`, as the optimiser saw it; `param` and `new_param`, the weight
before the step and after it; each state after it, by torch's name, and before it with `old_`. `count` is what torch
calls a state `step`. Where there is nothing to say a cell is empty; all numbers have every digit.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet import csv_file
from sgdsheet.errors import Error, one_line
from sgdsheet.files import put, why_no_file

if TYPE_CHECKING:
    import pandas as pd

STEPPED, SKIPPED, NO_GRADIENT = "stepped", "skipped", "no gradient"
TEXTS = ("weight", "optimizer", "dtype", "happened")
COLUMNS = ("step", *TEXTS, "loss", "lr", "grad", "param", "new_param")  # those that every record has
NAMES = ("record.parquet", "record.csv")  # in the folder of a run


def require_name(path: Path) -> None:
    """Raises `Error` for a name that is neither .csv nor .parquet, and where Parquet cannot be written."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise Error(f"{path}: expected a name that ends with .csv or .parquet")
    if path.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise Error(f"{path}: Parquet needs pyarrow: pip install pyarrow, or choose a name that ends with .csv")


def write(rows: pd.DataFrame, path: Path) -> None:
    """Writes a record; the file is the old one or the whole new one. Raises `Error` as `require_name` does."""
    require_name(path)
    if path.suffix.lower() == ".csv":
        put(path, rows.to_csv(index=False, lineterminator="\n"))
    else:
        held = io.BytesIO()
        rows.to_parquet(held, index=False)
        put(path, held.getvalue())


def in_folder(folder: Path) -> Path:
    """Returns where the record of a run belongs: where there is one, or else Parquet if pyarrow is installed."""
    there = [folder / name for name in NAMES if (folder / name).exists()]
    return (there or [folder / NAMES[find_spec("pyarrow") is None]])[0]


def found(path: Path) -> Path:
    """Returns the record itself, or the one in the folder of a run. Raises `Error` where there is none."""
    if not path.is_dir():
        return path
    there = in_folder(path)
    if not there.exists():
        raise Error(f"{path}: holds no record: trainer fit PICTURES --out {path} --record 12 makes one")
    return there


def read(path: Path) -> pd.DataFrame:
    """Reads a record, its rows in the order of their steps.

    Raises `Error` for a file that is none, and for one that was cut short or edited so that it cannot be used: a column
    or a step that is missing, a text where a number should be.
    """
    require_name(path)
    rows = _of_csv(path) if path.suffix.lower() == ".csv" else _of_parquet(path)
    if missing := [name for name in COLUMNS if name not in rows]:
        raise Error(f"{path}: is no record of sgdsheet: it has no column {missing[0]!r}")
    if not len(rows):
        raise Error(f"{path}: holds no step")
    for name in rows:
        if name not in TEXTS:
            rows[name] = _numbers(rows[name], str(name), path)
    steps = rows["step"]
    if not (np.isfinite(steps) & (steps >= 1) & (steps == np.floor(steps))).all():
        raise Error(f"{path}: expected whole numbers from 1 on in the column 'step'")
    unknown = [*dict.fromkeys(rows["happened"][~rows["happened"].isin((STEPPED, SKIPPED, NO_GRADIENT))])]
    if unknown:
        raise Error(f"{path}: expected {STEPPED!r}, {SKIPPED!r} or {NO_GRADIENT!r} in 'happened', got {unknown[0]!r}")
    for weight, own in rows.groupby("weight", sort=False):
        numbers = own["step"].to_numpy()
        wrong = np.flatnonzero(np.diff(numbers) <= 0)
        if len(wrong):
            raise Error(f"{path}: {weight}: step {numbers[wrong[0] + 1]:g} stands after step {numbers[wrong[0]]:g}")
    every = np.unique(steps)
    gaps = np.setdiff1d(np.arange(1, every[-1] + 1), every)
    if len(gaps):
        raise Error(f"{path}: step {gaps[0]:g} is missing: the record was cut or edited")
    return rows


def _of_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    rows = csv_file.read(path).rows
    if not rows:
        raise Error(f"{path}: is empty")
    head, body = rows[0][1], rows[1:]
    for line, cells in body:
        if len(cells) != len(head):
            raise Error(f"{path}: line {line}: expected {len(head)} cells, got {len(cells)}: the record was cut")
    return pd.DataFrame([cells for _, cells in body], columns=head)


def _of_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    if why := why_no_file(path):
        raise Error(f"{path}: cannot be read: {why}")
    try:
        return pd.read_parquet(path)
    except OSError as error:
        raise Error(f"{path}: cannot be read: {one_line(error.strerror or error)}") from None
    except Exception as error:  # whatever pyarrow makes of bytes that are no table
        raise Error(f"{path}: is no Parquet file that can be read: {one_line(error)}") from None


def _numbers(column: pd.Series, name: str, path: Path) -> pd.Series:
    """A column's numbers; an empty cell is NaN."""
    if column.dtype.kind in "fiub":
        return column.astype(float)
    numbers = []
    for row, text in enumerate(column):
        try:
            numbers.append(float(text) if text not in ("", None) else np.nan)
        except (TypeError, ValueError):
            raise Error(f"{path}: row {row + 2}, column {name!r}: expected a number, got {text!r}") from None
    import pandas as pd

    return pd.Series(numbers, index=column.index, dtype=float)
