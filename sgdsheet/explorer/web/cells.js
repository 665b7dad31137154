// Draws the cells of a pane: those in view become elements of the page, and the rows that have left it become others.
// Rows that nobody needs yet wait out of sight: while a sheet is scrolled fast, old ones leave before new ones have come.
import { cellAddress } from "./axis.js";
import { made } from "./elements.js";

const ARROW = 14; // pixels of the arrow in a cell with a list, where there is room for it

export function paintPane(grid, pane, [top, bottom], [left, right]) {
  const [selectedRow, selectedColumn] = grid.selected;
  const mine = grid.paneOf(selectedRow, selectedColumn) === pane;
  pane.columns = [left, right];
  for (const [row, line] of pane.lines) {
    if ((row < top || row > bottom || grid.rows.hidden[row]) && !(mine && row === selectedRow)) {
      if ([...line.cells.values()].some((element) => element.sgdSelected)) line.element.remove(); // or Tab would lead to it
      else pane.free.push(line);
      pane.lines.delete(row);
      continue;
    }
    const cells = grid.store.rows.get(row);
    for (const [column, element] of line.cells) {
      const selected = mine && row === selectedRow && column === selectedColumn;
      if (element.sgdSelected !== selected) element.sgdCell = null; // it is painted anew
      if (selected || (column >= left && column <= right && !grid.columns.hidden[column] && cells?.has(column))) continue;
      element.remove();
      line.cells.delete(column);
    }
  }
  for (let row = top; row <= bottom; row++) {
    if (grid.rows.hidden[row]) continue;
    let line = pane.lines.get(row);
    for (const [column, cell] of grid.store.rows.get(row) ?? []) {
      if (column < left || column > right || line?.cells.get(column)?.sgdCell === cell) continue;
      if (grid.columns.hidden[column] || grid.covered.has(`${row},${column}`)) continue;
      line ??= lineOf(grid, pane, row);
      paintCell(grid, line, row, column, cell);
    }
  }
  const waiting = Math.max(0, bottom - top + 1 - pane.lines.size);
  for (const line of pane.free.splice(waiting)) line.element.remove();
  for (const { element } of pane.free) {
    if (!element.hasAttribute("aria-rowindex")) continue;
    element.removeAttribute("aria-rowindex");
    element.setAttribute("aria-hidden", "true");
    element.style.top = "-9999px";
  }
  if (mine) {
    const cell = grid.store.rows.get(selectedRow)?.get(selectedColumn);
    const line = lineOf(grid, pane, selectedRow);
    paintCell(grid, line, selectedRow, selectedColumn, cell ?? [selectedRow, selectedColumn, "", 0, {}]);
  }
}

export function emptyPane(pane) {
  for (const { element } of [...pane.lines.values(), ...pane.free.splice(0)]) element.remove();
  pane.lines.clear();
}

// The row's elements; of a row that has just come into view those of one that has left it.
function lineOf(grid, pane, row) {
  let line = pane.lines.get(row);
  if (line) return line;
  line = pane.free.pop() ?? { element: made("div", "sgd-row", pane.place), cells: new Map() };
  const { element, cells } = line;
  element.setAttribute("role", "row");
  element.setAttribute("aria-rowindex", row);
  element.removeAttribute("aria-hidden");
  element.style.top = `${grid.headHeight + grid.rows.starts[row]}px`;
  for (const [column, cell] of cells) {
    const gone = column < pane.columns[0] || column > pane.columns[1] || !grid.store.rows.get(row)?.has(column);
    if (gone || grid.covered.has(`${row},${column}`)) cell.remove(), cells.delete(column);
    cell.sgdCell = cell.sgdMark = null;
    for (const name of ["aria-label", "aria-describedby"]) cell.removeAttribute(name);
    for (const name of ["sgd-flash0", "sgd-flash1"]) cell.classList.toggle(name, false);
  }
  pane.lines.set(row, line);
  markLine(grid, row, line);
  return line;
}

// Marks the row if it is one of the grid's `marked`. An attribute that is written anew, with what it has, costs as much
// as another: so it is only where it changes.
export function markLine(grid, row, line) {
  const on = grid.marked.some(([first, last]) => row >= first && row <= last);
  if (line.element.classList.contains("sgd-marked") !== on) line.element.classList.toggle("sgd-marked", on);
}

function paintCell(grid, line, row, column, cell) {
  let element = line.cells.get(column);
  const selected = row === grid.selected[0] && column === grid.selected[1];
  const look = grid.looks.of(cell, grid.scale);
  const merge = grid.anchors.get(`${row},${column}`);
  const width = grid.columns.span(column, merge?.[3] ?? column);
  const height = grid.rows.span(row, merge?.[2] ?? row);
  const extra = cell[4] ?? {};
  const kind = extra.kind ?? (typeof extra.value === "number" ? "n" : "s");
  const align = look.align ?? (kind === "n" ? "right" : kind === "b" || kind === "e" ? "center" : "left");
  let text = look.wrap ? cell[2] : cell[2].replaceAll("\n", " ");
  // As programs have it: 2 pixels beside the text, and one for the line between this cell and the next.
  const pad = Math.min(2 * grid.scale, width / 12);
  // A line at the left or at the top lies on the cell before it, but for what that hides: the heads, and frozen cells.
  const back = look.edges.left && column > 1 && column !== grid.columns.frozen + 1 ? 1 : 0;
  const up = look.edges.top && row > 1 && row !== grid.rows.frozen + 1 ? 1 : 0;
  const padLeft = look.edges.left && !back ? pad - 1 : pad;
  const padRight = look.edges.right ? pad : pad + 1;
  const input = grid.inputAt(row, column);
  const arrow = input?.kind === "list" && width >= 3 * ARROW * grid.scale;
  const wide = () => (text && !look.wrap ? grid.looks.width(text, look.font) + 2 * pad + 1 + look.indent : 0);
  let needed = wide();
  const times = look.repeat && text ? Math.floor((width - 2 * pad - 1) / (needed - 2 * pad - 1)) : 1;
  if (times > 1 && times < 1000) text = text.repeat(times);
  if (kind === "n" && needed > 2 * width && /^-?[\d.]{9,}$/.test(text) && typeof extra.value === "number") {
    text = extra.value.toExponential(1).replace("e+", "e"); // as a whole it would be too small to read
    needed = wide();
  }
  const spill = kind === "s" && !look.shrink && !merge && needed > width && spillRoom(grid, row, column, align, width, needed);
  const mark = `${text}|${width}|${height}|${spill || ""}|${Boolean(input)}|${JSON.stringify(extra.bar ?? "")}`;
  if (element) element.sgdCell = cell;
  if (element && element.sgdLook === look && element.sgdMark === mark && element.sgdSelected === selected) return;
  if (!element) {
    element = made("div", "sgd-cell", line.element);
    element.setAttribute("role", "gridcell");
    element.setAttribute("aria-colindex", column);
    element.sgdCell = cell;
    line.cells.set(column, element);
  }
  element.sgdLook = look;
  element.sgdMark = mark;
  const before = element.sgdSelected;
  element.sgdSelected = selected;
  // What must not be cut takes the room beside it before it is smaller.
  const tight = needed > width && !spill && (kind === "n" || look.shrink);
  const size = tight ? Math.min(look.size, (look.size * (width - 1)) / (needed - 2 * pad - 1)) : look.size;
  const sides = tight ? [0, look.edges.right ? 0 : 1] : [padLeft, padRight];
  const left = grid.headWidth + grid.columns.starts[column] - back;
  let css = `${look.css}left:${left}px;width:${width + back}px;top:${-up}px;`;
  css += `height:${height + up}px;text-align:${align};padding:0 ${sides[1] + (arrow ? ARROW * grid.scale : 0)}px 0 ${sides[0]}px;`;
  if (look.indent) css += `padding-${align === "right" ? "right" : "left"}:${pad + look.indent}px;`;
  if (size < look.size) css += `font-size:${Math.max(4, size)}px;`;
  if (look.wrap) css += `align-content:${{ top: "start", middle: "center" }[look.valign] ?? "end"};line-height:${Math.round(size * 1.22)}px;`;
  else {
    const line = Math.ceil(size * 1.22);
    const over = height - line;
    const above = { top: 0, middle: over / 2 }[look.valign] ?? over;
    css += `line-height:${line}px;padding-top:${Math.max(0, above)}px;`;
  }
  if (extra.bar) css += barStyle(extra.bar);
  if (element.sgdCss !== css) element.style.cssText = element.sgdCss = css;
  element.classList.toggle("sgd-wrap", look.wrap);
  element.classList.toggle("sgd-selected", selected);
  element.classList.toggle("sgd-input", Boolean(input));
  element.classList.toggle("sgd-framed", ["top", "right", "bottom", "left"].some((edge) => extra[edge]));
  element.classList.toggle("sgd-arrowed", arrow);
  element.classList.toggle("sgd-noted", grid.notes.has(`${row},${column}`));
  if (before !== selected) {
    element.tabIndex = selected ? 0 : -1;
    element.setAttribute("aria-selected", selected);
  }
  if (!before && selected && grid.hadFocus) element.focus({ preventScroll: true });
  fillCell(grid, element, { row, column, text, input, spill, align, pad, rotate: look.rotate });
}

// Puts a cell's text into its element: plain, as a link, or as a list to choose from.
function fillCell(grid, element, { row, column, text, input, spill, align, pad, rotate }) {
  const link = grid.links.get(`${row},${column}`);
  if (input) {
    const name = (input.block || input.title || "input").replaceAll("_", " ");
    element.removeAttribute("aria-readonly");
    element.setAttribute("aria-label", `${name}, ${cellAddress(row, column)}, ${text}, may be typed into`);
  } else {
    if (!element.hasAttribute("aria-readonly")) element.setAttribute("aria-readonly", "true");
    const words = [cellAddress(row, column), text || "empty", grid.blockAt(row, column).replaceAll("_", " ")];
    if (element.sgdSelected) element.setAttribute("aria-label", words.filter(Boolean).join(", ")); // what has the focus is read
    else element.removeAttribute("aria-label");
  }
  if (input?.kind === "list" && !input.open) {
    const old = element.querySelector("select");
    if (old && document.activeElement === old) return;
    const select = made("select", "sgd-list");
    select.tabIndex = -1;
    select.setAttribute("aria-label", (input.block || "choose").replaceAll("_", " "));
    for (const choice of new Set([...(input.choices ?? []).map(String), text])) {
      const option = made("option", "", select);
      option.value = option.textContent = choice;
    }
    select.value = text;
    element.replaceChildren(select);
    return;
  }
  let holder = element;
  if (link) {
    const old = element.firstElementChild;
    const same = old?.sgdLink === link; // it stays, or a click that selects the cell would have lost what it pressed
    holder = same ? old : made("a");
    holder.className = "sgd-link";
    holder.removeAttribute("style");
    holder.sgdLink = link;
    holder.tabIndex = -1;
    if (link.url && /^(https?:|mailto:)/i.test(link.url)) {
      Object.assign(holder, { href: link.url, target: "_blank", rel: "noopener noreferrer" });
    } else holder.setAttribute("role", "link");
  } else if (spill || rotate) holder = made("span");
  if (holder === element && element.childNodes.length === 1 && element.firstChild.nodeType === Node.TEXT_NODE) element.firstChild.data = text;
  else holder.textContent = text;
  if (spill) {
    holder.className += " sgd-spill";
    Object.assign(holder.style, spillStyle(spill, align, pad));
  }
  if (rotate === 90 || rotate === -90) holder.classList.add(rotate > 0 ? "sgd-up" : "sgd-downward");
  if (holder !== element && holder !== element.firstElementChild) element.replaceChildren(holder);
}

// How far a text that is too wide may run over its empty neighbours: [to the left, to the right], or null.
function spillRoom(grid, row, column, align, width, needed) {
  const line = grid.store.rows.get(row);
  const reach = (direction, most) => {
    let got = 0;
    for (let next = column + direction; got < most && next >= 1 && next <= grid.columns.count; next += direction) {
      if (line?.get(next)?.[2] || grid.anchors.has(`${row},${next}`)) break;
      got += grid.columns.span(next);
    }
    return Math.min(got, most);
  };
  const over = needed - width;
  const left = align === "right" ? reach(-1, over) : align === "center" ? reach(-1, over / 2) : 0;
  const right = align === "left" ? reach(1, over) : align === "center" ? reach(1, over / 2) : 0;
  return left || right ? [left, right] : [0, 0];
}

// A text is cut at the edge of its cell, or of the last that it runs over, not where the room beside a text begins.
function spillStyle([left, right], align, pad) {
  const before = left + (align === "left" ? 0 : pad);
  const after = right + (align === "right" ? 0 : pad);
  const justifyContent = { right: "end", center: "center" }[align] ?? "start"; // what is too long is cut at the other side
  return { width: `calc(100% + ${before + after}px)`, marginLeft: `${-before}px`, justifyContent };
}

// A data bar: {"from", "to": shares of the cell's width, "color"}.
function barStyle(bar) {
  const [from, to] = [Number(bar.from ?? 0) * 100, Number(bar.to ?? bar.share ?? 0) * 100];
  const color = /^#[0-9a-f]{6}$/i.test(bar.color ?? "") ? bar.color : "#9dc3e6";
  return `background-image:linear-gradient(to right, transparent ${from}%, ${color} ${from}%, ${color} ${to}%, transparent ${to}%);`;
}
