"""A fast trainer for image classifiers: any folder of pictures, any number of classes, any model of torchvision.

from trainer import ImageFolder, Classifier

data = ImageFolder("bears", valid_pct=0.2, seed=42, size=224)
clf = Classifier(data, arch="resnet34")
clf.find_lr()
clf.fit_one_cycle(4, lr=3e-3)
clf.save("runs/bears")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.classifier import Classifier
    from trainer.data.image_folder import ImageFolder
    from trainer.recipe import Augment, Recipe

__all__ = ["Augment", "Classifier", "ImageFolder", "Recipe"]

_WHERE = {"Augment": "recipe", "Classifier": "classifier", "ImageFolder": "data.image_folder", "Recipe": "recipe"}


def __getattr__(name: str) -> Any:
    # torch is imported when it is first needed, so that `trainer --help` answers at once.
    if name in _WHERE:
        return getattr(importlib.import_module(f"trainer.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'trainer' has no attribute {name!r}")
