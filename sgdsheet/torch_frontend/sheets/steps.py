"""What a step means in cells: what it begins with, its forward and its backward pass, and what the optimiser does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet.book import DOTTED, NUMBER, PRECISE, SQUARE, WHOLE, Sheet, typed
from sgdsheet.errors import Error
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.tensor import Array
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, ITEM, LOSS, RANDOM, Graph, Node, Use, place
from sgdsheet.torch_frontend.program.program import MADE, Program
from sgdsheet.torch_frontend.sheets.notation import notation
from sgdsheet.torch_frontend.sheets.pages import Label, Pages
from sgdsheet.torch_frontend.sheets.plan import Plan
from sgdsheet.torch_frontend.sheets.stations import NEW, STATES, Stations

NUMBERED = re.compile(r"(?<!time) \d+$")  # a name that several have
SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum")  # states that are sums of squares


class Steps:
    """A program's steps on pages, the one after the other. `values` holds what has no formula, by block name."""

    def __init__(self, program: Program, values: Mapping[str, Any], pages: Pages, front: Sheet) -> None:
        self._program, self._values, self._pages, self._front = program, values, pages, front
        self._together = program.together
        self.made = 0  # steps
        self.reads: dict[str, list[str]] = {}  # which blocks each block is computed from
        self._changing = program.changing()
        self._optimizer = OPTIMIZERS[program.optimizer] if program.optimizer else None
        self._hyperparameters = self._typed_in(front)
        pages.start(front)
        self._states = program.states(self._at(0))
        if program.shared:
            self._data(0)
        if not self._together:
            self._open(0)

    def step(self, k: int) -> tuple[str, ...]:
        """Step k and its update. Returns the nodes that have cells by their own names."""
        pages, program, graph = self._pages, self._program, self._graph(k)
        pages.begin(k)
        self.made = k + 1
        self._stations = Stations(graph)
        if not program.shared:
            self._data(k)
        if self._together:
            self._begin(k)
        plan = Plan(graph)
        arrays: dict[str, Any] = {}
        placed = []
        shown = {node.name: self._called(k, node) for node in graph.nodes if node.op in FED}
        behind: dict[str, list[str]] = {}  # the blocks that a node's formulas refer to
        for node in graph.nodes:
            array = arrays[node.name] = self._value(k, node, arrays, plan)
            below = [block for name in node.uses() for block in behind[name]]
            behind[node.name] = [self._holds(k, node)] if node.op in FED else [*dict.fromkeys(below)]
            if isinstance(array, np.ndarray) and node.op in ops.REARRANGED:
                self._recognise(node, array, behind, shown)
            if not isinstance(array, np.ndarray) or not plan.needs_cells(node, array):
                continue
            key = plan.key(node)
            if key is None:
                placed.append(node.name)
            block, words = f"{k}/{key or node.name}", notation(node, plan.nodes, shown)
            self.reads[block], behind[node.name] = behind[node.name], [block]
            if block in pages.cells:
                pages.fill(block, array, words)
            else:
                role = "loss" if key == LOSS else "gradient" if node.backward else "activation"
                title = key or self._title(k, node)
                label = Label(block, array.shape, title, role, words, _torch(node, plan.nodes), _format(node))
                pages.place(pages.sheet(k, node.path), self._standing(label, node, key), _numeric(node, array))
            arrays[node.name] = pages.cells[block]
            name = node.name if self._title(k, node) == node.title else NUMBERED.sub("", node.name)
            shown[node.name] = f"{key[5:]}.grad" if key and key.startswith("grad/") else key or name
        for key, name in graph.outputs.items():  # one that another output is too, or that no formula computes
            block, node = f"{k}/{key}", plan.nodes[name]
            if key.startswith("buffer/") or pages.is_filled(block):
                continue
            array = _numeric(node, arrays[name])
            if block in pages.cells:
                pages.fill(block, array)
            else:
                label = Label(block, array.shape, key, "loss" if key == LOSS else "activation", station=key)
                pages.place(pages.sheet(k, node.path), label, array)
        if self._changing:
            self._update(k, graph, arrays)
        return tuple(placed)

    def _holds(self, k: int, node: Node) -> str:
        """The block that a step takes what is fed from."""
        if node.op in ("param", "buffer"):
            return self._before_step(k, node.name)
        fed = self._program.fed(k, node.name)
        return f"{k}/{fed}" if self._together and self._program.shared and node.op != RANDOM else fed

    def _before_step(self, k: int, name: str) -> str:
        """The block that holds a parameter or a buffer before step k: on the sheet of a whole step, its own copy."""
        if self._together and k:
            return f"{k}/start/{name.partition('/')[2]}"
        block = f"{k}/{name}"
        return block if block in self._pages.cells else f"0/{name}"

    def _title(self, k: int, node: Node) -> str:
        """A node's title, without the number that tells it from others of which none has cells."""
        plain = NUMBERED.sub("", node.name)
        return node.title if f"{k}/{plain}" in self._pages.cells else NUMBERED.sub("", node.title)

    def _standing(self, label: Label, node: Node, key: str | None) -> Label:
        """The label with its station on the sheet of a whole step."""
        station, line = self._stations.of(node, key)
        takes = [] if line else [self._stations.holding(each) for each in self.reads[label.block]]
        self._stations.stands(label.block, station)
        return replace(label, station=station, line=line, takes=tuple(each for each in takes if each))

    def _recognise(self, node: Node, array: Array, behind: Mapping[str, list[str]], shown: dict[str, str]) -> None:
        """Where elements were moved, but are a whole block or all 0, a formula in words says so."""
        elements = array.reshape(-1).tolist()
        if all(isinstance(each, (int, float)) and not each for each in elements):
            shown[node.name] = "0"
            return
        blocks = [name for name in behind[node.name] if name in self._pages.cells]
        chosen = node.op.partition(".")[0] in ("select", "slice")  # elements that were put among zeros before
        for name in blocks if len(blocks) > 1 or chosen else ():
            held = self._pages.cells[name]
            if held.size == len(elements) and {*elements} == {*held.reshape(-1).tolist()}:
                shown[node.name] = self._pages.labels[name].title
                return

    # --- what is there before a step -------------------------------------------------------------------------------

    def _typed_in(self, front: Sheet) -> list[dict[str, Any]]:
        """The cells of each group's hyperparameters: a reference each, or one for each step."""
        program = self._program
        names = [spec.name for spec in program.inputs()]
        torch = {name: f"torch.optim.{program.optimizer}(..., {name.partition('/')[0]})" for name in names}
        torch |= {MADE: "optimizer.state[...]['step']"} if program.examples else {}
        references: dict[str, Any] = dict(
            zip(names, front.inputs(front.next_row, 1, names, torch, across=self._together), strict=True)
        )
        words = "a number for each step, as the schedule has it"
        for number, group in enumerate(program.groups):
            for name, value in group.cells.items():
                if isinstance(value, list):
                    block = program.cell(number, name)
                    label = Label(block, (len(value),), block, "data", words, number_format=PRECISE)
                    references[block] = self._pages.place(front, label, typed(np.array(value)))
        self._made = references.get(MADE, program.begun) if program.examples else program.begun
        return [
            {name: references[program.cell(number, name)] for name in group.cells}
            for number, group in enumerate(program.groups)
        ]

    def _at(self, k: int) -> list[dict[str, Any]]:
        """The cells of each group's hyperparameters at step k."""
        return [
            {name: each[k] if isinstance(each, np.ndarray) else each for name, each in cells.items()}
            for cells in self._hyperparameters
        ]

    def _graph(self, k: int) -> Graph:
        """The graph of step k; after the last step, of that."""
        return self._program.graphs[self._program.which[min(k, len(self._program.which) - 1)]]

    def _data(self, k: int) -> None:
        """The sheet of the batch of step k, or of the one that all share."""
        nodes = [node for node in self._graph(k).nodes if node.op in ("input", "target")]
        if not nodes:
            return
        if self._together:
            self._beside(k, nodes)
            return
        compared = any(node.op == "target" for node in nodes)
        about = "What goes in, and what should come out" if compared else "What goes in"
        sheet = self._pages.data(k, about)
        for node in nodes:
            block = self._program.fed(k, node.name)
            words = "what the model is given" if node.op == "input" else "what the loss compares the output with"
            self._given(sheet, block, block, node, words)

    def _beside(self, k: int, nodes: list[Node]) -> None:
        """The batch that all steps share, on the first sheet; one of a step's own, on its sheet."""
        for node in nodes:
            block = self._program.fed(k, node.name)
            words = "what the model is given" if node.op == "input" else "what should come out"
            if self._program.shared:
                self._given(self._front, block, block, node, words)
            else:
                self._given(self._pages.sheet(k, ""), block, block.partition("/")[2], node, words, block)

    def _given(self, sheet: Sheet, block: str, title: str, node: Node, words: str, station: str = "") -> Array:
        """A block of numbers that the reader may change."""
        label = Label(block, node.shape or (), title, "data", words, number_format=self._digits(block))
        if station:
            self._stations.stands(block, station)
        label = replace(label, station=station, across=bool(station) or len(label.shape) > 1)
        return self._pages.place(sheet, label, self._begins(block, node))

    def _digits(self, block: str) -> str:
        """The number format of data: as many digits as there are, if these are few."""
        numbers = np.asarray(self._values[block])
        return PRECISE if np.array_equal(numbers, np.round(numbers.astype(float), 4)) else NUMBER

    def _begin(self, k: int) -> None:
        """What a whole step begins with, on its own sheet: copies of the batch that all share, and the parameters.

        Below each parameter its gradient, and the states and the new parameter that the step leaves behind.
        """
        pages, graph, program = self._pages, self._graph(k), self._program
        sheet = pages.sheet(k, "")
        if program.shared:
            for node in (node for node in graph.nodes if node.op in ("input", "target")):
                fed = program.fed(k, node.name)
                label = Label(f"{k}/{fed}", node.shape or (), fed, "data", "as on the first sheet", station=fed)
                label = replace(label, number_format=self._digits(fed))
                self._stations.stands(label.block, fed)
                pages.place(sheet, label, pages.cells[fed])
        held = [node for node in graph.nodes if node.op in ("param", "buffer")]
        matrices = {(node.owner, shape[0]) for node in held if len(shape := node.shape or ()) > 1}
        labels = []
        for node in held:
            name, shape = node.name.partition("/")[2], node.shape or ()
            learned = node.op == "param"
            torch = f"model.get_{'parameter' if learned else 'buffer'}({name!r})"
            role = "parameter" if learned else "optimiser state"
            of = {"station": f"param {node.owner}", "across": len(shape) != 1 or (node.owner, shape[0]) not in matrices}
            block = f"{k}/start/{name}" if k else f"0/{node.name}"
            short = name.rpartition(".")[2]
            words = f"after step {k}" if k else "before the first step"
            labels.append(Label(block, shape, name, role, words, torch, _digits(node), **of))
            self._stations.stands(block, of["station"])
            if learned and f"grad/{name}" in graph.outputs:
                grad = Label(
                    f"{k}/grad/{name}",
                    shape,
                    f"{short}.grad",
                    "gradient",
                    "",
                    f"{torch}.grad",
                    _dotted(shape),
                    line=1,
                    **of,
                )
                labels.append(grad)
                self._stations.stands(grad.block, of["station"])
            states = self._states.get(name, {}) if learned else {}
            for line, state in enumerate(states, start=STATES):
                scalar = self._optimizer is not None and state in self._optimizer.scalars
                says = {"torch": f"optimizer.state[{name}][{state!r}]"}
                says["number_format"] = SQUARE if state in SQUARES else _dotted(shape)
                size = () if scalar else shape
                labels.append(
                    Label(f"{k + 1}/state/{name}/{state}", size, state, "optimiser state", line=line, **says, **of)
                )
                if not k and program.resumed:
                    title = f"{state} before"
                    labels.append(
                        Label(f"0/state/{name}/{state}", size, title, "optimiser state", line=line + 9, **says, **of)
                    )
            if node.name in self._changing:
                labels.append(
                    Label(f"{k + 1}/{node.name}", shape, f"new {name}", role, "", torch, _digits(node), line=NEW, **of)
                )
        pages.set_aside(sheet, labels)
        for node in held:
            block = f"{k}/start/{node.name.partition('/')[2]}" if k else f"0/{node.name}"
            before = f"{k}/{node.name}" if f"{k}/{node.name}" in pages.cells else f"0/{node.name}"
            pages.fill(block, pages.cells[before] if k else self._begins(block, node))
        for block in (label.block for label in labels if label.block.startswith("0/state/")):
            pages.fill(block, typed(np.reshape(self._values[block], pages.cells[block].shape)))

    def _begins(self, block: str, node: Node) -> Array:
        """The numbers that a block begins with, for the reader to change."""
        return typed(np.reshape(self._values[block], node.shape or ()).astype(float if node.dtype == "float" else int))

    def _open(self, k: int) -> None:
        """Sets aside, side by side, each parameter before step k, its gradient and its states; fills them at k = 0."""
        pages, graph = self._pages, self._graph(k)
        when = f"after step {k}" if k else "before the first step" if self._program.optimizer else "as the model has it"
        for node in graph.nodes:
            if node.op not in ("param", "buffer") or (k and node.name not in self._changing):
                continue
            name, shape = node.name.partition("/")[2], node.shape or ()
            learned = node.op == "param"
            short = name.rpartition(".")[2]
            torch = f"model.get_{'parameter' if learned else 'buffer'}({name!r})"
            role = "parameter" if learned else "optimiser state"
            labels = [Label(f"{k}/{node.name}", shape, short, role, when, torch, _digits(node))]
            if learned and k < len(self._program.which) and f"grad/{name}" in graph.outputs:
                labels.append(
                    Label(f"{k}/grad/{name}", shape, f"{short}.grad", "gradient", "", f"{torch}.grad", _dotted(shape))
                )
            states = self._states.get(name, {}) if learned else {}
            for state in states:
                block, torch = f"{k}/state/{name}/{state}", f"optimizer.state[{name}][{state!r}]"
                digits = SQUARE if state in SQUARES else _dotted(shape)
                held = () if self._optimizer is not None and state in self._optimizer.scalars else shape
                labels.append(Label(block, held, state, "optimiser state", when, torch, digits))
            pages.set_aside(pages.sheet(k, node.owner), labels)
            if k:
                continue
            pages.fill(f"0/{node.name}", self._begins(f"0/{node.name}", node))
            for state, start in states.items():
                block = f"0/state/{name}/{state}"
                shape = pages.cells[block].shape
                held = np.full(shape, start, dtype=object)
                pages.fill(block, typed(np.reshape(self._values[block], shape)) if self._program.resumed else held)

    # --- a step ----------------------------------------------------------------------------------------------------

    def _called(self, k: int, node: Node) -> str:
        """What a reader calls something that is fed."""
        if node.op in ("param", "buffer"):
            return node.name.partition("/")[2]
        block = self._program.fed(k, node.name)
        return block if self._program.shared or node.op == RANDOM else block.partition("/")[2]

    def _value(self, k: int, node: Node, arrays: Mapping[str, Any], plan: Plan) -> Any:
        """The node's elements: references, formulas or numbers; a list of arrays for several results."""
        pages = self._pages
        if node.op == RANDOM:
            words = "drawn once, when this workbook was made: data, so that it can be checked"
            block = f"{k}/{node.name}"
            return self._given(pages.sheet(k, node.path), block, "mask", node, words, block if self._together else "")
        if node.op in FED:
            return pages.cells[self._holds(k, node)]
        if node.op == CONSTANT:
            (numbers,), shape = node.args, node.shape or ()
            each = isinstance(numbers, list)
            return np.array(numbers, dtype=object).reshape(shape) if each else np.full(shape, numbers, dtype=object)
        if node.op == ITEM:
            return np.asarray(arrays[node.args[0].node][node.args[1]], dtype=object)
        asks = node.op in ops.CONDITIONS or node.op in ops.REARRANGED

        def given(value: Any) -> Any:
            if isinstance(value, Use):
                array = arrays[value.node]
                return array if asks else _numeric(plan.nodes[value.node], array)
            return [given(each) for each in value] if isinstance(value, (list, tuple)) else value

        try:
            kwargs = {name: given(each) for name, each in node.kwargs.items()}
            return ops.apply(node.op, [given(each) for each in node.args], kwargs)
        except Error as error:
            raise Error(f"{place(node.path, node.line)}{node.op}: {error}") from None

    # --- what a step leaves behind ---------------------------------------------------------------------------------

    def _update(self, k: int, graph: Graph, arrays: Mapping[str, Any]) -> None:
        """States, parameters and buffers after step k."""
        pages = self._pages
        if not self._together:
            self._open(k + 1)
        for name in self._changing:
            if name.startswith("buffer/"):
                held = name in graph.outputs
                array = arrays[graph.outputs[name]] if held else pages.cells[self._before_step(k, name)]
                pages.fill(f"{k + 1}/{name}", array)
        for number, (group, cells) in enumerate(zip(self._program.groups, self._at(k), strict=True)):
            given = group.hyperparameters(cells)
            assert self._optimizer is not None
            if self._optimizer.takes_loss:
                given["loss"] = pages.cells[f"{k}/loss"].item()
            if self._optimizer.takes_before and "momentum" in group.cells:
                given["before"] = self._before(k, number)
            for name in group.params:
                if f"grad/{name}" in graph.outputs:
                    self._learn(k, name, given)
                else:  # torch leaves a parameter without a gradient as it is
                    pages.fill(f"{k + 1}/param/{name}", pages.cells[self._before_step(k, f"param/{name}")])
                    for state in self._states[name]:
                        pages.fill(f"{k + 1}/state/{name}/{state}", self._state(k, name, state))

    def _before(self, k: int, group: int) -> Array:
        """The momentum of all steps before step k, each cell once; 1 if the buffer has begun before them."""
        cells = dict.fromkeys(self._at(j)[group]["momentum"] for j in range(k))
        if self._program.examples:  # 0 before the first step
            return np.array([self._made], dtype=object)
        return np.array([1] if self._program.begun else [*cells], dtype=object)

    def _learn(self, k: int, name: str, given: Mapping[str, Any]) -> None:
        """One parameter's step: its states' new cells, then its own."""
        pages = self._pages
        assert self._optimizer is not None
        said: dict[str, str] = {}
        after = "" if self._together else f", after step {k + 1}"

        def place(what: str, array: Any, words: str) -> Any:
            block = f"{k + 1}/state/{name}/{what}"
            words = re.sub(r"\w+", lambda word: f"({said[word[0]]})" if word[0] in said else word[0], words)
            if block not in pages.cells:
                said[what] = words
                return _plain(np.asarray(array, dtype=object))
            pages.fill(block, np.asarray(array, dtype=object), f"{words}{after}")
            return _plain(pages.cells[block])

        state = {each: _plain(self._state(k, name, each)) for each in self._states[name]}
        param, grad = pages.cells[self._before_step(k, f"param/{name}")], pages.cells[f"{k}/grad/{name}"]
        step = self._made + k + 1
        result, _ = self._optimizer.step(place, param, grad, state, step=step, **given)
        pages.fill(f"{k + 1}/param/{name}", result, f"{said['new_param']}{after}")

    def _state(self, k: int, name: str, state: str) -> Array:
        """A parameter's state before step k: its cells, or what it begins with."""
        block = f"{k}/state/{name}/{state}"
        if block in self._pages.cells:
            return self._pages.cells[block]
        return np.full(self._pages.cells[f"1/state/{name}/{state}"].shape, self._states[name][state], dtype=object)


def _plain(array: Array) -> Any:
    """An array, or the one element of one without dimensions."""
    return array if array.ndim else array.item()


def _numeric(node: Node, array: Any) -> Any:
    """A condition's elements as 1 and 0; all others as they are."""
    return ops.numerics(array) if node.dtype == "bool" and isinstance(array, np.ndarray) else array


def _torch(node: Node, nodes: Mapping[str, Node]) -> str:
    """The operation's name in torch."""
    return _torch(nodes[node.args[0].node], nodes) if node.op == ITEM else f"aten.{node.op}"


def _format(node: Node) -> str:
    """The number format of what is computed."""
    return _dotted(node.shape or ()) if node.dtype == "float" else WHOLE


def _digits(node: Node) -> str:
    """The number format of a parameter or a buffer."""
    return NUMBER if node.dtype == "float" else WHOLE


def _dotted(shape: tuple[int, ...]) -> str:
    """The format of what is computed: among other numbers a zero is a dot."""
    return DOTTED if shape else NUMBER
