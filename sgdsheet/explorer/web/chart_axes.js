// A chart's axes: their titles, lines, grid lines and numbers or words.
import { barEnds } from "./chart_bars.js";
import { chartNumber, chartTold } from "./chart_data.js";
import { niceAxis, tickText } from "./chart_ticks.js";
import { cutText, svgNode, svgText, textLongest, textWidth, wrappedText } from "./svg.js";

const UNDER = 20; // pixels that a line of text under the plot takes
const APART = 17; // pixels between two numbers, one over the other, at least
const LINE = 14; // pixels from one line of a word's to the next
const LINES = 3; // of words, at most
const TURNED = 100; // pixels of a turned word, at most

// Draws both axes; what they leave of `box` is the plot. Returns {x, y, axes}: functions from a value (for words: from a place,
// counted from 0) to pixels, and what each axis shows; over words also {apart, base}: pixels between two of them, and
// where bars stand.
export function chartAxes(svg, chart, data, box) {
  const flat = chart.kind === "bar" && chart.bars === "horizontal"; // the words then stand at the left
  const [below, beside] = flat ? [chart.y.title, chart.x.title] : [chart.x.title, chart.y.title];
  const { left, bottom } = box;
  if (below) box.bottom -= UNDER;
  if (beside) box.left += UNDER;
  const group = svgNode("g", { class: "chart-axes" }, svg);
  const draw = flat ? flatAxes : chart.kind === "scatter" ? numberAxes : wordAxes;
  const axes = draw(group, chart, data, box);
  const look = { class: "chart-name", "text-anchor": "middle" };
  const middle = (box.left + box.right) / 2;
  if (below) svgText(svg, cutText(below, box.right - box.left), middle, bottom - 2, look);
  if (beside) {
    // It may be longer than the axis, as long as the chart is high.
    const high = svg.viewBox.baseVal.height - 12;
    const half = Math.min(high, textWidth(beside)) / 2;
    const at = Math.max(6 + half, Math.min(6 + high - half, (box.top + box.bottom) / 2));
    svgText(svg, cutText(beside, high), 0, 4, { ...look, transform: `translate(${left + 8} ${at}) rotate(-90)` });
  }
  return axes;
}

// Numbers across and up.
function numberAxes(group, chart, data, box) {
  const axis = uprightAxis(group, chart, data, box);
  box.bottom -= UNDER;
  const places = data.flatMap((each) => each.x.filter((x, k) => chartNumber(x) && chartNumber(each.y[k])));
  const below = levelAxis(places, chart.x, box.right - box.left);
  const [x, y] = [axisScale(below, box.left, box.right), axisScale(axis, box.bottom, box.top)];
  for (const tick of below.ticks) gridLine(group, box, x(tick), null, tickText(tick, chart.x.format));
  for (const tick of axis.ticks) gridLine(group, box, null, y(tick), tickText(tick, chart.y.format));
  axisLine(group, box.left, y(crossing(axis, chart.x.at)), box.right, null);
  axisLine(group, x(crossing(below, chart.y.at)), box.top, null, box.bottom);
  return { x, y, axes: { x: below, y: axis } };
}

// Words across, numbers up. Words that do not fit beside one another are turned; numbers are left out.
function wordAxes(group, chart, data, box) {
  const words = chartLabels(data);
  const axis = uprightAxis(group, chart, data, box);
  const apart = (box.right - box.left) / Math.max(1, words.length);
  const wrapped = words.map((word) => wrappedText(word, apart - 4, LINES));
  const fit = words.every((word, place) => wrapped[place].join(" ") === word);
  const lines = fit ? wrapped : words.map((word) => [word]);
  const turned = !fit && words.some(isNaN);
  const deep = turned ? Math.min(textLongest(words), TURNED) * 0.7 : LINE * Math.max(1, ...lines.map((each) => each.length));
  box.bottom -= deep + UNDER - LINE;
  const [x, y] = [(place) => box.left + (place + 0.5) * apart, axisScale(axis, box.bottom, box.top)];
  for (const tick of axis.ticks) gridLine(group, box, null, y(tick), tickText(tick, chart.y.format));
  const every = fit ? 1 : Math.max(1, Math.ceil((turned ? 16 : textLongest(words) + 8) / apart));
  words.forEach((word, place) => {
    if (place % every) return;
    const at = [x(place), box.bottom + 15];
    const transform = `translate(${at[0] + 4} ${at[1]}) rotate(-45)`;
    if (turned) svgText(group, cutText(word, TURNED), 0, 0, { "text-anchor": "end", transform });
    else lines[place].forEach((line, k) => svgText(group, line, at[0], at[1] + LINE * k, { "text-anchor": "middle" }));
  });
  const base = y(crossing(axis, chart.x.at));
  axisLine(group, box.left, base, box.right, null);
  return { x, y, apart, base, axes: { y: axis } };
}

// Words at the left, from below, and numbers across.
function flatAxes(group, chart, data, box) {
  const words = chartLabels(data);
  const longest = Math.min(textLongest(words), (box.right - box.left) / 3);
  box.left += longest + 8;
  box.bottom -= UNDER;
  const axis = levelAxis(shownValues(chart, data), chart.y, box.right - box.left, true);
  const y = axisScale(axis, box.left, box.right);
  for (const tick of axis.ticks) gridLine(group, box, y(tick), null, tickText(tick, chart.y.format));
  const apart = (box.bottom - box.top) / Math.max(1, words.length);
  const x = (place) => box.bottom - (place + 0.5) * apart;
  const every = Math.max(1, Math.ceil(16 / apart));
  words.forEach((word, place) => {
    if (place % every === 0) svgText(group, cutText(word, longest), box.left - 6, x(place) + 4, { "text-anchor": "end" });
  });
  const base = y(crossing(axis, chart.x.at));
  axisLine(group, base, box.top, null, box.bottom);
  return { x, y, apart, base, axes: { y: axis } };
}

// The axis of numbers one over the other; takes the room of its numbers from `box`.
function uprightAxis(group, chart, data, box) {
  const most = Math.floor((box.bottom - box.top - UNDER) / APART);
  const axis = niceAxis(shownValues(chart, data), chart.y, most, chart.kind === "bar");
  box.left += textLongest(axis.ticks.map((tick) => tickText(tick, chart.y.format))) + 8;
  return axis;
}

// An axis of numbers beside one another, cut into as many parts as its numbers leave room for.
function levelAxis(values, look, room, zero = false) {
  for (let most = 10; ; most--) {
    const axis = niceAxis(values, look, most, zero);
    const widest = textLongest(axis.ticks.map((tick) => tickText(tick, look.format)));
    if (most === 1 || (widest + 12) * (axis.ticks.length - 1) <= room) return axis;
  }
}

function shownValues(chart, data) {
  return chart.kind === "bar" ? barEnds(chart, data) : data.flatMap((each) => each.y.filter(chartNumber));
}

function axisScale(axis, from, to) {
  const way = axis.log ? (value) => Math.log(value) : (value) => value;
  const [low, high] = [way(axis.min), way(axis.max)];
  return (value) => from + ((way(value) - low) / (high - low)) * (to - from);
}

// The words under the bars: those of the first series that has some.
function chartLabels(data) {
  const count = Math.max(0, ...data.map((each) => each.y.length));
  const held = data.find((each) => each.x.some((x) => x !== null && x !== ""))?.x ?? [];
  return Array.from({ length: count }, (_, k) => chartTold(held[k]));
}

// Where the other axis crosses this one: at 0, as near as there is, if the file says nothing else.
function crossing(axis, at) {
  if (at === "max") return axis.max;
  const value = at === "min" || axis.log ? axis.min : 0;
  return Math.min(axis.max, Math.max(axis.min, typeof at === "number" ? at : value));
}

// A grid line with its number: an upright one at `x`, or a level one at `y`. Half pixels are sharp.
function gridLine(group, box, x, y, text) {
  const level = x === null;
  const at = Math.round(level ? y : x) + 0.5;
  const d = level ? `M${box.left} ${at}H${box.right}` : `M${at} ${box.top}V${box.bottom}`;
  svgNode("path", { class: "chart-grid", d }, group);
  const look = { class: level ? "chart-tick-y" : "chart-tick-x", "text-anchor": level ? "end" : "middle" };
  if (level) svgText(group, text, box.left - 6, at + 4, look);
  else svgText(group, text, at, box.bottom + 15, look);
}

function axisLine(group, x, y, right, bottom) {
  const d = right === null ? `M${Math.round(x) + 0.5} ${y}V${bottom}` : `M${x} ${Math.round(y) + 0.5}H${right}`;
  svgNode("path", { class: "chart-axis", d }, group);
}
