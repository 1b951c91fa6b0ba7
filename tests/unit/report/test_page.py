import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from study_files import make_study
from taskdepth.report.page import SCRIPTS, write_page
from taskdepth.report.study import Study
from taskdepth.results.findings import summarise
from taskdepth.results.table import LayerTable

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text outside scripts, and each script's content."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] == ["style"]:
            self.styles.append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def rendered(folder: Path, *studies: Study) -> Page:
    write_page(folder / "report.html", studies)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def of(study: Study, table: LayerTable) -> Study:
    """`study` with another table and nothing beside it."""
    return Study(study.name, study.folder, table, summarise(table))


@pytest.fixture(scope="module")
def page(study: Study, tmp_path_factory) -> Page:
    return rendered(tmp_path_factory.mktemp("page"), study)


def test_findings_come_first_and_every_section_is_there(page: Page, study: Study) -> None:
    said = [line.replace(": ", " : ", 1) for line in study.findings.lines]
    text = page.text.replace(": ", " : ")
    places = [text.index(line.replace(": ", " : ").split(" : ", 1)[1]) for line in said]
    assert places == sorted(places)
    assert places[-1] < text.index("Words on this page")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(a["href"])[1:] for tag, a in page.tags if tag == "a"}
    assert links <= set(ids)
    sections = "heatmap boxes probes regions depthmap taskmap placement tasks warnings provenance"
    assert set(sections.split()) <= links
    for word in ("abc123", "versions.torch", "every prompt ends in the same token"):
        assert word in page.text
    assert page.open == []  # every element is closed


def test_page_asks_for_nothing_from_outside(page: Page) -> None:
    loading = {"src", "srcset", "href", "data", "action", "poster", "background"}
    for tag, attributes in page.tags:
        for name in loading & set(attributes):
            assert str(attributes[name]).startswith("#"), (tag, name)
    assert not any(tag in ("link", "iframe", "img", "object", "base") for tag, _ in page.tags)
    assert not re.search(r"url\(|@import", " ".join(page.styles))
    (policy,) = [str(a["content"]) for _, a in page.tags if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_scripts_hold_nothing_that_ends_them_and_make_no_markup() -> None:
    folder = files("taskdepth.report").joinpath("drawing", "scripts")
    found = {path.name.removesuffix(".js"): path.read_text() for path in folder.iterdir()}
    assert set(found) == set(SCRIPTS)
    for name, script in found.items():
        assert "</" not in script, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_task_text_is_never_markup(tmp_path: Path) -> None:
    study = make_study({EVIL: EVIL, "a&amp;b": "x"}, 6, name=EVIL)
    assert study.selection is not None
    evil = replace(
        study,
        selection=replace(study.selection, reason=EVIL, model=EVIL, policy=EVIL),
        provenance={EVIL: EVIL},
        undefined=((EVIL, EVIL),),
    )
    page = rendered(tmp_path, evil)
    plain = rendered(tmp_path, make_study({"a": "b", "c": "x"}, 6))
    assert len(page.scripts) == len(plain.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.tags)
    assert EVIL in page.text
    assert "a&amp;b" in page.text  # as it was typed, and not "a&b"
    assert {task["name"] for task in json.loads(page.scripts[0])["tasks"]} >= {EVIL, "a&amp;b"}


@pytest.mark.parametrize("keep", [{"kind": "probe"}, {"kind": "similarity"}, {"depth": 0}])
def test_a_table_alone_makes_a_page(study: Study, tmp_path: Path, keep) -> None:
    page = rendered(tmp_path, of(study, study.table.where(**keep)))
    assert "No blocks were chosen" in page.text
    assert "Nothing is known of how this run was made" in page.text


def test_an_empty_table_still_makes_a_page(study: Study, tmp_path: Path) -> None:
    page = rendered(tmp_path, of(study, LayerTable()))
    assert "Nothing was measured" in page.text
    assert json.loads(page.scripts[0])["grids"] == []


def test_runs_compared_stand_side_by_side(study: Study, tmp_path: Path) -> None:
    other = replace(of(study, study.table.where(kind="probe")), name="probed only")
    page = rendered(tmp_path, study, other)
    (table,) = [a for tag, a in page.tags if tag == "table" and a.get("class") == "runs"]
    assert table
    assert "shared 1–2, transition 3–4, refinement 5–8 –" in page.text
    labels = {grid["label"] for grid in json.loads(page.scripts[0])["grids"]}
    assert {"run: experimental model", "probed only: experimental model"} <= labels
