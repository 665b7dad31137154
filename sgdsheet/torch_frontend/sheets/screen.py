"""A whole step on one sheet: from the data on the left through layer after layer to the loss, gradients below.

What belongs to one thing is a station: a block of the forward pass with its gradient below it; a module's parameters
with their gradients, the optimiser's states and the new parameters below them. Stations follow each other from left to
right as the data flows, and go on below where the screen ends.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from sgdsheet.book import NUMBER, WHOLE, Book, Series, Sheet, dependencies, scatter, style
from sgdsheet.book.blocks import around, panels
from sgdsheet.book.geometry import SCREEN, chart_pixels, column_pixels, text_lines, text_pixels
from sgdsheet.expr import Range, choose, compare
from sgdsheet.tensor import argmax, index
from sgdsheet.tensor import sum as total
from sgdsheet.torch_frontend.program.program import CLASSES, NUMBERS, Program
from sgdsheet.torch_frontend.sheets.notation import briefly
from sgdsheet.torch_frontend.sheets.pages import Label, Pages, Space, shown
from sgdsheet.torch_frontend.sheets.stations import BELOW, NEW, STATES

WIDTH, TIGHT = 8, 6.3  # characters of a column where a step has one row of stations, or several
COLUMNS = SCREEN[0] // column_pixels(TIGHT)  # that a screen shows
NARROW, ROOMY = 2, 8  # columns that a heading takes at least, and that it may take beyond its block's own
TRIED = 6  # modules with parameters for which each way to lay them is tried
CLOSED = " + at the left opens the optimiser's states, and what gradients are sums of."
Station = dict[int, list[Label]]  # by line, what stands beside each other
ARROW_WIDTH = 3
GAP = 10  # pixels beside a chart
LINES = 8  # of a formula in words, at most
FRONT = 3  # on the first sheet
LINKS = 2  # to what a block reads, and as many to what reads it
LINKED = 2  # lines of a station whose blocks have links: what is computed, and its gradient
SMALL = 9  # points of what is written in words
TITLE = replace(style.HEADING, size=10, wrap=True, vertical="bottom")
NOTE = replace(style.WRAPPED_NOTE, size=SMALL, vertical="top")
ARROW = replace(style.HEADING, size=14, color="7F7F7F", horizontal="center")
MARGIN = 8  # pixels of a cell beside its words
BOLD = 1.07  # how much wider a bold letter is


@dataclass
class Layout:
    """Where everything of a step stands, from the first row of the step's own: a block's heading, and columns for it.

    Blocks are named without their step: `0:loss` for what belongs to the step, `1:param/…` for what the next begins
    with. An arrow has its row and column, and the block that it leads to. `narrow` are columns that hold arrows only,
    `quiet` blocks whose words stand above the block beside them already, `said` shorter words where there is no room,
    `wide` how many columns words have, `folded` the first and the last of rows that are closed.
    """

    spaces: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    heights: dict[int, float] = field(default_factory=dict)
    arrows: list[tuple[int, int, str]] = field(default_factory=list)
    narrow: list[int] = field(default_factory=list)
    quiet: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)
    wide: dict[str, int] = field(default_factory=dict)
    folded: list[tuple[int, int]] = field(default_factory=list)
    width: float = TIGHT
    rows: int = 0

    def pixels(self, left: int, columns: int) -> int:
        """How much room for words so many columns have."""
        held = sum(left <= each < left + columns for each in self.narrow)
        return (columns - held) * column_pixels(self.width) + held * column_pixels(ARROW_WIDTH) - MARGIN

    @property
    def height(self) -> float:
        """In points, as long as what is folded is closed."""
        closed = {row for first, last in self.folded for row in range(first, last + 1)}
        return sum(self.heights.get(row, 15) for row in range(1, self.rows) if row not in closed)


def layout(k: int, labels: Sequence[Label], reads: Mapping[str, Sequence[str]]) -> Layout:
    """Where the blocks of step k go: in one row of stations if a screen is wide enough, else in several.

    `reads` holds the titles of what each block is computed from. A module's parameters then have their gradients and
    the new ones below them, or beside them, whichever takes less room.
    """
    stations: dict[str, Station] = {}
    for label in _in_order(labels):
        stations.setdefault(label.station, {}).setdefault(label.line, []).append(label)
    if _pixels(stations.values()) <= SCREEN[0]:
        return _row_of(k, [*stations.values()], reads)
    ways = [(each, _turned(each)) if name.startswith("param ") else (each,) for name, each in stations.items()]
    if sum(len(each) > 1 for each in ways) <= TRIED:
        choices = [*itertools.product(*ways)]
    else:
        choices = [tuple(each[0] for each in ways), tuple(each[-1] for each in ways)]
    return min((_rows_of(k, each, reads) for each in choices), key=lambda each: each.height)


def _row_of(k: int, stations: Sequence[Station], reads: Mapping[str, Sequence[str]]) -> Layout:
    """All stations beside each other, with narrow arrows between them."""
    found, column, band = Layout(width=WIDTH), 1, []
    for station in stations:
        band.append((column, station))
        column += _width(station) + 1
    found.narrow = [column - 1 for column, _ in band[1:]]
    found.rows = _lay(found, k, 1, band, reads)
    return found


def _rows_of(k: int, stations: Sequence[Station], reads: Mapping[str, Sequence[str]]) -> Layout:
    """As many stations beside each other as there is room, the next ones below."""
    found, row = Layout(), 1
    band: list[Station] = []
    for station in stations:
        if band and sum(_width(each) + 1 for each in (*band, station)) > COLUMNS + 1:
            band, begun = _parted(band, station)
            row = _lay(found, k, row, _placed(band), reads)
            band = begun
        band.append(station)
    found.rows = _lay(found, k, row, _placed(band), reads)
    return found


def _placed(band: Iterable[Station]) -> list[tuple[int, Station]]:
    """Stations beside each other, each with its first column."""
    found, column = [], 1
    for station in band:
        found.append((column, station))
        column += _width(station) + 1
    return found


def _parted(band: list[Station], following: Station) -> tuple[list[Station], list[Station]]:
    """What stays in a band, and what begins the next one: all that is made of the same, such as gates.

    A band that would be empty stays as it is.
    """
    end, takes = len(band), _takes(following)
    while end and takes and _takes(band[end - 1]) == takes:
        end -= 1
    return (band[:end], band[end:]) if end else (band, [])


def _takes(station: Station) -> list[str]:
    return [each for label in station.get(0, ()) for each in label.takes]


def _turned(station: Station) -> Station:
    """A module's parameters, their gradients and the new ones beside each other, if a screen is wide enough."""
    beside = {0: [label for line in sorted(station) for label in station[line] if line < STATES]}
    return (
        beside | {line: station[line] for line in station if line >= STATES} if _width(beside) <= COLUMNS else station
    )


def _pixels(stations: Iterable[Station]) -> int:
    """How wide stations are beside each other, with narrow arrows between them."""
    widths = [_width(station) * column_pixels(WIDTH) + column_pixels(ARROW_WIDTH) for station in stations]
    return sum(widths)


def _in_order(labels: Sequence[Label]) -> list[Label]:
    """Labels such that what a station takes, parameters above all, stands just before it."""
    of: dict[str, list[Label]] = {}
    for label in labels:
        of.setdefault(label.station, []).append(label)
    found: dict[str, None] = {}
    for station in (each.station for each in labels if each.takes):
        takes = dict.fromkeys(each for label in of[station] if not label.line for each in label.takes)
        given = sorted(takes, key=lambda each: each.startswith("param "))  # the data first
        found |= dict.fromkeys(each for each in given if each in of and each not in found)
        found.setdefault(station)
    found |= dict.fromkeys(of)
    return [label for station in found for label in of[station]]


def _lay(found: Layout, k: int, row: int, band: list[tuple[int, Station]], reads: Mapping[str, Sequence[str]]) -> int:
    """Lays stations beside each other, their lines at the same height. Returns the row below them."""
    found.arrows += [
        (row + 3, column - 1, _key(k, station[0][0].block)) for column, station in band if column > 1 and 0 in station
    ]
    first = 0  # of the rows that are closed
    for line in sorted({line for _, station in band for line in station}, key=lambda line: _place(found, line)):
        if line >= STATES and not found.narrow:
            first = first or row
        beside = [(left, label) for column, station in band for left, label in _beside(column, station.get(line, ()))]
        deepest, titles, words = 0, 1, 1
        for number, (left, label) in enumerate(beside):
            key, (rows, columns) = _key(k, label.block), _extent(label)
            same = (label.words, label.station)  # said above the block beside it
            if any((each.words, each.station) == same for _, each in beside[:number]):
                found.quiet.add(key)
            later = beside[number + 1 :]
            most = ROOMY if found.narrow else COLUMNS + 1 - left
            free = later[0][0] - left if later else most
            said = next((at - left for at, each in later if (each.words, each.station) != same), most)
            # A heading may reach over what is free beside it.
            room, wide = (max(NARROW, columns, min(each, ROOMY)) for each in (free, said))
            found.spaces[key], found.wide[key] = (row, left, room), wide
            deepest = max(deepest, rows)
            titles = max(titles, len(_broken(label.title, found.pixels(left, room))))
            lines = partial(text_lines, points=SMALL, pixels=found.pixels(left, wide))
            found.said[key] = briefly(label.words, reads.get(label.block, ()), lines, LINES)
            if key not in found.quiet:
                words = max(words, lines(found.said[key]))
            if found.said[key] == label.words:
                del found.said[key]
        found.heights |= {row: 14 * titles + 2, row + 1: 12 * words + 2}
        found.heights[row + 2] = 12.5 if line < LINKED else 2
        row += 3 + deepest
        found.heights[row] = 3
        row += 1
    if first:
        found.folded.append((first, row - 1))
    return row + 1


def _place(found: Layout, line: int) -> int:
    """Which line comes when: new parameters before the states where these are closed, else after them."""
    return BELOW - 1 if line == NEW and found.narrow else line


def _beside(left: int, labels: Iterable[Label]) -> Iterator[tuple[int, Label]]:
    """The first column of each of the labels in a line."""
    for label in labels:
        yield left, label
        left += max(NARROW, _extent(label)[1])


def _broken(title: str, pixels: float) -> list[str]:
    """A title in lines, which end after a blank, a dot or an underscore."""
    lines = [""]
    for part in re.findall(r"[^ ._]*[ ._]*", title):
        if lines[-1] and text_pixels(lines[-1] + part.rstrip(), TITLE.size) * BOLD > pixels:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _width(station: Station) -> int:
    """How many columns a station takes; a heading's last may be the arrow's."""
    return max(
        sum(max(NARROW, _extent(each)[1]) for each in labels[:-1]) + _extent(labels[-1])[1]
        for labels in station.values()
    )


def _extent(label: Label) -> tuple[int, int]:
    """The rows and columns that a block takes."""
    end = around(panels("", label.shape, 1, 1, across=label.across, most=COLUMNS))
    return end.bottom, end.right


def _shortly(title: str, here: str) -> str:
    """A title for a link above the block that is called `here`: what both have said need not be said again."""
    if title == f"new {here}":
        return "new"
    time = re.search(r" \([^()]*time \d+\)$", here)
    return re.sub("^gradient ", "grad. ", title.removesuffix(time[0]) if time else title)


def _cut(title: str, pixels: float) -> str:
    """As much of a title as there is room for."""
    fits = [end for end in range(1, len(title) + 1) if text_pixels(title[:end], SMALL) <= pixels]
    return title if len(title) in fits else f"{title[: max(fits, default=2) - 1].rstrip()}\u2026"


def _key(k: int, block: str) -> str:
    step, _, rest = block.partition("/")
    return f"{int(step) - k}:{rest}"


class Screens(Pages):
    """Pages of whole steps: a sheet for each of the first and the last, and one for those between."""

    HEAD = 3
    MOST = COLUMNS

    def __init__(self, book: Book, program: Program, layouts: Sequence[Layout], classes: Sequence[str] = ()) -> None:
        super().__init__(book, program)
        self._layouts, self._classes = layouts, classes
        self._links_at: dict[str, Space] = {}  # the row of links above each block
        self._tops: dict[int, tuple[Sheet, int]] = {}
        self._now = 0
        self._beside, self._bottom = 1, 1  # the next free column on the first sheet, and row

    def start(self, front: Sheet) -> None:
        """Numbers the examples on the first sheet, if a chart is to show them."""
        front.default_width(WIDTH)
        if self._program.answers() == NUMBERS:
            count = self._program.shape("target")[0]
            label = Label("example", (count,), "example", "check", "its number", number_format=WHOLE, across=False)
            self.place(front, label, np.arange(1, count + 1))

    def begin(self, k: int) -> None:
        self._now = k
        plan, count = self._layouts[k], self._last
        if k in shown(count):
            what = f"Step {k + 1} of {count}" if count > 1 else "One step"
            note = "From the data, layer after layer, to the loss; gradients stand below. Then the new parameters."
            note += CLOSED if plan.folded else ""
            sheet = self.book.sheet(f"step {k + 1}", what, note)
            top = sheet.next_row
        else:
            between = [each for each in range(count) if each not in shown(count)]
            if k == between[0]:
                name = f"steps {between[0] + 1} to {between[-1] + 1}"
                note = "Each is laid out as the first step, one below the other; all are formulas."
                sheet = self.book.sheet(name, name.capitalize(), note, details=True)
                top = sheet.next_row
            else:
                sheet, top = self._tops[k - 1]
                top += self._layouts[k - 1].rows
            sheet.write(top, 1, f"Step {k + 1}", style.HEADING)
            top += 1
        sheet.default_width(plan.width)
        sheet.width(1, plan.width, until=COLUMNS)
        self._tops[k] = sheet, top
        for row, height in plan.heights.items():
            sheet.row_heights[top + row - 1] = height
        for column in plan.narrow:
            sheet.width(column, ARROW_WIDTH)
        for first, last in plan.folded:
            sheet.fold_rows(top + first - 1, top + last - 1)
        for row, column, block in plan.arrows:
            below, left, _ = plan.spaces[block]
            there = Range(sheet.name, top + below + 2, left, top + below + 2, left)
            sheet.link(top + row - 1, column, "→", there, ARROW)

    def sheet(self, k: int, path: str) -> Sheet:
        return self._tops[k][0]

    def set_aside(self, sheet: Sheet, labels: Iterable[Label]) -> None:
        for label in labels:
            self._reserve(label, self._free(sheet, label))

    def _free(self, sheet: Sheet, label: Label) -> Space:
        if not label.station:  # on the first sheet, beside what is there
            left, self._beside = self._beside, self._beside + _extent(label)[1]
            return Space(sheet, sheet.next_row, left, _extent(label)[1])
        held, top = self._tops[self._now]
        row, left, room = self._layouts[self._now].spaces[_key(self._now, label.block)]
        return Space(held, top + row - 1, left, room)

    def _reserve(self, label: Label, space: Space) -> None:
        row = space.sheet.next_row
        super()._reserve(label, space)
        self._links_at[label.block] = replace(space, row=space.row + 2)
        if not label.station:
            self._bottom = max(self._bottom, self._below(label))
        space.sheet.next_row = max(row, space.sheet.next_row) if label.station else row

    def _head(self, space: Space, label: Label, words: str) -> None:
        sheet, last = space.sheet, space.left + space.room - 1
        plan = self._layouts[self._now] if label.station else None
        lines = _broken(label.title, plan.pixels(space.left, space.room)) if plan else [label.title]
        if plan and self._now not in shown(self._last):
            # The words are those of the first steps, and many merged cells make openpyxl slow.
            sheet.write(space.row, space.left, lines[0], replace(TITLE, wrap=False))
            if lines[1:]:
                sheet.write(space.row + 1, space.left, " ".join(lines[1:]), replace(TITLE, wrap=False, vertical="top"))
            return
        sheet.write(space.row, space.left, "\n".join(lines), TITLE)
        sheet.merge(space.row, space.left, last)
        if plan is None:
            sheet.row_heights |= {space.row + 1: 12 * FRONT + 2, space.row + 2: 2}
        elif _key(self._now, label.block) in plan.quiet:
            return
        else:
            key = _key(self._now, label.block)
            words, last = plan.said.get(key, words), space.left + plan.wide[key] - 1
        sheet.write(space.row + 1, space.left, words, NOTE)
        sheet.merge(space.row + 1, space.left, last)

    def link(self) -> None:
        """Writes above each block links to a few that it reads, and to a few that read it, each in a cell."""
        readers: dict[str, list[str]] = {}
        made_of = {
            block: [each for each in of if each in self.labels] for block, of in dependencies.reads(self.book).items()
        }
        for block, sources in made_of.items():
            for source in sources:
                readers.setdefault(source, []).append(block)
        for block, label in self.labels.items():
            columns, space = self._linked(label), self._links_at[block]
            if not columns:
                continue
            wanted: list[tuple[str, str]] = []
            for each in range(LINKS):
                wanted += [("←", block) for block in self._seen(made_of.get(block, ()))[each : each + 1]]
                wanted += [("→", block) for block in self._seen(readers.get(block, ()))[each : each + 1]]
            room = max(columns, space.room)
            said = {other: _shortly(self.labels[other].title, label.title) for _, other in wanted}
            while len(wanted) > columns or (
                len(wanted) > 1
                and any(
                    _cut(said[each], self._room(space.left, room // len(wanted))) != said[each] for _, each in wanted
                )
            ):
                wanted.pop()
            for number, (arrow, other) in enumerate(sorted(wanted)):
                column = space.left + number * (room // len(wanted))
                text = f"{arrow} {_cut(said[other], self._room(column, room // len(wanted)))}"
                space.sheet.link(space.row, column, text, self.book.blocks[other].panels[0], style.SMALL_LINK)

    def _seen(self, blocks: Iterable[str]) -> list[str]:
        """Those of the blocks that do not stand in closed rows."""
        return [block for block in blocks if self.labels[block].line < STATES]

    def _room(self, left: int, columns: int) -> float:
        """How many pixels a link has in so many columns, beside its arrow."""
        return self._layouts[0].pixels(left, columns) - text_pixels("M ", SMALL)

    def _coloured(self, label: Label) -> bool:
        return label.title.startswith("attention weights")

    def _linked(self, label: Label) -> int:
        details = self._links_at[label.block].sheet.details
        return _extent(label)[1] if label.station and label.line < LINKED and not details else 0

    def arrange(self) -> None:
        """The sheets are in order."""

    def overview(self, front: Sheet) -> None:
        """Beside the data the answers before and after training; the loss of every step; charts of both."""
        top = front.next_row
        answers = self._program.answers()
        for name, k, words in (("before", 0, "in the first step"), ("after", self._last - 1, "in the last step")):
            if answers is not None:
                output = self.cells[f"{k}/output"]
                array = np.array([argmax(row) for row in output], dtype=object) if answers == CLASSES else output
                digits = WHOLE if answers == CLASSES else NUMBER
                label = Label(name, array.shape, name, "activation", words, number_format=digits, across=array.ndim > 1)
                self.place(front, label, array)
        self._in_words(front)
        left, bottom = front.left_of(max(4, self._beside)) + GAP, max(self._bottom + 2, top)
        charts = []
        if "0/loss" in self.cells:
            table = front.table(bottom, 1, self._last)
            losses = np.array([self.cells[f"{k}/loss"].item() for k in range(self._last)], dtype=object)
            numbers = np.arange(1, self._last + 1)
            step = table.column("step", "check", numbers, words="of training", number_format=WHOLE, width=WIDTH)
            loss = table.column("loss", "loss", losses, words="before it", torch="loss.item()", width=WIDTH)
            line = [Series("loss", step, loss, points=self._last < 20)]
            if self._last > 1:
                charts.append(
                    scatter("The loss at each step", "step", "loss", line, width=14, log=True, x_range=(1, self._last))
                )
        if answers == NUMBERS:
            example, target = self.cells["example"], self.cells["target"].reshape(-1)
            lines = [Series("what should come out", example, target, points=True, line=False)]
            lines += [Series(name, example, self.cells[name].reshape(-1), points=True) for name in ("before", "after")]
            title = "What comes out, before and after training"
            charts.append(scatter(title, "example", "output", lines, width=14, x_range=(1, len(target))))
        for chart in charts:
            front.chart(top, front.column_from(left), chart)
            left = front.left_of(front.column_from(left)) + chart_pixels(chart.width) + GAP

    def _in_words(self, front: Sheet) -> None:
        """The names of the classes beside their numbers, and how many are right."""
        if self._program.answers() != CLASSES:
            return
        target, after = self.cells["target"], self.cells["after"]
        right = [choose(compare("=", one, other), 1, 0) for one, other in zip(target, after, strict=True)]
        self.place(
            front, Label("right", (), "right", "check", f"of {len(after)}, after", number_format=WHOLE), total(right)
        )
        self._beside += 1
        if not self._classes:
            return
        row = front.next_row + 3
        front.write(row - 3, self._beside, "class", TITLE)
        known = np.array(
            [front.write(row + n, self._beside, name) for n, name in enumerate(self._classes)], dtype=object
        )
        self._beside += 2
        self._bottom = max(self._bottom, row + len(known))
        names = [name for name in ("input", "target", "before", "after") if name in self.cells]
        for name in names:
            cells = self.cells[name]
            if cells.shape != target.shape:
                continue
            front.write(row - 3, self._beside, name, TITLE)
            front.write(row - 2, self._beside, "in words", NOTE)
            for offset, cell in enumerate(cells):
                front.write(row + offset, self._beside, index(known, cell + 1))
            self._beside += 1
