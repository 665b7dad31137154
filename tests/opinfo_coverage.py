"""Counts which of torch's operations compile to cells that agree, against torch's own catalogue of operations.

    python tests/opinfo_coverage.py                   # all of them, a few minutes; writes tests/opinfo_coverage.md
    python tests/opinfo_coverage.py --only sin --only nn.functional.conv2d

Each entry of torch's `op_db` brings samples of its arguments. A few of them are compiled, IronCalc calculates the
workbook, and the outputs and gradients in its cells are compared with torch itself, called plainly.
"""

from __future__ import annotations

import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.utils import _pytree as pytree

from sgdsheet.book import save
from sgdsheet.engines import engine
from sgdsheet.errors import Error
from sgdsheet.torch_frontend.compiled import compile

REPORT = Path(__file__).with_suffix(".md")
SAMPLES, LOOKED_AT, LARGEST, SECONDS = 4, 80, 500, 20
TOLERANCE, LEAST = 1e-10, 1e-3


class LeftOutError(Exception):
    """Why a sample is not taken."""


@dataclass
class Entry:
    """What came of one operation. `forward` and `gradient` are None where nothing could be compared."""

    name: str
    taken: int = 0
    samples: int = 0
    forward: bool | None = None
    gradient: bool | None = None
    why: list[str] = field(default_factory=list)


class Plainly(torch.nn.Module):
    """One call of an operation; the tensors in its arguments are parameters (if they get gradients) or inputs."""

    def __init__(self, call: Any, arguments: Any, learned: bool) -> None:
        super().__init__()
        self.call = call
        self.leaves, self.spec = pytree.tree_flatten(arguments)
        self.params = torch.nn.ParameterList()
        self.fed: list[torch.Tensor] = []
        self.source: list[Any] = []
        for leaf in self.leaves:
            if not isinstance(leaf, torch.Tensor):
                self.source.append(None)
            elif learned and leaf.requires_grad:
                self.source.append(("param", len(self.params)))
                self.params.append(torch.nn.Parameter(leaf.detach().clone()))
            else:
                self.source.append(("input", len(self.fed)))
                self.fed.append(leaf.detach().clone())

    def forward(self, *inputs: torch.Tensor) -> Any:
        held = {"param": self.params, "input": inputs}
        leaves = [
            leaf if source is None else held[source[0]][source[1]]
            for leaf, source in zip(self.leaves, self.source, strict=True)
        ]
        arguments, keywords = pytree.tree_unflatten(leaves, self.spec)
        return self.call(*arguments, **keywords)


def outputs(value: Any) -> list[torch.Tensor]:
    """The tensors that a call gives."""
    return [each for each in pytree.tree_leaves(value) if isinstance(each, torch.Tensor)]


def weighted(value: Any) -> torch.Tensor:
    """All outputs that have gradients as one number, each element with a weight of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for each in outputs(value):
        if each.is_floating_point() and each.requires_grad:
            total = (
                total
                + (each * torch.cos(torch.arange(each.numel(), dtype=torch.float64) + 1).reshape(each.shape)).sum()
            )
    return total


def agree(cells: np.ndarray, value: torch.Tensor) -> bool:
    """Whether cells hold what torch has."""
    wanted = value.detach().to(torch.float64).numpy()
    if cells.shape != wanted.shape:
        return False
    largest = max(LEAST, float(np.abs(wanted).max(initial=0)))
    return bool((np.abs(cells - wanted) <= TOLERANCE * largest).all())


def calculated(compiled: Any) -> dict[str, np.ndarray]:
    """Every block of the compiled workbook, calculated by IronCalc."""
    book = compiled.book()
    sheets: dict[str, np.ndarray] = {}

    def calculate(path: Path, ranges: Sequence[Any]) -> list[np.ndarray]:
        values = engine("ironcalc").calculate(path, ranges)
        sheets.update((each.sheet, found) for each, found in zip(ranges, values, strict=True))
        return values

    with tempfile.TemporaryDirectory() as folder:
        save(book, Path(folder) / "op.xlsx", calculate)
    found = {}
    for name, block in book.blocks.items():
        parts = []
        for panel in block.panels:
            part = sheets[panel.sheet][panel.top - 1 : panel.bottom, panel.left - 1 : panel.right]
            parts.append([float(each) if isinstance(each, (int, float)) else np.nan for each in part.reshape(-1)])
        found[name] = np.concatenate(parts).reshape(block.shape)
    return found


def differences(module: Plainly, learned: bool) -> tuple[list[str], list[str]]:
    """The outputs and the gradients in which the cells differ from torch. Raises `LeftOutError` and `Error`."""
    result = module(*module.fed)
    wanted = [each.clone() for each in outputs(result)]
    if not wanted:
        raise LeftOutError("gives no tensor")
    if any(each.is_complex() for each in wanted):
        raise LeftOutError("gives complex numbers")
    if any(not each.numel() for each in wanted):
        raise LeftOutError("gives an empty tensor")
    if any(not each.isfinite().all() for each in wanted):
        raise LeftOutError("gives numbers that are not finite")
    grads: dict[str, torch.Tensor] = {}
    if learned:
        total = weighted(result)
        if not total.requires_grad:
            raise LeftOutError("has no gradient")
        names = [name for name, _ in module.named_parameters()]
        found = torch.autograd.grad(total, list(module.parameters()), allow_unused=True)
        grads = {name: grad for name, grad in zip(names, found, strict=True) if grad is not None}
        if any(not grad.isfinite().all() for grad in grads.values()):
            raise LeftOutError("has a gradient that is not finite")
    again = outputs(module(*module.fed))
    if any(not torch.equal(a, b) for a, b in zip(wanted, again, strict=True)):
        raise LeftOutError("is random")
    compiled = compile(module, tuple(module.fed), loss=weighted if learned else None)
    if any(node.op == "random" for graph in compiled.program.graphs for node in graph.nodes):
        raise LeftOutError("is random")
    cells = calculated(compiled)
    keys = ["0/output"] if len(wanted) == 1 else [f"0/output/{number}" for number in range(len(wanted))]
    wrong = [key for key, each in zip(keys, wanted, strict=True) if not agree(cells[key], each)]
    wrong_grads = [name for name, grad in grads.items() if not agree(cells[f"0/grad/{name}"], grad)]
    return wrong, wrong_grads


def samples(op: Any, learned: bool) -> tuple[list[Any], int, Counter[str]]:
    """A few of the operation's samples, how many were looked at, and why others were left out."""
    left_out: Counter[str] = Counter()
    good, count = [], 0
    for sample in islice(op.sample_inputs("cpu", torch.float64, requires_grad=learned), LOOKED_AT):
        count += 1
        tensors = outputs((sample.input, sample.args, sample.kwargs))
        if any(each.layout != torch.strided for each in tensors):
            left_out["sparse"] += 1
        elif any(each.is_complex() for each in tensors):
            left_out["complex numbers"] += 1
        elif not tensors:
            left_out["no tensor among the arguments"] += 1
        elif any(not each.numel() for each in tensors):
            left_out["empty tensors"] += 1
        elif sum(each.numel() for each in tensors) > LARGEST:
            left_out["large tensors"] += 1
        else:
            good.append(sample)
    step = max(1, len(good) // SAMPLES)
    return good[::step][:SAMPLES], count, left_out


def examine(op: Any) -> Entry:
    """Compiles an operation's samples and compares them."""
    entry = Entry(op.name + (f".{op.variant_test_name}" if op.variant_test_name else ""))
    learned = bool(op.supports_autograd)
    if op.name.removeprefix("new_").startswith("empty"):
        entry.why.append("holds whatever the memory held before")
        return entry
    try:
        taken, entry.samples, left_out = samples(op, learned)
    except Exception as error:
        entry.why.append(f"its samples cannot be made: {said(error)}")
        return entry
    started = time.perf_counter()
    forward: list[bool] = []
    gradient: list[bool] = []
    for sample in taken:
        if time.perf_counter() - started > SECONDS:
            left_out["time"] += 1
            continue
        call = (
            (lambda first, *rest, **named: op.op(first, *rest, **named))
            if not isinstance(sample.input, list)
            else op.op
        )
        arguments = ((sample.input, *sample.args), sample.kwargs)
        result = one(call, arguments, learned, entry.why)
        if isinstance(result, str):
            left_out[result] += 1
            continue
        entry.taken += 1
        forward.append(result[0])
        if result[1] is not None:
            gradient.append(result[1])
    entry.forward = all(forward) if forward else None
    entry.gradient = all(gradient) if gradient else None
    if not entry.taken:
        entry.why += [f"{reason} ({count})" for reason, count in left_out.items()]
    return entry


def one(call: Any, arguments: Any, learned: bool, why: list[str]) -> tuple[bool, bool | None] | str:
    """Whether a sample's outputs and gradients agree; or why it is left out."""
    if learned:
        try:
            wrong, wrong_grads = differences(Plainly(call, arguments, True), True)
        except LeftOutError as reason:
            if "gradient" not in str(reason):
                return str(reason)
        except Exception as error:
            why.append(f"gradient: {said(error)}")
            ok = forward_alone(call, arguments, why)
            return ok if isinstance(ok, str) else (ok, False)
        else:
            if wrong_grads:
                why.append("the gradient differs")
            if wrong:
                why.append("the output differs")
            return not wrong, not wrong_grads
    ok = forward_alone(call, arguments, why)
    return ok if isinstance(ok, str) else (ok, None)


def forward_alone(call: Any, arguments: Any, why: list[str]) -> bool | str:
    try:
        wrong, _ = differences(Plainly(call, arguments, False), False)
    except LeftOutError as reason:
        return str(reason)
    except Exception as error:
        why.append(said(error))
        return False
    if wrong:
        why.append("the output differs")
    return not wrong


def said(error: BaseException) -> str:
    """What an error says, in a few words."""
    text = " ".join(str(error).split())
    if not isinstance(error, Error):
        text = f"{type(error).__name__}: {text}"
    text = text.partition("cannot be put on a sheet")[0].strip() or text
    text = re.sub(r"opinfo_coverage.py, line \d+: ", "", text)
    return text.replace("|", "/")[:140]


def write(entries: Sequence[Entry]) -> None:
    """The table, for people."""
    forward = sum(entry.forward is True for entry in entries)
    gradient = sum(entry.gradient is True for entry in entries)
    tried = sum(entry.forward is not None for entry in entries)
    graded = sum(entry.gradient is not None for entry in entries)
    lines = [
        "# Which of torch's operations compile",
        "",
        f"{forward} of {tried} entries agree with torch in the forward pass, {gradient} of {graded} in the gradient.",
        "",
        f"Counted with torch {torch.__version__.partition('+')[0]} by `python tests/opinfo_coverage.py`, over the "
        f"{len(entries)} entries of torch's own catalogue (`op_db`) that take float64. Of each entry's samples the "
        f"first {LOOKED_AT} were looked at and up to {SAMPLES} of them, spread over the list, were compiled, "
        f"calculated by IronCalc and compared with torch, called plainly, within {TOLERANCE:g} of the largest value. "
        "An entry agrees if all its samples that were taken do. Samples with empty, sparse or complex tensors or with "
        f"more than {LARGEST} numbers, those whose result is not finite (a cell cannot hold it), and random operations "
        "were left out; a dash stands where that left none, or where there is no gradient.",
        "",
        "| operation | samples | forward | gradient | why not |",
        "| --- | --- | --- | --- | --- |",
    ]
    words = {True: "agrees", False: "no", None: "-"}
    for entry in sorted(entries, key=lambda each: each.name):
        why = "; ".join(dict.fromkeys(entry.why))[:300]
        taken = f"{entry.taken} of {entry.samples}"
        lines.append(f"| {entry.name} | {taken} | {words[entry.forward]} | {words[entry.gradient]} | {why} |")
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def catalogue() -> Iterator[Any]:
    """torch's entries that take float64."""
    from torch.testing._internal.common_methods_invocations import op_db

    yield from (op for op in op_db if torch.float64 in op.dtypes)


@click.command()
@click.option("--only", multiple=True, help="Only entries of this name; nothing is written.")
@click.option("--show", is_flag=True, help="Print each entry that does not agree.")
def main(only: Sequence[str], show: bool) -> None:
    """Counts which of torch's operations compile to cells that agree with torch."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    entries = []
    chosen = [op for op in catalogue() if not only or op.name in only]
    for number, op in enumerate(chosen, start=1):
        entry = examine(op)
        entries.append(entry)
        click.echo(f"\r{number}/{len(chosen)} {entry.name:<50}", err=True, nl=False)
        if (show or only) and (False in (entry.forward, entry.gradient) or not entry.taken or only):
            click.echo(
                f"\r{entry.name}: {entry.taken} {entry.forward} {entry.gradient} {'; '.join(dict.fromkeys(entry.why))}"
            )
    click.echo("", err=True)
    forward = sum(entry.forward is True for entry in entries)
    gradient = sum(entry.gradient is True for entry in entries)
    click.echo(f"{forward} agree in the forward pass, {gradient} in the gradient, of {len(entries)}")
    if not only:
        write(entries)


if __name__ == "__main__":
    main()
