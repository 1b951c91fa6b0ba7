"""The contents of a W&B Report: prose with the numbers filled in, and panels over the runs' curves.

Prose is text, never markup: names of tasks and runs are not ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wandb_workspaces.reports import v2 as wr

from taskdepth.report.wandb_panels import panel_grid, runset
from taskdepth.report.wandb_runs import Runs, StudyRun, TunedRun
from taskdepth.report.wandb_studies import studies_compared, study_blocks
from taskdepth.report.wandb_training import placement_blocks, sweep, tuned_models
from taskdepth.results.layer_grid import MEASURE_NAME
from taskdepth.results.wording import counted


def blocks(runs: Runs) -> list[Any]:
    """The whole report."""
    studies, tuned = runs.studies, runs.tuned
    made: list[Any] = [wr.TableOfContents(), *_summary(studies, tuned)]
    if len(studies) > 1:
        made += studies_compared(studies)
    for study in studies:
        made += study_blocks(study)
    for placement in runs.placements:
        made += placement_blocks(placement)
    if tuned:
        made += tuned_models(tuned)
    if len(tuned) > 1:
        made += sweep(tuned)
    if studies:
        made += _single_tasks(studies)
        made += _provenance(studies)
    return made


def _summary(studies: Sequence[StudyRun], tuned: Sequence[TunedRun]) -> list[Any]:
    kinds = [counted(len(studies), "study").replace("studys", "studies")] if studies else []
    kinds += [counted(len(tuned), "tuned model")] if tuned else []
    made: list[Any] = [
        wr.P(
            "Layer k is the state after block k − 1, before the final norm. Similarity is "
            f"{MEASURE_NAME} with the control model of the same task, which was tuned on that task "
            "alone. Curves are means over tasks, sentences quote medians."
        ),
        wr.H1(f"What was found ({' and '.join(kinds)})"),
    ]
    for study in studies:
        if len(studies) > 1:
            made.append(wr.H3(study.name))
        made.append(wr.UnorderedList(items=list(study.findings.lines)))
    return made


def _single_tasks(studies: Sequence[StudyRun]) -> list[Any]:
    """Every task's own curves, folded away: there are many."""
    names = [study.name for study in studies]
    patterns = {
        "label probes": r"tasks/probe/label/accuracy/.*",
        f"{MEASURE_NAME} to the control model": r"tasks/similarity/vs_control/debiased_cka/.*",
    }
    panels = [
        wr.LinePlot(
            title=f"{title}, every task",
            x="layer",
            metric_regex=pattern,
            title_x="layer",
            max_runs_to_show=20,
            layout=wr.Layout(x=12 * i, w=12, h=12),
        )
        for i, (title, pattern) in enumerate(patterns.items())
    ]
    panels_of_tasks = panel_grid(runset("models", names, stages=["probe", "compare"]), panels)
    return [wr.H1("Single tasks", collapsed_blocks=[panels_of_tasks])]


def _provenance(studies: Sequence[StudyRun]) -> list[Any]:
    lines = []
    for study in studies:
        about = study.provenance
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        lines += [f"# {study.name}, commit {about['git']}", f"# {versions}"]
        lines.append(" ".join(["python", *map(str, about["command"])]))
    code = wr.CodeBlock(code="\n".join(lines), language="yaml")
    return [wr.H1("How to repeat it", collapsed_blocks=[code])]
