"""Collaborative filtering: who likes which film, learned as a few numbers for each person and each film."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgdsheet.book import DIVERGING, HEAT, SHORT, SPARSE, WHOLE, Book, Input, Series, Sheet, Typed, bars, scatter, typed
from sgdsheet.book.style import HEADING, LABEL, NOTE, Look
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.expr import Call, Range, choose, compare
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import (
    Named,
    activation,
    check,
    counter,
    data,
    gradient,
    inputs,
    loss,
    parameter,
    place,
    steps,
)
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import Array, equal, greater, largest, matmul, maximum, span, where
from sgdsheet.tensor import sum as total

PEOPLE = ("Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "you")
FILMS = (
    "Star Thieves",
    "Last Orbit",
    "Robots on Holiday",
    "Two Letters",
    "Rain on Sunday",
    "Love in Lyon",
    "Goat Upstairs",
)
PARTS = ("1st", "2nd", "bias")  # of a person and of a film: two numbers to multiply, for a map has two axes, and one
STEPS = 40
BAND = len(PARTS) + len(PEOPLE) + 3  # rows of a step on the sheet `training`: its heads, a free row
MAP = 8  # the width of a column of a map of people and films
PREDICTED, GAPS = 10, 22  # the first columns of what the sheet `films` predicts, and of the gaps that it fills
RATING = Input("rating", 0, "a rating from 1 to 5, or 0 for a film that was not seen", minimum=0, maximum=5)
RATED = 'General;-General;"·"'  # 0 is no rating, and looks like none
SMALL = Look(color="595959", size=9, horizontal="right")
TITLE = Look(bold=True, size=9, horizontal="center", wrap=True)
QUESTION = Look(bold=True, horizontal="right")
ANSWER = Look(bold=True, color="1F3864", size=10)


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `films`, `training`, `lookup`, and `losses`."""
    sheet = book.sheet(
        "films",
        "What would you think of a film that you have not seen?",
        "Each person and each film is two numbers and a bias, which begin as noise. A prediction multiplies a person "
        "by a film: gradient descent moves the numbers until predictions meet ratings, and so fills the gaps.",
    )
    torch = {name: f"torch.optim.SGD(..., {name}={name})" for name in ("lr", "weight_decay")}
    cell = inputs(sheet, "lr", "weight_decay", "step", torch=torch, across=True)
    top = sheet.next_row
    ratings = rating_map(sheet, top, given["ratings"])
    run = training_sheet(book, given, cell, ratings)
    now = predictions(sheet, top, cell, run)
    recommendations(sheet, top, ratings, now)
    question(sheet, top, now)
    lookup_sheet(book, ratings, now)
    curve = losses_sheet(book, run)
    charts(sheet, top + 7 + len(PEOPLE), curve, now)
    sheet.print_on_one_page()


def people(sheet: Sheet, row: int, column: int) -> list[Any]:
    return [sheet.write(row + i, column, name, LABEL) for i, name in enumerate(PEOPLE)]


def films(sheet: Sheet, row: int, column: int) -> list[Any]:
    sheet.row_heights[row] = 26
    return [sheet.write(row, column + j, name, TITLE) for j, name in enumerate(FILMS)]


def rating_map(sheet: Sheet, top: int, starts: Any) -> Array:
    """The ratings, for the reader to change."""
    sheet.width(1, 8)
    sheet.width(2, MAP, 1 + len(FILMS))
    sheet.write(top, 1, "ratings", HEADING)
    sheet.write(top + 1, 1, "1 to 5, or 0 for a film not seen: type your own", NOTE)
    films(sheet, top + 5, 2)
    people(sheet, top + 6, 1)
    grid = np.array([[Typed(each, RATING) for each in row] for row in starts], dtype=object)
    ratings = place(sheet, top + 6, 2, "ratings", data(grid, "1 to 5, or 0: not seen", "ratings", RATED))
    sheet.heat_map(ratings, HEAT)
    return ratings


def training_sheet(book: Book, given: Mapping[str, Any], cell: Named, ratings: Array) -> Named:
    """All steps below each other, each as people times films with its errors and its gradients."""
    sheet = book.sheet(
        "training",
        "Every step, from noise to taste",
        "A step has the people at the left, the films above, their products between, then errors and gradients. "
        "The next one begins with these numbers minus lr times (their gradient + weight_decay times themselves).",
    )
    person_at, names_at, first, second_names, second, third = 2, 5, 6, 13, 14, 22
    sheet.width(1, 8)
    sheet.width(person_at, 7, person_at + 2)
    sheet.width(names_at, 5)
    sheet.width(first, MAP, second + len(FILMS) - 1)
    sheet.width(second_names, 5)
    sheet.width(third - 1, 3)
    sheet.width(third, 7, third + 2)

    top = sheet.next_row
    sheet.write(top, first, "target: the ratings", HEADING)
    sheet.write(top, second, "seen: 1 where there is a rating", HEADING)
    for left in (first, second):
        films(sheet, top + 1, left)
    people(sheet, top + 2, names_at - 4)
    target = place(sheet, top + 2, first, "target", data(ratings, "ratings", "ratings", RATED))
    seen = place(
        sheet, top + 2, second, "seen", check(where(greater(target, 0), 1, 0), "target > 0", "ratings > 0", RATED)
    )
    sheet.write(top + 2, third, "count", LABEL)
    sheet.write(top + 3, third, "mean_rating", LABEL)
    number = check(maximum(total(seen), 1), "how many ratings there are", "len(truth)", WHOLE)
    count = place(sheet, top + 2, third + 2, "count", number).item()
    middle = check(total(target) / count, "what is predicted where nothing is known", "truth.mean()", SHORT)
    mean_rating = place(sheet, top + 3, third + 2, "mean_rating", middle).item()

    start = top + len(PEOPLE) + 3
    layout: dict[str, Any] = {"down": True, "band": BAND}
    numbers: dict[str, Any] = {}
    for name, rows, columns, row, column, torch in (
        ("person", len(PEOPLE), len(PARTS), 5, person_at, "person.weight, person_bias.weight"),
        ("film", len(PARTS), len(FILMS), 1, first, "film.weight.T, film_bias.weight.T"),
    ):
        starts = parameter(typed(given[f"start_{name}"]), "noise to begin with: type here", torch, SHORT)
        begin = place(sheet, start + row, column, f"start_{name}", starts)
        says = f"{name} - lr * (grad_{name} + weight_decay * {name}), of the step above"
        after: dict[str, Any] = {"words": says, "torch": f"{torch}, after optimizer.step()", **layout}
        rest = sheet.block(name, (STEPS, rows, columns), "parameter", start + BAND + row, column, **after)
        numbers[name] = np.concatenate([begin[None], rest])
    person, film = numbers["person"], numbers["film"]

    def put(name: str, row: int, column: int, made: Any) -> Array:
        return place(sheet, start + row, column, name, made, **layout)

    words = "mean_rating + 1st * 1st + 2nd * 2nd + both biases"
    guesses = np.stack([product(mean_rating, p, f) for p, f in zip(person, film, strict=True)])
    guess = put("predicted", 5, first, activation(guesses, words, "model(person, film)", SHORT))
    error = put("error", 5, second, check(seen * (guess - target), "seen * (predicted - target)", "", SPARSE))
    squares = np.reshape([total(each**2) / count for each in error], (-1, 1, 1))
    wrong = put(
        "loss",
        1,
        person_at,
        loss(squares, "the mean of error^2 over the ratings", "F.mse_loss(predicted, truth)", SHORT),
    )
    grad_person = np.stack([slope(e, f, count) for e, f in zip(error, film, strict=True)])
    grad_film = np.stack([slope(e.T, p.T, count).T for e, p in zip(error, person, strict=True)])
    grads = {
        "person": put(
            "grad_person", 5, third, gradient(grad_person, "2 / count * error * film, over films", "", SHORT)
        ),
        "film": put("grad_film", 1, second, gradient(grad_film, "2 / count * error * person, over people", "", SHORT)),
    }
    for name, at in numbers.items():
        moved = at[:-1] - cell.lr * (grads[name][:-1] + cell.weight_decay * at[:-1])
        sheet.fill(name, moved, SHORT)
    sheet.heat_map(guess, HEAT)
    sheet.heat_map(error, DIVERGING)
    for step in range(STEPS + 1):
        row = start + BAND * step
        sheet.write(row, 1, f"after {step} step{'s' * (step > 1)}" if step else "the noise at the beginning", HEADING)
        sheet.write(row + 1, 1, "loss", LABEL)
        sheet.write(row, first, "film", LABEL)
        sheet.write(row, first + 1, "below: predicted = mean_rating + 1st * 1st + 2nd * 2nd + biases", NOTE)
        sheet.write(row, second, "grad_film", LABEL)
        sheet.write(row, second + 2, "below: error = seen * (predicted - target)", NOTE)
        sheet.write(row + 3, person_at, "person", LABEL)
        sheet.write(row + 3, third, "grad_person", LABEL)
        sheet.write(row + 1, third, "2 / count * the sum of error * person, over the people; bias: * 1", NOTE)
        sheet.write(row + 5, third + len(PARTS), "2 / count * the sum of error * film, over the films", NOTE)
        for left in (names_at, second_names):
            flow.labels(sheet, row + 1, left, PARTS, SMALL)
        for left in (person_at, third):
            flow.labels(sheet, row + 4, left, PARTS, SMALL, across=True)
        for left in (first, second):
            films(sheet, row + 4, left)
        people(sheet, row + 5, 1)
    return Named(person=person, film=film, loss=wrong, mean_rating=mean_rating)


def product(mean: Any, person: Array, film: Array) -> Array:
    """What each person would give each film: (people, parts) and (parts, films) make (people, films)."""
    return mean + matmul(person[:, :-1], film[:-1]) + person[:, -1:] + film[-1:]


def slope(error: Array, other: Array, count: Any) -> Array:
    """How the loss changes with the numbers of those that a row of `error` belongs to: (rows, parts).

    `other`, (parts, columns), is what they were multiplied by; the bias was by 1.
    """
    factors = [[2 / count * total(row * part) for part in other[:-1]] for row in error]
    return np.array([[*each, 2 / count * total(row)] for each, row in zip(factors, error, strict=True)], dtype=object)


def predictions(sheet: Sheet, top: int, cell: Named, run: Named) -> Named:
    """The numbers of people and films after the chosen step, and their products."""
    names, person_at, first = PREDICTED, PREDICTED + 1, PREDICTED + 4
    sheet.width(names - 1, 2)
    sheet.width(names, 6)
    sheet.width(person_at, 6.5, person_at + 2)
    sheet.width(first, MAP, first + len(FILMS) - 1)

    def at_step(block: Array) -> Array:
        """The block's matrix in that band of `training` which the step says."""
        begin, end = block[0, 0, 0], block[-1, -1, -1]
        area = Range(begin.sheet, begin.row, begin.column, end.row, end.column, absolute=True)
        chosen = np.empty(block.shape[1:], dtype=object)
        for row, column in np.ndindex(*chosen.shape):
            chosen[row, column] = Call("INDEX", area, BAND * cell.step + (row + 1), column + 1)
        return chosen

    sheet.write(top, names, "people, films, and what their products predict", HEADING)
    sheet.write(top + 1, names, "after the chosen step of 'training'", NOTE)
    flow.labels(sheet, top + 2, first - 1, PARTS, SMALL)
    flow.labels(sheet, top + 5, person_at, PARTS, SMALL, across=True)
    says: dict[str, Any] = {"words": "after the chosen step", "digits": SHORT}
    film = place(sheet, top + 2, first, "now_film", parameter(at_step(run.film), torch="film.weight.T", **says))
    person = place(
        sheet, top + 6, person_at, "now_person", parameter(at_step(run.person), torch="person.weight", **says)
    )
    titles, those = films(sheet, top + 5, first), people(sheet, top + 6, names)
    words = "mean_rating + 1st * 1st + 2nd * 2nd + both biases"
    guess = place(
        sheet,
        top + 6,
        first,
        "now_predicted",
        activation(product(run.mean_rating, person, film), words, "model(person, film)", SHORT),
    )
    sheet.heat_map(guess, HEAT)
    return Named(person=person, film=film, predicted=guess, people=those, films=titles, mean_rating=run.mean_rating)


def recommendations(sheet: Sheet, top: int, ratings: Array, now: Named) -> None:
    """The predictions for what was not seen, and the best of them."""
    left, last = GAPS, GAPS + len(FILMS)
    sheet.width(left - 1, 2)
    sheet.width(left, MAP, last - 1)
    sheet.width(last, 17)
    sheet.write(top, left, "the gaps, filled", HEADING)
    sheet.write(top + 1, left, "predicted where there is no rating", NOTE)
    titles = films(sheet, top + 5, left)
    gaps = activation(where(equal(ratings, 0), now.predicted, 0), "predicted where the rating is 0", "", SPARSE)
    unseen = place(sheet, top + 6, left, "unseen", gaps)
    sheet.heat_map(unseen, HEAT)
    sheet.write(top + 5, last, "see next", LABEL)
    for row, each in enumerate(unseen):
        best = Call("INDEX", span(titles), 1, Call("MATCH", largest(each), span(each), 0))
        sheet.write(top + 6 + row, last, choose(compare(">", largest(each), 0), best, "-"), ANSWER)


def question(sheet: Sheet, top: int, now: Named) -> None:
    """What one person would give one film, in one cell."""
    last, book = GAPS + len(FILMS), sheet.book
    who, which = (
        sheet.place(name, book.typed(name), "input", top + 1 + 2 * row, last, words=book.inputs[name].meaning).item()
        for row, name in enumerate(("who", "which_film"))
    )
    place_of = Call("MATCH", who, span(now.people), 0), Call("MATCH", which, span(now.films), 0)
    words = "what the person would give the film"
    answer = activation(Call("INDEX", span(now.predicted), *place_of), words, "model(person, film)", SHORT)
    place(sheet, top + 4, last, "answer", answer)
    for row, text in ((0, "What would"), (2, "give"), (4, "answer")):
        left, look = (last, LABEL) if row < 4 else (last - 1, QUESTION)
        sheet.write(top + row, left, text, look)


def lookup_sheet(book: Book, ratings: Array, now: Named) -> None:
    """How a name finds its numbers, one-hot times matrix, and which of them one rating changes."""
    sheet = book.sheet(
        "lookup",
        "An embedding is a row of a table",
        "A 1 beside the chosen name and 0 beside all others, times the table, is one row of it. "
        "torch.nn.Embedding does not multiply by zeros, it reads that row; and the gradient goes into that row alone.",
    )
    row, says = sheet.next_row, 15
    cell = Named()
    for name, left in (("person", 1), ("film", 8)):
        setattr(cell, name, inputs(sheet, name, prefix="lookup_", row=row, left=left, across=True)[name])
    top = sheet.next_row
    found: dict[str, Array] = {}
    rows = {"person": (PEOPLE, now.person, 1, 9), "film": (FILMS, now.film.T, 8, 18)}
    for name, (names, numbers, left, width) in rows.items():
        sheet.width(left, width)
        sheet.width(left + 1, 8, left + 4)
        sheet.width(left + 5, 4)
        sheet.write(top, left, f"{name}: one-hot, and the table", HEADING)
        flow.labels(sheet, top + 1, left + 1, ("one-hot", *PARTS), SMALL, across=True)
        listed = [sheet.write(top + 2 + row, left, text, LABEL) for row, text in enumerate(names)]
        chosen = where(equal(np.array(listed, dtype=object), cell[name]), 1, 0)
        one_hot = check(chosen, "1 at the chosen name", f"F.one_hot({name}, {len(names)})", RATED)
        hot = place(sheet, top + 2, left + 1, f"one_hot_{name}", one_hot)
        table = parameter(
            numbers, f"the numbers of 'films', a row a {name}", f"{name}.weight, {name}_bias.weight", SHORT
        )
        table = place(sheet, top + 2, left + 2, f"table_{name}", table)
        row = top + 3 + len(names)
        sheet.write(row, left, "times, added up", LABEL)
        product = activation(matmul(hot[None], table)[0], "one-hot times table", f"{name}({name}_number)", SHORT)
        found[name] = place(sheet, row, left + 2, f"found_{name}", product, across=True)
        found[f"hot_{name}"] = hot

    person, film = found["person"], found["film"]
    sheet.width(says, 16)
    sheet.write(top, says, "the two rows, multiplied", HEADING)
    at = span(ratings), *(Call("MATCH", 1, span(found[f"hot_{name}"]), 0) for name in rows)
    t = flow.values(
        sheet,
        row=top + 2,
        left=says,
        first_product=activation(person[0] * film[0], "1st * 1st", "", SHORT),
        second_product=activation(person[1] * film[1], "2nd * 2nd", "", SHORT),
        both_biases=activation(person[2] + film[2], "bias + bias", "", SHORT),
        found_predicted=activation(
            lambda t: now.mean_rating + t.first_product + t.second_product + t.both_biases,
            "these, and the mean rating",
            "model(person, film)",
            SHORT,
        ),
        found_rating=data(Call("INDEX", *at), "the rating, if there is one", "ratings[person, film]", RATED),
        found_error=check(
            lambda t: where(equal(t.found_rating, 0), 0, t.found_predicted - t.found_rating),
            "predicted - rating, or 0",
            "",
            SPARSE,
        ),
    )
    below = top + 5 + max(len(PEOPLE), len(FILMS))
    for name, other in (("person", film), ("film", person)):
        _, _, left, _ = rows[name]
        pulled = np.array([2 * t.found_error * other[0], 2 * t.found_error * other[1], 2 * t.found_error], dtype=object)
        sheet.write(below, left, f"what this one rating teaches the table of {name}s", HEADING)
        flow.labels(sheet, below + 1, left + 2, PARTS, SMALL, across=True)
        flow.labels(sheet, below + 2, left, PEOPLE if name == "person" else FILMS)
        words = "2 * error * the other's numbers (bias: * 1) where one-hot is 1"
        slope = gradient(
            where(equal(found[f"hot_{name}"][:, None], 1), pulled, 0), words, f"{name}.weight.grad", SPARSE
        )
        place(sheet, below + 2, left + 2, f"taught_{name}", slope)


def losses_sheet(book: Book, run: Named) -> Named:
    """The loss of every step in one column, for the chart."""
    sheet = book.sheet("losses", "The loss of every step", "As it stands on 'training', for the chart.", details=True)
    return steps(
        sheet,
        STEPS + 1,
        losses_step=counter(np.arange(STEPS + 1), "steps so far"),
        losses=loss(run.loss.ravel(), "loss of that step", "loss"),
    )


def charts(sheet: Sheet, row: int, curve: Named, now: Named) -> None:
    """The loss, the map of the films, and what is predicted for the last person."""
    line = Series("loss", curve.losses_step, curve.losses)
    sheet.chart(row, 1, scatter("The loss", "step", "loss", [line], log=True, x_range=(0, STEPS), width=12, height=11))
    points = [
        Series(name, *now.film[:2, [j]], points=True, line=False, color=0, named=True) for j, name in enumerate(FILMS)
    ]
    points.append(Series("you", *now.person[-1:, :2].T, points=True, line=False, color=3, named=True))
    sheet.chart(row, PREDICTED, scatter("A map of the films, and you", "1st", "2nd", points, width=15, height=11))
    yours = [("predicted", now.predicted[-1])]
    sheet.chart(row, GAPS, bars("What you would give", "film", "rating", now.films, yours, width=14.5, height=11))


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64, with `torch.nn.Embedding` for those who rated and what they saw."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    seen, truth = v.ratings > 0, v.ratings[v.ratings > 0]
    count = max(1, len(truth))
    mean = truth.sum() / count
    tables = {
        name: torch.nn.Embedding.from_pretrained(numbers.clone(), freeze=False)
        for name, numbers in (
            ("person", v.start_person[:, :-1]),
            ("person_bias", v.start_person[:, -1:]),
            ("film", v.start_film[:-1].T),
            ("film_bias", v.start_film[-1:].T),
        )
    }

    def model(person: Any, film: Any) -> Any:
        matched = (tables["person"](person) * tables["film"](film)).sum(-1)
        return mean + matched + (tables["person_bias"](person) + tables["film_bias"](film))[..., 0]

    people, films = torch.arange(len(PEOPLE))[:, None], torch.arange(len(FILMS))[None]
    raters, rated = seen.nonzero(as_tuple=True)

    def loss_of(step: int, note: Any) -> Any:
        note(predicted=model(people, films))
        return F.mse_loss(model(raters, rated), truth, reduction="sum") / count

    weights = {name: table.weight for name, table in tables.items()}
    optimizer = torch.optim.SGD(weights.values(), lr=v.lr, weight_decay=v.weight_decay)
    run = flow.descend(weights, optimizer, range(STEPS + 1), loss_of)
    person, grad_person = (torch.cat([run[f"{g}person"], run[f"{g}person_bias"]], 2) for g in ("", "grad_"))
    film, grad_film = (torch.cat([run[f"{g}film"], run[f"{g}film_bias"]], 2).mT for g in ("", "grad_"))
    blocks = {
        "target": v.ratings,
        "seen": seen,
        "count": count,
        "mean_rating": mean,
        "person": person[1:],
        "film": film[1:],
        "predicted": run.predicted,
        "error": seen * (run.predicted - v.ratings),
        "loss": run.loss[:, None, None],
        "grad_person": grad_person,
        "grad_film": grad_film,
        "now_person": person[v.step],
        "now_film": film[v.step],
        "now_predicted": run.predicted[v.step],
        "answer": run.predicted[v.step, PEOPLE.index(v.who), FILMS.index(v.which_film)],
        "unseen": run.predicted[v.step].masked_fill(seen, 0),
        "losses_step": torch.arange(STEPS + 1),
        "losses": run.loss,
    }
    chosen = torch.tensor(PEOPLE.index(v.lookup_person)), torch.tensor(FILMS.index(v.lookup_film))
    return blocks | looked_up(v, person[v.step], film[v.step].T, mean, *chosen)


def looked_up(v: Named, people: Any, films: Any, mean: Any, person: Any, film: Any) -> dict[str, Any]:
    """What the sheet `lookup` shows: one person and one film, and what that one rating teaches."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    tables = {
        name: torch.nn.Embedding.from_pretrained(numbers.clone(), freeze=False)
        for name, numbers in (("person", people), ("film", films))
    }
    found = {"person": tables["person"](person), "film": tables["film"](film)}
    products = found["person"][:-1] * found["film"][:-1]
    biases = found["person"][-1] + found["film"][-1]
    guess, rating = mean + products.sum() + biases, v.ratings[person, film]
    F.mse_loss(torch.where(rating > 0, guess, rating), rating).backward()
    return {
        "one_hot_person": F.one_hot(person, len(PEOPLE)),
        "one_hot_film": F.one_hot(film, len(FILMS)),
        "first_product": products[0],
        "second_product": products[1],
        "both_biases": biases,
        "found_predicted": guess,
        "found_rating": rating,
        "found_error": torch.where(rating > 0, guess - rating, 0),
        **{f"table_{name}": table.weight for name, table in tables.items()},
        **{f"found_{name}": each for name, each in found.items()},
        **{f"taught_{name}": table.weight.grad for name, table in tables.items()},
    }


ABOUT = [
    "Nobody told the computer which film is funny or plays in space. All that it has are ratings, and gaps where a "
    "film was not seen. It gives each person and each film two numbers, an embedding, and a bias: noise at first.",
    "A prediction is the mean of all ratings, plus the person's numbers times the film's, plus both biases. The loss "
    "is the mean of the squared errors over the ratings that there are; a mask of 0 and 1 leaves the gaps out. "
    "Gradient descent moves all numbers at once. In the end films that the same people like lie near each other.",
]
TRY = [
    "On 'films', set step to 0, then 1, 2, 5, 10 and 40: the predictions turn from noise into the ratings.",
    "Type your own ratings into the row 'you': at its end stands what you should see next, and you move on the map.",
    "Would Ann like 'Love in Lyon'? Choose another person or film: the answer is one cell. 'lookup' takes it apart.",
    "Set lr to 2: the loss falls faster. With 3 it falls and rises again, with 4 it explodes.",
    "Set weight_decay to 0.1, then to 0.5: the numbers stay small, and all predictions come near the mean.",
    "Look at the map of 'films': what do the films at its right have in common, and what those at its top?",
]
STARTS: dict[str, Any] = {
    "ratings": [
        [2, 0, 3, 4, 3, 0, 4],
        [4, 5, 0, 2, 0, 1, 2],
        [0, 2, 1, 5, 5, 4, 0],
        [5, 3, 5, 0, 1, 3, 0],
        [3, 2, 4, 2, 0, 4, 5],
        [2, 4, 0, 4, 5, 2, 1],
        [4, 0, 0, 1, 1, 0, 0],
    ],
    "start_person": [
        [-0.9, 0.2, 0],
        [1.0, -0.3, 0],
        [0.1, -0.3, 0],
        [0.5, 0.4, 0],
        [0.2, 1.0, 0],
        [0.4, -0.3, 0],
        [-0.2, 0.3, 0],
    ],
    "start_film": [
        [0.4, 0.6, 0.5, -0.4, -0.2, -0.3, 0.7],
        [-0.6, -0.1, -0.8, -1.0, -0.5, -0.6, 0.3],
        [0, 0, 0, 0, 0, 0, 0],
    ],
}
EXERCISES = (
    Exercise(
        "first_product",
        1,
        "On 'lookup': the person's 1st number times the film's.",
        {"added, not multiplied": lambda t: t.found_person[0] + t.found_film[0]},
    ),
    Exercise(
        "found_predicted",
        1,
        "On 'lookup': the rating that is expected: both products, both biases and the mean rating.",
        {"the mean rating is missing": lambda t: t.first_product + t.second_product + t.both_biases},
    ),
    Exercise(
        "person",
        2,
        "On 'training', the first yellow block: one step of gradient descent for all people's numbers. weight_decay "
        "draws each to 0, as if weight_decay times the number were added to its gradient.",
        {
            "weight_decay is missing": lambda t: np.stack([t.start_person - t.lr * t.grad_person[0]] * len(t.answer)),
            "it climbs: step against it": lambda t: np.stack([2 * t.start_person - t.answer[0]] * len(t.answer)),
        },
        at=0,
    ),
    Exercise(
        "found_person",
        3,
        "On 'lookup': the one-hot row times the table: 1 for the person who is looked up, 0 for all others.",
    ),
)

EMBEDDINGS = Lesson(
    "embeddings",
    "who likes which film: embeddings of people and films learned from ratings with gaps, and the gaps filled",
    (
        Input("lr", 1, "learning rate", minimum=0),
        Input("weight_decay", 0.02, "how much every number is drawn to 0", minimum=0),
        Input("step", STEPS, "after how many steps the numbers are shown", minimum=0, maximum=STEPS, whole=True),
        Input("who", "Ann", "who is asked", choices=PEOPLE),
        Input("which_film", "Love in Lyon", "about which film", choices=FILMS),
        Input("lookup_person", "Ann", "whose numbers are looked up", choices=PEOPLE),
        Input("lookup_film", "Two Letters", "which film's numbers are looked up", choices=FILMS),
    ),
    Data({name: np.ndim(numbers) for name, numbers in STARTS.items()}, lambda source: STARTS),
    build=build,
    reference=reference,
    title="Films that you would like: embeddings",
    about=ABOUT,
    things_to_try=TRY,
    exercises=EXERCISES,
)
