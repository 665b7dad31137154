"""Gnumeric, by its command `ssconvert`: it recalculates a copy of the file, and the values are read from the result."""

from __future__ import annotations

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


class Gnumeric:
    """Calculates in a process of its own. See `sgdsheet.engines.Engine`.

    Arguments:
      timeout: the seconds after which a calculation is given up.
    """

    name = "gnumeric"

    def __init__(self, timeout: float = 300.0) -> None:
        self.timeout = timeout

    def missing(self) -> str | None:
        if shutil.which("ssconvert") is None:
            return "ssconvert is not on PATH; install Gnumeric, as in apt-get install gnumeric"
        return None

    def calculate(self, path: Path, ranges: Sequence[Range]) -> list[np.ndarray]:
        require_workbook(path)
        require_whole(path)
        if reason := self.missing():
            raise Error(f"engine {self.name}: {reason}")
        with tempfile.TemporaryDirectory(prefix="sgdsheet-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary).resolve()
            # A copy: ssconvert takes its files for addresses, in which `#` and `%` mean something.
            copy, result = folder / "workbook.xlsx", folder / "result.xlsx"
            shutil.copyfile(path, copy)
            try:
                printed = run(["ssconvert", "--recalc", str(copy), str(result)], self.timeout)
            except subprocess.TimeoutExpired:
                raise Error(f"{path}: Gnumeric was stopped after {self.timeout:g} seconds") from None
            except OSError as error:
                raise Error(f"ssconvert: {error.strerror or error}") from None
            if not result.exists():
                said = one_line((printed.strip().splitlines() or ["it printed nothing"])[-1])
                raise Error(f"{path}: Gnumeric cannot calculate this file: {said}")
            return read_stored(result, path, ranges)
