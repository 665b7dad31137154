"""Models of torchvision (or timm) with a head for the classes at hand, and where their weights come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sgdsheet.errors import Error, nearest
from trainer.training.augment import MEAN, STD

# What these two put out in training besides, unless they are told not to.
QUIET = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


Arch = str | Callable[..., nn.Module]


@dataclass(frozen=True)
class Network:
    """A model, and the pictures that it expects.

    Pictures of values 0 to 1 are to have `mean` taken off and to be divided by `std`, one number a colour. The weights
    were trained on squares of `size` pixels, cut from the middle of pictures of which they leave `crop` of the short
    side; None where nothing is known. `source` says in words where the weights came from, "" for random numbers.
    """

    model: nn.Module
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    size: int | None = None
    crop: float | None = None
    source: str = ""


def name_of(arch: Arch) -> str:
    """What a model is called: "resnet18", for a class or function its own name."""
    return arch if isinstance(arch, str) else getattr(arch, "__name__", type(arch).__name__)


def create(arch: Arch, classes: int, size: int, weights: Any = "DEFAULT") -> Network:
    """A model with a new head of `classes` outputs, for pictures of `size` x `size` pixels.

    `weights` is a name of torchvision's, as "DEFAULT" or "IMAGENET1K_V1", or timm's, as "DEFAULT" or "a1_in1k", which
    they download; a file ending in .safetensors or .pth, of which nothing is run; or None for random numbers from
    torch's generator. Raises `Error` for a name that neither torchvision nor an installed timm knows, for weights that
    do not fit, and for a size that the model cannot take.
    """
    source = "" if weights is None else str(weights)
    if not isinstance(arch, str):
        model = arch(num_classes=classes)
    elif weights is not None and Path(weights).suffix in (".safetensors", ".pth", ".pt"):
        model = _made(arch, classes, None)
        load(model, _read(Path(weights)), str(weights))
    else:
        model = _made(arch, classes, None if weights is None else str(weights))
    _require_size(model, name_of(arch), size)
    said = getattr(model, "pretrained_cfg", None) or {}
    return Network(model, said.get("mean") or MEAN, said.get("std") or STD, source=source)


def _made(arch: str, classes: int, weights: str | None) -> nn.Module:
    from torchvision import models

    names = models.list_models(module=models)
    if arch not in names:
        return _timm(arch, classes, weights, names)
    quiet = QUIET.get(arch, {})
    if weights is None:
        return models.get_model(arch, weights=None, num_classes=classes, **quiet)
    known = models.get_model_weights(arch)
    if weights not in known.__members__:
        raise Error(f"{arch} has no weights {weights!r}{nearest(weights, known.__members__)}")
    with _downloading(arch, weights):
        model = models.get_model(arch, weights=weights, **quiet)
    _replace_head(model, classes)
    return model


def _timm(arch: str, classes: int, weights: str | None, names: list[str]) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise Error(f"there is no model {arch!r} in torchvision{nearest(arch, names)}") from None
    if not timm.is_model(arch):
        raise Error(f"there is no model {arch!r} in torchvision or timm{nearest(arch, [*names, *timm.list_models()])}")
    if weights is None:
        return timm.create_model(arch, num_classes=classes)
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{arch}.*")]
    if weights not in ("DEFAULT", *tags) or not tags:
        raise Error(f"timm has no weights {weights!r} of {arch}{nearest(weights, ['DEFAULT', *tags] if tags else [])}")
    with _downloading(arch, weights):
        name = arch if weights == "DEFAULT" else f"{arch}.{weights}"
        return timm.create_model(name, pretrained=True, num_classes=classes)


@contextmanager
def _downloading(arch: str, weights: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # timm's hub raises many kinds
        why = " ".join(str(error).split())[:200]
        raise Error(f"the weights {weights!r} of {arch} cannot be downloaded: {why}; give a file instead") from None


def _require_size(model: nn.Module, arch: str, size: int) -> None:
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        raise Error(f"{arch} cannot take pictures of {size} x {size} pixels; choose another size ({why})") from None
    model.train(training)


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


def heads(model: nn.Module) -> list[str]:
    """The names of the layers that give a number for each class, in the model's order."""
    return [head(model)]


def parts(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the body, and those of the head."""
    mine = {id(param) for name in heads(model) for param in model.get_submodule(name).parameters()}
    params = [*model.parameters()]
    return [each for each in params if id(each) not in mine], [each for each in params if id(each) in mine]


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise Error(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = f"{type(error).__name__}, {' '.join(str(error).split())[:200]}"
        raise Error(f"{path}: it is no file of weights that can be read ({why})") from None
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
