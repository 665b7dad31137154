"""A sheet of a session's workbook: its layout, what may be typed into it, its conditional formats and charts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sgdsheet.explorer import charts, formats, heights, inputs, layout
from sgdsheet.explorer.conditional import Rules
from sgdsheet.explorer.inputs import Rule
from sgdsheet.expr import Range, Ref, corners

if TYPE_CHECKING:
    from sgdsheet.explorer.session import Session

Corners = tuple[int, int, int, int]  # top, left, bottom, right

MOST_CHOICES = 1_000


class Page:
    """A sheet: its layout, what may be typed, its conditional formats and charts."""

    def __init__(self, session: Session, name: str) -> None:
        self._session, self._name = session, name
        self._worksheet = session.shell[name]
        self.grid = layout.grid(session.file, name)
        heights.fit(self.grid, session.styles, self._row)
        self._down, self._across = layout.rulers(self.grid)
        self._rules: tuple[int, Rules] | None = None

    def _row(self, row: int, left: int, right: int) -> list[Any]:
        return self._session.values(Range(self._name, row, left, row, right))[0].tolist()

    @cached_property
    def layout(self) -> dict[str, Any]:
        file = self._session.file
        found = layout.layout(self._worksheet, self.grid, file.names, [*file.sheets])
        found["links"] += layout.formula_links(file, self._name)
        found["inputs"] = [
            [*corners, rule.told() | ({"block": block} if block else {})] for corners, rule, block in self._inputs
        ]
        found["blocks"] = [
            [panel.top, panel.left, panel.bottom, panel.right, block.name]
            for block in self._session.blocks.values()
            for panel in block.panels
            if panel.sheet == self._name
        ]
        found["charts"] = self.charts
        for place in (chart["place"] for chart in self.charts):
            bottom, right = place["top"] + place["height"], place["left"] + place["width"]
            found["rows"] = max(found["rows"], self._down.at(bottom))
            found["columns"] = max(found["columns"], self._across.at(right))
        return found

    @cached_property
    def charts(self) -> list[dict[str, Any]]:
        return charts.charts(self._worksheet, self._across.start, self._down.start)

    @cached_property
    def _inputs(self) -> list[tuple[Corners, Rule, str]]:
        """Ranges that may be typed into, what fits there, and the block's name; the first that has a cell counts.

        In a workbook that sgdsheet made those are the cells that its register names, whose rules are in the sheet.
        """
        ruled = [
            ((part.min_row, part.min_col, part.max_row, part.max_col), inputs.rule(validation, self._texts))
            for validation in self._worksheet.data_validations.dataValidation
            for part in validation.sqref.ranges
        ]
        blocks = self._session.blocks
        if not blocks:
            return [(corners, rule, "") for corners, rule in ruled]
        found = []
        for block in blocks.values():
            for typed in block.typed:
                if typed.sheet == self._name:
                    whole = (typed.top, typed.left, typed.bottom, typed.right)
                    parts = [(part, rule) for corners, rule in ruled if (part := common(corners, whole))]
                    parts += [] if (whole in [part for part, _ in parts]) else [(whole, self._plain(*whole[:2]))]
                    found += [(part, rule, block.name) for part, rule in parts]
        return found

    def _plain(self, row: int, column: int) -> Rule:
        """The rule of a cell of which the sheet says nothing: a text where one stands, or else a number."""
        return Rule("text" if (row, column) in self.grid.texts else "number")

    def _texts(self, place: str) -> list[str]:
        """The texts in the cells that a drop-down refers to, as `$A$1:$A$3`, `lists!A1:A3` or a defined name."""
        text = self._session.file.names.get(place.removeprefix("="), place).lstrip("=")
        sheet, _, cells = text.rpartition("!")
        name = sheet.strip("'").replace("''", "'") or self._name
        try:
            top, left, bottom, right = corners(cells)
        except ValueError:  # a formula that would have to be calculated
            return []
        if name not in self._session.file.sheets or (bottom - top + 1) * (right - left + 1) > MOST_CHOICES:
            return []
        values = self._session.values(Range(name, top, left, bottom, right)).ravel()
        return [formats.text(value, "General") for value in values if value is not None]

    def rule(self, row: int, column: int) -> Rule | None:
        """What may be typed into a cell, or None if nothing may."""
        session, cell = self._session, Ref(self._name, row, column)
        if session.model.has_formula(cell):
            return None
        for (top, left, bottom, right), rule, _ in self._inputs:
            if top <= row <= bottom and left <= column <= right:
                plain = rule.kind in ("text", "number") and not rule.message and rule == Rule(rule.kind)
                return self._plain(row, column) if plain else rule
        if session.blocks:
            return None
        held = session.value(cell)
        free = self._worksheet.protection.sheet and self.grid.style(row, column) in session.styles.unlocked
        number = isinstance(held, float | int) and not isinstance(held, bool)
        return self._plain(row, column) if free or number else None

    def block(self, row: int, column: int) -> str:
        """The name of the block whose input a cell is, or else nothing."""
        return next((name for (t, a, b, z), _, name in self._inputs if t <= row <= b and a <= column <= z), "")

    def typable(self, view: Range) -> set[tuple[int, int]]:
        """The cells of a view that may be typed into."""
        seen = (view.top, view.left, view.bottom, view.right)
        ours, has_formula = bool(self._session.blocks), self._session.model.has_formula
        parts = [part for corners, _, _ in self._inputs if (part := common(corners, seen))] if ours else [seen]
        return {
            (row, column)
            for top, left, bottom, right in parts
            for row in range(top, bottom + 1)
            for column in range(left, right + 1)
            if (not has_formula(Ref(self._name, row, column)) if ours else self.rule(row, column) is not None)
        }

    def series(self) -> dict[str, Any]:
        """The numbers of each chart, by its place among the sheet's."""
        return {str(number): charts.series(chart, self._session.values) for number, chart in enumerate(self.charts)}

    def rules(self) -> Rules | None:
        """The conditional formats for the values as they are now."""
        session, formatting = self._session, self._worksheet.conditional_formatting
        if not formatting:
            return None
        if self._rules is None or self._rules[0] != session.version:
            rules = Rules(formatting, self._name, session.file.names, session.styles.color)
            self._rules = session.version, rules
        return self._rules[1]


def common(one: Corners, other: Corners) -> Corners | None:
    """What two rectangles share."""
    top, left, bottom, right = (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )
    return (top, left, bottom, right) if top <= bottom and left <= right else None
