"""What a chart's axes are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgdsheet.book import Series, bars, scatter
from sgdsheet.expr import Ref

X, Y = (np.array([Ref("data", row, column) for row in (1, 2, 3)], dtype=object) for column in (1, 2))


@pytest.mark.parametrize("log_x", [False, True])
@pytest.mark.parametrize("log", [False, True])
def test_powers_of_ten(log: bool, log_x: bool) -> None:
    chart: Any = scatter("title", "x", "y", [Series("line", X, Y)], log=log, log_x=log_x)
    assert chart.x_axis.scaling.logBase == (10 if log_x else None)
    assert chart.y_axis.scaling.logBase == (10 if log else None)


def test_a_range_may_be_open() -> None:
    chart: Any = scatter("title", "x", "y", [Series("line", X, Y)], x_range=(1, 5), y_range=(0, None))
    assert (chart.x_axis.scaling.min, chart.x_axis.scaling.max) == (1, 5)
    assert (chart.y_axis.scaling.min, chart.y_axis.scaling.max) == (0, None)


def test_columns_over_words() -> None:
    chart: Any = bars("title", "animal", "share", X, [("probability", Y)], y_range=(0, 1))
    (made,) = chart.series
    assert (made.cat.strRef.f, made.val.numRef.f) == ("data!$A$1:$A$3", "'data'!$B$1:$B$3")
    assert (chart.y_axis.scaling.min, chart.y_axis.scaling.max) == (0, 1)
    assert chart.legend is None


def test_named_points_need_no_legend() -> None:
    chart: Any = scatter("title", "x", "y", [Series(label, X, Y, line=False, named=True) for label in ("this", "that")])
    assert [each.dLbls.showSerName for each in chart.series] == [True, True]
    assert chart.legend is None
    assert scatter("title", "x", "y", [Series("this", X, Y, named=True), Series("that", X, Y)]).legend is not None
