"""The panels of a W&B Report, and the runs they are drawn from.

They find runs by the settings that `taskdepth` records in each: `name`, `stage` and `role`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from wandb_workspaces.reports import v2 as wr

from taskdepth.results.layer_grid import MEASURE_NAME
from taskdepth.results.layer_log import HEAT_MAP

COLUMNS = 24  # of W&B's grid


def panel_grid(runs: Any, panels: list[Any]) -> Any:
    """The `panels` over one set of runs."""
    return wr.PanelGrid(runsets=[runs], panels=panels)


def runset(
    title: str,
    names: Sequence[str],
    *,
    stages: Sequence[str] = (),
    role: str | None = None,
) -> Any:
    """The runs of some commands, of some stages, of one model."""
    wanted = [f"Config('name') in {json.dumps(list(names))}"]
    if stages:
        wanted.append(f"Config('stage') in {json.dumps(list(stages))}")
    if role is not None:
        wanted.append(f"Config('role') = {json.dumps(str(role))}")
    return wr.Runset(name=title, filters=" and ".join(wanted))


def probe_panels(n: int) -> list[Any]:
    """The first `n` curves of the probes, over layers, beside each other."""
    keys = {
        "probe/label/accuracy": "label probes: accuracy",
        "probe/task/accuracy": "task identity: accuracy",
        "probe/label/selectivity": "label probes: selectivity",
    }
    return _line_panels(keys, n)


def similarity_panels(n: int, y: int = 0) -> list[Any]:
    """The first `n` curves of the similarity, in the `y`-th row of panels."""
    keys = {
        "similarity/vs_control/debiased_cka": f"{MEASURE_NAME} to the control models",
        "similarity/vs_control/linear_cka": "linear CKA (biased) to the control models",
    }
    return _line_panels(keys, n, y)


def _line_panels(keys: dict[str, str], n: int, y: int = 0) -> list[Any]:
    width = COLUMNS // n
    return [
        wr.LinePlot(
            title=title,
            x="layer",
            y=[key],
            title_x="layer",
            layout=wr.Layout(x=i * width, y=8 * y, w=width, h=8),
        )
        for i, (key, title) in enumerate(list(keys.items())[:n])
    ]


def by_cluster(key: str, title: str, y: int) -> Any:
    """A curve for each cluster, in the `y`-th row of panels."""
    return wr.LinePlot(
        title=title,
        x="layer",
        metric_regex=f"{key}/.*",
        title_x="layer",
        layout=wr.Layout(y=8 * y, w=COLUMNS, h=10),
    )


def pictures(names: Sequence[str], *, columns: int, height: int) -> Any:
    """The figures of a run, by the names of their files without the suffix."""
    return wr.MediaBrowser(
        media_keys=[f"figures/{name}" for name in names],
        num_columns=columns,
        layout=wr.Layout(w=COLUMNS, h=height),
    )


def heat_map(title: str) -> Any:
    """The table that `taskdepth` logs under `title`."""
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"Custom Chart Tables/heat_maps/{title}_table"}},
        chart_name=HEAT_MAP,
        chart_fields={axis: axis for axis in ("x_axis", "y_axis", "values")},
        chart_strings={"title": title},
        layout=wr.Layout(w=COLUMNS, h=14),
    )
