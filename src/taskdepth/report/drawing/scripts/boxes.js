// The spread of a cluster's tasks at each layer, as box plots: one panel for all tasks, one for each cluster.

function drawBoxes(section) {
  const offered = quantities();
  if (!offered.length) return false;
  const state = {quantity: offered[0][0]};
  const controls = html("div", {class: "controls"}), keys = html("div"), all = html("div"), panels = html("div", {class: "panels"});
  const build = () => {
    const found = ofTasks(state.quantity);
    const tasks = union(found.map((grid) => grid.tasks)).filter((task) => !isAll(task));
    const layers = union(found.map((grid) => grid.layers));
    const range = rangeOf(tasks.flatMap((task) => found.flatMap((grid) => layers.map((layer) => grid.at(task, layer)))));
    keys.replaceChildren(legend(found.map(({label, colour}) => ({text: label, colour, marked: true}))));
    const figures = [["all tasks", tasks], ...clustersOf(tasks)].map(([name, of]) => {
      const holder = html("div");
      const ns = nOf(found[0], of);
      const figure = html("figure", {}, caption(name, `${counted(of.length, "task")}, ${ns}`), holder);
      const boxes = found.map((grid) => ({colour: grid.colour, at: (layer) => of.map((task) => grid.at(task, layer))}));
      const spec = {
        layers, range, boxes, heightPx: of === tasks ? 240 : 180,
        alt: `Box plots of ${found[0].title} by layer: ${name}, ${counted(of.length, "task")}`,
        describe: (layer) => [`${name}, layer ${layer}`, ...found.map((grid) => describeBox(grid, of, layer))],
      };
      return {figure, holder, draw: (width) => panel(holder, width, spec)};
    });
    // as wide as the boxes of all models need to be told apart
    panels.style.setProperty("--panel", `${Math.max(330, MARGIN.left + 5 * layers.length * found.length)}px`);
    all.replaceChildren(figures[0].figure);
    panels.replaceChildren(...figures.slice(1).map(({figure}) => figure));
    for (const {holder, draw} of figures) whenSized(holder, draw);
  };
  const choose = menu("Quantity", offered, state.quantity, (value) => {
    state.quantity = value;
    build();
  }, true);
  controls.append(choose);
  section.append(controls, keys, all, panels);
  build();
  return true;
}

function describeBox(grid, tasks, layer) {
  const values = tasks.map((task) => grid.at(task, layer)).filter((value) => !Number.isNaN(value));
  if (!values.length) return `${grid.label}: undefined`;
  const [low, lower, median, upper, high] = [0, 0.25, 0.5, 0.75, 1].map((q) => show(quantile(values, q), grid.digits));
  const spread = values.length < 5 ? `${low} to ${high}` : `middle half ${lower} to ${upper}, all ${low} to ${high}`;
  return `${grid.label}: median ${median} of ${counted(values.length, "task")}, ${spread}`;
}
