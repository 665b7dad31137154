// The charts of a sheet: where each lies, and what it shows so far.
import { drawChart } from "./chart.js";
import { made, place } from "./elements.js";

export class Charts {
  constructor(grid) {
    this.grid = grid;
    this.show([]);
  }

  // The charts of another sheet; their series come with its cells.
  show(charts) {
    this.charted = charts.map((chart, index) => ({ chart, index, element: null, drawn: null }));
    this.series = {};
    this.run = null;
  }

  // They are placed anew, as the sheet has another size.
  remove() {
    for (const each of this.charted) each.element?.remove(), (each.element = null);
  }

  take(series) {
    for (const each of this.charted) if (series[each.index]) (this.series[each.index] = series[each.index]), (each.drawn = null);
    this.place();
  }

  // The charts show what they have of a table of steps up to this row of it; `last` is its last one.
  upToRow(sheet, row, last) {
    this.run = { sheet, row, last };
    for (const each of this.charted) each.drawn = null;
    this.place();
  }

  // How many points of each series are shown, null for all of them.
  upTo(chart) {
    const { sheet, row, last } = this.run ?? {};
    return chart.series.map(({ y }) => (y?.sheet === sheet && y.top <= last && y.bottom > y.top ? Math.max(0, row - y.top + 1) : null));
  }

  place() {
    const { grid } = this;
    for (const each of this.charted) {
      const { left, top, width, height } = each.chart.place;
      const at = [grid.headWidth + left * grid.scale, grid.headHeight + top * grid.scale];
      if (!each.element) {
        const pane = grid.paneOf(grid.rows.at(top * grid.scale), grid.columns.at(left * grid.scale));
        each.element = made("div", "sgd-chart", pane.charts);
        place(each.element, at[0], at[1], width * grid.scale, height * grid.scale);
        each.drawn = null;
      }
      const { top: from, height: seen } = grid.seen;
      const near = at[1] < from + seen + 400 && at[1] + height * grid.scale > from - 400;
      if (each.drawn || !near || !this.series[each.index]) continue;
      each.drawn = drawChart(each.chart, this.series[each.index], { upTo: this.upTo(each.chart) });
      each.drawn.style.transform = `scale(${grid.scale})`;
      each.element.replaceChildren(each.drawn);
    }
  }
}
