// Maps that do not fit into rows of a table: depth by depth, and task by task at each depth.

function drawDepthMaps(section) {
  const maps = contents.depth_maps.map((map) => ({...map, numbers: null}));
  if (!maps.length) return false;
  const state = {measure: maps[0].title, pair: null, task: maps[0].task};
  const controls = html("div", {class: "controls"}), bar = html("div"), holder = html("div"), about = html("p", {class: "about"});
  const pairOf = (map) => `${map.y} × ${map.x}`;
  const distinct = (of, keep) => [...new Set(maps.filter(keep).map(of))].map((text) => [text, text]);
  let width = 0;
  const draw = () => {
    const map = maps.find((one) => one.title === state.measure && pairOf(one) === state.pair && one.task === state.task);
    map.numbers ??= unpack(map.values);
    const depths = (count) => Array.from({length: count}, (_, depth) => depth);
    const value = (i, j) => map.numbers[i * map.columns + j];
    const scale = scaleFor(map.numbers);
    bar.replaceChildren(scaleBar(scale, map.title, extent(map.numbers)));
    holder.replaceChildren();
    about.textContent = `${map.task}, n = ${map.n.toLocaleString("en")}. Rows: depths of the ${map.y}; columns: depths of the ${map.x}.`;
    const describe = (i, j) => [
      `${map.y}, depth ${i}`, `${map.x}, depth ${j}`,
      `${map.title}: ${Number.isNaN(value(i, j)) ? "undefined" : show(value(i, j), decimals(map.values))}`, `${map.task}, n = ${map.n}`,
    ];
    const sheet = {columns: depths(map.columns), value, describe};
    const rows = depths(map.rows).map((depth) => ({label: String(depth)}));
    const alt = `Depth by depth map of ${map.title}: ${pairOf(map)}, ${map.task}`;
    matrix(holder, Math.min(width, 640), {rows, sheets: [sheet], scale, alt, columnsAre: `depth of the ${map.x}`, square: true});
  };
  const build = () => {
    const pairs = distinct(pairOf, (map) => map.title === state.measure);
    const first = pairs.find(([pair]) => pair.includes("experimental") && pair.includes("control")) ?? pairs[0];
    if (!pairs.some(([pair]) => pair === state.pair)) state.pair = first[0];
    const tasks = distinct((map) => map.task, (map) => map.title === state.measure && pairOf(map) === state.pair);
    if (!tasks.some(([task]) => task === state.task)) state.task = tasks[0][0];
    const change = (name) => (value) => {
      state[name] = value;
      build();
      draw();
    };
    setControls(controls,
      menu("Measure", distinct((map) => map.title, () => true), state.measure, change("measure"), true),
      menu("Models", pairs, state.pair, change("pair"), true),
      menu("Task", tasks, state.task, change("task"), true),
    );
  };
  section.append(controls, about, bar, holder);
  build();
  whenSized(holder, (newWidth) => {
    width = newWidth;
    draw();
  });
  return true;
}

function drawTaskMaps(section) {
  const maps = contents.task_maps;
  if (!maps.length) return false;
  const state = {label: maps.find((map) => map.role === "experimental")?.label ?? maps[0].label, measure: maps[0].title, at: 0};
  const controls = html("div", {class: "controls"}), bar = html("div"), holder = html("div");
  const slider = html("input", {type: "range", min: 0, step: 1, "aria-label": "depth"}), told = html("output", {});
  const numbers = new Map(); // unpacked when first shown
  let width = 0, painted = null, scale = null;

  const current = () => maps.find((map) => map.label === state.label && map.title === state.measure) ?? maps[0];
  const value = (i, j) => {
    const map = current(), size = map.tasks.length;
    return numbers.get(map)[(state.at * size + i) * size + j];
  };
  const tell = () => {
    const layer = current().depths[state.at];
    told.textContent = layer === 0 ? "depth 0, the embeddings" : `layer ${layer}`;
    slider.setAttribute("aria-valuetext", told.textContent);
  };
  const draw = () => {
    const map = current();
    if (!numbers.has(map)) numbers.set(map, unpack(map.values));
    slider.max = map.depths.length - 1;
    state.at = Math.min(state.at, map.depths.length - 1);
    slider.value = state.at;
    tell();
    scale = scaleFor(numbers.get(map));
    const names = map.tasks.map((task) => contents.tasks[task].name);
    bar.replaceChildren(scaleBar(scale, map.title, extent(numbers.get(map))));
    holder.replaceChildren();
    const describe = (i, j) => [
      `${names[i]} and ${names[j]}`, `clusters ${contents.tasks[map.tasks[i]].cluster} and ${contents.tasks[map.tasks[j]].cluster}`,
      `${told.textContent}: ${Number.isNaN(value(i, j)) ? "undefined" : show(value(i, j), decimals(map.values))}`, `n = ${map.n} of each task`,
    ];
    painted = matrix(holder, Math.min(width, 1100), {
      rows: names.map((label) => ({label})), sheets: [{columns: names, value, describe}], scale, square: true,
      bands: bandsOf(map.tasks), columnsAre: "tasks, in the order of the rows",
      alt: `Task by task map of ${map.title}, ${map.label}, ${counted(names.length, "task")}`,
    });
  };
  slider.addEventListener("input", () => {
    state.at = Number(slider.value);
    tell();
    painted.paint(0, value, scale);
  });
  const change = (name) => (chosen) => {
    state[name] = chosen;
    draw();
  };
  const distinct = (of) => [...new Set(maps.map(of))].map((text) => [text, text]);
  controls.append(
    menu("Measure", distinct((map) => map.title), state.measure, change("measure"), true),
    menu("Model", distinct((map) => map.label), state.label, change("label"), true),
    html("label", {class: "wide"}, "Layer", slider), told,
  );
  // the middle of the model is where there is most to see
  state.at = Math.floor(current().depths.length / 2);
  section.append(controls, bar, holder);
  whenSized(holder, (newWidth) => {
    width = newWidth;
    draw();
  });
  return true;
}

/** Runs of tasks of the same cluster. */
function bandsOf(tasks) {
  const bands = [];
  tasks.forEach((task, i) => {
    const {cluster} = contents.tasks[task];
    if (bands.at(-1)?.text === cluster) bands.at(-1).to = i + 1;
    else bands.push({text: cluster, from: i, to: i + 1});
  });
  return bands;
}
