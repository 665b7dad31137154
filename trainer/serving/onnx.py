"""The classifier as an ONNX model, for programs without PyTorch."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sgdsheet.errors import Error, one_line
from sgdsheet.files import replacing
from trainer.serving.bundle import Card

CLOSE = 1e-4  # how much a probability may differ from torch's
INPUT, OUTPUT = "pictures", "probabilities"


class _Whole(nn.Module):
    """From pictures of values 0 to 1 to probabilities."""

    def __init__(self, card: Card, model: nn.Module) -> None:
        super().__init__()
        self.model, self.several = model, card.multi_label
        self.mean, self.std = (torch.tensor(each).float().view(1, 3, 1, 1) for each in (card.mean, card.std))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        scores = self.model((pictures - self.mean) / self.std)
        return scores.sigmoid() if self.several else scores.softmax(1)


def write(path: Path | str, card: Card, model: nn.Module) -> float:
    """Writes a classifier as ONNX; returns the largest difference of a probability from torch's.

    Its input `pictures` is float32 (n, 3, size, size), red, green and blue from 0 to 1, for any n; its output
    `probabilities` is (n, classes). What the file of `trainer export` says stands as JSON under `trainer` in its
    metadata. onnxruntime has to give what torch gives, within 1e-4; else, and where the model cannot be written so,
    `Error` is raised and there is no file.
    """
    path = Path(path).expanduser()
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise Error(f"{path}: ONNX needs {' and '.join(missing)}; pip install {' '.join(missing)}")
    whole = _Whole(card, model).eval()
    with replacing(path) as temporary:
        _export(whole, card, temporary, path)
        return _require_close(whole, card, temporary, path)


def _export(whole: nn.Module, card: Card, temporary: Path, path: Path) -> None:
    import onnx

    examples = torch.rand(2, 3, card.size, card.size)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of what the exporter itself will change one day
            program: Any = torch.onnx.export(
                whole,
                (examples,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: torch.export.Dim("n")}},
                verbose=False,
            )
    except Exception as error:  # there are models that it does not know how to write
        raise Error(f"{path}: {card.arch} cannot be written as ONNX: {one_line(error)}") from None
    made = program.model_proto
    entry = made.metadata_props.add()
    entry.key, entry.value = "trainer", json.dumps(asdict(card))
    onnx.save(made, temporary)


def _require_close(whole: nn.Module, card: Card, temporary: Path, path: Path) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
    drawn, worst = torch.Generator().manual_seed(0), 0.0
    for count in (1, 5):
        pictures = torch.rand(count, 3, card.size, card.size, generator=drawn)
        with torch.no_grad():
            expected = whole(pictures).numpy()
        (found,) = session.run([OUTPUT], {INPUT: pictures.numpy()})
        worst = max(worst, float(np.abs(np.asarray(found) - expected).max()))
    if not worst <= CLOSE:
        raise Error(f"{path}: not kept: as ONNX a probability differs by {worst:.2g} from torch's, more than {CLOSE:g}")
    return worst
