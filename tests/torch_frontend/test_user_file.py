"""A user's own file may do anything: each time one clear line, exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sgdsheet.cli import main
from sgdsheet.commands import _end
from sgdsheet.errors import Ended
from sgdsheet.user_code import explained

FILE = """
import sys, torch
from torch import nn

X = torch.ones(2, 2)


class Own(BaseException):
    pass


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Net(nn.Module):
    def __init__(self, function, name="inner"):
        super().__init__()
        self.function, self.name = function, name
        self.add_module(name, nn.Linear(2, 2))

    def forward(self, x):
        return self.function(getattr(self, self.name)(x))


class Copied(nn.Module):
    def __deepcopy__(self, memo):
        sys.exit(3)


class Scheduler:
    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        sys.exit(3)


def raises(error):
    def function(*_):
        raise error

    return function


def net(function=torch.exp, name="inner", **given):
    return {"model": Net(function, name), "inputs": X} | given


def scheduled():
    given = net(targets=X, loss=nn.functional.mse_loss, steps=2)
    optimizer = torch.optim.SGD(given["model"].parameters())
    return given | {"optimizer": optimizer, "scheduler": Scheduler(optimizer)}
"""
MAKE = "\n\ndef make():\n    return "
CANNOT = "a cell cannot hold the character"
BAD: dict[str, tuple[str, str]] = {
    "forward exits": ("net(lambda x: sys.exit(4))", "m.py:make raises SystemExit in m.py, line 58: 4"),
    "forward exits in order": ("net(lambda x: sys.exit())", "m.py:make raises SystemExit in m.py, line 58"),
    "forward ends a generator": ("net(raises(GeneratorExit()))", "m.py:make raises GeneratorExit in m.py, line 42"),
    "forward raises its own": ("net(raises(Own('a\\nb')))", "m.py:make raises Own in m.py, line 42: a b"),
    "an error without a text": ("net(raises(Hostile()))", "m.py, line 42: the model cannot be traced: Hostile"),
    "the loss exits": (
        "net(targets=X, loss=lambda a, b: sys.exit(4))",
        "m.py:make raises SystemExit in m.py, line 58: 4",
    ),
    "the copy exits": ("{'model': Copied(), 'inputs': X}", "m.py:make raises SystemExit in m.py, line 29: 3"),
    "the scheduler exits": ("scheduled()", "m.py:make raises SystemExit in m.py, line 37: 3"),
    "the function exits": ("sys.exit(4)", "m.py: make() raises SystemExit in m.py, line 58: 4"),
    "the function raises its own": ("raises(Own('x'))()", "m.py: make() raises Own in m.py, line 42: x"),
    "the function's error has no text": ("raises(Hostile())()", "m.py: make() raises Hostile in m.py, line 42"),
    "no elements": ("net(lambda x: x[:0])", "m.py, line 58: the model's output has no elements: its shape is (0, 2)"),
    "no elements of one": (
        "net(lambda x: (x, x[:, :0]))",
        "m.py, line 58: the model's output/1 has no elements: its shape is (2, 0)",
    ),
    "too many steps": ("net(steps=10**9)", "steps: expected a whole number from 1 to 100,000, got 1000000000"),
    "a title with NUL": (r"net(title='a\0b')", rf"title: {CANNOT} '\x00', which 'a\x00b' has; leave it out"),
    "half a character": (r"net(title='\ud800b')", rf"title: {CANNOT} '\ud800', which '\ud800b' has; leave it out"),
    "a title that is no text": ("net(title=7)", "title: expected a text, got 7"),
    "a title too long": (
        "net(title='x' * 40_000)",
        f"title: a cell holds 30,000 characters, and {'x' * 40!r}… has 40,000",
    ),
    "a module with NUL": (
        r"net(name='a\0b')",
        rf"a name within the model: {CANNOT} '\x00', which 'a\x00b' has; leave it out",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    returned, message = BAD[name]
    Path("m.py").write_text(FILE + MAKE + returned + "\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["compile", "m.py:make"])
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")
    assert not Path("m.xlsx").exists()


def test_ctrl_c_and_signals_are_no_errors_of_the_file() -> None:
    with pytest.raises(KeyboardInterrupt), explained("m.py"):
        raise KeyboardInterrupt
    with pytest.raises(Ended, match="143"), explained("m.py"):
        _end(15, None)


def test_elements_that_are_not_there_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    returned = "net(lambda x: torch.cat([x[:0] * 2, x]).exp())"
    Path("m.py").write_text(FILE + MAKE + returned + "\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["compile", "m.py:make"])
    assert (result.exit_code, result.stderr) == (0, "")
