// A chart's series: their names, colours and numbers, and what is said of them.

const CHART_COLORS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000"];

export function chartNumber(value) {
  return typeof value === "number" && Math.abs(value) < 1e290; // further out, differences are no numbers any more
}

// Each series with its name, colours and values: those in x are numbers for a scatter chart, words for the others.
export function chartSeries(chart, series, upTo) {
  return chart.series.map((look, place) => {
    const values = series?.[place] ?? {};
    const y = values.y ?? (Array.isArray(look.y) ? look.y : []);
    let x = values.x ?? (Array.isArray(look.x) ? look.x : []);
    if (chart.kind === "scatter" ? !x.some(chartNumber) : !x.length) x = y.map((_, k) => k + 1);
    const given = values.name ?? (typeof look.name === "string" ? look.name : null);
    const color = /^#[0-9a-f]{6}$/i.test(look.color) ? look.color : CHART_COLORS[place % CHART_COLORS.length];
    const most = Array.isArray(upTo) ? upTo[place] : upTo;
    const shown = Math.min(y.length, most ?? y.length);
    return { look, name: given === null ? `Series ${place + 1}` : String(given), color, x, y, shown };
  });
}

export function chartEnds(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// A number as it is told: seven digits; a word as it is.
export function chartTold(value) {
  return typeof value === "number" ? String(Number(value.toPrecision(7))) : String(value ?? "");
}

export function chartWords(chart, data) {
  const kind = { bar: "Bar chart", line: "Line chart" }[chart.kind] ?? "Chart";
  const parts = [`${kind}. Across: ${chart.x.title || "x"}; up: ${chart.y.title || "y"}.`];
  for (const each of data.slice(0, 12)) {
    const numbers = each.y.slice(0, each.shown).filter(chartNumber);
    if (!numbers.length) continue;
    const [low, high] = chartEnds(numbers);
    const ends = numbers.length > 1 ? `, from ${chartTold(numbers[0])} to ${chartTold(numbers.at(-1))}` : "";
    const span = `lowest ${chartTold(low)}, highest ${chartTold(high)}`;
    parts.push(`${each.name || "Points"}: ${numbers.length} points${ends}, ${span}.`);
  }
  if (data.length > 12) parts.push(`And ${data.length - 12} more.`);
  if (parts.length === 1) parts.push("There are no numbers to show.");
  return parts.join(" ");
}
