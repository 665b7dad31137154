// SVG elements, their texts and their colours.
import { CELL_FONT } from "./looks.js";

const SVG_SPACE = "http://www.w3.org/2000/svg";
const TEXT_SIZE = 13; // of what is not said to be larger: as parts.css has it
const LONGEST = 400; // letters, of which the width is of interest
const measure = document.createElement("canvas").getContext("2d");

export function svgNode(tag, attributes, into) {
  const made = document.createElementNS(SVG_SPACE, tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  return into ? into.appendChild(made) : made;
}

export function svgText(into, text, x, y, attributes = {}) {
  const made = svgNode("text", { x, y, ...attributes }, into);
  made.textContent = text;
  return made;
}

// Returns a part of a drawing in which nothing is seen that lies outside this box.
export function clippedTo(into, { left, top, right, bottom }) {
  const place = { x: left, y: top, width: right - left, height: bottom - top };
  return svgNode("svg", { ...place, viewBox: `${left} ${top} ${place.width} ${place.height}` }, into);
}

// A text's width in pixels, without the browser laying out the page for it.
export function textWidth(text, size = TEXT_SIZE) {
  measure.font = `${size > TEXT_SIZE ? "bold " : ""}${size}px ${CELL_FONT}`;
  return measure.measureText(text.slice(0, LONGEST)).width;
}

export function textLongest(texts) {
  return texts.reduce((most, text) => Math.max(most, textWidth(text)), 0);
}

export function cutText(text, width, size = TEXT_SIZE) {
  if (textWidth(text, size) <= width) return text;
  let cut = text.slice(0, LONGEST);
  while (cut.length > 1 && textWidth(`${cut}…`, size) > width) cut = cut.slice(0, -1);
  return `${cut}…`;
}

// A text in at most so many lines; what is too long for them is cut.
export function wrappedText(text, width, most, size = TEXT_SIZE) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const longer = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (textWidth(longer, size) <= width || !lines.at(-1) || lines.length === most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((line) => cutText(line, width, size));
}

// Gives an element a colour: as it is, and for a dark ground lighter where it has to be; of greys, what is quiet on white
// is quiet there too.
export function colored(node, color) {
  node.style.setProperty("--light", color);
  node.style.setProperty("--dark", darkGroundColor(color));
  return node;
}

function darkGroundColor(color) {
  const parts = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const bright = (0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]) / 255;
  if (Math.max(...parts) - Math.min(...parts) < 12) {
    const grey = Math.round(255 * Math.min(0.93, 1.12 - bright));
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const white = Math.max(0, (0.52 - bright) / (1 - bright));
  return `rgb(${parts.map((part) => Math.round(part + (255 - part) * white)).join(" ")})`;
}
