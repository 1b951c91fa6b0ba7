"""Rows, configs and selections that nobody thought of."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskdepth.config import TrainConfig, problems
from taskdepth.errors import TaskdepthError
from taskdepth.selection.placement import LayerSelection
from taskdepth.tasks.folder import FolderSource
from taskdepth.trust import check_targets, strange_targets
from taskdepth.types import Split

Found = TypeVar("Found")

few = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,  # the same examples in every run
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
filled = text.filter(str.strip)
rows = st.fixed_dictionaries(
    {
        "split": st.sampled_from([str(split) for split in Split]),
        "prompt": filled,
        "targets": st.lists(filled, min_size=1, max_size=3),
    },
    optional={"options": st.lists(text, max_size=3), "inverted": st.booleans()},
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def read_or_refused(read: Callable[[], Found]) -> Found | None:
    """What was read; None where it was refused, in one line."""
    told = ""
    try:
        return read()
    except TaskdepthError as error:
        told = str(error)
    assert len(told.splitlines()) == 1, told
    return None


@few
@given(content=st.lists(rows, max_size=6))
def test_every_sound_row_comes_back_as_it_was(tmp_path: Path, content: list[Any]) -> None:
    lines = [json.dumps({"example_id": f"e{i}", **row}) for i, row in enumerate(content)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    source = FolderSource(tmp_path)
    found = {e.example_id: (s, e) for s in Split for e in source.examples("t", s)}
    assert set(found) == {f"e{i}" for i in range(len(content))}
    for i, row in enumerate(content):
        split, example = found[f"e{i}"]
        assert split == row["split"]
        assert (example.prompt, list(example.targets)) == (row["prompt"], row["targets"])
        assert example.inverted is row.get("inverted", False)


@few
@given(field=st.sampled_from(["example_id", "split", "prompt", "targets"]), value=anything)
def test_a_row_with_anything_in_a_field_is_sound_or_refused(
    tmp_path: Path, field: str, value: Any
) -> None:
    row = {"example_id": "e", "split": "train", "prompt": "p", "targets": ["a"]} | {field: value}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    found = read_or_refused(
        lambda: [e for split in Split for e in FolderSource(tmp_path).examples("t", split)]
    )
    if found is not None:
        assert len(found) == 1
        kept = {"example_id": found[0].example_id, "prompt": found[0].prompt}
        assert kept.get(field, value) == value


@few
@given(
    n_blocks=st.integers(1, 200),
    data=st.data(),
    words=st.tuples(text, text, text),
)
def test_every_selection_is_read_as_it_was_written(
    tmp_path: Path, n_blocks: int, data: st.DataObject, words: tuple[str, str, str]
) -> None:
    blocks = data.draw(st.sets(st.integers(0, n_blocks - 1), min_size=1, max_size=12))
    ranks = data.draw(st.none() | st.fixed_dictionaries({b: st.integers(1, 64) for b in blocks}))
    made = LayerSelection(tuple(blocks), n_blocks, *words, rank_pattern=ranks)
    made.write(tmp_path / "selection.yaml")
    assert LayerSelection.read(tmp_path / "selection.yaml") == made


@few
@given(key=st.sampled_from(["blocks", "n_blocks", "regions", "rank_pattern"]), value=anything)
def test_a_selection_with_anything_in_a_field_is_sound_or_refused(
    tmp_path: Path, key: str, value: Any
) -> None:
    path = tmp_path / "selection.yaml"
    sound = {"schema": 1, "blocks": [1], "n_blocks": 4, "policy": "p", "reason": "r", "model": "m"}
    path.write_text(json.dumps({**sound, "regions": None, key: value}))  # JSON is YAML
    found = read_or_refused(lambda: LayerSelection.read(path))
    if found is not None:
        assert all(type(b) is int and 0 <= b < found.n_blocks for b in found.blocks)


@few
@given(
    where=st.sampled_from(["mixture.weights", "adapter.peft", "model.architecture", "data.source"]),
    value=anything,
)
def test_a_config_with_anything_in_an_open_place_is_told_not_met(where: str, value: Any) -> None:
    config = TrainConfig(name="x")
    config.data.name = "folder"
    config.data.path = "p"
    config.paths.run_dir = "r"
    config.model.name = "m"
    section, field = where.split(".")
    setattr(getattr(config, section), field, value)
    assert all(isinstance(problem, str) for problem in problems(config))


@few
@given(name=st.text(string.ascii_letters + "._:/ \\\"'\n${}()-", max_size=40))
def test_no_odd_name_is_a_target(name: str) -> None:
    assert len(list(strange_targets({"a": [{"_target_": name}]}))) == 1
    with pytest.raises(TaskdepthError):
        check_targets({"_target_": name})
