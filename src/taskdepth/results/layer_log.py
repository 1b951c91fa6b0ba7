"""A model's layer table in W&B: curves against `layer`, heat maps, and all rows as one table.

`<kind>/<what>/<name>` is the mean over tasks and `<kind>/<what>/<name>/<cluster>` that over a cluster's
tasks, where <what> is the probe's target, `vs_<reference>`, or `states`. Only the scores of `FRONT` are drawn
unasked; the others go by `more/…`, and every task's own curve by `tasks/…/<task>`. Undefined values are
left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import astuple, fields
from statistics import fmean
from typing import Any

import numpy as np
import wandb

from taskdepth.results.layer_grid import LayerGrid, grid
from taskdepth.results.table import LayerTable, Row

SECTIONS = ("probe", "similarity", "geometry")
FRONT = ("accuracy", "control_task_accuracy", "selectivity", "debiased_cka", "linear_cka")
BY_CLUSTER = ("accuracy", "debiased_cka")
# https://docs.wandb.ai/guides/app/features/custom-charts: a chart that W&B knows by name
HEAT_MAP = "wandb/heatmap_no_text/v1"


def log_series(run: Any, table: LayerTable) -> None:
    """Every value of `table`, which is about one model, as a curve against `layer`."""
    run.define_metric("layer", hidden=True)
    for section in SECTIONS:
        run.define_metric(f"{section}/*", step_metric="layer")
    for section in ("more", "tasks"):
        run.define_metric(f"{section}/*", step_metric="layer", hidden=True)
    series = layer_series(table)
    for layer, values in sorted(series.items()):
        run.log({"layer": layer, **values})
    for key, (layer, value) in best(series).items():
        run.summary[f"{key}/best"] = value
        run.summary[f"{key}/best_layer"] = layer


def layer_series(table: LayerTable) -> dict[int, dict[str, float]]:
    """What `log_series` plots: layer → metric key → value."""
    series: dict[int, dict[str, float]] = defaultdict(dict)
    over_tasks: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in table:
        if math.isnan(row.value):
            continue
        key, section = _key(row), "" if row.name in FRONT else "more/"
        if row.target == "cluster" and row.task != "all" and row.task == row.cluster:
            series[row.depth][f"more/{key}/{row.cluster}"] = row.value  # a class of this probe
        elif row.task != "all":
            series[row.depth][f"tasks/{key}/{row.task}"] = row.value
            over_tasks[row.depth, f"{section}{key}"].append(row.value)
            if row.name in BY_CLUSTER:
                over_tasks[row.depth, f"{key}/{row.cluster}"].append(row.value)
        elif row.cluster != "all":
            series[row.depth][f"more/{key}/{row.cluster}"] = row.value
        else:
            series[row.depth][f"{section}{key}"] = row.value
    for (depth, key), values in over_tasks.items():
        series[depth].setdefault(key, fmean(values))
    return dict(series)


def best(series: dict[int, dict[str, float]]) -> dict[str, tuple[int, float]]:
    """Of each mean that is drawn: the layer (not the embeddings) where it is highest, and its value."""
    found: dict[str, tuple[int, float]] = {}
    for layer, values in sorted(series.items()):
        for key, value in values.items():
            is_mean = key.split("/")[0] in SECTIONS and key.count("/") == 2
            if layer >= 1 and is_mean and (key not in found or value > found[key][1]):
                found[key] = layer, value
    return found


def log_rows(run: Any, table: LayerTable) -> None:
    """All rows as one table."""
    columns = [field.name for field in fields(Row)]
    rows = [list(astuple(row)) for row in table]
    run.log({"layers": wandb.Table(columns=columns, data=rows)})


def heat_maps(table: LayerTable) -> dict[str, LayerGrid]:
    """Title → values by task and layer, of each quantity that single tasks have a value of."""
    found = {}
    for name in BY_CLUSTER:
        rows = [row for row in table.where(name=name) if row.task not in ("all", row.cluster)]
        for what in dict.fromkeys(_key(row) for row in rows):
            shown = grid(LayerTable(row for row in rows if _key(row) == what))
            if np.isfinite(shown.values).any():
                found[what.replace("/", " ")] = shown
    return found


def log_heat_map(run: Any, title: str, shown: LayerGrid) -> None:
    """One heat map, tasks by layers, as a chart that can be hovered over and compared between runs."""
    cells = [
        [layer, task, float(value)]
        for task, values in zip(shown.tasks, shown.values, strict=True)
        for layer, value in zip(shown.layers, values, strict=True)
        if np.isfinite(value)
    ]
    table = wandb.Table(columns=["x_axis", "y_axis", "values"], data=cells)
    axes = {"x_axis": "x_axis", "y_axis": "y_axis", "values": "values"}
    chart = wandb.plot_table(HEAT_MAP, table, axes, {"title": title}, split_table=True)
    run.log({f"heat_maps/{title}": chart})


def _key(row: Row) -> str:
    about = row.target if row.reference is None else f"vs_{row.reference}"
    return f"{row.kind}/{about or 'states'}/{row.name}"
