"""What `sgdsheet train` takes beside the engine's own time, and whether a GPT learns in cells as it does in torch.

    python tests/benchmarks/training.py [--steps 1000] [--large] [--nanogpt model.py] [--keep FOLDER]

Targets: a step takes at most 1.3 times as long as a bare `evaluate` of the same model; a GPT of 18,460 parameters makes
1,000 steps of AdamW in under 30 minutes on two cores, and its losses are those of torch. `--large` is a GPT of 87,696
parameters, for which five steps tell the ratio; with `--nanogpt` it is one that others wrote, nanoGPT's own model.py.
"""

from __future__ import annotations

import argparse
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import sgdsheet
from sgdsheet import book, engines
from sgdsheet.training import record
from sgdsheet.training.train import train

sys.path.insert(0, str(Path(__file__).parent))
import gpt

SMALL, LARGE = (2, 2, 26), (3, 3, 48)  # layers, heads, width
LENGTH, BATCH, MOST = 8, 4, 1.3
MINUTES = 30


class NanoGPT(torch.nn.Module):
    """nanoGPT's model, which scores every place only where it is given targets."""

    def __init__(self, file: Path, letters: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        given = runpy.run_path(str(file))
        sizes = {"block_size": LENGTH, "vocab_size": letters, "n_layer": layers, "n_head": heads, "n_embd": width}
        self.gpt = given["GPT"](given["GPTConfig"](**sizes, dropout=0.0, bias=False))

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        return self.gpt(letters, letters.contiguous())[0]


def model(
    layers: int, heads: int, width: int, nanogpt: Path | None = None
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    letters = len({*gpt.TEXT})
    sizes = (layers, heads, width)
    made = NanoGPT(nanogpt, letters, *sizes) if nanogpt else gpt.GPT(letters, LENGTH, *sizes)
    return made, torch.optim.AdamW(made.parameters(), lr=3e-3)


def given(batches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    return list(gpt.batches(gpt.TEXT, LENGTH, BATCH, batches))


class Bare:
    """The same workbook loaded a second time, for its evaluate alone to be timed between the steps, on a busy machine
    under the same load."""

    def __init__(self, path: Path) -> None:
        found = engines.opened(engines.engine("ironcalc"), path)
        assert found is not None
        self.opened, self.seconds = found, []
        self.cell = next(b for n, b in book.read(path).blocks.items() if n.startswith("0/param/")).cell((0, 0))

    def evaluate(self) -> None:
        started = time.perf_counter()
        self.opened.calculate([(self.cell, 0.01 * len(self.seconds))], [])
        self.seconds.append(time.perf_counter() - started)


def torch_losses(
    made: tuple[torch.nn.Module, torch.optim.Optimizer], batches: list[tuple[torch.Tensor, torch.Tensor]], steps: int
) -> np.ndarray:
    """torch's own loop in float64."""
    net, optimizer = made
    net.double()
    losses = []
    for step in range(steps):
        x, y = batches[step % len(batches)]
        value = gpt.loss(net(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return np.array(losses)


def measured(sizes: tuple[int, int, int], steps: int, batches: int, folder: Path, nanogpt: Path | None = None) -> bool:
    """Trains one model, prints what it took; returns whether all targets were met."""
    net, optimizer = model(*sizes, nanogpt)
    examples = given(batches)
    path = folder / f"gpt_{sizes[2]}.xlsx"
    started = time.perf_counter()
    written = sgdsheet.compile(net, loss=gpt.loss, optimizer=optimizer, batches=examples).save(path)
    count = sum(each.numel() for each in net.parameters())
    print(
        f"{count:,} parameters: {written.formulas:,} formulas, {written.size / 1e6:.1f} MB, "
        f"compiled in {time.perf_counter() - started:.0f} s",
        flush=True,
    )
    bare = Bare(path)
    taken: list[float] = []
    before = [time.perf_counter()]

    def noted(made: int, loss: float) -> None:
        taken.append(time.perf_counter() - before[0])
        if made % 50 == 0:
            print(f"   step {made:,}: loss {loss:.4f}, {sum(taken):.0f} s", flush=True)
        if made % max(1, steps // 20) == 0:
            bare.evaluate()
        before[0] = time.perf_counter()

    out = path.with_name(f"{path.stem}_trained.xlsx")
    started, cpu = time.perf_counter(), time.process_time()
    train(path, out, steps=steps, progress=noted)
    whole, cpu = time.perf_counter() - started, time.process_time() - cpu
    step, alone = statistics.median(taken[1:]), statistics.median(bare.seconds)
    (run,) = record.read(out)
    torch_s = torch_losses(model(*sizes, nanogpt), examples, steps)
    apart = np.abs(np.array(run.losses) - torch_s)
    ok = step <= MOST * alone and (steps < 1000 or whole < 60 * MINUTES)
    print(
        f"   a step {step:.2f} s, {step / alone:.2f} times an evaluate; {steps:,} steps in {whole / 60:.1f} minutes "
        f"({cpu / 60:.1f} of a processor); "
        f"loss {run.losses[0]:.4f} to {run.losses[-1]:.4f}; off from torch's own loop by at most {apart.max():.1e}"
        + ("" if ok else "; target missed"),
        flush=True,
    )
    return ok


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--nanogpt", type=Path, metavar="model.py", help="measures this model, as large as --large")
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        where = options.keep or Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        if options.large or options.nanogpt:
            sys.exit(0 if measured(LARGE, 5, 5, where, options.nanogpt) else 1)
        sys.exit(0 if measured(SMALL, options.steps, 200, where) else 1)


if __name__ == "__main__":
    main()
