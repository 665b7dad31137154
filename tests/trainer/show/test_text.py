from __future__ import annotations

import pytest

from trainer.show.text import aligned, cut, plain, share, spelled, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("grizzly", "grizzly"),
        ("two\nlines\tand  spaces ", "two lines and spaces"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\udce4rger", "\\udce4rger"),
        ("gpj\u202eexe", "gpj\\u202eexe"),
        ("Bär 熊 שלום \U0001f43b", "Bär 熊 שלום \U0001f43b"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("", ""),
    ],
)
def test_a_name_stays_in_its_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_name_that_is_spelled_out_keeps_its_spaces() -> None:
    assert spelled("a  b\n\udcff") == "a  b\\n\\udcff"


@pytest.mark.parametrize("name", ["x" * 300, "熊" * 40, "a" + "熊" * 40, "e\u0301" * 50, "שלום" * 20])
def test_a_long_name_loses_its_middle(name: str) -> None:
    short = cut(name, 20)
    assert 18 <= width(short) <= 20
    assert short[0] == name[0]
    assert short[-1] == name[-1]
    assert "..." in short
    assert cut("x" * 20, 20) == "x" * 20


def test_a_table_is_aligned() -> None:
    assert aligned([["class", "n"], ["熊", "10"], ["bear", "7"]]).splitlines() == [
        "class   n",
        "熊     10",
        "bear    7",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0.0%"), (1, "100.0%"), (0.0175, "1.8%"), (1 / 50_000, "0.0020%"), (0.0004, "0.0400%"), (0.0006, "0.1%")],
)
def test_a_share_of_something_is_not_shown_as_nothing(value: float, shown: str) -> None:
    assert share(value) == shown
