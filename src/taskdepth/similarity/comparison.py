"""Similarity of two models at every depth at once, with its chance floor and its uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from taskdepth.errors import DataError, nearest
from taskdepth.similarity.bootstrap import (
    bootstrap_cka,
    centred_interval,
    percentile_interval,
    sample_weights,
)
from taskdepth.similarity.centring import centred, standardised
from taskdepth.similarity.cka import (
    COPIES,
    MIN_EXAMPLES,
    NO_STRUCTURE,
    NO_VARIANCE,
    TOO_FEW,
    centred_rbf_kernel,
    positive_or_nan,
    unbiased_hsic,
)
from taskdepth.similarity.direct import measured
from taskdepth.similarity.estimate import Estimate
from taskdepth.similarity.influence import leave_one_out_cka
from taskdepth.similarity.measure import MEASURES

CHUNK_ELEMENTS = 2**21  # of the Gram matrices of one side that are held at once: 16 MiB
BOTH_CKA = ("linear_cka", "debiased_cka")
BY_GRAMS = (*BOTH_CKA, "rbf_cka")  # these have an interval and an influence

GramOf = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two models' similarity at every depth on `n` examples, after `n_masked` were dropped.

    `estimates` are by measure. Their `worst_row` counts the rows as they were given.
    """

    estimates: Mapping[str, Estimate]
    n: int
    n_masked: int

    @property
    def linear_cka(self) -> Estimate:
        return self.estimates["linear_cka"]

    @property
    def debiased_cka(self) -> Estimate:
        return self.estimates["debiased_cka"]


def compare(
    x: Float[Tensor, "n_depths n p"],
    y: Float[Tensor, "n_depths n q"],
    measures: Sequence[str] = BOTH_CKA,
    *,
    standardise: bool = False,
    n_bootstrap: int = 200,
    n_shuffles: int = 20,
    seed: int = 0,
) -> Comparison:
    """Similarity of `x[d]` and `y[d]` for every depth d, by each of `measures`.

    Row i is the same example on both sides and at all depths: `join` finds such rows. A row that is
    not finite at any depth of either side is dropped everywhere. All depths share the bootstrap
    samples and the permutations, which therefore do not blur differences between depths. The kinds of
    CKA have an interval and the influence of the worst row, from their Gram matrices (the RBF kernel
    keeps the bandwidth of all rows); the other measures are called, see `measured`. `standardise`
    scales every dimension of the rows that are compared to the same variance.

    The interval of `debiased_cka` is that of the percentiles. In simulations of normal data with
    n = 16 to 200 and p = 10 to 128 it held the population's value in 90 to 100 % of the runs: it
    errs on the wide side where the value is near 0. The samples of the biased `linear_cka` lie too
    high, often all above the value, because a sample has fewer distinct examples. They are shifted
    until their median is the value; that interval is about the value to expect at this n (held in
    81 to 100 % of the runs, least with n = 16), not about the population's. Reflecting the samples
    (the "basic" interval) did worse for both. Bounds are NaN where more than 5 % of the samples are
    undefined, as with n < 8.

    Raises:
        DataError: the sides differ in their depths or examples, or a measure is unknown.
    """
    if x.ndim != 3 or y.ndim != 3 or x.shape[:2] != y.shape[:2]:
        raise DataError(
            "x and y must hold the same depths and the same examples: their shapes are "
            f"{list(x.shape)} and {list(y.shape)}"
        )
    for name in measures:
        if name not in MEASURES:
            raise DataError(f"no measure is called {name}: {nearest(name, list(MEASURES))}")
    finite = _finite_rows(x) & _finite_rows(y)
    n = int(finite.sum())
    n_masked = len(finite) - n
    if n < MIN_EXAMPLES:
        nothing = Estimate.nothing(len(x), TOO_FEW)
        return Comparison(dict.fromkeys(measures, nothing), n, n_masked)
    if n_masked:
        x, y = x[:, finite], y[:, finite]
    generator = torch.Generator().manual_seed(seed)
    weights = sample_weights(n, n_bootstrap, generator).to(x.device)
    orders = [torch.randperm(n, generator=generator).to(x.device) for _ in range(n_shuffles)]
    prepare = standardised if standardise else centred
    found: dict[str, Estimate] = {}
    if set(BOTH_CKA) & set(measures):
        gram = partial(_gram, prepare=prepare)
        both = _by_grams(x, y, gram, (NO_VARIANCE, NO_STRUCTURE), weights, orders)
        found |= dict(zip(BOTH_CKA, both, strict=True))
    if "rbf_cka" in measures:
        gram = partial(_rbf_gram, prepare=prepare)
        found["rbf_cka"], _ = _by_grams(x, y, gram, (COPIES, COPIES), weights, orders)
    for name in measures:
        if name not in found:
            found[name] = measured(
                MEASURES[name], x, y, orders, standardised if standardise else None
            )
    given = finite.nonzero()[:, 0].cpu()
    return Comparison({name: _as_given(found[name], given) for name in measures}, n, n_masked)


def join(
    ids_x: Sequence[str], ids_y: Sequence[str]
) -> tuple[Int[Tensor, " n_common"], Int[Tensor, " n_common"]]:
    """Where the examples that both sides have are found on each, in the order of `ids_x`.

    Raises:
        DataError: an id occurs twice on one side, or none is on both.

    >>> join(["a", "b", "c"], ["c", "x", "a"])
    (tensor([0, 2]), tensor([2, 0]))
    """
    for ids in (ids_x, ids_y):
        if repeated := [name for name, count in Counter(ids).items() if count > 1]:
            raise DataError(
                f"{len(repeated)} examples occur more than once in one model's activations, "
                f"such as {repeated[0]!r}"
            )
    position = {name: index for index, name in enumerate(ids_y)}
    common = [(index, position[name]) for index, name in enumerate(ids_x) if name in position]
    if not common:
        raise DataError(
            f"the two models have no example in common among {len(ids_x)} and {len(ids_y)}"
        )
    index_x, index_y = torch.tensor(common).unbind(1)
    return index_x, index_y


def _finite_rows(x: Tensor) -> Bool[Tensor, " n"]:
    return x.isfinite().all(dim=-1).all(dim=0)


def _gram(x: Tensor, prepare: Callable[[Tensor], Tensor]) -> Float[Tensor, "n_depths n n"]:
    x = prepare(x)
    return x @ x.mT


def _rbf_gram(x: Tensor, prepare: Callable[[Tensor], Tensor]) -> Float[Tensor, "n_depths n n"]:
    return torch.stack([centred_rbf_kernel(side) for side in prepare(x)])


def _by_grams(
    x: Float[Tensor, "n_depths n p"],
    y: Float[Tensor, "n_depths n q"],
    gram: GramOf,
    undefined_where: tuple[str, str],
    weights: Float[Tensor, "n_bootstrap n"],
    orders: Sequence[Int[Tensor, " n"]],
) -> tuple[Estimate, Estimate]:
    """The biased and the debiased measure, some depths at a time; `undefined_where` of each."""
    n_at_once = max(1, CHUNK_ELEMENTS // x.shape[1] ** 2)
    chunks = [
        _estimates(gram(some_x), gram(some_y), weights, orders)
        for some_x, some_y in zip(torch.split(x, n_at_once), torch.split(y, n_at_once), strict=True)
    ]
    constant = [_is_constant(one) or _is_constant(other) for one, other in zip(x, y, strict=True)]
    biased, debiased = (
        _joined(list(estimates), constant, where)
        for estimates, where in zip(zip(*chunks, strict=True), undefined_where, strict=True)
    )
    return biased, debiased


def _is_constant(x: Float[Tensor, "n p"]) -> bool:
    return not bool((x != x[:1]).any())


def _estimates(
    gram_x: Float[Tensor, "n_depths n n"],
    gram_y: Float[Tensor, "n_depths n n"],
    weights: Float[Tensor, "n_bootstrap n"],
    orders: Sequence[Int[Tensor, " n"]],
) -> tuple[Estimate, Estimate]:
    """Both measures at some of the depths; `orders` are the permutations of the rows of y."""
    norms_x, norms_y = (gram.diagonal(dim1=-2, dim2=-1) for gram in (gram_x, gram_y))
    xx, yy = gram_x.square().sum((-2, -1)), gram_y.square().sum((-2, -1))
    hsic_xx = positive_or_nan(unbiased_hsic(xx, norms_x, norms_x), xx)
    hsic_yy = positive_or_nan(unbiased_hsic(yy, norms_y, norms_y), yy)
    scales = torch.stack([xx.sqrt() * yy.sqrt(), hsic_xx.sqrt() * hsic_yy.sqrt()])

    def values(permuted_y: Tensor, permuted_norms_y: Tensor) -> Float[Tensor, "2 n_depths"]:
        xy = (gram_x * permuted_y).sum((-2, -1))
        return torch.stack([xy, unbiased_hsic(xy, norms_x, permuted_norms_y)]) / scales

    found = values(gram_y, norms_y)
    total = torch.zeros_like(scales)
    for order in orders:
        total += values(gram_y[:, order[:, None], order], norms_y[:, order])
    floors = total / len(orders) if orders else total * torch.nan
    linear_samples, debiased_samples = bootstrap_cka(gram_x, gram_y, weights)
    lower, upper = centred_interval(found[0], linear_samples)
    bounds = (
        (lower.clamp(min=0), upper.clamp(max=1)),
        percentile_interval(found[1], debiased_samples),
    )
    without_one = leave_one_out_cka(gram_x, gram_y)
    linear, debiased = (
        Estimate(value, *around, floor, *_worst(others - value[:, None]), ("",) * len(value))
        for value, around, floor, others in zip(found, bounds, floors, without_one, strict=True)
    )
    return linear, debiased


def _worst(
    changes: Float[Tensor, "n_depths n"],
) -> tuple[Float[Tensor, " n_depths"], Int[Tensor, " n_depths"]]:
    """The largest change and its row. Without a value there is none; a row without which there is
    no value is the worst, and its change is NaN."""
    sizes = changes.abs().nan_to_num(nan=torch.inf)
    row = sizes.argmax(dim=1)
    influence = changes.gather(1, row[:, None])[:, 0]
    return influence, torch.where(changes.isnan().all(dim=1), -1, row)


def _joined(parts: Sequence[Estimate], constant: Sequence[bool], undefined_where: str) -> Estimate:
    """The estimates of consecutive depths as one, on the CPU, and why there is no value."""
    names = [field.name for field in fields(Estimate) if field.name != "undefined"]
    columns = {name: torch.cat([getattr(part, name) for part in parts]).cpu() for name in names}
    reasons = tuple(
        (NO_VARIANCE if same else undefined_where) if missing else ""
        for same, missing in zip(constant, columns["value"].isnan().tolist(), strict=True)
    )
    return Estimate(**columns, undefined=reasons)


def _as_given(estimate: Estimate, given: Int[Tensor, " n"]) -> Estimate:
    """`worst_row` as the place of a row before any was dropped."""
    row = estimate.worst_row
    return replace(estimate, worst_row=torch.where(row >= 0, given[row.clamp(min=0)], -1))
