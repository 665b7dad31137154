"""`python -m trainer`, which needs no installation."""

from trainer.cli import main

main(prog_name="trainer")
