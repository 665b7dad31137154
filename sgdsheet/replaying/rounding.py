"""How far a step in few digits may be from the same step in exact arithmetic.

torch rounds what it computes to the weight's dtype: each operation may be off by one part in 2^24 of what comes out in
float32, by one in 2^8 in bfloat16. What it adds up may cancel, but not the roundings of what was added up; so they are
measured against the sizes of the parts, without their signs: |momentum * buffer| + |grad|, and so on.

A step may be off by as many roundings as it has operations, none of which cancels another: for a state 8 of its parts'
size; for the weight 16 of the size of its move, one of the new weight, and two of the old one where that was multiplied
(weight decay; one where it was changed in two goes). So much for one step, from where the trainer was before it: the
chain of formulas from the first weight may be off by what its difference makes of the next step, which the formula
itself tells, from there and from here, and the roundings of that step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgdsheet import tensor
from sgdsheet.replaying.followed import UNIT
from sgdsheet.tensor import equal, greater, maximum, sqrt, where

STATE, MOVE = 8, 16  # roundings
TINY = {"float64": 0.0, "float32": 2.0**-149, "bfloat16": 2.0**-133}  # the smallest number above 0
CLOSE = 1e-12  # of float64, as everywhere in these workbooks
IN_FLOAT32 = ("NAdam", "ASGD")  # whose scalars torch keeps in its default dtype, whatever the weight's is


def sizes(
    name: str, h: Mapping[str, Any], flags: Mapping[str, bool], v: Mapping[str, Any], *, fused: bool = False
) -> dict[str, Any]:
    """The sizes of what is added up in each state, by its name, and in the `move` of the weight.

    Arguments:
      name: the optimizer.
      h: its hyperparameters, by the names of their cells; what is left out is 0.
      flags: its flags.
      v: `grad`; `param` and each state before the step as `old_…`; each state after it; and what the recurrence makes
        of the step's number alone, as `bias_correction1`.
      fused: whether one kernel makes the step, which has the hyperparameters in float32 too: of 1 - 0.999 every digit
        but four is lost there.
    """
    lr, decay = h["lr"], h.get("weight_decay", 0)
    coupled = name not in ("AdamW", "Eve", "Rprop") and not flags.get("decoupled_weight_decay") and given(decay)
    grad = tensor.abs(v["grad"])
    grad = grad + decay * tensor.abs(v["param"]) if coupled else grad
    found: dict[str, Any] = {}

    def mean(state: str, beta: Any, new: Any) -> Any:
        """Of a running mean."""
        found[state] = beta * tensor.abs(v[f"old_{state}"]) + (2 - beta if fused else 1 - beta) * new
        return found[state]

    def strain(state: str) -> Any:
        """How much a rounding under a root counts: twice, or more where grad and weight decay cancelled."""
        return 1 + where(equal(v[state], 0), 1, found[state] / v[state]) if coupled or fused else 2

    if name == "SGD":
        move = grad
        if given(h.get("momentum", 0)):
            found["momentum_buffer"] = h["momentum"] * tensor.abs(v["old_momentum_buffer"]) + grad
            buffer = found["momentum_buffer"]
            move = grad + h["momentum"] * buffer if flags["nesterov"] else buffer
        return found | {"move": lr * move}
    if name == "Adagrad":
        found["sum"] = v["old_sum"] + grad**2
        rate = lr / (1 + (v["step"] - 1) * h["lr_decay"]) if given(h.get("lr_decay", 0)) else lr
        return found | {"move": rate * grad / (sqrt(v["sum"]) + h["eps"]) * strain("sum")}
    if name == "Adadelta":
        mean("square_avg", h["rho"], grad**2)
        root = sqrt(v["old_acc_delta"] + h["eps"]) / sqrt(v["square_avg"] + h["eps"])
        delta = root * grad * strain("square_avg")
        mean("acc_delta", h["rho"], delta**2)
        return found | {"move": lr * delta}
    if name == "RMSprop":
        square, within = mean("square_avg", h["alpha"], grad**2), v["square_avg"]
        enlarged = strain("square_avg")
        if flags["centered"]:
            middle = mean("grad_avg", h["alpha"], grad)
            within = within - v["grad_avg"] ** 2
            enlarged = where(greater(within, 0), 2 + (square + 2 * middle**2) / within, 1)
        move = grad / (sqrt(within) + h["eps"]) * enlarged
        if given(h.get("momentum", 0)):
            move = found["momentum_buffer"] = h["momentum"] * tensor.abs(v["old_momentum_buffer"]) + move
        return found | {"move": lr * move}
    if name == "ASGD":
        move = v["old_eta"] * grad
        found |= {"eta": v["eta"], "mu": v["mu"], "ax": tensor.abs(v["old_ax"]) + tensor.abs(v["param"]) + move}
        return found | {"move": move}
    if name == "Rprop":
        return {"prev": grad, "step_size": v["step_size"], "move": v["step_size"]}
    m = mean("exp_avg", h["beta1"], grad)
    if name == "Adamax":
        found["exp_inf"] = h["beta2"] * v["old_exp_inf"] + grad + h["eps"]
        return found | {"move": lr / v["bias_correction1"] * m / v["exp_inf"] * strain("exp_inf")}
    mean("exp_avg_sq", h["beta2"], grad**2)
    square, root = v["exp_avg_sq"], sqrt(v["bias_correction2"])
    if name == "NAdam":
        found["mu_product"] = product = v["mu_product"]
        rates = (1 - v["mu"]) / (1 - product), v["mu_next"] / (1 - product * v["mu_next"])
        move = lr * (rates[0] * grad + rates[1] * m) / (sqrt(square / v["bias_correction2"]) + h["eps"])
    elif name == "RAdam":
        adaptive = where(greater(v["rho_t"], 5), v["rect"] * root / (sqrt(square) + h["eps"]), 1)
        move = lr / v["bias_correction1"] * m * adaptive
    elif name == "Eve":
        found |= {"f_hat": v["f_hat"], "d": 1 + v["d"]}
        move = lr / v["bias_correction1"] * m / (v["d"] * sqrt(square) / root + h["eps"])
    else:
        if flags["amsgrad"]:
            found["max_exp_avg_sq"] = v["max_exp_avg_sq"] + found["exp_avg_sq"]
            square = v["max_exp_avg_sq"]
        move = lr / v["bias_correction1"] * m / (sqrt(square) / root + h["eps"])
    return found | {"move": move * strain("exp_avg_sq")}


def exact(weight: Any) -> bool:
    """Whether trainer and cells calculate alike: in float64, but where torch keeps scalars in float32 all the same."""
    return weight.dtype == "float64" and weight.optimizer.name not in IN_FLOAT32


def rounding(
    weight: Any, of: str, sizes: Mapping[str, Any], v: Mapping[str, Any], *, decays: bool, scalar: bool
) -> Any:
    """How far one step in the weight's dtype may lead from where these cells arrive, of the weight or a state.

    `weight` is as for `sheets.bounds`, `of` is `new_param` or the state's name, `v` as for `sizes`. `decays` says
    whether the weight itself is multiplied, `scalar` that the state has one value for all weights.
    """
    name, unit = weight.optimizer.name, UNIT[weight.dtype]
    close = CLOSE * maximum(1, tensor.abs(v[of])) if weight.dtype == "float64" else 0
    if exact(weight):
        return close
    coarse = max(unit, UNIT["float32"])
    if of != "new_param":
        return STATE * (coarse if scalar or name in IN_FLOAT32 else unit) * sizes[of] + TINY[weight.dtype] + close
    move = sizes["move"]
    if weight.capturable or weight.fused:  # then bias corrections are in few digits too
        move = move * (1 + sum(1 / v[each] for each in ("bias_correction1", "bias_correction2") if each in v))
    times = 2 * decays + (name == "NAdam")  # which changes the weight twice
    kept = tensor.abs(v["new_param"]) + (times * tensor.abs(v["param"]) if times else 0)
    moved = MOVE * (coarse if name in IN_FLOAT32 else unit) * move
    return unit * kept + moved + TINY[weight.dtype] + close


def given(value: Any) -> bool:
    """Whether a hyperparameter is anything but the number 0, which leaves its formulas out."""
    return not (isinstance(value, int | float) and value == 0)
