// The cells that have come: they are asked for with a margin around the view, one request at a time. While the sheet is
// scrolled, requests are small and go ahead of the view: a frame then has few new cells, and none waits for many.

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
    let left = rect;
    for (let before = null; left !== before; ) {
      before = left;
      for (const each of this.loaded) left = left && without(left, each);
      if (!left) return null;
    }
    return left;
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
    const left = (rects) => rects.map((rect) => this.rest(rect)).filter(Boolean);
    let wanted = left(grid.rects(40, way));
    if (wanted.length && moving) wanted = left(grid.rects(40, farther)); // or there would be a request for each row
    else if (!wanted.length && !moving) wanted = left(grid.rects(margin));
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

// A rectangle without another, where that covers its whole width or height up to an edge; null if nothing is left.
function without(rect, other) {
  const { top, left, bottom, right } = rect;
  const rows = other.top <= top && other.bottom >= bottom;
  const columns = other.left <= left && other.right >= right;
  if (rows && columns) return null;
  if (columns && other.top <= top && other.bottom >= top) return { ...rect, top: other.bottom + 1 };
  if (columns && other.bottom >= bottom && other.top <= bottom) return { ...rect, bottom: other.top - 1 };
  if (rows && other.left <= left && other.right >= left) return { ...rect, left: other.right + 1 };
  if (rows && other.right >= right && other.left <= right) return { ...rect, right: other.left - 1 };
  return rect;
}

// Two rectangles as one, if no other cell comes with it, or null.
function together(one, other) {
  const rows = one.top === other.top && one.bottom === other.bottom;
  const columns = one.left === other.left && one.right === other.right;
  if (rows && one.left <= other.right + 1 && other.left <= one.right + 1)
    return { ...one, left: Math.min(one.left, other.left), right: Math.max(one.right, other.right) };
  if (columns && one.top <= other.bottom + 1 && other.top <= one.bottom + 1)
    return { ...one, top: Math.min(one.top, other.top), bottom: Math.max(one.bottom, other.bottom) };
  return without(other, one) ? (without(one, other) ? null : other) : one;
}

// The part of a rectangle with so many cells that is seen first when it is scrolled to at this speed.
function cut(rect, most, [down, right]) {
  const [rows, columns] = [rect.bottom - rect.top + 1, rect.right - rect.left + 1];
  if (rows * columns <= most) return rect;
  if (Math.abs(right) > Math.abs(down)) {
    const some = Math.max(1, Math.floor(most / rows));
    return right > 0 ? { ...rect, right: Math.min(rect.right, rect.left + some - 1) } : { ...rect, left: Math.max(rect.left, rect.right - some + 1) };
  }
  const some = Math.max(1, Math.floor(most / columns));
  return down >= 0 ? { ...rect, bottom: Math.min(rect.bottom, rect.top + some - 1) } : { ...rect, top: Math.max(rect.top, rect.bottom - some + 1) };
}

// What two rectangles share, or null.
function common(one, other) {
  const [top, left] = [Math.max(one.top, other.top), Math.max(one.left, other.left)];
  const [bottom, right] = [Math.min(one.bottom, other.bottom), Math.min(one.right, other.right)];
  return top <= bottom && left <= right ? { ...one, top, left, bottom, right } : null;
}
