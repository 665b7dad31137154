"""Models that a class or function of the user's makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sgdsheet.errors import Error, nearest
from trainer.models.fitting import Leave
from trainer.models.network import UNSEEN


def from_file(arch: str) -> Any:
    """The class or function that `arch` names, as my_model.py:Net; any other name as it is. Raises `Error`."""
    file, _, name = arch.rpartition(":")
    if not file.endswith(".py"):
        return arch
    from sgdsheet.user_code import module

    own = vars(module(Path(file)))
    if not callable(own.get(name)):
        mine = [key for key, value in own.items() if getattr(value, "__module__", None) == own["__name__"]]
        raise Error(f"{file}: there is no class or function {name!r} in it{nearest(name, mine)}")
    return own[name]


@dataclass(frozen=True)
class Own:
    """A class or function that makes a model when called with `num_classes`."""

    make: Callable[..., nn.Module]

    @property
    def name(self) -> str:
        """What it is called."""
        return getattr(self.make, "__name__", type(self.make).__name__)

    @property
    def leave(self) -> Leave:
        """In what weights may differ from the model."""
        return Leave()

    def made(self, classes: int, size: int) -> nn.Module:
        """The model, its head as it makes it: which layer that is can only be guessed."""
        try:
            inspect.signature(self.make).bind(num_classes=classes)
        except TypeError as error:
            raise Error(f"arch: {self.name} cannot be called with num_classes alone: {error}") from None
        except ValueError:  # it has no signature to look at
            pass
        model: Any = self.make(num_classes=classes)
        if not isinstance(model, nn.Module):
            raise Error(f"arch: expected {self.name} to make a model, got {type(model).__name__}")
        return model

    def pretrained(self, wanted: Any, classes: int, size: int) -> Any:
        """There are none by name."""
        raise Error(f"{self.name} has no weights {wanted!r}, and there is no such file; expected a file or None")

    def expected(self, model: nn.Module) -> dict[str, Any]:
        """ImageNet's colours."""
        return {**UNSEEN}

    def offered(self, file: str) -> dict[str, Any]:
        """Nothing."""
        return {}
