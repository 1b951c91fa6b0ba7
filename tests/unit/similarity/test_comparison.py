"""All depths at once: equal to one at a time, masked jointly, undefined with a reason."""

import inspect

import numpy as np
import pytest
import torch

from taskdepth.errors import DataError
from taskdepth.similarity import MEASURES as MEASURES_BY_NAME
from taskdepth.similarity import cka, compare, debiased_cka, join, linear_cka, rbf_cka
from taskdepth.similarity.centring import standardised

MEASURES = {"linear_cka": linear_cka, "debiased_cka": debiased_cka}
BOUNDS = ("value", "lower", "upper", "shuffled")


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def activations(n_depths=4, n=20, p=12, q=9):
    """Sides that grow apart with depth."""
    x = randn(n_depths, n, p)
    noise = randn(n_depths, n, q, seed=1) * torch.arange(n_depths)[:, None, None]
    return x, x[..., :q] + noise


def assert_same(first, second, **tolerance):
    for name in MEASURES:
        for bound in BOUNDS:
            one, other = getattr(getattr(first, name), bound), getattr(getattr(second, name), bound)
            torch.testing.assert_close(one, other, equal_nan=True, rtol=1e-9, atol=1e-12)


def test_equals_the_measures_one_at_a_time():
    x, y = activations()
    result = compare(x, y, n_bootstrap=50)
    assert (result.n, result.n_masked, result.debiased_cka.undefined) == (20, 0, ("",) * 4)
    for name, measure in MEASURES.items():
        estimate = getattr(result, name)
        expected = torch.stack([measure(*pair) for pair in zip(x, y, strict=True)])
        torch.testing.assert_close(estimate.value, expected, rtol=1e-9, atol=1e-12)
        for bound in BOUNDS:
            assert getattr(estimate, bound).shape == (4,)
            assert getattr(estimate, bound).dtype == torch.float64
        assert (estimate.lower <= estimate.value).all()
        assert (estimate.value <= estimate.upper).all()
        assert (estimate.upper[1:] - estimate.lower[1:] > 0.05).all()
        assert (estimate.upper <= 1).all()


def test_identical_sides_are_one_without_doubt():
    x, _ = activations()
    result = compare(x, 2 * x + 1, n_bootstrap=30)
    for name in MEASURES:
        estimate = getattr(result, name)
        for bound in ("value", "lower", "upper"):
            torch.testing.assert_close(getattr(estimate, bound), torch.ones(4).double())
        assert (estimate.shuffled < 0.9).all()


def test_depths_do_not_depend_on_each_other(monkeypatch):
    x, y = activations()
    together = compare(x, y, n_bootstrap=20)
    monkeypatch.setattr("taskdepth.similarity.comparison.CHUNK_ELEMENTS", 1)
    assert_same(compare(x, y, n_bootstrap=20), together)
    alone = compare(x[2:3], y[2:3], n_bootstrap=20)
    torch.testing.assert_close(alone.debiased_cka.upper, together.debiased_cka.upper[2:3])
    torch.testing.assert_close(alone.linear_cka.shuffled, together.linear_cka.shuffled[2:3])


def test_the_seed_decides_and_nothing_else():
    x, y = activations()
    torch.manual_seed(1)
    first = compare(x, y, n_bootstrap=20, seed=5)
    state = torch.random.get_rng_state()
    assert_same(compare(x, y, n_bootstrap=20, seed=5), first)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = compare(x, y, n_bootstrap=20, seed=6)
    assert not torch.equal(other.debiased_cka.lower, first.debiased_cka.lower)
    assert torch.equal(other.debiased_cka.value, first.debiased_cka.value)


def test_shuffled_is_the_chance_floor():
    x, y = activations(n_depths=2)
    result = compare(x, y, n_bootstrap=1, n_shuffles=2000)
    for depth in range(2):
        # the mean over all permutations is known: tr K tr L / ((n - 1) |K| |L|), and 0 debiased
        K, L = (np.cov(side[depth].numpy(), rowvar=False) for side in (x, y))
        expected = np.trace(K) * np.trace(L) / (19 * np.linalg.norm(K) * np.linalg.norm(L))
        assert float(result.linear_cka.shuffled[depth]) == pytest.approx(expected, abs=0.01)
        assert float(result.debiased_cka.shuffled[depth]) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf])
def test_rows_are_masked_jointly(junk):
    x, y = activations()
    kept = [i for i in range(20) if i not in (3, 7)]
    expected = compare(x[:, kept], y[:, kept], n_bootstrap=20)
    x[1, 3, 0] = junk
    y[2, 7, 5] = junk
    result = compare(x, y, n_bootstrap=20)
    assert (result.n, result.n_masked) == (18, 2)
    assert_same(result, expected)


def test_undefined_depths_have_a_reason_and_leave_the_others_alone():
    x, y = activations()
    x[0] = torch.linspace(0.1, 3e4, 12)  # the embedding of one and the same token
    y[2, :, :] = 0.3
    result = compare(x, y, n_bootstrap=20)
    assert result.debiased_cka.undefined == (cka.NO_VARIANCE, "", cka.NO_VARIANCE, "")
    for name in MEASURES:
        for bound in BOUNDS:
            isnan = getattr(getattr(result, name), bound).isnan().tolist()
            assert isnan == [True, False, True, False]


def test_equidistant_rows_leave_only_debiased_cka_undefined():
    result = compare(torch.eye(10)[None], randn(1, 10, 3), n_bootstrap=20)
    assert result.debiased_cka.undefined == (cka.NO_STRUCTURE,)
    assert result.debiased_cka.value.isnan().all()
    assert result.linear_cka.value.isfinite().all()


@pytest.mark.parametrize(("n", "n_masked"), [(0, 0), (3, 0), (6, 3)])
def test_too_few_examples_are_undefined(n, n_masked):
    x = randn(2, n, 5)
    x[0, :n_masked] = torch.nan
    result = compare(x, randn(2, n, 4))
    assert (result.n, result.n_masked) == (n - n_masked, n_masked)
    assert result.debiased_cka.undefined == ("fewer than 4 examples",) * 2
    assert result.debiased_cka.value.isnan().all()
    assert result.linear_cka.upper.isnan().all()


def test_few_examples_have_a_value_but_no_interval():
    x, y = activations(n=4)
    result = compare(x, y)
    assert result.debiased_cka.value.isfinite().all()
    assert result.debiased_cka.lower.isnan().all()


def test_no_samples_no_interval_no_floor():
    x, y = activations()
    result = compare(x, y, n_bootstrap=0, n_shuffles=0)
    assert result.linear_cka.value.isfinite().all()
    assert result.linear_cka.lower.isnan().all()
    assert result.debiased_cka.upper.isnan().all()
    assert result.debiased_cka.shuffled.isnan().all()


def test_interval_of_linear_cka_lies_around_the_value_where_no_sample_does():
    x, y = randn(20, 16, 128), randn(20, 16, 128, seed=1)
    estimate = compare(x, y, n_bootstrap=100, n_shuffles=0).linear_cka
    assert (estimate.lower < estimate.value - 0.01).all()
    assert (estimate.value + 0.01 < estimate.upper).all()


def test_interval_of_linear_cka_stays_within_its_range():
    x, y = randn(40, 30, 2), randn(40, 30, 2, seed=1)
    x[:, 0] = y[:, 0] = 8  # all rests on one example, which is missing in a third of the samples
    estimate = compare(x, y, n_shuffles=0).linear_cka
    assert estimate.lower.min() == 0
    assert estimate.upper.max() <= 1


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_interval_of_debiased_cka_covers_the_population(share):
    """x and y share a fraction of their variance: the population's CKA is its square."""
    n_runs, n, p = 120, 40, 30  # every depth is an independent experiment
    scale = torch.arange(1, p + 1) ** -0.5
    x = randn(n_runs, n, p) * scale
    y = share * x + (1 - share**2) ** 0.5 * randn(n_runs, n, p, seed=1) * scale
    estimate = compare(x, y, n_bootstrap=200, n_shuffles=0).debiased_cka
    covered = (estimate.lower <= share**2) & (share**2 <= estimate.upper)
    assert 0.88 <= covered.double().mean() <= 0.995
    # and it is no wider than the spread of the value calls for
    width = (estimate.upper - estimate.lower).mean() / estimate.value.std()
    assert 3 < width < 5


@pytest.mark.parametrize(
    ("shape_x", "shape_y"), [((2, 5, 3), (3, 5, 3)), ((2, 5, 3), (2, 6, 3)), ((5, 3), (5, 3))]
)
def test_refuses_other_depths_or_examples(shape_x, shape_y):
    # unwrapped: where shapes are checked by type, that check would speak first
    with pytest.raises(DataError, match="same depths and the same examples"):
        inspect.unwrap(compare)(randn(*shape_x), randn(*shape_y))


@pytest.mark.parametrize(
    ("ids_x", "ids_y", "common"),
    [
        (["a", "b", "c"], ["c", "x", "a"], ["a", "c"]),
        (["c", "b", "a"], ["a", "b", "c"], ["c", "b", "a"]),
        (["a"], ["a"], ["a"]),
    ],
)
def test_join_keeps_the_order_of_x(ids_x, ids_y, common):
    index_x, index_y = join(ids_x, ids_y)
    assert [ids_x[i] for i in index_x] == common
    assert [ids_y[i] for i in index_y] == common


@pytest.mark.parametrize(
    ("ids_x", "ids_y", "words"),
    [
        (["a", "b"], ["c"], "no example in common among 2 and 1"),
        ([], [], "no example in common"),
        (["a", "b", "b"], ["a"], "1 examples occur more than once .* 'b'"),
        (["a"], ["a", "c", "a", "c"], "2 examples occur more than once .* 'a'"),
    ],
)
def test_join_refuses(ids_x, ids_y, words):
    with pytest.raises(DataError, match=words):
        join(ids_x, ids_y)


def test_only_the_measures_that_are_asked_for_in_their_order():
    x, y = activations()
    found = compare(x, y, ["svcca", "debiased_cka"], n_bootstrap=5).estimates
    assert list(found) == ["svcca", "debiased_cka"]
    assert found["svcca"].value[2] == MEASURES_BY_NAME["svcca"].function(x[2], y[2])
    with pytest.raises(DataError, match="no measure is called scva: did you mean svcca"):
        compare(x, y, ["scva"])


def test_rbf_cka_has_all_that_linear_cka_has():
    x, y = activations()
    found = compare(x, y, ["rbf_cka"], n_bootstrap=50).estimates["rbf_cka"]
    expected = torch.stack([rbf_cka(*pair) for pair in zip(x, y, strict=True)])
    torch.testing.assert_close(found.value, expected, rtol=1e-9, atol=1e-12)
    assert (found.lower <= found.value).all()
    assert (found.value <= found.upper).all()
    assert (found.shuffled[:2] < found.value[:2]).all()
    x[1, :15] = 0.2  # most pairs are copies
    found = compare(x, y, ["rbf_cka"], n_bootstrap=5).estimates["rbf_cka"]
    assert found.undefined == ("", cka.COPIES, "", "")


@pytest.mark.parametrize("name", MEASURES)
def test_influence_is_the_largest_change_by_one_row(name):
    x, y = activations()
    x[1, 5] *= 30
    x[:, 2] = torch.nan  # dropped, and still counted
    estimate = compare(x, y, n_bootstrap=5).estimates[name]
    kept = [i for i in range(20) if i != 2]
    for depth in range(4):
        changes = {}
        for i in kept:
            others = [j for j in kept if j != i]
            without = MEASURES[name](x[depth, others], y[depth, others])
            changes[i] = float(without - estimate.value[depth])
        worst = max(changes, key=lambda i: abs(changes[i]))
        # where the sides are the same, no row changes anything
        assert float(estimate.influence[depth]) == pytest.approx(changes[worst], abs=1e-9)
        if depth:
            assert int(estimate.worst_row[depth]) == worst
    assert int(estimate.worst_row[1]) == 5


def test_a_row_without_which_there_is_no_value_is_the_worst():
    x, y = torch.full((1, 8, 3), 0.2), randn(1, 8, 4)
    x[0, 6] = torch.tensor([1.0, 2.0, 3.0])
    linear = compare(x, y, n_bootstrap=5).linear_cka
    assert linear.value.isfinite().all()
    assert linear.influence.isnan().all()
    assert linear.worst_row.tolist() == [6]


def test_undefined_depths_have_no_worst_row():
    x, y = activations()
    x[0] = 0.2
    for estimate in compare(x, y, n_bootstrap=5).estimates.values():
        assert estimate.worst_row.tolist()[0] == -1
        assert estimate.influence.isnan().tolist() == [True, False, False, False]


@pytest.mark.parametrize("name", ["linear_cka", "rbf_cka", "rsa"])
def test_standardise_scales_every_dimension_of_the_rows_that_are_compared(name):
    x, y = activations()
    x[..., 0] *= 100
    y[:, 4] = torch.nan
    kept = [i for i in range(20) if i != 4]
    expected = [
        MEASURES_BY_NAME[name].function(standardised(one[kept]), standardised(other[kept]))
        for one, other in zip(x, y, strict=True)
    ]
    found = compare(x, y, [name], standardise=True, n_bootstrap=5).estimates[name]
    torch.testing.assert_close(found.value, torch.stack(expected), rtol=1e-9, atol=1e-9)
    scaled = compare(x * torch.logspace(-1, 1, 12), y, [name], standardise=True, n_bootstrap=5)
    torch.testing.assert_close(scaled.estimates[name].value, found.value, rtol=1e-6, atol=1e-6)
