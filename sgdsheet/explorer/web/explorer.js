// The explorer: a workbook's sheets, what is typed into them, and beside them where a number comes from.
import { Column } from "./column.js";
import { Grid } from "./grid.js";
import { Panel } from "./panel.js";
import { Player } from "./play.js";

const NARROW = 700; // pixels: below it there is one column
const MIDDLING = 1000; // pixels: below it the explanation stands under the cells, as in most notebooks
const WIDE = 1700; // pixels: what a sheet's first screen may take, with the numbers of its rows
const LEAST = 0.75; // of its size, for it to be read

// Shows a workbook in `element`. `ask(message)` returns a promise of the session's answer; `mode` is "page" or "widget".
export function mount(element, ask, { mode = "page" } = {}) {
  const explorer = new Explorer(element, ask, mode);
  explorer.open();
  return explorer;
}

export class Explorer {
  constructor(element, ask, mode) {
    this.element = element;
    this.mode = mode;
    this.ask = async (message) => this.heard(message, await ask(message));
    this.layouts = new Map();
    this.left = new Map(); // where each sheet was left: scrolled to, and selected
    this.waiting = null;
    this.setting = false;
    element.replaceChildren();
    element.classList.add("sgdsheet", `sgd-${mode}`);
    this.build();
  }

  build() {
    const part = (tag, name, into, text = "") => {
      const made = document.createElement(tag);
      if (name) made.className = name;
      if (text) made.textContent = text;
      into.append(made);
      return made;
    };
    const button = (text, name, act, keys) => {
      const made = part("button", "sgd-button", this.bar, text);
      made.type = "button";
      made.title = keys ? `${name} (${keys})` : name;
      made.setAttribute("aria-label", name);
      made.addEventListener("click", act);
      return made;
    };
    this.bar = part("header", "sgd-bar-top", this.element);
    this.title = part(this.mode === "page" ? "h1" : "strong", "sgd-title", this.bar, "…");
    this.undoButton = button("↶", "Undo", () => this.step("undo"), "Ctrl+Z");
    this.redoButton = button("↷", "Redo", () => this.step("redo"), "Ctrl+Y");
    this.undoButton.disabled = this.redoButton.disabled = true;
    this.saveButton = button("Save as .xlsx", "Save as .xlsx", () => this.save());
    this.saveButton.classList.add("sgd-save");
    this.playing = part("div", "sgd-playing", this.bar);
    this.panelButton = button("Explain", "Explain: where a number comes from", () => this.fold(!this.element.classList.contains("sgd-folded")));
    this.middle = part("div", "sgd-middle", this.element);
    this.main = part("div", "sgd-main", this.middle);
    this.column = new Column(this);
    this.holder = part("div", "sgd-holder", this.main);
    this.aside = part("div", "sgd-aside", this.middle);
    const foot = part("footer", "sgd-foot", this.element);
    this.tabs = part("div", "sgd-tabs", foot);
    this.tabs.setAttribute("role", "tablist");
    this.tabs.setAttribute("aria-label", "Sheets");
    this.status = part("div", "sgd-status", foot);
    this.status.setAttribute("role", "status");
    this.status.setAttribute("aria-live", "polite");
    const zoom = part("div", "sgd-zoom", foot);
    for (const [text, name, by] of [["−", "smaller", 0.9], ["100 %", "100 %", 0], ["+", "larger", 1 / 0.9]]) {
      const made = part("button", "sgd-button", zoom, text);
      made.type = "button";
      made.setAttribute("aria-label", name);
      made.addEventListener("click", () => {
        this.zoomed = true;
        this.zoom(by ? this.grid.scale * by : 1);
      });
    }
    this.size = zoom.children[1];
    this.grid = new Grid(this.holder, {
      ask: this.ask,
      onSelect: (row, column) => this.selected(row, column),
      onEdit: (cells, dragging) => this.edit(cells.map((cell) => [this.grid.sheet, ...cell]), dragging),
      onLink: (link) => this.go(link.sheet ?? this.grid.sheet, link.row, link.column),
      onSay: (text) => this.say(text),
      onUndo: (which) => this.step(which),
      onError: (error) => this.fail(error),
      onKey: (event) => this.panel.key(event),
    });
    this.panel = new Panel(part("div", "", this.aside), {
      ask: this.ask,
      go: (sheet, row, column) => this.go(sheet, row, column),
      arrows: (reads, readers) => this.grid.arrows.show(reads, readers),
    });
    new ResizeObserver(() => this.resized()).observe(this.element);
    this.resized();
    this.fold(false);
  }

  async open() {
    try {
      this.opened = await this.ask({ ask: "open" });
      const { title, sheets, active, styles } = this.opened;
      this.title.textContent = title;
      if (this.mode === "page") document.title = `${title} · sgdsheet`;
      this.grid.styles(styles);
      this.counts(this.opened);
      this.drawTabs(sheets);
      this.fit();
      await this.sheet(sheets[active]?.name ?? sheets[0].name);
      this.ready = true;
      this.element.dataset.ready = "true";
      Object.assign(this, await this.ask({ ask: "play" })); // after what is to be seen at once
      this.drawPlayer();
    } catch (error) {
      this.fail(error);
    }
  }

  // --- sheets ----------------------------------------------------------------------------------------------------

  drawTabs(sheets) {
    this.tabs.replaceChildren();
    for (const { name, tab, hidden } of sheets) {
      if (hidden) continue;
      const made = document.createElement("button");
      made.type = "button";
      made.className = "sgd-tab";
      made.setAttribute("role", "tab");
      made.textContent = name;
      made.sgdSheet = name;
      if (/^#[0-9a-f]{6}$/i.test(tab ?? "")) made.style.setProperty("--tab", tab);
      made.addEventListener("click", () => this.sheet(name).catch((error) => this.fail(error)));
      this.tabs.append(made);
    }
    this.tabs.addEventListener("keydown", (event) => {
      const all = [...this.tabs.children];
      const at = all.indexOf(document.activeElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (to === undefined || !all[to]) return;
      event.preventDefault();
      all[to].focus();
      all[to].click();
    });
  }

  async sheet(name, at = null) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    if (this.grid.layout) {
      const { scrollLeft, scrollTop } = this.grid.scroller;
      this.left.set(this.grid.sheet, { scroll: [scrollLeft, scrollTop], selected: this.grid.selected });
    }
    if (!this.layouts.has(name)) this.layouts.set(name, await this.ask({ ask: "sheet", sheet: name }));
    if (turn !== this.turn) return;
    for (const tab of this.tabs.children) {
      const on = tab.sgdSheet === name;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      if (on) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    const layout = this.layouts.get(name);
    const left = this.left.get(name) ?? { selected: firstCell(layout) };
    const shown = this.grid.show(layout, name, at ? { ...left, selected: at } : left);
    this.drawPlayer();
    if (this.step_ && !this.run.sheets) this.markStep();
    this.column.draw();
    this.grid.select(...this.grid.selected, { focus: this.ready === true && document.activeElement?.getAttribute("role") !== "tab", reveal: Boolean(at) });
    await shown;
  }

  async go(sheet, row, column) {
    try {
      if (sheet !== this.grid.sheet) await this.sheet(sheet, [row, column]);
      this.grid.select(row, column);
    } catch (error) {
      this.fail(error);
    }
  }

  selected(row, column) {
    const typed = this.grid.inputAt(row, column);
    Promise.resolve(this.panel.show(this.grid.sheet, row, column, typed)).catch((error) => this.fail(error));
  }

  // --- changing --------------------------------------------------------------------------------------------------

  // One change is under way at a time. What is dragged meanwhile waits, and only its last value goes on.
  edit(cells, dragging) {
    const last = this.waiting;
    if (last?.dragging && dragging && String(last.cells[0].slice(0, 3)) === String(cells[0].slice(0, 3))) last.cells = cells;
    else this.waiting = { cells, dragging, then: this.waiting };
    if (!this.setting) this.setNext();
  }

  async setNext() {
    this.setting = true;
    while (this.waiting) {
      let edit = this.waiting;
      if (edit.then) {
        // The oldest first: typed changes are all made.
        let before = null;
        while (edit.then) [before, edit] = [edit, edit.then];
        before.then = null;
      } else this.waiting = null;
      const view = this.grid.view();
      try {
        this.changed(await this.ask({ ask: "set", cells: edit.cells, view, dragging: edit.dragging }), view);
      } catch (error) {
        this.fail(error);
        this.grid.store.reload();
      }
    }
    this.setting = false;
  }

  async step(which) {
    const view = this.grid.view();
    try {
      const answer = await this.ask({ ask: which, view });
      if (answer.at && answer.at.sheet !== this.grid.sheet) {
        this.counts(answer);
        await this.sheet(answer.at.sheet, [answer.at.row, answer.at.column]);
      } else {
        this.changed(answer, view);
        if (answer.at) this.grid.select(answer.at.row, answer.at.column);
      }
      this.player?.reset?.();
    } catch (error) {
      this.fail(error);
    }
  }

  changed(answer, view) {
    this.grid.apply(answer, view);
    this.counts(answer);
    const count = answer.changed?.length ?? 0;
    this.told = `${count} ${count === 1 ? "cell" : "cells"} on screen changed`;
    this.say(this.told);
    this.column.drawCharts();
    this.column.fill();
    Promise.resolve(this.panel.refresh()).catch((error) => this.fail(error));
  }

  counts({ undo = 0, redo = 0 }) {
    this.undoButton.disabled = !undo;
    this.redoButton.disabled = !redo;
  }

  // What torch says of the workbook, when the explanation has asked it, stands in the status line too.
  heard(message, answer) {
    if (message.ask === "torch" && answer.of && this.told)
      this.say(`${this.told}, ${answer.blocks === answer.of ? "all" : `${answer.blocks} of`} ${answer.of} blocks agree with torch`);
    return answer;
  }

  async save() {
    this.say("saving …");
    try {
      const { name, base64 } = await this.ask({ ask: "save" });
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([bytes], { type: kind }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      this.say(`saved as ${name}`);
    } catch (error) {
      this.fail(error);
    }
  }

  // --- steps of a run --------------------------------------------------------------------------------------------

  // The slider is that of the sheet's own table of steps, where it has one.
  drawPlayer() {
    const { play, train } = this;
    if (!play && !train) return;
    const table = (play?.tables ?? []).find(({ sheet }) => sheet === this.grid.sheet);
    const run = table && table.sheet !== play.sheet ? table : play;
    if (this.player && this.run === run) return;
    this.player?.stop();
    Object.assign(this, { run, step_: null });
    this.player = new Player(this.playing, run, {
      ask: this.ask,
      train,
      view: () => this.grid.view(),
      onStep: (k) => this.atStep(k),
      onAnswer: (answer) => this.changed(answer, this.grid.lastView),
    });
  }

  async atStep(k) {
    this.step_ = k;
    const { sheets, at } = this.run;
    if (!sheets) return this.markStep();
    if (sheets[k - 1] !== this.grid.sheet) await this.sheet(sheets[k - 1]);
    this.grid.select(at[k - 1], 1, { focus: false });
  }

  markStep() {
    const { sheet, rows } = this.run;
    const row = rows[0][0] + this.step_ - 1;
    this.grid.highlight(sheet === this.grid.sheet ? [[row, row]] : []);
    this.grid.charts.upToRow(sheet, row, rows[0][1]);
    this.column.drawCharts();
  }

  // --- the window ------------------------------------------------------------------------------------------------

  get narrow() {
    return this.element.classList.contains("sgd-narrow");
  }

  resized() {
    const width = this.element.clientWidth;
    const narrow = width < NARROW;
    this.element.classList.toggle("sgd-middling", !narrow && width < MIDDLING);
    if (narrow === this.narrow) return this.fit();
    this.element.classList.toggle("sgd-narrow", narrow);
    if (narrow) this.fold(false);
    if (this.grid.layout) this.column.draw();
  }

  zoom(scale) {
    if (this.grid.layout) this.grid.zoom(scale);
    else this.grid.scale = scale;
    this.size.textContent = `${Math.round(this.grid.scale * 100)} %`;
    this.size.setAttribute("aria-label", `${this.size.textContent}: show at 100 %`);
  }

  // Sheets are made for a first screen of 1680 pixels: what the explanation takes of it is made up for by the size.
  fit() {
    if (this.zoomed) return;
    this.zoom(this.narrow ? 1 : Math.min(1, Math.max(LEAST, this.main.clientWidth / WIDE)));
  }

  fold(folded) {
    this.element.classList.toggle("sgd-folded", folded);
    this.fit();
    this.panelButton.setAttribute("aria-expanded", !folded);
    this.grid.prompts = folded; // else the explanation says what a cell asks for
  }

  // --- telling ---------------------------------------------------------------------------------------------------

  say(text) {
    this.status.classList.remove("sgd-error");
    this.status.textContent = text;
  }

  fail(error) {
    this.status.classList.add("sgd-error");
    this.status.textContent = error.message ?? String(error);
  }
}

// Where the eye goes first: the first cell that may be typed into, or the corner.
function firstCell(layout) {
  const near = layout.inputs.filter(([top, left]) => top <= 30 && left <= 20);
  const [first] = near.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  return first ? [first[0], first[1]] : [1, 1];
}
