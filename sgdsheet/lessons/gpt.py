"""A GPT of letters that completes a word: one forward pass a letter, a row each, every number of it a formula."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sgdsheet.book import SHORT, SPARSE, Book, Input, Sheet, typed
from sgdsheet.book.style import HEADING, LABEL, NOTE, TEXT, Look
from sgdsheet.expr import Call, Range
from sgdsheet.lessons import flow
from sgdsheet.lessons.data import Data
from sgdsheet.lessons.flow import Named, activation, check, counter, parameter
from sgdsheet.lessons.lesson import Lesson
from sgdsheet.tensor import argmax, exp, index, largest, matmul, mean, relu, sqrt
from sgdsheet.tensor import sum as total

WORDS = ("gradient", "momentum", "training", "learning", "network.", "weights.", "softmax.", "tensor..")
LETTERS = "".join(sorted({*"".join(WORDS)}))
TYPED, LENGTH, WIDTH, WIDE = 3, 7, 12, 24  # letters that are typed, that are read; numbers of a letter, between
EPS = 1e-5
WEIGHTS = Path(__file__).with_name("gpt_weights.json")
SHAPES = {
    "letter": (len(LETTERS), WIDTH),
    "place": (LENGTH, WIDTH),
    "query": (WIDTH, WIDTH),
    "key": (WIDTH, WIDTH),
    "value": (WIDTH, WIDTH),
    "mixed": (WIDTH, WIDTH),
    "wide": (WIDE, WIDTH),
    "narrow": (WIDTH, WIDE),
    "head": (len(LETTERS), WIDTH),
}
SAYS = {
    "letter": "a row for each letter: what the network knows it by",
    "place": "a row for each place in the word",
    "query": "what a place asks",
    "key": "what a place offers",
    "value": "what a place says when it is heard",
    "mixed": "what is added of all that was heard",
    "wide": "each place by itself: to more numbers",
    "narrow": "and back",
    "head": "a row for each letter: how well it would follow",
}
BIG = Look(size=20, bold=True, horizontal="center")


def build(book: Book, given: Mapping[str, Any]) -> None:
    """The sheets `word`, `network` and `weights`."""
    word = book.sheet(
        "word",
        "Type three letters: the network writes on",
        f"It has learned {len(WORDS)} words. Choose letters in the yellow cells; a dot ends a word.",
    )
    word.width(1, 12, 40)
    cell = flow.inputs(word, *(f"letter_{n}" for n in range(1, TYPED + 1)), across=True)
    top = word.next_row
    network = book.sheet(
        "network",
        "One forward pass a letter",
        "A row is a place of the word, from left to right: its letter, attention to those before it, a layer of its "
        "own, and a score for each letter that may follow. The best one is the letter of the row below.",
    )
    w = weights_sheet(book, given)
    alphabet = top + 7
    word.write(alphabet - 1, 1, "The letters that it knows, by their numbers", HEADING)
    flow.labels(word, alphabet, 1, LETTERS, TEXT, across=True)
    flow.labels(word, alphabet + 1, 1, map(str, range(1, len(LETTERS) + 1)), NOTE, across=True)
    known = Range("word", alphabet, 1, alphabet, len(LETTERS))
    t = passes(network, w, [Call("MATCH", cell[f"letter_{n}"], known, 0) for n in range(1, TYPED + 1)])
    word.write(top, 1, "The word", HEADING)
    for place in range(LENGTH + 1):
        number = t.number[place] if place < LENGTH else t.next[-1]
        word.write(top + 1, 2 + place, Call("INDEX", known, 1, number), BIG)
        sure = t.sure[place - 1] if place >= TYPED else None
        word.write(top + 2, 2 + place, "typed" if sure is None else sure, PERCENT)
    word.row_heights[top + 1] = 30
    word.write(top + 1, 1, "letter", LABEL)
    word.write(top + 2, 1, "how sure", LABEL)
    word.write(top + 4, 1, "What it has learned: " + ", ".join(each.rstrip(".") for each in WORDS), NOTE)


PERCENT = Look(size=10, horizontal="center", color="595959", number_format="0%")


def weights_sheet(book: Book, given: Mapping[str, Any]) -> Named:
    sheet = book.sheet("weights", "What was learned", "Trained by sgdsheet train, rounded. Change any number here.")
    w, left, top, bottom = Named(), 1, sheet.next_row, 0
    sheet.default_width(6.5)
    for name, shape in SHAPES.items():
        if left + shape[1] > 40:
            left, top = 1, bottom + 2
        made = flow.headed(
            sheet, top, left, name, parameter(typed(given[name]), SAYS[name], f"model.{name}.weight", SHORT)
        )
        setattr(w, name, made)
        left, bottom = left + shape[1] + 1, max(bottom, top + 3 + shape[0])
    return w


def passes(sheet: Sheet, w: Named, first: list[Any]) -> Named:
    """The table of places; `first` are the numbers of the letters that were typed."""

    def each(function: Any) -> Any:
        return lambda t: [function(t, row) for row in range(LENGTH)]

    def normed(name: str) -> Any:
        return lambda t: [(row - mean(row)) / sqrt(mean((row - mean(row)) ** 2) + EPS) for row in t[name]]

    def scored(t: Named, row: int) -> list[Any]:
        return [total(t.q[row] * t.k[other]) / WIDTH**0.5 if other <= row else 0 for other in range(LENGTH)]

    def shares(t: Named, row: int) -> list[Any]:
        seen = t.attention[row, : row + 1]
        powers = [exp(one - largest(seen)) for one in seen]
        return [*(one / total(np.array(powers, dtype=object)) for one in powers), *[0] * (LENGTH - row - 1)]

    def heard(t: Named, row: int) -> Any:  # only of places before it: the later ones are not yet known
        return matmul(t.weights[row : row + 1, : row + 1], t.v[: row + 1])[0]

    def sums(left: Any, right: Any) -> Any:
        return lambda t: matmul(t[left], w[right].T)

    numbers, places = [str(n + 1) for n in range(WIDTH)], [f"place {n + 1}" for n in range(LENGTH)]
    wide: dict[str, Any] = {"parts": numbers, "digits": SHORT, "width": 6.5}
    return flow.steps(
        sheet,
        LENGTH,
        parts=numbers,
        freeze=2,
        step=counter(np.arange(1, LENGTH + 1), "place", title="place"),
        number=counter(lambda t: [*first, *t.next[TYPED - 1 : -1]], "its letter: typed, or the best one above"),
        next=counter(lambda t: [argmax(row) + 1 for row in t.scores], "the letter with the best score"),
        sure=check(
            lambda t: [1 / total(np.array([exp(one - largest(row)) for one in row], dtype=object)) for row in t.scores],
            "its share, of all 1 (softmax)",
            "scores.softmax(-1).max(-1)",
            SHORT,
        ),
        x=activation(
            each(lambda t, row: [index(w.letter[:, n], t.number[row]) + w.place[row, n] for n in range(WIDTH)]),
            "letter + place",
            "letter(number) + place.weight",
            **wide,
        ),
        calm=activation(normed("x"), "x - mean(x), over its deviation", "F.layer_norm(x, ...)", **wide),
        q=activation(sums("calm", "query"), "calm @ query.T", "query(calm)", **wide),
        k=activation(sums("calm", "key"), "calm @ key.T", "key(calm)", **wide),
        v=activation(sums("calm", "value"), "calm @ value.T", "value(calm)", **wide),
        attention=activation(each(scored), "q of the place, k of those before", "q @ k.T", **dict(wide, parts=places)),
        weights=activation(
            each(shares), "softmax: shares of 1", "attention weights", **dict(wide, parts=places, digits=SPARSE)
        ),
        heard=activation(each(heard), "weights @ v", "weights @ v", **wide),
        after=activation(lambda t: t.x + matmul(t.heard, w.mixed.T), "x + heard @ mixed.T", "", **wide),
        calmer=activation(normed("after"), "the same of after", "F.layer_norm(after, ...)", **wide),
        hidden=activation(
            lambda t: relu(matmul(t.calmer, w.wide.T)),
            "relu(calmer @ wide.T)",
            "F.relu(wide(calmer))",
            **dict(wide, parts=[str(n + 1) for n in range(WIDE)], digits=SPARSE),
        ),
        out=activation(lambda t: t.after + matmul(t.hidden, w.narrow.T), "after + hidden @ narrow.T", "", **wide),
        calmest=activation(normed("out"), "the same of out", "F.layer_norm(out, ...)", **wide),
        scores=activation(sums("calmest", "head"), "calmest @ head.T", "head(...)", **dict(wide, parts=[*LETTERS])),
    )


def network() -> Any:
    """The same network in torch: letters in, from 0, scores for those that follow out."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    class GPT(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letter, self.place = torch.nn.Embedding(*SHAPES["letter"]), torch.nn.Embedding(*SHAPES["place"])
            for name in [*SHAPES][2:]:
                self.add_module(name, torch.nn.Linear(*SHAPES[name][::-1], bias=False))
            self.seen: dict[str, Any] = {}

        def forward(self, letters: Any) -> Any:
            s: dict[str, Any] = {}
            self.seen, part = s, dict(self.named_children())
            length = letters.shape[-1]
            s["x"] = self.letter(letters) + self.place.weight[:length]
            s["calm"] = F.layer_norm(s["x"], (WIDTH,))
            for short, name in (("q", "query"), ("k", "key"), ("v", "value")):
                s[short] = part[name](s["calm"])
            s["attention"] = s["q"] @ s["k"].transpose(-2, -1) / WIDTH**0.5
            later = torch.ones(length, length, dtype=torch.bool).triu(1)
            s["weights"] = s["attention"].masked_fill(later, float("-inf")).softmax(-1)
            s["heard"] = s["weights"] @ s["v"]
            s["after"] = s["x"] + part["mixed"](s["heard"])
            s["calmer"] = F.layer_norm(s["after"], (WIDTH,))
            s["hidden"] = F.relu(part["wide"](s["calmer"]))
            s["out"] = s["after"] + part["narrow"](s["hidden"])
            s["calmest"] = F.layer_norm(s["out"], (WIDTH,))
            return part["head"](s["calmest"])

    return GPT()


def reference(v: Named) -> dict[str, Any]:
    """Every block as torch computes it in float64: a forward pass of all letters, for each that follows."""
    import torch

    net = network().double()
    net.load_state_dict({f"{name}.weight": v[name] for name in SHAPES})
    letters = [LETTERS.index(v[f"letter_{n}"]) for n in range(1, TYPED + 1)]
    with torch.no_grad():
        while len(letters) < LENGTH:
            letters.append(int(net(torch.tensor(letters))[-1].argmax()))
        scores = net(torch.tensor(letters))
    blocks = dict(net.seen) | {"scores": scores, "attention": net.seen["attention"].tril()}
    return blocks | {
        "step": torch.arange(1, LENGTH + 1),
        "number": torch.tensor(letters) + 1,
        "next": scores.argmax(-1) + 1,
        "sure": scores.softmax(-1).max(-1).values,
    }


def load(_: Any) -> dict[str, Any]:
    """The weights that are stored beside this file."""
    return {name: np.array(each) for name, each in json.loads(WEIGHTS.read_text(encoding="utf-8")).items()}


GPT = Lesson(
    "gpt",
    "a GPT that has learned eight words and completes them, one forward pass a letter",
    tuple(
        Input(f"letter_{n}", WORDS[0][n - 1], f"letter {n} of the word", choices=tuple(LETTERS))
        for n in range(1, TYPED + 1)
    ),
    Data(dict.fromkeys(SHAPES, 2), load),
    build=build,
    reference=reference,
    title="A GPT that completes a word",
    about=[
        f"A transformer of {sum(a * b for a, b in SHAPES.values()):,} parameters has learned {len(WORDS)} words by "
        "guessing each next letter. sgdsheet train has trained it: in a workbook, its step made again and again.",
        "Here it writes: three letters are typed, and each further one is the letter with the best score. Sheet "
        "'network' has a row for each place of the word.",
    ],
    things_to_try=[
        "On 'word', choose m, o, m, then n, e, t: the other five letters follow.",
        "On 'word', choose t, r, a and t, e, n: attention to the second letter decides how it goes on.",
        "On 'word', choose letters that begin no word: how sure is it now?",
        "On 'network', look at weights: which places does the last one look at?",
    ],
)
