"""Probes from minibatches come near the optimum, whoever reads the rows and on however many ranks."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from probe_problems import DEPTHS, D, HeldRows, N, problem
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore
from taskdepth.errors import ConfigError
from taskdepth.probing.minibatches import Minibatches, fit_in_minibatches
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.problem import ProbeProblem, StateRows, StreamedProblem
from taskdepth.probing.result import Extras, ProbeResult
from taskdepth.probing.streaming import JoinedRows
from two_ranks import found_by_two

pytestmark = pytest.mark.slow

L2S = (1.0, 10.0, 100.0)
SETTINGS = Minibatches(batch_rows=128, max_epochs=60)


def streamed(given: ProbeProblem, states: StateRows | None = None) -> StreamedProblem:
    about = {f.name: getattr(given, f.name) for f in fields(given) if f.name != "x"}
    return StreamedProblem(states=states or HeldRows(given.x), **about)


def trained(
    given: StreamedProblem, settings: Minibatches = SETTINGS, extras: Extras | None = None
) -> ProbeResult:
    (found,) = fit_in_minibatches(
        [given], settings, l2s=L2S, seed=0, extras=extras, accelerator="cpu", progress=False
    )
    return found


def digits() -> ProbeProblem:
    """The digits, and at another "depth" nothing that tells them apart."""
    data, labels = load_digits(return_X_y=True)
    x = torch.tensor(data, dtype=torch.float32)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    names = tuple("0123456789")
    return problem(
        x=torch.stack([x, noise]), y=torch.tensor(labels), n_classes=10, class_names=names
    )


@pytest.mark.parametrize("given", [problem(), problem(n_classes=2), digits()])
def test_accuracies_come_near_those_of_the_optimum(given: ProbeProblem) -> None:
    extras = Extras(scores=("auroc",))
    (exact,) = fit_probes(
        [given], l2s=L2S, seed=0, extras=extras, accelerator="cpu", progress=False
    )
    near = trained(streamed(given), extras=extras)
    known = exact.accuracy > 0.7
    assert bool(known.any())
    torch.testing.assert_close(near.accuracy[known], exact.accuracy[known], atol=0.02, rtol=0)
    torch.testing.assert_close(
        near.scores["auroc"][known], exact.scores["auroc"][known], atol=0.005, rtol=0
    )
    chance = 1 / len(given.class_names)
    assert bool((near.accuracy[~known] < chance + 0.15).all())
    assert bool((near.control_task_accuracy < chance + 0.15).all())
    assert bool(((near.lower <= near.accuracy) & (near.accuracy <= near.upper)).all())
    assert (near.n, near.majority) == (exact.n, exact.majority)
    assert set(near.l2.tolist()) <= set(L2S)


def test_the_objective_is_that_of_the_optimum() -> None:
    """A full batch goes to where `fit_logistic` goes."""
    given = problem(n_classes=2)
    (exact,) = fit_probes(
        [given], l2s=(100.0,), seed=0, extras=Extras(keep_probes=True), progress=False
    )
    settings = Minibatches(batch_rows=N, lr=0.02, max_epochs=400, patience=400)
    extras = Extras(keep_probes=True)
    (near,) = fit_in_minibatches(
        [streamed(given)], settings, l2s=(100.0,), seed=0, extras=extras, progress=False
    )
    assert exact.probes is not None
    assert near.probes is not None
    train = given.is_train
    x, y = exact.probes.scaling.apply(given.x[:, train])[2:], given.y[train]
    fit = near.probes.fit
    logits = (x @ fit.weight[0, 2:] + fit.bias[0, 2:, None])[..., 0]
    loss = binary_cross_entropy_with_logits(
        logits, y.float().expand_as(logits), reduction="none"
    ).sum(dim=-1)
    objective = loss + 50 * fit.weight[0, 2:].square().sum(dim=(1, 2))
    torch.testing.assert_close(
        objective.double(), exact.probes.fit.objective[0, 2:], rtol=1e-3, atol=0
    )


def test_the_seed_decides() -> None:
    given, short = streamed(problem()), Minibatches(batch_rows=64, max_epochs=2)
    first, again = (trained(given, short, Extras(keep_probes=True)) for _ in range(2))
    assert first.probes is not None
    assert again.probes is not None
    assert torch.equal(first.probes.fit.weight, again.probes.fit.weight)
    (other,) = fit_in_minibatches(
        [given], short, l2s=L2S, seed=1, extras=Extras(keep_probes=True), progress=False
    )
    assert other.probes is not None
    assert not torch.equal(first.probes.fit.weight, other.probes.fit.weight)


class Mapped:
    """States in a store on the disk; notes how many rows are read at a time."""

    def __init__(self, x: Tensor, folder: Path) -> None:
        store = ActivationStore(folder, shard_rows=100)
        recording = store.record("key", [str(i) for i in range(N)], {})
        for rows in recording.missing:
            part = x[:, rows.start : rows.stop]
            recording.write(rows, {Pooling.LAST_TOKEN: part})
        recording.finish()
        self._stored = store.open("key")
        self.shape = (DEPTHS, N, D)
        self.read_rows: list[int] = []

    def read(self, rows: Tensor) -> Tensor:
        self.read_rows += rows.tolist()
        assert len(rows) <= SETTINGS.batch_rows
        return self._stored.states(Pooling.LAST_TOKEN, rows=rows.tolist())


def test_rows_from_the_disk_give_the_same_and_test_rows_are_read_once(tmp_path: Path) -> None:
    given, extras = problem(), Extras(keep_probes=True)
    mapped = Mapped(given.x, tmp_path)
    found, expected = (
        trained(streamed(given, states), extras=extras) for states in (mapped, HeldRows(given.x))
    )
    assert found.probes is not None
    assert expected.probes is not None
    assert torch.equal(found.probes.fit.weight, expected.probes.fit.weight)
    assert torch.equal(found.accuracy, expected.accuracy)
    n_read = torch.tensor(mapped.read_rows).bincount(minlength=N)
    assert set(n_read[given.is_test].tolist()) == {1}
    (n_epochs,) = set(n_read[given.is_validation].tolist())
    assert set(n_read[given.is_train].tolist()) == {n_epochs + 1}  # once more, to scale them


def test_parts_are_read_as_one() -> None:
    x = problem().x
    parts = JoinedRows([HeldRows(x[:, :250]), HeldRows(x[:, 250:250]), HeldRows(x[:, 250:])])
    assert parts.shape == (DEPTHS, N, D)
    rows = torch.tensor([599, 0, 250, 249, 250])
    assert torch.equal(parts.read(rows), x[:, rows])
    assert parts.read(rows[:0]).shape == (DEPTHS, 0, D)


def test_a_wide_scale_or_a_constant_dimension_does_not_matter() -> None:
    given = problem()
    x = 1000 * given.x + 500
    x[..., -1] = 7.0
    near, far = trained(streamed(given)), trained(streamed(problem(x=x)))
    torch.testing.assert_close(far.accuracy[2:], near.accuracy[2:], atol=0.03, rtol=0)


def test_code_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="states in memory"):
        trained(streamed(problem()), extras=Extras(mdl=True))


RANKS = Minibatches(batch_rows=90, max_epochs=4)  # the last batch of 400 rows is a small one


def fitted_together() -> dict[str, Any]:
    found = {}
    for n_classes in (2, 3):
        result = trained(
            streamed(problem(n_classes=n_classes)), RANKS, Extras("wilson", ("auroc",), False, True)
        )
        assert result.probes is not None
        fit, scaling = result.probes.fit, result.probes.scaling
        found[str(n_classes)] = [
            *(fit.weight, fit.bias, scaling.mean, scaling.deviation),
            *(result.accuracy, result.l2, result.scores["auroc"]),
        ]
    return found


def work_of_a_rank(rank: int, folder: Path) -> None:
    """What each of the two processes does."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(fitted_together(), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_come_to_what_one_does(tmp_path: Path) -> None:
    of_ranks = found_by_two(Path(__file__), tmp_path, port=29511)
    alone = fitted_together()
    for of_rank in of_ranks:
        for name, expected in alone.items():
            for a, b in zip(of_rank[name], expected, strict=True):
                assert float((a - b).norm() / b.norm()) < 1e-5
