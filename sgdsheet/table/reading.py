"""From somebody's CSV to a table that a model can learn from: what each column is, and which rows count."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgdsheet import csv_file
from sgdsheet.errors import Error, nearest
from sgdsheet.table.plan import DATE, NUMBER, TEXT, Cell, Column, Level, Plan, Target
from sgdsheet.torch_frontend.program.text import UNFIT

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS, MOST_FEATURES, MOST_COLUMNS = 1_000, 30, 200
LEVELS = 10  # of a column of texts that get a column of their own
RARE, MANY = 3, 60  # rows: with fewer a text does not, where the table has many
LONGEST, LONG_LEVEL = 1_000, 100  # characters of a cell, and of a text with a column of its own
BLANKS = {"", "na", "n/a", "#n/a", "nan", "null"}
YES = {"yes", "y", "true", "ja", "j", "oui", "si", "sí"}  # count as 1, whatever the alphabet says
DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")
DATES += ("%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y")
FIRST = datetime(1899, 12, 30)  # of which spreadsheets count the days, but for those before March 1900


@dataclass(frozen=True)
class Table:
    """Rows in the order in which they train, the last `valid` of them only to check with.

    `cells` has a list a row, a cell for each of the plan's columns; `target` has a cell a row; `numbers` are the rows'
    own in the file. `notes` say what became of columns and rows that the model does not see, a name and a line each.
    """

    plan: Plan
    cells: list[list[Cell]]
    target: list[Level]
    numbers: list[int]
    valid: int
    notes: list[tuple[str, str]]


def read(
    data: str | Path | pd.DataFrame,
    target: str,
    model: str,
    *,
    seed: int = 0,
    valid: float = 0.2,
    without: Collection[str] = (),
) -> Table:
    """Reads a CSV, or takes a DataFrame, and decides what each column is.

    Raises `Error` for a table that cannot be learned from: see `sgdsheet.fit`.
    """
    where, names, rows, comma = _cells(data)
    for name in (target, *without):
        if name not in names:
            raise Error(f"{where}: has no column {name!r}{nearest(name, names)}")
    notes: list[tuple[str, str]] = []
    place = names.index(target)
    known = [row for row in rows if row[1][place] is not None]
    if missing := len(rows) - len(known):
        notes.append((target, f"{_count(missing, 'row')} without it left out"))
    if len(known) < 3:
        raise Error(f"{where}: expected at least 3 rows with a {target!r}, got {len(known)}")
    generator = random.Random(seed)
    generator.shuffle(known)
    if len(known) > MOST_ROWS:
        notes.append(("rows", f"{MOST_ROWS:,} of {len(known):,} are here, drawn at random (--seed {seed})"))
        known = known[:MOST_ROWS]
    numbers = [number for number, _ in known]
    columns = {name: [row[1][n] for row in known] for n, name in enumerate(names)}
    goal, answers = _target(target, columns[target], numbers, model, comma, where)
    kept: list[Column] = []
    held: list[list[Cell]] = []
    for name in names:
        if name == target:
            continue
        found = "left out, as asked" if name in without else _column(name, columns[name], comma, where)
        if isinstance(found, str):
            notes.append((name, found))
        else:
            kept.append(found[0])
            held.append(found[1])
    plan = Plan(tuple(kept), goal)
    _require_fits(plan, notes, where)
    aside = min(max(1, round(valid * len(known))), len(known) - 2)
    if len(set(answers[:-aside])) < 2:
        raise Error(f"{where}: {target!r} is the same in all rows that train; give more rows, or another --seed")
    return Table(plan, [list(row) for row in zip(*held, strict=True)], answers, numbers, aside, notes)


def _cells(data: Any) -> tuple[str, list[str], list[tuple[int, list[str | None]]], bool]:
    """Where the table is from, its columns' names, its rows with their numbers, and whether it has decimal commas."""
    if isinstance(data, (str, Path)):
        where, read = str(data), csv_file.read(data)
        rows, comma = read.rows, read.separator != ","
    elif hasattr(data, "to_csv"):
        where, comma = "the table", False
        texts = data.astype(object).where(data.notna(), "").astype(str).values.tolist()
        rows = [(1, [str(name) for name in data.columns]), *enumerate(texts, start=2)]
    else:
        raise Error(f"data: expected a CSV file or a DataFrame, got {type(data).__name__}")
    if not rows:
        raise Error(f"{where}: is empty; expected a first row with the columns' names")
    names = [_clean(name) for name in rows[0][1]]
    if len(names) > MOST_COLUMNS:
        raise Error(f"{where}: expected at most {MOST_COLUMNS} columns, got {len(names):,}; keep those that matter")
    names = [name or f"column {number}" for number, name in enumerate(names, start=1)]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise Error(f"{where}: two columns are named {twice[:60]!r}; rename one")
    if len(names) < 2:
        raise Error(f"{where}: expected a target and at least one other column, got the one column {names[0][:60]!r}")
    found = []
    for number, row in rows[1:]:
        if len(row) > len(names):
            raise Error(f"{where}: row {number}: expected {len(names)} values, got {len(row)}")
        cells = [*map(_clean, row), *[""] * (len(names) - len(row))]
        found.append((number, [None if cell.lower() in BLANKS else cell for cell in cells]))
    return where, names, found, comma


def _clean(text: str) -> str:
    """A cell's text on one line, without what no workbook can hold."""
    text = UNFIT.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _target(
    name: str, cells: Sequence[str | None], rows: Sequence[int], model: str, comma: bool, where: str
) -> tuple[Target, list[Level]]:
    texts = [cell for cell in cells if cell is not None]
    numbers = _numbers(name, texts, comma, where)
    values: list[Level] = [*_same_case(texts)] if numbers is None else [*numbers]  # type: ignore[list-item]
    kinds = sorted(
        set(values), key=lambda each: (str(each).casefold() in YES, each if numbers else str(each).casefold())
    )
    if len(kinds) < 2:
        raise Error(f"{where}: the target {name!r} is {texts[0]!r} in every row: there is nothing to learn")
    if len(kinds) == 2 and model != "linear":
        longest = max(len(str(kind)) for kind in kinds)
        if longest > LONG_LEVEL:
            raise Error(f"{where}: the target {name!r} has texts of {longest:,} characters, {LONG_LEVEL} are the most")
        return Target(name, tuple(kinds)), values
    if model == "logistic" or (numbers is None and model == "mlp"):
        some = ", ".join(repr(kind[:30]) if isinstance(kind, str) else f"{kind:g}" for kind in kinds[:4])
        advice = "keep the rows of two of them" if numbers is None else "for numbers give --model linear"
        raise Error(f"{where}: expected two different values in {name!r}, got {len(kinds):,}: {some} …; {advice}")
    if numbers is None:
        number, text = next((n, t) for n, t in zip(rows, texts, strict=True) if _number(t, comma) is None)
        advice = "give --model logistic" if len(kinds) == 2 else "name a column of numbers, or one of two texts"
        raise Error(f"{where}: row {number}: {name!r} is {text[:30]!r}; a linear model predicts numbers: {advice}")
    return Target(name), values


def _column(name: str, cells: Sequence[str | None], comma: bool, where: str) -> tuple[Column, list[Cell]] | str:
    """What a column is, and its cells; or in words why it is left out."""
    texts = [cell for cell in cells if cell is not None]
    kinds = Counter(text.casefold() for text in texts)
    gaps = len(cells) - len(texts)
    if not texts:
        return "left out: all blank"
    numbers = _numbers(name, texts, comma, where)
    days = _days(texts) if numbers is None else None
    if len(set(numbers or kinds)) == 1 and not (gaps and numbers is None):
        return f"left out: {texts[0][:30]!r} in every row"
    for kind, found in ((NUMBER, numbers), (DATE, days)):
        if found is not None:
            if kind == NUMBER and not gaps and _counts(name, found):
                return "left out: it numbers the rows"
            each = iter(found)
            return Column(name, kind), [None if cell is None else next(each) for cell in cells]
    if len(kinds) > max(LEVELS, len(texts) / 2):
        odd = next(text for text in texts if _number(text, comma) is None)
        return f"left out: {len(kinds):,} different texts in {len(texts):,} cells, as {odd[:30]!r}"
    spelled = _same_case(texts)
    often = Counter(spelled).most_common()
    few = RARE if len(cells) >= MANY else 1
    levels = [text for text, count in often[:LEVELS] if count >= few and len(text) <= LONG_LEVEL]
    if not levels:
        return f"left out: no text is in {RARE} rows"
    each = iter(spelled)
    column = Column(name, TEXT, tuple(sorted(levels)), gaps > 0, len(levels) < len(often))
    return column, [None if cell is None else next(each) for cell in cells]


def _numbers(name: str, texts: Sequence[str], comma: bool, where: str) -> list[float] | None:
    """The texts as numbers, truth values as 0 and 1; None if they are none. Raises `Error` for infinite ones."""
    truth = {"true": 1.0, "false": 0.0}
    if all(text.lower() in truth for text in texts):
        return [truth[text.lower()] for text in texts]
    found = [_number(text, comma) for text in texts]
    if any(number is None for number in found):
        return None
    numbers = [number for number in found if number is not None]
    for number, text in zip(numbers, texts, strict=True):
        if abs(number) > 1e100:
            raise Error(f"{where}: column {name!r}: expected numbers up to 1E+100, got {text[:30]!r}")
    return numbers


def _number(text: str, comma: bool) -> float | None:
    try:
        number = float(text.replace(",", ".") if comma else text)
    except ValueError:
        return None
    return None if math.isnan(number) or "_" in text else number


def _days(texts: Sequence[str]) -> list[float] | None:
    """The texts as days since 1900, if they are dates that are all written in one way."""
    for pattern in DATES:
        try:
            found = [(datetime.strptime(text, pattern) - FIRST).total_seconds() / 86_400 for text in texts]
        except ValueError:
            continue
        return found if min(found) > 60 else None
    return None


def _counts(name: str, numbers: Sequence[float]) -> bool:
    """Whether numbers tell rows apart and nothing else."""
    different = len(set(numbers)) == len(numbers) and all(number.is_integer() for number in numbers)
    called = re.search(r"(?i:(^|[ _.-])(id|index|uuid))$|[a-z]I[dD]$", name)
    run = len(numbers) > LEVELS and min(numbers) in (0, 1, 2) and max(numbers) < 2 * len(numbers)
    return different and bool(called or run)


def _same_case(texts: Sequence[str]) -> list[str]:
    """The texts, each spelled as its most frequent spelling: to a formula, capital letters are small ones too."""
    spellings: dict[str, str] = {}
    for text, _ in Counter(texts).most_common():
        spellings.setdefault(text.casefold(), text)
    return [spellings[text.casefold()] for text in texts]


def _require_fits(plan: Plan, notes: Sequence[tuple[str, str]], where: str) -> None:
    if not plan.columns:
        why = "; ".join(f"{name[:30]}: {note}" for name, note in notes[:3])
        raise Error(f"{where}: has no column to learn from ({why})")
    if (count := len(plan.features)) > MOST_FEATURES:
        size: Callable[[Column], int] = lambda column: len(column.features())  # noqa: E731
        largest = ", ".join(f"{each.name[:30]} ({size(each)})" for each in sorted(plan.columns, key=size)[:-4:-1])
        raise Error(
            f"{where}: its columns become {count} numbers a row, {MOST_FEATURES} are the most; leave some out with "
            f"--without NAME. The largest: {largest}"
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
