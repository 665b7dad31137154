"""Whether other inputs stay within what makes sense, for every input of every lesson."""

from __future__ import annotations

import numpy as np
import pytest

from sgdsheet.book import Input
from sgdsheet.draws import drawn, nudged
from sgdsheet.lessons import catalogue


@pytest.mark.parametrize("reach", [1.0, 0.5, 0.02])
def test_inputs_stay_within_their_limits(reach: float) -> None:
    for lesson in catalogue().values():
        specs = {spec.name: spec for spec in lesson.inputs}
        inputs = {spec.name: spec.value for spec in lesson.inputs}
        for seed in range(5):
            other = drawn(inputs, specs, None, np.random.default_rng(seed), reach)
            assert other.keys() == inputs.keys()
            for name, value in other.items():
                specs[name].check(value, name)
                assert value == inputs[name] or not specs[name].fixed


@pytest.mark.parametrize(
    "spec",
    [Input("a", 0, "", minimum=0), Input("b", 3, "", minimum=1, whole=True), Input("c", "x", "", choices=("x", "y"))],
)
def test_inputs_change(spec: Input) -> None:
    found = {
        drawn({spec.name: spec.value}, {spec.name: spec}, None, np.random.default_rng(k), 0.5)[spec.name]
        for k in range(9)
    }
    assert len(found) > 1


def test_data_keeps_its_kind() -> None:
    data = {
        "labels": np.array([0.0, 2, 1, 2]),
        "one_label": np.array([3.0, 3]),
        "mask": np.array([[0.0, 1], [1, 1]]),
        "shares": np.array([0.2, 0.9, 0.0]),
        "squares": np.array([4.5, 0.0, 30]),
        "weights": np.array([0.5, -0.5]),
        "bias": np.zeros(3),
    }
    for seed in range(20):
        found = drawn(data, {}, None, np.random.default_rng(seed), 0.5)
        assert all(found[name].shape == data[name].shape for name in data)
        assert set(found["labels"]) <= {0, 1, 2}
        assert set(found["one_label"]) <= {3, 4, 5}
        assert set(found["mask"].flat) <= {0, 1}
        assert 0 <= found["shares"].min() <= found["shares"].max() <= 1
        assert found["squares"].min() >= 0
        assert (found["weights"] != data["weights"]).all()
        program = drawn(data, {}, {"labels"}, np.random.default_rng(seed), 0.5)
        assert set(program["labels"]) <= {0, 1, 2}
        assert len({*program["bias"], 0.0}) == 4
    assert (drawn(data, {}, None, np.random.default_rng(0), 0.1)["one_label"] == 3).all()


def test_nudged_by_a_rounding() -> None:
    data = {"weights": np.array([0.5, -2.0, 0.0]), "count": 3, "choice": "x"}
    found = nudged(data, {"count": Input("count", 3, "", whole=True)}, np.random.default_rng(0))
    assert found["choice"] == "x"
    assert found["count"] == 3
    assert found["weights"][0] != 0.5
    np.testing.assert_allclose(found["weights"], data["weights"], rtol=2e-15)
