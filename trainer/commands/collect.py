"""From nothing to a folder of pictures: `trainer download`, `trainer check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("urls", type=PATH)
@click.argument("pictures", type=PATH)
@click.option("--limit", type=int, help="No more pictures than that of a class.")
@click.option("--workers", default=16, show_default=True, help="URLs at once; 0: one by one, with all of each error.")
@click.option("--seconds", default=30.0, show_default=True, help="The longest that a try may take.")
@click.option("--megabytes", default=20.0, show_default=True, help="The largest that a file may be.")
@click.option("--retries", default=3, show_default=True, help="Tries more, where the error may pass.")
@click.option("--allow-private", is_flag=True, help="Ask also machines that only this one or its network can reach.")
def download(urls: Path, pictures: Path, **options: Any) -> None:
    """Downloads what URLS lists to PICTURES, a folder for each class.

    URLS is a folder with a text file for each class, as teddy.txt, one URL a line; or a CSV with columns url and label.
    Run again, it goes on.
    """
    from trainer.collect.download import TABLE, download, summary
    from trainer.show.progress import say

    say(summary(download(urls, pictures, **options)))
    say(f"{pictures / TABLE}: what became of each URL")
