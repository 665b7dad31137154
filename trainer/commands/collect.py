"""From nothing to a folder of pictures: `trainer download`, `trainer check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sgdsheet.errors import Error

PATH = click.Path(path_type=Path)


def _script(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(Path(__file__).parents[1].joinpath("collect/search.js").read_text(encoding="utf-8"), nl=False)
        ctx.exit()


SCRIPT_HELP = "Print what, pasted into a browser's console, saves the URLs of an image search as a text file."


@click.command()
@click.argument("urls", type=PATH)
@click.argument("pictures", type=PATH)
@click.option("--limit", type=int, help="No more pictures than that of a class.")
@click.option("--workers", default=16, show_default=True, help="URLs at once; 0: one by one, with all of each error.")
@click.option("--seconds", default=30.0, show_default=True, help="The longest that a try may take.")
@click.option("--megabytes", default=20.0, show_default=True, help="The largest that a file may be.")
@click.option("--retries", default=3, show_default=True, help="Tries more, where the error may pass.")
@click.option("--allow-private", is_flag=True, help="Ask also machines that only this one or its network can reach.")
@click.option("--script", is_flag=True, is_eager=True, expose_value=False, callback=_script, help=SCRIPT_HELP)
def download(urls: Path, pictures: Path, **options: Any) -> None:
    """Downloads what URLS lists to PICTURES, a folder for each class.

    URLS is a folder with a text file for each class, as teddy.txt, one URL a line; or a CSV with columns url and label.
    Run again, it goes on.
    """
    from trainer.collect.download import TABLE, download, summary
    from trainer.show.progress import say

    say(summary(download(urls, pictures, **options)))
    say(f"{pictures / TABLE}: what became of each URL")


@click.command()
@click.argument("pictures", type=PATH)
@click.option("--delete", is_flag=True, help="Move what should not be there to a trash folder beside PICTURES.")
@click.option("--undo", is_flag=True, help="Bring back all that was moved, by this command or by clean.")
@click.option("--tiny", default=32, show_default=True, help="Pictures with a side of fewer pixels are tiny.")
@click.option("--csv", type=PATH, help="A file for all that was found, a row each.")
def check(pictures: Path, delete: bool, undo: bool, tiny: int, csv: Path | None) -> None:
    """Looks for pictures that are unreadable, tiny, or there twice, in the folder PICTURES and all below it."""
    from trainer.cleaning import trash
    from trainer.cleaning.problems import check
    from trainer.data.labels import counted
    from trainer.show.progress import say

    if undo:
        if delete:
            raise Error("--undo: expected it without --delete")
        there = trash.moved(pictures)
        back = trash.undo(pictures)
        missing = f"; {there - back:,} more are no longer in {trash.trash_of(pictures)}" if there > back else ""
        say(f"{pictures}: {counted(back, 'file')} brought back{missing}")
        return
    problems = check(pictures, delete=delete, tiny=tiny)
    say(problems)
    if csv is not None:
        problems.save_csv(csv)
    if delete:
        say(f"\n{counted(len(problems.deletes), 'file')} moved to {trash.trash_of(pictures)}; --undo brings them back")
    elif problems.deletes:
        say("\n--delete moves what is to be deleted to a trash folder, from which --undo brings it back")
