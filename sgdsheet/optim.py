"""Every dense element-wise optimiser of `torch.optim`, and Eve, each once, as a recurrence over arrays.

    param, state = adam(place, param, grad, state, step=t, lr=1e-3, betas=(0.9, 0.999))

The very same code serves arrays of numbers, one step a call, and arrays of expressions, all steps of a sheet in one
call: a row for each step, a column for each parameter.

`place(name, array, words)` receives each quantity worth seeing and gives back what the next formula shall use: on a
sheet references to the cells that it filled, elsewhere the array itself. State goes by torch's names. `words` is the
formula in plain notation; a state's name means the value one step before until that state has been placed, as it does
in the docstrings.

`state` holds the state before the step (`OPTIMIZERS[name].init` gives it for step 1), `step` counts from 1. Booleans
decide which formulas there are. Each other hyperparameter may be a number, an expression, or an array of either with a
row for each step; only one that is the Python number 0 (no momentum, no weight decay) leaves its formulas out. Nothing
here branches on a value otherwise, so that one formula is right for whatever a reader types into a cell.

A momentum that may be 0 at some steps and not at others comes with `before`, that of all steps before in one dimension:
where it is 0 the buffer then stays as it is, as it does in torch. Without `before` it is 0 at all steps or at none.

In the docstrings `grad` is the gradient to go down by: its sign is turned by `maximize`, and `weight_decay * param` is
added to it, unless they say something else of weight decay. `lr` is the learning rate, `eps` keeps from dividing by 0.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.errors import Error
from sgdsheet.hyperparameters import MEANINGS, parts
from sgdsheet.tensor import equal, greater, greater_equal, less, maximum, minimum, sqrt, where

Place = Callable[[str, Any, str], Any]
State = Mapping[str, Any]
Result = tuple[Any, dict[str, Any]]


def sgd(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-3,
    momentum: Any = 0.0,
    dampening: Any = 0.0,
    weight_decay: Any = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    before: Any = None,
) -> Result:
    """Stochastic gradient descent, with momentum if asked for.

        momentum_buffer = momentum * momentum_buffer + (1 - dampening) * grad
        new_param       = param - lr * momentum_buffer
                          param - lr * (grad + momentum * momentum_buffer)   with nesterov
                          param - lr * grad                                  without momentum

    At the first step with momentum, and where it is 0, grad enters undampened, as it does in torch.

    State: `momentum_buffer`, unless `momentum` is the number 0. Raises `Error` for nesterov without momentum or with
    dampening, as torch does.

    Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning, ICML 2013.
    """
    if nesterov and (_is_zero(momentum) or not _is_zero(dampening)):
        raise Error("SGD with nesterov takes a momentum and no dampening")
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    if _is_zero(momentum):
        return place("new_param", param - lr * grad, f"param - lr * {g}"), {}
    new, weight = grad, ""
    if not _is_zero(dampening):
        first = equal(step, 1) if before is None else equal(tensor.sum(before), 0)
        undampened = where(first, 1, where(equal(momentum, 0), 1, 1 - dampening))
        new = place("grad_weight", undampened, "1 - dampening; 1 at step 1 and where momentum is 0") * grad
        weight = "grad_weight * "
    words = f"momentum * momentum_buffer + {weight}{g}"
    buffer, used = _buffered(place, momentum, state, new, before, words)
    if nesterov:
        new_param = place(
            "new_param", param - lr * (grad + momentum * buffer), f"param - lr * ({g} + momentum * momentum_buffer)"
        )
    else:
        new_param = place("new_param", param - lr * used, "param - lr * momentum_buffer")
    return new_param, {"momentum_buffer": buffer}


def adagrad(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-2,
    lr_decay: Any = 0.0,
    weight_decay: Any = 0.0,
    initial_accumulator_value: Any = 0.0,
    eps: Any = 1e-10,
    maximize: bool = False,
) -> Result:
    """Adagrad: the more a parameter's gradient has added up to, the smaller its steps.

        clr       = lr / (1 + (step - 1) * lr_decay)
        sum       = sum + grad^2
        new_param = param - clr * grad / (sqrt(sum) + eps)

    State: `sum`, which begins with `initial_accumulator_value` (nothing else uses that).

    Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 12, 2011.
    """
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    clr, rate = lr, "lr"
    if not _is_zero(lr_decay):
        clr, rate = place("clr", lr / (1 + (step - 1) * lr_decay), "lr / (1 + (step - 1) * lr_decay)"), "clr"
    total = place("sum", state["sum"] + grad**2, f"sum + {g}^2")
    denom = place("denom", sqrt(total) + eps, "sqrt(sum) + eps")
    return place("new_param", param - clr * grad / denom, f"param - {rate} * {g} / denom"), {"sum": total}


def adadelta(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1.0,
    rho: Any = 0.9,
    eps: Any = 1e-6,
    weight_decay: Any = 0.0,
    maximize: bool = False,
) -> Result:
    """Adadelta: steps as large as recent steps were, measured against recent gradients.

        square_avg = rho * square_avg + (1 - rho) * grad^2
        delta      = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * grad      acc_delta of the step before
        acc_delta  = rho * acc_delta + (1 - rho) * delta^2
        new_param  = param - lr * delta

    State: `square_avg`, `acc_delta`.

    Zeiler: ADADELTA: An Adaptive Learning Rate Method, 2012, arXiv 1212.5701.
    """
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    square_avg = rho * state["square_avg"] + (1 - rho) * grad**2
    square_avg = place("square_avg", square_avg, f"rho * square_avg + (1 - rho) * {g}^2")
    delta = sqrt(state["acc_delta"] + eps) / sqrt(square_avg + eps) * grad
    delta = place("delta", delta, f"sqrt(acc_delta + eps) / sqrt(square_avg + eps) * {g}")
    acc_delta = rho * state["acc_delta"] + (1 - rho) * delta**2
    acc_delta = place("acc_delta", acc_delta, "rho * acc_delta + (1 - rho) * delta^2")
    new_param = place("new_param", param - lr * delta, "param - lr * delta")
    return new_param, {"square_avg": square_avg, "acc_delta": acc_delta}


def rmsprop(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-2,
    alpha: Any = 0.99,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    momentum: Any = 0.0,
    centered: bool = False,
    maximize: bool = False,
    before: Any = None,
) -> Result:
    """RMSprop: the gradient is divided by the root of a running mean of its square.

        square_avg      = alpha * square_avg + (1 - alpha) * grad^2
        grad_avg        = alpha * grad_avg + (1 - alpha) * grad                 with centered
        denom           = sqrt(square_avg) + eps
                          sqrt(square_avg - grad_avg^2) + eps                   with centered
        momentum_buffer = momentum * momentum_buffer + grad / denom
        new_param       = param - lr * momentum_buffer

    State: `square_avg`; `grad_avg` with `centered`; `momentum_buffer` unless `momentum` is the number 0.

    Tieleman, Hinton: Lecture 6.5 of Neural Networks for Machine Learning, 2012; centered: Graves, arXiv 1308.0850.
    """
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    square_avg = alpha * state["square_avg"] + (1 - alpha) * grad**2
    square_avg = place("square_avg", square_avg, f"alpha * square_avg + (1 - alpha) * {g}^2")
    new_state = {"square_avg": square_avg}
    if centered:
        grad_avg = alpha * state["grad_avg"] + (1 - alpha) * grad
        grad_avg = place("grad_avg", grad_avg, f"alpha * grad_avg + (1 - alpha) * {g}")
        new_state["grad_avg"] = grad_avg
        denom = place("denom", sqrt(square_avg - grad_avg**2) + eps, "sqrt(square_avg - grad_avg^2) + eps")
    else:
        denom = place("denom", sqrt(square_avg) + eps, "sqrt(square_avg) + eps")
    if _is_zero(momentum):
        return place("new_param", param - lr * grad / denom, f"param - lr * {g} / denom"), new_state
    words = f"momentum * momentum_buffer + {g} / denom"
    new_state["momentum_buffer"], used = _buffered(place, momentum, state, grad / denom, before, words)
    return place("new_param", param - lr * used, "param - lr * momentum_buffer"), new_state


def adam(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Result:
    """Adam: running means of the gradient and of its square, both corrected for having begun at 0.

        exp_avg          = beta1 * exp_avg + (1 - beta1) * grad
        exp_avg_sq       = beta2 * exp_avg_sq + (1 - beta2) * grad^2
        max_exp_avg_sq   = max(max_exp_avg_sq, exp_avg_sq)                      with amsgrad, then used for exp_avg_sq
        bias_correction1 = 1 - beta1^step
        bias_correction2 = 1 - beta2^step
        denom            = sqrt(exp_avg_sq) / sqrt(bias_correction2) + eps
        new_param        = param - lr / bias_correction1 * exp_avg / denom

    Weight decay is added to the gradient.

    State: `exp_avg`, `exp_avg_sq`; `max_exp_avg_sq` with `amsgrad`.

    Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015, arXiv 1412.6980; amsgrad: Reddi, Kale, Kumar:
    On the Convergence of Adam and Beyond, ICLR 2018, arXiv 1904.09237.
    """
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    return _adam(place, (param, "param"), (grad, g), state, step, lr, betas, eps, amsgrad)


def adamw(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Result:
    """AdamW: Adam with weight decay that goes past the running means, straight to the parameter.

        decayed_param = param * (1 - lr * weight_decay)
        new_param     = decayed_param - lr / bias_correction1 * exp_avg / denom     the rest as in `adam`

    State: as in `adam`.

    Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101.
    """
    decayed = _decoupled(place, param, lr, weight_decay)
    return _adam(place, decayed, _gradient(place, param, grad, 0, maximize), state, step, lr, betas, eps, amsgrad)


def _adam(
    place: Place,
    param: tuple[Any, str],
    grad: tuple[Any, str],
    state: State,
    step: Any,
    lr: Any,
    betas: tuple[Any, Any],
    eps: Any,
    amsgrad: bool,
) -> Result:
    """What Adam and AdamW share; `param` and `grad` come with what the sheet calls them."""
    new_state = _moments(place, grad, state, betas)
    mean_square, v = new_state["exp_avg_sq"], "exp_avg_sq"
    if amsgrad:
        mean_square, v = maximum(state["max_exp_avg_sq"], mean_square), "max_exp_avg_sq"
        mean_square = new_state[v] = place(v, mean_square, "max(max_exp_avg_sq, exp_avg_sq)")
    correction1, correction2 = _bias_corrections(place, betas, step)
    denom = place("denom", sqrt(mean_square) / sqrt(correction2) + eps, f"sqrt({v}) / sqrt(bias_correction2) + eps")
    new_param = param[0] - lr / correction1 * new_state["exp_avg"] / denom
    return place("new_param", new_param, f"{param[1]} - lr / bias_correction1 * exp_avg / denom"), new_state


def adamax(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 2e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    maximize: bool = False,
) -> Result:
    """Adamax: Adam with the largest recent gradient instead of the mean square.

        exp_avg          = beta1 * exp_avg + (1 - beta1) * grad
        exp_inf          = max(beta2 * exp_inf, |grad| + eps)
        bias_correction1 = 1 - beta1^step
        new_param        = param - lr / bias_correction1 * exp_avg / exp_inf

    State: `exp_avg`, `exp_inf`.

    Kingma, Ba: Adam: A Method for Stochastic Optimization, section 7.1, ICLR 2015, arXiv 1412.6980.
    """
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    beta1, beta2 = betas
    exp_avg = place("exp_avg", beta1 * state["exp_avg"] + (1 - beta1) * grad, f"beta1 * exp_avg + (1 - beta1) * {g}")
    exp_inf = maximum(beta2 * state["exp_inf"], tensor.abs(grad) + eps)
    exp_inf = place("exp_inf", exp_inf, f"max(beta2 * exp_inf, abs({g}) + eps)")
    correction = place("bias_correction1", 1 - beta1**step, "1 - beta1^step")
    new_param = param - lr / correction * exp_avg / exp_inf
    new_param = place("new_param", new_param, "param - lr / bias_correction1 * exp_avg / exp_inf")
    return new_param, {"exp_avg": exp_avg, "exp_inf": exp_inf}


def nadam(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 2e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    momentum_decay: Any = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Result:
    """NAdam: Adam with Nesterov's look ahead, by a momentum mu that grows towards beta1.

        mu               = beta1 * (1 - 0.96^(step * momentum_decay) / 2)
        mu_next          = the same for step + 1
        mu_product       = mu_product * mu
        exp_avg, exp_avg_sq, bias_correction2 as in `adam`
        denom            = sqrt(exp_avg_sq / bias_correction2) + eps
        grad_rate        = lr * (1 - mu) / (1 - mu_product)
        exp_avg_rate     = lr * mu_next / (1 - mu_product * mu_next)
        new_param        = param - (grad_rate * grad + exp_avg_rate * exp_avg) / denom

    Weight decay as in `adam`, or as in `adamw` with decoupled_weight_decay.

    State: `mu_product` (one a step, begins at 1), `exp_avg`, `exp_avg_sq`.

    Dozat: Incorporating Nesterov Momentum into Adam, ICLR 2016 workshop.
    """
    param, p, grad, g = _decay(place, param, grad, lr, weight_decay, decoupled_weight_decay, maximize)
    beta1, words = betas[0], "beta1 * (1 - 0.5 * 0.96^({} * momentum_decay))"
    mu = place("mu", beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay)), words.format("step"))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    mu_next = place("mu_next", mu_next, words.format("(step + 1)"))
    mu_product = place("mu_product", state["mu_product"] * mu, "mu_product * mu")
    moments = _moments(place, (grad, g), state, betas)
    correction2 = place("bias_correction2", 1 - betas[1] ** step, "1 - beta2^step")
    denom = sqrt(moments["exp_avg_sq"] / correction2) + eps
    denom = place("denom", denom, "sqrt(exp_avg_sq / bias_correction2) + eps")
    grad_rate = place("grad_rate", lr * (1 - mu) / (1 - mu_product), "lr * (1 - mu) / (1 - mu_product)")
    exp_avg_rate = lr * mu_next / (1 - mu_product * mu_next)
    exp_avg_rate = place("exp_avg_rate", exp_avg_rate, "lr * mu_next / (1 - mu_product * mu_next)")
    # One quotient, not two: LibreOffice 7.4, calculating with several threads, takes the longer form for circular.
    new_param = param - (grad_rate * grad + exp_avg_rate * moments["exp_avg"]) / denom
    new_param = place("new_param", new_param, f"{p} - (grad_rate * {g} + exp_avg_rate * exp_avg) / denom")
    return new_param, {"mu_product": mu_product, **moments}


def radam(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-3,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Result:
    """RAdam: Adam that trusts its mean square only once enough steps stand behind it, rho_t of them.

        exp_avg, exp_avg_sq, bias_correction1, bias_correction2 as in `adam`
        rho_inf   = 2 / (1 - beta2) - 1
        rho_t     = rho_inf - 2 * step * beta2^step / bias_correction2
        rect      = sqrt((rho_t - 4) * (rho_t - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho_t))
        adaptive  = rect * sqrt(bias_correction2) / (sqrt(exp_avg_sq) + eps)
        new_param = param - lr / bias_correction1 * exp_avg * adaptive

    As long as rho_t is not above 5, rect and adaptive are 1. Weight decay as in `adam`, or as in `adamw` with
    decoupled_weight_decay. (With beta2 = 0.999 rho_t is the small difference of two numbers near 2000: three of its
    digits are lost, here as in torch.)

    State: `exp_avg`, `exp_avg_sq`.

    Liu, Jiang, He, Chen, Liu, Gao, Han: On the Variance of the Adaptive Learning Rate and Beyond, ICLR 2020,
    arXiv 1908.03265.
    """
    param, p, grad, g = _decay(place, param, grad, lr, weight_decay, decoupled_weight_decay, maximize)
    beta2 = betas[1]
    moments = _moments(place, (grad, g), state, betas)
    correction1, correction2 = _bias_corrections(place, betas, step)
    # `0 * step` leaves no trace in the formula; it gives the array its row for each step.
    rho_inf = place("rho_inf", 2 / (1 - beta2) - 1 + 0 * step, "2 / (1 - beta2) - 1")
    rho_t = rho_inf - 2 * step * beta2**step / correction2
    rho_t = place("rho_t", rho_t, "rho_inf - 2 * step * beta2^step / bias_correction2")
    # A sheet computes only the branch that it takes; numpy computes both, and may find roots of negative numbers.
    with np.errstate(divide="ignore", invalid="ignore"):
        rect = np.asarray((rho_t - 4) * (rho_t - 2) * rho_inf) / ((rho_inf - 4) * (rho_inf - 2) * rho_t)
        rect = where(greater(rho_t, 5), sqrt(rect), 1)
        words = "sqrt((rho_t - 4) * (rho_t - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho_t)); 1 until rho_t > 5"
        rect = place("rect", rect, words)
        adaptive = rect * sqrt(correction2) / (sqrt(moments["exp_avg_sq"]) + eps)
        adaptive = where(greater(rho_t, 5), adaptive, 1)
    words = "rect * sqrt(bias_correction2) / (sqrt(exp_avg_sq) + eps); 1 until rho_t > 5"
    adaptive = place("adaptive", adaptive, words)
    new_param = param - lr / correction1 * moments["exp_avg"] * adaptive
    return place("new_param", new_param, f"{p} - lr / bias_correction1 * exp_avg * adaptive"), moments


def asgd(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-2,
    lambd: Any = 1e-4,
    alpha: Any = 0.75,
    t0: Any = 1e6,
    weight_decay: Any = 0.0,
    maximize: bool = False,
) -> Result:
    """Averaged SGD: plain steps of a shrinking size eta; beside them ax, the mean of the parameters since step t0.

        new_param = param * (1 - lambd * eta) - eta * grad                      eta of the step before
        ax        = (1 - mu) * ax + mu * new_param                              mu of the step before
        eta       = lr / (1 + lambd * lr * step)^alpha
        mu        = 1 / max(1, step - t0)

    State: `ax`; `eta` (begins at lr) and `mu` (begins at 1), one a step. The average `ax` is for the reader: no
    formula uses it.

    Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30(4), 1992.
    """
    grad, g = _gradient(place, param, grad, weight_decay, maximize)
    new_param = param * (1 - lambd * state["eta"]) - state["eta"] * grad
    new_param = place("new_param", new_param, f"param * (1 - lambd * eta) - eta * {g}")
    ax = place("ax", (1 - state["mu"]) * state["ax"] + state["mu"] * new_param, "(1 - mu) * ax + mu * new_param")
    eta = place("eta", lr / (1 + lambd * lr * step) ** alpha, "lr / (1 + lambd * lr * step)^alpha")
    mu = place("mu", 1 / maximum(1, step - t0), "1 / max(1, step - t0)")
    return new_param, {"ax": ax, "eta": eta, "mu": mu}


def rprop(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    lr: Any = 1e-2,
    etas: tuple[Any, Any] = (0.5, 1.2),
    step_sizes: tuple[Any, Any] = (1e-6, 50.0),
    maximize: bool = False,
) -> Result:
    """Rprop: only the gradient's sign counts; a step size grows while the sign stays and shrinks when it turns.

        turn      = sign(grad * prev)                          1: same sign, -1: turned, 0: either is 0
        step_size = step_size * etaplus, etaminus or itself for turn 1, -1 or 0, then kept within step_sizes
        prev      = grad, or 0 where it turned
        new_param = param - step_size * sign(prev)

    State: `prev`, `step_size` (begins at lr, which nothing else uses).

    Riedmiller, Braun: A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm, ICNN 1993.
    """
    grad, g = _gradient(place, param, grad, 0, maximize)
    etaminus, etaplus = etas
    turn = place("turn", tensor.sign(grad * state["prev"]), f"sign({g} * prev)")
    grown = state["step_size"] * where(greater(turn, 0), etaplus, where(less(turn, 0), etaminus, 1))
    step_size = minimum(maximum(grown, step_sizes[0]), step_sizes[1])
    words = "step_size * etaplus, etaminus or 1 for turn 1, -1 or 0, within step_sizes"
    step_size = place("step_size", step_size, words)
    prev = place("prev", where(less(turn, 0), 0, grad), f"{g}, or 0 where turn is -1")
    new_param = place("new_param", param - step_size * tensor.sign(prev), "param - step_size * sign(prev)")
    return new_param, {"prev": prev, "step_size": step_size}


def eve(
    place: Place,
    param: Any,
    grad: Any,
    state: State,
    *,
    step: Any,
    loss: Any,
    lr: Any = 1e-3,
    betas: tuple[Any, Any, Any] = (0.9, 0.999, 0.999),
    eps: Any = 1e-8,
    thresholds: tuple[Any, Any] = (0.1, 10.0),
) -> Result:
    """Eve: Adam whose steps are divided by d, a running mean of how much the loss changes.

        lowest, highest = 1 + k, 1 + K where loss >= f_hat, else 1 / (1 + K), 1 / (1 + k)
        change    = min(max(loss / f_hat, lowest), highest)                     f_hat of the step before
        f_hat     = change * f_hat                                              the loss, followed at a limited pace
        r         = |f_hat - f_hat before| / min(f_hat, f_hat before)
        d         = beta3 * d + (1 - beta3) * r
        exp_avg, exp_avg_sq, bias_correction1, bias_correction2 as in `adam`
        denom     = d * sqrt(exp_avg_sq) / sqrt(bias_correction2) + eps
        new_param = param - lr / bias_correction1 * exp_avg / denom

    At step 1 f_hat is the loss and d is 1. `thresholds` is (k, K). `loss` is the loss for which `grad` is the gradient;
    it must be above 0 at step 1.

    State: `f_hat` (its start is not used) and `d`, one a step; `exp_avg`, `exp_avg_sq`.

    This is Algorithm 1 of the paper's first version, with its defaults, as the authors' own program has it
    (github.com/jayanthkoushik/sgd-feedback, src/eve.py), but for a tie: a loss that equals f_hat counts as risen here
    and as fallen there. Later versions of the paper change the rule for d.

    Koushik, Hayashi: Improving Stochastic Gradient Descent with Feedback, arXiv 1611.01505v1, 4 November 2016.
    """
    low, high = thresholds
    first, before = equal(step, 1), state["f_hat"]
    rises = greater_equal(loss, before)
    # `0 * before` leaves no trace in the formula; to numpy it says that without a number before there is none now.
    low, high = low + 0 * before, high + 0 * before
    lowest = place("lowest", where(rises, 1 + low, 1 / (1 + high)), "1 + k where loss >= f_hat, else 1 / (1 + K)")
    highest = place("highest", where(rises, 1 + high, 1 / (1 + low)), "1 + K where loss >= f_hat, else 1 / (1 + k)")
    change = where(first, 1, minimum(maximum(loss / before, lowest), highest))
    change = place("change", change, "min(max(loss / f_hat, lowest), highest); 1 at step 1")
    f_hat = place("f_hat", where(first, loss, change * before), "change * f_hat; loss at step 1")
    r = where(first, 0, tensor.abs(f_hat - before) / minimum(f_hat, before))
    r = place("r", r, "abs(f_hat - f_hat before) / min(f_hat, f_hat before); 0 at step 1")
    d = where(first, 1, betas[2] * state["d"] + (1 - betas[2]) * r)
    d = place("d", d, "beta3 * d + (1 - beta3) * r; 1 at step 1")
    moments = _moments(place, (grad, "grad"), state, betas)
    correction1, correction2 = _bias_corrections(place, betas, step)
    denom = d * sqrt(moments["exp_avg_sq"]) / sqrt(correction2) + eps
    denom = place("denom", denom, "d * sqrt(exp_avg_sq) / sqrt(bias_correction2) + eps")
    new_param = param - lr / correction1 * moments["exp_avg"] / denom
    new_param = place("new_param", new_param, "param - lr / bias_correction1 * exp_avg / denom")
    return new_param, {"f_hat": f_hat, "d": d, **moments}


def _is_zero(value: Any) -> bool:
    """Whether this is the Python number 0: not an expression, not an array, whatever their values."""
    return isinstance(value, int | float) and value == 0


def _buffered(place: Place, momentum: Any, state: State, new: Any, before: Any, words: str) -> tuple[Any, Any]:
    """The momentum buffer, into which `new` enters, and what the parameter goes by."""
    held = state["momentum_buffer"]
    if before is None:
        buffer = place("momentum_buffer", momentum * held + new, words)
        return buffer, buffer
    rests = equal(momentum, 0)
    buffer = where(rests, held, momentum * held + new)
    buffer = place("momentum_buffer", buffer, f"{words}; unchanged where momentum is 0")
    return buffer, where(rests, new, buffer)


def _gradient(place: Place, param: Any, grad: Any, weight_decay: Any, maximize: bool) -> tuple[Any, str]:
    """The gradient to go down by, and what the sheet calls it: negated to maximize, with the weight decay added."""
    grad, words = (-grad, "-grad") if maximize else (grad, "grad")
    if not _is_zero(weight_decay):
        decayed = place("decayed_grad", grad + weight_decay * param, f"{words} + weight_decay * param")
        return decayed, "decayed_grad"
    return (place("negated_grad", grad, words), "negated_grad") if maximize else (grad, "grad")


def _decoupled(place: Place, param: Any, lr: Any, weight_decay: Any) -> tuple[Any, str]:
    """The parameter made smaller by the weight decay itself, and what the sheet calls it."""
    if _is_zero(weight_decay):
        return param, "param"
    return place("decayed_param", param * (1 - lr * weight_decay), "param * (1 - lr * weight_decay)"), "decayed_param"


def _decay(
    place: Place, param: Any, grad: Any, lr: Any, weight_decay: Any, decoupled: bool, maximize: bool
) -> tuple[Any, str, Any, str]:
    """Parameter and gradient after weight decay of either kind, each with what the sheet calls it."""
    if decoupled:
        return *_decoupled(place, param, lr, weight_decay), *_gradient(place, param, grad, 0, maximize)
    return param, "param", *_gradient(place, param, grad, weight_decay, maximize)


def _moments(place: Place, grad: tuple[Any, str], state: State, betas: tuple[Any, ...]) -> dict[str, Any]:
    """The running means of the gradient and of its square."""
    (g, name), (beta1, beta2) = grad, betas[:2]
    exp_avg = beta1 * state["exp_avg"] + (1 - beta1) * g
    exp_avg_sq = beta2 * state["exp_avg_sq"] + (1 - beta2) * g**2
    return {
        "exp_avg": place("exp_avg", exp_avg, f"beta1 * exp_avg + (1 - beta1) * {name}"),
        "exp_avg_sq": place("exp_avg_sq", exp_avg_sq, f"beta2 * exp_avg_sq + (1 - beta2) * {name}^2"),
    }


def _bias_corrections(place: Place, betas: tuple[Any, ...], step: Any) -> tuple[Any, Any]:
    """What both running means lack of their full weight because they began at 0."""
    return (
        place("bias_correction1", 1 - betas[0] ** step, "1 - beta1^step"),
        place("bias_correction2", 1 - betas[1] ** step, "1 - beta2^step"),
    )


@dataclass(frozen=True)
class Variant:
    """An optimiser with flags that decide its formulas, and with the hyperparameters that it begins with on a sheet.

    Those that are not in `start` begin with torch's defaults; those in `without` keep them and have no cell. `limits`
    says what makes sense for one of them where that is less than otherwise. `summary` says what it is in a sentence,
    where that is not what the optimiser's says.
    """

    name: str
    flags: dict[str, bool] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True)
class Optimizer:
    """What a sheet or a test needs to know of an optimiser.

    `step` is the recurrence. States in `scalars` have one value a step, all others one for each parameter.
    `states(hyperparameters)` is what `init` returns, which fills in the defaults. The class of the same name in
    `module` must agree with it. Optimisers of one `family` are shown together, with learning rate `lr` (torch's default
    if None), as the `variants` say, or as they are. `meanings` has what a hyperparameter is, and what makes sense for
    it, where `MEANINGS` says nothing of it or something else.
    """

    name: str
    step: Callable[..., Result]
    states: Callable[[dict[str, Any]], dict[str, Any]]
    scalars: frozenset[str] = frozenset()
    family: str = "other optimisers"
    lr: float | None = None
    variants: tuple[Variant, ...] = ()
    module: str = "torch.optim"
    meanings: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    @property
    def torch_class(self) -> Any:
        """The class whose steps it makes."""
        return getattr(importlib.import_module(self.module), self.name)

    @property
    def takes_loss(self) -> bool:
        """Whether the recurrence needs the loss besides its gradient."""
        return "loss" in inspect.signature(self.step).parameters

    @property
    def summary(self) -> str:
        """What it does, in one sentence: the first line of the recurrence's docstring."""
        return inspect.cleandoc(self.step.__doc__ or "").partition("\n")[0]

    @property
    def source(self) -> str:
        """The paper: the last paragraph of the recurrence's docstring."""
        return " ".join((self.step.__doc__ or "").rpartition("\n\n")[2].split())

    def defaults(self) -> dict[str, Any]:
        """The hyperparameters and their default values."""
        parameters = inspect.signature(self.step).parameters.values()
        given = {each.name: each.default for each in parameters if each.default is not each.empty}
        given.pop("before", None)  # which is no hyperparameter
        return given

    @property
    def takes_before(self) -> bool:
        """Whether the recurrence has a momentum, and takes that of the steps before as `before`."""
        return "before" in inspect.signature(self.step).parameters

    def cells(self) -> dict[str, float]:
        """The hyperparameters that are numbers, and their default values; tuples are taken apart."""
        numbers = {name: value for name, value in self.defaults().items() if not isinstance(value, bool)}
        return {part: value for name, default in numbers.items() for part, value in parts(name, default)}

    def meaning(self, cell: str) -> tuple[str, dict[str, Any]]:
        """What one of its `cells` is, and what makes sense there, as the arguments of an `Input`."""
        return self.meanings.get(cell) or MEANINGS.get(cell, (f"a hyperparameter of {self.name}", {}))

    def init(self, **hyperparameters: Any) -> dict[str, Any]:
        """The state before step 1 that this configuration has: a number, or an expression if lr is one, by name.

        Raises `TypeError` for a hyperparameter that the optimiser does not have.
        """
        known = self.defaults()
        if unknown := hyperparameters.keys() - known:
            raise TypeError(f"{self.name} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
        return self.states(known | hyperparameters)


def _zeros(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, 0.0)


def _buffer(given: dict[str, Any]) -> dict[str, Any]:
    return {} if _is_zero(given["momentum"]) else _zeros("momentum_buffer")


def _rmsprop(given: dict[str, Any]) -> dict[str, Any]:
    return _zeros("square_avg") | (_zeros("grad_avg") if given["centered"] else {}) | _buffer(given)


def _adams(given: dict[str, Any]) -> dict[str, Any]:
    return _zeros("exp_avg", "exp_avg_sq") | (_zeros("max_exp_avg_sq") if given["amsgrad"] else {})


def _first(lr: Any) -> Any:
    """The first step's learning rate, where there is one for each."""
    return lr.flat[0] if isinstance(lr, np.ndarray) else lr


PLAIN, SCALED, ADAM = "steps along the gradient", "steps scaled by past gradients", "Adam and its relatives"
SGDS = (
    Variant(
        "SGD",
        without=("momentum", "dampening"),
        summary="Plain stochastic gradient descent: each step goes lr times the gradient downhill, and forgets it.",
    ),
    Variant(
        "Momentum",
        start={"momentum": 0.9},
        summary="Each step goes by a buffer that keeps a share, momentum, of all earlier gradients: it gathers speed "
        "and rolls on like a ball.",
    ),
    Variant(
        "Nesterov",
        {"nesterov": True},
        {"momentum": 0.9},
        ("dampening",),
        {"momentum": {"above": 0}},
        "Momentum that looks ahead: the step goes by the buffer as it will be after one more gradient like this.",
    ),
)
OPTIMIZERS: dict[str, Optimizer] = {
    each.name: each
    for each in (
        Optimizer("SGD", sgd, _buffer, family=PLAIN, lr=0.03, variants=SGDS),
        Optimizer("Adagrad", adagrad, lambda given: {"sum": given["initial_accumulator_value"]}, family=SCALED, lr=0.7),
        Optimizer("Adadelta", adadelta, lambda _: _zeros("square_avg", "acc_delta"), family=SCALED, lr=20),
        Optimizer(
            "RMSprop",
            rmsprop,
            _rmsprop,
            family=SCALED,
            lr=0.03,
            variants=(
                Variant("RMSprop"),
                Variant(
                    "RMSpropCentered",
                    {"centered": True},
                    summary="RMSprop that divides by how far the gradient strays from its running mean, grad_avg, not "
                    "by how large it is.",
                ),
            ),
        ),
        Optimizer(
            "Adam",
            adam,
            _adams,
            family=ADAM,
            lr=0.1,
            variants=(
                Variant("Adam"),
                Variant(
                    "AMSGrad",
                    {"amsgrad": True},
                    summary="Adam that never forgets a large gradient: it divides by the root of the largest "
                    "exp_avg_sq so far.",
                ),
            ),
        ),
        Optimizer("AdamW", adamw, _adams, family=ADAM, lr=0.1),
        Optimizer("Adamax", adamax, lambda _: _zeros("exp_avg", "exp_inf"), family=ADAM, lr=0.1),
        Optimizer(
            "NAdam",
            nadam,
            lambda _: {"mu_product": 1.0} | _zeros("exp_avg", "exp_avg_sq"),
            frozenset({"mu_product"}),
            family=ADAM,
            lr=0.1,
        ),
        Optimizer("RAdam", radam, lambda _: _zeros("exp_avg", "exp_avg_sq"), family=ADAM, lr=0.1),
        Optimizer(
            "ASGD",
            asgd,
            lambda given: {"ax": 0.0, "eta": _first(given["lr"]), "mu": 1.0},
            frozenset({"eta", "mu"}),
            family=PLAIN,
            lr=0.03,
            variants=(
                Variant(
                    "ASGD",
                    summary="Averaged SGD: SGD's own steps, a little smaller each time, so that one line covers the "
                    "other; beside them ax, the mean of the parameters since step t0.",
                ),
            ),
            meanings={"alpha": ("the power with which the step size shrinks", {"minimum": 0})},
        ),
        Optimizer("Rprop", rprop, lambda given: {"prev": 0.0, "step_size": _first(given["lr"])}, family=PLAIN, lr=0.02),
        Optimizer(
            "Eve",
            eve,
            lambda _: {"f_hat": 1.0, "d": 1.0} | _zeros("exp_avg", "exp_avg_sq"),
            frozenset({"f_hat", "d"}),
            family=ADAM,
            lr=0.1,
            module="sgdsheet.eve",
        ),
    )
}
