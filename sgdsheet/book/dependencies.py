"""Which blocks a block is made of, and which numbers are the same whatever a reader types."""

from __future__ import annotations

from sgdsheet.book.blocks import Block
from sgdsheet.book.formulas import Formulas
from sgdsheet.book.sheet import Book
from sgdsheet.expr import Ref


def reads(book: Book) -> dict[str, list[str]]:
    """The blocks that each block's formulas refer to, judged by its first formula and its last."""
    formulas = Formulas(book.blocks.values())
    sheets = {sheet.name: sheet.cells for sheet in book.sheets}

    def read(block: Block) -> list[str]:
        first, last = block.panels[0], block.panels[-1]
        ends = Ref(first.sheet, first.top, first.left), Ref(last.sheet, last.bottom, last.right)
        held = [(cell, sheets[cell.sheet][cell.row][cell.column]) for cell in ends]
        found = [name for cell, each in held if each.kind == "f" for name in formulas.reads(each.value, cell)]
        return [name for name in dict.fromkeys(found) if name != block.name]

    return {name: read(block) for name, block in book.blocks.items()}


def steady(book: Book) -> set[str]:
    """The blocks that hold the same numbers whatever is typed: counters, and grids whose ends are given."""
    made_of, readers = reads(book), dict[str, list[str]]()
    for name, parts in made_of.items():
        for each in parts:
            readers.setdefault(each, []).append(name)
    moved = {name for name, block in book.blocks.items() if block.typed}
    waiting = [*moved]
    while waiting:
        for name in readers.get(waiting.pop(), []):
            if name not in moved:
                moved.add(name)
                waiting.append(name)
    return book.blocks.keys() - moved
