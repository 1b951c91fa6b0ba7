"""How alike two models' representations of the same examples are."""

from taskdepth.similarity.cca import mean_squared_cca, pwcca, svcca
from taskdepth.similarity.cka import debiased_cka, linear_cka, rbf_cka
from taskdepth.similarity.comparison import Comparison, compare, join
from taskdepth.similarity.dissimilarity import rsa
from taskdepth.similarity.estimate import Estimate
from taskdepth.similarity.geometry import (
    Geometry,
    anisotropy,
    dimensions_for_variance,
    geometry_of,
    participation_ratio,
    top_dimensions_share,
)
from taskdepth.similarity.grid import CkaGrid, cka_grid
from taskdepth.similarity.influence import leave_one_out_cka
from taskdepth.similarity.measure import MEASURES, Measure
from taskdepth.similarity.neighbours import mutual_knn
from taskdepth.similarity.predictivity import ridge_predictivity
from taskdepth.similarity.shape import procrustes, procrustes_cosine
from taskdepth.similarity.streaming import DebiasedCKA, LinearCKA
from taskdepth.similarity.subspaces import principal_angles, subspace_overlap
from taskdepth.similarity.tasks import TaskSimilarity, task_similarity

__all__ = [
    "MEASURES",
    "CkaGrid",
    "Comparison",
    "DebiasedCKA",
    "Estimate",
    "Geometry",
    "LinearCKA",
    "Measure",
    "TaskSimilarity",
    "anisotropy",
    "cka_grid",
    "compare",
    "debiased_cka",
    "dimensions_for_variance",
    "geometry_of",
    "join",
    "leave_one_out_cka",
    "linear_cka",
    "mean_squared_cca",
    "mutual_knn",
    "participation_ratio",
    "principal_angles",
    "procrustes",
    "procrustes_cosine",
    "pwcca",
    "rbf_cka",
    "ridge_predictivity",
    "rsa",
    "subspace_overlap",
    "svcca",
    "task_similarity",
    "top_dimensions_share",
]
