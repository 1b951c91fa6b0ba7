// Tasks by layers: any quantity of any model, or how two models differ in it.

const ORDERS = [
  ["cluster", "by cluster"], ["name", "by name"], ["mean", "by mean over layers"],
  ["last", "by value at the last layer"], ["peak", "by layer of the highest value"],
];

function drawHeatmap(section) {
  const offered = quantities();
  if (!offered.length) return false;
  const state = {quantity: offered[0][0], shown: null, minus: "", order: "cluster", filter: "", cluster: "", stretched: false};
  const controls = html("div", {class: "controls"}), bar = html("div"), holder = html("div");
  const count = html("output", {});
  const clusters = [...clustersOf(contents.tasks.map((_, task) => task).filter((task) => !isAll(task))).keys()];
  let width = 0;

  const candidates = () => ofTasks(state.quantity);
  const draw = () => {
    const found = candidates();
    const shown = state.shown === "" ? found : found.filter((grid) => grid.label === state.shown);
    const other = found.find((grid) => grid.label === state.minus);
    count.textContent = drawTasks(holder, bar, width, shown.filter((grid) => grid !== other), other, state);
  };
  const change = (name) => (value) => {
    state[name] = value;
    build();
    draw();
  };
  const search = html("input", {type: "search", placeholder: "task or cluster"});
  search.addEventListener("input", () => {
    state.filter = search.value;
    draw();
  });
  const build = () => {
    const found = candidates(), labels = found.map(({label}) => label);
    const main = (found.find((grid) => grid.role === "experimental") ?? found[0]).label;
    const fits = found.length <= sheetsThatFit(width, found[0].layers.length);
    if (state.shown === null || (state.shown !== "" && !labels.includes(state.shown))) state.shown = fits ? "" : main;
    if (!labels.includes(state.minus) || state.minus === state.shown) state.minus = "";
    const models = labels.map((label) => [label, label]);
    const many = labels.length > 1;
    setControls(controls,
      menu("Quantity", offered, state.quantity, change("quantity"), true),
      menu("Model", many ? [["", "all, side by side"], ...models] : models, state.shown, change("shown"), true),
      ...(many ? [menu("Minus", [["", "nothing"], ...models.filter(([label]) => label !== state.shown)], state.minus, change("minus"), true)] : []),
      menu("Order", ORDERS, state.order, change("order")),
      menu("Cluster", [["", "all"], ...clusters.map((name) => [name, name])], state.cluster, change("cluster")),
      html("label", {}, "Filter", search),
      tick("stretch colours", state.stretched, change("stretched")),
      count,
    );
  };
  section.append(controls, bar, holder);
  whenSized(holder, (newWidth) => {
    width = newWidth;
    if (!controls.childElementCount) build();
    draw();
  });
  return true;
}

/** Draw the tasks that pass the filter; the result says how many they are. */
function drawTasks(holder, bar, width, shown, other, {order, filter, cluster, stretched}) {
  const {tasks} = contents;
  const every = union(shown.map((grid) => grid.tasks)).filter((task) => !isAll(task));
  const wanted = filter.trim().toLowerCase();
  const passes = ({name, cluster: of}) => (!cluster || of === cluster) && `${name} ${of}`.toLowerCase().includes(wanted);
  const layersOf = (grid) => grid.layers.filter((layer) => !other || other.columns.has(layer));
  const number = (grid, task, layer) => (other ? grid.at(task, layer) - other.at(task, layer) : grid.at(task, layer));
  // rows are ordered by the last model: the one that was tuned, where two are shown
  const kept = inOrder(every.filter((task) => passes(tasks[task])), shown.at(-1), layersOf, number, order);
  const said = `${kept.length} of ${counted(every.length, "task")}`;
  holder.replaceChildren();
  bar.replaceChildren();
  if (!kept.length) {
    holder.append(html("p", {}, "No task or cluster is called that."));
    return said;
  }
  const all = shown.flatMap((grid) => every.flatMap((task) => layersOf(grid).map((layer) => number(grid, task, layer))));
  const ends = extent(all);
  const scale = other ? colourScale(...ends, true) : stretched ? colourScale(...ends) : scaleFor(all);
  const words = other ? `${shown[0].title}, minus that of: ${other.label}` : shown[0].title;
  bar.append(scaleBar(scale, words, ends));
  const sheets = shown.map((grid) => taskSheet(grid, other, kept, layersOf(grid), number, shown.length > 1));
  const rows = kept.flatMap((task, i) => {
    const heads = order === "cluster" && (i === 0 || tasks[kept[i - 1]].cluster !== tasks[task].cluster);
    return [...(heads ? [{group: tasks[task].cluster}] : []), {label: tasks[task].name}];
  });
  const fit = sheetsThatFit(width, Math.max(...sheets.map((sheet) => sheet.columns.length)));
  const alt = `Heat map of ${words}: ${counted(kept.length, "task")} by layer`;
  for (let s = 0; s < sheets.length; s += fit) {
    matrix(holder, width, {rows, sheets: sheets.slice(s, s + fit), scale, columnsAre: "layer", alt});
  }
  return said;
}

function taskSheet(grid, other, kept, layers, number, titled) {
  const {regions} = contents.runs[grid.run], floor = beside(grid, floorOf(grid.name));
  const place = (layer) => layers.filter((measured) => measured <= layer).length; // not every layer need be there
  return {
    title: titled ? grid.label : "",
    columns: layers,
    ends: regions.slice(0, -1).map((region) => place(region.last)),
    above: regions.map(({name, first, last}) => ({text: name, from: place(first - 1), to: place(last)})),
    value: (i, j) => number(grid, kept[i], layers[j]),
    describe: (i, j) => describeTask(kept[i], layers[j], grid, other, floor),
  };
}

function inOrder(tasks, grid, layersOf, number, order) {
  const about = contents.tasks, layers = layersOf(grid);
  const clusters = [...clustersOf(tasks).keys()];
  const numbers = (task) => layers.map((layer) => number(grid, task, layer)).filter((value) => !Number.isNaN(value));
  const mean = (task) => numbers(task).reduce((sum, value) => sum + value, 0) / numbers(task).length;
  const peak = (task) => layers.find((layer) => number(grid, task, layer) === Math.max(...numbers(task))) ?? NaN;
  const key = {
    cluster: (task) => clusters.indexOf(about[task].cluster), name: () => 0, mean: (task) => -mean(task),
    last: (task) => -number(grid, task, layers.at(-1)), peak,
  }[order];
  const keys = new Map(tasks.map((task) => [task, key(task)]));
  return [...tasks].sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // undefined comes last
    return x - y || (order === "cluster" ? a - b : about[a].name.localeCompare(about[b].name));
  });
}

/** What chance gives, for a quantity: shuffled rows, or a control task. */
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
  return [...lines, nOf(grid, [task])];
}
