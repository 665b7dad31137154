"""Pictures that are there twice: the same file, or the same picture in another size, quality, brightness or cut.

What a picture looks like is 256 bits (`imagehash.phash` of 16 x 16 frequencies), as it is and mirrored. Among 2,416
photographs, 2.9 million pairs, five pairs differ in 64 bits or fewer, and all five are the same picture twice; the
next, two toys in one pose, differ in 76. Copies that are resized, saved at quality 30, a third brighter or darker,
grey, squeezed, mirrored or cut by 3 % all differ in fewer, and 96 % of those that are cut by 6 %. Of the hashes in that
package no other, and none of fewer bits, tells copies from others as well.
`tests/benchmarks/alike.py` measures it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.pictures import Unreadable, explained, read_with_size

FREQUENCIES = 16  # each way
NEAR = FREQUENCIES**2 // 4  # bits in which two copies of a picture differ at most
LEAST = 32  # pixels of a side: a smaller picture has too little in it to be told from others
BLOCK = 512  # pictures that are compared with all others at once


@dataclass(frozen=True, eq=False)
class Look:
    """What is seen of a readable picture.

    `size` is its width and height in pixels, `bytes` the file's length, `digest` stands for its content, and `bits`
    (2, 256), bool, for what it looks like as it is and mirrored; None where it has too few pixels.
    """

    size: tuple[int, int]
    bytes: int
    digest: bytes
    bits: np.ndarray | None


def look(path: Path) -> Look:
    """Decodes a picture. Raises `Unreadable`."""
    from imagehash import phash
    from PIL import Image, ImageOps

    side = 4 * FREQUENCIES
    picture, size = read_with_size(path, 2 * side)
    with explained(path):
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        length = path.stat().st_size
        if min(size) < LEAST:
            return Look(size, length, digest, None)
        small = picture.convert("L").resize((side, side), Image.Resampling.LANCZOS)
        bits = [phash(each, FREQUENCIES).hash.ravel() for each in (small, ImageOps.mirror(small))]
    return Look(size, length, digest, np.array(bits))


def look_at(
    root: Path | str,
    names: Sequence[str],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Look | Unreadable]:
    """Decodes all of these pictures below `root`, with `workers` threads (one a core); or says why one cannot be.

    `progress(done, total)` is called after each picture. Raises `Error` if the package imagehash is not installed.
    """
    try:
        import imagehash  # noqa: F401
    except ImportError:
        raise Error("to find pictures that are alike, the package imagehash is needed: pip install imagehash") from None

    def seen(name: str) -> Look | Unreadable:
        try:
            return look(Path(root) / name)
        except Unreadable as reason:
            return reason

    looks: dict[str, Look | Unreadable] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of damage that does not keep a picture from being read
        for name, each in zip(names, pool.map(seen, names), strict=True):
            looks[name] = each
            progress(len(looks), len(names))
    return looks


def identical(root: Path | str, names: Sequence[str]) -> list[list[str]]:
    """The pictures whose files have the same content, a list for each such content. Unreadable ones are left out."""
    return same_content(look_at(root, names))


def alike(root: Path | str, names: Sequence[str]) -> list[list[str]]:
    """The pictures that look the same, or mirrored so: a list for each group, of two or more, in the order of `names`.

    Files of the same content are among them. Two may be in a group because a third is like both. Unreadable pictures
    and those with a side of fewer than 32 pixels are left out.
    """
    return same_look(look_at(root, names))


def same_content(looks: Mapping[str, Look | Unreadable]) -> list[list[str]]:
    """As `identical`, of pictures that have been looked at."""
    groups: dict[bytes, list[str]] = {}
    for name, each in looks.items():
        if isinstance(each, Look):
            groups.setdefault(each.digest, []).append(name)
    return _several(groups.values())


def same_look(looks: Mapping[str, Look | Unreadable]) -> list[list[str]]:
    """As `alike`, of pictures that have been looked at."""
    bits = {name: each.bits for name, each in looks.items() if isinstance(each, Look) and each.bits is not None}
    if not bits:
        return []
    groups: dict[int, list[str]] = {}
    for name, number in zip(bits, _joined(np.stack(list(bits.values()))).tolist(), strict=True):
        groups.setdefault(number, []).append(name)
    return _several(groups.values())


def _several(groups: Iterable[list[str]]) -> list[list[str]]:
    return [group for group in groups if len(group) > 1]


def _joined(bits: np.ndarray) -> np.ndarray:
    """The number of each picture's group, (n,), from (n, 2, b) bits: those that are near each other, and so on."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # With 1 and -1 for bits, a product counts those that agree less those that differ: one matrix product for all.
    signs = np.where(bits, np.float32(1), np.float32(-1))
    count, _, length = signs.shape
    pairs = []
    for first in range(0, count, BLOCK):
        plain = signs[first : first + BLOCK, 0]
        for others in (signs[first:, 0], signs[first:, 1]):
            near = np.flatnonzero(plain @ others.T >= length - 2 * NEAR)
            pairs.append(np.stack(np.divmod(near, len(others))) + first)
    one, other = np.concatenate(pairs, axis=1)
    return connected_components(coo_array((np.ones(len(one), dtype=bool), (one, other)), (count, count)))[1]
