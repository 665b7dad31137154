// How a cell looks: a style of the workbook as CSS, and what its colours become on a dark page.

// The second pair stand in explorer.css: other fonts, as wide as Calibri. The rest is for where a page takes none from us.
export const CELL_FONT = 'Calibri, Carlito, "sgd-arial", "sgd-dejavu", "Helvetica Neue", Arial, sans-serif';
const CELL_HEX = /^#[0-9a-f]{6}$/i;
const CELL_BORDER = /^(\d+(?:\.\d+)?px (?:solid|dashed|dotted|double)) (#[0-9a-f]{6})$/i;
const CELL_ALIGN = new Set(["left", "center", "right", "justify"]);
const [PAPER, DARK_PAPER] = ["#ffffff", "#191b1f"]; // --sheet
const LEGIBLE = 4.5;
const tones = new Map();

function toLinear(part) {
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
}

function fromLinear(part) {
  const clipped = Math.min(1, Math.max(0, part));
  return clipped <= 0.0031308 ? clipped * 12.92 : 1.055 * clipped ** (1 / 2.4) - 0.055;
}

// Oklab (Björn Ottosson, 2020): lightness, and two axes of colour. https://bottosson.github.io/posts/oklab/
function oklab(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => toLinear(parseInt(hex.slice(i, i + 2), 16) / 255));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function oklabHex([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const parts = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return "#" + parts.map((part) => Math.round(fromLinear(part) * 255).toString(16).padStart(2, "0")).join("");
}

// A light fill becomes a dark one and dark ink light; what was paler stays nearer to the page. Dark fills stay.
function toned(hex, kind) {
  const key = kind + hex;
  if (!tones.has(key)) {
    const [l, a, b] = oklab(hex);
    const tone = { fill: l < 0.5 ? l : 0.22 + (1 - l) * 0.7, ink: 0.97 - 0.2 * l, line: 0.28 + (1 - l) * 0.4 + Math.hypot(a, b) * 1.5 }[kind];
    const strength = kind === "ink" ? 0.75 : 0.95;
    tones.set(key, oklabHex([tone, a * strength, b * strength]));
  }
  return tones.get(key);
}

function lightDark(hex, kind) {
  return `light-dark(${hex}, ${toned(hex, kind)})`;
}

// How much two colours stand out from each other (WCAG 2.2, from 1 to 21).
function contrastOf(one, other) {
  const light = (hex) => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => sum + share * toLinear(parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16) / 255), 0);
  const [less, more] = [light(one), light(other)].sort((a, b) => a - b);
  return (more + 0.05) / (less + 0.05);
}

// The ink, or as far towards black or white as it takes to be read on this fill.
function legible(ink, fill) {
  const to = contrastOf("#000000", fill) > contrastOf("#ffffff", fill) ? 0 : 1;
  const [l, a, b] = oklab(ink);
  for (let share = 0; share < 1; share += 0.05) {
    const hex = share ? oklabHex([l + (to - l) * share, a * (1 - share), b * (1 - share)]) : ink;
    if (contrastOf(hex, fill) >= LEGIBLE) return hex;
  }
  return to ? "#ffffff" : "#000000";
}

function isDark(hex) {
  return oklab(hex)[0] < 0.5;
}

// A colour, if it is one.
export function safeColor(text) {
  return CELL_HEX.test(text ?? "") ? text.toLowerCase() : null;
}

export class CellLooks {
  constructor(styles) {
    this.styles = styles;
    this.made = new Map();
    this.canvas = document.createElement("canvas").getContext("2d");
    this.canvas.textRendering = "geometricPrecision"; // as the cells have it
    this.widths = new Map();
  }

  // The look of a cell [row, column, text, style, extra] in this size; the same cell looks give the same object.
  of(cell, scale) {
    const extra = cell[4] ?? {};
    const { value, kind, bar, input, ...changed } = extra; // what a rule has changed of the style
    const key = `${cell[3]}|${scale}|${JSON.stringify(changed)}`;
    if (!this.made.has(key)) this.made.set(key, lookOf({ ...this.styles[cell[3]], ...changed }, scale));
    return this.made.get(key);
  }

  // How wide this text is, in pixels.
  width(text, font) {
    const shape = text.replace(/\d/g, "0"); // all digits are as wide: a sheet of numbers has few shapes
    const key = font + shape;
    if (!this.widths.has(key)) {
      if (this.widths.size > 50000) this.widths.clear();
      this.canvas.font = font;
      this.widths.set(key, this.canvas.measureText(shape).width);
    }
    return this.widths.get(key);
  }
}

function lookOf(all, scale) {
  const fill = safeColor(all.fill);
  const color = safeColor(all.color) ?? "#000000";
  const size = ((Number(all.size) || 11) * 4 * scale) / 3;
  const family = /^[\w -]+$/.test(all.font ?? "") && all.font !== "Calibri" ? `"${all.font}", ${CELL_FONT}` : CELL_FONT;
  const font = `${all.italic ? "italic " : ""}${all.bold ? "bold " : ""}${size}px ${family}`;
  let css = `font:${font};line-height:1.22;`;
  if (fill) css += `background-color:${lightDark(fill, "fill")};`;
  const inDark = fill && isDark(fill) ? color : toned(color, "ink");
  css += `color:light-dark(${legible(color, fill ?? PAPER)}, ${legible(inDark, fill ? toned(fill, "fill") : DARK_PAPER)});`;
  if (all.underline || all.strike)
    css += `text-decoration:${all.underline ? "underline " : ""}${all.strike ? "line-through" : ""};`;
  const edges = {};
  for (const edge of ["top", "right", "bottom", "left"]) {
    const [, line, hex] = CELL_BORDER.exec(all[edge] ?? "") ?? [];
    if (line) css += `border-${edge}:${line} ${lightDark(hex.toLowerCase(), "line")};`;
    edges[edge] = Boolean(line);
  }
  return {
    css,
    font,
    size,
    edges,
    align: CELL_ALIGN.has(all.align) ? all.align : null,
    valign: all.valign ?? "bottom",
    repeat: all.align === "fill",
    wrap: Boolean(all.wrap) || all.align === "justify",
    shrink: Boolean(all.shrink),
    indent: (Number(all.indent) || 0) * 9 * scale,
    rotate: Number(all.rotate) || 0,
  };
}
