"""The classifier as ONNX: what torch says, and the reasons for which it is not kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sgdsheet.errors import Error
from trainer.serving import bundle, onnx

for needed in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(needed)


def test_onnxruntime_says_what_torch_says(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter takes some seconds, so that one file has to do; one of other weights is not kept."""
    import onnxruntime

    path, (card, model) = tmp_path / "x.onnx", bundle.read(exported)
    assert onnx.write(path, card, model) < 1e-5
    session: Any = onnxruntime.InferenceSession(path)
    assert json.loads(session.get_modelmeta().custom_metadata_map["trainer"])["classes"] == card.classes
    pictures = torch.rand(3, 3, 32, 32)  # from 0 to 1, not yet normalised
    (found,) = session.run(None, {"pictures": pictures.numpy()})
    expected = model((pictures - torch.tensor(card.mean)[:, None, None]) / torch.tensor(card.std)[:, None, None])
    assert np.abs(found - expected.softmax(1).numpy()).max() < 1e-5

    monkeypatch.setattr(onnx, "_export", lambda whole, card, temporary, wanted: shutil.copy(path, temporary))
    with torch.no_grad():
        next(model.parameters()).mul_(1.1)
    with pytest.raises(Error, match="y.onnx: not kept: as ONNX a probability differs by"):
        onnx.write(tmp_path / "y.onnx", card, model)
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(Error, match="pip install onnx onnxscript onnxruntime"):
        onnx.write(tmp_path / "y.onnx", card, model)
    assert [*tmp_path.iterdir()] == [path]
