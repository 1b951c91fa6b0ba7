"""`report.html`: the findings of a run on one page that needs nothing but a browser.

The page holds everything it shows (plotly.js included) and forbids itself any request. Task text is
untrusted: Jinja escapes what is HTML, `_plain` what plotly would take for HTML, and plotly's JSON
writer what would end a script element.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from taskdepth.files import write_text
from taskdepth.layers import depth_of
from taskdepth.results.findings import Findings, Placement, Regions, region_names
from taskdepth.results.layer_grid import (
    COMPARED,
    grid,
)
from taskdepth.results.plots import plots
from taskdepth.results.table import LayerTable

# the 95 % interval of an accuracy near 0.5 is then ± 2·√(0.25/50) = ± 0.14 or wider
SMALL_N = 50


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A row of the table of tasks; None where a task has no label probe or no defined value."""

    task: str
    cluster: str
    n: int
    layer: int | None = None
    accuracy: float | None = None
    lower: float | None = None
    upper: float | None = None
    majority: float | None = None
    control_task: float | None = None


def write_report(
    path: Path,
    table: LayerTable,
    findings: Findings,
    regions: Regions | None,
    selection: Placement | None,
    provenance: Mapping[str, object],
    undefined: Sequence[tuple[str, str]] = (),
    title: str = "At what depth the tasks live",
) -> None:
    """Write the report, in one step, to `path`; `selection.yaml` is taken to lie beside it.

    `undefined` holds pairs of what could not be computed ("rte, layer 3, debiased_cka") and why.
    """
    environment = Environment(
        loader=PackageLoader("taskdepth.results", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        findings=findings,
        plots=plots(table, regions, selection),
        strip=_strip(regions, selection),
        selection=selection,
        snippet=lora_snippet(selection) if selection else "",
        command=reuse_command(path.parent / "selection.yaml"),
        tasks=task_lines(table),
        warnings=caveats(table, undefined),
        provenance=flatten(provenance),
        # written by plotly, and read by a test to hold no closing script tag
        plotly_js=Markup(get_plotlyjs()),
    )
    write_text(path, page)


def lora_snippet(selection: Placement) -> str:
    """Python that adapts the chosen blocks with PEFT alone."""
    blocks = list(selection.blocks)
    return (
        "from peft import LoraConfig\n\n"
        "config = LoraConfig(\n"
        '    task_type="CAUSAL_LM",\n'
        "    r=8,\n"
        "    lora_alpha=16,\n"
        '    target_modules=["q_proj", "v_proj"],  # a list: with a pattern PEFT takes no layers\n'
        f"    layers_to_transform={blocks},  # blocks count from 0\n"
        "    layers_pattern=None,\n"
        ")\n"
    )


def reuse_command(selection_path: Path) -> str:
    """The command that tunes with the placement, quoted for Hydra and for the shell.

    >>> print(reuse_command(Path("runs/lr=0.1/selection.yaml")))
    python train.py adapter=lora 'adapter.blocks_from="runs/lr=0.1/selection.yaml"'
    """
    value = selection_path.as_posix()
    if not re.fullmatch(r"[A-Za-z0-9_./-]+", value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"python train.py adapter=lora {shlex.quote(f'adapter.blocks_from={value}')}"


def task_lines(table: LayerTable) -> tuple[TaskLine, ...]:
    """One line per task, with its label probe at the layer where that is best.

    The experimental model where it was probed, the pre-trained one otherwise.
    """
    probe = {"kind": "probe", "target": "label"}
    probed = set(table.where(**probe, name="accuracy").unique("role"))
    role = next((role for role in COMPARED[::-1] if role in probed), None)
    accuracy = grid(table, **probe, role=role, name="accuracy")
    majority = grid(table, **probe, role=role, name="majority")
    control_task = grid(table, **probe, role=role, name="control_task_accuracy")
    lines = []
    every = grid(_about_one_task(table))
    for task, cluster, n in zip(every.tasks, every.clusters, every.n, strict=True):
        at = accuracy.tasks.index(task) if task in accuracy.tasks else None
        if at is None or not np.isfinite(accuracy.values[at]).any():
            lines.append(TaskLine(task, cluster, int(n.max())))
            continue
        best = int(np.nanargmax(accuracy.values[at]))
        layer = accuracy.layers[best]
        numbers = [accuracy.values[at, best], accuracy.lower[at, best], accuracy.upper[at, best]]
        numbers += [majority.at(task, layer), control_task.at(task, layer)]
        shown = [float(number) if np.isfinite(number) else None for number in numbers]
        lines.append(TaskLine(task, cluster, int(accuracy.n[at, best]), layer, *shown))
    return tuple(lines)


def caveats(
    table: LayerTable, undefined: Sequence[tuple[str, str]] = ()
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What a reader must know before trusting a number: a sentence, and the cases it is about."""
    found: list[tuple[str, tuple[str, ...]]] = []
    by_reason = sorted(undefined, key=lambda pair: pair[1])
    for reason, pairs in groupby(by_reason, key=lambda pair: pair[1]):
        cases = tuple(what for what, _ in pairs)
        found.append((f"Undefined: {reason.rstrip('.')}.", cases))
    missing = sum(bool(np.isnan(row.value)) for row in table)
    if missing and not undefined:
        found.append((f"{missing:,} of {len(table):,} values are undefined (NaN).", ()))
    small = {row.task: row.n for row in _about_one_task(table) if row.n < SMALL_N}
    if small:
        cases = tuple(f"{task}: n = {n}" for task, n in small.items())
        found.append((f"Tasks with fewer than {SMALL_N} examples: {len(small)}.", cases))
    sizes = sorted({row.n for row in table.where(kind="similarity")})
    if len(sizes) > 1:
        found.append(
            (
                f"Similarities rest on {sizes[0]:,} to {sizes[-1]:,} examples: compare a task with "
                "itself over layers, or compare tasks after similarity.match_n.",
                (),
            )
        )
    return tuple(found)


def flatten(content: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and text.

    >>> flatten({"seed": 1, "versions": {"torch": "2.13.0"}})
    [('seed', '1'), ('versions.torch', '2.13.0')]
    """
    lines: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += flatten(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            lines.append((name, text))
    return lines


def _about_one_task(table: LayerTable) -> LayerTable:
    """Without the probes over all tasks, whose recall rows bear the name of a group."""
    return LayerTable(row for row in table if row.target in (None, "label"))


def _strip(regions: Regions | None, selection: Placement | None) -> list[tuple[int, bool, str]]:
    """Each block of the model: its number, whether it is to be adapted, and its region's name."""
    if selection is None:
        return []
    chosen = set(selection.blocks)
    named = region_names(regions)
    region_of = {k: name for name, first, last in named for k in range(first, last + 1)}
    blocks = range(selection.n_blocks)
    return [(block, block in chosen, region_of.get(depth_of(block), "")) for block in blocks]
