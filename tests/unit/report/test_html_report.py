import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from study_files import write_run
from taskdepth.report.__main__ import main
from taskdepth.report.study import Study


def html(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["taskdepth.report", "html", *map(str, arguments)])
    main()


@pytest.fixture
def run(study: Study, tmp_path: Path) -> Path:
    small = replace(study, table=study.table.where(task="rte"))
    return write_run(tmp_path / "run", small)


def test_one_run_gets_its_page_into_its_folder(run: Path, monkeypatch, capsys) -> None:
    html(monkeypatch, run)
    assert "Where the adapter goes" in (run / "report.html").read_text()
    assert str(run / "report.html") in capsys.readouterr().out


def test_several_runs_get_one_page_that_is_in_no_run(run: Path, monkeypatch) -> None:
    again = shutil.copytree(run, run.parent / "again")
    monkeypatch.chdir(run.parent)
    html(monkeypatch, run, again)
    page = Path("comparison.html").read_text()
    assert "<h2>run</h2>" in page
    assert "<h2>again</h2>" in page
    html(monkeypatch, run, again, "--out", "x/y.html", "--title", "a < b")
    assert "<h1>a &lt; b</h1>" in Path("x/y.html").read_text()


def test_a_mistake_is_told_in_one_line(run: Path, monkeypatch, capsys) -> None:
    out = run.parent / "both.html"
    with pytest.raises(SystemExit, match="1"):
        html(monkeypatch, run, run.parent / "none", "--out", out)
    said = capsys.readouterr().err
    assert said.startswith("error: no layer table at")
    assert said.count("\n") == 1
    assert not out.exists()
