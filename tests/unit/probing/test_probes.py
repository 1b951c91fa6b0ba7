from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from probe_problems import DEPTHS, D, N, problem
from taskdepth.errors import DataError
from taskdepth.probing.control_tasks import shuffled_labels
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.problem import ProbeProblem
from taskdepth.probing.result import ProbeResult
from taskdepth.probing.rows import to_rows
from taskdepth.probing.scaling import standardised


def solved(
    *problems: ProbeProblem, l2s: tuple[float, ...] = (1.0, 10.0, 100.0)
) -> list[ProbeResult]:
    return fit_probes(problems, l2s=l2s, seed=0, accelerator="cpu", progress=False)


def test_accuracy_jumps_where_the_label_becomes_readable() -> None:
    (result,) = solved(problem())
    assert (result.accuracy[:2] < 0.5).all()
    assert (result.accuracy[2:] > 0.9).all()
    assert (result.control_task_accuracy < 0.5).all()
    torch.testing.assert_close(result.selectivity, result.accuracy - result.control_task_accuracy)
    assert ((result.lower <= result.accuracy) & (result.accuracy <= result.upper)).all()
    assert result.n == 100


def test_accuracy_is_sklearns_at_every_l2() -> None:
    given = problem()
    of_a_row = 1 / int(given.is_test.sum())  # which may lie on the border between two classes
    for l2 in (0.1, 1.0, 100.0):
        (result,) = solved(given, l2s=(l2,))
        for depth in range(DEPTHS):
            scaler = StandardScaler().fit(given.x[depth][given.is_train])
            model = LogisticRegression(C=1 / l2, tol=1e-8, max_iter=1000)
            model.fit(scaler.transform(given.x[depth][given.is_train]), given.y[given.is_train])
            score = model.score(
                scaler.transform(given.x[depth][given.is_test]), given.y[given.is_test]
            )
            assert float(result.accuracy[depth]) == pytest.approx(score, abs=of_a_row + 1e-9)


def test_validation_chooses_and_prefers_the_larger_l2() -> None:
    given = problem()
    (result,) = solved(given, l2s=(1e-3, 1e6))
    assert (result.l2[2:] <= 1e6).all()
    (flat,) = solved(problem(x=torch.zeros(1, N, D)), l2s=(1.0, 50.0, 2.0))
    assert flat.l2.tolist() == [50.0], "all the same: the largest"
    assert float(flat.accuracy[0]) == pytest.approx(flat.majority)


def test_majority_is_that_of_the_training_rows() -> None:
    y = torch.zeros(60, dtype=torch.int64)
    y[torch.arange(60) % 6 == 5] = 1  # in the test rows everything is class 1
    y[0] = 1
    (result,) = solved(problem(x=torch.randn(1, 60, 3), y=y, n_classes=2))
    assert result.majority == 0.0


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.flip(0),
        lambda x: torch.cat([x, x]),
        lambda x: x[:1],
    ],
    ids=["permuted", "duplicated", "alone"],
)
def test_depths_do_not_know_of_each_other(change: Callable[[Tensor], Tensor]) -> None:
    whole = problem()
    (expected,), (changed,) = solved(whole), solved(problem(x=change(whole.x)))
    index = change(torch.arange(DEPTHS))
    assert changed.accuracy.tolist() == expected.accuracy[index].tolist()
    assert changed.l2.tolist() == expected.l2[index].tolist()


def test_problems_keep_their_order_and_do_not_know_of_each_other() -> None:
    first, second = problem(), problem(task="cb")
    together, alone = solved(first, second), solved(second)
    assert [result.task for result in together] == ["rte", "cb"]
    assert torch.equal(together[1].accuracy, alone[0].accuracy)
    assert torch.equal(together[1].control_task_accuracy, alone[0].control_task_accuracy)


def test_scale_of_a_depth_does_not_matter() -> None:
    x = problem().x
    (small,), (large,) = solved(problem(x=x)), solved(problem(x=1000 * x + 500))
    assert large.accuracy.tolist() == pytest.approx(small.accuracy.tolist(), abs=0.011)


def test_standardised_leaves_constant_dimensions_at_zero() -> None:
    x = torch.full((1, 10, 2), 1234.5678)
    x[..., 1] = torch.arange(10.0)
    out = standardised(x, torch.arange(10) < 8)
    assert out[..., 0].abs().max() == 0
    torch.testing.assert_close(out[0, :8, 1].mean(), torch.tensor(0.0))
    torch.testing.assert_close(out[0, :8, 1].std(correction=0), torch.tensor(1.0))


def test_recall_by_group_adds_up_to_accuracy() -> None:
    group = torch.arange(N) // 6 % 4
    groups = (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"))
    (result,) = solved(
        problem(target="task", task="all", cluster="all", group=group, groups=groups)
    )
    assert [recall.task for recall in result.recalls] == ["a", "b", "c", "d"]
    total = sum(recall.value * recall.n for recall in result.recalls) / result.n
    torch.testing.assert_close(total, result.accuracy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": torch.zeros(N, dtype=torch.int64)}, "all of one class"),
        ({"is_validation": torch.zeros(N, dtype=torch.bool)}, "no validation rows"),
        ({"is_test": torch.zeros(N, dtype=torch.bool)}, "no test rows"),
    ],
)
def test_problems_without_an_answer_are_named(changes: dict[str, Tensor], message: str) -> None:
    with pytest.raises(DataError, match=f"label probe of rte on m.*{message}"):
        problem(**changes)  # type: ignore[arg-type]


def test_shuffled_labels_keep_frequencies_and_follow_the_seed() -> None:
    y = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    assert shuffled_labels(y, 1).bincount().tolist() == [50, 30, 20]
    assert torch.equal(shuffled_labels(y, 1), shuffled_labels(y, 1))
    assert not torch.equal(shuffled_labels(y, 1), shuffled_labels(y, 2))


def test_no_file_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    solved(problem())
    assert list(tmp_path.iterdir()) == []


def test_rows_say_what_the_result_says() -> None:
    (result,) = solved(problem(pooling="mean"))
    rows = list(to_rows(result, seed=3))
    assert len(rows) == DEPTHS * 5
    accuracy = [row for row in rows if row.name == "accuracy@mean"]
    assert [row.value for row in accuracy] == result.accuracy.tolist()
    assert [row.lower for row in accuracy] == result.lower.tolist()
    assert {row.name for row in rows} == {
        f"{name}@mean"
        for name in ("accuracy", "control_task_accuracy", "selectivity", "l2", "majority")
    }
    assert {(row.kind, row.task, row.target, row.seed, row.n) for row in rows} == {
        ("probe", "rte", "label", 3, 100)
    }
