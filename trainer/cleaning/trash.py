"""A trash folder beside the data: pictures go there, or to another class, and all of it can be taken back.

Beside `bears` lies `bears.trash`, with the deleted files under the paths that they had. Its `trash.json` says what has
been moved, and is written before anything is: a program that was killed leaves a list of what it had begun, which the
next one ends. No file is ever overwritten or removed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sgdsheet.errors import Error, one_line
from sgdsheet.files import put

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

JOURNAL = "trash.json"  # `trainer.data.walk` knows a trash folder by it

# From where to where. A place is `data/…` or `trash/…`, a path below one of the two folders.
Move = tuple[str, str]


def trash_of(root: Path | str) -> Path:
    """The folder that takes what is deleted below `root`; it may not be there. A link to `root` is followed."""
    real = Path(os.path.realpath(Path(root).expanduser()))
    return real.with_name(f"{real.name}.trash")


def folder_for(name: str, old: str, new: str) -> str:
    """The folder of class `new` that stands beside the one of class `old` which a picture is in.

    `train/teddy/x.jpg` of class `teddy` belongs to `train/black` when it is said to be `black`. Raises `Error` if the
    picture is in no folder `old`.
    """
    folders = list(PurePosixPath(name).parent.parts)
    if old not in folders:
        raise Error(f"{name}: it is in no folder {old!r}, so it cannot be moved to {new!r} beside it; change its label")
    return "/".join([*folders[: folders.index(old)], new])


def apply(root: Path | str, deletes: Sequence[str] = (), relabels: Mapping[str, str] | None = None) -> None:
    """Moves pictures to the trash folder, and others to another class's folder. All of them, or none.

    Names are paths below `root`, with slashes. `relabels` has the folder below `root` that a picture goes to, as
    `black` or `train/black` (see `folder_for`), by its name. Where there is a file of that name, or was one that `undo`
    will bring back, it gets another, as `x-2.jpg`. What a killed program had begun is ended first. Raises `Error` for
    what is not there, not below `root`, or cannot be moved; everything is then where it was.
    """
    with _opened(root) as held:
        _end(held)
        deleted = [str(PurePosixPath(name)) for name in deletes]
        moved_to = {str(PurePosixPath(name)): str(PurePosixPath(to)) for name, to in (relabels or {}).items()}
        moves = _planned(held, list(dict.fromkeys(deleted)), moved_to)
        if moves:
            _carry_out(held, moves, [*held.journal.done, *moves])


def undo(root: Path | str) -> int:
    """Brings back all that was ever moved, deleted and relabelled, and returns how many files that were.

    What somebody has meanwhile removed from the trash folder, or from the class that it went to, is left out. Where
    another file has taken a picture's place, the picture comes back as `x-2.jpg`. Raises `Error` if something cannot be
    moved; everything is then where it was.
    """
    with _opened(root) as held:
        _end(held)
        moves, taken = [], set()
        for now, before in held.journal.origins().items():
            if os.path.lexists(held.path(now)):
                moves.append((now, _free(held, before, taken)))
                taken.add(moves[-1][1])
        if held.journal.done:
            _carry_out(held, moves, [])
        _remove_empty(held.trash)
        return len(moves)


def recover(root: Path | str) -> None:
    """Ends what a killed program had begun, if there is such a thing. Raises `Error` if that cannot be."""
    if (trash_of(root) / JOURNAL).exists():
        with _opened(root) as held:
            _end(held)


def moved(root: Path | str) -> int:
    """How many files `undo` would bring back, if they are all still there."""
    journal = _journal(trash_of(root) / JOURNAL)
    return len(_Journal(journal.then if journal.begun else journal.done).origins())


def moved_from(root: Path | str) -> set[str]:
    """The paths below `root` at which there were files that have been moved."""
    journal = _journal(trash_of(root) / JOURNAL)
    return {one.partition("/")[2] for one, _ in [*journal.done, *journal.begun] if one.startswith("data/")}


def places(root: Path | str) -> dict[str, str]:
    """Where each picture that was relabelled is now, by the name that it had at first; both are paths below `root`."""
    origins = _journal(trash_of(root) / JOURNAL).origins()
    both = ((before.partition("/")[2], now.partition("/")) for now, before in origins.items())
    return {before: below for before, (side, _, below) in both if side == "data"}


# --- The journal ------------------------------------------------------------------------------------------------------


@dataclass
class _Journal:
    """`done` are the moves that have been made, oldest first; `begun` those under way, and `then` what is done then."""

    done: list[Move] = field(default_factory=list)
    begun: list[Move] = field(default_factory=list)
    then: list[Move] = field(default_factory=list)

    def origins(self) -> dict[str, str]:
        """Where each file that was moved is now, and where it was at first."""
        origins: dict[str, str] = {}
        for before, after in self.done:
            origins[after] = origins.pop(before, before)
        return {now: before for now, before in origins.items() if now != before}


@dataclass
class _Held:
    """The two folders, while no other program moves anything in them."""

    root: Path
    trash: Path
    journal: _Journal

    def path(self, place: str) -> Path:
        side, _, below = place.partition("/")
        return (self.root if side == "data" else self.trash) / below

    def write(self, journal: _Journal) -> None:
        file = self.trash / JOURNAL
        if journal.done or journal.begun:
            put(file, json.dumps(vars(journal)))
        else:
            file.unlink(missing_ok=True)
        self.journal = journal


@contextmanager
def _opened(root: Path | str) -> Iterator[_Held]:
    given, trash = Path(root).expanduser(), trash_of(root)
    if not given.is_dir():
        raise Error(f"{root}: there is no such folder")
    real = Path(os.path.realpath(given))
    lock = os.open(real, os.O_RDONLY) if fcntl is not None else None
    try:
        if fcntl is not None and lock is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield _Held(real, trash, _journal(trash / JOURNAL))
    finally:
        if lock is not None:
            os.close(lock)


def _journal(file: Path) -> _Journal:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return _Journal(**{name: [(str(one), str(other)) for one, other in moves] for name, moves in read.items()})
    except FileNotFoundError:
        return _Journal()
    except OSError as error:
        raise Error(f"{file}: cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, AttributeError):
        raise Error(
            f"{file}: is not the list of moved pictures that it was; move them back by hand, and remove it"
        ) from None


# --- Moving -----------------------------------------------------------------------------------------------------------


def _planned(held: _Held, deletes: Sequence[str], relabels: Mapping[str, str]) -> list[Move]:
    """The moves, each to a free name, after a look at all that could be in the way of one."""
    both = [name for name in deletes if name in relabels]
    if both:
        raise Error(f"{both[0]}: expected to delete or to relabel it, got both")
    moves: list[Move] = []
    origins = held.journal.origins()
    taken = set(origins.values())  # these names are kept for what `undo` brings back
    for name, to in [*((name, None) for name in deletes), *relabels.items()]:
        _check(held.root, name)
        if to is None:
            goal = f"trash/{name}"
        elif to == str(PurePosixPath(name).parent):
            continue
        else:
            _check_below(held.root, to)
            goal = f"data/{to}/{PurePosixPath(name).name}"
        kept = origins.get(f"data/{name}")
        goal = _free(held, goal, taken - {kept} if goal == kept else taken)
        if to is not None:
            _check_link(held.path(f"data/{name}"), held.path(goal))
        taken.add(goal)
        moves.append((f"data/{name}", goal))
    for folder in {held.path(place).parent for move in moves for place in move}:
        _check_writable(folder)
    return moves


def _end(held: _Held) -> None:
    """Makes the moves that a killed program had begun: those that it made have left their place."""
    if held.journal.begun:
        _carry_out(held, held.journal.begun, held.journal.then)


def _carry_out(held: _Held, moves: list[Move], then: list[Move]) -> None:
    """Makes the moves; then `then` is what is done."""
    before = _Journal(held.journal.done)
    held.write(_Journal(before.done, moves, then))
    try:
        for one, other in moves:
            if os.path.lexists(held.path(one)) and not os.path.lexists(held.path(other)):
                _move(held.path(one), held.path(other))
        held.write(_Journal(then))
    except BaseException as error:  # Ctrl-C as well
        for one, other in reversed(moves):
            if os.path.lexists(held.path(other)) and not os.path.lexists(held.path(one)):
                _move(held.path(other), held.path(one))
        held.write(before)
        if isinstance(error, OSError):
            raise Error(f"{error.filename or held.root}: cannot be moved: {_why(error)}; nothing has changed") from None
        raise


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, to)


def _remove_empty(top: Path) -> None:
    """Removes the folders of the trash as far as they are empty."""
    for folder, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def _free(held: _Held, place: str, taken: set[str]) -> str:
    """The place, or the first of x-2.jpg, x-3.jpg, … beside it that nothing has."""
    path, number, free = PurePosixPath(place), 1, place
    while free in taken or os.path.lexists(held.path(free)):
        number += 1
        free = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    return free


# --- What can be moved ------------------------------------------------------------------------------------------------


def _check(root: Path, name: str) -> None:
    _check_below(root, name)
    path = root / name
    if not os.path.lexists(path):
        raise Error(f"{path}: there is no such file any more; nothing has been moved")
    if path.is_dir() and not path.is_symlink():
        raise Error(f"{path}: expected a file to move, got a folder")


def _check_below(root: Path, name: str) -> None:
    """Raises `Error` for a name that leads out of `root`, also through a link among its folders."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or name.startswith("/")
        or ".." in parts
        or "\0" in name
        or (os.name == "nt" and set(name) & set(":\\"))
    ):
        raise Error(f"{name!r}: expected a path below {root}")
    parent = root / PurePosixPath(name).parent
    if os.path.realpath(parent) != str(parent):
        raise Error(f"{root / name}: a symbolic link leads there from {root}; nothing is moved through one")


def _check_link(path: Path, to: Path) -> None:
    """A relative link means another file in another folder."""
    if path.is_symlink() and os.path.realpath(to.parent / os.readlink(path)) != os.path.realpath(path):
        raise Error(f"{path}: is a symbolic link that would lead elsewhere from {to.parent}; put the file itself there")


def _check_writable(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise Error(f"{folder}: expected a folder, got a file; nothing has been moved")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Error(f"{folder}: there is no permission to move files there or from there; nothing has been moved")


def _why(error: OSError) -> Any:
    if error.errno == errno.EXDEV:
        return "the trash folder is on another disk than the picture"
    return one_line(error.strerror or error)
