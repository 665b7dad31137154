// Sends each picture that was chosen, dropped, pasted or taken, and shows what comes back.
"use strict";

const SHOWN = 5; // classes of a picture
const AT_ONCE = 2; // pictures on their way
const TRIES = 30; // while the server is busy

const byId = (id) => document.getElementById(id);
const results = byId("results");
const waiting = [];
let underWay = 0;

function say(text) {
  byId("said").textContent = text;
}

function percent(share) {
  return share > 0 && share < 0.0005 ? "<0.1%" : (100 * share).toFixed(1) + "%";
}

function take(files) {
  for (const file of files) {
    const card = byId("card").content.cloneNode(true).firstElementChild;
    const name = file.name || "picture";
    const image = card.querySelector("img");
    const url = URL.createObjectURL(file);
    card.querySelector("h2").textContent = name;
    image.alt = name;
    image.onload = () => URL.revokeObjectURL(url);
    image.onerror = () => { URL.revokeObjectURL(url); image.remove(); };
    image.src = url;
    results.prepend(card);
    waiting.push({ file, card, name });
  }
  byId("clear").hidden = !results.children.length;
  next();
}

function next() {
  while (underWay < AT_ONCE && waiting.length) {
    underWay += 1;
    judge(waiting.shift()).finally(() => { underWay -= 1; next(); });
  }
}

async function judge({ file, card, name }) {
  const state = card.querySelector(".state");
  try {
    const [found] = (await answer(file)).results;
    show(card, found);
    state.remove();
    say(name + ": " + found.classes.slice(0, 3).map((each) => each.class + " " + percent(each.probability)).join(", "));
  } catch (error) {
    state.textContent = "Not judged: " + error.message;
    state.className = "state bad";
    say(name + ", not judged: " + error.message);
  }
}

async function answer(file) {
  for (let number = 1; ; number += 1) {
    let response;
    try {
      const headers = { "Content-Type": file.type || "application/octet-stream" };
      response = await fetch("predict?top=" + SHOWN, { method: "POST", body: file, headers });
    } catch {
      // A body that is too large may be cut off before the answer has been read.
      throw new Error(file.size > 10 * 2 ** 20 ? "expected at most 10 MB" : "the server cannot be reached");
    }
    if (response.status !== 503 || number === TRIES) {
      const said = await response.json().catch(() => ({ error: "status " + response.status }));
      if (!response.ok) throw new Error(said.error);
      return said;
    }
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
  }
}

function show(card, found) {
  const bars = card.querySelector(".bars");
  for (const each of found.classes) {
    const bar = byId("bar").content.cloneNode(true).firstElementChild;
    bar.querySelector(".name").textContent = each.class;
    bar.querySelector(".share").textContent = percent(each.probability);
    bar.querySelector("meter").value = each.probability;
    bar.classList.toggle("seen", found.labels.includes(each.class));
    bars.append(bar);
  }
}

for (const id of ["choose", "camera"]) {
  byId(id).addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same picture can be chosen again
  });
}

document.addEventListener("paste", (event) => take(event.clipboardData.files));

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});

document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").classList.remove("over");
});

document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files);
});

byId("clear").addEventListener("click", () => {
  waiting.length = 0;
  results.replaceChildren();
  byId("clear").hidden = true;
  say("Cleared");
  byId("choose").focus();
});
