"""Models of torchvision, and what is particular to them."""

from __future__ import annotations

import functools
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sgdsheet.errors import Error, nearest
from trainer.models.downloads import downloading
from trainer.models.fitting import Leave, State, fit
from trainer.models.heads import even
from trainer.models.network import Network
from trainer.models.sizes import sized

# The parts that these two have for training only, and that stand in the way of their scores.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # norm.1.weight, which now is norm1.weight


@functools.cache
def names() -> list[str]:
    """The models that classify pictures."""
    from torchvision import models

    return models.list_models(module=models)


def name_of(make: Callable[..., Any]) -> str | None:
    """The name of the model that a function of torchvision makes."""
    from torchvision import models

    return next((name for name in names() if models.get_model_builder(name) is make), None)


def is_weights(given: object) -> bool:
    """Whether this is one of torchvision's weights, as ResNet18_Weights.DEFAULT."""
    from torchvision.models import WeightsEnum

    return isinstance(given, WeightsEnum)


@dataclass(frozen=True)
class Torchvision:
    """A model of torchvision, by name."""

    name: str

    @property
    def leave(self) -> Leave:
        """In what weights may differ from the model."""
        return Leave(AUXILIARY.get(self.name, ()), adapt=_adapted)

    def made(self, classes: int, size: int, fresh: bool = True) -> nn.Module:
        """The model with random numbers and an even head; not `fresh` where weights follow, as two are slow to draw."""
        from torchvision import models

        options: dict[str, Any] = {}
        if self.name in AUXILIARY:
            options = {"aux_logits": False, "init_weights": fresh}
        elif self.name.startswith("vit_"):
            options = {"image_size": size}
        elif self.name.startswith("maxvit_"):
            options = {"input_size": (size, size)}
        with sized(self.name, size, self.expected()["size"]):
            model = models.get_model(self.name, weights=None, num_classes=classes, **options)
        even(model)
        return model

    def pretrained(self, wanted: Any, classes: int, size: int) -> Network:
        """The model with weights that torchvision downloads, given by name or as one of its own."""
        chosen = self._chosen(wanted)
        model, leave = self.made(classes, size, fresh=False), self.leave
        cached = Path(torch.hub.get_dir(), "checkpoints", Path(chosen.url).name)
        with downloading(f"{chosen!r}", None if cached.is_file() else chosen.url):
            state = chosen.get_state_dict(progress=sys.stderr.isatty(), check_hash=True)
        if not chosen.meta["categories"]:  # VGG's "features": the rest is in the file too, but is no numbers
            state = {name: each for name, each in state.items() if not each.isnan().any()}
            leave = replace(leave, new=("classifier.",))
        fit(model, {"": state}, repr(chosen), leave, head=False)
        return Network(model, **_pictures(self.name, chosen), source=f"torchvision's {chosen!r}")

    def expected(self, model: nn.Module | None = None) -> dict[str, Any]:
        """The pictures that the default weights expect."""
        return _pictures(self.name, self._known()["DEFAULT"])

    def offered(self, file: str) -> dict[str, Any]:
        """The pictures that the weights of a file expect, where it is called as one that torchvision offers."""
        return next((_pictures(self.name, each) for each in self._known() if Path(each.url).name == file), {})

    def _known(self) -> Any:
        from torchvision import models

        return models.get_model_weights(self.name)

    def _chosen(self, wanted: Any) -> Any:
        known = self._known()
        if isinstance(wanted, known):
            return wanted
        if not isinstance(wanted, str):
            raise Error(f"{self.name}: expected one of {known.__name__}, got {wanted!r}, which is for another model")
        name = wanted.removeprefix(f"{known.__name__}.")
        if name not in known.__members__:
            said = f"{self.name} has no weights {wanted!r}, and there is no such file"
            raise Error(f"{said}{nearest(name, known.__members__)}")
        return known[name]


def _pictures(name: str, chosen: Any) -> dict[str, Any]:
    """The pictures that weights of torchvision expect."""
    said = chosen.transforms()
    size, resized = said.crop_size[0], said.resize_size[0]
    mean, std = tuple(said.mean), tuple(said.std)
    if name in AUXILIARY:  # where these have such weights, torchvision has the model itself change to these colours
        mean, std = (0.5,) * 3, (0.5,) * 3
    return {"mean": mean, "std": std, "size": size, "crop": size / resized}


def _adapted(state: State, model: nn.Module) -> State:
    """Weights under today's names, with positions for the size of the model's pictures."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    state = {OLD_DENSENET.sub(r"\1\2", name): each for name, each in state.items()}
    if isinstance(model, VisionTransformer) and "encoder.pos_embedding" in state:
        with suppress(ValueError):  # of a number of positions that is no square
            return interpolate_embeddings(model.image_size, model.patch_size, OrderedDict(state))
    return state
