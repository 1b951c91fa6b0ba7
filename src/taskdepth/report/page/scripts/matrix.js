// A grid of coloured cells: tasks by layers, depths by depths, tasks by tasks.

let hatches = 0;

/**
 * Draw into `holder`; the result repaints the cells.
 *
 * `rows` holds {label} for a row of cells and {group} for a line that bears a name; `columns` the labels of the
 * columns. `value(i, j)` is a cell's number, where i counts rows of cells; `describe(i, j)` the lines of its tooltip.
 * `ends` are numbers of columns after which a dashed line stands, `above` the names {text, from, to} between them.
 * `bands` {text, from, to} part rows and columns of a square matrix alike.
 */
function matrix(holder, widthPx, spec) {
  const {rows, columns, value, scale, describe, alt, columnsAre, ends = [], above = [], bands = [], square} = spec;
  const names = [...rows.map((row) => row.label ?? ""), ...bands.map((band) => band.text)];
  const left = Math.min(200, Math.round(widthPx * 0.36), Math.max(...names.map((name) => name.length)) * 6.1 + 12);
  const cell = Math.min((widthPx - left - 4) / columns.length, square ? 16 : 40);
  const rowHeight = square ? cell : 15, gap = cell > 9 ? 1 : 0.3;
  const top = above.length ? 18 : 4;
  let bottom = top;
  const cells = [], groups = [];
  for (const row of rows) {
    (row.group === undefined ? cells : groups).push({...row, y: bottom});
    bottom += row.group === undefined ? rowHeight : 20;
  }
  const right = left + cell * columns.length, width = Math.max(right + 4, 60), height = bottom + 34;
  const place = {left, right, top, bottom, cell, rowHeight, cells};

  const view = {viewBox: `0 0 ${width} ${height}`, width, height};
  const drawing = svg("svg", {...view, role: "img", tabindex: 0, "aria-label": alt});
  const hatch = `hatch${hatches++}`;
  drawing.append(hatchPattern(hatch));
  for (const {group, y} of groups) drawing.append(svg("text", {x: 0, y: y + 15, class: "group"}, cut(group, widthPx - 8)));
  const labelled = rowHeight >= 10 || !bands.length;
  const asides = labelled ? cells.map(({label, y}) => [label, y + rowHeight / 2])
    : bands.map(({text, from, to}) => [text, top + ((from + to) / 2) * cell]);
  for (const [text, y] of asides) {
    const at = {x: left - 5, y: y + 4, "text-anchor": "end"};
    drawing.append(svg("text", at, cut(text ?? "", left - 6), svg("title", {}, text ?? "")));
  }
  const rects = cells.map(({y}) => columns.map((_, j) =>
    svg("rect", {x: left + j * cell, y, width: cell - gap, height: Math.max(rowHeight - gap, 1)})));
  drawing.append(...rects.flat());
  const paint = (number, colours) => rects.forEach((row, i) => row.forEach((rect, j) => {
    const shown = number(i, j);
    rect.style.fill = Number.isNaN(shown) ? `url(#${hatch})` : colours.at(shown);
  }));
  paint(value, scale);
  addLines(drawing, place, ends, above, bands);
  addColumnNames(drawing, place, columns, columnsAre);
  addCursor(drawing, place, columns.length, describe);
  holder.replaceChildren(drawing);
  return {paint};
}

function hatchPattern(id) {
  const tile = {id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"};
  return svg("defs", {}, svg("pattern", tile,
    svg("rect", {width: 5, height: 5, class: "nothing"}), svg("path", {d: "M0 0V5", class: "hatch"})));
}

function addLines(drawing, {left, right, top, bottom, cell}, ends, above, bands) {
  for (const {text, from, to} of above) {
    const room = (to - from) * cell, x = left + ((from + to) / 2) * cell;
    if (room > 24) drawing.append(svg("text", {x, y: 12, "text-anchor": "middle", class: "faint"}, cut(text, room)));
  }
  for (const end of ends) {
    const d = `M${left + end * cell - 0.5} ${top}V${bottom}`;
    drawing.append(svg("path", {d, class: "halo"}), svg("path", {d, class: "boundary"}));
  }
  for (const {from} of bands.slice(1)) {
    const at = from * cell - 0.3;
    drawing.append(svg("path", {d: `M${left} ${top + at}H${right}M${left + at} ${top}V${bottom}`, class: "parting"}));
  }
}

function addColumnNames(drawing, {left, cell, bottom, right}, columns, columnsAre) {
  const shown = columns.every(Number.isInteger) ? labelledLayers(columns, cell) : [];
  for (const name of shown) {
    const x = left + (columns.indexOf(name) + 0.5) * cell;
    drawing.append(svg("text", {x, y: bottom + 13, "text-anchor": "middle", class: "faint"}, name));
  }
  const middle = {x: (left + right) / 2, y: bottom + (shown.length ? 28 : 15), "text-anchor": "middle", class: "faint"};
  drawing.append(svg("text", middle, cut(columnsAre, right - left + 40)));
}

/** The cell that the pointer is over, or that the arrow keys have moved to, is framed and told. */
function addCursor(drawing, {left, cell, rowHeight, cells}, nColumns, describe) {
  const frame = svg("rect", {class: "cursor", width: cell, height: rowHeight, visibility: "hidden"});
  drawing.append(frame);
  let at = null;
  const mark = (i, j) => {
    at = [i, j];
    fill(frame, {x: left + j * cell - 0.5, y: cells[i].y - 0.5, visibility: "visible"}, []);
    return describe(i, j);
  };
  const hide = () => {
    at = null;
    frame.setAttribute("visibility", "hidden");
    tooltip.hide();
  };
  const point = (event) => {
    const [x, y] = pointIn(drawing, event);
    const i = cells.findIndex((row) => y >= row.y && y < row.y + rowHeight), j = Math.floor((x - left) / cell);
    if (i < 0 || j < 0 || j >= nColumns) hide();
    else tooltip.show(mark(i, j), event.clientX, event.clientY);
  };
  const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  const press = (event) => {
    if (event.key === "Escape") hide();
    if (!(event.key in moves) || !cells.length) return;
    event.preventDefault();
    const [down, right] = at ? moves[event.key] : [0, 0], [i, j] = at ?? [0, 0];
    const clamp = (number, length) => Math.min(length - 1, Math.max(0, number));
    const lines = mark(clamp(i + down, cells.length), clamp(j + right, nColumns));
    const box = frame.getBoundingClientRect();
    tooltip.show(lines, box.right, box.bottom);
    readOut(lines);
  };
  fill(drawing, {onpointermove: point, onpointerdown: point, onpointerleave: hide, onblur: hide, onkeydown: press}, []);
}
