// Choices by keyboard and mouse. Without this script the same buttons are plain forms.
"use strict";

const cards = [...document.querySelectorAll(".card")];
const byNumber = new Map(cards.map((card) => [card.dataset.number, card]));
const large = document.getElementById("large");
const message = document.getElementById("message");
const undoButton = document.getElementById("undo");
// What this window has chosen, for its own undo; another window has its own. It is there after a reload.
const chosen = JSON.parse(sessionStorage.getItem(location.pathname) || "[]");
let selected = null, enlarged = null;

function say(text, bad = false) {
  message.textContent = text;
  message.classList.toggle("bad", bad);
}

function select(card, focus = true, scroll = true) {
  if (!card) return;
  if (selected) selected.tabIndex = -1;
  selected = card;
  card.tabIndex = 0;
  if (focus) card.focus({ preventScroll: true });
  if (!scroll) return;
  history.replaceState(null, "", `#${card.id}`); // a reload comes back to it
  if (focus) card.scrollIntoView({ block: "nearest" });
  if (large.open) enlarge(card);
}

function mark(card, choice) {
  card.dataset.choice = choice;
  for (const button of card.querySelectorAll("button[aria-pressed]")) {
    button.setAttribute("aria-pressed", String(button.value === choice));
  }
}

function count(counts) {
  const words = ["delete", "relabel", "keep"].map((name, place) => {
    return `${counts[name].toLocaleString("en")} ${["to delete", "to relabel", "kept"][place]}`;
  });
  document.getElementById("counts").textContent = words.join(", ");
}

async function ask(address, fields) {
  const options = { headers: { Accept: "application/json" } };
  if (fields) Object.assign(options, { method: "POST", keepalive: true, body: new URLSearchParams(fields) });
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The program has ended: this was not kept. Start it again, and open its new address.");
  }
  const said = await answer.json().catch(() => ({ error: `The program said ${answer.status}.` }));
  if (!answer.ok) throw new Error(said.error);
  return said;
}

// One after the other: what was chosen last is what stays.
let queue = Promise.resolve();

function choose(number, fields, undoing = false) {
  const card = byNumber.get(number);
  const before = card ? card.dataset.choice : "";
  if (card && fields.choice !== "named") mark(card, fields.choice);
  queue = queue.then(async () => {
    try {
      const said = await ask("choose", { number, ...fields });
      if (card) mark(card, said.choice);
      if (!undoing && said.before !== said.choice) {
        chosen.push({ number, now: said.choice, before: said.before });
        if (chosen.length > 500) chosen.shift();
      }
      count(said.chosen);
      say(undoing ? "Undone." : "");
    } catch (error) {
      if (card) mark(card, before);
      say(error.message, true);
    }
    sessionStorage.setItem(location.pathname, JSON.stringify(chosen));
    undoButton.hidden = !chosen.length;
  });
  return queue;
}

function undo() {
  queue = queue.then(() => {
    const last = chosen.pop();
    if (!last) return say("There is nothing to undo.");
    select(byNumber.get(last.number));
    choose(last.number, { choice: last.before, instead_of: last.now }, true);
  });
}

// A second time on the same choice takes it back.
function toggle(card, choice) {
  choose(card.dataset.number, { choice: card.dataset.choice === choice ? "" : choice });
}

function enlarge(card) {
  const link = card.querySelector(".look");
  if (!link) return;
  enlarged = card;
  large.querySelector("img").src = link.href;
  large.querySelector("p").textContent = [".name", ".said"].map((part) => card.querySelector(part).textContent.trim()).join(": ");
  if (!large.open) large.showModal();
}

// The card above or below: of those in the next row, the one that is nearest.
function beside(card, down) {
  const own = card.getBoundingClientRect();
  let best = null, least = Infinity;
  for (const other of cards) {
    const its = other.getBoundingClientRect();
    const away = down ? its.top - own.top : own.top - its.top;
    if (away < 10) continue;
    const far = away * 1000 + Math.abs(its.left - own.left);
    if (far < least) [best, least] = [other, far];
  }
  return best;
}

function turn(rel) {
  const link = document.querySelector(`a[rel=${rel}]`);
  if (link) location.assign(link.href);
  else say(rel === "next" ? "This is the last page." : "This is the first page.");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  const place = cards.indexOf(selected), key = event.key.toLowerCase();
  const goes = {
    arrowright: () => select(cards[place + 1]),
    arrowleft: () => select(cards[Math.max(0, place - 1)]),
    arrowdown: () => select(selected ? beside(selected, true) : cards[0]),
    arrowup: () => select(selected && beside(selected, false)),
    n: () => turn("next"),
    p: () => turn("prev"),
    u: undo,
  };
  if (goes[key]) {
    event.preventDefault();
    return goes[key]();
  }
  if (!selected) return;
  if (key === "enter" && event.target === selected) {
    event.preventDefault(); // or it would press the button that then has the focus
    return enlarge(selected);
  }
  if (key === "0") return choose(selected.dataset.number, { choice: "" });
  const value = { k: "keep", d: "delete" }[key];
  const button = /^[1-9]$/.test(key)
    ? selected.querySelector(`button[data-key="${key}"]`)
    : value && selected.querySelector(`button[value=${value}]`);
  // The key of the class that it has already keeps it.
  const own = /^[1-9]$/.test(key) && !button && selected.dataset.label === key ? "keep" : null;
  if (!button && !own) return;
  choose(selected.dataset.number, { choice: own || button.value });
  if (place + 1 < cards.length) select(cards[place + 1]);
  else say("That was the last one of this page.");
});

document.addEventListener("submit", (event) => {
  const form = event.target, button = event.submitter;
  if (!form.matches(".card form")) return;
  event.preventDefault();
  const card = form.closest(".card");
  if (button.value === "named") choose(card.dataset.number, { choice: "named", label: form.elements.label.value });
  else toggle(card, button.value);
  select(card, false);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest(".look");
  const card = event.target.closest(".card");
  if (card) select(card, false);
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    enlarge(card);
  }
});

document.addEventListener("focusin", (event) => {
  const card = event.target.closest(".card");
  if (card && card !== selected) select(card, false);
});

// What was chosen in another window meanwhile.
async function refresh() {
  try {
    await queue;
    const said = await ask("choices");
    for (const card of cards) mark(card, said.choices[card.dataset.number] || "");
    count(said.chosen);
  } catch (error) {
    say(error.message, true);
  }
}

window.addEventListener("focus", refresh);
window.addEventListener("pageshow", (event) => event.persisted && refresh());
undoButton.addEventListener("click", undo);
undoButton.hidden = !chosen.length;
large.querySelector("button").addEventListener("click", () => large.close());
large.addEventListener("close", () => select(enlarged)); // the browser goes back to where it was opened
for (const each of document.querySelectorAll(".filter select")) {
  each.form.querySelector("button").hidden = true;
  each.addEventListener("change", () => each.form.requestSubmit());
}
const first = document.getElementById(location.hash.slice(1));
const known = first && first.matches(".card");
select(known ? first : cards[0], true, known);
