// The cells of a sheet. Only those in view are elements of the page, in four panes: what scrolls, the frozen rows,
// the frozen columns, and the corner of both.
import { Arrows } from "./arrows.js";
import { Axis, rangeAddress } from "./axis.js";
import { emptyPane, markLine, paintPane } from "./cells.js";
import { Charts } from "./charts.js";
import { listenToClipboard } from "./clipboard.js";
import { made } from "./elements.js";
import { GUTTER, HEAD_HEIGHT, paintHeads } from "./heads.js";
import { pressKey } from "./keyboard.js";
import { CellLooks } from "./looks.js";
import { listenToPointer } from "./pointer.js";
import { MARGIN, Store } from "./store.js";
import { Typing } from "./typing.js";

const MOVING_MARGIN = 40; // pixels beside and behind a view that moves; ahead of it there are more
const SCROLLING = 200; // milliseconds since the last movement in which the sheet is still being scrolled
const PANES = ["corner", "top", "left", "body"]; // as they are read

export class Grid {
  // onEdit([[row, column, value]], dragging), onSelect(row, column), onLink(link), onSay(text), onUndo("undo" | "redo"),
  // onError(error); onKey(event) says whether it has taken a key for itself.
  constructor(element, { ask, onSelect, onEdit, onLink, onSay = () => {}, onUndo = () => {}, onError = () => {}, onKey = () => false }) {
    Object.assign(this, { ask, onSelect, onEdit, onLink, onSay, onUndo, onError, onKey });
    this.root = made("div", "sgd-grid", element);
    this.scroller = made("div", "sgd-scroll", this.root);
    this.scroller.tabIndex = -1;
    this.sizer = made("div", "sgd-sizer", this.scroller);
    this.table = made("div", "sgd-table", this.sizer);
    this.table.setAttribute("role", "grid");
    this.panes = {};
    for (const name of PANES) {
      const place = made("div", `sgd-pane sgd-${name}`, this.table);
      place.setAttribute("role", "rowgroup");
      const heads = made("div", "sgd-heads", place);
      heads.setAttribute("aria-hidden", "true");
      const charts = made("div", `sgd-pane sgd-charts sgd-${name}`, this.sizer);
      this.panes[name] = { name, place, heads, charts, lines: new Map(), free: [] };
    }
    this.note = made("div", "sgd-note", this.root);
    this.note.setAttribute("role", "tooltip");
    this.note.id = `sgd-note-${Math.random().toString(36).slice(2)}`;
    this.note.hidden = true;
    this.scale = 1;
    this.flashes = 0;
    this.store = new Store(this);
    this.charts = new Charts(this);
    this.arrows = new Arrows(this);
    this.typing = new Typing(this);
    this.sizer.addEventListener("keydown", (event) => pressKey(this, event));
    listenToPointer(this);
    listenToClipboard(this);
    this.speed = [0, 0]; // pixels a millisecond down and to the right, when it was scrolled last
    this.scrolled = [0, 0, 0]; // how far, and when
    this.scroller.addEventListener("scroll", () => {
      this.note.hidden = true;
      this.paintSoon();
    });
    this.scroller.addEventListener("scrollend", () => this.paintSoon());
    new ResizeObserver(() => this.layout && this.resized()).observe(this.scroller);
  }

  styles(styles) {
    this.looks = new CellLooks(styles);
  }

  // Shows another sheet: its layout as the session gives it.
  show(layout, sheet, { scroll = [0, 0], selected = [1, 1] } = {}) {
    this.typing.stop(false);
    this.store.clear();
    this.arrows.clear();
    Object.assign(this, { layout, sheet, selected, extent: null });
    this.marked = [];
    this.links = keyed(layout.links);
    this.notes = keyed(layout.notes);
    this.anchors = new Map(layout.merged.map((merge) => [`${merge[0]},${merge[1]}`, merge]));
    this.covered = new Set(); // cells under a merged one
    for (const [top, left, bottom, right] of layout.merged)
      for (let row = top; row <= bottom; row++)
        for (let column = left; column <= right; column++)
          if (row !== top || column !== left) this.covered.add(`${row},${column}`);
    this.table.setAttribute("aria-label", `sheet ${sheet}`);
    this.table.setAttribute("aria-rowcount", layout.rows);
    this.table.setAttribute("aria-colcount", layout.columns);
    this.root.classList.toggle("sgd-lines", layout.gridlines !== false);
    for (const pane of Object.values(this.panes)) {
      emptyPane(pane);
      pane.heads.replaceChildren();
      pane.charts.replaceChildren();
    }
    this.axes();
    this.charts.show(layout.charts);
    this.resized();
    this.scrollTo(scroll[0], scroll[1]);
    return this.store.need();
  }

  axes() {
    const { layout } = this;
    const rows = layout.rows + Math.ceil(1200 / layout.height);
    const columns = layout.columns + Math.ceil(1800 / layout.width);
    const groups = layout.groups ?? {};
    const [frozenRows, frozenColumns] = layout.frozen ?? [0, 0];
    this.rows = new Axis({
      count: Math.min(rows, 1048576),
      size: layout.height,
      sizes: layout.heights.map(([row, pixels]) => [row, row, pixels]),
      hidden: layout.hidden_rows ?? [],
      groups: groups.rows ?? [],
      frozen: frozenRows,
    });
    this.columns = new Axis({
      count: Math.min(columns, 16384),
      size: layout.width,
      sizes: layout.widths,
      hidden: layout.hidden_columns ?? [],
      groups: groups.columns ?? [],
      frozen: frozenColumns,
    });
    this.asked = [frozenRows, frozenColumns];
  }

  // Lays the sheet out for the size of the window; where frozen rows or columns would fill it, they scroll.
  resized() {
    const { rows, columns, scroller } = this;
    const focused = this.table.contains(document.activeElement) && document.activeElement.matches(".sgd-cell");
    rows.lay(this.scale);
    columns.lay(this.scale);
    const gutter = (axis) => (axis.levels ? axis.levels * GUTTER + 4 : 0);
    this.headHeight = HEAD_HEIGHT + gutter(columns);
    this.headWidth = 14 + 8 * String(rows.count).length + gutter(rows);
    [rows.frozen, columns.frozen] = this.asked;
    if (rows.frozenLength > 0.6 * scroller.clientHeight) rows.frozen = 0;
    if (columns.frozenLength > 0.6 * scroller.clientWidth) columns.frozen = 0;
    const width = this.headWidth + columns.length;
    const height = this.headHeight + rows.length;
    Object.assign(this.sizer.style, { width: `${width}px`, height: `${height}px` });
    this.look();
    for (const pane of Object.values(this.panes))
      for (const place of [pane.place, pane.charts]) {
        const topward = pane.name === "top" || pane.name === "corner";
        const leftward = pane.name === "left" || pane.name === "corner";
        place.style.height = topward ? `${this.headHeight + rows.frozenLength}px` : "100%";
        place.style.width = leftward ? `${this.headWidth + columns.frozenLength}px` : "100%";
      }
    this.panes.top.place.classList.toggle("sgd-frozen", rows.frozen > 0);
    this.panes.corner.place.classList.toggle("sgd-frozen", rows.frozen > 0);
    this.panes.left.place.classList.toggle("sgd-frozen-columns", columns.frozen > 0);
    this.panes.corner.place.classList.toggle("sgd-frozen-columns", columns.frozen > 0);
    for (const pane of Object.values(this.panes)) emptyPane(pane);
    this.charts.remove();
    this.paint();
    if (focused) this.elementOf(...this.selected)?.focus({ preventScroll: true });
    this.store.need();
  }

  zoom(scale) {
    this.scale = Math.min(3, Math.max(0.3, scale));
    this.resized();
  }

  // --- what is in view -------------------------------------------------------------------------------------------

  // Reads where the view is, in pixels. It is kept, for whoever asks the browser has it lay out all that is new.
  look() {
    const { scrollTop: top, scrollLeft: left, clientHeight: height, clientWidth: width } = this.scroller;
    this.seen = { top, left, height, width };
  }

  // A jump: nothing moves.
  scrollTo(left, top) {
    this.scroller.scrollTo(left, top);
    this.look();
    this.speed = [0, 0];
    this.scrolled = [this.seen.top, this.seen.left, performance.now()];
  }

  // The first and last row or column of what scrolls, with so many pixels around, and more `ahead`, upward if negative.
  range(axis, margin, ahead = 0) {
    const upright = axis === this.rows;
    const from = axis.frozenLength + (upright ? this.seen.top : this.seen.left);
    const size = (upright ? this.seen.height - this.headHeight : this.seen.width - this.headWidth) - axis.frozenLength;
    const first = Math.max(axis.frozen + 1, axis.at(Math.max(0, from - margin + Math.min(0, ahead))));
    return [Math.min(first, axis.count), axis.at(from + Math.max(0, size) + margin + Math.max(0, ahead))];
  }

  // The rectangles that are in view: frozen rows and columns are apart once the sheet is scrolled.
  rects(margin, [down, right] = [0, 0]) {
    const ranges = (axis, ahead) => {
      const [first, last] = this.range(axis, margin, ahead);
      if (!axis.frozen) return [[first, last]];
      return first <= axis.frozen + 1 ? [[1, last]] : [[1, axis.frozen], [first, last]];
    };
    const made = [];
    for (const [top, bottom] of ranges(this.rows, down))
      for (const [left, last] of ranges(this.columns, right)) made.push({ sheet: this.sheet, top, left, bottom, right: last });
    return made;
  }

  // What is on screen, for messages that answer with it.
  view() {
    this.lastView = this.rects(0).at(-1);
    return this.lastView;
  }

  // Paints the answer to a change of the view that was asked with, and flashes what changed.
  apply(answer, view = this.lastView) {
    if (!view || view.sheet !== this.sheet) return this.store.reload();
    this.store.take(answer, view);
    this.paint();
    this.flash(answer.changed ?? []);
    this.store.need();
  }

  flash(changed) {
    this.flashes = 1 - this.flashes; // two names of one animation, so that it begins anew
    for (const [row, column] of changed.slice(0, 2000)) {
      const element = this.elementOf(row, column);
      element?.classList.remove(`sgd-flash${1 - this.flashes}`);
      element?.classList.add(`sgd-flash${this.flashes}`);
    }
  }

  // --- painting --------------------------------------------------------------------------------------------------

  paneOf(row, column) {
    const top = row <= this.rows.frozen;
    return this.panes[column <= this.columns.frozen ? (top ? "corner" : "left") : top ? "top" : "body"];
  }

  elementOf(row, column) {
    return this.paneOf(row, column).lines.get(row)?.cells.get(column);
  }

  paint(margin = MARGIN) {
    if (!this.layout) return;
    // While it is scrolled, what lies ahead is enough.
    const [down, right] = this.speedNow().map((speed) => MARGIN * Math.sign(speed));
    const around = down || right ? MOVING_MARGIN : margin;
    const [rowFrom, rowTo] = this.range(this.rows, around, down);
    const [columnFrom, columnTo] = this.range(this.columns, around, right);
    const frozenRows = [1, this.rows.frozen];
    const frozenColumns = [1, this.columns.frozen];
    const [rows, columns] = [[rowFrom, rowTo], [columnFrom, columnTo]];
    for (const [top, left, bottom, right] of this.layout.merged) {
      if (top > this.rows.frozen && top < rows[0] && bottom >= rowFrom) rows[0] = top;
      if (left > this.columns.frozen && left < columns[0] && right >= columnFrom) columns[0] = left;
    }
    paintPane(this, this.panes.body, rows, columns);
    paintPane(this, this.panes.top, frozenRows, columns);
    paintPane(this, this.panes.left, rows, frozenColumns);
    paintPane(this, this.panes.corner, frozenRows, frozenColumns);
    paintHeads(this, [rowFrom, rowTo], [columnFrom, columnTo]);
    this.charts.place();
    this.arrows.draw();
    this.root.classList.toggle("sgd-right", this.seen.left > 0);
    this.root.classList.toggle("sgd-down", this.seen.top > 0);
  }

  // Paints in the next frame, once for all that has been scrolled and has come by then.
  paintSoon() {
    this.soon ??= requestAnimationFrame(() => {
      this.soon = null;
      this.look();
      const now = [this.seen.top, this.seen.left, performance.now()];
      this.speed = [0, 1].map((i) => (now[i] - this.scrolled[i]) / (now[2] - this.scrolled[2]));
      this.scrolled = now;
      this.paint();
      this.store.need();
    });
  }

  // The speed, if the sheet is still being scrolled.
  speedNow() {
    return performance.now() - this.scrolled[2] < SCROLLING ? this.speed : [0, 0];
  }

  // Where a range is on the screen.
  boxOf({ top, left, bottom, right }) {
    const x = this.headWidth + this.columns.starts[left] - (left > this.columns.frozen ? this.seen.left : 0);
    const y = this.headHeight + this.rows.starts[top] - (top > this.rows.frozen ? this.seen.top : 0);
    return { x, y, width: this.columns.span(left, right), height: this.rows.span(top, bottom) };
  }

  // Marks these rows [[first, last]], as the step that the slider is at.
  highlight(rows, reveal = true) {
    this.marked = rows ?? [];
    for (const pane of Object.values(this.panes)) for (const [row, line] of pane.lines) markLine(this, row, line);
    if (reveal && this.marked.length) this.reveal(this.marked[0][0], null);
  }

  // --- selecting -------------------------------------------------------------------------------------------------

  anchorOf(row, column) {
    const merge = this.layout.merged.find(([top, left, bottom, right]) => row >= top && row <= bottom && column >= left && column <= right);
    return merge ? [merge[0], merge[1]] : [row, column];
  }

  select(row, column, { focus = true, reveal = true } = {}) {
    const bounded = (value, axis) => Math.min(Math.max(1, value), axis.count);
    const [to, across] = this.anchorOf(bounded(row, this.rows), bounded(column, this.columns));
    this.open(this.rows, to);
    this.open(this.columns, across);
    this.selected = [to, across];
    this.extent = null;
    this.arrows.clear();
    this.hadFocus = focus;
    if (reveal) this.reveal(to, across);
    this.paint();
    if (focus) this.elementOf(to, across)?.focus({ preventScroll: true });
    this.hadFocus = false;
    this.tell(to, across);
    this.typing.offerGrip(to, across);
    this.onSelect(to, across);
  }

  // Chooses the range from the selected cell to this one, for copying.
  extend(row, column) {
    this.extent = [Math.min(Math.max(1, row), this.layout.rows), Math.min(Math.max(1, column), this.layout.columns)];
    this.reveal(...this.extent);
    this.arrows.draw();
    this.onSay(`${rangeAddress(this.chosen())} chosen; Ctrl+C copies it`);
  }

  // The range that is chosen, or the selected cell.
  chosen() {
    const [row, column] = this.selected;
    const [toRow, toColumn] = this.extent ?? this.selected;
    return { top: Math.min(row, toRow), left: Math.min(column, toColumn), bottom: Math.max(row, toRow), right: Math.max(column, toColumn) };
  }

  move(down, right) {
    const [row, column] = this.selected;
    const merge = this.anchors.get(`${row},${column}`) ?? [row, column, row, column];
    this.select(
      down ? this.rows.next(down > 0 ? merge[2] : row, down) : row,
      right ? this.columns.next(right > 0 ? merge[3] : column, right) : column,
    );
  }

  // Opens the closed groups that a row or column lies in.
  open(axis, index) {
    if (!axis.hidden[index]) return;
    for (const group of axis.groups) if (index >= group.first && index <= group.last) group.closed = false;
    this.resized();
  }

  reveal(row, column) {
    this.look();
    const to = { ...this.seen };
    if (row !== null && row > this.rows.frozen) {
      const start = this.rows.starts[row] - this.rows.frozenLength;
      const size = to.height - this.headHeight - this.rows.frozenLength;
      if (start < to.top) to.top = start;
      else if (start + this.rows.span(row) > to.top + size) to.top = start + this.rows.span(row) - size;
    }
    if (column !== null && column > this.columns.frozen) {
      const start = this.columns.starts[column] - this.columns.frozenLength;
      const size = to.width - this.headWidth - this.columns.frozenLength;
      if (start < to.left) to.left = start;
      else if (start + this.columns.span(column) > to.left + size) to.left = start + Math.min(this.columns.span(column) - size, 0);
    }
    this.scrollTo(to.left, to.top);
  }

  // Shows a cell's note, or what its input asks for.
  tell(row, column) {
    const input = this.inputAt(row, column);
    const asked = this.prompts ? [input?.title, input?.message].filter(Boolean).join("\n") : "";
    const text = this.notes.get(`${row},${column}`) ?? asked;
    this.note.hidden = !text;
    if (!text) return;
    this.note.textContent = text;
    this.elementOf(row, column)?.setAttribute("aria-describedby", this.note.id);
    const box = this.boxOf({ top: row, left: column, bottom: row, right: column });
    const { width, height } = this.seen;
    const below = box.y + box.height + 6;
    this.note.style.left = `${Math.max(4, Math.min(box.x, width - this.note.offsetWidth - 8))}px`;
    this.note.style.top = `${below + this.note.offsetHeight > height ? box.y - this.note.offsetHeight - 6 : below}px`;
  }

  // The name of the block that a cell is of, or nothing.
  blockAt(row, column) {
    const found = this.layout.blocks?.find(([top, left, bottom, right]) => row >= top && row <= bottom && column >= left && column <= right);
    return found ? found[4] : "";
  }

  inputAt(row, column) {
    const found = this.layout.inputs.find(([top, left, bottom, right]) => row >= top && row <= bottom && column >= left && column <= right);
    return found ? found[4] : null;
  }

  cellAt(row, column) {
    return this.store.rows.get(row)?.get(column);
  }

  follow(row, column) {
    const link = this.links.get(`${row},${column}`);
    if (link.url) {
      if (/^(https?:|mailto:)/i.test(link.url)) window.open(link.url, "_blank", "noopener,noreferrer");
    } else this.onLink(link);
  }
}

function keyed(list) {
  return new Map((list ?? []).map(([row, column, what]) => [`${row},${column}`, what]));
}
