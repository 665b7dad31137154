"""Books and their sheets: what is written where."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from openpyxl import Workbook
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.hyperlink import Hyperlink
from openpyxl.worksheet.worksheet import Worksheet

from sgdsheet import expr
from sgdsheet.book import style
from sgdsheet.book.blocks import (
    Block,
    Known,
    Typed,
    addresses,
    around,
    defined_name,
    named,
    panels,
    ranges,
    rectangles,
    shape_text,
)
from sgdsheet.book.chart import Chart
from sgdsheet.book.formulas import qualified
from sgdsheet.book.geometry import COLUMN, HEADING_LETTER, ROW, chart_pixels, column_pixels, row_pixels
from sgdsheet.book.inputs import Input
from sgdsheet.book.style import Look
from sgdsheet.book.tables import Table
from sgdsheet.book.text import NARROW, broken
from sgdsheet.book.validation import rule
from sgdsheet.errors import Error
from sgdsheet.expr import Expr, Range, Ref
from sgdsheet.tensor import Array, span

ANSWERS = "answers"  # the sheet of an exercise's answers, and no other
NO_LESSON = "none"  # stands for the lesson of a workbook that no PyTorch program stands behind


class Content(NamedTuple):
    """What one cell holds: `kind` is `n` for a number, `s` for a text, `f` for a formula (without its `=`).

    `known` is a formula's value where an engine need not calculate it.
    """

    kind: Literal["n", "s", "f"]
    value: Any
    style: int
    known: float | None = None


class Task(NamedTuple):
    """Something for the reader to do: what it asks, where, and the formula that says how far it is done."""

    name: str
    asks: str
    where: Range
    says: Expr


class Book:
    """A workbook in the making.

    `lesson` names the program that it must agree with (`NO_LESSON` for none), `inputs` are the cells that a reader may
    change, `values` what they start with (each input's own value where it is not given). Its `tasks`, if it has any,
    stand on the first sheet in place of what to try, below `progress`, which says how many of them are done.
    """

    def __init__(
        self,
        lesson: str,
        title: str,
        summary: Sequence[str],
        things_to_try: Sequence[str],
        inputs: Sequence[Input] = (),
        values: Mapping[str, float | str] | None = None,
    ) -> None:
        self.lesson, self.title, self.summary, self.things_to_try = lesson, title, summary, things_to_try
        self.inputs = {each.name: each for each in inputs}
        self.values = {each.name: each.value for each in inputs} | dict(values or {})
        self.blocks: dict[str, Block] = {}
        self.names: set[str] = set()  # the blocks' defined names, whose case does not count
        self.workbook = Workbook()
        front = self.workbook.active
        assert front is not None
        front.title = "about"
        self.styles = style.Styles(front)
        self.about = Sheet(self, front, "about")
        self.sheets = [self.about]
        self.tasks: list[Task] = []
        self.progress: Expr | None = None

    def sheet(self, name: str, title: str, *notes: str, details: bool = False, hidden: bool = False) -> Sheet:
        """A new sheet with a title and lines of explanation; the first free row is its `next_row`.

        One of `details` that a first reader may pass over goes to the end, and its tab is grey. A `hidden` one has no
        tab at all.
        """
        if len(name) > 31 or re.search(r"[\[\]:*?/\\]", name):
            raise Error(f"{name!r} cannot name a sheet: at most 31 characters, none of []:*?/\\")
        if name == ANSWERS and not hidden:
            raise Error(f"{name!r} cannot name a sheet: the answers of exercises stand on one of that name")
        sheet = Sheet(self, self.workbook.create_sheet(name), name, title, details or hidden, hidden)
        self.sheets.append(sheet)
        sheet.write(1, 1, title, style.TITLE)
        sheet.row_heights[1] = 27
        for row, note in enumerate(notes, start=2):
            sheet.write(row, 1, note, style.SUBTITLE)
        sheet.row_heights[2 + len(notes)] = 6  # a narrow gap: what is below may be frozen with it
        sheet.next_row = 3 + len(notes)
        return sheet

    def arrange(self, key: Callable[[Sheet], Any]) -> None:
        """Sorts the sheets by a key; those that have the same one stay in their order."""
        self.sheets.sort(key=key)
        self.workbook._sheets = [sheet.worksheet for sheet in self.sheets]  # type: ignore[attr-defined]

    def hide_name(self, block: str) -> None:
        """Hides a block's defined name from lists and the name box; `read` follows moved cells by it all the same."""
        self.workbook.defined_names[defined_name(block)].hidden = True

    def typed(self, name: str) -> Typed:
        """The starting value of the input `name`, for the cell that the reader types it into."""
        return Typed(self.values[name], self.inputs[name])


class Sheet:
    """One sheet of a book. Rows and columns count from 1."""

    def __init__(
        self, book: Book, worksheet: Worksheet, name: str, title: str = "", details: bool = False, hidden: bool = False
    ) -> None:
        self.book, self.worksheet, self.name, self.title, self.details = book, worksheet, name, title, details
        self.hidden = hidden
        self.cells: dict[int, dict[int, Content]] = {}
        self.row_heights: dict[int, float] = {}
        self.folded_rows: set[int] = set()
        self.next_row = 1
        self.headings: list[tuple[str, int, int, str]] = []  # of blocks: name, row, column, title
        self.merged: dict[tuple[int, int], int] = {}  # the last column of what was made one, by its first cell
        self._charts: list[tuple[int, int, Chart]] = []
        self._decimals: list[Range] = []  # cells that show three decimals
        self._mapped: set[str] = set()  # ranges with a heat map
        if worksheet.title != name:  # openpyxl evades a name that is taken, whatever its case
            raise Error(f"two sheets are named {name!r}")
        worksheet.sheet_state = "veryHidden" if hidden else "visible"
        worksheet.sheet_view.showGridLines = False
        worksheet.page_setup.orientation = "landscape"
        worksheet.page_setup.paperSize = 9
        worksheet.page_setup.fitToWidth, worksheet.page_setup.fitToHeight = 1, 0
        worksheet.sheet_properties.pageSetUpPr.fitToPage = True  # type: ignore[union-attr]
        margins = worksheet.page_margins
        margins.left = margins.right = margins.top = margins.bottom = 0.4
        margins.header = margins.footer = 0.2

    def write(self, row: int, column: int, value: Any, look: Look = style.TEXT) -> Ref:
        """Writes a number, a text or a formula into one cell that belongs to no block."""
        self._put(row, column, value, self.book.styles.number(look))
        return Ref(self.name, row, column)

    def blank(self, row: int, column: int) -> str:
        """Takes a cell's formula away, which is for the reader to write: the cell gets the mark of one to type into.

        Returns the formula, without its `=`, as it reads on another sheet.
        """
        content = self.cells[row][column]
        look = style.typed(self.book.styles.look(content.style).number_format)
        self._put(row, column, "", self.book.styles.number(look))
        return qualified(content.value, self.name)

    def says(self, row: int, column: int, formula: Expr) -> None:
        """Writes what a formula says of a task into a cell, in its own look: in colour from the first word on."""
        there = self.cells.get(row, {}).get(column)
        look = self.book.styles.look(there.style) if there else style.NOTE
        cell = self.write(row, column, formula, style.said(look))
        for colored in style.verdicts(cell.address):
            self.worksheet.conditional_formatting.add(cell.address, colored)

    def link(self, row: int, column: int, text: str, target: Range, look: Look = style.LINK) -> None:
        """A text that leads to another place in the workbook when it is clicked."""
        self.write(row, column, text, look)
        cell = self.worksheet.cell(row, column)
        cell.hyperlink = Hyperlink(ref=cell.coordinate, location=target.place, display=text)

    def merge(self, row: int, left: int, right: int, bottom: int | None = None) -> None:
        """Makes the cells of a row from column `left` to `right`, and those below as far as row `bottom`, one."""
        bottom = bottom or row
        self.merged[row, left] = right
        if right > left or bottom > row:
            self.worksheet.merge_cells(start_row=row, end_row=bottom, start_column=left, end_column=right)

    def width(self, column: int, characters: float, until: int | None = None) -> None:
        """Makes a column, or all from `column` to `until`, so many characters wide."""
        for each in range(column, (until or column) + 1):
            self.worksheet.column_dimensions[expr.column_letters(each)].width = characters

    def left_of(self, column: int) -> int:
        """How many pixels right of the sheet's edge a column begins."""
        return sum(self._column_pixels(each) for each in range(1, column))

    def top_of(self, row: int) -> int:
        """How many pixels below the sheet's edge a row begins."""
        heights = self.row_heights | dict.fromkeys(self.folded_rows, 0.0)
        special = [height for number, height in heights.items() if number < row]
        return (row - 1 - len(special)) * ROW + sum(map(row_pixels, special))

    def column_from(self, pixels: float) -> int:
        """The first column in view that begins so many pixels right of the edge, or further."""
        column, left = 1, 0
        while left < pixels or not self._column_pixels(column):
            left += self._column_pixels(column)
            column += 1
        return column

    def row_from(self, pixels: float) -> int:
        """The first row that begins so many pixels below the edge, or further."""
        row = max(1, int(pixels) // ROW - len(self.row_heights))
        while self.top_of(row) < pixels:
            row += 1
        while row > 1 and self.top_of(row - 1) >= pixels:
            row -= 1
        return row

    def _column_pixels(self, column: int) -> int:
        letters, dimensions = expr.column_letters(column), self.worksheet.column_dimensions
        if letters not in dimensions:
            default = self.worksheet.sheet_format.defaultColWidth
            return column_pixels(default) if default else COLUMN
        return 0 if dimensions[letters].hidden else column_pixels(dimensions[letters].width)

    def fold(self, first: int, last: int) -> None:
        """Closes columns that a first reader may pass over; a + above the column right of them opens them."""
        for column in range(first, last + 1):
            dimension = self.worksheet.column_dimensions[expr.column_letters(column)]
            dimension.outlineLevel, dimension.hidden = 1, True
        self.worksheet.column_dimensions[expr.column_letters(last + 1)].collapsed = True

    def fold_rows(self, first: int, last: int) -> None:
        """Closes rows that a first reader may pass over; a + beside the row below them opens them."""
        self.folded_rows.update(range(first, last + 1))
        self.worksheet.sheet_format.outlineLevelRow = 1

    def default_width(self, characters: float) -> None:
        """Makes every column so many characters wide for which `width` says nothing else."""
        self.worksheet.sheet_format.defaultColWidth = characters

    def block(
        self,
        name: str,
        shape: tuple[int, ...],
        role: str,
        row: int,
        column: int,
        *,
        words: str = "",
        torch: str = "",
        across: bool = False,
        absolute: bool = False,
        down: bool = False,
        band: int | None = None,
        most: int = expr.MAX_COLUMNS,
    ) -> Array:
        """Sets cells aside for a block whose first cell is at `row`, `column`, and names them; `fill` fills them.

        One dimension runs down, or `across`; two are rows and columns; of more, the last two are a matrix each, side by
        side along the third to last, or all below each other with `down`, and below each other along those before. One
        begins every `band` rows (their own height and a blank row by default). Matrices side by side that would take
        more than `most` columns go on below; a matrix of more than 16,000 columns is cut into bands of its columns,
        below each other. Returns the array of references, which print as `$A$1` if they are to be `absolute`, or as
        the block's name for a single input. Raises `Error` where the sheet has not enough rows or columns.
        """
        if name in self.book.blocks:
            raise Error(f"two blocks are named {name!r}")
        if role not in style.ROLES:
            raise Error(f"block {name!r}: unknown role {role!r}")
        if 0 in shape:
            raise Error(f"block {name!r} of shape {shape} has no elements")
        defined = defined_name(name)
        layout: dict[str, Any] = {"across": across, "absolute": absolute, "down": down, "band": band, "most": most}
        held = panels(self.name, shape, row, column, **layout)
        end = around(held)
        if end.bottom > expr.MAX_ROWS or end.right > expr.MAX_COLUMNS:
            raise Error(
                f"block {name!r} of shape {shape} would reach {end.place}, beyond a sheet's "
                f"{expr.MAX_ROWS:,} rows and {expr.MAX_COLUMNS:,} columns"
            )
        self.book.blocks[name] = block = Block(name, role, shape, held, [], torch, words)
        where = ",".join(each.absolute_place for each in named(held))
        if defined.lower() in self.book.names:
            raise Error(f"the blocks {name!r} and another would both have the defined name {defined!r}")
        self.book.names.add(defined.lower())
        self.book.workbook.defined_names[defined] = DefinedName(defined, attr_text=where, hidden=self.details or None)
        return block.references(defined if role == "input" and shape == () else None)

    def fill(self, name: str, array: Any, number_format: str = style.NUMBER) -> None:
        """Writes an array of formulas into a block, some of them `Known`; `Typed` ones are for the reader to change."""
        block = self.book.blocks[name]
        formula_style = self.book.styles.number(style.body(block.role, number_format))
        typed_style = self.book.styles.number(style.typed(number_format))
        values = np.broadcast_to(np.asarray(array, dtype=object), block.shape)
        typed: list[Ref] = []
        for panel, held in block.panels_of(values):
            cells = ((i, j) for i in range(panel.top, panel.bottom + 1) for j in range(panel.left, panel.right + 1))
            for (row, column), value in zip(cells, held.reshape(-1).tolist(), strict=True):
                if isinstance(value, Typed):
                    self._put(row, column, value.value, typed_style)
                    reference = Ref(self.name, row, column)
                    typed.append(reference)
                    if value.input:
                        self.worksheet.add_data_validation(rule(value.input, reference.address))
                elif isinstance(value, Known):
                    self._formula(row, column, value.formula, formula_style, name, value.value)
                else:
                    self._formula(row, column, value, formula_style, name)
        block.typed = list(block.panels) if len(typed) == values.size else rectangles(typed)
        if number_format in (style.NUMBER, style.DOTTED):
            self._decimals += block.panels

    def place(
        self,
        name: str,
        array: Any,
        role: str,
        row: int,
        column: int,
        *,
        words: str = "",
        torch: str = "",
        number_format: str = style.NUMBER,
        **layout: Any,
    ) -> Array:
        """Sets cells aside for `array` and fills them, in one go. Arguments as for `block`."""
        array = np.asarray(array, dtype=object)
        references = self.block(name, array.shape, role, row, column, words=words, torch=torch, **layout)
        self.fill(name, array, number_format)
        return references

    def inputs(
        self,
        row: int,
        column: int,
        names: Sequence[str],
        torch: Mapping[str, str] | None = None,
        labels: Sequence[str] | None = None,
        *,
        across: bool = False,
    ) -> list[Ref]:
        """A panel of inputs, a row each: name (or its label), the cell to type into, what it means.

        `across` sets them side by side instead, a column each, every name above its cell; what it means is shown where
        the cell is chosen.
        """
        references = []
        for offset, name in enumerate(names):
            spec = self.book.inputs[name]
            meaning = f"{spec.meaning} (chosen when this workbook was made)" if spec.fixed else spec.meaning
            at = (row + 1, column + offset) if across else (row + offset, column + 1)
            label = labels[offset] if labels else name
            if across:
                self.write(row, column + offset, broken(label, NARROW), style.LABEL_ABOVE)
                if "\n" in broken(label, NARROW):
                    self.row_heights[row] = 30
            else:
                self.write(row + offset, column, label, style.LABEL)
                self.write(row + offset, column + 2, meaning, style.NOTE)
            references.append(
                self.place(
                    name,
                    self.book.values[name] if spec.fixed else self.book.typed(name),
                    "check" if spec.fixed else "input",
                    *at,
                    words=meaning,
                    torch=(torch or {}).get(name, ""),
                    number_format=style.PRECISE,
                ).item()
            )
        used = 2 if across else len(names)
        if across:
            self.row_heights[row + 2] = 6  # a narrow gap: what is below may be frozen with it
        self.next_row = max(self.next_row, row + used + 1)
        return references

    def value(
        self, row: int, column: int, name: str, formula: Any, role: str, *, words: str = "", **layout: Any
    ) -> Ref:
        """A single value with its name on its left and its words on its right. `layout` as for `place`."""
        self.write(row, column, name, style.LABEL)
        self.write(row, column + 2, words, style.NOTE)
        self.next_row = max(self.next_row, row + 2)
        return self.place(name, formula, role, row, column + 1, words=words, **layout).item()

    def headed(
        self,
        name: str,
        array: Any,
        role: str,
        row: int,
        column: int,
        *,
        words: str = "",
        title: str | None = None,
        note: bool = True,
        room: int = 0,
        **layout: Any,
    ) -> Array:
        """`place` below a heading: the block's name, then its shape and its formula in words. Takes two rows more.

        `title` is what stands there where that is not the block's name; without a `note` the words are left out. With a
        `room` the two lines stay within so many columns; set those columns' widths first. `layout` is what `place`
        takes.
        """
        array = np.asarray(array, dtype=object)
        self.headings.append((name, row, column, title or name))
        self.heading(row, column, title or name, array.shape, words if note else "", room)
        return self.place(name, array, role, row + 2, column, words=words, **layout)

    def heading(
        self, row: int, column: int, title: str, shape: tuple[int, ...], words: str = "", room: int = 0
    ) -> None:
        """The two lines above a block: its title, then its shape and its formula in words. `room` as for `headed`."""
        self.write(row, column, title, style.HEADING)
        says = shape_text(shape) + (f" · {words}" if words else "")
        self.write(row + 1, column, says, style.WRAPPED_NOTE if room else style.NOTE)
        if room:
            if self.left_of(column + room) - self.left_of(column) < HEADING_LETTER * len(title):
                self.merge(row, column, column + room - 1)
            self.merge(row + 1, column, column + room - 1)
            lines = len(textwrap.wrap(says, int(1.15 * self._room(column, room))))
            self.row_heights[row + 1] = max(self.row_heights.get(row + 1, 15), 13.5 * lines + 2)

    def _room(self, column: int, columns: int) -> float:
        """How many characters wide so many columns are."""
        dimensions = self.worksheet.column_dimensions
        return sum(dimensions[expr.column_letters(each)].width for each in range(column, column + columns))

    def table(self, row: int, column: int, length: int, parts: Sequence[str] = ()) -> Table:
        """A table of `length` rows below its heads, which begin at `row`. `parts` name a parameter's elements."""
        return Table(self, row, column, length, parts)

    def heat_map(self, references: Array, scale: style.Scale = style.SEQUENTIAL) -> None:
        """Colours cells by their values, all on one scale."""
        held = ranges(references)
        whole = around(held)
        self._mapped.update(each.address for each in held)
        scaled = style.color_scale(scale, whole.absolute_place.rpartition("!")[2])
        self.worksheet.conditional_formatting.add(addresses(held), scaled)

    def mark(self, references: Array, marks: Array) -> None:
        """Sets cells in bold with a dark frame where the cell of the same position in `marks` is above 0."""
        self.worksheet.conditional_formatting.add(span(references).address, style.framed(marks.flat[0].address))

    def dot(self, references: Array, marks: Array) -> None:
        """Shows a dot in place of the number where the cell of the same position in `marks` is above 0."""
        self.worksheet.conditional_formatting.add(span(references).address, style.dotted(marks.flat[0].address))

    def frame(self, references: Array, row: Any = None, column: Any = None) -> None:
        """Sets those of the cells in bold with a dark frame that stand in a row, in a column or in both.

        `row` and `column` are the sheet's, as numbers or formulas. Where there is a heat map too, give both the same
        references: LibreOffice shows one of two formats that overlap otherwise.
        """
        axes = (("ROW", row), ("COLUMN", column))
        inside = [expr.compare("=", expr.Call(axis), place) for axis, place in axes if place is not None]
        chosen = expr.choose(expr.Call("AND", *inside), 1, 0).text(self.name)
        self.worksheet.conditional_formatting.add(addresses(ranges(references)), style.framed(chosen))

    def chart(self, row: int, column: int, chart: Chart) -> None:
        """Puts a chart with its upper left corner at a cell."""
        self.worksheet.add_chart(chart, f"{expr.column_letters(column)}{row}")
        self._charts.append((row, column, chart))

    def charts_right_of(self, row: int, column: int) -> list[int]:
        """Where, in pixels, charts begin that stand right of a cell."""
        top = self.top_of(row)
        return [
            self.left_of(left)
            for first, left, chart in self._charts
            if left > column and self.top_of(first) - ROW < top < self.top_of(first) + chart_pixels(chart.height)
        ]

    def show_powers(self) -> None:
        """Lets numbers that three decimals do not show be powers of ten."""
        formats = self.worksheet.conditional_formatting
        formats.add(self.extent().address, style.large_numbers("A1"))
        # LibreOffice shows one of two formats that overlap: the colours of a heat map say more.
        small = [each for each in self._decimals if each.address not in self._mapped]
        if small:
            # Programs count a rule's cell from the first range, or from the first row and column: A1 is both.
            formats.add(addresses([Range(self.name, 1, 1, 1, 1), *small]), style.small_numbers("A1"))

    def print_on_one_page(self, *, upright: bool = False) -> None:
        """Prints the whole sheet on one page, however small: maps are not to be cut apart."""
        self.worksheet.page_setup.fitToHeight = 1
        if upright:
            self.worksheet.page_setup.orientation = "portrait"

    def freeze(self, row: int, column: int) -> None:
        """Keeps the rows above and the columns left of a cell in view."""
        self.worksheet.freeze_panes = f"{expr.column_letters(column)}{row}"

    def repeat_rows(self, first: int, last: int) -> None:
        """Prints these rows at the top of every page."""
        self.worksheet.print_title_rows = f"{first}:{last}"

    def extent(self) -> Range:
        """The smallest range that holds every cell."""
        rows = [row for row, cells in self.cells.items() if cells]
        columns = [column for row in rows for column in (min(self.cells[row]), max(self.cells[row]))]
        return Range(self.name, 1, 1, max(rows, default=1), max(columns, default=1))

    def _formula(
        self, row: int, column: int, value: Any, style_number: int, name: str, known: float | None = None
    ) -> None:
        try:
            text = expr.formula(value, self.name)[1:]
        except Error as error:
            raise Error(f"block {name!r}, {Ref(self.name, row, column)!r}: {error}") from None
        self.cells.setdefault(row, {})[column] = Content("f", text, style_number, known)

    def _put(self, row: int, column: int, value: Any, style_number: int) -> None:
        if isinstance(value, Expr):
            self._formula(row, column, value, style_number, "")
        else:
            kind = "s" if isinstance(value, str) else "n"
            plain = value if isinstance(value, (str, int)) else float(value)
            self.cells.setdefault(row, {})[column] = Content(kind, plain, style_number)
