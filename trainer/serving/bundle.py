"""A classifier as one file: its weights, and in the file's header, as JSON, all that is to be known for using them.

The file is of the safetensors format, so that other programs can read its weights and nothing in it is ever run. The
JSON stands under `trainer` in its metadata, and beside it a checksum of it and of the weights:

    format        1
    arch          the architecture and the library that has it, as timm/tf_efficientnet_lite0
    classes       the names of the classes, in the order of the model's scores
    multi_label   false: a softmax over the classes; true: a sigmoid for each
    thresholds    for several labels, each class's probability from which on it counts as seen; else null
    size          the side of the squares that the model takes, in pixels
    short_side    of a picture as it is first shrunk, in its own proportions
    crop          the share of the short side that the square in the middle has: 1
    mean, std     of red, green and blue, of values from 0 to 1: what is taken off, and what is divided by
    metrics       what validation said in the end: epoch, train_loss, valid_loss, error_rate
    provenance    when it was written, by which versions, the first weights' source, the data's fingerprint, the recipe
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sgdsheet.errors import Error, one_line, require
from sgdsheet.files import why_no_file
from trainer import models
from trainer.data.cache import side_for
from trainer.models.files import SAID, require_unchanged
from trainer.training import checkpoint

FORMAT = 1
METRICS = ("epoch", "train_loss", "valid_loss", "error_rate")
PACKAGES = ("sgdsheet", "torch", "torchvision", "timm", "pillow", "safetensors")


@dataclass(frozen=True)
class Card:
    """What is to be known of a classifier besides its weights; the fields are those of the file."""

    arch: str
    classes: list[str]
    multi_label: bool
    thresholds: list[float] | None
    size: int
    short_side: int
    crop: float
    mean: list[float]
    std: list[float]
    metrics: dict[str, float]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        """Raises `Error` unless all of it makes sense: whoever has made the file may have made it up."""
        arch, classes = self.arch, self.classes
        _expect(isinstance(arch, str) and arch.startswith(("torchvision/", "timm/")), "arch", "LIBRARY/NAME", arch)
        _expect(":" not in arch, "arch", "a model that a library has itself", arch)  # hf-hub: would be looked up
        fits = isinstance(classes, list) and classes and all(isinstance(each, str) and each for each in classes)
        _expect(fits and len({*classes}) == len(classes), "classes", "names, each once", classes)
        _expect(isinstance(self.multi_label, bool), "multi_label", "true or false", self.multi_label)
        if self.multi_label:
            _numbers("thresholds", self.thresholds, len(classes), 0, 1)
        else:
            _expect(self.thresholds is None, "thresholds", "null for one label a picture", self.thresholds)
        require(self.size, "size", 8, 4096, whole=True)
        require(self.short_side, "short_side", self.size, 2 * 4096, whole=True)
        _expect(self.crop == 1, "crop", "1", self.crop)
        _numbers("mean", self.mean, 3, 0, 1)
        _numbers("std", self.std, 3, 1e-6, 10)
        for name, kind in (("metrics", self.metrics), ("provenance", self.provenance)):
            _expect(isinstance(kind, dict), name, "names and what is said of them", kind)
        for name, each in self.metrics.items():
            require(each, f"metrics: {name}", -math.inf)


def _expect(fits: object, name: str, expected: str, given: object) -> None:
    if not fits:
        raise Error(f"{name}: expected {expected}, got {one_line(repr(given), 60)}")


def _numbers(name: str, given: Any, count: int, least: float, most: float) -> None:
    _expect(isinstance(given, list) and len(given) == count, name, f"{count} numbers", given)
    for each in given:
        require(each, name, least, most)


# --- Writing ----------------------------------------------------------------------------------------------------------


def write(
    path: Path | str, state: Mapping[str, torch.Tensor], run: Mapping[str, Any], thresholds: Any = None
) -> tuple[Card, nn.Module]:
    """Writes the weights of a model and what `run` says of it, as in run.json; returns what will be read from the file.

    `thresholds` are one for all classes or one for each, 0.5 by default. The file is whole or not there. Raises `Error`
    for what could not be used afterwards.
    """
    path = Path(path).expanduser()
    card = _card(run, thresholds)
    model = _model(card, state, "this run")
    checkpoint.write(path, state, {"format": FORMAT, **asdict(card)})
    return card, model


def from_run(folder: Path, path: Path, thresholds: Any = None) -> tuple[Card, nn.Module]:
    """Exports the run in a folder, as `Classifier.save` or `trainer fit --out` has written it. As `write`."""
    file = folder / "run.json"
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Error(f"{folder}: expected the folder of a run that has ended; there is no run.json in it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Error(f"{file}: it cannot be read: {one_line(getattr(error, 'strerror', None) or error)}") from None
    if not isinstance(run, dict):
        raise Error(f"{file}: expected what is said of a run, got {one_line(run, 60)}")
    try:
        return write(path, _tensors(folder / "model.safetensors")[0], run, thresholds)
    except KeyError as error:
        raise Error(f"{file}: it does not say {error.args[0]!r}; save the run again") from None


def _card(run: Mapping[str, Any], thresholds: Any) -> Card:
    arch = run["model"]
    if arch is None:
        raise Error(
            f"the model {run['arch']} is code of your own, which the file could not hold; only models of torchvision "
            "and timm, by name, can be exported"
        )
    several, count = run["multi_label"], len(run["classes"])
    if thresholds is not None and not several:
        raise Error("thresholds: each picture has one label here, the most probable one; they are for several")
    limits = np.asarray(0.5 if thresholds is None else thresholds, dtype=np.float64)
    if limits.shape not in ((), (count,)):
        raise Error(f"thresholds: expected one, or one for each of the {count} classes, got {limits.shape}")
    return Card(
        arch=arch,
        classes=list(run["classes"]),
        multi_label=several,
        thresholds=np.broadcast_to(limits, (count,)).tolist() if several else None,
        size=run["size"],
        short_side=side_for(run["size"]),
        crop=1.0,
        mean=list(run["mean"]),
        std=list(run["std"]),
        metrics=_metrics(run),
        provenance={
            "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": _versions(),
            **{name: run[name] for name in ("weights", "pictures", "recipe", "fits")},
        },
    )


def _metrics(run: Mapping[str, Any]) -> dict[str, float]:
    """Of the epoch whose weights these are: the last one, or with `keep_best` the last of those without a better."""
    rows = run["history"]
    if not rows:
        return {}
    best = min((row["error_rate"], row["valid_loss"], -row["epoch"]) for row in rows)
    row = rows[-best[2] - 1] if run["recipe"]["keep_best"] else rows[-1]
    return {name: row[name] for name in METRICS}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


# --- Reading ----------------------------------------------------------------------------------------------------------


def read(path: Path | str) -> tuple[Card, nn.Module]:
    """Reads what `write` has written: what is said of a classifier, and its model in evaluation, on the CPU.

    All of it is looked at first: the checksum, each name and type and size. Raises `Error` for any other file.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise Error(f"{path}: expected a file of `trainer export`, got a folder; trainer export {path} FILE makes one")
    state, said = _tensors(path)
    try:
        _expect(isinstance(said, dict) and "format" in said, "its text", "that of an exported classifier", said)
        if said.pop("format") != FORMAT:
            raise Error(f"expected format {FORMAT}; another version of the trainer has written it")
        names = {*Card.__dataclass_fields__}
        missing, more = sorted(names - {*said}), sorted({*said} - names)
        _expect(not missing and not more, "its text", f"{', '.join(sorted(names))}", f"without {missing}, with {more}")
        return (card := Card(**said)), _model(card, state, "the file")
    except Error as error:
        raise Error(f"{path}: it is no classifier that can be used: {error}") from None


def _tensors(path: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """The weights of a file, and what is said of them if anything is: whole, and as they were written."""
    from safetensors import SafetensorError, safe_open

    try:
        if why := why_no_file(path):
            raise Error(f"{path}: cannot be read: {why}")
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
        if "checksum" not in metadata:
            raise ValueError("it has no checksum of this trainer")
        require_unchanged(tensors, metadata)
        said = json.loads(metadata[SAID], parse_constant=_no_number) if SAID in metadata else None
        return tensors, said
    except FileNotFoundError:
        raise Error(f"{path}: there is no such file") from None
    except (SafetensorError, ValueError, TypeError, RecursionError, MemoryError, OSError) as error:
        if isinstance(error, Error):
            raise
        raise Error(f"{path}: it is no classifier that can be read: {one_line(error)}") from None


def _no_number(text: str) -> float:
    raise ValueError(f"it says {text}, which is no number")


def _model(card: Card, state: Mapping[str, torch.Tensor], source: str) -> nn.Module:
    """The model with these weights."""
    with torch.random.fork_rng(devices=[]):  # its random numbers are of no use, and the caller's go on as they were
        model = models.create(card.arch, len(card.classes), card.size, None).model
    own = model.state_dict()
    for name in own.keys() & state.keys():
        if own[name].dtype != state[name].dtype:
            raise Error(f"{source}: {name} is {state[name].dtype}, and the model's {own[name].dtype}")
        if state[name].is_floating_point() and not state[name].isfinite().all():
            raise Error(f"{source}: {name} holds values that are no finite numbers")
    models.load(model, {name: each.detach().cpu() for name, each in state.items()}, source)
    return model.eval().requires_grad_(False)
