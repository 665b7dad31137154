from __future__ import annotations

import numpy as np
import pytest

from sgdsheet.errors import Error
from trainer.show import plots


def history(frozen: str) -> tuple[list[dict[str, float]], np.ndarray]:
    """Epochs of four steps each, `h` of the head alone and `a` of all of the model."""
    rows: list[dict[str, float]] = [
        {"epoch": n, "steps": 4, "valid_loss": 1 / n, "frozen": kind == "h"} for n, kind in enumerate(frozen, start=1)
    ]
    losses = np.linspace(2, 0.5, 4 * len(rows))
    return rows, np.stack([losses, losses, losses], 1)


@pytest.mark.parametrize(
    ("frozen", "runs", "shaded"), [("aa", 1, 0), ("haa", 2, 1), ("hh", 1, 1), ("hah", 3, 2), ("h", 1, 1)]
)
def test_the_head_s_epochs_are_on_grey_and_begin_a_mean_of_their_own(frozen: str, runs: int, shaded: int) -> None:
    figure = plots.losses(*history(frozen))
    axes = figure.axes[0]
    raw, *means, valid = axes.lines
    assert len(raw.get_xdata()) == 4 * len(frozen)
    assert len(means) == runs
    assert np.concatenate([line.get_xdata() for line in means]).tolist() == list(range(1, 4 * len(frozen) + 1))
    assert [line.get_ydata()[0] for line in means] == [raw.get_ydata()[int(line.get_xdata()[0]) - 1] for line in means]
    assert valid.get_xdata().tolist() == list(range(4, 4 * len(frozen) + 1, 4))
    assert len(axes.patches) == shaded
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["training, running mean", *(["the head alone"] if shaded else []), "validation"]
    assert plots.picture(figure).size == (770, 440)


def test_a_loss_that_is_not_finite_leaves_a_gap() -> None:
    rows, steps = history("haa")
    steps[5:7, 2] = np.nan, np.inf
    assert plots.picture(plots.losses(rows, steps)).size == (770, 440)


def test_nothing_to_plot() -> None:
    with pytest.raises(Error, match="nothing to plot yet"):
        plots.losses([], np.empty((0, 3)))
