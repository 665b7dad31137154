// What the mouse, a finger or a pen does in the grid.

export function listenToPointer(grid) {
  grid.sizer.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button, input, .sgd-chart")) return;
    const cell = hitCell(grid, event);
    if (!cell) return;
    if (event.altKey && grid.typing.drag(event, ...cell)) return;
    if (event.target.closest("select")) {
      grid.select(...cell, { focus: false, reveal: false });
      return;
    }
    if (event.pointerType === "mouse") {
      event.preventDefault();
      if (event.shiftKey) return grid.extend(...cell);
      pressCell(grid, cell, event);
      grid.pressed = cell; // from here a range can be drawn
    }
    const arrowed = event.target.closest(".sgd-arrowed");
    if (arrowed && event.clientX > arrowed.getBoundingClientRect().right - 18) grid.typing.edit(...cell, null, true);
  });
  grid.sizer.addEventListener("click", (event) => {
    const cell = hitCell(grid, event);
    if (!cell || event.target.closest("button, input, select, .sgd-chart")) return;
    if (event.pointerType !== "mouse") pressCell(grid, cell, event);
    const link = event.target.closest(".sgd-link");
    if (link && !link.href) grid.follow(...cell);
  });
  grid.sizer.addEventListener("dblclick", (event) => {
    const cell = hitCell(grid, event);
    if (cell && !event.target.closest("button, input, select, .sgd-chart")) grid.typing.edit(...cell);
  });
  grid.sizer.addEventListener("change", (event) => {
    if (!event.target.matches(".sgd-list")) return;
    const [row, column] = grid.selected;
    grid.onEdit([[row, column, event.target.value]], false);
    event.target.blur();
    grid.elementOf(row, column)?.focus({ preventScroll: true });
  });
  grid.sizer.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse" || grid.typing.dragging) return;
    const cell = hitCell(grid, event);
    const key = String(cell);
    if (!(event.buttons & 1)) grid.pressed = null;
    if (key === grid.hovered) return;
    grid.hovered = key;
    if (!cell) return;
    if (grid.pressed && !grid.typing.editing && key !== String(grid.extent ?? grid.pressed)) return grid.extend(...cell);
    if (grid.typing.numberAt(...cell)) grid.typing.offerGrip(...cell);
    if (grid.notes.has(key)) grid.tell(...cell);
  });
}

// The cell under the pointer, or null over the heads.
function hitCell(grid, event) {
  const box = grid.scroller.getBoundingClientRect();
  const along = (axis, pixel, head, scrolled) => {
    if (pixel < head) return null;
    const at = pixel - head;
    return axis.at(at < axis.frozenLength ? at : at + scrolled);
  };
  const row = along(grid.rows, event.clientY - box.top, grid.headHeight, grid.scroller.scrollTop);
  const column = along(grid.columns, event.clientX - box.left, grid.headWidth, grid.scroller.scrollLeft);
  return row === null || column === null ? null : grid.anchorOf(row, column);
}

function pressCell(grid, cell, event) {
  const again = String(cell) === String(grid.selected) && event.pointerType !== "mouse";
  grid.typing.stop(true);
  const input = again && grid.inputAt(...cell);
  if (input) grid.typing.edit(...cell, null, Boolean(input.open));
  else grid.select(...cell, { reveal: event.pointerType !== "mouse" });
}
