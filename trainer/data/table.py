"""A CSV that names pictures: which columns are their paths, their labels and the split, and what its rows say."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet import csv_file
from sgdsheet.errors import Error, nearest
from trainer.data.labels import Label, Labelled, by_rule, counted, enumerated
from trainer.data.split import part_of
from trainer.data.walk import SUFFIXES, is_picture

if TYPE_CHECKING:
    import pandas as pd

YES = {*("true", "1", "1.0", "yes", "y", "t")}
NO = {*("false", "0", "0.0", "no", "n", "f", "", "nan")}
# Names of columns, in lower case and with _ between their words; those of paths in the order in which they are tried.
PATHS = ("path", "file", "name", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture")
LABELS = re.compile(r"(.*_)?(label|labels|class|classes|category|categories|target|targets|tag|tags)(_name)?")
SPLITS = ("split", "set", "subset", "partition", "fold", "part", "phase", "usage", "dataset")
YES_IS = {
    **dict.fromkeys(("valid", "is_valid", "val", "is_val", "validation", "is_validation"), "valid"),
    **dict.fromkeys(("test", "is_test", "is_testing"), "test"),
    **dict.fromkeys(("train", "is_train", "is_training", "is_training_image"), "train"),
}
# What `trainer clean` writes: what was done to a picture, and the label that it had.
CLEANED, DELETED = ("path", "label", "split", "cleaned", "was"), "deleted"
NO_LABELS = re.compile(
    r"(?!(class|label|category|target|species)_).*_id|id|index|idx|unnamed.*|.*width|.*height|w|h|x|y|[xy]_?(min|max|\d)|"
    r".*size|bytes|area|depth|channels|.*url|source|license|.*date|.*time|timestamp|md5|sha\d*|hash|lat|lon|mode|format"
)


@dataclass(frozen=True)
class Given:
    """What the user says of a CSV; None where it shall say so itself. An empty text means that there is none."""

    path_column: str | None = None
    label_column: str | Sequence[str] | None = None
    split_column: str | None = None
    label_delim: str | None = None
    suffix: str | None = None


@dataclass
class Row:
    """A row's number as a spreadsheet counts, and what it says of a picture."""

    number: int
    name: str
    part: str | None
    cells: dict[str, str]
    labels: tuple[str, ...] = ()


def find(csv: Path, root: Path) -> Path:
    """The CSV by its path, or by its path from the pictures' folder."""
    return root / csv if not csv.exists() and (root / csv).exists() else csv


def start(root: Path, folder: Path | str | None) -> Path:
    """The folder that the paths start from: `folder`, below `root` or by itself. Raises `Error`."""
    if not folder:
        return root
    folder = Path(folder).expanduser()
    for each in (root / folder, folder):
        if each.is_dir():
            return each
    raise Error(f"folder: there is no folder {folder}, neither in {root} nor by itself")


def labelled(csv: Path, root: Path, given: Given, label: Label | None = None) -> Labelled:
    """The pictures that a CSV names, by their names below `root`.

    - The column of paths is the one whose cells are files in `root`, as they stand, with / for their back-slashes, or
      with a picture's suffix behind them (`suffix` alone, if it is given).
    - The column of labels is called label, class, category, target, tags or the like, or is the only one that can be.
      Where it has numbers, and another has a word for each, the words are taken. Columns of 0 and 1 are labels by their
      names: classes if each picture has one of them; otherwise a picture may have several labels or none, as also
      where `label_delim` says what stands between the labels in a cell. `label` is a rule in place of all that.
    - Where `trainer clean` has written the file, the rows of deleted pictures are passed over.
    - A column split, set, subset or fold says train, valid or test; is_valid and is_test say it with 1 and 0, or words
      such as true and no. Where their cells are empty, the picture is for training.

    Test pictures without a label are passed over. Raises `Error` for columns and rows that cannot be used.
    """
    table, deleted = _without_deleted(_read(csv))
    if label is None and len(table.columns) < 2:
        raise Error(f"{csv}: expected the columns path and label, got {', '.join(table.columns)!r}")
    if not len(table):
        return Labelled({})
    files = Files(root, given.suffix)
    path = _path_column(csv, table, files, given)
    splits, said = _split_columns(csv, table, path, given)
    columns = [] if label is not None else _label_columns(csv, table, [path, *splits], given)
    rows = _rows(csv, table, path, splits, files)
    for row in rows:
        row.labels = _labels(row, columns, given.label_delim)
    rows, twice = _once(csv, rows)
    parts = {row.name: row.part for row in rows if row.part}
    if label is not None:
        found = by_rule([row.name for row in rows], parts, label, root)
    else:
        found = _by_columns(csv, rows, parts, columns, given.label_delim)
    words = f"labels from {enumerated(columns)}" if columns else "labels by the rule"
    if columns and found.multi_label:
        odd = [row for row in rows if len(row.labels) != 1 and row.name in found.labels]
        row = min(odd, key=lambda row: not row.labels, default=rows[0])
        words += f", several each: row {row.number} has {enumerated(row.labels) or 'none'}"
    words += f", the split from {enumerated(list(splits))}" if splits else ""
    found.said = [f"{csv}: pictures from {path}, {words}", *said, *deleted, *twice, *found.said]
    return found


def _by_columns(
    csv: Path, rows: Sequence[Row], parts: dict[str, str], columns: Sequence[str], delim: str | None
) -> Labelled:
    """What the cells say. Raises `Error` for a row without the label that it must have."""
    none = next((row for row in rows if not row.labels and row.part != "test"), None)
    several = any(len(row.labels) > 1 for row in rows)
    found = Labelled({row.name: row.labels for row in rows}, parts)
    found.multi_label = bool(delim) or several or (none is not None and len(columns) > 1)
    unlabelled = [row.name for row in rows if row.part == "test" and not row.labels]
    if found.multi_label and len(unlabelled) < sum(row.part == "test" for row in rows):
        return found  # the test is labelled, some of its pictures with nothing
    if none and not found.multi_label:
        raise Error(f"{csv}: row {none.number}: expected a path and a label, got {none.name!r} and ''")
    for name in unlabelled:
        del found.labels[name]
    if unlabelled:
        found.said.append(
            f"passed over: {counted(len(unlabelled), 'test picture')} without a label, as {unlabelled[0]}"
        )
    return found


# --- The file -------------------------------------------------------------------------------------------------------


def _read(csv: Path) -> pd.DataFrame:
    """Its cells as text; empty rows are left out, the others keep their numbers."""
    import pandas as pd

    rows = csv_file.read(csv).rows
    if not rows:
        raise Error(f"{csv}: is empty; expected the columns path and label")
    columns = rows[0][1]
    for number, row in rows:
        if len(row) > len(columns):
            raise Error(f"{csv}: row {number}: expected {len(columns)} values, got {len(row)}")
    twice = [column for column, count in Counter(columns).items() if count > 1 and column]
    if twice:
        raise Error(f"{csv}: two columns are called {twice[0]!r}; rename one")
    if any(is_picture(column) for column in columns):
        got = ",".join(columns)
        raise Error(f"{csv}: expected a first row that names the columns, such as path,label, got {got!r}")
    names = [column or f"Unnamed: {place}" for place, column in enumerate(columns)]  # as pandas calls them
    cells = [row + [""] * (len(columns) - len(row)) for _, row in rows[1:]]
    return pd.DataFrame(cells, index=[number for number, _ in rows[1:]], columns=names, dtype=str)


def _without_deleted(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table without the deleted pictures of a cleaned one, and without what says that; and what is said of them."""
    if tuple(table.columns) != CLEANED:
        return table, []
    gone = table["cleaned"] == DELETED
    said = [f"passed over: {counted(int(gone.sum()), 'row')} of deleted pictures"] if gone.any() else []
    return table.loc[~gone, ["path", "label", "split"]], said


class Files:
    """The files below `root` that cells name, in one of the ways in which people write that down."""

    def __init__(self, root: Path, suffix: str | None) -> None:
        self.root = root
        both = (
            ["." + suffix.lstrip(".")] if suffix else [each for one in sorted(SUFFIXES) for each in (one, one.upper())]
        )
        self.ways = [(spelled, each) for each in ("", *both) for spelled in (str, _with_slashes, _from_root)]

    def name(self, cell: str) -> str | None:
        """The file's name below `root`, or None where there is no such file."""
        for way in self.ways:
            spelled, suffix = way
            found = spelled(cell) + suffix
            if (not suffix or not is_picture(spelled(cell))) and os.path.isfile(os.path.join(self.root, found)):
                if way != self.ways[0]:  # as it stands comes first; then what was right for the last one
                    self.ways.remove(way)
                    self.ways.insert(1, way)
                return Path(os.path.normpath(found)).as_posix()
        return None


def _with_slashes(cell: str) -> str:
    return cell.replace("\\", "/")


def _from_root(cell: str) -> str:
    return _with_slashes(cell).lstrip("/")


def _rows(csv: Path, table: pd.DataFrame, path: str, splits: Mapping[str, str], files: Files) -> list[Row]:
    """What the rows say, but for the labels. Raises `Error` if files are missing."""
    rows: list[Row] = []
    missing: list[tuple[str, int]] = []
    for number, cells in zip(table.index.tolist(), table.to_dict("records"), strict=True):
        if not cells[path]:
            raise Error(f"{csv}: row {number}: expected a path in column {path!r}, got nothing")
        name = files.name(cells[path])
        if name is None:
            missing.append((cells[path], number))
        else:
            rows.append(Row(number, name, _part(csv, number, cells, splits), cells))
    if missing:
        (cell, number), count = missing[0], len(missing)
        many = "1 file is" if count == 1 else f"{count:,} files are"
        elsewhere = "" if rows else _elsewhere(csv, files, [[cell for cell, _ in missing[:50]]])
        raise Error(f"{csv}: {many} missing from {files.root}; the first is {cell} in row {number}{elsewhere}")
    return rows


def _once(csv: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Each picture once. Raises `Error` where two rows of a picture differ."""
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.name, row)
        for one, its in ((other.labels, row.labels), ((other.part or "train",), (row.part or "train",))):
            if one != its:
                raise Error(
                    f"{csv}: row {row.number}: {row.name} is there twice, as {enumerated(one)!r} in row {other.number} "
                    f"and as {enumerated(its)!r} in row {row.number}; remove one of the rows"
                )
    twice = len(rows) - len(first)
    said = [f"passed over: {counted(twice, 'row')} that repeat another"] if twice else []
    return list(first.values()), said


# --- The column of paths --------------------------------------------------------------------------------------------


def _path_column(csv: Path, table: pd.DataFrame, files: Files, given: Given) -> str:
    if given.path_column:
        return _named(csv, table, "path_column", given.path_column)
    order = {word: number for number, word in enumerate(PATHS)}
    columns = sorted(table.columns, key=lambda column: order.get(_word(column), len(order)))
    some = table.iloc[np.unique(np.linspace(0, len(table) - 1, 50).astype(int))]
    hits = {column: sum(files.name(cell) is not None for cell in some[column] if cell) for column in columns}
    best = max(columns, key=lambda column: hits[column])
    if hits[best]:
        return best
    if _word(columns[0]) in order:
        return columns[0]  # its rows are then said to be missing
    cells = [[cell for cell in some[column] if cell] for column in columns]
    tried = enumerated([f"{column} ({each[0]!r})" for column, each in zip(columns, cells, strict=True) if each])
    raise Error(f"{csv}: no column names files in {files.root}; tried {tried}{_elsewhere(csv, files, cells)}")


def _elsewhere(csv: Path, files: Files, columns: Sequence[Sequence[str]]) -> str:
    """Where the files are, if all that are in one of the columns are near; or else what the user could say."""
    below = (each for each in sorted(files.root.iterdir()) if each.is_dir())
    for folder in (csv.parent, *below):
        there = Files(folder, None)
        if any(cells and all(there.name(cell) for cell in cells) for cells in columns):
            return f"; they are in {folder}: give folder={str(folder)!r}"
    return "; folder says where the paths start, suffix what follows them"


def _word(column: str) -> str:
    """A column's name in lower case, with _ between its words."""
    return re.sub(r"[\W_]+", "_", column.strip().casefold()).strip("_")


def _named(csv: Path, table: pd.DataFrame, option: str, name: str) -> str:
    """The column that the user names, in any case of letters."""
    for column in table.columns:
        if column == name or _word(column) == _word(name):
            return column
    raise Error(f"{option}: there is no column {name!r} in {csv}{nearest(name, list(table.columns))}")


# --- The split ------------------------------------------------------------------------------------------------------


def _split_columns(csv: Path, table: pd.DataFrame, path: str, given: Given) -> tuple[dict[str, str], list[str]]:
    """The columns that say the part, with what a yes in them means, or "" for those that name it; and what is said."""
    if given.split_column is not None:
        if not given.split_column:
            return {}, []
        column = _named(csv, table, "split_column", given.split_column)
        yes_or_no = {cell.casefold() for cell in table[column]} <= YES | NO
        return {column: YES_IS.get(_word(column), "valid" if yes_or_no else "")}, []
    labels = _given_labels(csv, table, given)
    has_label = bool(labels) or any(LABELS.fullmatch(_word(column)) for column in table.columns)
    splits: dict[str, str] = {}
    said: list[str] = []
    for column in table.columns:
        word = _word(column)
        if column == path or column in labels or (word in ("train", "test") and not has_label):
            continue  # without a label they may be among the columns of 0 and 1
        if word in YES_IS:
            splits[column] = YES_IS[word]
        elif word == "split" or (word in SPLITS and any(part_of(cell) for cell in table[column])):
            splits[column] = ""
        elif word.endswith("fold"):
            said.append(
                f"column {column} is not taken for a split: expected train, valid, test, got {table[column].iloc[0]!r}"
            )
    return splits, said


def _part(csv: Path, number: int, cells: Mapping[str, str], splits: Mapping[str, str]) -> str | None:
    """The part that a row says: the test above validation, validation above training; None if it says nothing."""
    parts = set()
    for column, meaning in splits.items():
        cell = cells[column].casefold()
        if not meaning and cell:
            part, expected = part_of(cell), "train, valid or test"
        elif meaning and (cell in YES or cell in NO):
            no = "valid" if meaning == "train" else "train"
            part, expected = meaning if cell in YES else no, ""
        else:
            part, expected = None, "true or false, or 1 or 0," if meaning else ""
        if part is None and expected:
            raise Error(
                f"{csv}: row {number}: expected {expected} in column {column!r}, got {cells[column]!r}; "
                "split_column='' if it is no split"
            )
        parts.add(part)
    return next((part for part in ("test", "valid", "train") if part in parts), None)


# --- The labels -----------------------------------------------------------------------------------------------------


def _labels(row: Row, columns: Sequence[str], delim: str | None) -> tuple[str, ...]:
    """What the cells of a row say: one that holds the label, or several labels; or a column of 0 and 1 for each."""
    if len(columns) > 1:
        return tuple(column for column in columns if row.cells[column].casefold() in YES)
    cells = [row.cells[column] for column in columns]
    if delim:
        cells = [each for cell in cells for each in _split(cell, delim)]
    return tuple(sorted({cell for cell in cells if cell}))


def _split(cell: str, delim: str) -> list[str]:
    """The labels in a cell; a list in brackets, as programs write it, is one too."""
    if _is_list(cell):
        return [each.strip(" '\"") for each in cell[1:-1].split(delim)]
    return [each.strip() for each in cell.split(delim)]


def _is_list(cell: str) -> bool:
    return cell[:1] + cell[-1:] == "[]"


def _given_labels(csv: Path, table: pd.DataFrame, given: Given) -> list[str]:
    names = [given.label_column] if isinstance(given.label_column, str) else given.label_column or ()
    names = [name for name in names if name]
    return [_named(csv, table, "label_column", name) for name in names]


def _label_columns(csv: Path, table: pd.DataFrame, taken: Collection[str], given: Given) -> list[str]:
    """The column of labels, or those of 0 and 1 that are labels by their names."""
    columns = _given_labels(csv, table, given) or _found_labels(csv, table, taken)
    if len(columns) > 1:
        for column in columns:
            if not _is_one_hot(table[column]):
                odd = next(cell for cell in table[column] if cell.casefold() not in YES | NO | {"-1"})
                raise Error(
                    f"label_column: expected 1 or 0 in each of several columns, got {odd!r} in {column!r} of {csv}"
                )
    elif given.label_delim is None:
        _require_one_label(csv, columns[0], table[columns[0]])
    return columns


def _found_labels(csv: Path, table: pd.DataFrame, taken: Collection[str]) -> list[str]:
    rest = [column for column in table.columns if column not in taken]
    by_word = [column for column in rest if LABELS.fullmatch(_word(column))]
    by_word.sort(key=lambda column: {"label": 0, "class": 1}.get(_word(column), 2))
    if by_word and (len(by_word) == 1 or _word(by_word[0]) in ("label", "class")):
        return [_in_words(table, by_word[0], rest)]
    rest = by_word or [each for each in rest if not NO_LABELS.fullmatch(_word(each)) and (table[each] != "").any()]
    ones = [each for each in rest if _is_one_hot(table[each]) and table[each].nunique() > 1]
    words = [each for each in rest if each not in ones and _numbers(table[each]) is None]
    if len(ones) > 1 and (not words or _is_one_each(table, ones)):
        return ones
    recurring = [each for each in words if table[each].nunique() < len(table) and (table[each] != "").all()]
    numbered = [each for each in rest if (found := _numbers(table[each])) is None or not (found % 1).any()]
    for candidates in (words, recurring, [] if words else numbered):
        if len(candidates) == 1:
            return [_in_words(table, candidates[0], rest)]
    among = f"one of {enumerated(rest)}" if rest else f"there is {enumerated(list(table.columns))}"
    raise Error(f"{csv}: expected a column label or class; say which it is with label_column: {among}")


def _in_words(table: pd.DataFrame, column: str, rest: Sequence[str]) -> str:
    """The column, or, if it numbers the classes, the one that has a word for each number."""
    count = table[column].nunique()
    if _numbers(table[column]) is None or count == len(table):
        return column
    for other in rest:
        pairs = len(set(zip(table[column], table[other], strict=True)))
        if _numbers(table[other]) is None and table[other].nunique() == count == pairs:
            return other
    return column


def _require_one_label(csv: Path, column: str, cells: pd.Series) -> None:
    """Raises `Error` if the cells look as if they held several labels each."""
    values = sorted(set(cells) - {""})
    for delim in "|;, ":
        parts = {value: set(_split(value, delim)) - {""} for value in values}
        several = [value for value in values if len(parts[value]) > 1]
        in_cells = Counter(each for labels in parts.values() for each in labels)
        # Words of a name, as in great pyrenees, seldom all recur in others.
        again = [value for value in several if all(in_cells[each] > 1 for each in parts[value])]
        lists = [value for value in values if delim == "," and _is_list(value)]
        if lists or (several and delim in "|;") or (len(again) > 1 and 2 * len(again) >= len(several)):
            example = (lists or again or several)[0]
            raise Error(
                f"{csv}: column {column!r} looks as if its cells held several labels, as {example!r}; give label_delim="
                f"{delim!r} if they do, label_delim='' if each is one label"
            )


def _is_one_hot(cells: pd.Series) -> bool:
    found = {cell.casefold() for cell in cells}
    return found <= YES | NO | {"-1"} and found != {""}


def _is_one_each(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether each row has a single 1 in these columns."""
    ones = sum(table[column].str.casefold().isin(YES).to_numpy(dtype=int) for column in columns)
    return bool(np.all(ones == 1))


def _numbers(cells: pd.Series) -> np.ndarray | None:
    """What the cells hold, if that is numbers alone."""
    try:
        return np.array([cell for cell in cells if cell], dtype=float)
    except ValueError:
        return None
