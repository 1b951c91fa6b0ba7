"""Every measure is held to what it declares, and to what it must not have."""

import inspect
from functools import partial
from pathlib import Path

import pytest
import torch

from taskdepth import similarity
from taskdepth.errors import DataError
from taskdepth.similarity import MEASURES


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(n=40, p=6, q=9, seed=0):
    """Two sides that share something, off the origin: every measure lies well inside its range."""
    shared = randn(n, 3, seed=seed)
    x = shared @ randn(3, p, seed=seed + 1) + randn(n, p, seed=seed + 2) + 1
    y = shared @ randn(3, q, seed=seed + 3) + randn(n, q, seed=seed + 4) - 1
    return x, y


def wide_enough(name):
    """Sides with as many dimensions as the subspaces that are compared."""
    return pair(p=12, q=13) if name == "subspace_overlap" else pair()


CHANGES = {
    "orthogonal": lambda x: x @ torch.linalg.qr(randn(x.shape[1], x.shape[1], seed=9)).Q,
    "scaling": lambda x: 3.7 * x,
    "translation": lambda x: x + 3 * randn(x.shape[1], seed=8),
    "invertible_linear": lambda x: (
        CHANGES["orthogonal"](x) * torch.logspace(0, 1.5, x.shape[1], dtype=x.dtype)
    ),
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("change", CHANGES)
def test_has_the_declared_invariances_and_no_other(name, change):
    measure = MEASURES[name]
    x, y = wide_enough(name)
    changed = CHANGES[change]
    before = measure.function(x, y)
    shifts = [
        float((measure.function(*sides) - before).abs())
        for sides in ((changed(x), y), (x, changed(y)))
    ]
    if getattr(measure, change):
        assert max(shifts) < 1e-8
    else:
        assert max(shifts) > 0.005


@pytest.mark.parametrize("name", MEASURES)
def test_symmetric_or_not(name):
    measure = MEASURES[name]
    x, y = wide_enough(name)
    apart = abs(float(measure.function(x, y) - measure.function(y, x)))
    if measure.symmetric:
        assert apart < 1e-9
    else:
        assert apart > 0.005


@pytest.mark.parametrize("name", MEASURES)
def test_stays_in_its_range(name):
    measure = MEASURES[name]
    for seed in range(8):
        x, y = pair(20, 12, 14, seed) if name == "subspace_overlap" else pair(20, 4, 5, seed)
        for sides in ((x, y), (x, -x[:, :1] + y), (x, randn(*y.shape, seed=99 + seed))):
            value = float(measure.function(*sides))
            assert measure.lowest <= value <= measure.highest
            assert measure.function(*sides).dtype == torch.float64


@pytest.mark.parametrize("name", MEASURES)
def test_of_a_representation_and_itself(name):
    measure = MEASURES[name]
    x, y = wide_enough(name)
    # arccos near 1 keeps half of the digits
    if measure.of_itself is None:
        assert float(measure.function(x, y)) < float(measure.function(x, x)) < measure.highest
    else:
        assert float(measure.function(x, x)) == pytest.approx(measure.of_itself, abs=1e-7)
        assert abs(float(measure.function(x, y)) - measure.of_itself) > 0.01


@pytest.mark.parametrize("name", MEASURES)
def test_needs_no_more_examples_than_it_says(name):
    measure = MEASURES[name]
    width = 10 if name == "subspace_overlap" else 1
    x, y = pair(measure.min_n, width, width)
    if name.startswith("rsa"):
        x, y = pair(measure.min_n, 3, 3)
    assert measure.function(x, y).isfinite()
    unwrapped = measure.function
    with pytest.raises(DataError, match=f"too few: this measure needs {measure.min_n}"):
        unwrapped(x[1:], y[1:])


@pytest.mark.parametrize("name", MEASURES)
def test_the_order_of_examples_does_not_matter_unless_they_fall_into_folds(name):
    x, y = wide_enough(name)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    before, after = (float(MEASURES[name].function(*s)) for s in ((x, y), (x[order], y[order])))
    assert after == pytest.approx(before, abs=0.05 if name == "ridge_predictivity" else 1e-9)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(
    "useless",
    [torch.zeros(14, 12), torch.full((14, 12), 0.1), torch.full((14, 12), torch.nan)],
    ids=["zeros", "constant", "nan"],
)
def test_undefined_is_nan(name, useless):
    other = randn(14, 12)
    for sides in ((useless, other), (other, useless)):
        assert MEASURES[name].function(*sides).isnan()


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize(("x", "y"), [((20, 3), (21, 3)), ((20,), (20,)), ((1, 20, 3), (1, 20, 3))])
def test_refuses_other_shapes(name, x, y):
    function = MEASURES[name].function
    # unwrapped: where shapes are checked by type, that check would speak first
    if isinstance(function, partial):
        function = partial(inspect.unwrap(function.func), **function.keywords)
    with pytest.raises(DataError, match="same examples"):
        inspect.unwrap(function)(randn(*x), randn(*y))


@pytest.mark.parametrize("name", MEASURES)
def test_large_offsets_and_half_precision_cost_little(name):
    x, y = wide_enough(name)
    half = x.to(torch.bfloat16)
    assert torch.equal(MEASURES[name].function(half, y), MEASURES[name].function(half.double(), y))
    if MEASURES[name].translation:
        moved = MEASURES[name].function(x + 1e5, y)
        assert float(moved) == pytest.approx(float(MEASURES[name].function(x, y)), abs=1e-7)


def test_every_measure_can_be_imported_by_its_name():
    plain = {
        name for name, measure in MEASURES.items() if not isinstance(measure.function, partial)
    }
    assert plain <= set(similarity.__all__)
    assert all(measure.name == name for name, measure in MEASURES.items())


@pytest.mark.parametrize("name", ["linear_cka", "procrustes_cosine", "svcca", "mutual_knn"])
def test_more_columns_than_rows(name):
    """Columns of zeros change nothing, and take the other way through the algebra."""
    x, y = pair()
    padded = torch.cat([x, torch.zeros(40, 60, dtype=x.dtype)], dim=1)
    measure = MEASURES[name].function
    assert float(measure(padded, y)) == pytest.approx(float(measure(x, y)), abs=1e-10)


PAGE = Path(__file__).parents[3] / "docs" / "similarity.md"


def documented():
    """The table of measures in the documentation: name → its cells."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| measure |"))
    names = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        rows[cells.pop("measure").strip("`")] = cells
    return rows


def test_the_documentation_has_every_measure():
    assert list(documented()) == list(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_the_documentation_says_what_the_measure_declares(name):
    measure, cells = MEASURES[name], documented()[name]
    assert cells.pop("what it tells")
    flags = {
        "rotation": measure.orthogonal,
        "scaling": measure.scaling,
        "translation": measure.translation,
        "invertible map": measure.invertible_linear,
        "symmetric": measure.symmetric,
    }
    assert cells == {
        **{column: "yes" if flag else "no" for column, flag in flags.items()},
        "range": f"{measure.lowest:.3g} to {measure.highest:.3g}",
        "itself": "–" if measure.of_itself is None else f"{measure.of_itself:g}",
        "min n": str(measure.min_n),
    }
