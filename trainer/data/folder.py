"""Which pictures there are, what each one shows, and which are kept for validation and for a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sgdsheet.errors import Error
from trainer.data import layouts, table
from trainer.data.labels import Label, Labelled, counted, enumerated
from trainer.data.split import split
from trainer.data.walk import walk

__all__ = ["Listing", "check_no_class_lost", "listing", "split"]


@dataclass(frozen=True, eq=False)
class Listing:
    """n pictures, sorted by name.

    `names` are their paths below `root`, with slashes. `labels` are places in `classes`, which are sorted: (n,) int64;
    or, where a picture may have several labels or none, (n, classes) float32 of 0 and 1. `part` (n,) says of each
    whether it is for "train", "valid" or "test". `said` is what was taken, passed over and left out, in lines. `csv` is
    the file that said all this, None where it was the folders.
    """

    root: Path
    names: list[str]
    labels: np.ndarray
    classes: list[str]
    part: np.ndarray
    said: list[str] = field(default_factory=list)
    csv: Path | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a picture may have several labels."""
        return self.labels.ndim == 2

    def file(self, number: int) -> Path:
        return self.root / self.names[number]

    def of(self, label: int) -> np.ndarray:
        """Which pictures show that class, (n,) bool."""
        return self.labels[:, label] == 1 if self.multi_label else self.labels == label


def listing(
    root: Path | str,
    *,
    valid_pct: float = 0.2,
    seed: int = 42,
    csv: Path | str | None = None,
    label: Label | None = None,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    split_column: str | None = None,
    label_delim: str | None = None,
    folder: Path | str | None = None,
    suffix: str | None = None,
    without: Path | str | Sequence[Path | str] = (),
) -> Listing:
    """The pictures below a folder, or those that a CSV names.

    `root` is one of these:

    - A folder with a folder for each class. What lies in folders further down belongs to the class too.
    - A folder with `train`, and `valid` or `test` or both, each with a folder for each class; `training`, `val`,
      `validation` and `testing` are the same, in any case of letters. That is then the split.
    - A folder of pictures whose names say what they show, with `label`: a regular expression with one group, which is
      searched for in the file's name (or, if it has a slash in it, in the path below `root`); or a function of the
      file's path that gives a class, or a list of them.
    - A CSV, or the folder that the paths in `csv` start from; see `trainer.data.table` for what is read from it, and
      for `path_column`, `label_column`, `split_column`, `label_delim`, `folder` and `suffix`, which say it instead.

    What is for the test is never for training nor validation. Where nothing is given for validation, `split` draws
    `valid_pct` of the rest. Hidden files and folders, those that programs leave behind or that this trainer has
    written, the folders `without`, and files that are no pictures by their suffix are passed over; symbolic links are
    followed. Raises `Error` for whatever cannot be trained on.
    """
    root = Path(root).expanduser()
    if csv is None and root.suffix.lower() in (".csv", ".tsv") and not root.is_dir():
        root, csv = root.parent, root
    if isinstance(valid_pct, (bool, str)) or valid_pct is None or not 0 < valid_pct < 1:
        raise Error(f"valid_pct: expected a share between 0 and 1, such as 0.2, got {valid_pct!r}")
    if not root.exists():
        raise Error(f"{root}: there is no such folder")
    if not root.is_dir():
        raise Error(f"{root}: expected a folder with a folder for each class, or a .csv, got a file")
    given = table.Given(path_column, label_column, split_column, label_delim, suffix)
    if csv is None:
        for name, value in [*vars(given).items(), ("folder", folder)]:
            if value:
                raise Error(f"{name}: it says how to read a CSV, but {root} is a folder; give csv as well")
        kept_out = [without] if isinstance(without, (str, Path)) else without
        found = layouts.labelled(walk(root, [Path(each).expanduser() for each in kept_out]), label)
        return _numbered(found, root, root, valid_pct, seed)
    file = table.find(Path(csv).expanduser(), root)
    root = table.start(root, folder)
    return replace(_numbered(table.labelled(file, root, given, label), root, file, valid_pct, seed), csv=file)


def check_no_class_lost(listing: Listing, unreadable: Mapping[int, str]) -> Listing:
    """The listing without the pictures that could not be decoded; `unreadable` has the reason by a picture's number.

    Raises `Error` if a class has no picture left to train with, or none is left to validate with.
    """
    kept = np.array([number not in unreadable for number in range(len(listing.names))])
    for label, name in enumerate(listing.classes):
        own = listing.of(label)
        for words, members in (("", own), ("training ", own & (listing.part == "train"))):
            if not kept[members].any():
                first = np.flatnonzero(members)[0]
                raise Error(
                    f"{listing.root}: class {name!r} has no {words}picture left: none of {members.sum():,} could be "
                    f"decoded; the first is {listing.names[first]}: {unreadable[first]}"
                )
    names = [name for name, keep in zip(listing.names, kept, strict=True) if keep]
    left = replace(listing, names=names, labels=listing.labels[kept], part=listing.part[kept])
    _check_parts(left, listing.root)
    return left


def _numbered(found: Labelled, root: Path, where: Path, valid_pct: float, seed: int) -> Listing:
    """Classes as numbers, and a part for each picture."""
    said = list(found.said)
    to_learn = {each for name, labels in found.labels.items() if found.parts.get(name) != "test" for each in labels}
    labelled = {name: labels for name, labels in found.labels.items() if to_learn.issuperset(labels)}
    if len(labelled) < len(found.labels):
        unknown = sorted({each for labels in found.labels.values() for each in labels} - to_learn)
        aside = counted(len(found.labels) - len(labelled), "test picture")
        said.append(f"passed over: {aside} of classes that no other picture has: {enumerated(unknown)}")
    names, classes = sorted(labelled), sorted(to_learn)
    _check_classes(classes, where, said)
    numbers = {name: number for number, name in enumerate(classes)}
    if found.multi_label:
        labels = np.zeros((len(names), len(classes)), dtype=np.float32)
        for row, name in enumerate(names):
            labels[row, [numbers[each] for each in labelled[name]]] = 1
    else:
        labels = np.array([numbers[labelled[name][0]] for name in names], dtype=np.int64)
    part = np.array([found.parts.get(name, "train") for name in names], dtype="<U5")
    if "valid" not in part:
        rest = np.flatnonzero(part == "train")
        drawn = split([names[number] for number in rest], labels[rest], valid_pct, seed)
        part[rest[drawn]] = "valid"
        if found.parts:
            said.append(f"{where}: {drawn.sum():,} of {len(rest):,} training pictures are drawn for validation")
    listed = Listing(root, names, labels, classes, part, said)
    _check_parts(listed, where)
    return listed


# --- What can be trained on -----------------------------------------------------------------------------------------


def _check_classes(classes: Sequence[str], where: Path, said: Sequence[str]) -> None:
    if not classes:
        raise Error(f"{where}: there are no pictures in it")
    if len(classes) == 1:
        reasons = "".join(f"; {line}" for line in said if not line.startswith(f"{where}: "))
        raise Error(f"{where}: expected at least two classes, got only {classes[0]!r}{reasons}")
    alike: dict[str, str] = {}
    for name in classes:
        if name.startswith("."):
            raise Error(f"{where}: a class name must not begin with a dot, got {name!r}")
        other = alike.setdefault(name.casefold(), name)
        if other != name:
            raise Error(f"{where}: the classes {other!r} and {name!r} differ in nothing but case; rename one")


def _check_parts(found: Listing, where: Path) -> None:
    for label, name in enumerate(found.classes):
        if "train" not in found.part[found.of(label)]:
            raise Error(f"{where}: class {name!r} has no picture to train with, for all are for validation")
    if "valid" not in found.part:
        raise Error(f"{where}: there is no picture to validate with")
