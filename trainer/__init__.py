"""A fast trainer for image classifiers: any folder of pictures, any classes, any model of torchvision or timm.

from trainer import ImageFolder, Classifier

data = ImageFolder("bears", valid_pct=0.2, seed=42, size=160)
clf = Classifier(data, arch="efficientnet_lite0")
clf.fine_tune(1)
print(clf.predictions().summary())
clf.save("runs/bears")

clf.export("bears.classifier")
print(load("bears.classifier").predict("x.jpg"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.classifier import Classifier
    from trainer.cleaning.problems import check
    from trainer.collect.download import download
    from trainer.data.image_folder import ImageFolder
    from trainer.recipe import Augment, Recipe
    from trainer.serving.predictor import load

__all__ = ["Augment", "Classifier", "ImageFolder", "Recipe", "check", "download", "load"]

_WHERE = {
    "Augment": "recipe",
    "Classifier": "classifier",
    "ImageFolder": "data.image_folder",
    "Recipe": "recipe",
    "check": "cleaning.problems",
    "download": "collect.download",
    "load": "serving.predictor",
}


def __getattr__(name: str) -> Any:
    # torch is imported when it is first needed, so that `trainer --help` answers at once.
    if name in _WHERE:
        return getattr(importlib.import_module(f"trainer.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")
