"""What torch has for a cell, for what is typed now: `sgdsheet verify` of a session."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sgdsheet import verification
from sgdsheet.book import NO_LESSON, Saved
from sgdsheet.errors import Error
from sgdsheet.explorer.explain import short
from sgdsheet.explorer.places import kept, places
from sgdsheet.expr import Range, Ref
from sgdsheet.reference import Reference
from sgdsheet.verification import Beside, reference_of

if TYPE_CHECKING:
    from sgdsheet.explorer.session import Session

MOMENT = 0.02  # seconds
NOTHING = "no PyTorch program stands behind this workbook"


def torch(session: Session, cell: Ref) -> dict[str, Any]:
    """What torch has for a cell, as the message `torch` has it. It is found out once for what is typed."""
    answer: dict[str, Any] = dict.fromkeys(("torch", "cell", "difference", "bound"))
    if not session.blocks:
        return answer | {"state": "unknown", "said": NOTHING, "blocks": 0, "of": 0}
    while True:
        version, found = _found(session)
        with session.lock:
            if version == session.version:  # or something was typed while torch computed
                return _cell(session, cell, found, answer)


def _cell(session: Session, cell: Ref, found: Beside | str, answer: dict[str, Any]) -> dict[str, Any]:
    panel = places(session).panel(cell.sheet, cell.row, cell.column)
    if isinstance(found, str):
        return answer | {"state": "unknown", "said": found, "blocks": 0, "of": 0}
    rows = found.rows.values()
    answer |= {"blocks": sum(row.ok for row in rows), "of": len(rows)}
    if panel is None:
        return answer | {"state": "unknown", "said": "this cell is of no block, so torch has nothing beside it"}
    name, position = panel.block.name, panel.position(cell.row, cell.column)
    value, row = session.value(cell), found.rows[name]
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    answer["cell"] = number
    if session.rule(cell) is not None:
        return answer | {"state": "input", "said": "typed in: torch begins with it too"}
    if name not in found.bounds:
        return answer | {"state": "agrees" if row.ok else "differs", "said": row.verdict}
    its, bound = float(found.torch[name][position]), float(found.bounds[name][position])
    if not np.isfinite(its):
        said = f"torch has no finite number here, the cell {short(value)}"
        return answer | {"state": "agrees" if row.ok else "differs", "said": said}
    answer |= {"torch": its, "bound": bound}
    if number is None:
        return answer | {"state": "agrees" if row.ok else "differs", "said": f"torch has {its:.6g}, the cell {value}"}
    difference = abs(number - its)
    answer["difference"] = difference
    if not row.ok and difference > bound:
        return answer | {"state": "differs", "said": f"torch has {its:.17g}: off by {difference:.3g}"}
    off = f"off by {difference:.1g}" if difference else "to the last digit"
    return answer | {"state": "agrees", "said": f"torch has the same, {off}"}


def _found(session: Session) -> tuple[int, Beside | str]:
    """The comparison for what is typed at a version of the session, or why there is none.

    Only what is read of the session keeps others waiting: cells are shown and typed into while torch computes.
    """
    with session.comparing:
        known = session.kept.get(_found)
        if known is None or known[0] != session.version:
            known = _compared(session)
            session.kept[_found] = known
        return known


def _compared(session: Session) -> tuple[int, Beside | str]:
    version = session.version
    try:
        made = reference(session)  # which imports torch at its first call
        while True:
            with session.lock:
                version, saved = session.version, typed_saved(session)
            values = _values(session, saved.ranges(), version)
            if values is not None:
                return version, verification.beside(saved, saved.arrange(values), made)
    except Error as error:
        return version, str(error).replace(f"{session.path}: ", "", 1)


def _values(session: Session, ranges: Sequence[Range], version: int) -> list[np.ndarray] | None:
    """What these ranges hold, or None if something was typed meanwhile: it has the way free every `MOMENT`."""
    found: list[np.ndarray] = []
    while len(found) < len(ranges):
        with session.lock:
            if session.version != version:
                return None
            until = time.monotonic() + MOMENT
            while len(found) < len(ranges) and time.monotonic() < until:
                found.append(session.values(ranges[len(found)]))
        time.sleep(0.001)  # who waits for a lock gets it only if it is left alone for a while
    return found


def typed_saved(session: Session) -> Saved:
    """What the workbook's blocks hold, with what was typed."""
    saved = session.saved
    if saved is None:
        raise Error(NOTHING)
    contents = dict(saved.contents)
    for cell, value in session.typed.items():
        if panel := places(session).panel(cell.sheet, cell.row, cell.column):
            name = panel.block.name
            if contents[name] is saved.contents[name]:
                contents[name] = contents[name].copy()
            contents[name][panel.position(cell.row, cell.column)] = value
    return replace(saved, contents=contents)


def _made(session: Session) -> Reference:
    if session.saved is None or session.saved.lesson == NO_LESSON:
        raise Error(NOTHING)
    return reference_of(session.saved, session.lesson)


reference = kept(_made)
