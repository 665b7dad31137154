"""A training as plain data, which torch can run again: the graph of each step, the optimiser, and its settings.

A compiled workbook carries its program as text on its last sheet, so that whoever gets it can verify it without the
model's Python file. Reading it back runs nothing that the file says: operations and optimisers are looked up by name
among those that sgdsheet knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from sgdsheet.book import Input
from sgdsheet.errors import Error
from sgdsheet.hyperparameters import TUPLES, arguments
from sgdsheet.optim import OPTIMIZERS
from sgdsheet.torch_frontend.program.graph import UNREADABLE, Draw, Graph, Node

NUMBERS, CLASSES = "numbers", "classes"  # what a model answers
MADE, BATCHES = "steps_made", "batches"  # the blocks that a step has which `sgdsheet train` repeats
EXAMPLES = 60  # whose answers are shown, at most

# The nodes of each graph that have cells of their own, beside those that are fed and the graph's outputs.
Placed = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Group:
    """Parameters that share their hyperparameters.

    `fixed` ones decide which formulas there are: flags, and numbers that are 0. `cells` stand in the workbook, by the
    names that they have there, a tuple's parts one by one: a number, or a number for each step where a schedule
    changes it.
    """

    params: tuple[str, ...]
    fixed: Mapping[str, Any]
    cells: Mapping[str, float | list[float]]

    def hyperparameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the optimiser takes, from the cells' values at one step."""
        given = dict(self.fixed) | {name: values[name] for name in self.cells}
        for name, parts in TUPLES.items():  # a tuple may be fixed in part
            given |= {part: given[part] for part in parts if part in given and name not in given}
        return arguments(given)

    def begins(self, optimizer: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the state of each parameter begins with, by torch's names, from the cells' values at the first step.

        A cell has its state even while it holds 0.
        """
        cells = {name: np.array(values[name], dtype=object) for name in self.cells}
        found = OPTIMIZERS[optimizer].init(**self.hyperparameters(cells))
        return {name: start.item() if isinstance(start, np.ndarray) else start for name, start in found.items()}


@dataclass(frozen=True)
class Program:
    """`which[k]` is the graph of step k. `groups` are the optimiser's, none without one.

    With `shared` every step has the same batch. `begun` counts the steps that the optimiser had made before, and
    `resumed` tells whether its state is typed into cells. `modules` holds each module's class by its path. With
    `together` a step is one sheet, which has copies of what it begins with. `examples` counts the rows of the sheet
    `batches`, with which `sgdsheet train` repeats the step: how many steps were made before is then a cell too.
    """

    graphs: tuple[Graph, ...]
    which: tuple[int, ...]
    shared: bool
    optimizer: str | None = None
    groups: tuple[Group, ...] = ()
    begun: int = 0
    resumed: bool = False
    modules: Mapping[str, str] = field(default_factory=dict)
    together: bool = False
    examples: int = 0

    # --- names -----------------------------------------------------------------------------------------------------

    def fed(self, k: int, node: str) -> str:
        """The block that holds a parameter, a buffer, an input, a target or a mask before step k."""
        kind, _, rest = node.partition("/")
        if kind in ("input", "target") and rest.isdigit():
            several = sum(each.op == kind for each in self.graphs[self.which[k]].nodes) > 1
            name = f"{kind}/{rest}" if several else kind
            return name if self.shared else f"{k}/{name}"
        return f"{k}/{node}"

    def cell(self, group: int, name: str) -> str:
        """The block that holds a hyperparameter of a group."""
        return f"{name}/{group}" if len(self.groups) > 1 else name

    def inputs(self) -> tuple[Input, ...]:
        """The hyperparameters that are one cell each, as what a reader may type."""
        found = []
        for number, group in enumerate(self.groups):
            for name, value in group.cells.items():
                if not isinstance(value, list):
                    meaning, limits = OPTIMIZERS[self.optimizer or ""].meaning(name)
                    if any(not _within(value, limit, bound) for limit, bound in limits.items()):
                        limits = {}
                    if len(self.groups) > 1:
                        meaning = f"{meaning} of group {number}"
                    found.append(Input(self.cell(number, name), value, meaning, **limits))
        if self.examples:
            found.append(Input(MADE, self.begun, "steps made before this one; sgdsheet train counts", 0, whole=True))
        return tuple(found)

    def batch(self, k: int) -> list[Node]:
        """What a batch fills at step k: the model's inputs, then the targets."""
        return [node for node in self.graphs[self.which[k]].nodes if node.op in ("input", "target")]

    def rows_of_batch(self, k: int) -> int:
        """How many examples a batch has, each of which is a row of the sheet `batches`: 1 if that cannot be told."""
        firsts = {(node.shape or (1,))[0] for node in self.batch(k)}
        return firsts.pop() if len(firsts) == 1 and all(node.shape for node in self.batch(k)) else 1

    def shape(self, block: str) -> tuple[int, ...]:
        """The shape of an input, a target or an output of the first step."""
        graph = self.graphs[self.which[0]]
        found = {self.fed(0, node.name): node.shape for node in graph.nodes if node.op in ("input", "target")}
        shapes = {node.name: node.shape for node in graph.nodes}
        found |= {key: shapes[name] for key, name in graph.outputs.items()}
        return found.get(block) or ()

    def answers(self) -> str | None:
        """What the model answers to each example that all steps share: a number, or the class with the largest output.

        None where it answers neither, or there is no training.
        """
        output, target = self.shape("output"), self.shape("target")
        if (
            not self.together
            or not self.shared
            or not self.optimizer
            or not output
            or not target
            or target[0] > EXAMPLES
        ):
            return None
        kinds = {node.dtype for node in self.graphs[self.which[0]].nodes if node.op == "target"}
        if kinds == {"int"} and len(output) == 2 and target == output[:1]:
            return CLASSES
        return NUMBERS if kinds == {"float"} and output == target and output[1:] in ((), (1,)) else None

    def states(self, cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """What each parameter's optimiser state begins with, by parameter and torch's name for the state.

        `cells` holds each group's hyperparameters at the first step: numbers, or references to their cells.
        """
        found: dict[str, dict[str, Any]] = {}
        for group, values in zip(self.groups, cells, strict=True):
            for param in group.params:
                found[param] = group.begins(self.optimizer or "", values)
        return found

    def first_cells(self) -> list[dict[str, float]]:
        """Each group's hyperparameters that have cells, as they are at the first step."""
        return [
            {name: value[0] if isinstance(value, list) else value for name, value in group.cells.items()}
            for group in self.groups
        ]

    def dims(self) -> dict[str, int]:
        """The blocks of numbers that the reader may change, with their numbers of dimensions."""
        found = {}
        for k, number in enumerate(self.which):
            for node in self.graphs[number].nodes:
                if node.op in ("input", "target", "random") or (node.op in ("param", "buffer") and not k):
                    found[self.fed(k, node.name)] = len(node.shape or ())
        for number, group in enumerate(self.groups):
            found |= {self.cell(number, name): 1 for name, value in group.cells.items() if isinstance(value, list)}
        if self.examples:
            found[BATCHES] = 2
        if self.resumed:
            graph = self.graphs[self.which[0]]
            shapes = {node.name.partition("/")[2]: node.shape or () for node in graph.nodes if node.op == "param"}
            scalars = OPTIMIZERS[self.optimizer or ""].scalars
            for name, states in self.states(self.first_cells()).items():
                found |= {f"0/state/{name}/{each}": 0 if each in scalars else len(shapes[name]) for each in states}
        return found

    def learned(self) -> list[str]:
        """The parameters that the optimiser changes, in its order."""
        return [param for group in self.groups for param in group.params]

    def changing(self) -> list[str]:
        """What a step changes: `param/…` for what the optimiser learns, `buffer/…` for what training keeps count of."""
        keys = (key for graph in self.graphs for key in graph.outputs if key.startswith("buffer/"))
        return [*(f"param/{name}" for name in self.learned()), *dict.fromkeys(keys)]

    # --- as text ---------------------------------------------------------------------------------------------------

    def rows(self, placed: Placed) -> list[list[str]]:
        """The program and what of it has cells as text, a row each; `from_rows` reads both back."""
        head = {
            "which": self.which,
            "shared": self.shared,
            "optimizer": self.optimizer,
            "groups": [asdict(group) for group in self.groups],
            "begun": self.begun,
            "resumed": self.resumed,
            "modules": dict(self.modules),
            "together": self.together,
            "examples": self.examples,
        }
        rows = [["program", json.dumps(head)]]
        for number, (graph, names) in enumerate(zip(self.graphs, placed, strict=True)):
            rows.append(["graph", str(number), json.dumps(names)])
            rows += graph.rows()
        return rows

    @staticmethod
    def from_rows(rows: Iterable[Sequence[str]], where: str) -> tuple[Program, Placed]:
        """The program whose `rows` these are, among others before them, and what of it has cells.

        Raises `Error`, naming `where` and the line, for text that is none, and for a program that torch could not run.
        """
        lines = [_trimmed(row) for row in rows]
        begin = next((number for number, line in enumerate(lines) if line[:1] == ["program"]), len(lines))
        starts = [n for n, line in enumerate(lines) if n > begin and line[:1] == ["graph"] and len(line) == 3]
        try:
            head = json.loads(lines[begin][1])
            program = Program(
                tuple(
                    Graph.from_rows(lines[start + 1 : end], where, start + 2)
                    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
                ),
                tuple(head["which"]),
                bool(head["shared"]),
                head["optimizer"],
                tuple(
                    Group(tuple(each["params"]), dict(each["fixed"]), dict(each["cells"])) for each in head["groups"]
                ),
                int(head["begun"]),
                bool(head["resumed"]),
                {str(path): str(name) for path, name in dict(head["modules"]).items()},
                bool(head.get("together")),
                int(head.get("examples", 0)),
            )
            placed = [tuple(json.loads(lines[start][2])) for start in starts]
            problem = _problem(program, placed)
        except Error:
            raise
        except UNREADABLE:
            raise Error(f"{where}: was edited and cannot be read; make the workbook anew") from None
        if problem:
            raise Error(f"{where}: {problem}; make the workbook anew")
        for graph, start in zip(program.graphs, starts, strict=True):
            graph.check(where, start + 2)
        return program, placed

    # --- in torch --------------------------------------------------------------------------------------------------

    def run(
        self,
        values: Mapping[str, Any],
        draw: Draw | None = None,
        watch: Callable[[int, Node, Any], None] | None = None,
        placed: Placed = (),
    ) -> dict[str, np.ndarray]:
        """Every block, computed by torch in float64 from what stands in the cells that hold no formula.

        `values` holds those by block name; a mask that is not among them is drawn by `draw`, and comes back among the
        blocks. `watch` is called with the step, each node and its value, in order. Of what is computed on the way,
        blocks are what `placed` says. Raises `Error` where torch refuses.
        """
        import torch

        found: dict[str, Any] = {}
        for name, value in values.items():
            found[name] = value
        first = self.graphs[self.which[0]]
        tensors = {
            node.name: _tensor(values, f"0/{node.name}", node) for node in first.nodes if node.op in ("param", "buffer")
        }
        names = self.learned()
        leaves = {name: torch.nn.Parameter(tensors[f"param/{name}"].clone()) for name in names}
        optimizer = self._optimizer(leaves, values)
        losses = []
        for k, number in enumerate(self.which):
            graph = self.graphs[number]
            if k:
                found |= {f"{k}/{name}": tensors[name] for name in self.changing()}
                if self.together:
                    found |= {f"{k}/start/{name.partition('/')[2]}": each for name, each in tensors.items()}
            if self.together and self.shared:
                given = (node.name for node in graph.nodes if node.op in ("input", "target"))
                found |= {f"{k}/{self.fed(k, name)}": values[self.fed(k, name)] for name in given}
            if optimizer is not None and (k or self.resumed or not self.together):
                found |= self._states(k, leaves, optimizer, values)
            feeds = dict(tensors)
            for node in graph.nodes:
                if node.op in ("input", "target") or (node.op == "random" and self.fed(k, node.name) in values):
                    feeds[node.name] = _tensor(values, self.fed(k, node.name), node)
            computed = graph.run(feeds, draw, None if watch is None else partial(watch, k))
            found |= {f"{k}/{node.name}": computed[node.name] for node in graph.nodes if node.op == "random"}
            found |= {f"{k}/{name}": computed[name] for name in (placed[number] if placed else ())}
            found |= {
                f"{k}/{key}": computed[name] for key, name in graph.outputs.items() if not key.startswith("buffer/")
            }
            if "loss" in graph.outputs:
                losses.append(computed[graph.outputs["loss"]])
            for key, name in graph.outputs.items():
                if key.startswith("buffer/"):
                    tensors[key] = computed[name]
            if optimizer is not None:
                self._set(optimizer, k, values)
                for name, leaf in leaves.items():
                    grad = graph.outputs.get(f"grad/{name}")
                    leaf.grad = None if grad is None else computed[grad].reshape(leaf.shape).clone()
                try:
                    optimizer.step(*([lambda: losses[-1]] if self.optimizer == "Eve" else []))
                except (ArithmeticError, LookupError) as error:  # Eve divides by the loss; RMSprop may lack a buffer
                    raise Error(f"step {k + 1} of {self.optimizer} cannot be computed: {error}") from None
                tensors |= {f"param/{name}": leaf.detach().clone() for name, leaf in leaves.items()}
        last = len(self.which)
        if optimizer is not None:
            found |= self._states(last, leaves, optimizer, values)
        found |= {f"{last}/{name}": tensors[name] for name in self.changing()}
        if losses:
            found["loss"] = torch.stack([each.reshape(()) for each in losses])
            found["step"] = np.arange(1, last + 1)
        answers = self.answers()
        for name, k in (("before", 0), ("after", last - 1)) if answers else ():
            found[name] = found[f"{k}/output"].argmax(1) if answers == CLASSES else found[f"{k}/output"]
        if answers == CLASSES:
            found["right"] = (found["after"] == torch.as_tensor(values[self.fed(0, "target/0")])).sum()
        if answers == NUMBERS:
            found["example"] = np.arange(1, len(found["before"]) + 1)
        return {name: _numpy(value) for name, value in found.items()}

    def _optimizer(self, leaves: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        import torch

        if self.optimizer is None:
            return None
        from sgdsheet.eve import Eve

        kind: Any = Eve if self.optimizer == "Eve" else getattr(torch.optim, self.optimizer)
        optimizer = kind([{"params": [leaves[name] for name in group.params]} for group in self.groups])
        self._set(optimizer, 0, values)  # not given before, for a schedule may go where no optimiser begins
        for name, states in self._starts(values).items():
            for state, start in states.items():
                if leaves[name] in optimizer.state:  # Adagrad's, which do not begin with what the group says
                    optimizer.state[leaves[name]][state].fill_(start)
        if self.resumed:
            begun = values[MADE] if self.examples else self.begun
            for name, states in self._starts(values).items():
                held = {each: torch.tensor(values[f"0/state/{name}/{each}"], dtype=torch.float64) for each in states}
                if not begun and self.optimizer == "SGD" and not any(each.any() for each in held.values()):
                    held = {}  # the buffer begins with the first gradient
                optimizer.state[leaves[name]] = held | {"step": torch.tensor(float(begun), dtype=torch.float64)}
        return optimizer

    def _starts(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return self.states([self._cells(number, 0, values) for number in range(len(self.groups))])

    def _cells(self, number: int, k: int, values: Mapping[str, Any]) -> dict[str, float]:
        """The values of a group's cells at step k."""
        cells = {}
        for name in self.groups[number].cells:
            value = np.asarray(values[self.cell(number, name)], dtype=float)
            if value.ndim and len(value) != len(self.which):
                raise Error(f"{self.cell(number, name)!r} has {len(value)} numbers for {len(self.which)} steps")
            cells[name] = float(value[k] if value.ndim else value)
        return cells

    def _set(self, optimizer: Any, k: int, values: Mapping[str, Any]) -> None:
        """Gives the optimiser the hyperparameters of step k."""
        for number, (group, ours) in enumerate(zip(optimizer.param_groups, self.groups, strict=True)):
            group.update(ours.hyperparameters(self._cells(number, k, values)))

    def _states(self, k: int, leaves: Mapping[str, Any], optimizer: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        found = {}
        for name, states in self._starts(values).items():
            held = optimizer.state.get(leaves[name], {})
            for state, start in states.items():
                block = f"{k}/state/{name}/{state}"
                now = held.get(state)
                if now is None:
                    scalar = state in OPTIMIZERS[self.optimizer or ""].scalars
                    now = np.full(() if scalar else tuple(leaves[name].shape), float(start))
                found[block] = values.get(block, now.clone() if isinstance(now, torch.Tensor) else now)
        return found


def examples(tensors: Iterable[Any], rows: int) -> np.ndarray:
    """A batch as rows of numbers, one for each of so many examples: its inputs' and then its targets'."""
    return np.concatenate([np.reshape(np.asarray(each), (rows, -1)) for each in tensors], axis=1).astype(float)


def _within(value: float, limit: str, bound: float) -> bool:
    return {"minimum": value >= bound, "above": value > bound, "maximum": value <= bound, "below": value < bound}[limit]


def _trimmed(row: Sequence[str]) -> list[str]:
    """A row without the empty cells that a spreadsheet program may have added at its end."""
    line = list(row)
    while line and not line[-1]:
        line.pop()
    return line


def _problem(program: Program, placed: Placed) -> str | None:
    """What makes a program one that cannot be run, if anything does; each graph is checked by itself."""
    if not program.which or not all(type(each) is int and 0 <= each < len(program.graphs) for each in program.which):
        return "names a step's graph that is not there"
    if program.optimizer is not None and program.optimizer not in OPTIMIZERS:
        return f"names the optimiser {program.optimizer!r:.40}, which sgdsheet does not know"
    if program.examples and not (program.resumed and len(program.which) == 1 and program.shared):
        return "has a step to repeat, but no state or batch for it"
    if (program.optimizer is None) != (not program.groups):
        return "has an optimiser without parameters, or parameters without an optimiser"
    shapes = [{n.name: n.shape for n in graph.nodes if n.op in ("param", "buffer")} for graph in program.graphs]
    if any(each != shapes[0] for each in shapes):
        return "has steps with different parameters"
    learned = program.learned()
    if len({*learned}) != len(learned) or not all(f"param/{name}" in shapes[0] for name in learned):
        return "has an optimiser with parameters that the model does not have"
    for graph, names in zip(program.graphs, placed, strict=True):
        nodes = {node.name: node for node in graph.nodes}
        if not all(name in nodes and nodes[name].shape is not None for name in (*names, *graph.outputs.values())):
            return "names a block that no line computes"
        for key, name in graph.outputs.items():
            kind, _, rest = key.partition("/")
            held = {"grad": f"param/{rest}", "buffer": key}.get(kind)
            if kind not in ("loss", "output", "grad", "buffer") or (held and shapes[0].get(held) != nodes[name].shape):
                return f"has an output {key!r:.60} that does not fit"
            if key == "loss" and nodes[name].numel() != 1:
                return "has a loss of several numbers"
        if program.optimizer is not None and "loss" not in graph.outputs:
            return "has an optimiser without a loss"
    for group in program.groups:
        first = {}
        for name, value in group.cells.items():
            if isinstance(value, list) and len(value) != len(program.which):
                return f"has not as many values of {name!r:.40} as steps"
            first[name] = float(value[0] if isinstance(value, list) else value)
            if name not in OPTIMIZERS[program.optimizer or ""].cells():
                return f"has no hyperparameter {name!r:.40}"
        OPTIMIZERS[program.optimizer or ""].init(**group.hyperparameters(first))
    return None


def _tensor(values: Mapping[str, Any], block: str, node: Node) -> Any:
    import torch

    array = np.asarray(values[block])
    if node.dtype != "float" and not np.array_equal(array, np.trunc(array)):
        raise Error(f"{block!r} takes whole numbers, got {array[array != np.trunc(array)][0]:g}")
    dtype = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}[node.dtype]
    return torch.as_tensor(array).to(dtype).reshape(node.shape or ())


def _numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    return np.asarray(value, dtype=np.float64)
