"""CKA of all models at all depths with one another, from one Gram matrix each.

The unbiased HSIC of two sides is the inner product of their U-centred Gram matrices: zero on the
diagonal, rows that sum to zero (Székely & Rizzo 2014, doi:10.1214/14-AOS1255, section 3). With these
as rows of one matrix, all pairs of m representations are one product of m x m values, self-terms on
its diagonal. What the biased HSIC has beyond that depends on the norms of the centred rows alone.

Rows are centred before float32 is used, and U-centred entries are small where HSIC is small, so that
no digits cancel in the sums. m representations of n examples and width p cost m·n²·p operations, since
half of a symmetric matrix is enough, and m²·n² for all pairs. Beside the input, `PACKED_BYTES` and a
few copies of one representation are held at once, however large n is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from taskdepth.errors import DataError
from taskdepth.similarity.centring import centred
from taskdepth.similarity.cka import MIN_EXAMPLES, ROUNDING, TOO_FEW, biased_part, reasons_undefined

PACKED_BYTES = 2**30  # of Gram matrices that are held at once
# A Gram matrix is made of blocks of rows up to the diagonal: small ones waste little beyond it, but
# very small ones are slow
N_BLOCKS, MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 8, 64, 128
SUMMED_AT_ONCE = 2**16  # entries per float32 sum; the sums of these are float64
SMALLEST, LARGEST = 1e-20, 1e20  # mean squared norms whose products fit into float32
# Below this share of the squared trace, what float32 lost of a Gram matrix counts in U-centring
MIN_SHARE = 1 / 20_000


@dataclass(frozen=True, slots=True, eq=False)
class CkaGrid:
    """CKA of every two representations of the same `n` examples, after `n_masked` were dropped.

    The depths of all models in turn are the rows and columns of both measures. `undefined` says for
    each why its values are NaN; "" where they are not.
    """

    models: tuple[str, ...]
    n_depths: tuple[int, ...]
    linear_cka: Float[Tensor, "m m"]
    debiased_cka: Float[Tensor, "m m"]
    n: int
    n_masked: int
    undefined: tuple[str, ...]

    def rows(self, model: str) -> slice:
        """Where the depths of `model` are."""
        ends = list(accumulate(self.n_depths, initial=0))
        index = self.models.index(model)
        return slice(ends[index], ends[index + 1])

    def between(
        self, one: str, other: str
    ) -> tuple[Float[Tensor, "n_depths n_depths_other"], Float[Tensor, "n_depths n_depths_other"]]:
        """Linear and debiased CKA of all depths of one model with all of another, or its own."""
        where = self.rows(one), self.rows(other)
        return self.linear_cka[where], self.debiased_cka[where]


def cka_grid(
    models: Mapping[str, Sequence[Float[Tensor, "n _"]] | Float[Tensor, "n_depths n p"]],
) -> CkaGrid:
    """Linear and debiased CKA of every depth of every model with all others.

    `models` are the depths' activations by model. Row i is the same example everywhere; a row that is
    not finite at any depth of any model is dropped everywhere. Values are within 1e-5 of those of
    `linear_cka` and `debiased_cka`.

    Raises:
        DataError: nothing to compare, or not the same examples everywhere.
    """
    sides = [side for depths in models.values() for side in depths]
    shapes = {tuple(side.shape) for side in sides}
    if any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise DataError(
            "all depths of all models must be matrices with one row per example, the same examples "
            f"in all: their shapes are {sorted(shapes)}"
        )
    finite = torch.stack([_finite_rows(side) for side in sides]).all(dim=0)
    n, n_masked = int(finite.sum()), int((~finite).sum())
    if n < MIN_EXAMPLES:
        nothing = torch.full((len(sides), len(sides)), torch.nan, dtype=torch.float64)
        linear, debiased, reasons = nothing, nothing, (TOO_FEW,) * len(sides)
    else:
        if n_masked:
            sides = [side[finite] for side in sides]
        linear, debiased, reasons = _all_pairs(sides)
    n_depths = tuple(len(depths) for depths in models.values())
    return CkaGrid(tuple(models), n_depths, linear, debiased, n, n_masked, reasons)


def _finite_rows(x: Float[Tensor, "n p"]) -> Bool[Tensor, " n"]:
    # one sum is soon done, and finite where all is
    if x.sum(dtype=torch.promote_types(x.dtype, torch.float32)).isfinite():
        return torch.ones(len(x), dtype=torch.bool, device=x.device)
    return x.isfinite().all(dim=1)


def _all_pairs(
    sides: Sequence[Float[Tensor, "n _"]],
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m m"], tuple[str, ...]]:
    """Linear and debiased CKA of all pairs, and for each side why it has none."""
    width = sum(side.shape[1] for side in sides)
    if len(sides[0]) > width and 3 * torch.float64.itemsize * width**2 <= PACKED_BYTES:
        squared, hsic = _by_features(sides)
    else:
        squared, hsic = _by_grams(sides)
    own, own_debiased = squared.diagonal(), hsic.diagonal()
    own = torch.where(own > 0, own, torch.nan)
    own_debiased = torch.where(own_debiased > ROUNDING * own, own_debiased, torch.nan)
    reasons = reasons_undefined(own, own_debiased)
    linear, debiased = (
        (value / (scale[:, None].sqrt() * scale.sqrt())).cpu()
        for value, scale in ((squared, own), (hsic, own_debiased))
    )
    return linear, debiased, reasons


def _by_features(
    sides: Sequence[Float[Tensor, "n _"]],
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m m"]]:
    """‖xᵀy‖² and n(n - 3) times unbiased HSIC of all pairs, cheaper where n exceeds all widths together.

    One product of all columns of all sides, float64, block by block of rows.
    """
    shifts = [_mean_row(side) for side in sides]
    widths = torch.tensor([side.shape[1] for side in sides], device=sides[0].device)
    owner = torch.arange(len(sides), device=widths.device).repeat_interleave(widths)
    owns = torch.nn.functional.one_hot(owner, len(sides)).to(torch.float64)
    cross = torch.zeros(len(owner), len(owner), dtype=torch.float64, device=widths.device)
    norms = []
    n_rows = max(1, PACKED_BYTES // (3 * torch.float64.itemsize * len(owner)))
    for start in range(0, len(sides[0]), n_rows):
        rows = slice(start, start + n_rows)
        columns = torch.cat(
            [
                side[rows].to(torch.float64) - shift
                for side, shift in zip(sides, shifts, strict=True)
            ],
            dim=1,
        )
        cross += columns.T @ columns
        norms.append(columns.square() @ owns)
    squared = owns.T @ cross.square() @ owns
    return squared, squared - _of_norms(torch.cat(norms).T)


def _mean_row(x: Float[Tensor, "n p"]) -> Float[Tensor, "1 p"]:
    """In float64; exactly the row where all rows are the same."""
    first = x[:1].to(torch.float64)
    return first + (x.to(torch.float64) - first).mean(dim=0)


def _by_grams(
    sides: Sequence[Float[Tensor, "n _"]],
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m m"]]:
    """As `_by_features`, each side scaled to rows of mean squared norm 1."""
    exact = torch.zeros(len(sides), dtype=torch.bool)
    hsic, norms = _u_centred_products(sides, exact)
    weak = (hsic.diagonal() < MIN_SHARE * norms.sum(dim=1).square()).cpu()
    if bool(weak.any()):
        hsic, norms = _u_centred_products(sides, weak)
    return hsic + _of_norms(norms), hsic


def _of_norms(norms: Float[Tensor, "m n"]) -> Float[Tensor, "m m"]:
    """The `biased_part` of all pairs."""
    totals = norms.sum(dim=1)
    return biased_part(norms.shape[1], norms @ norms.T, totals[:, None], totals)


def _u_centred_products(
    sides: Sequence[Float[Tensor, "n _"]], exact: Bool[Tensor, " m"]
) -> tuple[Float[Tensor, "m m"], Float[Tensor, "m n"]]:
    """Inner products of all U-centred Gram matrices, and the squared norms of all centred rows.

    Sides are scaled as in `_by_grams`. Those that are `exact` are U-centred in float64.
    """
    m, n, device = len(sides), len(sides[0]), sides[0].device
    max_entries = PACKED_BYTES // (torch.float32.itemsize * m)
    n_rows = min(max(MIN_BLOCK_ROWS, -(-n // N_BLOCKS)), MAX_BLOCK_ROWS, max(1, max_entries // n))
    blocks = [(start, min(start + n_rows, n)) for start in range(0, n, n_rows)]
    norms = torch.zeros(m, n, dtype=torch.float64, device=device)
    products = torch.zeros(m, m, dtype=torch.float64, device=device)
    # used again for every side: fresh memory costs as much as a pass over it
    space = torch.empty(n * max(side.shape[1] for side in sides), device=device)
    with _full_float32():
        for stripe in _stripes(blocks, max_entries):
            size = sum((stop - start) * stop for start, stop in stripe)
            packed = torch.empty(m, size, device=device)
            for index, side in enumerate(sides):
                rows, norms[index] = _centred_rows(side, bool(exact[index]), space)
                _pack(rows, norms[index], stripe, packed[index])
            for part in torch.split(packed, SUMMED_AT_ONCE, dim=1):
                products += part @ part.T
    means = norms.mean(dim=1, keepdim=True)
    # the lower halves of both matrices were enough
    return products + products.T, norms / torch.where(means > 0, means, 1)


def _stripes(
    blocks: Sequence[tuple[int, int]], max_entries: int
) -> Iterator[list[tuple[int, int]]]:
    """Consecutive blocks of rows, as many at once as fit."""
    stripe: list[tuple[int, int]] = []
    held = 0
    for start, stop in blocks:
        size = (stop - start) * stop
        if stripe and held + size > max_entries:
            yield stripe
            stripe, held = [], 0
        stripe.append((start, stop))
        held += size
    yield stripe


def _pack(
    rows: Float[Tensor, "n p"],
    norms: Float[Tensor, " n"],
    stripe: Sequence[tuple[int, int]],
    out: Float[Tensor, " size"],
) -> None:
    """Put the stripe's rows of the U-centred Gram matrix, up to the diagonal, into `out`.

    It is scaled to norms of mean 1.
    """
    total, n = norms.sum(), len(norms)
    scale = n / float(total) if float(total) > 0 else 1.0
    # centred rows: each row of the Gram matrix sums to 0, without its diagonal to minus the norm
    share = norms * scale / (n - 2)
    shared = (share - scale * total / ((n - 1) * (n - 2))).to(rows.dtype)
    share = share.to(rows.dtype)
    end = 0
    for start, stop in stripe:
        block = torch.addmm(shared[:stop], rows[start:stop], rows[:stop].T, alpha=scale)
        block += share[start:stop, None]
        begin, end = end, end + block.numel()
        out[begin:end] = block.tril_(start - 1).flatten()


def _centred_rows(
    x: Float[Tensor, "n p"], exact: bool, space: Float[Tensor, " size"]
) -> tuple[Float[Tensor, "n p"], Float[Tensor, " n"]]:
    """Centred rows, float32 unless `exact`, and their squared norms in float64.

    What all rows share is gone before float32 could cost digits. The rows are scaled only where
    squares do not fit into float32. `space` is overwritten, and may hold the result.
    """
    if not exact:
        precision = torch.promote_types(x.dtype, torch.float32)
        rows = space[: x.numel()].view_as(x)
        torch.sub(x.to(precision), x[:1].to(precision), out=rows)
        rows -= rows.mean(dim=0)
        norms = rows.norm(dim=1).to(torch.float64).square()
        if SMALLEST < float(norms.mean()) < LARGEST or not bool(rows.any()):
            return rows, norms
    rows = centred(x)
    largest = float(rows.abs().max())
    rows = (rows / (largest or 1.0)).to(torch.float64 if exact else torch.float32)
    return rows, rows.norm(dim=1).to(torch.float64).square()


@contextmanager
def _full_float32() -> Iterator[None]:
    """Float32 products in float32, also where training was told that less will do."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
