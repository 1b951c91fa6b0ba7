"""States as points of a plane: principal components, or t-SNE."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor

from taskdepth.errors import ConfigError, DataError
from taskdepth.similarity.centring import centred, meaningful, narrowed, thin_svd

TSNE_COMPONENTS = 50  # principal components that t-SNE starts from: the usual way to drop noise
TSNE_MISSING = "t-SNE needs scikit-learn: pip install 'taskdepth[tsne]'"


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """`points[i]` is row i; `shares` are those of the variance on each axis, None where axes have none."""

    points: Float[Tensor, "n 2"]
    shares: tuple[float, float] | None


def pca(x: Float[Tensor, "n p"]) -> Projection:
    """The first two principal components; each points to where its largest deviation is positive.

    NaN where the rows do not differ.

    Raises:
        DataError: fewer than 2 rows or columns.
    """
    if x.ndim != 2 or min(x.shape) < 2:
        raise DataError(f"a plane needs 2 rows and columns or more, not {list(x.shape)}")
    rows = centred(x)
    if not meaningful(rows):
        return Projection(torch.full((len(x), 2), torch.nan, dtype=torch.float64), None)
    scores, scales = _scores(rows)
    held = (scales.square() / scales.square().sum()).tolist()
    return Projection(scores[:, :2], (held[0], held[1]))


def tsne(x: Float[Tensor, "n p"], *, seed: int = 0, perplexity: float = 30.0) -> Projection:
    """t-SNE of the first 50 principal components, begun from the first two; its axes mean nothing.

    van der Maaten & Hinton 2008, JMLR 9. NaN where the rows do not differ. The perplexity is lowered
    to a third of the rows where these are few.

    Raises:
        ConfigError: scikit-learn is not installed.
        DataError: fewer than 2 rows or columns.
    """
    start = pca(x)
    if start.shares is None:
        return start
    if find_spec("sklearn") is None:
        raise ConfigError(TSNE_MISSING)
    from sklearn.manifold import TSNE

    scores, _ = _scores(centred(x))
    method = TSNE(init="pca", perplexity=min(perplexity, (len(x) - 1) / 3), random_state=seed)
    points = method.fit_transform(scores[:, :TSNE_COMPONENTS].numpy())
    return Projection(torch.from_numpy(points).to(torch.float64), None)


def _scores(rows: Float[Tensor, "n p"]) -> tuple[Float[Tensor, "n r"], Float[Tensor, " r"]]:
    u, scales, _ = thin_svd(narrowed(rows))
    largest = u.gather(0, u.abs().argmax(0, keepdim=True))
    return u * scales * largest.sign(), scales
