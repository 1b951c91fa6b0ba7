"""What a W&B Report says of studies of `probe.py`, each by itself and beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from wandb_workspaces.reports import v2 as wr

from taskdepth.report.wandb_markdown import table
from taskdepth.report.wandb_panels import (
    by_cluster,
    heat_map,
    panel_grid,
    pictures,
    probe_panels,
    runset,
    similarity_panels,
)
from taskdepth.report.wandb_runs import StudyRun, varied
from taskdepth.results.layer_grid import MEASURE_NAME, ROLE_NAMES, across_tasks
from taskdepth.results.regions import number_of_regions, region_names
from taskdepth.results.wording import counted, spans
from taskdepth.selection.regions import Regions
from taskdepth.types import Role

GAIN = "similarity gain of the experimental model"
ROLES = {str(role): name for role, name in ROLE_NAMES.items()}
ROLES[Role.RANDOM_INIT] = "randomly initialised"


def studies_compared(studies: Sequence[StudyRun]) -> list[Any]:
    """Studies beside each other: a table of their numbers, and their curves in the same panels."""
    rows = [
        [
            study.name,
            str(study.findings.n_tasks),
            _regions_cell(study),
            _best_label_cell(study),
            _gain_cell(study),
            spans(study.findings.blocks) or "–",
        ]
        for study in studies
    ]
    head = ["study", "tasks", "regions (layers)", "best label probe", "gain", "blocks chosen"]
    names = [study.name for study in studies]
    roles = list(dict.fromkeys(role for study in studies for role in study.roles))
    made: list[Any] = [wr.H1("The studies side by side"), wr.MarkdownBlock(text=table(head, rows))]
    if differing := varied(studies):
        made.append(wr.P(f"They differ in {', '.join(differing)}."))
    for role in roles:
        made.append(wr.H3(f"The {ROLES.get(role, role)} model"))
        panels = [*probe_panels(2), *similarity_panels(1, y=1)]
        made.append(panel_grid(runset("all studies", names, role=role), panels))
    return made


def _regions_cell(study: StudyRun) -> str:
    regions = study.selection.regions if study.selection else None
    return ", ".join(f"{name} {a}–{b}" for name, a, b in region_names(regions)) or "none found"


def _best_label_cell(study: StudyRun) -> str:
    if not study.findings.labels:
        return "–"
    found = study.findings.labels[0]
    return f"{found.best:.1%} at layer {found.best_layer} ({ROLES[found.role]})"


def _gain_cell(study: StudyRun) -> str:
    gain = study.findings.gain
    return "–" if gain is None else f"{gain.value:+.2f} at layer {gain.layer}"


def study_blocks(study: StudyRun) -> list[Any]:
    """One study: its probes, its similarities, its regions, and the other figures."""
    findings = study.findings
    compared = [str(role) for role in ROLE_NAMES if role in study.roles]
    shown = " and ".join(ROLES[role] for role in compared)
    made: list[Any] = [
        wr.H1(f"Study {study.name}"),
        wr.P(
            f"{counted(findings.n_tasks, 'task')} in {counted(findings.n_clusters, 'cluster')}, "
            f"{counted(findings.n_layers, 'layer')}; {shown} model"
            f"{'s' if len(compared) > 1 else ''} against {counted(findings.n_controls, 'control model')}."
        ),
        wr.H2("What a linear probe reads, layer by layer"),
        panel_grid(
            runset("probes", [study.name], stages=["probe"]),
            [*probe_panels(3), by_cluster("probe/label/accuracy", "labels, by cluster", y=1)],
        ),
    ]
    if findings.n_controls:
        made += [
            wr.H2("How alike the models are to the control models"),
            wr.P(_similarity_sentence(study)),
            panel_grid(
                runset("similarity", [study.name], stages=["compare"]),
                [
                    *similarity_panels(2),
                    by_cluster(
                        "similarity/vs_control/debiased_cka", f"{MEASURE_NAME}, by cluster", y=1
                    ),
                ],
            ),
        ]
        made += _maps(study)
    made += _regions_section(study)
    if others := [p for p in study.pictures if not p.startswith("similarity_") and p != "regions"]:
        runs = runset("findings", [study.name], stages=["findings"])
        figures = panel_grid(runs, [pictures(others, columns=2, height=20)])
        made.append(wr.H2("Other figures", collapsed_blocks=[figures]))
    return made


def _maps(study: StudyRun) -> list[Any]:
    """Heat maps of both models side by side, and of their difference."""
    side_by_side = [name for name in study.pictures if name.startswith("similarity_")]
    made: list[Any] = []
    runs = runset("findings", [study.name], stages=["findings"])
    if side_by_side:
        made += [
            wr.H2("Task by task: models side by side"),
            panel_grid(
                runs,
                [pictures(side_by_side, columns=len(side_by_side), height=14)],
            ),
        ]
    if study.gain is not None:
        values = study.gain.values
        layer = study.gain.layers[int(np.nanargmax(across_tasks(values, 0.5)))]
        made += [
            wr.H2("Where tuning on all tasks brought the model closer to its control models"),
            wr.P(
                f"Experimental minus pre-trained similarity, {len(study.gain.tasks)} tasks by "
                f"{len(study.gain.layers)} layers: from {np.nanmin(values):+.2f} to "
                f"{np.nanmax(values):+.2f}, above zero in {np.nanmean(values > 0):.0%} of the cells; "
                f"its median over tasks is highest at layer {layer}."
            ),
            panel_grid(
                runs,
                [heat_map(GAIN)],
            ),
        ]
    return made


def _regions_section(study: StudyRun) -> list[Any]:
    if study.selection is None:
        return []
    selection = study.selection
    made: list[Any] = [
        wr.H2("Regions, and where the adapter goes"),
        wr.P(_regions_sentence(selection.regions)),
        wr.CalloutBlock(
            text=f"Adapt blocks {spans(selection.blocks)} of {selection.n_blocks} (counted from 0): "
            f"{selection.reason}"
        ),
        wr.CodeBlock(
            code="from peft import LoraConfig\n\n"
            f"LoraConfig(task_type='CAUSAL_LM', layers_to_transform={list(selection.blocks)})",
            language="python",
        ),
    ]
    if "regions" in study.pictures:
        runs = runset("findings", [study.name], stages=["findings"])
        made.append(panel_grid(runs, [pictures(["regions"], columns=1, height=10)]))
    return made


def _regions_sentence(regions: Regions | None) -> str:
    if regions is None:
        return "Regions were not looked for."
    named = region_names(regions)
    if not named:
        return f"No regions were found: {regions.reason or 'the curves give no evidence of them'}."
    ends = zip(regions.boundaries, regions.intervals, strict=True)
    return (
        "; ".join(f"{name}: layers {first}–{last}" for name, first, last in named)
        + f".{number_of_regions(regions)} Last layers of regions, with 95 % intervals over tasks: "
        + ", ".join(f"{end} ({low}–{high})" for end, (low, high) in ends)
        + "."
    )


def _similarity_sentence(study: StudyRun) -> str:
    parts = [
        f"the {ROLES[found.role]} model goes from {found.first:.2f} at layer {found.first_layer} to "
        f"{found.last:.2f} at layer {found.last_layer}"
        for found in study.findings.similarity
    ]
    if not parts:
        return "No similarity is defined."
    gain = study.findings.gain
    verdict = (
        f" The gain of the first on the second is largest at layer {gain.layer}: {gain.value:+.2f}, "
        f"positive in {gain.n_positive} of {counted(gain.n_tasks, 'task')}."
        if gain is not None
        else ""
    )
    return f"Medians over tasks: {'; '.join(parts)}.{verdict}"
