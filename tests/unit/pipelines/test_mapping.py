"""Depth maps of one task: every two models once, each with itself, whatever they are called."""

from __future__ import annotations

import pytest
import torch

from taskdepth.activations.pooling import Pooling
from taskdepth.pipelines.mapping import depth_maps
from taskdepth.similarity import debiased_cka, linear_cka
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import ModelRef, Role

SPEC = TaskSpec("rte", "nli", Kind.GENERATION)
REFS = [
    ModelRef(Role.PRETRAINED, "tiny", "somewhere"),
    ModelRef(Role.EXPERIMENTAL, "tiny", "elsewhere"),
    ModelRef(Role.CONTROL, "control-rte", "somewhere"),
]


def states() -> dict[ModelRef, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {ref: torch.randn(3, 12, 5, generator=generator) for ref in REFS}
    found[REFS[2]][0] = 0.5
    return found


@pytest.mark.parametrize(("pooling", "ending"), [(Pooling.LAST_TOKEN, ""), (Pooling.MEAN, "@mean")])
def test_every_two_models_once(pooling: Pooling, ending: str) -> None:
    sides = states()
    maps, undefined = depth_maps(sides, SPEC, pooling)
    assert len(maps) == 6 * 2
    refs = {str(ref.role): ref for ref in REFS}
    for single in maps:
        one, other = refs[single.role], refs[single.reference]
        assert (single.model, single.reference_model) == (one.name, other.name)
        assert single.name in (f"linear_cka{ending}", f"debiased_cka{ending}")
        measure = linear_cka if single.name.startswith("linear") else debiased_cka
        for i in range(3):
            for j in range(3):
                expected = float(measure(sides[one][i], sides[other][j]))
                assert single.values[i, j] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    (item,) = undefined
    assert (item.role, item.task, item.depth) == ("control", "rte", 0)
    assert "zero variance" in item.reason
