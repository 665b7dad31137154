"""Which pictures train, which validate, and which are for the test alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def part_of(word: str) -> str | None:
    """train, valid or test, as folders and columns name them, in any case of letters; None for another word."""
    return PARTS.get(word.casefold())


def split(names: Sequence[str], labels: np.ndarray, valid_pct: float, seed: int) -> np.ndarray:
    """Which pictures are for validation: about `valid_pct` of them.

    `labels` are (n,) numbers of classes, or (n, k) of 0 and 1 where a picture may have several. A name and the seed
    decide, whatever other pictures there are: hashed, they are a number from 0 to 1, and below `valid_pct` the picture
    is for validation. Only where that leaves a class of two or more without a picture for validation, the one with the
    smallest number goes there; and where it leaves one without a training picture, the one with the largest goes there.
    """
    drawn = np.array([_drawn(name, seed) for name in names])
    valid = drawn < valid_pct
    own = labels.T == 1 if labels.ndim == 2 else (labels == label for label in np.unique(labels))
    classes = [np.flatnonzero(each) for each in own]
    classes = [members[np.argsort(drawn[members])] for members in classes if len(members)]
    for members in classes:
        if len(members) > 1 and not valid[members].any():
            valid[members[0]] = True
    for members in classes:
        if valid[members].all():
            valid[members[-1]] = False
    return valid


def _drawn(name: str, seed: int) -> float:
    """A number in [0, 1) that the name and the seed alone decide."""
    digest = hashlib.blake2b(f"{seed}/".encode() + os.fsencode(name), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
