"""What a W&B Report says of runs of `train.py`: tuned models, a sweep over them, placement studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from wandb_workspaces.reports import v2 as wr

from taskdepth.report.wandb_markdown import interval, number, table
from taskdepth.report.wandb_panels import COLUMNS, panel_grid, pictures, runset
from taskdepth.report.wandb_runs import PlacementRun, TunedRun, varied
from taskdepth.results.wording import counted, spans

SCORES = {"loss": "loss", "exact_match": "exact match", "rank_accuracy": "accuracy"}


def placement_blocks(run: PlacementRun) -> list[Any]:
    """Policies against each other: the verdict, a line each, and the figure."""
    found = run.found
    score = SCORES.get(found["score"], found["score"])
    head = ["policy", "blocks", "weights that learn", score, f"gain on {found['reference']}"]
    rows = [
        [
            line["policy"] + (" (wins)" if line["policy"] == found["winner"] else ""),
            "other ones for each seed" if line["draws_blocks"] else spans(line["blocks"]),
            number(line["parameters"], ",.0f"),
            number(line["scores"][found["score"]], ".3f"),
            "reference" if line["policy"] == found["reference"] else interval(line["gain"]),
        ]
        for line in found["lines"]
    ]
    runs = runset("placement study", [run.name])
    return [
        wr.H1(f"Placement study {run.name}"),
        wr.CalloutBlock(text=found["verdict"]),
        wr.MarkdownBlock(text=table(head, rows)),
        wr.P(
            f"{counted(found['n_tasks'], 'task')}, seeds {', '.join(map(str, found['seeds']))}, "
            f"{found['steps']} steps for each policy, as many weights as adapters of all blocks. Gains "
            "above 0 are better; the 95 % intervals hold for all policies together."
        ),
        panel_grid(runs, [pictures(["placement"], columns=1, height=12)]),
    ]


def tuned_models(tuned: Sequence[TunedRun]) -> list[Any]:
    """The tuned models: how good each is, with which weights, in which blocks."""
    head = ["run", "role", "adapter", "blocks", "weights that learn", "validation loss", "accuracy"]
    rows = [
        [
            run.name,
            str(run.settings["role"]),
            str(run.settings["adapter"]["name"]),
            spans(run.blocks) or "–",
            number(run.trainable_parameters, ",.0f"),
            number(run.mean("loss"), ".3f"),
            number(run.mean("rank_accuracy"), ".1%"),
        ]
        for run in tuned
    ]
    made: list[Any] = [
        wr.H1("Tuned models, and where their adapters are"),
        wr.MarkdownBlock(text=table(head, rows)),
    ]
    made += [wr.P(sentence) for sentence in [*_best_model(tuned), *_against_controls(tuned)]]
    runs = runset("tuned models", [run.name for run in tuned])
    return [*made, panel_grid(runs, _tuning_panels())]


def _best_model(tuned: Sequence[TunedRun]) -> list[str]:
    """Which model has the lowest validation loss, in a sentence; empty where none has any."""
    # control models are many models: they stand in the table, and not in the contest
    losses = {run.name: run.mean("loss") for run in tuned if "controls" not in run.metrics}
    known = {name: loss for name, loss in losses.items() if loss is not None}
    if not known:
        return []
    best = min(known, key=known.__getitem__)
    adapted = next(run.blocks for run in tuned if run.name == best)
    where = f", with adapters in blocks {spans(adapted)}" if adapted else ""
    return [
        f"The lowest validation loss, {known[best]:.3f}, is that of {best}{where}. It is the mean over "
        "tasks of each task's own loss."
    ]


def _against_controls(tuned: Sequence[TunedRun]) -> list[str]:
    """How each model of all tasks does beside the control models, a sentence each."""
    found = []
    for controls in (run for run in tuned if "controls" in run.metrics):
        for run in (run for run in tuned if "controls" not in run.metrics):
            pairs = [
                (float(run.by_task[task]["loss"]), float(scores["loss"]))
                for task, scores in controls.by_task.items()
                if "loss" in scores and "loss" in run.by_task.get(task, {})
            ]
            if pairs:
                n_better = sum(one < alone for one, alone in pairs)
                mean = float(np.mean([one - alone for one, alone in pairs]))
                found.append(
                    f"{run.name} has a lower validation loss than the control model in {n_better} of "
                    f"{counted(len(pairs), 'task')} of {controls.name} (mean difference {mean:+.3f})."
                )
    return found


def _tuning_panels() -> list[Any]:
    return [
        wr.LinePlot(
            title="training loss",
            x="trainer/global_step",
            y=["train/loss"],
            layout=wr.Layout(x=0, w=12, h=8),
        ),
        wr.LinePlot(
            title="validation loss",
            x="trainer/global_step",
            y=["val/loss"],
            layout=wr.Layout(x=12, w=12, h=8),
        ),
        wr.ScatterPlot(
            title="weights that learn, and what they buy",
            x=wr.SummaryMetric("trainable_parameters"),
            y=wr.SummaryMetric("validation_loss"),
            log_x=True,
            layout=wr.Layout(x=0, y=8, w=12, h=8),
        ),
        wr.BarPlot(
            title="validation accuracy of closed label sets",
            metrics=["validation_rank_accuracy"],
            layout=wr.Layout(x=12, y=8, w=12, h=8),
        ),
    ]


def sweep(tuned: Sequence[TunedRun]) -> list[Any]:
    """What differs between the tuned models, against how well they do."""
    differing = [key for key in varied(tuned) if not key.startswith("data.")]
    if not differing:
        return []
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), display_name=key)
        for key in differing[:8]
    ]
    columns.append(
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.SummaryMetric("validation_loss"),
            inverted=True,
            display_name="validation loss",
        )
    )
    return [
        wr.H1("The sweep"),
        wr.P(f"{counted(len(tuned), 'run')}, which differ in {', '.join(differing)}."),
        panel_grid(
            runset("sweep", [run.name for run in tuned]),
            [
                wr.ParallelCoordinatesPlot(columns=columns, layout=wr.Layout(w=COLUMNS, h=10)),
                wr.ParameterImportancePlot(
                    with_respect_to="validation_loss", layout=wr.Layout(y=10, w=12, h=8)
                ),
                wr.RunComparer(diff_only="split", layout=wr.Layout(x=12, y=10, w=12, h=8)),
            ],
        ),
    ]
