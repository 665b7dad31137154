"""Training from the command line: `trainer fit`, `trainer find-lr`, `trainer demo`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgdsheet.errors import Error, one_line, require
from trainer.recipe import Augment, Recipe

if TYPE_CHECKING:
    from trainer.classifier import Classifier
    from trainer.results.multilabel import MultiLabelPredictions
    from trainer.results.predictions import Predictions

PATH = click.Path(path_type=Path)


class _Range(click.ParamType):
    name = "LEAST:MOST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            least, most = map(float, value.split(":"))
        except ValueError:
            self.fail(f"expected two numbers, as 0.35:1, got {value!r}")
        return least, most


# --- Options ----------------------------------------------------------------------------------------------------------


def _data(command: Callable[..., None]) -> Callable[..., None]:
    """What says which pictures there are and what they show."""
    options = [
        click.argument("pictures", type=PATH),
        click.option("--size", default=224, show_default=True, help="The side of the pictures in training, in pixels."),
        click.option("--valid-pct", default=0.2, show_default=True, help="The share set aside for validation."),
        click.option("--cache", type=PATH, help="Where the decoded pictures are kept."),
        click.option("--label", help=r"A regular expression for the class in a file's name, as '^(.+)_\d+'."),
        click.option("--csv", type=PATH, help="Paths below PICTURES and their labels; PICTURES may itself be one."),
        click.option("--path-column", help="Of the CSV, where it is not plain which one."),
        click.option("--label-column", multiple=True, help="The same; several for a column of 0 and 1 a class."),
        click.option("--split-column", help="The same: train, valid or test."),
        click.option("--label-delim", help="What stands between several labels in a cell, as ' '."),
        click.option("--folder", help="Where the CSV's paths begin, below PICTURES."),
        click.option("--suffix", help="What the CSV's paths lack in the end, as .jpg."),
    ]
    return _with(command, options)


def _model(command: Callable[..., None]) -> Callable[..., None]:
    """The model, and every field of the recipe."""
    options = [
        click.option(
            "--arch", default="efficientnet_lite0", show_default=True, help="Of torchvision or timm, or FILE.py:NAME."
        ),
        click.option("--weights", default="DEFAULT", show_default=True, help="By name, a file, or none."),
        click.option("--device", help="cpu, cuda, cuda:1 or mps; a GPU by default where there is one."),
    ]
    kinds = (Recipe, Augment)
    options += [_option(each) for kind in kinds for each in fields(kind) if "help" in each.metadata]
    return _with(command, options)


def _option(field: Field[Any]) -> Callable[..., Any]:
    name, words = field.name.replace("_", "-"), field.metadata["help"]
    if isinstance(field.default, bool) or field.default is None:
        return click.option(f"--{name}/--no-{name}", default=field.default, help=words)
    if isinstance(field.default, tuple):
        shown = ":".join(f"{each:.3g}" for each in field.default)
        return click.option(f"--{name}", type=_Range(), default=field.default, show_default=shown, help=words)
    return click.option(f"--{name}", default=field.default, show_default=True, help=words)


def _with(command: Callable[..., None], options: list[Callable[..., Any]]) -> Callable[..., None]:
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


# --- Commands ---------------------------------------------------------------------------------------------------------


def _together(command: Callable[..., None]) -> Callable[..., None]:
    """Of several processes one says what went wrong."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        from trainer import distributed

        with distributed.command():
            command(**options)

    return run


@click.command()
@_data
@_model
@click.option("--epochs", type=int, help="All of the model is trained.  [default: 1 with weights, else 4]")
@click.option("--frozen-epochs", type=int, help="Before, the head alone.  [default: 10 with weights, else 0]")
@click.option("--lr", help="The highest rate, or LOW:HIGH, the first layers' and the head's.")
@click.option("--out", type=PATH, help="The folder for the checkpoint and the results.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--more", type=int, help="Train the ended run in --out on, for so many epochs.")
@click.option("--overwrite", is_flag=True, help="Begin anew, though there is a run in --out.")
@click.option(
    "--record",
    multiple=True,
    metavar="COUNT|NAME[I,J]",
    help="Follow so many weights, or the named ones, through all steps; for sgdsheet replay.",
)
@click.option("--tta", is_flag=True, help="Look at each picture several times in the end (test-time augmentation).")
@click.option("--test", is_flag=True, help="In the end, score the pictures in the folder test too.")
@_together
def fit(
    epochs: int | None,
    frozen_epochs: int | None,
    lr: str | None,
    out: Path | None,
    resume: bool,
    more: int | None,
    record: tuple[str, ...],
    tta: bool,
    test: bool,
    **options: Any,
) -> None:
    """Trains a model on PICTURES, and says how it went."""
    if more is not None and out is None:
        raise Error("--more: expected --out as well, the folder of the run to train on")
    options["record"] = record or None
    if len(record) == 1 and record[0].lstrip("-").isdecimal():
        from sgdsheet.recording.watched import MOST

        options["record"] = int(record[0])
        require(options["record"], "--record", 1, MOST, whole=True)  # before pictures are read
    classifier = _classifier(out=out, resume=resume or more is not None, without=[out] if out else [], **options)
    if test and not len(classifier.data.test):
        raise Error(f"--test: {options['pictures']} has no folder test")
    with _interrupted(classifier):
        if more is not None:
            classifier.fit_more(more, lr or 1e-3)
        else:
            _train(classifier, epochs, frozen_epochs, lr)
        _results(classifier, out, tta, ["valid", "test"] if test else ["valid"])


@click.command("find-lr")
@_data
@_model
@click.option("--frozen", is_flag=True, help="For the head alone.")
@click.option("--plot", "out", type=PATH, help="A .png for the loss at each rate.")
@_together
def find_lr(out: Path | None, frozen: bool, **options: Any) -> None:
    """Tries learning rates on PICTURES, and suggests one."""
    from trainer.show import drawing

    classifier = _classifier(**options)
    if frozen:
        classifier.freeze()
    found = classifier.find_lr()
    if out is not None and classifier.world.first:
        drawing.save(found.plot(), out)


@click.command()
@click.option("--epochs", default=6, show_default=True)
@click.option("--out", type=PATH, default=Path("digits"), show_default=True)
def demo(epochs: int, out: Path) -> None:
    """Writes scikit-learn's digits as pictures, trains on them, and shows the result."""
    from trainer.data.demo import write_digits

    pictures = write_digits(out / "pictures")
    click.echo(f"{pictures}: 1,797 handwritten digits, 8 x 8 pixels, ten classes")
    # A digit that is mirrored is none.
    options: dict[str, Any] = {"arch": "resnet18", "weights": None, "scale": (0.7, 1.0), "flip": 0.0}
    classifier = _classifier(pictures, size=32, seed=42, cache=out / "cache", **options)
    classifier.fit_one_cycle(epochs, 4e-3)
    _results(classifier, out, False, ["valid"])


# --- What they share --------------------------------------------------------------------------------------------------


def _classifier(pictures: Path, *, seed: int, label_column: tuple[str, ...] = (), **options: Any) -> Classifier:
    import inspect

    from trainer import distributed
    from trainer.classifier import Classifier
    from trainer.data.image_folder import ImageFolder
    from trainer.show.progress import say

    names = set(inspect.signature(ImageFolder).parameters) & set(options)
    given = {name: options.pop(name) for name in names}
    columns = label_column[0] if len(label_column) == 1 else list(label_column) or None
    data = ImageFolder(pictures, seed=seed, label_column=columns, **given)
    if distributed.first():
        say(data)
        say(data.counts().to_string(index=False))
    from trainer.models.own import from_file

    return Classifier(data, from_file(options.pop("arch")), seed=seed, **options)


def _train(classifier: Classifier, epochs: int | None, frozen_epochs: int | None, lr: str | None) -> None:
    """With weights the head alone first, then all of it, unless it is said otherwise."""
    if classifier.network.source or frozen_epochs:
        head = 10 if frozen_epochs is None else frozen_epochs
        classifier.fine_tune(1 if epochs is None else epochs, lr or 3e-4, frozen_epochs=head)
    else:
        classifier.fit_one_cycle(4 if epochs is None else epochs, lr or 3e-3)


@contextmanager
def _interrupted(classifier: Classifier) -> Iterator[None]:
    """Says how to go on, should somebody press Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        done, out = len(classifier.history), classifier.out
        how = f"--out {out} --resume goes on from there" if out and done else "nothing was kept"
        raise KeyboardInterrupt(f"interrupted after epoch {done}; {how}") from None


def _results(classifier: Classifier, out: Path | None, tta: bool, parts: list[str]) -> None:
    """Says what came of it, and writes it. What was trained is written first: nothing after it may cost it."""
    from trainer.show.progress import say

    if out is not None:
        classifier.save(out)
    for part in parts:
        predictions = classifier.predictions(part, tta=tta)
        if not classifier.world.first:
            continue
        say(predictions.summary())
        if out is not None:
            _write(classifier, predictions, out, "" if part == "valid" else f"{part}_")
    if out is not None and classifier.world.first:
        names = sorted(each.name for each in out.iterdir() if each.is_file() and not each.name.startswith("."))
        say(f"{out}: {', '.join(names)}")


def _write(classifier: Classifier, predictions: Predictions | MultiLabelPredictions, out: Path, prefix: str) -> None:
    """Whatever a training leaves behind. A file that cannot be written is said, and costs none of the others."""
    from sgdsheet.pictures import read
    from trainer.results import report
    from trainer.show import drawing
    from trainer.show.progress import say

    def worst(path: Path) -> None:
        listing = classifier.data.listing
        drawing.save(predictions.show_top_losses(lambda name: read(listing.root / name)), path)

    # What each needs besides what training needs, and how it is written.
    files: dict[str, tuple[list[str], Callable[[Path], object]]] = {
        f"{prefix}predictions.csv": ([], predictions.save_csv),
        f"{prefix}top_losses.png": ([], worst),
        f"{prefix}report.xlsx": (
            ["openpyxl", "ironcalc"],
            lambda path: report.save(predictions, path, classifier.history),
        ),
    }
    if not classifier.data.multi_label:
        confusion: Any = predictions
        files[f"{prefix}confusion.png"] = ([], lambda path: drawing.save(confusion.plot_confusion(), path))
    if not prefix:
        files["losses.png"] = (["matplotlib"], lambda path: drawing.save(classifier.plot_losses(), path))
        files["lr.png"] = (["matplotlib"], lambda path: drawing.save(classifier.plot_lr(), path))
    for name, (packages, write) in files.items():
        missing = [each for each in packages if find_spec(each) is None]
        if missing:
            say(f"  {name}: not written; pip install {' '.join(missing)}")
            continue
        try:
            write(out / name)
        except Exception as error:  # none of them is worth the others
            say(f"  {name}: not written: {one_line(error)}")
