"""Spreadsheets in which every step of gradient descent is a live formula, checked against PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgdsheet.errors import Error

if TYPE_CHECKING:
    from sgdsheet.generation import generate
    from sgdsheet.grading.grader import Graded, grade
    from sgdsheet.torch_frontend.compiled import compile
    from sgdsheet.verification import Report, read, verify

__version__ = "0.1.0"
__all__ = ["Error", "Graded", "Report", "compile", "generate", "grade", "read", "verify"]

# Where each name lives; imported when it is first asked for, so that `import sgdsheet` takes no time.
_HOMES = {
    "compile": "torch_frontend.compiled",
    "generate": "generation",
    "Graded": "grading.grader",
    "grade": "grading.grader",
    "Report": "verification",
    "read": "verification",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sgdsheet' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"sgdsheet.{_HOMES[name]}"), name)
