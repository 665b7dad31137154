// The cells that have come: they are asked for with a margin around the view, one request at a time. While the sheet is
// scrolled, requests are small and go ahead of the view: a frame then has few new cells, and none waits for many.
import { common, cut, together, without } from "./rectangles.js";

export const MARGIN = 300; // pixels around the view that have their elements already
const MOST_ASKED = 9000; // cells of a request
const MOST_MOVING = 2000; // the same while the sheet is scrolled
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
    return !this.rest(rect);
  }

  // What is left of a rectangle without what has come over its whole width or height, or null.
  rest(rect) {
    let part = rect;
    for (let before = null; part !== before; ) {
      before = part;
      for (const each of this.loaded) part = part && without(part, each);
      if (!part) return null;
    }
    return part;
  }

  // Asks for what is in view and not here, with that which will be when the answer comes (after its `way`); then for the
  // surroundings.
  need() {
    const { grid } = this;
    if (this.busy || !grid.layout) return this.coming;
    const { height, width } = grid.seen;
    const margin = Math.max(MARGIN, height * 0.75); // all that has its elements: none is left with an old number
    const speed = grid.speedNow();
    const moving = speed[0] || speed[1];
    const way = [height, width].map((screen, i) => Math.max(-1.5, Math.min(1.5, (speed[i] * 1.5 * this.took) / screen)) * screen);
    const farther = way.map((pixels, i) => pixels + margin * Math.sign(speed[i]));
    const lacking = (rects) => rects.map((rect) => this.rest(rect)).filter(Boolean);
    let wanted = lacking(grid.rects(40, way));
    if (wanted.length && moving) wanted = lacking(grid.rects(40, farther)); // or there would be a request for each row
    else if (!wanted.length && !moving) wanted = lacking(grid.rects(margin));
    if (wanted.length) this.coming = this.fetch(wanted.map((rect) => cut(rect, moving ? MOST_MOVING : MOST_ASKED, speed)));
    return this.coming;
  }

  async fetch(wanted) {
    const { grid } = this;
    const missing = grid.rects(0).some((rect) => !this.has(rect));
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
    if (grid.speedNow().some(Boolean)) grid.paintSoon();
    else {
      grid.paint(missing ? 0 : MARGIN); // what is on screen first
      if (missing) grid.paintSoon();
    }
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
    let whole = rect;
    for (let i = 0; i < this.loaded.length; i++) {
      const joined = together(whole, this.loaded[i]);
      if (!joined) continue;
      whole = joined;
      this.loaded.splice(i, 1);
      i = -1;
    }
    this.loaded = [...this.loaded.slice(-20), whole];
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
