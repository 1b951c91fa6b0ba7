"""Two processes come to what one does: the same optimum from shared rows, the same results in order."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from taskdepth.errors import DataError
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.solver import fit_logistic
from two_ranks import found_by_two

pytestmark = pytest.mark.slow

TOLERANCE = 1e-12
CASES = {
    f"{n_classes} classes, {n} rows, {kind}": (n_classes, n, kind)
    for n_classes, n, kind in product([2, 4], [90, 14], ["plain", "weights"])
}


def sample(n_classes: int, n: int, kind: str) -> tuple[torch.Tensor, ...]:
    """Two problems of 20 dimensions, the last class in the second half of the rows only."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(2, n, 20, generator=generator, dtype=torch.float64) + 2
    y = torch.randint(n_classes - 1, (n,), generator=generator)
    y[-3:] = n_classes - 1
    weight = torch.rand(3, 1, n, generator=generator, dtype=torch.float64)
    weight[0, :, : n // 2] = 0  # the first rank holds no row of this problem
    return (x, y, weight) if kind == "weights" else (x, y)


def problems() -> list[ProbeProblem]:
    generator = torch.Generator().manual_seed(0)
    part = torch.arange(60) % 6
    found = []
    for task in "abc":
        y = torch.randint(2, (60,), generator=generator)
        x = torch.randn(2, 60, 4, generator=generator) + y[:, None]
        splits = {"is_train": part < 4, "is_validation": part == 4, "is_test": part == 5}
        names: dict[str, Any] = {"model": "m", "role": "r", "task": task, "cluster": "c"}
        names |= {"target": "label", "pooling": "last_token", "class_names": ("no", "yes")}
        found.append(ProbeProblem(**names, x=x, y=y, **splits))
    return found


def work_of_a_rank(rank: int, folder: Path) -> None:
    """What each of the two processes does."""
    import torch.distributed as dist

    from taskdepth.probing.sharded import fit_logistic_sharded

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    for name, (n_classes, n, kind) in CASES.items():
        half = slice(0, n // 3) if rank == 0 else slice(n // 3, n)
        x, y, *weight = sample(n_classes, n, kind)
        fit = fit_logistic_sharded(
            x[:, half],
            y[half],
            0.3,
            n_classes=n_classes,
            weight=weight[0][..., half] if weight else None,
            tolerance=TOLERANCE,
        )
        found[name] = (fit.objective, fit.weight, fit.bias, fit.predict(x))
    try:
        fit_logistic_sharded(x / rank, y, 1.0, n_classes=4)  # the first rank's rows are infinite
    except DataError as error:
        found["refused"] = str(error)
    results = fit_probes(problems(), l2s=[1.0], seed=0, accelerator="cpu", progress=False)
    found["probes"] = [(result.task, result.accuracy) for result in results]
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return found_by_two(Path(__file__), tmp_path_factory.mktemp("sharded"), port=29500)


@pytest.mark.parametrize("name", CASES)
def test_rows_on_two_ranks_have_the_optimum_of_one(name: str, found: list[dict[str, Any]]) -> None:
    n_classes, n, kind = CASES[name]
    x, y, *weight = sample(n_classes, n, kind)
    alone = fit_logistic(
        x,
        y,
        0.3,
        n_classes=n_classes,
        weight=weight[0] if weight else None,
        tolerance=TOLERANCE,
    )
    for a, b in zip(*(of_rank[name] for of_rank in found), strict=True):
        assert torch.equal(a, b), "the same iterates on both ranks"
    objective, fit_weight, bias, predicted = found[0][name]
    torch.testing.assert_close(objective, alone.objective, rtol=1e-9, atol=0)
    torch.testing.assert_close(fit_weight, alone.weight, rtol=0, atol=1e-4)
    torch.testing.assert_close(bias, alone.bias, rtol=0, atol=1e-4)
    assert torch.equal(predicted, alone.predict(x))


def test_rows_that_cannot_be_fitted_stop_every_rank(found: list[dict[str, Any]]) -> None:
    assert "not finite" in found[0]["refused"]
    assert "another rank" in found[1]["refused"]


def test_probes_on_two_ranks_are_those_of_one(found: list[dict[str, Any]]) -> None:
    alone = fit_probes(problems(), l2s=[1.0], seed=0, accelerator="cpu", progress=False)
    for of_rank in found:
        assert [task for task, _ in of_rank["probes"]] == ["a", "b", "c"]
        for (_, accuracy), expected in zip(of_rank["probes"], alone, strict=True):
            assert torch.equal(accuracy, expected.accuracy)
