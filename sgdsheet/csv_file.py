"""CSV files as people have them, for lessons and the trainer: which rows there are, and what stands between cells."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from sgdsheet.errors import Error
from sgdsheet.files import why_no_file

MOST_BYTES = 2**30
SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Rows:
    """The rows of a file that hold anything, each with its number as a spreadsheet counts, and their separator.

    Cells are texts without spaces around them; a row may be shorter or longer than the first one.
    """

    rows: list[tuple[int, list[str]]]
    separator: str


def read(path: str | Path) -> Rows:
    """Reads a CSV in UTF-8.

    A first line such as `sep=;`, which Excel writes and hides, says what separates cells; otherwise it is the comma,
    unless the first row has more semicolons, tabs or bars (a comma between two digits is then a decimal one). Rows of
    empty cells are left out, and columns at the end that have no name and no content. Raises `Error` for a file that
    cannot be read or is no CSV.
    """
    text = _text(Path(path))
    said = re.match(r'"?sep=(.)"?\r?\n', text)
    if said:
        text = text[said.end() :]
    separator = said[1] if said else _separator(text.partition("\n")[0])
    try:
        numbered = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), start=1)
        rows = [(number, [cell.strip() for cell in row]) for number, row in numbered]
    except csv.Error as error:
        raise Error(f"{path}: is no CSV file that can be read: {error}") from None
    rows = [(number, row) for number, row in rows if any(row)]
    named = max((len(row) for _, row in rows[:1]), default=0)
    while named and not any(row[named - 1] for _, row in rows if len(row) >= named):
        named -= 1
        rows = [(number, row[:named] if len(row) == named + 1 else row) for number, row in rows]
    return Rows(rows, separator)


def _text(path: Path) -> str:
    if why := why_no_file(path):
        raise Error(f"{path}: cannot be read: {why}")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Error(f"{path}: expected a CSV file of at most {MOST_BYTES >> 20:,} MB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Error(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Error(f"{path}: is no CSV file: it is not text in UTF-8")
    return text


def _separator(first: str) -> str:
    bare = re.sub(r'"[^"]*"', "", first)
    if any(each in bare for each in SEPARATORS[1:]):
        bare = re.sub(r"(?<=\d),(?=\d)", "", bare)
    return max(SEPARATORS, key=bare.count)
