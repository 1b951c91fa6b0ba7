from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from taskdepth.errors import ResultsError
from taskdepth.results import __main__ as results
from taskdepth.results import summary
from taskdepth.results.findings import summarise
from taskdepth.results.table import LayerTable
from taskdepth.selection.placement import LayerSelection


@pytest.fixture
def runs(table: LayerTable, tmp_path: Path) -> Path:
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        table.write(tmp_path / name / "layers.parquet")
    LayerSelection((2, 3), 8, "manual", "so", "tiny").write(tmp_path / "a" / "selection.yaml")
    return tmp_path


def test_globs_folders_and_files_name_runs(runs: Path) -> None:
    every = [runs / "a" / "layers.parquet", runs / "b" / "c" / "layers.parquet"]
    assert summary.find([f"{runs}/**/layers.parquet"]) == every
    assert summary.find([str(runs / "a"), f"{runs}/**/layers.parquet"]) == every
    with pytest.raises(ResultsError, match=r"nothing/\*: there is no layers.parquet"):
        summary.find([f"{runs}/nothing/*"])


def test_a_line_is_what_the_findings_say(runs: Path, table: LayerTable) -> None:
    found = summary.lines(summary.find([f"{runs}/**/layers.parquet"]))
    assert [(line.run, line.role) for line in found] == [
        ("a", "pretrained"),
        ("a", "experimental"),
        ("c", "pretrained"),
        ("c", "experimental"),
    ]
    by_hand = summarise(table)
    experimental = by_hand.labels[0]
    assert (found[1].label_accuracy, found[1].label_layer) == (
        experimental.best,
        experimental.best_layer,
    )
    assert by_hand.identity is not None
    assert found[1].identity_accuracy == by_hand.identity.accuracy
    assert found[1].last_similarity == by_hand.similarity[0].last
    assert found[1].blocks == (2, 3)
    assert found[3].blocks == ()


def test_the_command_prints_a_table_or_csv(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["results", "table", f"{runs}/**/layers.parquet"])
    results.main()
    assert "2–3" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["results", "table", str(runs / "a"), "--csv"])
    results.main()
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["role"] for line in lines] == ["pretrained", "experimental"]
    assert lines[0]["blocks"] == "2 3"
