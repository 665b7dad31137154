"""Spreadsheets in which every step of gradient descent is a live formula, checked against PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgdsheet.errors import Error

if TYPE_CHECKING:
    from sgdsheet.animation import animate
    from sgdsheet.explorer.explore import explore
    from sgdsheet.generation import generate
    from sgdsheet.grading.grader import Graded, grade
    from sgdsheet.recording.recorder import Recorder
    from sgdsheet.replaying.replay import replay
    from sgdsheet.table.fit import Fitted, fit
    from sgdsheet.torch_frontend.compiled import compile
    from sgdsheet.training.train import Trained, train
    from sgdsheet.verification import Report, read, verify

__version__ = "0.1.0"
__all__ = [
    "Error",
    "Fitted",
    "Graded",
    "Recorder",
    "Report",
    "Trained",
    "animate",
    "compile",
    "explore",
    "fit",
    "generate",
    "grade",
    "read",
    "replay",
    "train",
    "verify",
]

# Where each name lives; imported when it is first asked for, so that `import sgdsheet` takes no time.
_HOMES = {
    "animate": "animation",
    "compile": "torch_frontend.compiled",
    "explore": "explorer.explore",
    "Fitted": "table.fit",
    "fit": "table.fit",
    "generate": "generation",
    "Graded": "grading.grader",
    "grade": "grading.grader",
    "Recorder": "recording.recorder",
    "Report": "verification",
    "read": "verification",
    "replay": "replaying.replay",
    "Trained": "training.train",
    "train": "training.train",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sgdsheet' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"sgdsheet.{_HOMES[name]}"), name)
