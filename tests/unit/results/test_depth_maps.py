"""Depth maps: what is written is read, other versions are refused, means leave out what is undefined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from taskdepth.errors import ResultsError
from taskdepth.results.depth_map_figure import depth_map_figure, save_depth_maps
from taskdepth.results.depth_maps import DepthMap, DepthMaps, mean_over_tasks
from taskdepth.results.drawing import NothingToDrawError

PAIRS = [("pretrained", "pretrained"), ("pretrained", "control"), ("control", "control")]


def depth_map(task: str, role: str, reference: str, seed: int = 0) -> DepthMap:
    models = {"pretrained": "tiny", "control": f"control-{task}"}
    values = np.random.default_rng(seed).random((3, 3))
    values[0, :] = np.nan
    return DepthMap(
        "debiased_cka", task, "nli", role, models[role], reference, models[reference], 20, 1, values
    )


@pytest.fixture
def of_tasks() -> DepthMaps:
    return DepthMaps(
        depth_map(task, *pair, seed=10 * i + j)
        for i, task in enumerate(("rte", "cb"))
        for j, pair in enumerate(PAIRS)
    )


def test_what_is_written_is_read(of_tasks: DepthMaps, tmp_path: Path) -> None:
    of_tasks.write(tmp_path / "maps.parquet")
    read = DepthMaps.read(tmp_path / "maps.parquet")
    assert len(read) == len(of_tasks) == 6
    names = ("name", "task", "cluster", "role", "model", "reference", "reference_model", "n")
    for one, other in zip(of_tasks, read, strict=True):
        assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
        np.testing.assert_array_equal(one.values, other.values)
        assert other.values.dtype == np.float64


def test_one_map_is_found_or_the_question_is_told(of_tasks: DepthMaps) -> None:
    found = of_tasks.one("pretrained", "control", task="cb")
    assert (found.model, found.reference_model) == ("tiny", "control-cb")
    with pytest.raises(ResultsError, match="0 depth maps of svcca between pretrained and control"):
        of_tasks.one("pretrained", "control", name="svcca", task="cb")
    with pytest.raises(ResultsError, match="no column"):
        of_tasks.where(values=1)


def test_the_mean_is_over_the_tasks_that_are_defined(of_tasks: DepthMaps) -> None:
    one, other = (of_tasks.one("pretrained", "control", task=task) for task in ("rte", "cb"))
    one.values[2, 1] = np.nan
    means = mean_over_tasks([*of_tasks, replace(one, task="wnli", n=7)])
    mean = means.one("pretrained", "control")
    assert len(means) == 3
    assert (mean.task, mean.cluster, mean.n, mean.n_tasks) == ("all", "all", 7, 3)
    assert (mean.model, mean.reference_model) == ("tiny", "control")
    assert mean.values[1, 1] == pytest.approx((2 * one.values[1, 1] + other.values[1, 1]) / 3)
    assert mean.values[2, 1] == other.values[2, 1]
    assert np.isnan(mean.values[0]).all()


def test_files_that_are_none_of_ours_are_refused(of_tasks: DepthMaps, tmp_path: Path) -> None:
    path = tmp_path / "maps.parquet"
    with pytest.raises(ResultsError, match="no depth maps at"):
        DepthMaps.read(path)
    path.write_text("no parquet")
    with pytest.raises(ResultsError, match="not a readable Parquet file"):
        DepthMaps.read(path)
    of_tasks.write(path)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"taskdepth.depth_maps.schema": "9"}), path)
    with pytest.raises(ResultsError, match="schema 9; this version reads 1"):
        DepthMaps.read(path)


def test_the_figure_shows_every_two_roles(of_tasks: DepthMaps, tmp_path: Path) -> None:
    means = mean_over_tasks(of_tasks)
    figure = depth_map_figure(means)
    panels = [axes for axes in figure.axes if axes.images and axes.get_xlabel()]
    labels = {(axes.get_ylabel(), axes.get_xlabel()) for axes in panels}
    assert labels == {
        ("depth, pre-trained model", "depth, pre-trained model"),
        ("depth, control models", "depth, control models"),
        ("depth, pre-trained model", "depth, control models"),
    }
    last = panels[-1].images[0].get_array().filled(np.nan)
    np.testing.assert_array_equal(last, means.one("pretrained", "control").values)
    with pytest.raises(NothingToDrawError):
        depth_map_figure(of_tasks)
    means.write(tmp_path / "maps.parquet")
    saved = save_depth_maps(tmp_path / "maps.parquet", tmp_path)["depth_maps"]
    with Image.open(saved) as image:
        assert image.format == "PNG"
    of_tasks.write(tmp_path / "maps.parquet")
    assert save_depth_maps(tmp_path / "maps.parquet", tmp_path) == {}
    assert save_depth_maps(tmp_path / "absent.parquet", tmp_path) == {}
