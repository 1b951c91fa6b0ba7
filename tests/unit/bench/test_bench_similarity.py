import pytest

from taskdepth.bench import similarity


def test_both_sides_do_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "WIDTH", 24)
    monkeypatch.setattr(similarity, "GOALS", {16: 1e-6})
    equal_depths, all_pairs, grams = similarity.run(n_depths=3)
    assert equal_depths.agreement is not None
    assert equal_depths.agreement < 1e-5
    assert equal_depths.holds
    assert equal_depths.theirs_s is not None
    assert all_pairs.theirs_s == pytest.approx(equal_depths.theirs_s * 15 / 3)
    assert all_pairs.ratio == pytest.approx(equal_depths.ratio * 5)
    assert grams.agrees
    assert grams.name.endswith("n = 16")
