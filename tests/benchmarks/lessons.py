"""How long each lesson's workbook takes to generate and to verify, how large it is, and what memory it all needs.

    python tests/benchmarks/lessons.py [REPETITIONS]

Targets, torch's import excluded: `convolution` from a picture of 28 x 28 generates in under 2 s and verifies in under
2 s; `cnn_training` and `classifier` take under 20 s for each; every file is under 5 MB; generating everything stays
under 1 GB. Each repetition is a process of its own; the median counts.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# name: how many seconds it may take to generate, and to verify.
TARGETS = {"convolution of 28 x 28": (2.0, 2.0), "cnn_training": (20.0, 20.0), "classifier": (20.0, 20.0)}
LARGEST_FILE, LARGEST_MEMORY = 5_000_000, 1000

_ONE = """
import json, sys, time
from pathlib import Path
import torch
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)  # the first optimiser imports the rest of torch
import sgdsheet
name, path, image = sys.argv[1:]
started = time.perf_counter()
written = sgdsheet.generate(name, path, **({"image": image} if image else {}))
generated = time.perf_counter() - started
started = time.perf_counter()
ok = sgdsheet.verify(path).ok
print(json.dumps([generated, time.perf_counter() - started, written.cells, written.size, ok]))
"""

_ALL = """
import resource, sys, time
from pathlib import Path
import sgdsheet
from sgdsheet import lessons
started = time.perf_counter()
for name in lessons.catalogue():
    sgdsheet.generate(name, Path(sys.argv[1]) / f"{name}.xlsx")
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(program: str, *arguments: str) -> str:
    """What a program prints last, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.splitlines()[-1]


def main() -> None:
    from PIL import Image

    from sgdsheet import lessons

    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "noise.png"
        Image.effect_noise((100, 80), 90).save(image)
        cases = {name: (name, "") for name in lessons.catalogue()}
        cases["convolution of 28 x 28"] = ("convolution", str(image))
        print(f"{'workbook':<24}{'cells':>9}{'MB':>7}{'generate':>11}{'verify':>9}")
        for title, (name, picture) in cases.items():
            path = str(Path(folder) / f"{name}.xlsx")
            results: list[Any] = [json.loads(run(_ONE, name, path, picture)) for _ in range(repetitions)]
            generate, verify = (statistics.median(result[column] for result in results) for column in (0, 1))
            _, _, cells, size, ok = results[0]
            missed = [] if ok else ["does not agree with torch"]
            limits = TARGETS.get(title, (1e9, 1e9))
            if generate > limits[0] or verify > limits[1]:
                missed.append(f"target: {limits[0]:g} s and {limits[1]:g} s")
            if size > LARGEST_FILE:
                missed.append("over 5 MB")
            print(f"{title:<24}{cells:>9,}{size / 1e6:>7.2f}{generate:>9.2f} s{verify:>7.2f} s  {'; '.join(missed)}")
        seconds, memory = map(float, run(_ALL, folder).split())
        verdict = "" if memory <= LARGEST_MEMORY else f", target: {LARGEST_MEMORY} MB"
        print(f"everything in one process: {seconds:.1f} s, {memory:.0f} MB at most{verdict}")


if __name__ == "__main__":
    main()
