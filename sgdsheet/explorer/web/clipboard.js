// Copying a range of cells out of the grid, and pasting a block of them into it.
import { cellAddress, rangeAddress } from "./axis.js";

export function listenToClipboard(grid) {
  grid.sizer.addEventListener("copy", (event) => copyCells(grid, event));
  grid.sizer.addEventListener("paste", (event) => pasteCells(grid, event));
}

// As lines of texts with tabs between them, as spreadsheets take and give them; numbers with all their digits.
function copyCells(grid, event) {
  if (event.target.matches("input")) return;
  event.preventDefault();
  const { top, left, bottom, right } = grid.chosen();
  const lines = [];
  for (let row = top; row <= bottom; row++) {
    const line = [];
    for (let column = left; column <= right; column++) {
      if (!grid.store.knows(row, column)) return grid.onSay("this range is too large to copy; choose one that has been on screen");
      const [, , text = "", , extra] = grid.cellAt(row, column) ?? [];
      const whole = extra?.kind === "n" ? String(extra.value) : text;
      line.push(/[\t\n"]/.test(whole) ? `"${whole.replaceAll('"', '""')}"` : whole);
    }
    lines.push(line.join("\t"));
  }
  event.clipboardData.setData("text/plain", lines.join("\n"));
  grid.onSay(top === bottom && left === right ? "copied" : `${rangeAddress(grid.chosen())} copied`);
}

// Into yellow cells, as one change, or not at all.
function pasteCells(grid, event) {
  if (event.target.matches("input")) return;
  event.preventDefault();
  const { top, left } = grid.chosen();
  const lines = event.clipboardData.getData("text/plain").replace(/\r?\n$/, "").split(/\r?\n/);
  const cells = lines.flatMap((line, i) => line.split("\t").map((text, j) => [top + i, left + j, text.trim() || null]));
  const other = cells.find(([row, column]) => !grid.inputAt(row, column));
  if (other) return grid.onSay(`nothing was pasted: ${cellAddress(...other)} is computed; only yellow cells take numbers`);
  grid.onEdit(cells, false);
}
