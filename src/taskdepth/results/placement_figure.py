"""The picture of a placement study: gains with their intervals, and what each policy costs in time."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taskdepth.files import replacing
from taskdepth.results.drawing import ADAPTED, DPI, GREY, NORMAL, SMALL
from taskdepth.results.placement import SCORE_NAMES, PlacementFindings, PolicyLine


def save_figure(findings: PlacementFindings, path: Path) -> None:
    """Write the PNG in one step."""
    figure = placement_figure(findings)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=DPI, format="png", bbox_inches="tight")


def placement_figure(findings: PlacementFindings) -> Figure:
    """One row per policy, the best on top: gain, seconds, and the layers it adapts."""
    lines = findings.lines
    n_blocks = 1 + max(block for line in lines for block in line.blocks)
    figure = Figure(figsize=(11, 1.4 + 0.34 * len(lines)), layout="constrained")
    places, gains, times = figure.subplots(1, 3, sharey=True, width_ratios=(3, 4, 3))
    rows = range(len(lines))
    for row, line in zip(rows, lines, strict=True):
        _draw_gain(gains, row, line, findings)
        times.barh(row, line.seconds, height=0.6, color=_colour(line, findings))
        label = "" if line.policy == findings.reference else f" {line.time_saved.value:+.0%}"
        times.text(line.seconds, row, label, va="center", fontsize=SMALL)
        if line.draws_blocks:
            places.text(
                n_blocks / 2 + 0.5,
                row,
                "other ones for each seed",
                ha="center",
                va="center",
                fontsize=SMALL,
            )
        else:
            layers = [block + 1 for block in line.blocks]
            places.barh(
                [row] * len(layers),
                0.9,
                left=[k - 0.45 for k in layers],
                height=0.6,
                color=_colour(line, findings),
            )
    gains.axvline(0, color=GREY, linewidth=0.8)
    gains.set_xlabel(
        f"gain on {findings.reference} in {SCORE_NAMES[findings.score]} (right is better)",
        fontsize=NORMAL,
    )
    times.set_xlabel(f"seconds; time saved on {findings.reference}", fontsize=NORMAL)
    times.margins(x=0.18)
    places.set_xlim(0.4, n_blocks + 0.6)
    places.set_xlabel("adapted layers", fontsize=NORMAL)
    places.set_yticks(list(rows), [line.policy for line in lines], fontsize=NORMAL)
    places.invert_yaxis()
    for axes in (places, gains, times):
        axes.tick_params(axis="x", labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(findings.verdict, fontsize=SMALL, wrap=True)
    return figure


def _draw_gain(axes: Axes, row: int, line: PolicyLine, findings: PlacementFindings) -> None:
    gain = line.gain
    axes.errorbar(
        gain.value,
        row,
        xerr=[[max(0.0, gain.value - gain.lower)], [max(0.0, gain.upper - gain.value)]],
        fmt="o",
        markersize=4,
        capsize=3,
        color=_colour(line, findings),
    )


def _colour(line: PolicyLine, findings: PlacementFindings) -> str:
    return ADAPTED if line.policy == findings.winner else GREY
