"""LibreOffice, run without a window: it converts a copy of the file, and the values are read from the result."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgdsheet.engines.common import require_whole, require_workbook, run
from sgdsheet.engines.stored import read_stored
from sgdsheet.errors import Error, one_line
from sgdsheet.expr import Range

# Where installers put it when it is not on PATH. On Windows, soffice.com is the one that waits and prints.
PLACES = (
    "/usr/lib/libreoffice/program/soffice",
    "/usr/lib64/libreoffice/program/soffice",
    "/opt/libreoffice*/program/soffice",
    "/snap/bin/libreoffice",
    "/Applications/LibreOffice.app/Contents/MacOS/soffice",
    "~/Applications/LibreOffice.app/Contents/MacOS/soffice",
    r"C:\Program Files\LibreOffice\program\soffice.com",
    r"C:\Program Files (x86)\LibreOffice\program\soffice.com",
)

# By default LibreOffice believes the values that another program stored: mode 0 makes it always recalculate.
SETTINGS = {
    ("org.openoffice.Office.Calc/Formula/Load", "OOXMLRecalcMode"): "0",
    ("org.openoffice.Office.Calc/Formula/Load", "ODFRecalcMode"): "0",
    ("org.openoffice.Setup/L10N", "ooSetupSystemLocale"): "en-US",
}


class LibreOffice:
    """Calculates in a LibreOffice of its own, with a profile that is thrown away. See `sgdsheet.engines.Engine`.

    Numbers come back with 15 significant digits, for that is what LibreOffice writes; errors that it numbers itself
    (`Err:502` for `SQRT(-1)`) come back as `#VALUE!`.

    Arguments:
      timeout: the seconds after which a calculation is given up.
    """

    name = "libreoffice"

    def __init__(self, timeout: float = 300.0) -> None:
        self.timeout = timeout

    def missing(self) -> str | None:
        if find_soffice() is None:
            return "soffice is neither on PATH nor in the usual places; install LibreOffice from https://www.libreoffice.org"
        return None

    def calculate(self, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        require_workbook(path)
        require_whole(path)
        soffice = find_soffice()
        if soffice is None:
            raise Error(f"engine {self.name}: {self.missing()}")
        # A snap sees the user's home, but not the temporary folder that everybody else sees.
        parent = Path.home() if "/snap/" in soffice else None
        with tempfile.TemporaryDirectory(prefix="sgdsheet-", dir=parent, ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary).resolve()
            # A copy: what LibreOffice does to a file, or makes of its name, is nothing to the user's own.
            copy = folder / "workbook.xlsx"
            shutil.copyfile(path, copy)
            profile = folder / "profile"
            _write_settings(profile)
            command = [soffice, f"-env:UserInstallation={profile.as_uri()}", "--headless", "--norestore"]
            command += ["--convert-to", "xlsx", "--outdir", str(folder / "out"), str(copy)]
            try:
                printed = run(command, self.timeout)
            except subprocess.TimeoutExpired:
                raise Error(f"{path}: LibreOffice was stopped after {self.timeout:g} seconds") from None
            except OSError as error:
                raise Error(f"{soffice}: {error.strerror or error}") from None
            result = folder / "out" / copy.name
            if not result.exists():  # and still the exit code is 0
                said = one_line((printed.strip().splitlines() or ["it printed nothing"])[-1])
                raise Error(f"{path}: LibreOffice cannot calculate this file: {said}")
            return read_stored(result, path, ranges)


def find_soffice() -> str | None:
    """The program that starts LibreOffice: from PATH, else from where installers put it, else `None`."""
    for name in ("soffice", "libreoffice"):
        if found := shutil.which(name):
            return found
    return next((place for pattern in PLACES for place in glob.glob(os.path.expanduser(pattern))), None)


def _write_settings(profile: Path) -> None:
    items = "\n".join(
        f'<item oor:path="/{path}"><prop oor:name="{name}" oor:op="fuse"><value>{value}</value></prop></item>'
        for (path, name), value in SETTINGS.items()
    )
    (profile / "user").mkdir(parents=True)
    (profile / "user" / "registrymodifications.xcu").write_text(
        f'<oor:items xmlns:oor="http://openoffice.org/2001/registry">\n{items}\n</oor:items>\n', encoding="utf-8"
    )
