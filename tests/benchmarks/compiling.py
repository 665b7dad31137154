"""How long compiled models take to build, write and recalculate, and what memory that needs.

    python tests/benchmarks/compiling.py [REPETITIONS]

Targets: LeNet-5 on a picture of 28 x 28, one step of Adam (61,706 parameters), builds and is written in under 60 s,
ironcalc loads and evaluates it in under 30 s, and both stay under 3 GB. A forward pass of a million formulas takes
under 120 s and 6 GB, and the time grows with the cells, no faster, from 10,000 to 1,000,000. Each repetition is a
process of its own that imports torch first; the median counts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# What a case takes at most: seconds to make, seconds to recalculate, memory in GB.
LENET, MILLION = (60.0, 30.0, 3.0), (120.0, float("inf"), 6.0)
FORMULAS = (10_000, 100_000, 1_000_000)

_PROGRAM = """
import json, resource, sys, time
import torch
from torch import nn
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser imports the rest of torch
import sgdsheet

def lenet():
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )
    assert sum(param.numel() for param in model.parameters()) == 61_706
    return {
        "model": model, "inputs": torch.randn(1, 1, 28, 28), "targets": torch.tensor([3]),
        "loss": nn.functional.cross_entropy, "optimizer": torch.optim.Adam(model.parameters()), "steps": 1,
    }

def forward(formulas):
    # 50 inputs lead to 50 outputs and their tanh: 100 formulas an example.
    model = nn.Sequential(nn.Linear(50, 50), nn.Tanh())
    return {"model": model, "inputs": torch.randn(formulas // 100, 50)}

torch.manual_seed(0)
path, formulas = sys.argv[1], int(sys.argv[2])
given = forward(formulas) if formulas else lenet()
started = time.perf_counter()
written = sgdsheet.compile(**given).save(path)
made = time.perf_counter() - started
gigabytes = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]
started = time.perf_counter()
sgdsheet.read(path)
evaluated = time.perf_counter() - started
gigabytes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
print(json.dumps([made, evaluated, max(gigabytes), written.formulas, written.size]))
"""


def run(path: Path, formulas: int) -> list[float]:
    """Seconds to make, seconds to recalculate, gigabytes, formulas, bytes: of one case in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(path), str(formulas)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xlsx"
        print(f"{'model':<28}{'formulas':>10}{'MB':>7}{'make':>10}{'recalculate':>13}{'memory':>10}")
        a_cell: dict[int, float] = {}
        for title, formulas, most in [
            ("LeNet-5, one step of Adam", 0, LENET),
            *((f"forward pass, {count:,}", count, MILLION) for count in FORMULAS),
        ]:
            results = [run(path, formulas) for _ in range(repetitions)]
            made, evaluated, memory, written, size = (statistics.median(each) for each in zip(*results, strict=True))
            missed = any(found > limit for found, limit in zip((made, evaluated, memory), most, strict=True))
            a_cell[formulas] = made / written
            print(
                f"{title:<28}{int(written):>10,}{size / 1e6:>7.2f}{made:>8.2f} s{evaluated:>11.2f} s{memory:>7.2f} GB"
                + ("  target missed" if missed else "")
            )
        first, _, last = (a_cell[count] for count in FORMULAS)
        print(f"a formula of the largest takes {last / first:.2f} times as long as one of the smallest")


if __name__ == "__main__":
    main()
