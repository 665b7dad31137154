"""Models of torchvision (or timm) with a head for the classes at hand, and where their weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from sgdsheet.errors import Error, nearest


def create(arch: str, classes: int, weights: str | Path | None = None) -> nn.Module:
    """A model with a new head of `classes` outputs.

    `weights` is a name of torchvision's, as "DEFAULT" or "IMAGENET1K_V1", which it downloads; a file ending in
    .safetensors or .pth, of which nothing is run; or None for random numbers from torch's generator. Raises `Error` for
    a name that neither torchvision nor an installed timm knows, and for weights that do not fit.
    """
    if weights is not None and Path(weights).suffix in (".safetensors", ".pth", ".pt"):
        model = _made(arch, classes, None)
        load(model, _read(Path(weights)), str(weights))
        return model
    return _made(arch, classes, None if weights is None else str(weights))


def _made(arch: str, classes: int, weights: str | None) -> nn.Module:
    from torchvision import models

    names = models.list_models(module=models)
    if arch not in names:
        return _timm(arch, classes, weights, names)
    if weights is None:
        return models.get_model(arch, weights=None, num_classes=classes)
    known = models.get_model_weights(arch)
    if weights not in known.__members__:
        raise Error(f"{arch} has no weights {weights!r}{nearest(weights, known.__members__)}")
    try:
        model = models.get_model(arch, weights=weights)
    except OSError as error:
        raise Error(f"the weights {weights!r} of {arch} cannot be downloaded: {error}; give a file instead") from None
    _replace_head(model, classes)
    return model


def _timm(arch: str, classes: int, weights: str | None, names: list[str]) -> nn.Module:
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Error(f"there is no model {arch!r} in torchvision{nearest(arch, names)}") from None
    if not timm.is_model(arch):
        raise Error(f"there is no model {arch!r} in torchvision or timm{nearest(arch, [*names, *timm.list_models()])}")
    return timm.create_model(arch, pretrained=weights is not None, num_classes=classes)


def head(model: nn.Module) -> str:
    """The name of the last layer that gives a number for each class."""
    found = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    linear = [name for name in found if isinstance(model.get_submodule(name), nn.Linear)]
    # A model without a linear layer, as SqueezeNet, ends in a convolution.
    named = [name for name in linear if name.split(".")[0] in ("fc", "classifier", "head", "heads")] or linear or found
    return named[-1]


def _replace_head(model: nn.Module, classes: int) -> None:
    name = head(model)
    old: Any = model.get_submodule(name)
    if isinstance(old, nn.Linear):
        new: nn.Module = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, classes, old.kernel_size, bias=old.bias is not None)
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)


def parts(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the body, and those of the head."""
    mine = set(model.get_submodule(head(model)).parameters())
    return [param for param in model.parameters() if param not in mine], [*mine]


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise Error(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise Error(f"{path}: no weights can be read from it: {' '.join(str(error).split())[:200]}") from None
    while isinstance(state, dict) and set(state) & {"state_dict", "model"}:
        state = state.get("state_dict", state.get("model"))
    if not isinstance(state, dict) or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise Error(f"{path}: expected the weights of a model by name, got {type(state).__name__}")
    return state


def load(model: nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Puts weights into a model; a head for other classes stays new. Raises `Error` for any other difference."""
    own, top = model.state_dict(), head(model)
    wrong = []
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            wrong.append(f"{name} is missing")
        elif name not in own:
            wrong.append(f"{name} is not in the model")
        elif own[name].shape != state[name].shape and not name.startswith(f"{top}."):
            wrong.append(f"{name} is {_shape(state[name])}, the model's is {_shape(own[name])}")
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise Error(f"{source}: the weights do not fit the model: {'; '.join(wrong[:3])}{more}")
    fitting = {name: each for name, each in state.items() if own[name].shape == each.shape}
    model.load_state_dict(fitting, strict=False)


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
