"""All pairs at once against the measures of one pair, on data that float32 could spoil."""

import inspect

import pytest
import torch

from taskdepth.errors import DataError
from taskdepth.similarity import cka, cka_grid, debiased_cka, linear_cka


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def models(n=40, widths=(96, 130), n_depths=(3, 2), offset=100.0):
    """Depths that share less and less, far off the origin."""
    shared = randn(n, 8)
    found = {}
    for index, (p, depths) in enumerate(zip(widths, n_depths, strict=True)):
        mix = randn(8, p, seed=10 + index)
        found[f"m{index}"] = torch.stack(
            [
                shared @ mix + depth * randn(n, p, seed=100 * index + depth) + offset * randn(p)
                for depth in range(1, depths + 1)
            ]
        )
    return found


def expected(sides, measure):
    return torch.stack([torch.stack([measure(x, y) for y in sides]) for x in sides])


def assert_like_one_at_a_time(of_models, tolerance=1e-6):
    sides = [side for depths in of_models.values() for side in depths]
    grid = cka_grid(of_models)
    for found, measure in ((grid.linear_cka, linear_cka), (grid.debiased_cka, debiased_cka)):
        assert found.dtype == torch.float64
        torch.testing.assert_close(
            found, expected(sides, measure), rtol=0, atol=tolerance, equal_nan=True
        )
    return grid


@pytest.mark.parametrize(
    ("n", "widths", "n_depths"),
    [
        (40, (96, 130), (3, 2)),
        (4, (7, 3), (2, 1)),  # the fewest examples
        (150, (40, 40), (2, 2)),  # several blocks of rows
        (300, (12, 9), (3, 2)),  # more examples than all columns: by features
        (60, (12, 9), (3, 3)),  # one column more than that: by examples
    ],
)
def test_equals_the_measures_of_one_pair(n, widths, n_depths):
    grid = assert_like_one_at_a_time(models(n, widths, n_depths))
    assert (grid.n, grid.n_masked) == (n, 0)
    assert grid.undefined == ("",) * sum(n_depths)
    torch.testing.assert_close(grid.linear_cka.diagonal(), torch.ones(sum(n_depths)).double())
    torch.testing.assert_close(grid.debiased_cka, grid.debiased_cka.T)


def test_maps_between_and_within_models():
    of_models = models()
    grid = cka_grid(of_models)
    linear, debiased = grid.between("m0", "m1")
    assert linear.shape == debiased.shape == (3, 2)
    for i, x in enumerate(of_models["m0"]):
        for j, y in enumerate(of_models["m1"]):
            assert float(linear[i, j]) == pytest.approx(float(linear_cka(x, y)), abs=1e-6)
            assert float(debiased[i, j]) == pytest.approx(float(debiased_cka(x, y)), abs=1e-6)
    within, _ = grid.between("m1", "m1")
    assert torch.equal(within, grid.linear_cka[3:, 3:])


def test_depths_may_differ_in_width_and_come_one_by_one():
    of_models = {"m0": [randn(20, 30), randn(20, 50, seed=1)], "m1": [randn(20, 8, seed=2)]}
    grid = assert_like_one_at_a_time(of_models)
    assert grid.n_depths == (2, 1)


@pytest.mark.parametrize("max_bytes", [1, 5000])
def test_memory_is_bounded_without_changing_a_value(monkeypatch, max_bytes):
    of_models = models(150, (40, 40), (2, 2))
    whole = cka_grid(of_models)
    held = []
    empty = torch.empty

    def seen(*shape, **kwargs):
        held.append(shape)
        return empty(*shape, **kwargs)

    monkeypatch.setattr("taskdepth.similarity.grid.PACKED_BYTES", max_bytes)
    monkeypatch.setattr(torch, "empty", seen)
    parts = cka_grid(of_models)
    packed = [shape for shape in held if len(shape) == 2]
    assert len(packed) > 1
    # one row of all sides is the least that can be held
    assert max(m * size * 4 for m, size in packed) <= max(max_bytes, 4 * 4 * 150)
    torch.testing.assert_close(parts.debiased_cka, whole.debiased_cka, rtol=0, atol=2e-6)
    torch.testing.assert_close(parts.linear_cka, whole.linear_cka, rtol=0, atol=2e-6)


def spoilt(kind):
    of_models = models(64, (200, 200), (2, 2), offset=0.0)
    x = of_models["m0"]
    if kind == "offset":
        x[:, :, 3] += 3e4
    if kind == "far":  # as far as means are trusted without a second look
        x += 300 * x.std() * randn(200)
    if kind == "too_far":
        x += 3e5 * x.std() * randn(200)
    if kind == "outlier":  # one row holds nearly all of the variance
        x[1, 5] *= 1e5
    if kind == "first_row":
        x[1, 0] *= 1e3
    if kind == "nearly_equidistant":
        x[1] = 1e-3 * x[1] + 1e3 * torch.linalg.qr(randn(200, 64, seed=7)).Q.T
    if kind == "tiny":
        x *= 1e-25
    if kind == "huge":
        x *= 1e25
    return of_models


@pytest.mark.parametrize(
    "kind",
    ["offset", "far", "too_far", "outlier", "first_row", "nearly_equidistant", "tiny", "huge"],
)
def test_within_tolerance_where_float32_alone_would_not_be(kind):
    of_models = spoilt(kind)
    grid = assert_like_one_at_a_time(of_models, tolerance=1e-5)
    assert grid.linear_cka.isfinite().all()


def test_float64_is_needed_where_it_is_used(monkeypatch):
    """Without the second look, the nearly equidistant rows are off."""
    monkeypatch.setattr("taskdepth.similarity.grid.MIN_SHARE", 0)
    with pytest.raises(AssertionError):
        assert_like_one_at_a_time(spoilt("nearly_equidistant"), tolerance=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_raised_first(dtype):
    of_models = {name: x.to(dtype) for name, x in models(offset=1.0).items()}
    assert_like_one_at_a_time(of_models)


def test_training_in_low_precision_does_not_matter_here():
    of_models = models(150, (40, 40), (2, 2))
    before = cka_grid(of_models)
    torch.set_float32_matmul_precision("medium")
    try:
        after = cka_grid(of_models)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(after.debiased_cka, before.debiased_cka)


@pytest.mark.parametrize("junk", [torch.nan, torch.inf, -torch.inf])
def test_rows_are_masked_jointly(junk):
    of_models = models()
    kept = [i for i in range(40) if i not in (3, 7)]
    clean = cka_grid({name: x[:, kept] for name, x in of_models.items()})
    of_models["m0"][1, 3, 0] = junk
    of_models["m1"][0, 7, 5] = junk
    grid = cka_grid(of_models)
    assert (grid.n, grid.n_masked) == (38, 2)
    assert torch.equal(grid.debiased_cka, clean.debiased_cka)


@pytest.mark.parametrize("n", [20, 400])
def test_undefined_depths_have_a_reason_and_leave_the_others_alone(n):
    constant = torch.linspace(0.1, 3e4, 30).expand(n, 30)
    x, y = randn(n, 30), randn(n, 25, seed=1)
    grid = cka_grid({"m0": [constant, x], "m1": [y]})
    assert grid.undefined == (cka.NO_VARIANCE, "", "")
    for values in (grid.linear_cka, grid.debiased_cka):
        assert values[0].isnan().all()
        assert values[:, 0].isnan().all()
        assert values[1:, 1:].isfinite().all()
    assert float(grid.linear_cka[1, 2]) == pytest.approx(float(linear_cka(x, y)), abs=1e-6)


def test_equidistant_rows_leave_only_debiased_cka_undefined():
    grid = cka_grid({"m0": torch.eye(12)[None], "m1": randn(1, 12, 5)})
    assert grid.undefined == (cka.NO_STRUCTURE, "")
    assert grid.linear_cka.isfinite().all()
    assert grid.debiased_cka.isnan().tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("n", [0, 3])
def test_too_few_examples_are_undefined(n):
    grid = cka_grid({"m0": randn(2, n, 5)})
    assert grid.undefined == ("fewer than 4 examples",) * 2
    assert grid.linear_cka.isnan().all()


@pytest.mark.parametrize(
    "of_models",
    [
        {},
        {"m0": randn(2, 5, 3), "m1": randn(2, 6, 3)},
        {"m0": randn(5, 3)},
        {"m0": [randn(2, 5, 3)]},
    ],
)
def test_refuses(of_models):
    # unwrapped: where shapes are checked by type, that check would speak first
    with pytest.raises(DataError, match="same examples"):
        inspect.unwrap(cka_grid)(of_models)
