// The one column of a narrow window: the inputs as fields with their names, and the charts, above the table.
import { cellAddress } from "./axis.js";
import { drawChart } from "./chart.js";
import { made } from "./elements.js";
import { offerChoices } from "./typing.js";

const FEW = 12; // cells of an input that get a field each

export class Column {
  // Puts its two places into the explorer's `main`; they are empty while the window is wide.
  constructor(explorer) {
    this.explorer = explorer;
    this.places = made("section", "sgd-fields", explorer.main);
    this.places.setAttribute("aria-label", "What may be changed");
    this.figures = made("section", "sgd-figures", explorer.main);
    this.figures.setAttribute("aria-label", "Charts");
    this.fields = []; // {row, column, field}
  }

  // Another sheet is shown, or the window has become narrow or wide.
  draw() {
    this.places.replaceChildren();
    this.figures.replaceChildren();
    this.fields = [];
    if (!this.explorer.narrow) return;
    const { inputs } = this.explorer.grid.layout;
    const sizes = new Map(); // of an input's name: an input may lie in several places
    const named = ([top, left, , , input]) => input.block ?? `${top},${left}`;
    for (const place of inputs) {
      const [top, left, bottom, right] = place;
      sizes.set(named(place), (sizes.get(named(place)) ?? 0) + (bottom - top + 1) * (right - left + 1));
    }
    for (const place of inputs) {
      if (sizes.get(named(place)) > FEW) continue;
      const [top, left, bottom, right, input] = place;
      for (let row = top; row <= bottom; row++) for (let column = left; column <= right; column++) this.add(row, column, input);
    }
    this.fill();
    this.drawCharts();
  }

  add(row, column, input) {
    const { grid } = this.explorer;
    const label = made("label", "", this.places);
    const name = made("span", "", label);
    name.textContent = `${(input.block || input.title || "").replaceAll("_", " ")} `;
    made("small", "", name).textContent = cellAddress(row, column);
    const chosen = input.kind === "list" && !input.open;
    const field = made(chosen ? "select" : "input", "", label);
    if (chosen)
      for (const choice of input.choices ?? []) {
        const option = made("option", "", field);
        option.value = option.textContent = String(choice);
      }
    else field.inputMode = input.kind === "number" ? "decimal" : "text";
    const { sheet } = grid;
    field.addEventListener("change", () => this.explorer.edit([[sheet, row, column, field.value.trim() || null]], false));
    if (input.open) offerChoices(field, input.choices);
    this.fields.push({ row, column, field });
  }

  // Writes what the inputs hold into their fields, but for the one that is being typed into.
  async fill() {
    const { fields, explorer } = this;
    if (!fields.length) return;
    const { grid } = explorer;
    const rows = fields.map((each) => each.row);
    const columns = fields.map((each) => each.column);
    const view = { sheet: grid.sheet, top: Math.min(...rows), bottom: Math.max(...rows), left: Math.min(...columns), right: Math.max(...columns) };
    try {
      const { cells, series } = await explorer.ask({ ask: "cells", view, charts: true });
      if (fields !== this.fields) return;
      const held = new Map(cells.map((cell) => [`${cell[0]},${cell[1]}`, cell]));
      for (const { row, column, field } of fields) {
        const cell = held.get(`${row},${column}`);
        if (document.activeElement === field) continue;
        field.value = field.tagName === "INPUT" && typeof cell?.[4]?.value === "number" ? String(cell[4].value) : (cell?.[2] ?? "");
      }
      if (series) grid.charts.take(series);
      this.drawCharts();
    } catch (error) {
      explorer.fail(error);
    }
  }

  drawCharts() {
    if (!this.explorer.narrow) return;
    const { charts } = this.explorer.grid;
    const room = this.explorer.main.clientWidth - 24; // beside the column's edges
    const drawn = charts.charted.filter(({ index }) => charts.series[index]);
    const draw = ({ chart, index }) => {
      const size = { width: room, height: Math.min(room, chart.place.height) };
      return drawChart(chart, charts.series[index], { upTo: charts.upTo(chart), ...size });
    };
    this.figures.replaceChildren(...drawn.map(draw));
  }
}
