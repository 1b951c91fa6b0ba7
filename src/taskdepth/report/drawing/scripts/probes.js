// Probe accuracy with what it must be held against, or selectivity: by cluster, or for one task.

const TARGETS = {
  label: "the label", task: "which task", cluster: "which cluster", option: "the right option",
  first_token: "the first token of the answer",
};
const VIEWS = [["accuracy", "accuracy, with floors"], ["selectivity", "selectivity"]];

function drawProbes(section) {
  const probes = grids.filter((grid) => grid.kind === "probe" && grid.name.split("@")[0] === "accuracy");
  if (!probes.length) return false;
  const kinds = new Map(probes.map((grid) => [`${grid.target}|${grid.name}`, probeTitle(grid)]));
  const first = ["label|accuracy", "task|accuracy"].find((kind) => kinds.has(kind)) ?? [...kinds.keys()][0];
  const state = {kind: first, view: "accuracy", task: ""};
  const controls = html("div", {class: "controls"}), keys = html("div"), panels = html("div", {class: "panels"});

  const build = () => {
    const [target, name] = state.kind.split("|");
    const found = probes.filter((grid) => String(grid.target) === target && grid.name === name);
    const tasks = union(found.map((grid) => grid.tasks));
    if (!tasks.includes(Number(state.task)) || state.task === "") state.task = "";
    const named = tasks.length > 1 ? tasks.map((task) => [String(task), contents.tasks[task].name]) : [];
    const change = (key) => (value) => {
      state[key] = value;
      build();
    };
    setControls(controls,
      menu("Probe for", [...kinds], state.kind, change("kind"), true),
      menu("Show", VIEWS, state.view, change("view"), true),
      ...(named.length ? [menu("Task", [["", "all, by cluster"], ...named], state.task, change("task"), true)] : []),
    );
    const groups = state.task === "" ? [...clustersOf(tasks)] : [[contents.tasks[state.task].name, [Number(state.task)]]];
    panels.style.setProperty("--panel", groups.length === 1 ? "100%" : "21rem");
    drawProbePanels(panels, keys, found, groups, state.view);
  };
  section.append(controls, keys, panels);
  build();
  return true;
}

function probeTitle({target, name}) {
  const pooling = name.split("@")[1];
  return (TARGETS[target] ?? target ?? "transfer") + (pooling ? ` (${pooling.replace("_", " ")} pooling)` : "");
}

function drawProbePanels(panels, keys, found, groups, view) {
  const named = (base, grid) => base + (grid.name.includes("@") ? `@${grid.name.split("@")[1]}` : "");
  const curves = [];
  for (const grid of found) {
    const selectivity = beside(grid, named("selectivity", grid)), floor = beside(grid, named("control_task_accuracy", grid));
    if (view === "selectivity") {
      if (selectivity) curves.push({grid: selectivity, text: grid.label, colour: grid.colour, marked: true});
      continue;
    }
    curves.push({grid, text: grid.label, colour: grid.colour, marked: true});
    if (floor) curves.push({grid: floor, text: `control task, ${grid.label}`, colour: grid.colour, dash: "2 3"});
  }
  // the majority class is a matter of the rows: one model's will do, for each run
  for (const run of new Set(view === "accuracy" ? found.map((grid) => grid.run) : [])) {
    const grid = beside(found.find((one) => one.run === run), "majority");
    const text = contents.runs.length > 1 ? `majority class, ${contents.runs[run].name}` : "majority class";
    if (grid) curves.push({grid, text, colour: null, dash: "7 4"});
  }
  if (!curves.length) {
    keys.replaceChildren(html("p", {}, "No control task was probed: selectivity is unknown."));
    panels.replaceChildren();
    return;
  }
  keys.replaceChildren(legend(curves));
  const layers = union(found.map((grid) => grid.layers));
  const pooled = groups.flatMap(([, tasks]) => tasks.flatMap((task) => curves.flatMap(({grid}) => layers.map((layer) => grid.at(task, layer)))));
  const range = rangeOf(pooled);
  const figures = groups.map(([name, tasks]) => {
    const holder = html("div");
    const whole = tasks.every(isAll);
    const said = `${whole ? "all tasks together" : counted(tasks.length, "task")}, ${nOf(found[0], tasks)}`;
    const lines = curves.map((curve) => probeLine(curve, tasks, layers, found.length <= MOST_BANDS));
    const describe = (layer) => [`${name}, layer ${layer}`, ...curves.map((curve, i) => describeCurve(curve, lines[i], tasks, layer, layers))];
    const spec = {layers, range, lines, describe, heightPx: groups.length === 1 ? 280 : 190, alt: `Probe ${view} by layer: ${name}`};
    return {figure: html("figure", {}, caption(whole ? "" : name, said), holder), holder, draw: (width) => panel(holder, width, spec)};
  });
  panels.replaceChildren(...figures.map(({figure}) => figure));
  for (const {holder, draw} of figures) whenSized(holder, draw);
}

function probeLine({grid, colour, dash, marked}, tasks, layers, banded) {
  const over = (part, q) => layers.map((layer) => quantile(tasks.map((task) => grid.at(task, layer, part)), q));
  const line = {values: over("values", 0.5), colour, dash, marked};
  if (dash || !banded) return line;
  return tasks.length > 1 ? {...line, low: over("values", 0), high: over("values", 1)} : {...line, low: over("lower", 0.5), high: over("upper", 0.5)};
}

function describeCurve({grid, text}, {values}, tasks, layer, layers) {
  if (tasks.length === 1) return `${text}: ${grid.measured(tasks[0], layer)}`;
  const value = values[layers.indexOf(layer)];
  return `${text}: ${Number.isNaN(value) ? "undefined" : `median ${show(value, grid.digits)}`}`;
}
