// Where the selected cell's number comes from: its formula with names and with numbers, the cells it reads and those that
// read it, and what torch says.
import { rangeAddress } from "./axis.js";

const TORCH_AFTER = 150; // milliseconds: who runs through cells by keyboard does not ask torch about each
const TORCH_AFTER_CHANGE = 500; // who drags a number has the processor for the cells
const PIECES_SHOWN = 300;
const LINKS_SHOWN = 24;

// Returns a new element of the page; texts from a workbook go through `text` alone.
export function madeNode(tag, { text = null, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

// `go(sheet, row, column)` selects another cell, `arrows(reads, readers)` draws arrows from and to ranges.
export class Panel {
  #element;
  #ask;
  #go;
  #arrows;
  #at = null; // the cell shown: {sheet, row, column, typed}
  #told = null; // what `explain` answered about it
  #trail = []; // the cells that were left by following a formula, the last one last
  #next = null; // the cell that a step goes to: `show` keeps the trail for it
  #turn = 0; // an answer to an older question is dropped
  #busy = false;
  #asking = false; // who reads the cell
  #comparing = false; // with torch
  #onward = false; // whether to go to its reader when that is known
  #timer = null;

  constructor(element, { ask, go, arrows }) {
    this.#element = element;
    this.#ask = ask;
    this.#go = go;
    this.#arrows = arrows;
    element.classList.add("explained");
    element.setAttribute("role", "region");
    element.setAttribute("aria-label", "Where the selected cell's number comes from");
    element.addEventListener("keydown", (event) => {
      if (this.key(event)) event.preventDefault();
    });
    element.replaceChildren(madeNode("p", { text: "Select a cell to see where its number comes from.", class: "explained-quiet" }));
  }

  // Shows a cell. `typed` says what may be typed into it, as a sheet's `inputs` do: {kind, choices, least, most, …}.
  show(sheet, row, column, typed = null) {
    const same = this.#at && cellKey(this.#at) === cellKey({ sheet, row, column });
    if (!same && this.#next !== cellKey({ sheet, row, column })) this.#trail = [];
    this.#next = null;
    this.#at = { sheet, row, column, typed };
    return this.#load();
  }

  // Asks anew about the cell shown: a number has changed.
  refresh() {
    return this.#at ? this.#load(TORCH_AFTER_CHANGE) : undefined;
  }

  // Goes to the first cell that this one reads.
  precedent() {
    return this.#step(this.#told?.reads[0]);
  }

  // Goes to the first cell that reads this one, as soon as that is known.
  reader() {
    this.#onward = Boolean(this.#told && !this.#told.readers);
    return this.#onward || this.#step(this.#told?.readers?.[0]);
  }

  // Goes back to the cell that was left by the last step.
  back() {
    const last = this.#trail.pop();
    if (!last) return false;
    this.#leave(last);
    return true;
  }

  // Returns whether the key was one of `[`, `]`, Backspace and Alt+Left, and does what it asks for.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.target?.matches?.("input, textarea, select")) return false;
    if (event.altKey) return event.key === "ArrowLeft" && this.back();
    if (event.key === "[") return this.precedent();
    if (event.key === "]") return this.reader();
    return event.key === "Backspace" && this.back();
  }

  #step(range) {
    if (!range) return false;
    this.#trail.push({ ...this.#at, name: this.#told ? shownName(this.#told) : rangeAddress(cellRange(this.#at)) });
    this.#leave({ sheet: range.sheet, row: range.top, column: range.left });
    return true;
  }

  #leave(cell) {
    this.#next = cellKey(cell);
    this.#go(cell.sheet, cell.row, cell.column);
  }

  // One question at a time, and then about the cell that is selected by then.
  async #load(patience = TORCH_AFTER) {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    if (this.#busy) return;
    this.#busy = true;
    const { sheet, row, column } = this.#at;
    let told = null;
    let failed = null;
    try {
      told = await this.#ask({ ask: "explain", sheet, row, column });
    } catch (error) {
      failed = error;
    }
    this.#busy = false;
    if (turn !== this.#turn) return this.#load(patience);
    const { readers, more } = this.#told ?? {};
    if (told && readers && cellKey(told) === cellKey(this.#told)) Object.assign(told, { readers, more }); // formulas stay
    this.#told = told;
    this.#onward = false;
    if (failed) this.#element.replaceChildren(madeNode("p", { role: "alert", text: failed.message }));
    else this.#draw();
    if (!told) return;
    this.#timer = setTimeout(() => this.#askTorch(), patience);
    this.#askReaders();
  }

  // Who reads the cell comes after its formula: in a large workbook it takes a while. One question at a time here too.
  async #askReaders() {
    if (this.#asking || this.#told.readers) return;
    this.#asking = true;
    const told = this.#told;
    let said;
    try {
      said = await this.#ask({ ask: "readers", sheet: told.sheet, row: told.row, column: told.column });
    } catch {
      said = { readers: [], more: 0 };
    }
    this.#asking = false;
    if (told !== this.#told) return this.#told && this.#askReaders();
    Object.assign(told, said);
    this.#element.querySelector(".explained-readers")?.replaceChildren(...this.#readBy());
    this.#point();
    if (this.#onward) this.reader();
  }

  // One at a time too, and then about what is shown by then: a browser has few connections, and torch may take seconds.
  async #askTorch() {
    if (this.#comparing) return;
    this.#comparing = true;
    const turn = this.#turn;
    const { sheet, row, column } = this.#at;
    let said;
    try {
      said = await this.#ask({ ask: "torch", sheet, row, column });
    } catch (error) {
      said = { state: "unknown", said: error.message };
    }
    this.#comparing = false;
    if (turn !== this.#turn) return this.#askTorch();
    this.#element.querySelector(".explained-torch")?.replaceChildren(...torchLines(said, this.#told));
  }

  #draw() {
    const told = this.#told;
    const held = this.#element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const parts = [this.#way(), this.#head(told)];
    if (told.input) parts.push(madeNode("p", { class: "explained-input", text: inputWords(told, this.#at.typed) }));
    if (told.formula) {
      parts.push(this.#formula("With names", told.named ?? [], "named"));
      parts.push(this.#formula("With numbers", told.numbers ?? [], "numbers"));
      const cell = madeNode("code", { text: told.formula, tabindex: 0, "aria-label": "the spreadsheet's formula" });
      parts.push(madeNode("section", {}, madeNode("h3", { text: "In the spreadsheet" }), cell));
    }
    // The numbers of the torch line come later; its place is there from the start, so that nothing jumps.
    parts.push(madeNode("div", { class: "explained-torch", role: "status" }, madeNode("p", { class: "explained-quiet", text: "…" })));
    if (told.reads?.length) parts.push(this.#links("Reads", told.reads, 0, "["));
    parts.push(madeNode("div", { class: "explained-readers" }, ...this.#readBy()));
    this.#element.replaceChildren(...parts.filter(Boolean));
    if (held) [...this.#element.querySelectorAll("[data-key]")].find((each) => each.dataset.key === held)?.focus();
    this.#point();
  }

  #readBy() {
    const { readers, more } = this.#told;
    return readers?.length ? [this.#links("Read by", readers, more, "]")] : [];
  }

  #head(told) {
    const place = `${rangeAddress(cellRange(told))} on ${told.sheet}`;
    const about = [told.role, told.words, told.in_torch ? `in torch: ${told.in_torch}` : ""].filter(Boolean);
    const head = madeNode("header", {}, madeNode("h2", { text: shownName(told) }));
    head.append(madeNode("p", { class: "explained-quiet", text: told.block ? place : `on ${told.sheet}` }));
    if (told.value !== null && told.value !== "") head.append(madeNode("p", { class: "explained-value", text: told.value }));
    if (about.length) head.append(madeNode("p", { text: about.join(" · ") }));
    return head;
  }

  // The way here, and back.
  #way() {
    if (!this.#trail.length) return null;
    const way = madeNode("nav", { "aria-label": "the way here" });
    const back = madeNode("button", { type: "button", class: "explained-back", "data-key": "back", "aria-keyshortcuts": "Backspace" });
    back.textContent = "← back";
    back.addEventListener("click", () => this.back());
    way.append(back);
    const first = Math.max(0, this.#trail.length - 5);
    if (first) way.append("… ›");
    this.#trail.slice(first).forEach((cell, k) => {
      const button = this.#button(cell.name, cellRange(cell), `way ${k}`, () => {
        this.#trail.length = first + k;
        this.#leave(cell);
      });
      way.append(button, "›");
    });
    return way;
  }

  #formula(title, pieces, key) {
    const line = madeNode("p", { class: "explained-formula" });
    const put = (some, from) => {
      some.forEach((piece, k) => {
        line.append(piece.cell ? this.#button(piece.text, piece.cell, `${key} ${from + k}`) : piece.text);
      });
    };
    put(pieces.slice(0, PIECES_SHOWN), 0);
    const rest = pieces.slice(PIECES_SHOWN);
    if (rest.length) {
      const more = madeNode("button", { type: "button", class: "explained-more", text: "… show all" });
      more.addEventListener("click", () => {
        more.remove();
        put(rest, PIECES_SHOWN);
      });
      line.append(more);
    }
    return madeNode("section", {}, madeNode("h3", { text: title }), line);
  }

  #links(title, ranges, more, key) {
    const heading = madeNode("h3", { text: title }, " ", madeNode("kbd", { text: key, "aria-hidden": "true" }));
    const list = madeNode("ul", { "aria-label": title });
    const put = (some, from) => {
      some.forEach((range, k) => {
        const place = range.sheet === this.#at.sheet ? rangeAddress(range) : `${range.sheet} ${rangeAddress(range)}`;
        const button = this.#button(range.name || place, range, `${title} ${from + k}`);
        if (range.name) button.append(" ", madeNode("small", { text: place }));
        list.append(madeNode("li", {}, button));
      });
    };
    put(ranges.slice(0, LINKS_SHOWN), 0);
    const rest = ranges.slice(LINKS_SHOWN);
    if (rest.length) {
      const all = madeNode("button", { type: "button", class: "explained-more", text: `show ${rest.length} more` });
      const item = madeNode("li", {}, all);
      all.addEventListener("click", () => {
        item.remove();
        put(rest, LINKS_SHOWN);
      });
      list.append(item);
    }
    const left = more ? [madeNode("p", { class: "explained-quiet", text: `and ${more.toLocaleString("en")} more` })] : [];
    return madeNode("section", {}, heading, list, ...left);
  }

  // A button that goes to a range's first cell; while it is pointed at, the arrow to that range alone is drawn.
  #button(text, range, key, press = () => this.#step(range)) {
    const made = madeNode("button", { type: "button", class: "explained-piece", "data-key": key, text });
    made.title = `${range.sheet} ${rangeAddress(range)}`;
    made.addEventListener("click", press);
    for (const event of ["pointerenter", "focus"]) made.addEventListener(event, () => this.#arrows([range], []));
    for (const event of ["pointerleave", "blur"]) made.addEventListener(event, () => this.#point());
    return made;
  }

  #point() {
    this.#arrows(this.#told?.reads ?? [], this.#told?.readers ?? []);
  }
}

function cellKey({ sheet, row, column }) {
  return JSON.stringify([sheet, row, column]);
}

function cellRange({ row, column, sheet }) {
  return { sheet, top: row, left: column, bottom: row, right: column };
}

function shownName(told) {
  return told.block ? `${told.block}${told.element ?? ""}` : rangeAddress(cellRange(told));
}

// What an input is for, and what may be typed into it.
function inputWords(told, typed) {
  const { kind, choices, open, least, most, whole, message } = typed ?? {};
  const more = told.words && message?.startsWith(told.words) ? "" : message; // which stands above
  const known = (end) => end !== null && end !== undefined;
  let what = "Type into it, and everything that reads it changes.";
  if (kind === "list" && choices?.length) what = `Choose one of ${choices.join(", ")}${open ? ", or type another" : ""}.`;
  else if (kind === "text") what = "Type a text.";
  else if (kind === "number") {
    const number = whole ? "a whole number" : "a number";
    if (known(least) && known(most)) what = `Type ${number} from ${least} to ${most}.`;
    else if (known(least)) what = `Type ${number} of at least ${least}.`;
    else if (known(most)) what = `Type ${number} of at most ${most}.`;
    else what = `Type ${number}.`;
  }
  return ["An input.", more, what].filter(Boolean).join(" ");
}

// What torch says of a cell, in words and not by colour alone.
function torchLines(said, told) {
  if (said.state === "input" && told.input) return [];
  const mark = { agrees: ["✓", "good", "Agrees with torch"], differs: ["✗", "bad", "Differs from torch"] }[said.state];
  if (!mark) return said.said ? [madeNode("p", { class: "explained-quiet", text: said.said })] : [];
  const [sign, look, words] = mark;
  const head = madeNode("p", { class: `explained-${look}` });
  head.append(madeNode("span", { text: sign, "aria-hidden": "true" }), madeNode("strong", { text: ` ${words}` }));
  const lines = [head];
  if (typeof said.torch === "number") lines.push(madeNode("p", { class: "explained-numbers", text: comparedWords(said) }));
  else if (said.said) lines.push(madeNode("p", { class: "explained-quiet", text: said.said }));
  return lines;
}

function comparedWords({ state, torch, difference }) {
  const end = state === "agrees" ? ": the same" : "";
  if (typeof difference !== "number") return `torch: ${torch}`;
  const far = difference === 0 ? "is equal to the last digit" : `differs by ${Number(difference.toPrecision(2))}`;
  return `torch: ${torch}; this cell ${far}${difference === 0 ? "" : end}`;
}
