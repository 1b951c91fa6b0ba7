// What the page shows, as the JSON of contents.py: grids of one quantity of one model by task and layer.

const contents = JSON.parse(document.getElementById("contents").textContent);
const NAN = 65535;

/** The numbers of packing.py, as a flat array. */
function unpack({lowest, step, data}) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const codes = new DataView(bytes.buffer);
  return Float32Array.from({length: bytes.length / 2}, (_, i) => {
    const code = codes.getUint16(2 * i, true);
    return code === NAN ? NaN : lowest + step * code;
  });
}

/** As many decimals as the packed numbers are good for, three at most. */
function decimals({step}) {
  return step > 0 ? Math.min(3, Math.max(0, Math.ceil(-Math.log10(step)) - 1)) : 3;
}

function show(value, digits = 3) {
  return value.toFixed(digits).replace("-", "−");
}

class Grid {
  #packed;
  #numbers = {};

  constructor({values, lower, upper, n, ...about}) {
    Object.assign(this, about);
    this.#packed = {values, lower, upper};
    this.digits = decimals(values);
    this.quantity = [this.kind, this.target, this.name].join("|");
    this.rows = new Map(this.tasks.map((task, row) => [task, row]));
    this.columns = new Map(this.layers.map((layer, column) => [layer, column]));
    this.nOf = new Map(this.tasks.map((task, row) => [task, n[row]]));
  }

  /** A value, or an end of its interval (`lower`, `upper`); NaN where there is none. Unpacked when first asked for. */
  at(task, layer, part = "values") {
    const row = this.rows.get(task), column = this.columns.get(layer);
    if (row === undefined || column === undefined || !this.#packed[part]) return NaN;
    this.#numbers[part] ??= unpack(this.#packed[part]);
    return this.#numbers[part][row * this.layers.length + column];
  }

  /** "0.512 [0.480, 0.540]" */
  measured(task, layer) {
    const [value, low, high] = ["values", "lower", "upper"].map((part) => this.at(task, layer, part));
    if (Number.isNaN(value)) return "undefined";
    const ends = Number.isNaN(low + high) ? "" : ` [${show(low, this.digits)}, ${show(high, this.digits)}]`;
    return show(value, this.digits) + ends;
  }
}

const grids = contents.grids.map((about) => new Grid(about));
const isAll = (task) => contents.tasks[task].name === "all";

function find(wanted) {
  const asked = Object.entries(wanted);
  return grids.filter((grid) => asked.every(([name, value]) => grid[name] === value));
}

/** The same model's grid of another quantity, such as its floor. */
function beside(grid, name, target = grid.target) {
  const {run, kind, role, model, reference} = grid;
  return find({run, kind, role, model, reference, target, name})[0];
}

/** The grids of a quantity that are about single tasks. */
function ofTasks(quantity) {
  return grids.filter((grid) => grid.quantity === quantity && !grid.tasks.every(isAll));
}

/** Pairs of quantity and its title, those about single tasks only; the default measure comes first. */
function quantities() {
  const titles = new Map(grids.filter((grid) => !grid.tasks.every(isAll)).map((grid) => [grid.quantity, grid.title]));
  const first = ["similarity||debiased_cka", "similarity||linear_cka", "probe|label|accuracy", "probe|label|selectivity"];
  const place = ([quantity]) => (first.includes(quantity) ? first.indexOf(quantity) : first.length);
  return [...titles].sort((a, b) => place(a) - place(b));
}

function clustersOf(tasks) {
  const clusters = new Map();
  for (const task of tasks) {
    const {cluster} = contents.tasks[task];
    clusters.set(cluster, [...(clusters.get(cluster) ?? []), task]);
  }
  return clusters;
}

function union(lists) {
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}

/** The quantile `q` of the numbers that are defined, linearly between neighbours; NaN of none. */
function quantile(numbers, q) {
  const sorted = numbers.filter((number) => !Number.isNaN(number)).sort((a, b) => a - b);
  const place = q * (sorted.length - 1), below = Math.floor(place);
  if (!sorted.length) return NaN;
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

/** The lowest and the highest of the numbers that are defined; NaN of none. */
function extent(numbers) {
  let low = Infinity, high = -Infinity;
  for (const number of numbers) {
    if (number < low) low = number;
    if (number > high) high = number;
  }
  return low <= high ? [low, high] : [NaN, NaN];
}

/** "n = 48", or "n = 48 to 96", of some tasks. */
function nOf(grid, tasks) {
  const counts = tasks.map((task) => grid.nOf.get(task)).filter((n) => n > 0);
  if (!counts.length) return "n unknown";
  const low = Math.min(...counts), high = Math.max(...counts);
  const said = (count) => count.toLocaleString("en");
  return low === high ? `n = ${said(low)}` : `n = ${said(low)} to ${said(high)}`;
}

const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
