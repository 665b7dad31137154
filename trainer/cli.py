"""The command line: `trainer fit`, `trainer find-lr`, `trainer demo`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgdsheet.cli import Commands

if TYPE_CHECKING:
    from trainer.classifier import Classifier
    from trainer.results.predictions import Predictions


class _Rate(click.ParamType):
    name = "RATE or LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            numbers = [float(each) for each in value.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2) or min(numbers) <= 0:
            self.fail(f"expected a rate above 0, as 3e-3, or the body's and the head's, as 1e-6:1e-4; got {value!r}")
        return numbers[0] if len(numbers) == 1 else slice(*numbers)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Trains an image classifier on a folder of pictures, a folder for each class."""


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """The options of everything that trains."""
    options = [
        click.argument("pictures", type=click.Path(path_type=Path)),
        click.option("--arch", default="resnet34", show_default=True, help="A model of torchvision, or of timm."),
        click.option("--weights", help="torchvision's by name, as DEFAULT, or a .safetensors or .pth file."),
        click.option("--size", default=224, show_default=True, help="The side of the pictures in training, in pixels."),
        click.option("--valid-pct", default=0.2, show_default=True, help="The share set aside for validation."),
        click.option("--batch-size", default=64, show_default=True),
        click.option("--seed", default=42, show_default=True, help="For the split, the start and all that is drawn."),
        click.option("--device", help="cpu, cuda, cuda:1 or mps; a GPU by default where there is one."),
        click.option("--cache", type=click.Path(path_type=Path), help="Where the decoded pictures are kept."),
        click.option("--optimizer", default="adamw", show_default=True, help="adamw, adam or sgd."),
        click.option("--weight-decay", default=0.01, show_default=True),
        click.option("--label-smoothing", default=0.0, show_default=True),
        click.option("--clip", default=0.0, help="The largest norm of the gradients."),
        click.option("--accumulate", default=1, help="Batches that make a step."),
        click.option("--ema", default=0.0, help="The decay of a running mean of the weights, as 0.99."),
        click.option("--mixup", default=0.0, help="The alpha of mixup, as 0.4."),
        click.option("--cutmix", default=0.0, help="The alpha of cutmix, as 1."),
        click.option("--bf16/--no-bf16", default=None, help="bfloat16; by default where the device gains by it."),
        click.option("--compile/--no-compile", default=False, help="Use torch.compile."),
    ]
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


@main.command()
@_shared
@click.option("--epochs", default=4, show_default=True)
@click.option("--frozen-epochs", default=0, help="Epochs before, in which the head alone is trained.")
@click.option(
    "--lr", type=_Rate(), default="3e-3", show_default=True, help="The highest rate, or the body's and head's."
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder for the checkpoint and the results.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
def fit(epochs: int, frozen_epochs: int, lr: Any, out: Path | None, resume: bool, **options: Any) -> None:
    """Trains a model on PICTURES, and says how it went."""
    classifier = _classifier(out=out, resume=resume, **options)
    _train(classifier, epochs, frozen_epochs, lr, out)


@main.command("find-lr")
@_shared
@click.option("--plot", "out", type=click.Path(path_type=Path), help="A .png for the loss at each rate.")
def find_lr(out: Path | None, **options: Any) -> None:
    """Tries learning rates on PICTURES, and suggests one."""
    from trainer.show import drawing

    classifier = _classifier(**options)
    found = classifier.find_lr()
    if out is not None and classifier.world.first:
        drawing.save(found.plot(), out)


@main.command()
@click.option("--epochs", default=6, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("digits"), show_default=True)
def demo(epochs: int, out: Path) -> None:
    """Writes scikit-learn's digits as pictures, trains on them, and shows the result."""
    from trainer.data.demo import write_digits

    pictures = write_digits(out / "pictures")
    click.echo(f"{pictures}: 1,797 handwritten digits, 8 x 8 pixels, ten classes")
    options = {"arch": "resnet18", "size": 32, "batch_size": 64, "seed": 42, "plain": True}
    classifier = _classifier(pictures=pictures, cache=out / "cache", **options)
    _train(classifier, epochs, 0, 4e-3, out)


def _classifier(
    *,
    pictures: Path,
    size: int,
    seed: int,
    valid_pct: float = 0.2,
    cache: Path | None = None,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    plain: bool = False,
    **options: Any,
) -> Classifier:
    from dataclasses import replace

    from trainer import distributed
    from trainer.classifier import Classifier
    from trainer.data.image_folder import ImageFolder
    from trainer.training.augment import Augment

    data = ImageFolder(pictures, valid_pct=valid_pct, seed=seed, size=size, cache=cache)
    if distributed.first():
        click.echo(data)
    # A digit that is mirrored is none.
    augment = Augment(scale=(0.7, 1.0), flip=0.0) if plain else Augment()
    return Classifier(data, seed=seed, augment=replace(augment, mixup=mixup, cutmix=cutmix), **options)


def _train(classifier: Classifier, epochs: int, frozen: int, lr: Any, out: Path | None) -> None:
    if frozen:
        classifier.freeze()
        classifier.fit_one_cycle(frozen, lr.stop if isinstance(lr, slice) else lr)
        classifier.unfreeze()
    classifier.fit_one_cycle(epochs, lr)
    predictions = classifier.predictions()
    if not classifier.world.first:
        return
    for actual, predicted, count in predictions.most_confused()[:5]:
        click.echo(f"  {count} x {actual} taken for {predicted}")
    if out is not None:
        _write(classifier, predictions, out)
        click.echo(f"{out}: {', '.join(sorted(each.name for each in out.iterdir() if each.is_file()))}")


def _write(classifier: Classifier, predictions: Predictions, out: Path) -> None:
    """Whatever a training leaves behind, as far as the packages for it are installed."""
    from trainer.data.pictures import read
    from trainer.results import report
    from trainer.show import drawing

    classifier.save(out)
    predictions.save_csv(out / "predictions.csv")
    drawing.save(predictions.plot_confusion(), out / "confusion.png")
    worst = predictions.show_top_losses(lambda name: read(classifier.data.listing.root / name))
    drawing.save(worst, out / "top_losses.png")
    if _installed("report.xlsx", "openpyxl", "ironcalc"):
        report.save(predictions, out / "report.xlsx", classifier.history)
    if _installed("losses.png and lr.png", "matplotlib"):
        drawing.save(classifier.plot_losses(), out / "losses.png")
        drawing.save(classifier.plot_lr(), out / "lr.png")


def _installed(what: str, *packages: str) -> bool:
    missing = [each for each in packages if find_spec(each) is None]
    if missing:
        click.echo(f"  {what}: not written; pip install {' '.join(missing)}")
    return not missing
