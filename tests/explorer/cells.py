"""The cells of a sheet as a page shows them, or a widget in it: `root` is either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sgdsheet.explorer.session import Session


def show(page: Any, sheet: str) -> None:
    """Goes to a sheet by its tab, and waits until what is on screen has come."""
    with page.expect_response(
        lambda answer: asked(answer) == "cells" and answer.request.post_data_json["view"]["sheet"] == sheet
    ):
        page.get_by_role("tab", name=sheet, exact=True).click()
    page.get_by_role("grid", name=f"sheet {sheet}", exact=True).wait_for()


def asked(answer: Any) -> str:
    return (answer.request.post_data_json or {}).get("ask", "") if answer.request.method == "POST" else ""


def cell(root: Any, row: int, column: int) -> Any:
    return root.locator(f'[role=row][aria-rowindex="{row}"] > [role=gridcell][aria-colindex="{column}"]')


def texts(root: Any) -> dict[tuple[int, int], str]:
    """What the cells in view show, by row and column."""
    script = """cells => cells.map((cell) => [
      Number(cell.parentElement.getAttribute("aria-rowindex")), Number(cell.getAttribute("aria-colindex")),
      cell.querySelector("select")?.value ?? cell.textContent])"""
    return {(row, column): text for row, column, text in root.locator("[role=gridcell]").evaluate_all(script)}


def seen(session: Session, sheet: str, shown: Mapping[tuple[int, int], str]) -> dict[tuple[int, int], str]:
    """What a session says that these cells show."""
    rows, columns = zip(*shown, strict=True)
    view = {"sheet": sheet, "top": min(rows), "bottom": max(rows), "left": min(columns), "right": max(columns)}
    told = {(row, column): words for row, column, words, *_ in session.answer({"ask": "cells", "view": view})["cells"]}
    return {
        place: told.get(place, "").replace("\n", " ") if "\n" not in shown[place] else told[place] for place in shown
    }


def until(page: Any, holds: Callable[[], bool]) -> None:
    """Waits for what lies around the screen, which is asked for after what is on it."""
    for _ in range(600):
        if holds():
            return
        page.wait_for_timeout(100)
    assert holds()
