"""A block's formula as a person writes it: `bias + input @ weight.T`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sgdsheet.torch_frontend.program.graph import CONSTANT, ITEM, Node, Use

LONGEST = 600  # characters; what is longer says only what it is computed from

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
_TIME = re.compile(r" \((?:[^()]*, )?time \d+\)$")
_BEFORE = "gradient before "
_FROM = " from the "
_AT = re.compile(r"time \d+")
_SEVERAL = re.compile(_BEFORE + r"([\w ]+)(?:(?: \(time \d+\))?, [\w ]+)+( \(time \d+\))")
WEIGHTS = "attention weights"
_CALLED = {"amax": "max", "amin": "min", "threshold_backward": "where above"}


def notation(node: Node, nodes: Mapping[str, Node], shown: Mapping[str, str]) -> str:
    """The node's formula in terms of what stands in cells; `shown` says what those nodes are called there."""
    text, _ = _formula(node, nodes, shown, node.path)
    time = _TIME.search(node.title)
    if time:  # what is of the same step of time needs not say so again
        text = text.replace(time[0], "")
    text = re.sub(r"(\[[^][]+\]|\b[\w.]+) \* \1(?![\w.\[])", r"\1^2", text)
    return text + _reason(node, nodes, text) if len(text) <= LONGEST else "see the blocks that it reads"


def briefly(words: str, names: Sequence[str], lines: Callable[[str], int], most: int) -> str:
    """The words, shorter if they take too many lines, or from which blocks of these names it is computed."""

    def fits(text: str) -> bool:
        return lines(text) <= most

    if fits(words) or not names:
        return words
    short = _SEVERAL.sub(_from_to, words)
    first, *others = short.split(" + ")
    if others and _AT.search(first) and {_AT.sub("", each) for each in others} == {_AT.sub("", first)}:
        short = f"{first} + the same for time {', '.join(_AT.findall(each)[0][5:] for each in others)}"
    if fits(short):
        return short
    for count in range(len(names), 0, -1):
        more = len(names) - count
        said = f"from {', '.join(names[:count])}{f' and {more} more' if more else ''}"
        if fits(said):
            return said
    return f"from {len(names)} block{'s' * (len(names) > 1)}"


def _from_to(found: re.Match[str]) -> str:
    """The first and the last of several names, and of the times that they are of."""
    last = found[0].removesuffix(found[2]).rpartition(", ")[2]
    first, *_, end = _AT.findall(found[0]) * 2
    return f"{_BEFORE}{found[1]} to {last} ({first if first == end else f'times {first[5:]} to {end[5:]}'})"


def _formula(node: Node, nodes: Mapping[str, Node], shown: Mapping[str, str], path: str) -> tuple[str, int]:
    kind = node.op.partition(".")[0]
    args = [_text(_number(each, node), nodes, shown, path) for each in node.args if each is not None]
    title = re.sub(r" \d+$", "", node.title)
    if (kind in ("select", "slice") or node.op == ITEM) and not node.backward and title in ("query", "key", "value"):
        return title, _ATOM
    if kind in _SAME and args:
        return args[0]
    if kind in ("permute", "t", "transpose") and not _turns(node):
        return args[0]
    if kind in ("permute", "t", "transpose"):
        turned = _inside(args[0], _ATOM)
        if not turned.endswith(".T"):
            return f"{turned}.T", _ATOM
        back = turned[:-2]
        if not (back.startswith("(") and back.endswith(")")):
            return back, _ATOM
        return back[1:-1], _COMPARE if re.search(" [-+=<>]+ ", back) else _MULTIPLY
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
    if kind in ("mul", "mm", "bmm") and ("0", _ATOM) in args:
        return "0", _ATOM
    if kind == "add" and ("0", _ATOM) in args[:2]:
        return args[1] if args[0] == ("0", _ATOM) else args[0]
    if kind in ("select_scatter", "slice_scatter"):
        return args[1]
    if kind == "scatter" and isinstance(node.args[3], float):
        return f"{args[3][0]} at {args[2][0]}, else {args[0][0]}", _NAME
    if kind in _INFIX and len(args) >= 2:
        sign, binds = _INFIX[kind]
        if kind in ("add", "mul"):  # of equals no brackets are needed
            return f"{_inside(args[0], binds)}{sign}{_inside(args[1], binds)}", binds
        return f"{_inside(args[0], binds)}{sign}{_inside(args[1], binds + 1)}", binds
    if kind == "addmm" and args[1][0] == "0":
        return args[0]
    if kind == "addmm":
        return f"{args[0][0]} + {_inside(args[1], _MULTIPLY)} @ {_inside(args[2], _POWER)}", _ADD
    if kind == "embedding":
        return f"{_inside(args[0], _ATOM)}[{args[1][0]}]", _ATOM
    if kind in ("cat", "stack"):
        return _side_by_side([_text(each, nodes, shown, path) for each in node.args[0]])
    if kind == "where" and node.title.startswith("right class"):
        return args[1]
    if kind == "where" and node.title == WEIGHTS:
        return args[2]
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
            if isinstance(number, list):
                return ("mask" if -math.inf in number else "constant"), _ATOM
            return f"{number:g}", _ATOM
        return _formula(node, nodes, shown, path)
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(each, nodes, shown, path)[0] for each in value), _COMPARE
    return (f"{value:g}" if isinstance(value, (int, float)) else str(value)), _ATOM


def _side_by_side(parts: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """Blocks beside each other; what all their names begin or end with is said once."""
    texts = [re.sub(r"^\[([^][]*)\]$", r"\1", text) for text, _ in parts]
    if len(texts) == 1:
        return parts[0]
    if all(text == "0" or text.startswith(_BEFORE) for text in texts):
        names = [text.removeprefix(_BEFORE) for text in texts]
        times = {time[0] if (time := _TIME.search(name)) else "" for name in names if name != "0"}
        (time,) = times if len(times) == 1 else ("",)
        return f"{_BEFORE}{', '.join(name.removesuffix(time) for name in names)}{time}", _NAME
    heads = {text.rpartition(_FROM)[0] for text in texts}
    if len(heads) == 1 and "" not in heads:
        return f"{heads.pop()}{_FROM}{', '.join(text.rpartition(_FROM)[2] for text in texts)}", _NAME
    return ", ".join(_inside(part, _ATOM) for part in parts), _COMPARE


def _turns(node: Node) -> bool:
    """Whether the last two dimensions change places, and no others do."""
    count, kind = len(node.shape or ()), node.op.partition(".")[0]
    if kind == "permute":
        return [each % count for each in node.args[1]] == [*range(count - 2), count - 1, count - 2]
    return kind == "t" or {each % count for each in node.args[1:3]} == {count - 2, count - 1}


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


def _reason(node: Node, nodes: Mapping[str, Node], text: str) -> str:
    """Why there is such a number in a formula, or what else it says."""
    value = next((each for each in node.args if isinstance(each, float)), None)
    said = _number(value, node)
    if node.title in ("scaled query", "scaled key") and value and said != value:
        both = {f"{node.path}/scaled {what}".lstrip("/") for what in ("query", "key")} <= {*nodes}
        width = round(value ** (-4 if both else -2))
        return f"; {'query and key each, so ' * both}the scores are divided by sqrt({width})"
    if node.title == "exponentials" and " mask " in text:
        return "; the mask is -inf at the dots"
    if node.title == WEIGHTS and node.op == "where.self":
        return "; 0 where all are masked"
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
