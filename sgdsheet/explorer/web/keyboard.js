// What the keys do in the grid.

export function pressKey(grid, event) {
  if (event.target.matches("select, button, input")) {
    if (event.key === "Escape") grid.select(...grid.selected);
    return;
  }
  if (grid.onKey(event)) return event.preventDefault();
  const [row, column] = grid.selected;
  const control = event.ctrlKey || event.metaKey;
  const page = Math.max(1, grid.range(grid.rows, 0)[1] - grid.range(grid.rows, 0)[0]);
  const arrows = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const arrow = arrows[event.key];
  const act = (() => {
    if (event.altKey && arrow && arrow[0]) {
      const list = grid.inputAt(row, column)?.kind === "list";
      return () => (list ? grid.typing.edit(row, column, null, true) : grid.typing.nudge(row, column, -arrow[0], event.shiftKey));
    }
    if (event.altKey) return null;
    if (arrow && event.shiftKey) {
      const [toRow, toColumn] = grid.extent ?? grid.selected;
      return () => grid.extend(arrow[0] ? grid.rows.next(toRow, arrow[0]) : toRow, arrow[1] ? grid.columns.next(toColumn, arrow[1]) : toColumn);
    }
    if (arrow) return () => (control ? moveToEdge(grid, ...arrow) : grid.move(...arrow));
    if (control) {
      const key = event.key.toLowerCase();
      if (key === "z") return () => grid.onUndo(event.shiftKey ? "redo" : "undo");
      if (key === "y") return () => grid.onUndo("redo");
      if (key === "home") return () => grid.select(1, 1);
      if (key === "end") return () => grid.select(grid.layout.rows, grid.layout.columns);
      return null;
    }
    if (event.key === "PageDown") return () => grid.select(Math.min(row + page, grid.rows.count), column);
    if (event.key === "PageUp") return () => grid.select(Math.max(row - page, 1), column);
    if (event.key === "Home") return () => grid.select(row, 1);
    if (event.key === "End") return () => grid.select(row, grid.layout.columns);
    if (event.key === "Enter" && grid.links.has(`${row},${column}`)) return () => grid.follow(row, column);
    if (event.key === "Enter" || event.key === "F2") return () => grid.typing.edit(row, column);
    if (event.key === "Delete" || event.key === "Backspace") return () => grid.typing.edit(row, column, "");
    if (event.key === "Escape") return () => ((grid.extent = null), (grid.note.hidden = true), grid.arrows.show([], []));
    if (event.key === "[" || event.key === "]") return () => {}; // there is nowhere to step to
    if (event.key.length === 1) return () => grid.typing.edit(row, column, grid.inputAt(row, column) ? event.key : null);
    return null;
  })();
  if (!act) return;
  event.preventDefault();
  act();
}

// The last filled cell in this direction, or the next filled one, as Ctrl and an arrow go.
function moveToEdge(grid, down, right) {
  const filled = (row, column) => Boolean(grid.store.rows.get(row)?.get(column)?.[2]);
  let [row, column] = grid.selected;
  const next = () => [down ? grid.rows.next(row, down) : row, right ? grid.columns.next(column, right) : column];
  const inside = filled(...next());
  for (;;) {
    const [toRow, toColumn] = next();
    if ((toRow === row && toColumn === column) || toRow > grid.layout.rows || toColumn > grid.layout.columns) break;
    if (inside && !filled(toRow, toColumn)) break;
    [row, column] = [toRow, toColumn];
    if (!inside && filled(row, column)) break;
  }
  grid.select(row, column);
}
