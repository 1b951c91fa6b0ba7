"""Task × task similarity against its definition, written out in loops, and planted cases."""

from itertools import permutations

import pytest
import torch

from taskdepth.errors import DataError
from taskdepth.similarity.tasks import task_similarity

N, P = 6, 4


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_tasks(n_tasks=4, n=N, p=P):
    tasks = [randn(n, p, seed=t) @ randn(p, p, seed=50 + t) for t in range(n_tasks)]
    return [rows + 2 * randn(p, seed=100 + t) for t, rows in enumerate(tasks)]


def mean(values):
    return sum(values) / len(values)


def centroid_product(x, y, *, same):
    """The mean inner product of a row of x with one of y; of two different rows where x is y."""
    pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (same and i == j)]
    return mean([x[i] @ y[j] for i, j in pairs])


def covariance_product(x, y, *, same):
    """tr(Σ_x Σ_y) = E[((x - x')·(y - y'))²] / 4, over rows that are all different."""
    if same:
        tuples = permutations(range(len(x)), 4)
        return mean([((x[i] - x[j]) @ (x[k] - x[m])) ** 2 / 4 for i, j, k, m in tuples])
    pairs_x, pairs_y = permutations(range(len(x)), 2), list(permutations(range(len(y)), 2))
    return mean([((x[i] - x[j]) @ (y[k] - y[m])) ** 2 / 4 for i, j in pairs_x for k, m in pairs_y])


def products(states, product):
    return torch.stack([torch.stack([product(x, y, same=x is y) for y in states]) for x in states])


def cosines(found):
    scale = found.diagonal().sqrt()
    return found / scale / scale[:, None]


@pytest.mark.parametrize("width", [P, 13], ids=["by features", "by Gram blocks"])
def test_equals_its_definition(width):
    states = some_tasks(p=width)
    means = products(states, centroid_product)
    means = means - means.mean(0) - means.mean(1, keepdim=True) + means.mean()
    found = task_similarity(states)
    torch.testing.assert_close(found.centroid_cosine, cosines(means))
    torch.testing.assert_close(
        found.covariance_cosine, cosines(products(states, covariance_product))
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x @ torch.linalg.qr(randn(P, P, seed=9)).Q, id="orthogonal"),
        pytest.param(lambda x: -3e4 * x, id="scaling"),
        pytest.param(lambda x: x + 1e4 * randn(P, seed=8), id="translation"),
    ],
)
def test_invariances(change):
    states = some_tasks()
    found, changed = task_similarity(states), task_similarity([change(rows) for rows in states])
    for name in ("centroid_cosine", "covariance_cosine"):
        torch.testing.assert_close(
            getattr(changed, name), getattr(found, name), rtol=1e-7, atol=1e-7
        )


def test_an_invertible_map_of_the_basis_does_change_it():
    states = some_tasks(n=60)
    skewed = [rows @ torch.diag(torch.tensor([3.0, 1, 1, 0.5])).double() for rows in states]
    found, changed = task_similarity(states), task_similarity(skewed)
    assert (found.covariance_cosine - changed.covariance_cosine).abs().max() > 0.1
    assert (found.centroid_cosine - changed.centroid_cosine).abs().max() > 0.1


def test_few_rows_do_not_make_equal_tasks_look_different():
    """Of four tasks with one distribution each twice, those of a pair are alike at n = 24, p = 200."""
    spread = [torch.cat([torch.ones(100), torch.zeros(100)]), torch.linspace(0, 2, 200)]
    centre = [randn(200, seed=70 + k) / 3 for k in range(2)]
    pairs, plain = [], []
    for draw in range(20):
        states = [
            centre[t % 2] + spread[t % 2] * randn(24, 200, seed=10 * draw + t) for t in range(4)
        ]
        found = task_similarity(states)
        pairs.append(torch.stack([found.centroid_cosine[0, 2], found.covariance_cosine[0, 2]]))
        a, b = (torch.cov(states[t].T) for t in (0, 2))
        plain.append((a * b).sum() / (a.norm() * b.norm()))
    torch.testing.assert_close(
        torch.stack(pairs).mean(0), torch.ones(2, dtype=torch.float64), rtol=0, atol=0.05
    )
    assert float(torch.stack(plain).mean()) < 0.5, "what sampling adds to the lengths"


def test_tasks_in_other_dimensions_share_no_directions_and_their_places_are_told_apart():
    states = [torch.zeros(40, 8, dtype=torch.float64) for _ in range(4)]
    for t, rows in enumerate(states):
        half = slice(0, 4) if t < 2 else slice(4, 8)
        rows[:, half] = randn(40, 4, seed=t)
        rows += 5 * (1 if t in (0, 3) else -1)
    found = task_similarity(states)
    assert found.covariance_cosine[:2, 2:].abs().max() < 1e-12
    assert found.covariance_cosine[0, 1] > 0.8
    assert found.centroid_cosine[0, 3] > 0.9
    assert found.centroid_cosine[0, 1] < -0.9


def test_other_numbers_of_rows_are_taken():
    states = some_tasks(n=40)
    states[1] = states[1][:7]
    found = task_similarity(states)
    assert found.centroid_cosine.isfinite().all()
    torch.testing.assert_close(found.covariance_cosine, found.covariance_cosine.T)
    torch.testing.assert_close(found.covariance_cosine.diagonal(), torch.ones(4).double())


def test_undefined_is_nan_for_that_task_alone():
    states = some_tasks()
    without = task_similarity([*states[:2], states[3]])
    states[2] = states[2].clone()
    states[2][1, 1] = torch.nan
    found = task_similarity(states)
    keep = torch.tensor([0, 1, 3])
    for name in ("centroid_cosine", "covariance_cosine"):
        values = getattr(found, name)
        assert values[2].isnan().all()
        assert values[:, 2].isnan().all()
        torch.testing.assert_close(values[keep][:, keep], getattr(without, name))


def test_a_task_whose_states_are_all_the_same_has_a_place_and_no_directions():
    states = some_tasks()
    states[0] = states[0][:1].repeat(N, 1)
    found = task_similarity(states)
    assert found.centroid_cosine[0].isfinite().any()
    assert found.covariance_cosine[0].isnan().all()
    assert found.covariance_cosine[1:, 1:].isfinite().any()
    nothing = task_similarity([rows * 0 + 0.1 for rows in states])
    assert nothing.centroid_cosine.isnan().all()
    assert nothing.covariance_cosine.isnan().all()


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([randn(6, 4)] * 2, "from 3 on"),
        ([randn(6, 4)] * 2 + [randn(6, 5)], "same width"),
        ([randn(6, 4)] * 2 + [randn(3, 4)], "4 rows or more"),
    ],
)
def test_refuses(states, words):
    with pytest.raises(DataError, match=words):
        task_similarity(states)
