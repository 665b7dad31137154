"""The lessons' own numbers never change, and a CSV's are read or refused with the place of what is wrong."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from sgdsheet.errors import Error
from sgdsheet.lessons.data import Source, check_columns, noisy, noisy_line, read_csv, read_grid

COLUMNS = ["data_x", "data_y"]
POINTS = {"data_x": [1.0, 3.0], "data_y": [2.0, 4.0]}


def read(folder: Path, content: str | bytes, name: str = "points.csv") -> dict[str, list[float]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path, COLUMNS)


def refused(folder: Path, content: str | bytes, name: str = "points.csv") -> str:
    with pytest.raises(Error) as caught:
        read(folder, content, name)
    message = str(caught.value)
    assert message.isprintable(), "one line, and no control characters"
    assert str(folder / name) in message
    return message


def test_noisy_line_never_changes() -> None:
    points = noisy_line(seed=7, count=4, x=(0, 2), slope=2, intercept=3, noise=(-0.5, 0.5))
    assert points == {"data_x": [0.648, 0.302, 1.302, 0.145], "data_y": [4.332, 3.47, 5.162, 3.297]}


def test_noisy_line_is_near_the_line() -> None:
    points = noisy_line(seed=1, count=200, x=(-1, 1), slope=3, intercept=2, noise=(0, 1))
    for x, y in zip(points["data_x"], points["data_y"], strict=True):
        assert -1 <= x <= 1
        assert -0.001 <= y - 3 * x - 2 <= 1.001


@pytest.mark.parametrize(
    "content",
    [
        "x,y\n1,2\n3,4\n",
        "x,y\n1,2\n3,4",
        "x,y\r\n1,2\r\n3,4\r\n",
        "\ufeffx,y\n1,2\n3,4\n",
        "y,x\n2,1\n4,3\n",
        "time,x,y\n0,1,2\n1,3,4\n",
        "height,weight\n1,2\n3,4\n",
        " x , y \n 1 , 2 \n3,4\n",
        '"x","y"\n"1","2"\n3,4\n',
        "=1+1,=y\n1,2\n3,4\n",
        "x,y\n1,2\n3,4\n\n",
        "x,y\n1e0,2\n3.0,+4\n",
        "sep=;\r\nx;y\r\n1;2,0\r\n3;4\r\n",
        '"sep=|"\nx|y\n1|2\n3|4\n',
        "x,y,\n1,2,\n3,4,\n,,\n , ,\n",
    ],
)
def test_csv_that_fits(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == POINTS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["empty"]),
        ("x,y\n", ["at least 2 rows"]),
        ("x,y\n1,2\n", ["at least 2 rows", "1"]),
        ("x\n1\n2\n", ["x, y"]),
        ("a,b,c\n1,2,3\n4,5,6\n", ["x, y", "a, b, c"]),
        ("1,2\n3,4\n5,6\n", ["names the columns"]),
        ("x,y\n1,2\n3,\n", ["row 3", "'y'", "empty"]),
        ("sep=,\nx,y\n1,2\n3,\n", ["row 3", "'y'", "empty"]),
        ("x,y\n1,2\n,\n3,\n", ["row 4", "'y'", "empty"]),
        ("x,y\n1,2\n,4\n", ["row 3", "'x'", "empty"]),
        ("x,y\n1,2\n3,   \n", ["row 3", "'y'", "empty"]),
        ("x,y\n1,2\n3\n", ["row 3", "'y'", "empty"]),
        ("x,y\n1,two\n3,4\n", ["row 2", "'y'", "'two'"]),
        ("x,y\n1,nan\n3,4\n", ["row 2", "'y'", "'nan'"]),
        ("x,y\n1,inf\n3,4\n", ["row 2", "'y'", "'inf'"]),
        ("x,y\n1,1e400\n3,4\n", ["row 2", "'y'", "'1e400'"]),
        ("x,y\n=1+1,2\n3,4\n", ["row 2", "'x'", "'=1+1'"]),
        ('x,y\n"1,5",2\n3,4\n', ["row 2", "'x'", "'1,5'"]),
        ("x,y\n1,2,3\n3,4,5\n", ["row 2"]),
        ("x,y\n1,2\n3,4,5\n", ["3"]),
        ('"a\nb",c,d\n1,2,3\n4,5,6\n', ["x, y"]),
        ('x,y\n"1,2\n3,4\n', []),
        ("x,y\n1,\x002\n3,4\n", []),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, content: str, said: list[str]) -> None:
    message = refused(tmp_path, content)
    for each in said:
        assert each in message


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_read_or_refused(tmp_path: Path, separator: str) -> None:
    """Never numbers from the wrong columns."""
    try:
        points = read(tmp_path, f"x{separator}y\n1{separator}2\n3{separator}4\n")
    except Error as error:
        assert re.search(r"x.y", str(error))
    else:
        assert points == POINTS


@pytest.mark.parametrize("name", ["points.csv", "points.zip", "points.gz", "points.xz", "points.xlsx"])
@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        bytes(100),
        "x,y\n1,é\n3,4\n".encode("latin-1"),
        "x,y\n1,2\n".encode("utf-16"),
    ],
    ids=["png", "zeros", "latin-1", "utf-16"],
)
def test_file_that_is_no_csv(tmp_path: Path, content: bytes, name: str) -> None:
    refused(tmp_path, content, name)


def test_missing_csv_and_folder(tmp_path: Path) -> None:
    with pytest.raises(Error, match="No such file"):
        read_csv(tmp_path / "missing.csv", COLUMNS)
    with pytest.raises(Error, match="cannot be read"):
        read_csv(tmp_path, COLUMNS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "points.csv")
    for path in (tmp_path / "points.csv", "/dev/zero"):
        with pytest.raises(Error, match=f"{path}: cannot be read: it is a pipe or a device"):
            read_csv(path, COLUMNS)


def test_one_source_at_a_time() -> None:
    with pytest.raises(Error, match="got both"):
        Source(csv=Path("a.csv"), image=Path("b.png"))


def test_noisy_keeps_x_and_adds_noise_within_its_range() -> None:
    points = noisy(lambda x: x**2, [1, 2, 3], random.Random(1), (-0.5, 0.5), digits=2)
    assert points["data_x"] == [1, 2, 3]
    noise = [round(y - x**2, 2) for x, y in zip(*points.values(), strict=True)]
    assert all(-0.5 <= each <= 0.5 for each in noise)
    assert len(set(noise)) == 3


def test_too_many_points_are_refused_with_the_reason() -> None:
    check_columns({"data_x": [1, 2]}, 2, "lesson")
    with pytest.raises(Error, match="lesson: expected at most 1 points, got 2: so it is"):
        check_columns({"data_x": [1, 2]}, 1, "lesson", "so it is")


@pytest.mark.parametrize(
    ("content", "width"),
    [
        ("1,2\n3,4.5\n", 2),
        ("1;2\n3;4,5\n", None),
        ("a,b\n1,2\n3,4.5\n", None),
        ("1\t2\r\n\r\n3\t4.5", 2),
        ("sep=,\n1,2\n3,4.5\n,\n", 2),
        ("1,0;2,0\n3,0;4,5\n", 2),
    ],
)
def test_a_grid_is_read(tmp_path: Path, content: str, width: int | None) -> None:
    (tmp_path / "grid.csv").write_bytes(content.encode())
    assert read_grid(tmp_path / "grid.csv", width) == [[1, 2], [3, 4.5]]


@pytest.mark.parametrize(
    ("content", "width", "message"),
    [
        ("1,2\n3\n", None, "row 2: expected 2 values, got 1"),
        ("1,2\n", 3, "row 1: expected 3 values, got 2"),
        ("1,2\n3,x\n", 2, "row 2, column 2: "),
        ("", 64, "is empty; expected rows of 64 numbers"),
        ("", None, "is empty; expected rows of numbers"),
    ],
)
def test_a_grid_that_is_none_is_refused_with_its_place(
    tmp_path: Path, content: str, width: int | None, message: str
) -> None:
    (tmp_path / "grid.csv").write_bytes(content.encode())
    with pytest.raises(Error, match=re.escape(f"{tmp_path / 'grid.csv'}: {message}")):
        read_grid(tmp_path / "grid.csv", width)
