// Tasks by layers: any quantity of any model, or how two models differ in it.

const ORDERS = [
  ["cluster", "by cluster"], ["name", "by name"], ["mean", "by mean over layers"],
  ["last", "by value at the last layer"], ["peak", "by layer of the highest value"],
];

function drawHeatmap(section) {
  const offered = quantities();
  if (!offered.length) return false;
  const state = {quantity: offered[0][0], shown: null, minus: "", order: "cluster", filter: "", cluster: "", fitted: false};
  const controls = html("div", {class: "controls"}), bar = html("div"), holder = html("div", {class: "holder"});
  const count = html("output", {});
  const clusters = [...clustersOf(contents.tasks.map((_, task) => task).filter((task) => !isAll(task))).keys()];
  let width = 0;

  const candidates = () => grids.filter((grid) => grid.quantity === state.quantity && !grid.tasks.every(isAll));
  const draw = () => {
    const found = candidates();
    const grid = found.find((one) => one.label === state.shown);
    const other = found.find((one) => one.label === state.minus);
    count.textContent = drawTasks(holder, bar, width, grid, other, state);
  };
  const change = (name, rebuild = false) => (value) => {
    state[name] = value;
    if (rebuild) build();
    draw();
  };
  const build = () => {
    const labels = candidates().map((grid) => [grid.label, grid.label]);
    const known = labels.map(([label]) => label);
    // the experimental model, where there is one, is what the page is about
    if (!known.includes(state.shown)) state.shown = (candidates().find((grid) => grid.role === "experimental") ?? candidates()[0]).label;
    if (!known.includes(state.minus) || state.minus === state.shown) state.minus = "";
    const others = labels.filter(([label]) => label !== state.shown);
    const search = html("input", {type: "search", placeholder: "task or cluster", oninput: () => change("filter")(search.value)});
    search.value = state.filter;
    controls.replaceChildren(
      menu("Quantity", offered, state.quantity, change("quantity", true), true),
      menu("Model", labels, state.shown, change("shown", true), true),
      ...(others.length ? [menu("Minus", [["", "nothing"], ...others], state.minus, change("minus"), true)] : []),
      menu("Order", ORDERS, state.order, change("order")),
      menu("Cluster", [["", "all"], ...clusters.map((name) => [name, name])], state.cluster, change("cluster")),
      html("label", {}, "Filter", search),
      tick("stretch colours", state.fitted, change("fitted")),
      count,
    );
  };
  build();
  section.append(controls, bar, holder);
  whenSized(holder, (newWidth) => {
    width = newWidth;
    draw();
  });
  return true;
}

/** Draw the tasks that pass the filter; the result says how many they are. */
function drawTasks(holder, bar, width, grid, other, {order, filter, cluster, fitted}) {
  const {tasks} = contents;
  const every = grid.tasks.filter((task) => !isAll(task));
  const wanted = filter.trim().toLowerCase();
  const passes = ({name, cluster: of}) => (!cluster || of === cluster) && `${name} ${of}`.toLowerCase().includes(wanted);
  const layers = grid.layers.filter((layer) => !other || other.columns.has(layer));
  const number = (task, layer) => (other ? grid.at(task, layer) - other.at(task, layer) : grid.at(task, layer));
  const kept = sorted(every.filter((task) => passes(tasks[task])), layers, number, order);
  const said = `${kept.length} of ${counted(every.length, "task")}`;
  if (!kept.length) {
    holder.replaceChildren(html("p", {}, "No task or cluster is called that."));
    bar.replaceChildren();
    return said;
  }
  const all = every.flatMap((task) => layers.map((layer) => number(task, layer)));
  const [low, high] = fitted ? [quantile(all, 0), quantile(all, 1)] : rangeOf(all);
  const scale = other ? colourScale(quantile(all, 0), quantile(all, 1), true) : colourScale(low, high);
  const words = other ? `${grid.title}: ${grid.label} minus ${other.label}` : grid.title;
  bar.replaceChildren(scaleBar(scale, words, grid.digits));
  const run = contents.runs[grid.run];
  const rows = [];
  for (const task of kept) {
    const first = order === "cluster" && tasks[task].cluster !== tasks[kept[rows.filter((row) => row.label).length - 1]]?.cluster;
    if (first) rows.push({group: tasks[task].cluster});
    rows.push({label: tasks[task].name});
  }
  const floor = beside(grid, floorOf(grid.name));
  matrix(holder, width, {
    rows, columns: layers, value: (i, j) => number(kept[i], layers[j]), scale, columnsAre: "layer",
    ends: run.regions.slice(0, -1).map((region) => region.last),
    above: run.regions.map(({name, first, last}) => ({text: name, from: first - 1, to: last})),
    alt: `Heat map of ${words}: ${counted(kept.length, "task")} by ${counted(layers.length, "layer")}`,
    describe: (i, j) => describeTask(kept[i], layers[j], grid, other, floor),
  });
  return said;
}

function sorted(tasks, layers, number, order) {
  const {tasks: about} = contents;
  const clusters = [...clustersOf(tasks).keys()];
  const numbers = (task) => layers.map((layer) => number(task, layer)).filter((value) => !Number.isNaN(value));
  const mean = (task) => numbers(task).reduce((sum, value) => sum + value, 0) / numbers(task).length;
  const peak = (task) => layers.find((layer) => number(task, layer) === Math.max(...numbers(task))) ?? NaN;
  const key = {
    cluster: (task) => clusters.indexOf(about[task].cluster), name: () => 0, mean: (task) => -mean(task),
    last: (task) => -number(task, layers.at(-1)), peak,
  }[order];
  const keys = new Map(tasks.map((task) => [task, key(task)]));
  const compared = (a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // undefined comes last
    return x - y || (order === "cluster" ? 0 : about[a].name.localeCompare(about[b].name));
  };
  return [...tasks].sort(compared);
}

/** What chance gives beside a quantity: shuffled rows, or a control task. */
function floorOf(name) {
  const [measure, pooling] = name.split("@");
  const floor = measure === "accuracy" ? "control_task_accuracy" : `${measure}_shuffled`;
  return pooling ? `${floor}@${pooling}` : floor;
}

function describeTask(task, layer, grid, other, floor) {
  const {name, cluster} = contents.tasks[task];
  const lines = [name, `cluster ${cluster}, layer ${layer}`, `${grid.label}: ${grid.measured(task, layer)}`];
  if (other) {
    lines.push(`${other.label}: ${other.measured(task, layer)}`);
    const difference = grid.at(task, layer) - other.at(task, layer);
    lines.push(`difference: ${Number.isNaN(difference) ? "undefined" : show(difference, grid.digits)}`);
  }
  if (floor && !Number.isNaN(floor.at(task, layer))) lines.push(`${floor.title}: ${floor.measured(task, layer)}`);
  lines.push(nOf(grid, [task]));
  return lines;
}
