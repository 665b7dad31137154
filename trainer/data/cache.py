"""Pictures decoded once: a file of uint8 pixels, mapped into memory, that later runs begin with.

Each picture is stored whole, both sides resized to `side`, so that all are of one shape; the true proportions stand
beside it, and whoever cuts a piece out restores them. `index.jsonl` has a line for each picture, written after its
pixels: its name, its size in bytes and its time of change, and the row in `pixels.bin`, or why it cannot be decoded.
What is interrupted goes on from there, and a file that has changed is decoded again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.errors import Error
from trainer.data.folder import Listing
from trainer.data.pictures import Unreadable, shrunk

HELD = 500_000_000  # bytes of the file that are mapped into memory at most
MARGIN = 1.25  # the stored side for a side of 1: room to cut pieces out without enlarging them


def side_for(size: int) -> int:
    """The side of a stored picture for pictures of `size` pixels in training."""
    return int(np.ceil(size * MARGIN / 8)) * 8


def default_folder() -> Path:
    """Where caches are unless `cache=` says otherwise: `$XDG_CACHE_HOME/trainer`, or `~/.cache/trainer`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainer"


@dataclass
class Cache:
    """Decoded pictures by their number in the listing.

    `rows` says where in the file each is (-1 for one that cannot be decoded), `sizes` is (n, 2): width and height as
    people see them. `unreadable` has the reason by number.
    """

    side: int
    rows: np.ndarray
    sizes: np.ndarray
    unreadable: dict[int, str]
    map: mmap.mmap | None

    def __post_init__(self) -> None:
        if self.map is None:
            self.pixels = np.empty((0, self.side, self.side, 3), dtype=np.uint8)
        else:
            self.pixels = np.frombuffer(self.map, dtype=np.uint8).reshape(-1, self.side, self.side, 3)
        self._mapped = 0  # bytes

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """The pictures of these numbers: uint8, (len(numbers), side, side, 3)."""
        taken = self.pixels[self.rows[numbers]]
        self._mapped += taken.nbytes
        if self._mapped > HELD and self.map is not None and hasattr(self.map, "madvise"):
            # What was read counts as this process's memory until it says that it is done with it; the system keeps it
            # at hand as long as it has room.
            self.map.madvise(mmap.MADV_DONTNEED)
            self._mapped = 0
        return taken


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
    where = Path(folder or default_folder()) / f"{_digest(listing.root)}-{side}"
    try:
        where.mkdir(parents=True, exist_ok=True)
        with FileLock(where / "lock"):  # a second run over the same pictures waits, and finds them decoded
            known = _known(where / "index.jsonl", side)
            keys = [_key(listing, number) for number in range(len(listing.names))]
            missing = [
                number
                for number, key in enumerate(keys)
                if "reason" not in key and not _holds(known.get(listing.names[number]), key)
            ]
            _decode(where, listing, keys, missing, known, side, workers or os.cpu_count() or 1, progress)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Error(f"{where}: the disk is full; free some room, or choose another folder for the cache") from None
        raise Error(f"{where}: the cache cannot be written: {error.strerror or error}") from None
    return _mapped(where, listing, keys, known, side)


def _mapped(where: Path, listing: Listing, keys: Sequence[Any], known: dict[str, Any], side: int) -> Cache:
    count = len(listing.names)
    rows, sizes, unreadable = np.full(count, -1), np.zeros((count, 2), dtype=np.int64), {}
    for number, (name, key) in enumerate(zip(listing.names, keys, strict=True)):
        held = key if "reason" in key else known[name]
        if "reason" in held:
            unreadable[number] = held["reason"]
        else:
            rows[number], sizes[number] = held["row"], (held["width"], held["height"])
    pixels = where / "pixels.bin"
    if not pixels.exists() or not pixels.stat().st_size:
        return Cache(side, rows, sizes, unreadable, None)
    with pixels.open("rb") as file:
        return Cache(side, rows, sizes, unreadable, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _digest(root: Path) -> str:
    return hashlib.blake2b(os.fsencode(root.resolve()), digest_size=8).hexdigest()


def _key(listing: Listing, number: int) -> dict[str, Any]:
    """What tells a picture from another version of it; or why there is none."""
    try:
        stat = listing.file(number).stat()
    except OSError as error:
        return {"reason": f"it cannot be opened: {error.strerror}"}
    return {"bytes": stat.st_size, "changed": stat.st_mtime_ns}


def _holds(held: dict[str, Any] | None, key: dict[str, Any]) -> bool:
    return held is not None and all(held[name] == value for name, value in key.items())


def _known(index: Path, side: int) -> dict[str, Any]:
    """What the index says, the last line of a name first of all; a line that was cut off is as if it were not there."""
    if not index.exists():
        return {}
    rows = index.with_name("pixels.bin")
    stored = rows.stat().st_size // (side * side * 3) if rows.exists() else 0
    found = {}
    for line in index.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            held = json.loads(line)
            if "reason" in held or held["row"] < stored:
                found[held["name"]] = held
        except (ValueError, KeyError, TypeError):
            continue
    return found


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
    _require_room(where, len(missing) * side * side * 3)
    pixels, index = where / "pixels.bin", where / "index.jsonl"
    pixels.touch()
    bytes_each = side * side * 3
    following = max([held["row"] for held in known.values() if "row" in held], default=-1) + 1
    with (
        warnings.catch_warnings(),  # Pillow's, of damage that does not keep a picture from being read
        ThreadPoolExecutor(workers) as pool,
        pixels.open("r+b") as file,
        index.open("a", encoding="utf-8") as lines,
    ):
        warnings.simplefilter("ignore")
        if index.stat().st_size and not index.read_bytes().endswith(b"\n"):
            lines.write("\n")
        jobs = ((number, listing.file(number)) for number in missing)
        for done, (number, future) in enumerate(_in_turn(pool, jobs, 4 * workers, side), start=1):
            name = listing.names[number]
            held: dict[str, Any] = {"name": name, **keys[number]}
            try:
                picture, (width, height) = future.result()
            except Unreadable as reason:
                held["reason"] = str(reason)
            else:
                # A picture that has changed takes its old place, whose line no longer holds.
                row = known.get(name, {}).get("row", following)
                following = max(following, row + 1)
                file.seek(row * bytes_each)
                file.write(picture.tobytes())
                file.flush()
                held |= {"row": row, "width": width, "height": height}
            lines.write(json.dumps(held, ensure_ascii=True) + "\n")
            lines.flush()
            known[name] = held
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
