"""What the workbook of a trained classifier must agree with: its program, of the picture that is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgdsheet.book import Input, Saved
from sgdsheet.reference import Reference, Values
from sgdsheet.torch_frontend.program import reference as compiled

CLASSIFIER = "a trained classifier"  # stands for the lesson's name
HELD_OUT, PAINTED = "held out", "painted"
OWN = ("source", "number", "painted", "held_pixels", "held_label")


def reference(saved: Saved) -> Reference:
    """The program on the workbook's sheet `program`, with what stands on the sheets `picture` and `held out`.

    Raises `Error` if that sheet is missing or was edited.
    """
    program = compiled.reference(saved)
    count, *shape = saved.blocks["held_pixels"].shape if "held_pixels" in saved.blocks else (1, 1, 1)
    inputs = (
        Input("source", HELD_OUT, "what is looked at", choices=(HELD_OUT, PAINTED)),
        Input("number", 1, "which held-out picture", minimum=1, maximum=count, whole=True),
    )
    dims = {name: number for name, number in program.dims.items() if name != "input"}
    dims |= {"painted": len(shape), "held_pixels": len(shape) + 1, "held_label": 1}

    def run(values: Values) -> dict[str, np.ndarray]:
        painted, number = values["source"] == PAINTED, int(values["number"]) - 1
        picture = values["painted"] if painted else values["held_pixels"][number]
        given: dict[str, Any] = {name: each for name, each in values.items() if name not in OWN}
        blocks = program.run({**given, "input": picture})
        probability = blocks["0/output"]
        own = {name: np.asarray(values[name], dtype=float) for name in OWN if name != "source"}
        return {
            **blocks,
            **own,
            "input": np.asarray(picture, dtype=float),
            "probability": probability,
            "predicted": np.asarray(float(probability.argmax())),
            "sure": np.asarray(probability.max()),
            "true_class": np.asarray(-1.0 if painted else float(values["held_label"][number])),
        }

    whole = {*(program.whole or ()), "held_label"}
    return replace(program, name=CLASSIFIER, inputs=inputs, dims=dims, run=run, whole=whole)
