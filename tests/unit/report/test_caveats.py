import math
from dataclasses import replace
from pathlib import Path

from taskdepth.report.caveats import caveats, flatten
from taskdepth.report.study import Study
from taskdepth.results.table import LayerTable


def test_caveats_name_reasons_small_and_unequal_n(study: Study) -> None:
    pairs = [("rte, depth 0", "no variance"), ("cb, depth 0", "no variance"), ("x", "too few")]
    smaller = LayerTable(replace(r, n=12) if r.task == "cb" else r for r in study.table)
    found = dict(caveats(smaller, pairs))
    assert found["Undefined: no variance."] == ("rte, depth 0", "cb, depth 0")
    assert found["Undefined: too few."] == ("x",)
    assert found["Tasks with fewer than 50 examples: 1."] == ("cb: n = 12",)
    assert any(sentence.startswith("Similarities rest on 12 to 204") for sentence in found)


def test_undefined_values_without_a_reason_are_counted(study: Study) -> None:
    missing = sum(math.isnan(row.value) for row in study.table)
    said = f"{missing:,} of {len(study.table):,} values are undefined (NaN)."
    assert (said, ()) in caveats(study.table)
    same_n = LayerTable(replace(row, n=200) for row in study.table if row.depth)
    assert caveats(same_n) == ()


def test_flatten_makes_dotted_names() -> None:
    content = {"a": {"b": {"c": 1}, "d": [1, "x"]}, "e": None, "f": "text", "g": Path("p")}
    assert flatten(content) == [
        ("a.b.c", "1"),
        ("a.d", '[1, "x"]'),
        ("e", "null"),
        ("f", "text"),
        ("g", '"p"'),
    ]
