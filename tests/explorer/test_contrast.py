"""What is to be read can be: the contrast of texts and marks in light and dark, as Chromium computes their colours.

WCAG 2.2 asks for 4.5 : 1 for texts (1.4.3), 3 : 1 for large ones and for what tells parts apart (1.4.11).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.explorer.cells import show

WORKBOOKS = Path(__file__).parents[2] / "workbooks"
SHEETS = {
    "linear_sgd": ("sgd", "charts"),
    "attention_by_hand": ("attention",),
    "cnn_training": ("training", "filters", "step 1"),
}

# Every text in view with too little contrast, as [ratio, text, its colour, what is behind it].
FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (color) => {
    if (!known.has(color)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      known.set(color, [...canvas.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(color);
  };
  const over = (top, below) => [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * (255 - top[3])) / 255).concat(255);
  const linear = (part) => (part <= 10.31 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (one, other) => {
    const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
    return (more + 0.05) / (less + 0.05);
  };
  const behind = (element) => {
    if (!element) return rgba("Canvas");
    const paper = element.closest("svg")?.querySelector(".chart-paper");
    if (paper) return rgba(getComputedStyle(paper).fill);
    return over(rgba(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  };
  window.contrast = (color, element) => ratio(over(rgba(color), behind(element)), behind(element));
  const found = [];
  const walker = document.createTreeWalker(document.querySelector(".sgdsheet"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(":disabled, option, title, desc")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const color = element.closest("svg") ? style.fill : style.color;
    const got = contrast(color, element);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    if (got < least) found.push([got, walker.currentNode.data.slice(0, 40), color, String(behind(element))]);
  }
  return found;
}"""
MARKS = {"--blue": ".sgd-scroll", "--readers": ".sgd-scroll", "--bad": ".sgd-foot", "--part-link": ".explained"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SHEETS)
def test_texts_and_marks_stand_out(name: str, scheme: str, window: Callable[..., Any]) -> None:
    page = window(WORKBOOKS / f"{name}.xlsx", color_scheme=scheme)
    for sheet in SHEETS[name]:
        show(page, sheet)
        page.locator("[role=gridcell]:not(:empty)").nth(3).wait_for()
        assert page.evaluate(FAINT) == [], sheet
    for variable, selector in MARKS.items():
        script = """([name, selector]) => {
          const element = document.querySelector(selector), probe = document.createElement("i");
          probe.style.color = `var(${name})`;
          element.append(probe);
          const color = getComputedStyle(probe).color;
          probe.remove();
          return contrast(color, element);
        }"""
        assert page.evaluate(script, [variable, selector]) >= 3, variable
