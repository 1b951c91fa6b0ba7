from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wandb_log
from taskdepth.config import LoggerConfig
from taskdepth.results import layer_log, tracking
from taskdepth.results.gain import gain_grid
from taskdepth.results.table import LayerTable, Row


def row(depth: int, value: float, task: str = "rte", **changes: object) -> Row:
    about = {"model": "m", "role": "pretrained", "cluster": "nli" if task != "all" else "all"}
    about |= {"kind": "probe", "name": "accuracy", "target": "label", "n": 9, "seed": 0}
    return Row(task=task, depth=depth, value=value, **(about | changes))  # type: ignore[arg-type]


CKA = {"kind": "similarity", "name": "debiased_cka", "target": None, "reference": "control"}
TABLE = LayerTable(
    [
        *(row(depth, depth / 10) for depth in range(3)),
        *(row(depth, depth / 5, task="cb") for depth in range(3)),
        *(row(depth, 0.9, task="sst2", cluster="sentiment") for depth in range(3)),
        *(row(depth, 0.5, task="all", target="task") for depth in range(3)),
        row(2, 0.25, task="nli", cluster="nli", target="cluster", name="recall"),
        row(2, 0.75, name="accuracy@mean"),
        row(0, math.nan, **CKA),
        row(1, 0.75, **CKA),
        row(2, 0.5, kind="geometry", name="effective_rank", target=None),
    ]
)


def test_series_are_means_clusters_and_tasks_without_the_undefined() -> None:
    series = layer_log.layer_series(TABLE)
    assert set(series) == {0, 1, 2}
    assert series[2] == {
        "probe/label/accuracy": pytest.approx((0.2 + 0.4 + 0.9) / 3),
        "probe/label/accuracy/nli": pytest.approx((0.2 + 0.4) / 2),
        "probe/label/accuracy/sentiment": 0.9,
        "tasks/probe/label/accuracy/rte": 0.2,
        "tasks/probe/label/accuracy/cb": 0.4,
        "tasks/probe/label/accuracy/sst2": 0.9,
        "probe/task/accuracy": 0.5,
        "more/probe/cluster/recall/nli": 0.25,
        "tasks/probe/label/accuracy@mean/rte": 0.75,
        "more/probe/label/accuracy@mean": 0.75,
        "tasks/geometry/states/effective_rank/rte": 0.5,
        "more/geometry/states/effective_rank": 0.5,
    }
    assert series[1]["similarity/vs_control/debiased_cka"] == 0.75
    assert not any("cka" in key for key in series[0])


def test_the_best_layer_of_each_mean_is_summed_up() -> None:
    found = layer_log.best(layer_log.layer_series(TABLE))
    assert found == {
        "probe/label/accuracy": (2, pytest.approx(0.5)),
        "probe/task/accuracy": (1, 0.5),
        "similarity/vs_control/debiased_cka": (1, 0.75),
    }


def written(folder: Path, log: Any) -> None:
    with tracking.tracked(
        LoggerConfig(), folder, part=tracking.Part("probe"), name="x", config={}
    ) as run:
        log(run)


def test_the_run_holds_every_value_against_layer(tmp_path: Path) -> None:
    written(tmp_path, lambda run: layer_log.log_series(run, TABLE))
    logged = {h["layer"]: h for h in wandb_log.history(tmp_path) if "layer" in h}
    for layer, values in layer_log.layer_series(TABLE).items():
        assert {key: logged[layer][key] for key in values} == values
    metrics = wandb_log.metrics(tmp_path)
    for glob in ("probe/*", "similarity/*", "geometry/*", "tasks/*", "more/*"):
        assert metrics[glob].step_metric == "layer"
        assert metrics[glob].options.hidden == (glob in ("tasks/*", "more/*"))
    summary = wandb_log.summary(tmp_path)
    assert summary["probe/label/accuracy/best_layer"] == 2


def test_heat_maps_are_of_what_single_tasks_have(table: LayerTable, tmp_path: Path) -> None:
    maps = layer_log.heat_maps(table.where(role="pretrained"))
    assert set(maps) == {"probe label accuracy", "similarity vs_control debiased_cka"}
    shown = maps["probe label accuracy"]
    written(tmp_path, lambda run: layer_log.log_heat_map(run, "label accuracy", shown))
    (chart,) = wandb_log.charts(tmp_path).values()
    assert chart["panel_config"]["panelDefId"] == layer_log.HEAT_MAP
    assert chart["panel_config"]["stringSettings"] == {"title": "label accuracy"}
    history = [h for h in wandb_log.history(tmp_path) if any("_table" in key for key in h)]
    n_cells = next(value for key, value in history[0].items() if key.endswith("/nrows"))
    assert n_cells == np.isfinite(shown.values).sum() == len(shown.tasks) * len(shown.layers)


def test_all_rows_are_one_table(tmp_path: Path) -> None:
    written(tmp_path, lambda run: layer_log.log_rows(run, TABLE))
    (logged,) = wandb_log.history(tmp_path)
    assert logged["layers/nrows"] == len(TABLE)
    assert logged["layers/ncols"] == 14


def test_the_gain_is_the_difference_where_both_are_known(table: LayerTable) -> None:
    gain = gain_grid(table)
    assert gain is not None
    for i, task in enumerate(gain.tasks):
        for j, layer in enumerate(gain.layers):
            both = [
                next(
                    iter(table.where(task=task, depth=layer, role=role, name="debiased_cka"))
                ).value
                for role in ("experimental", "pretrained")
            ]
            assert gain.values[i, j] == pytest.approx(both[0] - both[1])
    assert gain_grid(table.where(role="pretrained")) is None
