"""What the trainer gets out of a GPU; needs torch, torchvision and numpy alone.

    python tests/benchmarks/gpu.py

ResNet-18 and ResNet-50 at 224 pixels in batches of 256 on pictures that it draws. For each, first it checks that
bfloat16 gives the losses of float32, and counts how often the trainer waits for the GPU in an epoch: only where it
looks at the loss. Then it measures pictures a second of

(a) the bare model on a batch that stays on the GPU: forward, backward and step;
(b) the trainer on files, their pixels on the GPU, and fetched from memory: at least 0.9 of (a) and 1.3 of (c) are the
    targets;
(c) an ordinary loop with torchvision's ImageFolder, a DataLoader and autocast, as it is and with channels_last;
(d) the same with timm's loader, where timm is installed.

It prints the figures, and writes them as JSON to tests/benchmarks/results/, named after the GPU.

Without a GPU, `python tests/benchmarks/gpu.py --rehearse` goes through all of it with a few small pictures on the CPU,
and writes nothing: what it prints then are no figures.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path[0] = str(Path(__file__).parents[2])  # in which the trainer is, installed or not
sys.path.append(str(Path(__file__).parent))

from peers import SCALE, finished, loader, photographs, train  # noqa: E402

from trainer import Augment, Classifier, ImageFolder  # noqa: E402
from trainer.training import loop  # noqa: E402
from trainer.training.precision import half  # noqa: E402

RESULTS = Path(__file__).parent / "results"
ALIKE = 0.02  # by how much, relatively, the mean loss in bfloat16 may differ from the one in float32
STEPS = 10  # whose losses are compared: a single one's roundings, of 0.4 % in each layer, may add up to more


@dataclass(frozen=True)
class Sizes:
    """What is measured: by default as on a GPU."""

    arch: str
    pictures: int = 6_400
    size: int = 224
    batch_size: int = 256
    epochs: int = 5
    loader_epochs: int = 2  # of the loops that wait for their pictures
    product: int = 8192  # the side of the matrices whose product shows the peak
    workers: int = min(16, os.cpu_count() or 1)


SMALL = Sizes("resnet18", 120, 48, 16, 2, 2, 256, 1)


def main() -> None:
    if sys.argv[1:] not in ([], ["--rehearse"]):
        raise SystemExit(f"expected no argument, or --rehearse, got {' '.join(sys.argv[1:])}")
    rehearsal = bool(sys.argv[1:])
    if not rehearsal and not torch.cuda.is_available():
        raise SystemExit("there is no GPU that PyTorch can use; --rehearse goes through all of it on the CPU")
    device = torch.device("cpu" if rehearsal else "cuda:0")
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for sizes in [SMALL] if rehearsal else [Sizes("resnet18"), Sizes("resnet50")]:
            found.append(measure(device, sizes, Path(scratch)))
            show(found[-1])
            if not rehearsal:
                RESULTS.mkdir(exist_ok=True)
                path = RESULTS / f"{found[0]['device'].lower().replace(' ', '-')}.json"
                path.write_text(json.dumps(found, indent=1) + "\n")
                print(f"written to {path}")


def measure(device: torch.device, sizes: Sizes, scratch: Path) -> dict[str, Any]:
    """All figures of a model; stops if bfloat16 does not give the losses of float32."""
    folder = scratch / "pictures"
    if not folder.exists():
        photographs(folder, sizes.pictures, (400, 300), copies=4)
    started = time.perf_counter()
    data = ImageFolder(folder, size=sizes.size, valid_pct=0.02, cache=scratch / "cache", show=False)
    decoded = sizes.pictures / (time.perf_counter() - started)
    difference = difference_of_bf16(data, device, sizes)
    print(f"bfloat16 against float32: the mean loss of {STEPS} steps differs by {difference:.2%}", flush=True)
    if not difference <= ALIKE:
        raise SystemExit(f"expected at most {ALIKE:.0%}: the rates would mean nothing")

    waits, looks = waits_of_an_epoch(data, device, sizes)
    print(f"an epoch waits {waits} times for the device, and looks {looks} times at the loss", flush=True)

    kinds: dict[str, Callable[[], float]] = {
        "bare model": lambda: bare(device, sizes),
        "trainer": lambda: trained(data, device, sizes),
        "trainer, pixels fetched": lambda: trained(data, device, sizes, fetched=True),
        "torchvision, DataLoader": lambda: ordinary(folder, device, sizes, torch.contiguous_format),
        "torchvision, DataLoader, channels_last": lambda: ordinary(folder, device, sizes, torch.channels_last),
    }
    if find_spec("timm"):
        kinds["timm's loader, channels_last"] = lambda: timms(folder, device, sizes)
    rates, memory = {}, {}
    for name, kind in kinds.items():
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        rates[name] = kind()
        memory[name] = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
        print(f"{name}: {rates[name]:,.0f} pictures/s", flush=True)
    product, flops = product_rate(device, sizes.product), flops_of_a_picture(sizes)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "sizes": vars(sizes),
        "loss_difference_of_bf16": difference,
        "waits_and_looks_of_an_epoch": [waits, looks],
        "decoded_pictures_per_second": decoded,
        "pictures_per_second": rates,
        "trainer_of_bare_model": rates["trainer"] / rates["bare model"],
        "trainer_of_ordinary_loop": rates["trainer"] / rates["torchvision, DataLoader"],
        "peak_memory_gb": memory,
        "matrix_product_tflops": product / 1e12,
        "share_of_matrix_product": {name: rate * flops / product for name, rate in rates.items()},
    }


def show(found: dict[str, Any]) -> None:
    """The figures as a table."""
    print(f"\n{found['device']}, {found['cores']} cores, torch {found['torch']}, {found['sizes']}")
    for name, rate in found["pictures_per_second"].items():
        share, memory = found["share_of_matrix_product"][name], found["peak_memory_gb"][name]
        print(f"  {name:<40} {rate:9,.0f} pictures/s  {share:6.1%} of the matrix product  {memory:5.1f} GB")
    print(f"  a matrix product in bfloat16 reaches {found['matrix_product_tflops']:,.0f} TFLOP/s")
    print(f"  pictures decoded, once: {found['decoded_pictures_per_second']:,.0f} a second")
    print(f"  trainer / bare model     {found['trainer_of_bare_model']:.2f}  target 0.9")
    print(f"  trainer / ordinary loop  {found['trainer_of_ordinary_loop']:.2f}  target 1.3")


def difference_of_bf16(data: ImageFolder, device: torch.device, sizes: Sizes) -> float:
    """How far the mean loss of some steps in bfloat16 is from that in float32, from the same start, at a small rate."""
    losses = []
    for bf16 in (False, True):
        clf = classifier(data, device, sizes, bf16)
        clf.fit_one_cycle(-(-STEPS // data.steps(sizes.batch_size)), 1e-5)
        losses.append(float(clf.steps[:STEPS, 2].mean()))
    return abs(losses[1] - losses[0]) / losses[0]


def classifier(data: ImageFolder, device: torch.device, sizes: Sizes, bf16: bool) -> Classifier:
    augment = Augment(SCALE, rotate=0, zoom=1, lighting=0)
    amp = bf16 and half(device) is not None  # without instructions for it, bfloat16 takes a CPU minutes
    options: dict[str, Any] = {"batch_size": sizes.batch_size, "device": str(device), "amp": amp, "weights": None}
    return Classifier(data, sizes.arch, augment=augment, show=False, **options)


def bare(device: torch.device, sizes: Sizes) -> float:
    """(a) Forward, backward and step on one batch, as the trainer does them."""
    model = made(sizes, device, torch.channels_last)
    pictures = torch.randn(sizes.batch_size, 3, sizes.size, sizes.size, device=device)
    batch = pictures.to(memory_format=torch.channels_last), torch.randint(0, 3, (sizes.batch_size,), device=device)
    steps = max(2, sizes.pictures // sizes.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    return middle(train(model, lambda: iter([batch] * steps), sizes.epochs, device, autocast(device), optimizer))


def waits_of_an_epoch(data: ImageFolder, device: torch.device, sizes: Sizes) -> tuple[int, int]:
    """How often the CPU waits for the GPU in the training part of an epoch, and how often it looks at the loss.

    Waiting is a synchronisation of a stream, an event or the device, of which a CPU has none.
    """
    clf = classifier(data, device, sizes, bf16=True)
    clf.fit_one_cycle(1, 1e-3)  # the first steps look for the fastest convolutions
    made, steps = clf._optimizer(1e-3), data.steps(sizes.batch_size)
    looks: list[float] = []
    with torch.profiler.profile() as profiled:
        loop.train(
            clf.model,
            made,
            clf.setup,
            loop.steps(clf.setup, loop.batches(clf.setup, 1)),
            [(1.0, 0.9)] * steps,
            lambda step, loss: None if loss is None else looks.append(loss),
        )
    return sum(event.count for event in profiled.key_averages() if "Synchronize" in event.key), len(looks)


def trained(data: ImageFolder, device: torch.device, sizes: Sizes, fetched: bool = False) -> float:
    """(b) The trainer's loop; `fetched` is without the pixels on the GPU."""
    clf = classifier(data, device, sizes, bf16=True)
    if fetched:
        clf.setup.feed._resident = None
    clf.fit_one_cycle(sizes.epochs, 1e-3)
    return middle([row["pictures_per_second"] for row in clf.history])


def ordinary(folder: Path, device: torch.device, sizes: Sizes, memory_format: torch.memory_format) -> float:
    """(c) ImageFolder, DataLoader, autocast."""
    pinned = device.type == "cuda"
    batches = loader(folder, sizes.size, sizes.batch_size, sizes.workers, pinned)

    def each() -> Iterator[Any]:
        for pictures, labels in batches:
            yield pictures.to(device, memory_format=memory_format, non_blocking=True), labels

    return middle(train(made(sizes, device, memory_format), each, sizes.loader_epochs, device, autocast(device)))


def timms(folder: Path, device: torch.device, sizes: Sizes) -> float:
    """(d) timm's loader, which normalises on the GPU, with the same loop."""
    from timm.data import create_dataset, create_loader  # pyright: ignore[reportPrivateImportUsage]

    data: Any = create_dataset("", root=str(folder))
    batches: Any = create_loader(
        data,
        (3, sizes.size, sizes.size),
        sizes.batch_size,
        is_training=True,
        scale=SCALE,
        color_jitter=0,
        num_workers=sizes.workers,
        device=device,
    )

    def each() -> Iterator[Any]:
        for pictures, labels in batches:
            yield pictures.contiguous(memory_format=torch.channels_last), labels

    return middle(train(made(sizes, device, torch.channels_last), each, sizes.loader_epochs, device, autocast(device)))


def made(sizes: Sizes, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    model = torchvision.models.get_model(sizes.arch, num_classes=3)
    return model.to(device, memory_format=memory_format)  # type: ignore[call-overload]


def autocast(device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    return partial(torch.autocast, "cuda", torch.bfloat16) if device.type == "cuda" else nullcontext


def middle(rates: list[float]) -> float:
    """The median of all epochs but the first."""
    return statistics.median(rates[1:])


def product_rate(device: torch.device, side: int) -> float:
    """Floating-point operations a second of a product of two bfloat16 matrices of random numbers."""
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(13):
        finished(device)
        started = time.perf_counter()
        torch.matmul(left, right)
        finished(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(seconds[3:])


def flops_of_a_picture(sizes: Sizes) -> int:
    """Floating-point operations of forward and backward, counted by torch."""
    with torch.device("meta"):
        model = torchvision.models.get_model(sizes.arch, num_classes=3)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(2, 3, sizes.size, sizes.size)).sum().backward()
    return counter.get_total_flops() // 2


if __name__ == "__main__":
    main()
