from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.show import progress
from trainer.show.progress import Epochs, counting, say

ROOT = Path(__file__).parents[3]
ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "valid_loss": 0.4,
    "error_rate": 0.1,
    "pictures_per_second": 90.0,
    "seconds": 2.0,
}


def stream(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n")


def written(out: io.TextIOWrapper) -> bytes:
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("cp1252", "Bären/\U0001f43b.jpg", b"B\xe4ren/\\U0001f43b.jpg\n"),
        ("ascii", "Bär", b"B\\xe4r\n"),
        ("utf-8", "Bär \U0001f43b", "Bär \U0001f43b\n".encode()),
        ("utf-8", "an old zip: \udce4.jpg", b"an old zip: \\udce4.jpg\n"),
        ("cp437", "דוב ‏", b"\\u05d3\\u05d5\\u05d1 \\u200f\n"),
        ("utf-8", "two\nlines", b"two\nlines\n"),
    ],
)
def test_what_an_output_cannot_show_is_spelled_out(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, shown: bytes
) -> None:
    out = stream(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    say(text)
    assert written(out) == shown


def test_outputs_without_an_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    say(Path("ünï"))
    assert out.getvalue() == "ünï\n"
    monkeypatch.setattr(sys, "stdout", None)  # as under pythonw
    say("nobody reads this")


def test_a_file_in_cp1252_and_a_bar_too() -> None:
    code = (
        "from trainer.show.progress import counting, say\n"
        "say('\U0001f43b')\n"
        "with counting('\U0001f43b') as counted:\n    counted(1, 2)\n"
    )
    for more in ({}, {"TTY_COMPATIBLE": "1", "TERM": "xterm"}):
        made = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            env={"PYTHONIOENCODING": "cp1252", "PATH": "", "COLUMNS": "80"} | more,
        )
        assert made.returncode == 0, made.stderr
        assert made.stdout.count(b"\\U0001f43b") >= 1


def test_a_line_an_epoch_where_nobody_sees_bars_move(capsys: pytest.CaptureFixture[str]) -> None:
    with Epochs(1, 4, 8, 0) as shown:
        shown.step(0, 0, 0.5)
        shown.epoch(ROW)
        shown.epoch(ROW | {"frozen": True})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch   1  training loss 0.5000")
    assert second == f"{first}  the head alone"
    with Epochs(1, 4, 8, 0, shown=False) as shown, counting("x", shown=False) as counted:
        counted(1, 2)
        shown.epoch(ROW)
    assert capsys.readouterr().out == ""


def test_lines_where_the_terminal_cannot_show_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    monkeypatch.setattr("rich.get_console", lambda: Console(file=stream("cp1252"), force_terminal=True, width=90))
    assert progress._bars() is None
    with Epochs(1, 4, 8, 0) as shown:
        shown.step(0, 0, 0.5)
        shown.epoch(ROW)
    with counting("\U0001f43b") as counted:
        counted(1, 2)
    assert "epoch   1  training loss 0.5000" in capsys.readouterr().out
