"""Policies that look at a region, where another number of regions was found than its name needs."""

import numpy as np
import pytest

from taskdepth.config import PlacementConfig
from taskdepth.models.budget import BlockCosts
from taskdepth.pipelines.placing import place
from taskdepth.selection import Regions

THREE = Regions(6, 3, True, 0.001, (2, 3), ((2, 2), (3, 3)), chosen=True)
TWO = Regions(6, 2, True, 0.001, (4,), ((4, 4),), chosen=True)
NONE = Regions(6, 1, False, 0.5, reason="noise", chosen=True)


@pytest.mark.parametrize(
    ("regions", "region", "of_region", "inverse", "n_uniform"),
    [
        (THREE, "transition", (2,), (0, 1, 3, 4, 5), 1),
        (TWO, "region_2", (4, 5), (0, 1, 2, 3), 2),
        (
            TWO,
            "transition",
            (0, 1, 2, 3, 4, 5),
            (0, 1, 2, 3),
            2,
        ),  # inverse and k as without regions
        (NONE, "transition", (0, 1, 2, 3, 4, 5), (0, 1, 2, 3), 2),
    ],
)
def test_the_region_inverse_and_k(regions, region, of_region, inverse, n_uniform):
    settings = PlacementConfig(
        policies=["all", "region", "inverse", "uniform"], region=region, n_regions=None, seeds=[0]
    )
    placed, left_out = place(
        settings, "tiny", BlockCosts((0,) * 6, (10,) * 6), 480, regions, {"gain": np.arange(6.0)}
    )
    assert not left_out
    assert placed["region"][0].blocks == of_region
    assert placed["inverse"][0].blocks == inverse
    assert len(placed["uniform"][0].blocks) == n_uniform
