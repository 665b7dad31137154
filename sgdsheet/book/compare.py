"""What differs between two files that `save` wrote."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from sgdsheet.errors import Error

TOLERANCE = 1e-12
_STORED = re.compile(rb'<c r="([A-Z]+\d+)"[^>]*><f>[^<]*</f><v>([^<]*)</v>')


def difference(old: Path, new: Path) -> str | None:
    """The first difference in one line, or None.

    All is compared exactly, but for the values that are stored beside formulas: another processor's `exp` may differ in
    its last bit, so those are compared to 1e-12 of the larger of 1 and the value. Raises `Error` for an `old` that
    cannot be read.
    """
    with zipfile.ZipFile(new) as archive:
        after = {name: archive.read(name) for name in archive.namelist()}
    try:
        if old.read_bytes() == new.read_bytes():
            return None
        with zipfile.ZipFile(old) as archive:
            names = archive.namelist()
            if sorted(names) != sorted(after):
                return f"its parts differ: {', '.join(sorted(set(names) ^ after.keys())) or 'one is there twice'}"
            for name in names:  # before it is unpacked: a small file may hold any number of zeros
                if archive.getinfo(name).file_size > 2 * len(after[name]) + 1000:
                    return f"{name} differs"
            before = {name: archive.read(name) for name in names}
    except OSError as error:
        raise Error(f"{old}: cannot be read: {error.strerror or error}") from None
    except Exception:  # damaged, encrypted, compressed in another way: zipfile raises a dozen kinds
        raise Error(f"{old}: is no .xlsx file, or a damaged or password-protected one") from None
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
