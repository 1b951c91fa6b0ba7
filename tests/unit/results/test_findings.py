import math
from collections.abc import Iterable
from dataclasses import replace

import pytest

from taskdepth.results.findings import summarise
from taskdepth.results.table import LayerTable, Row
from taskdepth.types import Role


def similarity(role: str, values: dict[str, list[float]]) -> list[Row]:
    """`values`: for each task the debiased CKA at layers 1, 2, …"""
    return [
        Row("m", role, task, "c", k, "similarity", "debiased_cka", value, 50, reference="control")
        for task, row in values.items()
        for k, value in enumerate(row, start=1)
    ]


def probe(target: str, name: str, values: Iterable[float], task: str = "all") -> list[Row]:
    cluster = "all" if task == "all" else "c"
    return [
        Row("m", "experimental", task, cluster, k, "probe", name, value, 50, target=target)
        for k, value in enumerate(values, start=1)
    ]


def test_numbers_and_sentences_of_a_small_run(selection, regions) -> None:
    table = LayerTable(
        [
            *similarity("pretrained", {"a": [0.9, 0.5, 0.3], "b": [0.7, 0.3, 0.1]}),
            *similarity("experimental", {"a": [0.9, 0.4, 0.6], "b": [0.7, 0.2, 0.5]}),
            *probe("task", "accuracy", [0.4, 0.8, 0.7]),
            *probe("task", "majority", [0.5, 0.5, 0.5]),
            *probe("task", "control_task_accuracy", [0.5, 0.55, 0.5]),
            *probe("label", "accuracy", [0.5, 0.6, 0.9], "a"),
            *probe("label", "accuracy", [0.3, 0.5, 0.4], "b"),
            *probe("label", "majority", [0.5, 0.5, 0.5], "a"),
            *probe("label", "majority", [0.6, 0.6, 0.6], "b"),
        ]
    )
    found = summarise(table, regions, selection)
    assert found.lines == (
        "Measured: 2 tasks in 1 cluster over 3 layers of the pre-trained and the experimental "
        "model, compared with 2 control models.",
        "Task identity: readable from layer 2 of the experimental model (80.0% at layer 2, the "
        "best; always naming the most frequent task gives 50.0%, a control task 55.0%).",
        "Labels: the experimental model's probe accuracy, median over 2 tasks, goes from 40.0% at "
        "layer 1 to 65.0% at layer 3, the best (majority class 55.0%; above it in 1 of 2).",
        "Similarity to the control models (debiased linear CKA, median over 2 tasks): the "
        "experimental model goes from 0.80 at layer 1 to 0.55 at layer 3 (lowest: 0.30 at layer "
        "2); it gains most over the pre-trained model at layer 3 (+0.35; closer in 2 of 2 tasks).",
        "Regions, by layer: shared 1–3, transition 4–5, refinement 6–8; put the adapter into "
        "blocks 5–7 (layers 6–8), policy refinement.",
    )
    assert (found.n_tasks, found.n_clusters, found.n_layers, found.n_controls) == (2, 1, 3, 2)
    assert found.roles == (Role.PRETRAINED, Role.EXPERIMENTAL)
    assert (found.boundaries, found.blocks) == ((3, 5), (5, 6, 7))
    assert found.gain is not None
    assert found.gain.value == pytest.approx(0.35)  # the median of 0.3 and 0.4
    assert [f.role for f in found.similarity] == [Role.EXPERIMENTAL, Role.PRETRAINED]


def test_yardsticks_get_a_line_of_their_own() -> None:
    compared = [
        *similarity("pretrained", {"a": [0.9, 0.5, 0.3], "b": [0.7, 0.3, 0.1]}),
        *similarity("experimental", {"a": [0.9, 0.4, 0.6], "b": [0.7, 0.2, 0.5]}),
    ]
    ceiling = similarity("ceiling", {"a": [1.0, 0.9, 0.8], "b": [1.0, 0.9, 0.4]})
    foil = similarity("foil", {"a": [0.5, 0.4, 0.1], "b": [0.7, 0.2, math.nan]})
    without = summarise(LayerTable(compared))
    both = summarise(LayerTable([*compared, *ceiling, *foil]))
    assert [line for line in both.lines if line not in without.lines] == [
        "Yardsticks for it: the control model of another seed goes from 1.00 to 0.60 at layer 3, "
        "where the experimental model is closer in 1 of 2 tasks; another task's control model goes "
        "from 0.60 to 0.10 at layer 3, where the experimental model is closer in 1 of 1 tasks."
    ]
    assert (without.ceiling, without.foil, len(without.lines)) == (None, None, 5)
    assert both.similarity == without.similarity
    assert both.gain == without.gain
    alone = summarise(LayerTable([*compared, *foil]))
    assert alone.lines[4].startswith("Yardsticks for it: another task's control model goes")


def test_a_full_table_counts_tasks_once(table: LayerTable) -> None:
    found = summarise(table)
    assert (found.n_tasks, found.n_clusters, found.n_layers, found.n_controls) == (5, 3, 8, 5)
    assert [f.role for f in found.labels] == [Role.EXPERIMENTAL, Role.PRETRAINED]


def test_interval_decides_what_is_readable() -> None:
    rows = [
        *(replace(row, lower=row.value - 0.2) for row in probe("task", "accuracy", [0.6, 0.9])),
        *probe("task", "majority", [0.5, 0.5]),
    ]
    identity = summarise(LayerTable(rows)).identity
    assert identity is not None
    assert identity.readable_from == 2
    never = [replace(row, lower=0.1) if row.name == "accuracy" else row for row in rows]
    line = summarise(LayerTable(never)).lines[1]
    assert line.startswith("Task identity: not readable at any layer of the experimental model")


def test_a_control_task_as_good_makes_nothing_readable() -> None:
    rows = [
        *probe("task", "accuracy", [0.7, 0.8]),
        *probe("task", "majority", [0.5, 0.5]),
        *probe("task", "control_task_accuracy", [0.7, 0.6]),
    ]
    identity = summarise(LayerTable(rows)).identity
    assert identity is not None
    assert identity.readable_from == 2


def test_labels_skip_undefined_layers() -> None:
    rows = [
        *probe("label", "accuracy", [math.nan, 0.6, 0.7], "a"),
        *probe("label", "majority", [0.5, 0.5, 0.5], "a"),
    ]
    (label,) = summarise(LayerTable(rows)).labels
    assert (label.first_layer, label.first, label.best_layer) == (2, 0.6, 3)


def test_a_loss_is_not_called_a_gain() -> None:
    table = LayerTable(
        [
            *similarity("pretrained", {"a": [0.9, 0.8]}),
            *similarity("experimental", {"a": [0.5, 0.4]}),
        ]
    )
    assert (
        summarise(table)
        .lines[3]
        .endswith("at no layer is it closer to them than the pre-trained model.")
    )


def without(table: LayerTable, **equals: object) -> LayerTable:
    dropped = set(map(id, table.where(**equals)))
    return LayerTable(row for row in table if id(row) not in dropped)


@pytest.mark.parametrize(
    ("drop", "line", "says"),
    [
        ({"kind": "similarity"}, 0, "without control models"),
        ({"kind": "similarity"}, 3, "not measured: there are no control models"),
        ({"role": "experimental"}, 0, "of the pre-trained model, compared"),
        ({"role": "experimental"}, 3, "no value of the experimental model"),
        ({"role": "pretrained"}, 3, "no value of the pre-trained model"),
        ({"target": "task"}, 1, "not probed"),
        ({"target": "label"}, 2, "not probed"),
    ],
)
def test_lines_say_what_is_missing(table: LayerTable, drop, line: int, says: str) -> None:
    lines = summarise(without(table, **drop)).lines
    assert says in lines[line]
    assert "nan" not in " ".join(lines)


def test_undefined_everywhere_is_not_a_number(table: LayerTable) -> None:
    undefined = LayerTable(replace(row, value=math.nan) for row in table)
    found = summarise(undefined)
    assert found.lines[3] == "Similarity to the control models: undefined at every layer."
    assert (found.identity, found.labels, found.similarity, found.gain) == (None, (), (), None)
    assert "nan" not in " ".join(found.lines)


def test_an_empty_table_gives_five_lines() -> None:
    lines = summarise(LayerTable()).lines
    assert len(lines) == 5
    assert lines[0].startswith("Nothing was measured")


@pytest.mark.parametrize(
    ("has_regions", "found", "has_selection", "line"),
    [
        (False, False, False, "Regions: not looked for; no blocks were chosen for an adapter."),
        (
            True,
            False,
            True,
            "Regions: none found, as the curves give no evidence that the layers split; put the "
            "adapter into blocks 5–7 (layers 6–8), policy refinement.",
        ),
        (
            True,
            True,
            False,
            "Regions, by layer: shared 1–3, transition 4–5, refinement 6–8; no blocks were chosen "
            "for an adapter.",
        ),
    ],
)
def test_placement_line(
    regions, selection, has_regions: bool, found: bool, has_selection: bool, line: str
) -> None:
    shown = replace(regions, found=found) if has_regions else None
    assert summarise(LayerTable(), shown, selection if has_selection else None).lines[4] == line


def test_the_placement_line_tells_a_number_that_was_chosen(regions) -> None:
    two = replace(regions, boundaries=(3,), intervals=((2, 3),), names=("a", "b"), chosen=True)
    assert summarise(LayerTable(), two).lines[4] == (
        "Regions, by layer (2, as many as the curves show): a 1–3, b 4–8; no blocks were chosen for "
        "an adapter."
    )
