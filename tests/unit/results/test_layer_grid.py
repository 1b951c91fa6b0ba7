import math
from dataclasses import replace

import numpy as np
import pytest

from taskdepth.results.layer_grid import across_tasks, grid
from taskdepth.results.table import LayerTable, Row


def similarity(values: dict[str, list[float]]) -> list[Row]:
    """`values`: for each task the debiased CKA at layers 1, 2, …"""
    return [
        Row("m", "experimental", task, "c", k, "similarity", "debiased_cka", value, 50)
        for task, row in values.items()
        for k, value in enumerate(row, start=1)
    ]


def test_grid_groups_clusters_and_keeps_values(table: LayerTable) -> None:
    shown = grid(table, kind="similarity", role="experimental", name="debiased_cka")
    assert shown.tasks == ("rte", "cb", "sst2", "imdb", "aeslc")
    assert shown.clusters == ("nli", "nli", "sentiment", "sentiment", "summaries")
    assert shown.layers == tuple(range(1, 9))  # depth 0 is no layer
    for i, task in enumerate(shown.tasks):
        for j, layer in enumerate(shown.layers):
            (row,) = table.where(
                task=task, depth=layer, role="experimental", name="debiased_cka", kind="similarity"
            )
            assert shown.values[i, j] == row.value
            assert (shown.lower[i, j], shown.upper[i, j]) == (row.lower, row.upper)
            assert shown.n[i, j] == row.n
    assert shown.of_cluster("sentiment").tasks == ("sst2", "imdb")
    np.testing.assert_array_equal(shown.of_cluster("sentiment").values, shown.values[2:4])


def test_grid_keeps_undefined_apart_from_absent_rows() -> None:
    rows = similarity({"a": [0.5, math.nan, 0.7], "b": [0.1]})
    shown = grid(LayerTable(rows))
    np.testing.assert_array_equal(shown.values, [[0.5, math.nan, 0.7], [0.1, math.nan, math.nan]])
    np.testing.assert_array_equal(shown.n, [[50, 50, 50], [50, 0, 0]])
    assert np.isnan(shown.lower).all()


def test_grid_averages_seeds_and_spans_their_intervals() -> None:
    row = similarity({"a": [0.5]})[0]
    seeds = [
        replace(row, seed=1, value=0.4, lower=0.3, upper=0.5),
        replace(row, seed=2, value=0.6, lower=0.5, upper=0.9),
        replace(row, seed=3, value=math.nan, lower=math.nan, upper=math.nan),
    ]
    shown = grid(LayerTable(seeds))
    assert (shown.values[0, 0], shown.lower[0, 0], shown.upper[0, 0]) == (0.5, 0.3, 0.9)


def test_an_empty_grid_has_no_rows_and_no_columns() -> None:
    shown = grid(LayerTable(), name="accuracy")
    assert (shown.tasks, shown.layers, shown.values.shape) == ((), (), (0, 0))
    assert across_tasks(shown.values, 0.5).shape == (0,)


@pytest.mark.parametrize("q", [0.0, 0.25, 0.5, 1.0])
def test_across_tasks_is_numpys_quantile_without_nan(q: float) -> None:
    values = np.random.default_rng(3).normal(size=(9, 5))
    values[2, :3] = values[7, 1] = np.nan
    np.testing.assert_allclose(across_tasks(values, q), np.nanquantile(values, q, axis=0))
