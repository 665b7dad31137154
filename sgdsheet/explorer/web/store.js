// The cells that have come: they are asked for with a margin around the view, one request at a time.

export const MARGIN = 300; // pixels around the view that have their elements already
const MOST_ASKED = 9000; // cells of a request, margin included
const MOST_KEPT = 25000; // cells
const KEPT = 1200; // pixels around the view that are kept of more

export class Store {
  constructor(grid) {
    this.grid = grid;
    this.took = 100; // milliseconds for the last answer
  }

  // Forgets everything, as another sheet is shown.
  clear() {
    this.rows = new Map(); // of each, its cells by column
    Object.assign(this, { version: -1, loaded: [], busy: false, coming: null });
    this.token = {}; // an answer that comes for a sheet that is no more shown has another
  }

  knows(row, column) {
    return this.has({ top: row, left: column, bottom: row, right: column });
  }

  has(rect) {
    return this.loaded.some((each) => within(rect, each));
  }

  // Asks for what is in view and not here, with that which will be when the answer comes; then for the surroundings.
  need() {
    const { grid } = this;
    if (this.busy || !grid.layout) return this.coming;
    const { clientHeight, clientWidth } = grid.scroller;
    const ahead = [clientHeight, clientWidth].map((screen, i) => Math.max(-3, Math.min(3, (grid.speed[i] * 1.5 * this.took) / screen)) * screen);
    const missing = grid.rects(0).some((rect) => !this.has(rect));
    let rects = grid.rects(40, ahead);
    let margin = Math.max(MARGIN, clientHeight * 0.75); // all that has its elements: none is left with an old number
    for (; !missing && margin > 40; margin /= 2) {
      rects = grid.rects(margin);
      if (rects.reduce((sum, { top, left, bottom, right }) => sum + (bottom - top + 1) * (right - left + 1), 0) < MOST_ASKED) break;
    }
    const wanted = missing || margin > 40 ? rects.filter((rect) => !this.has(rect)) : [];
    if (wanted.length) this.coming = this.fetch(wanted, missing);
    return this.coming;
  }

  async fetch(wanted, missing) {
    const { grid } = this;
    const token = this.token;
    const began = performance.now();
    this.busy = true;
    let failed = false;
    try {
      const charts = this.version < 0 && grid.layout.charts.length > 0;
      const answers = await Promise.all(
        wanted.map((view, i) => grid.ask({ ask: "cells", view, charts: charts && i === 0 })),
      );
      if (token !== this.token) return;
      answers.forEach((answer, i) => this.take(answer, wanted[i]));
    } catch (error) {
      failed = true;
      if (token === this.token) grid.onError(error);
    } finally {
      if (token === this.token) this.busy = false;
    }
    if (token !== this.token || failed) return;
    this.took = performance.now() - began;
    grid.paint(missing ? 0 : MARGIN); // what is on screen first
    if (missing) requestAnimationFrame(() => grid.paint());
    if (!grid.typing.editing) grid.typing.offerGrip(...grid.selected);
    this.need();
  }

  // Keeps the cells of an answer; one that is older than what is here is dropped.
  take(answer, rect) {
    if (answer.version < this.version) return;
    if (answer.version > this.version) this.loaded = [];
    this.version = answer.version;
    for (const [row, line] of this.rows) {
      if (row < rect.top || row > rect.bottom) continue;
      for (const column of line.keys()) if (column >= rect.left && column <= rect.right) line.delete(column);
    }
    for (const cell of answer.cells) {
      if (!this.rows.has(cell[0])) this.rows.set(cell[0], new Map());
      this.rows.get(cell[0]).set(cell[1], cell);
    }
    this.loaded = [...this.loaded.filter((each) => !within(each, rect)).slice(-12), rect];
    let count = 0;
    for (const line of this.rows.values()) count += line.size;
    if (count > MOST_KEPT) this.forget();
    if (answer.series) this.grid.charts.take(answer.series);
  }

  // Keeps only what lies around the view.
  forget() {
    const kept = this.grid.rects(KEPT);
    for (const [row, line] of this.rows)
      for (const column of line.keys())
        if (!kept.some(({ top, left, bottom, right }) => row >= top && row <= bottom && column >= left && column <= right)) line.delete(column);
    for (const [row, line] of this.rows) if (!line.size) this.rows.delete(row);
    this.loaded = this.loaded.flatMap((rect) => kept.map((each) => common(rect, each)).filter(Boolean));
  }

  reload() {
    this.loaded = [];
    this.need();
  }
}

function within(inner, outer) {
  return inner.top >= outer.top && inner.bottom <= outer.bottom && inner.left >= outer.left && inner.right <= outer.right;
}

// What two rectangles share, or null.
function common(one, other) {
  const [top, left] = [Math.max(one.top, other.top), Math.max(one.left, other.left)];
  const [bottom, right] = [Math.min(one.bottom, other.bottom), Math.min(one.right, other.right)];
  return top <= bottom && left <= right ? { ...one, top, left, bottom, right } : null;
}
