"""Files are whole or not there, whoever is killed; and how a command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sgdsheet.errors import Error, one_line
from sgdsheet.files import put, replacing

posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and links of POSIX")

COMMAND = """
import signal, sys, time
from pathlib import Path
import click
from sgdsheet.commands import Commands
from sgdsheet.files import replacing

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it

@click.group(cls=Commands)
def main(): pass

@main.command()
@click.argument("path", type=click.Path(path_type=Path))
def write(path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        print("begun", flush=True)
        time.sleep(60)

@main.command()
@click.argument("text")
def say(text):
    click.echo(text)

main()
"""


def start(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"} | options
    return subprocess.Popen(command, **pipes)  # type: ignore[call-overload]


def _raise(error: Exception, _: object) -> None:
    raise error


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.csv"
    put(path, "old")
    for error, raised in ((KeyError(), KeyError), (OSError(28, ""), Error)):
        with pytest.raises(raised), replacing(path) as temporary:
            _raise(error, temporary.write_text("half"))
    assert (names(path.parent), path.read_text()) == (["file.csv"], "old")


def test_names_may_be_long_and_texts_hold_any_name(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".csv")
    put(path, "\udce4 é")
    assert path.read_bytes() == b"\\udce4 \xc3\xa9"


@posix
def test_a_link_stays_one_and_no_pipe_becomes_a_file(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "there" / "file.csv")
    for content in ("one", "two"):
        put(tmp_path / "link.csv", content)
        assert (tmp_path / "link.csv").is_symlink()
        assert (tmp_path / "there" / "file.csv").read_text() == content
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", "there"):
        with pytest.raises(Error, match=f"{name}: cannot be written: it is no file"):
            put(tmp_path / name, "text")


@posix
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 143, ""),
        (signal.SIGINT, 130, "interrupted; no file is left half-written\n"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_what_a_killed_writer_leaves_is_removed(tmp_path: Path, number: int, code: int, said: str) -> None:
    path = tmp_path / "file.csv"
    with replacing(path) as mine, start("write", path) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "begun\n"
        assert len(names(tmp_path)) == 2
        process.send_signal(number)
        assert process.wait(30) == code
        assert process.stderr.read() == said
        assert len(names(tmp_path)) == (2 if number == signal.SIGKILL else 1)
        put(path, "another's")  # which takes away what nobody writes to any more
        assert names(tmp_path) == sorted([mine.name, "file.csv"])
        mine.write_text("mine")
    assert (names(tmp_path), path.read_text()) == (["file.csv"], "mine")


@posix
def test_output_that_cannot_take_it(tmp_path: Path) -> None:
    with start("say", "\N{BEAR FACE}", env={**os.environ, "PYTHONIOENCODING": "latin-1"}) as process:
        assert process.communicate() == ("\\U0001f43b\n", "")
    with start("say", os.fsdecode(b"\xe4"), env={**os.environ, "LC_ALL": "C"}) as process:
        assert process.communicate() == ("\\udce4\n", "")
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full, start("say", "text", stdout=full) as process:
            assert process.communicate()[1] == "error: the output cannot be written: No space left on device\n"
            assert process.returncode == 2
    read, write = os.pipe()
    os.close(read)
    with start("say", "text", stdout=write) as process:
        os.close(write)
        assert process.communicate()[1] == ""
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", COMMAND, "say", "text"]
    assert subprocess.run(shell, capture_output=True, text=True, check=True).stderr == ""


class Silent(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError


def test_one_line() -> None:
    assert one_line("a\n \x1b[1mb\x1b[0m\tc") == "a b c"
    assert one_line("n" * 400) == "n" * 299 + "…"
    assert (one_line(KeyError()), one_line(Silent()), one_line("")) == ("KeyError", "Silent", "")
