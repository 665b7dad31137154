"""Charts: points or lines over a numeric x axis, or columns over words, with a title and named axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openpyxl.chart import BarChart, Reference, ScatterChart
from openpyxl.chart.data_source import AxDataSource, StrRef
from openpyxl.chart.label import DataLabelList
from openpyxl.chart.legend import LegendEntry
from openpyxl.chart.marker import Marker
from openpyxl.chart.series import SeriesLabel, XYSeries
from openpyxl.chart.series_factory import SeriesFactory
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.chart.text import RichText, Text
from openpyxl.chart.title import Title
from openpyxl.drawing.line import LineProperties
from openpyxl.drawing.text import CharacterProperties, Paragraph, ParagraphProperties, RegularTextRun

from sgdsheet.book import style
from sgdsheet.expr import Ref
from sgdsheet.tensor import span

Chart = ScatterChart | BarChart

Limits = tuple[float | None, float | None]

_DASHES = ("solid", "sysDash", "lgDash")


@dataclass(frozen=True)
class Series:
    """One line or cloud of points: `x` and `y` are arrays of references that each fill one range.

    Where it is `named`, its label stands right of each of its points. The `label` may be a reference, to a cell whose
    words it shows; a line without one is not in the legend. `color` is one of the lines' colours by number, or any as
    RRGGBB.
    """

    label: str | Ref
    x: Any
    y: Any
    points: bool = False
    line: bool = True
    color: int | str | None = None
    width: float = 1.75
    named: bool = False


def scatter(
    title: str,
    x_title: str,
    y_title: str,
    series: Sequence[Series],
    *,
    width: float = 17,
    height: float = 9,
    log: bool = False,
    log_x: bool = False,
    x_range: Limits | None = None,
    y_range: Limits | None = None,
    legend: bool = True,
) -> ScatterChart:
    """A chart of `series`, `width` by `height` centimetres; `log` gives the y axis powers of ten, `log_x` the x axis.

    A range says where an axis begins and ends; at an end that is None the program that shows the chart decides. Without
    a `legend` the plot is larger: say beside it what its colours are.
    """
    chart = ScatterChart()
    chart.scatterStyle = "lineMarker"
    named = sum(each.label != "" for each in series)
    _dress(chart, title, (x_title, x_range), (y_title, y_range), named, width, height)
    if log:
        chart.y_axis.scaling.logBase = 10
        chart.y_axis.number_format = "0E+0"
        chart.y_axis.crosses = "min"
    if log_x:
        chart.x_axis.scaling.logBase = 10
        chart.x_axis.crosses = "min"
    if not legend or all(each.named for each in series):
        chart.legend = None
    unnamed = [position for position, each in enumerate(series) if each.label == ""]
    if chart.legend is not None:
        chart.legend.legendEntry = [LegendEntry(idx=position, delete=True) for position in unnamed]
    for position, each in enumerate(series):
        chart.series.append(_series(each, position if each.color is None else each.color))
    return chart


def bars(
    title: str,
    x_title: str,
    y_title: str,
    labels: Any,
    heights: Sequence[tuple[str, Any]],
    *,
    width: float = 17,
    height: float = 9,
    y_range: Limits | None = None,
) -> BarChart:
    """A column over each of `labels`, or one for each of `heights`: pairs of what it is called and its cells.

    `labels` and the cells are arrays of references that each fill one range; the labels' cells may hold words. Width,
    height and range as for `scatter`.
    """
    chart = BarChart()
    chart.gapWidth = 60
    _dress(chart, title, (x_title, None), (y_title, y_range), len(heights), width, height)
    for position, (label, cells) in enumerate(heights):
        made = SeriesFactory(Reference(range_string=span(cells).absolute_place))
        made.tx = SeriesLabel(v=label)
        made.cat = AxDataSource(strRef=StrRef(f=span(labels).absolute_place))
        made.invertIfNegative = False
        made.graphicalProperties.solidFill = style.LINES[position % len(style.LINES)]
        chart.series.append(made)
    return chart


def _dress(
    chart: Chart,
    title: str,
    x: tuple[str, Limits | None],
    y: tuple[str, Limits | None],
    series: int,
    width: float,
    height: float,
) -> None:
    """What all charts share: title, named axes, legend, size."""
    chart.style = 2
    chart.roundedCorners = False  # Excel's own default, which is round where nothing is said
    chart.visible_cells_only = False  # what stands in closed columns is drawn too
    chart.title = _title(title, 1300)
    chart.width, chart.height = width, height  # type: ignore[assignment]
    chart.legend.position = "b" if series <= 6 else "r"  # type: ignore[union-attr]
    chart.legend.overlay = False  # type: ignore[union-attr]
    if series == 1:
        chart.legend = None
    chart.x_axis.axPos = "b"  # openpyxl puts both at the left; Excel and LibreOffice forgive that, ONLYOFFICE does not
    for axis, (name, limits) in ((chart.x_axis, x), (chart.y_axis, y)):
        axis.title = _title(name, 1000)
        axis.delete = False  # openpyxl leaves this out, and Excel then hides the axis
        axis.number_format = "General"
        if axis.majorGridlines is not None:
            axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="E0E0E0", w=6350))
        axis.tickLblPos = "low"
        if limits:
            axis.scaling.min, axis.scaling.max = limits


def _title(text: str, size: int) -> Title:
    """A title that takes its own room; `size` in hundredths of a point."""
    look = CharacterProperties(sz=size, b=True)
    paragraph = Paragraph(pPr=ParagraphProperties(defRPr=look), r=[RegularTextRun(rPr=look, t=text)])
    return Title(tx=Text(rich=RichText(p=[paragraph])), overlay=False)


def _series(each: Series, color: int | str) -> XYSeries:
    made: XYSeries = SeriesFactory(
        Reference(range_string=span(each.y).absolute_place),
        Reference(range_string=span(each.x).absolute_place),
    )
    if isinstance(each.label, Ref):
        made.tx = SeriesLabel(strRef=StrRef(f=span([each.label]).absolute_place))
    else:
        made.tx = SeriesLabel(v=each.label)
    turn, number = (0, 0) if isinstance(color, str) else divmod(color, len(style.LINES))
    rgb = color if isinstance(color, str) else style.LINES[number]
    if each.line:
        dash = _DASHES[turn % len(_DASHES)]
        made.graphicalProperties.line = LineProperties(solidFill=rgb, w=int(each.width * 12700), prstDash=dash)
    else:
        made.graphicalProperties.line.noFill = True
    made.smooth = False
    marker = Marker(symbol="circle", size=6) if each.points else Marker(symbol="none")
    if each.points:
        marker.graphicalProperties = GraphicalProperties(solidFill=rgb, ln=LineProperties(solidFill=rgb))
    made.marker = marker
    if each.named:
        others = dict.fromkeys(("showVal", "showCatName", "showLegendKey", "showPercent", "showBubbleSize"), False)
        made.dLbls = DataLabelList(showSerName=True, dLblPos="r", **others)
    return made
