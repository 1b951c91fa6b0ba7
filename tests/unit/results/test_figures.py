import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from taskdepth.errors import ResultsError
from taskdepth.results.drawing import ADAPTED, COLOURS, DPI
from taskdepth.results.figures import save_all
from taskdepth.results.probe_figures import probe_accuracy_by_cluster, task_identity
from taskdepth.results.region_figure import region_curves
from taskdepth.results.similarity_figure import similarity_heatmap
from taskdepth.results.table import LayerTable
from taskdepth.types import Role

NAMES = {
    "similarity_pretrained_vs_control",
    "similarity_experimental_vs_control",
    "probe_accuracy_by_cluster",
    "task_identity",
    "regions",
}


def rows_of(table: LayerTable, role: str, task: str, name: str, **more: object) -> list[float]:
    """The values of one task at layers 1 to L, straight from the table."""
    rows = table.where(role=role, task=task, name=name, **more)
    return [row.value for row in sorted(rows, key=lambda row: row.depth) if row.depth]


def heatmap_values(figure) -> np.ndarray:
    return figure.axes[0].images[0].get_array().filled(np.nan)


@pytest.mark.slow
def test_pngs_have_the_size_of_their_figures(table, regions, selection, tmp_path: Path) -> None:
    saved = save_all(table, regions, selection, tmp_path / "figures")
    assert set(saved) == NAMES
    assert {p.stem for p in (tmp_path / "figures").iterdir()} == NAMES
    figures = {
        "similarity_experimental_vs_control": similarity_heatmap(table, Role.EXPERIMENTAL, regions),
        "probe_accuracy_by_cluster": probe_accuracy_by_cluster(table),
        "task_identity": task_identity(table),
        "regions": region_curves(table, regions, selection),
    }
    for name, figure in figures.items():
        with Image.open(saved[name]) as image:
            image.load()
            assert image.format == "PNG"
            expected = figure.get_size_inches() * DPI
            np.testing.assert_allclose(image.size, expected, atol=1)
            colours = image.convert("RGB").getcolors(maxcolors=2**24)
            assert colours is not None
            assert len(colours) > 50  # something is drawn


@pytest.mark.parametrize("role", [Role.PRETRAINED, Role.EXPERIMENTAL])
def test_heatmap_shows_the_values_of_the_table(table: LayerTable, role: Role) -> None:
    axes = similarity_heatmap(table, role).axes[0]
    tasks = [label.get_text() for label in axes.get_yticklabels()]
    assert tasks == ["rte", "cb", "sst2", "imdb", "aeslc"]  # by cluster, not as in the table
    expected = [rows_of(table, role, task, "debiased_cka") for task in tasks]
    np.testing.assert_array_equal(heatmap_values(axes.figure), expected)
    assert axes.images[0].get_clim() == (0, 1)  # the same for both comparisons
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(k) for k in range(1, 9)]


def test_undefined_cells_stay_undefined_and_are_explained(table: LayerTable) -> None:
    spoilt = LayerTable(
        replace(row, value=math.nan) if row.task == "cb" and row.depth == 3 else row
        for row in table
    )
    figure = similarity_heatmap(spoilt, Role.EXPERIMENTAL)
    assert np.argwhere(np.isnan(heatmap_values(figure))).tolist() == [[1, 2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["undefined"]
    assert not similarity_heatmap(table, Role.EXPERIMENTAL).legends


def test_region_boundaries_are_drawn_only_when_found(table: LayerTable, regions) -> None:
    def edges(shown) -> set[float]:
        axes = similarity_heatmap(table, Role.PRETRAINED, shown).axes[0]
        return {line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1}

    assert edges(regions) == {2.5, 4.5}  # columns count from 0: right of layers 3 and 5
    assert edges(replace(regions, found=False)) == edges(None) == set()


def test_region_curves_are_medians_and_mark_blocks(table, regions, selection) -> None:
    axes = region_curves(table, regions, selection).axes[0]
    by_look = {(to_hex(line.get_color()), line.get_linestyle()): line for line in axes.lines}
    for role in (Role.PRETRAINED, Role.EXPERIMENTAL):
        values = [rows_of(table, role, task, "debiased_cka") for task in table.unique("task")[:5]]
        line = by_look[COLOURS[role].lower(), "-"]
        np.testing.assert_allclose(line.get_ydata(), np.median(values, axis=0))
        floor = [
            rows_of(table, role, task, "debiased_cka_shuffled") for task in table.unique("task")[:5]
        ]
        dotted = by_look[COLOURS[role].lower(), ":"]
        np.testing.assert_allclose(dotted.get_ydata(), np.median(floor, axis=0))
    marks = by_look[ADAPTED.lower(), "None"]
    assert list(marks.get_xdata()) == [6, 7, 8]  # blocks 5, 6, 7
    boundaries = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert boundaries == [3.5, 5.5]


def test_one_panel_per_cluster_with_its_median(table: LayerTable) -> None:
    figure = probe_accuracy_by_cluster(table)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}
    assert list(panels) == ["nli (2)", "sentiment (2)", "summaries (1)"]
    values = [
        rows_of(table, "experimental", task, "accuracy", target="label") for task in ("rte", "cb")
    ]
    curves = {to_hex(line.get_color()): line for line in panels["nli (2)"].lines}
    drawn = curves[COLOURS[Role.EXPERIMENTAL].lower()]
    np.testing.assert_allclose(drawn.get_ydata(), np.median(values, axis=0))


def test_task_identity_has_both_targets_and_both_floors(table: LayerTable) -> None:
    figure = task_identity(table)
    for axes, target in zip(figure.axes, ("task", "cluster"), strict=True):
        drawn = [line.get_ydata().tolist() for line in axes.lines]
        for name in ("accuracy", "majority", "control_task_accuracy"):
            expected = rows_of(table, "pretrained", "all", name, target=target)
            assert any(np.allclose(expected, values) for values in drawn), name


def test_only_what_was_measured_is_drawn(table: LayerTable, tmp_path: Path) -> None:
    probes = table.where(kind="probe", role="pretrained")
    assert set(save_all(probes, None, None, tmp_path / "a")) == {
        "probe_accuracy_by_cluster",
        "task_identity",
    }
    assert save_all(LayerTable(), None, None, tmp_path / "b") == {}
    assert not (tmp_path / "b").exists()
    with pytest.raises(ResultsError, match="pre-trained"):
        similarity_heatmap(probes, Role.PRETRAINED)


def test_odd_names_do_not_break_or_vanish(make_table, tmp_path: Path) -> None:
    names = ["a$b_{$", "$x", r"back\slash", "two\nlines", "x" * 200, "<b>&</b>"]
    table = make_table({name: name for name in names}, 3)
    assert set(save_all(table, None, None, tmp_path)) == NAMES
    labels = similarity_heatmap(table, Role.PRETRAINED).axes[0].get_yticklabels()
    for name, label in zip(names, labels, strict=True):
        shown = label.get_text().replace(r"\$", "$")
        assert shown[:9] == " ".join(name.split())[:9]
        assert len(shown) <= 38
