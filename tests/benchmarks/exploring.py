"""How soon the explorer's page shows what a typed number changes, how it scrolls, and its memory, in a real Chromium.

    python -m tests.benchmarks.exploring [WORKBOOK…] [large]

For each workbook: ironcalc's own evaluate in this process, and the time from Enter to painted cells in the page,
medians of `TIMES`; the page's first cells, and its memory. The target is at most 1.5 times the evaluate plus 50 ms;
for `optimizers` the first cells within 1 s after the engine has loaded.

`large` is a sheet of 200,000 formulas that is made for this. It is scrolled down and to the right at each of `SPEEDS`,
pixels a second: a wheel that is turned fast, and more than anybody can read. Measured are the time between two frames,
and how long the middle of the screen lay blank; beside it the same for a plain table, all of whose cells are in the
page. Then it jumps: how soon the cells of the new place are there.

Memory is the proportional set size of the page's renderer process (Linux: /proc/PID/smaps_rollup): all of its own, the
JavaScript heap included, and its share of what it has in common with the browser's other processes. 200 MB at most.
What the browser has not yet cleared away is in it, but for the last figure of `large`.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openpyxl
from playwright.sync_api import sync_playwright

from sgdsheet import book
from sgdsheet.engines import engine, opened
from sgdsheet.explorer.app import application
from sgdsheet.explorer.session import Session
from sgdsheet.expr import column_letters
from sgdsheet.local_server import LocalServer

FOLDER = Path(__file__).parents[2] / "workbooks"
INPUTS = {"linear_sgd": "lr", "relu_net": "lr", "cnn_training": "SGD_lr", "optimizers": "start_intercept"}
TIMES = 7
LARGE = (2000, 100)  # rows and columns
SPEEDS = (1500, 4000)
LONGEST = 8  # seconds of scrolling
TABLE = (1200, 26)  # the plain one

# From the key to the first picture after the cells are new: a frame is drawn when the second of two is asked for.
PAINTED = """(text) => new Promise((resolve) => {
  const status = document.querySelector(".sgd-status"), field = document.activeElement;
  status.textContent = "";
  field.value = text;
  const began = performance.now();
  new MutationObserver((_, observer) => {
    if (!status.textContent.includes("changed")) return;
    observer.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
  }).observe(status, { childList: true });
  field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
})"""


COMPARED = "() => !document.querySelector('.explained-torch')?.textContent.includes('…')"


def evaluated(path: Path, block: str) -> float:
    """The median of ironcalc's evaluate after a number was typed, in milliseconds."""
    model, saved = opened(engine("ironcalc"), path), book.read(path)
    assert model is not None
    at, taken = saved.blocks[block].cell(()), []
    for number in range(TIMES + 1):
        started = time.perf_counter()
        model.calculate([(at, 0.01 + 0.001 * number)], ())
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken[1:])


# Milliseconds between frames while the sheet is scrolled, and the longest time that the middle of the screen was blank.
SCROLLED = """([side, speed, longest]) => new Promise((resolve) => {
  const scroller = document.querySelector(".sgd-scroll"), box = scroller.getBoundingClientRect();
  const down = side === "scrollTop", whole = down ? scroller.scrollHeight : scroller.scrollWidth;
  const length = Math.min(whole - 1800 - (down ? box.height : box.width) / 2, speed * longest); // empty cells end it
  const filled = () => document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)?.closest(".sgd-cell");
  const gaps = [], began = performance.now();
  let last = began, seen = began, blank = 0;
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    if (filled()) seen = now;
    blank = Math.max(blank, now - seen);
    scroller[side] = ((now - began) * speed) / 1000;
    if (now - began < (1000 * length) / speed) requestAnimationFrame(frame);
    else resolve([gaps.slice(2), blank]);
  };
  requestAnimationFrame(frame);
})"""

# Milliseconds from a jump to this share of the sheet until its cells are painted.
JUMPED = """(share) => new Promise((resolve) => {
  const scroller = document.querySelector(".sgd-scroll"), box = scroller.getBoundingClientRect();
  const began = performance.now();
  scroller.scrollLeft = 0;
  scroller.scrollTop = scroller.scrollHeight * share;
  const frame = () => {
    const cell = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)?.closest(".sgd-cell");
    if (cell) requestAnimationFrame(() => resolve(performance.now() - began));
    else requestAnimationFrame(frame);
  };
  requestAnimationFrame(() => requestAnimationFrame(frame)); // the first still shows where it was
})"""


@contextmanager
def page_of(browser: Any, path: Path) -> Iterator[tuple[Any, float]]:
    """A page that shows a workbook, and the milliseconds to its first cells with the engine loaded."""
    session = Session(path)
    sheet = next(iter(session.file.sheets))
    session.answer({"ask": "cells", "view": {"sheet": sheet, "top": 1, "left": 1, "bottom": 1, "right": 1}})
    server = LocalServer(application(lambda: session))
    server.start()
    page = browser.new_page(viewport={"width": 1680, "height": 860})
    started = time.perf_counter()
    page.goto(server.url)
    page.locator("[role=gridcell]:not(:empty)").first.wait_for()
    first = 1000 * (time.perf_counter() - started)
    page.locator("[data-ready=true]").wait_for()
    yield page, first
    page.close()
    server.end()
    server.wait()


def painted(page: Any, path: Path, block: str) -> list[float]:
    """Milliseconds from Enter to painted cells."""
    at, taken = book.read(path).blocks[block].cell(()), []
    page.get_by_role("tab", name=at.sheet, exact=True).click()
    cell = page.locator(f'[role=row][aria-rowindex="{at.row}"] > [role=gridcell][aria-colindex="{at.column}"]')
    for number in range(TIMES + 1):
        cell.click()
        page.wait_for_timeout(300)
        page.wait_for_function(COMPARED, timeout=60_000)  # so that nothing else is under way
        page.keyboard.press("F2")
        taken.append(page.evaluate(PAINTED, str(0.01 + 0.001 * number)))
    return taken[1:]


def memory(browser: Any) -> float:
    """Megabytes of the renderer that has worked most."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    busiest = max((each for each in told if each["type"] == "renderer"), key=lambda each: each["cpuTime"])
    lines = Path(f"/proc/{busiest['id']}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def write_large(path: Path) -> None:
    """A sheet of formulas, each of which reads the one above it."""
    made = openpyxl.Workbook(write_only=True)
    sheet: Any = made.create_sheet("large")
    rows, columns = LARGE
    letters = [column_letters(column + 1) for column in range(columns)]
    sheet.append([column / 7 for column in range(columns)])
    for row in range(1, rows):
        sheet.append([f"={letter}{row}*0.999+0.01" for letter in letters])
    made.save(path)


def measure(browser: Any, path: Path, block: str) -> None:
    """Prints a workbook's line."""
    bare = evaluated(path, block)
    with page_of(browser, path) as (page, first):
        median = statistics.median(painted(page, path, block))
        print(
            f"{path.stem}: evaluate {bare:.0f} ms, typed to painted {median:.0f} ms ({1.5 * bare + 50:.0f} at most), "
            f"first cells {first:.0f} ms, {memory(browser):.0f} MB"
        )


def measure_large(browser: Any, path: Path) -> None:
    """Prints the lines of the large sheet, and of a plain table beside it."""
    page = browser.new_page(viewport={"width": 1680, "height": 860})
    page.set_content(plain_table())
    for speed in SPEEDS:
        print(f"a plain table, {speed} pixels a second: {scrolled(page, 'scrollTop', speed)}")
    page.close()
    with page_of(browser, path) as (page, first):
        print(f"large: first cells {first:.0f} ms, {memory(browser):.0f} MB")
        page.wait_for_timeout(3000)  # who reads the selected cell is looked for
        for speed in SPEEDS:
            for words, side in (("down", "scrollTop"), ("to the right", "scrollLeft")):
                print(f"large, {words}, {speed} pixels a second: {scrolled(page, side, speed)}")
        jumps = [page.evaluate(JUMPED, share) for share in (0.5, 0.1, 0.9, 0.3, 0.7)]
        print(f"large: a jump's cells after {statistics.median(jumps):.0f} ms, at most {max(jumps):.0f} ms")
        print(f"large: {memory(browser):.0f} MB after that")
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        page.wait_for_timeout(1000)
        print(f"large: {memory(browser):.0f} MB when what is no more used was cleared away")


def scrolled(page: Any, side: str, speed: int) -> str:
    """Scrolls from the beginning, and says how."""
    page.evaluate("document.querySelector('.sgd-scroll').scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    gaps, blank = page.evaluate(SCROLLED, [side, speed, LONGEST])
    late = statistics.quantiles(gaps, n=20)[-1]
    return (
        f"a frame every {statistics.median(gaps):.0f} ms, 95 of 100 within {late:.0f} ms, "
        f"the longest {max(gaps):.0f} ms; blank for {blank:.0f} ms at most"
    )


def plain_table() -> str:
    """A page with a table that the browser scrolls alone."""
    rows, columns = TABLE
    style = ".sgd-scroll { height: 700px; overflow: auto } td { min-width: 60px; height: 18px; font: 14.7px Calibri }"
    lines = ("".join(f"<td class=sgd-cell>{row / 7 + column:.6f}" for column in range(columns)) for row in range(rows))
    return f"<style>{style}</style><div class=sgd-scroll><table>{'<tr>'.join(lines)}</table></div>"


def main(*names: str) -> None:
    """Measures, and prints a line for each workbook; each has a browser of its own, so that its memory is its own."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        for name in names or [*INPUTS, "large"]:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            if name == "large":
                write_large(Path(folder) / "large.xlsx")
                measure_large(browser, Path(folder) / "large.xlsx")
            else:
                measure(browser, FOLDER / f"{name}.xlsx", INPUTS[name])
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
