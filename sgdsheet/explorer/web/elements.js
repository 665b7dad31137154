// Elements of the page, made and placed.

export function made(tag, name = "", into = null) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  into?.append(element);
  return element;
}

export function place(element, left, top, width, height) {
  Object.assign(element.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
}
