"""Block scores read off a layer table, by hand."""

import numpy as np
import pytest

from taskdepth.errors import ResultsError
from taskdepth.results.table import LayerTable, Row
from taskdepth.selection import layer_signals
from taskdepth.selection.evidence import probe_slope, similarity_drop


def rows(kind, role, values, **columns):
    """`values` by task: one number per depth 0 to L."""
    return LayerTable(
        Row("m", role, task, "nli", depth, kind, value=value, n=9, **columns)
        for task, of_task in values.items()
        for depth, value in enumerate(of_task)
    )


def probes(role, values, target="label"):
    return rows("probe", role, values, name="accuracy", target=target)


LABELS = {"a": [0.5, 0.6, 0.9, 0.9], "b": [0.5, 0.5, 0.6, 0.8], "c": [np.nan, 0.7, 0.7, np.nan]}


def test_probe_slope_is_the_mean_rise_from_the_layer_before():
    expected = [np.mean([0.1, 0.0]), np.mean([0.3, 0.1, 0.0]), np.mean([0.0, 0.2])]
    np.testing.assert_allclose(probe_slope(probes("experimental", LABELS)), expected)


def test_the_experimental_models_labels_come_first():
    other = {"a": [0.1, 0.9, 0.1, 0.9]}
    table = probes("pretrained", other) + probes("experimental", {"all": other["a"]}, "task")
    np.testing.assert_allclose(probe_slope(table), [0.8, -0.8, 0.8])  # of the task probe
    both = table + probes("experimental", LABELS)
    np.testing.assert_allclose(probe_slope(both), probe_slope(probes("experimental", LABELS)))


def test_no_probes():
    with pytest.raises(ResultsError, match="no probes for labels or tasks"):
        probe_slope(probes("random_init", LABELS))


def test_similarity_drop_starts_from_identical_embeddings():
    curves = {"a": [np.nan, 0.9, 0.4, 0.5], "b": [np.nan, 0.7, 0.2, 0.3]}
    table = rows("similarity", "experimental", curves, name="debiased_cka", reference="control")
    np.testing.assert_allclose(similarity_drop(layer_signals(table)), [0.2, 0.5, -0.1])


def test_the_gain_in_dimensions_is_a_signal_where_it_was_measured():
    curves = {"a": [np.nan, 0.9, 0.4, 0.5], "b": [np.nan, 0.7, 0.2, 0.3], "c": [1, 0.6, 0.5, 0.4]}
    table = LayerTable()
    for role in ("experimental", "pretrained"):
        table += rows("similarity", role, curves, name="debiased_cka", reference="control")
    assert layer_signals(table).names == ("experimental_median", "experimental_iqr", "gain")
    more, less = (
        {"a": [1, 4, 9, 5], "b": [1, 6, 6, 8], "c": [1, 9, 9, 9]},
        {
            "a": [1, 4, 5, 5],
            "b": [1, 5, 5, 5],
            "c": [1, 1, 9, 8],
        },
    )
    name = "dimensions_for_variance"
    both = table + rows("geometry", "experimental", more, name=name)
    assert "dimensions_gain" not in layer_signals(both).names
    both += rows("geometry", "pretrained", less, name=name)
    signals = layer_signals(both, n_bootstrap=5)
    assert signals.names[-1] == "dimensions_gain"
    np.testing.assert_allclose(signals.values[-1], [1, 1, 1])
    assert signals.resampled.shape == (5, 4, 3)
