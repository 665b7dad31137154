"""How a cell looks: one look a role, so that a glance tells data, parameter, activation, gradient and state apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from openpyxl.cell import Cell
from openpyxl.formatting.rule import ColorScaleRule, Rule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.styles.numbers import NumberFormat
from openpyxl.worksheet.worksheet import Worksheet

NUMBER = "0.000"
DOTTED = '0.000;-0.000;"\u00b7"'  # a dot for a zero
SHORT = "0.00"
SPARSE = '0.00;-0.00;"\u00b7"'  # a dot for a zero, where most are zero
WHOLE = "0"
PRECISE = "General"
SQUARE = "[=0]0.000;[<0.005]0.0E+00;0.000"  # never negative; digits where 0.000 would hide them

TABS = {"play": "FFD966", "read": "9DC3E6", "details": "BFBFBF"}

# Light enough for black digits, and told apart by colour-blind readers; the header's tint is the second.
ROLES: dict[str, tuple[str, str, str]] = {
    "input": ("FFF2CC", "FFD966", "type here: all else follows"),
    "data": ("DDEBF7", "9DC3E6", "the data to learn from"),
    "parameter": ("E2EFDA", "A9D08E", "what is learned"),
    "activation": ("ECECEC", "C4C4C4", "computed on the way forward"),
    "gradient": ("FCE4D6", "F4B183", "how the loss changes with a parameter"),
    "optimiser state": ("E9E3F3", "B8A9D9", "what the optimiser remembers"),
    "loss": ("FBE0E3", "EBA5AC", "how wrong the model is"),
    "check": ("FFFFFF", "E6E6E6", "counting, choosing and checking"),
}


@dataclass(frozen=True)
class Scale:
    """The colours of a heat map: at the smallest value, in the middle, at the largest.

    The middle is the median, or half way between the ends with `percent`, or 0 with `zero`: the ends are then as far
    from 0 as the number that is furthest from it, and at least `reach`.
    """

    colors: tuple[str, str, str]
    middle: str
    reach: float = 1e-300


# All are safe for colour-blind readers and keep black digits legible.
SEQUENTIAL = Scale(("FFFFFF", "FDD49E", "E8853B"), "median")
DIVERGING = Scale(("6BAED6", "FFFFFF", "FDAE6B"), "zero")
INK = Scale(("FFFFFF", "F8B4A4", "EC5A43"), "percent")
LIGHT = Scale(("8A8A8A", "C4C4C4", "FFFFFF"), "percent")
HEAT = Scale(("FFFFFF", "FDD49E", "E8853B"), "percent")
_MIDDLES = {"median": ("percentile", 50), "percent": ("percent", 50), "zero": ("num", 0)}

LETTER_OF_A_HEAD = 1.15  # how wide a letter of a bold name is, measured in characters of a column

# Lines in charts: Okabe and Ito's colours, the yellow left out (invisible on white).
LINES = ("0072B2", "E69F00", "009E73", "D55E00", "CC79A7", "56B4E9", "000000")


@dataclass(frozen=True)
class Look:
    """A cell's font, fill, border, number format and alignment."""

    fill: str | None = None
    color: str = "000000"
    bold: bool = False
    italic: bool = False
    size: float = 11
    border: str | None = None
    number_format: str = PRECISE
    horizontal: str | None = None
    wrap: bool = False
    underline: bool = False
    indent: int = 0
    shrink: bool = False
    vertical: str | None = None


TITLE = Look(bold=True, size=18, color="1F3864")
SUBTITLE = Look(size=11, color="404040")
HEADING = Look(bold=True, size=13, color="1F3864")
TEXT = Look()
PROSE = Look(wrap=True)
NOTE = Look(italic=True, color="595959", size=10, indent=1)
WRAPPED_NOTE = replace(NOTE, wrap=True, indent=0)
FAINT = Look(color="A6A6A6", size=8)
LABEL = Look(bold=True)
LABEL_ABOVE = Look(bold=True, wrap=True, vertical="bottom")
LINK = Look(color="0563C1", underline=True)
SMALL_LINK = replace(LINK, size=9)
INDENTED = Look(indent=1)
PARAGRAPH = Look(wrap=True, vertical="top")
MORE = Look(italic=True, color="7F7F7F", size=9, wrap=True, horizontal="center")
TABLE_HEAD = Look(bold=True, fill="D9D9D9", border="7F7F7F")
TABLE_CELL = Look(border="D9D9D9")
TABLE_PROSE = Look(border="D9D9D9", wrap=True)
WRAPPED_LINK = replace(LINK, border="D9D9D9", wrap=True)


def body(role: str, number_format: str = NUMBER) -> Look:
    """The look of a block's cells. A number that does not fit is shown smaller, never as ###."""
    fill = ROLES[role][0]
    if role == "input":
        return Look(fill, "1F3FBF", bold=True, border="BF9000", number_format=number_format, shrink=True)
    return Look(fill, border="E3E3E3", number_format=number_format, shrink=True)


def typed(number_format: str = NUMBER) -> Look:
    """The one look of cells that the reader may type into: yellow; the frame and the digits stay under a heat map."""
    return body("input", number_format)


def head(role: str) -> Look:
    """The look of a block's name above its cells."""
    return Look(fill=ROLES[role][1], bold=True, border="7F7F7F", horizontal="center", wrap=True)


def words(role: str) -> Look:
    """The look of the formula in words, and of the shape, above a block's cells."""
    return Look(
        fill=ROLES[role][0], italic=True, size=9, color="404040", border="D9D9D9", horizontal="center", wrap=True
    )


def flow(role: str) -> Look:
    """The look of a role in the small picture of how the numbers flow."""
    return Look(fill=ROLES[role][1], border="7F7F7F", horizontal="center", shrink=True)


def tab(kind: str) -> Look:
    """The look of a sheet's name in the list of sheets, in the colour of its tab."""
    return replace(LINK, fill=TABS[kind])


def said(look: Look) -> Look:
    """The look of a cell that says how far a task is done, in a place that had another."""
    return replace(look, bold=True, italic=False, color="404040")


class Styles:
    """Turns looks into the style numbers of one workbook, each look once."""

    def __init__(self, worksheet: Worksheet) -> None:
        self._worksheet = worksheet
        self._numbers: dict[Look, int] = {}

    def number(self, look: Look) -> int:
        """The workbook's number for this look."""
        if look not in self._numbers:
            cell = Cell(self._worksheet, row=1, column=1)
            cell.font = Font(
                name="Calibri",
                size=look.size,
                bold=look.bold,
                italic=look.italic,
                color="FF" + look.color,
                underline="single" if look.underline else None,
            )
            if look.fill:
                cell.fill = PatternFill("solid", fgColor="FF" + look.fill)
            if look.border:
                side = Side(style="thin", color="FF" + look.border)
                cell.border = Border(left=side, right=side, top=side, bottom=side)
            wraps = look.wrap or look.horizontal is not None
            cell.alignment = Alignment(
                horizontal="left" if look.indent else look.horizontal,
                vertical=look.vertical or ("center" if wraps else None),
                wrap_text=look.wrap or None,
                shrink_to_fit=look.shrink or None,
                indent=look.indent,
            )
            cell.number_format = look.number_format
            self._numbers[look] = cell.style_id
        return self._numbers[look]

    def look(self, number: int) -> Look:
        """The look that has this number."""
        return next(look for look, held in self._numbers.items() if held == number)


def color_scale(scale: Scale, span: str) -> Rule:
    """A heat map's rule for numbers within `span`, as in `$A$1:$C$3`."""
    low, middle, high = ("FF" + color for color in scale.colors)
    middle_type, middle_value = _MIDDLES[scale.middle]
    ends: dict[str, Any] = {"start_type": "min", "end_type": "max"}
    if scale.middle == "zero":
        furthest = f"MAX(MAX({span}),-MIN({span}),{repr(scale.reach).upper()})"
        ends = {"start_type": "formula", "start_value": f"-{furthest}", "end_type": "formula", "end_value": furthest}
    return ColorScaleRule(
        start_color=low, mid_type=middle_type, mid_value=middle_value, mid_color=middle, end_color=high, **ends
    )


def large_numbers(top_left: str) -> Rule:
    """Powers of ten for what three decimals have no room for: a diverging run must not turn into ###.

    A number format with conditions would do, but LibreOffice then drops the minus sign.
    """
    return _powers_of_ten(f"ABS({top_left})>=100000", top_left)


def small_numbers(top_left: str) -> Rule:
    """Powers of ten for what three decimals would show as 0.000 though it is not 0."""
    return _powers_of_ten(f"AND({top_left}<>0,ABS({top_left})<0.0005)", top_left)


def _powers_of_ten(condition: str, cell: str) -> Rule:
    look = DifferentialStyle(numFmt=NumberFormat(numFmtId=200, formatCode="0.0E+00"))
    return Rule(type="expression", dxf=look, formula=[f"IF(ISNUMBER({cell}),{condition},FALSE)"])


def verdicts(cell: str) -> list[Rule]:
    """Blue where a cell says `right`, orange where it says what is wrong."""
    colors = {f'{cell}="right"': "9DC3E6", f'AND({cell}<>"right",{cell}<>"not yet")': "FBD5B5"}
    return [
        Rule(type="expression", dxf=DifferentialStyle(fill=PatternFill(bgColor="FF" + color)), formula=[condition])
        for condition, color in colors.items()
    ]


def framed(mark: str) -> Rule:
    """Bold digits in a dark frame where the cell `mark` is above 0."""
    side = Side(style="thin", color="FF000000")
    look = DifferentialStyle(
        font=Font(b=True, color="FF1F3864"), border=Border(left=side, right=side, top=side, bottom=side)
    )
    return Rule(type="expression", dxf=look, formula=[f"{mark}>0"])


def dotted(mark: str) -> Rule:
    """A dark dot in place of the number where the cell `mark` is above 0."""
    dot = NumberFormat(numFmtId=201, formatCode='"\u25cf";"\u25cf";"\u25cf"')
    return Rule(
        type="expression", dxf=DifferentialStyle(font=Font(b=True, color="FF000000"), numFmt=dot), formula=[f"{mark}>0"]
    )
