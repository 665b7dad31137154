// The letters above the columns and the numbers beside the rows, the lines between cells, and the groups that fold.
import { columnLetters } from "./axis.js";
import { made, place } from "./elements.js";

export const HEAD_HEIGHT = 20;
export const GUTTER = 16; // of the + and − of groups, a level

const CHUNK = 32; // rows or columns that get their heads together, so that not each frame makes new ones

export function paintHeads(grid, inRows, inColumns) {
  const [rows, columns] = [whole(inRows, grid.rows), whole(inColumns, grid.columns)];
  const spans = { body: [[1, 0], [1, 0]], top: [[1, 0], columns], left: [rows, [1, 0]] };
  spans.corner = [[1, grid.rows.frozen], [1, grid.columns.frozen]];
  for (const pane of Object.values(grid.panes)) {
    const [[rowFrom, rowTo], [columnFrom, columnTo]] = spans[pane.name];
    const shown = pane.name === "body" ? [rows, columns] : spans[pane.name]; // it has the lines between cells alone
    const key = [shown, grid.scale, grid.selected, grid.rows.length, grid.columns.length, grid.headWidth].join();
    if (pane.headKey === key && pane.heads.childElementCount) continue;
    pane.headKey = key;
    const heads = document.createDocumentFragment();
    const head = (text, on, left, top, width, height) => {
      const element = made("div", `sgd-head${on ? " sgd-on" : ""}`, heads);
      element.textContent = text;
      place(element, left, top, width, height);
    };
    if (pane.name !== "body") {
      const strip = made("div", "sgd-strip", heads);
      if (pane.name === "top") place(strip, 0, 0, grid.headWidth + grid.columns.length, grid.headHeight);
      if (pane.name === "left") place(strip, 0, 0, grid.headWidth, grid.headHeight + grid.rows.length);
      if (pane.name === "corner") place(strip, 0, 0, grid.headWidth + grid.columns.frozenLength, grid.headHeight);
      if (pane.name === "corner") place(made("div", "sgd-strip", heads), 0, 0, grid.headWidth, grid.headHeight + grid.rows.frozenLength);
    }
    for (let column = columnFrom; column <= columnTo; column++)
      if (!grid.columns.hidden[column])
        head(columnLetters(column), column === grid.selected[1], grid.headWidth + grid.columns.starts[column], grid.headHeight - HEAD_HEIGHT, grid.columns.span(column), HEAD_HEIGHT);
    for (let row = rowFrom; row <= rowTo; row++)
      if (!grid.rows.hidden[row])
        head(row, row === grid.selected[0], 0, grid.headHeight + grid.rows.starts[row], grid.headWidth, grid.rows.span(row));
    paintGroups(grid, heads, pane.name, rows, columns);
    pane.heads.replaceChildren(heads);
    if (grid.root.classList.contains("sgd-lines")) paintLines(grid, pane, rows, columns);
  }
}

function whole([from, to], { count }) {
  return [from - ((from - 1) % CHUNK), Math.min(count, to + CHUNK - 1 - ((to - 1) % CHUNK))];
}

// The thin lines between cells, where the sheet shows them.
function paintLines(grid, pane, [rowFrom, rowTo], [columnFrom, columnTo]) {
  if (pane.name !== "body") return;
  for (let row = rowFrom; row <= rowTo; row++) {
    const line = made("div", "sgd-line", pane.heads);
    place(line, grid.headWidth, grid.headHeight + grid.rows.starts[row + 1] - 1, grid.columns.length, 1);
  }
  for (let column = columnFrom; column <= columnTo; column++) {
    const line = made("div", "sgd-line", pane.heads);
    place(line, grid.headWidth + grid.columns.starts[column + 1] - 1, grid.headHeight, 1, grid.rows.length);
  }
}

function paintGroups(grid, into, pane, rows, columns) {
  const one = (axis, group, [from, to], upright) => {
    const end = Math.min(group.last + 1, axis.count);
    const frozen = end <= axis.frozen;
    if (pane !== (frozen ? "corner" : upright ? "left" : "top")) return;
    if (!frozen && (group.first > to || end < from)) return;
    const across = (group.level - 1) * GUTTER + 1;
    const start = (upright ? grid.headHeight : grid.headWidth) + axis.starts[group.first];
    const at = (upright ? grid.headHeight : grid.headWidth) + axis.starts[end];
    if (!group.closed) {
      const bar = made("div", "sgd-bar", into);
      if (upright) place(bar, across + 6, start, 2, at - start);
      else place(bar, start, across + 6, at - start, 2);
    }
    const button = made("button", "sgd-group", into);
    button.type = "button";
    button.textContent = group.closed ? "+" : "−";
    const name = upright ? `rows ${group.first} to ${group.last}` : `columns ${columnLetters(group.first)} to ${columnLetters(group.last)}`;
    button.title = `${group.closed ? "show" : "hide"} ${name}`;
    button.tabIndex = -1;
    if (upright) place(button, across, at + 2, 14, 14);
    else place(button, at + 2, across, 14, 14);
    button.addEventListener("click", () => {
      group.closed = !group.closed;
      grid.onSay(`${name} ${group.closed ? "are hidden" : "are shown"}`);
      grid.resized();
    });
  };
  for (const group of grid.rows.groups) one(grid.rows, group, rows, true);
  for (const group of grid.columns.groups) one(grid.columns, group, columns, false);
}
