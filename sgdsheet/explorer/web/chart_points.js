// What a point's numbers are: a box tells those of the point next to the pointer; by keyboard, left and right go along a
// series, up and down to another.
import { chartTold } from "./chart_data.js";
import { cutText, svgNode, svgText } from "./svg.js";

export function tellPoints(svg, chart, data, points, width, height) {
  if (!points.length) return;
  const ring = svgNode("circle", { class: "chart-ring", r: 6, visibility: "hidden" }, svg);
  const tip = svgNode("g", { class: "chart-tip", visibility: "hidden" }, svg);
  const paper = svgNode("rect", { rx: 3 }, tip);
  let current = null;

  function tell(point) {
    current = point;
    for (const node of [ring, tip]) node.setAttribute("visibility", point ? "visible" : "hidden");
    if (!point) return svg.removeAttribute("aria-label");
    const across = `${chart.x.title || "x"}: ${chartTold(point.across)}`;
    const name = data[point.series].name;
    const lines = [...(name ? [name] : []), across, `${chart.y.title || "y"}: ${chartTold(point.up)}`];
    const shown = lines.map((line) => cutText(line, width - 24));
    tip.replaceChildren(paper);
    shown.forEach((line, k) => svgText(tip, line, 8, 16 + 16 * k, k === 0 && name ? { class: "chart-tip-name" } : {}));
    const wide = Math.max(...[...tip.querySelectorAll("text")].map((text) => text.getComputedTextLength?.() ?? 0)) + 16;
    const tall = shown.length * 16 + 8;
    paper.setAttribute("width", wide);
    paper.setAttribute("height", tall);
    const left = Math.max(2, Math.min(width - wide - 2, point.x + 12));
    const top = point.y - tall - 10 < 2 ? Math.min(height - tall - 2, point.y + 12) : point.y - tall - 10;
    tip.setAttribute("transform", `translate(${left.toFixed(1)} ${top.toFixed(1)})`);
    ring.setAttribute("cx", point.x);
    ring.setAttribute("cy", point.y);
    return svg.setAttribute("aria-label", lines.join(", "));
  }

  const nearest = (x, y, among) => {
    let best = null;
    let least = Infinity;
    for (const point of among) {
      const far = (point.x - x) ** 2 + (point.y - y) ** 2;
      if (far < least) [best, least] = [point, far];
    }
    return { best, far: Math.sqrt(least) };
  };
  svg.addEventListener("pointermove", (event) => {
    const seen = svg.getBoundingClientRect();
    const [x, y] = [((event.clientX - seen.left) * width) / seen.width, ((event.clientY - seen.top) * height) / seen.height];
    const { best, far } = nearest(x, y, points);
    const next = far < 48 || chart.kind === "bar" ? best : null;
    if (next !== current) tell(next);
  });
  svg.addEventListener("pointerleave", () => tell(null));
  svg.addEventListener("blur", () => tell(null));
  svg.addEventListener("keydown", (event) => {
    const along = points.filter((point) => point.series === (current ?? points[0]).series);
    const at = along.indexOf(current);
    const others = [...new Set(points.map((point) => point.series))];
    const turn = (by) => {
      if (!current) return points[0];
      const other = others.at((others.indexOf(current.series) + by) % others.length);
      return nearest(current.x, current.y, points.filter((point) => point.series === other)).best;
    };
    const next = {
      ArrowRight: () => along[Math.min(along.length - 1, at + 1)],
      ArrowLeft: () => along[Math.max(0, at - 1)],
      ArrowUp: () => turn(-1),
      ArrowDown: () => turn(1),
      Home: () => along[0],
      End: () => along.at(-1),
      Escape: () => null,
    }[event.key];
    if (!next || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation(); // the sheet under it has the same keys
    tell(next());
  });
}
