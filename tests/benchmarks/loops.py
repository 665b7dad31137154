"""The Recorder in four kinds of loop, a few steps each: by hand, fastai, Lightning, Transformers' Trainer.

    python tests/benchmarks/loops.py [--out FOLDER]

Each record is replayed and verified. A loop whose library is not installed is passed over; none is needed otherwise.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

import sgdsheet
from sgdsheet import Recorder
from sgdsheet.recording import record

STEPS = 8


def model_of() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))


def data() -> torch.utils.data.TensorDataset:
    x = torch.randn(8 * STEPS, 4, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))


def by_hand(out: Path) -> None:
    """Two parameter groups, a scheduler, clipping; no decay for norms and biases."""
    model = model_of()
    plain = [each for each in model.parameters() if each.ndim < 2]
    decayed = [each for each in model.parameters() if each.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, STEPS)
    with Recorder(optimizer, 4, out, model=model) as recorder:
        for x, y in torch.utils.data.DataLoader(data(), 8):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            recorder.step(loss)


def fastai(out: Path) -> None:
    """A callback; the optimizer is torch's, in fastai's OptimWrapper."""
    from functools import partial

    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    class Recorded(Callback):
        def before_fit(self) -> None:
            self.recorder = Recorder(self.opt, 4, out, model=self.model)

        def after_step(self) -> None:
            self.recorder.step(self.loss)

        def after_fit(self) -> None:
            self.recorder.close()

    loaders = DataLoaders.from_dsets(data(), data(), bs=8, device=torch.device("cpu"), num_workers=0)
    opt: Any = partial(OptimWrapper, opt=torch.optim.AdamW)
    learner = Learner(loaders, model_of(), loss_func=nn.MSELoss(), opt_func=opt, cbs=[Recorded()])
    learner.fit(1, 1e-2)


def lightning(out: Path) -> None:
    """Its loop gives the optimizer a closure, whose loss is recorded of itself."""
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model_of()

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            return nn.functional.mse_loss(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-2, momentum=0.9)

        def on_train_start(self) -> None:
            self.recorder = Recorder(self.optimizers(), 4, out, model=self)

        def on_train_end(self) -> None:
            self.recorder.close()

    quiet: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", gradient_clip_val=0.5, **quiet)
    trainer.fit(Module(), torch.utils.data.DataLoader(data(), 8))


def transformers(out: Path) -> None:
    """A callback of the Trainer, with a tiny GPT-2 and gradients that are accumulated over two batches."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    class Recorded(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self.recorder = Recorder(given["optimizer"], 4, out, model=given["model"])

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            self.recorder.close()

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    words = torch.randint(16, (8 * STEPS, 8), generator=torch.Generator().manual_seed(1))
    rows: Any = [{"input_ids": each, "labels": each} for each in words]
    says: dict[str, Any] = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    arguments = TrainingArguments(
        str(out.parent / "hf"),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=STEPS,
        learning_rate=1e-2,
        **says,
    )
    Trainer(model, arguments, train_dataset=rows, callbacks=[Recorded()]).train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where records and workbooks stay")
    given = parser.parse_args().out
    loops: list[Callable[[Path], None]] = [by_hand, fastai, lightning, transformers]
    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's
        folder = given or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for loop in loops:
            if loop is not by_hand and find_spec(loop.__name__) is None:
                print(f"{loop.__name__}: not installed")
                continue
            path = folder / f"{loop.__name__}.csv"
            loop(path)
            rows = record.read(path)
            out = path.with_suffix(".xlsx")
            sgdsheet.replay(path, out)
            worst = sgdsheet.read(out)["overview_worst"].max()
            kind, steps = rows["optimizer"].iloc[0], int(rows["step"].max())
            agrees = sgdsheet.verify(out, sets=1).ok
            said = f"{kind}, {steps} steps of {rows['weight'].nunique()} weights"
            print(f"{loop.__name__}: {said}, {worst:.2f} of what a step may be off; verify: {agrees}")


if __name__ == "__main__":
    main()
