// Rows or columns: where each begins, in pixels, and which are hidden.

export class Axis {
  // sizes: [[first, last, pixels]]; hidden: [[first, last]]; groups: [[first, last, level, closed]].
  constructor({ count, size, sizes, hidden, groups, frozen }) {
    this.count = count;
    this.frozen = frozen;
    this.groups = groups.map(([first, last, level, closed]) => ({ first, last, level, closed }));
    this.levels = Math.max(0, ...this.groups.map((group) => group.level));
    this.sizes = new Float64Array(count + 2).fill(size);
    for (const [first, last, pixels] of sizes) this.sizes.fill(pixels, first, Math.min(last, count) + 1);
    const inGroup = new Uint8Array(count + 2);
    for (const { first, last } of this.groups) inGroup.fill(1, first, Math.min(last, count) + 1);
    this.hiddenAlways = new Uint8Array(count + 2);
    for (const [first, last] of hidden)
      for (let i = first; i <= Math.min(last, count); i++) if (!inGroup[i]) this.hiddenAlways[i] = 1;
    this.starts = new Float64Array(count + 2);
    this.lay(1);
  }

  // Computes all places anew, after a group was opened or closed or the sheet is shown in another size.
  lay(scale) {
    this.hidden = this.hiddenAlways.slice();
    for (const { first, last, closed } of this.groups)
      if (closed) this.hidden.fill(1, first, Math.min(last, this.count) + 1);
    let at = 0;
    for (let i = 1; i <= this.count; i++) {
      this.starts[i] = at;
      if (!this.hidden[i]) at += Math.round(this.sizes[i] * scale);
    }
    this.starts[this.count + 1] = at;
  }

  get length() {
    return this.starts[this.count + 1];
  }

  get frozenLength() {
    return this.starts[this.frozen + 1];
  }

  // The length of first … last.
  span(first, last = first) {
    return this.starts[Math.min(last, this.count) + 1] - this.starts[first];
  }

  // The row or column at this pixel.
  at(pixel) {
    let low = 1;
    let high = this.count;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= pixel) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // The next one that can be seen, in this direction; the same where there is none.
  next(from, direction) {
    let i = from + direction;
    while (i >= 1 && i <= this.count && this.hidden[i]) i += direction;
    return i < 1 || i > this.count ? from : i;
  }
}

export function columnLetters(column) {
  let letters = "";
  for (let rest = column; rest > 0; rest = Math.floor((rest - 1) / 26))
    letters = String.fromCharCode(65 + ((rest - 1) % 26)) + letters;
  return letters;
}

export function cellAddress(row, column) {
  return columnLetters(column) + row;
}

// A cell's or a range's address as a person writes it, as D12 or D12:F14.
export function rangeAddress({ top, left, bottom = top, right = left }) {
  const [from, to] = [cellAddress(top, left), cellAddress(bottom, right)];
  return from === to ? from : `${from}:${to}`;
}
