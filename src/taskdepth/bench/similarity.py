"""Similarity: all depths of two models at once, beside the way of the paper's authors."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from taskdepth.bench.row import BenchRow
from taskdepth.bench.timing import wall_s
from taskdepth.similarity.cka import debiased_cka, linear_cka
from taskdepth.similarity.grid import CkaGrid, cka_grid

WIDTH = 4096  # Llama 2 7B
GOALS = {256: 100.0, 1000: 20.0, 2000: 10.0}  # times the authors' speed per pair, by examples
GRID_GOAL = 1 / 1.2  # of the time that the Gram matrices take
TOLERANCE = 1e-5
N_THEIRS = 2  # pairs that the authors' way is timed on
N_REPEATS = 2
OFFSET = 100.0  # what all rows share, in units of their spread
MODELS = ("pretrained", "experimental", "control")

# One process per pair: loads both sides, and computes every term again
THEIRS = """
import sys
import numpy as np

x, y = (np.load(path).astype(np.float64) for path in sys.argv[1:])
x -= x.mean(axis=0)
y -= y.mean(axis=0)
xy = np.linalg.norm(x.T @ y) ** 2
xx = np.linalg.norm(x.T @ x)
yy = np.linalg.norm(y.T @ y)
print(repr(float(xy / (xx * yy))))
"""


def run(n_depths: int) -> list[BenchRow]:
    """Every comparison, for each number of examples.

    The pairs that `probe.py` needs, and that the goals are of, are those of the pre-trained and the
    experimental model with the control model at equal depths: two pairs from three Gram matrices. Two
    models alone have one pair from two, or all pairs of their depths, which cost hardly more.
    """
    return [row for n, goal in GOALS.items() for row in _of_size(n, n_depths, goal)]


def _of_size(n: int, n_depths: int, goal: float) -> list[BenchRow]:
    with tempfile.TemporaryDirectory() as folder:
        files = _written(Path(folder), n, n_depths)
        two = {model: files[model] for model in MODELS[1:]}
        grids: list[CkaGrid] = []
        three_s = _best_s(lambda: grids.append(_ours(files)))
        two_s = _best_s(lambda: _ours(two))
        grams_s = _best_s(lambda: _grams(two))
        timed = [round(i * (n_depths - 1) / max(1, N_THEIRS - 1)) for i in range(N_THEIRS)]
        # the best of each side: what else the machine does should favour neither
        theirs = {depth: _theirs(two, depth) for depth in timed}
        pair_s = min(seconds for seconds, _ in theirs.values())
        linear, _ = grids[-1].between(*two)
        apart = max(
            abs(value - float(linear[depth, depth])) for depth, (_, value) in theirs.items()
        )
        exact_apart = _distance_from_float64(grids[-1], two, timed)
    what = f"CKA, n = {n}, {n_depths} depths: "
    against = "the authors' way, one process per pair"
    n_all = n_depths * (2 * n_depths - 1)
    compared = [
        ("two models, each with the control model at equal depths", 2 * n_depths, three_s, goal),
        ("two models at equal depths", n_depths, two_s, None),
        (f"all {n_all} pairs of two models' depths", n_all, two_s, None),
    ]
    rows = [
        BenchRow(
            what + name,
            against,
            ratio=pair_s * n_pairs / ours_s,
            goal=of_goal,
            ours_s=ours_s,
            theirs_s=pair_s * n_pairs,
            agreement=apart,
            agrees=apart <= TOLERANCE,
        )
        for name, n_pairs, ours_s, of_goal in compared
    ]
    grid = BenchRow(
        what + "all pairs, both estimators",
        f"{2 * n_depths} bare float32 Gram matrices",
        ratio=grams_s / two_s,
        goal=GRID_GOAL,
        ours_s=two_s,
        theirs_s=grams_s,
        agreement=exact_apart,
        agrees=exact_apart <= TOLERANCE,
    )
    return [*rows, grid]


def _written(folder: Path, n: int, n_depths: int) -> dict[str, list[Path]]:
    """Models that share less with depth, far off the origin, one file per model and depth."""
    order = torch.Generator().manual_seed(0)
    shared, offset = torch.randn(n, WIDTH, generator=order), torch.randn(WIDTH, generator=order)
    files: dict[str, list[Path]] = {}
    for model in MODELS:
        files[model] = [folder / f"{model}-{depth}.npy" for depth in range(n_depths)]
        for depth, path in enumerate(files[model]):
            noise = torch.randn(n, WIDTH, generator=order) * (1 + depth) / n_depths
            np.save(path, (shared + noise + OFFSET * offset).numpy())
    return files


def _ours(files: dict[str, list[Path]]) -> CkaGrid:
    """From the same files to all values, each file mapped into memory once."""
    return cka_grid({model: [_mapped(path) for path in paths] for model, paths in files.items()})


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _grams(files: dict[str, list[Path]]) -> None:
    for paths in files.values():
        for path in paths:
            x = _mapped(path)
            x @ x.T


def _theirs(files: dict[str, list[Path]], depth: int) -> tuple[float, float]:
    """Seconds of one pair, and its linear CKA."""
    command = [sys.executable, "-c", THEIRS, *(str(of_model[depth]) for of_model in files.values())]
    start_s = time.perf_counter()
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start_s, float(found.stdout)


def _distance_from_float64(grid: CkaGrid, files: dict[str, list[Path]], depths: list[int]) -> float:
    """The furthest that either estimator lies from the float64 functions, at some depths."""
    maps = grid.between(*files)
    first, second = ([_mapped(of_model[depth]) for depth in depths] for of_model in files.values())
    return max(
        abs(float(measure(x, y) - found[i, j]))
        for measure, found in zip((linear_cka, debiased_cka), maps, strict=True)
        for i, x in zip(depths, first, strict=True)
        for j, y in zip(depths, second, strict=True)
    )


def _best_s(work: Callable[[], object]) -> float:
    return min(wall_s(work) for _ in range(N_REPEATS))
