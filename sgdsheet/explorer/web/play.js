// A run's steps: a slider that goes through them, alone or by hand; and more steps, for a workbook that can be trained.

import { drawChart } from "./chart.js";
import { madeNode } from "./panel.js";

const STEPS_A_SECOND = 10;
const LONGEST_PASS = 8; // seconds
const PATIENCE = 300; // milliseconds that a batch of training steps should take: so soon does the stop button answer
const MOST_STEPS = 100000;

// `play` is what the workbook's `play` answers: {what, count, sheet, rows | sheets, name}, or null where there are no
// steps; `train` whether it can be trained. `onStep(k)` shows step k, `onAnswer(answer)` takes what training has changed,
// and `view` is what is on screen, or a function that returns it.
export class Player {
  #element;
  #play;
  #options;
  #slider = null;
  #button = null;
  #words = null;
  #timer = null;
  #losses = [];
  #training = false;

  constructor(element, play, { ask, onStep, onAnswer, view, train = false }) {
    this.#element = element;
    this.#play = play;
    this.#options = { ask, onStep, onAnswer, view };
    element.classList.add("player");
    element.replaceChildren();
    if (play?.count > 0) this.#drawSteps();
    if (train) this.#drawTraining();
  }

  // Goes to step k, counted from 1.
  go(k) {
    const step = Math.max(1, Math.min(this.#play.count, Math.round(k)));
    this.#slider.value = step;
    this.#say();
    return this.#options.onStep(step);
  }

  // Stops what runs by itself: the steps, and training after its present batch.
  stop() {
    this.#training = false;
    this.#pause();
  }

  // Forgets the losses so far: what has been trained was taken back.
  reset() {
    this.#losses = [];
    this.#element.querySelector(".player-losses")?.replaceChildren();
  }

  #drawSteps() {
    const { count, what = "step" } = this.#play;
    const group = madeNode("div", { class: "player-steps", role: "group", "aria-label": `${what}s` });
    this.#button = madeNode("button", { type: "button", text: "▶ Play" });
    this.#button.addEventListener("click", () => (this.#timer ? this.#pause() : this.#run()));
    // Who wants no motion goes step by step.
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.#button.hidden = true;
    const by = (sign, text, step) => {
      const button = madeNode("button", { type: "button", text: sign, "aria-label": text });
      button.addEventListener("click", () => {
        this.#pause();
        this.go(Number(this.#slider.value) + step);
      });
      return button;
    };
    this.#slider = madeNode("input", { type: "range", min: 1, max: count, step: 1, value: count, "aria-label": what });
    this.#slider.addEventListener("input", () => {
      this.#pause();
      this.go(Number(this.#slider.value));
    });
    this.#words = madeNode("output", { class: "player-words" });
    group.append(this.#button, by("‹", `${what} before`, -1), this.#slider, by("›", `next ${what}`, 1), this.#words);
    this.#element.append(group);
    this.#say();
  }

  // The step's number and where it stands.
  #say() {
    const { count, what = "step", sheet, rows, sheets, name } = this.#play;
    const k = Number(this.#slider.value);
    let left = k;
    let row = null;
    for (const [first, last] of rows ?? []) {
      if (row === null && left <= last - first + 1) row = first + left - 1;
      left -= last - first + 1;
    }
    const place = sheets ? `sheet ${sheets[k - 1]}` : row ? `row ${row} of ${sheet}` : sheet;
    const words = `${what} ${k} of ${count}`;
    this.#slider.setAttribute("aria-valuetext", words);
    this.#words.textContent = [words, name === what ? "" : name, place].filter(Boolean).join(" · ");
  }

  // From the beginning where the end is shown. By the clock: a slow page leaves steps out, and takes no longer.
  async #run() {
    const { count } = this.#play;
    const speed = Math.max(STEPS_A_SECOND, (count - 1) / LONGEST_PASS);
    const first = Number(this.#slider.value) >= count ? 1 : Number(this.#slider.value);
    const began = performance.now();
    this.#button.textContent = "❚❚ Pause";
    const tick = async () => {
      const mine = this.#timer;
      const k = Math.min(count, first + Math.floor(((performance.now() - began) / 1000) * speed));
      if (k !== Number(this.#slider.value)) await this.go(k);
      if (mine !== this.#timer) return; // it was paused meanwhile
      if (k >= count) this.#pause();
      else this.#timer = setTimeout(tick, 1000 / Math.min(speed, 25));
    };
    this.#timer = setTimeout(tick, 0);
    await this.go(first);
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#button) this.#button.textContent = "▶ Play";
  }

  #drawTraining() {
    const form = madeNode("form", { class: "player-train", "aria-label": "train" });
    const field = madeNode("input", { type: "number", min: 1, max: MOST_STEPS, step: 1, value: 100, required: "" });
    const start = madeNode("button", { text: "Train" });
    const stop = madeNode("button", { type: "button", text: "Stop", hidden: "" });
    const said = madeNode("output", { class: "player-words" });
    const losses = madeNode("div", { class: "player-losses" });
    stop.addEventListener("click", () => (this.#training = false));
    form.append(madeNode("label", { text: "steps to train " }, field), start, stop, said);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (this.#training) return;
      start.disabled = true;
      stop.hidden = false;
      try {
        await this.#train(Number(field.value), said, losses);
      } catch (error) {
        said.textContent = error.message;
      }
      this.#training = false;
      start.disabled = false;
      stop.hidden = true;
    });
    const training = madeNode("div", { class: "player-training" });
    training.append(form, losses);
    this.#element.append(training);
  }

  // In batches, of as many steps as are done in a moment.
  async #train(steps, said, losses) {
    const { ask, onAnswer, view } = this.#options;
    this.#training = true;
    let done = 0;
    let batch = 1;
    while (done < steps && this.#training) {
      const now = Math.min(batch, steps - done);
      const began = performance.now();
      const answer = await ask({ ask: "train", steps: now, view: typeof view === "function" ? view() : view });
      done += answer.losses?.length || now; // a sheet of many steps makes all of them at once
      this.#losses.push(...(answer.losses ?? []));
      onAnswer(answer);
      said.textContent = `${done} of ${Math.max(done, steps)} steps${this.#lossWords()}`;
      losses.replaceChildren(this.#curve(losses.clientWidth));
      const each = (performance.now() - began) / (answer.losses?.length || now);
      batch = Math.max(1, Math.min(batch * 2, Math.floor(PATIENCE / Math.max(each, 0.01))));
    }
    if (done < steps) said.textContent = `stopped after ${said.textContent}`;
  }

  #lossWords() {
    const last = this.#losses.at(-1);
    return last === undefined ? "" : `, loss ${typeof last === "number" ? Number(last.toPrecision(6)) : last}`;
  }

  // The losses so far, flat: it stands above the sheet. By powers of ten where they fall through several.
  #curve(room) {
    const losses = this.#losses;
    const numbers = losses.filter((loss) => typeof loss === "number");
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const powers = low > 0 && high > 50 * low;
    const marker = losses.length === 1 ? { kind: "circle", size: 5 } : null;
    const chart = {
      kind: "scatter",
      title: "",
      place: { left: 0, top: 0, width: Math.max(240, Math.min(room, 720)), height: 84 },
      x: { min: 0, max: losses.length },
      y: { title: "loss", log: powers ? 10 : null, format: powers ? "0E+0" : null },
      legend: false,
      series: [{ name: "loss", color: "#0072b2", line: true, width: 1.75, marker }],
    };
    return drawChart(chart, [{ x: losses.map((_, k) => k + 1), y: losses, name: "loss" }]);
  }
}
