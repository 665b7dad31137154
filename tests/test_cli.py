"""The command line as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click.testing
import pytest

import sgdsheet
from sgdsheet import book
from sgdsheet.cli import main
from sgdsheet.engines import available
from sgdsheet.lessons import catalogue

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]
Place = Callable[..., tuple[str, str]]


def run(*arguments: str | Path) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments: str | Path) -> str:
    """The one line that the command prints to stderr before it ends with 2."""
    result = run(*arguments)
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def process(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = shutil.which("sgdsheet", path=str(Path(sys.executable).parent))
    command = [script] if script else [sys.executable, "-c", "from sgdsheet.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


def test_list_has_a_line_each() -> None:
    result = run("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(catalogue())
    assert all(line.split(maxsplit=1)[1] for line in lines)


@pytest.mark.parametrize("argument", ["--help", "list", "generate --help", "compile --help", "--version"])
def test_torch_is_not_imported_for(argument: str) -> None:
    code = (
        "import sys; from sgdsheet.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: sys.stderr.write(' '.join(set(sys.modules) & {'torch', 'pandas', 'ironcalc'}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argument.split()], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr == ""


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, sgdsheet; print(*{'torch', 'pandas', 'numpy', 'openpyxl', 'click', 'ironcalc'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_package_has_what_it_promises() -> None:
    assert set(sgdsheet.__all__) >= {"compile", "generate", "read", "verify", "Report"}
    for name in sgdsheet.__all__:
        assert getattr(sgdsheet, name).__doc__
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(sgdsheet, "nothing")  # noqa: B009 - a type checker would refuse it


@pytest.fixture
def points(tmp_path: Path) -> tuple[str, Path]:
    """The option that makes linear_sgd a small workbook."""
    path = tmp_path / "points.csv"
    path.write_text("x,y\n1,2\n3,4\n", encoding="utf-8")
    return "--data", path


def test_generate_writes_the_named_workbooks(tmp_path: Path, points: tuple[str, Path]) -> None:
    out = tmp_path / "new" / "folder"
    result = run("generate", "linear_sgd", *points, "--out", out)
    assert result.exit_code == 0
    assert [path.name for path in out.iterdir()] == ["linear_sgd.xlsx"]
    written = sgdsheet.generate("linear_sgd", tmp_path / "again.xlsx", data=points[1])
    assert (out / "linear_sgd.xlsx").read_bytes() == written.path.read_bytes()
    (line,) = result.stdout.splitlines()
    assert re.search(r"linear_sgd\.xlsx: [\d,]+ cells, [\d,]+ formulas, [\d.]+ MB, [\d.]+ s$", line)


def test_generate_with_inputs_and_data(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x,y\n1,2\n3,4\n", encoding="utf-8")
    out = tmp_path / "out"
    result = run(
        "generate", "linear_sgd", "--out", out, "--set", "lr=0.01", "--set", "batch_size = 2", "--data", points
    )
    assert result.exit_code == 0
    contents = book.read(out / "linear_sgd.xlsx").contents
    assert contents["lr"].item() == 0.01
    assert contents["batch_size"].item() == 2
    assert contents["data_y"].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("lineer_sgd", "'linear_sgd'"),
        ("zzz", "optimizers"),
        ("linear_sgd --set batchsize=3", "'batch_size'"),
        ("linear_sgd --set lr=nan", "nan"),
        ("linear_sgd --set lr=inf", "inf"),
        ("linear_sgd --set lr=abc", "'abc'"),
        ("linear_sgd --set lr=", "''"),
        ("linear_sgd --set lr", "INPUT=VALUE"),
        ("linear_sgd --set =3", "INPUT=VALUE"),
        ("linear_sgd --set batch_size=0", "at least 1"),
        ("linear_sgd --set batch_size=2.5", "whole number"),
        ("optimizers --set schedule=linear", "cosine"),
        ("optimizers --set lr=0.1", "'lr'"),
        ("linear_sgd --data missing.csv", "missing.csv"),
    ],
)
def test_generate_refuses(tmp_path: Path, arguments: str, said: str) -> None:
    line = refused("generate", *arguments.split(), "--out", tmp_path / "out")
    assert said in line
    assert len(line) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x\n1\n2\n", "x, y"),
        ("x,y\n1,2\n3,\n", "row 3, column 'y'"),
        ("x,y\n1,2\nthree,4\n", "row 3, column 'x'"),
        ("x,y\n", "at least 2 rows"),
        ("", "empty"),
    ],
)
def test_generate_refuses_a_csv(tmp_path: Path, content: str, said: str) -> None:
    points = tmp_path / "points.csv"
    points.write_text(content, encoding="utf-8")
    line = refused("generate", "linear_sgd", "--out", tmp_path / "out", "--data", points)
    assert str(points) in line
    assert said in line
    assert not (tmp_path / "out").exists()


def test_all_are_built_before_one_is_written(tmp_path: Path) -> None:
    grid = tmp_path / "grid.csv"
    grid.write_text("0,0.5,1,0,0,0,0,0\n" * 8, encoding="utf-8")  # too small for two convolutions
    given = ["--set", "padding=0", "--set", "stride=3", "--data", grid, "--out", tmp_path / "out"]
    assert "convolution: " in refused("generate", "conv_backward", "convolution", *given)
    assert [*tmp_path.iterdir()] == [grid]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("convolution --image a.png --data a.csv", "got both"),
        ("convolution --image a.png --size 0", "at least 1, got 0"),
        ("convolution --set padding=1e154", "at most 10"),
    ],
)
def test_generate_refuses_what_it_would_ignore(tmp_path: Path, arguments: str, said: str) -> None:
    assert said in refused("generate", *arguments.split(), "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_generate_into_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    done = process("generate", "linear_sgd", "--out", blocked)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {blocked / 'linear_sgd.xlsx'}: cannot be written")
    assert blocked.read_text(encoding="utf-8") == "in the way"


def test_check_writes_nothing_and_tells(tmp_path: Path, points: tuple[str, Path]) -> None:
    command = ["generate", "linear_sgd", *points, "--out", tmp_path / "out"]
    assert run(*command).exit_code == 0
    path = tmp_path / "out" / "linear_sgd.xlsx"
    kept = path.read_bytes()
    assert run(*command, "--check").exit_code == 0
    result = run(*command, "--check", "--set", "lr=0.5")
    assert result.exit_code == 1
    assert "differs" in result.stdout
    assert path.read_bytes() == kept
    path.write_bytes(b"junk")
    assert str(path) in refused(*command, "--check")
    path.unlink()
    result = run(*command, "--check")
    assert result.exit_code == 1
    assert "missing" in result.stdout
    assert list(path.parent.iterdir()) == []


def test_verify_prints_a_row_a_block(workbook: Workbook) -> None:
    result = run("verify", workbook("small"))
    assert result.exit_code == 0
    for name in book.read(workbook("small")).blocks:
        assert re.search(rf"\b{name}\b", result.stdout)
    assert re.search(r"blocks agree, compared for the inputs in the file and 2 other sets; [\d.]+ s\n$", result.stdout)


def test_verify_counts_the_formulas_that_changed(workbook: Workbook, edited: Edit, place_of: Place) -> None:
    sheet, address = place_of("small", "y_hat", 5)
    formula = book.read(workbook("small")).contents["y_hat"][5]
    result = run("verify", "--sets", "1", edited("small", {("y_hat", 5): f"=0+({formula[1:]})"}))
    assert result.exit_code == 0
    assert f"formula changed at {sheet}!{address}; values agree (also for" in result.stdout
    assert "; formulas changed in 1 block; " in result.stdout


def test_verify_names_the_cell_even_in_a_narrow_pipe(edited: Edit, place_of: Place) -> None:
    path = edited("small", {("grad_intercept", 5): 3.25})
    done = process("verify", path, COLUMNS="80")
    assert done.returncode == 1
    address = "!".join(place_of("small", "grad_intercept", 5))
    assert re.search(rf"{re.escape(address)}\b", done.stdout)
    assert "do not agree" in done.stdout


def test_verify_several_files(workbook: Workbook, edited: Edit, tmp_path: Path) -> None:
    good, wrong = workbook("small"), edited("small", {("y_hat", 5): 3.25})
    assert run("verify", good, good).exit_code == 0
    assert run("verify", good, wrong).exit_code == 1
    assert run("verify", wrong, good).exit_code == 1
    missing = tmp_path / "missing.xlsx"
    assert str(missing) in refused("verify", good, missing)


@pytest.mark.parametrize("text", ["[/bold]", "[red]a[/red]", "[b]"])
def test_verify_shows_text_as_it_stands(edited: Edit, text: str) -> None:
    result = run("verify", edited("small", {("y_hat", 5): text}))
    assert result.exit_code == 1
    assert text in re.sub(r"\s", "", result.stdout)


def test_verify_shows_a_path_as_it_stands(workbook: Workbook, tmp_path: Path) -> None:
    folder = tmp_path / "copy [a"
    folder.mkdir()
    path = Path(shutil.copy(workbook("small"), folder / "b].xlsx"))
    assert run("verify", path).exit_code == 0


def test_verify_whatever_columns_says(workbook: Workbook) -> None:
    assert process("verify", workbook("small"), COLUMNS="").returncode == 0


def test_verify_as_json(workbook: Workbook, edited: Edit) -> None:
    wrong = edited("small", {("y_hat", 5): 3.25})
    result = run("verify", "--json", workbook("small"), wrong)
    assert result.exit_code == 1
    good, bad = json.loads(result.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert (good["ok"], bad["ok"]) == (True, False)
    assert bad["file"] == str(wrong)
    assert good["engine"] == "ironcalc"
    report = sgdsheet.verify(wrong)
    rows = {row["block"]: row for row in bad["blocks"]}
    assert list(rows) == [row.block for row in report.rows]
    for row in report.rows:
        found = rows[row.block]
        assert (found["ok"], found["verdict"], tuple(found["shape"])) == (row.ok, row.verdict, row.shape)
        # torch adds in an order that may change from run to run
        assert (None if row.max_abs != row.max_abs else pytest.approx(row.max_abs, abs=1e-12)) == found["max_abs"]
    assert (good["sets"], bad["sets"]) == (2, 0)


def test_verify_with_every_engine_there_is(workbook: Workbook) -> None:
    result = run("verify", "--engine", "all", workbook("small"))
    assert result.exit_code == 0
    for name in available():
        assert f"in {name}: all" in result.stdout


def test_verify_with_an_engine_there_is_not(workbook: Workbook) -> None:
    assert "'libreoffice'" in refused("verify", workbook("small"), "--engine", "libreofice")
    if sys.platform.startswith("linux"):
        assert "ironcalc" in refused("verify", workbook("small"), "--engine", "excel")


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99)])
def test_verify_of_no_workbook(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.xlsx"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refused("verify", path)


def test_verify_of_an_input_that_makes_no_sense_in_a_process(edited: Edit, place_of: Place) -> None:
    done = process("verify", edited("small", {"lr": None}))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "!".join(place_of("small", "lr")) in line


@pytest.mark.parametrize(
    ("argument", "said"),
    [("lineer_sgd", "'linear_sgd'"), ("missing.xlsx", "no such file"), ("folder/linear_sgd", "no such file")],
)
def test_open_refuses(argument: str, said: str) -> None:
    assert said in refused("open", argument)


def test_open_generates_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workbook: Workbook) -> None:
    opened: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("click.launch", lambda path: opened.append(path) or 0)
    assert run("open", "linear_sgd").exit_code == 0
    made = Path("workbooks", "linear_sgd.xlsx")
    assert made.read_bytes() == workbook("linear_sgd").read_bytes()
    assert run("open", workbook("small")).exit_code == 0
    assert opened == [str(made), str(workbook("small"))]


def test_open_without_a_program(monkeypatch: pytest.MonkeyPatch, workbook: Workbook) -> None:
    monkeypatch.setattr("click.launch", lambda path: 1)
    assert "no program" in refused("open", workbook("small"))


@pytest.mark.parametrize("arguments", ["verify", "nonsense", "generate --nonsense"])
def test_wrong_use_ends_with_2(arguments: str) -> None:
    assert run(*arguments.split()).exit_code == 2


MODEL = """
import torch
from beside import STEPS

def make():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.ones(4, 2), torch.zeros(4, 1)
    return dict(model=model, inputs=x, targets=y, loss=torch.nn.functional.mse_loss, optimizer=optimizer, steps=STEPS)

def unsupported():
    class Net(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x)[1]
    return dict(model=torch.nn.Sequential(Net()), inputs=torch.ones(2, 2))

def large():
    return make() | dict(steps=20_000)

def misspelt():
    return make() | dict(optimiser=None)

def without():
    return dict(model=torch.nn.Tanh())

def wrong():
    return make() | dict(inputs="x")

def typed():
    return make() | dict(steps="5")

def other():
    return [1, 2]

def shapes():
    return make() | dict(inputs=torch.ones(4, 5))

def fails():
    return torch.zeros(3)[7]

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def my_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's file with functions for compile, and another one beside it; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "beside.py").write_text("STEPS = 2\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("def make(:\n", encoding="utf-8")
    (tmp_path / "my_model.py").write_text(MODEL, encoding="utf-8")
    yield tmp_path / "my_model.py"
    sys.modules.pop("beside", None)


def test_compile_writes_a_workbook_that_verifies(my_model: Path) -> None:
    result = run("compile", f"{my_model}:make", "-o", "folder/made.xlsx")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert re.fullmatch(r"folder.made\.xlsx: [\d,]+ cells, [\d,]+ formulas, [\d.]+ MB, [\d.]+ s", line)
    made = sgdsheet.read("folder/made.xlsx")
    assert "2/param/0.weight" in made
    assert "3/param/0.weight" not in made
    verified = run("verify", "folder/made.xlsx", "--engine", "all", "--json")
    assert verified.exit_code == 0
    assert [each["engine"] for each in json.loads(verified.stdout)] == available()
    assert all(each["ok"] and each["blocks"] for each in json.loads(verified.stdout))


def test_compile_steps_and_the_default_name(my_model: Path) -> None:
    assert run("compile", "my_model.py:make", "--steps", "3").exit_code == 0
    made = sgdsheet.read("my_model.xlsx")
    assert "3/param/0.weight" in made
    assert "4/param/0.weight" not in made


def test_compile_dry_run_writes_nothing(my_model: Path) -> None:
    before = sorted(my_model.parent.glob("*.xlsx"))
    result = run("compile", "my_model.py:make", "--dry-run", "--steps", "4")
    assert result.exit_code == 0
    assert sorted(my_model.parent.glob("*.xlsx")) == before
    lines = result.stdout.splitlines()
    assert "     1 tanh.default" in lines
    assert re.fullmatch(r"\d+ operations of \d+ kinds, 0 of them not supported", lines[-2])
    said = re.fullmatch(r"about ([\d,]+) cells on (\d+) sheets, about [\d.]+ MB and [\d.]+ s", lines[-1])
    assert said
    run("compile", "my_model.py:make", "--steps", "4", "-o", "truth.xlsx")
    written = re.search(r": ([\d,]+) cells", run("compile", "my_model.py:make", "--steps", "4").stdout)
    assert written
    truth = int(written[1].replace(",", ""))
    assert 0.8 * truth < int(said[1].replace(",", "")) < 1.25 * truth


def test_compile_dry_run_says_what_stands_in_the_way(my_model: Path) -> None:
    result = run("compile", "my_model.py:unsupported", "--dry-run")
    assert result.exit_code == 1
    assert re.search(r"not supported: my_model.py, line \d+, in module '0': .*_linalg_svd", result.stdout)
    result = run("compile", "my_model.py:large", "--dry-run")
    assert result.exit_code == 1
    assert "too large: 3,000,000 cells is the most" in result.stdout


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("my_model.py", "my_model.py:make"),
        ("my_model:make", "my_model.py:make"),
        ("missing.py:make", "missing.py: there is no such file"),
        ("my_model.py:mke", "'mke' in it; did you mean 'make'?"),
        ("my_model.py:other", "got list"),
        ("my_model.py:misspelt", "'optimiser'; did you mean 'optimizer'?"),
        ("my_model.py:without", "no 'inputs'"),
        ("my_model.py:wrong", "inputs: expected a tensor"),
        ("my_model.py:typed", "steps: expected a whole number"),
        ("my_model.py:fails", "IndexError in my_model.py, line 39: index 7"),
        ("my_model.py:leaves", "SystemExit in my_model.py, line 42: 3"),
        ("my_model.py:unsupported", "_linalg_svd"),
        ("my_model.py:large", "3,000,000"),
        ("broken.py:make", "SyntaxError"),
    ],
)
def test_compile_refuses(my_model: Path, target: str, said: str) -> None:
    assert said in refused("compile", target, "-o", "folder/made.xlsx")
    assert not Path("folder").exists()


def test_compile_in_a_process(my_model: Path) -> None:
    done = process("compile", "my_model.py:shapes")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: in module '0': the model cannot be traced: ")
