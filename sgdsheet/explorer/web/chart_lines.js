// Lines and markers, in a chart and in its legend.
import { chartNumber } from "./chart_data.js";
import { clippedTo, colored, svgNode, svgText, textWidth } from "./svg.js";

const MOST_NAMED = 200; // points whose name stands beside them
const POINT = 4 / 3; // a point, the file's unit of widths and sizes, in pixels
const CHART_DASHES = {
  dash: [4, 3],
  dashDot: [4, 3, 1, 3],
  dot: [1, 3],
  lgDash: [8, 3],
  lgDashDot: [8, 3, 1, 3],
  lgDashDotDot: [8, 3, 1, 3, 1, 3],
  sysDash: [3, 1],
  sysDashDot: [3, 1, 1, 1],
  sysDashDotDot: [3, 1, 1, 1, 1, 1],
  sysDot: [1, 1],
};

// Draws the series, each with its markers over those before it. Returns the points that can be told: {series, k, x, y
// (pixels), across, up (values)}.
export function drawnLines(svg, box, chart, data, { x, y, axes }) {
  const points = [];
  const inside = (value, axis) => value >= axis.min - 1e-9 * Math.abs(axis.min) && value <= axis.max + 1e-9 * Math.abs(axis.max);
  data.forEach((each, place) => {
    const words = !axes.x; // over words, a point stands at its place
    let line = "";
    let shapes = "";
    let pen = "M";
    const marker = markerOf(each);
    const named = [];
    for (let k = 0; k < each.shown; k++) {
      const across = words ? k : each.x[k];
      const up = each.y[k];
      if (up === null || across === null || up === undefined || across === undefined) pen = "M";
      if (!chartNumber(across) || !chartNumber(up)) continue;
      if ((axes.y.log && up <= 0) || (axes.x?.log && across <= 0)) {
        pen = "M";
        continue;
      }
      const [px, py] = [bounded(x(across)), bounded(y(up))];
      line += `${pen}${px.toFixed(1)} ${py.toFixed(1)}`;
      pen = "L";
      if (!inside(up, axes.y) || (!words && !inside(across, axes.x))) continue;
      points.push({ series: place, k, x: px, y: py, across: words ? each.x[k] : across, up });
      if (marker) shapes += markerPath(marker.kind, px, py, marker.size);
      if (each.look.named) named.push([px, py]);
    }
    const group = colored(svgNode("g", {}, svg), each.color);
    if (each.look.line && line) {
      const plot = clippedTo(group, box); // lines end at the plot's edge; a marker on the edge is whole
      lineLook(svgNode("path", { class: "chart-line", "data-series": place, d: line }, plot), each.look);
    }
    if (shapes) markerLook(svgNode("path", { "data-series": place, d: shapes }, group), each);
    const edge = svg.viewBox.baseVal.width - 4 - textWidth(each.name); // a name that does not fit stands at the left
    for (const [px, py] of named.slice(0, MOST_NAMED)) {
      if (px + 8 <= edge) svgText(group, each.name, px + 8, py + 4);
      else svgText(group, each.name, px - 8, py + 4, { "text-anchor": "end" });
    }
  });
  return points;
}

// A pixel that a path can hold: lines that leave the plot far are cut at its edge anyway.
export function bounded(pixel) {
  return Math.max(-1e6, Math.min(1e6, pixel));
}

export function lineLook(path, look) {
  const width = (look.width ?? 1.75) * POINT;
  path.setAttribute("stroke-width", width);
  const dash = CHART_DASHES[look.dash];
  if (dash) path.setAttribute("stroke-dasharray", dash.map((each) => each * width).join(" "));
}

export function markerOf(each) {
  const marker = each.look.marker;
  return marker && marker.kind !== "none" ? { kind: marker.kind, size: (marker.size ?? 5) * POINT } : null;
}

export function markerPath(kind, x, y, size) {
  const r = size / 2;
  const at = `M${(x - r).toFixed(1)} ${y.toFixed(1)}`;
  const [left, top] = [(x - r).toFixed(1), (y - r).toFixed(1)];
  if (kind === "square") return `M${left} ${top}h${size}v${size}h${-size}z`;
  if (kind === "diamond") return `${at}l${r} ${-r}l${r} ${r}l${-r} ${r}z`;
  if (kind === "triangle") return `M${left} ${(y + r).toFixed(1)}h${size}l${-r} ${-size}z`;
  if (kind === "x") return `M${left} ${top}l${size} ${size}m0 ${-size}l${-size} ${size}`;
  if (kind === "plus") return `${at}h${size}m${-r} ${-r}v${size}`;
  if (kind === "dash") return `${at}h${size}`;
  return `${at}a${r} ${r} 0 1 0 ${size} 0a${r} ${r} 0 1 0 ${-size} 0`;
}

export function markerLook(path, each) {
  const { kind, color } = each.look.marker;
  if (/^#[0-9a-f]{6}$/i.test(color)) colored(path, color);
  path.setAttribute("class", ["x", "plus", "dash"].includes(kind) ? "chart-marker chart-open" : "chart-marker");
}
