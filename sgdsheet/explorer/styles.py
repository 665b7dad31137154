"""How cells look, in the words of CSS: fonts, fills, borders and where the text stands, a style number each."""

from __future__ import annotations

import colorsys
import re
from typing import Any

from openpyxl.styles.borders import Border, Side
from openpyxl.styles.colors import COLOR_INDEX, Color
from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE
from openpyxl.workbook import Workbook

_FONT, _SIZE = "Calibri", 11  # of a cell of which nothing is said
# In the order in which colours count them; a theme's file has dark and light the other way round.
_THEME = ("lt1", "dk1", "lt2", "dk2", *(f"accent{number}" for number in range(1, 7)), "hlink", "folHlink")
_OFFICE = (
    "ffffff 000000 e7e6e6 44546a 4472c4 ed7d31 a5a5a5 ffc000 5b9bd5 70ad47 0563c1 954f72".split()  # where there is none
)
_SEEN = {"fill", "top", "right", "bottom", "left"}
_HORIZONTAL = {
    "left": "left",
    "center": "center",
    "right": "right",
    "justify": "justify",
    "fill": "fill",
    "centerContinuous": "center",
}
_VERTICAL = {"top": "top", "center": "middle", "justify": "top", "distributed": "middle"}  # at the bottom otherwise
_LINES = {
    "thin": "1px solid",
    "hair": "1px dotted",
    "dotted": "1px dotted",
    "dashed": "1px dashed",
    "dashDot": "1px dashed",
    "dashDotDot": "1px dashed",
    "medium": "2px solid",
    "mediumDashed": "2px dashed",
    "mediumDashDot": "2px dashed",
    "mediumDashDotDot": "2px dashed",
    "slantDashDot": "2px dashed",
    "thick": "3px solid",
    "double": "3px double",
}


class Styles:
    """The styles of a workbook by their numbers.

    `looks` has for each only what differs from black Calibri 11 at the bottom of a white cell: `font`, `size` (points),
    `bold`, `italic`, `underline`, `strike`, `color`, `fill`, `align`, `valign`, `wrap`, `shrink`, `indent` (steps),
    `rotate` (degrees, against the clock), and `top`, `right`, `bottom`, `left` as `1px solid #rrggbb`. `formats` has
    their number formats, `seen` the numbers of those that show in a blank cell, `unlocked` the numbers of those that a
    protected sheet lets a reader change.
    """

    def __init__(self, workbook: Workbook) -> None:
        self._theme = _theme(workbook.loaded_theme)
        self._palette = [color[-6:].lower() for color in getattr(workbook, "_colors", None) or COLOR_INDEX]
        held: Any = workbook
        self.looks = [self._look(held, style) for style in held._cell_styles]
        self.seen = {number for number, look in enumerate(self.looks) if look.keys() & _SEEN}
        self.formats = [_number_format(held, style.numFmtId) for style in held._cell_styles]
        self.unlocked = {
            number
            for number, style in enumerate(held._cell_styles)
            if not getattr(held._protections[style.protectionId], "locked", True)
        }

    def color(self, color: Color | None) -> str | None:
        """A colour as `#rrggbb`; None where the file leaves it to the program."""
        if color is None:
            return None
        if color.type == "rgb" and isinstance(color.rgb, str):
            found = color.rgb[-6:].lower()
        elif color.type == "theme" and 0 <= color.theme < len(self._theme):
            found = self._theme[color.theme]
        elif color.type == "indexed" and 0 <= color.indexed < len(self._palette):  # 64 and 65 are the system's
            found = self._palette[color.indexed]
        else:
            return None
        if not re.fullmatch("[0-9a-f]{6}", found):
            return None
        return "#" + (_tinted(found, color.tint) if color.tint else found)

    def _look(self, workbook: Any, style: Any) -> dict[str, Any]:
        font, fill = workbook._fonts[style.fontId], workbook._fills[style.fillId]
        align = workbook._alignments[style.alignmentId]
        color = self.color(font.color)
        look = {
            "font": font.name if font.name not in (None, _FONT, "Carlito") else None,
            "size": font.sz if font.sz not in (None, _SIZE) else None,
            "bold": bool(font.b),
            "italic": bool(font.i),
            "underline": font.u not in (None, "none"),
            "strike": bool(font.strike),
            "color": None if color == "#000000" else color,
            "fill": self._fill(fill),
            "align": _HORIZONTAL.get(align.horizontal),
            "valign": _VERTICAL.get(align.vertical),
            "wrap": bool(align.wrap_text),
            "shrink": bool(align.shrink_to_fit),
            "indent": int(align.indent or 0),
            "rotate": _rotation(align.textRotation or 0),
            **self._border(workbook._borders[style.borderId]),
        }
        return {name: value for name, value in look.items() if value}

    def _fill(self, fill: Any) -> str | None:
        if fill.tagname == "gradientFill":
            return self.color(fill.stop[0].color) if fill.stop else None
        return self.color(fill.fgColor) if fill.fill_type == "solid" else None

    def _border(self, border: Border) -> dict[str, str]:
        def line(side: Side | None) -> str | None:
            kind = _LINES.get(side.style or "") if side else None
            return f"{kind} {self.color(side.color) or '#000000'}" if side and kind else None

        sides = {name: line(getattr(border, name)) for name in ("top", "right", "bottom", "left")}
        return {name: each for name, each in sides.items() if each}


def _theme(theme: bytes | str | None) -> list[str]:
    """The colours of a theme's file."""
    text = theme.decode("utf-8", "replace") if isinstance(theme, bytes) else theme or ""
    found = []
    for name, usual in zip(_THEME, _OFFICE, strict=True):
        entry = re.search(rf'<a:{name}>.*?(?:lastClr|srgbClr val)="([0-9A-Fa-f]{{6}})"', text, re.DOTALL)
        found.append(entry[1].lower() if entry else usual)
    return found


def _tinted(color: str, tint: float) -> str:
    """A colour made lighter, towards 1, or darker, towards -1, as Open XML says."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (0, 2, 4))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    light = light * (1 + tint) if tint < 0 else light * (1 - tint) + tint
    mixed = colorsys.hls_to_rgb(hue, min(1, max(0, light)), saturation)
    return "".join(f"{round(255 * part):02x}" for part in mixed)


def _number_format(workbook: Any, number: int) -> str:
    if number < BUILTIN_FORMATS_MAX_SIZE:
        return BUILTIN_FORMATS.get(number, "General")
    own = number - BUILTIN_FORMATS_MAX_SIZE
    return workbook._number_formats[own] if own < len(workbook._number_formats) else "General"


def _rotation(held: int) -> int:
    """Degrees against the clock; the file counts those with it from 90 on, and 255 is letters one below another."""
    return 0 if held == 255 else held if held <= 90 else 90 - held
