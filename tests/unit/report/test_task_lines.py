from dataclasses import replace

from taskdepth.report.study import Study
from taskdepth.report.task_lines import task_lines
from taskdepth.results.table import LayerTable


def test_task_lines_take_the_best_layer_of_the_experimental_model(study: Study) -> None:
    lines = {line.task: line for line in task_lines(study.table)}
    assert list(lines) == ["rte", "cb", "sst2", "imdb", "aeslc"]
    rows = study.table.where(role="experimental", task="cb", target="label", name="accuracy")
    best = max((row for row in rows if row.depth), key=lambda row: row.value)
    line = lines["cb"]
    found = (line.layer, line.accuracy, line.lower, line.upper, line.n)
    assert found == (best.depth, best.value, best.lower, best.upper, best.n)
    floor = study.table.where(
        role="experimental",
        task="cb",
        target="label",
        name="control_task_accuracy",
        depth=best.depth,
    )
    assert (line.majority, line.control_task) == (0.5, next(iter(floor)).value)


def test_weights_of_adapters_have_no_examples(study: Study) -> None:
    (row,) = study.table.where(role="pretrained", task="rte", kind="geometry", depth=1)
    weights = LayerTable([replace(row, kind="weights", name="update_norm", n=2)])
    assert task_lines(study.table + weights) == task_lines(study.table)


def test_task_without_label_probe_has_a_line(study: Study) -> None:
    partly = LayerTable(r for r in study.table if not (r.task == "cb" and r.target == "label"))
    (line,) = [line for line in task_lines(partly) if line.task == "cb"]
    assert (line.n, line.layer, line.accuracy) == (202, None, None)
