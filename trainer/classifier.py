"""A model, its data, and everything that is done with them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sgdsheet.errors import Error, require
from sgdsheet.files import put
from sgdsheet.recording import record as records
from sgdsheet.recording.recorder import Recorder
from trainer import distributed, models
from trainer import recipe as recipes
from trainer.data.image_folder import ImageFolder
from trainer.recipe import Recipe
from trainer.results.diagnosis import Diagnosis, diagnosis
from trainer.show import plots
from trainer.show.log import tensorboard
from trainer.show.progress import Epochs, counting, say
from trainer.training import checkpoint, loop, optimizer
from trainer.training.augment import plain
from trainer.training.average import Average
from trainer.training.cutting import Cutter
from trainer.training.feed import Feed
from trainer.training.finder import Found, search
from trainer.training.frozen import KEPT, Features, ends_in
from trainer.training.precision import Precision, half
from trainer.training.schedule import one_cycle

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from trainer.cleaning.begin import Page
    from trainer.results.multilabel import MultiLabelPredictions
    from trainer.results.predictions import Predictions

# Called with the epoch, the step, the steps of an epoch, and the loss where it is known.
Stepped = Callable[[int, int, int, float | None], None]
HEAD_LR = 1e-2  # of the head alone, whose task is an easy one


class Classifier:
    """A model that learns to tell the classes of `data` apart.

    `arch` is a model of torchvision or timm by name, or anything that makes one and takes `num_classes`. It begins from
    weights that have seen ImageNet: `weights` are others by name, a file, or None for random numbers that follow from
    the seed (see `trainer.models.create`). `device` is a GPU where there is one.

    `options` are the fields of `Recipe` and of `Augment`, as in `Classifier(data, batch_size=32, mixup=0.4)`; or give a
    whole `recipe`. A batch that is larger than all pictures to train with is made smaller, and that is said.

    A checkpoint, `history.csv` and, where TensorBoard is installed, its log are written to the folder `out` after each
    epoch. With `resume`, the same calls as of the run before go on from there; without it a folder that holds a run is
    refused, unless `overwrite` is said. `record` follows so many weights, or those that are named as
    `"conv1.weight[0,0,1,2]"`, through all steps (see `sgdsheet.Recorder`): `record.csv` in `out`, or `record.parquet`
    where pyarrow is installed. `show` is for a bar, a line an epoch and what the losses say. Raises `Error` for what
    does not fit together.

    `history` has a row an epoch (see `frame`), `steps` (n, 3) each step's highest learning rate, momentum and loss.
    """

    def __init__(
        self,
        data: ImageFolder,
        arch: Any = "efficientnet_lite0",
        *,
        weights: Any = "DEFAULT",
        recipe: Recipe | None = None,
        device: str | None = None,
        out: Path | str | None = None,
        resume: bool = False,
        overwrite: bool = False,
        record: Any = None,
        show: bool = True,
        **options: Any,
    ) -> None:
        if not isinstance(data, ImageFolder):
            raise Error(f"data: expected an ImageFolder, as ImageFolder({str(data)!r}), got {data!r}")
        self.data, self.arch, self._arch = data, models.name_of(arch), arch
        self._weights = weights
        recipe = recipes.make(recipe, options)
        self.world = distributed.join(device)
        self.device = self.world.device
        self.show = show and self.world.first
        self.recipe = self._fitting(recipe)
        torch.manual_seed(self.recipe.seed)
        self.network = models.create(arch, len(data.classes), data.size, weights)
        self.model: nn.Module = self.network.model
        self._require_norms_to_work()
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = Average(self.model, self.recipe.ema) if self.recipe.ema else None
        if self.recipe.compile:
            for each in (self.model, self.scored):
                each.compile()
        cutter = Cutter(self.device, self.network.mean, self.network.std)
        weighed = data.class_weights().to(self.device) if self.recipe.balance == "loss" else None
        self.setup = loop.Setup(
            data,
            self.recipe,
            self.world,
            Feed(data.cache, cutter),
            Precision(self.device, half(self.device, self.recipe.amp)),
            data.labels.to(self.device),
            weighed,
        )
        self._body, self._head = models.parts(self.model)
        self._trained = self.world.together(self.model)
        self._features: Features | None = None
        self.history: list[dict[str, Any]] = []
        self.steps = np.empty((0, 3))
        self._best: tuple[int, dict[str, torch.Tensor]] | None = None  # the epoch, and the weights after it
        self._fits: list[dict[str, Any]] = []  # each one's epochs, and the rates of its parameter groups
        self._held: tuple[dict[str, torch.Tensor], dict[str, Any]] | None = None
        if not isinstance(out, (str, os.PathLike, type(None))):
            raise Error(f"out: expected a folder, got {out!r}")
        self.out = None if out is None else Path(out).expanduser()
        self._folder = self.out  # where it was saved last
        self._page: Page | None = None
        if record is not None and self.out is None:
            raise Error("record: expected out as well, the folder that the record is written to")
        self._watch, self._recorder, self._recorded = record, None, 0
        self._open_out(resume, overwrite)
        if self.show and self.network.source:
            say(f"{self.arch} begins from {self.network.source}")

    def _fitting(self, recipe: Recipe) -> Recipe:
        """The recipe, its batches no larger than there are pictures and equal parts for all processes."""
        size, most = self.world.size, len(self.data.train)
        if recipe.batch_size % size:
            raise Error(f"batch_size: expected a multiple of the {size} processes, got {recipe.batch_size}")
        if recipe.batch_size <= most:
            return recipe
        fewer = most // size * size
        if not fewer:
            raise Error(f"{self.data.listing.root}: {most} pictures to train with are too few for {size} processes")
        if self.show:
            say(f"batches of {fewer} pictures, for there are no more than {most} to train with")
        return recipes.make(recipe, {"batch_size": fewer})

    def _require_norms_to_work(self) -> None:
        if self.recipe.batch_size == 1 and any(isinstance(each, _BatchNorm) for each in self.model.modules()):
            raise Error(f"batch_size: expected at least 2 for {self.arch}, whose batch norms compare pictures, got 1")

    @property
    def scored(self) -> nn.Module:
        """The model that is validated and saved: the running mean of the weights where there is one."""
        return self.model if self.averaged is None else self.averaged.model

    @property
    def frozen(self) -> bool:
        """Whether the head alone is trained."""
        return not any(param.requires_grad for param in self._body)

    # --- training -----------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Trains the head alone."""
        self._learn(body=False)

    def unfreeze(self) -> None:
        """Trains all of the model."""
        self._learn(body=True)

    def _learn(self, body: bool) -> None:
        for param in self._body:
            param.requires_grad_(body)
        self._features = None
        self._trained = self.world.together(self.model)

    def fine_tune(
        self, epochs: int = 1, lr: Any = 3e-4, *, frozen_epochs: int = 10, frozen_lr: Any = HEAD_LR
    ) -> Diagnosis:
        """Trains the head alone and then all of the model, the first layers at a hundredth of the head's rate.

        For weights that have seen other pictures. A rate given as `slice(low, high)` says the first layers' itself. No
        `epochs` train the head alone. Returns what the losses say.
        """
        for name, value in (("epochs", epochs), ("frozen_epochs", frozen_epochs)):
            require(value, name, 0, whole=True)
        self.freeze()
        said = self.fit_one_cycle(frozen_epochs, frozen_lr) if frozen_epochs else None
        if epochs or said is None:
            self.unfreeze()
            low, high = optimizer.rates_of(lr)
            said = self.fit_one_cycle(epochs, slice(low or high / 100, high))
        return said

    def fit_one_cycle(
        self, epochs: int, lr: Any = 3e-3, stepped: Stepped = lambda epoch, step, steps, loss: None
    ) -> Diagnosis:
        """Trains for some epochs, the rate rising to `lr` and falling again; returns what the losses say.

        `lr` is the head's rate, of which the body gets a tenth; `slice(1e-6, 1e-4)` gives the first layers the first
        rate and the head the second; what `find_lr` has found will do too. `stepped` is called after each step. Raises
        `Error` at a loss that is not finite; the last checkpoint stays.
        """
        require(epochs, "epochs", 1, whole=True)
        made = self._optimizer(lr)
        begun = self._begin(made, epochs)
        steps, first = self.data.steps(self.recipe.batch_size), len(self.history) - begun
        started = time.perf_counter()
        trained = self._ready() if begun < epochs else self._trained
        logs = self.out / "tensorboard" if self.out and self.world.first and begun < epochs else None
        with (
            self._recording(made, begun < epochs),
            Epochs(epochs, steps, self.recipe.batch_size, begun, self.show) as shown,
            tensorboard(logs, len(self.steps)) as log,
        ):
            for epoch in range(begun, epochs):

                def after(step: int, loss: float | None, epoch: int = epoch) -> None:
                    shown.step(epoch, step, loss)
                    stepped(epoch, step, steps, loss)

                cycle = [one_cycle((epoch * steps + step) / (epochs * steps)) for step in range(steps)]
                row, taken = self._epoch(trained, made, first + epoch, cycle, after, started)
                started = time.perf_counter()
                self.history.append(row)
                self.steps = np.concatenate([self.steps, taken])
                self._remember_best()
                self._keep(made, epoch + 1)
                log(row, taken)
                shown.epoch(row)
        softened = self.recipe.label_smoothing or self.recipe.augment.mixup or self.recipe.augment.cutmix
        count = None if self.data.multi_label else len(self.data.valid)
        said = diagnosis(self.history, count, softened=bool(softened))
        if self.show:
            say(said)
        self._back_to_best()
        return said

    def _epoch(
        self,
        trained: nn.Module,
        made: torch.optim.Optimizer,
        number: int,
        cycle: list[tuple[float, float]],
        after: Callable[[int, float | None], None],
        started: float,
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Trains for an epoch and validates: its row of the history, and its steps."""
        self._set_modes()
        recorded = {} if self._recorder is None else {"recorded": self._recorder.step}
        losses = loop.train(trained, made, self.setup, self._steps(number), cycle, after, self._average, **recorded)
        seconds = time.perf_counter() - started
        valid_loss, error_rate = loop.judged(self.setup, self._valid_probabilities(), self.data.valid)
        if not np.isfinite(valid_loss):
            raise Error(f"the validation loss is {valid_loss} after epoch {number + 1}; try a lower learning rate")
        peak = max(group["peak"] for group in made.param_groups)
        row = {
            "epoch": number + 1,
            "train_loss": float(losses.mean()),
            "valid_loss": valid_loss,
            "error_rate": error_rate,
            "lr": peak,
            "frozen": self.frozen,
            "steps": len(losses),
            "seconds": time.perf_counter() - started,
            "pictures_per_second": len(losses) * self.recipe.batch_size / seconds,
        }
        shares, momenta = np.array(cycle).T
        return row, np.stack([peak * shares, momenta, losses], 1)

    @contextmanager
    def _recording(self, made: torch.optim.Optimizer, trains: bool) -> Iterator[None]:
        """Follows the weights that are to be recorded, if a fit trains at all."""
        if self._watch is None or self.out is None or not trains:
            yield
            return
        if self._recorder is None:
            path = records.in_folder(self.out)
            self._recorder = Recorder(made, self._watch, path, model=self.model, resume=self._recorded)
        else:
            self._recorder.follow(made)
        try:
            yield
        finally:
            self._recorder.close()

    def _ready(self) -> nn.Module:
        """What is to be called in training: the model, or its head where what its frozen body makes is kept."""
        features = self._kept_features() if self.frozen else None
        self._set_modes()
        return self._trained if features is None else self._head_module

    def _steps(self, epoch: int) -> Iterator[loop.Step]:
        """The steps of an epoch, of pictures or of what the frozen body makes of them."""
        batches = loop.batches(self.setup, epoch)
        return loop.steps(self.setup, batches) if self._features is None else self._features.steps(epoch, batches)

    def _set_modes(self) -> None:
        """Training, but for what is frozen: a frozen body makes in training what it will make in validation.

        Weights that were given keep the running statistics of their batch norms (see README, "Batch norms").
        """
        self.model.train()
        for module in self.model.modules():
            if self.network.source and isinstance(module, _BatchNorm):
                module.eval()
        if self.frozen:
            self.model.eval()
            for name in models.heads(self.model):
                self.model.get_submodule(name).train()

    def _kept_features(self) -> Features | None:
        """What the frozen body makes of each picture; None where that cannot be kept."""
        if self._features is None:
            recipe, heads = self.recipe, models.heads(self.model)
            if len(heads) != 1 or recipe.augment.mixup or recipe.augment.cutmix or recipe.compile:
                return None
            head, side = self.model.get_submodule(heads[0]), self.data.size
            self.model.eval()
            width = ends_in(self.model, head, torch.zeros(1, 3, side, side, device=self.device))
            if not 0 < 4 * width * (len(self.data.train) + len(self.data.valid)) <= KEPT:
                return None
            self._head_module = self.world.together(head)
            with counting("Pictures through the frozen body", self.show) as counted:
                self._features = Features(self.model, head, self.setup, counted)
        return self._features

    def _valid_probabilities(self) -> torch.Tensor:
        scored = self.scored.eval()
        if self._features is None:
            return loop.probabilities(self.setup, loop.outputs(scored, self.setup, self.data.valid))
        (head,) = models.heads(scored)
        with torch.no_grad():
            return loop.probabilities(self.setup, scored.get_submodule(head)(self._features.valid))

    def _average(self) -> None:
        if self.averaged is not None:
            self.averaged.update(self.model)

    def find_lr(self, steps: int = 100) -> Found:
        """Tries learning rates from 1e-7 to 10, each a step, and suggests two; the model is as before after it."""
        require(steps, "steps", 1, whole=True)
        modes = [(module, module.training) for module in self.model.modules()]
        trained, endless = self._ready(), (step for epoch in count() for step in self._steps(epoch))
        with counting("Trying learning rates", self.show) as counted:
            found = search(trained, self._optimizer(1.0), self.setup, islice(endless, steps), steps, counted)
        for module, training in modes:
            module.training = training
        if self.show:
            say(found)
        return found

    def _optimizer(self, lr: Any) -> torch.optim.Optimizer:
        recipe = self.recipe
        return optimizer.make(recipe.optimizer, self._body, self._head, lr, recipe.weight_decay, self.device)

    # --- the best epoch -----------------------------------------------------------------------------------------------

    def _remember_best(self) -> None:
        mistakes = [(row["error_rate"], row["valid_loss"]) for row in self.history]
        if self.recipe.keep_best and min(mistakes) == mistakes[-1]:
            state = {name: each.detach().clone() for name, each in self.scored.state_dict().items()}
            self._best = len(self.history), state

    def _back_to_best(self) -> None:
        if self._best is None or self._best[0] == len(self.history):
            return
        epoch, state = self._best
        for model in (self.model, self.scored):
            model.load_state_dict(state)
        if self.show:
            error = self.history[epoch - 1]["error_rate"]
            say(f"Back to the weights after epoch {epoch}, which made the fewest mistakes ({error:.1%}).")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _open_out(self, resume: bool, overwrite: bool) -> None:
        if self.out is None:
            if resume:
                raise Error("resume: expected out as well, the folder of the run to go on with")
            return
        path = self.out / checkpoint.NAME
        if self.world.first:
            checkpoint.prepare(self.out)
            self._lock = checkpoint.locked(self.out)
        if resume and path.exists():  # else it was interrupted before its first epoch was over: begin
            self._held = self._resumed(path)
            if self.show:
                say(f"{self.out}: going on after epoch {len(self.history)}")
        elif not resume and path.exists() and not overwrite:
            raise Error(f"{self.out}: there is a run in it; go on with resume, or begin anew with overwrite")
        self.world.wait()

    def _keep(self, made: torch.optim.Optimizer, epochs: int) -> None:
        if self.out is not None and self.world.first:
            tensors = {f"model/{name}": each for name, each in self.model.state_dict().items()}
            said = {**self._said(), "history": self.history, "fits": self._fits, "epochs": epochs}
            if self.averaged is not None:
                tensors |= {f"averaged/{name}": each for name, each in self.averaged.model.state_dict().items()}
                said["averaged_steps"] = self.averaged.steps
            if self._best is not None:
                tensors |= {f"best/{name}": each for name, each in self._best[1].items()}
                said["best"] = self._best[0]
            tensors |= {**checkpoint.of_optimizer(made), "steps": torch.from_numpy(self.steps)}
            said["scale"] = self.setup.precision.scaler.get_scale()
            if self._recorder is not None:
                self._recorder.write()
                said["recorded"] = self._recorder.steps
            checkpoint.write(self.out / checkpoint.NAME, tensors, said)
            put(self.out / "history.csv", self.frame().to_csv(index=False))
        self.world.wait()

    def _said(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one before."""
        return {
            "arch": self.arch,
            "weights": self.network.source,
            "classes": list(self.data.classes),
            "size": self.data.size,
            "pictures": fingerprint(self.data),
            "recipe": self.recipe.said(),
        }

    def _resumed(self, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        tensors, said = checkpoint.read(path)
        _require_alike(said, self._said(), path)
        states: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            states.setdefault(kind, {})[name] = tensor
        models.load(self.model, states.get("model", {}), str(path))
        if self.averaged is not None:
            models.load(self.averaged.model, states.get("averaged", {}), str(path))
            self.averaged.steps = int(said.get("averaged_steps", 0))
        if "best" in said and "best" in states:
            self._best = said["best"], states["best"]
        self.history, self.steps = said["history"], tensors["steps"].numpy()
        self._recorded = int(said.get("recorded", 0))
        return tensors, said

    def _begin(self, made: torch.optim.Optimizer, epochs: int) -> int:
        """How many epochs of this fit an earlier run has done; puts back what its optimizer remembered."""
        self._fits.append({"epochs": epochs, "lr": [group["peak"] for group in made.param_groups]})
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
        checkpoint.into_optimizer(made, tensors)
        if self.setup.precision.scaler.is_enabled():
            self.setup.precision.scaler.load_state_dict(
                self.setup.precision.scaler.state_dict() | {"scale": said["scale"]}
            )
        return int(said["epochs"])

    def fit_more(self, epochs: int, lr: Any = 1e-3) -> Diagnosis:
        """Trains a run on that has ended, as `resume` found it: another cycle, of all of the model.

        Raises `Error` if there is nothing to go on with, or if the run was interrupted: that is to end first.
        """
        if self._held is None:
            raise Error("fit_more: expected a run that was resumed and has ended; use fit_one_cycle")
        fits, epochs_done = self._held[1]["fits"], self._held[1]["epochs"]
        if epochs_done < fits[-1]["epochs"]:
            raise Error(
                f"{self.out}: the run was interrupted in its fit {len(fits)}, {_plan(fits[-1])}, after {epochs_done} "
                "of its epochs; resume it first"
            )
        self._fits, self._held = [*fits], None
        self._back_to_best()
        self.unfreeze()
        return self.fit_one_cycle(epochs, lr)

    def save(self, folder: Path | str) -> None:
        """Writes the weights (model.safetensors), what they are of (run.json), and history.csv."""
        if not self.world.first:
            return
        folder = Path(folder).expanduser()
        checkpoint.prepare(folder)
        checkpoint.write(folder / "model.safetensors", self.scored.state_dict())
        begun = models.text_of(self._weights) if self.network.source else None
        said = self._run() | {"data": self.data.given(), "begun": begun}
        put(folder / "run.json", json.dumps(said, indent=1, ensure_ascii=False) + "\n")
        put(folder / "history.csv", self.frame().to_csv(index=False))
        self._folder = folder

    def export(self, path: Path | str, *, thresholds: Any = None, onnx: Path | str | None = None) -> None:
        """Writes the classifier as one file for `trainer.load`, `trainer predict` and `trainer serve`.

        It holds the weights and all that is to be known for using them (see `trainer.serving.bundle`). Where a picture
        may have several labels, a class counts as seen from its threshold on: `thresholds` is one for all or one for
        each class, 0.5 by default; `clf.predictions().best_thresholds()` finds some. `onnx` is a second file, for
        programs without torch (see `trainer.serving.onnx`). Raises `Error` for a model that no library has by name, and
        where a file cannot be written.
        """
        if self.world.first:
            from trainer.serving import bundle

            card, model = bundle.write(path, self.scored.state_dict(), self._run(), thresholds)
            if onnx is not None:
                from trainer.serving import onnx as as_onnx

                as_onnx.write(onnx, card, model)

    def _run(self) -> dict[str, Any]:
        """All that is said of a run that has ended."""
        model = models.library_name(self._arch, self.model)
        network = {"model": model, "mean": list(self.network.mean), "std": list(self.network.std)}
        shown = {"multi_label": self.data.multi_label}
        return {**self._said(), **network, **shown, "fits": self._fits, "history": self.history}

    # --- what came of it ----------------------------------------------------------------------------------------------

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

    def predictions(self, part: str = "valid", tta: bool = False) -> Predictions | MultiLabelPredictions:
        """What the model thinks of the pictures of a part, "valid", "test" or "train": confusions, losses, tables.

        With `tta` (test-time augmentation) it looks at each picture several times, as it is and mirrored, at two sizes,
        and takes the mean; not mirrored where training does not. Raises `Error` if the part is empty.
        """
        if part not in ("train", "valid", "test"):
            raise Error(f"part: expected train, valid or test, got {part!r}")
        numbers = getattr(self.data, part)
        if not len(numbers):
            raise Error(f"{self.data.listing.root}: there are no pictures for {part}")
        scored, side = self.scored.eval(), self.data.size
        views = [(side, False)]
        if tta:
            flips = (False, True) if self.recipe.augment.flip else (False,)
            views = [(size, flip) for size in (side, _larger(side)) for flip in flips]
        found = torch.zeros((), dtype=torch.float64)
        for size, flip in views:
            cut = lambda sizes, _, flip=flip: plain(sizes, flip)  # noqa: E731
            found = found + loop.probabilities(self.setup, loop.outputs(scored, self.setup, numbers, cut, size))
        names = [self.data.listing.names[number] for number in numbers]
        labels, probabilities = self.data.labels[numbers].numpy(), (found / len(views)).numpy()
        if self.data.multi_label:
            from trainer.results.multilabel import MultiLabelPredictions

            return MultiLabelPredictions(names, list(self.data.classes), labels, probabilities, part=part)
        from trainer.results.predictions import Predictions

        return Predictions(names, list(self.data.classes), labels, probabilities, part)

    def clean(self, folds: int = 3, out: Path | str | None = None) -> Page:
        """Shows the pictures that are most likely wrong, to keep, relabel or delete them, on a page in the browser.

        Returns at once, with the page, which a notebook shows below its cell; it is there until the program ends, or
        until this is called again. Nothing is touched until the page is told to apply it. Then `cleaned.csv` in the
        folder `out` says of each picture what was done: by default where the run is or was saved, or else `cleaned`.
        Training pictures are judged by models that have not seen them, of which there are `folds` (see
        `trainer.cleaning.judging`). Raises `Error` for pictures that may have several labels.
        """
        from trainer.cleaning.begin import page_of

        if self._page is not None:
            self._page.end()
        folder = Path(out).expanduser() if out is not None else self._folder or Path("cleaned")
        self._page = page_of(self, folder, folds)
        return self._page

    def begun(self) -> nn.Module | None:
        """Makes the model anew as it was before training, None where that was random numbers."""
        if not self.network.source:
            return None
        return models.create(self._arch, len(self.data.classes), self.data.size, self._weights).model

    def show_batch(self, count: int = 9) -> Image.Image:
        """Pictures as training sees them, cut, turned, lit and mixed, each with its classes, in a grid."""
        from PIL import Image

        from trainer.show.drawing import grid

        step = next(loop.steps(self.setup, loop.batches(self.setup, len(self.history))))
        pictures = [Image.fromarray(pixels) for pixels in self.setup.feed.cutter.shown(step.inputs[:count])]
        return grid(pictures, [self._names(target) for target in step.target[:count]])

    def _names(self, target: torch.Tensor) -> str:
        """What a picture shows: the number of its class, or how much there is of each."""
        classes = self.data.classes
        if target.ndim == 0:
            return classes[int(target)]
        shares = sorted(zip(target.tolist(), classes, strict=True), reverse=True)
        return ", ".join(name if share > 0.995 else f"{share:.0%} {name}" for share, name in shares if share > 0.005)

    def __repr__(self) -> str:
        counts = [sum(param.numel() for param in params) for params in (self._body, self._head)]
        trained = "its head is trained" if self.frozen else "all of it is trained"
        done = (
            f"{len(self.history)} epoch{'s' * (len(self.history) > 1)}, {self.history[-1]['error_rate']:.1%} wrong"
            if self.history
            else "untrained"
        )
        return (
            f"Classifier({self.arch}, {sum(counts):,} weights ({counts[1]:,} in the head) from "
            f"{self.network.source or 'random numbers'}, {len(self.data.classes)} classes, {self.data.size} pixels, "
            f"on {self.device}; {trained}; {done})"
        )


def _larger(side: int) -> int:
    """The second size at which test-time augmentation looks: what is stored has so many pixels."""
    return round(side * 1.25 / 32) * 32 if side >= 128 else side


def _plan(fit: dict[str, Any]) -> str:
    return f"for {fit['epochs']} epochs at {':'.join(f'{rate:g}' for rate in fit['lr'])}"


def fingerprint(data: ImageFolder) -> str:
    """Returns what tells the pictures of a run, their labels and their parts from others."""
    digest = hashlib.blake2b(digest_size=8)
    for name in data.listing.names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    for each in (data.labels.numpy(), data.train, data.valid):
        digest.update(np.ascontiguousarray(each).tobytes() + b"\0")
    return f"{len(data.train)} to train with, {len(data.valid)} to validate with, {digest.hexdigest()}"


def _require_alike(said: dict[str, Any], own: dict[str, Any], path: Path, where: str = "") -> None:
    for name, value in own.items():
        if isinstance(value, dict) and isinstance(said.get(name), dict):
            _require_alike(said[name], value, path, f"{where}{name}.")
        elif said.get(name) != value:
            raise Error(f"{path}: it was made with {where}{name} {said.get(name)!r}, not {value!r}")
