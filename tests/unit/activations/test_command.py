"""`python -m taskdepth.activations`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from taskdepth.activations import __main__ as command
from taskdepth.activations.pooling import Pooling
from taskdepth.activations.store import ActivationStore

WHOLE, OTHER, PARTIAL, OLD = ("aa11", "aa22", "bb11", "cc11")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two whole keys of 6 rows in 2 shards, one of which only the first shard is there, an old one."""
    store = ActivationStore(tmp_path, shard_rows=4)
    for key in (WHOLE, OTHER, PARTIAL):
        about = {"model": "llama", "role": "control", "task": f"task-{key}", "split": "test"}
        recording = store.record(key, list("abcdef"), about)
        for rows in recording.missing[: 1 if key == PARTIAL else 2]:
            recording.write(rows, {Pooling.MEAN: torch.ones(3, len(rows), 2)})
        if key != PARTIAL:
            recording.finish()
    (tmp_path / "cc" / OLD).mkdir(parents=True)
    (tmp_path / "cc" / OLD / "manifest.json").write_text(json.dumps({"format": 1}))
    return tmp_path


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["activations", *arguments])
    code = 0
    try:
        command.main()
    except SystemExit as error:
        code = int(error.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def keys(root: Path) -> set[str]:
    return {path.name for path in root.glob("??/*")}


def test_ls_shows_every_key(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, "ls", "--root", str(root))
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert "llama · control · 3 depths · mean · float32" in out
    assert lines[WHOLE][1:4] == ["task-aa11", "test", "6"]
    assert lines[WHOLE][-1] == "whole"
    assert lines[PARTIAL][1:4] == ["task-bb11", "test", "4/6"]
    assert lines[PARTIAL][-1] == "partial"
    assert max(map(len, out.splitlines())) <= 80
    assert lines[OLD][-1] == "unreadable"
    _, out, _ = run(monkeypatch, capsys, "ls", "--root", str(root), "aa2")
    assert OTHER in out
    assert WHOLE not in out
    _, out, _ = run(monkeypatch, capsys, "ls", "--root", str(root), "aa")
    assert OTHER in out
    assert WHOLE in out
    assert PARTIAL not in out


def test_verify_names_what_is_damaged_and_drops_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--root", str(root)]
    code, out, _ = run(monkeypatch, capsys, "verify", *at, WHOLE, OTHER, PARTIAL)
    assert (code, out) == (0, "5 shards of 3 keys are as they were written\n")
    altered = root / "aa" / WHOLE / "shard-00001.safetensors"
    altered.write_bytes(altered.read_bytes()[:-1] + b"\1")
    (root / "bb" / PARTIAL / "shard-00000.safetensors").unlink()
    code, out, error = run(monkeypatch, capsys, "verify", *at)
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()] == [WHOLE, PARTIAL, OLD]
    assert "shard-00001.safetensors was altered" in out
    assert "shard-00000.safetensors is missing" in out
    assert "format 1, this version reads 2" in out
    assert error.startswith("error: 3 of the store's files are damaged or missing: --drop")
    assert WHOLE in ActivationStore(root)
    assert run(monkeypatch, capsys, "verify", "--drop", *at, WHOLE)[0] == 1
    store = ActivationStore(root, shard_rows=4)
    assert WHOLE not in store
    assert store.record(WHOLE, list("abcdef"), {}).missing == [range(4, 6)]


def test_rm_by_key_asks_first(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--root", str(root)]
    for answer in ("n", ""):
        monkeypatch.setattr("builtins.input", lambda _, said=answer: said)
        code, _, error = run(monkeypatch, capsys, "rm", *at, "aa1")
        assert (code, error) == (1, "error: nothing was removed: --yes does it without asking\n")
        assert WHOLE in keys(root)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    code, out, _ = run(monkeypatch, capsys, "rm", *at, "aa1")
    assert code == 0
    assert out.startswith("removed 1 key, ")
    assert keys(root) == {OTHER, PARTIAL, OLD}


def test_rm_without_a_terminal_removes_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    assert run(monkeypatch, capsys, "rm", "--root", str(root), "--all")[0] == 1
    assert len(keys(root)) == 4


@pytest.mark.parametrize(
    ("which", "left"), [("--partial", {WHOLE, OTHER, OLD}), ("--all", set()), ("bb", None)]
)
def test_rm_many(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    which: str,
    left: set[str] | None,
) -> None:
    code, _, _ = run(monkeypatch, capsys, "rm", "--root", str(root), which, "--yes")
    assert code == 0
    assert keys(root) == ({WHOLE, OTHER, OLD} if left is None else left)
    assert (root / "bb").exists() is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "zz"], "no key begins with 'zz'"),
        (["rm", "aa", "--yes"], "2 keys begin with 'aa'"),
        (["rm", "../..", "--yes"], "no key begins with '../..'"),
        (["rm", "--yes"], "say what to remove"),
        (["rm", "aa11", "--all", "--yes"], "say what to remove"),
    ],
)
def test_mistakes_get_one_line(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    code, _, error = run(monkeypatch, capsys, *arguments, "--root", str(root))
    assert code == 1
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert len(keys(root)) == 4


def test_an_absent_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(monkeypatch, capsys, "ls", "--root", str(tmp_path / "none"))
    assert (code, error) == (
        1,
        f"error: there is no store in {tmp_path}/none: name one with --root\n",
    )
