"""A trained classifier, layer by layer: a picture goes in, the probability of each class comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import symbolic_trace
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sgdsheet import tensor
from sgdsheet.book import HEAT, LIGHT, WHOLE, Book, Input, Sheet, bars, typed
from sgdsheet.book.style import HEADING, LABEL, NOTE
from sgdsheet.errors import Error, one_line
from sgdsheet.exported.reference import CLASSIFIER, HELD_OUT, PAINTED
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import network as net
from sgdsheet.lessons.flow import check, counter, data, inputs
from sgdsheet.tensor import Array
from sgdsheet.torch_frontend.compiled import compile, survey
from sgdsheet.torch_frontend.program.program import Program
from sgdsheet.torch_frontend.sheets.build import write_program
from sgdsheet.torch_frontend.sheets.estimate import Estimate
from sgdsheet.torch_frontend.sheets.pages import Label, Pages
from sgdsheet.torch_frontend.sheets.steps import Steps
from sgdsheet.writing import Written, write

PICTURES = 20  # held-out ones that stand in the workbook, where nothing else is said
LARGE = 3.0  # characters of a painted cell, of a picture of so many
NEAR, SMALL_FROM = 8, 16
FULL = 255


class Pictured(nn.Module):
    """Pixels from 0 to 255 as a person knows them, (height, width) of greys or (3, height, width), to probabilities.

    They are divided by 255, `mean` is taken off, and they are divided by `std`, a number for each colour; greys count
    for all three colours. `model` gives a score for each class.
    """

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float64).reshape(3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        seen = (pixels / FULL - self.mean) / self.std  # type: ignore[operator]
        return self.model(seen[None])[0].softmax(0)


def pictured(model: nn.Module, mean: Sequence[float], std: Sequence[float], *, fold: bool = False) -> Pictured:
    """The model in float64 and evaluation, from pixels to probabilities; the one given stays as it is.

    With `fold` each batch norm is folded into the convolution before it. Raises `Error` where torch cannot do that.
    """
    copied = Pictured(deepcopy(model), mean, std).cpu().double().eval().requires_grad_(False)
    for each in copied.modules():
        if isinstance(each, _BatchNorm):
            each.register_buffer("num_batches_tracked", None)  # of use in training alone
    if fold:
        try:
            copied.model = _folded(copied.model)
        except Exception as error:  # whatever a model that cannot be traced raises
            raise Error(f"its batch norms cannot be folded: {one_line(error)}; leave --fold out") from None
    return copied


def _folded(model: nn.Module) -> nn.Module:
    """The model with each batch norm folded into the convolution whose only reader it is."""
    traced = symbolic_trace(model)
    modules: dict[Any, nn.Module] = dict(traced.named_modules())
    called = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        before: Any = node.args[0] if node.args else None
        norm, conv = modules.get(node.target), modules.get(getattr(before, "target", None))
        if not isinstance(norm, _BatchNorm) or not isinstance(conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            continue
        if len(before.users) == called[node.target] == called[before.target] == 1:
            parent, _, name = str(before.target).rpartition(".")
            setattr(modules[parent], name, fuse_conv_bn_eval(conv, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def needed(model: Pictured, pixels: np.ndarray) -> Estimate:
    """How large the workbook of a model will be, for pictures (count, height, width) or (count, 3, height, width).

    Nothing is built. Raises `Error` for operations that no sheet knows.
    """
    found = survey(model, torch.from_numpy(pixels[0].astype(float)))
    if found.refusals:
        raise Error(found.refusals[0])
    return replace(found.estimate, cells=found.estimate.cells + 2 * pixels.size)


def save(
    model: Pictured,
    path: str | Path,
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    title: str = "A trained classifier",
    said: Sequence[str] = (),
) -> Written:
    """Writes the workbook of a classifier.

    Arguments:
      model: what `pictured` returns.
      path: the file, .xlsx; it is written whole or not at all.
      pixels: held-out pictures to choose from, whole numbers from 0 to 255, (count, height, width) of greys or (count,
        3, height, width).
      labels: which class each of them shows, (count), from 0.
      classes: their names.
      title: the workbook's title.
      said: lines about the training, for the first sheet.

    Raises `Error` as `sgdsheet.compile` does, and for a cell that does not agree with torch: then nothing is written.
    """
    compiled = compile(model, torch.from_numpy(pixels[0].astype(float)))
    program = replace(compiled.program, together=False)
    specs = (
        Input("source", HELD_OUT, f"what is looked at: {HELD_OUT} or {PAINTED}", choices=(HELD_OUT, PAINTED)),
        Input("number", 1, "which held-out picture", minimum=1, maximum=len(pixels), whole=True),
    )
    count = sum(each.numel() for each in model.parameters())
    summary = [
        f"A classifier with {count:,} trained weights, in cells: each number from the picture to the probabilities of "
        f"{len(classes)} classes is a live formula.",
        *said,
    ]
    things = [
        "On 'picture', choose another number, or 'painted' as source and type into painted: 0 is black, 255 is white.",
        "Change a weight on one of the other sheets and see on 'picture' what becomes of the answer.",
        "Click on a probability and let your spreadsheet program show where it comes from (trace precedents).",
    ]
    book = Book(CLASSIFIER, title, summary, things, specs)
    front = book.sheet(
        "picture",
        title,
        f"Type pixels from 0, black, to {FULL}, white, into painted, or choose one of {len(pixels)} pictures that it "
        "never learned from. Right of them is the answer.",
    )
    held = _held_out(book, pixels, labels, classes)
    shown = _pictures(front, pixels, held)
    pages = _Layers(book, program)
    steps = _Layered(program, compiled.values, pages, front, shown)
    placed = (steps.step(0),)
    pages.arrange()
    _answers(front, pages.cells["0/output"], shown, held, classes)
    write_program(book, program, placed)
    for name in book.blocks:
        if name.startswith("0/") and name.split("/")[1] not in ("param", "output"):
            book.hide_name(name)

    def agrees(cells: Mapping[str, np.ndarray]) -> None:
        with torch.no_grad():
            expected = model(torch.from_numpy(pixels[0].astype(float))).numpy()
        if not np.abs(np.asarray(cells["probability"], dtype=float) - expected).max() <= 1e-9:
            raise Error(f"{path}: not written, for its probabilities are not what torch computes; please report this")

    return write(book, path, agrees)


class _Layers(Pages):
    """A sheet for each module: there is one step, and no other to tell it from."""

    def _heads(self, k: int, path: str) -> tuple[str, str, str]:
        if not path:
            return (
                "colours, softmax",
                "What goes into the model, and what its scores mean",
                "Before and after all layers.",
            )
        where = self._module(path).removeprefix("model.")
        learned = any(node.owner == path for node in self._program.graphs[0].nodes if node.op == "param")
        note = (
            "The numbers in yellow cells were learned: change one, and see on 'picture' what it does."
            if learned
            else ""
        )
        return where, f"{where}: what this layer computes", note or "It has learned nothing: it only computes."


class _Layered(Steps):
    """The one forward pass, of the picture that is looked at on the first sheet."""

    def __init__(self, program: Program, values: Any, pages: Pages, front: Sheet, shown: net.Named) -> None:
        self._shown = shown
        super().__init__(program, values, pages, front)

    def _data(self, k: int) -> None:
        self._pages.cells["input"] = self._shown.input
        self._pages.labels["input"] = Label("input", self._shown.input.shape, "the picture", "data")


def _held_out(book: Book, pixels: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> net.Named:
    sheet = book.sheet("held out", "Pictures that it never learned from", "Change any pixel or label.", details=True)
    sheet.width(1, 7)
    sheet.width(2, 8)
    sheet.width(net.LEFT, 4.3, 8 + 3 * pixels.shape[-1])
    row = sheet.next_row
    width = pixels.shape[-1]
    names = np.array(
        [sheet.write(row + number, net.LEFT + 4 * (width + 1), name, LABEL) for number, name in enumerate(classes)],
        dtype=object,
    )
    m = net.maps(
        sheet,
        "held_",
        left=net.LEFT,
        down=True,
        pixels=net.Map("data", typed(pixels.astype(int)), "one below the other", "pixels", digits=WHOLE, scale=LIGHT),
    )
    first = m.pixels.reshape(len(pixels), -1)[:, 0]
    band = first[1].row - first[0].row if len(first) > 1 else pixels.shape[-2] + 1
    for number, cell in enumerate(first, start=1):
        sheet.write(cell.row, 1, f"no. {number}", LABEL)
    end = sheet.next_row
    sheet.write(end, 1, "Which class each of them shows, counted from 0", HEADING)
    held_label = sheet.place("held_label", typed(labels.astype(int)), "data", end + 1, 2, number_format=WHOLE)
    return net.Named(pixels=m.pixels, label=held_label, names=names, band=band)


def _pictures(sheet: Sheet, pixels: np.ndarray, held: net.Named) -> net.Named:
    """The picture to paint, and the one that is looked at."""
    side = pixels.shape[-1]
    brush = LARGE + 1 if side <= NEAR else LARGE if side <= SMALL_FROM else 1.6
    sheet.width(1, 12)
    sheet.width(2, 12)
    sheet.width(net.LEFT, brush, 8 * (side + 2))
    sheet.print_on_one_page()
    cell = inputs(sheet, "source", "number", across=True)
    row = sheet.next_row
    digits = WHOLE if side <= SMALL_FROM else ";;;"
    layout: dict[str, Any] = {"digits": digits, "scale": LIGHT, "takes": 0}

    def looked_at(painted: Array) -> Array:
        there = net.chosen(held.pixels, cell.number - 1)
        return tensor.where(tensor.equal(cell.source, PAINTED), painted, there)

    m = net.maps(
        sheet,
        row=row,
        painted=net.Map("input", typed(pixels[0].astype(int)), "type here: 0 is black, 255 is white", **layout),
        input=net.Map("data", lambda m: looked_at(m.painted), "what the model looks at", "pixels", **layout),
    )
    for each in range(row + 2, row + 2 + pixels.shape[-2]):
        sheet.row_heights[each] = brush * 5 if brush > 2 else 10.5
    m.cell, m.row = cell, row
    return m


def _answers(sheet: Sheet, output: Array, shown: net.Named, held: net.Named, classes: Sequence[str]) -> None:
    """The large answer and the bars right of the pictures, the probabilities below them."""
    row, cell = shown.row, shown.cell
    below = sheet.next_row
    sheet.write(below, 1, "class", HEADING)
    sheet.write(below, 2, "probability", HEADING)
    names = np.array(
        [sheet.write(below + 1 + number, 1, name, LABEL) for number, name in enumerate(classes)], dtype=object
    )
    probability = sheet.place(
        "probability", output, "activation", below + 1, 2, words="softmax of the scores", number_format="0.0%"
    )
    sheet.heat_map(probability, HEAT)
    true = tensor.where(tensor.equal(cell.source, PAINTED), -1, tensor.index(held.label, cell.number))
    said = net.labelled(
        sheet,
        row + 2,
        predicted=counter(tensor.argmax(probability), "the class with the largest probability, from 0", "argmax"),
        sure=check(tensor.largest(probability), "its probability", digits="0.0%"),
        true_class=data(true, "what the held-out picture is; none for a painted one", digits='0;"\u2013"'),
    )
    left = shown.right
    answer = Call("INDEX", tensor.span(names), said.predicted + 1)
    wide = max(1, round(210 / (sheet.left_of(left + 1) - sheet.left_of(left))))
    look = replace(net.ANSWER, size=36 if max(map(len, classes)) <= 8 else 20, shrink=True)
    sheet.write(row, left, answer, look)
    sheet.merge(row, left, left + wide - 1, row + 2)
    beside = left + wide + 1
    sheet.write(row, beside, "is what the model sees", HEADING)
    sheet.write(row + 1, beside, said.sure, replace(net.SURE, horizontal=None))
    few = max(1, round(50 / (sheet.left_of(left + 1) - sheet.left_of(left))))
    sheet.merge(row + 1, beside, beside + few - 1)
    sheet.write(row + 1, beside + few, "sure")
    name = Call("INDEX", tensor.span(names), said.true_class + 1)
    truth = tensor.where(tensor.equal(cell.source, PAINTED), "painted by you", name)
    sheet.write(row + 2, beside, truth, LABEL)
    sheet.write(row + 2, beside + 2 * few, "is what it is", NOTE)
    chart = bars(
        "How sure it is",
        "class",
        "probability",
        names,
        [("probability", probability)],
        width=15,
        height=8.5,
        y_range=(0, 1),
    )
    sheet.chart(row + 4, left, chart)
    start = below + len(classes) + 2
    sheet.write(start, 1, "The layers, in order", HEADING)
    layers = [each for each in sheet.book.sheets if each not in (sheet, sheet.book.about) and not each.details]
    for number, each in enumerate(layers, start=1):
        sheet.link(start + number, 1, each.name, Range(each.name, 1, 1, 1, 1))
