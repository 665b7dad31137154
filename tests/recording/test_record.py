"""A record that cannot be used is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from sgdsheet import Error, Recorder
from sgdsheet.recording import record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three steps of two weights."""
    params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = torch.optim.AdamW(params)
    with Recorder(optimizer, 2, tmp_path / "record.csv"):
        for _ in range(3):
            for param in params:
                param.grad = torch.rand(2)
            optimizer.step()
    return tmp_path / "record.csv"


def lines(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(path.read_text(encoding="utf-8").splitlines())), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [], "record.csv: is empty"),
        (lambda rows: rows[:1], "record.csv: holds no step"),
        (lambda rows: [*rows[:-1], rows[-1][:60]], r"line 7: expected \d+ cells, got \d+: the record was cut"),
        (lambda rows: rows[:3] + rows[5:], "step 2 is missing: the record was cut or edited"),
        (lambda rows: [*rows, rows[3]], r"group0.param0\[1\]: step 2 stands after step 3"),
        (lambda rows: [rows[0].replace(",grad,", ",slope,"), *rows[1:]], "it has no column 'grad'"),
        (lambda rows: ["a,b", "1,2"], "is no record of sgdsheet: it has no column 'step'"),
        (lambda rows: [rows[0], rows[1].replace("1,", "x,", 1)], "row 2, column 'step': expected a number, got 'x'"),
        (lambda rows: [rows[0], rows[1].replace("1,", "0.5,", 1)], "expected whole numbers from 1 on in the column"),
        (lambda rows: [row.replace("stepped", "hopped") for row in rows], "in 'happened', got 'hopped'"),
    ],
)
def test_a_record_that_was_cut_or_edited(path: Path, change: Callable[[list[str]], list[str]], said: str) -> None:
    assert len(record.read(path)) == 6
    lines(path, change)
    with pytest.raises(Error, match=said) as error:
        record.read(path)
    assert "\n" not in str(error.value)


def test_a_run_that_was_not_recorded(tmp_path: Path, path: Path) -> None:
    assert record.found(tmp_path) == record.found(path) == path
    path.unlink()
    with pytest.raises(Error, match="holds no record: trainer fit PICTURES --out .* --record 12 makes one"):
        record.found(tmp_path)
    with pytest.raises(Error, match="cannot be read: No such file"):
        record.read(path)


@pytest.mark.skipif(find_spec("pyarrow") is None, reason="without pyarrow there is no Parquet")
def test_parquet_holds_the_same(path: Path) -> None:
    other = path.with_suffix(".parquet")
    record.write(record.read(path), other)
    assert record.read(other).equals(record.read(path))
    other.write_bytes(other.read_bytes()[:100])
    with pytest.raises(Error, match="is no Parquet file that can be read"):
        record.read(other)


@pytest.mark.skipif(find_spec("pyarrow") is not None, reason="pyarrow is there")
def test_parquet_without_pyarrow(path: Path) -> None:
    with pytest.raises(Error, match="Parquet needs pyarrow: pip install pyarrow, or choose a name that ends with .csv"):
        record.read(path.with_suffix(".parquet"))
