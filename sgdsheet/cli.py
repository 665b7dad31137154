"""The command line: `sgdsheet list`, `generate`, `compile`, `verify`, `grade`, `open`."""

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
from sgdsheet.errors import Error

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
    with _Progress(len(chosen)) as advance:
        for path, lesson in chosen.items():
            started = time.perf_counter()
            written = generation.generate(lesson, path, **source, **inputs, **left)
            advance(_said(written, time.perf_counter() - started))


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
    """A progress bar on a terminal, and a line for each thing done."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("writing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        seen = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
        self._progress = Progress(*columns, console=console, transient=True, disable=not seen)
        self._task = self._progress.add_task("writing", total=total)

    def __enter__(self) -> Any:
        self._progress.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _advance(self, line: str) -> None:
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
