"""Books, sheets, blocks and tables: where the numbers stand."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from openpyxl import Workbook
from openpyxl.chart import ScatterChart
from openpyxl.utils.cell import get_column_letter
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.hyperlink import Hyperlink
from openpyxl.worksheet.worksheet import Worksheet

from sgdsheet import expr
from sgdsheet.book import style
from sgdsheet.book.inputs import Input
from sgdsheet.book.style import Look
from sgdsheet.errors import Error
from sgdsheet.expr import Expr, Range, Ref
from sgdsheet.tensor import Array, span

LONGEST = 32_767  # characters of a cell's text
UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what no XML file can hold
BAND = 16_000  # columns of the widest panel: a sheet has 16,384, and a block may begin right of the first


@dataclass(frozen=True)
class Typed:
    """A cell's content that the reader may replace: a number, or a text with choices. `input` says what fits there."""

    value: float | str
    input: Input | None = None


def typed(values: Any) -> np.ndarray:
    """Returns cells that the reader may replace, one for each element of an array of numbers or texts, in its shape."""
    array = np.array(values)
    cells = np.empty(array.size, dtype=object)
    cells[:] = [Typed(each) for each in array.ravel().tolist()]
    return cells.reshape(array.shape)


@dataclass(frozen=True)
class Known:
    """A formula whose value the book's maker knows: no engine has to calculate it for the file to hold it."""

    formula: Expr
    value: float


@dataclass
class Block:
    """A named tensor on a sheet.

    `panels` are the ranges that hold it: one for up to two dimensions, one for each matrix beyond; a matrix wider than
    a sheet is in bands, several panels of some of its columns each. `typed` are the ranges within them that the reader
    may change; every other cell holds a formula. `torch` is what it is in torch, `words` its formula in plain notation.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    panels: list[Range]
    typed: list[Range]
    torch: str
    words: str

    def parts(self) -> Iterator[tuple[Range, int, slice]]:
        """Each panel with what it holds: the number of its matrix, and which of the matrix's columns.

        Raises `ValueError` if the panels do not make up the shape.
        """
        rows, columns = self.matrix()
        matrix = start = 0
        for panel in self.panels:
            height, width = panel.shape
            if height != rows or start + width > columns:
                raise ValueError(f"{panel.address} holds no columns of a matrix of {rows} rows and {columns} columns")
            yield panel, matrix, slice(start, start + width)
            matrix, start = (matrix, start + width) if start + width < columns else (matrix + 1, 0)
        if start or matrix * rows * columns != math.prod(self.shape):
            raise ValueError(f"{len(self.panels)} panels do not make up {shape_text(self.shape)}")

    def whole(self, pieces: Sequence[np.ndarray]) -> np.ndarray:
        """The block's array, of its shape, from an array for each panel."""
        rows, columns = self.matrix()
        found = np.empty((math.prod(self.shape) // (rows * columns), rows, columns), np.result_type(*pieces))
        for piece, (_, matrix, held) in zip(pieces, self.parts(), strict=True):
            found[matrix, :, held] = piece
        return found.reshape(self.shape)

    def panels_of(self, array: np.ndarray) -> Iterator[tuple[Range, np.ndarray]]:
        """Each panel with what it holds of an array of the block's shape: what `whole` puts together."""
        matrices = array.reshape(-1, *self.matrix())
        for panel, matrix, held in self.parts():
            yield panel, matrices[matrix, :, held]

    def cell(self, position: Sequence[int]) -> Ref:
        """The cell of one element."""
        rows, columns = self.matrix()
        flat = int(np.ravel_multi_index(tuple(position), self.shape)) if self.shape else 0
        number, rest = divmod(flat, rows * columns)
        row, column = divmod(rest, columns)
        for panel, matrix, held in self.parts():
            if matrix == number and held.start <= column < held.stop:
                return Ref(panel.sheet, panel.top + row, panel.left + column - held.start)
        raise IndexError(position)

    def matrix(self) -> tuple[int, int]:
        """The rows and columns of each matrix; of one dimension the first panel says whether it runs down or across."""
        if len(self.shape) > 1:
            return self.shape[-2], self.shape[-1]
        rows = self.panels[0].shape[0]
        return rows, math.prod(self.shape) // rows


NO_LESSON = "none"  # stands for the lesson of a workbook that no PyTorch program stands behind


class Content(NamedTuple):
    """What one cell holds: `kind` is `n` for a number, `s` for a text, `f` for a formula (without its `=`).

    `known` is a formula's value where an engine need not calculate it.
    """

    kind: str
    value: Any
    style: int
    known: float | None = None


class Book:
    """A workbook in the making.

    `lesson` names the program that it must agree with (`NO_LESSON` for none), `inputs` are the cells that a reader may
    change, `values` what they start with (each input's own value where it is not given).
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
        self.workbook = Workbook()
        front = self.workbook.active
        assert front is not None
        front.title = "about"
        self.styles = style.Styles(front)
        self.about = Sheet(self, front, "about")
        self.sheets = [self.about]

    def sheet(self, name: str, title: str, *notes: str) -> Sheet:
        """A new sheet with a title and lines of explanation; the first free row is its `next_row`."""
        if len(name) > 31 or re.search(r"[\[\]:*?/\\]", name):
            raise Error(f"{name!r} cannot name a sheet: at most 31 characters, none of []:*?/\\")
        sheet = Sheet(self, self.workbook.create_sheet(name), name)
        self.sheets.append(sheet)
        sheet.write(1, 1, title, style.TITLE)
        sheet.row_heights[1] = 27
        for row, note in enumerate(notes, start=2):
            sheet.write(row, 1, note, style.SUBTITLE)
        sheet.next_row = 3 + len(notes)
        return sheet

    def arrange(self, key: Callable[[Sheet], Any]) -> None:
        """Sorts the sheets by a key; those that have the same one stay in their order."""
        self.sheets.sort(key=key)
        self.workbook._sheets = [sheet.worksheet for sheet in self.sheets]  # type: ignore[attr-defined]

    def typed(self, name: str) -> Typed:
        """The starting value of the input `name`, for the cell that the reader types it into."""
        return Typed(self.values[name], self.inputs[name])


class Sheet:
    """One sheet of a book. Rows and columns count from 1."""

    def __init__(self, book: Book, worksheet: Worksheet, name: str) -> None:
        self.book, self.worksheet, self.name = book, worksheet, name
        self.cells: dict[int, dict[int, Content]] = {}
        self.row_heights: dict[int, float] = {}
        self.next_row = 1
        if worksheet.title != name:  # openpyxl evades a name that is taken, whatever its case
            raise Error(f"two sheets are named {name!r}")
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

    def link(self, row: int, column: int, text: str, target: Range, look: Look = style.LINK) -> None:
        """A text that leads to another place in the workbook when it is clicked."""
        self.write(row, column, text, look)
        cell = self.worksheet.cell(row, column)
        cell.hyperlink = Hyperlink(ref=cell.coordinate, location=target.place, display=text)

    def merge(self, row: int, left: int, right: int) -> None:
        """Makes the cells of one row from column `left` to `right` one."""
        if right > left:
            self.worksheet.merge_cells(start_row=row, end_row=row, start_column=left, end_column=right)

    def width(self, column: int, characters: float, until: int | None = None) -> None:
        """Makes a column, or all from `column` to `until`, so many characters wide."""
        for each in range(column, (until or column) + 1):
            self.worksheet.column_dimensions[get_column_letter(each)].width = characters

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
        rows, columns = _matrix(shape, across)
        panels: list[Range] = []
        for below, beside, width in _layout(shape[:-2], columns, down, min(most, expr.MAX_COLUMNS - column + 1)):
            top, left = row + below * (band or rows + 1), column + beside
            panels.append(Range(self.name, top, left, top + rows - 1, left + width - 1, absolute))
        end = _around(panels)
        if end.bottom > expr.MAX_ROWS or end.right > expr.MAX_COLUMNS:
            raise Error(
                f"block {name!r} of shape {shape} would reach {end.place}, beyond a sheet's "
                f"{expr.MAX_ROWS:,} rows and {expr.MAX_COLUMNS:,} columns"
            )
        self.book.blocks[name] = block = Block(name, role, shape, panels, [], torch, words)
        where = ",".join(each.absolute_place for each in named(panels))
        if defined.lower() in map(str.lower, self.book.workbook.defined_names):
            raise Error(f"the blocks {name!r} and another would both have the defined name {defined!r}")
        self.book.workbook.defined_names[defined] = DefinedName(defined, attr_text=where)
        label = defined if role == "input" and shape == () else None
        references = []
        for panel in panels:
            across_it = range(panel.left, panel.right + 1)
            flat = [
                Ref(self.name, i, j, absolute, label) for i in range(panel.top, panel.bottom + 1) for j in across_it
            ]
            references.append(np.array(flat, dtype=object).reshape(panel.shape))
        return block.whole(references)

    def fill(self, name: str, array: Any, number_format: str = style.NUMBER) -> None:
        """Writes an array of formulas into a block, some of them `Known`; `Typed` ones are for the reader to change."""
        block = self.book.blocks[name]
        formula_style = self.book.styles.number(style.body(block.role, number_format))
        typed_style = self.book.styles.number(style.typed(block.role, number_format))
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
                        self._validate(reference, value.input)
                elif isinstance(value, Known):
                    self._formula(row, column, value.formula, formula_style, name, value.value)
                else:
                    self._formula(row, column, value, formula_style, name)
        block.typed = list(block.panels) if len(typed) == values.size else _rectangles(typed)

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
    ) -> list[Ref]:
        """A panel of inputs, a row each: name (or its label), the cell to type into, what it means."""
        references = []
        for offset, name in enumerate(names):
            spec = self.book.inputs[name]
            meaning = f"{spec.meaning} (chosen when this workbook was made)" if spec.fixed else spec.meaning
            self.write(row + offset, column, labels[offset] if labels else name, style.LABEL)
            references.append(
                self.place(
                    name,
                    self.book.values[name] if spec.fixed else self.book.typed(name),
                    "check" if spec.fixed else "input",
                    row + offset,
                    column + 1,
                    words=meaning,
                    torch=(torch or {}).get(name, ""),
                    number_format=style.PRECISE,
                ).item()
            )
            self.write(row + offset, column + 2, meaning, style.NOTE)
        self.next_row = max(self.next_row, row + len(names) + 1)
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
            self.merge(row, column, column + room - 1)
            self.merge(row + 1, column, column + room - 1)
            lines = len(textwrap.wrap(says, int(1.15 * self._room(column, room))))
            self.row_heights[row + 1] = max(self.row_heights.get(row + 1, 15), 13.5 * lines + 2)

    def _room(self, column: int, columns: int) -> float:
        """How many characters wide so many columns are."""
        dimensions = self.worksheet.column_dimensions
        return sum(dimensions[get_column_letter(each)].width for each in range(column, column + columns))

    def table(self, row: int, column: int, length: int, parts: Sequence[str] = ()) -> Table:
        """A table of `length` rows below its heads, which begin at `row`. `parts` name a parameter's elements."""
        return Table(self, row, column, length, parts)

    def heat_map(self, references: Array, scale: style.Scale = style.SEQUENTIAL) -> None:
        """Colours cells by their values, all on one scale."""
        ranges = _matrices(references)
        whole = _around(ranges)
        rule = style.color_scale(scale, whole.absolute_place.rpartition("!")[2])
        self.worksheet.conditional_formatting.add(_addresses(ranges), rule)

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
        self.worksheet.conditional_formatting.add(_addresses(_matrices(references)), style.framed(chosen))

    def chart(self, row: int, column: int, chart: ScatterChart) -> None:
        """Puts a chart with its upper left corner at a cell."""
        self.worksheet.add_chart(chart, f"{get_column_letter(column)}{row}")

    def print_on_one_page(self, *, upright: bool = False) -> None:
        """Prints the whole sheet on one page, however small: maps are not to be cut apart."""
        self.worksheet.page_setup.fitToHeight = 1
        if upright:
            self.worksheet.page_setup.orientation = "portrait"

    def freeze(self, row: int, column: int) -> None:
        """Keeps the rows above and the columns left of a cell in view."""
        self.worksheet.freeze_panes = f"{get_column_letter(column)}{row}"

    def repeat_rows(self, first: int, last: int) -> None:
        """Prints these rows at the top of every page."""
        self.worksheet.print_title_rows = f"{first}:{last}"

    def extent(self) -> Range:
        """The smallest range that holds every cell."""
        rows = [row for row, cells in self.cells.items() if cells]
        columns = [column for row in rows for column in (min(self.cells[row]), max(self.cells[row]))]
        return Range(self.name, 1, 1, max(rows, default=1), max(columns, default=1))

    def _validate(self, cell: Ref, spec: Input) -> None:
        """Lets the program check what the reader types, offer the choices, and show the meaning beside the cell."""
        if spec.choices:
            rule = DataValidation(type="list", formula1='"' + ",".join(spec.choices) + '"')
        else:
            low, high = spec.minimum, spec.maximum
            low = spec.above if low is None else low
            high = spec.below if high is None else high
            kind = "whole" if spec.whole else "decimal"
            if low is not None and high is not None:
                rule = DataValidation(type=kind, operator="between", formula1=f"{low:g}", formula2=f"{high:g}")
            elif low is not None:
                strict = spec.minimum is None
                operator = "greaterThan" if strict else "greaterThanOrEqual"
                rule = DataValidation(type=kind, operator=operator, formula1=f"{low:g}")
            else:
                rule = DataValidation(type=kind, operator="between", formula1="-1E+300", formula2="1E+300")
        rule.allow_blank = False
        rule.showErrorMessage = rule.showInputMessage = True
        rule.promptTitle, rule.prompt = spec.name[:32], f"{spec.meaning} Expects {spec.expects}."[:255]
        rule.errorTitle, rule.error = "That does not fit here", f"{spec.name}: expected {spec.expects}."[:255]
        rule.add(cell.address)
        self.worksheet.add_data_validation(rule)

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
            if kind == "s":
                _require_fits(value)
            plain = value if isinstance(value, (str, int)) else float(value)
            self.cells.setdefault(row, {})[column] = Content(kind, plain, style_number)


class Table:
    """Blocks that share rows: a head of name, formula in words and shape, then one row a step.

    Its columns are set aside first where formulas refer to them before they are filled, as every recurrence does.
    """

    def __init__(self, sheet: Sheet, row: int, column: int, length: int, parts: Sequence[str]) -> None:
        self.sheet, self.length, self.parts = sheet, length, parts
        self.head, self.next_column = row, column
        self.first = row + 3 + bool(parts)
        sheet.row_heights[row], sheet.row_heights[row + 1] = 32, 52
        sheet.next_row = self.first + length + 1

    def column(
        self,
        name: str,
        role: str,
        array: Any = None,
        *,
        words: str = "",
        torch: str = "",
        title: str | None = None,
        parts: Sequence[str] = (),
        number_format: str = style.NUMBER,
        width: float = 13,
        absolute: bool = False,
    ) -> Array:
        """The next column, or as many as the array has where it has two dimensions, as a block.

        Without an array one column is set aside, to be filled later. `title` is what stands above it where that is not
        the block's name. `parts` name its columns where they are not the table's parts.
        """
        shape = (self.length,) if array is None else np.shape(array)
        return self._column(name, role, shape, array, words, torch, title, parts, number_format, width, absolute)

    def columns(
        self,
        name: str,
        role: str,
        *,
        words: str = "",
        torch: str = "",
        title: str | None = None,
        parts: Sequence[str] = (),
        width: float = 13,
        absolute: bool = False,
    ) -> Array:
        """Sets aside one column for each of the parts, the table's own or others, as one block of two dimensions."""
        shape = (self.length, len(parts or self.parts))
        return self._column(name, role, shape, None, words, torch, title, parts, style.NUMBER, width, absolute)

    def fill(self, name: str, array: Any, number_format: str = style.NUMBER) -> None:
        """Fills a column that was set aside."""
        self.sheet.fill(name, array, number_format)

    def _column(
        self,
        name: str,
        role: str,
        shape: tuple[int, ...],
        array: Any,
        words: str,
        torch: str,
        title: str | None,
        parts: Sequence[str],
        number_format: str,
        width: float,
        absolute: bool,
    ) -> Array:
        left, sheet = self.next_column, self.sheet
        count = shape[1] if len(shape) == 2 else 1
        right = left + count - 1
        references = sheet.block(name, shape, role, self.first, left, words=words, torch=torch, absolute=absolute)
        if array is not None:
            sheet.fill(name, array, number_format)
        lines = [
            (title or name, style.head(role)),
            (words, style.words(role)),
            (shape_text(shape), style.words(role)),
        ]
        for offset, (text, look) in enumerate(lines):
            for column in range(left, right + 1):
                sheet.write(self.head + offset, column, text if column == left else "", look)
            sheet.merge(self.head + offset, left, right)
        if self.parts:
            names = parts or self.parts
            for column in range(left, right + 1):
                part = names[column - left] if count == len(names) else ""
                sheet.write(self.head + 3, column, part, style.words(role))
        sheet.width(left, max(width, len(title or name) * 1.2 / count + 2), right)
        self.next_column = right + 1
        return references


def _require_fits(text: str) -> None:
    """Raises `Error` for a text that no cell can hold."""
    if found := UNFIT.search(text):
        raise Error(f"{text[:60]!r}: a cell cannot hold the character {found[0]!r}; leave it out")
    if len(text) > LONGEST:
        raise Error(f"{text[:60]!r}…: a cell holds {LONGEST:,} characters, and this text has {len(text):,}")


def defined_name(block: str) -> str:
    """The workbook-level name for a block: letters, digits and underscores, and nothing that looks like a cell."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", block)
    if not re.match(r"[A-Za-z_]", name) or expr.looks_like_cell(name):
        name = "_" + name
    return name


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as a reader sees it: `one number`, `290`, `21 x 21`."""
    return " x ".join(map(str, shape)) if shape else "one number"


def parse_shape(text: str) -> tuple[int, ...]:
    """The shape that `shape_text` wrote. Raises `ValueError` for any other text."""
    shape = () if text == "one number" else tuple(int(size) for size in text.split(" x "))
    if any(size < 1 for size in shape):
        raise ValueError(text)
    return shape


def _matrix(shape: tuple[int, ...], across: bool) -> tuple[int, int]:
    """The rows and columns of a block's panel."""
    if len(shape) >= 2:
        return shape[-2], shape[-1]
    length = shape[0] if shape else 1
    return (1, length) if across else (length, 1)


def columns_of(shape: tuple[int, ...], most: int = expr.MAX_COLUMNS) -> int:
    """How many columns a block takes whose one dimension, if it has only one, runs across."""
    width = shape[-1] if shape else 1
    return max(beside + panel for _, beside, panel in _layout(shape[:-2], width, down=False, most=most))


def _layout(leading: tuple[int, ...], columns: int, down: bool, most: int) -> Iterator[tuple[int, int, int]]:
    """Where the panels of a block go: how many panels down, how many columns across, and how wide each is.

    The bands of a matrix are the same wherever it stands, so that ranges in formulas over two of them line up.
    """
    bands = _shares(columns, BAND)
    length = leading[-1] if leading and not down else 1
    rows = _shares(length, (most + 1) // (columns + 1)) if len(bands) == 1 else [1] * length
    below = 0
    for _ in range(math.prod(leading) // length):
        for across in rows:
            for width in bands:
                for beside in range(across):
                    yield below, beside * (width + 1), width
                below += 1


def _shares(length: int, most: int) -> list[int]:
    """`length` in as few shares as can be with none larger than `most` (or 1), all but the last of one size."""
    count = math.ceil(length / max(1, most))
    size = math.ceil(length / count)
    return [min(size, length - start) for start in range(0, length, size)]


def named(panels: list[Range]) -> list[Range]:
    """What a block's defined name refers to: its panels, or the range around them where a name cannot hold so many."""
    fit = sum(len(panel.absolute_place) + 1 for panel in panels) < expr.MAX_FORMULA
    return panels if fit else [_around(panels)]


def _around(ranges: Sequence[Range]) -> Range:
    """The smallest range that holds all of them, which are on one sheet."""
    top, left = min(each.top for each in ranges), min(each.left for each in ranges)
    bottom, right = max(each.bottom for each in ranges), max(each.right for each in ranges)
    return Range(ranges[0].sheet, top, left, bottom, right)


def _matrices(references: Array) -> list[Range]:
    """The ranges of a block's matrices, several of one that is in bands, or the one range of fewer dimensions."""
    matrices = references.reshape(-1, *references.shape[-2:]) if references.ndim > 2 else [references]
    return [each for matrix in matrices for each in _bands(matrix)]


def _bands(matrix: Array) -> list[Range]:
    """The range that a matrix fills, or those of its bands: its rows begin anew where a band does."""
    first = matrix[0] if matrix.ndim > 1 else matrix
    starts = [0] + [j for j in range(1, len(first)) if matrix.size > 1 and first[j].row > first[j - 1].row]
    if matrix.ndim < 2 and len(starts) == len(first):  # it runs down
        return [span(matrix)]
    return [span(matrix[..., start:end]) for start, end in zip(starts, [*starts[1:], len(first)], strict=True)]


def _addresses(ranges: Sequence[Range]) -> str:
    return " ".join(each.address for each in ranges)


def _rectangles(cells: list[Ref]) -> list[Range]:
    """The cells as ranges: one where they fill one, else a range for each run down a column or along a row."""
    if not cells:
        return []
    try:
        return [span(cells)]
    except ValueError:
        middle = len(cells) // 2
        return _rectangles(cells[:middle]) + _rectangles(cells[middle:])
