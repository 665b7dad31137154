"""How large a workbook will be, found from the graphs alone: nothing is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgdsheet.errors import Error
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, ITEM, MOST, RANDOM, Graph, Node, place
from sgdsheet.torch_frontend.program.program import Program
from sgdsheet.torch_frontend.sheets.pages import shown
from sgdsheet.torch_frontend.sheets.plan import Plan

# So many cells take about 4 GB and two minutes to make, and spreadsheet programs need as much to open them.
MOST_CELLS = 3_000_000
# Measured on perceptrons, a convolutional network, an LSTM and a transformer layer, on one core of a server.
BYTES_A_CELL, SECONDS_A_CELL, SECONDS = 17, 33e-6, 0.5
TOGETHER = 2_000  # numbers of a step that stand on one sheet; two screens hold about as many
# What stands around a block: its heading, its line on the sheet 'blocks'; and a node's line on the sheet 'program'.
AROUND_A_BLOCK, OF_A_NODE = 10, 8


@dataclass(frozen=True)
class Estimate:
    """What a workbook will take: cells, sheets, bytes of its file, seconds until it is written."""

    cells: int
    sheets: int
    size: int
    seconds: float
    limit: int = MOST_CELLS

    @property
    def fits(self) -> bool:
        """Whether `compile` would make it."""
        return self.cells <= self.limit


def estimate(program: Program) -> Estimate:
    """How large a program's workbook will be: cells and sheets within a few percent, size and time within a factor.

    Raises `Error` for an output without elements.
    """
    _require_elements(program)
    states = program.states([dict.fromkeys(group.cells, 0.5) for group in program.groups])
    changing = set(program.changing())
    count = len(program.which)
    sheets = 4  # 'about', 'training', 'program' and 'blocks'
    data = [_data(graph) for graph in program.graphs]
    before = [_before(graph, states, None) for graph in program.graphs]
    after = [_before(graph, states, changing) for graph in program.graphs]
    during = [[(node.path, node.numel()) for node in placed(graph)] for graph in program.graphs]
    if program.together:
        # Each step's sheet has what it begins with, and what it leaves behind: the last is shared with no other.
        sheets += len(shown(count)) + (count > len(shown(count)))
        begins = [_before(graph, {}, None) for graph in program.graphs]
        steps = [begins[number] + after[number] + during[number] + data[number] for number in program.which]
        steps += [data[0]] if program.shared else []
    else:
        steps = [(after if k else before)[number] + during[number] for k, number in enumerate(program.which)]
        steps.append(after[program.which[-1]])
        sheets += sum(len({path for path, _ in step}) for step in steps)
        batches = [data[number] for number in program.which[: 1 if program.shared else None]]
        sheets += sum(map(bool, batches))
        steps += batches
    found = [size for step in steps for _, size in step]
    nodes = sum(len(graph.nodes) for graph in program.graphs)
    cells = sum(found) + AROUND_A_BLOCK * len(found) + OF_A_NODE * nodes
    return Estimate(cells, sheets, 10_000 + BYTES_A_CELL * cells, SECONDS + SECONDS_A_CELL * cells)


def fits_one_sheet(program: Program) -> bool:
    """Whether each step is small enough to stand on one sheet, which a reader can survey in about two screens."""
    states = program.states([dict.fromkeys(group.cells, 0.5) for group in program.groups])
    for graph in program.graphs:
        held = sum(count for _, count in _before(graph, states, None)) + sum(count for _, count in _data(graph))
        if held + sum(node.numel() for node in placed(graph)) > TOGETHER:
            return False
    return True


def require_fits(program: Program) -> None:
    """Raises `Error` for a program whose workbook no spreadsheet program would open."""
    needs = estimate(program)
    if not needs.fits:
        raise Error(
            f"the workbook would have about {needs.cells:,} cells, and {needs.limit:,} is the most; take fewer steps, "
            "a smaller batch or a smaller model"
        )
    for graph in program.graphs:
        if (held := sum(node.numel() for node in graph.nodes)) > MOST:
            raise Error(f"a step would hold {held:,} numbers, and {MOST:,} is the most; take a smaller batch or model")


def _require_elements(program: Program) -> None:
    """Raises `Error` for an output that has no elements, and so nothing to stand in a cell."""
    for graph in program.graphs:
        nodes = {node.name: node for node in graph.nodes}
        for key, name in graph.outputs.items():
            if not nodes[name].numel():
                where = place(nodes[name].path, nodes[name].line)
                raise Error(f"{where}the model's {key} has no elements: its shape is {nodes[name].shape}")


def _data(graph: Graph) -> list[tuple[str, int]]:
    """The blocks of a batch: each with its sheet's path and how many numbers it has."""
    return [("data", node.numel()) for node in graph.nodes if node.op in ("input", "target")]


def _before(graph: Graph, states: Mapping[str, Any], changing: set[str] | None) -> list[tuple[str, int]]:
    """The blocks of parameters, buffers and states before a step: all of them, or those that a step changes."""
    found = []
    for node in graph.nodes:
        if node.op in ("param", "buffer") and (changing is None or node.name in changing):
            name = node.name.partition("/")[2]
            times = 1 + len(states.get(name, {})) if node.op == "param" else 1
            found += [(name.rpartition(".")[0], node.numel())] * times
    return found


def placed(graph: Graph) -> list[Node]:
    """Returns the nodes of a step that get cells, those that several outputs are more than once."""
    plan = Plan(graph)
    refers: dict[str, int] = {}  # to how many cells an element of a node refers
    depth: dict[str, int] = {}  # how deep its formula is, about
    found = []
    for node in graph.nodes:
        refers[node.name] = sum(refers[name] for name in node.uses())
        moves = node.op in ops.REARRANGED or node.op == ITEM
        under = max((depth[name] for name in node.uses()), default=0)
        depth[node.name] = under + (not moves) if refers[node.name] else 0
        computed = node.op not in (*FED, CONSTANT) and node.shape is not None
        has = computed and plan.has_cells(node, refers[node.name], depth[node.name])
        if has or node.op == RANDOM:
            found.append(node)
        if has or node.op in FED:
            refers[node.name], depth[node.name] = 1, 0
    known = {node.name for node in found}
    results = {key: plan.nodes[name] for key, name in graph.outputs.items() if not key.startswith("buffer/")}
    # A node that is several results has a block for each.
    return found + [node for key, node in results.items() if plan.key(node) != key or node.name not in known]
