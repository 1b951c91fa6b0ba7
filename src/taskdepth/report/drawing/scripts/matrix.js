// Grids of coloured cells: tasks by layers, depths by depths, tasks by tasks.

const ROW_PX = 15, GROUP_PX = 20, BETWEEN_PX = 18;
let hatches = 0;

/**
 * Draw `sheets` side by side into `holder`, over the same rows; the result repaints the cells of each.
 *
 * `rows` holds {label} for a row of cells and {group} for a line that bears a name. A sheet has a `title`, the labels
 * of its `columns`, a number `value(i, j)` and the lines of a tooltip `describe(i, j)`, where i counts rows of cells;
 * `ends` are numbers of columns after which a dashed line stands, `above` the names {text, from, to} between them.
 * `bands` {text, from, to} part the rows and columns of a square sheet alike.
 */
function matrix(holder, widthPx, {rows, sheets, scale, alt, columnsAre, bands = [], square = false}) {
  const place = layOut(widthPx, rows, sheets, bands, square);
  const {width, height, cells, groups, cell, rowHeight} = place;
  const view = {viewBox: `0 0 ${width} ${height}`, width, height};
  const drawing = svg("svg", {...view, role: "img", tabindex: 0, "aria-label": alt});
  const hatch = `hatch${hatches++}`;
  drawing.append(hatchPattern(hatch));
  addRowNames(drawing, place, bands);
  const gap = cell > 9 ? 1 : 0.3;
  const rects = sheets.map(({columns}, s) => cells.map(({y}) => columns.map((_, j) => {
    const size = {width: cell - gap, height: Math.max(rowHeight - gap, 1)};
    return svg("rect", {x: place.starts[s] + j * cell, y, ...size});
  })));
  drawing.append(...rects.flat(2));
  const paint = (s, number, colours) => rects[s].forEach((row, i) => row.forEach((rect, j) => {
    const shown = number(i, j);
    rect.style.fill = Number.isNaN(shown) ? `url(#${hatch})` : colours.at(shown);
  }));
  sheets.forEach((sheet, s) => {
    paint(s, sheet.value, scale);
    addLines(drawing, place, s, sheet, bands);
    addColumnNames(drawing, place, s, sheet.columns, columnsAre);
  });
  for (const {group, y} of groups) drawing.append(svg("text", {x: 0, y: y + 15, class: "group"}, cut(group, widthPx - 8)));
  addCursor(drawing, place, sheets);
  holder.append(drawing);
  return {paint};
}

/** Where everything goes. */
function layOut(widthPx, rows, sheets, bands, square) {
  const names = [...rows, ...(widthPx > 700 ? [] : bands)].map(({label, text}) => label ?? text ?? "");
  const left = Math.min(200, Math.round(widthPx * 0.36), Math.max(...names.map((name) => name.length)) * 6.1 + 12);
  const nColumns = sheets.reduce((sum, sheet) => sum + sheet.columns.length, 0);
  // names of bands stand at the right, where the screen is wide
  const aside = bands.length && widthPx > 700 ? Math.min(210, Math.max(...bands.map((band) => band.text.length)) * 6.1 + 12) : 0;
  const room = widthPx - left - aside - 4 - BETWEEN_PX * (sheets.length - 1);
  const cell = Math.min(room / nColumns, square ? Math.min(32, Math.max(16, 320 / nColumns)) : 44), rowHeight = square ? cell : ROW_PX;
  const titled = sheets.some((sheet) => sheet.title) ? 17 : 0;
  const top = titled + (sheets.some((sheet) => sheet.above) ? 16 : 4);
  let bottom = top;
  const cells = [], groups = [];
  for (const row of rows) {
    (row.group === undefined ? cells : groups).push({...row, y: bottom});
    bottom += row.group === undefined ? rowHeight : GROUP_PX;
  }
  const starts = [];
  let right = left - BETWEEN_PX;
  for (const {columns} of sheets) {
    starts.push(right + BETWEEN_PX);
    right += BETWEEN_PX + columns.length * cell;
  }
  const size = {width: Math.max(right + aside + 4, 60), height: bottom + 34};
  return {...size, left, right, aside, top, bottom, titled, starts, cell, rowHeight, cells, groups};
}

/** How many sheets of so many columns stand side by side with cells that can still be pointed at. */
function sheetsThatFit(widthPx, nColumns) {
  return Math.max(1, Math.floor((widthPx - 200 + BETWEEN_PX) / (nColumns * 8.5 + BETWEEN_PX)));
}

/** Names of rows; where those are too thin, of the bands instead; where there is room, of both. */
function addRowNames(drawing, {left, right, top, cell, rowHeight, cells, aside}, bands) {
  const name = (text, x, y, room, anchor) => {
    const at = {x, y: y + 4, "text-anchor": anchor};
    drawing.append(svg("text", at, cut(text, room), svg("title", {}, text)));
  };
  const every = [1, 2, 4, 8].find((step) => step * rowHeight >= 10) ?? 16;
  if (every === 1 || !bands.length) {
    cells.forEach(({label, y}, i) => i % every || name(label, left - 5, y + rowHeight / 2, left - 6, "end"));
    if (!aside) return;
  }
  for (const {text, from, to} of bands) {
    const y = top + ((from + to) / 2) * cell;
    if (aside) name(text, right + 6, y, aside - 6, "start");
    else name(text, left - 5, y, left - 6, "end");
  }
}

function hatchPattern(id) {
  const tile = {id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"};
  return svg("defs", {}, svg("pattern", tile,
    svg("rect", {width: 5, height: 5, class: "nothing"}), svg("path", {d: "M0 0V5", class: "hatch"})));
}

function addLines(drawing, {starts, top, bottom, cell, titled}, s, {title, columns, ends = [], above = []}, bands) {
  const start = starts[s], end = start + columns.length * cell;
  if (title) drawing.append(svg("text", {x: start, y: 12, class: "group"}, cut(title, end - start + BETWEEN_PX)));
  for (const {text, from, to} of above) {
    const room = (to - from) * cell, x = start + ((from + to) / 2) * cell;
    if (room > 24) drawing.append(svg("text", {x, y: titled + 11, "text-anchor": "middle", class: "faint"}, cut(text, room)));
  }
  for (const after of ends) {
    const d = `M${start + after * cell - 0.5} ${top}V${bottom}`;
    drawing.append(svg("path", {d, class: "halo"}), svg("path", {d, class: "boundary"}));
  }
  for (const {from} of bands.slice(1)) {
    const at = from * cell - 0.3;
    drawing.append(svg("path", {d: `M${start} ${top + at}H${end}M${start + at} ${top}V${bottom}`, class: "parting"}));
  }
}

function addColumnNames(drawing, {starts, cell, bottom}, s, columns, columnsAre) {
  const start = starts[s], shown = columns.every(Number.isInteger) ? labelledLayers(columns, cell) : [];
  for (const name of shown) {
    const x = start + (columns.indexOf(name) + 0.5) * cell;
    drawing.append(svg("text", {x, y: bottom + 13, "text-anchor": "middle", class: "faint"}, name));
  }
  const x = start + (columns.length * cell) / 2, y = bottom + (shown.length ? 28 : 15);
  drawing.append(svg("text", {x, y, "text-anchor": "middle", class: "faint"}, cut(columnsAre, columns.length * cell + 40)));
}

/** The cell that the pointer is over, or that the arrow keys have moved to, is framed and told. */
function addCursor(drawing, {starts, cell, rowHeight, cells}, sheets) {
  const frame = svg("rect", {class: "cursor", width: cell, height: rowHeight, visibility: "hidden"});
  drawing.append(frame);
  // the columns of all sheets, from left to right
  const columns = sheets.flatMap((sheet, s) => sheet.columns.map((_, j) => ({sheet, j, x: starts[s] + j * cell})));
  let at = null;
  const mark = (i, c) => {
    at = [i, c];
    fill(frame, {x: columns[c].x - 0.5, y: cells[i].y - 0.5, visibility: "visible"}, []);
    return columns[c].sheet.describe(i, columns[c].j);
  };
  const hide = () => {
    at = null;
    frame.setAttribute("visibility", "hidden");
    tooltip.hide();
  };
  const point = (event) => {
    const [x, y] = pointIn(drawing, event);
    const i = cells.findIndex((row) => y >= row.y && y < row.y + rowHeight);
    const c = columns.findIndex((column) => x >= column.x && x < column.x + cell);
    if (i < 0 || c < 0) hide();
    else tooltip.show(mark(i, c), event.clientX, event.clientY);
  };
  const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  const press = (event) => {
    if (event.key === "Escape") hide();
    if (!(event.key in moves) || !cells.length) return;
    event.preventDefault();
    const [down, right] = at ? moves[event.key] : [0, 0], [i, c] = at ?? [0, 0];
    const clamp = (number, length) => Math.min(length - 1, Math.max(0, number));
    const lines = mark(clamp(i + down, cells.length), clamp(c + right, columns.length));
    const box = frame.getBoundingClientRect();
    tooltip.show(lines, box.right, box.bottom);
    readOut(lines);
  };
  fill(drawing, {onpointermove: point, onpointerdown: point, onpointerleave: hide, onblur: hide, onkeydown: press}, []);
}
