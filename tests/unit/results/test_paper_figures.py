"""The paper's figures show the numbers they are given, and leave out what there is not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from PIL import Image

from taskdepth.results import paper_figures
from taskdepth.results.drawing import COLOURS, DPI, NothingToDrawError
from taskdepth.results.paper_numbers import Agreement, Correlation, PaperNumbers, Scatter
from taskdepth.results.table import LayerTable, Row
from taskdepth.results.task_maps import MEASURES, TaskMaps
from taskdepth.types import Role

ROLES = ("pretrained", "experimental")
TASKS = {"rte": "nli", "cb": "nli", "sst2": "sentiment", "imdb": "sentiment", "aeslc": "summaries"}
PROPERTIES = ("flesch_kincaid", "coleman_liau", "training_size")
N_LAYERS, N_POINTS = 8, 6


@pytest.fixture(scope="module")
def numbers() -> PaperNumbers:
    rng = np.random.default_rng(0)
    layers = range(1, N_LAYERS + 1)
    nan = float("nan")
    return PaperNumbers(
        pooling="last_token",
        projection="pca",
        points_of=tuple(task for task in TASKS for _ in range(N_POINTS)),
        scatters=tuple(
            Scatter(
                role,
                layer,
                tuple(map(tuple, rng.normal(size=(len(TASKS) * N_POINTS, 2)).tolist())),
                (0.4, 0.2),
            )
            for role in ROLES
            for layer in (1, 4, 8)
        ),
        geometry=LayerTable(
            Row("m", role, task, cluster, depth, "geometry", "dimensions_for_variance", value, 48)
            for role, least in (("pretrained", 3), ("experimental", 9), ("control", 5))
            for task, cluster in TASKS.items()
            for depth in range(N_LAYERS + 1)
            for value in [float(least + depth) if depth else nan]
        ),
        properties={task: dict.fromkeys(PROPERTIES, 1.0) for task in TASKS},
        correlations=tuple(
            Correlation(role, name, layer, layer / 10, 0.01, 0.02 if layer > 4 else 0.2, len(TASKS))
            for role in ROLES
            for name in PROPERTIES
            for layer in layers
        ),
        maps=TaskMaps(
            ROLES,
            tuple(range(N_LAYERS + 1)),
            tuple(TASKS),
            tuple(TASKS.values()),
            "last_token",
            48,
            {name: torch.rand(2, N_LAYERS + 1, 5, 5) * 2 - 1 for name in MEASURES},
        ),
        agreements=tuple(
            Agreement(role, name, layer, 0.1, 0.01, 0.02, 0.3, 0.2, 0.4, {"nli": 0.5})
            for role in ROLES
            for name in MEASURES
            for layer in layers
        ),
    )


def values_of(table: LayerTable, role: str, layer: int) -> np.ndarray:
    rows = table.where(
        role=role, depth=layer, name="debiased_cka", kind="similarity", reference="control"
    )
    return np.array([row.value for row in rows])


def medians_of(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_gid() == "median"]


def test_all_six_are_drawn(table: LayerTable, numbers: PaperNumbers, tmp_path: Path) -> None:
    saved = paper_figures.save_paper_figures(table, numbers, tmp_path)
    assert list(saved) == [f"paper_fig{k}" for k in range(2, 8)]
    for path in saved.values():
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 2 * DPI
            assert len(image.convert("RGB").getcolors(maxcolors=2**24) or []) > 50


def test_boxes_are_those_of_the_table(table: LayerTable, numbers: PaperNumbers) -> None:
    axes = paper_figures.similarity_boxes(table, numbers).axes[0]
    medians = medians_of(axes)
    assert len(medians) == 2 * N_LAYERS
    for index, role in enumerate(ROLES):
        for layer in range(1, N_LAYERS + 1):
            line = medians[index * N_LAYERS + layer - 1]
            assert line.get_ydata()[0] == pytest.approx(np.median(values_of(table, role, layer)))
            assert np.mean(line.get_xdata()) == pytest.approx(layer, abs=0.3)
    colours = [to_hex(patch.get_facecolor()).upper() for patch in axes.patches]
    assert colours == [COLOURS[Role(role)] for role in ROLES for _ in range(N_LAYERS)]


def test_tasks_that_were_not_tuned_on_have_marks_and_no_part_in_the_boxes(
    table: LayerTable, numbers: PaperNumbers
) -> None:
    apart = replace(numbers, unseen=("cb",))
    axes = paper_figures.similarity_boxes(table, apart).axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(marks) == len(ROLES)
    rows = table.where(role="experimental", task="cb", name="debiased_cka")
    assert marks[1].get_ydata().tolist() == [row.value for row in rows if row.depth]
    seen = [
        row.value
        for row in table.where(role="pretrained", name="debiased_cka", depth=1)
        if row.task != "cb"
    ]
    assert medians_of(axes)[0].get_ydata()[0] == pytest.approx(np.median(seen))


def test_every_cluster_has_a_panel(table: LayerTable, numbers: PaperNumbers) -> None:
    figure = paper_figures.similarity_boxes_by_cluster(table, numbers)
    titles = [axes.get_title("left") for axes in figure.axes if axes.axison]
    assert titles == ["nli (2)", "sentiment (2)", "summaries (1)"]


def test_points_wear_the_look_of_their_cluster(numbers: PaperNumbers) -> None:
    figure = paper_figures.scatters(numbers)
    assert len(figure.axes) == 6
    looks = set()
    for panel, axes in zip(numbers.scatters, figure.axes, strict=True):
        drawn = [part for part in axes.collections if isinstance(part, PathCollection)]
        assert len(drawn) == 3
        for part, cluster in zip(drawn, dict.fromkeys(TASKS.values()), strict=True):
            here = [TASKS[task] == cluster for task in numbers.points_of]
            np.testing.assert_allclose(part.get_offsets(), np.array(panel.points)[here])
            looks.add((cluster, to_hex(part.get_facecolors()[0])))
        assert axes.get_xlabel() == "PC 1: 40%"
    assert len(looks) == 3


def test_two_dozen_clusters_all_look_different() -> None:
    names = [f"cluster {i}" for i in range(24)]
    looks = [tuple(paper_figures._cluster_look(names, name).values()) for name in names]
    assert len(set(looks)) == 24


def test_dimensions_of_all_three_models(numbers: PaperNumbers) -> None:
    axes = paper_figures.dimensions(numbers).axes[0]
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == [[least + k for k in range(1, N_LAYERS + 1)] for least in (3, 9, 5)]


def test_only_what_is_significant_is_filled(numbers: PaperNumbers) -> None:
    figure = paper_figures.correlations(numbers)
    assert [axes.get_title("left") for axes in figure.axes] == list(
        paper_figures.PROPERTY_NAMES.values()
    )
    marks = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    filled = {int(m.get_xdata()[0]) for m in marks if m.get_markerfacecolor() != "white"}
    assert filled == {5, 6, 7, 8}
    assert len(marks) == 2 * N_LAYERS


def test_what_could_not_be_correlated_has_no_panel_and_a_note(numbers: PaperNumbers) -> None:
    nan = float("nan")
    some = tuple(
        replace(one, rho=nan, p=nan, q=nan) if one.property == "training_size" else one
        for one in numbers.correlations
    )
    figure = paper_figures.correlations(
        replace(numbers, correlations=some, notes=("training size is not known",))
    )
    assert len(figure.axes) == 2
    assert "training size is not known" in " ".join(figure.texts[-1].get_text().split())


def test_maps_are_the_experimental_models(numbers: PaperNumbers) -> None:
    figure = paper_figures.task_maps(numbers)
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    expected = [numbers.maps.at(m, "experimental", k) for m in MEASURES for k in (1, 4, 8)]
    assert len(drawn) == 6
    for shown, wanted in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(shown), wanted.numpy())
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == ["nli", "sentiment", "summaries"]


def test_without_control_models_the_others_are_drawn(
    table: LayerTable, numbers: PaperNumbers, tmp_path: Path
) -> None:
    nothing = replace(
        numbers, correlations=tuple(replace(one, rho=math.nan) for one in numbers.correlations)
    )
    saved = paper_figures.save_paper_figures(table.where(kind="probe"), nothing, tmp_path)
    assert list(saved) == ["paper_fig4", "paper_fig5", "paper_fig7"]


def test_what_is_undefined_everywhere_is_not_drawn(numbers: PaperNumbers) -> None:
    maps = replace(
        numbers.maps, values={m: torch.full((2, N_LAYERS + 1, 5, 5), math.nan) for m in MEASURES}
    )
    empty = replace(
        numbers,
        scatters=tuple(
            replace(one, points=((math.nan, math.nan),) * len(one.points), shares=None)
            for one in numbers.scatters
        ),
        geometry=LayerTable(),
        maps=maps,
    )
    for draw in (paper_figures.scatters, paper_figures.dimensions, paper_figures.task_maps):
        with pytest.raises(NothingToDrawError):
            draw(empty)


def test_the_json_holds_what_is_drawn_and_no_nan(
    table: LayerTable, numbers: PaperNumbers, tmp_path: Path
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    numbers = replace(numbers, unseen=("cb",))
    numbers.write(tmp_path / "paper_figures.json", table)
    told = json.loads((tmp_path / "paper_figures.json").read_text(), parse_constant=refuse)
    assert told["schema"] == "1"
    assert {f"figure_{k}" for k in range(2, 8)} <= set(told)
    box = told["figure_2"]["boxes"]["experimental"][2]
    assert (box["layer"], box["n_tasks"]) == (3, 4)
    unseen = told["figure_2"]["unseen"]["experimental"]["cb"]
    assert len(unseen) == N_LAYERS
    seen = set(values_of(table, "experimental", 3)) - {unseen[2]}
    assert box["quantiles"] == pytest.approx(np.quantile(list(seen), told["quantile_levels"]))
    assert [one["n_tasks"] for one in told["figure_3"]["pretrained"]["nli"]] == [2] * N_LAYERS
    assert len(told["figure_4"]["task_of_point"]) == len(told["figure_4"]["panels"][0]["points"])
    assert told["figure_5"]["control"][0]["quantiles"] == [6.0] * 5
    assert told["figure_6"]["correlations"][0]["property"] == "flesch_kincaid"
    assert told["figure_7"]["agreements"][0]["by_cluster"] == {"nli": 0.5}
