"""Which pictures there are, what each one shows, and which are kept for validation."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgdsheet.errors import Error, nearest

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {
    *(".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".avif"),
    *(".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
}
JUNK = {".DS_Store", ".git", ".ipynb_checkpoints", "__MACOSX"}  # folders that programs leave behind
YES_OR_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, eq=False)
class Listing:
    """n pictures, sorted by name.

    `names` are their paths below `root`, with slashes. `labels` (n, int64) are places in `classes`, which are sorted;
    `valid` (n, bool) says which pictures are for validation.
    """

    root: Path
    names: list[str]
    labels: np.ndarray
    classes: list[str]
    valid: np.ndarray

    def file(self, number: int) -> Path:
        return self.root / self.names[number]


def listing(root: Path | str, *, valid_pct: float = 0.2, seed: int = 42, csv: Path | str | None = None) -> Listing:
    """The pictures below a folder, or those that a CSV names.

    `root` is one of these:

    - A folder with a folder for each class. What lies in folders further down belongs to the class too.
    - A folder with `train` and `valid`, each with a folder for each class. That is then the split; anything else beside
      the two, such as `test`, is passed over.
    - A CSV, or the folder that the paths in `csv` start from. Its columns `path` (or `file`, `name`) and `label` (or
      `class`) count, or else its first two; a column `valid` (or `is_valid`) of true and false, or 1 and 0, is the
      split.

    Where no split is given, `split` makes one. Hidden files and folders and files that are no pictures by their suffix
    are passed over; symbolic links are followed. Raises `Error` for whatever cannot be trained on.
    """
    root = Path(root)
    if csv is None and root.suffix.lower() == ".csv" and not root.is_dir():
        root, csv = root.parent, root
    if not 0 < valid_pct < 1:
        raise Error(f"valid_pct: expected a share between 0 and 1, such as 0.2, got {valid_pct}")
    if not root.exists():
        raise Error(f"{root}: there is no such folder")
    if not root.is_dir():
        raise Error(f"{root}: expected a folder with a folder for each class, or a .csv, got a file")
    if csv is not None:
        labelled, valid = _in_csv(Path(csv), root)
    elif (root / "train").is_dir() and (root / "valid").is_dir():
        labelled, valid = _in_two_folders(root)
    else:
        labelled, valid = _in_class_folders(root, root), None
    names = sorted(labelled)
    classes = sorted(set(labelled.values()))
    _check_classes(classes, csv or root)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[labelled[name]] for name in names], dtype=np.int64)
    in_valid = split(names, labels, valid_pct, seed) if valid is None else np.array([name in valid for name in names])
    found = Listing(root, names, labels, classes, in_valid)
    _check_parts(found, csv or root)
    return found


def split(names: Sequence[str], labels: np.ndarray, valid_pct: float, seed: int) -> np.ndarray:
    """Which pictures are for validation: about `valid_pct` of them.

    A name and the seed decide, whatever other pictures there are: hashed, they are a number from 0 to 1, and below
    `valid_pct` the picture is for validation. Only where that leaves a class without a training picture, the one with
    the largest number goes there; and where it leaves two or more without one for validation, the one with the smallest
    goes there.
    """
    drawn = np.array([_drawn(name, seed) for name in names])
    valid = drawn < valid_pct
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(drawn[members])]
        if valid[members].all():
            valid[members[-1]] = False
        if len(members) > 1 and not valid[members].any():
            valid[members[0]] = True
    return valid


def check_no_class_lost(listing: Listing, unreadable: Mapping[int, str]) -> Listing:
    """The listing without the pictures that could not be decoded; `unreadable` has the reason by a picture's number.

    Raises `Error` if a class has no picture left to train with, or none is left to validate with.
    """
    kept = np.array([number not in unreadable for number in range(len(listing.names))])
    for label, name in enumerate(listing.classes):
        own = listing.labels == label
        for part, members in (("", own), ("training ", own & ~listing.valid)):
            if not kept[members].any():
                first = np.flatnonzero(members)[0]
                raise Error(
                    f"{listing.root}: class {name!r} has no {part}picture left: none of {members.sum():,} could be "
                    f"decoded; the first is {listing.names[first]}: {unreadable[first]}"
                )
    names = [name for name, keep in zip(listing.names, kept, strict=True) if keep]
    left = Listing(listing.root, names, listing.labels[kept], listing.classes, listing.valid[kept])
    _check_parts(left, listing.root)
    return left


def _drawn(name: str, seed: int) -> float:
    """A number in [0, 1) that the name and the seed alone decide."""
    digest = hashlib.blake2b(f"{seed}/".encode() + os.fsencode(name), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


# --- Folders --------------------------------------------------------------------------------------------------------


def _in_class_folders(folder: Path, root: Path) -> dict[str, str]:
    """The class of each picture, by its name below `root`; each folder in `folder` is a class."""
    entries = _entries(folder)
    if not entries:
        raise Error(f"{folder}: the folder is empty; expected a folder for each class")
    inside = [entry for entry in entries if os.path.isdir(entry) and entry.name not in JUNK]
    if not inside and any(_is_picture(entry) for entry in entries):
        raise Error(f"{folder}: expected a folder for each class, but its pictures lie directly in it")
    names = {entry.name for entry in inside}
    other = sorted(names & {"val", "validation", "test"})
    if folder == root and "train" in names and other:
        raise Error(f"{folder}: there is train, but no valid beside it; rename {other[0]} to valid")
    pictures = {each: list(_pictures(each, {os.path.realpath(folder)})) for each in inside}
    if not any(pictures.values()):
        raise Error(f"{folder}: there are no pictures in it; a picture's name ends in {', '.join(sorted(SUFFIXES))}")
    for each, files in pictures.items():
        if each.name.startswith("."):
            raise Error(f"{each}: a class name must not begin with a dot; rename the folder, or move it elsewhere")
        if not files:
            raise Error(f"{each}: there are no pictures of this class; add some, or remove the folder")
    return {file.relative_to(root).as_posix(): each.name for each, files in pictures.items() for file in files}


def _in_two_folders(root: Path) -> tuple[dict[str, str], set[str]]:
    """The class of each picture in `train` and `valid`, and the names of those in `valid`."""
    train, valid = (_in_class_folders(root / part, root) for part in ("train", "valid"))
    known = sorted(set(train.values()))
    unknown = sorted(set(valid.values()) - set(known))
    if unknown:
        name = unknown[0]
        raise Error(f"{root / 'valid' / name}: there is no class {name!r} in {root / 'train'}{nearest(name, known)}")
    return train | valid, set(valid)


def _pictures(folder: Path, above: set[str]) -> Iterator[Path]:
    """The pictures in a folder and in those below it; `above` are the real paths of the folders that it is in."""
    real = os.path.realpath(folder)
    if real in above:
        raise Error(f"{folder}: the symbolic link leads back to {real}, which it is in itself; remove it")
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if os.path.isdir(entry):
            yield from _pictures(entry, above | {real})
        # A link that leads nowhere is listed as well, and is then among the unreadable ones; a pipe would block.
        elif _is_picture(entry) and (os.path.isfile(entry) or not os.path.exists(entry)):
            yield entry


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise Error(f"{folder}: the folder cannot be read: {error.strerror}") from None


def _is_picture(path: Path | str) -> bool:
    return Path(path).suffix.lower() in SUFFIXES


# --- A CSV ----------------------------------------------------------------------------------------------------------


def _in_csv(csv: Path, root: Path) -> tuple[dict[str, str], set[str] | None]:
    """The class of each picture by its name, and the names of those for validation if a column says so."""
    table = _read_csv(csv)
    path, label, valid = _columns(csv, list(table.columns))
    labelled: dict[str, str] = {}
    in_valid: set[str] = set()
    missing: list[str] = []
    for index, record in zip(table.index, table.to_dict("records"), strict=True):
        where = f"{csv}: row {index + 2}"  # as a spreadsheet counts, below the header
        if not record[path] or not record[label]:
            raise Error(f"{where}: expected a path and a label, got {record[path]!r} and {record[label]!r}")
        name = Path(record[path]).as_posix()
        if name in labelled:
            raise Error(f"{where}: {name} is there twice; remove one of its rows")
        labelled[name] = record[label]
        if valid and record[valid].lower() not in YES_OR_NO:
            raise Error(f"{where}: expected true or false, or 1 or 0, in column {valid!r}, got {record[valid]!r}")
        if valid and YES_OR_NO[record[valid].lower()]:
            in_valid.add(name)
        if not os.path.isfile(root / name):
            missing.append(f"{name} in row {index + 2}")
    if missing:
        count = "1 file is" if len(missing) == 1 else f"{len(missing):,} files are"
        raise Error(f"{csv}: {count} missing from {root}; the first is {missing[0]}")
    return labelled, in_valid if valid else None


def _read_csv(csv: Path) -> pd.DataFrame:
    """Its cells as text without spaces around them; empty rows are left out, the others keep their numbers."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the header
            table = pd.read_csv(
                csv, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False, encoding="utf-8-sig"
            )
    except OSError as error:
        raise Error(f"{csv}: the CSV cannot be read: {error.strerror}") from None
    except (ValueError, pd.errors.ParserWarning) as error:
        raise Error(f"{csv}: not a CSV in UTF-8: {str(error).strip().splitlines()[0]}") from None
    table = table.apply(lambda column: column.str.strip())
    return table.loc[(table != "").any(axis=1)]


def _columns(csv: Path, columns: list[str]) -> tuple[str, str, str | None]:
    """Which columns are the path, the label, and the split if there is one."""
    by_word = {column.strip().lower(): column for column in columns}

    def named(*words: str) -> str | None:
        return next((by_word[word] for word in words if word in by_word), None)

    path, label, valid = named("path", "file", "name"), named("label", "class"), named("valid", "is_valid")
    others = (column for column in columns if column not in (path, label, valid))
    path = path or next(others, None)
    label = label or next(others, None)
    if path is None or label is None:
        raise Error(f"{csv}: expected the columns path and label, separated by a comma, got {', '.join(columns)!r}")
    if _is_picture(path):
        raise Error(
            f"{csv}: expected a first row that names the columns, such as path,label, got {','.join(columns)!r}"
        )
    return path, label, valid


# --- What can be trained on -----------------------------------------------------------------------------------------


def _check_classes(classes: Sequence[str], where: Path | str) -> None:
    if not classes:
        raise Error(f"{where}: there are no pictures in it")
    if len(classes) == 1:
        raise Error(f"{where}: expected at least two classes, got only {classes[0]!r}")
    alike: dict[str, str] = {}
    for name in classes:
        if name.startswith("."):
            raise Error(f"{where}: a class name must not begin with a dot, got {name!r}")
        other = alike.setdefault(name.casefold(), name)
        if other != name:
            raise Error(f"{where}: the classes {other!r} and {name!r} differ in nothing but case; rename one")


def _check_parts(found: Listing, where: Path | str) -> None:
    for label, name in enumerate(found.classes):
        if found.valid[found.labels == label].all():
            raise Error(f"{where}: class {name!r} has no picture to train with, for all are for validation")
    if not found.valid.any():
        raise Error(f"{where}: there is no picture to validate with")
