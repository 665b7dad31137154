"""What a compiled workbook must agree with, from the program that it carries."""

from __future__ import annotations

from sgdsheet.book import PROGRAM, Saved
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.torch_frontend.build import joined
from sgdsheet.torch_frontend.program import Program

TOLERANCE, LEAST = 1e-10, 1e-3


def lesson(saved: Saved) -> Lesson:
    """The program on the workbook's last sheet, as `verify` wants it.

    Raises `Error` if that sheet was edited.
    """
    where = f"{saved.path}: sheet {PROGRAM!r}"
    rows = [joined(cells) for cells in saved.program[3:] if any(cell is not None for cell in cells)]
    program = Program.from_rows(rows, where)
    specs = program.inputs()
    names = {spec.name for spec in specs}
    dims = {name: len(block.shape) for name, block in saved.blocks.items() if block.typed and name not in names}
    return Lesson(
        saved.lesson,
        "",
        specs,
        Data(dims, lambda source: {}),
        lambda values, data: (_ for _ in ()).throw(NotImplementedError),
        program.run,
        tolerance=TOLERANCE,
        least=LEAST,
    )
