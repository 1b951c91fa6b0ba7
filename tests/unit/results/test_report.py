import ast
import base64
import json
import math
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from taskdepth.results.findings import summarise
from taskdepth.results.layer_grid import grid
from taskdepth.results.report import (
    caveats,
    flatten,
    lora_snippet,
    reuse_command,
    task_lines,
    write_report,
)
from taskdepth.results.table import LayerTable

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text outside scripts, and each script's content."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
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
            self.scripts.append((self.tags[-1][1], data))
        elif self.open[-1:] == ["style"]:
            self.styles.append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def specs(self) -> dict[str, dict]:
        return {
            str(about["id"]).removesuffix("-spec"): json.loads(content)
            for about, content in self.scripts
            if about.get("type") == "application/json"
        }


def rendered(folder: Path, table, regions, selection, undefined=(), provenance=None) -> Page:
    path = folder / "report.html"
    findings = summarise(table, regions, selection)
    write_report(path, table, findings, regions, selection, provenance or {}, undefined)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(table, regions, selection, tmp_path_factory) -> Page:
    return rendered(
        tmp_path_factory.mktemp("report"),
        table,
        regions,
        selection,
        [("rte, depth 0", "every prompt ends in the same token")],
        {"git": "abc123", "versions": {"torch": "2.13.0"}},
    )


def numbers(encoded) -> np.ndarray:
    """plotly's array, as a list or as base64."""
    if isinstance(encoded, list):
        return np.array(encoded, dtype=float)
    values = np.frombuffer(base64.b64decode(encoded["bdata"]), dtype=encoded["dtype"])
    return values.reshape([int(size) for size in encoded.get("shape", "-1").split(",")])


def test_findings_come_first_and_every_section_is_there(page, table, regions, selection) -> None:
    lines = summarise(table, regions, selection).lines
    assert page.text.index(lines[0]) < page.text.index("The experimental model and the control")
    assert all(line in page.text for line in lines)
    ids = {attributes.get("id") for _, attributes in page.tags}
    targets = {a["href"][1:] for tag, a in page.tags if tag == "a" and a["href"]}
    assert targets == ids & targets
    assert targets >= {"placement", "tasks", "warnings", "provenance"}
    assert "abc123" in page.text
    assert "versions.torch" in page.text
    assert "every prompt ends in the same token" in page.text
    assert page.open == []  # every element is closed


def test_page_asks_for_nothing_from_outside(page: Page) -> None:
    loading = {"src", "srcset", "href", "data", "action", "poster", "background"}
    for tag, attributes in page.tags:
        for name in loading & set(attributes):
            assert str(attributes[name]).startswith("#"), (tag, name)
    assert not any(tag in ("link", "iframe", "img", "object", "base") for tag, _ in page.tags)
    assert not re.search(r"url\(|@import|https?:", " ".join(page.styles))
    policies = [a["content"] for _, a in page.tags if a.get("http-equiv")]
    assert len(policies) == 1
    assert "default-src 'none'" in str(policies[0])
    assert "http" not in str(policies[0])


def test_plotly_is_there_once(page: Page) -> None:
    large = [content for _, content in page.scripts if len(content) > 1_000_000]
    assert len(large) == 1
    assert "plotly.js" in large[0][:200]


def test_heatmap_holds_the_values_of_the_table(page: Page, table: LayerTable) -> None:
    for role in ("pretrained", "experimental"):
        (heatmap,) = page.specs()[f"heatmap-{role}"]["data"]
        shown = grid(table, kind="similarity", role=role, name="debiased_cka")
        np.testing.assert_array_equal(numbers(heatmap["z"]), shown.values)
        np.testing.assert_array_equal(numbers(heatmap["x"]), shown.layers)
        hover = heatmap["text"][1][2]
        assert f"<b>cb</b> (nli)<br>layer 3: {shown.values[1, 2]:.3f} [" in hover
        assert "shuffled rows" in hover
        assert "n = 200" in hover


def test_curves_are_all_there(page: Page) -> None:
    specs = page.specs()
    assert list(specs) == [
        "heatmap-experimental",
        "heatmap-pretrained",
        "labels",
        "identity",
        "regions",
    ]
    titles = {note["text"] for note in specs["labels"]["layout"]["annotations"]}
    assert titles == {"nli", "sentiment", "summaries"}
    marks = next(trace for trace in specs["regions"]["data"] if trace.get("mode") == "markers")
    assert numbers(marks["x"]).tolist() == [6, 7, 8]


def test_task_text_is_never_markup(make_table, regions, selection, tmp_path: Path) -> None:
    table = make_table({EVIL: f"<img src=x onerror={EVIL}>", "a&amp;b": "x"}, 8)
    evil = replace(selection, reason=f"because {EVIL}", model=EVIL, policy=EVIL)
    page = rendered(tmp_path, table, regions, evil, [(EVIL, EVIL)], {EVIL: EVIL})
    harmless = make_table({"a": "b", "c": "x"}, 8)
    plain = rendered(tmp_path / "plain", harmless, regions, selection, [("a", "b")])
    assert len(page.scripts) == len(plain.scripts)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert EVIL in page.text
    assert "a&amp;b" in page.text  # as it was typed, and not "a&b"
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert raw.count(EVIL) == 0
    assert not any("<" in content for about, content in page.scripts if "type" in about)
    spec = page.specs()["heatmap-pretrained"]
    label = spec["layout"]["yaxis"]["ticktext"][0]
    assert label == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert EVIL not in json.dumps(spec)


@pytest.mark.parametrize(
    "keep", [{"kind": "probe"}, {"kind": "similarity"}, {"role": "pretrained"}]
)
def test_what_is_missing_is_left_out(table, tmp_path: Path, keep) -> None:
    page = rendered(tmp_path, table.where(**keep), None, None)
    assert "No blocks were chosen" in page.text
    assert ("labels" in page.specs()) == (keep.get("kind") != "similarity")
    assert ("regions" in page.specs()) == (keep.get("kind") != "probe")


def test_an_empty_table_still_makes_a_page(tmp_path: Path) -> None:
    page = rendered(tmp_path, LayerTable(), None, None)
    assert "Nothing was measured" in page.text
    assert page.specs() == {}


def test_snippet_is_python_with_the_chosen_blocks(selection) -> None:
    call = ast.parse(lora_snippet(selection)).body[-1].value  # type: ignore[attr-defined]
    arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert call.func.id == "LoraConfig"
    assert arguments["layers_to_transform"] == [5, 6, 7]
    assert arguments["layers_pattern"] is None
    assert isinstance(arguments["target_modules"], list)


@pytest.mark.parametrize(
    "path",
    [
        "runs/a/selection.yaml",
        "/x y/s.yaml",
        "lr=0.1,b=2/s.yaml",
        "it's/s.yaml",
        'a"b/s.yaml',
        "ü/s.yaml",
    ],
)
def test_command_survives_shell_and_hydra(path: str) -> None:
    command = shlex.split(reuse_command(Path(path)))
    assert command[:3] == ["python", "train.py", "adapter=lora"]
    (override,) = OverridesParser.create().parse_overrides(command[3:])
    assert override.key_or_group == "adapter.blocks_from"
    assert override.value() == path


def test_task_lines_take_the_best_layer(table: LayerTable) -> None:
    lines = {line.task: line for line in task_lines(table)}
    assert list(lines) == ["rte", "cb", "sst2", "imdb", "aeslc"]
    rows = table.where(role="experimental", task="cb", target="label", name="accuracy")
    best = max((row for row in rows if row.depth), key=lambda row: row.value)
    line = lines["cb"]
    assert (line.layer, line.accuracy, line.lower, line.upper, line.n) == (
        best.depth,
        best.value,
        best.lower,
        best.upper,
        best.n,
    )
    assert (line.majority, line.control_task) == (pytest.approx(0.44), pytest.approx(0.42))


def test_task_without_label_probe_has_a_line(table: LayerTable) -> None:
    partly = LayerTable(r for r in table if not (r.task == "aeslc" and r.target == "label"))
    line = task_lines(partly)[-1]
    assert (line.task, line.n, line.layer, line.accuracy) == ("aeslc", 200, None, None)


def test_caveats_name_reasons_small_and_unequal_n(table: LayerTable) -> None:
    pairs = [("rte, depth 0", "no variance"), ("cb, depth 0", "no variance"), ("x", "too few")]
    smaller = LayerTable(replace(r, n=12) if r.task == "cb" else r for r in table)
    found = dict(caveats(smaller, pairs))
    assert found["Undefined: no variance."] == ("rte, depth 0", "cb, depth 0")
    assert found["Undefined: too few."] == ("x",)
    assert found["Tasks with fewer than 50 examples: 1."] == ("cb: n = 12",)
    assert any(sentence.startswith("Similarities rest on 12 to 200") for sentence in found)


def test_undefined_values_without_a_reason_are_counted(table: LayerTable) -> None:
    missing = sum(math.isnan(row.value) for row in table)
    assert (f"{missing} of {len(table):,} values are undefined (NaN).", ()) in caveats(table)
    defined = LayerTable(row for row in table if row.depth)
    assert caveats(defined) == ()


def test_flatten_makes_dotted_names() -> None:
    content = {"a": {"b": {"c": 1}, "d": [1, "x"]}, "e": None, "f": "text", "g": Path("p")}
    assert flatten(content) == [
        ("a.b.c", "1"),
        ("a.d", '[1, "x"]'),
        ("e", "null"),
        ("f", "text"),
        ("g", '"p"'),
    ]
