"""Two processes that share work: every item once, results and errors on both."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from taskdepth import ranks
from taskdepth.errors import ConfigError, DataError
from taskdepth.ranks import deal, in_shares
from two_ranks import found_by_two


def work_of_a_rank(rank: int, folder: Path) -> None:
    """What each of the two processes does."""
    found: dict[str, Any] = {"before": (ranks.n_ranks(), ranks.is_first())}
    with ranks.joined("cpu"):
        found["inside"] = (ranks.n_ranks(), ranks.rank(), ranks.n_nodes(), ranks.is_first())
        try:
            in_shares([1.0] * 4, lambda share: [refuse(item) for item in share])
        except DataError as error:
            found["failed"] = str(error)
        found["own"] = in_shares([3.0, 1.0, 2.0], lambda share: [(rank, item) for item in share])
        found["first"] = ranks.first_does(lambda: f"done by {rank} of {ranks.n_ranks()}")
        found["shared"] = ranks.first_does(lambda: in_shares([1.0] * 2, lambda share: share))
        try:
            ranks.first_does(lambda: refuse(1))
        except DataError as error:
            found["refused"] = str(error)
        fetched = folder / "fetched"

        def fetch() -> bool:
            was_there = fetched.exists()
            fetched.touch()
            return was_there

        found["fetched"] = ranks.first_before_others(fetch)
        found["all"] = ranks.told_by_all(rank)
        found["total"] = ranks.total(torch.tensor([1.0, rank])).tolist()
    found["after"] = ranks.n_ranks()
    torch.save(found, folder / f"{rank}.pt")


def refuse(item: int) -> int:
    if item == 1:
        raise DataError("item 1 cannot be done")
    return item


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return found_by_two(Path(__file__), tmp_path_factory.mktemp("ranks"), port=29502)


@pytest.mark.parametrize(
    ("what", "of_first", "of_second"),
    [
        ("before", (1, True), (1, True)),
        ("inside", (2, 0, 1, True), (2, 1, 1, False)),
        ("own", [(0, 0), (1, 1), (1, 2)], [(0, 0), (1, 1), (1, 2)]),
        ("failed", "item 1 cannot be done", "item 1 cannot be done"),
        ("first", "done by 0 of 1", "done by 0 of 1"),
        ("shared", [0, 1], [0, 1]),
        ("refused", "item 1 cannot be done", "item 1 cannot be done"),
        ("fetched", False, True),
        ("all", [0, 1], [0, 1]),
        ("total", [2.0, 1.0], [2.0, 1.0]),
        ("after", 1, 1),
    ],
)
def test_two_processes(
    what: str, of_first: Any, of_second: Any, found: list[dict[str, Any]]
) -> None:
    assert [of_rank[what] for of_rank in found] == [of_first, of_second]


def test_a_single_process_does_everything_itself() -> None:
    assert in_shares([1.0, 2.0], lambda share: [10 * item for item in share]) == [0, 10]
    assert in_shares([], lambda share: share) == []
    with ranks.joined("cpu"):
        assert (ranks.n_ranks(), ranks.is_joined()) == (1, False)
    assert ranks.first_does(lambda: 1) == ranks.first_before_others(lambda: 1) == 1
    assert ranks.told_by_all("me") == ["me"]
    assert ranks.total(torch.ones(2)).tolist() == [1.0, 1.0]


def test_a_process_that_was_started_and_has_not_joined_does_its_own_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    assert (ranks.n_ranks(), ranks.is_first()) == (1, True)
    assert in_shares([1.0, 2.0], lambda share: share) == [0, 1]


def some_costs(seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(0, 9, (), generator=generator))
    costs: list[float] = (torch.rand(n, generator=generator) ** 3).tolist()
    return costs


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_every_item_is_dealt_once_and_no_hand_is_far_from_the_best(seed: int, n_ranks: int) -> None:
    costs = some_costs(seed)
    hands = deal(costs, n_ranks)
    assert len(hands) == n_ranks
    assert sorted(item for hand in hands for item in hand) == list(range(len(costs)))
    dearest = max(sum(costs[item] for item in hand) for hand in hands)
    ways = product(range(n_ranks), repeat=len(costs))
    best = min(
        max(sum(c for c, r in zip(costs, way, strict=True) if r == rank) for rank in range(n_ranks))
        for way in ways
    )
    assert dearest <= (4 / 3 - 1 / (3 * n_ranks)) * best + 1e-12  # Graham 1969


@pytest.mark.parametrize(
    ("costs", "n_ranks", "expected"),
    [
        ([], 2, [[], []]),
        ([1.0], 3, [[0], [], []]),
        ([1.0, 1.0, 1.0], 2, [[0, 2], [1]]),
        ([1.0, 4.0, 2.0, 2.0], 2, [[1, 0], [2, 3]]),
    ],
)
def test_dealing_by_hand(costs: list[float], n_ranks: int, expected: list[list[int]]) -> None:
    assert deal(costs, n_ranks) == [sorted(hand) for hand in expected]


def test_nobody_to_deal_to() -> None:
    with pytest.raises(ConfigError, match="0 ranks"):
        deal([1.0], 0)
