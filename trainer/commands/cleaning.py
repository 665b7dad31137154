"""Looking at the pictures of a training from the command line: `trainer clean`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=PATH)
@click.option("--data", type=PATH, help="The folder with its pictures, if they were moved.")
@click.option("--folds", default=3, show_default=True, help="Parts of the training pictures; 0 for none.")
@click.option("--undo", is_flag=True, help="Bring back all pictures that were moved, and show no page.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@click.option("--port", default=0, help="Where the page is served.  [default: a free one]")
def clean(run: Path, data: Path | None, folds: int, undo: bool, browser: bool, port: int) -> None:
    """Shows the pictures of RUN that are most likely wrong, to keep, relabel or delete them.

    RUN is the folder that `trainer fit --out` has written. Each training picture is judged by a model that has not been
    trained on it: they are dealt into --folds parts, and each is judged by what was trained on the others. Nothing is
    touched until the page is told to apply it. What is deleted goes to a folder beside the pictures, and cleaned.csv in
    RUN says of each picture what was done; `trainer fit PICTURES --csv RUN/cleaned.csv` trains on it.
    """
    from trainer.cleaning import begin, desk
    from trainer.cleaning import run as runs
    from trainer.data.labels import counted
    from trainer.show.progress import say

    if undo:
        root = runs.root_of(run, data)
        with begin.alone(run):
            count = desk.undo(run, root)
        say(f"{root}: {counted(count, 'picture')} brought back")
        return
    with begin.alone(run):
        opened = runs.opened(run, data)
        server = begin.server(opened, run, folds=folds, port=port)
        with suppress(KeyboardInterrupt):
            say(f"{server.url}\nnothing is touched until the page is told to apply it; Ctrl-C ends, and choices stay")
            server.run(browser)
        say("ended")
