"""The report's JSON is read back by W&B's own library, as its server's answer would be."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb_workspaces.reports import v2 as wr
from wandb_workspaces.reports.v2 import internal
from wandb_workspaces.reports.v2.interface import Report, UnknownPanel

from taskdepth.errors import ConfigError, ResultsError
from taskdepth.report import wandb_markdown, wandb_report
from taskdepth.report.wandb_runs import read_runs, varied
from taskdepth.results.layer_log import layer_series
from taskdepth.results.table import LayerTable, Row
from taskdepth.selection.placement import LayerSelection
from taskdepth.selection.regions import Regions

TASKS = {"rte": "nli", "sst2": "sentiment"}
LAYERS = 6


def table() -> LayerTable:
    rows = []
    for depth in range(1, LAYERS + 1):
        for role, more in (("pretrained", 0.0), ("experimental", 0.02)):
            for task, cluster in TASKS.items():
                at = ("tiny", role, task, cluster, depth)
                similar = 0.9 - 0.1 * depth + more * depth
                rows.append(
                    Row(*at, "similarity", "debiased_cka", similar, 50, reference="control")
                )
                rows.append(Row(*at, "probe", "accuracy", depth / 10, 50, target="label"))
            at = ("tiny", role, "all", "all", depth)
            rows.append(Row(*at, "probe", "accuracy", 0.5 + depth / 20, 50, target="task"))
    return LayerTable(rows)


def settings(name: str, **more: Any) -> dict[str, Any]:
    logger = {"project": "depths", "entity": None}
    return {"name": name, "seed": 0, "logger": logger, "paths": {"root": "/"}, **more}


def write_study(folder: Path, name: str, **more: Any) -> Path:
    run = folder / name
    (run / "figures").mkdir(parents=True)
    table().write(run / "layers.parquet")
    regions = Regions(LAYERS, 3, True, 0.01, (2, 4), ((1, 3), (4, 5)), "")
    LayerSelection((2, 3), LAYERS, "region", "because", "tiny", regions).write(
        run / "selection.yaml"
    )
    (run / "config.yaml").write_text(yaml.safe_dump(settings(name, **more)))
    about = {"versions": {"torch": "2"}, "git": "abc", "command": ["probe.py", f"name={name}"]}
    (run / "provenance.json").write_text(json.dumps(about))
    for picture in ("regions", "similarity_pretrained_vs_control"):
        (run / "figures" / f"{picture}.png").write_bytes(b"png")
    return run


def write_tuned(folder: Path, name: str, loss: float, lr: float, control: bool = False) -> Path:
    run = folder / name
    run.mkdir()
    about = {"adapter": {"name": "lora"}, "optimizer": {"lr": lr}, "role": "experimental"}
    (run / "config.yaml").write_text(yaml.safe_dump(settings(name, **about)))
    scores = {"rte": {"loss": loss}, "sst2": {"loss": loss + 0.5, "rank_accuracy": 0.75}}
    if control:
        found = {t: {"validation": s, "trainable_parameters": 7} for t, s in scores.items()}
        (run / "controls.json").write_text(json.dumps({"controls": found}))
    else:
        metrics = {"tasks": scores, "adapted_blocks": [1, 2], "trainable_parameters": 1234}
        (run / "metrics.json").write_text(json.dumps(metrics))
    return run


def write_placement(folder: Path) -> Path:
    run = folder / "contest"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(settings("contest")))
    gain = {"value": 0.125, "lower": 0.05, "upper": 0.2}
    shared = {"parameters": 1000, "scores": {"loss": 1.5}, "gain": gain, "draws_blocks": False}
    lines = [{"policy": "region", "blocks": [2, 3], **shared}]
    lines.append({"policy": "all", "blocks": [0, 1, 2, 3], **shared})
    about = {"schema": 1, "score": "loss", "reference": "all", "winner": "region", "n_tasks": 2}
    about |= {"seeds": [0, 1], "steps": 10, "verdict": "region is better than all"}
    text = json.dumps({"placement": {**about, "lines": lines}})
    (run / "placement.json").write_text(text)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_study(folder, "first"),
        write_study(folder, "second", seed=1),
        write_tuned(folder, "low", 1.25, 0.1),
        write_tuned(folder, "high", 2.0, 0.2),
        write_tuned(folder, "con_trols|", 1.5, 0.1, control=True),
        write_placement(folder),
    ]


@pytest.fixture(scope="module")
def report(runs: list[Path]) -> Any:
    return wandb_report.build(read_runs(runs), "depths", "", "Depths")


def everything(blocks: list[Any]) -> Iterator[Any]:
    for block in blocks:
        yield block
        yield from everything(getattr(block, "collapsed_blocks", None) or [])


def prose(report: Any) -> str:
    shown = [
        str(getattr(block, name, ""))
        for block in everything(report.blocks)
        for name in ("text", "items", "code")
    ]
    return "\n".join(shown)


def panels(report: Any) -> list[Any]:
    return [p for b in everything(report.blocks) if isinstance(b, wr.PanelGrid) for p in b.panels]


def test_the_json_is_what_the_library_reads(report: Any) -> None:
    text = wandb_report.to_json(report)
    model = internal.ReportViewspec.model_validate_json(text)
    again = Report._from_model(model)
    assert [type(b) for b in again.blocks] == [type(b) for b in report.blocks]
    assert len(panels(again)) == len(panels(report)) > 20
    assert not any(isinstance(panel, UnknownPanel) for panel in panels(again))
    assert model.project.name == "depths"
    again.width = report.width  # which the library forgets
    assert wandb_report.to_json(again) == text


def test_the_numbers_are_filled_in(report: Any) -> None:
    shown = prose(report)
    # similarity falls by 0.1 a layer and tuning gives 0.02 back
    assert "the experimental model goes from 0.82 at layer 1 to 0.42 at layer 6" in shown
    assert "the pre-trained model goes from 0.80 at layer 1 to 0.30 at layer 6" in shown
    assert "largest at layer 6: +0.12, positive in 2 of 2 tasks" in shown
    assert "from +0.02 to +0.12, above zero in 100% of the cells" in shown
    assert "shared: layers 1–2; transition: layers 3–4; refinement: layers 5–6" in shown
    assert "2 (1–3), 4 (4–5)" in shown
    assert "layers_to_transform=[2, 3]" in shown
    assert "They differ in seed." in shown
    assert "The lowest validation loss, 1.500, is that of low, with adapters in blocks 1–2" in shown
    assert "low has a lower validation loss than the control model in 2 of 2 tasks" in shown
    assert "high has a lower validation loss than the control model in 0 of 2 tasks" in shown
    assert "5 runs" not in shown
    assert "which differ in optimizer.lr" in shown


def test_every_curve_is_one_that_the_runs_have(report: Any) -> None:
    """A panel over a key that is never logged would stay empty."""
    import re

    logged: set[str] = {"layer", "train/loss", "val/loss", "trainer/global_step"}
    logged |= {
        key
        for kind in ("probe", "similarity")
        for values in layer_series(table().where(kind=kind, role="pretrained")).values()
        for key in values
    }
    may_be_absent = {"probe/label/selectivity", "similarity/vs_control/linear_cka"}
    for panel in panels(report):
        if isinstance(panel, wr.LinePlot):
            assert set(panel.y) - may_be_absent <= logged
            assert panel.x in logged
            if panel.metric_regex:
                assert any(re.fullmatch(panel.metric_regex, key) for key in logged)


def test_runs_are_found_by_what_they_record(report: Any) -> None:
    filters = {
        runset.name: runset.filters
        for block in everything(report.blocks)
        if isinstance(block, wr.PanelGrid)
        for runset in block.runsets
    }
    assert filters["probes"] == "Config('name') in [\"second\"] and Config('stage') in [\"probe\"]"
    assert "Config('role') = \"experimental\"" in filters["all studies"]


def test_a_placement_study_is_told_by_policy(report: Any) -> None:
    shown = prose(report)
    assert "region is better than all" in shown
    assert "| region (wins) | 2–3 | 1,000 | 1.500 | +0.125 \\[+0.050, +0.200\\] |" in shown
    assert "| all | 0–3 | 1,000 | 1.500 | reference |" in shown


def test_names_are_not_markup(report: Any) -> None:
    markdown = "\n".join(b.text for b in report.blocks if isinstance(b, wr.MarkdownBlock))
    assert r"con\_trols\|" in markdown
    assert wandb_markdown.escaped("<b>[x](y)</b>") == r"\<b\>\[x\](y)\</b\>"


def test_what_varies_is_what_was_swept(runs: list[Path]) -> None:
    found = read_runs(runs)
    assert varied(found.studies) == ["seed"]
    assert varied(found.tuned) == ["optimizer.lr"]


def arguments(runs: list[Path], out: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    wandb_report.add_arguments(parser)
    return parser.parse_args(["--runs", *map(str, runs), "--out", str(out), *more])


def test_without_an_account_the_json_is_written(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs[2] / "wandb" / "offline-run-1-x").mkdir(parents=True)
    wandb_report.main(arguments(runs, tmp_path / "r.json", "--title", "My title"))
    assert json.loads((tmp_path / "r.json").read_text())["displayName"] == "My title"
    shown = capsys.readouterr().out
    assert "wandb login" in shown
    assert f"wandb sync {runs[2]}/wandb/offline-run-*" in shown


def test_with_an_account_it_is_published(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bool] = []

    def save(self: Any, draft: bool = False) -> None:
        self.id = "abc"
        saved.append(draft)

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(Report, "save", save)
    monkeypatch.setattr(Report, "url", "https://there")
    wandb_report.main(arguments(runs, tmp_path / "r.json", "--entity", "us", "--draft"))
    assert saved == [True]


def test_mistakes_are_told(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResultsError, match="no finished run"):
        read_runs([tmp_path])
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "placement.json").write_text("[]")
    (tmp_path / "odd" / "config.yaml").write_text("name: odd")
    with pytest.raises(ResultsError, match="no record of a placement study of this version"):
        read_runs([tmp_path / "odd"])
    with pytest.raises(ResultsError, match="two of the runs are called first"):
        read_runs([runs[0], runs[0]])
    other = write_tuned(tmp_path, "other", 1.0, 0.1)
    text = (other / "config.yaml").read_text().replace("depths", "elsewhere")
    (other / "config.yaml").write_text(text)
    with pytest.raises(ResultsError, match="--project="):
        wandb_report.main(arguments([runs[0], other], tmp_path / "r.json"))
    monkeypatch.setattr(wandb_report.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install"):
        wandb_report.main(arguments(runs, tmp_path / "r.json"))
