"""Evidence for the policies that place adapters: from a layer table, and from the model itself."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from taskdepth.config import PlacementConfig
from taskdepth.data.collate import collate
from taskdepth.data.tokenise import TokenisedRow
from taskdepth.errors import ConfigError, ResultsError
from taskdepth.models import block_scores
from taskdepth.models.budget import BlockCosts
from taskdepth.results.table import LayerTable
from taskdepth.seeds import stable_seed
from taskdepth.selection.evidence import probe_slope, similarity_drop
from taskdepth.selection.placement import LayerSelection
from taskdepth.selection.policies import (
    MODEL_SCORES,
    POLICIES,
    TABLE_SCORES,
    Evidence,
    choose,
)
from taskdepth.selection.regions import Regions, detect_regions
from taskdepth.selection.signals import layer_signals

if TYPE_CHECKING:
    from peft import LoraConfig

Scores = dict[str, Float[np.ndarray, " n_blocks"]]

BATCH_ROWS = 8
DEFAULT_SHARE = 3  # a third of all blocks, where no region says how many


def needed(policies: Sequence[str]) -> set[str]:
    """All that `policies` look at; `inverse` looks at what was chosen before."""
    names = {name for policy in policies for name in POLICIES[policy].needs}
    return names | ({"regions", "gain"} if "chosen" in names else set())


def table_evidence(
    table: LayerTable, names: set[str], *, n_regions: int | None, seed: int
) -> tuple[Regions, Scores]:
    """Regions, and those of the table's scores that are in `names`.

    Raises:
        ResultsError: the table lacks what one of them is made of.
    """
    signals = layer_signals(table)
    regions = detect_regions(
        signals.values,
        n_regions,
        identical=signals.identical,
        resampled=signals.resampled,
        seed=seed,
    )
    scores: Scores = {}
    if "gain" in names:
        scores["gain"] = signals.gain
    if "similarity_drop" in names:
        scores["similarity_drop"] = similarity_drop(signals)
    if "probe_slope" in names:
        scores["probe_slope"] = probe_slope(table)
    return regions, scores


def model_scores(
    lm: Any, names: set[str], rows: Sequence[TokenisedRow], config: LoraConfig
) -> Scores:
    """Those of the model's own scores that are in `names`; `rows` are what it reads for them."""
    scores: Scores = {}
    if "adjacent_cka" in names:
        prompts = [row.input_ids[: row.n_prompt_tokens] for row in rows]
        scores["adjacent_cka"] = block_scores.adjacent_cka(lm, prompts)
    if "gradient_norm" in names:
        ordered = sorted(rows, key=lambda row: row.n_tokens)
        batches = (
            collate(part, [0] * len(part))
            for i in range(0, len(ordered), BATCH_ROWS)
            if (part := ordered[i : i + BATCH_ROWS])
        )
        scores["gradient_norm"] = block_scores.gradient_norm(lm, config, batches)
    if "weight_snr" in names:
        scores["weight_snr"] = block_scores.weight_snr(lm)
    return scores


def calibration_rows(rows: Sequence[TokenisedRow], n_rows: int, seed: int) -> list[TokenisedRow]:
    """Some training rows, drawn over all tasks, the same ones for the same seed."""
    return random.Random(stable_seed(seed, "placement")).sample(rows, min(n_rows, len(rows)))


def study_evidence(
    placement: PlacementConfig, n_blocks: int, seed: int
) -> tuple[Regions | None, Scores]:
    """What the probe.py run `placement.study` found, of what the policies need.

    Raises:
        ResultsError: there is no such run, or it is about a model of another depth.
    """
    names = needed(placement.policies)
    if placement.study is None or not names & {"regions", *TABLE_SCORES}:
        return None, {}
    path = Path(placement.study) / "layers.parquet"
    table = LayerTable.read(path)
    if table.n_blocks != n_blocks:
        raise ResultsError(f"{path} is about {table.n_blocks} blocks, this model has {n_blocks}")
    return table_evidence(table, names, n_regions=placement.n_regions, seed=seed)


def place(
    placement: PlacementConfig,
    model: str,
    costs: BlockCosts,
    budget: int,
    regions: Regions | None,
    scores: Scores,
) -> tuple[dict[str, dict[int, LayerSelection]], dict[str, str]]:
    """Policy → seed → blocks with their ranks within `budget`; and why some policies choose nothing."""
    n_blocks = len(costs.fixed)
    evidence = Evidence(
        n_blocks,
        regions,
        placement.region,
        placement.k or _default_k(regions, placement.region, n_blocks),
        placement.blocks or (),
        scores=scores,
    )
    if "inverse" in placement.policies:
        found = regions is not None and regions.has(placement.region)
        evidence = replace(
            evidence, chosen=choose("region" if found else "top_gain", evidence, model).blocks
        )
    placed: dict[str, dict[int, LayerSelection]] = {}
    left_out: dict[str, str] = {}
    for policy in placement.policies:
        try:
            placed[policy] = {
                seed: _with_ranks(
                    choose(policy, replace(evidence, seed=seed), model), costs, budget
                )
                for seed in placement.seeds
            }
        except ConfigError as error:
            left_out[policy] = str(error)
    if placement.reference in left_out:
        raise ConfigError(left_out[placement.reference])
    if len(placed) < 2:
        raise ConfigError(f"nothing to compare: {'; '.join(left_out.values())}")
    return placed, left_out


def needs_model(policies: Sequence[str]) -> bool:
    """Whether the model's own scores are looked at."""
    return bool(needed(policies) & set(MODEL_SCORES))


def _default_k(regions: Regions | None, region: str, n_blocks: int) -> int:
    if regions is not None and regions.has(region):
        return len(regions.layers(region))
    return max(1, n_blocks // DEFAULT_SHARE)


def _with_ranks(selection: LayerSelection, costs: BlockCosts, budget: int) -> LayerSelection:
    ranks: Mapping[int, int] = costs.ranks(selection.blocks, budget)
    return replace(selection, rank_pattern=ranks)
