"""The contents of a W&B Report: prose with the numbers filled in, and panels over the runs' curves.

Panels find runs by the settings that `taskdepth` records in each: `name` and `stage`. Prose is text, never
markup: names of tasks and runs are not ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from wandb_workspaces.reports import v2 as wr

from taskdepth.report.wandb_runs import PlacementRun, Runs, StudyRun, TunedRun, varied
from taskdepth.results.findings import counted, number_of_regions, region_names, spans
from taskdepth.results.layer_grid import MEASURE_NAME, ROLE_NAMES, across_tasks
from taskdepth.results.layer_log import HEAT_MAP
from taskdepth.types import Role

SCORES = {"loss": "loss", "exact_match": "exact match", "rank_accuracy": "accuracy"}
COLUMNS = 24  # of W&B's grid
GAIN = "similarity gain of the experimental model"
ROLES = {str(role): name for role, name in ROLE_NAMES.items()}
ROLES[Role.RANDOM_INIT] = "randomly initialised"


def blocks(runs: Runs) -> list[Any]:
    """The whole report."""
    studies, tuned = runs.studies, runs.tuned
    made: list[Any] = [wr.TableOfContents(), *_summary(studies, tuned)]
    if len(studies) > 1:
        made += _studies_compared(studies)
    for study in studies:
        made += _study(study)
    for placement in runs.placements:
        made += _placement_study(placement)
    if tuned:
        made += _tuned_models(tuned)
    if len(tuned) > 1:
        made += _sweep(tuned)
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


def _studies_compared(studies: Sequence[StudyRun]) -> list[Any]:
    """Studies beside each other: a table of their numbers, and their curves in the same panels."""
    rows = [
        [
            study.name,
            str(study.findings.n_tasks),
            _regions(study),
            _best_label(study),
            _gain(study),
            spans(study.findings.blocks) or "–",
        ]
        for study in studies
    ]
    head = ["study", "tasks", "regions (layers)", "best label probe", "gain", "blocks chosen"]
    names = [study.name for study in studies]
    roles = list(dict.fromkeys(role for study in studies for role in study.roles))
    made: list[Any] = [wr.H1("The studies side by side"), wr.MarkdownBlock(text=_table(head, rows))]
    if differing := varied(studies):
        made.append(wr.P(f"They differ in {', '.join(differing)}."))
    for role in roles:
        made.append(wr.H3(f"The {ROLES.get(role, role)} model"))
        panels = [*_probe_panels(2), *_similarity_panels(1, y=1)]
        made.append(_grid([_runset("all studies", names, role=role)], panels))
    return made


def _study(study: StudyRun) -> list[Any]:
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
        _grid(
            [_runset("probes", [study.name], stages=["probe"])],
            [*_probe_panels(3), _by_cluster("probe/label/accuracy", "labels, by cluster", y=1)],
        ),
    ]
    if findings.n_controls:
        made += [
            wr.H2("How alike the models are to the control models"),
            wr.P(_similarity_sentence(study)),
            _grid(
                [_runset("similarity", [study.name], stages=["compare"])],
                [
                    *_similarity_panels(2),
                    _by_cluster(
                        "similarity/vs_control/debiased_cka", f"{MEASURE_NAME}, by cluster", y=1
                    ),
                ],
            ),
        ]
        made += _maps(study)
    made += _regions_section(study)
    if others := [p for p in study.pictures if not p.startswith("similarity_") and p != "regions"]:
        runs = [_runset("findings", [study.name], stages=["findings"])]
        figures = _grid(runs, [_pictures(others, columns=2, height=20)])
        made.append(wr.H2("Other figures", collapsed_blocks=[figures]))
    return made


def _maps(study: StudyRun) -> list[Any]:
    """Heat maps of both models side by side, and of their difference."""
    side_by_side = [name for name in study.pictures if name.startswith("similarity_")]
    made: list[Any] = []
    runs = [_runset("findings", [study.name], stages=["findings"])]
    if side_by_side:
        made += [
            wr.H2("Task by task: models side by side"),
            _grid(
                runs,
                [
                    _pictures(side_by_side, columns=len(side_by_side), height=14),
                ],
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
            _grid(
                runs,
                [
                    wr.CustomChart(
                        query={"summaryTable": {"tableKey": _table_key(GAIN)}},
                        chart_name=HEAT_MAP,
                        chart_fields={axis: axis for axis in ("x_axis", "y_axis", "values")},
                        chart_strings={"title": GAIN},
                        layout=wr.Layout(w=COLUMNS, h=14),
                    )
                ],
            ),
        ]
    return made


def _regions_section(study: StudyRun) -> list[Any]:
    if study.selection is None:
        return []
    selection = study.selection
    regions = selection.regions
    named = region_names(regions)
    if regions is None:
        text = "Regions were not looked for."
    elif not named:
        text = f"No regions were found: {regions.reason or 'the curves give no evidence of them'}."
    else:
        ends = zip(regions.boundaries, regions.intervals, strict=True)
        text = (
            "; ".join(f"{name}: layers {first}–{last}" for name, first, last in named)
            + f".{number_of_regions(regions)} Last layers of regions, with 95 % intervals over tasks: "
            + ", ".join(f"{end} ({low}–{high})" for end, (low, high) in ends)
            + "."
        )
    made: list[Any] = [
        wr.H2("Regions, and where the adapter goes"),
        wr.P(text),
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
        runs = [_runset("findings", [study.name], stages=["findings"])]
        made.append(_grid(runs, [_pictures(["regions"], columns=1, height=10)]))
    return made


def _placement_study(run: PlacementRun) -> list[Any]:
    """Policies against each other: the verdict, a line each, and the figure."""
    found = run.found
    score = SCORES.get(found["score"], found["score"])
    head = ["policy", "blocks", "weights that learn", score, f"gain on {found['reference']}"]
    rows = [
        [
            line["policy"] + (" (wins)" if line["policy"] == found["winner"] else ""),
            "other ones for each seed" if line["draws_blocks"] else spans(line["blocks"]),
            _number(line["parameters"], ",.0f"),
            _number(line["scores"][found["score"]], ".3f"),
            "reference" if line["policy"] == found["reference"] else _interval(line["gain"]),
        ]
        for line in found["lines"]
    ]
    runs = [_runset("placement study", [run.name])]
    return [
        wr.H1(f"Placement study {run.name}"),
        wr.CalloutBlock(text=found["verdict"]),
        wr.MarkdownBlock(text=_table(head, rows)),
        wr.P(
            f"{counted(found['n_tasks'], 'task')}, seeds {', '.join(map(str, found['seeds']))}, "
            f"{found['steps']} steps for each policy, as many weights as adapters of all blocks. Gains "
            "above 0 are better; the 95 % intervals hold for all policies together."
        ),
        _grid(runs, [_pictures(["placement"], columns=1, height=12)]),
    ]


def _tuned_models(tuned: Sequence[TunedRun]) -> list[Any]:
    """The tuned models: how good each is, with which weights, in which blocks."""
    head = ["run", "role", "adapter", "blocks", "weights that learn", "validation loss", "accuracy"]
    rows = [
        [
            run.name,
            str(run.settings["role"]),
            str(run.settings["adapter"]["name"]),
            spans(run.blocks) or "–",
            _number(run.trainable_parameters, ",.0f"),
            _number(run.mean("loss"), ".3f"),
            _number(run.mean("rank_accuracy"), ".1%"),
        ]
        for run in tuned
    ]
    made: list[Any] = [
        wr.H1("Tuned models, and where their adapters are"),
        wr.MarkdownBlock(text=_table(head, rows)),
    ]
    # control models are many models: they stand in the table, and not in the contest
    losses = {run.name: run.mean("loss") for run in tuned if "controls" not in run.metrics}
    if known := {name: loss for name, loss in losses.items() if loss is not None}:
        best = min(known, key=known.__getitem__)
        adapted = next(run.blocks for run in tuned if run.name == best)
        where = f", with adapters in blocks {spans(adapted)}" if adapted else ""
        text = f"The lowest validation loss, {known[best]:.3f}, is that of {best}{where}."
        made.append(wr.P(f"{text} It is the mean over tasks of each task's own loss."))
    made += [wr.P(sentence) for sentence in against_controls(tuned)]
    names = [run.name for run in tuned]
    made.append(
        _grid(
            [_runset("tuned models", names)],
            [
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
            ],
        )
    )
    return made


def against_controls(tuned: Sequence[TunedRun]) -> list[str]:
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


def _sweep(tuned: Sequence[TunedRun]) -> list[Any]:
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
        _grid(
            [_runset("sweep", [run.name for run in tuned])],
            [
                wr.ParallelCoordinatesPlot(columns=columns, layout=wr.Layout(w=COLUMNS, h=10)),
                wr.ParameterImportancePlot(
                    with_respect_to="validation_loss", layout=wr.Layout(y=10, w=12, h=8)
                ),
                wr.RunComparer(diff_only="split", layout=wr.Layout(x=12, y=10, w=12, h=8)),
            ],
        ),
    ]


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
    grid = _grid([_runset("models", names, stages=["probe", "compare"])], panels)
    return [wr.H1("Single tasks", collapsed_blocks=[grid])]


def _provenance(studies: Sequence[StudyRun]) -> list[Any]:
    lines = []
    for study in studies:
        about = study.provenance
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        lines += [f"# {study.name}, commit {about['git']}", f"# {versions}"]
        lines.append(" ".join(["python", *map(str, about["command"])]))
    code = wr.CodeBlock(code="\n".join(lines), language="yaml")
    return [wr.H1("How to repeat it", collapsed_blocks=[code])]


def _probe_panels(n: int) -> list[Any]:
    keys = {
        "probe/label/accuracy": "label probes: accuracy",
        "probe/task/accuracy": "task identity: accuracy",
        "probe/label/selectivity": "label probes: selectivity",
    }
    return _line_panels(keys, n)


def _similarity_panels(n: int, y: int = 0) -> list[Any]:
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


def _by_cluster(key: str, title: str, y: int) -> Any:
    return wr.LinePlot(
        title=title,
        x="layer",
        metric_regex=f"{key}/.*",
        title_x="layer",
        layout=wr.Layout(y=8 * y, w=COLUMNS, h=10),
    )


def _pictures(names: Sequence[str], *, columns: int, height: int) -> Any:
    return wr.MediaBrowser(
        media_keys=[f"figures/{name}" for name in names],
        num_columns=columns,
        layout=wr.Layout(w=COLUMNS, h=height),
    )


def _grid(runsets: list[Any], panels: list[Any]) -> Any:
    return wr.PanelGrid(runsets=runsets, panels=panels)


def _runset(
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


def _table_key(title: str) -> str:
    return f"Custom Chart Tables/heat_maps/{title}_table"


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


def _regions(study: StudyRun) -> str:
    regions = study.selection.regions if study.selection else None
    return ", ".join(f"{name} {a}–{b}" for name, a, b in region_names(regions)) or "none found"


def _best_label(study: StudyRun) -> str:
    if not study.findings.labels:
        return "–"
    found = study.findings.labels[0]
    return f"{found.best:.1%} at layer {found.best_layer} ({ROLES[found.role]})"


def _gain(study: StudyRun) -> str:
    gain = study.findings.gain
    return "–" if gain is None else f"{gain.value:+.2f} at layer {gain.layer}"


def _interval(about: Mapping[str, float]) -> str:
    return f"{about['value']:+.3f} [{about['lower']:+.3f}, {about['upper']:+.3f}]"


def _number(value: Any, style: str) -> str:
    return "–" if value is None else format(value, style)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table in which names stay names."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    if text == "---":
        return text
    # HTML and Markdown mean something to W&B, the names of runs should not
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|!~$" else c for c in text)
