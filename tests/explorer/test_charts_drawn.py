"""Charts in a page: the points that are drawn, the numbers beside the axes, what keyboard and pointer are told."""

from __future__ import annotations

from typing import Any

import pytest

PLACE = {"left": 0, "top": 0, "width": 600, "height": 330}
HOSTILE = "<img src=x onerror=alert(1)>"
DRAW = """async ([chart, series, options]) => {
    const {drawChart} = await import("./chart.js");
    root.replaceChildren(drawChart(chart, series, options));
}"""


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, "min": None, "max": None, "log": None, "unit": None, "format": "General", **more}


def line(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "color": "#0072b2", "line": True, "width": 1.75, "dash": None, "marker": None, **more}


def chart(*series: dict[str, Any], **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": "scatter", "title": "Loss", "place": PLACE, "x": axis("step"), "y": axis("loss")}
    return {**made, "legend": True, "series": [*series], **more}


def draw(page: Any, made: dict[str, Any], *values: tuple[list[Any], list[Any]], **options: Any) -> None:
    page.evaluate(DRAW, [made, [{"x": x, "y": y} for x, y in values], options])


def ticks(page: Any, which: str) -> list[str]:
    return page.locator(f".chart-tick-{which}").all_text_contents()


def test_a_line_breaks_at_a_blank_and_skips_what_is_no_number(parts: Any) -> None:
    made = chart(line("SGD", marker={"kind": "square", "size": 5, "color": "#d55e00"}))
    xs = [1, 2, 3, 4, 5, 6, 7]
    draw(parts, made, (xs, [9, "#N/A", 7, None, "inf", 4, 1e308]))
    path = parts.locator("path.chart-line[data-series='0']")
    assert [(path.get_attribute("d") or "").count(letter) for letter in "ML"] == [2, 1]
    marker = parts.locator("path.chart-marker[data-series='0']")
    assert (marker.get_attribute("d") or "").count("z") == 3
    assert marker.evaluate("node => getComputedStyle(node).fill") == "rgb(213, 94, 0)"
    assert "3 points, from 9 to 4, lowest 4, highest 9" in parts.locator("desc").text_content()
    draw(parts, made, (xs, [9, 8, 7, 6, 5, 4, 3]), upTo=2)
    assert (path.get_attribute("d") or "").count("L") == 1
    draw(parts, made, ([], [1, 2, 3]), width=390)
    assert ticks(parts, "x") == ["0", "0.5", "1", "1.5", "2", "2.5", "3", "3.5"]  # without numbers across, points count


AXES: list[tuple[dict[str, Any], list[Any], str]] = [
    (axis("y"), [0.2, 4.4], "0 0.5 1 1.5 2 2.5 3 3.5 4 4.5 5"),
    (axis("y"), [9.8, 10.2], "9.6 9.7 9.8 9.9 10 10.1 10.2 10.3"),
    (axis("y"), [-9, -1], "-10 -9 -8 -7 -6 -5 -4 -3 -2 -1 0"),
    (axis("y"), [0.08, 1.95], "0 0.5 1 1.5 2 2.5"),
    (axis("y", min=0, max=1), [0.5, 3], "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"),
    (axis("y", min=1, max=16), [1, 16], "1 3 5 7 9 11 13 15"),
    (axis("y", min=-0.6, max=0.5, unit=0.3), [0], "-0.6 -0.3 0 0.3"),
    (axis("y", min=0, max=1, unit=1e-9), [0], "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1"),
    (axis("y", min=0.5, max=0.1), [3, 4], "0.5 0.6 0.7 0.8 0.9 1 1.1 1.2 1.3 1.4 1.5"),
    (axis("y", log=10, format="0E+0"), [0.004, 30, -1, 0], "1E-3 1E-2 1E-1 1E+0 1E+1 1E+2"),
    (axis("y", format="0%"), [0, 1.7], "0% 20% 40% 60% 80% 100% 120% 140% 160% 180%"),
    (axis("y"), [3e-7, 1.1e-6], "0 0.0000002 0.0000004 0.0000006 0.0000008 0.000001 0.0000012"),
    (axis("y"), [3e-12, 1.1e-11], "0 2E-12 4E-12 6E-12 8E-12 1E-11 1.2E-11"),
    (axis("y"), [7, 7], "0 1 2 3 4 5 6 7 8"),
    (axis("y"), [], "0 0.2 0.4 0.6 0.8 1 1.2"),
]


def test_the_numbers_beside_an_axis(parts: Any) -> None:
    for y, values, expected in AXES:
        draw(parts, chart(line("SGD"), y=y), ([*range(len(values))], values))
        assert " ".join(ticks(parts, "y")) == expected, (y, values)


@pytest.mark.parametrize(
    ("bars", "grouping", "lowest", "highest"),
    [("vertical", "clustered", "-4", "6"), ("vertical", "stacked", "-4", "8"), ("horizontal", "stacked", "-4", "8")],
)
def test_bars(parts: Any, bars: str, grouping: str, lowest: str, highest: str) -> None:
    made = chart(line("a"), line("b"), kind="bar", bars=bars, grouping=grouping, gap=100)
    draw(parts, made, (["cat", "dog", "bird"], [5, -3, None]), ([], [2, 1, 2]))
    paths = [parts.locator(f".chart-bar[data-series='{k}']").get_attribute("d") for k in (0, 1)]
    assert [path.count("z") for path in paths] == [2, 3]
    numbers = ticks(parts, "y" if bars == "vertical" else "x")
    assert (numbers[0], numbers[-1]) == (lowest, highest)
    assert {"cat", "dog", "bird"} <= {*parts.locator(".chart-axes text").all_text_contents()}


@pytest.mark.parametrize(
    ("width", "expected", "turned"),
    [(600, ["Goat", "Upstairs", "Robots on", "Holiday"], 0), (250, ["Goat Upstairs", "Robots on Holiday"], 8)],
)
def test_words_under_bars_are_broken_into_lines_before_they_are_turned(
    parts: Any, width: int, expected: list[str], turned: int
) -> None:
    parts.add_style_tag(url="explorer.css")  # letters are about as wide in any font
    made = chart(line("a"), kind="bar", gap=60)
    draw(parts, made, (["Goat Upstairs", "Robots on Holiday"] * 4, [1, 2] * 4), width=width)
    under = parts.locator(".chart-axes text:not(.chart-tick-y)")
    assert under.all_text_contents()[: len(expected)] == expected
    assert parts.locator(".chart-axes text[transform]").count() == turned


def test_series_lie_over_one_another_in_their_order_and_names_stay_in_the_chart(parts: Any) -> None:
    marker = {"kind": "circle", "size": 6, "color": "#d55e00"}
    made = chart(line("first", marker=marker), line("a long name", line=False, marker=marker, named=True))
    draw(parts, made, ([1, 2], [3, 4]), ([0, 2], [3, 4]))
    drawn = parts.locator("path[data-series]").evaluate_all("nodes => nodes.map((each) => each.dataset.series)")
    assert drawn == ["0", "0", "1"]
    edge = parts.locator("svg.chart").bounding_box()
    names = [each.bounding_box() for each in parts.locator("g > text", has_text="a long name").all()[-2:]]
    assert names[0]["x"] > edge["x"] + 50
    assert names[1]["x"] + names[1]["width"] < edge["x"] + edge["width"] - 18


def test_colours_on_a_dark_ground(parts: Any) -> None:
    parts.emulate_media(color_scheme="dark")
    colors = ["#000000", "#bfbfbf", "#0072b2", "#e69f00"]
    draw(parts, chart(*(line(each, color=each) for each in colors)), *[([1, 2], [3, 4])] * 4)
    lines = parts.locator(".chart-line[data-series]")
    shown = lines.evaluate_all("all => all.map((each) => getComputedStyle(each).stroke)")
    assert shown == ["rgb(237, 237, 237)", "rgb(95, 95, 95)", "rgb(61, 148, 196)", "rgb(230, 159, 0)"]


def test_keyboard_and_pointer_are_told_a_points_numbers(parts: Any) -> None:
    draw(parts, chart(line("SGD"), line("Adam")), ([0, 1, 2], [0.125, 0.25, 1 / 3]), ([0, 1, 2], [3, 2, 1]))
    svg, tip = parts.get_by_role("img", name="Loss"), parts.locator(".chart-tip")
    svg.focus()
    told = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "End", "ArrowLeft", "Home"):
        parts.keyboard.press(key)
        told.append(parts.locator("svg.chart").get_attribute("aria-label"))
    assert told == [
        "SGD, step: 0, loss: 0.125",
        "SGD, step: 1, loss: 0.25",
        "Adam, step: 1, loss: 2",
        "Adam, step: 2, loss: 1",
        "Adam, step: 1, loss: 2",
        "Adam, step: 0, loss: 3",
    ]
    assert tip.locator("text").all_text_contents() == ["Adam", "step: 0", "loss: 3"]
    parts.keyboard.press("Escape")
    assert not tip.is_visible()
    ring = parts.locator(".chart-ring")
    parts.locator("svg.chart").hover(position={"x": 60, "y": 60})
    assert tip.is_visible()
    assert float(ring.get_attribute("cx")) < 100
    inside, outside = tip.bounding_box(), parts.locator("svg.chart").bounding_box()
    assert inside["x"] + inside["width"] <= outside["x"] + outside["width"]


def test_hostile_texts_and_colours_show_as_text(parts: Any) -> None:
    title = axis(HOSTILE)
    made = chart(line(HOSTILE, color='red" onload="alert(2)'), kind="bar", gap=60, title=HOSTILE, x=title, y=title)
    draw(parts, made, ([HOSTILE, "b"], [1, 2]))
    assert parts.locator("title").nth(1).text_content() == HOSTILE
    assert parts.locator(".chart-name").all_text_contents() == [HOSTILE, HOSTILE]
    assert HOSTILE in parts.locator(".chart-legend").text_content()
    assert parts.locator("img").count() == 0
    assert parts.locator(".chart-bar").last.evaluate("node => getComputedStyle(node).fill") == "rgb(0, 114, 178)"


@pytest.mark.parametrize(
    ("kind", "grouping", "said"),
    [("pie", None, "(pie)"), ("line", "stacked", "(stacked line)"), ("area", "standard", "(standard area)")],
)
def test_a_chart_that_cannot_be_drawn_says_so(parts: Any, kind: str, grouping: str | None, said: str) -> None:
    draw(parts, chart(line("a"), kind=kind, grouping=grouping), (["cat", "dog"], [1, 2]))
    assert said in parts.locator(".chart-missing").text_content()
    assert parts.locator(".chart-line, .chart-bar").count() == 0


def test_a_chart_is_as_large_as_the_sheet_is_shown(parts: Any) -> None:
    parts.add_style_tag(url="explorer.css")
    parts.evaluate(
        """async (chart) => {
            const {Charts} = await import("./charts.js");
            const grid = {scale: 0.75, headWidth: 0, headHeight: 0, rows: {at: () => 1}, columns: {at: () => 1},
                          seen: {top: 0, height: 700}, paneOf: () => ({charts: root})};
            const charts = new Charts(grid);
            charts.show([{...chart, series: chart.series.map((each) => ({...each, y: []}))}]);
            charts.take([[{x: [1, 2], y: [3, 4]}]]);
        }""",
        chart(line("SGD")),
    )
    box = parts.locator("svg.chart").bounding_box()
    assert (box["width"], box["height"]) == (0.75 * PLACE["width"], 0.75 * PLACE["height"])
