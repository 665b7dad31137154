// What is typed into a yellow cell, chosen from its list, or dragged: a number has a grip at its left edge.
import { cellAddress } from "./axis.js";
import { made, place } from "./elements.js";
import { dragStep, draggedNumber } from "./numbers.js";

const ROOM = 36; // pixels of a cell that has room for the grip; the number of a smaller one is dragged with Alt

export class Typing {
  constructor(grid) {
    this.grid = grid;
    this.editing = null;
    this.dragging = false;
    this.grip = made("div", "sgd-grip");
    this.grip.title = "drag to change this number (Shift: finer)";
    this.grip.setAttribute("aria-hidden", "true");
    this.grip.addEventListener("pointerdown", (event) => {
      const cell = this.grip.sgdCell;
      if (event.button === 0 && cell) this.drag(event, ...cell), event.stopPropagation();
    });
  }

  // A field over a cell, with what is typed already, or with what the cell holds; `choosing` offers the whole of its list.
  edit(row, column, typed = null, choosing = false) {
    const { grid } = this;
    const input = grid.inputAt(row, column);
    if (!input) return grid.onSay(`${cellAddress(row, column)} is computed; the yellow cells may be typed into`);
    const element = grid.elementOf(row, column);
    if (input.kind === "list" && !input.open) {
      const select = element.querySelector("select");
      select.focus();
      showPicker(select);
      return;
    }
    this.stop(false);
    const cell = grid.cellAt(row, column);
    const field = made("input", "sgd-edit", grid.paneOf(row, column).place);
    field.inputMode = input.kind === "number" ? "decimal" : "text";
    field.autocomplete = "off";
    field.spellcheck = false;
    field.setAttribute("aria-label", `${(input.block || "value").replaceAll("_", " ")}, ${cellAddress(row, column)}`);
    const held = typeof cell?.[4]?.value === "number" ? String(cell[4].value) : (cell?.[2] ?? "");
    field.value = typed ?? (choosing ? "" : held); // a browser offers of a list what begins as the field does
    field.placeholder = choosing ? held : "";
    const width = Math.max(grid.columns.span(column), 90);
    place(field, grid.headWidth + grid.columns.starts[column] - 1, grid.headHeight + grid.rows.starts[row] - 1, width + 1, grid.rows.span(row) + 1);
    const list = input.open ? offerChoices(field, input.choices) : null;
    this.editing = { field, list, row, column, was: typed === null ? field.value : null };
    field.focus();
    if (typed === null) field.select();
    if (choosing) showPicker(field);
    field.addEventListener("input", (event) => {
      if (event.inputType !== "insertReplacementText") return; // chosen from the list
      this.stop(true);
      grid.select(row, column);
    });
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      const moves = { Enter: event.shiftKey ? [-1, 0] : [1, 0], Tab: event.shiftKey ? [0, -1] : [0, 1] };
      if (typed !== null && !list) Object.assign(moves, { ArrowDown: [1, 0], ArrowUp: [-1, 0] });
      if (event.key === "Escape") {
        this.stop(false);
        grid.select(row, column);
      } else if (moves[event.key]) {
        event.preventDefault();
        this.stop(true);
        grid.move(...moves[event.key]);
      }
    });
    field.addEventListener("blur", () => this.stop(true));
  }

  stop(commit) {
    const { editing } = this;
    if (!editing) return;
    this.editing = null;
    const text = editing.field.value.trim();
    editing.field.remove();
    editing.list?.remove();
    if (commit && text !== editing.was) this.grid.onEdit([[editing.row, editing.column, text === "" ? null : text]], false);
  }

  numberAt(row, column) {
    const input = this.grid.inputAt(row, column);
    const value = this.grid.cellAt(row, column)?.[4]?.value;
    return input?.kind === "number" && typeof value === "number" ? { input, value } : null;
  }

  nudge(row, column, steps, finer) {
    const number = this.numberAt(row, column);
    if (!number) return this.grid.onSay("only a number that may be typed into can be stepped");
    const value = draggedNumber(number.value, steps, dragStep(number.value, number.input, finer), number.input);
    this.grid.onEdit([[row, column, value]], true);
  }

  offerGrip(row, column) {
    const { grid } = this;
    if (this.dragging) return;
    if (!this.numberAt(row, column) || grid.columns.span(column) < ROOM) return this.grip.remove();
    this.grip.sgdCell = [row, column];
    place(this.grip, grid.headWidth + grid.columns.starts[column], grid.headHeight + grid.rows.starts[row], 12, grid.rows.span(row));
    grid.paneOf(row, column).place.append(this.grip);
  }

  drag(event, row, column) {
    const { grid } = this;
    const number = this.numberAt(row, column);
    if (!number) return false;
    event.preventDefault();
    this.dragging = true;
    const step = dragStep(number.value, number.input, event.shiftKey);
    const element = event.target;
    element.setPointerCapture(event.pointerId);
    let last = number.value;
    const moved = (move) => {
      const value = draggedNumber(number.value, Math.round((move.clientX - event.clientX) / 8), step, number.input);
      if (value === last) return;
      last = value;
      const cell = grid.elementOf(row, column);
      if (cell) [cell.textContent, cell.sgdMark, cell.sgdCell] = [String(value), null, null]; // before the answer: the hand is quicker
      grid.onEdit([[row, column, value]], true);
      grid.onSay(`${cellAddress(row, column)} = ${value}`);
    };
    const ended = () => {
      this.dragging = false;
      element.removeEventListener("pointermove", moved);
      if (last !== number.value) grid.onEdit([[row, column, last]], false);
    };
    element.addEventListener("pointermove", moved);
    element.addEventListener("lostpointercapture", ended, { once: true });
    return true;
  }
}

// Offers these beside a field that takes other values too; the list stands next to it.
export function offerChoices(field, choices) {
  const list = made("datalist", "", field.parentNode);
  list.id = `sgd-choices-${Math.random().toString(36).slice(2)}`;
  for (const choice of new Set(choices)) made("option", "", list).value = choice;
  field.setAttribute("list", list.id);
  return list;
}

function showPicker(field) {
  try {
    field.showPicker();
  } catch {
    // A browser without it: the arrow keys choose.
  }
}
