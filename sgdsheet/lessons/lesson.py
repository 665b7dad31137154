"""What a lesson is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgdsheet.book import Book, Input
from sgdsheet.errors import Error, nearest
from sgdsheet.lessons.data import Data, Source
from sgdsheet.reference import Reference

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Lesson:
    """One workbook and the torch program that it must agree with.

    `build(values, data)` makes the workbook: `values` are the inputs' starting values, `data` is what `data.load` gave.
    `reference(values)` runs torch in float64 on what stands in a file's cells, inputs and data both by block name (a
    float, a text or an array), and returns every block by name as a float64 array. `sizes(values, blocks)` gives, for a
    block whose formula takes a difference of larger numbers, how large they are: its rounding is measured against that.
    """

    name: str
    summary: str
    inputs: tuple[Input, ...]
    data: Data
    build: Callable[[Values, Values], Book]
    reference: Callable[[Values], dict[str, np.ndarray]]
    sizes: Callable[[Values, Mapping[str, np.ndarray]], dict[str, np.ndarray]] = lambda values, blocks: {}

    def checked(self) -> Reference:
        """What `verify` compares the workbook with."""
        return Reference(self.name, self.inputs, self.data.dims, self.reference, self.sizes)

    def load(self, source: Source) -> Values:
        """The numbers to build with. Raises `Error` for a source that the lesson has no use for."""
        for kind, option in (("csv", "--data"), ("image", "--image")):
            if getattr(source, kind) is not None and kind not in self.data.takes:
                other = " but --data FILE.csv" if "csv" in self.data.takes else ""
                raise Error(f"{self.name} takes no {option}{other}")
        if source.image is None and (source.size is not None or source.rgb):
            raise Error(f"{self.name}: --size and --rgb are for a picture: give --image too")
        return self.data.load(source)

    def values(self, given: Values) -> dict[str, float | str]:
        """The inputs' starting values with those that are given. Raises `Error` for a name or value that fits none."""
        specs = {spec.name: spec for spec in self.inputs}
        values = {spec.name: spec.value for spec in self.inputs}
        for name, value in given.items():
            if name not in specs:
                raise Error(f"{self.name} has no input {name!r}{nearest(name, specs)}")
            where = f"{self.name}: input {name!r}"
            parse = specs[name].parse if isinstance(value, str) else specs[name].check
            values[name] = parse(value, where)
        return values
