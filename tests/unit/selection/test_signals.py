"""Curves from the rows of a layer table, by hand and by numpy."""

import numpy as np
import pytest

from taskdepth.errors import ResultsError
from taskdepth.results.table import LayerTable, Row
from taskdepth.selection import detect_regions, layer_signals

N_LAYERS = 6


def rows(role, values, *, model=None, name="debiased_cka", reference="control", seed=None):
    """`values` by task: one number per depth 0 to L."""
    return LayerTable(
        Row(
            model=model or role,
            role=role,
            task=task,
            cluster="nli",
            depth=depth,
            kind="similarity",
            name=name,
            value=value,
            n=50,
            reference=reference,
            seed=seed,
        )
        for task, of_task in values.items()
        for depth, value in enumerate(of_task)
    )


def random_values(n_tasks, seed):
    rng = np.random.default_rng(seed)
    return {f"task_{i}": list(rng.uniform(size=N_LAYERS + 1)) for i in range(n_tasks)}


def matrix(values):
    return np.array(list(values.values()))[:, 1:]


PRETRAINED, EXPERIMENTAL = random_values(7, 0), random_values(7, 1)


def test_both_models():
    table = rows("pretrained", PRETRAINED) + rows("experimental", EXPERIMENTAL)
    signals = layer_signals(table, n_bootstrap=30)
    assert signals.names == ("experimental_median", "experimental_iqr", "gain")
    lower, median, upper = np.percentile(matrix(EXPERIMENTAL), [25, 50, 75], axis=0)
    gain = np.median(matrix(EXPERIMENTAL) - matrix(PRETRAINED), axis=0)
    np.testing.assert_allclose(signals.values, [median, upper - lower, gain])
    np.testing.assert_allclose(signals.gain, gain)
    assert signals.n_tasks == 7
    assert signals.resampled.shape == (30, 3, N_LAYERS)


@pytest.mark.parametrize(
    ("pretrained", "experimental", "identical"),
    [  # by task: depths 0 to 6
        ([[np.nan, 1, 1, 0.9, 1, 1, 1], [np.nan, 1, 1, 1, 0.8, 0.7, 0.6]], None, 2),
        ([[np.nan, 1 - 1e-9, 1, 1, 1, 1, 1]], None, 0),
        ([[0.5, 1 + 2e-16, 0.9, 1, 1, 1, 1]], None, 1),
        ([[1, np.nan, 1, 0.9, 1, 1, 1], [1, 1, 1, 0.9, 1, 1, 1]], None, 2),  # one task knows
        ([[1, np.nan, 1, 0.9, 1, 1, 1]], None, 0),  # nobody knows
        ([[1, 1, 1, 1, 0.9, 1, 1]], [[1, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4]], 3),
        ([[1, 1, 1, 1, 1, 1, 1]], None, 6),
    ],
)
def test_over_how_many_layers_the_states_are_those_of_the_control_models(
    pretrained, experimental, identical
):
    table = rows("pretrained", {f"task_{i}": values for i, values in enumerate(pretrained)})
    if experimental is not None:
        table += rows("experimental", {f"task_{i}": v for i, v in enumerate(experimental)})
    assert layer_signals(table, n_bootstrap=2).identical == identical


@pytest.mark.parametrize("role", ["pretrained", "experimental"])
def test_one_model(role):
    signals = layer_signals(rows(role, PRETRAINED), n_bootstrap=30)
    assert signals.names == (f"{role}_median", f"{role}_iqr")
    lower, median, upper = np.percentile(matrix(PRETRAINED), [25, 50, 75], axis=0)
    np.testing.assert_allclose(signals.values, [median, upper - lower])
    np.testing.assert_allclose(signals.gain, 1 - median)
    assert signals.resampled.shape == (30, 2, N_LAYERS)


def test_tasks_are_paired_by_name_not_by_order():
    table = rows("pretrained", PRETRAINED) + rows("experimental", EXPERIMENTAL)
    backwards = rows("pretrained", dict(reversed(PRETRAINED.items()))) + rows(
        "experimental", EXPERIMENTAL
    )
    np.testing.assert_array_equal(layer_signals(backwards).values, layer_signals(table).values)


def test_other_rows_have_no_say():
    table = rows("pretrained", PRETRAINED)
    other = random_values(7, 2)
    noise = (
        rows("pretrained", other, name="linear_cka")
        + rows("pretrained", other, name="debiased_cka@mean")
        + rows("pretrained", other, name="debiased_cka_shuffled")
        + rows("experimental", other, reference="pretrained")
        + rows("pretrained", {"all": [0.0] * (N_LAYERS + 1)})
    )
    np.testing.assert_array_equal(layer_signals(noise + table).values, layer_signals(table).values)
    chosen = layer_signals(noise + table, name="linear_cka")
    np.testing.assert_array_equal(chosen.values, layer_signals(rows("pretrained", other)).values)


def test_undefined_values_are_left_out():
    values = random_values(4, 3)
    values["task_0"] = [np.nan, np.nan, 0.5, 0.5, 0.5, 0.5, 0.5]
    for of_task in values.values():
        of_task[4] = np.nan
    signals = layer_signals(rows("pretrained", values), n_bootstrap=30)
    assert signals.values[0, 0] == pytest.approx(np.median(matrix(values)[1:, 0]))
    np.testing.assert_array_equal(
        np.isnan(signals.values).all(0), [False] * 3 + [True] + [False] * 2
    )
    assert np.isnan(signals.gain[3])


def test_a_task_of_one_model_only_has_no_gain():
    less = {task: of_task for task, of_task in PRETRAINED.items() if task != "task_2"}
    signals = layer_signals(rows("pretrained", less) + rows("experimental", EXPERIMENTAL))
    assert signals.n_tasks == 7
    kept = [i for i in range(7) if i != 2]
    expected = np.median((matrix(EXPERIMENTAL) - matrix(PRETRAINED))[kept], axis=0)
    np.testing.assert_allclose(signals.gain, expected)


def test_seeds_of_one_task_are_averaged():
    first, second = random_values(3, 4), random_values(3, 5)
    first["task_1"][2] = np.nan
    signals = layer_signals(rows("pretrained", first, seed=0) + rows("pretrained", second, seed=1))
    mean = np.nanmean([matrix(first), matrix(second)], axis=0)
    np.testing.assert_allclose(signals.values[0], np.median(mean, axis=0))


def test_the_bootstrap_draws_tasks():
    # each task is constant over layers, so that every curve of a draw is flat, too
    values = {f"task_{i}": [float(i)] * (N_LAYERS + 1) for i in range(20)}
    signals = layer_signals(rows("pretrained", values), n_bootstrap=500)
    assert np.ptp(signals.resampled, axis=2).max() == 0
    medians = signals.resampled[:, 0, 0]
    assert abs(medians.mean() - 9.5) < 0.5
    assert 1 < medians.std() < 4
    again = layer_signals(rows("pretrained", values), n_bootstrap=500)
    np.testing.assert_array_equal(again.resampled, signals.resampled)
    other = layer_signals(rows("pretrained", values), n_bootstrap=500, seed=1)
    assert not np.array_equal(other.resampled, signals.resampled)


def test_regions_planted_in_a_table_are_found():
    rng = np.random.default_rng(0)
    level = np.repeat([0.9, 0.5, 0.7], [5, 4, 8])  # depth 0, then boundaries after layers 4 and 8
    values = {
        f"task_{i}": list(level + 0.05 * rng.standard_normal() + 0.02 * rng.standard_normal(17))
        for i in range(12)
    }
    signals = layer_signals(rows("experimental", values))
    found = detect_regions(signals.values, resampled=signals.resampled)
    assert found.boundaries == (4, 8)
    assert found.n_layers == 16


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (LayerTable(), "no debiased_cka with control models"),
        (rows("pretrained", PRETRAINED, name="linear_cka"), "no debiased_cka with control models"),
        (rows("experimental", PRETRAINED, reference="pretrained"), "models.controls="),
        (
            rows("experimental", PRETRAINED, model="a")
            + rows("experimental", PRETRAINED, model="b"),
            r"2 experimental models \(a, b\): keep the rows of one",
        ),
    ],
)
def test_refuses(table, words):
    with pytest.raises(ResultsError, match=words):
        layer_signals(table)
