"""The lesson `embeddings`: what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch

import sgdsheet
from sgdsheet.lessons.embeddings import EMBEDDINGS, FILMS, PEOPLE, STARTS, reference
from sgdsheet.lessons.flow import Named

Workbook = Callable[[str], Path]
Edit = Callable[[str, Mapping[Any, Any]], Path]


def run(**changed: Any) -> Any:
    """What the lesson's torch program gives for its own numbers, some of them changed."""
    starts = {name: torch.tensor(each, dtype=torch.float64) for name, each in STARTS.items()}
    return reference(Named(**{**EMBEDDINGS.values({}), **starts, **changed}))


def test_the_predictions_meet_the_ratings() -> None:
    blocks = run()
    losses = blocks["losses"]
    assert (losses[1:] < losses[:-1]).all()
    assert losses[0] > 1
    assert losses[-1] < 0.03
    assert blocks["error"][-1].abs().max() < 0.5


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"lr": 2.0}, lambda new, old: new[10] < 0.6 * old[10]),
        ({"lr": 3.0}, lambda new, old: new.min() < 0.2 and new[-1] > 5 * new.min()),
        ({"lr": 4.0}, lambda new, old: not new[-1] < 1e9),
        ({"weight_decay": 0.1}, lambda new, old: new[-1] > 5 * old[-1]),
    ],
)
def test_advice_gives_what_it_says(changed: dict[str, float], what: Callable[..., bool]) -> None:
    assert what(run(**changed)["losses"], run()["losses"])


def test_weight_decay_draws_everything_to_the_mean() -> None:
    spread = [run(weight_decay=each)["now_predicted"].std().item() for each in (0.02, 0.1, 0.5)]
    assert spread[0] > spread[1] > 3 * spread[2]


def test_films_that_the_same_people_like_are_near_each_other() -> None:
    blocks = run()
    places: dict[str, torch.Tensor] = dict(zip(FILMS, blocks["now_film"][:2].T, strict=True))
    space, love = ("Star Thieves", "Last Orbit", "Robots on Holiday"), ("Two Letters", "Rain on Sunday", "Love in Lyon")
    assert min(places[each][0] for each in space) > max(places[each][0] for each in love)
    assert min(places[each][1] for each in ("Goat Upstairs", "Love in Lyon", "Robots on Holiday")) > 0
    assert max(places[each][1] for each in ("Last Orbit", "Two Letters", "Rain on Sunday")) < 0


def test_one_rating_teaches_one_row(workbook: Workbook) -> None:
    blocks = sgdsheet.read(workbook("embeddings"))
    for name, row in (("person", PEOPLE.index("Ann")), ("film", FILMS.index("Two Letters"))):
        taught = blocks[f"taught_{name}"]
        assert np.flatnonzero(taught.any(axis=1)).tolist() == [row]
        np.testing.assert_allclose(blocks[f"found_{name}"], blocks[f"table_{name}"][row], rtol=1e-14)


def test_the_next_film_is_the_best_of_the_unseen(workbook: Workbook) -> None:
    path = workbook("embeddings")
    blocks = sgdsheet.read(path)
    sheet = openpyxl.load_workbook(path, data_only=True)["films"]
    head = next(cell for row in sheet.iter_rows() for cell in row if cell.value == "see next")
    said = [sheet.cell(head.row + 1 + row, head.column).value for row in range(len(PEOPLE))]
    unseen = np.where(blocks["ratings"] > 0, -np.inf, blocks["now_predicted"])
    assert said == [FILMS[best] for best in unseen.argmax(axis=1)]


def test_own_ratings_make_own_predictions(workbook: Workbook, edited: Edit) -> None:
    """Who likes what Cleo likes is predicted to like the rest of it too."""
    before = sgdsheet.read(workbook("embeddings"))
    you, cleo = PEOPLE.index("you"), PEOPLE.index("Cleo")
    own = {("ratings", you * len(FILMS) + film): rating for film, rating in enumerate([1, 0, 0, 5, 5, 0, 0])}
    after = sgdsheet.read(edited("embeddings", own))
    lyon = FILMS.index("Love in Lyon")
    assert before["now_predicted"][you, lyon] < 3 < after["now_predicted"][you, lyon]
    distance = [np.abs(blocks["now_person"][you] - blocks["now_person"][cleo]).max() for blocks in (before, after)]
    assert distance[1] < 0.5 * distance[0]


def test_without_any_rating_nothing_is_learned(edited: Edit) -> None:
    blank = {("ratings", cell): 0 for cell in range(len(PEOPLE) * len(FILMS))}
    blocks = sgdsheet.read(edited("embeddings", blank))
    assert not blocks["losses"].any()
    assert not blocks["grad_film"].any()
    assert np.isfinite(blocks["now_predicted"]).all()
