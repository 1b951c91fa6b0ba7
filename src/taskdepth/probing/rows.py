"""From `ProbeResult`s to rows of the layer table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from taskdepth.probing.result import ProbeResult
from taskdepth.probing.transfer import Transfer
from taskdepth.results.table import Row, pooled_name


def to_rows(result: ProbeResult, seed: int) -> Iterator[Row]:
    """One row per score and depth; poolings other than the last token are a suffix of the name."""
    scores = {
        "control_task_accuracy": result.control_task_accuracy,
        "selectivity": result.selectivity,
        "l2": result.l2,
        **result.scores,
    }
    constants = {"majority": result.majority}
    if result.coverage is not None:
        constants["coverage"] = result.coverage
    for depth in range(len(result.accuracy)):
        accuracy = _row(result, depth, seed)
        yield accuracy
        plain = replace(accuracy, lower=None, upper=None)
        for name, values in scores.items():
            name = pooled_name(name, result.pooling)
            yield replace(plain, name=name, value=float(values[depth]))
        for name, value in constants.items():
            yield replace(plain, name=pooled_name(name, result.pooling), value=value)
        yield from _description_length(plain, result)
        for recall in result.recalls:
            yield replace(
                plain,
                task=recall.task,
                cluster=recall.cluster,
                name=pooled_name("recall", result.pooling),
                value=float(recall.value[depth]),
                n=recall.n,
            )


def bag_rows(result: ProbeResult, bag: ProbeResult, seed: int) -> Iterator[Row]:
    """The accuracy of the prompt's tokens beside `result`: one number, at every depth."""
    for depth in range(len(result.accuracy)):
        yield replace(
            _row(result, depth, seed),
            name=pooled_name("bag_of_tokens", result.pooling),
            value=float(bag.accuracy[0]),
            lower=float(bag.lower[0]),
            upper=float(bag.upper[0]),
        )


def transfer_rows(result: ProbeResult, transfer: Transfer, seed: int) -> Iterator[Row]:
    """How the probes of another task do on the test rows of `result`."""
    for depth, accuracy in enumerate(transfer.accuracy.tolist()):
        yield replace(
            _row(result, depth, seed),
            name=pooled_name(f"transfer_from:{transfer.source}", result.pooling),
            value=accuracy,
            lower=float(transfer.lower[depth]),
            upper=float(transfer.upper[depth]),
        )


def _row(result: ProbeResult, depth: int, seed: int) -> Row:
    """The accuracy at one depth."""
    return Row(
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


def _description_length(plain: Row, result: ProbeResult) -> Iterator[Row]:
    """The code length is that of the training rows: they are the `n` of its rows."""
    found = result.description_length
    if found is None:
        return
    for name, values in (("mdl_bits", found.bits), ("mdl_compression", found.compression)):
        name = pooled_name(name, result.pooling)
        yield replace(plain, name=name, value=float(values[plain.depth]), n=found.n)
