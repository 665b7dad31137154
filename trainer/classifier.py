"""A model, its data, and everything that is done with them."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from sgdsheet.errors import Error, nearest, require
from trainer import distributed, models
from trainer.data.image_folder import ImageFolder
from trainer.files import put
from trainer.results.diagnosis import Diagnosis, diagnosis
from trainer.show import plots
from trainer.show.log import tensorboard
from trainer.show.progress import Epochs, counting
from trainer.training import checkpoint, loop
from trainer.training.augment import Augment, Cutter
from trainer.training.finder import Found, search
from trainer.training.schedule import one_cycle

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from trainer.results.predictions import Predictions

Rate = float | slice
# Called with the epoch, the step, the steps of an epoch, and the loss where it is known.
Stepped = Callable[[int, int, int, float | None], None]
OPTIMIZERS = ("adamw", "adam", "sgd")


class Classifier:
    """A model that learns to tell the classes of `data` apart.

    `arch` is a model of torchvision, or of timm where that is installed; `weights` are torchvision's by name, a
    .safetensors or a .pth file, or None for a start from random numbers that follow from `seed`. `device` is a GPU
    where there is one. bfloat16 is used where the device has instructions for it, unless `bf16` says otherwise.

    `batch_size` counts pictures over all processes. `optimizer` is "adamw", "adam" or "sgd"; `clip` the largest norm of
    the gradients, 0 for none; `accumulate` how many batches make a step; `ema` the decay of a running mean of the
    weights, which then is what validates and is saved, 0 for none; `compile` hands the model to `torch.compile`.

    A checkpoint, `history.csv` and, where TensorBoard is installed, its log are written to the folder `out` after each
    epoch. With `resume`, the same calls as of the run before go on from there. `show` is for a bar, a line an epoch and
    what the losses say. Raises `Error` for what does not fit together.

    `history` has a row an epoch (see `frame`), `steps` (n, 3) each step's highest learning rate, momentum and loss.
    """

    def __init__(
        self,
        data: ImageFolder,
        arch: str = "resnet34",
        *,
        weights: str | Path | None = None,
        device: str | None = None,
        batch_size: int = 64,
        seed: int = 42,
        augment: Augment | None = None,
        optimizer: str = "adamw",
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        clip: float = 0.0,
        accumulate: int = 1,
        ema: float = 0.0,
        bf16: bool | None = None,
        compile: bool = False,  # noqa: A002, torch's own name
        out: Path | str | None = None,
        resume: bool = False,
        show: bool = True,
    ) -> None:
        if optimizer not in OPTIMIZERS:
            raise Error(f"optimizer: expected adamw, adam or sgd, got {optimizer!r}{nearest(optimizer, OPTIMIZERS)}")
        if not 1 <= batch_size <= len(data.train):
            raise Error(
                f"batch_size: expected 1 to {len(data.train):,}, the number of pictures to train with, "
                f"got {batch_size:,}"
            )
        require(seed, "seed", 0)
        require(weight_decay, "weight_decay", 0)
        require(label_smoothing, "label_smoothing", 0, 1)
        require(clip, "clip", 0)
        require(accumulate, "accumulate", 1)
        require(ema, "ema", 0, 1)
        self.data, self.arch, self.optimizer_name, self.weight_decay = data, arch, optimizer, weight_decay
        self.world = distributed.join(device)
        if batch_size % self.world.size:
            raise Error(f"batch_size: expected a multiple of the {self.world.size} processes, got {batch_size}")
        self.device, self.ema_decay = self.world.device, ema
        torch.manual_seed(seed)
        network = models.create(arch, len(data.classes), data.size, weights)
        self.model: Any = network.model
        if batch_size == 1 and any(isinstance(each, _BatchNorm) for each in self.model.modules()):
            raise Error(f"batch_size: expected at least 2 for {arch}, whose batch norms compare pictures, got 1")
        self.model.to(self.device, memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.model) if ema else None
        self.setup = loop.Setup(
            data,
            Cutter(data.size, self.device, (network.mean, network.std)),
            self.world,
            augment or Augment(),
            batch_size,
            seed,
            gains_by_bf16(self.device) if bf16 is None else bf16,
            label_smoothing,
            clip,
            accumulate,
        )
        if compile:
            self.model.compile()
        self._trained = self.world.together(self.model)
        self.history: list[dict[str, float]] = []
        self.steps = np.empty((0, 3))
        self.out = None if out is None else Path(out)
        if self.out is not None and self.world.first:
            checkpoint.prepare(self.out)
        self.show = show and self.world.first
        self._fits: list[dict[str, Any]] = []  # each one's epochs, and the rates of its parameter groups
        self._held = None
        if resume:
            if self.out is None:
                raise Error("resume: expected out as well, the folder of the run to go on with")
            self._held = self._resumed(self.out / checkpoint.NAME)
            if self.show and self._held:
                print(f"{self.out}: going on after epoch {len(self.history)}")

    # --- training -------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Trains the head alone."""
        self._learn(body=False)

    def unfreeze(self) -> None:
        """Trains all of the model."""
        self._learn(body=True)

    def _learn(self, body: bool) -> None:
        for param in models.parts(self.model)[0]:
            param.requires_grad_(body)
        self._trained = self.world.together(self.model)

    def fit_one_cycle(
        self, epochs: int, lr: Rate = 3e-3, stepped: Stepped = lambda epoch, step, steps, loss: None
    ) -> Diagnosis:
        """Trains for some epochs, the rate rising to `lr` and falling again; returns what the losses say.

        `lr=slice(1e-6, 1e-4)` gives the body the first rate and the head the second. `stepped` is called after each
        step. Raises `Error` at a loss that is not finite; the last checkpoint stays.
        """
        if epochs < 1:
            raise Error(f"epochs: expected at least 1, got {epochs}")
        optimizer = self._optimizer(lr)
        begun = self._begin(optimizer, epochs)
        steps, first = self.data.steps(self.setup.batch_size), len(self.history) - begun
        logs = self.out / "tensorboard" if self.out and self.world.first and begun < epochs else None
        with (
            Epochs(epochs, steps, self.setup.batch_size, begun, self.show) as shown,
            tensorboard(logs, len(self.steps)) as log,
        ):
            for epoch in range(begun, epochs):

                def after(step: int, loss: float | None, epoch: int = epoch) -> None:
                    self._average()
                    shown.step(epoch, step, loss)
                    stepped(epoch, step, steps, loss)

                cycle = [one_cycle((epoch * steps + step) / (epochs * steps)) for step in range(steps)]
                row, taken = self._epoch(optimizer, first + epoch, cycle, after)
                self.history.append(row)
                self.steps = np.concatenate([self.steps, taken])
                self._keep(optimizer, epoch + 1)
                log(row, taken)
                shown.epoch(row)
        said = diagnosis(self.history, len(self.data.valid))
        if self.show:
            print(said)
        return said

    def _epoch(
        self,
        optimizer: torch.optim.Optimizer,
        number: int,
        cycle: list[tuple[float, float]],
        after: Callable[[int, float | None], None],
    ) -> tuple[dict[str, float], np.ndarray]:
        """Trains for an epoch and validates: its row of the history, and its steps."""
        started = time.perf_counter()
        losses = loop.train(self._trained, optimizer, self.setup, number, cycle.__getitem__, after)
        trained = time.perf_counter()
        valid_loss, error_rate = loop.validate(self.averaged or self.model, self.setup)
        if not np.isfinite(valid_loss):
            raise Error(f"the validation loss is {valid_loss} after epoch {number + 1}; try a lower learning rate")
        peak = max(group["peak"] for group in optimizer.param_groups)
        row = {
            "epoch": number + 1,
            "train_loss": float(losses.mean()),
            "valid_loss": valid_loss,
            "error_rate": error_rate,
            "lr": peak,
            "steps": len(losses),
            "seconds": time.perf_counter() - started,
            "pictures_per_second": len(losses) * self.setup.batch_size / (trained - started),
        }
        shares, momenta = np.array(cycle).T
        return row, np.stack([peak * shares, momenta, losses], 1)

    def _average(self) -> None:
        if self.averaged is not None:
            with torch.no_grad():
                for mean, own in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
                    mean.lerp_(own, 1 - self.ema_decay)
                for mean, own in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
                    mean.copy_(own)

    def find_lr(self, steps: int = 100) -> Found:
        """Tries learning rates from 1e-7 to 10, each a step, and suggests two; the model is as before after it."""
        with counting("Trying learning rates", self.show) as counted:
            found = search(self._trained, self._optimizer(1.0), self.setup, steps, counted)
        if self.show:
            print(found)
        return found

    def _optimizer(self, lr: Rate) -> torch.optim.Optimizer:
        low, high = (lr.start, lr.stop) if isinstance(lr, slice) else (lr, lr)
        if high is None or not high > 0 or not (low is None or low > 0):
            raise Error(f"lr: expected a rate above 0, or slice(body's, head's), got {lr!r}")
        body, head = models.parts(self.model)
        groups = [
            {"params": params, "lr": rate, "peak": rate}
            for params, rate in ((body, low if low is not None else high / 10), (head, high))
            if any(param.requires_grad for param in params)
        ]
        fused = {"fused": True} if self.device.type in ("cpu", "cuda") else {}
        if self.optimizer_name == "sgd":
            return torch.optim.SGD(groups, momentum=0.9, weight_decay=self.weight_decay, **fused)
        kind = torch.optim.AdamW if self.optimizer_name == "adamw" else torch.optim.Adam
        return kind(groups, betas=(0.9, 0.99), eps=1e-5, weight_decay=self.weight_decay, **fused)

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _keep(self, optimizer: torch.optim.Optimizer, epochs: int) -> None:
        if self.out is not None and self.world.first:
            tensors = {f"model/{name}": each for name, each in self.model.state_dict().items()}
            if self.averaged is not None:
                tensors |= {f"averaged/{name}": each for name, each in self.averaged.state_dict().items()}
            tensors |= {**checkpoint.of_optimizer(optimizer), "steps": torch.from_numpy(self.steps)}
            said = {**self._said(), "history": self.history, "fits": self._fits, "epochs": epochs}
            checkpoint.write(self.out / checkpoint.NAME, tensors, said)
            put(self.out / "history.csv", self.frame().to_csv(index=False))
        self.world.wait()

    def _said(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one before."""
        return {
            "arch": self.arch,
            "classes": list(self.data.classes),
            "pictures": len(self.data.train),
            "size": self.data.size,
            "seed": self.setup.seed,
            "batch_size": self.setup.batch_size,
            "optimizer": self.optimizer_name,
            "weight_decay": self.weight_decay,
            "label_smoothing": self.setup.label_smoothing,
            "clip": self.setup.clip,
            "accumulate": self.setup.accumulate,
            "ema": self.ema_decay,
            "augment": json.loads(json.dumps(asdict(self.setup.augment))),
        }

    def _resumed(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        if not path.exists():
            return None  # interrupted before its first epoch was over: begin
        tensors, said = checkpoint.read(path)
        for name, own in self._said().items():
            if said.get(name) != own:
                raise Error(f"{path}: it was made with {name} {said.get(name)!r}, not {own!r}")
        for kind, model in (("model", self.model), ("averaged", self.averaged)):
            if model is not None:
                state = {key.partition("/")[2]: each for key, each in tensors.items() if key.startswith(f"{kind}/")}
                models.load(model, state, str(path))
        self.history, self.steps = said["history"], tensors["steps"].numpy()
        return tensors, said

    def _begin(self, optimizer: torch.optim.Optimizer, epochs: int) -> int:
        """How many epochs of this fit an earlier run has done; puts back what its optimizer remembered."""
        rates = [group["peak"] for group in optimizer.param_groups]
        self._fits.append({"epochs": epochs, "lr": rates})
        if self._held is None:
            return 0
        tensors, said = self._held
        number, done = len(self._fits), said["fits"]
        if number > len(done):
            self._held = None
            return 0
        if self._fits[-1] != done[number - 1]:
            raise Error(
                f"{self.out}: its fit {number} was begun {_plan(done[number - 1])}, not {_plan(self._fits[-1])}; "
                "resume with the same, or choose another folder"
            )
        if number < len(done):
            return epochs
        self._held = None
        checkpoint.into_optimizer(optimizer, tensors)
        return int(said["epochs"])

    def save(self, folder: Path | str) -> None:
        """Writes the weights (model.safetensors), what they are of (run.json), and history.csv."""
        if not self.world.first:
            return
        folder, model = Path(folder), self.averaged or self.model
        checkpoint.prepare(folder)
        checkpoint.write(folder / "model.safetensors", model.state_dict())
        said = {**self._said(), "fits": self._fits, "history": self.history}
        put(folder / "run.json", json.dumps(said, indent=1, ensure_ascii=False) + "\n")
        put(folder / "history.csv", self.frame().to_csv(index=False))

    # --- what came of it ------------------------------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """The history, a row an epoch."""
        import pandas as pd

        return pd.DataFrame(self.history)

    def plot_losses(self) -> Image.Image:
        """Each step's training loss, and each epoch's validation loss."""
        return plots.picture(plots.losses(self.history, self.steps))

    def plot_lr(self) -> Image.Image:
        """The learning rate and the momentum of each step."""
        return plots.picture(plots.rates(self.steps))

    def predictions(self) -> Predictions:
        """What the model thinks of the validation pictures: confusion matrix, top losses, tables."""
        from trainer.results.predictions import Predictions

        valid = self.data.valid
        found = loop.probabilities(self.averaged or self.model, self.setup, valid)
        names = [self.data.listing.names[number] for number in valid]
        return Predictions(names, list(self.data.classes), self.data.labels[valid].numpy(), found.double().numpy())


def _plan(fit: dict[str, Any]) -> str:
    return f"for {fit['epochs']} epochs at {':'.join(f'{rate:g}' for rate in fit['lr'])}"


def gains_by_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in names)
