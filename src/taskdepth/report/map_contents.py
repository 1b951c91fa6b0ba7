"""Maps that no row of the layer table holds, for the page: depth by depth and task by task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskdepth.report.labels import model_label, quantity_title
from taskdepth.report.packing import packed
from taskdepth.results.depth_maps import DepthMap
from taskdepth.results.task_maps import TaskMaps
from taskdepth.results.wording import counted

# maps of single tasks are many; of other measures and poolings the mean over tasks is enough
OF_TASKS = "debiased_cka"


def depth_map_contents(maps: Iterable[DepthMap], run: str | None) -> list[dict[str, Any]]:
    """One object for each map, the means over tasks first."""
    kept = [each for each in maps if each.task == "all" or each.name == OF_TASKS]
    kept.sort(key=lambda each: (each.task != "all", not each.name.startswith(OF_TASKS)))
    return [
        {
            "title": quantity_title("similarity", None, each.name),
            "y": model_label(each.role, run, None, None),
            "x": model_label(each.reference, None, None, None),
            "task": f"mean over {counted(each.n_tasks, 'task')}"
            if each.task == "all"
            else each.task,
            "n": each.n,
            "rows": each.values.shape[0],
            "columns": each.values.shape[1],
            "values": packed(each.values),
        }
        for each in kept
    ]


def task_map_contents(
    maps: TaskMaps, tasks: Sequence[int], run: str | None
) -> list[dict[str, Any]]:
    """One object for each measure and model; `tasks` are the numbers of its tasks on the page."""
    return [
        {
            "title": quantity_title("similarity", None, measure),
            "label": model_label(role, run, None, None),
            "role": role,
            "tasks": list(tasks),
            "depths": list(maps.depths),
            "n": maps.n,
            "values": packed(values[index].double().numpy()),
        }
        for measure, values in maps.values.items()
        for index, role in enumerate(maps.roles)
    ]
