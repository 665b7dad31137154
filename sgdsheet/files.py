"""Files that are whole or not there, and a look at what is to be read: a pipe may never end."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sgdsheet.errors import Error

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes the place of `path` at the end, or vanishes on any error.

    Where `path` is a symbolic link, what it leads to is replaced. Temporary files of writers that were killed are
    removed by the next one (but on Windows). Raises `Error` if the folder cannot be written, or if `path` is no file.
    """
    target = Path(os.path.realpath(path))
    temporary, held = None, None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raise Error(f"{path}: cannot be written: it is no file")
        temporary, held = _begun(target)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or error
        raise Error(f"{path}: cannot be written: {what}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def put(path: Path, content: bytes | str) -> None:
    """Writes a file that is whole or not there. Raises `Error` where that cannot be.

    A name that is no UTF-8 has stand-ins for its bytes, which UTF-8 cannot hold: in a text they appear as `\\udce4`,
    which JSON reads as the same stand-in.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def why_no_file(path: Path) -> str | None:
    """Returns why a path that exists cannot be read as a file, or None: opening a pipe would wait for a writer."""
    with suppress(OSError):  # that there is no such file, opening it says better
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return "it is a pipe or a device, not a file"
    return None


def _begun(target: Path) -> tuple[Path, int | None]:
    """An empty file beside the target, and what keeps it from being taken for an abandoned one while it is open."""
    beginning = f".{target.stem[:40]}-"
    if fcntl is not None:
        for left in target.parent.glob(f"{glob.escape(beginning)}{8 * '?'}.part"):
            _remove_if_abandoned(left)
    while True:
        temporary = target.parent / f"{beginning}{secrets.token_hex(4)}.part"
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # the system takes its mask off that
        if fcntl is None:  # where a file that is open cannot be replaced
            os.close(handle)
            return temporary, None
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another writer has just taken it for an abandoned one
            return temporary, handle
        os.close(handle)


def _remove_if_abandoned(left: Path) -> None:
    """Removes a temporary file whose writer was killed: the system has then given back the lock on it."""
    assert fcntl is not None
    with suppress(OSError), left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left.unlink()
