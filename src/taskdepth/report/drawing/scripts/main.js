// Draw every section; remove those for which nothing was measured.

const DRAWERS = {
  heatmap: drawHeatmap, boxes: drawBoxes, probes: drawProbes, regions: drawRegions, depthmap: drawDepthMaps,
  taskmap: drawTaskMaps,
};

for (const [name, draw] of Object.entries(DRAWERS)) {
  const section = document.getElementById(name);
  if (draw(section)) continue;
  section.remove();
  document.querySelector(`nav a[href="#${name}"]`).parentElement.remove();
}
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("pre.copy").forEach(makeCopyable);

const themes = ["system", "light", "dark"];
const button = document.getElementById("theme");
button.hidden = false;
button.addEventListener("click", () => {
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % themes.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  button.textContent = `Theme: ${next}`;
});

// what is folded away would be missing on paper
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
