"""From a `ProbeResult` to rows of the layer table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from taskdepth.probing.probes import ProbeResult
from taskdepth.results.table import Row, pooled_name


def to_rows(result: ProbeResult, seed: int) -> Iterator[Row]:
    """One row per score and depth; poolings other than the last token are a suffix of the name."""
    scores = {
        "control_task_accuracy": result.control_task_accuracy,
        "selectivity": result.selectivity,
        "l2": result.l2,
    }
    for depth in range(len(result.accuracy)):
        accuracy = Row(
            model=result.model,
            role=result.role,
            task=result.task,
            cluster=result.cluster,
            depth=depth,
            kind="probe",
            target=result.target,
            name=pooled_name("accuracy", result.pooling),
            value=float(result.accuracy[depth]),
            lower=float(result.lower[depth]),
            upper=float(result.upper[depth]),
            n=result.n,
            seed=seed,
        )
        yield accuracy
        plain = replace(accuracy, lower=None, upper=None)
        for name, values in scores.items():
            name = pooled_name(name, result.pooling)
            yield replace(plain, name=name, value=float(values[depth]))
        majority = pooled_name("majority", result.pooling)
        yield replace(plain, name=majority, value=result.majority)
        for recall in result.recalls:
            yield replace(
                plain,
                task=recall.task,
                cluster=recall.cluster,
                name=pooled_name("recall", result.pooling),
                value=float(recall.value[depth]),
                n=recall.n,
            )
