"""The largest or the mean of each window, and where their gradients go back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FORMULAS: dict[str, Callable[..., Any]] = {}
