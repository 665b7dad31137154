"""IronCalc, a spreadsheet engine that comes as a Python package and needs no other program: the default."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sgdsheet.engines.common import CellError, Formula, Value, as_array, require_sheets, require_workbook
from sgdsheet.errors import Error, one_line
from sgdsheet.expr import Range, Ref

MANY_NAMES = 100
# Not the charts, and not the notes, whose place in openpyxl's files IronCalc does not find.
_NEEDED = re.compile(r"\[Content_Types\]\.xml|_rels/\.rels|xl/([^/]+|theme/[^/]+|worksheets/[^/]+)\.xml|xl/_rels/[^/]+")
_FORMAT = re.compile(rb"<conditionalFormatting\b[^>]*?(?:/>|>.*?</conditionalFormatting>)", re.DOTALL)
_BLANK = re.compile(rb'(<c\b[^>]*) t="n" ?/>')
_NAME = re.compile(rb'<definedName\b[^>]*?\bname="([^"]*)"[^>]*>(.*?)</definedName>', re.DOTALL)


class IronCalc:
    """Calculates inside this process. See `sgdsheet.engines.Engine`."""

    name = "ironcalc"

    def missing(self) -> str | None:
        if importlib.util.find_spec("ironcalc") is None:
            return "the package ironcalc is not installed; pip install ironcalc"
        return None

    def calculate(self, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        return self.opened(path).calculate((), ranges)

    def opened(self, path: Path) -> Opened:
        """The workbook, loaded once to be calculated several times."""
        return Opened(path)


class Opened:
    """A workbook in memory; its file stays as it is. See `sgdsheet.engines.Opened`."""

    def __init__(self, path: Path) -> None:
        # Not by an import statement, which readers and type checkers take for this very file.
        self._ironcalc, self._path = importlib.import_module("ironcalc"), path
        require_workbook(path)
        with self._explained(), tempfile.TemporaryDirectory() as folder:
            self._model = self._ironcalc.load_from_xlsx(str(_lean(path, Path(folder))), "en", "UTC", "en")
        self._sheets = {each["name"]: number for number, each in enumerate(self._model.get_worksheets_properties())}

    def calculate(self, cells: Iterable[tuple[Ref, float | str | None]], ranges: Sequence[Range]) -> list[np.ndarray]:
        model, sheets = self._model, self._sheets
        require_sheets(self._path, ranges, sheets)
        with self._explained():
            for cell, value in cells:
                place = (sheets[cell.sheet], cell.row, cell.column)
                if value is None:
                    model.clear_cell_contents(*place)
                elif isinstance(value, Formula):
                    model.set_user_input(*place, value)
                elif isinstance(value, str):
                    model.update_cell_with_text(*place, value)
                else:
                    model.update_cell_with_number(*place, value)
            model.evaluate()
        return [self.read(range_) for range_ in ranges]

    def read(self, range_: Range) -> np.ndarray:
        """What a range holds since it was last calculated, as `Engine.calculate` returns it."""
        value_of, type_of = self._model.get_cell_value, self._model.get_cell_type
        is_error, sheet = self._ironcalc.CellType.ErrorValue, self._sheets[range_.sheet]
        columns = range(range_.left, range_.right + 1)
        values: list[Value] = []
        for row in range(range_.top, range_.bottom + 1):
            for column in columns:
                value = value_of(sheet, row, column)
                # An error comes as its text; only a text that looks like one is worth the second question.
                if isinstance(value, str) and value[:1] == "#" and type_of(sheet, row, column) == is_error:
                    value = CellError(value)
                values.append(value)
        return as_array(values, range_.shape)

    def has_formula(self, cell: Ref) -> bool:
        """Whether a cell holds a formula."""
        return self._model.get_cell_formula(self._sheets[cell.sheet], cell.row, cell.column) is not None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            # A panic in Rust arrives as a PanicException, which is no Exception and which no module exports.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise Error(f"{self._path}: IronCalc cannot calculate this file: {one_line(error)}") from None


def _lean(path: Path, folder: Path) -> Path:
    """The file without what takes IronCalc's time and changes no value, or what it misreads.

    For heat maps and other conditional formats it calculates the whole file while it loads it, and then once more. It
    goes through all defined names for every formula: a thousand names and 200,000 formulas take it 9 s instead of 3.
    A blank cell that openpyxl saved says that it is a number, which IronCalc takes for 0.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist() if _NEEDED.fullmatch(name)}
    sheets = [name for name in parts if name.startswith("xl/worksheets/")]
    for name in sheets:
        parts[name] = _FORMAT.sub(b"", parts[name])
        if b' t="n"' in parts[name]:
            parts[name] = _BLANK.sub(rb"\1/>", parts[name])
    names = _NAME.findall(parts.get("xl/workbook.xml", b""))
    if len(names) > MANY_NAMES:
        formulas = [text for _, text in names]
        for name in sheets:
            formulas += re.findall(rb"<f[^>]*>([^<]+)</f>", parts[name])
        used = set(re.findall(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_.\x80-\xff]*", b" ".join(formulas)))
        used = {word.lower() for word in used}
        parts["xl/workbook.xml"] = _NAME.sub(
            lambda match: match[0] if match[1].lower() in used else b"", parts["xl/workbook.xml"]
        )
    lean = folder / "lean.xlsx"
    with zipfile.ZipFile(lean, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return lean
