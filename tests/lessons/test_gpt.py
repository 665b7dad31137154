"""The lesson `gpt`: it completes the words that it has learned, from their first letters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sgdsheet.lessons.gpt import LETTERS, TYPED, WORDS

Play = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize("word", WORDS)
def test_it_completes_a_word(play: Play, word: str) -> None:
    blocks = play("gpt", {f"letter_{n + 1}": word[n] for n in range(TYPED)})
    numbers = [*blocks["number"], blocks["next"][-1]]
    assert "".join(LETTERS[int(number) - 1] for number in numbers) == word
    assert (blocks["sure"][TYPED - 1 :] > 0.9).all()


def test_a_letter_hears_those_before_it_alone(play: Play) -> None:
    weights = play("gpt")["weights"]
    assert not np.triu(weights, 1).any()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
