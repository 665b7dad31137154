"""From a program to a workbook: a sheet for each step and module, a block for each thing that is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet.book import NUMBER, PRECISE, PROGRAM, Book, style, typed
from sgdsheet.errors import Error
from sgdsheet.expr import MAX_COLUMNS
from sgdsheet.reference import COMPILED
from sgdsheet.torch_frontend.program.program import BATCHES, Placed, Program
from sgdsheet.torch_frontend.program.text import pieces, require_fits
from sgdsheet.torch_frontend.sheets.pages import Pages, shown
from sgdsheet.torch_frontend.sheets.screen import Layout, Screens, layout
from sgdsheet.torch_frontend.sheets.steps import Steps


def build(program: Program, values: Mapping[str, Any], title: str, classes: Sequence[str] = ()) -> tuple[Book, Placed]:
    """Returns the workbook, and which nodes of each graph have cells there.

    `values` holds what stands in the cells that hold no formula, by block name, `classes` names for the classes. Raises
    `Error` for a title or a name that no cell can hold.
    """
    require_fits(title, "title")
    for name in (*program.modules, *(node.name for node in program.graphs[0].nodes if node.op in ("param", "buffer"))):
        require_fits(name, "a name within the model")
    book = Book(COMPILED, title, _summary(program), _things_to_try(program), program.inputs())
    front = book.sheet(_front(program), title, _note(program))
    if program.examples:
        _batches(book, program, values[BATCHES])
    pages = Screens(book, program, _layouts(program, values), classes) if program.together else Pages(book, program)
    steps = Steps(program, values, pages, front)
    placed: dict[int, tuple[str, ...]] = {}
    for k, number in enumerate(program.which):
        names = steps.step(k)
        placed.setdefault(number, names)
    pages.link()
    pages.arrange()
    pages.overview(front)
    for block in book.blocks:
        if not _is_looked_for(program, block):
            book.hide_name(block)
    found = tuple(placed.get(number, ()) for number in range(len(program.graphs)))
    write_program(book, program, found)
    return book, found


def _layouts(program: Program, values: Mapping[str, Any]) -> list[Layout]:
    """Where the blocks of each step stand that is one sheet, found from a draft without places."""
    draft = Book(COMPILED, "draft", [], [], program.inputs())
    pages = Pages(draft, program)
    steps = Steps(program, values, pages, draft.sheet("training", "draft"))
    found, seen = [], len(pages.labels)
    for k in range(len(program.which)):
        if k > 1 and program.which[k] in program.which[1:k]:  # as the step before it that has the same graph
            found.append(found[program.which.index(program.which[k], 1)])
            continue
        for step in range(steps.made, k + 1):
            seen = len(pages.labels)
            steps.step(step)
        labels = [replace(label, words=draft.blocks[label.block].words) for label in [*pages.labels.values()][seen:]]
        reads = {
            label.block: [pages.labels[name].title for name in steps.reads.get(label.block, ())] for label in labels
        }
        found.append(layout(k, [label for label in labels if label.station], reads))
    return found


def write_program(book: Book, program: Program, placed: Placed) -> None:
    """Adds the program as text, on a sheet of its own, for `sgdsheet verify`."""
    title = "The program that this workbook is checked against"
    sheet = book.sheet(PROGRAM, title, "sgdsheet verify reads this: leave it as it is.", details=True)
    for row, texts in enumerate(program.rows(placed), start=sheet.next_row):
        for column, text in enumerate((part for each in texts for part in pieces(each)), start=1):
            sheet.write(row, column, text)


def _batches(book: Book, program: Program, rows: np.ndarray) -> None:
    """The sheet of all batches, an example a row, with which `sgdsheet train` fills the data's cells in turn."""
    nodes, held = program.batch(0), program.rows_of_batch(0)
    what = "an example" if held > 1 else "a batch"
    sheet = book.sheet(
        BATCHES,
        "The batches, one after the other",
        f"Each row is {what}; sgdsheet train puts {held} at a time into the cells of the data, and after the last "
        "row the first again.",
    )
    head, column = sheet.next_row, 2
    for node in nodes:
        title, size = program.fed(0, node.name), node.numel() // held
        for number in range(size):
            sheet.write(head, column + number, f"{title} {number + 1}" if size > 1 else title, style.TABLE_HEAD)
        column += size
    if column > MAX_COLUMNS:
        raise Error(f"an example of the batches has {column:,} numbers, and a sheet has {MAX_COLUMNS:,} columns")
    sheet.write(head, 1, "row", style.TABLE_HEAD)
    for number in range(1, len(rows) + 1):
        sheet.write(head + number, 1, number, style.FAINT)
    digits = PRECISE if np.array_equal(rows, np.round(rows, 4)) else NUMBER
    words = "what sgdsheet train takes, in turn"
    sheet.place(BATCHES, typed(rows), "data", head + 1, 2, words=words, number_format=digits)
    sheet.freeze(head + 1, 2)


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
            "formulas too, and the next step begins with them."
        )
    if program.together:
        what.append(
            "A step is one sheet: data on the left, layer after layer to the right, the loss at the end; below each "
            "block its gradient, below each parameter its gradient, the optimiser's states and the new parameter."
        )
    else:
        what.append("On each sheet a heading names the module of the model, and each block says what it is.")
    return what


def _things_to_try(program: Program) -> list[str]:
    first = "'step 1'" if program.together else "a sheet of step 0"
    data = first if program.together else "'data'"
    if program.together and program.shared:
        data = f"'{_front(program)}'"
    things = [f"Change a number of the data on {data} or a parameter on {first}, and follow what changes."]
    if program.optimizer:
        things.append("On 'training', change the learning rate lr: does the loss fall faster, or does it rise?")
    things.append("Click on any number and let your spreadsheet program show where it comes from (trace precedents).")
    return things


def _is_looked_for(program: Program, block: str) -> bool:
    """Whether a person may look for a block by its name: what goes in and comes out, in the steps that are shown."""
    step, _, rest = block.partition("/")
    if not step.isdigit():
        return True
    count = len(program.which)
    known = rest == "loss" or rest.split("/")[0] in ("param", "buffer", "grad", "state", "input", "target", "output")
    return known and int(step) in (*shown(count), count)


def _front(program: Program) -> str:
    """What the first sheet is called."""
    return "training" if program.optimizer else "model"


def _note(program: Program) -> str:
    if program.optimizer:
        return f"Trained by torch.optim.{program.optimizer}. Change a number in a yellow cell, and all steps follow."
    return "Every number is computed from the data and the parameters."
