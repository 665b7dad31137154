"""A folder with all that is below it, without what programs leave behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from sgdsheet.errors import Error

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".avif", ".jp2", ".j2k"),
    *(".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
}
HEIF = {".heic", ".heif", ".hif"}  # Pillow reads them where pillow-heif is installed
if find_spec("pillow_heif"):
    SUFFIXES |= HEIF

# Folders and files of operating systems, file servers and notebooks, besides all whose names begin with a dot.
JUNK = {
    *("__MACOSX", "@eaDir", "#recycle", "@Recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information"),
    *("lost+found", "__pycache__", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", "Icon\r"),
}
# What this trainer writes: a folder that holds one of these sets is a run's, a cache or a trash, none of pictures.
OWN = ({"checkpoint.safetensors"}, {"run.json", "history.csv"}, {"pixels.bin", "index.jsonl"}, {"trash.json"})
OWN_PICTURES = {
    *("confusion.png", "top_losses.png", "test_confusion.png", "test_top_losses.png", "losses.png", "lr.png")
}


@dataclass(eq=False)
class Folder:
    """A folder below `root`.

    `below` is its path from there, with slashes, empty for `root` itself. `pictures` and `others`, files that are no
    pictures by their suffix, are the names of those that lie directly in it, sorted; so are its `folders`. `passed` are
    the folders in it that are not looked into, each with the reason.
    """

    root: Path
    below: str
    pictures: list[str]
    others: list[str]
    folders: list[Folder]
    passed: dict[str, str]

    @property
    def path(self) -> Path:
        return self.root / self.below

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def count(self) -> int:
        """How many pictures are in it and below."""
        return len(self.pictures) + sum(folder.count for folder in self.folders)

    @property
    def holding(self) -> list[Folder]:
        """Its folders that hold pictures."""
        return [folder for folder in self.folders if folder.count]

    def every(self) -> Iterator[Folder]:
        """It and all folders below."""
        yield self
        for folder in self.folders:
            yield from folder.every()

    def all_pictures(self) -> list[str]:
        """The pictures in it and below, as paths from `root`."""
        return [joined(folder.below, name) for folder in self.every() for name in folder.pictures]

    def all_others(self) -> list[str]:
        """The names of the files in it and below that are no pictures."""
        return [name for folder in self.every() for name in folder.others]

    def all_passed(self) -> dict[str, str]:
        """All folders that were not looked into, by their paths from `root`."""
        return {joined(each.below, name): why for each in self.every() for name, why in each.passed.items()}


def walk(root: Path, without: Collection[Path] = ()) -> Folder:
    """Reads a folder and all below it; symbolic links are followed. The folders `without` are not looked into.

    Raises `Error` for a folder that cannot be read, and for a link that leads back to a folder that it is in.
    """
    kept_out = {os.path.realpath(each) for each in without} - {os.path.realpath(root)}
    return _read(root, "", frozenset(), kept_out)


def is_picture(name: str) -> bool:
    """Whether it is one by its suffix."""
    return suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """As `.jpg`, in lower case; empty if there is none."""
    return os.path.splitext(name)[1].lower()


def joined(below: str, name: str) -> str:
    return f"{below}/{name}" if below else name


def _read(root: Path, below: str, above: frozenset[str], without: Collection[str]) -> Folder:
    """`above` are the real paths of the folders that this one is in."""
    path = root / below
    real = os.path.realpath(path)
    if real in above:
        raise Error(f"{path}: the symbolic link leads back to {real}, which it is in itself; remove it")
    folder = Folder(root, below, [], [], [], {})
    own = OWN_PICTURES if _is_own(path) else set()
    for entry in _entries(path):
        if _leads_to(entry, os.path.isdir, entry.is_dir):
            if why := _why_not(entry, without):
                folder.passed[entry.name] = why
            else:
                folder.folders.append(_read(root, joined(below, entry.name), above | {real}, without))
        elif entry.name.startswith(".") or entry.name in JUNK or entry.name in own:
            continue
        # A link that leads nowhere is listed as well, and is then among the unreadable ones; a pipe would block.
        elif _leads_to(entry, os.path.isfile, entry.is_file) or not os.path.exists(entry):
            (folder.pictures if is_picture(entry.name) else folder.others).append(entry.name)
    return folder


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise Error(f"{path}: the folder cannot be read: {error.strerror}") from None


def _leads_to(entry: os.DirEntry[str], follow: Callable[[os.DirEntry[str]], bool], known: Callable[[], bool]) -> bool:
    """Where there is no link, what the folder's own list knows will do; a link may lead in circles, or nowhere."""
    return follow(entry) if entry.is_symlink() else known()


def _why_not(entry: os.DirEntry[str], without: Collection[str]) -> str | None:
    """Why a folder is not looked into, if it is not."""
    if entry.name.startswith(".") or entry.name in JUNK:
        return "hidden, or left behind by a program"
    if os.path.realpath(entry) in without:
        return "kept out"
    return "written by a run of this trainer" if _is_own(Path(entry)) else None


def _is_own(folder: Path) -> bool:
    return any(all(os.path.exists(folder / name) for name in names) for names in OWN)
