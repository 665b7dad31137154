"""Links: from each sheet to its neighbours, and from a block's heading to what it is made of and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sgdsheet.book import style
from sgdsheet.book.dependencies import reads
from sgdsheet.book.geometry import HEADING_LETTER, LETTER, SCREEN, TITLE_LETTER
from sgdsheet.book.sheet import Book, Sheet
from sgdsheet.expr import Range

MOST = 2  # links each way at a heading


def link_sheets(sheets: Sequence[Sheet]) -> None:
    """Writes links to the first of the sheets and to the neighbours right of each sheet's title."""
    for number, sheet in enumerate(sheets[1:], start=1):
        before, after = sheets[max(1, number - 1) : number], sheets[number + 1 : number + 2]
        links = [("about", sheets[0]), *((f"← {each.name}", each) for each in before)]
        links += [(f"{each.name} →", each) for each in after]
        edge = TITLE_LETTER * len(sheet.title) + 56
        _write(sheet, 1, edge, float("inf"), [(text, Range(each.name, 1, 1, 1, 1)) for text, each in links])


def link_blocks(book: Book) -> None:
    """Writes links right of a block's title as far as there is room: what its formulas read, and what reads it."""
    made_of = reads(book)
    readers: dict[str, list[str]] = {}
    for name, read in made_of.items():
        for each in read:
            readers.setdefault(each, []).append(name)
    for sheet in book.sheets:
        for name, row, column, title in sheet.headings:
            arrows = (("← {}", made_of[name]), ("→ {}", readers.get(name, [])))
            links = [
                (arrow.format(each), book.blocks[each].panels[0])
                for arrow, names in arrows
                for each in _first(book, names, sheet)
            ]
            merged = sheet.left_of(sheet.merged.get((row, column), 0) + 1)
            start = max(merged, sheet.left_of(column) + HEADING_LETTER * len(title) + 10)
            _write(sheet, row, start, _limit(sheet, row, column), links)


def _write(sheet: Sheet, row: int, start: float, limit: float, links: Iterable[tuple[str, Range]]) -> None:
    """Links beside each other from pixel `start` on, as long as they end before `limit`."""
    for text, target in links:
        column = sheet.column_from(start)
        start = sheet.left_of(column) + LETTER * len(text) + 15
        if start > limit:
            return
        sheet.link(row, column, text, target, style.LINK if row == 1 else style.SMALL_LINK)


def _limit(sheet: Sheet, row: int, column: int) -> float:
    """Where room in a row ends that begins with the title in `column`: at the next cell, or with the screen."""
    taken = [each for each in sheet.cells.get(row, {}) if each > column]
    return min([SCREEN[0], *map(sheet.left_of, taken), *sheet.charts_right_of(row, column)])


def _first(book: Book, names: Iterable[str], sheet: Sheet) -> list[str]:
    """The few that are worth a link: those furthest away, and no inputs."""
    kept = [name for name in names if book.blocks[name].role != "input"]
    return sorted(kept, key=lambda name: book.blocks[name].panels[0].sheet == sheet.name)[:MOST]
