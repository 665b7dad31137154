"""The command line, in the order of a classifier's life."""

from __future__ import annotations

import click

from sgdsheet.commands import Commands
from trainer.commands.cleaning import clean
from trainer.commands.collect import check, download
from trainer.commands.fit import demo, find_lr, fit
from trainer.commands.serving import export, export_workbook, predict, serve


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Trains an image classifier on a folder of pictures, a folder for each class."""


for command in (download, check, fit, find_lr, demo, clean, export, export_workbook, predict, serve):
    main.add_command(command)
