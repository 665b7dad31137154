"""A trained classifier in use: `trainer export`, `trainer predict`, `trainer serve`."""

from __future__ import annotations

import csv
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sgdsheet.errors import Error

if TYPE_CHECKING:
    from sgdsheet.pictures import Unreadable
    from trainer.collect.fetch import Fetcher
    from trainer.serving.predictor import Prediction

PATH = click.Path(path_type=Path)
FETCHERS = 8  # URLs at a time
LONGEST_LIST = 2**26  # bytes of standard input


@click.command()
@click.argument("run", type=PATH)
@click.argument("file", type=PATH)
@click.option("--threshold", type=float, help="From which a class counts as seen, of several labels.  [default: 0.5]")
@click.option("--onnx", type=PATH, help="A second file, for programs without PyTorch.")
def export(run: Path, file: Path, threshold: float | None, onnx: Path | None) -> None:
    """Writes the classifier in the folder RUN, of `trainer fit --out`, as one FILE."""
    from trainer.serving import bundle
    from trainer.show.progress import say
    from trainer.show.text import plain, share

    card, model = bundle.from_run(run, file, threshold)
    wrong = card.metrics.get("error_rate")
    say(
        f"{file}: {file.stat().st_size / 1e6:,.1f} MB, {card.arch}, {card.size} pixels, "
        f"{len(card.classes):,} classes: {plain(', '.join(card.classes[:10]))}{', …' * (len(card.classes) > 10)}"
        + ("" if wrong is None else f"; {share(wrong)} wrong in validation")
    )
    if onnx is not None:
        from trainer.serving import onnx as as_onnx

        off = as_onnx.write(onnx, card, model)
        say(f"{onnx}: {onnx.stat().st_size / 1e6:,.1f} MB; in onnxruntime a probability differs by {off:.1g} at most")


@click.command("export-workbook")
@click.argument("run", type=PATH)
@click.option("--out", "-o", type=PATH, help="The workbook; RUN.xlsx by default.")
@click.option("--arch", metavar="FILE.py:NAME", help="What makes the model, where it is code of your own.")
@click.option("--data", type=PATH, help="Where the pictures are now, if they were moved.")
@click.option("--fold", is_flag=True, help="Fold each batch norm into the convolution before it.")
@click.option("--pictures", type=int, default=20, show_default=True, help="Held-out ones to choose from, in the file.")
def export_workbook(
    run: Path, out: Path | None, arch: str | None, data: Path | None, fold: bool, pictures: int
) -> None:
    """Writes the classifier in the folder RUN as a spreadsheet, in which each number is a live formula."""
    from trainer.models.own import from_file
    from trainer.serving import workbook
    from trainer.show.progress import say

    path = out or Path(f"{run.resolve().name}.xlsx")
    made = from_file(arch) if arch else None
    written = workbook.from_run(run, path, arch=made, data=data, fold=fold, pictures=pictures, say=say)
    say(f"{path}: {written.cells:,} cells, {written.formulas:,} formulas, {written.size / 1e6:.2f} MB")


@click.command()
@click.argument("model", type=PATH)
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to name.")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 or mps.")
@click.option("--allow-private", is_flag=True, help="Fetch from addresses of this machine and its network too.")
@click.pass_context
def predict(
    ctx: click.Context,
    model: Path,
    pictures: tuple[str, ...],
    top: int,
    form: str,
    device: str,
    allow_private: bool,
) -> None:
    """Says what each PICTURE shows, by the exported classifier MODEL.

    A PICTURE is a file, a folder with all that is below it, a URL, or -: standard input, which has either a picture or
    the names of such, one a line. One that cannot be read gets a row that says why; the exit code is then 1.
    """
    from trainer.serving.predictor import load

    predictor = load(model, device)
    found = predictor.named(_fetched(_sources(pictures), allow_private))
    failed = WRITE[form](found, min(top, len(predictor.card.classes)))
    predictor.close()
    ctx.exit(1 if failed else 0)


@click.command()
@click.argument("model", type=PATH)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for every one that can reach this machine."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 for any that is free.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 or mps.")
@click.option("--threads", type=click.IntRange(1), help="Pictures judged at a time on a CPU.  [default: one a core]")
@click.option("--queue", default=64, show_default=True, type=click.IntRange(1), help="Requests at work at a time.")
@click.option("--dockerfile", is_flag=True, help="Write a Dockerfile beside MODEL instead.")
def serve(model: Path, host: str, port: int, device: str, threads: int | None, queue: int, dockerfile: bool) -> None:
    """Serves a page on which pictures are dropped, and says what they show, by the exported classifier MODEL.

    Programs POST pictures to /predict; /openapi.json describes that. Ctrl-C ends it.
    """
    import warnings

    from PIL import Image

    from trainer.serving import app, bundle
    from trainer.serving import dockerfile as dockerfiles
    from trainer.serving.predictor import load
    from trainer.show.progress import say

    if dockerfile:
        say(f"{dockerfiles.write(model, bundle.read(model)[0])}: docker build -t classifier {model.parent}")
        return
    # Pillow would print a warning for a picture that is refused anyway.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    listener = app.listening(host, port)
    predictor = load(model, device, threads)
    say(f"{app.address(listener)} serves {model}; Ctrl-C ends it")
    app.run(app.application(predictor, queue), listener)
    predictor.close()


# --- Pictures ---------------------------------------------------------------------------------------------------------


def _sources(given: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Each picture's name, and its file, its URL, its content, or why there is none."""
    for each in given:
        if each == "-":
            yield from _piped(sys.stdin.buffer.read(LONGEST_LIST + 1))
        else:
            yield from _named(each)


def _named(given: str) -> Iterator[tuple[str, Any]]:
    from sgdsheet.pictures import Unreadable
    from trainer.data.walk import walk

    path = Path(given)
    if given.lower().startswith(("http://", "https://")):
        yield given, given
        return
    if not path.is_dir():
        yield given, path
        return
    try:
        names = walk(path).all_pictures()
    except Error as error:
        yield given, Unreadable(str(error).removeprefix(f"{given}: "))
        return
    if not names:
        yield given, Unreadable("there is no picture in this folder")
    yield from ((str(path / name), path / name) for name in names)


def _piped(content: bytes) -> Iterator[tuple[str, Any]]:
    """A picture, or the names of some."""
    from sgdsheet.pictures import Unreadable, size_of

    if len(content) > LONGEST_LIST:
        yield "stdin", Unreadable(f"there is more than {LONGEST_LIST >> 20} MB")
        return
    try:
        size_of(content)
        yield "stdin", content
    except Unreadable as error:
        try:
            lines = [] if b"\0" in content else content.decode().splitlines()
        except UnicodeDecodeError:
            lines = []
        if not any(map(str.strip, lines)):
            yield "stdin", error
        for line in lines:
            if line.strip():
                yield from _named(line)


def _fetched(sources: Iterable[tuple[str, Any]], allow_private: bool) -> Iterator[tuple[str, Any]]:
    """The same with the content of URLs, or why there is none; a few are fetched ahead."""
    with ThreadPoolExecutor(FETCHERS) as pool, ExitStack() as open_ones:
        coming: deque[tuple[str, Any]] = deque()
        fetcher = None
        for name, source in sources:
            if isinstance(source, str):
                fetcher = fetcher or open_ones.enter_context(_fetcher(allow_private))
                source = pool.submit(_at, fetcher, source)
            coming.append((name, source))
            if len(coming) > 2 * FETCHERS:
                yield _there(*coming.popleft())
        while coming:
            yield _there(*coming.popleft())


def _there(name: str, source: Any) -> tuple[str, Any]:
    return name, source.result() if isinstance(source, Future) else source


def _fetcher(allow_private: bool) -> Fetcher:
    from trainer.collect.fetch import Fetcher, Limits
    from trainer.serving.predictor import MOST_BYTES

    return Fetcher(FETCHERS, Limits(seconds=30, bytes=MOST_BYTES, retries=2), allow_private)


def _at(fetcher: Fetcher, url: str) -> bytes | Unreadable:
    from sgdsheet.pictures import Unreadable
    from trainer.collect.fetch import Failed
    from trainer.serving.predictor import require_small

    try:
        content = fetcher.fetch(url)
        require_small(content)
        return content
    except Failed as error:
        return Unreadable(str(error))
    except Unreadable as error:
        return error


# --- Predictions, written ---------------------------------------------------------------------------------------------


def _table(found: Iterable[Prediction], top: int) -> bool:
    from trainer.show.progress import counting, say
    from trainer.show.text import aligned, cut, plain, share

    rows, errors = [["picture", "class", *[""] * (2 * top - 1)]], [""]
    with counting("Pictures") as counted:
        for done, each in enumerate(found, start=1):
            shares = [cell for name, value in each.top(top) for cell in (cut(plain(name)), share(value))]
            rows.append([cut(plain(each.name), 60), *shares, *[""] * (2 * top - len(shares))])
            errors.append(f"error: {plain(each.error)}" if each.error else "")
            counted(done, done)
    for line, error in zip(aligned(rows).splitlines(), errors, strict=True):
        say(f"{line.rstrip()}  {error}".rstrip())
    return any(errors)


def _csv(found: Iterable[Prediction], top: int) -> bool:
    from trainer.results.multilabel import BETWEEN
    from trainer.results.predictions import harmless

    out, failed = csv.writer(sys.stdout, lineterminator="\n"), False
    names = [f"{name}_{place}" for place in range(1, top + 1) for name in ("class", "probability")]
    out.writerow(["name", "labels", *names, "error"])
    for each in found:
        cells = [cell for pair in each.top(top) for cell in pair]
        cells += [""] * (2 * top - len(cells))
        out.writerow(map(harmless, [each.name, BETWEEN.join(each.labels), *cells, each.error or ""]))
        failed |= each.error is not None
    return failed


def _json(found: Iterable[Prediction], top: int) -> bool:
    failed = False
    for place, each in enumerate(found):
        click.echo(f"{',' if place else '['}\n{json.dumps(each.said(top))}", nl=False)
        failed |= each.error is not None
    click.echo("\n]")
    return failed


WRITE: dict[str, Callable[[Iterable[Prediction], int], bool]] = {"table": _table, "csv": _csv, "json": _json}
