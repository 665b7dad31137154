"""What stands with what on the sheet of a whole step."""

from __future__ import annotations

import re

from sgdsheet.torch_frontend.program.graph import Graph, Node

BELOW = 20  # the first line for what is below a module's parameters, their states and the new ones


class Stations:
    """The stations of one step: a block of the forward pass with its gradients, a module with its parameters."""

    def __init__(self, graph: Graph) -> None:
        self._found: dict[str, str] = {}  # stations by the title of what stands there, with and without its module
        self._holding: dict[str, str] = {}
        self._lines: dict[str, set[int]] = {}
        for node in graph.nodes:
            if node.op in ("param", "buffer"):
                self._find(f"param {node.owner}", node.owner, node.name.rpartition(".")[2].rpartition("/")[2])

    def of(self, node: Node, key: str | None) -> tuple[str, int]:
        """Returns the station of a node's block, and the line there."""
        if not node.backward:
            station = key or node.name
            self._find(station, node.path, key or node.title)
            return station, 0
        title = re.sub(r" \d+$", "", node.title)
        of = re.sub(r"^(part of )?gradient (of (part of )?|before )", "", title)
        of = re.sub(r", through .*$", "", of)
        plain = re.sub(r" \((.*, )?time \d+\)$", "", of)
        places = (f"{node.path}/{of}", of, f"{node.path}/{plain}", plain)
        station = next((self._found[each] for each in places if each in self._found), node.path or "model")
        lines = self._lines.setdefault(station, set())
        line = BELOW if station.startswith("param ") else 1
        while line in lines:
            line += 1
        lines.add(line)
        return station, line

    def stands(self, block: str, station: str) -> None:
        """Notes where a block stands."""
        self._holding[block] = station

    def holding(self, block: str) -> str | None:
        """Returns the station that holds a block, if one of this step does."""
        return self._holding.get(block)

    def _find(self, station: str, path: str, title: str) -> None:
        self._found.setdefault(f"{path}/{title}", station)
        self._found.setdefault(title, station)
