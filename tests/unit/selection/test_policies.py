"""Every policy chooses what it says, from what it says it needs."""

import numpy as np
import pytest

from taskdepth import config
from taskdepth.errors import ConfigError
from taskdepth.selection import POLICIES, Evidence, Regions, choose

FOUND = Regions(8, 3, True, 0.001, (3, 5), ((2, 3), (5, 7)))
RISING = np.arange(8.0)
PEAKS = np.array([np.nan, 0.2, 0.9, 0.1, 0.9, 0.3, 0.0, -1.0])


@pytest.mark.parametrize(
    ("policy", "evidence", "blocks", "reason"),
    [
        ("region", {"regions": FOUND}, (3, 4), "transition region"),
        ("manual", {"blocks": [6, 1]}, (1, 6), "by hand"),
        ("all", {}, tuple(range(8)), "All layers."),
        ("uniform", {"k": 4}, (1, 3, 5, 7), "4 of 8 layers at equal distances"),
        ("uniform", {"k": 3}, (1, 4, 6), "3 of 8"),
        ("uniform", {"k": 8}, tuple(range(8)), "8 of 8"),
        ("uniform", {"k": 1}, (4,), "1 of 8"),
        ("first_k", {"k": 2}, (0, 1), "The first 2 layers."),
        ("last_k", {"k": 3}, (5, 6, 7), "The last 3 layers."),
        ("inverse", {"chosen": (3, 4)}, (0, 1, 2, 5, 6, 7), "the choice was layers 4-5"),
        ("top_gain", {"k": 2, "scores": {"gain": PEAKS}}, (2, 4), "largest gain is that of"),
        ("probe_slope", {"k": 3, "scores": {"probe_slope": PEAKS}}, (2, 4, 5), "probe accuracy"),
        ("similarity_drop", {"k": 1, "scores": {"similarity_drop": PEAKS}}, (2,), "similarity"),
        ("gradient_norm", {"k": 2, "scores": {"gradient_norm": RISING}}, (6, 7), "gradient norm"),
        (
            "adjacent_cka",
            {"k": 7, "scores": {"adjacent_cka": PEAKS}},
            tuple(range(1, 8)),
            "1 - CKA",
        ),
        ("weight_snr", {"k": 1, "scores": {"weight_snr": -RISING}}, (0,), "signal-to-noise"),
        ("random", {"k": 8}, tuple(range(8)), "by seed 0"),
    ],
)
def test_choices(policy, evidence, blocks, reason):
    selection = choose(policy, Evidence(8, **evidence), "tiny")
    assert selection.blocks == blocks
    assert reason in selection.reason
    assert all(type(block) is int for block in selection.blocks)


def test_every_policy_is_tested_and_known_to_the_settings():
    tested = {case[0] for case in test_choices.pytestmark[0].args[1]}
    assert tested == set(POLICIES) == set(config.POLICIES)
    of_study = {"regions", "gain", "probe_slope", "similarity_drop", "chosen"}
    needing = {name for name, policy in POLICIES.items() if set(policy.needs) & of_study}
    assert needing == set(config.POLICIES_OF_STUDY)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_what_a_policy_needs_is_all_that_it_needs(policy):
    whole = {
        "regions": FOUND,
        "blocks": (1,),
        "chosen": (2,),
        "k": 2,
        "seed": 3,
    }
    needs = POLICIES[policy].needs
    given = {name: whole[name] for name in needs if name in whole}
    given["scores"] = {name: RISING for name in needs if name not in whole}
    assert choose(policy, Evidence(8, **given), "tiny").blocks
    for name in needs:
        less = {key: value for key, value in given.items() if key != name}
        less["scores"] = {key: RISING for key in given["scores"] if key != name}
        if name != "seed":  # there is a seed always
            with pytest.raises(ConfigError):
                choose(policy, Evidence(8, **less), "tiny")


def test_random_blocks_depend_on_the_seed_alone_and_are_drawn_evenly():
    drawn = [choose("random", Evidence(8, k=2, seed=seed), "tiny").blocks for seed in range(400)]
    assert drawn[7] == choose("random", Evidence(8, k=2, seed=7), "other").blocks
    counts = np.bincount(np.concatenate(drawn), minlength=8)
    assert counts.min() > 70  # 100 expected of each, standard deviation 8.7
    assert all(a < b for a, b in drawn)


@pytest.mark.parametrize(
    ("policy", "evidence", "words"),
    [
        ("uniform", {"k": 9}, "between 1 and 8: k=9"),
        ("random", {"k": 0}, "between 1 and 8: k=0"),
        ("adjacent_cka", {"k": 8, "scores": {"adjacent_cka": PEAKS}}, "between 1 and 7: k=8"),
        ("weight_snr", {"k": 1, "scores": {"weight_snr": RISING[:7]}}, "of each of 8 layers"),
        ("inverse", {"chosen": tuple(range(8))}, "all blocks were chosen"),
        ("lask_k", {"k": 1}, "did you mean last_k"),
    ],
)
def test_refuses(policy, evidence, words):
    with pytest.raises(ConfigError, match=words):
        choose(policy, Evidence(8, **evidence), "tiny")
