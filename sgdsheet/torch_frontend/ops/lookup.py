"""Elements chosen by numbers that stand in cells: embeddings, class targets, gathering and scattering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FORMULAS: dict[str, Callable[..., Any]] = {}
