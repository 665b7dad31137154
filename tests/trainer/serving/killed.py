"""Exports again and again to one file and is killed at random moments: the file is always a whole one.

`python tests/trainer/serving/killed.py FILE TIMES`, with a file that was exported.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from trainer.serving.bundle import SAID, _tensors  # pyright: ignore[reportPrivateUsage]
from trainer.training import checkpoint


def main(path: Path, times: int) -> None:
    state, said = _tensors(path)
    took = time.perf_counter()
    checkpoint.write(path, state, said)
    took = time.perf_counter() - took
    for number in range(times):
        child = os.fork()
        if not child:
            while True:
                checkpoint.write(path, state, {**said, "metrics": {"epoch": number}})
        time.sleep(random.uniform(0, 2 * took))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = _tensors(path)[1]  # raises for what is not whole
        assert found["classes"] == said["classes"], SAID
    checkpoint.write(path, state, said)
    left = [each.name for each in path.parent.iterdir()]
    assert left == [path.name], f"left behind: {left}"
    print(f"killed {times} times within {2e3 * took:.0f} ms of writing; the file was whole each time")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
