"""What a person has chosen for each picture, and how that is carried out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet.errors import Error
from sgdsheet.files import put
from trainer.cleaning import trash
from trainer.data.table import CLEANED as COLUMNS
from trainer.data.table import DELETED
from trainer.results.predictions import FORMULA, LEAST

if TYPE_CHECKING:
    from trainer.cleaning.judging import Judged
    from trainer.data.image_folder import ImageFolder

KEEP, DELETE = "keep", "delete"
STATE, CLEANED = "cleaning.json", "cleaned.csv"
WORDS = {KEEP: "kept", DELETE: DELETED}


class ChangedError(Error):
    """Something else was chosen than what was seen when this was asked for."""


@dataclass(frozen=True)
class Plan:
    """What would be done now, by the numbers of the pictures. `mark` tells it from any other plan."""

    deletes: list[int]
    relabels: dict[int, int]
    keeps: list[int]
    mark: str

    def __len__(self) -> int:
        return len(self.deletes) + len(self.relabels) + len(self.keeps)


class Desk:
    """The pictures of a run, and what was chosen for each; many windows and threads may choose at once.

    Pictures go by numbers: those that can be read first, in the order of the data, then the unreadable ones. `choices`
    has "keep", "delete" or the number of another class, as a text, for each that something was chosen for; `done` is
    what was carried out. Both are written to `folder`, and are there again in another program.
    """

    def __init__(self, data: ImageFolder, judged: Judged, folder: Path, pictures: str) -> None:
        self.data, self.judged, self.folder, self.root = data, judged, folder, Path(data.listing.root)
        self.names = [*data.listing.names, *data.unreadable]
        self.reasons = dict(enumerate(data.unreadable.values(), start=len(data.listing.names)))
        self.classes, self.labels, self.parts = data.classes, data.listing.labels, data.listing.part
        self.in_folders = data.listing.csv is None and data.given()["label"] is None
        right = judged.probabilities[np.arange(len(self.labels)), self.labels]
        self.losses = -np.log(right.astype(np.float64).clip(LEAST, 1))
        self._pictures, self._lock = pictures, threading.RLock()
        self.choices: dict[int, str] = {}
        self.done: dict[int, str] = {}
        self._take_up()

    # --- choosing -----------------------------------------------------------------------------------------------------

    def choose(self, number: int, choice: str, instead_of: str | None = None) -> str:
        """Chooses "keep", "delete", the number of a class, or "" for nothing; returns what was chosen before.

        What it is already labelled as is the same as "keep". With `instead_of` it must be what is chosen now. Raises
        `ChangedError` if it is not, and `Error` for a picture or a choice that there is not.
        """
        with self._lock:
            if not 0 <= number < len(self.names):
                raise Error(f"there is no picture {number}")
            if number in self.done:
                raise ChangedError(f"{self.names[number]}: this was carried out already; load the page again")
            choice = self._valid(number, choice)
            before = self.choices.get(number, "")
            if instead_of is not None and before != instead_of:
                raise ChangedError(f"{self.names[number]}: something else was chosen for it in another window")
            if choice:
                self.choices[number] = choice
            else:
                self.choices.pop(number, None)
            if choice != before:
                self._write()
            return before

    def _valid(self, number: int, choice: str) -> str:
        if choice in ("", KEEP, DELETE):
            return choice
        if not choice.isdecimal() or int(choice) >= len(self.classes) or number in self.reasons:
            raise Error(f"expected keep, delete or a class, got {choice!r}")
        return KEEP if int(choice) == self.labels[number] else str(int(choice))

    def counts(self) -> dict[str, int]:
        """How many are to be deleted, relabelled and kept."""
        with self._lock:
            chosen = list(self.choices.values())
        deleted, kept = chosen.count(DELETE), chosen.count(KEEP)
        return {"delete": deleted, "relabel": len(chosen) - deleted - kept, "keep": kept}

    # --- what is shown ------------------------------------------------------------------------------------------------

    def worst(self, label: int | None = None, part: str | None = None) -> list[int]:
        """The pictures by loss, the highest first: of a class, of "train", "valid" or "test", by default not of a test.

        What was carried out for is left out.
        """
        shown = self.parts == part if part else self.parts != "test"
        if label is not None:
            shown = shown & (self.labels == label)
        numbers = np.flatnonzero(shown)
        order = numbers[np.argsort(-self.losses[numbers], kind="stable")]
        return [number for number in order.tolist() if number not in self.done]

    def alike(self) -> list[list[int]]:
        """The groups of pictures that look alike: those of several labels first, then those of several parts.

        A group of which one is left, or in which all were kept, is none any more.
        """
        left = [[each for each in group if self.done.get(each, KEEP) == KEEP] for group in self.judged.groups]
        left = [group for group in left if len(group) > 1 and not all(each in self.done for each in group)]
        several = lambda values: len(set(values)) == 1  # noqa: E731
        return sorted(left, key=lambda group: (several(self.labels[group]), several(self.parts[group])))

    def unreadable(self) -> list[int]:
        """The files that could not be decoded."""
        return [number for number in self.reasons if number not in self.done]

    # --- carrying out -------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What `apply` would do."""
        with self._lock:
            chosen = sorted(self.choices.items())
        mark = hashlib.blake2b(json.dumps(chosen).encode(), digest_size=8).hexdigest()
        deletes = [number for number, choice in chosen if choice == DELETE]
        keeps = [number for number, choice in chosen if choice == KEEP]
        relabels = {number: int(choice) for number, choice in chosen if choice.isdecimal()}
        return Plan(deletes, relabels, keeps, mark)

    def apply(self, mark: str) -> Plan:
        """Carries out the plan that has this mark: moves files, and writes cleaned.csv. All of it, or nothing.

        Raises `ChangedError` if something else has been chosen since, and `Error` if a file cannot be moved.
        """
        with self._lock:
            plan = self.plan()
            if plan.mark != mark:
                raise ChangedError("something else was chosen meanwhile; look at it once more")
            deletes = [self.names[number] for number in plan.deletes]
            relabels = {self.names[number]: self._folder_for(number, to) for number, to in plan.relabels.items()}
            trash.apply(self.root, deletes, relabels if self.in_folders else {})
            self.done |= self.choices
            self.choices = {}
            self._write()
            self.write_csv()
            return plan

    def _folder_for(self, number: int, to: int) -> str:
        if not self.in_folders:
            return ""
        return trash.folder_for(self.names[number], self.classes[int(self.labels[number])], self.classes[to])

    def undo(self) -> int:
        """Takes back all that was ever carried out, which is then only chosen again; returns how many files moved."""
        with self._lock:
            count = trash.undo(self.root)
            self.choices = self.done | self.choices
            self.done = {}
            self._write()
            (self.folder / CLEANED).unlink(missing_ok=True)
            return count

    def write_csv(self) -> None:
        """Writes cleaned.csv: a row a picture with its path, label, part, what was done, and the label that it had.

        Unreadable pictures are in it if they were deleted. A name that is no UTF-8 cannot be in a CSV.
        """
        now = trash.places(self.root)
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        for number in self._in_csv():
            choice, name = self.done.get(number, ""), self.names[number]
            if number in self.reasons:
                table.writerow([_as_path(name), "", "", WORDS[choice], ""])
                continue
            label = was = self.classes[int(self.labels[number])]
            if choice.isdecimal():
                label = self.classes[int(choice)]
            words = [WORDS.get(choice, "relabelled"), was] if choice else ["", ""]
            path = name if choice == DELETE else now.get(name, name)
            table.writerow([_as_path(path), label, self.parts[number], *words])
        put(self.folder / CLEANED, text.getvalue())

    def _in_csv(self) -> Iterable[int]:
        for number, name in enumerate(self.names):
            if _is_utf8(name) and (number not in self.reasons or self.done.get(number) == DELETE):
                yield number

    def unnamed(self) -> list[str]:
        """The names that a CSV cannot hold."""
        return [name for name in self.names if not _is_utf8(name)]

    # --- what is kept for another program -----------------------------------------------------------------------------

    def _write(self) -> None:
        said = {"pictures": self._pictures, "choices": self._by_name(self.choices), "done": self._by_name(self.done)}
        put(self.folder / STATE, json.dumps(said, ensure_ascii=False))

    def _by_name(self, choices: dict[int, str]) -> dict[str, str]:
        return {self.names[number]: choice for number, choice in choices.items()}

    def _take_up(self) -> None:
        said = read_state(self.folder)
        if said.get("pictures") != self._pictures:
            return
        numbers = {name: number for number, name in enumerate(self.names)}
        for mine, theirs in ((self.choices, said["choices"]), (self.done, said["done"])):
            for name, choice in theirs.items():
                with suppress(KeyError, Error):
                    mine[numbers[name]] = self._valid(numbers[name], choice)


def read_state(folder: Path) -> dict[str, Any]:
    """What a desk has written to a folder; empty if it has not, or if somebody has changed it."""
    try:
        said = json.loads((folder / STATE).read_text(encoding="utf-8"))
        for choices in (said["choices"], said["done"]):
            if not all(isinstance(each, str) for each in choices.values()):
                return {}
        return said
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def undo(folder: Path, root: Path) -> int:
    """Takes back all that was carried out for the run in `folder`, without opening it; returns how many files moved."""
    count, said = trash.undo(root), read_state(folder)
    if said:
        put(folder / STATE, json.dumps(said | {"choices": said["done"] | said["choices"], "done": {}}))
    (folder / CLEANED).unlink(missing_ok=True)
    return count


def _is_utf8(name: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(name.encode())
    return False


def _as_path(name: str) -> str:
    """The name, its beginning no formula in a spreadsheet: `./=x.jpg` is the same file."""
    return f"./{name}" if name.startswith(FORMULA) else name
