// Outlines and arrows over the cells: what the selected cell reads, and what reads it; and the range that is chosen.

export class Arrows {
  constructor(grid) {
    this.grid = grid;
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("class", "sgd-arrows");
    this.svg.setAttribute("aria-hidden", "true");
    grid.root.append(this.svg);
    this.clear();
  }

  // None are drawn from the next painting on.
  clear() {
    this.reads = this.readers = [];
  }

  // Outlines the ranges that the selected cell reads and that read it, with arrows.
  show(reads, readers) {
    [this.reads, this.readers] = [reads ?? [], readers ?? []];
    this.draw();
  }

  draw() {
    const { grid } = this;
    this.svg.replaceChildren();
    if (!this.reads.length && !this.readers.length && !grid.extent) return;
    const [row, column] = grid.selected;
    const merge = grid.anchors.get(`${row},${column}`) ?? [row, column, row, column];
    const here = grid.boxOf({ top: merge[0], left: merge[1], bottom: merge[2], right: merge[3] });
    const middle = (box) => [box.x + box.width / 2, box.y + box.height / 2];
    const frame = shape("svg", { x: grid.headWidth, y: grid.headHeight, width: "100%", height: "100%" }, this.svg);
    const moved = shape("g", { transform: `translate(${-grid.headWidth} ${-grid.headHeight})` }, frame);
    const draw = (range, kind) => {
      if (range.sheet !== grid.sheet) return;
      const box = grid.boxOf(range);
      shape("rect", { ...box, rx: 2, class: `sgd-range sgd-${kind}` }, moved);
      const near = nearest(box, middle(here));
      const [from, to] = kind === "reads" ? [near, middle(here)] : [middle(here), near];
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const length = Math.hypot(dx, dy);
      if (length < 12) return;
      const [ux, uy] = [dx / length, dy / length];
      const tip = [to[0] - 2 * ux, to[1] - 2 * uy];
      shape("line", { x1: from[0], y1: from[1], x2: tip[0] - 6 * ux, y2: tip[1] - 6 * uy, class: `sgd-arrow sgd-${kind}` }, moved);
      shape("circle", { cx: from[0], cy: from[1], r: 3, class: `sgd-tip sgd-${kind}` }, moved);
      const wing = (side) => `${tip[0] - 9 * ux - side * 4 * uy},${tip[1] - 9 * uy + side * 4 * ux}`;
      shape("polygon", { points: `${tip[0]},${tip[1]} ${wing(1)} ${wing(-1)}`, class: `sgd-tip sgd-${kind}` }, moved);
    };
    if (grid.extent) {
      shape("rect", { ...grid.boxOf(grid.chosen()), class: "sgd-chosen" }, moved);
      return; // arrows would only lie over it
    }
    for (const range of this.readers) draw(range, "readers");
    for (const range of this.reads) draw(range, "reads");
  }
}

function shape(tag, attributes, into) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  into.append(element);
  return element;
}

// The point of a box that is nearest to another, a little inside.
function nearest(box, [x, y]) {
  const inside = (start, size, at) => {
    const inset = Math.min(size / 2, 10);
    return Math.min(Math.max(at, start + inset), start + size - inset);
  };
  return [inside(box.x, box.width, x), inside(box.y, box.height, y)];
}
