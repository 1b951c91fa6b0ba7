// A small chart over layers: lines with bands, boxes, boundaries; and its legend.

const MARGIN = {left: 38, right: 8, top: 6, bottom: 34};
const MOST_BANDS = 3; // of models in one chart: more would hide each other
const MARKERS = ["circle", "square", "triangle", "diamond"];

const colourOf = (number) => `var(--c${number % 6})`;

/** The path of a marker of 2 × r around a point; each series has its own, colour is not needed to tell them. */
function markerPath(number, x, y, r) {
  const paths = {
    circle: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
    square: `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    triangle: `M${x} ${y - r * 1.2}L${x + r * 1.1} ${y + r}H${x - r * 1.1}z`,
    diamond: `M${x} ${y - r * 1.3}L${x + r * 1.3} ${y}L${x} ${y + r * 1.3}L${x - r * 1.3} ${y}z`,
  };
  return paths[MARKERS[number % MARKERS.length]];
}

/**
 * Draw into `holder` a chart of `layers` on x.
 *
 * `lines`: {values, low, high, colour, dash, marked} with one number a layer, NaN where undefined. `boxes`: {colour,
 * at(layer)} with all values at a layer. `ends`: dashed lines after layers, `intervals` their 95 % intervals.
 * `adapted`: layers marked below. `describe(layer)` gives the lines of the tooltip.
 */
function panel(holder, widthPx, spec) {
  const {layers, range, heightPx = 190, lines = [], boxes = [], intervals = [], ends = [], adapted = []} = spec;
  const {describe, alt, names = []} = spec;
  const inner = {width: widthPx - MARGIN.left - MARGIN.right, height: heightPx - MARGIN.top - MARGIN.bottom};
  const pitch = inner.width / (layers.at(-1) - layers[0] + 1); // not every layer need be there
  const x = (layer) => MARGIN.left + (layer - layers[0] + 0.5) * pitch;
  const y = (value) => MARGIN.top + (1 - (value - range[0]) / (range[1] - range[0])) * inner.height;
  const axes = {x, y, pitch, bottom: MARGIN.top + inner.height, right: widthPx - MARGIN.right};
  const view = {viewBox: `0 0 ${widthPx} ${heightPx}`, width: widthPx, height: heightPx};
  const drawing = svg("svg", {...view, role: "img", tabindex: 0, "aria-label": alt});
  addAxes(drawing, axes, layers, range);
  for (const line of lines) addLine(drawing, axes, layers, line);
  boxes.forEach((box, place) => addBoxes(drawing, axes, layers, box, place, boxes.length));
  for (const end of ends) drawing.append(svg("path", {d: `M${x(end + 0.5)} ${MARGIN.top}V${axes.bottom}`, class: "boundary"}));
  intervals.forEach(([low, high], row) => {
    const at = MARGIN.top + 24 + 12 * row; // they may overlap: one below the other
    const d = `M${x(low + 0.5)} ${at - 4}v8m0 -4H${x(high + 0.5)}m0 -4v8`;
    drawing.append(svg("path", {d, class: "halo"}), svg("path", {d, class: "interval"}));
  });
  for (const {text, from, to} of names) {
    const room = (to - from + 1) * pitch;
    const at = {x: (x(from) + x(to)) / 2, y: MARGIN.top + 11, "text-anchor": "middle", class: "faint"};
    if (room > 26) drawing.append(svg("text", at, cut(text, room)));
  }
  for (const layer of adapted) {
    drawing.append(svg("rect", {x: x(layer) - Math.min(pitch, 14) / 2 + 1, y: axes.bottom - 6,
      width: Math.max(Math.min(pitch, 14) - 2, 2), height: 6, class: "adapted"}));
  }
  addHair(drawing, axes, layers, describe);
  holder.replaceChildren(drawing);
}

function addAxes(drawing, {x, y, pitch, bottom, right}, layers, range) {
  const {values, digits} = ticks(...range);
  for (const value of values) {
    drawing.append(svg("path", {d: `M${MARGIN.left} ${y(value)}H${right}`, class: "grid"}));
    const at = {x: MARGIN.left - 5, y: y(value) + 4, "text-anchor": "end", class: "faint"};
    drawing.append(svg("text", at, show(value, digits)));
  }
  drawing.append(svg("path", {d: `M${MARGIN.left} ${bottom}H${right}`, class: "axis"}));
  for (const layer of labelledLayers(layers, pitch)) {
    drawing.append(svg("text", {x: x(layer), y: bottom + 14, "text-anchor": "middle", class: "faint"}, layer));
  }
  drawing.append(svg("text", {x: (MARGIN.left + right) / 2, y: bottom + 28, "text-anchor": "middle", class: "faint"}, "layer"));
}

/** A curve, broken where it is undefined, and its band. */
function addLine(drawing, {x, y, pitch}, layers, {values, low, high, colour, dash, marked}) {
  const stroke = colour === null ? "var(--soft)" : colourOf(colour);
  if (low) {
    const both = layers.map((_, i) => i).filter((i) => !Number.isNaN(low[i] + high[i]));
    const there = both.map((i) => `${x(layers[i])} ${y(low[i])}`), back = both.map((i) => `${x(layers[i])} ${y(high[i])}`);
    if (both.length) drawing.append(svg("path", {d: `M${[...there, ...back.reverse()].join("L")}z`, style: `fill: ${stroke}; opacity: 0.17`}));
  }
  let d = "", open = false, marks = "";
  values.forEach((value, i) => {
    if (Number.isNaN(value)) return void (open = false);
    d += `${open ? "L" : "M"}${x(layers[i])} ${y(value)}`;
    marks += marked ? markerPath(colour, x(layers[i]), y(value), pitch > 9 ? 3 : 1.8) : "";
    open = true;
  });
  const style = `stroke: ${stroke}; stroke-width: ${dash ? 1.4 : 2}; fill: none; stroke-dasharray: ${dash || "none"}`;
  drawing.append(svg("path", {d, style}), svg("path", {d: marks, style: `fill: ${stroke}`}));
}

/** Box plots (Tukey's): side by side where several series share a layer. Few values are drawn as dots. */
function addBoxes(drawing, {x, y, pitch}, layers, {colour, at}, place, n) {
  const room = (pitch * 0.84) / n, width = Math.max(1.5, Math.min(room - 1, 16));
  let outline = "", medians = "", dots = "";
  for (const layer of layers) {
    const values = at(layer).filter((value) => !Number.isNaN(value));
    const middle = x(layer) + (place - (n - 1) / 2) * room, half = width / 2;
    const dot = (value) => (dots += markerPath(colour, middle, y(value), Math.min(2.2, half + 0.5)));
    if (values.length < 5) {
      values.forEach(dot);
      continue;
    }
    const [lower, median, upper] = [0.25, 0.5, 0.75].map((q) => quantile(values, q));
    const reach = 1.5 * (upper - lower);
    const within = values.filter((value) => value >= lower - reach && value <= upper + reach);
    const low = Math.min(...within), high = Math.max(...within);
    outline += `M${middle - half} ${y(lower)}H${middle + half}V${y(upper)}H${middle - half}z`;
    outline += `M${middle} ${y(lower)}V${y(low)}M${middle} ${y(upper)}V${y(high)}`;
    medians += `M${middle - half} ${y(median)}H${middle + half}`;
    values.filter((value) => value < low || value > high).forEach(dot);
  }
  const stroke = colourOf(colour);
  drawing.append(svg("path", {d: outline, style: `stroke: ${stroke}; fill: ${stroke}; fill-opacity: 0.2`}));
  drawing.append(svg("path", {d: medians, style: `stroke: ${stroke}; stroke-width: 2.4`}));
  drawing.append(svg("path", {d: dots, style: `fill: ${stroke}`}));
}

/** The layer that the pointer or the arrow keys are at: a line, and what `describe` says. */
function addHair(drawing, {x, bottom, pitch}, layers, describe) {
  const hair = svg("path", {class: "hair", visibility: "hidden"});
  drawing.append(hair);
  let at = null;
  const mark = (index) => {
    at = Math.min(layers.length - 1, Math.max(0, index));
    fill(hair, {d: `M${x(layers[at])} ${MARGIN.top}V${bottom}`, visibility: "visible"}, []);
    return describe(layers[at]);
  };
  const hide = () => {
    at = null;
    hair.setAttribute("visibility", "hidden");
    tooltip.hide();
  };
  const point = (event) => {
    const [pointed] = pointIn(drawing, event);
    const index = layers.findIndex((layer) => Math.abs(x(layer) - pointed) <= pitch / 2);
    if (index < 0) hide();
    else tooltip.show(mark(index), event.clientX, event.clientY);
  };
  const press = (event) => {
    if (event.key === "Escape") hide();
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const lines = mark(at === null ? 0 : at + (event.key === "ArrowRight" ? 1 : -1));
    const box = hair.getBoundingClientRect();
    tooltip.show(lines, box.right, box.top);
    readOut(lines);
  };
  fill(drawing, {onpointermove: point, onpointerdown: point, onpointerleave: hide, onblur: hide, onkeydown: press}, []);
}

/** `items`: {text, colour, dash, marked} as lines are, or {text, kind} for a boundary, its interval, adapted blocks. */
function legend(items) {
  const sample = ({colour, dash, marked, kind}) => {
    const drawing = svg("svg", {viewBox: "0 0 28 12", width: 28, height: 12, "aria-hidden": "true"});
    if (kind === "boundary") drawing.append(svg("path", {d: "M14 0V12", class: "boundary"}));
    else if (kind === "interval") drawing.append(svg("path", {d: "M3 2v8m0 -4H25m0 -4v8", class: "interval"}));
    else if (kind) drawing.append(svg("rect", {x: 8, y: 1, width: 12, height: 10, class: kind}));
    else {
      const stroke = colour === null ? "var(--soft)" : colourOf(colour);
      const style = `stroke: ${stroke}; stroke-width: ${dash ? 1.4 : 2}; stroke-dasharray: ${dash || "none"}`;
      drawing.append(svg("path", {d: "M0 6H28", style}));
      if (marked) drawing.append(svg("path", {d: markerPath(colour, 14, 6, 3.5), style: `fill: ${stroke}`}));
    }
    return drawing;
  };
  return html("ul", {class: "legend"}, ...items.map((item) => html("li", {}, sample(item), item.text)));
}

function caption(name, said) {
  return html("figcaption", {}, name, html("span", {}, ` (${said})`));
}

/** [0, 1] where that holds all numbers; else what does, a little wider. */
function rangeOf(numbers) {
  const defined = numbers.filter((number) => !Number.isNaN(number));
  if (!defined.length) return [0, 1];
  const [low, high] = extent(defined);
  if (low >= 0 && high <= 1) return [0, 1];
  if (low >= -1 && high <= 1) return [Math.floor(low * 10) / 10, Math.max(0, Math.ceil(high * 10) / 10)];
  const spare = (high - low || 1) * 0.04;
  return [low < 0 ? low - spare : Math.min(0, low), high + spare];
}
