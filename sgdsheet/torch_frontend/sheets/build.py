"""From a program to a workbook: a sheet for each step and module, a block for each thing that is computed.

What only moves elements spends no cells, and neither does a small formula that one other formula alone uses: it stands
inside that. Conditions stand inside the formulas that ask them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet import tensor
from sgdsheet.book import (
    DIVERGING,
    NUMBER,
    PRECISE,
    PROGRAM,
    SQUARE,
    WHOLE,
    Book,
    Series,
    Sheet,
    Typed,
    columns_of,
    scatter,
    style,
)
from sgdsheet.errors import Error
from sgdsheet.expr import MAX_COLUMNS, Binary, Call, Expr, Negative, Number, Range, Ref, Sum
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.reference import COMPILED
from sgdsheet.tensor import Array, span
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.ops.products import TERMS
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, ITEM, LOSS, Graph, Node, Use
from sgdsheet.torch_frontend.program.program import Program
from sgdsheet.torch_frontend.program.text import pieces
from sgdsheet.torch_frontend.sheets.notation import notation

INLINE = 6  # a formula that only one other uses stands inside it if it refers to no more cells than this
SUMS = ("sum.default", "sum.dim_IntList", "mean.default", "mean.dim")
PIECES = 4  # ranges that a row may be in, to be multiplied with another; else it gets cells of its own
GAP, ROOM = 5, 12  # columns that a block takes at least, beside others and alone, so that its heading has room
ACROSS = 26  # columns up to which blocks that are alike stand side by side
WIDE = 60  # columns after which the matrices of a block go on below
WIDTH = 10
SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum")  # states that are sums of squares


def build(program: Program, values: Mapping[str, Any], title: str) -> tuple[Book, Program]:
    """The workbook, and the program that knows which of its nodes have cells there.

    `values` holds what stands in the cells that hold no formula, by block name.
    """
    builder = _Builder(program, values, title)
    return builder.book, builder.program


class _Builder:
    """Makes the workbook from the first step to the last."""

    def __init__(self, program: Program, values: Mapping[str, Any], title: str) -> None:
        self.program, self.values, self.steps = program, values, len(program.which)
        self.changing = program.changing()
        self.owners = _owners(program)
        self.references: dict[str, Array] = {}
        self.headings: dict[str, tuple[Sheet, int, int, str, int]] = {}
        self.filled: set[str] = set()
        self.last: dict[str, tuple[int, int, Any, int]] = {}  # where the next block of a sheet may stand beside
        self.sheets: dict[tuple[int, str], Sheet] = {}
        blocks: list[tuple[str, ...] | None] = [None] * len(program.graphs)

        self.book = Book(COMPILED, title, _summary(program), _things_to_try(program), program.inputs())
        self.front = self.book.sheet("training" if program.optimizer else "model", title, *_notes(program))
        self.cells = self._hyperparameters()
        self.states = program.states(self._at(0))
        if program.shared:
            self._data(0)
        self._open(0)
        for k, number in enumerate(program.which):
            placed = self._step(k, program.graphs[number])
            blocks[number] = blocks[number] or placed
        self._sort()
        self._overview()
        self.program = replace(program, blocks=tuple(each or () for each in blocks))
        self._text()

    # --- what is there before a step -------------------------------------------------------------------------------

    def _hyperparameters(self) -> list[dict[str, Any]]:
        """The cells of each group's hyperparameters: a reference each, or one for each step."""
        specs = [spec.name for spec in self.program.inputs()]
        torch = {name: f"torch.optim.{self.program.optimizer}(..., {name.partition('/')[0]})" for name in specs}
        references = dict(zip(specs, self.front.inputs(self.front.next_row, 1, specs, torch), strict=True))
        found = []
        for number, group in enumerate(self.program.groups):
            cells: dict[str, Any] = {}
            for name, value in group.cells.items():
                block = self.program.cell(number, name)
                if isinstance(value, list):
                    words = "a number for each step, as the schedule has it"
                    cells[name] = self._place(
                        self.front, block, _typed(np.array(value)), "data", words, "", block, PRECISE
                    )
                else:
                    cells[name] = references[block]
            found.append(cells)
        return found

    def _at(self, k: int) -> list[dict[str, Any]]:
        """The cells of each group's hyperparameters at step k."""
        return [
            {name: each[k] if isinstance(each, np.ndarray) else each for name, each in cells.items()}
            for cells in self.cells
        ]

    def _data(self, k: int) -> None:
        """The sheet of the batch of step k, or of the one that all share."""
        nodes = [node for node in self.program.graphs[self.program.which[k]].nodes if node.op in ("input", "target")]
        if not nodes:
            return
        compared = any(node.op == "target" for node in nodes)
        about = "What goes in, and what should come out" if compared else "What goes in"
        sheet = self.book.sheet("data" if self.program.shared else f"{k} data", about, "Change any number here.")
        for node in nodes:
            block = self.program.fed(k, node.name)
            words = "what the model is given" if node.op == "input" else "what the loss compares the output with"
            self._given(sheet, block, node, "data", words, block)

    def _given(self, sheet: Sheet, block: str, node: Node, role: str, words: str, title: str) -> Array:
        """A block of numbers that the reader may change."""
        numbers = np.asarray(self.values[block]).reshape(node.shape)
        short = np.array_equal(numbers, np.round(numbers.astype(float), 4))
        array = _typed(numbers, whole=node.dtype != "float")
        return self._place(sheet, block, array, role, words, "", title, PRECISE if short else NUMBER)

    def _open(self, k: int) -> None:
        """Sets aside, side by side, each parameter before step k, its gradient and its states; fills them at k = 0."""
        graph = self.program.graphs[self.program.which[min(k, self.steps - 1)]]
        when = "before the first step" if not k else f"after step {k}"
        for node in graph.nodes:
            if node.op not in ("param", "buffer") or (k and node.name not in self.changing):
                continue
            kind, _, name = node.name.partition("/")
            sheet, short = self._sheet(k, self.owners[name]), name.rpartition(".")[2]
            row = sheet.next_row
            role, torch = ("parameter", "parameter") if kind == "param" else ("optimiser state", "buffer")
            torch = f"model.get_{torch}({name!r})"
            beside: list[tuple[Any, ...]] = [(f"{k}/{node.name}", node.shape, role, when, torch, short)]
            if kind == "param" and k < self.steps and f"grad/{name}" in graph.outputs:
                beside.append((f"{k}/grad/{name}", node.shape, "gradient", "", f"{torch}.grad", f"{short}.grad"))
            for state in self.states.get(name, {}) if kind == "param" else ():
                shape = () if state in OPTIMIZERS[self.program.optimizer or ""].scalars else node.shape
                torch = f"optimizer.state[{name}][{state!r}]"
                beside.append((f"{k}/state/{name}/{state}", shape, "optimiser state", when, torch, state))
            left, bottom = 1, row
            for block, shape, role, words, torch, title in beside:
                following = _beside(left, shape)
                if following - 2 > MAX_COLUMNS and left > 1:
                    row, left = bottom, 1
                    following = _beside(left, shape)
                self._reserve(sheet, block, shape, role, words, torch, title, row, left, following - left - 1)
                left, bottom = following, max(bottom, sheet.next_row)
            sheet.next_row = bottom
            if not k:
                self._begin(node, name, self.states.get(name, {}) if kind == "param" else {})

    def _begin(self, node: Node, name: str, states: Mapping[str, Any]) -> None:
        """Fills what is there before the first step."""
        block = f"0/{node.name}"
        array = np.asarray(self.values[block]).reshape(node.shape)
        self._fill(block, _typed(array, whole=node.dtype != "float"), _format(node))
        for state, start in states.items():
            block = f"0/state/{name}/{state}"
            shape = self.references[block].shape
            array = np.full(shape, start, dtype=object)
            if self.program.resumed:
                array = _typed(np.asarray(self.values[block]).reshape(shape))
            self._fill(block, array, SQUARE if state in SQUARES else NUMBER)

    # --- a step ----------------------------------------------------------------------------------------------------

    def _step(self, k: int, graph: Graph) -> tuple[str, ...]:
        """The forward and the backward pass, and the update. Returns the nodes that have cells by their own names."""
        if not self.program.shared:
            self._data(k)
        plan = _Plan(graph)
        arrays: dict[str, Any] = {}
        placed = []
        shown = {node.name: self._called(k, node) for node in graph.nodes if node.op in FED}
        for node in graph.nodes:
            arrays[node.name] = array = self._value(k, node, arrays, plan)
            if node.op == "random" or not isinstance(array, np.ndarray) or not self._needs_cells(node, array, plan):
                continue
            key = plan.key(node)
            block = f"{k}/{key or node.name}"
            if key is None:
                placed.append(node.name)
            words = notation(node, plan.nodes, shown)
            if block in self.references:
                self._fill(block, array, words=words)
            else:
                role = "loss" if key == "loss" else "gradient" if node.backward else "activation"
                torch = _torch(node, plan.nodes)
                title = key or node.name.removeprefix(f"{node.path}/").replace("/", ": ")
                self._place(self._sheet(k, node.path), block, array, role, words, torch, title, _format(node))
            arrays[node.name] = self.references[block]
            shown[node.name] = key or node.name
        for key, name in graph.outputs.items():
            block = f"{k}/{key}"
            if key.startswith("buffer/") or block in self.filled:
                continue
            array = plan.numeric(name, arrays[name])
            if block in self.references:
                self._fill(block, array)
            else:
                role = "loss" if key == "loss" else "activation"
                self._place(self._sheet(k, plan.nodes[name].path), block, array, role, "", "", key)
        if self.changing:
            self._update(k, graph, arrays)
        return tuple(placed)

    def _called(self, k: int, node: Node) -> str:
        """What a reader calls something that is fed."""
        if node.op in ("param", "buffer"):
            return node.name.partition("/")[2]
        block = self.program.fed(k, node.name)
        return block if self.program.shared or node.op == "random" else block.partition("/")[2]

    def _value(self, k: int, node: Node, arrays: Mapping[str, Any], plan: _Plan) -> Any:
        """The node's elements: references, formulas or numbers; a list of arrays for several results."""
        if node.op in ("param", "buffer"):
            block = f"{k}/{node.name}"
            return self.references[block if block in self.references else f"0/{node.name}"]
        if node.op in ("input", "target"):
            return self.references[self.program.fed(k, node.name)]
        if node.op == "random":
            words = "drawn once, when this workbook was made: data, so that it can be checked"
            return self._given(self._sheet(k, node.path), f"{k}/{node.name}", node, "data", words, "mask")
        if node.op == CONSTANT:
            array = np.empty(node.shape or (), dtype=object)
            numbers = node.args[0]
            array.reshape(-1)[:] = numbers if isinstance(numbers, list) else [numbers] * array.size
            return array
        if node.op == ITEM:
            return np.asarray(arrays[node.args[0].node][node.args[1]], dtype=object)

        def given(value: Any) -> Any:
            if isinstance(value, Use):
                asks = node.op in ops.CONDITIONS or node.op in ops.REARRANGED
                return arrays[value.node] if asks else plan.numeric(value.node, arrays[value.node])
            return [given(each) for each in value] if isinstance(value, (list, tuple)) else value

        try:
            args, kwargs = (
                [given(each) for each in node.args],
                {name: given(each) for name, each in node.kwargs.items()},
            )
            return ops.apply(node.op, args, kwargs)
        except Error as error:
            raise Error(
                f"{node.op} in {node.path or 'the model'}{', ' * bool(node.line)}{node.line}: {error}"
            ) from None

    def _needs_cells(self, node: Node, array: Array, plan: _Plan) -> bool:
        """Whether a node's elements are to stand in cells of their own."""
        if node.op in ("param", "buffer", "input", "target", CONSTANT):
            return False
        flat = array.reshape(-1).tolist()
        if any(isinstance(each, float) and not np.isfinite(each) for each in flat):
            return False
        if plan.key(node) is not None:
            return True
        if node.op in ops.REARRANGED and plan.scattered(node, array):
            return True
        if all(isinstance(each, (Ref, Number)) or not isinstance(each, Expr) for each in flat):
            return False
        if node.dtype == "bool" or plan.inside(node) or node.op in ops.REARRANGED:
            return False
        return not (plan.small(node) and max(_size(each) for each in flat[:3]) <= INLINE)

    def _update(self, k: int, graph: Graph, arrays: Mapping[str, Any]) -> None:
        """What the step leaves behind: states, parameters and buffers."""
        self._open(k + 1)
        for name in self.changing:
            if name.startswith("buffer/"):
                array = arrays[graph.outputs[name]] if name in graph.outputs else self.references[f"{k}/{name}"]
                self._fill(f"{k + 1}/{name}", array)
        for group, cells in zip(self.program.groups, self._at(k), strict=True):
            given = group.hyperparameters(cells)
            if self.program.optimizer == "Eve":
                given["loss"] = self.references[f"{k}/loss"].item()
            for name in group.params:
                if f"grad/{name}" in graph.outputs:
                    self._learn(k, name, given)
                else:  # torch leaves a parameter without a gradient as it is
                    for block in (f"param/{name}", *(f"state/{name}/{state}" for state in self.states[name])):
                        self._fill(f"{k + 1}/{block}", self.references[f"{k}/{block}"])

    def _learn(self, k: int, name: str, given: Mapping[str, Any]) -> None:
        """One parameter's step: its states' new cells, then its own."""
        optimizer = OPTIMIZERS[self.program.optimizer or ""]

        said: dict[str, str] = {}

        def place(what: str, array: Any, words: str) -> Any:
            block = f"{k + 1}/state/{name}/{what}"
            array = np.asarray(array, dtype=object)
            words = re.sub(r"\w+", lambda word: f"({said[word[0]]})" if word[0] in said else word[0], words)
            if block not in self.references:
                said[what] = words
                return array if array.ndim else array.item()
            self._fill(block, array, SQUARE if what in SQUARES else NUMBER, f"{words}, after step {k + 1}")
            references = self.references[block]
            return references if references.ndim else references.item()

        held = {each: self.references[f"{k}/state/{name}/{each}"] for each in self.states[name]}
        state = {each: references if references.ndim else references.item() for each, references in held.items()}
        param, grad = self.references[f"{k}/param/{name}"], self.references[f"{k}/grad/{name}"]
        result, _ = optimizer.step(place, param, grad, state, step=self.program.begun + k + 1, **given)
        self._fill(f"{k + 1}/param/{name}", result, words=f"{said['new_param']}, after step {k + 1}")

    # --- cells -----------------------------------------------------------------------------------------------------

    def _sheet(self, k: int, path: str) -> Sheet:
        """The sheet of a step and a module, made when it is first asked for."""
        if (k, path) not in self.sheets:
            where = self._module(path)
            name = f"{k} " + re.sub(r"[\[\]:*?/\\']", "_", where)
            if len(name) > 31:  # the end of a path says more than its beginning
                name = f"{k} …{name[len(str(k)) - 29 :]}"
            taken = {sheet.name.lower() for sheet in self.book.sheets}
            short, count = name, 1
            while short.lower() in taken:
                count += 1
                short = f"{name[: 30 - len(str(count))]}~{count}"
            what = f"step {k + 1}" if k < self.steps else "after the last step"
            self.sheets[k, path] = sheet = self.book.sheet(
                short, f"{where}, {what}" if path != LOSS else f"The {path}, {what}"
            )
            sheet.width(1, WIDTH, until=ROOM)
            sheet.default_width(WIDTH)
        return self.sheets[k, path]

    def _module(self, path: str) -> str:
        """What a sheet calls a module: its path, with its class where that is only a number."""
        last = path.rpartition(".")[2]
        kind = self.program.modules.get(path, "")
        return f"{path} {kind}".strip() if last.isdigit() else path or kind or "model"

    def _reserve(
        self,
        sheet: Sheet,
        block: str,
        shape: Any,
        role: str,
        words: str,
        torch: str,
        title: str,
        row: int,
        left: int = 1,
        room: int = ROOM,
    ) -> None:
        """Room for a heading, and cells to be filled later."""
        self.references[block] = sheet.block(
            block, shape, role, row + 2, left, words=words, torch=torch, across=True, most=WIDE
        )
        self.headings[block] = (sheet, row, left, title, min(room, WIDE))
        sheet.next_row = max(panel.bottom for panel in self.book.blocks[block].panels) + 2

    def _fill(self, block: str, array: Any, number_format: str = NUMBER, words: str = "") -> None:
        """Fills a block that was set aside, and writes its heading, with its formula in words if that is known now."""
        sheet, row, left, title, room = self.headings[block]
        listed = self.book.blocks[block]
        listed.words = words or listed.words
        if left > ROOM:
            sheet.width(left, WIDTH, until=left + room)
        sheet.heading(row, left, title, listed.shape, listed.words, room)
        sheet.fill(block, array, number_format)
        if len(listed.shape) > 2:
            sheet.heat_map(self.references[block], DIVERGING)
        self.filled.add(block)

    def _place(
        self,
        sheet: Sheet,
        block: str,
        array: Array,
        role: str,
        words: str,
        torch: str,
        title: str,
        number_format: str = NUMBER,
    ) -> Array:
        """A block with its heading: right of the one before if that is alike and there is room, else below all."""
        shape = np.shape(array)
        row, left, alike, below = self.last.get(sheet.name, (0, 0, None, 0))
        following = _beside(left, shape)
        if alike == (shape, role) and below == sheet.next_row and following - 1 <= ACROSS:
            room = following - left - 1
        else:
            row, left = sheet.next_row, 1
            following = _beside(left, shape)
            room = following - left - 1 if 2 * following <= ACROSS and len(shape) < 3 else ROOM
        self._reserve(sheet, block, shape, role, words, torch, title, row, left, room)
        self.last[sheet.name] = (row, following, (shape, role), sheet.next_row)
        self._fill(block, array, number_format)
        return self.references[block]

    def _sort(self) -> None:
        """Puts the sheets in the order of the data: parameters were set aside first, whatever uses them."""
        paths: dict[str, None] = {}
        for node in (node for graph in self.program.graphs for node in graph.nodes if node.op not in FED):
            owned = (self.owners.get(name.partition("/")[2]) for name in node.uses())
            paths |= dict.fromkeys([*(path for path in owned if path is not None), node.path])
        paths |= dict.fromkeys([*self.owners.values(), *(path for _, path in self.sheets)])
        order = {path: number for number, path in enumerate(paths)}
        place = {sheet.name: (k, 1 + order[path]) for (k, path), sheet in reversed(self.sheets.items())}
        place |= {f"{k} data": (k, 0) for k in range(self.steps)}
        self.book.arrange(lambda sheet: place.get(sheet.name, (-1, 0)))

    # --- the first sheet and the last ------------------------------------------------------------------------------

    def _overview(self) -> None:
        """The loss of every step, its chart, and links to the sheets."""
        front = self.front
        losses = [self.references.get(f"{k}/loss") for k in range(self.steps)]
        top = front.next_row
        if losses[0] is not None:
            table = front.table(top, 1, self.steps)
            steps = np.arange(1, self.steps + 1)
            flat = np.array([each.item() for each in losses if each is not None], dtype=object)
            step = table.column("step", "check", steps, words="counts the steps", number_format=WHOLE)
            loss = table.column("loss", "loss", flat, words="before the step", torch="loss.item()")
            if self.steps > 1:
                title = "The loss at each step"
                front.chart(top, 5, scatter(title, "step", "loss", [Series("loss", step, loss, points=True)]))
            front.next_row = max(front.next_row, top + 20)
        self._links(front, front.next_row)
        front.width(1, 18)

    def _links(self, front: Sheet, row: int) -> None:
        """A row for each step, a link for each module; the data of a step first."""
        front.write(row, 1, "Sheets", style.HEADING)
        front.write(row + 1, 1, "A row for each step, in the order of the data; click to go there.", style.NOTE)
        first = row + 2
        if self.program.shared and "data" in (sheet.name for sheet in self.book.sheets):
            front.link(first, 1, "data", Range("data", 1, 1, 1, 1))
            first += 1
        of = {sheet.name: (k, path) for (k, path), sheet in self.sheets.items()}
        columns: dict[str, int] = {}
        for sheet in self.book.sheets[2:]:
            k, path = of.get(sheet.name, (None, ""))
            if k is None:  # the data, of a step or of all
                if not self.program.shared:
                    front.link(first + int(sheet.name.partition(" ")[0]), 1, sheet.name, Range(sheet.name, 1, 1, 1, 1))
                continue
            column = columns.setdefault(path, 1 + len(columns) + (not self.program.shared))
            front.link(first + k, column, sheet.name, Range(sheet.name, 1, 1, 1, 1))
        for path, column in columns.items():
            front.width(column, max(12, len(self._module(path)) + 5))
        front.next_row = first + self.steps + 2

    def _text(self) -> None:
        """The program, for `sgdsheet verify`."""
        sheet = self.book.sheet(
            PROGRAM,
            "The program that this workbook is checked against",
            "sgdsheet verify reads this: leave it as it is.",
        )
        row = sheet.next_row
        for texts in self.program.rows():
            cells = [piece for text in texts for piece in pieces(text)]
            for column, text in enumerate(cells, start=1):
                sheet.write(row, column, text)
            row += 1


class _Plan:
    """Who uses what in a graph, and what follows for who has cells."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = {node.name: node for node in graph.nodes}
        self._users: dict[str, list[Node]] = {name: [] for name in self.nodes}
        for node in graph.nodes:
            for name in node.uses():
                self._users[name].append(node)
        self._count = Counter({name: len(users) for name, users in self._users.items()})
        self._count.update(graph.outputs.values())
        self._keys: dict[str, str] = {}
        self._inside: set[str] = set()
        for key, name in graph.outputs.items():
            if not key.startswith("buffer/"):
                self._keys.setdefault(name, key)
            self._follow(self.nodes[name], key)

    def key(self, node: Node) -> str | None:
        """The output that the node's block is, if it is one."""
        return self._keys.get(node.name)

    def inside(self, node: Node) -> bool:
        """Whether only an output uses the node, which has cells itself."""
        return node.name in self._inside

    def scattered(self, node: Node, array: Array) -> bool:
        """Whether a sum of products takes the node's elements, but they lie in no ranges to write it with."""
        if not any(isinstance(each, Expr) for each in array.reshape(-1)):
            return False
        for user in self._users[node.name]:
            takes = [isinstance(each, Use) and each.node == node.name for each in user.args]
            if user.op == "convolution.default" and not _in_ranges(array):
                return True
            if user.op in SUMS and not (_in_lines(array, TERMS) or _in_lines(np.swapaxes(array, 0, -1), TERMS)):
                return True
            if user.op in ("mm.default", "bmm.default", "addmm.default"):
                left, right = takes[-2:] if user.op != "addmm.default" else takes[1:3]
                if (left and not _in_lines(array)) or (right and not _in_lines(np.swapaxes(array, -1, -2))):
                    return True
        return False

    def small(self, node: Node) -> bool:
        """Whether the node is computed element by element, and used once, element by element."""
        if node.op not in ops.ELEMENTWISE or self._count[node.name] != 1 or not self._users[node.name]:
            return False
        user = self._users[node.name][0]
        return user.op in ops.ELEMENTWISE and _numel(user) == _numel(node)

    def numeric(self, name: str, array: Any) -> Any:
        """A condition's elements as 1 and 0; all others as they are."""
        return ops.numerics(array) if self.nodes[name].dtype == "bool" and isinstance(array, np.ndarray) else array

    def _follow(self, node: Node, key: str) -> None:
        """Marks what an output is made of by moving elements alone, as long as nothing else uses it."""
        if key.startswith("buffer/") and self._count[node.name] == 1:
            self._inside.add(node.name)
        while node.op in ops.REARRANGED and len(node.uses()) == 1:
            node = self.nodes[node.uses()[0]]
            if self._count[node.name] != 1:
                return
            self._inside.add(node.name)


def _typed(array: Array, whole: bool = False) -> Array:
    """Numbers as cells that the reader may change."""
    typed = np.empty(array.shape, dtype=object)
    typed.reshape(-1)[:] = [Typed(int(each) if whole else float(each)) for each in array.reshape(-1)]
    return typed


def _in_ranges(array: Array) -> bool:
    """Whether each matrix of the last two dimensions fills one range."""
    try:
        for matrix in array.reshape(-1, *array.shape[-2:]):
            span(matrix)
    except ValueError:
        return False
    return True


def _in_lines(array: Array, most: int = PIECES) -> bool:
    """Whether each row is in few ranges."""
    for row in array.reshape(-1, array.shape[-1] if array.ndim else 1):
        found = tensor.pieces(row) if len(row) > most else []
        if found is None or len(found) > most:
            return False
    return True


def _size(value: Any) -> int:
    """How many cells and ranges a formula refers to."""
    if isinstance(value, (Ref, Range)):
        return 1
    return sum(_size(each) for each in _operands(value))


def _operands(value: Any) -> Iterator[Any]:
    if isinstance(value, Binary):
        yield from (value.left, value.right)
    elif isinstance(value, Negative):
        yield value.operand
    elif isinstance(value, Sum):
        yield from value.terms
    elif isinstance(value, Call):
        yield from value.arguments


def _beside(left: int, shape: Any) -> int:
    """The first column right of a block of this shape that begins at `left`."""
    return left + max(GAP, columns_of(shape, WIDE) + 1)


def _torch(node: Node, nodes: Mapping[str, Node]) -> str:
    """The operation's name in torch."""
    return _torch(nodes[node.args[0].node], nodes) if node.op == ITEM else f"aten.{node.op}"


def _format(node: Node) -> str:
    return NUMBER if node.dtype == "float" else WHOLE


def _numel(node: Node) -> int:
    return int(np.prod(node.shape or ()))


def _owners(program: Program) -> dict[str, str]:
    """The module that each parameter and buffer belongs to."""
    names = [
        node.name.partition("/")[2]
        for graph in program.graphs
        for node in graph.nodes
        if node.op in ("param", "buffer")
    ]
    return {name: name.rpartition(".")[0] for name in names}


def _summary(program: Program) -> list[str]:
    graph = program.graphs[0]
    count = sum(_numel(node) for node in graph.nodes if node.op == "param")
    what = [f"A PyTorch model with {count:,} parameters, in cells: each number of its forward pass is a live formula."]
    if "loss" in graph.outputs:
        what.append("So is each gradient of its backward pass, which PyTorch's own autograd has written.")
    if program.optimizer:
        steps = len(program.which)
        what.append(
            f"It makes {steps} step{'s' * (steps > 1)} of {program.optimizer}: the parameters after a step are "
            "formulas too, and the next step begins with them. A block's name begins with the number of steps made "
            "before."
        )
    what.append("On each sheet a heading names the module of the model, and each block says what PyTorch calls it.")
    return what


def _things_to_try(program: Program) -> list[str]:
    things = ["Change a number on 'data' or a parameter on a sheet of step 0, and follow what changes."]
    if program.optimizer:
        things.append("On 'training', change the learning rate: does the loss fall faster, or does it rise?")
    things.append("Click on any number and let your spreadsheet program show where it comes from (trace precedents).")
    return things


def _notes(program: Program) -> list[str]:
    if program.optimizer:
        return [f"Trained by torch.optim.{program.optimizer}. Change a number in a yellow cell, and all steps follow."]
    return ["Every number is computed from the data and the parameters."]
