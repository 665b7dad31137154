"""What differs between two files that `save` wrote."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

from sgdsheet.errors import Error

TOLERANCE = 1e-12
_STORED = re.compile(rb'<c r="([A-Z]+\d+)"[^>]*><f>[^<]*</f><v>([^<]*)</v>')


def difference(old: Path, new: Path) -> str | None:
    """The first difference in one line, or None.

    All is compared exactly, but for the values that are stored beside formulas: another processor's `exp` may differ in
    its last bit, so those are compared to 1e-12 of the larger of 1 and the value.
    """
    if old.read_bytes() == new.read_bytes():
        return None
    try:
        with zipfile.ZipFile(old) as archive:
            before = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise Error(f"{old}: is no .xlsx file, or is only part of one") from None
    with zipfile.ZipFile(new) as archive:
        after = {name: archive.read(name) for name in archive.namelist()}
    if before.keys() != after.keys():
        return f"its parts differ: {', '.join(sorted(before.keys() ^ after.keys()))}"
    for name, part in before.items():
        if part == after[name]:
            continue
        if _without_values(part) != _without_values(after[name]):
            return f"{name} differs"
        for (cell, was), (_, now) in zip(_STORED.findall(part), _STORED.findall(after[name]), strict=True):
            if not _near(was, now):
                return f"{name}, cell {cell.decode()}: holds the value {was.decode()}, would hold {now.decode()}"
    return None


def _without_values(part: bytes) -> bytes:
    return _STORED.sub(lambda match: match[0][: match.start(2) - match.start()], part)


def _near(was: bytes, now: bytes) -> bool:
    try:
        a, b = float(was), float(now)
    except ValueError:
        return was == now
    return abs(a - b) <= TOLERANCE * max(1.0, abs(b))
