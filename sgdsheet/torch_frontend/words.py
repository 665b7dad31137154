"""What each operation does, in plain words beside its block."""

from __future__ import annotations

from collections.abc import Sequence

from sgdsheet.torch_frontend.graph import ITEM, Node

WORDS = {
    "addmm": "bias + rows times columns, the linear layer",
    "mm": "matrix product",
    "bmm": "matrix product, one for each of a batch",
    "convolution": "each window times the filter, added up",
    "amax": "the largest",
    "exp": "e to the power of",
    "sum": "the sum",
    "mean": "the mean",
    "mul": "product",
    "add": "sum of two",
    "sub": "difference",
    "div": "quotient",
    "pow": "power",
    "relu": "what is above 0, else 0",
    "threshold_backward": "the gradient where the input is above the threshold, else 0",
    "rsqrt": "1 / square root",
    "log": "natural logarithm",
}


def meaning(node: Node, sources: Sequence[str]) -> str:
    """The node's operation in words, and what it takes."""
    kind = node.op.partition(".")[0]
    if node.op == ITEM:
        kind = node.name.rpartition("/")[0].rpartition("/")[2]
    words = WORDS.get(kind, kind)
    takes = ", ".join(dict.fromkeys(sources))
    return f"{words} of {takes}" if takes else words
