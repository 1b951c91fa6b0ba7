from __future__ import annotations

import random

import pytest

from taskdepth.data.token_rows import TokenRows
from taskdepth.data.tokenise import TokenisedRow


def rows(n: int = 40) -> list[TokenisedRow]:
    rng = random.Random(0)
    found = []
    for i in range(n):
        ids = tuple(rng.randrange(2**31) for _ in range(rng.randint(1, 9)))
        found.append(
            TokenisedRow(f"r-{i}", "abc"[i % 3], ids, rng.randint(0, len(ids)), i % 4 // 3 * i)
        )
    return found


def test_what_goes_in_comes_out() -> None:
    stored = TokenRows(rows())
    assert list(stored) == rows()
    assert len(stored) == 40
    assert stored[-1] == rows()[-1]
    assert stored[3:30:4] == rows()[3:30:4]
    assert stored[::-1] == rows()[::-1]
    assert [stored.task(i) for i in range(40)] == [row.task for row in rows()]
    assert [stored.n_tokens(i) for i in range(40)] == [row.n_tokens for row in rows()]


@pytest.mark.parametrize("n", [-41, 40, 1000])
def test_a_row_that_is_not_there(n: int) -> None:
    with pytest.raises(IndexError):
        TokenRows(rows())[n]


def test_rows_without_tokens_and_no_rows_at_all() -> None:
    empty = TokenisedRow("e", "t", (), 0)
    stored = TokenRows([empty, TokenisedRow("f", "t", (7,), 0), empty])
    assert list(stored) == [empty, TokenisedRow("f", "t", (7,), 0), empty]
    assert stored.n_target_tokens(1) == 1
    nothing = TokenRows()
    assert not nothing
    assert nothing.counts_by_task() == {}
    assert nothing.counts() == {"rows": 0, "tokens": 0, "target_tokens": 0, "truncated_prompts": 0}


def test_counts_by_task_and_over_all() -> None:
    stored, counts = TokenRows(rows()), {}
    for task in "abc":
        of_task = [row for row in rows() if row.task == task]
        counts[task] = {
            "rows": len(of_task),
            "tokens": sum(row.n_tokens for row in of_task),
            "target_tokens": sum(row.n_tokens - row.n_prompt_tokens for row in of_task),
            "truncated_prompts": sum(row.n_cut_tokens > 0 for row in of_task),
        }
    assert stored.counts_by_task() == counts
    assert stored.counts() == {name: sum(c[name] for c in counts.values()) for name in counts["a"]}
