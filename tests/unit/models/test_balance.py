from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from taskdepth.models.balance import CoBa, SelfPaced, slopes, token_weights

# four examples of three tasks, of which the last has no example here
N_TOKENS = torch.tensor([3.0, 1.0, 2.0, 2.0])
TASKS = torch.tensor([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ("token", [1 / 8] * 4),
        ("example", [1 / 12, 1 / 4, 1 / 8, 1 / 8]),
        ("task", [1 / 8] * 4),
        # tasks count 1 : 3, and the third, which is absent, nothing
        ("coba", [1 / 16, 1 / 16, 3 / 16, 3 / 16]),
        ("self_paced", [1 / 16, 1 / 16, 3 / 16, 3 / 16]),
    ],
)
def test_what_a_token_counts(balance: str, expected: list[float]) -> None:
    weights = torch.ones(3) if balance == "task" else torch.tensor([0.5, 1.5, 1.0])
    found = token_weights(balance, N_TOKENS, TASKS, weights)
    assert found.tolist() == pytest.approx(expected)
    assert float((found * N_TOKENS).sum()) == pytest.approx(1)


def test_an_example_without_targets_counts_nothing() -> None:
    n_tokens = torch.tensor([0.0, 2.0])
    for balance in ("token", "example", "task"):
        found = token_weights(balance, n_tokens, torch.tensor([0, 1]), torch.ones(2))
        assert float(found[1]) == 0.5
        assert found.isfinite().all()


def test_slopes_against_scipy() -> None:
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(7, 3))
    losses[[0, 4], 1] = math.nan
    losses[1:, 2] = math.nan
    found = slopes(torch.from_numpy(losses))
    for column in (0, 1):
        known = ~np.isnan(losses[:, column])
        expected = stats.linregress(np.arange(7)[known], losses[known, column]).slope
        assert float(found[column]) == pytest.approx(expected)
    assert found[2].isnan()


def test_self_paced_begins_with_the_easy_and_ends_alike() -> None:
    pace = SelfPaced(3)
    pace.observe(torch.tensor([1.0, 2.0, 3.0]), progress=0.0)
    assert pace.weights[0] > pace.weights[1] > pace.weights[2]
    assert float(pace.weights.sum()) == pytest.approx(3)
    z = stats.zscore([1.0, 2.0, 3.0], ddof=1)
    assert pace.weights.tolist() == pytest.approx(3 * special.softmax(-z))
    pace.observe(torch.tensor([math.nan, math.nan, math.nan]), progress=1.0)
    assert pace.weights.tolist() == pytest.approx([1, 1, 1])


def test_self_paced_knows_nothing_of_a_task_it_has_not_seen() -> None:
    pace = SelfPaced(3)
    pace.observe(torch.tensor([1.0, math.nan, math.nan]), progress=0.0)
    assert pace.weights.tolist() == [1, 1, 1]
    pace.observe(torch.tensor([1.0, math.nan, 3.0]), progress=0.0)
    assert pace.weights[0] > pace.weights[1] > pace.weights[2]


def coba_by_hand(losses: np.ndarray, tau: float) -> np.ndarray:
    """The formulas of the paper, one time after the other."""
    relative = losses / losses[0]
    times = [np.arange(t + 1) for t in range(len(losses))]
    alpha = np.zeros_like(losses)
    largest = np.zeros(len(losses))
    for t in range(1, len(losses)):
        for i in range(losses.shape[1]):
            alpha[t, i] = stats.linregress(times[t], relative[: t + 1, i]).slope
        largest[t] = stats.linregress(times[t], relative[: t + 1].max(axis=1)).slope
    n_times, n = losses.shape
    rcs = special.softmax(n * alpha[-1] / np.abs(alpha[-1]).sum())
    acs = special.softmax(-n_times * alpha[-1] / np.abs(alpha).sum(axis=0))
    over_time = special.softmax(-tau * n_times * largest / np.abs(largest).sum())
    factor = min(1.0, n_times * over_time[-1])
    return n * (factor * rcs + (1 - factor) * acs)


@pytest.mark.parametrize("turns", [False, True])
def test_coba_follows_the_paper(turns: bool) -> None:
    t = np.arange(30)[:, None]
    losses = 1 + np.exp(-t * np.array([[0.02, 0.1, 0.3]]))
    if turns:  # the third task starts to overfit
        losses[15:, 2] += np.linspace(0, 2, 15)
    coba = CoBa(3, warmup=5)
    for row in losses:
        coba.observe(torch.from_numpy(row), progress=0.0)
    assert coba.weights.tolist() == pytest.approx(coba_by_hand(losses, tau=5.0), rel=1e-5)
    assert float(coba.weights.sum()) == pytest.approx(3, rel=1e-5)
    if not turns:
        assert coba.weights.argmax() == 0, "what converges slowly gets most"
    else:
        assert coba.weights.argmin() == 2, "what turns gets least"


def test_coba_warms_up_and_bears_tasks_that_are_seen_now_and_then() -> None:
    coba = CoBa(2, warmup=3)
    for step in range(3):
        coba.observe(torch.tensor([1.0 - 0.1 * step, math.nan]), progress=0.0)
        assert coba.weights.tolist() == [1, 1]
    coba.observe(torch.tensor([0.5, 2.0]), progress=0.0)
    assert coba.weights.isfinite().all()


@pytest.mark.parametrize("make", [SelfPaced, CoBa])
def test_their_state_goes_on(make: type[SelfPaced] | type[CoBa]) -> None:
    generator = torch.Generator().manual_seed(0)
    losses = 1 + torch.rand(30, 4, generator=generator)
    whole, first, second = make(4), make(4), make(4)
    for row in losses:
        whole.observe(row, 0.5)
    for row in losses[:25]:
        first.observe(row, 0.5)
    second.load_state_dict(first.state_dict())
    for row in losses[25:]:
        second.observe(row, 0.5)
    assert torch.equal(whole.weights, second.weights)
