// Rectangles of cells: {top, left, bottom, right}, from 1, inclusive, and what else they carry.

// A rectangle without another, where that covers its whole width or height up to an edge; null if nothing is left.
export function without(rect, other) {
  const { top, left, bottom, right } = rect;
  const rows = other.top <= top && other.bottom >= bottom;
  const columns = other.left <= left && other.right >= right;
  if (rows && columns) return null;
  if (columns && other.top <= top && other.bottom >= top) return { ...rect, top: other.bottom + 1 };
  if (columns && other.bottom >= bottom && other.top <= bottom) return { ...rect, bottom: other.top - 1 };
  if (rows && other.left <= left && other.right >= left) return { ...rect, left: other.right + 1 };
  if (rows && other.right >= right && other.left <= right) return { ...rect, right: other.left - 1 };
  return rect;
}

// Two rectangles as one, if no other cell comes with it, or null.
export function together(one, other) {
  const rows = one.top === other.top && one.bottom === other.bottom;
  const columns = one.left === other.left && one.right === other.right;
  if (rows && one.left <= other.right + 1 && other.left <= one.right + 1)
    return { ...one, left: Math.min(one.left, other.left), right: Math.max(one.right, other.right) };
  if (columns && one.top <= other.bottom + 1 && other.top <= one.bottom + 1)
    return { ...one, top: Math.min(one.top, other.top), bottom: Math.max(one.bottom, other.bottom) };
  return without(other, one) ? (without(one, other) ? null : other) : one;
}

// The part of a rectangle with so many cells that is seen first when it is scrolled to at this speed.
export function cut(rect, most, [down, right]) {
  const [rows, columns] = [rect.bottom - rect.top + 1, rect.right - rect.left + 1];
  if (rows * columns <= most) return rect;
  if (Math.abs(right) > Math.abs(down)) {
    const some = Math.max(1, Math.floor(most / rows));
    return right > 0 ? { ...rect, right: Math.min(rect.right, rect.left + some - 1) } : { ...rect, left: Math.max(rect.left, rect.right - some + 1) };
  }
  const some = Math.max(1, Math.floor(most / columns));
  return down >= 0 ? { ...rect, bottom: Math.min(rect.bottom, rect.top + some - 1) } : { ...rect, top: Math.max(rect.top, rect.bottom - some + 1) };
}

// What two rectangles share, or null.
export function common(one, other) {
  const [top, left] = [Math.max(one.top, other.top), Math.max(one.left, other.left)];
  const [bottom, right] = [Math.min(one.bottom, other.bottom), Math.min(one.right, other.right)];
  return top <= bottom && left <= right ? { ...one, top, left, bottom, right } : null;
}
