from __future__ import annotations

import pytest
import torch

from probe_problems import problem
from taskdepth.errors import DataError
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.result import Extras
from taskdepth.probing.transfer import transfer

L2S = [1.0, 10.0]


def test_to_itself_is_its_own_accuracy() -> None:
    (result,) = fit_probes(
        [problem()], l2s=L2S, seed=0, extras=Extras(keep_probes=True), progress=False
    )
    assert result.probes is not None
    found = transfer(result.probes, "rte", problem())
    assert torch.equal(found.accuracy, result.accuracy)
    assert torch.equal(found.lower, result.lower)
    assert found.source == "rte"


def test_labels_that_swap_their_places_do_not_transfer() -> None:
    given = problem(n_classes=2)
    other = problem(x=given.x, y=1 - given.y, n_classes=2, task="cb")
    (result,) = fit_probes(
        [given], l2s=L2S, seed=0, extras=Extras(keep_probes=True), progress=False
    )
    assert result.probes is not None
    torch.testing.assert_close(transfer(result.probes, "rte", other).accuracy, 1 - result.accuracy)


def test_probes_are_kept_only_when_asked_for() -> None:
    (result,) = fit_probes([problem()], l2s=L2S, seed=0, progress=False)
    assert result.probes is None


@pytest.mark.parametrize("change", ["depths", "dimensions", "classes"])
def test_probes_of_another_shape_are_refused(change: str) -> None:
    (result,) = fit_probes(
        [problem()], l2s=L2S, seed=0, extras=Extras(keep_probes=True), progress=False
    )
    x = problem().x
    other = {
        "depths": problem(x=x[:2]),
        "dimensions": problem(x=x[..., :6]),
        "classes": problem(n_classes=4),
    }[change]
    assert result.probes is not None
    with pytest.raises(DataError, match=r"probes of cb .* do not fit rte"):
        transfer(result.probes, "cb", other)
