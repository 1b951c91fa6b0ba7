// Maps that do not fit into rows: depth by depth, and task by task at each layer.

function drawDepthMaps(section) {
  const maps = contents.depth_maps;
  if (!maps.length) return false;
  return false;
}

function drawTaskMaps(section) {
  return false;
}
