"""How fast the trainer is beside torchvision with a DataLoader, and fastai where it is installed.

    python tests/benchmarks/trainer.py [transfer] [pipeline] [training] [errors] [memory]
        [--pictures FOLDER] [--size PIXELS] [--repetitions N]

Without a name all parts run, on pictures that it draws; `transfer` and `errors` say something only of real ones. Each
measurement is a process of its own with two cores and two threads; the kinds take turns, and the medians of their rates
count. The first epoch, in which pictures are decoded and workers start, is left out.

- transfer: EfficientNet-Lite0 with ImageNet's weights, `fine_tune` as it comes, for three seeds; fastai with the same
  weights, first for the same epochs and then for a minute. Targets: fewer mistakes than fastai after the same epochs
  and after the same time, at 3 times its rate, within a minute.
- pipeline: pictures a second at 224 pixels with random resized crop, flip and normalisation, in batches of 64. Targets:
  3 times torchvision's, 10 times fastai's.
- training: ResNet-18 at 128 pixels in batches of 32. Target: 2.5 times fastai's rate.
- errors: one epoch of the head and six of everything at 3e-3, seeds 42, 1 and 2. Target: a mean error rate no higher
  than fastai's, and a lower one in the time that fastai takes.
- memory: a training over 20,000 pictures at 224 pixels. Target: a peak below 3 GB.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

# This file is called like the package that it measures.
sys.path[0] = str(Path(__file__).parents[2])
sys.path.append(str(Path(__file__).parent))

SEEDS = (42, 1, 2)
PARTS = ("transfer", "pipeline", "training", "errors", "memory")
FASTAI = find_spec("fastai") is not None


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _two_cores) as pool:
        return pool.submit(function, *arguments).result()


def _two_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    import torch

    torch.set_num_threads(2)


# --- The input pipeline ---------------------------------------------------------------------------------------------


def pipeline_of_trainer(folder: Path, cache: Path) -> float:
    from peers import SCALE

    from trainer import Augment, Classifier, ImageFolder
    from trainer.training import loop

    data = ImageFolder(folder, cache=cache, show=False)
    augment = Augment(SCALE, rotate=0, zoom=1, lighting=0)
    clf = Classifier(data, "shufflenet_v2_x0_5", weights=None, augment=augment, device="cpu", show=False)

    def epoch(number: int) -> int:
        return sum(len(step.target) for step in loop.steps(clf.setup, loop.batches(clf.setup, number)))

    return rate(epoch, 9)


def pipeline_of_torchvision(folder: Path, _: Path) -> float:
    from peers import loader

    batches = loader(folder, 224, 64, 2)
    return rate(lambda number: sum(len(labels) for _, labels in batches), 4)


def pipeline_of_fastai(folder: Path, _: Path) -> float:
    batches = fastai_data(folder, 224, 64, 42, fast=True).train
    return rate(lambda number: sum(len(labels) for _, labels in batches), 4)


def rate(epoch: Callable[[int], int], epochs: int) -> float:
    """Pictures a second, the median of all epochs but the first."""
    found = []
    for number in range(epochs):
        started = time.perf_counter()
        found.append(epoch(number) / (time.perf_counter() - started))
    return statistics.median(found[1:])


def fastai_data(folder: Path, size: int, batch_size: int, seed: int, fast: bool = False) -> Any:
    """fastai's usual augmentation; `fast` has random resized crop and flip alone."""
    quiet()
    from fastai.vision.all import (  # pyright: ignore[reportMissingImports]
        FlipItem,
        ImageDataLoaders,
        Normalize,
        RandomResizedCrop,
        aug_transforms,
        imagenet_stats,
    )

    crop = RandomResizedCrop(size, min_scale=0.35)
    normal = Normalize.from_stats(*imagenet_stats)
    usual: dict[str, Any] = {"item_tfms": crop, "batch_tfms": [*aug_transforms(), normal]}
    if fast:
        usual = {"item_tfms": [crop, FlipItem()], "batch_tfms": normal}
    options = {"valid_pct": 0.2, "seed": seed, "bs": batch_size, "num_workers": 2}
    return ImageDataLoaders.from_folder(folder, **options, **usual)


def quiet() -> None:
    import warnings

    warnings.simplefilter("ignore")


# --- Training -------------------------------------------------------------------------------------------------------


def training_of_trainer(folder: Path, cache: Path) -> float:
    clf = classifier(folder, cache, 42)
    clf.fit_one_cycle(4)
    return statistics.median(row["pictures_per_second"] for row in clf.history[1:])


def training_of_torchvision(folder: Path, _: Path) -> float:
    import torch
    from peers import loader, train
    from torchvision.models import resnet18

    batches = loader(folder, 128, 32, 2)
    return statistics.median(train(resnet18(num_classes=3), lambda: iter(batches), 3, torch.device("cpu"))[1:])


def training_of_fastai(folder: Path, _: Path) -> float:
    from fastai.vision.all import Callback, resnet18, vision_learner  # pyright: ignore[reportMissingImports]

    class Timed(Callback):
        """Times the training part of each epoch."""

        def before_train(self) -> None:
            self.started = time.perf_counter()

        def after_train(self) -> None:
            rates.append(len(self.dls.train) * 32 / (time.perf_counter() - self.started))

    rates: list[float] = []
    learner = vision_learner(fastai_data(folder, 128, 32, 42), resnet18, pretrained=False, cbs=Timed())
    learner.unfreeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(3, 3e-3)
    return statistics.median(rates[1:])


def bare_model(_: Path, __: Path, as_trainer: bool = False) -> float:
    """Forward, backward and step on one batch."""
    from contextlib import nullcontext
    from functools import partial

    import torch
    from peers import train
    from torchvision.models import resnet18

    from trainer.training.precision import half

    device, model, pictures = torch.device("cpu"), resnet18(num_classes=3), torch.randn(32, 3, 128, 128)
    autocast: Callable[[], Any] = nullcontext
    if as_trainer:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pictures = pictures.to(memory_format=torch.channels_last)
        if half(device):
            autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    batch = pictures, torch.randint(0, 3, (32,))
    return statistics.median(train(model, lambda: iter([batch] * 4), 5, device, autocast)[1:])


def bare_model_as_trainer(folder: Path, cache: Path) -> float:
    return bare_model(folder, cache, True)


def classifier(folder: Path, cache: Path, seed: int, size: int = 128) -> Any:
    from trainer import Classifier, ImageFolder

    data = ImageFolder(folder, size=size, seed=seed, cache=cache, show=False)
    return Classifier(data, "resnet18", weights=None, batch_size=32, seed=seed, device="cpu", show=False)


# --- Transfer -------------------------------------------------------------------------------------------------------


def transfer_of_trainer(folder: Path, cache: Path, seed: int, size: int, epochs: int = 1) -> list[tuple[float, float]]:
    """After the epochs of the head, and after each of all: the seconds of training until then, and the error rate.

    The last row is with test-time augmentation, its seconds included.
    """
    from trainer import Classifier, ImageFolder

    data = ImageFolder(folder, size=size, seed=seed, cache=cache, show=False)
    clf = Classifier(data, "efficientnet_lite0", seed=seed, device="cpu", show=False)
    clf.fine_tune(epochs)
    seconds, found = 0.0, []
    for row, after in zip(clf.history, [*clf.history[1:], {"frozen": False}], strict=True):
        seconds += row["seconds"]
        if not after["frozen"]:
            found.append((seconds, row["error_rate"]))
    started = time.perf_counter()
    error = clf.predictions(tta=True).error_rate
    return [*found, (seconds + time.perf_counter() - started, error)]


def transfer_of_fastai(folder: Path, _: Path, seed: int, size: int, epochs: int = 1) -> list[tuple[float, float]]:
    """The same of fastai's `fine_tune`, with its usual augmentation and the same weights."""
    quiet()
    from fastai.vision.all import (  # pyright: ignore[reportMissingImports]
        Callback,
        ImageDataLoaders,
        Normalize,
        RandomResizedCrop,
        aug_transforms,
        error_rate,
        set_seed,
        vision_learner,
    )

    from trainer import models

    crop, normal = RandomResizedCrop(size, min_scale=0.35), Normalize.from_stats([0.5] * 3, [0.5] * 3)
    options = {"valid_pct": 0.2, "seed": seed, "bs": 64, "num_workers": 2}
    data = ImageDataLoaders.from_folder(folder, item_tfms=crop, batch_tfms=[*aug_transforms(), normal], **options)
    found: list[tuple[float, float]] = []

    class Timed(Callback):
        """Notes when an epoch ends, and its error rate."""

        order = 70  # after the Recorder

        def after_epoch(self) -> None:
            found.append((time.perf_counter() - started, float(learner.recorder.values[-1][-1])))

    set_seed(seed)
    name = "tf_efficientnet_lite0"
    options = {"pretrained": False, "normalize": False, "metrics": error_rate, "cbs": Timed()}
    learner: Any = vision_learner(data, name, **options)
    weights = models.create("efficientnet_lite0", len(data.vocab), size).model.state_dict()
    body = {name: each for name, each in weights.items() if not name.startswith("classifier.")}
    learner.model[0].model.load_state_dict(body)
    started = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
    return found


# --- Error rates ----------------------------------------------------------------------------------------------------


def errors_of_trainer(folder: Path, cache: Path, seed: int, epochs: int = 6) -> tuple[float, float]:
    """The error rate, and the seconds that the training took; decoding is not counted."""
    clf = classifier(folder, cache, seed)
    started = time.perf_counter()
    clf.freeze()
    clf.fit_one_cycle(1)
    clf.unfreeze()
    clf.fit_one_cycle(epochs)
    return clf.history[-1]["error_rate"], time.perf_counter() - started


def errors_of_fastai(folder: Path, _: Path, seed: int) -> tuple[float, float]:
    from fastai.vision.all import error_rate, resnet18, set_seed, vision_learner  # pyright: ignore[reportMissingImports]

    data = fastai_data(folder, 128, 32, seed)
    set_seed(seed)
    learner = vision_learner(data, resnet18, pretrained=False, metrics=error_rate)
    started = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(6, 3e-3, freeze_epochs=1)
    return float(learner.recorder.values[-1][-1]), time.perf_counter() - started


# --- Memory ---------------------------------------------------------------------------------------------------------


def memory_of_trainer(folder: Path, cache: Path) -> tuple[float, float]:
    """The peak in GB, and the cache in GB; a small model, as the pictures are what is asked for."""
    import resource

    from trainer import Classifier, ImageFolder

    data = ImageFolder(folder, cache=cache, show=False)
    clf = Classifier(data, "shufflenet_v2_x0_5", weights=None, batch_size=64, device="cpu", show=False)
    clf.fit_one_cycle(1)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, data.cache.pixels.nbytes / 1e9


# --- The table ------------------------------------------------------------------------------------------------------


def compare(
    title: str,
    kinds: dict[str, Callable[[Path, Path], float]],
    targets: dict[str, float],
    folder: Path,
    repetitions: int,
) -> None:
    """Prints how often as fast as each other kind the first one is, and all rates."""
    with tempfile.TemporaryDirectory() as cache:
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for repetition in range(repetitions):
            for name in kinds if repetition % 2 == 0 else reversed(kinds):
                found[name].append(apart(kinds[name], folder, Path(cache)))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    ours = next(iter(medians.values()))
    click.echo(f"\n{title}")
    for name, rates in found.items():
        target = f"  target {targets[name]:g}" if name in targets else ""
        spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
        click.echo(f"  {ours / medians[name]:6.2f} x  {name:<34} {medians[name]:8,.0f} pictures/s {spread}{target}")


def transfer(folder: Path, _: int, size: int) -> None:
    click.echo(f"\ntransfer, EfficientNet-Lite0, {folder.name}, {size} pixels, seeds {SEEDS}")
    with tempfile.TemporaryDirectory() as cache:
        apart(decodes, folder, Path(cache), size)
        ours = [apart(transfer_of_trainer, folder, Path(cache), seed, size) for seed in SEEDS]
        for place, name in enumerate(("head", "head and all", "with test-time augmentation")):
            _errors(f"trainer, {name}", [rows[place] for rows in ours])
        if not FASTAI:
            return
        theirs = [apart(transfer_of_fastai, folder, Path(cache), seed, size) for seed in SEEDS]
        for place, name in enumerate(("head", "head and all")):
            _errors(f"fastai, {name}", [rows[place] for rows in theirs])
        speed = [their[1][0] / our[1][0] for our, their in zip(ours, theirs, strict=True)]
        click.echo(f"  the same epochs {statistics.median(speed):.1f} times as fast  target 3")
        each = statistics.mean(rows[1][0] - rows[0][0] for rows in theirs)
        longer = int((60 - statistics.mean(rows[0][0] for rows in theirs)) / each)
        if longer > 1:
            theirs = [apart(transfer_of_fastai, folder, Path(cache), seed, size, longer) for seed in SEEDS]
            _errors(f"fastai, head and {longer} epochs", [rows[-1] for rows in theirs])


def _errors(name: str, rows: list[tuple[float, float]]) -> None:
    rates = ", ".join(f"{error:.2%}" for _, error in rows)
    seconds, error = (statistics.mean(values) for values in zip(*rows, strict=True))
    click.echo(f"  {name:<36} {error:6.2%} wrong ({rates}) after {seconds:.0f} s")


def decodes(folder: Path, cache: Path, size: int) -> None:
    from trainer import ImageFolder

    ImageFolder(folder, size=size, cache=cache, show=False)


def pipeline(folder: Path, repetitions: int) -> None:
    kinds = {"trainer": pipeline_of_trainer, "torchvision, DataLoader, 2 workers": pipeline_of_torchvision}
    kinds |= {"fastai": pipeline_of_fastai} if FASTAI else {}
    targets: dict[str, float] = {"torchvision, DataLoader, 2 workers": 3, "fastai": 10}
    compare("input pipeline, 224 pixels", kinds, targets, folder, repetitions)


def training(folder: Path, repetitions: int) -> None:
    kinds = {
        "trainer": training_of_trainer,
        "bare model": bare_model,
        "bare model, channels_last and bf16": bare_model_as_trainer,
        "torchvision, DataLoader, 2 workers": training_of_torchvision,
    }
    kinds |= {"fastai": training_of_fastai} if FASTAI else {}
    compare("training, ResNet-18, 128 pixels, batches of 32", kinds, {"fastai": 2.5}, folder, repetitions)


def errors(folder: Path, _: int) -> None:
    click.echo("\nerror rates, ResNet-18 from random weights, 128 pixels, 1 + 6 epochs at 3e-3")
    with tempfile.TemporaryDirectory() as cache:
        apart(decodes, folder, Path(cache), 128)
        kinds: dict[str, Any] = {"trainer": errors_of_trainer}
        kinds |= {"fastai": errors_of_fastai} if FASTAI else {}
        seconds: dict[str, float] = {}
        for name, function in kinds.items():
            found = [apart(function, folder, Path(cache), seed) for seed in SEEDS]
            seconds[name] = statistics.mean(each[1] for each in found)
            rates = ", ".join(f"{error:.1%}" for error, _ in found)
            mean = statistics.mean(each[0] for each in found)
            click.echo(f"  {name:<8} mean {mean:.1%} ({rates} for the seeds {SEEDS}) in {seconds[name]:.0f} s each")
        budget = seconds.get("fastai", 75.0)
        epochs = int(6 * budget / seconds["trainer"])
        error, took = apart(errors_of_trainer, folder, Path(cache), SEEDS[0], epochs)
        click.echo(f"  trainer  {error:.1%} after 1 + {epochs} epochs in {took:.0f} s; fastai takes {budget:.0f} s")


def memory(_: Path, __: int) -> None:
    from peers import photographs

    with tempfile.TemporaryDirectory() as scratch:
        folder = photographs(Path(scratch) / "pictures", 20_000, (320, 240))
        peak, cached = apart(memory_of_trainer, folder, Path(scratch) / "cache")
    click.echo(f"\nmemory, 20,000 pictures at 224 pixels: peak {peak:.2f} GB, a cache of {cached:.2f} GB  target 3")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--pictures", type=click.Path(exists=True, path_type=Path), help="A folder of class folders.")
@click.option("--size", default=224, show_default=True, help="For transfer alone.")
@click.option("--repetitions", default=3, show_default=True)
def main(parts: tuple[str, ...], pictures: Path | None, size: int, repetitions: int) -> None:
    from peers import photographs

    with tempfile.TemporaryDirectory() as scratch:
        folder = pictures or photographs(Path(scratch), 400)
        for name in parts or PARTS:
            globals()[name](folder, repetitions, *([size] if name == "transfer" else []))


if __name__ == "__main__":
    main()
