"""The page as people meet it, in a real Chromium. Without one these tests fail and say what to install."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browser import Browser
from study_files import make_study, task_names
from taskdepth.report.page import write_page
from taskdepth.report.study import Study
from taskdepth.results.findings import summarise
from taskdepth.results.table import LayerTable

EVIL = "<script>window.hacked = true</script>"
pytestmark = pytest.mark.browser

LARGEST_BYTES = 8_000_000
LONGEST_S = 2.0


# what a person sees and does, in the page's own terms
def every(selector: str, what: str) -> str:
    return f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.{what})"


LABELS = every("#heatmap svg[role=img] text[text-anchor=end] title", "textContent")
GROUPS = every("#heatmap svg[role=img] text.group", "textContent")
FILLS = every("#taskmap svg[role=img] > rect:not(.cursor)", "style.fill")
READOUT = "document.getElementById('readout').textContent"
TOOLTIP = "document.getElementById('tooltip')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def small(study: Study, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("small") / "report.html"
    write_page(path, [study])
    return path


@pytest.fixture
def page(browser: Browser, small: Path) -> Iterator[Browser]:
    """The small study, opened anew on a desk; nothing may go wrong in the console."""
    browser.problems.clear()
    browser.size(1200, 900)
    browser.open(small)
    yield browser
    assert browser.problems == []


def choose(page: Browser, section: str, label: str, text: str) -> None:
    """Choose an option of a menu by what it says."""
    found = page.run(
        f"""(([section, label, text]) => {{
            const labels = [...document.querySelectorAll(`#${{section}} .controls label`)];
            const menu = labels.find((each) => each.firstChild.data === label).querySelector("select");
            const option = [...menu.options].find((each) => each.text === text);
            if (!option) return [...menu.options].map((each) => each.text);
            menu.value = option.value;
            menu.dispatchEvent(new Event("change"));
            return true;
        }})({json.dumps([section, label, text])})"""
    )
    assert found is True, found


@pytest.mark.slow
def test_a_large_study_is_small_and_quick(browser: Browser, tmp_path: Path) -> None:
    study = make_study(task_names(69, 12), 32, of_tasks=True)
    write_page(tmp_path / "report.html", [study])
    assert (tmp_path / "report.html").stat().st_size <= LARGEST_BYTES
    browser.problems.clear()
    browser.size(1200, 900)
    took_s = LONGEST_S + 1
    for _ in range(6):  # other tests run at the same time: the quickest opening tells
        took_s = min(took_s, browser.open(tmp_path / "report.html"))
        if took_s <= LONGEST_S:
            break
    assert browser.problems == []
    assert (
        browser.run("document.querySelectorAll('#heatmap svg[role=img] > rect').length") > 69 * 96
    )
    assert took_s <= LONGEST_S
    # and it answers as quickly: the filter, and the slider
    start_s = time.perf_counter()
    browser.run("document.querySelector('input[type=search]').focus()")
    browser.type("task_07")
    assert browser.run(LABELS) == ["task_07"]
    browser.run("document.querySelector('input[type=range]').focus()")
    browser.press("ArrowRight")
    assert browser.run("document.querySelector('#taskmap output').textContent") == "layer 17"
    assert time.perf_counter() - start_s <= LONGEST_S


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_fits_any_screen_in_light_and_dark(
    browser: Browser, small: Path, width: int, dark: bool
) -> None:
    browser.problems.clear()
    browser.size(width, 800, dark=dark, phone=width < 500)
    browser.open(small)
    assert browser.problems == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background))) < 100) == dark


def test_heat_map_has_its_cluster_bands(page: Browser) -> None:
    assert page.run(LABELS) == ["rte", "cb", "sst2", "imdb", "aeslc"]
    assert [name for name in page.run(GROUPS) if "model" not in name] == [
        "nli",
        "sentiment",
        "sums",
    ]


@pytest.mark.parametrize(
    ("typed", "left", "said"),
    [
        ("c", ["cb", "aeslc"], "2 of 5 tasks"),
        ("NLI", ["rte", "cb"], "2 of 5 tasks"),
        ("zzz", [], "0 of 5 tasks"),
    ],
)
def test_filter_keeps_what_was_typed(page: Browser, typed: str, left: list[str], said: str) -> None:
    page.run("document.querySelector('input[type=search]').focus()")
    page.type(typed)
    assert page.run(LABELS) == left
    assert page.run("document.querySelector('#heatmap output').textContent") == said


def test_orders_and_clusters(page: Browser, study: Study) -> None:
    choose(page, "heatmap", "Order", "by name")
    assert page.run(LABELS) == ["aeslc", "cb", "imdb", "rte", "sst2"]
    choose(page, "heatmap", "Cluster", "nli")
    assert page.run(LABELS) == ["cb", "rte"]
    choose(page, "heatmap", "Cluster", "all")
    choose(page, "heatmap", "Model", "experimental model")
    choose(page, "heatmap", "Order", "by value at the last layer")
    last = study.table.where(kind="similarity", role="experimental", name="debiased_cka", depth=8)
    ranked = sorted(last, key=lambda row: -row.value)
    assert page.run(LABELS) == [row.task for row in ranked]


def test_a_menu_keeps_the_focus_when_it_is_used(page: Browser) -> None:
    page.run("document.querySelectorAll('#heatmap select')[3].focus()")
    choose(page, "heatmap", "Order", "by name")
    focused = "document.activeElement.closest('label').firstChild.data"
    assert page.run(focused) == "Order"


def test_arrow_keys_read_out_the_cell(page: Browser, study: Study) -> None:
    choose(page, "heatmap", "Model", "experimental model")
    page.run("document.querySelector('#heatmap svg[role=img]').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.press(key)
    (row,) = study.table.where(
        kind="similarity", role="experimental", name="debiased_cka", depth=2, task="cb"
    )
    assert row.lower is not None
    assert row.upper is not None
    said = page.run(READOUT)
    assert "cb, cluster nli, layer 2" in said
    assert f"{row.value:.3f} [{row.lower:.3f}, {row.upper:.3f}]" in said
    assert "shuffled rows" in said
    assert "n = 202" in said
    assert page.run(f"{TOOLTIP}.hidden") is False
    page.press("Escape")
    assert page.run(f"{TOOLTIP}.hidden") is True


def test_pointing_at_a_cell_tells_of_it(page: Browser) -> None:
    page.point("#heatmap svg[role=img] > rect")
    assert page.run(f"{TOOLTIP}.firstChild.textContent") == "rte"


def test_difference_of_two_models(page: Browser, study: Study) -> None:
    choose(page, "heatmap", "Minus", "pre-trained model")
    choose(page, "heatmap", "Model", "experimental model")
    page.run("document.querySelector('#heatmap svg[role=img]').focus()")
    page.press("ArrowRight")
    one, other = (
        next(iter(study.table.where(role=role, name="debiased_cka", depth=1, task="rte"))).value
        for role in ("experimental", "pretrained")
    )
    said = page.run(READOUT).replace("−", "-")
    assert f"difference: {one - other:.3f}" in said


def test_slider_goes_through_the_layers(page: Browser, study: Study) -> None:
    before = page.run(FILLS)
    page.run("document.querySelector('input[type=range]').focus()")
    for _ in range(4):
        page.press("ArrowRight")
    assert page.run("document.querySelector('#taskmap output').textContent") == "layer 8"
    assert page.run("document.querySelector('input[type=range]').ariaValueText") == "layer 8"
    after = page.run(FILLS)
    assert len(before) == len(after) == 25
    assert before != after
    assert study.task_maps is not None
    page.run("document.querySelector('#taskmap svg[role=img]').focus()")
    for key in ("ArrowRight", "ArrowRight"):
        page.press(key)
    value = float(study.task_maps.at("centroid_cosine", "experimental", 8)[0, 1])
    assert f"layer 8: {value:.3f}" in page.run(READOUT)


def test_depth_map_of_another_task(page: Browser, study: Study) -> None:
    choose(page, "depthmap", "Task", "sst2")
    page.run("document.querySelector('#depthmap svg[role=img]').focus()")
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        page.press(key)
    value = study.depth_maps.one("experimental", "control", task="sst2").values[1, 1]
    said = page.run(READOUT)
    assert "experimental model, depth 1, control model, depth 1" in said
    assert f"{value:.3f}" in said


def test_probes_of_one_task_with_floors(page: Browser, study: Study) -> None:
    choose(page, "probes", "Task", "cb")
    page.run("document.querySelector('#probes svg[role=img][tabindex]').focus()")
    page.press("ArrowRight")
    (row,) = study.table.where(
        role="experimental", target="label", name="accuracy", depth=1, task="cb"
    )
    said = page.run(READOUT)
    assert f"experimental model: {row.value:.3f}" in said
    assert "control task, experimental model" in said
    assert "majority class: 0.500" in said
    choose(page, "probes", "Show", "selectivity")
    assert "control task" not in page.run("document.querySelector('#probes .legend').textContent")


def test_box_plots_and_regions_tell_their_numbers(page: Browser) -> None:
    for section, word in (("boxes", "median"), ("regions", "experimental model: 0.")):
        page.run(f"document.querySelector('#{section} figure svg[tabindex]').focus()")
        page.press("ArrowRight")
        assert word in page.run(READOUT)
    assert "p = 0.004" in page.run("document.getElementById('regions').textContent")


def test_table_sorts_by_a_click(page: Browser) -> None:
    names = every("#tasks tbody th", "textContent")
    page.run("document.querySelector('#tasks thead button').click()")
    assert page.run(names) == ["aeslc", "cb", "imdb", "rte", "sst2"]
    page.run("document.querySelector('#tasks thead button').click()")
    assert page.run(names) == ["sst2", "rte", "imdb", "cb", "aeslc"]


def test_theme_button_goes_round(page: Browser) -> None:
    seen = []
    for _ in range(3):
        page.run("document.getElementById('theme').click()")
        seen.append(page.run("getComputedStyle(document.body).backgroundColor"))
    assert seen[0] == seen[2] != seen[1]


def test_prints_with_nothing_folded_away(page: Browser, tmp_path: Path) -> None:
    page.print(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert page.run("[...document.querySelectorAll('details')].every((each) => each.open)")


def test_task_text_stays_text(browser: Browser, tmp_path: Path) -> None:
    study = make_study({EVIL: EVIL, "<b>x</b>": "y", "z": "y"}, 6, of_tasks=True, name=EVIL)
    write_page(tmp_path / "report.html", [study, make_study({EVIL: "y"}, 6)])
    browser.problems.clear()
    browser.size(1200, 900)
    browser.open(tmp_path / "report.html")
    browser.point("#heatmap svg[role=img] > rect")
    assert browser.run(f"{TOOLTIP}.firstChild.textContent") == EVIL
    assert browser.run("window.hacked") is None
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert browser.run("document.querySelectorAll('svg b, figcaption b, option b').length") == 0
    assert EVIL in browser.run(LABELS)
    assert browser.problems == []


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (lambda row: False, []),
        (lambda row: row.kind == "probe", ["heatmap", "boxes", "probes"]),
        (lambda row: row.kind == "similarity", ["heatmap", "boxes", "regions"]),
        (lambda row: row.task == "all", ["probes"]),
        (lambda row: row.depth == 0, []),
    ],
    ids=["nothing", "probes", "similarity", "no single task", "embeddings"],
)
def test_what_was_not_measured_is_left_out(
    browser: Browser, study: Study, tmp_path: Path, keep: Callable, left: list[str]
) -> None:
    table = LayerTable(filter(keep, study.table))
    write_page(tmp_path / "report.html", [Study("x", tmp_path, table, summarise(table))])
    browser.problems.clear()
    browser.open(tmp_path / "report.html")
    assert browser.run(every("section.drawn", "id")) == left
    links = browser.run(every("nav .drawn a", "hash.slice(1)"))
    assert links == left
    assert browser.problems == []


def test_runs_of_other_depths_are_compared(browser: Browser, study: Study, tmp_path: Path) -> None:
    deeper = make_study({"rte": "nli", "cb": "nli", "new": "other"}, 12, name="deeper")
    write_page(tmp_path / "report.html", [study, deeper])
    browser.problems.clear()
    browser.size(1200, 900)
    browser.open(tmp_path / "report.html")
    assert browser.problems == []
    assert "deeper: experimental model" in browser.run(GROUPS)
    assert sorted(set(browser.run(LABELS))) == ["aeslc", "cb", "imdb", "new", "rte", "sst2"]
    choose(browser, "heatmap", "Minus", "run: experimental model")
    choose(browser, "heatmap", "Model", "deeper: experimental model")
    assert browser.run("document.querySelectorAll('#regions figure').length") == 2
    assert browser.problems == []
