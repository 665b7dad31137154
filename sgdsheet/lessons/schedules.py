"""Learning-rate schedules as formulas, for every step at once, as torch.optim.lr_scheduler has them."""

from __future__ import annotations

from typing import Any

from sgdsheet import tensor
from sgdsheet.expr import Call


def cosine(start: Any, end: Any, share: Any) -> Any:
    """From `start` to `end` along half a cosine, `share` of the way."""
    return end + (start - end) / 2 * (tensor.cos(Call("PI") * share) + 1)


def one_cycle(step: Any, total: int, pct_start: Any, values: tuple[Any, Any, Any]) -> Any:
    """OneCycleLR with its cosines: from the first of three values to the second, and on to the third.

    `step` counts from 1 to `total`; `pct_start` is the share of the steps that the first way takes.
    """
    first, middle, last = values
    turn = pct_start * total - 1
    there = cosine(first, middle, (step - 1) / turn)
    back = cosine(middle, last, (step - 1 - turn) / (total - 1 - turn))
    return tensor.where(tensor.less_equal(step - 1, turn), there, back)
