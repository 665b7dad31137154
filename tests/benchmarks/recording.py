"""What recording costs: a ResNet-18's training step with AdamW, with 12 weights followed and without.

    python tests/benchmarks/recording.py [--rounds 8] [--batch 256]

On a GPU with batches of 256 pictures of 224 pixels under bfloat16, as the trainer's are: with 64 an H200 waits for
Python, and any line of Python counts. Without a GPU with a small batch on the CPU. Rounds with and without take turns;
printed are the medians of a step, and their ratio. It takes less than two minutes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from sgdsheet import Recorder

WEIGHTS = 12


class Block(nn.Module):
    """Two convolutions and a way around them, as in a ResNet-18."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        around = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
        self.around = nn.Identity() if before == after else nn.Sequential(*around)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.around(x))


def resnet18(classes: int) -> nn.Sequential:
    """ResNet-18, written out: torchvision does not import everywhere."""
    widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(Block(before, after) for before, after in itertools.pairwise(widths)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, classes),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="of each kind")
    parser.add_argument("--batch", type=int, default=256, help="pictures in a batch, on a GPU")
    given = parser.parse_args()
    rounds = given.rounds
    gpu = torch.cuda.is_available()
    device = torch.device("cuda" if gpu else "cpu")
    batch, side, steps = (given.batch, 224, 130) if gpu else (8, 64, 6)
    torch.manual_seed(0)
    model = resnet18(10).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), device=device)
    wait: Callable[[], Any] = torch.cuda.synchronize if gpu else lambda: None

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if gpu else nullcontext()

    print(f"{torch.cuda.get_device_name() if gpu else 'CPU'}, ResNet-18, {batch} pictures of {side} pixels, AdamW")
    kinds: list[dict[str, Any]] = [{"fused": True}, {"foreach": True}] if gpu else [{"fused": True}]
    for options in kinds:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **options)

        def step(recorder: Recorder | None, optimizer: torch.optim.Optimizer = optimizer) -> None:
            with autocast():
                loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if recorder is not None:
                recorder.step(loss)

        def timed(recorded: bool, optimizer: torch.optim.Optimizer = optimizer, step: Any = step) -> tuple[float, int]:
            """Seconds a step, of which the copies that are due every 128 steps are a part."""
            recorder = Recorder(optimizer, WEIGHTS, model=model) if recorded else None
            step(recorder)
            wait()
            begun = time.perf_counter()
            for _ in range(steps):
                step(recorder)
            wait()
            seconds, rows = (time.perf_counter() - begun) / steps, 0
            if recorder is not None:  # the table is made once, in the end
                rows = len(recorder.frame())
                recorder.close()
            return seconds, rows

        for _ in range(3):
            timed(False)
        times: dict[bool, list[float]] = {False: [], True: []}
        for number in range(2 * rounds):
            recorded = number % 4 in (1, 2)  # without, with, with, without: a drift falls on both
            seconds, rows = timed(recorded)
            assert rows == (WEIGHTS * (steps + 1) if recorded else 0)
            times[recorded].append(seconds)
        without, with_ = (statistics.median(times[kind]) for kind in (False, True))
        spread = (max(times[False]) - min(times[False])) / without
        print(
            f"{'/'.join(options)}: {1e3 * without:.3f} ms a step without, {1e3 * with_:.3f} ms with {WEIGHTS} weights "
            f"recorded: {with_ / without:.4f} times (rounds without differ by {spread:.1%})"
        )


if __name__ == "__main__":
    main()
