import json
from pathlib import Path

import pytest

from taskdepth.files import replacing, write_json, write_text


def test_replacing_swaps_the_content_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.txt"
    write_text(path, "old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"  # readers see the old file until the very end
        assert partial.parent == path.parent  # a move within one file system is one step
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]


@pytest.mark.parametrize("old", ["old", None])
def test_failure_leaves_what_was_there(tmp_path: Path, old: str | None) -> None:
    path = tmp_path / "x.txt"
    if old is not None:
        path.write_text(old)

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert (path.read_text() if path.exists() else None) == old
    assert len(list(tmp_path.iterdir())) == (old is not None)


def test_nothing_written_is_an_error_and_not_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x.txt"):
        pass
    assert not list(tmp_path.iterdir())


def test_write_json_keeps_order_and_letters(tmp_path: Path) -> None:
    content = {"b": [1, None], "a": "Zoë 東京"}
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert "Zoë 東京" in text
    assert text.index('"b"') < text.index('"a"')
    assert text.endswith("}\n")
