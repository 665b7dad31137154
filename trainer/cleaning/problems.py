"""What is wrong with a folder of pictures: unreadable, tiny, and there twice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sgdsheet.errors import Error, require
from sgdsheet.files import put
from sgdsheet.pictures import Unreadable
from trainer.cleaning import trash
from trainer.cleaning.alike import NEAR, Look, look_at, same_content, same_look
from trainer.data import layouts
from trainer.data.labels import Labelled, counted, enumerated
from trainer.data.walk import walk
from trainer.results.predictions import as_csv
from trainer.show.progress import counting
from trainer.show.text import plain

if TYPE_CHECKING:
    import pandas as pd

MOST = 10  # groups or files of a kind that are said
BROKEN = ("the file is empty", "it is cut off", "it is damaged", "not a picture")  # others another program may read
PARTS = {"train": "training", "valid": "validation", "test": "the test", "": "none"}
RANKS = {"test": 0, "valid": 1, "train": 2, "": 2}  # which copy stays: what is measured with is not to change

# The kinds of problems, in the order in which they are said, each with what it means.
KINDS = {
    "unreadable": "training leaves them out",
    "across the split": "what is trained on is also measured with, so that the results look too good",
    "across classes": "one of the labels is wrong, or both: nobody but you can say which, so all stay",
    "duplicate": "the same file several times",
    "near duplicate": "the same picture, resized, recompressed, recoloured, slightly cut, or mirrored",
    "tiny": "there is not much to learn from",
}


@dataclass(frozen=True)
class Problem:
    """A picture that should be looked at.

    `picture` is its path below the folder, `kind` one of `KINDS`, `label` its class and `part` what it is for, if the
    folders say so. `size` is its width and height in pixels, (0, 0) if it is unreadable. `group` numbers the pictures
    that are the same one, from 1; it is 0 for others. `delete` is whether `check --delete` moves it to the trash
    folder, `why` says why, or why not.
    """

    picture: str
    kind: str
    label: str
    part: str
    size: tuple[int, int]
    group: int
    delete: bool
    why: str


@dataclass(frozen=True, repr=False)
class Problems:
    """What was found in the folder `root`, in which `count` pictures were looked at; the problems of a group together.

    `said` is what was taken and passed over, in lines. As a text it is a summary for a terminal.
    """

    root: Path
    count: int
    found: list[Problem]
    said: list[str]

    def __len__(self) -> int:
        return len(self.found)

    def to_frame(self) -> pd.DataFrame:
        """A row for each problem."""
        import pandas as pd

        rows = [
            (each.picture, each.kind, each.label, each.part, *each.size, each.group, each.delete, each.why)
            for each in self.found
        ]
        heads = ["picture", "problem", "class", "part", "width", "height", "group", "delete", "why"]
        return pd.DataFrame(rows, columns=heads)

    def save_csv(self, path: Path | str) -> None:
        """Writes `to_frame` as a CSV, whole or not at all. Raises `Error` where that cannot be."""
        put(Path(path), as_csv(self.to_frame()))

    @property
    def deletes(self) -> list[str]:
        """The pictures that `check --delete` moves to the trash folder."""
        return [each.picture for each in self.found if each.delete]

    def __str__(self) -> str:
        lines = [*self.said, f"{self.root}: {counted(self.count, 'picture')}, {self._headline()}"]
        for kind, meaning in KINDS.items():
            own = [each for each in self.found if each.kind == kind]
            if own:
                many = counted(len({each.group for each in own}), "group") if own[0].group else f"{len(own):,}"
                lines += ["", f"{kind}: {many} ({meaning})", *self._lines(own)]
        return "\n".join(lines)

    __repr__ = __str__

    def _headline(self) -> str:
        if not self.found:
            return "nothing found"
        return f"{len(self.deletes):,} to delete, {counted(len(self.found) - len(self.deletes), 'other')} to look at"

    def _lines(self, own: Sequence[Problem]) -> Iterator[str]:
        groups: dict[object, list[Problem]] = {}
        for each in own:
            groups.setdefault(each.group or each.picture, []).append(each)
        for group in list(groups.values())[:MOST]:
            for place, each in enumerate(group):
                mark = "  - " if not place else "    "
                size = f" ({each.size[0]} x {each.size[1]})" if each.size[0] else ""
                yield f"{mark}{plain(each.picture)}{size}: {'delete' if each.delete else 'keep'}, {plain(each.why)}"
        if len(groups) > MOST:
            yield f"    and {len(groups) - MOST:,} more"


def check(
    folder: Path | str, *, delete: bool = False, tiny: int = 32, workers: int | None = None, show: bool = True
) -> Problems:
    """Decodes all pictures below a folder, and says which should not be there, or not twice.

    Pictures with a side of fewer than `tiny` pixels are tiny, unless that is more than half of all. Of the copies of a
    picture in one class one stays: one of the test before one of validation before one of training, for what is
    measured with should not change; among these the largest. Copies in several classes stay, one in each. With `delete`
    what is too much moves to the trash folder beside the data, from which `undo` brings it back; so do tiny pictures,
    and those that are broken, but not those that only this Pillow cannot read. `workers` threads decode (one a core).
    Raises `Error` for a folder without pictures, or if something cannot be moved; then nothing is.
    """
    require(tiny, "tiny", 0, whole=True)
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise Error(f"{root}: expected a folder of pictures, and there is none")
    trash.recover(root)
    listed = _labelled(root)
    with counting("Looking at pictures", show) as progress:
        looks = look_at(root, sorted(listed.labels), workers=workers, progress=progress)
    found = [*_unreadable(looks, listed), *_tiny(looks, listed, tiny)]
    gone = {each.picture for each in found if each.delete}
    links = {name for name in looks if (root / name).is_symlink()}
    found += _groups({name: each for name, each in looks.items() if name not in gone}, listed, links)
    problems = Problems(root, len(looks), found, listed.said)
    if delete:
        trash.apply(root, problems.deletes)
    return problems


def undo(folder: Path | str) -> int:
    """Brings back all that was moved to the trash folder or to another class, and returns how many files that were."""
    return trash.undo(folder)


def _labelled(root: Path) -> Labelled:
    """The pictures that training would find, with their classes; without any where the folders do not say them."""
    below = walk(root)
    try:
        return layouts.labelled(below)
    except Error as error:
        names = below.all_pictures()
        if not names:
            raise
        return Labelled(dict.fromkeys(names, ("",)), said=[f"the folders are not taken for classes: {error}"])


def _unreadable(looks: Mapping[str, Look | Unreadable], listed: Labelled) -> Iterator[Problem]:
    for name, each in looks.items():
        if isinstance(each, Unreadable):
            broken = str(each).startswith(BROKEN)
            why = str(each) if broken else f"{each}; it may well be good"
            yield _problem(name, "unreadable", listed, (0, 0), 0, broken, why)


def _tiny(looks: Mapping[str, Look | Unreadable], listed: Labelled, tiny: int) -> list[Problem]:
    sizes = {name: each.size for name, each in looks.items() if isinstance(each, Look)}
    small = {name: size for name, size in sizes.items() if min(size) < tiny}
    if 2 * len(small) > len(sizes):  # then that is what these pictures are like
        return []
    why = f"a side has fewer than {tiny} pixels"
    return [_problem(name, "tiny", listed, size, 0, True, why) for name, size in small.items()]


def _problem(
    name: str, kind: str, listed: Labelled, size: tuple[int, int], group: int, delete: bool, why: str
) -> Problem:
    label = ", ".join(listed.labels[name])
    return Problem(name, kind, label, listed.parts.get(name, ""), size, group, delete, why)


# --- Copies -----------------------------------------------------------------------------------------------------------


def _groups(looks: Mapping[str, Look | Unreadable], listed: Labelled, links: Collection[str]) -> Iterator[Problem]:
    seen = {name: each for name, each in looks.items() if isinstance(each, Look)}
    without = {name: each for name, each in seen.items() if each.bits is None}
    for number, group in enumerate([*same_look(seen), *same_content(without)], start=1):
        yield from _copies(number, {name: seen[name] for name in group}, listed, links)


def _copies(number: int, group: Mapping[str, Look], listed: Labelled, links: Collection[str]) -> Iterator[Problem]:
    """Which of a group stay: the first of each class, in the order of their worth, and what is not like one of them."""

    def worth(name: str) -> tuple[bool, int, int, int, str]:
        width, height = group[name].size
        # A link is worth least: it may lead to one of the others.
        return name in links, RANKS[listed.parts.get(name, "")], -width * height, -group[name].bytes, name

    kind = _kind(group, listed)
    classes = {listed.labels[name] for name in group}
    kept: list[str] = []
    like: dict[str, str] = {}  # what is deleted, and for which one
    for name in sorted(group, key=worth):
        same = [one for one in kept if listed.labels[one] == listed.labels[name] and _near(group[one], group[name])]
        if same:
            like[name] = same[0]
        else:
            kept.append(name)
    for name in [*kept, *like]:
        if name in like:
            other = like[name]
            exact = group[name].digest == group[other].digest
            why = f"{'the same file as' if exact else 'a copy of'} {other}"
        elif name in like.values():
            why = _why_kept(name, [name, *(one for one, other in like.items() if other == name)], group, listed)
        else:
            why = f"not so near {kept[0]} as to be sure"
        if len(classes) > 1 and name not in like:
            others = sorted({", ".join(labels) for labels in classes - {listed.labels[name]}})
            why = f"it is in class {', '.join(listed.labels[name])}, and also in {enumerated(others)}"
        yield _problem(name, kind, listed, group[name].size, number, name in like, why)


def _kind(group: Mapping[str, Look], listed: Labelled) -> str:
    """The worst that can be said of a group."""
    if len({listed.parts.get(name, "") for name in group}) > 1:
        return "across the split"
    if len({listed.labels[name] for name in group}) > 1:
        return "across classes"
    return "duplicate" if len({each.digest for each in group.values()}) == 1 else "near duplicate"


def _why_kept(name: str, copies: Sequence[str], group: Mapping[str, Look], listed: Labelled) -> str:
    part = listed.parts.get(name, "")
    if any(listed.parts.get(each, "") != part for each in copies):
        return f"the copy that is for {PARTS[part]}"
    if len({group[each].size for each in copies}) > 1:
        return f"the largest of {len(copies)}"
    return f"the first of {len(copies)}" if len({group[each].bytes for each in copies}) == 1 else "the largest file"


def _near(one: Look, other: Look) -> bool:
    if one.bits is None or other.bits is None:
        return one.digest == other.digest
    return bool((one.bits[0] != other.bits).sum(axis=1).min() <= NEAR)
