"""What is said of a placement study: winners are named when the intervals say so, and not else."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from taskdepth.errors import ResultsError
from taskdepth.results import placement_table
from taskdepth.results.__main__ import placement
from taskdepth.results.placement import Fit, summarise, write_rows
from taskdepth.results.placement_figure import placement_figure, save_figure

TASKS = [f"task_{i}" for i in range(16)]
CLUSTERS = {task: f"cluster_{i % 2}" for i, task in enumerate(TASKS)}
UNTUNED = {
    task: {"loss": 5.0 + i / 10, "exact_match": 0.0} | ({"rank_accuracy": 0.5} if i % 4 else {})
    for i, task in enumerate(TASKS)
}
BLOCKS = {"all": (0, 1, 2, 3), "first": (0, 1), "last": (2, 3), "same": (2, 3)}
REASONS = dict.fromkeys(BLOCKS, "why")


def fits(gains, *, seeds=(0, 1, 2), noise=0.02):
    """A loss of 3 + task, less the policy's gain; noise by policy, seed and task."""
    found = []
    for policy, gain in gains.items():
        for seed in seeds:
            # who adapts the same blocks is the same model
            rng = np.random.default_rng([seed, *BLOCKS[policy]])
            scores = {
                task: {
                    "loss": 3 + i / 10 - gain + noise * rng.standard_normal(),
                    "exact_match": 0.25,
                }
                | ({"rank_accuracy": 0.5 + gain} if i % 4 else {})
                for i, task in enumerate(TASKS)
            }
            seconds = 10.0 + seed if policy == "all" else 5.0 + seed
            ranks = (8,) * len(BLOCKS[policy])
            found.append(
                Fit(policy, seed, BLOCKS[policy], ranks, 640, 20, 900 + seed, seconds, 4.0, scores)
            )
    return found


def summary(gains, score="loss", **options):
    return summarise(
        fits(gains, **options), UNTUNED, CLUSTERS, REASONS, reference="all", score=score
    )


def test_a_clear_winner_is_named():
    found = summary({"all": 0.0, "first": 0.3, "last": 0.1})
    assert found.winner == "first"
    assert found.verdict.startswith("The winner is first: better than each of the 2 others")
    assert [line.policy for line in found.lines] == ["first", "last", "all"]
    best = found.lines[0]
    assert best.gain.lower < 0.3 < best.gain.upper + 0.02
    assert best.gain.lower > 0.25
    assert best.over_untuned == pytest.approx(2.3, abs=0.02)
    assert set(best.clusters) == {"cluster_0", "cluster_1"}
    assert best.time_saved.lower == pytest.approx(1 - 7 / 12)
    assert best.time_saved.upper == pytest.approx(0.5)
    assert best.scores["exact_match"] == 0.25


def test_no_winner_among_equals_though_all_beat_the_reference():
    found = summary({"all": 0.0, "first": 0.3, "last": 0.3}, noise=0.1)
    assert found.winner is None
    assert found.verdict.startswith("No winner")
    assert "Better than all by its 95 % interval: " in found.verdict
    assert (
        "within what other tasks and seeds might give (test loss, 16 tasks, 3 seeds)"
        in found.verdict
    )


def test_nothing_is_claimed_of_noise():
    rng_gains = {"all": 0.0, "first": 0.0, "last": 0.0}
    found = summary(rng_gains, noise=0.2)
    assert found.winner is None
    assert "interval" not in found.verdict


def test_who_is_worse_is_said():
    found = summary({"all": 0.3, "first": 0.31, "last": 0.0}, noise=0.05)
    assert "Worse than all by its 95 % interval: last." in found.verdict


def test_policies_with_the_same_blocks_are_no_rivals():
    found = summary({"all": 0.0, "last": 0.3, "same": 0.3})
    assert found.winner == "last"
    assert "The winner is last = same: better than each of the 1 others" in found.verdict


def test_one_seed_says_nothing_about_others():
    found = summary({"all": 0.0, "first": 0.01}, seeds=(0,), noise=0.2)
    assert "One seed says nothing about other seeds." in found.verdict


def test_the_score_that_decides_counts_the_tasks_that_have_it():
    found = summary({"all": 0.0, "first": 0.2}, score="rank_accuracy")
    assert found.n_tasks == 12
    assert found.winner == "first"
    assert found.lines[0].gain.value == pytest.approx(0.2)


@pytest.mark.parametrize("changes", [{"tokens": 1}, {"steps": 19}])
def test_unequal_training_is_refused(changes):
    found = fits({"all": 0.0, "first": 0.1})
    found[-1] = replace(found[-1], **changes)
    with pytest.raises(ResultsError, match="did not learn from the same steps and tokens"):
        summarise(found, UNTUNED, CLUSTERS, REASONS, reference="all", score="loss")


def test_a_missing_seed_is_refused():
    found = fits({"all": 0.0, "first": 0.1})[:-1]
    with pytest.raises(ResultsError, match="first was not trained with seed 2"):
        summarise(found, UNTUNED, CLUSTERS, REASONS, reference="all", score="loss")


def test_rows_hold_every_score(tmp_path):
    found = fits({"all": 0.0, "first": 0.1})
    write_rows(tmp_path / "rows.parquet", found, UNTUNED, CLUSTERS)
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.metadata[b"taskdepth.placement.schema"] == b"1"
    rows = table.to_pylist()
    assert len(rows) == 2 * 3 * (16 + 16 + 12)
    one = next(r for r in rows if (r["policy"], r["task"], r["seed"]) == ("first", "task_3", 1))
    assert one["untuned"] == UNTUNED["task_3"][one["score"]]
    assert one["cluster"] == "cluster_1"


def test_the_table_says_it_all_in_markdown_and_in_the_terminal(tmp_path, capsys):
    found = summary({"all": 0.0, "first": 0.3, "last": 0.1})
    (tmp_path / "placement.json").write_text(json.dumps({"placement": found.to_json()}))
    placement(tmp_path, as_markdown=True)
    lines = capsys.readouterr().out.splitlines()
    header, rule, first = (line.split(" | ") for line in lines[:3])
    assert len(header) == len(rule) == len(first)
    assert first[0] == "| first (wins)"
    assert first[1:4] == ["1–2", "8", "640"]
    assert "reference" in lines[4]
    assert any(line == f"**{found.verdict}**" for line in lines)
    assert any(line.startswith("| policy | cluster_0 | cluster_1 |") for line in lines)
    placement(tmp_path)
    shown = capsys.readouterr().out
    assert "first (wins)" in shown
    assert "The winner is first" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_no_study_no_table(tmp_path):
    with pytest.raises(ResultsError, match=r"holds no placement\.json"):
        placement_table.read(tmp_path)
    (tmp_path / "placement.json").write_text(json.dumps({"placement": {"schema": 9}}))
    with pytest.raises(ResultsError, match="has schema 9; this version reads 1"):
        placement_table.read(tmp_path)


def test_the_figure_shows_every_policy(tmp_path):
    found = summary({"all": 0.0, "first": 0.3, "last": 0.1})
    figure = placement_figure(found)
    places, gains, _ = figure.axes
    assert [label.get_text() for label in places.get_yticklabels()] == ["first", "last", "all"]
    assert "gain on all in test loss" in gains.get_xlabel()
    save_figure(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
