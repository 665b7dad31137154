"""From a program to a workbook: a sheet for each step and module, a block for each thing that is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgdsheet.book import PROGRAM, Book
from sgdsheet.reference import COMPILED
from sgdsheet.torch_frontend.program.program import Placed, Program
from sgdsheet.torch_frontend.program.text import pieces, require_fits
from sgdsheet.torch_frontend.sheets.pages import Pages
from sgdsheet.torch_frontend.sheets.steps import Steps


def build(program: Program, values: Mapping[str, Any], title: str) -> tuple[Book, Placed]:
    """Returns the workbook, and which nodes of each graph have cells there.

    `values` holds what stands in the cells that hold no formula, by block name. Raises `Error` for a title or a
    name that no cell can hold.
    """
    require_fits(title, "title")
    for name in (*program.modules, *(node.name for node in program.graphs[0].nodes if node.op in ("param", "buffer"))):
        require_fits(name, "a name within the model")
    book = Book(COMPILED, title, _summary(program), _things_to_try(program), program.inputs())
    front = book.sheet("training" if program.optimizer else "model", title, _note(program))
    pages = Pages(book, program)
    steps = Steps(program, values, pages, front)
    placed: dict[int, tuple[str, ...]] = {}
    for k, number in enumerate(program.which):
        names = steps.step(k)
        placed.setdefault(number, names)
    pages.arrange()
    pages.overview(front)
    found = tuple(placed.get(number, ()) for number in range(len(program.graphs)))
    _write(book, program, found)
    return book, found


def _write(book: Book, program: Program, placed: Placed) -> None:
    """The program as text, on a sheet of its own, for `sgdsheet verify`."""
    title = "The program that this workbook is checked against"
    sheet = book.sheet(PROGRAM, title, "sgdsheet verify reads this: leave it as it is.", details=True)
    for row, texts in enumerate(program.rows(placed), start=sheet.next_row):
        for column, text in enumerate((part for each in texts for part in pieces(each)), start=1):
            sheet.write(row, column, text)


def _summary(program: Program) -> list[str]:
    graph = program.graphs[0]
    count = sum(node.numel() for node in graph.nodes if node.op == "param")
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


def _note(program: Program) -> str:
    if program.optimizer:
        return f"Trained by torch.optim.{program.optimizer}. Change a number in a yellow cell, and all steps follow."
    return "Every number is computed from the data and the parameters."
