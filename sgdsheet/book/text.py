"""Texts in little room."""

from __future__ import annotations

import re

BREAK, NARROW = 10, 7  # letters of a name on one line, where it may go on below; above a counter's column


def broken(name: str, letters: int = BREAK) -> str:
    """A name in two lines, if it is longer than so many letters and has a gap or an underscore to break at."""
    places = [each.end() for each in re.finditer(r"[_ .]", name)] if len(name) > letters else []
    if not places:
        return name
    place = min(places, key=lambda each: max(each, len(name) - each))
    return f"{name[:place].rstrip(' ')}\n{name[place:]}"
