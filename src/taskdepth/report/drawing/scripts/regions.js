// Similarity by layer with the regions found in it, one chart for each run.

function drawRegions(section) {
  let drawn = false;
  contents.runs.forEach((run, index) => {
    const found = find({run: index, kind: "similarity", name: "debiased_cka"});
    if (!found.length) return;
    drawn = true;
    const layers = union(found.map((grid) => grid.layers));
    const curves = [];
    for (const grid of found) {
      const tasks = grid.tasks.filter((task) => !isAll(task));
      const over = (part, q) => layers.map((layer) => quantile(tasks.map((task) => part.at(task, layer)), q));
      const {label, colour} = grid, floor = beside(grid, "debiased_cka_shuffled");
      const band = found.length <= MOST_BANDS ? {low: over(grid, 0.25), high: over(grid, 0.75)} : {};
      curves.push({text: label, colour, marked: true, digits: grid.digits, values: over(grid, 0.5), ...band});
      if (floor) curves.push({text: `shuffled rows, ${label}`, colour, dash: "2 3", digits: grid.digits, values: over(floor, 0.5)});
    }
    const marks = [
      ...(run.regions.length ? [{text: "region boundary", kind: "boundary"}, {text: "its 95% interval", kind: "interval"}] : []),
      ...(run.adapted.length ? [{text: "blocks to adapt", kind: "adapted"}] : []),
    ];
    const holder = html("div"), [lowest, highest] = rangeOf(curves.flatMap(({values, low, high}) => [values, low ?? [], high ?? []].flat()));
    if (contents.runs.length > 1) section.append(html("h3", {}, run.name));
    const tasks = union(found.map((grid) => grid.tasks)).filter((task) => !isAll(task));
    const said = `${counted(tasks.length, "task")}, ${nOf(found[0], tasks)}`;
    section.append(html("p", {}, run.said), legend([...curves, ...marks]), html("figure", {}, caption(found[0].title, said), holder));
    const spec = {
      layers, lines: curves, range: [lowest - 0.06 * (highest - lowest), highest + 0.2 * (highest - lowest)], heightPx: 340,
      intervals: run.intervals, ends: run.regions.slice(0, -1).map((region) => region.last), adapted: run.adapted,
      names: run.regions.map(({name, first, last}) => ({text: name, from: first, to: last})),
      alt: `Median similarity by layer. ${run.said}`,
      describe: (layer) => {
        const region = run.regions.find(({first, last}) => first <= layer && layer <= last);
        const values = curves.map(({text, values: of, digits}) => `${text}: ${show(of[layers.indexOf(layer)], digits)}`);
        return [`layer ${layer}${region ? `, ${region.name}` : ""}${run.adapted.includes(layer) ? ", adapted" : ""}`, ...values];
      },
    };
    whenSized(holder, (width) => panel(holder, width, spec));
  });
  return drawn;
}
