"""A block's formula as a person writes it: `bias + input @ weight.T`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from sgdsheet.torch_frontend.program.graph import CONSTANT, ITEM, Node, Use

LONGEST = 110

# How tightly an operator binds: the higher, the tighter.
_NAME, _COMPARE, _ADD, _MULTIPLY, _POWER, _ATOM = range(6)  # a name of several words stands in brackets
_INFIX = {
    "add": (" + ", _ADD),
    "sub": (" - ", _ADD),
    "mul": (" * ", _MULTIPLY),
    "div": (" / ", _MULTIPLY),
    "mm": (" @ ", _MULTIPLY),
    "bmm": (" @ ", _MULTIPLY),
    "pow": ("^", _POWER),
    "eq": (" = ", _COMPARE),
    "ne": (" <> ", _COMPARE),
    "lt": (" < ", _COMPARE),
    "le": (" <= ", _COMPARE),
    "gt": (" > ", _COMPARE),
    "ge": (" >= ", _COMPARE),
}
# Moving elements to another shape changes no number: the reader sees the same name.
_SAME = set(
    "view reshape _unsafe_view expand squeeze unsqueeze clone alias view_copy expand_copy contiguous _to_copy".split()
)
_PARTS = {"split", "split_with_sizes", "unbind"}
_CALLED = {"amax": "max", "amin": "min", "threshold_backward": "where above"}


def notation(node: Node, nodes: Mapping[str, Node], shown: Mapping[str, str]) -> str:
    """The node's formula in terms of what stands in cells; `shown` says what those nodes are called there."""
    text, _ = _formula(node, nodes, shown, node.path)
    text += _reason(node, nodes)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _formula(node: Node, nodes: Mapping[str, Node], shown: Mapping[str, str], path: str) -> tuple[str, int]:
    kind = node.op.partition(".")[0]
    args = [_text(_number(each, node), nodes, shown, path) for each in node.args if each is not None]
    title = re.sub(r" \d+$", "", node.title)
    if (kind in ("select", "slice") or node.op == ITEM) and not node.backward and title in ("query", "key", "value"):
        return title, _ATOM
    if kind in _SAME and args:
        return args[0]
    if kind in ("permute", "t", "transpose") and len(node.shape or ()) > 2:
        return args[0]
    if kind in ("permute", "t", "transpose"):
        turned = _inside(args[0], _ATOM)
        if not turned.endswith(".T"):
            return f"{turned}.T", _ATOM
        back = turned[:-2]
        return (back[1:-1], _COMPARE) if back.startswith("(") and back.endswith(")") else (back, _ATOM)
    if kind == ITEM:
        whole = nodes[node.args[0].node]
        if whole.op.partition(".")[0] in _PARTS:
            text = _text(whole.args[0], nodes, shown, path)
            return f"part {node.args[1] + 1} of {text[0]}", _NAME
        return _formula(whole, nodes, shown, path)
    if kind == "select" and not isinstance(node.args[2], Use):
        return f"{_inside(args[0], _ATOM)}[{node.args[2]}]", _ATOM
    if kind == "slice":
        first, last = [*node.args[2:4], None, None][:2]
        end = "" if last is None or last > 2**60 else str(last)
        return f"{_inside(args[0], _ATOM)}[{first or ''}:{end}]", _ATOM
    if kind == "rsub":
        args[:2] = args[1::-1]
        kind = "sub"
    if kind in ("mul", "div") and args[1] == ("1", _ATOM):
        return args[0]
    if kind == "mul" and ("0", _ATOM) in args:
        return "0", _ATOM
    if kind == "add" and ("0", _ATOM) in args[:2]:
        return args[1] if args[0] == ("0", _ATOM) else args[0]
    if kind in ("select_scatter", "slice_scatter"):
        return args[1]
    if kind in _INFIX and len(args) >= 2:
        sign, binds = _INFIX[kind]
        return f"{_inside(args[0], binds)}{sign}{_inside(args[1], binds + 1)}", binds
    if kind == "addmm" and args[1][0] == "0":
        return args[0]
    if kind == "addmm":
        return f"{args[0][0]} + {_inside(args[1], _MULTIPLY)} @ {_inside(args[2], _POWER)}", _ADD
    if kind == "embedding":
        return f"{_inside(args[0], _ATOM)}[{args[1][0]}]", _ATOM
    if kind == "gather":
        return f"{_inside(args[0], _ATOM)}[{args[2][0]}]", _ATOM
    if kind == "embedding_dense_backward":
        return f"sum of {_inside(args[0], _ATOM)} where {args[1][0]} is the row", _NAME
    if kind == "neg":
        return f"-{_inside(args[0], _POWER)}", _ADD
    if kind == "reciprocal":
        return f"1 / {_inside(args[0], _POWER)}", _MULTIPLY
    if kind == "rsqrt":
        return f"1 / sqrt({args[0][0]})", _MULTIPLY
    # Which dimension, which stride: the block's shape and the formulas tell; what is taken is what counts here.
    taken = [
        text
        for (text, _), each in zip(args, (each for each in node.args if each is not None), strict=True)
        if _uses(each)
    ]
    return f"{_CALLED.get(kind, kind.strip('_'))}({', '.join(taken)})", _ATOM


def _text(value: Any, nodes: Mapping[str, Node], shown: Mapping[str, str], path: str) -> tuple[str, int]:
    if isinstance(value, Use):
        name = value.node
        if name in shown:
            said = shown[name].removeprefix(f"{path}/").removeprefix(f"{path}.")
            return said, _NAME if " " in said else _ATOM
        node = nodes[name]
        if node.op == CONSTANT:
            number = node.args[0]
            return ("constant" if isinstance(number, list) else f"{number:g}"), _ATOM
        return _formula(node, nodes, shown, path)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(each, nodes, shown, path)[0] for each in value), _COMPARE
    return (f"{value:g}" if isinstance(value, (int, float)) else str(value)), _ATOM


def _number(value: Any, node: Node) -> Any:
    """A number as the fraction or root that it is, where its digits would not tell: 2/4, 1/sqrt(2)."""
    if not isinstance(value, float) or not 0 < value < 1:
        return value
    for top in (1, 2):
        if node.backward and node.numel() > top and math.isclose(value * node.numel(), top, rel_tol=1e-12):
            return f"{top}/{node.numel()}"
    if float(f"{value:.4g}") == value:
        return value
    for power, root in ((2, "sqrt({})"), (4, "sqrt(sqrt({}))")):
        under = round(value**-power)
        if under <= 1e6 and math.isclose(value**-power, under, rel_tol=1e-12):
            return f"1/{root.format(under)}"
    return value


def _reason(node: Node, nodes: Mapping[str, Node]) -> str:
    """Why there is such a number in a formula."""
    value = next((each for each in node.args if isinstance(each, float)), None)
    said = _number(value, node)
    if node.title in ("scaled query", "scaled key") and value and said != value:
        both = {f"{node.path}/scaled {what}".lstrip("/") for what in ("query", "key")} <= {*nodes}
        width = round(value ** (-4 if both else -2))
        return f"; {'query and key each, so ' * both}the scores are divided by sqrt({width})"
    if node.backward and isinstance(said, str) and said.startswith("2/"):
        return "; 2 from the square, / from the mean"
    return ""


def _inside(part: tuple[str, int], binds: int) -> str:
    text, own = part
    if own == _NAME:
        return f"[{text}]"
    return f"({text})" if own < binds else text


def _uses(value: Any) -> bool:
    return isinstance(value, Use) or (isinstance(value, (list, tuple)) and any(_uses(each) for each in value))
