"""What each picture shows, before classes become numbers; and rules that tell it by the file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgdsheet.errors import Error

# A regular expression with one group, or a function of a file's path that gives a class or a list of them.
Label = str | Callable[[Path], Any]


@dataclass
class Labelled:
    """The labels of pictures by their names, which are paths below a folder.

    `parts` says which of train, valid and test a picture is in; those that it does not have train, or validate where no
    picture has been given for that. `multi_label`: a picture may have several labels, or none. `said` is what the user
    should know about how all that was found, in lines.
    """

    labels: dict[str, tuple[str, ...]]
    parts: dict[str, str] = field(default_factory=dict)
    multi_label: bool = False
    said: list[str] = field(default_factory=list)


# Gives a picture's class by its name below the root; a list where it may have several, None where it has none.
Rule = Callable[[str], str | list[str] | None]


def rule(label: Label, root: Path) -> Rule:
    """Makes a rule for the pictures below `root`. Raises `Error` for what cannot be one.

    A regular expression is searched for in the file's name, or in the path below `root` if it has a slash in it; what
    its group finds is the class.
    """
    if callable(label):
        return lambda name: _as_text(label(root / name))
    try:
        pattern = re.compile(label)
    except (re.error, TypeError) as error:
        raise Error(f"label: expected a regular expression or a function, got {label!r}: {error}") from None
    if pattern.groups != 1:
        raise Error(
            "label: expected a regular expression with one group in brackets, which is the class, as '^(.+)_[0-9]+', "
            f"got {pattern.groups} groups in {label!r}"
        )

    def found(name: str) -> str | None:
        match = pattern.search(name if "/" in label else name.rpartition("/")[2])
        return match[1] or None if match else None

    return found


def _as_text(given: Any) -> str | list[str] | None:
    if given is None or isinstance(given, str):
        return given or None
    return list(dict.fromkeys(str(each) for each in given)) if isinstance(given, Iterable) else str(given)


def by_rule(names: Sequence[str], parts: dict[str, str], label: Label, root: Path) -> Labelled:
    """The labels of these pictures by a rule. A test picture without any is passed over; another one is an `Error`."""
    find = rule(label, root)
    given = {name: find(name) for name in names}
    without = [name for name, labels in given.items() if labels is None]
    unlabelled = [name for name in without if parts.get(name) != "test"]
    if unlabelled:
        words = repr(label) if isinstance(label, str) else f"the function {getattr(label, '__name__', 'given')}"
        count = f", the first of {len(unlabelled):,} pictures" if len(unlabelled) > 1 else ""
        raise Error(f"label: {words} gives no class for {unlabelled[0]!r} below {root}{count}")
    for name in without:
        del given[name]
    labels = {name: (each,) if isinstance(each, str) else tuple(each or ()) for name, each in given.items()}
    found = Labelled(labels, parts, any(isinstance(each, list) for each in given.values()))
    if without:
        found.said.append(f"passed over: {counted(len(without), 'test picture')} without a label, as {without[0]}")
    return found


def counted(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def enumerated(names: Collection[str], most: int = 5) -> str:
    """`a, b, c`, and how many there are if they are more."""
    shown = ", ".join(list(names)[:most])
    return f"{shown}, … ({len(names):,})" if len(names) > most else shown
