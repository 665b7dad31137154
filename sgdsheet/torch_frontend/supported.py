"""Whether every operation of a graph can be put on a sheet, and what to write instead of one that cannot."""

from __future__ import annotations

from collections import Counter

from sgdsheet.errors import Error
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.graph import CONSTANT, FED, ITEM, Graph, Node
from sgdsheet.torch_frontend.origins import place

# By how the operation's name begins: the nearest form that can.
INSTEAD = {
    "_fft": "a Fourier transform is a product with matrices of cosines and sines",
    "_ctc_loss": "torch.nn.functional.cross_entropy takes targets that are aligned with the output",
    "_cudnn": "move the model to the CPU",
    "_embedding_bag": "torch.nn.Embedding and a sum or mean over the words does the same",
    "embedding_renorm": "torch.nn.Embedding without max_norm can",
    "_linalg": "there are no formulas for the decompositions of a matrix",
    "linalg": "there are no formulas for the decompositions of a matrix",
    "_cdist": "write the distance as ((a[:, None] - b) ** 2).sum(-1).sqrt()",
    "_pdist": "write the distance as ((a[:, None] - b) ** 2).sum(-1).sqrt()",
    "upsample_bicubic": "mode='bilinear' or 'nearest' may do",
    "grid_sampler": "torch.nn.functional.interpolate may do",
    "_weight_norm": "torch.nn.utils.parametrizations.weight_norm is made of plain formulas",
    "sort": "torch.amax, torch.amin or a max pool may do",
    "topk": "torch.amax or torch.amin may do",
    "kthvalue": "torch.amax or torch.amin may do",
    "mode": "torch.mean may do",
    "median": "torch.mean may do",
    "nanmedian": "torch.mean may do",
    "erfinv": "torch.erf is a formula, its inverse is none",
    "digamma": "torch.lgamma is a formula, its derivative is none",
    "polygamma": "torch.lgamma is a formula, its derivatives are none",
    "igamma": "torch.lgamma is a formula, the incomplete gamma function is none",
    "special_": "exp, log, erf and lgamma are formulas",
    "nonzero": "choose with torch.where instead",
    "masked_select": "choose with torch.where instead",
    "_unique": "count with (x[:, None] == values).sum(0)",
    "unique": "count with (x[:, None] == values).sum(0)",
    "histc": "count with (x[:, None] == values).sum(0)",
    "bincount": "count with (x[:, None] == values).sum(0)",
    "bitwise": "torch.logical_and, logical_or and logical_not of conditions can",
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
    name = node.op.partition(".")[0]
    begins = [each for each in INSTEAD if name.startswith(each)]
    instead = f"; {INSTEAD[max(begins, key=len)]}" if begins else ""
    which = "the gradient's operation" if node.backward else "the operation"
    return f"{place(node.path, node.line)}{which} {node.op} cannot be put on a sheet{instead}"


def require_supported(graph: Graph) -> None:
    """Raises `Error` for the first operation of a graph that cannot be put on a sheet."""
    for node in unsupported(graph):
        raise Error(refusal(node))


def _computed(node: Node) -> bool:
    return node.op not in (*FED, CONSTANT, ITEM)
