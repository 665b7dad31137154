"""The catalogue of lessons: each is one workbook and the torch program that it must agree with."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from sgdsheet.errors import Error, nearest
from sgdsheet.lessons.lesson import Lesson

# The order in which to read them. A lesson that is not named here comes last.
ORDER = (
    "tensors",
    "linear_sgd",
    "lesson2_sgd",
    "learning_rate",
    "minibatch",
    "optimizers",
    "overfitting",
    "relu_net",
    "softmax_cross_entropy",
    "embeddings",
    "convolution",
    "conv_backward",
    "batch_norm",
    "cnn_training",
    "classifier",
    "xor_mlp",
    "lstm",
    "attention",
    "lstm_by_hand",
    "attention_by_hand",
    "gpt",
)


@cache
def catalogue() -> dict[str, Lesson]:
    """Returns every lesson that a file of this folder makes, by name, in the order in which to read them."""
    modules = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    found = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Lesson)}
    return {name: found[name] for name in sorted(found, key=_place)}


def find(name: str) -> Lesson:
    """Returns the lesson of that name. Raises `Error`, with the nearest name, if there is none."""
    lessons = catalogue()
    if name not in lessons:
        raise Error(f"no workbook is called {name!r}{nearest(name, lessons)}")
    return lessons[name]


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER)), name


__all__ = ["Lesson", "catalogue", "find"]
