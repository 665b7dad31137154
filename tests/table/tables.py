"""Tables as people bring them, made by a seed: the passengers of a ship, in the columns that everybody knows."""

from __future__ import annotations

import csv
import random
from pathlib import Path

HEAD = (
    "PassengerId",
    "Survived",
    "Pclass",
    "Name",
    "Sex",
    "Age",
    "SibSp",
    "Parch",
    "Ticket",
    "Fare",
    "Cabin",
    "Embarked",
)
SURVIVED = {
    ("female", 1): 0.97,
    ("female", 2): 0.92,
    ("female", 3): 0.5,
    ("male", 1): 0.37,
    ("male", 2): 0.16,
    ("male", 3): 0.14,
}


def ship(path: Path, rows: int = 891, seed: int = 5) -> Path:
    """Writes passengers who survive as often as theirs did by sex, class and age; with gaps, names, tickets, cabins."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(HEAD)
        for number in range(1, rows + 1):
            sex = "male" if draw.random() < 0.65 else "female"
            pclass = draw.choices((1, 2, 3), (24, 21, 55))[0]
            age = max(0.5, round(draw.gauss({1: 38, 2: 30, 3: 25}[pclass], 13), 0))
            chance = SURVIVED[sex, pclass] + (0.3 if age < 10 else 0)
            fare = round(draw.lognormvariate({1: 4.2, 2: 2.9, 3: 2.3}[pclass], 0.4), 4)
            title = "Mr." if sex == "male" else "Mrs."
            write(
                (
                    number,
                    int(draw.random() < chance),
                    pclass,
                    f"Person{number}, {title} {draw.choice('ABCDEFGH')}.",
                    sex,
                    "" if draw.random() < 0.2 else f"{age:g}",
                    draw.choices((0, 1, 2, 3), (68, 23, 5, 4))[0],
                    draw.choices((0, 1, 2), (76, 13, 11))[0],
                    f"{draw.choice(('PC ', 'A/5 ', ''))}{draw.randint(10_000, 400_000)}",
                    fare,
                    f"{draw.choice('ABCDE')}{draw.randint(1, 120)}" if draw.random() < 0.23 else "",
                    draw.choices(("S", "C", "Q", ""), (72, 18.8, 9, 0.2))[0],
                )
            )
    return path
