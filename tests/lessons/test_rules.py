"""What holds on every sheet of every workbook: a person sees at once what it is, what to change, and what follows."""

from __future__ import annotations

import math
import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from xml.sax.saxutils import unescape

import pytest
from openpyxl.formula import Tokenizer

from sgdsheet import book
from sgdsheet.expr import Range, column_number
from sgdsheet.lessons import catalogue
from tests.lessons.pages import HEIGHT, WIDTH, Box, Page, bold, pages

Workbook = Callable[[str], Path]

# The letters of the roles along a table of steps: data, parameters, prediction, loss, gradients and what the optimiser
# makes of them, new parameters and their averages; several runs may stand beside each other.
ROLES = {"data": "d", "parameter": "p", "activation": "a", "loss": "l", "gradient": "g", "optimiser state": "s"}
ORDER = r"d*(p*a*l+g[gas]*p*s*)+"
STEPS = {"linear_sgd", "lesson2_sgd", "learning_rate", "minibatch", "optimizers", "overfitting", "relu_net"}
# Where a table has more than 3 decimals: a rate that grows by a tenth a step, or ends near 0; a loss after a nudge.
FINE = {("learning_rate", "finder"), ("learning_rate", "one-cycle"), ("softmax_cross_entropy", "finite differences")}
PLAY, READ, DETAILS = "FFD966", "9DC3E6", "BFBFBF"
# How torch calls what it computes: words for its makers. Those of the second line are everybody's, but for a number.
OPERATIONS = (
    r"(addmm|baddbmm|mm|bmm|mul|rsub|where|_?(unsafe_)?view|permute|t|unsqueeze|native_\w+|\w+_backward|amax|amin|cat)(_\d+)?",
    r"(add|sub|div|neg|pow|exp|log|sum|mean|relu|sigmoid|tanh|transpose|expand|squeeze|slice|select|clone|gather)_\d+",
)


@pytest.fixture(params=catalogue(), scope="module")  # so that all tests of a workbook follow each other: read once
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@lru_cache(maxsize=1)
def _saved(path: Path) -> book.Saved:
    return book.read(path)


def _shown(path: Path) -> dict[str, Page]:
    """The sheets that a first reader is meant to look at."""
    return {each: page for each, page in pages(path).sheets.items() if page.tab != DETAILS}


def _of(problems: list[str]) -> None:
    assert not problems, "\n".join(problems)


def test_little_is_frozen(workbook: Workbook, name: str) -> None:
    """At most 400 pixels of a row and 250 of a column: the rest of a screen is for what one scrolls to."""
    sheets = pages(workbook(name)).sheets
    _of([f"{each}: {page.frozen}" for each, page in sheets.items() if page.frozen[0] > 400 or page.frozen[1] > 250])


def test_the_first_screen_has_what_may_be_changed_and_where_it_shows(workbook: Workbook, name: str) -> None:
    path, problems = workbook(name), []
    blocks = _saved(path).blocks
    for each, page in _shown(path).items():
        typed = [place for block in blocks.values() for place in block.typed if place.sheet == each]
        inputs = [p for block in blocks.values() if block.role == "input" for p in block.typed if p.sheet == each]
        problems += [f"{each}: {place.address} is for typing" for place in inputs if not page.box(place).seen]
        first = [place for place in typed if page.left(place.left) < WIDTH - 50 and page.top(place.top) < HEIGHT - 20]
        if typed and not first:
            problems.append(f"{each}: nothing for typing is on the first screen")
        if page.charts and not any(box.seen for box, _ in page.charts):
            problems.append(f"{each}: no chart is on the first screen: {[box for box, _ in page.charts]}")
    _of(problems)


def test_what_may_be_typed_has_one_mark_and_nothing_else_has_it(workbook: Workbook, name: str) -> None:
    path, problems = workbook(name), []
    found = pages(path)
    typed: dict[str, set[tuple[int, int]]] = {}
    for block in _saved(path).blocks.values():
        for place in block.typed:
            rows, columns = range(place.top, place.bottom + 1), range(place.left, place.right + 1)
            typed.setdefault(place.sheet, set()).update((row, column) for row in rows for column in columns)
    for each, page in found.sheets.items():
        if each in ("about", "blocks"):  # which explain the mark
            continue
        marked = {cell for cell, style in page.styles.items() if style in found.marked}
        for what, cells in (
            ("lacks the mark", typed.get(each, set()) - marked),
            ("is marked", marked - typed.get(each, set())),
        ):
            problems += [f"{each}: row {row}, column {column} {what}" for row, column in sorted(cells)[:3]]
    _of(problems)


def test_what_helps_the_sheet_alone_is_out_of_sight(workbook: Workbook, name: str) -> None:
    """No error and no huge number that stands for one: the cells that make them are in closed columns or on details."""
    problems = []
    for each, page in _shown(workbook(name)).items():
        errors = re.findall(r'<c r="([A-Z]+)(\d+)"[^>]* t="e"', page.xml)
        huge = re.findall(r'<c r="([A-Z]+)(\d+)"[^>]*>(?:<f>[^<]*</f>)?<v>-?[\d.]+[eE]\+?[23]\d\d<', page.xml)
        seen = [f"{letters}{row}" for letters, row in errors + huge if not page.hidden(column_number(letters))]
        problems += [f"{each}: {cell}" for cell in seen[:3]]
    _of(problems)


def test_the_first_sheet_is_one_screen_with_links(workbook: Workbook, name: str) -> None:
    page = pages(workbook(name)).sheets["about"]
    assert page.box(page.end).seen
    assert len(page.links) > len(pages(workbook(name)).sheets) / 2


def test_tabs_tell_what_a_sheet_is_for(workbook: Workbook, name: str) -> None:
    path = workbook(name)
    typed = {place.sheet for block in _saved(path).blocks.values() for place in block.typed}
    order = []
    for each, page in list(pages(path).sheets.items())[1:]:
        order.append(page.tab == DETAILS)
        assert page.tab in ((PLAY, DETAILS) if each in typed else (READ, DETAILS)), each
    assert order == sorted(order)  # the details are at the end
    assert "blocks" in pages(path).sheets


def test_each_sheet_leads_to_its_neighbours(workbook: Workbook, name: str) -> None:
    sheets = pages(workbook(name)).sheets
    names = list(sheets)
    for number, each in enumerate(names[1:], start=1):
        row = {cell: place for cell, place in sheets[each].links.items() if re.fullmatch(r"[A-Z]+1", cell)}
        assert not any(sheets[each].hidden(column_number(cell[:-1])) for cell in row), each
        neighbours = {names[0], *names[max(1, number - 1) : number], *names[number + 1 : number + 2]}
        leads = {place.rpartition("!")[0].strip("'").replace("''", "'").replace("&amp;", "&") for place in row.values()}
        assert leads == neighbours, each


Table = tuple[Page, int, list[tuple[Range, book.Block]]]


def _tables(path: Path) -> Iterator[Table]:
    """Each table, a row a step or a point, that a reader is to look at: its sheet, its first row, and its blocks."""
    shown = _shown(path)
    rows = defaultdict(list)
    for block in _saved(path).blocks.values():
        if len(block.panels) == 1 and len(block.shape) in (1, 2):
            place = block.panels[0]
            rows[place.sheet, place.top, place.bottom].append((place, block))
    for (sheet, top, bottom), held in rows.items():
        held.sort(key=lambda each: each[0].left)
        left, first = held[0][0].left, held[0][1]
        if sheet in shown and bottom - top >= 4 and len(held) >= 3 and first.role in ("check", "data"):
            head = top - 2 if _text(shown[sheet], top - 1, left) else top - 3  # a third row names elements
            high = shown[sheet].top(head + 1) - shown[sheet].top(head)  # a block's heading has an ordinary row
            if len(first.shape) == 1 and _text(shown[sheet], head, left) and high >= 24:
                yield shown[sheet], head, held


def _of_steps(path: Path) -> Iterator[Table]:
    """Those that train."""
    for page, head, held in _tables(path):
        if {"parameter", "loss", "gradient"} <= {block.role for _, block in held}:
            yield page, head, held


def test_tables_of_steps_read_from_the_data_to_the_new_parameters(workbook: Workbook, name: str) -> None:
    """What a first reader may pass over stands after that, in closed columns."""
    problems, tables = [], list(_of_steps(workbook(name)))
    assert bool(tables) == (name in STEPS)
    for page, _, held in tables:
        closed = [page.hidden(place.left) for place, _ in held]
        seen = [block for hidden, (_, block) in zip(closed, held, strict=True) if not hidden]
        roles = "".join(ROLES[block.role] for block in seen if block.role in ROLES)
        if not re.fullmatch(ORDER, roles) or closed != sorted(closed):
            problems.append(f"{page.name}: {[block.name for block in seen]}, {closed}")
    _of(problems)


def test_tables_are_narrow(workbook: Workbook, name: str) -> None:
    """Below a name and its words columns have 10 characters or little more, or what their heads need."""
    path, problems = workbook(name), []
    for page, head, held in _tables(path):
        for place, block in ((place, block) for place, block in held if not page.hidden(place.left)):
            lines, words = _text(page, head, place.left).split("\n"), _text(page, head + 1, place.left)
            if not (lines[0] and words):
                problems.append(f"{page.name}: {block.name} has no head of two rows")
            count, characters = place.right - place.left + 1, 12
            while len(textwrap.wrap(words, int(1.2 * characters * count))) > 3:
                characters += 1
            # The names of values beside it may stand in the first column, those of inputs above it in any.
            names = [line for row in range(4, head) for line in _text(page, row, place.left).split("\n")] + lines
            wide, needed = page.left(place.right + 1) - page.left(place.left), 1.25 * max(map(bold, names)) + 15
            if wide > max((characters + 1) * 7 * count, needed, 18 * 7 * (block is held[0][1])):
                problems.append(f"{page.name}: {block.name} is {wide} pixels wide, not {needed}")
    _of(problems)


def test_tables_have_few_decimals(workbook: Workbook, name: str) -> None:
    """At most 3."""
    path, problems = workbook(name), []
    formats = pages(path).formats
    for page, _, held in _tables(path):
        for place, block in held:
            cells = [page.cells[row, c] for row in range(place.top, place.bottom + 1) for c in _span(place)]
            shown = {
                formats[cell.style] for cell in cells if cell.number and not _short(formats[cell.style], cell.value)
            }
            if shown and not page.hidden(place.left) and (name, page.name) not in FINE:
                problems.append(f"{page.name}: {block.name} shows {shown}")
    _of(problems)


def _text(page: Page, row: int, column: int) -> str:
    cell = page.cells.get((row, column))
    return cell.value if cell and not cell.number else ""


def test_names_fit_above_their_columns(workbook: Workbook, name: str) -> None:
    """Those of columns, and those of inputs above their cells, in one line or two."""
    path, problems = workbook(name), []
    shown = _shown(path)
    for block in _saved(path).blocks.values():
        place, page = block.panels[0], shown.get(block.panels[0].sheet)
        if page is None or block.role != "input" or block.shape:
            continue
        above = _text(page, place.top - 1, place.left)
        lines, wide = above.split("\n"), page.left(place.left + 1) - page.left(place.left)
        high = page.top(place.top) - page.top(place.top - 1)
        named = above != "" and block.name.endswith("".join(lines))
        if named and (max(map(bold, lines)) > wide - 3 or 20 * len(lines) > high):
            problems.append(f"{page.name}: {lines} above {wide} x {high} pixels")
    for page, head, held in _tables(path) if name in STEPS else ():  # other headings may run over what is beside them
        for place, block in held:
            lines = _text(page, head, place.left).split("\n")
            wide = page.left(place.right + 1) - page.left(place.left)
            if not page.hidden(place.left) and max(map(bold, lines)) > wide:
                problems.append(f"{page.name}: {lines} of {block.name} above {wide} pixels")
    _of(problems)


def _short(number_format: str, value: str) -> bool:
    return float(value).is_integer() if number_format == "General" else "0.0000" not in number_format


def test_closed_columns_can_be_opened(workbook: Workbook, name: str) -> None:
    _of([f"{each}: {page.open}" for each, page in pages(workbook(name)).sheets.items() if page.open])


def test_where_most_is_zero_a_zero_is_a_dot(workbook: Workbook, name: str) -> None:
    """In matrices of a dozen numbers or more that are shown with decimals; a check's 0.000 says what it is to say."""
    path, problems = workbook(name), []
    shown, formats = _shown(path), pages(path).formats
    for block in _saved(path).blocks.values():
        page = shown.get(block.panels[0].sheet)
        if page is None or block.role == "check" or len(block.shape) < 2 or 1 in block.shape[-2:]:
            continue
        places = ((p, row, column) for p in block.panels for row in range(p.top, p.bottom + 1) for column in _span(p))
        cells = [page.cells[row, column] for _, row, column in places if not page.hidden(column)]
        made = [cell for cell in cells if cell.formula and cell.number]
        zeros = {formats[cell.style] for cell in made if float(cell.value) == 0}
        count = sum(float(cell.value) == 0 for cell in made)
        if len(made) >= 12 and count > len(made) / 2 and any("0.0" in each and "\u00b7" not in each for each in zeros):
            problems.append(f"{page.name}: {block.name} has {count} zeros of {len(made)}, shown as {zeros}")
    _of(problems)


def _span(place: Range) -> range:
    return range(place.left, place.right + 1)


def test_headings_lead_to_what_a_block_reads_and_what_reads_it(workbook: Workbook, name: str) -> None:
    """Judged by each formula's operands as openpyxl finds them."""
    path, problems = workbook(name), []
    sheets, saved = pages(path).sheets, _saved(path)
    names = {re.sub(r"\W", "_", each).lower().lstrip("_"): block for each, block in saved.blocks.items()}
    first = {(p.sheet, p.address): block for block in saved.blocks.values() for p in block.panels[:1]}

    def reads(block: book.Block, other: book.Block) -> bool:
        """Whether one of the block's formulas refers to a cell of the other."""
        texts = [each for each in saved.contents[block.name].reshape(-1) if isinstance(each, str) and each[:1] == "="]
        return any(
            any(p.sheet == sheet and _meet(p, address) for p in other.panels) if address else other is names.get(sheet)
            for text in [*texts[:1], *texts[:0:-1]]
            for sheet, address in _operands(text, block.panels[0].sheet)
        )

    for each, page in sheets.items():
        for cell, target in page.links.items():
            letters, row = re.fullmatch(r"([A-Z]+)(\d+)", cell).groups()  # type: ignore[union-attr]
            row, column = int(row), column_number(letters)
            arrow = page.cells[row, column].value[:2]
            if each == "about" or row == 1 or arrow not in ("← ", "→ "):
                continue
            owners = _owners(page, first.values(), row, column)
            sheet, _, address = target.rpartition("!")
            there = first.get((sheet.strip("'").replace("''", "'").replace("&amp;", "&"), address.replace("$", "")))
            if not owners or there is None:
                problems.append(f"{each}: {cell} leads to {target}, from {[one.name for one in owners]}")
            elif not any(reads(one, there) if arrow == "← " else reads(there, one) for one in owners):
                problems.append(f"{each}: {cell} of {owners[0].name} leads to {there.name} for nothing")
    _of(problems[:10])


def test_each_block_says_what_it_is(workbook: Workbook, name: str) -> None:
    """In words above it or left of it; an axis beside a map needs none of its own."""
    path, problems = workbook(name), []
    places = {(p.sheet, p.top, p.bottom, p.left) for block in _saved(path).blocks.values() for p in block.panels}
    for block in _saved(path).blocks.values():
        place, page = block.panels[0], _shown(path).get(block.panels[0].sheet)
        axis = (place.sheet, place.top, place.bottom, place.right + 1) in places
        if page is None or page.hidden(place.left) or block.role == "check" or axis:
            continue
        above = [page.cells.get((place.top - up, place.left)) for up in range(1, 5)]
        beside = [page.cells.get((place.top, place.left - left)) for left in range(1, 9)]
        if not any(cell and cell.value and not cell.number for cell in [*above, *beside]):
            problems.append(f"{page.name}: {block.name} at {place.address}")
    _of(problems)


def test_each_block_of_a_step_has_links(workbook: Workbook, name: str) -> None:
    """Where a whole compiled step is one sheet; none lead to what stands in closed rows."""
    path, problems = workbook(name), []
    saved, compiled = _saved(path), "program" in pages(path).sheets
    for block in saved.blocks.values():
        place, page = block.panels[0], _shown(path).get(block.panels[0].sheet)
        if not compiled or page is None or not re.fullmatch(r"step \d+", page.name):
            continue
        formula = str(saved.contents[block.name].reshape(-1)[0])
        reads = [int(row) for _, at in _operands(formula, page.name) for row in re.findall(r"\d+", at)]
        closed = page.closed(place.top) or all(page.closed(row) for row in reads)
        if block.role in ("activation", "gradient", "loss") and not closed:
            links = [cell for cell in page.links if re.fullmatch(rf"[A-Z]+{place.top - 1}", cell)]
            if not any(column_number(cell.rstrip("0123456789")) == place.left for cell in links):
                problems.append(f"{page.name}: {block.name} at {place.address}")
    _of(problems)


def _owners(page: Page, blocks: Iterable[book.Block], row: int, column: int) -> list[book.Block]:
    """The block below a heading's link: two rows below the heading left of it, or right below where none is.

    Links above a compiled block may go on above the next one, which may stand there as well.
    """
    left = [c for c in range(1, column) if (found := page.cells.get((row, c))) and found.value[:2] not in ("← ", "→ ")]
    here = [block for block in blocks if block.panels[0].sheet == page.name]
    if left:
        return [block for block in here if (block.panels[0].top, block.panels[0].left) == (row + 2, left[-1])]
    below = [block for block in here if block.panels[0].top == row + 1 and block.panels[0].left <= column]
    return sorted(below, key=lambda block: -block.panels[0].left)[:2]


def _operands(formula: str, sheet: str) -> Iterator[tuple[str, str]]:
    """The sheet and the address of all that a formula refers to, or the name and nothing."""
    for token in Tokenizer(formula).items:
        if token.type == "OPERAND" and token.subtype == "RANGE":
            where, _, address = token.value.rpartition("!")
            if re.fullmatch(r"\$?[A-Z]{1,3}\$?\d+(:\$?[A-Z]{1,3}\$?\d+)?", address):
                yield where.strip("'").replace("''", "'") or sheet, address.replace("$", "")
            else:
                yield address.lower().lstrip("_"), ""


def _meet(place: Range, address: str) -> bool:
    """Whether a range has a cell at an address."""
    ends = [re.fullmatch(r"([A-Z]+)(\d+)", end).groups() for end in address.split(":")]  # type: ignore[union-attr]
    (left, top), (right, bottom) = ends[0], ends[-1]
    down = int(top) <= place.bottom and place.top <= int(bottom)
    return down and column_number(left) <= place.right and place.left <= column_number(right)


def test_axes_fit_the_numbers(workbook: Workbook, name: str) -> None:
    """Those with ends hold all numbers, over a quarter of their length at least; a loss that falls or grows a
    thousandfold over steps has a logarithmic one. Each drawing says in words what it shows."""
    problems = []
    for each, page in pages(workbook(name)).sheets.items():
        assert all(page.alternatives), each
        for number, (_, chart) in enumerate(page.charts):
            for kind, axis in (("xVal", 10), ("yVal", 20)):
                says = re.search(rf'<valAx><axId val="{axis}"></axId><scaling>(.*?)</scaling>', chart)
                held = re.findall(rf"<{kind}>.*?</{kind}>", chart, re.DOTALL)
                numbers = [float(v) for text in held for v in re.findall(r"<v>([^<]*)</v>", text) if v[:1] != "#"]
                if says is None or not numbers:
                    continue
                low, high, log = min(numbers), max(numbers), "logBase" in says[1]
                ends = {end: float(v) for end, v in re.findall(r'<(min|max) val="([^"]*)">', says[1])}
                if len(ends) == 2:
                    start, end = (math.log(ends[at]) if log else ends[at] for at in ("min", "max"))
                    near, far = (math.log(v) if log else v for v in (low, high))
                    if min(near - start, end - far) < (start - end) / 100 or far - near < (end - start) / 4:
                        problems.append(f"{each}: chart {number} has {low} to {high} on an axis {ends}")
                steps = re.search("loss.*Across: (step|epoch)", page.alternatives[number])
                if axis == 20 and steps and low > 0 and high > 1e3 * low and not log:
                    problems.append(f"{each}: chart {number} has {low} to {high} on a plain axis")
    _of(problems)


def test_charts_can_be_seen_by_all(workbook: Workbook, name: str) -> None:
    """They hold values, have square corners, an axis below and one on the left, and no legend over the plot; what
    closed columns hold is drawn."""
    for each, page in pages(workbook(name)).sheets.items():
        for _, chart in page.charts:
            for reference in re.findall(r"<(numRef|strRef)>(.*?)</\1>", chart, re.DOTALL):
                assert "Cache>" in reference[1], each
            assert '<roundedCorners val="0">' in chart, each
            assert '<plotVisOnly val="0">' in chart, each
            assert re.findall(r'<axPos val="(.)">', chart) == ["b", "l"], each
            assert "<legend>" not in chart or '<overlay val="0"></overlay></legend>' in chart, each


def test_charts_draw_what_is_in_view(workbook: Workbook, name: str) -> None:
    """ONLYOFFICE draws nothing of closed columns, whatever the chart says of them."""
    problems, sheets = [], pages(workbook(name)).sheets
    for each, page in sheets.items():
        for _, chart in page.charts:
            for sheet, left, right in re.findall(r"<f>([^<]*)!\$([A-Z]+)\$\d+:\$([A-Z]+)\$\d+</f>", chart):
                source = sheets[unescape(sheet).strip("'").replace("''", "'")]
                columns = range(column_number(left), column_number(right) + 1)
                problems += [f"{each}: reads {sheet}!{left}:{right}" for column in columns if source.hidden(column)]
    _of(problems)


def test_charts_do_not_hide_cells_or_each_other(workbook: Workbook, name: str) -> None:
    problems = []
    for each, page in _shown(workbook(name)).items():
        boxes = [box for box, _ in page.charts]
        problems += [f"{each}: charts at {a} and {b}" for n, a in enumerate(boxes) for b in boxes[:n] if a.meets(b)]
        for row, column in page.styles:
            left, top = page.left(column), page.top(row)
            if not page.hidden(column) and any(box.meets(Box(left, top, left + 6, top + 6)) for box in boxes):
                problems.append(f"{each}: a chart hides row {row}, column {column}")
                break
    _of(problems)


def test_no_block_is_called_as_torch_calls_an_operation(workbook: Workbook, name: str) -> None:
    blocks = _saved(workbook(name)).blocks
    _of([each for each in blocks if re.search(rf"(^|[/.])({'|'.join(OPERATIONS)})$", each)][:20])
