"""Policies: rules that choose the blocks an adapter should change, rivals among them.

Each rule is a function of `Evidence` and is registered with what it needs. The rules of this
package follow what a study found; the others are what a study has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from taskdepth.errors import ConfigError, nearest
from taskdepth.layers import block_of, depth_of
from taskdepth.selection.placement import LayerSelection, in_words
from taskdepth.selection.regions import Regions

Scores = Mapping[str, Float[np.ndarray, " n_blocks"]]

# Block scores by name: those that the layer table holds, and those that a model itself gives
TABLE_SCORES = ("gain", "probe_slope", "similarity_drop")
MODEL_SCORES = ("adjacent_cka", "gradient_norm", "weight_snr")


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that a policy may look at; each takes what it needs.

    `chosen`: the blocks that `inverse` turns round; `blocks`: those asked for by hand. `scores` rank
    the blocks, by the name of what was measured; NaN where it is undefined.
    """

    n_blocks: int
    regions: Regions | None = None
    region: str = "transition"
    k: int | None = None
    blocks: Sequence[int] = ()
    chosen: Sequence[int] = ()
    seed: int = 0
    scores: Scores = field(default_factory=dict)


Choice = tuple[Iterable[int], str]


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule, and the fields of `Evidence` or names of `scores` that it needs."""

    choose: Callable[[Evidence], Choice]
    needs: tuple[str, ...] = ()


def all_blocks(evidence: Evidence) -> Choice:
    """Every block."""
    return range(evidence.n_blocks), "All layers."


def region_blocks(evidence: Evidence) -> Choice:
    """The blocks of the region called `region`; all blocks where no regions were found.

    Where the number of regions was chosen, there may be none of that name: all blocks then, too.
    """
    regions = evidence.regions
    if regions is None:
        raise ConfigError("policy region needs regions: run the stages that compare two models")
    if evidence.region not in regions.names and not regions.chosen:
        hint = nearest(evidence.region, list(regions.names))
        raise ConfigError(f"unknown region {evidence.region!r}: {hint}")
    if not regions.found:
        return range(evidence.n_blocks), f"All layers, as no regions were found: {regions.reason}."
    if not regions.has(evidence.region):
        names = ", ".join(regions.names)
        reason = f"{evidence.region} is none of the {regions.n_regions} regions found: {names}"
        return range(evidence.n_blocks), f"All layers, as {reason}."
    layers = regions.layers(evidence.region)
    reason = f"The {evidence.region} region is {in_words(layers)} of {evidence.n_blocks}."
    return map(block_of, layers), reason


def top_gain_blocks(evidence: Evidence) -> Choice:
    """Where the experimental model gains most on the pre-trained one in similarity to the control models."""
    return _highest(evidence, "top_gain", "gain")


def probe_slope_blocks(evidence: Evidence) -> Choice:
    """Where the accuracy of a linear probe rises most from the layer before."""
    return _highest(evidence, "probe_slope", "probe_slope", "rise of probe accuracy")


def similarity_drop_blocks(evidence: Evidence) -> Choice:
    """Where the similarity to the control models falls most from the layer before."""
    return _highest(evidence, "similarity_drop", "similarity_drop", "fall of similarity")


def manual_blocks(evidence: Evidence) -> Choice:
    """The blocks that were asked for."""
    return evidence.blocks, "Chosen by hand."


def uniform_blocks(evidence: Evidence) -> Choice:
    """Blocks at equal distances: every other one for half of them."""
    k = _k(evidence, "uniform")
    blocks = [int((i + 0.5) * evidence.n_blocks / k) for i in range(k)]
    return blocks, f"{k} of {evidence.n_blocks} layers at equal distances."


def random_blocks(evidence: Evidence) -> Choice:
    """Blocks drawn by `seed`."""
    k = _k(evidence, "random")
    drawn = np.random.default_rng(evidence.seed).choice(evidence.n_blocks, size=k, replace=False)
    return sorted(map(int, drawn)), f"Drawn at random by seed {evidence.seed}."


def first_k_blocks(evidence: Evidence) -> Choice:
    """The lowest blocks."""
    k = _k(evidence, "first_k")
    return range(k), f"The first {k} layers."


def last_k_blocks(evidence: Evidence) -> Choice:
    """The highest blocks."""
    k = _k(evidence, "last_k")
    return range(evidence.n_blocks - k, evidence.n_blocks), f"The last {k} layers."


def inverse_blocks(evidence: Evidence) -> Choice:
    """Every block but those that were chosen."""
    if not evidence.chosen:
        raise ConfigError("policy inverse needs the blocks that it is the inverse of")
    rest = [block for block in range(evidence.n_blocks) if block not in set(evidence.chosen)]
    if not rest:
        raise ConfigError("policy inverse has nothing to choose from: all blocks were chosen")
    layers = in_words(sorted(map(depth_of, evidence.chosen)))
    return rest, f"All that was not chosen: the choice was {layers}."


def gradient_norm_blocks(evidence: Evidence) -> Choice:
    """Where a fresh LoRA in every block gets the largest gradient."""
    return _highest(evidence, "gradient_norm", "gradient_norm", "gradient norm")


def adjacent_cka_blocks(evidence: Evidence) -> Choice:
    """Where a block changes its input most, by 1 - linear CKA (Ogawa et al. 2026, arXiv:2602.05988)."""
    return _highest(evidence, "adjacent_cka", "adjacent_cka", "1 - CKA with the layer before")


def weight_snr_blocks(evidence: Evidence) -> Choice:
    """Where weights stand out most from noise (after Spectrum, Hartford et al. 2024, arXiv:2406.06623)."""
    return _highest(evidence, "weight_snr", "weight_snr", "signal-to-noise ratio of the weights")


POLICIES: dict[str, Policy] = {
    "region": Policy(region_blocks, ("regions",)),
    "top_gain": Policy(top_gain_blocks, ("gain", "k")),
    "probe_slope": Policy(probe_slope_blocks, ("probe_slope", "k")),
    "similarity_drop": Policy(similarity_drop_blocks, ("similarity_drop", "k")),
    "manual": Policy(manual_blocks, ("blocks",)),
    "all": Policy(all_blocks),
    "uniform": Policy(uniform_blocks, ("k",)),
    "random": Policy(random_blocks, ("k", "seed")),
    "first_k": Policy(first_k_blocks, ("k",)),
    "last_k": Policy(last_k_blocks, ("k",)),
    "inverse": Policy(inverse_blocks, ("chosen",)),
    "gradient_norm": Policy(gradient_norm_blocks, ("gradient_norm", "k")),
    "adjacent_cka": Policy(adjacent_cka_blocks, ("adjacent_cka", "k")),
    "weight_snr": Policy(weight_snr_blocks, ("weight_snr", "k")),
}


def choose(policy: str, evidence: Evidence, model: str) -> LayerSelection:
    """The blocks that `policy` chooses for `model`.

    Raises:
        ConfigError: the policy is unknown, lacks what it needs, or its choice does not exist.

    >>> choose("manual", Evidence(8, blocks=[4, 3]), "tiny").layers
    (4, 5)
    """
    if policy not in POLICIES:
        raise ConfigError(f"unknown policy {policy!r}: {nearest(policy, list(POLICIES))}")
    blocks, reason = POLICIES[policy].choose(evidence)
    return LayerSelection(tuple(blocks), evidence.n_blocks, policy, reason, model, evidence.regions)


def select(
    policy: str,
    n_blocks: int,
    model: str,
    regions: Regions | None = None,
    gain: Float[np.ndarray, " n_blocks"] | None = None,
    *,
    region: str = "transition",
    k: int | None = None,
    blocks: Sequence[int] = (),
) -> LayerSelection:
    """`choose` for the policies region, top_gain and manual, and those that need `k` alone.

    `region` is for the policy region, `gain` (of layers 1 to L) and `k` for top_gain, `blocks` for
    manual.

    Raises:
        ConfigError: as `choose`.
    """
    scores = {} if gain is None else {"gain": gain}
    evidence = Evidence(n_blocks, regions, region, k, blocks, scores=scores)
    return choose(policy, evidence, model)


def _highest(evidence: Evidence, policy: str, name: str, words: str | None = None) -> Choice:
    """The `k` blocks of the highest scores, the lower of equal ones; never an undefined score."""
    words = words or name
    scores = evidence.scores.get(name)
    if scores is None or scores.shape != (evidence.n_blocks,):
        raise ConfigError(
            f"policy {policy} needs the {words} of each of {evidence.n_blocks} layers"
        )
    k = _k(evidence, policy, int(np.isfinite(scores).sum()))
    order = np.argsort(np.where(np.isfinite(scores), -scores, np.inf), kind="stable")
    blocks = [int(block) for block in order[:k]]
    layers = in_words(sorted(map(depth_of, blocks)))
    return blocks, f"The largest {words} is that of {layers}: at least {scores[blocks[-1]]:.3g}."


def _k(evidence: Evidence, policy: str, most: int | None = None) -> int:
    most = evidence.n_blocks if most is None else most
    if evidence.k is None or not 1 <= evidence.k <= most:
        raise ConfigError(
            f"policy {policy} needs k, the number of blocks, between 1 and {most}: k={evidence.k}"
        )
    return evidence.k
