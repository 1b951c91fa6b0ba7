"""`Measure`: a similarity of two representations, with what may be said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf, pi
from types import MappingProxyType

from torch import Tensor

from taskdepth.similarity import cca, dissimilarity, neighbours, predictivity, shape, subspaces
from taskdepth.similarity.cka import (
    COPIES,
    NO_STRUCTURE,
    NO_VARIANCE,
    debiased_cka,
    linear_cka,
    rbf_cka,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of `x` `[n, p]` and `y` `[n, q]`, and what it declares.

    Each invariance is to a change of either side alone: `orthogonal` maps (rotations, reflections,
    reordered columns), isotropic `scaling`, `translation` by one vector, any `invertible_linear`
    map. Values lie from `lowest` to `highest`; `of_itself` is that of a representation and itself,
    None where it depends on the data. `function` refuses fewer than `min_n` examples. Without
    variance on a side every measure is NaN; `undefined_where` says where else.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    min_n: int
    orthogonal: bool = True
    scaling: bool = True
    translation: bool = True
    invertible_linear: bool = False
    symmetric: bool = True
    lowest: float = 0.0
    highest: float = 1.0
    of_itself: float | None = 1.0
    undefined_where: str = NO_VARIANCE


_BY_COSINE = partial(dissimilarity.rsa, dissimilarity=dissimilarity.Dissimilarity.COSINE)
_BY_DISTANCE = partial(dissimilarity.rsa, dissimilarity=dissimilarity.Dissimilarity.EUCLIDEAN)
_BY_ANGLE = partial(neighbours.mutual_knn, normalise=True)
_CCA_N, _RSA_N, _KNN_N = cca.MIN_EXAMPLES, dissimilarity.MIN_EXAMPLES, neighbours.K + 2

_SPANS_ALL = "a side has as many dimensions as n examples can tell apart"
_ALL_ALIKE = "every two examples are equally dissimilar on a side, or one has no direction"
_ALL_NEAR = "every two examples are equally near on a side, or one has no direction"

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        measure.name: measure
        for measure in (
            Measure("linear_cka", linear_cka, min_n=2),
            Measure(
                "debiased_cka", debiased_cka, min_n=4, lowest=-1.0, undefined_where=NO_STRUCTURE
            ),
            Measure("rbf_cka", rbf_cka, min_n=2, undefined_where=COPIES),
            Measure(
                "mean_squared_cca",
                cca.mean_squared_cca,
                _CCA_N,
                invertible_linear=True,
                undefined_where=_SPANS_ALL,
            ),
            Measure("svcca", cca.svcca, _CCA_N, undefined_where=_SPANS_ALL),
            Measure(
                "pwcca",
                cca.pwcca,
                _CCA_N,
                orthogonal=False,
                symmetric=False,
                undefined_where=_SPANS_ALL,
            ),
            Measure(
                "procrustes", shape.procrustes, shape.MIN_EXAMPLES, highest=pi / 2, of_itself=0.0
            ),
            Measure("procrustes_cosine", shape.procrustes_cosine, shape.MIN_EXAMPLES),
            Measure(
                "rsa",
                dissimilarity.rsa,
                _RSA_N,
                orthogonal=False,
                translation=False,
                lowest=-1.0,
                undefined_where=_ALL_ALIKE,
            ),
            Measure(
                "rsa_cosine",
                _BY_COSINE,
                _RSA_N,
                translation=False,
                lowest=-1.0,
                undefined_where=_ALL_ALIKE,
            ),
            Measure("rsa_euclidean", _BY_DISTANCE, _RSA_N, lowest=-1.0, undefined_where=_ALL_ALIKE),
            Measure(
                "mutual_knn",
                neighbours.mutual_knn,
                _KNN_N,
                translation=False,
                undefined_where=_ALL_NEAR,
            ),
            Measure(
                "mutual_knn_cosine",
                _BY_ANGLE,
                _KNN_N,
                translation=False,
                undefined_where=_ALL_NEAR,
            ),
            Measure(
                "ridge_predictivity",
                predictivity.ridge_predictivity,
                min_n=predictivity.N_FOLDS,
                symmetric=False,
                lowest=-inf,
                of_itself=None,  # the penalty always costs a little
            ),
            Measure(
                "subspace_overlap",
                subspaces.subspace_overlap,
                subspaces.K + 2,
                undefined_where=f"a side has no {subspaces.K} leading dimensions of its own",
            ),
        )
    }
)
"""Every measure by its name, under its default settings."""
