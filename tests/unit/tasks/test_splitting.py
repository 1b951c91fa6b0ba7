from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from taskdepth.errors import ConfigError
from taskdepth.tasks.splitting import check_shares, normalised, split_of
from taskdepth.types import Split


def test_shares_are_kept_and_are_the_same_in_every_process() -> None:
    keys = [f"example {i}" for i in range(20_000)]
    splits = [split_of(key, validation=0.1, test=0.2) for key in keys]
    counts = Counter(splits)
    assert counts[Split.VALIDATION] == pytest.approx(2_000, rel=0.1)
    assert counts[Split.TEST] == pytest.approx(4_000, rel=0.1)
    script = (
        "from taskdepth.tasks.splitting import split_of;"
        "print(*(split_of(f'example {i}', 0.1, 0.2).value for i in range(50)))"
    )
    for hash_seed in ("1", "2"):
        shown = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert shown.split() == [split.value for split in splits[:50]]


def test_a_larger_share_keeps_the_test_rows() -> None:
    keys = [f"example {i}" for i in range(500)]
    small = {key for key in keys if split_of(key, 0.0, 0.1) is Split.TEST}
    assert small < {key for key in keys if split_of(key, 0.3, 0.2) is Split.TEST}
    assert {split_of(key, 0.0, 0.0) for key in keys} == {Split.TRAIN}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  a\n\tb ", "a b"),
        ("STRASSE Straße", "strasse strasse"),
        ("ﬁne １２", "fine 12"),  # ligature and full-width digits
    ],
)
def test_normalised(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.5, 0.5), (0.1, 1.0)])
def test_shares_must_leave_training_rows(validation: float, test: float) -> None:
    with pytest.raises(ConfigError, match="leave none to train on"):
        check_shares(validation, test)
