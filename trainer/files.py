"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from sgdsheet.errors import Error


def put(path: Path, content: bytes | str) -> None:
    """Writes a file beside, and puts it in place when it is whole. Raises `Error` where that cannot be.

    A name that is no UTF-8 has stand-ins for its bytes, which UTF-8 cannot hold: in a text they appear as `\\udce4`,
    which JSON reads as the same stand-in.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise Error(f"{path}: it cannot be written: {what}") from None
