"""What the command lines of sgdsheet and of the trainer have in common: how a command ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from typing import Any

import click

from sgdsheet.errors import Ended, Error, one_line


class Commands(click.Group):
    """A group whose commands end with one clear line and exit code 2 when what they were given cannot be used.

    Ctrl-C ends one with 130 and a line (the interrupt's own text, if it has one). What the terminal cannot show is
    spelled out. A signal to end lets a command remove what is half-written first.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # as they were written, not by the alphabet

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # None where it is closed; another thing in tests
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        _end_in_order()
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except Error as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt as stop:
            click.echo(str(stop) or "interrupted; no file is left half-written", err=True)
            ctx.exit(130)
        except OSError as error:
            _forget_output()
            if error.errno != errno.EPIPE:  # else whoever read the output has seen enough
                where = f"{error.filename}: " if error.filename else "the output cannot be written: "
                click.echo(f"error: {where}{one_line(error.strerror or error)}", err=True)
            ctx.exit(2)
        return result


def _end_in_order() -> None:
    """Makes the signals that end a program raise `Ended`, unless something else is to happen at them.

    Of several processes that train together each is ended at once: it may wait for another one in vain.
    """
    if threading.current_thread() is not threading.main_thread() or "RANK" in os.environ:
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _: Any) -> None:
    raise Ended(128 + number)


def _forget_output() -> None:
    """What is still to be printed goes nowhere: Python would try once more at its end, and complain."""
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # it is no file, or closed
        pass
