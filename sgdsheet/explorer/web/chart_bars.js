// Bars: beside one another, or on top of one another.
import { chartNumber } from "./chart_data.js";
import { bounded } from "./chart_lines.js";
import { clippedTo, colored, svgNode } from "./svg.js";

// Returns the points that can be told, as for lines.
export function drawnBars(svg, box, chart, data, { x, y, apart, base, axes }) {
  const points = [];
  const plot = clippedTo(svg, box);
  const flat = chart.bars === "horizontal";
  const stacked = chart.grouping === "stacked" || chart.grouping === "percentStacked";
  const beside = stacked ? 1 : Math.max(1, data.length);
  const thick = apart / (beside + chart.gap / 100);
  barSpans(chart, data).forEach((spans, place) => {
    let path = "";
    spans.slice(0, data[place].shown).forEach((span, k) => {
      if (!span) return;
      // On an axis of powers a bar begins where the axis does.
      const [from, to] = span.map((value) => bounded(axes.y.log && value <= 0 ? base : y(value)));
      const middle = x(k) + ((stacked ? 0 : place) - (beside - 1) / 2) * thick * (flat ? -1 : 1);
      const side = (middle - thick / 2).toFixed(1);
      const start = Math.min(from, to).toFixed(1);
      const [long, wide] = [Math.abs(to - from).toFixed(1), thick.toFixed(1)];
      path += flat ? `M${start} ${side}h${long}v${wide}h${-long}z` : `M${side} ${start}h${wide}v${long}h${-wide}z`;
      const at = flat ? [to, middle] : [middle, to];
      points.push({ series: place, k, x: at[0], y: at[1], across: data[place].x[k], up: data[place].y[k] });
    });
    if (path) colored(svgNode("path", { class: "chart-bar", "data-series": place, d: path }, plot), data[place].color);
  });
  return points;
}

export function barEnds(chart, data) {
  return barSpans(chart, data).flat(2).filter(chartNumber);
}

// Where each bar begins and ends: beside one another from 0, or on top of one another.
function barSpans(chart, data) {
  const stacked = chart.grouping === "stacked" || chart.grouping === "percentStacked";
  const sums = new Map();
  const whole = (k) => data.reduce((sum, each) => sum + (chartNumber(each.y[k]) ? Math.abs(each.y[k]) : 0), 0) || 1;
  return data.map((each) =>
    each.y.map((value, k) => {
      if (!chartNumber(value)) return null;
      if (!stacked) return [0, value];
      const key = `${k}${value < 0 ? "-" : "+"}`;
      const from = sums.get(key) ?? 0;
      const to = from + (chart.grouping === "percentStacked" ? value / whole(k) : value);
      sums.set(key, to);
      return [from, to];
    }),
  );
}
