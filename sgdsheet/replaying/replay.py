"""From a record, or the folder of a run, to the workbook that does its steps again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgdsheet.recording import record
from sgdsheet.replaying.followed import followed
from sgdsheet.replaying.sheets import book_of
from sgdsheet.writing import Written, write


@dataclass(frozen=True)
class Replayed(Written):
    """What was written, and of each weight the largest share of what a step may be off: above 1 it does not agree."""

    shares: Mapping[str, float]


def replay(path: str | Path, out: str | Path = "replay.xlsx", *, steps: tuple[int, int] | None = None) -> Replayed:
    """Writes a workbook that does a recorded training's steps again, a sheet for each weight that was followed.

    Each recorded gradient is data. Momentum, mean squares, bias corrections, decay and the new weight are the formulas
    of `sgdsheet.optim`, chained from the first step's weight alone; beside them stands what the trainer had, how far
    they are apart, and how far the arithmetic of the weight's dtype allows them to be, which is a formula too (see
    `sgdsheet.replaying.rounding`). `sgdsheet.verify` compares it with torch in float64 over the same gradients.

    Arguments:
      path: a record that `sgdsheet.Recorder` wrote, .csv or .parquet, or the folder of a run of `trainer fit --record`.
      out: the workbook.
      steps: the first and the last step; by default the first 2,000, which is as many as there can be.

    Raises `Error` for a run that was not recorded, a record that was cut or edited so that it cannot be used, and an
    optimizer that the core lacks.
    """
    file = record.found(Path(path))
    rows = record.read(file)
    weights = followed(rows, file, steps)
    first, last = min(each.data["step"][0] for each in weights), max(each.data["step"][-1] for each in weights)
    of = int(rows["step"].max())
    cut = f"Steps {first:.0f} to {last:.0f} of {of:,}." if last - first + 1 < of else ""
    shares: dict[str, float] = {}

    def told(blocks: Mapping[str, np.ndarray]) -> None:
        shares.update(
            zip((each.name for each in weights), blocks["overview_worst"].astype(float).tolist(), strict=True)
        )

    written = write(book_of(weights, str(path), cut), out, told)
    return Replayed(**vars(written), shares=shares)
