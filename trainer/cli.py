"""The command line: `trainer fit`, `trainer find-lr`, `trainer demo`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgdsheet.errors import Error

if TYPE_CHECKING:
    from trainer.classifier import Classifier
    from trainer.data import ImageFolder


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


class _Group(click.Group):
    """Prints an `Error` in one line, and ends with 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Error as error:
            click.echo(f"trainer: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
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
def find_lr(**options: Any) -> None:
    """Tries learning rates on PICTURES, and suggests one."""
    found = _classifier(**options).find_lr()
    for rate, loss in list(zip(found.rates, found.losses, strict=True))[::5]:
        click.echo(f"{rate:8.1e}  {loss:.4f}")
    click.echo(f"The loss falls fastest at {found.steepest:.1e}; a safer choice is {found.valley:.1e}.")


@main.command()
@click.option("--epochs", default=6, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("digits"), show_default=True)
def demo(epochs: int, out: Path) -> None:
    """Writes scikit-learn's digits as pictures, trains on them, and shows the result."""
    from trainer.demo import write_digits

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

    from trainer.augment import Augment
    from trainer.classifier import Classifier

    data = _data(pictures, valid_pct=valid_pct, seed=seed, size=size, cache=cache)
    # A digit that is mirrored is none.
    augment = Augment(scale=(0.7, 1.0), flip=0.0) if plain else Augment()
    return Classifier(data, seed=seed, augment=replace(augment, mixup=mixup, cutmix=cutmix), **options)


def _data(pictures: Path, **options: Any) -> ImageFolder:
    from rich.progress import Progress

    from trainer.data import ImageFolder

    with Progress(transient=True) as progress:
        bar = progress.add_task("Decoding pictures", total=None)
        data = ImageFolder(
            pictures, progress=lambda done, total: progress.update(bar, completed=done, total=total), **options
        )
    click.echo(data)
    for name, reason in list(data.unreadable.items())[:10]:
        click.echo(f"  left out: {name}: {reason}")
    return data


def _train(classifier: Classifier, epochs: int, frozen: int, lr: Any, out: Path | None) -> None:
    from trainer import report
    from trainer.pictures import read

    if frozen:
        classifier.freeze()
        _fit(classifier, frozen, lr.stop if isinstance(lr, slice) else lr)
        classifier.unfreeze()
    said = _fit(classifier, epochs, lr)
    predictions = classifier.predictions()
    if not classifier.world.first:
        return
    click.echo(said)
    for actual, predicted, count in predictions.most_confused()[:5]:
        click.echo(f"  {count} x {actual} taken for {predicted}")
    if out is not None:
        classifier.save(out)
        predictions.save_csv(out / "predictions.csv")
        report.save(predictions, out / "report.xlsx", classifier.history)
        predictions.plot_confusion().save(out / "confusion.png")
        predictions.show_top_losses(lambda name: read(classifier.data.listing.root / name)).save(out / "top_losses.png")
        click.echo(f"{out}: {', '.join(sorted(each.name for each in out.iterdir() if each.is_file()))}")


def _fit(classifier: Classifier, epochs: int, lr: Any) -> str:
    """Trains with a bar, and prints a line an epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    shown = len(classifier.history)
    console = Console(quiet=not classifier.world.first)
    columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TextColumn("loss {task.fields[loss]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("", total=None, epoch=1, loss="")

        def lines() -> None:
            nonlocal shown
            for row in classifier.history[shown:]:
                console.print(_line(row), highlight=False, soft_wrap=True)
            shown = len(classifier.history)

        def stepped(epoch: int, step: int, steps: int, loss: float | None) -> None:
            lines()
            progress.update(bar, total=epochs * steps, completed=epoch * steps + step + 1, epoch=epoch + 1)
            if loss is not None:
                progress.update(bar, loss=f"{loss:.4f}")

        diagnosis = classifier.fit_one_cycle(epochs, lr, stepped)
        lines()
    return diagnosis.words


def _line(row: dict[str, float]) -> str:
    return (
        f"epoch {row['epoch']:>3g}  training loss {row['train_loss']:.4f}  validation loss {row['valid_loss']:.4f}  "
        f"error rate {row['error_rate']:.1%}  {row['pictures_per_second']:,.0f} pictures/s  {row['seconds']:.1f} s"
    )
