// A spreadsheet's chart as SVG, drawn as Excel draws it: axes, series, bars, legend, and what a point's numbers are.
//
// `chart` is a chart of the sheet's layout (see charts.py); `series` has the values of each of its series, in the same
// order: {x, y, name}. What is no finite number is not drawn: a blank (null) breaks a line, a text or an error does not.

import { chartAxes } from "./chart_axes.js";
import { drawnBars } from "./chart_bars.js";
import { chartSeries, chartWords } from "./chart_data.js";
import { chartLegend } from "./chart_legend.js";
import { drawnLines } from "./chart_lines.js";
import { tellPoints } from "./chart_points.js";
import { CELL_FONT } from "./looks.js";
import { svgNode, svgText, wrappedText } from "./svg.js";

const CHART_TITLE = 17;
const DRAWN_KINDS = ["scatter", "line", "bar"];

// Returns the chart as an SVG element. `upTo` is how many points of each series are shown (or a list, one for each
// series; null: all); the axes stay those of all points. `width` and `height` in pixels are the file's own by default.
export function drawChart(chart, series, { upTo = null, width = chart.place.width, height = chart.place.height } = {}) {
  const data = chartSeries(chart, series, upTo);
  const svg = svgNode("svg", { class: "chart", role: "img", tabindex: 0, width, height });
  svg.style.fontFamily = CELL_FONT;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svgNode("title", {}, svg).textContent = chart.title || chart.y.title || "Chart";
  svgNode("desc", {}, svg).textContent = chartWords(chart, data);
  svgNode("rect", { class: "chart-paper", x: 0.5, y: 0.5, width: width - 1, height: height - 1 }, svg);

  const box = { left: 10, top: 8, right: width - 18, bottom: height - 8 };
  chartTitle(svg, chart.title, box, width);
  if (!DRAWN_KINDS.includes(chart.kind) || (chart.kind === "line" && chart.grouping !== "standard")) {
    const words = `Charts of this kind (${[chart.grouping, chart.kind].filter(Boolean).join(" ")}) are not drawn here.`;
    svgText(svg, words, width / 2, height / 2, { class: "chart-missing", "text-anchor": "middle" });
    return svg;
  }
  chartLegend(svg, chart, data, box);
  const axes = chartAxes(svg, chart, data, box);

  const points = (chart.kind === "bar" ? drawnBars : drawnLines)(svg, box, chart, data, axes);
  tellPoints(svg, chart, data, points, width, height);
  return svg;
}

function chartTitle(svg, title, box, width) {
  if (!title) return;
  for (const line of wrappedText(title, width - 24, 2, CHART_TITLE)) {
    svgText(svg, line, width / 2, box.top + CHART_TITLE, { class: "chart-title", "text-anchor": "middle" });
    box.top += CHART_TITLE * 1.3;
  }
  box.top += 6;
}
