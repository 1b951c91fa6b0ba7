"""From a `ProbeResult` to rows of the layer table."""

from __future__ import annotations

from collections.abc import Iterator

from taskdepth.probing.probes import ProbeResult
from taskdepth.results.table import Row


def to_rows(result: ProbeResult, seed: int) -> Iterator[Row]:
    """One row per score and depth; poolings other than the last token are a suffix of the name."""
    suffix = "" if result.pooling == "last_token" else f"@{result.pooling}"
    scores = {
        "accuracy": result.accuracy,
        "control_task_accuracy": result.control_task_accuracy,
        "selectivity": result.selectivity,
        "l2": result.l2,
    }
    for depth in range(len(result.accuracy)):
        about = {
            "model": result.model,
            "role": result.role,
            "depth": depth,
            "kind": "probe",
            "target": result.target,
            "seed": seed,
        }
        own = {**about, "task": result.task, "cluster": result.cluster, "n": result.n}
        for name, values in scores.items():
            bounds = (
                {"lower": float(result.lower[depth]), "upper": float(result.upper[depth])}
                if name == "accuracy"
                else {}
            )
            yield Row(**own, **bounds, name=name + suffix, value=float(values[depth]))  # type: ignore[arg-type]
        yield Row(**own, name="majority" + suffix, value=result.majority)  # type: ignore[arg-type]
        for recall in result.recalls:
            yield Row(
                **about,  # type: ignore[arg-type]
                task=recall.task,
                cluster=recall.cluster,
                name="recall" + suffix,
                value=float(recall.value[depth]),
                n=recall.n,
            )
