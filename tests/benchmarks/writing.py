"""How fast a workbook is written, against a bare openpyxl loop that writes the same cells to the same sheet.

    python tests/benchmarks/writing.py [SIZE…]

Each measurement is a process of its own, so that none inherits another's memory; the kinds take turns, and the figures
are medians. The clock begins when everything is imported and stops when the file is complete. Target: our rate is at
least 0.5 times that of openpyxl's ordinary loop, `sheet.cell(row, column, value)`; its write-only mode is shown too.

Sgdsheet's cells also carry their calculated values, which openpyxl's cannot. The kind "no values" leaves the
calculation out (every value is written as 0) and shows what the rest takes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SIZES = {10_000: 5, 100_000: 5, 1_000_000: 2}  # formulas, and how often each kind is measured
RATES = (0.001, 0.003, 0.01, 0.03)  # four runs side by side
COLUMNS = ("w", "y_hat", "error", "grad", "new_w")
PER_ROW = len(RATES) * len(COLUMNS)
TOP = 4  # the first row of the table
TARGET = 0.5

OURS, NO_VALUES = "sgdsheet", "sgdsheet, no values"
# openpyxl cell by cell, for which the target is, and in its write-only mode, which takes whole rows and forgets them.
CELLS, CELLS_LXML = "openpyxl", "openpyxl, lxml"
ROWS, ROWS_LXML = "write-only", "write-only, lxml"


def points(rows: int) -> list[tuple[float, float]]:
    """Data for the recurrence, the same for all kinds; of few digits, as openpyxl writes no more than 16."""
    return [((i * 37 % 101) / 64 - 0.75, (i * 53 % 97) / 64 - 0.75) for i in range(rows)]


def with_sgdsheet(rows: int, path: Path, clock: Clock, calculated: bool) -> None:
    """The table through blocks, arrays of expressions and `save`."""
    import numpy as np

    from sgdsheet.book import Book, Typed, save
    from sgdsheet.engines import engine
    from sgdsheet.tensor import previous

    calculate = clock.timed("calculate", engine("ironcalc").calculate if calculated else no_values)
    clock.start()
    data = points(rows)
    book = Book("benchmark", "Benchmark", ["A table."], [])
    sheet = book.sheet("steps", "Steps")
    x = sheet.place("x", [Typed(x) for x, _ in data], "data", TOP, 1)
    y = sheet.place("y", [Typed(y) for _, y in data], "data", TOP, 2)
    for run, lr in enumerate(RATES):
        left = 3 + run * len(COLUMNS)
        w, y_hat, error, grad, new_w = (
            sheet.block(f"{name}_run{run}", (rows,), "activation", TOP, left + offset)
            for offset, name in enumerate(COLUMNS)
        )
        sheet.fill(f"w_run{run}", previous(new_w + 0, 0.5))
        sheet.fill(f"y_hat_run{run}", w * x + 0.25)
        sheet.fill(f"error_run{run}", y_hat - y)
        sheet.fill(f"grad_run{run}", 2 * x * error)
        sheet.fill(f"new_w_run{run}", w - lr * grad)
    clock.lap("build")
    save(book, path, calculate)
    clock.lap("save")
    assert isinstance(x, np.ndarray)


def no_values(path: Path, ranges: Sequence[Any]) -> list[Any]:
    """In place of an engine: no cell has a value."""
    import numpy as np

    return [np.full(range_.shape, None, dtype=object) for range_ in ranges]


def with_openpyxl(rows: int, path: Path, clock: Clock, by_row: bool) -> None:
    """The same cells, one by one or row by row."""
    from openpyxl import Workbook
    from openpyxl.utils import get_column_letter

    clock.start()
    workbook = Workbook(write_only=by_row)
    sheet: Any = workbook.create_sheet("steps")
    letters = [
        [get_column_letter(3 + run * len(COLUMNS) + i) for i in range(len(COLUMNS))] for run in range(len(RATES))
    ]
    for _ in range(1, TOP if by_row else 1):
        sheet.append([])
    for row, (x, y) in enumerate(points(rows), start=TOP):
        values: list[Any] = [x, y]
        for (w, y_hat, error, grad, new_w), lr in zip(letters, RATES, strict=True):
            values += [
                f"={new_w}{row - 1}" if row > TOP else "=0.5",
                f"={w}{row}*A{row}+0.25",
                f"={y_hat}{row}-B{row}",
                f"=2*A{row}*{error}{row}",
                f"={w}{row}-{lr!r}*{grad}{row}",
            ]
        if by_row:
            sheet.append(values)
        else:
            for column, value in enumerate(values, start=1):
                sheet.cell(row, column, value)
    clock.lap("build")
    workbook.save(path)
    clock.lap("save")


class Clock:
    """Seconds, whole and by part, on the wall and on the processor."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    def start(self) -> None:
        """Begins to count."""
        self._wall = self._last = time.perf_counter()
        self._processor = time.process_time()

    def lap(self, name: str) -> None:
        """The time since the last lap belongs to `name`."""
        now = time.perf_counter()
        self.parts[name], self._last = now - self._last, now
        self.wall, self.processor = now - self._wall, time.process_time() - self._processor

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time is noted as a part of its own (and counts in its lap too)."""

        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments)
            self.parts[name] = time.perf_counter() - started
            return result

        return call


def one(kind: str, rows: int, path: Path) -> dict[str, Any]:
    """One measurement, in this process."""
    clock = Clock()
    if kind in (OURS, NO_VALUES):
        with_sgdsheet(rows, path, clock, kind == OURS)
    else:
        from openpyxl.xml import LXML as WITH_LXML

        assert (kind in (CELLS_LXML, ROWS_LXML)) == WITH_LXML
        with_openpyxl(rows, path, clock, kind in (ROWS, ROWS_LXML))
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"wall": clock.wall, "processor": clock.processor, "parts": clock.parts, "peak": peak}


def apart(kind: str, rows: int, path: Path) -> dict[str, Any]:
    """One measurement, in a process of its own. `openpyxl` uses lxml where there is one, unless it is told not to."""
    command = [sys.executable, __file__, "--one", kind, str(rows), str(path)]
    environment = {**os.environ, "OPENPYXL_LXML": str(kind in (CELLS_LXML, ROWS_LXML))}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def same_cells(ours: Path, theirs: Path) -> bool:
    """Whether both files hold the same numbers and formulas on the sheet `steps`."""
    from openpyxl import load_workbook

    def held(path: Path) -> list[Any]:
        sheet: Any = load_workbook(path, read_only=True)["steps"]
        return [row[: 2 + PER_ROW] for row in sheet.iter_rows(min_row=TOP, values_only=True)]

    return held(ours) == held(theirs)


def measure(rows: int, repetitions: int, folder: Path) -> dict[str, dict[str, Any]]:
    """The medians of each kind, by its name."""
    kinds = [OURS, CELLS, NO_VALUES, ROWS]
    if importlib.util.find_spec("lxml"):
        kinds += [CELLS_LXML, ROWS_LXML]
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    paths = {kind: folder / f"{number}.xlsx" for number, kind in enumerate(kinds)}
    for repetition in range(repetitions):
        for kind in kinds if repetition % 2 == 0 else reversed(kinds):
            found[kind].append(apart(kind, rows, paths[kind]))
    if rows * PER_ROW <= 10_000 and not all(same_cells(paths[OURS], paths[kind]) for kind in kinds):
        raise SystemExit("they do not write the same cells: the comparison means nothing")
    return {kind: _median(runs) for kind, runs in found.items()}


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    middle = {name: statistics.median(run[name] for run in runs) for name in ("wall", "processor", "peak")}
    parts = {name: statistics.median(run["parts"][name] for run in runs) for name in runs[0]["parts"]}
    return {**middle, "parts": parts, "walls": sorted(run["wall"] for run in runs)}


def main() -> None:
    """Measures and prints."""
    if sys.argv[1:2] == ["--one"]:
        kind, rows, path = sys.argv[2:]
        print(json.dumps(one(kind, int(rows), Path(path))))
        return
    sizes = {int(text): SIZES.get(int(text), 3) for text in sys.argv[1:]} or SIZES
    results: dict[int, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, repetitions in sizes.items():
            print(f"measuring {size:,} formulas, {repetitions} times each …", file=sys.stderr, flush=True)
            results[size] = measure(size // PER_ROW, repetitions, Path(folder))
    report(results)


def report(results: dict[int, dict[str, dict[str, Any]]]) -> None:
    """The ratios first, then what they come from."""
    print(f"Our rate over openpyxl's (target: at least {TARGET})")
    print(f"{'formulas':>10}  {'against':<20}{'with values':>12}{'no values':>12}{'with values, processor time':>30}")
    for size, kinds in results.items():
        for other in (CELLS, CELLS_LXML, ROWS, ROWS_LXML):
            if other in kinds:
                base, ours, bare = kinds[other], kinds[OURS], kinds[NO_VALUES]
                print(
                    f"{size:>10,}  {other:<20}{base['wall'] / ours['wall']:>12.2f}{base['wall'] / bare['wall']:>12.2f}"
                    f"{base['processor'] / ours['processor']:>30.2f}"
                )
    print("\nMedians; build is the time to make the cells, save the time to write them, calculate is part of save")
    print(
        f"{'formulas':>10}  {'kind':<20}{'seconds':>9}{'(range)':>17}{'build':>8}{'save':>8}{'calculate':>11}"
        f"{'us/formula':>12}{'peak MB':>9}{'bytes/formula':>15}"
    )
    for size, kinds in results.items():
        for kind, found in kinds.items():
            parts, walls = found["parts"], found["walls"]
            spread = f"({walls[0]:.2f} to {walls[-1]:.2f})"
            calculate = f"{parts['calculate']:.2f}" if "calculate" in parts else "-"
            print(
                f"{size:>10,}  {kind:<20}{found['wall']:>9.2f}{spread:>17}{parts['build']:>8.2f}{parts['save']:>8.2f}"
                f"{calculate:>11}{found['wall'] / size * 1e6:>12.1f}{found['peak'] / 1e6:>9.0f}"
                f"{found['peak'] / size:>15.0f}"
            )
    if len(results) > 1:
        first, last = min(results), max(results)
        print(f"\nLinear? From {first:,} to {last:,} formulas ({last / first:.0f} times as many):")
        for kind in results[last]:
            small, large = results[first][kind], results[last][kind]
            more = (large["peak"] - small["peak"]) / (last - first)
            print(
                f"  {kind:<20} {large['wall'] / small['wall']:6.1f} times the time, "
                f"{more:6.0f} bytes more for each formula more"
            )


if __name__ == "__main__":
    main()
