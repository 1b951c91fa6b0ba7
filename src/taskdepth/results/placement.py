"""What a placement study found: each policy against the reference, and whether one of them wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from taskdepth.errors import ResultsError
from taskdepth.files import replacing
from taskdepth.layers import depth_of
from taskdepth.results.paired import ERROR, Interval, PairedMeans
from taskdepth.results.wording import counted, spans

SCHEMA_VERSION = 1

SCHEMA = pa.schema(
    [
        ("policy", pa.string()),
        ("seed", pa.int64()),
        ("task", pa.string()),
        ("cluster", pa.string()),
        ("score", pa.string()),
        ("value", pa.float64()),
        ("untuned", pa.float64()),
    ],
    metadata={"taskdepth.placement.schema": str(SCHEMA_VERSION)},
)

SCORE_NAMES = {
    "loss": "test loss",
    "exact_match": "exact match",
    "rank_accuracy": "rank accuracy",
}
SIGNS = {"loss": -1.0, "exact_match": 1.0, "rank_accuracy": 1.0}  # of what is better

ByTask = Mapping[str, Mapping[str, float]]  # task → score → value


@dataclass(frozen=True, slots=True)
class Fit:
    """One policy trained with one seed. `tokens` are those it learnt from, `scores` those of test rows."""

    policy: str
    seed: int
    blocks: tuple[int, ...]
    ranks: tuple[int, ...]
    parameters: int
    steps: int
    tokens: int
    seconds: float
    steps_per_s: float
    scores: ByTask


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One policy over all seeds and tasks.

    `gain`: how much better the deciding score is than the reference's, in intervals that hold for all
    policies together; `over_untuned` than before any tuning. `time_saved` is the share of the
    reference's seconds, its interval the smallest and the largest of the seeds. `clusters`: the gain
    by cluster, each interval by itself. `draws_blocks`: another choice for every seed.
    """

    policy: str
    reason: str
    blocks: tuple[int, ...]
    draws_blocks: bool
    ranks: tuple[int, int]
    parameters: int
    scores: Mapping[str, float]
    over_untuned: float
    gain: Interval
    seconds: float
    steps_per_s: float
    time_saved: Interval
    clusters: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class PlacementFindings:
    """The lines, best first, and what may be said of them. `winner`: None where the intervals name none."""

    score: str
    reference: str
    n_tasks: int
    seeds: tuple[int, ...]
    steps: int
    tokens: tuple[int, ...]
    lines: tuple[PolicyLine, ...]
    winner: str | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA_VERSION, **asdict(self)}


def summarise(
    fits: Sequence[Fit],
    untuned: ByTask,
    clusters: Mapping[str, str],
    reasons: Mapping[str, str],
    *,
    reference: str,
    score: str,
) -> PlacementFindings:
    """Compare all policies of `fits` by `score`; `clusters` are those of the tasks.

    Raises:
        ResultsError: a policy lacks a seed, the policies did not learn from the same tokens, or no task
            has the score.
    """
    policies = list(dict.fromkeys(fit.policy for fit in fits))
    by_key = {(fit.policy, fit.seed): fit for fit in fits}
    seeds = sorted({fit.seed for fit in fits})
    _check_equal(by_key, policies, seeds)
    tasks = [task for task in untuned if score in untuned[task]]
    if not tasks:
        raise ResultsError(f"no task has the score {score}")
    better = _grid(by_key, policies, seeds, tasks, score) * SIGNS[score]
    before = SIGNS[score] * np.array([untuned[task][score] for task in tasks])
    all_tasks = PairedMeans(better, n_comparisons=len(policies) - 1)
    of_cluster = {
        cluster: PairedMeans(better[:, :, [clusters[task] == cluster for task in tasks]])
        for cluster in dict.fromkeys(clusters[task] for task in tasks)
    }
    at = policies.index(reference)
    of_reference = [by_key[reference, seed] for seed in seeds]
    lines = [
        _line(
            [by_key[policy, seed] for seed in seeds],
            of_reference,
            reasons[policy],
            over_untuned=float(all_tasks.means[i] - before.mean()),
            gain=all_tasks.difference(i, at),
            clusters={name: means.difference(i, at) for name, means in of_cluster.items()},
        )
        for i, policy in enumerate(policies)
    ]
    winner, verdict = _verdict(lines, all_tasks, reference, score, len(tasks), len(seeds))
    return PlacementFindings(
        score=score,
        reference=reference,
        n_tasks=len(tasks),
        seeds=tuple(seeds),
        steps=fits[0].steps,
        tokens=tuple(fit.tokens for fit in of_reference),
        lines=tuple(sorted(lines, key=lambda line: -line.gain.value)),
        winner=winner,
        verdict=verdict,
    )


def write_rows(
    path: Path, fits: Sequence[Fit], untuned: ByTask, clusters: Mapping[str, str]
) -> None:
    """Every score of every fit as one row of a Parquet file, in one step."""
    rows = [
        {
            "policy": fit.policy,
            "seed": fit.seed,
            "task": task,
            "cluster": clusters[task],
            "score": score,
            "value": value,
            "untuned": untuned[task][score],
        }
        for fit in fits
        for task, scores in fit.scores.items()
        for score, value in scores.items()
    ]
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), partial)


def _check_equal(
    by_key: Mapping[tuple[str, int], Fit], policies: Sequence[str], seeds: Sequence[int]
) -> None:
    for seed in seeds:
        if missing := [policy for policy in policies if (policy, seed) not in by_key]:
            raise ResultsError(f"policy {missing[0]} was not trained with seed {seed}")
        learnt = {(by_key[p, seed].steps, by_key[p, seed].tokens) for p in policies}
        if len(learnt) > 1:
            raise ResultsError(
                f"with seed {seed} the policies did not learn from the same steps and tokens: {learnt}"
            )


def _grid(
    by_key: Mapping[tuple[str, int], Fit],
    policies: Sequence[str],
    seeds: Sequence[int],
    tasks: Sequence[str],
    score: str,
) -> Float[np.ndarray, "policies seeds tasks"]:
    return np.array(
        [[[by_key[p, s].scores[t][score] for t in tasks] for s in seeds] for p in policies]
    )


def _line(
    fits: Sequence[Fit],
    references: Sequence[Fit],
    reason: str,
    *,
    over_untuned: float,
    gain: Interval,
    clusters: Mapping[str, Interval],
) -> PolicyLine:
    saved = [1 - fit.seconds / other.seconds for fit, other in zip(fits, references, strict=True)]
    ranks = [rank for fit in fits for rank in fit.ranks]
    names = dict.fromkeys(
        score for fit in fits for of_task in fit.scores.values() for score in of_task
    )
    return PolicyLine(
        policy=fits[0].policy,
        reason=reason,
        blocks=fits[0].blocks,
        draws_blocks=len({fit.blocks for fit in fits}) > 1,
        ranks=(min(ranks), max(ranks)),
        parameters=fits[0].parameters,
        scores={
            name: float(
                np.mean([s[name] for fit in fits for s in fit.scores.values() if name in s])
            )
            for name in names
        },
        over_untuned=over_untuned,
        gain=gain,
        seconds=median(fit.seconds for fit in fits),
        steps_per_s=median(fit.steps_per_s for fit in fits),
        time_saved=Interval(median(saved), min(saved), max(saved)),
        clusters=clusters,
    )


def _verdict(
    lines: Sequence[PolicyLine],
    means: PairedMeans,
    reference: str,
    score: str,
    n_tasks: int,
    n_seeds: int,
) -> tuple[str | None, str]:
    """The winner, if one is ahead of every other by its interval, and what may be said in a sentence."""
    best = int(np.argmax(means.means))
    about = f"{SCORE_NAMES[score]}, {counted(n_tasks, 'task')}, {counted(n_seeds, 'seed')}"
    # who chose the same blocks trained the same model, and is no rival
    same = [
        line.policy for line in lines if line.blocks == lines[best].blocks and not line.draws_blocks
    ]
    rivals = [i for i, line in enumerate(lines) if i != best and line.policy not in same]
    if not rivals:
        return None, "No winner: all policies chose the same blocks."
    near = [lines[i].policy for i in rivals if means.difference(best, i).lower <= 0]
    name = " = ".join(same) if lines[best].policy in same else lines[best].policy
    if not near:
        return lines[best].policy, (
            f"The winner is {name}: better than each of the {len(rivals)} others, at "
            f"{1 - ERROR:.0%} for all of them together ({about})."
        )
    sure = [line.policy for line in lines if line.gain.lower > 0 and line.policy != reference]
    worse = [line.policy for line in lines if line.gain.upper < 0]
    sentences = [
        f"No winner: {name} has the best mean, but its lead over {', '.join(near)} is within what "
        f"other tasks and seeds might give ({about})."
    ]
    if sure:
        sentences.append(f"Better than {reference} by its 95 % interval: {', '.join(sure)}.")
    if worse:
        sentences.append(f"Worse than {reference} by its 95 % interval: {', '.join(worse)}.")
    if n_seeds == 1:
        sentences.append("One seed says nothing about other seeds.")
    return None, " ".join(sentences)


def layers_text(blocks: Sequence[int]) -> str:
    """The layers of `blocks`, counted from 1.

    >>> layers_text([0, 1, 4])
    '1–2, 5'
    """
    return spans(map(depth_of, blocks))
