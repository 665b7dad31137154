"""Whether every operation of a graph can be put on a sheet, and what to write instead of one that cannot."""

from __future__ import annotations

from collections import Counter

from sgdsheet.errors import Error
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, ITEM, Graph, Node, place

# By how the operation's name begins: the nearest form that can.
INSTEAD = {
    "_cdist": "write the distance as ((a[:, None] - b) ** 2).sum(-1).sqrt()",
    "_ctc_loss": "torch.nn.functional.cross_entropy can, of targets that are aligned with the output",
    "_fft": "a Fourier transform is a product with matrices of cosines and sines",
    "_linalg": "no formula takes a matrix apart",
    "_pdist": "write the distance as ((a[:, None] - b) ** 2).sum(-1).sqrt()",
    "_sample_dirichlet": "draw it before, and give it as an input",
    "_standard_gamma": "draw it before, and give it as an input",
    "_unique": "count with (x[:, None] == values).sum(0)",
    "__lshift__": "multiply by a power of 2",
    "__rshift__": "divide by a power of 2",
    "bincount": "count with (x[:, None] == values).sum(0)",
    "bitwise": "torch.logical_and, logical_or and logical_not of conditions can",
    "bucketize": "count the boundaries below with (x[..., None] > boundaries).sum(-1)",
    "digamma": "torch.lgamma is a formula, its derivative is none",
    "embedding_renorm": "torch.nn.Embedding can without max_norm",
    "erfinv": "torch.erf is a formula, its inverse is none",
    "grid_sampler": "grid_sample of pictures can with mode='bilinear' and padding_mode='zeros' or 'border'",
    "histc": "count with (x[:, None] == values).sum(0)",
    "higher_order.cond": "choose with torch.where",
    "igamma": "torch.lgamma is a formula, the incomplete gamma function is none",
    "linalg_": "no formula takes a matrix apart",
    "logcumsumexp": "torch.cumsum(torch.exp(x), dim).log() can",
    "masked_select": "choose with torch.where",
    "mode": "torch.mean can",
    "nonzero": "choose with torch.where",
    "poisson": "draw it before, and give it as an input",
    "polygamma": "torch.lgamma is a formula, its derivatives are none",
    "repeat_interleave": "give the repeats as one number",
    "searchsorted": "count the boundaries below with (x[..., None] > boundaries).sum(-1)",
    "special_": "exp, log, erf and lgamma are formulas",
    "unique": "count with (x[:, None] == values).sum(0)",
}


def counted(graph: Graph) -> Counter[str]:
    """How often each operation of a graph occurs."""
    return Counter(node.op for node in graph.nodes if _computed(node))


def unsupported(graph: Graph) -> list[Node]:
    """The nodes whose operations cannot be put on a sheet, the first one of each kind."""
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if _computed(node) and not ops.known(node.op):
            found.setdefault(node.op, node)
    return list(found.values())


def refusal(node: Node) -> str:
    """Why a node cannot be put on a sheet: where it is, and what could stand in its place."""
    which = "the gradient's operation" if node.backward else "the operation"
    advice = instead(node.op)
    return f"{place(node.path, node.line)}{which} {node.op} cannot be put on a sheet{f'; {advice}' if advice else ''}"


def instead(op: str) -> str:
    """The nearest form that can be put on a sheet; empty if none is known."""
    begins = [each for each in INSTEAD if op.startswith(each)]
    return INSTEAD[max(begins, key=len)] if begins else ""


def require_supported(graph: Graph) -> None:
    """Raises `Error` for the first operation of a graph that cannot be put on a sheet."""
    for node in unsupported(graph):
        raise Error(refusal(node))


def _computed(node: Node) -> bool:
    return node.op not in (*FED, CONSTANT, ITEM)
