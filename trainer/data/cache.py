"""Pictures decoded once: a file of uint8 pixels, mapped into memory, that later runs begin with.

`pixels.bin` holds the pictures one after the other, each whole and with its own proportions, as `pictures.shrunk` makes
them. `index.jsonl` has a line for each, written after its pixels: its name, what tells the file from another version
of it, and its place among the pixels with its true size, or why it cannot be decoded; and a checksum of all that. What
is interrupted goes on from there, and a file that has changed is decoded again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import shutil
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.files import put
from sgdsheet.pictures import Refused, Unreadable, decoders
from trainer.data.folder import Listing
from trainer.data.pictures import shape_for, shrunk

HELD = 500_000_000  # bytes of the file that are mapped into memory at most
MARGIN = 1.25  # the stored short side for a side of 1: room to cut pieces out without enlarging them
LAYOUT = 2  # of the two files, part of the folder's name; in 1 every picture was a square
USUAL = 4 / 3  # the proportions of a picture that has not yet been opened


def side_for(size: int) -> int:
    """The short side of a stored picture for pictures of `size` pixels in training."""
    return int(np.ceil(size * MARGIN / 8)) * 8


def default_folder() -> Path:
    """Where caches are unless `cache=` says otherwise: `$XDG_CACHE_HOME/trainer`, or `~/.cache/trainer`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainer"


class Pixels:
    """A file of pixels, 3 bytes each. `array` is the file mapped into memory, (m, 3) uint8, not to be written to."""

    def __init__(self, path: Path) -> None:
        self.path, self.array = path, np.empty((0, 3), dtype=np.uint8)
        self._map, self._seen = None, 0
        if path.exists() and path.stat().st_size >= 3:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self._file)
            self._map = _map(self._file)
            self.array = np.frombuffer(self._map, dtype=np.uint8, count=len(self._map) // 3 * 3).reshape(-1, 3)

    def view(self, start: int, count: int) -> np.ndarray:
        """So many pixels from one on, as they lie in the file."""
        self._seen += 3 * count
        if self._seen > HELD and self._map is not None and hasattr(self._map, "madvise"):
            # What was seen counts as this process's memory until it says that it is done with it; the system keeps it
            # at hand as long as it has room, so that older views stay good.
            self._map.madvise(mmap.MADV_DONTNEED)
            self._seen = 3 * count
        return self.array[start : start + count]

    def copy(self, start: int, out: np.ndarray) -> None:
        """Fills `out`, (k, 3), with the pixels from one on. Raises `Error` if they are gone."""
        if not hasattr(os, "preadv"):
            out[:] = self.view(start, len(out))
            return
        # Faster than out of the map, for nothing has to be mapped anew, and a disk is asked for all of it at once.
        left, place = memoryview(out.data).cast("B"), 3 * start
        while left:
            read = os.preadv(self._file, [left], place)
            if not read:
                raise Error(
                    f"{self.path}: the pixels of some pictures are gone; start again, and they are decoded anew"
                )
            left, place = left[read:], place + read


def _map(file: int) -> mmap.mmap:
    """The whole file in memory. Nobody writes to it, but PyTorch warns of arrays that cannot be written to."""
    try:
        return mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
    except OSError:  # it is larger than the memory, where it would be copied if it was written to
        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)


@dataclass(frozen=True, eq=False)
class Cache:
    """n decoded pictures by their number in the listing.

    `side` is the length of their short sides. `starts` (n, int64) says at which of the file's pixels each begins, -1
    for one that cannot be decoded; `shapes` (n, 2, int64) are their stored heights and widths, `sizes` (n, 2, int64)
    the widths and heights of the files as people see them. `unreadable` has the reason by number.
    """

    side: int
    starts: np.ndarray
    shapes: np.ndarray
    sizes: np.ndarray
    unreadable: dict[int, str]
    file: Pixels

    @property
    def pixels(self) -> np.ndarray:
        """All that is stored, (m, 3) uint8: a picture's rows from its start on, one after the other."""
        return self.file.array

    def picture(self, number: int) -> np.ndarray:
        """A picture's pixels, uint8 (height, width, 3), as they lie in the file; not to be written to."""
        height, width = self.shapes[number]
        return self.file.view(self.starts[number], height * width).reshape(height, width, 3)

    def take(self, numbers: np.ndarray, out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of these pictures, one after the other, (k, 3) uint8; and where among them each begins.

        They are copied into `out`, contiguous, (k or more, 3) uint8, if it is given, and are then its beginning.
        """
        starts, lengths = self.starts[numbers], self.shapes[numbers].prod(1)
        places = np.concatenate([[0], lengths.cumsum()])
        taken = np.empty((places[-1], 3), dtype=np.uint8) if out is None else out[: places[-1]]
        if taken.shape != (places[-1], 3) or taken.dtype != np.uint8:
            raise ValueError(f"out: expected uint8 ({places[-1]:,} or more, 3), got {taken.dtype} {taken.shape}")
        apart = np.flatnonzero(np.diff(starts - places[:-1])) + 1  # the others lie together in the file
        for first, last in pairwise([0, *apart, len(starts)]):
            if places[first] < places[last]:
                self.file.copy(int(starts[first]), taken[places[first] : places[last]])
        return taken, places[:-1]

    def kept(self, numbers: np.ndarray) -> Cache:
        """These pictures alone, in this order, out of the same file."""
        unreadable = {new: self.unreadable[old] for new, old in enumerate(numbers.tolist()) if old in self.unreadable}
        return replace(
            self,
            starts=self.starts[numbers],
            shapes=self.shapes[numbers],
            sizes=self.sizes[numbers],
            unreadable=unreadable,
        )


def build(
    listing: Listing,
    size: int,
    *,
    folder: Path | str | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Cache:
    """Decodes what is not yet decoded, with `workers` threads (one a core), and maps the file.

    `progress(done, total)` is called after each picture that had to be decoded. Raises `Error` if the disk has no room.
    """
    from filelock import FileLock

    side = side_for(size)
    where = Path(folder or default_folder()) / f"{_digest(listing.root)}-{side}-v{LAYOUT}"
    try:
        where.mkdir(parents=True, exist_ok=True)
        with FileLock(where / "lock"):  # a second run over the same pictures waits, and finds them decoded
            known = _known(where, side)
            keys = [_key(listing, number) for number in range(len(listing.names))]
            missing = [
                number
                for number, key in enumerate(keys)
                if "reason" not in key and not _holds(known.get(listing.names[number]), key)
            ]
            _decode(where, listing, keys, missing, known, side, workers or os.cpu_count() or 1, progress)
            return _mapped(where, listing, keys, known, side)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Error(f"{where}: the disk is full; free some room, or choose another folder for the cache") from None
        raise Error(f"{where}: the cache cannot be written: {error.strerror or error}") from None


def _mapped(where: Path, listing: Listing, keys: Sequence[Any], known: dict[str, Any], side: int) -> Cache:
    count = len(listing.names)
    starts, shapes = np.full(count, -1, dtype=np.int64), np.zeros((count, 2), dtype=np.int64)
    sizes, unreadable = np.zeros((count, 2), dtype=np.int64), {}
    for number, (name, key) in enumerate(zip(listing.names, keys, strict=True)):
        held = key if "reason" in key else known[name]
        if "reason" in held:
            unreadable[number] = held["reason"]
        else:
            starts[number], sizes[number] = held["start"], held["size"]
            shapes[number] = held["height"], held["width"]
    return Cache(side, starts, shapes, sizes, unreadable, Pixels(where / "pixels.bin"))


def _digest(root: Path) -> str:
    return hashlib.blake2b(os.fsencode(root.resolve()), digest_size=8).hexdigest()


def _key(listing: Listing, number: int) -> dict[str, Any]:
    """What tells a picture from another version of it; or why there is none.

    The time of its last change of status, which nobody can set, differs also where a picture took another's place with
    the size and time of that one. It differs after a `chmod` too, and what it costs then is to decode once more. The
    inode's number is left out: network file systems count their files anew whenever they are mounted.
    """
    try:
        stat = listing.file(number).stat()
    except OSError as error:
        return {"reason": f"it cannot be opened: {error.strerror}"}
    return {"bytes": stat.st_size, "changed": stat.st_mtime_ns, "status": stat.st_ctime_ns}


def _holds(held: dict[str, Any] | None, key: dict[str, Any]) -> bool:
    if held is None or ("reason" in held and held.get("decoders") != decoders()):
        return False
    return all(held.get(name) == value for name, value in key.items())


# --- The index ------------------------------------------------------------------------------------------------------


def _known(where: Path, side: int) -> dict[str, Any]:
    """What the index says, by name, the last line of a name before others.

    A line that was cut off or garbled, or whose pixels are no longer there, is taken out of the index, for other pixels
    may come to lie at its place.
    """
    index, pixels = where / "index.jsonl", where / "pixels.bin"
    if not index.exists():
        return {}
    stored = pixels.stat().st_size // 3 if pixels.exists() else 0
    text = index.read_text(encoding="utf-8", errors="replace")
    lines, found = {}, {}
    for line in text.splitlines():
        held = _from_line(line)
        if held and _is_row(held, side, stored):
            lines[held["name"]], found[held["name"]] = line, held
    if (left := "".join(f"{line}\n" for line in lines.values())) != text:
        put(index, left)
    return found


def _is_row(held: Any, side: int, stored: int) -> bool:
    """Whether a line says what this version would write, of pixels that are there: a place, and a shape that fits."""
    with suppress(LookupError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        if not isinstance(held["name"], str):
            return False
        if "reason" in held:
            return isinstance(held["reason"], str)
        start, height, width = (held[name] for name in ("start", "height", "width"))
        if {type(each) for each in (start, height, width, *held["size"])} == {int} and start >= 0:
            across, down = held["size"]
            return shape_for((across, down), side) == (height, width) and start + height * width <= stored
    return False


def _to_line(held: dict[str, Any]) -> str:
    text = json.dumps(held, ensure_ascii=True)
    return f'{text[:-1]}, "crc32": {zlib.crc32(text.encode())}}}'


def _from_line(line: str) -> dict[str, Any] | None:
    text, _, checksum = line.rpartition(', "crc32": ')
    text += "}"
    return json.loads(text) if checksum == f"{zlib.crc32(text.encode())}}}" else None


# --- Decoding -------------------------------------------------------------------------------------------------------


def _decode(
    where: Path,
    listing: Listing,
    keys: Sequence[Any],
    missing: Sequence[int],
    known: dict[str, Any],
    side: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Writes the pixels of the missing pictures, and a line for each. Pillow works outside of Python's lock."""
    if not missing:
        return
    _require_room(where, round(len(missing) * 3 * USUAL * side**2))
    pixels, index = where / "pixels.bin", where / "index.jsonl"
    pixels.touch()
    end = max((held["start"] + held["height"] * held["width"] for held in known.values() if "start" in held), default=0)
    with (
        warnings.catch_warnings(),  # Pillow's, of damage that does not keep a picture from being read
        ThreadPoolExecutor(workers) as pool,
        pixels.open("r+b") as file,
        index.open("a", encoding="utf-8") as lines,
    ):
        warnings.simplefilter("ignore")
        jobs = ((number, listing.file(number)) for number in missing)
        for done, (number, future) in enumerate(_in_turn(pool, jobs, 4 * workers, side), start=1):
            name = listing.names[number]
            held: dict[str, Any] = {"name": name, **keys[number]}
            lasting = True
            try:
                picture, size = future.result()
            except Unreadable as reason:
                held |= {"reason": str(reason), "decoders": decoders()}
                lasting = not isinstance(reason, Refused)
            else:
                height, width = picture.shape[:2]
                old = known.get(name, {})
                # A picture that has changed takes its old place, whose line no longer holds, if it is of that shape.
                start = old["start"] if (old.get("height"), old.get("width")) == (height, width) else end
                end = max(end, start + height * width)
                file.seek(3 * start)
                file.write(picture.tobytes())
                file.flush()
                held |= {"start": start, "height": height, "width": width, "size": size}
            known[name] = held
            if lasting:
                lines.write(f"{_to_line(held)}\n")
                lines.flush()
            progress(done, len(missing))


def _in_turn(
    pool: ThreadPoolExecutor, jobs: Iterator[tuple[int, Path]], ahead: int, side: int
) -> Iterator[tuple[int, Future[Any]]]:
    """Each job's future in order, with only so many of them begun: their pictures would fill the memory."""
    begun = [(number, pool.submit(shrunk, path, side)) for number, path in islice(jobs, ahead)]
    while begun:
        yield begun.pop(0)
        begun += [(number, pool.submit(shrunk, path, side)) for number, path in islice(jobs, 1)]


def _require_room(where: Path, size: int) -> None:
    free = shutil.disk_usage(where).free
    if free < size + 50_000_000:
        raise Error(
            f"{where}: the decoded pictures take {size / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free, of which 50 "
            "must remain; free some room, choose another folder for the cache, or a smaller size"
        )
