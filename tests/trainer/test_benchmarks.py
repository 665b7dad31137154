"""That the benchmark for GPUs runs, on machines that have none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks/gpu.py"


def test_gpu_benchmark_can_be_rehearsed(tmp_path: Path) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPT), "--rehearse"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "an epoch waits 0 times for the device, and looks 2 times at the loss" in done.stdout
    for line in ("bfloat16 against float32", "trainer / bare model", "trainer / ordinary loop"):
        assert line in done.stdout
    refused = subprocess.run(command[:2], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode != 0
    assert refused.stderr.startswith("there is no GPU that PyTorch can use")
