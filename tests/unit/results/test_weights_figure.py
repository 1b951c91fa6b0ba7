"""The figure of the adapters' weights: what is drawn is what the table holds."""

from __future__ import annotations

import numpy as np
import pytest

from taskdepth.results.drawing import NothingToDrawError
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.weights_figure import PANELS, weights_figure


def table(*names: str) -> LayerTable:
    rows = [
        Row(role, role, task, cluster, depth, "weights", name, depth * 0.1 + i, 7)
        for name in names
        for role, tasks in {
            "experimental": [("all", "all")],
            "control": [("a", "x"), ("b", "y"), ("c", "y")],
        }.items()
        for i, (task, cluster) in enumerate(tasks)
        for depth in (3, 4, 5)
    ]
    return LayerTable(rows)


@pytest.mark.parametrize("n_panels", [1, 2, 3, 5])
def test_every_measure_has_a_panel_with_the_median_and_the_experimental_model(
    n_panels: int,
) -> None:
    names = list(PANELS)[:n_panels]
    drawn = [axes for axes in weights_figure(table(*names)).axes if axes.axison]
    assert [axes.get_ylabel() for axes in drawn] == [PANELS[name] for name in names]
    for axes in drawn:
        control, experimental = (line.get_ydata() for line in axes.lines)
        np.testing.assert_allclose(control, [1.3, 1.4, 1.5])
        np.testing.assert_allclose(experimental, [0.3, 0.4, 0.5])
        low, high = axes.get_ylim()
        assert low == 0
        assert high > 1.5


def test_without_adapters_there_is_nothing_to_draw() -> None:
    rows = [Row("m", "control", "a", "x", 1, "similarity", "update_share", 0.5, 7)]
    with pytest.raises(NothingToDrawError):
        weights_figure(LayerTable(rows))
