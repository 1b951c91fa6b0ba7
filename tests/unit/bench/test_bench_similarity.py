import pytest

from taskdepth.bench import similarity


def test_both_sides_do_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "WIDTH", 24)
    monkeypatch.setattr(similarity, "GOALS", {16: 1e-6})
    needed, equal_depths, all_pairs, grams = similarity.run(n_depths=3)
    for row in (needed, equal_depths, all_pairs, grams):
        assert row.agreement is not None
        assert row.agreement < 1e-5
        assert row.agrees
        assert row.ours_s is not None
        assert row.theirs_s is not None
        assert row.ratio == pytest.approx(row.theirs_s / row.ours_s)
    assert needed.holds
    assert needed.theirs_s == pytest.approx(2 * equal_depths.theirs_s)
    assert all_pairs.theirs_s == pytest.approx(equal_depths.theirs_s * 15 / 3)
