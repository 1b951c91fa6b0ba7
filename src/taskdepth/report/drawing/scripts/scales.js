// Colours of values, and axes.

// viridis at five places (matplotlib, CC0): even in lightness, and told apart with any colour vision
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const LEVELS = 128;
const SEQUENTIAL = Array.from({length: LEVELS}, (_, level) => {
  const place = (level / (LEVELS - 1)) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[below].map((part, i) => part + (place - below) * (VIRIDIS[below + 1][i] - part));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
});

/** `at(value)` is a colour. A difference has its own: no colour at 0, one for less, one for more. */
function colourScale(low, high, difference = false) {
  if (difference) {
    const reach = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const at = (value) => {
      const share = Math.round(100 * Math.min(1, Math.abs(value) / reach));
      return `color-mix(in oklab, var(--${value < 0 ? "low" : "high"}) ${share}%, var(--middle))`;
    };
    return {low: -reach, high: reach, at};
  }
  const width = high - low || 1;
  const at = (value) => SEQUENTIAL[Math.round(Math.min(1, Math.max(0, (value - low) / width)) * (LEVELS - 1))];
  return {low, high, at};
}

/**
 * From 0 to 1 where that holds all numbers, or nearly: an unbiased estimate may lie a little beyond. From -1 to 1
 * where they have both signs, without a colour at 0.
 */
function scaleFor(numbers) {
  const [low, high] = extent(numbers);
  if (low >= -0.2 && high <= 1.1) return colourScale(0, 1);
  return low >= -1.2 && high <= 1.1 ? colourScale(-1, 1, true) : colourScale(Math.min(0, low), high);
}

/** A bar of the colours with the numbers at its ends; `ends` are the lowest and highest number that is shown. */
function scaleBar(scale, words, [lowest, highest]) {
  const n = 64, width = 200;
  const bar = svg("svg", {viewBox: `0 0 ${width} 12`, width, height: 12, "aria-hidden": "true"});
  for (let i = 0; i < n; i++) {
    const style = `fill: ${scale.at(scale.low + ((i + 0.5) / n) * (scale.high - scale.low))}`;
    bar.append(svg("rect", {x: (i * width) / n, y: 0, width: width / n + 0.5, height: 12, style}));
  }
  const said = (value) => String(Number(value.toPrecision(3))).replace("-", "−");
  const low = (lowest < scale.low ? "≤ " : "") + said(scale.low), high = (highest > scale.high ? "≥ " : "") + said(scale.high);
  return html("div", {class: "scale"}, low, bar, high, html("span", {}, words));
}

/** Round numbers that divide low … high into four parts or so. */
function ticks(low, high, wanted = 4) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return {values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9))};
}

/** The layers that get a label where each has `pitchPx`: 1 and then every 2nd, 5th … */
function labelledLayers(layers, pitchPx) {
  const every = [1, 2, 4, 5, 10, 20, 50].find((step) => step * pitchPx >= 20) ?? 100;
  return layers.filter((layer) => layer % every === 0 || (layer === layers[0] && (every === 1 || every === 4 || every === 5)));
}
