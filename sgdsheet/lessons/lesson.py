"""What a lesson is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgdsheet.book import Book, Input
from sgdsheet.errors import Error, nearest
from sgdsheet.exercises.exercise import Exercise
from sgdsheet.lessons.data import NO_DATA, Data, Source
from sgdsheet.lessons.flow import Named
from sgdsheet.reference import Loop, Reference

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Lesson:
    """One workbook and the torch program that it must agree with.

    Arguments:
      name: what the workbook's file and the lesson are called.
      summary: one line for a list of lessons.
      inputs: the cells that the reader may change, or that are chosen when the workbook is made.
      data: the numbers that it begins with; none by default.
      build: `build(book, data)` fills the book. `book.values` has the inputs' starting values, `data` is what
        `data.load` gave.
      reference: `reference(v)` runs torch in float64 on what stands in a file's cells, and returns tensors (or numbers)
        by block name. `v` has each input (a number, whole if the input is, or a text) and each block of data (a float64
        tensor) by name. Inputs and data need not be returned. None if the workbook carries its own program.
      sizes: `sizes(v, blocks)` gives, for a block whose formula takes a difference of larger numbers, how large they
        are: its rounding is measured against that. `blocks` holds arrays by name.
      title: the first line of the workbook.
      about: paragraphs that say what the workbook is.
      things_to_try: what the reader may do with it, a line each.
      again: for `sgdsheet train`: the block whose last numbers are typed into each of these blocks to train on. The
        block `loss` then has a number for each step.
      exercises: the blocks that a learner may be asked to write, see `sgdsheet.exercises.exercise`.
    """

    name: str
    summary: str
    inputs: tuple[Input, ...] = ()
    data: Data = NO_DATA
    build: Callable[..., Any] = field(kw_only=True)
    reference: Callable[..., Mapping[str, Any]] | None = field(default=None, kw_only=True)
    sizes: Callable[..., Mapping[str, Any]] = field(default=lambda v, blocks: {}, kw_only=True)
    title: str = field(default="", kw_only=True)
    about: Sequence[str] = field(default=(), kw_only=True)
    things_to_try: Sequence[str] = field(default=(), kw_only=True)
    again: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    exercises: Sequence[Exercise] = field(default=(), kw_only=True)

    def book(self, values: Values, data: Values) -> Book:
        """The workbook, not yet written, from the inputs' starting values and what `load` gave."""
        book = Book(self.name, self.title, self.about, self.things_to_try, self.inputs, values)
        self.build(book, data)
        return book

    def checked(self) -> Reference:
        """What `verify` compares the workbook with."""
        loop = Loop(self.again) if self.again else None
        return Reference(self.name, self.inputs, self.data.dims, self._run, self._sizes, loop=loop)

    def _run(self, values: Values) -> dict[str, np.ndarray]:
        assert self.reference is not None
        numbers = [spec.name for spec in self.inputs if not spec.choices]
        given = {name: values[name] for name in (*self.data.dims, *numbers)}
        return {name: _array(block) for name, block in {**given, **self.reference(self._given(values))}.items()}

    def _sizes(self, values: Values, blocks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: _array(size) for name, size in self.sizes(self._given(values), blocks).items()}

    def _given(self, values: Values) -> Named:
        """What stands in a file's cells, as `reference` wants it."""
        import torch

        v = Named(**values)
        for spec in self.inputs:
            if not spec.choices:
                setattr(v, spec.name, (int if spec.whole else float)(values[spec.name]))
        for name in self.data.dims:
            setattr(v, name, torch.as_tensor(values[name], dtype=torch.float64))
        return v

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


def _array(block: Any) -> np.ndarray:
    """A block of the reference, a tensor or numbers, as a float64 array."""
    return np.asarray(block.detach() if hasattr(block, "detach") else block, dtype=np.float64)
