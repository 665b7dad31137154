"""What a step's blocks are called: by the model's own modules and variables, and by what an operation means there.

A graph comes with torch's names of operations, `where_2` or `sigmoid_5`. A reader knows a forget gate, attention
weights, the gradient of something. What is a gradient, and of what, no table of names has to tell: torch differentiates
the forward pass once more, and a number of the backward pass that agrees with that gradient everywhere is called so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch

from sgdsheet.book.blocks import defined_name
from sgdsheet.reference import float64_by_default
from sgdsheet.torch_frontend import ops
from sgdsheet.torch_frontend.program.graph import CONSTANT, FED, ITEM, LOSS, Graph, Node, Use

NEAR = 1e-9  # how near two gradients must be, beside their size, to be the same one
LONG = 16  # characters of a part's name in the name of a sum or a product; longer ones are not repeated
PRODUCTS = ("mm.default", "bmm.default", "addmm.default")
MOVED = ", rearranged"
SUMMED = ", summed"
WHOLE = set("view _unsafe_view permute transpose t squeeze unsqueeze clone contiguous _to_copy".split())
UNARY = {
    "neg": "minus",
    "rsqrt": "1 / root",
    "sqrt": "root",
    "reciprocal": "1 /",
    "sum": "sum",
    "mean": "mean",
    "amax": "largest",
    "amin": "smallest",
    "var": "variance",
    "max_pool2d_with_indices": "largest",
}
BINARY = {"add": ("+", "sum"), "sub": ("-", "difference"), "mul": ("*", "product"), "div": ("/", "quotient")}
BINARY |= dict.fromkeys(("mm", "bmm"), ("@", "matrix product"))
# Classes of torch whose one result is what a reader calls by the module's own name.
GATED = ("LSTM", "LSTMCell", "GRU", "GRUCell", "RNN", "RNNCell", "MultiheadAttention")


def named(graph: Graph, modules: Mapping[str, str], feeds: Mapping[str, Any], seen: Iterable[str]) -> Graph:
    """The same graph, whose nodes have names that say what they are: `attention/scores`, `0 Linear`, `loss/difference`.

    `modules` holds each module's class by its path, `feeds` a tensor for each node that is fed; `seen` are the nodes
    that have cells, which get the plain names where several mean the same. Names of what is fed stay, and so do the
    keys of the outputs.
    """
    names = _Names(graph, modules, {*seen}).found(feeds)
    nodes = [replace(node, name=names[node.name], args=_renamed(node.args, names)) for node in graph.nodes]
    nodes = [replace(node, kwargs=_renamed(node.kwargs, names)) for node in nodes]
    return Graph(tuple(nodes), {key: names[name] for key, name in graph.outputs.items()})


def label(path: str, modules: Mapping[str, str]) -> str:
    """What a reader calls a module: the last part of its path, with its class where that is only a number."""
    last = path.rpartition(".")[2]
    return f"{last} {modules.get(path, '')}".strip() if last.isdigit() else last


class _Names:
    """Titles for a graph's nodes, by name: found by patterns first, then by modules and variables, then in words."""

    def __init__(self, graph: Graph, modules: Mapping[str, str], seen: set[str]) -> None:
        self._graph, self._modules, self._seen = graph, modules, seen
        self._keys = {name: key for key, name in graph.outputs.items() if key.startswith(("output", LOSS))}
        self._nodes = {node.name: node for node in graph.nodes}
        self._users: dict[str, list[Node]] = {name: [] for name in self._nodes}
        for node in graph.nodes:
            for name in dict.fromkeys(node.uses()):
                self._users[name].append(node)
        self._order = {name: number for number, name in enumerate(self._nodes)}
        self._titles: dict[str, str] = {}
        self._paths: dict[str, str] = {}  # where a gradient belongs: to the module of what it is the gradient of
        self._measures: dict[str, tuple[str, str]] = {}  # of each forward node's gradient
        self._variables = self._clear_variables()

    def found(self, feeds: Mapping[str, Any]) -> dict[str, str]:
        """A new name for each node, each of its own."""
        self._gates()
        self._softmaxes()
        self._losses()
        forward = [node for node in self._graph.nodes if not node.backward and node.op not in FED]
        for node in forward:
            if node.op != CONSTANT and node.name not in self._titles:
                self._titles[node.name] = self._title(node)
        self._gradients(feeds)
        names: dict[str, str] = {}
        kept = (node.name for node in self._graph.nodes if node.op in (*FED, CONSTANT))
        taken = {defined_name(name).lower() for name in (*kept, *self._graph.outputs)}
        order = sorted(self._graph.nodes, key=self._unseen)
        for node in order:
            names[node.name] = node.name
            if node.op not in FED and node.op != CONSTANT:
                names[node.name] = self._unique(node, taken)
        return names

    def _unseen(self, node: Node) -> int:
        """0 for what has cells, 1 for what may have after all, as elements that a product takes."""
        multiplied = any(user.op in PRODUCTS for user in self._users[node.name])
        return 0 if node.name in self._seen else 1 if multiplied else 2

    def _unique(self, node: Node, taken: set[str]) -> str:
        title = self._titles[node.name]
        path = self._paths.get(node.name, node.path)
        own = title == label(path, self._modules)
        above = path.rpartition(".")[0] if own else path
        first = name = f"{above}/{title}".strip("/")
        number = 1
        while defined_name(name).lower() in taken:
            number += 1
            name = f"{first} {number}"
        taken.add(defined_name(name).lower())
        return name

    # --- by patterns -----------------------------------------------------------------------------------------------

    def _gates(self) -> None:
        """An LSTM's gates, candidates and states, whichever order they are in, with their step of time."""
        parents: dict[str, list[Node]] = {}
        for node in self._graph.nodes:
            if not node.backward and node.op in ("sigmoid.default", "tanh.default"):
                source = self._nodes[node.uses()[0]]
                if source.op in (ITEM, "slice.Tensor"):
                    parents.setdefault(source.uses()[0], []).append(node)
        found = {name: each for name, each in parents.items() if len(each) == 4}
        for (name, activated), when in zip(found.items(), self._times(found), strict=True):
            self._gated(name, {node.name: node for node in activated}, when)
        for kinds, give in ((("GRU", "GRUCell"), self._gated_unit), (("RNN", "RNNCell"), self._plain)):
            states = [
                node.name
                for node in self._graph.nodes
                if self._modules.get(node.path) in kinds
                and node.op in ("tanh.default", "relu.default")
                and not node.backward
            ]
            for name, when in zip(states, self._times(states), strict=True):
                give(name, when)

    def _times(self, names: Iterable[str]) -> list[str]:
        """Which layer, direction and step of time each of a recurrent network's nodes is of: ` (layer 2, time 1)`."""
        of: dict[str, str] = {}
        for name in names:
            below = (node for node in self._behind(self._nodes[name]) if node.op == "param")
            of[name] = next((node.name for node in below if ".weight_hh" in node.name), self._nodes[name].path)
        times, now, found = Counter(of.values()), Counter[str](), []
        for weight in of.values():
            now[weight] += 1
            layer = re.search(r"_l(\d+)(_reverse)?$", weight)
            place = [f"layer {int(layer[1]) + 1}"] if layer and int(layer[1]) else []
            place += ["backwards"] if layer and layer[2] else []
            place += [f"time {now[weight]}"] if times[weight] > 1 else []
            found.append(f" ({', '.join(place)})" if place else "")
        return found

    def _gated_unit(self, new: str, when: str) -> None:
        """The names of one step of a GRU around its new gate: h' = (h - new) * update + new."""
        titles, nodes = self._titles, self._nodes
        self._activated(new, f"new gate{when}")
        total = nodes[nodes[new].uses()[0]]
        for name in total.uses():
            reset = next((each for each in nodes[name].uses() if _is(nodes[each], "sigmoid")), None)
            if reset is not None:
                self._activated(reset, f"reset gate{when}")
                (part,) = (each for each in nodes[name].uses() if each != reset)
                self._parts([part], when)
                titles |= {
                    part: f"new gate's part from the hidden state{when}",
                    name: f"let through by the reset gate{when}",
                }
            else:
                self._parts([name], when)
        ahead = [user for user in self._users[new] if not user.backward]
        less = next((user for user in ahead if _is(user, "sub")), None)
        state = next((user for user in ahead if _is(user, "add")), None)
        if less is not None:
            titles[less.name] = f"state before, less the new gate{when}"
        if state is not None:
            titles[state.name] = f"hidden state{when}"
            product = next((nodes[name] for name in state.uses() if name != new), None)
            for name in product.uses() if product is not None else ():
                if _is(nodes[name], "sigmoid"):
                    self._activated(name, f"update gate{when}")

    def _plain(self, state: str, when: str) -> None:
        """The names of one step of a plain recurrent network."""
        self._activated(state, f"hidden state{when}")
        self._parts(self._nodes[self._nodes[state].uses()[0]].uses(), when)

    def _activated(self, name: str, title: str) -> None:
        """The names of a gate, or of a state, and of the sum that its function takes."""
        self._titles |= {self._nodes[name].uses()[0]: f"before {title}", name: title}

    def _parts(self, names: Iterable[str], when: str) -> None:
        """The names of what a recurrent network adds up: a product with the input, and one with the hidden state."""
        for name in names:
            source = self._source(self._nodes[name])
            if source.op in (*PRODUCTS, "add.Tensor"):
                below = next(
                    (node.name for node in self._behind(source) if node.op == "param" and ".weight_" in node.name), ""
                )
                hidden = ".weight_hh" in below
                self._titles[source.name] = f"part from the hidden state{when}" if hidden else "part from the input"

    def _gated(self, parent: str, activated: Mapping[str, Node], when: str) -> None:
        """The names of one step of an LSTM, whose gates are parts of `parent`."""
        titles = self._titles
        candidate = next((node for node in activated.values() if node.op == "tanh.default"), None)
        products = [user for name in activated for user in self._users[name] if _is(user, "mul") and not user.backward]
        taken = next((user for user in products if candidate and candidate.name in user.uses()), None)
        cell = next((user for user in self._users[taken.name] if _is(user, "add")), None) if taken else None
        if candidate is None or taken is None or cell is None:
            return
        kept = next((user for user in products if user.name in cell.uses() and user is not taken), None)
        out = next((user for user in products if user not in (taken, kept)), None)
        titles[candidate.name] = f"candidate{when}"
        titles[taken.name] = f"taken into the cell state{when}"
        titles[cell.name] = f"cell state{when}"
        for node, gate in ((taken, "input"), (kept, "forget"), (out, "output")):
            gates = [name for name in (node.uses() if node else ()) if name in activated and name != candidate.name]
            titles |= dict.fromkeys(gates, f"{gate} gate{when}")
        if kept:
            titles[kept.name] = f"kept of the cell state{when}"
        if out:
            titles[out.name] = f"hidden state{when}"
            titles |= {name: f"tanh of the cell state{when}" for name in out.uses() if name not in activated}
        source = self._nodes[parent]
        if source.op not in (ITEM, "split.Tensor"):
            titles.setdefault(parent, f"gates{when}")
        for whole in source.uses():
            titles[whole] = f"gates{when}"
            for name in self._nodes[whole].uses():
                part = self._nodes[name]
                if part.op in ("addmm.default", "mm.default"):
                    titles[name] = f"part from the hidden state{when}"
                elif part.op == ITEM or part.op in ops.REARRANGED:
                    titles[self._source(part).name] = "part from the input"

    def _softmaxes(self) -> None:
        """The parts of each softmax and log-softmax; around one that weights something, those of attention."""
        titles = self._titles
        for node in self._graph.nodes:
            if node.backward:
                continue
            if node.op == "div.Tensor" and self._sums(node.uses()[-1], node.uses()[0]):
                exps, less = self._nodes[node.uses()[0]], self._nodes[node.uses()[0]].uses()[0]
                self._softmax(less, exps, node.uses()[-1])
                titles[node.name] = "probabilities"
                result = node
                for user in self._users[node.name]:
                    if user.op == "where.self" and not user.backward:
                        titles[node.name], result = "softmax", user
                titles[result.name] = "probabilities"
                self._attention(result, self._nodes[less].uses()[0])
            elif node.op == "sub.Tensor" and len(node.uses()) == 2 and _is(self._nodes[node.uses()[1]], "log"):
                less, logs = node.uses()
                exps = next((user for user in self._users[less] if _is(user, "exp") and not user.backward), None)
                if exps is not None and self._sums(self._nodes[logs].uses()[0], exps.name):
                    self._softmax(less, exps, self._nodes[logs].uses()[0])
                    titles[logs] = "log of that sum"
                    titles[node.name] = "log-probabilities"
                    for user in self._users[node.name]:
                        titles |= {user.name: "probabilities"} if _is(user, "exp") else {}
                        titles |= {user.name: "log-probability of the right class"} if _is(user, "gather") else {}

    def _softmax(self, less: str, exps: Node, total: str) -> None:
        self._titles |= {less: "less the largest", exps.name: "exponentials", total: "sum of exponentials"}
        for name in self._nodes[less].uses()[1:]:
            self._titles[name] = "largest"

    def _sums(self, total: str, part: str) -> bool:
        """Whether one node is the sum of another, which is an exponential."""
        node = self._nodes[total]
        return _is(node, "sum") and part in node.uses() and _is(self._nodes[part], "exp")

    def _attention(self, weights: Node, scores: str) -> None:
        """Names around a softmax whose result weights what is looked at."""
        products = [node for node in self._ahead(weights) if node.op in ("bmm.default", "mm.default")]
        mixed = next((node for node in products if self._whole(node.uses()[0]) == weights.name), None)
        if mixed is None:
            return
        titles = self._titles
        titles[weights.name], titles[mixed.name] = "attention weights", "mixed values"
        node = self._nodes[self._whole(scores)]
        while node.op not in ("bmm.default", "mm.default"):
            kind = node.op.partition(".")[0]
            if not node.uses() or kind not in ("add", "mul", "div", "where", "masked_fill"):
                return
            titles[node.name] = "scaled scores" if kind in ("mul", "div") else "masked scores"
            parts = [self._nodes[self._whole(name)] for name in node.uses()]
            node = next((part for part in parts if part.op not in (*FED, CONSTANT) and part.dtype == "float"), node)
            if node.name in titles:
                return
        titles[node.name] = "scores"
        sources = []
        for name, what in zip((*node.uses(), mixed.uses()[1]), ("query", "key", "value"), strict=True):
            part = self._nodes[self._whole(name)]
            if _is(part, "mul") and len(part.uses()) == 1:
                titles[part.name] = f"scaled {what}"
            linear = next((each for each in self._before(part) if each.op in ("addmm.default", "mm.default")), None)
            sources.append((linear, what))
            moved = (each for each in self._before(part) if each.op == ITEM or each.op in ops.REARRANGED)
            titles |= {each.name: what for each in moved if each.name not in titles}
        linears = {linear.name: linear for linear, _ in sources if linear is not None}
        if len(linears) == 1 and all(linear for linear, _ in sources):
            (one,) = linears
            if self._modules.get(self._nodes[one].path) in GATED:
                titles[one] = "query, key, value"
        else:
            for linear, what in sources:
                if linear is not None and self._modules.get(linear.path) in GATED:
                    titles[linear.name] = what

    def _losses(self) -> None:
        """The parts of a squared error, and of a cross-entropy, which leaves out examples whose class is -100."""
        titles = self._titles
        for node in self._graph.nodes:
            if node.path != LOSS:
                continue
            if node.op == "pow.Tensor_Scalar" and _is(self._nodes[node.uses()[0]], "sub") and not node.backward:
                titles |= {node.uses()[0]: "difference", node.name: "squared difference"}
            elif node.op == "ne.Scalar" and node.args[1] == -100:
                titles[node.name] = "counted"
                for user in self._users[node.name]:
                    if user.op == "where.self" and not (user.backward and user.dtype == "float"):
                        titles[user.name] = "right class" if user.dtype == "int" else "loss of each example"
                        if not user.backward:
                            sums = (each for each in self._users[user.name] if _is(each, "sum"))
                            titles |= {each.name: "sum of the losses" for each in sums}
                    elif _is(user, "sum"):
                        titles[user.name] = "how many are counted"
            elif node.op == "scatter.value" and node.backward:
                titles[node.name] = f"{node.args[3]:g} at the right class"

    # --- by modules, variables and words ---------------------------------------------------------------------------

    def _clear_variables(self) -> dict[str, str]:
        """The user's variable of each node, where it means one thing; numbered in a loop."""
        bound: dict[tuple[str, str], list[Node]] = {}
        for node in self._graph.nodes:
            if node.variable and not node.backward:
                bound.setdefault((node.path, node.variable), []).append(node)
        found = {}
        for (_, variable), nodes in bound.items():
            lines = {node.line for node in nodes}
            if len(nodes) == 1:
                found[nodes[0].name] = variable
            elif len(lines) == 1:
                found |= {node.name: f"{variable} ({number})" for number, node in enumerate(nodes, start=1)}
        for name, variable in [*found.items()]:  # what is turned or cut afterwards was the variable's already
            found.setdefault(self._whole(name), variable)
        return found

    def _title(self, node: Node) -> str:
        kind, module = node.op.partition(".")[0].strip("_"), self._modules.get(node.path, "")
        leaf = node.path and node.path != LOSS and not any(path.startswith(f"{node.path}.") for path in self._modules)
        if (leaf and module not in GATED) or module == "MultiheadAttention":
            outside = all(user.path != node.path or user.backward for user in self._beyond(node))
            if outside and node.op not in ops.REARRANGED:
                return label(node.path, self._modules)
        variable = self._variables.get(node.name)
        if variable:
            return variable
        if node.op == ITEM or node.op in ops.REARRANGED:
            return f"{self._called(node.uses()[0])}{MOVED}" if node.uses() else kind.replace("_", " ")
        uses = [self._called(each.node) if isinstance(each, Use) else each for each in node.args]
        if kind == "addmm":
            kind, uses = "mm", uses[1:]
        if kind == "pow" and uses[1] == 2:
            return f"square of {uses[0]}"
        if kind == "to_copy" and isinstance(uses[0], str):  # as a number of another kind
            return uses[0]
        if kind == "where":
            return f"masked {next((each for each in uses[1:] if not _is_number(each)), uses[1])}"
        if kind in BINARY and len(uses) >= 2:
            sign, word = BINARY[kind]
            said = [f"{each:g}" if isinstance(each, (int, float)) else str(each) for each in uses[:2]]
            short = all(len(each) <= LONG and not re.search(r" [-+*/@] ", each) for each in said)
            return f"{said[0]} {sign} {said[1]}" if short else word
        word = UNARY.get(kind, kind.replace("_", " "))
        operand = next((each for each in uses if isinstance(each, str)), "")
        if not operand or len(operand) > 2 * LONG:
            return word
        return f"{word} of {operand}" if word != "1 /" else f"1 / {operand}"

    def _called(self, name: str) -> str:
        """What a node is called within the name of another."""
        node = self._nodes[self._whole(name)]
        if node.name in self._keys:
            return self._keys[node.name]
        if node.op == "random":
            return "mask"
        if node.op in FED:
            kind, _, rest = node.name.partition("/")
            return rest.rpartition(".")[2] if kind in ("param", "buffer") else kind
        if node.op == CONSTANT:
            numbers = node.args[0]
            return "constant" if isinstance(numbers, list) else f"{numbers:g}"
        return self._titles.get(node.name) or self._variables.get(node.name) or node.op.partition(".")[0]

    # --- gradients -------------------------------------------------------------------------------------------------

    def _gradients(self, feeds: Mapping[str, Any]) -> None:
        """The names of the backward pass: what each number is the gradient of, or what gradient it leads to."""
        backward = [node for node in self._graph.nodes if node.backward and node.op not in (*FED, CONSTANT)]
        of = self._differentiated(feeds, backward)
        for node in backward:
            if node.name in of and node.name not in self._titles:
                self._titles[node.name], self._paths[node.name] = self._gradient_of(of[node.name])
        for node in reversed(backward):
            if node.name not in self._titles:
                ahead = next((user for user in self._users[node.name] if user.name in self._titles), None)
                said = self._titles[ahead.name] if ahead else "gradient"
                if ahead is None and node.name in self._graph.outputs.values():
                    said = "gradient"
                self._titles[node.name] = self._part(said, node)
                if ahead is not None:
                    self._paths[node.name] = self._paths.get(ahead.name, ahead.path)

    def _part(self, said: str, node: Node) -> str:
        """The name of what is part of a gradient called `said`: of which step of time, or by way of what."""
        said = said.removeprefix("part of ").removesuffix(SUMMED)
        uses = [self._titles.get(name, "") for name in self._source(node).uses()]
        times = {_time(title) for title in uses}
        (time,) = times if len(times) == 1 else ("",)
        of_parameter = re.fullmatch(r"gradient of (\S+)", said)
        if of_parameter and time:
            return f"{said} from {time[2:-1]}"
        from_one = re.fullmatch(r"gradient of (\S+)", uses[0]) if len(uses) == 1 else None
        if of_parameter and from_one and from_one[1] in ("query", "key", "value"):
            return f"{said} from the {from_one[1]}"
        if " from " in said:
            return said
        summed = SUMMED if _is(node, "sum") else ""
        return f"part of {said}{summed}" if not time or said.endswith(time) else f"part of {said}{time}"

    def _gradient_of(self, name: str) -> tuple[str, str]:
        """The title of the gradient of a node, and the module that it belongs to."""
        node = self._nodes[name]
        whole = self._nodes[self._whole(name)]
        if whole.op in ("param", "buffer"):
            return f"gradient of {whole.name.rpartition('.')[2].rpartition('/')[2]}", whole.owner
        if not self._titles.get(name, MOVED).endswith(MOVED):
            called = self._called_there(name)
            return f"gradient {'' if called.startswith('before ') else 'of '}{called}", node.path
        if whole.name != name and self._measures.get(name) != self._measures.get(whole.name):
            through = label(node.path, self._modules)
            return f"gradient of {self._called(whole.name)}{f', through {through}' if through else ''}", whole.path
        users = [user for user in self._users[name] if not user.backward and user.op not in ops.REARRANGED]
        if whole.op == ITEM or whole.op in ops.REARRANGED:
            if len(users) == 1 and users[0].name in self._titles and len(users[0].uses()) == 1:
                return f"gradient before {self._titles[users[0].name]}", users[0].path
            source = self._source(whole)
            takes = {re.sub(r" \d+$", "", self._titles.get(user.name, "")) for user in self._beyond(node)}
            if len(takes) == 1 and takes <= {"query", "key", "value"}:
                return (
                    f"gradient of {self._called(source.name)} from the {takes.pop()}",
                    source.owner or source.path,
                )
            return f"gradient of part of {self._called(source.name)}", source.path
        return f"gradient of {self._called(whole.name)}", whole.path

    def _called_there(self, name: str) -> str:
        return self._keys.get(name) or self._titles[name]

    def _differentiated(self, feeds: Mapping[str, Any], backward: Iterable[Node]) -> dict[str, str]:
        """The forward node that each backward node is the gradient of, if it is one, found from their numbers."""
        if LOSS not in self._graph.outputs:
            return {}
        values: dict[str, Any] = {}
        followed: dict[str, Any] = {}
        with float64_by_default(), torch.enable_grad():
            for node in self._graph.nodes:
                value = feeds[node.name] if node.op in FED else node.compute(values)
                if node.op == "param":
                    value = value.clone().requires_grad_()
                values[node.name] = value
                if isinstance(value, torch.Tensor) and value.requires_grad and not node.backward:
                    followed[node.name] = value
            loss = values[self._graph.outputs[LOSS]].reshape(())
            if not loss.requires_grad:
                return {}
            grads = torch.autograd.grad(loss, [*followed.values()], allow_unused=True)
        known: dict[int, list[tuple[float, float, str]]] = {}
        for name, grad in zip(followed, grads, strict=True):
            if grad is not None:
                total, size = _measured(grad)
                self._measures[name] = (f"{total:.6g}", f"{size:.6g}")
                known.setdefault(grad.numel(), []).append((total, size, name))
        found = {}
        for node in backward:
            value = values[node.name]
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                total, size = _measured(value)
                near = NEAR * max(size, 1e-300)
                same = [
                    name
                    for other, norm, name in known.get(value.numel(), ())
                    if size and abs(other - total) <= near * value.numel() ** 0.5 and abs(norm - size) <= near
                ]
                if same:
                    found[node.name] = max(same, key=self._tells)
        return found

    def _tells(self, name: str) -> tuple[bool, bool, bool, int]:
        """How much it says that a gradient is of this node, where several have the same: one with cells, and late."""
        node = self._nodes[name]
        seen, moved = name in self._seen, node.op in ops.REARRANGED or node.op == ITEM
        return seen, not moved, node.path != LOSS, self._order[name]

    # --- through the graph -----------------------------------------------------------------------------------------

    def _whole(self, name: str) -> str:
        """What a node's elements were before they were turned or given another shape."""
        node = self._nodes[name]
        while node.op.partition(".")[0] in WHOLE or (node.op == "expand.default" and self._same_size(node)):
            node = self._nodes[node.uses()[0]]
        return node.name

    def _same_size(self, node: Node) -> bool:
        return self._nodes[node.uses()[0]].numel() == node.numel()

    def _source(self, node: Node) -> Node:
        """What was computed last before elements were moved or chosen."""
        while (node.op == ITEM or node.op in ops.REARRANGED) and node.uses():
            node = self._nodes[node.uses()[0]]
        return node

    def _ahead(self, node: Node) -> list[Node]:
        """What is computed from a node next, through what only moves elements, and dropout."""
        found, waiting = [], [*self._users[node.name]]
        while waiting:
            user = waiting.pop()
            if not user.backward:
                found.append(user)
                waiting += self._users[user.name] if user.op in ops.REARRANGED or user.op == ITEM else []
        return found

    def _beyond(self, node: Node) -> list[Node]:
        """What takes a node's numbers: operations that compute, not those that only move elements."""
        return [user for user in self._ahead(node) if user.op not in ops.REARRANGED and user.op != ITEM]

    def _before(self, node: Node) -> list[Node]:
        """A node and what it was moved from or scaled from, nearest first."""
        found = [node]
        while (node.op in ops.REARRANGED or node.op == ITEM or _is(node, "mul")) and node.uses():
            node = self._nodes[node.uses()[0]]
            found.append(node)
        return found

    def _behind(self, node: Node) -> list[Node]:
        """What a node is computed from, up to the parameters, nearest first."""
        found, waiting, seen = [], [node.name], set[str]()
        while waiting:
            name = waiting.pop(0)
            if name not in seen:
                seen.add(name)
                found.append(self._nodes[name])
                waiting += self._nodes[name].uses()
        return found


def _measured(value: torch.Tensor) -> tuple[float, float]:
    """What tells tensors apart in whatever order their elements are: their sum, and their length."""
    flat = value.detach().reshape(-1)
    return float(flat.sum()), float(flat.norm())


def _time(title: str) -> str:
    found = re.search(r" \((.*, )?time \d+\)$", title)
    return found[0] if found else ""


def _is_number(text: Any) -> bool:
    return not isinstance(text, str) or text == "constant" or bool(re.fullmatch(r"-?[\d.e+-]+|-?inf", text))


def _is(node: Node, kind: str) -> bool:
    return node.op.partition(".")[0] == kind


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Use):
        return Use(names[value.node])
    if isinstance(value, (list, tuple)):
        return type(value)(_renamed(each, names) for each in value)
    if isinstance(value, Mapping):
        return {key: _renamed(each, names) for key, each in value.items()}
    return value
