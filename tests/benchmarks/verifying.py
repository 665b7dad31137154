"""How long `sgdsheet verify` takes for three workbooks of 285,000 cells, and how fast the command starts.

    python tests/benchmarks/verifying.py [REPETITIONS]

Target: the three verified by ironcalc in less than 10 s, torch's import excluded. Each repetition is a process of
its own that imports torch first. `sgdsheet --help` and `sgdsheet list` must not import torch.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("linear_sgd", "lesson2_sgd", "optimizers")
TARGET = 10.0

# Runs the command line in this interpreter, and then says what it has imported.
_COMMAND = """
import sys
from sgdsheet.cli import main
main(sys.argv[1:], standalone_mode=False)
print("torch" in sys.modules, "openpyxl" in sys.modules)
"""


def verified(paths: list[Path]) -> dict[str, Any]:
    """One repetition, in this process: seconds for torch's import, and for each file."""
    started = time.perf_counter()
    import torch

    imported = time.perf_counter() - started
    started = time.perf_counter()
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)  # the first optimiser imports the rest of torch
    later = time.perf_counter() - started
    started = time.perf_counter()
    import sgdsheet

    sgdsheet.verify  # noqa: B018 (imported when it is first asked for)
    ours = time.perf_counter() - started
    files: dict[str, Any] = {}
    processor = time.process_time()
    for path in paths:
        started = time.perf_counter()
        report = sgdsheet.verify(path)
        seconds = time.perf_counter() - started
        cells = sum(_size(row.shape) for row in report.rows)
        files[path.name] = {"seconds": seconds, "blocks": len(report.rows), "cells": cells, "ok": report.ok}
    assert torch.get_default_dtype() == torch.float32
    processor = time.process_time() - processor
    imports = {"import torch": imported, "what the first optimiser imports": later, "import sgdsheet": ours}
    return {"imports": imports, "processor": processor, "files": files}


def _size(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def apart(paths: list[Path]) -> dict[str, Any]:
    """One repetition, in a process of its own."""
    command = [sys.executable, __file__, "--one", *map(str, paths)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def started(*arguments: str) -> tuple[float, bool, bool]:
    """Seconds that the command line takes, from the start of the process, and whether it imports torch and openpyxl."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _COMMAND, *arguments], stdout=subprocess.PIPE, check=True, text=True)
    torch, openpyxl = done.stdout.splitlines()[-1].split()
    return time.perf_counter() - begun, torch == "True", openpyxl == "True"


def main() -> None:
    """Measures and prints."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(verified([Path(path) for path in sys.argv[2:]])))
        return
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    import sgdsheet

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.xlsx" for name in NAMES]
        for path in paths:
            print(f"generating {path.name} …", file=sys.stderr, flush=True)
            sgdsheet.generate(path.stem, path)
        print(f"verifying, {repetitions} times …", file=sys.stderr, flush=True)
        runs = [apart(paths) for _ in range(repetitions)]
    report(runs)
    print("\nStart of the command (medians of 5, the interpreter's own start included)")
    for arguments in (("--help",), ("list",)):
        found = [started(*arguments) for _ in range(5)]
        seconds = statistics.median(each[0] for each in found)
        brings = [name for name, there in zip(("torch", "openpyxl"), found[0][1:], strict=True) if there]
        says = f"imports {' and '.join(brings)}" if brings else "imports neither torch nor openpyxl"
        print(f"  sgdsheet {arguments[0]:<10} {seconds:6.2f} s   {says}")


def report(runs: list[dict[str, Any]]) -> None:
    """The whole first, then each file."""
    totals = sorted(sum(file["seconds"] for file in run["files"].values()) for run in runs)
    agree = all(file["ok"] for run in runs for file in run["files"].values())
    print(
        f"Verifying the three with ironcalc: {statistics.median(totals):.2f} s "
        f"(from {totals[0]:.2f} to {totals[-1]:.2f} in {len(runs)} runs; target: below {TARGET:.0f} s)"
    )
    print("All blocks agree" if agree else "SOME BLOCKS DO NOT AGREE")
    print(f"{'file':<22}{'blocks':>8}{'cells':>10}{'seconds':>9}")
    for name, first in runs[0]["files"].items():
        seconds = statistics.median(run["files"][name]["seconds"] for run in runs)
        print(f"{name:<22}{first['blocks']:>8}{first['cells']:>10,}{seconds:>9.2f}")
    print(f"Processor time of all: {statistics.median(run['processor'] for run in runs):.2f} s")
    for what in runs[0]["imports"]:
        print(f"{what}, not in the above: {statistics.median(run['imports'][what] for run in runs):.2f} s")


if __name__ == "__main__":
    main()
