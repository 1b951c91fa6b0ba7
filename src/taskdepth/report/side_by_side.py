"""The findings of several runs, one line for each number that tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskdepth.report.labels import ROLES
from taskdepth.report.study import Study
from taskdepth.results.findings import Findings
from taskdepth.results.regions import region_names
from taskdepth.results.wording import counted, spans

NOTHING = "–"


def side_by_side(studies: Sequence[Study]) -> list[tuple[str, list[str]]]:
    """Lines of a table: what it is, and how it is in each run."""
    of_findings: dict[str, Callable[[Findings], str]] = {
        "measured": _measured,
        "task identity, best layer": _identity,
        "label probes, best layer": _labels,
        "similarity to the control models, first to last layer": _similarity,
        "largest gain over the pre-trained model": _gain,
    }
    lines = [
        (what, [say(study.findings) for study in studies]) for what, say in of_findings.items()
    ]
    return [
        *lines,
        ("regions", [_regions(study) for study in studies]),
        ("blocks to adapt", [_blocks(study) for study in studies]),
    ]


def _measured(found: Findings) -> str:
    return f"{counted(found.n_tasks, 'task')}, {counted(found.n_layers, 'layer')}"


def _identity(found: Findings) -> str:
    best = found.identity
    return NOTHING if best is None else f"{best.accuracy:.1%} at layer {best.best_layer}"


def _labels(found: Findings) -> str:
    return (
        "; ".join(
            f"{ROLES[best.role]}: {best.best:.1%} at layer {best.best_layer}, "
            f"majority class {best.majority:.1%}, median over {counted(best.n_tasks, 'task')}"
            for best in found.labels
        )
        or NOTHING
    )


def _similarity(found: Findings) -> str:
    return (
        "; ".join(
            f"{ROLES[shown.role]}: {shown.first:.2f} to {shown.last:.2f}"
            for shown in found.similarity
        )
        or NOTHING
    )


def _gain(found: Findings) -> str:
    gain = found.gain
    if gain is None:
        return NOTHING
    return (
        f"{gain.value:+.2f} at layer {gain.layer}, in {gain.n_positive} of "
        f"{counted(gain.n_tasks, 'task')}"
    )


def _regions(study: Study) -> str:
    if study.regions is None:
        return NOTHING
    named = region_names(study.regions)
    return ", ".join(f"{name} {first}–{last}" for name, first, last in named) or "none found"


def _blocks(study: Study) -> str:
    chosen = study.selection
    return NOTHING if chosen is None else f"{spans(chosen.blocks)} of {chosen.n_blocks}"
