"""A run's folder opened again: the pictures that it was trained on, and its model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sgdsheet.errors import Error, one_line
from trainer import distributed, models, recipe
from trainer.cleaning import trash
from trainer.data.image_folder import ImageFolder
from trainer.models import files
from trainer.training import loop
from trainer.training.cutting import Cutter
from trainer.training.feed import Feed
from trainer.training.precision import Precision, half

GIVEN = (
    *("root", "csv", "valid_pct", "seed", "size", "cache", "label", "path_column", "label_column", "split_column"),
    *("label_delim", "suffix", "without"),
)


@dataclass(frozen=True)
class Run:
    """A trained `model` in evaluation, and the `setup` with its pictures.

    `begun` makes the model as it was before the training, with the weights that it began from, or gives None where
    these were random numbers. `pictures` tells these pictures, their labels and their parts from others. `said` is what
    its run.json says.
    """

    model: nn.Module
    setup: loop.Setup
    begun: Callable[[], nn.Module | None]
    pictures: str
    said: dict[str, Any] = field(default_factory=dict)


def opened(folder: Path, data: Path | None = None, show: bool = True, arch: Any = None) -> Run:
    """The run in `folder`, its pictures in the folder `data` where they have been moved.

    `arch` makes its model where that is one of the user's own.

    Raises `Error` for a folder that holds no run, one whose pictures or model cannot be found again, and where the
    pictures are no longer those that it was trained on.
    """
    said = _read(folder)
    if said["model"] is None and arch is None:
        raise Error(
            f"{folder}: its model {said['arch']!r} is one of yours, which no library has by name; call clean() of the "
            "classifier that was trained"
        )
    given = _given(folder, said, data)
    pictures = ImageFolder(**given, show=show)
    _require_same(folder, said, pictures)
    arch, classes, size = said["model"] or arch, len(pictures.classes), pictures.size
    model = models.create(arch, classes, size, None).model
    models.load(model, _weights(folder), str(folder / "model.safetensors"))
    world = distributed.join(None)
    model.to(world.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    chosen = recipe.Recipe(batch_size=said["recipe"]["batch_size"], seed=said["recipe"]["seed"])
    setup = loop.Setup(
        pictures,
        chosen,
        world,
        Feed(pictures.cache, Cutter(world.device, said["mean"], said["std"])),
        Precision(world.device, half(world.device)),
        pictures.labels.to(world.device),
    )

    def begun() -> nn.Module | None:
        return models.create(arch, classes, size, said["begun"]).model if said["begun"] else None

    return Run(model, setup, begun, said["pictures"], said)


def root_of(folder: Path, data: Path | None = None) -> Path:
    """The folder with the pictures of the run in `folder`. Raises `Error`."""
    return Path(_given(folder, _read(folder), data)["root"])


def _read(folder: Path) -> dict[str, Any]:
    """What run.json says. Raises `Error` if it lacks anything that is needed here."""
    file = folder / "run.json"
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        wanted = ("arch", "classes", "size", "pictures", "recipe", "mean", "std")
        missing = [name for name in wanted if name not in said]
        if missing:
            raise ValueError(f"it has no {missing[0]!r}")
        for name in ("batch_size", "seed"):
            int(said["recipe"][name])
    except (FileNotFoundError, NotADirectoryError):
        raise Error(
            f"{folder}: expected the folder of a run, as `trainer fit --out` writes it: no run.json in it"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Error(f"{file}: is not what a training has written: {one_line(error)}") from None
    if not {"data", "begun", "model"} <= said.keys():
        raise Error(f"{file}: does not say where its pictures are, for an older version wrote it; train anew")
    return said


def _given(folder: Path, said: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """What opens the pictures again. Those that were moved keep their CSV, which may have been moved with them."""
    given = {name: said["data"].get(name) for name in GIVEN}
    if isinstance(given["label"], dict):
        raise Error(
            f"{folder}: its labels came from the function {given['label'].get('function')}, which is in no file; call "
            "clean() of the classifier that was trained"
        )
    if data is not None:
        root, csv = given["root"], given["csv"]
        given["root"] = os.path.abspath(data.expanduser())
        if csv and csv.startswith(f"{root}{os.sep}"):
            given["csv"] = os.path.join(given["root"], os.path.relpath(csv, root))
    if not Path(given["root"]).is_dir():
        raise Error(
            f"{given['root']}: there is no such folder; if its pictures were moved, say where with --data FOLDER"
        )
    return given


def _require_same(folder: Path, said: dict[str, Any], pictures: ImageFolder) -> None:
    from trainer.classifier import fingerprint

    now = fingerprint(pictures)
    if now == said["pictures"] and list(pictures.classes) == said["classes"]:
        return
    count = trash.moved(pictures.listing.root)
    back = f", or bring back the {count:,} that were moved with --undo" if count else ""
    raise Error(
        f"{folder}: the pictures in {pictures.listing.root} have changed since it was trained (then "
        f"{_counts(said['pictures'])}, now {_counts(now)}); train anew{back}"
    )


def _counts(pictures: str) -> str:
    return pictures.rpartition(", ")[0]  # what follows is the digest


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(files.read(folder / "model.safetensors").states[""])
