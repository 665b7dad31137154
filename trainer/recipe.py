"""How a model is trained: every choice in one place, from which the command line's options follow too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sgdsheet.errors import Error, nearest, require

OPTIMIZERS = ("adamw", "adam", "sgd")
BALANCES = ("none", "sampling", "loss")


def _option(default: Any, words: str, *, free: bool = False) -> Any:
    """A field with the command line's words for it; a run may go on with another value of a `free` one."""
    return field(default=default, metadata={"help": words, "free": free})


@dataclass(frozen=True)
class Augment:
    """What is done to a picture in training.

    A random resized crop takes a part of `scale` (least and most share of the area) and `ratio` (width to height).
    `flip` is the chance to mirror it, `rotate` the most it is turned, in degrees, `zoom` the most it is enlarged
    besides, and `lighting` how far contrast and brightness go from 1 and 0. `mixup` and `cutmix` are the alpha of their
    beta distributions, 0 for none (https://arxiv.org/abs/1710.09412, https://arxiv.org/abs/1905.04899).
    """

    scale: tuple[float, float] = _option((0.35, 1.0), "The least and most share of a picture's area that is taken.")
    ratio: tuple[float, float] = _option((3 / 4, 4 / 3), "The least and most width of that part for a height of 1.")
    flip: float = _option(0.5, "The chance to mirror a picture.")
    rotate: float = _option(10.0, "The most degrees that a picture is turned.")
    zoom: float = _option(1.1, "The most that it is enlarged besides.")
    lighting: float = _option(0.2, "How far contrast and brightness go from 1 and 0.")
    mixup: float = _option(0.0, "The alpha of mixup, as 0.4.")
    cutmix: float = _option(0.0, "The alpha of cutmix, as 1.")

    def __post_init__(self) -> None:
        for name, pair, most in (("scale", self.scale, 1), ("ratio", self.ratio, math.inf)):
            try:
                low, high = pair
                fits = 0 < low <= high <= most
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise Error(f"{name}: expected two numbers above 0 and up to {most:g}, the smaller first, got {pair!r}")
        require(self.flip, "flip", 0, 1)
        require(self.rotate, "rotate", 0, 180)
        require(self.zoom, "zoom", 1)
        require(self.lighting, "lighting", 0)
        require(self.mixup, "mixup", 0)
        require(self.cutmix, "cutmix", 0)


@dataclass(frozen=True)
class Recipe:
    """The choices of a training; each field says what it is in its `help`.

    Raises `Error` for a value that makes no sense.
    """

    batch_size: int = _option(64, "Pictures in a batch, over all processes.")
    seed: int = _option(42, "For the split, the start and all that is drawn.")
    optimizer: str = _option("adamw", "adamw, adam or sgd.")
    weight_decay: float = _option(0.01, "Of all weights, as torch's optimizers have it.")
    label_smoothing: float = _option(0.0, "The share of each label that is spread over all classes.")
    clip: float = _option(0.0, "The largest norm of the gradients, 0 for any.")
    accumulate: int = _option(1, "Batches that make a step.")
    ema: float = _option(0.0, "The decay of a running mean of the weights, as 0.99, which is then validated and saved.")
    balance: str = _option("none", "For rare classes: sampling draws them more often, loss counts them more.")
    keep_best: bool = _option(False, "End with the weights of the epoch that made the fewest mistakes.")
    amp: bool | None = _option(None, "Half precision; by default where the device gains by it.", free=True)
    compile: bool = _option(False, "Use torch.compile.", free=True)
    augment: Augment = field(default=Augment())

    def __post_init__(self) -> None:
        for name, value, known in (("optimizer", self.optimizer, OPTIMIZERS), ("balance", self.balance, BALANCES)):
            if value not in known:
                given = nearest(value, known) if isinstance(value, str) else ""
                raise Error(f"{name}: expected {', '.join(known[:-1])} or {known[-1]}, got {value!r}{given}")
        for name, least, most in (("batch_size", 1, math.inf), ("seed", 0, 2**63 - 1), ("accumulate", 1, math.inf)):
            require(getattr(self, name), name, least, most, whole=True)
        for name, most in (("weight_decay", math.inf), ("label_smoothing", 1), ("clip", math.inf), ("ema", 0.999999)):
            require(getattr(self, name), name, 0, most)
        for name in ("keep_best", "compile", "amp"):
            if not isinstance(getattr(self, name), bool) and not (name == "amp" and self.amp is None):
                raise Error(f"{name}: expected True or False, got {getattr(self, name)!r}")
        if not isinstance(self.augment, Augment):
            raise Error(f"augment: expected an Augment, as Augment(flip=0), got {self.augment!r}")

    def said(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one before, as JSON has it."""
        free = [each.name for each in fields(self) if each.metadata.get("free")]
        said = {name: value for name, value in asdict(self).items() if name not in free}
        augment = {name: list(value) if isinstance(value, tuple) else value for name, value in said["augment"].items()}
        return said | {"augment": augment}


def make(recipe: Recipe | None, options: Mapping[str, Any]) -> Recipe:
    """A recipe with some fields changed; those of `Augment` go by their own names. Raises `Error` for unknown names."""
    recipe = Recipe() if recipe is None else recipe
    if not isinstance(recipe, Recipe):
        raise Error(f"recipe: expected a Recipe, as Recipe(batch_size=32), got {recipe!r}")
    own, drawn = ({each.name for each in fields(kind)} for kind in (Recipe, Augment))
    for name in options:
        if name not in own | drawn:
            raise Error(f"there is no option {name!r}{nearest(name, sorted(own | drawn))}")
    changed = {name: value for name, value in options.items() if name in own}
    if changed.get("augment", 0) is None:
        del changed["augment"]
    recipe = replace(recipe, **changed)
    more = {name: value for name, value in options.items() if name in drawn}
    return replace(recipe, augment=replace(recipe.augment, **more)) if more else recipe
