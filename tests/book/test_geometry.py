"""How much room a text takes."""

from __future__ import annotations

import pytest

from sgdsheet.book.geometry import text_lines, text_pixels


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("bias + [1 Tanh]", 70.7),
        ("[gradient of hidden state] * [tanh of the cell state]", 241.9),
        ("from gradient before input gate", 154.1),
        ("sum(gradient of output)", 116.8),
        ("param - lr / (1 - beta1^step) * exp_avg", 186.8),
    ],
)
def test_no_text_is_wider_than_it_is_taken_to_be(text: str, measured: float) -> None:
    """As measured in Carlito, italic, 9 points, which has Calibri's widths; it is taken to be little wider."""
    assert measured <= text_pixels(text, 9) <= 1.08 * measured


@pytest.mark.parametrize(("pixels", "lines"), [(200, 1), (90, 2), (70, 3), (24, 6)])
def test_lines_end_between_words_or_within_a_word_that_is_too_long(pixels: float, lines: int) -> None:
    assert text_lines("bias + [1 Tanh] @ weight.T", 9, pixels) == lines
