"""Lists of URLs: a text file for each class, in a folder, or a CSV with a URL and a label in each row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sgdsheet import csv_file
from sgdsheet.errors import Error
from sgdsheet.files import why_no_file

URL = re.compile(r"(https?:|data:)", re.IGNORECASE)
URL_COLUMNS = ("url", "urls", "link", "src", "href", "image_url", "image url", "image", "picture")
LABEL_COLUMNS = ("label", "labels", "class", "category", "target")


@dataclass(frozen=True)
class Wanted:
    """A line of a list: the class of the picture, which is the name of its folder, and where it is to be had."""

    label: str
    url: str


def wanted(source: Path) -> list[Wanted]:
    """Reads `source`: a folder of text files, such a file, or a CSV. The same URL twice in a class is one.

    `teddy.txt` has URLs of class `teddy`, one a line; what follows a `#` at the beginning or after a space is a
    comment. A CSV has columns `url` and `label`, or no heads and nothing else. Raises `Error` for what is no such list.
    """
    if not source.exists():
        raise Error(f"{source}: there is no such file; expected a folder of .txt files with URLs, or a .csv")
    if source.is_dir():
        files = sorted(file for file in source.glob("*.txt") if not file.name.startswith("."))
        if not files:
            raise Error(f"{source}: expected text files with URLs in it, one for each class, as teddy.txt; got none")
        found = [each for file in files for each in _from_text(file)]
    elif source.suffix.lower() in (".csv", ".tsv"):
        found = _from_csv(source)
    else:
        found = _from_text(source)
    if not found:
        raise Error(f"{source}: expected URLs, one a line, got none")
    return list(dict.fromkeys(found))


def _from_text(file: Path) -> list[Wanted]:
    label = _label(file.stem, str(file))
    if why := why_no_file(file):
        raise Error(f"{file}: cannot be read: {why}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Error(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Error(f"{file}: expected text in UTF-8 with a URL in each line, got something else") from None
    lines = (re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in text.splitlines())
    return [Wanted(label, line) for line in lines if line]


def _from_csv(file: Path) -> list[Wanted]:
    rows = csv_file.read(file).rows
    if not rows:
        return []
    heads = [cell.casefold() for cell in rows[0][1]]
    if any(URL.match(cell) for cell in heads):  # no heads
        if len(heads) != 2:
            raise Error(f"{file}: expected a first row with the heads url and label, got a URL in it")
        url = next(place for place, cell in enumerate(heads) if URL.match(cell))
        label = 1 - url
    else:
        url, label = _column(file, heads, URL_COLUMNS), _column(file, heads, LABEL_COLUMNS)
        rows = rows[1:]
    found = []
    for number, row in rows:
        row = [*row, *[""] * len(heads)]
        if row[url]:
            found.append(Wanted(_label(row[label], f"{file}: row {number}"), row[url]))
    return found


def _column(file: Path, heads: Sequence[str], names: Sequence[str]) -> int:
    for name in names:
        if name in heads:
            return heads.index(name)
    raise Error(f"{file}: expected a column {names[0]!r}, got {', '.join(map(repr, heads))}; name it so")


def _label(text: str, where: str) -> str:
    """The class, if a folder can be called so, on any system."""
    label = text.strip()
    if (
        not label
        or label.startswith(".")
        or label.endswith(".")
        or not label.isprintable()
        or set(label) & set('/\\:*?"<>|')
    ):
        raise Error(f"{where}: expected a class that a folder can be called by, got {text!r}")
    return label
