"""What stands with what on the sheet of a whole step."""

from __future__ import annotations

import re

from sgdsheet.torch_frontend.program.graph import Graph, Node

# The lines of a module's parameters: 0, and 1 for their gradients; those from STATES on are in closed rows.
NEW = 9  # for the new parameters
STATES = 10  # the first one for the optimiser's states
BELOW = 30  # the first one for what their gradients are made of
PART = re.compile("part of gradient ")


class Stations:
    """The stations of one step: a block of the forward pass with its gradients, a module with its parameters."""

    def __init__(self, graph: Graph) -> None:
        self._found: dict[str, str] = {}  # stations by the title of what stands there, with and without its module
        self._sizes: dict[str, tuple[str, tuple[int, ...]]] = {}  # the module and the shape of what is computed there
        self._holding: dict[str, str] = {}
        self._lines: dict[str, set[int]] = {}
        self._backward = [node for node in graph.nodes if node.backward]
        for node in graph.nodes:
            if node.op in ("param", "buffer"):
                self._find(f"param {node.owner}", node.owner, node.name.rpartition(".")[2].rpartition("/")[2])

    def of(self, node: Node, key: str | None) -> tuple[str, int]:
        """Returns the station of a node's block, and the line there."""
        if not node.backward:
            station = key or node.name
            self._find(station, node.path, key or node.title)
            self._sizes[station] = node.path, _shape(node)
            return station, 0
        own = self._own(node)
        station = self._spare(node) if own is None or PART.match(node.title) else own
        station = station or own or node.path or "model"
        lines = self._lines.setdefault(station, set())
        line = BELOW if station.startswith("param ") else 1
        while line in lines:
            line += 1
        lines.add(line)
        return station, line

    def _own(self, node: Node) -> str | None:
        """The station of what a backward node is the gradient of, if that has cells."""
        of = re.sub(r"^(part of )?gradient (of (part of )?|before )", "", re.sub(r" \d+$", "", node.title))
        of = re.sub(r", through .*$| from (the (query|key|value)|([^()]*, )?time( \d+)?)$", "", of)
        plain = re.sub(r" \((.*, )?time \d+\)$", "", of)
        bare, tanh = of.removeprefix("masked "), f"tanh of the {of}"  # which may have cells where these have none
        places = (f"{node.path}/{of}", of, f"{node.path}/{plain}", plain, f"{node.path}/{tanh}", f"{node.path}/{bare}")
        return next((self._found[each] for each in places if each in self._found), None)

    def _spare(self, node: Node) -> str | None:
        """A station of the node's module and shape where no gradient stands, and none will."""
        awaited = {self._own(each) for each in self._backward if not PART.match(each.title)}
        free = (station for station in self._sizes if station not in awaited and station not in self._lines)
        return next((station for station in free if self._sizes[station] == (node.path, _shape(node))), None)

    def stands(self, block: str, station: str) -> None:
        """Notes where a block stands."""
        self._holding[block] = station

    def holding(self, block: str) -> str | None:
        """Returns the station that holds a block, if one of this step does."""
        return self._holding.get(block)

    def _find(self, station: str, path: str, title: str) -> None:
        self._found.setdefault(f"{path}/{title}", station)
        self._found.setdefault(title, station)


def _shape(node: Node) -> tuple[int, ...]:
    """A node's shape without the dimensions of one element that come first."""
    shape = list(node.shape or ())
    while shape[2:] and shape[0] == 1:
        del shape[0]
    return tuple(shape)
