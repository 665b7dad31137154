// A chart's legend: a sample of each series' line, markers or bars, and its name.
import { lineLook, markerLook, markerOf, markerPath } from "./chart_lines.js";
import { colored, cutText, svgNode, svgText, textWidth } from "./svg.js";

// Draws it under the plot, or right of it; takes its room from `box`.
export function chartLegend(svg, chart, data, box) {
  const shown = chart.legend ? data.filter((each) => each.name !== "") : [];
  if (!shown.length) return;
  const group = svgNode("g", { class: "chart-legend" }, svg);
  const size = (each) => 36 + textWidth(each.name);
  const right = chart.legend === "right" && box.right > 420;
  const room = right ? box.right * 0.3 : box.right - box.left;
  const rows = [[]];
  let used = 0;
  for (const each of shown) {
    const wide = Math.min(size(each), room);
    if (rows.at(-1).length && (right || used + wide > room)) {
      rows.push([]);
      used = 0;
    }
    rows.at(-1).push({ each, wide });
    used += wide + 10;
  }
  const most = Math.max(1, Math.floor((box.bottom - box.top) / (right ? 18 : 54)));
  const left = rows.splice(most).flat().length;
  if (left) rows.at(-1).push({ each: null, wide: 60 });
  const wide = right ? Math.max(...rows.flat().map((item) => item.wide)) : 0;
  let y = right ? (box.top + box.bottom - rows.length * 18) / 2 + 9 : box.bottom - rows.length * 18 + 11;
  for (const row of rows) {
    const all = row.reduce((sum, item) => sum + item.wide + 10, -10);
    let x = right ? box.right - wide : (box.left + box.right - all) / 2;
    for (const item of row) {
      if (item.each) legendEntry(group, chart, item.each, x, y, item.wide);
      else svgText(group, `and ${left} more`, x, y + 4);
      x += item.wide + 10;
    }
    y += 18;
  }
  if (right) box.right -= wide + 12;
  else box.bottom -= rows.length * 18 + 4;
}

function legendEntry(group, chart, each, x, y, wide) {
  const entry = colored(svgNode("g", {}, group), each.color);
  if (chart.kind === "bar") svgNode("path", { class: "chart-bar", d: `M${x + 8} ${y - 5}h10v10h-10z` }, entry);
  else {
    if (each.look.line) lineLook(svgNode("path", { class: "chart-line", d: `M${x} ${y}h26` }, entry), each.look);
    const marker = markerOf(each);
    if (marker) markerLook(svgNode("path", { d: markerPath(marker.kind, x + 13, y, marker.size) }, entry), each);
  }
  svgText(entry, cutText(each.name, wide - 28), x + 32, y + 4);
}
