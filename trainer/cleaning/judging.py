"""What a model thinks of each picture that did not train on it.

Those for validation and for the test are judged by the model of the run. Those that it was trained with are dealt into
folds, and each fold is judged by a head that was trained on the others, with what the body makes of them as it was
before the run: neither of the two has seen them. What the body makes of a picture is calculated once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sgdsheet.errors import Error, require
from trainer import models
from trainer.cleaning.alike import look_at, same_look
from trainer.cleaning.run import Run
from trainer.models.files import SAID, checksum
from trainer.show.progress import Counted, counting
from trainer.training import checkpoint, loop, optimizer
from trainer.training.frozen import KEPT, Body, ends_in
from trainer.training.schedule import one_cycle

EPOCHS = 10  # of a head, at most
LEAST_STEPS = 100
HEAD_LR = 1e-2
FILE = "judged.safetensors"


@dataclass(frozen=True, eq=False)
class Judged:
    """What is thought of n pictures, in the order of the listing.

    `probabilities` are (n, classes) float32. `folds` is how many parts the training pictures were dealt into; 0 where
    they were judged by a model that has seen them. `groups` are the numbers of pictures that look alike, two or more.
    """

    probabilities: np.ndarray
    folds: int
    groups: list[list[int]]


def judged(run: Run, folds: int = 3, folder: Path | None = None, show: bool = True) -> Judged:
    """Judges all pictures of a run, or takes what an earlier call has written to `folder`.

    Training pictures are dealt into `folds`, 2 or more; with 0 they are judged by the run's model. So they are where
    folds cannot be made: without weights to begin from, with several heads, or if what the body makes of all pictures
    is too much for the memory. `show` is for bars. Raises `Error` for a number that makes no sense.
    """
    require(folds, "folds", 0, whole=True)
    if folds == 1:
        raise Error("folds: expected 2 or more, as 3, or 0 to judge by the model that has seen the pictures; got 1")
    key = {"pictures": run.pictures, "weights": _checksum(run.model), "asked": folds}
    known = _read(folder / FILE, key) if folder is not None else None
    if known is not None:
        return known
    setup, data = run.setup, run.setup.data
    numbers = {name: number for number, name in enumerate(data.listing.names)}
    with counting("Comparing pictures", show) as counted:
        looks = look_at(data.listing.root, data.listing.names, progress=counted)
    groups = [[numbers[name] for name in group] for group in same_look(looks)]
    found = torch.empty(len(numbers), len(data.classes))
    held = None
    if folds:
        with counting("Training pictures through the body", show) as counted:
            held = _out_of_fold(run, folds, groups, counted)
    seen = np.concatenate([data.valid, data.test, *([] if held is not None else [data.train])])
    with counting("Pictures through the model", show) as counted:
        found[seen] = loop.probabilities(setup, loop.outputs(run.model, setup, seen, counted=counted))
    if held is not None:
        found[data.train] = held
    made = Judged(found.numpy(), folds if held is not None else 0, groups)
    if folder is not None:
        said = key | {"folds": made.folds, "groups": made.groups}
        checkpoint.write(folder / FILE, {"probabilities": found}, said)
    return made


def _checksum(model: nn.Module) -> str:
    return checksum({name: each.detach().cpu() for name, each in model.state_dict().items()})


def _read(path: Path, key: dict[str, Any]) -> Judged | None:
    """What was written there, unless it is of other pictures, of another model, or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {})[SAID])
            if {name: said[name] for name in key} != key:
                return None
            return Judged(file.get_tensor("probabilities").numpy(), said["folds"], said["groups"])
    except (FileNotFoundError, SafetensorError, KeyError, ValueError, TypeError):
        return None


# --- Folds ------------------------------------------------------------------------------------------------------------


def _out_of_fold(run: Run, folds: int, groups: Sequence[Sequence[int]], counted: Counted) -> torch.Tensor | None:
    """The probabilities of the training pictures, (n, classes), each by a head that has not seen it; None without one.

    What looks alike is in one fold: a head that has seen a picture's double would know its label.
    """
    setup, model = run.setup, run.begun()
    names = [] if model is None else models.heads(model)
    if model is None or len(names) != 1:
        return None
    model.to(setup.world.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    head, side, train = model.get_submodule(names[0]), setup.data.size, setup.data.train
    width = ends_in(model, head, torch.zeros(1, 3, side, side, device=setup.world.device))
    if not 0 < 4 * width * len(train) <= KEPT:
        return None
    features, target = loop.outputs(Body(model, head), setup, train, counted=counted), setup.labels[train]
    fold = folds_of(setup.data.labels.numpy(), train, folds, groups, setup.recipe.seed)
    output = torch.empty(len(train), len(setup.data.classes), device=features.device)
    for number in range(folds):
        out = torch.from_numpy(fold == number).to(features.device)
        own = _trained(head, features[~out], target[~out], setup)
        with torch.no_grad():
            output[out] = own(features[out])
    return loop.probabilities(setup, output)


def folds_of(
    labels: np.ndarray, train: np.ndarray, folds: int, groups: Sequence[Sequence[int]], seed: int
) -> np.ndarray:
    """The fold of each of the pictures `train`, from 0: each class in all, each of the `groups` in one."""
    rng, fold = np.random.default_rng([seed, folds]), np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels[train]):
        own = rng.permutation(train[labels[train] == label])
        fold[own] = (np.arange(len(own)) + rng.integers(folds)) % folds
    for group in groups:
        fold[group] = fold[group[0]]
    return fold[train]


def _trained(head: nn.Module, features: torch.Tensor, target: torch.Tensor, setup: loop.Setup) -> nn.Module:
    """A head that has learnt to tell the features' classes apart, as a run trains one whose body is frozen."""
    head, recipe, count = deepcopy(head).train(), setup.recipe, len(features)
    made = optimizer.make(recipe.optimizer, [], [*head.parameters()], HEAD_LR, recipe.weight_decay, features.device)
    size = min(recipe.batch_size, count)
    epochs = max(EPOCHS, -(-LEAST_STEPS // (count // size)))
    rng, steps = np.random.default_rng([recipe.seed, count]), []
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(count)).to(features.device)
        for start in range(0, count - size + 1, size):
            rows = order[start : start + size]
            steps.append((rows, int(rng.integers(2**62))))
    taken = (loop.Step(features[rows], target[rows], seed) for rows, seed in steps)
    loop.train(head, made, setup, taken, [one_cycle(step / len(steps)) for step in range(len(steps))])
    return head.eval()
