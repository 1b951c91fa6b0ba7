"""Runs as probe.py leaves them, of any size, with made-up numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import torch

from taskdepth.report.study import Study
from taskdepth.results.depth_maps import DepthMap, DepthMaps
from taskdepth.results.findings import summarise
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.task_maps import TaskMaps
from taskdepth.selection import select
from taskdepth.selection.regions import Regions

ROLES = ("pretrained", "experimental")
COMPARED = (*ROLES, "ceiling")  # with the control models
MEASURES = ("debiased_cka", "linear_cka")
POOLINGS = ("", "@mean")


def task_names(n_tasks: int, n_clusters: int) -> dict[str, str]:
    """Task → cluster, in no order."""
    return {f"task_{i:02d}": f"cluster_{i % n_clusters}" for i in range(n_tasks)}


def layer_table(
    tasks: dict[str, str],
    n_layers: int,
) -> LayerTable:
    """Rows of every kind that a study of two compared models and a ceiling has.

    Similarity falls at half depth, accuracy rises; depth 0 is undefined.
    """
    rng = np.random.default_rng(0)
    rows: list[Row] = []

    def add(at: Row, name: str, value: float, width: float | None = None) -> None:
        value = math.nan if at.depth == 0 else value
        ends = {} if width is None else {"lower": value - width, "upper": value + width}
        rows.append(replace(at, name=name, value=value, **ends))

    for role in COMPARED:
        for depth in range(n_layers + 1):
            x = depth / n_layers
            for i, (task, cluster) in enumerate(tasks.items()):
                model = f"ceiling-{task}" if role == "ceiling" else role
                noise = rng.normal(0, 0.03)
                at = Row(model, role, task, cluster, depth, "similarity", "", 0.0, 200 + i, seed=0)
                drop = 0.6 - 0.1 * COMPARED.index(role) + 0.02 * (i % 4)
                similar = 0.95 - drop / (1 + math.exp(-14 * (x - 0.5))) + noise
                for pooling in POOLINGS:
                    for k, measure in enumerate(MEASURES):
                        of = replace(at, reference="control")
                        add(of, measure + pooling, min(similar - 0.02 * k, 1.0), 0.04)
                        add(of, f"{measure}_shuffled{pooling}", noise / 3)
                add(replace(at, kind="geometry"), "participation_ratio", 3 + 20 * x + 10 * noise)
                if role in ROLES and i % 3:
                    probe = replace(at, kind="probe", target="label", n=60 + i)
                    gain = 0.35 * x * (1 - 0.3 * x) + 0.1 * ROLES.index(role)
                    for pooling in POOLINGS:
                        for name, value, width in (
                            ("accuracy", 0.5 + gain + noise, 0.08),
                            ("control_task_accuracy", 0.48 + noise, None),
                            ("selectivity", 0.02 + gain, None),
                            ("majority", 0.5, None),
                            ("macro_f1", 0.45 + gain, 0.08),
                            ("auroc", 0.5 + gain, 0.08),
                            ("calibration_error", 0.1 + noise / 2, None),
                            ("l2", 100.0, None),
                        ):
                            add(probe, name + pooling, value, width)
            if role not in ROLES:
                continue
            for target in ("task", "cluster"):
                at = Row(role, role, "all", "all", depth, "probe", "", 0.0, 640, target)
                add(at, "accuracy", 0.6 + 0.3 * math.sin(2 * x), 0.03)
                add(at, "control_task_accuracy", 0.05)
                add(at, "majority", 0.03)
    return LayerTable(rows)


def make_study(
    tasks: dict[str, str], n_layers: int, *, of_tasks: bool = False, name: str = "run"
) -> Study:
    """A run with everything that a report can show; `of_tasks`: depth maps of single tasks too."""
    table = layer_table(tasks, n_layers)
    third = n_layers // 3
    ends = (third, 2 * third)
    around = ((third - 1, third), (2 * third - 1, 2 * third + 1))
    regions = Regions(n_layers, 3, True, 0.004, ends, around)
    selection = select("region", n_layers, "tiny", regions)
    return Study(
        name=name,
        folder=Path("runs") / name,
        table=table,
        findings=summarise(table, regions, selection),
        regions=regions,
        selection=selection,
        provenance={"git": "abc123", "versions": {"torch": "2.13.0"}},
        undefined=(("debiased_cka, depth 0", "every prompt ends in the same token"),),
        depth_maps=depth_maps(tasks, n_layers, of_tasks),
        task_maps=task_maps(tasks, n_layers),
    )


def write_run(folder: Path, study: Study) -> Path:
    """`study` as the files of a finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    study.table.write(folder / "layers.parquet")
    if study.selection is not None:
        study.selection.write(folder / "selection.yaml")
    (folder / "undefined.json").write_text(json.dumps({"similarity": study.undefined}))
    (folder / "provenance.json").write_text(json.dumps(study.provenance))
    study.depth_maps.write(folder / "depth_maps.parquet")
    if study.task_maps is not None:
        study.task_maps.write(folder / "task_maps.safetensors")
    return folder


def depth_maps(tasks: dict[str, str], n_layers: int, of_tasks: bool) -> DepthMaps:
    """Similarity that falls with the distance of the depths, for every two models."""
    rng = np.random.default_rng(0)
    depths = np.arange(n_layers + 1)
    apart = np.abs(depths[:, None] - depths) / n_layers

    def one(task: str, cluster: str, name: str, y: str, x: str) -> DepthMap:
        values = np.exp(-4 * apart) * rng.uniform(0.8, 1.0)
        values[0] = np.nan
        return DepthMap(name, task, cluster, y, y, x, x, 200, len(tasks), values)

    of = [("all", "all"), *(tasks.items() if of_tasks else ())]
    names = ("debiased_cka", "linear_cka", "debiased_cka@mean", "linear_cka@mean")
    pairs = list(combinations_with_replacement((*ROLES, "control"), 2))
    return DepthMaps(one(*where, name, *pair) for where in of for name in names for pair in pairs)


def task_maps(tasks: dict[str, str], n_layers: int) -> TaskMaps:
    """Tasks of a cluster are alike, the more so the deeper."""
    ordered = sorted(tasks.items(), key=lambda pair: pair[1])
    clusters = [cluster for _, cluster in ordered]
    same = torch.tensor([[a == b for a in clusters] for b in clusters]).double()
    depths = tuple(range(n_layers + 1))
    noise = torch.rand(
        len(ROLES), len(depths), *same.shape, generator=torch.Generator().manual_seed(0)
    )
    depth = torch.arange(len(depths))[:, None, None] / n_layers
    values = 0.2 + 0.6 * same * depth + 0.2 * (noise + noise.mT) / 2
    values[..., range(len(ordered)), range(len(ordered))] = 1.0
    return TaskMaps(
        ROLES,
        depths,
        tuple(task for task, _ in ordered),
        tuple(clusters),
        "last_token",
        48,
        {"centroid_cosine": values, "covariance_cosine": values**2},
    )
