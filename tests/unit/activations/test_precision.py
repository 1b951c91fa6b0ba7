from __future__ import annotations

import pytest
import torch

from taskdepth.activations.precision import DTYPES, centred, restored
from taskdepth.errors import ResultsError

HALVES = ["float16", "bfloat16"]


@pytest.mark.parametrize("dtype", HALVES)
def test_a_large_common_offset_costs_no_precision(dtype: str) -> None:
    torch.manual_seed(0)
    spread = torch.randn(3, 50, 8)
    offset = torch.zeros(8)
    offset[[1, 5]] = 3e4  # massive dimensions, alike in every row
    states = spread + offset
    kept = restored(*centred(states, dtype))
    naive = states.to(DTYPES[dtype]).float()
    assert kept.dtype == torch.float32
    assert (kept - states).abs().max() <= 1e-2 * spread.std()
    assert (naive - states).abs().max() >= spread.std()


@pytest.mark.parametrize("dtype", HALVES)
def test_rows_that_are_not_finite_stay_so_and_spoil_no_others(dtype: str) -> None:
    torch.manual_seed(0)
    states = torch.randn(2, 4, 3) + 100
    states[0, 1, 2], states[1, 3, 0] = torch.nan, -torch.inf
    kept = restored(*centred(states, dtype))
    assert torch.equal(kept.isnan(), states.isnan())
    assert kept[1, 3, 0] == -torch.inf
    known = states.isfinite()
    assert torch.allclose(kept[known], states[known], atol=0.05)


def test_what_a_dtype_cannot_hold_is_refused() -> None:
    states = torch.tensor([1e6, -1e6]).reshape(1, 2, 1)
    with pytest.raises(ResultsError, match="too large for float16"):
        centred(states, "float16")
    assert torch.allclose(restored(*centred(states, "bfloat16")), states, rtol=1e-2)
