"""The command line of sgdsheet: a thin layer, a function for each command."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sgdsheet import __version__
from sgdsheet.commands import Commands
from sgdsheet.errors import Error, one_line

FOLDER = Path("workbooks")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Spreadsheets in which every step of gradient descent is a live formula, checked against PyTorch."""


@main.command("list")
def list_() -> None:
    """The catalogue of workbooks, a line each."""
    from sgdsheet.lessons import catalogue

    lessons = catalogue()
    width = max(map(len, lessons))
    for lesson in lessons.values():
        click.echo(f"{lesson.name:<{width}}  {lesson.summary}")


@main.command()
@click.argument("names", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help=f"The folder to write to; by default {FOLDER}, and the current one for a lesson of your own.",
)
@click.option(
    "--set", "settings", metavar="INPUT=VALUE", multiple=True, help="An input's starting value, as in lr=0.01."
)
@click.option("--data", type=click.Path(path_type=Path), help="A CSV file whose numbers replace the built-in data.")
@click.option("--image", type=click.Path(path_type=Path), help="A picture that replaces the built-in one.")
@click.option("--size", type=int, help="How many pixels wide and high the picture becomes.")
@click.option("--rgb", is_flag=True, help="Keep the picture's three colours.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a file is not what would be written now.")
@click.option("--exercise", is_flag=True, help="Leave formulas blank for a learner; the file is NAME_exercise.xlsx.")
@click.option("--level", type=click.IntRange(1, 3), help="How many: 1 (the default) for the fewest, 3 for the most.")
def generate(
    names: Sequence[str],
    out: Path | None,
    settings: Sequence[str],
    check: bool,
    exercise: bool,
    level: int | None,
    **source: Any,
) -> None:
    """Write the named workbooks, or all of them. A name that ends with .py is a file with a lesson of your own."""
    from sgdsheet import generation, lessons
    from sgdsheet.lessons import own

    left: dict[str, Any] = {"exercise": level or 1} if exercise else {}
    if level and not exercise:
        raise Error("--level is for exercises: give --exercise too")
    inputs: dict[str, Any] = dict(_setting(text) for text in settings)
    chosen = {}
    for name in names or [name for name, lesson in lessons.catalogue().items() if lesson.exercises or not exercise]:
        lesson = own.load(name) if name.endswith(".py") else lessons.find(name)
        lesson.values(inputs)
        file = f"{lesson.name}{'_exercise' if exercise else ''}.xlsx"
        chosen[(out or (Path() if name.endswith(".py") else FOLDER)) / file] = lesson
        if exercise:
            generation.exercises(lesson, level or 1)
    if len(chosen) > 1 and not check and (inputs or any(source.values())):
        for lesson in chosen.values():  # with what is given one may be impossible: before anything is written
            generation.build(lesson, generation.source(**source), inputs)
    if check:
        problems = [_check(lesson, path, source | inputs | left) for path, lesson in chosen.items()]
        sys.exit(1 if any(problems) else 0)
    with _Progress(len(chosen)) as bar:
        for path, lesson in chosen.items():
            started = time.perf_counter()
            written = generation.generate(lesson, path, **source, **inputs, **left)
            bar.advance(_said(written, time.perf_counter() - started))


@main.command("compile")
@click.argument("target", metavar="FILE.py:FUNCTION")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="The workbook to write; FILE.xlsx by default.")
@click.option("--steps", type=int, help="How many steps, whatever the function says.")
@click.option("--dry-run", is_flag=True, help="Write nothing: say what is in the model and how large it would be.")
def compile_(target: str, out: Path | None, steps: int | None, dry_run: bool) -> None:
    """Compile a PyTorch model: FUNCTION returns a dict with the arguments of sgdsheet.compile.

    With --dry-run the exit code is 1 if the model cannot be compiled.
    """
    from sgdsheet.torch_frontend.compiled import compile
    from sgdsheet.torch_frontend.user_file import arguments
    from sgdsheet.user_code import explained

    started = time.perf_counter()
    given = arguments(target)
    if steps is not None:
        given["steps"] = steps
    path = out or Path(f"{Path(target.rpartition(':')[0]).stem}.xlsx")
    with explained(target, Exception):  # the model's own code runs here
        made = _survey(given) if dry_run else compile(**given).save(path)
    if dry_run:
        sys.exit(0 if made else 1)
    click.echo(_said(made, time.perf_counter() - started))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--engine",
    "engine_name",
    default="ironcalc",
    show_default=True,
    help="ironcalc, libreoffice, gnumeric, excel or all.",
)
@click.option(
    "--sets", type=click.IntRange(0), help="Other sets of inputs to compare with, near those in the file; 2 by default."
)
@click.option(
    "--lesson", "own_lesson", metavar="FILE.py", type=click.Path(path_type=Path), help="Where a lesson of your own is."
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def verify(paths: Sequence[Path], engine_name: str, sets: int | None, own_lesson: Path | None, as_json: bool) -> None:
    """Recalculate workbooks and compare every block with torch, also for other inputs than those in the file."""
    from sgdsheet import engines, verification
    from sgdsheet.lessons import own

    lesson = own.load(own_lesson) if own_lesson else None
    sets = verification.SETS if sets is None else sets
    names = engines.available() if engine_name == "all" else [engine_name]
    reports = []
    for path in paths:
        for name in names:
            started = time.perf_counter()
            report = verification.verify(path, name, sets=sets, lesson=lesson)
            reports.append(report)
            if not as_json:
                _show(report, time.perf_counter() - started)
    if as_json:
        click.echo(json.dumps([_plain(report) for report in reports], indent=2, allow_nan=False))
    sys.exit(0 if all(report.ok for report in reports) else 1)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--lesson", "own_lesson", metavar="FILE.py", type=click.Path(path_type=Path), help="Where a lesson of your own is."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the marks as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print the marks as JSON.")
def grade(paths: Sequence[Path], own_lesson: Path | None, as_csv: bool, as_json: bool) -> None:
    """Mark exercises that were handed in: a row for each file and exercise, with PyTorch as the judge.

    The exit code is 2 if a file cannot be graded; all others are graded nevertheless.
    """
    from sgdsheet.grading import marks
    from sgdsheet.grading.grader import Grader
    from sgdsheet.lessons import own

    if as_csv and as_json:
        raise Error("expected --csv or --json, got both")
    grader = Grader(own.load(own_lesson) if own_lesson else None)
    graded, refused = [], 0
    for path in paths:
        try:
            graded.append(grader.grade(path))
        except Error as error:
            refused += 1
            click.echo(f"error: {error}", err=True)
    if as_csv:
        marks.write_csv(graded, sys.stdout)
    elif as_json:
        click.echo(json.dumps(marks.plain(graded), indent=2))
    elif graded:
        marks.show(graded)
    sys.exit(2 if refused else 0)


@main.command("open")
@click.argument("name_or_path")
def open_(name_or_path: str) -> None:
    """Open a workbook in the system's spreadsheet program, generating it first if it is named."""
    from sgdsheet import generation, lessons

    path = Path(name_or_path)
    if path.suffix == ".xlsx" or path.parent != Path():
        if not path.is_file():
            raise Error(f"{path}: there is no such file")
    else:
        lessons.find(name_or_path)
        path = FOLDER / f"{name_or_path}.xlsx"
        if not path.is_file():
            generation.generate(name_or_path, path)
    click.echo(f"opening {path}")
    if click.launch(str(path)) != 0:
        raise Error(f"{path}: the system has no program that opens .xlsx files; install LibreOffice or Excel")


@main.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="The column to predict.")
@click.option("--model", default="linear", show_default=True, help="linear, logistic, or mlp: either, with a layer.")
@click.option("--hidden", type=int, default=8, show_default=True, help="The units of an mlp's layer.")
@click.option("--optimizer", default="adam", show_default=True, help="As in torch: sgd, momentum, adamw, rmsprop, …")
@click.option("--epochs", type=int, default=10, show_default=True, help="How often all rows are gone through.")
@click.option("--batch-size", type=int, default=16, show_default=True, help="The rows of a step.")
@click.option("--lr", type=float, help="The learning rate; by default one that suits the optimiser.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides the order of the rows and the start.")
@click.option("--valid", type=float, default=0.2, show_default=True, help="The share of rows that only check.")
@click.option("--without", metavar="NAME", multiple=True, help="A column to leave out.")
@click.option("--out", "-o", "path", type=click.Path(path_type=Path), help="The workbook; DATA.xlsx by default.")
def fit(data: Path, **arguments: Any) -> None:
    """Fit a model to a CSV of your own: a workbook that learns to predict a column from the others, in formulas."""
    from sgdsheet.table.fit import fit

    started = time.perf_counter()
    made = fit(data, **arguments)
    for note in made.notes:
        click.echo(note)
    scores = ", ".join(f"{name} {score:.3f}" for name, score in made.scores.items())
    click.echo(f"{made.rows:,} rows train, {made.valid:,} check: {scores}")
    click.echo(_said(made, time.perf_counter() - started))


@main.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="The film, .gif or .mp4; FILE.gif by default.")
@click.option("--seconds", type=float, default=6.0, show_default=True, help="How long it takes, 2 to 10.")
@click.option("--fps", type=int, default=20, show_default=True, help="Pictures a second, 2 to 50.")
@click.option("--size", type=int, default=800, show_default=True, help="Its width in pixels, 320 to 1600.")
def animate(path: Path, out: Path | None, seconds: float, fps: int, size: int) -> None:
    """Draw the run in a workbook as a film: the line that moves to its points, optimisers racing, the loss."""
    from sgdsheet import animation

    film = animation.animate(path, out or Path(f"{path.stem}.gif"), seconds=seconds, fps=fps, size=size)
    click.echo(f"{film}: {film.stat().st_size / 1e6:.2f} MB")


@main.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--steps", default=1000, show_default=True, help="How many steps to make.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="A CSV: a row an example, the input's numbers, the target's."
)
@click.option("--engine", default="ironcalc", show_default=True, help="ironcalc, or excel, where you see it train.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="The workbook to write; FILE_trained.xlsx by default."
)
@click.option(
    "--lesson", "own_lesson", metavar="FILE.py", type=click.Path(path_type=Path), help="Where a lesson of your own is."
)
def train(path: Path, own_lesson: Path | None, **given: Any) -> None:
    """Train a workbook: calculate it, type in what its step left behind, put in the next batch, again.

    Ctrl-C ends with the last whole step. The exit code is 1 if the loss became infinite: the file has the last step
    before that.
    """
    from sgdsheet.lessons import own
    from sgdsheet.training import train as training

    started = time.perf_counter()
    with _Progress(given["steps"], "training") as bar:
        lesson = own.load(own_lesson) if own_lesson else None
        done = training.train(path, **given, lesson=lesson, progress=bar.at)
    made = f"{done.steps:,} step{'s' * (done.steps != 1)}"
    if done.rewritten:
        click.echo(
            f"{path}: formulas were changed in {', '.join(done.rewritten)}; they were trained as they stand there"
        )
    click.echo(
        f"{done.path}: {made}{f' ({done.in_all:,} in all)' if done.in_all > done.steps else ''}, loss "
        f"{done.first_loss:.6g} to {done.last_loss:.6g}, {time.perf_counter() - started:.1f} s"
    )
    if done.stopped == training.INTERRUPTED:
        raise KeyboardInterrupt(f"interrupted after {made}; {done.path} has the last whole one")
    if done.stopped:
        click.echo(f"{path}: {done.stopped}; {done.path} has the last before it", err=True)
        sys.exit(1)


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), default=Path("replay.xlsx"), show_default=True)
@click.option("--steps", metavar="FIRST:LAST", help="Which steps, as 1:500; by default the first 2,000.")
def replay(path: Path, out: Path, steps: str | None) -> None:
    """Do a recorded training's steps again: PATH is a record, or the folder of a run of trainer fit --record."""
    from sgdsheet.replaying.replay import replay

    started = time.perf_counter()
    first, _, last = (steps or "").partition(":")
    if steps and not (first.isdecimal() and last.isdecimal()):
        raise Error(f"--steps: expected FIRST:LAST, as in 1:500, got {steps!r}")
    written = replay(path, out, steps=(int(first), int(last)) if steps else None)
    for name in (off := [name for name, share in written.shares.items() if not share <= 1]):
        click.echo(f"{name}: is not what these formulas make of its gradients; see its sheet")
    click.echo(f"{len(written.shares) - len(off)} of {len(written.shares)} weights agree with what the trainer had")
    click.echo(_said(written, time.perf_counter() - started))
    if off:
        raise SystemExit(1)


@main.command("export-classifier")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="The workbook; RUN.xlsx by default.")
@click.option("--arch", metavar="FILE.py:NAME", help="What makes the model, where it is code of your own.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the pictures are now, if they were moved.")
@click.option("--fold", is_flag=True, help="Fold each batch norm into the convolution before it.")
@click.option("--pictures", type=int, default=20, show_default=True, help="Held-out ones to choose from, in the file.")
@click.pass_context
def export_classifier(ctx: click.Context, **options: Any) -> None:
    """Write a classifier of `trainer fit` as a workbook: a picture goes in, probabilities come out."""
    try:
        from trainer.commands.serving import export_workbook
        from trainer.serving import workbook  # noqa: F401
    except (ImportError, RuntimeError) as error:  # torchvision does not import beside every build of torch
        raise Error(f"this needs the trainer; pip install 'sgdsheet[trainer]' brings it ({one_line(error)})") from None
    ctx.invoke(export_workbook, **options)


@main.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--lesson", "own_lesson", metavar="FILE.py", type=click.Path(path_type=Path), help="Where a lesson of your own is."
)
@click.option("--once", is_flag=True, help="Look once and end; the exit code is 1 if a block does not agree.")
def live(path: Path, own_lesson: Path | None, once: bool) -> None:
    """Watch a workbook: whenever it is saved, run torch on it, and show what changed and what agrees."""
    from rich.console import Console
    from rich.live import Live

    from sgdsheet import live as watching
    from sgdsheet.lessons import own

    lesson = own.load(own_lesson) if own_lesson else None
    if once:
        try:
            found = watching.look(path, lesson)
        except watching.UnfinishedError as why:
            raise Error(f"{path}: {why}") from None
        click.echo("\n".join(watching.lines(path, found, watching.changes(None, found))))
        sys.exit(0 if found.ok else 1)
    console = Console()
    try:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as shown:

                def show(found: watching.Look, change: watching.Change) -> None:
                    shown.update(watching.panel(path, found, change), refresh=True)

                watching.watch(path, show, lambda line: console.print(line, markup=False), lesson)
        else:
            watching.watch(path, lambda *seen: click.echo("\n".join(watching.lines(path, *seen))), click.echo, lesson)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"no longer watching {path}") from None


@main.command()
@click.argument("name_or_path", metavar="NAME|FILE")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; any port by default.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--lesson", "own_lesson", metavar="FILE.py", type=click.Path(path_type=Path), help="Where a lesson of your own is."
)
def explore(name_or_path: str, port: int, no_browser: bool, own_lesson: Path | None) -> None:
    """Open a workbook in the browser, live, without a spreadsheet program; the file is never changed."""
    import tempfile

    from sgdsheet.explorer.app import serve
    from sgdsheet.explorer.explore import workbook
    from sgdsheet.lessons import own

    lesson = own.load(own_lesson) if own_lesson else None
    with tempfile.TemporaryDirectory(prefix="sgdsheet-") as folder:
        serve(workbook(name_or_path, Path(folder)), lesson=lesson, port=port, browser=not no_browser)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise Error(f"--set: expected INPUT=VALUE, as in lr=0.01, got {text!r}")
    return name.strip(), value.strip()


def _check(lesson: Any, path: Path, arguments: dict[str, Any]) -> str | None:
    from sgdsheet import generation

    problem = generation.check(lesson, path, **arguments)
    click.echo(f"{path}: {problem or 'is what would be written now'}")
    return problem


def _said(written: Any, seconds: float) -> str:
    return (
        f"{written.path}: {written.cells:,} cells, {written.formulas:,} formulas, "
        f"{written.size / 1e6:.2f} MB, {seconds:.1f} s"
    )


def _survey(arguments: dict[str, Any]) -> bool:
    """Prints what compile would make of these arguments; returns whether it could."""
    from sgdsheet.torch_frontend.compiled import survey

    found = survey(**arguments)
    needs = found.estimate
    for op, count in sorted(found.ops.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"{count:>6} {op}")
    for refusal in found.refusals:
        click.echo(f"not supported: {refusal}")
    click.echo(
        f"{sum(found.ops.values()):,} operations of {len(found.ops)} kinds, {len(found.refusals)} of them not supported"
    )
    size = f"{needs.size / 1e6:.2f} MB and {needs.seconds:.1f} s"
    click.echo(f"about {needs.cells:,} cells on {needs.sheets} sheets, about {size}")
    if not needs.fits:
        click.echo(f"too large: {needs.limit:,} cells is the most")
    return needs.fits and not found.refusals


class _Progress:
    """A progress bar on a terminal, with a line for each thing done or the loss of a training."""

    def __init__(self, total: int, what: str = "writing") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        loss = TextColumn("{task.fields[said]}")
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), loss)
        console = Console(stderr=True)
        seen = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
        self._progress = Progress(*columns, console=console, transient=True, disable=not seen)
        self._task = self._progress.add_task(what, total=total, said="")

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def at(self, step: int, loss: float) -> None:
        """Says that so many steps are made, and the last one's loss."""
        self._progress.update(self._task, completed=step, said=f"loss {loss:.6g}")

    def advance(self, line: str) -> None:
        click.echo(line)
        self._progress.advance(self._task)


def _show(report: Any, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{report.path} in {report.engine}"), title_justify="left")
    for column, justify in (("block", "left"), ("shape", "left"), ("largest difference", "right")):
        table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("relative", justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for row in report.rows:
        shape = " x ".join(map(str, row.shape)) or "one number"
        verdict = Text(row.verdict, style="" if row.ok else "bold red")
        table.add_row(Text(row.block), shape, f"{row.max_abs:.2g}", f"{row.max_rel:.2g}", verdict)
    # A narrow pipe must not cut a cell's address short.
    width = None if sys.stdout is not None and sys.stdout.isatty() else 10_000
    Console(width=width).print(table)
    bad = sum(not row.ok for row in report.rows)
    total = len(report.rows)
    said = f"{bad} of {total} blocks do not agree" if bad else f"all {total} blocks agree"
    if report.sets:
        said += f", compared for the inputs in the file and {report.sets} other {'set' if report.sets == 1 else 'sets'}"
    if rewritten := sum(bool(row.rewritten) for row in report.rows):
        said += f"; formulas changed in {rewritten} {'block' if rewritten == 1 else 'blocks'}"
    if not report.known:
        said += "; which formulas were written, this file does not tell"
    click.echo(f"{report.path} in {report.engine}: {said}; {seconds:.1f} s")


def _plain(report: Any) -> dict[str, Any]:
    """A report as JSON holds it; a difference that is not known, or infinite, is null."""
    rows = []
    for row in report.rows:
        fields = dict(vars(row)) | {"shape": list(row.shape)}
        for name in ("max_abs", "max_rel"):
            fields[name] = found if math.isfinite(found := getattr(row, name)) else None
        rows.append(fields)
    head = {"file": str(report.path), "engine": report.engine, "ok": report.ok, "sets": report.sets}
    return head | {"known": report.known, "blocks": rows}
