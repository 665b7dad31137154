"""Models of timm, and what is particular to them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from torch import nn

from sgdsheet.errors import Error, nearest
from trainer.models import packaged
from trainer.models.downloads import downloading, quiet
from trainer.models.files import read
from trainer.models.fitting import Leave, State, fit
from trainer.models.heads import even
from trainer.models.network import MEAN, STD, Network
from trainer.models.sizes import sized

HUB = ("hf-hub:", "hf_hub:")
# What weights are called there.
# timm brings tqdm along, which in a notebook without ipywidgets asks for them, and shows nothing here.
warnings.filterwarnings("ignore", message="IProgress not found")
WEIGHTS = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def installed() -> bool:
    """Whether there is timm."""
    return find_spec("timm") is not None


def names() -> list[str]:
    """The models by name, without their weights."""
    import timm

    return timm.list_models()


def name_of(make: Callable[..., Any]) -> str | None:
    """The name of the model that a function of timm makes."""
    name = getattr(make, "__name__", "")
    if not getattr(make, "__module__", "").startswith("timm."):
        return None
    import timm

    return name if timm.is_model(name) and timm.model_entrypoint(name) is make else None


def find(name: str) -> Timm | None:
    """The model of a name, with a tag or without; None where timm has none."""
    import timm
    from timm.models import get_deprecated_models

    hub = next((prefix for prefix in HUB if name.startswith(prefix)), None)
    if hub:
        inner = name.removeprefix(hub)
        return find(inner.removeprefix("timm/")) if inner.startswith("timm/") else Timm(inner, hub=True)
    given_up = get_deprecated_models()
    if name in given_up and not given_up[name]:
        raise Error(f"timm has given up {name}, and names nothing in its place")
    arch, _, tag = (given_up.get(name) or name).partition(".")
    if not timm.is_model(arch):
        return None
    found = Timm(arch, tag, renamed=name if name in given_up else "")
    if tag:
        found.require(tag)
    return found


@dataclass(frozen=True)
class Timm:
    """A model of timm, and the tag of its weights where one was given; or a model of the hub, by its name there."""

    arch: str
    tag: str = ""
    hub: bool = False
    renamed: str = ""  # the name that timm has given up

    @property
    def name(self) -> str:
        """The name that timm's `create_model` takes."""
        return f"hf-hub:{self.arch}" if self.hub else ".".join(filter(None, (self.arch, self.tag)))

    @property
    def leave(self) -> Leave:
        """In what weights may differ from the model."""
        return Leave(adapt=_adapted)

    def made(self, classes: int, size: int) -> nn.Module:
        """The model with random numbers and an even head."""
        if self.hub:
            with downloading(f"the description of {self.arch}", self._url("config.json")):
                model = self._created(classes, size)
        else:
            with quiet(), sized(self.name, size, self._usual()):
                model = self._created(classes, size)
        even(model)
        return model

    def pretrained(self, wanted: Any, classes: int, size: int) -> Network:
        """The model with weights that timm downloads, given by their tag, or with those of a package."""
        if wanted == "DEFAULT" and not self.tag and (file := packaged.file(self.arch)):
            model = self.made(classes, size)
            fit(model, read(file).states, str(file), self.leave, head=False)
            source = f"ImageNet's weights of the package {packaged.PACKAGES[self.arch]}"
            return Network(model, **self.expected(model), source=source)
        chosen = self._chosen(wanted)
        if chosen._usual() != size:  # what is wrong with that is said before anything is downloaded
            chosen.made(classes, size)
        advice = {"instead": packaged.advice(self.arch)} if self.arch in packaged.PACKAGES else {}
        with downloading(f"timm's {chosen.name}", chosen._url(WEIGHTS[0]), **advice):
            try:
                model = chosen._created(classes, size, pretrained=True)
            except RuntimeError as error:
                if "size mismatch" not in str(error):
                    raise
                usual = self._usual()
                raise Error(
                    f"the weights of {chosen.name} cannot be had for {size} x {size} pixels, only {usual}"
                ) from None
        even(model)
        once = f", once {self.renamed}" if self.renamed else ""
        return Network(model, **self.expected(model), source=f"timm's {chosen.name}{once}")

    def expected(self, model: nn.Module) -> dict[str, Any]:
        """The pictures that the weights of this name expect."""
        said = getattr(model, "pretrained_cfg", None) or {}
        size, crop = said.get("input_size"), said.get("crop_pct")
        colours = {"mean": tuple(said.get("mean") or MEAN), "std": tuple(said.get("std") or STD)}
        return colours | {"size": size[-1] if size else None, "crop": crop}

    def offered(self, file: str) -> dict[str, Any]:
        """Nothing: many of the files that timm offers have the same name."""
        return {}

    def require(self, tag: str) -> None:
        """Raises `Error` unless timm has weights of this tag."""
        import timm

        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{self.arch}.*")]
        if tag not in tags:
            said = f"timm has no weights {tag!r} of {self.arch}, and there is no such file"
            raise Error(f"{said}{nearest(tag, tags) if tags else '; it has none of it at all'}")

    def _chosen(self, wanted: Any) -> Timm:
        """The model with the tag of the weights that are wanted."""
        import timm
        from timm.models import is_model_pretrained

        if not isinstance(wanted, str):
            raise Error(f"{self.name} of timm has no weights {wanted!r}; expected a tag, a file or None")
        if wanted != "DEFAULT" and (self.hub or self.tag not in ("", wanted)):
            raise Error(f"{self.name} says its weights itself, and is not to have {wanted!r} too")
        if wanted != "DEFAULT":
            self.require(wanted)
            return replace(self, tag=wanted)
        if self.hub or self.tag:
            return self
        if not is_model_pretrained(self.arch):
            raise Error(f"timm has no weights of {self.arch}; weights=None (--weights none) begins from random numbers")
        said = timm.get_pretrained_cfg(self.arch)
        return replace(self, tag=(said and said.tag) or "")

    def _created(self, classes: int, size: int, pretrained: bool = False) -> nn.Module:
        import timm

        options = {"num_classes": classes, "pretrained": pretrained}
        if self._usual() not in (None, size):
            with suppress(TypeError):  # not all of these can be made for another size
                return timm.create_model(self.name, img_size=size, **options)
        return timm.create_model(self.name, **options)

    def _usual(self) -> int | None:
        """The one size that the model takes unless it is told another; None if it takes many, or that is not known."""
        import timm

        said = None if self.hub else timm.get_pretrained_cfg(self.name)
        return said.input_size[-1] if said and said.fixed_input_size else None

    def _url(self, file: str) -> str | None:
        """Where the hub has a file of this model, or None if it lies here already."""
        import timm
        from huggingface_hub import constants, is_offline_mode, try_to_load_from_cache

        said = None if self.hub else timm.get_pretrained_cfg(self.name)
        place = self.arch if self.hub else said and said.hf_hub_id
        if not place:
            return said.url if said and isinstance(said.url, str) else None
        repo, _, revision = place.partition("@")
        names = {file, *WEIGHTS, said and said.hf_hub_filename} if file in WEIGHTS else {file}
        cached = [try_to_load_from_cache(repo, name, revision=revision or None) for name in names if name]
        here = any(isinstance(each, str) for each in cached)
        return None if here or is_offline_mode() else constants.ENDPOINT


def _adapted(state: State, model: nn.Module) -> State:
    """Weights under timm's names of today, with positions for the size of the model's pictures."""
    state = packaged.renamed(state, model)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        with quiet(), suppress(Exception):  # it may take other names for its own
            return convert(dict(state), model)
    return state
