"""Long texts in cells."""

from __future__ import annotations

import pytest

from sgdsheet.torch_frontend.program.text import LONGEST, joined, pieces


@pytest.mark.parametrize("length", [0, 1, LONGEST, LONGEST + 1, 3 * LONGEST])
def test_long_texts_are_put_together_again(length: int) -> None:
    text = "".join(chr(97 + i % 26) for i in range(length))
    cells = [*pieces(text), *pieces("second")]
    assert joined(cells) == [text, "second"]
    assert all(len(cell) < 32_767 for cell in cells)
