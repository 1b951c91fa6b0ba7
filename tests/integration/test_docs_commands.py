"""The commands in README.md and docs/ work as they stand, in a checkout where `make demo` has run."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hydra import compose, initialize_config_dir
from nbclient import NotebookClient

from document_blocks import LANGUAGES, REASONS, ROOT, Block, blocks, documents
from study_files import write_run
from taskdepth import config
from taskdepth.report.study import Study

NOTEBOOK = ROOT / "docs" / "notebooks" / "findings.ipynb"
BLOCKS = [block for document in documents() for block in blocks(document)]
SHELL = [block for block in BLOCKS if block.language == "sh"]
NOT_RUN = [block for block in SHELL if block.reason is not None]
BLANK = re.compile(r"<[a-z][^>\n]*>|…|\.\.\.")
# instead of running commands, print the words after them
SAY_ONLY = r"""python() { printf '%s\t' "$@"; printf '\n'; }
torchrun() { while [[ $1 == --* ]]; do shift; done; python "$@"; }
MODEL=model TASKS=tasks PATH=
"""


def test_blocks_say_what_they_are() -> None:
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block}: a fence needs one of {LANGUAGES}"
        assert block.reason is None or block.reason in REASONS, f"{block}: {block.reason}"


def test_blocks_stand_as_they_are() -> None:
    for block in SHELL:
        assert not BLANK.search(block.shown), f"{block} has blanks that a reader must fill in"
        assert all(shown in block.shown for shown in block.instead), block


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_blocks_compile(block: Block) -> None:
    compile(block.code, str(block), "exec")


def commands(block: Block, folder: Path) -> list[tuple[str, list[str]]]:
    """The calls of train.py and probe.py in a block, with their words."""
    said = subprocess.run(
        ["bash", "-c", SAY_ONLY + block.code], cwd=folder, capture_output=True, text=True
    )
    calls = [line.rstrip("\t").split("\t") for line in said.stdout.splitlines()]
    return [
        (words[0].removesuffix(".py"), words[1:])
        for words in calls
        if words[0] in ("train.py", "probe.py")
    ]


def test_commands_that_are_not_run_have_settings_that_exist(tmp_path: Path) -> None:
    checked = 0
    with initialize_config_dir(str(config.conf_dir()), version_base="1.3"):
        for block in NOT_RUN:
            for command, words in commands(block, tmp_path):
                is_sweep = "-m" in words or any("experiment=sweep" in word for word in words)
                settings = [w for w in words if "=" in w and not w.startswith(("hydra", "--"))]
                if is_sweep:  # of every axis the first value
                    settings = [re.sub(r"^([^\[,]+),.*", r"\1", word) for word in settings]
                config.resolve(compose(command, settings))
                checked += 1
    assert checked >= 5


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with what `make demo` left in it; blocks may write there what they like."""
    made = ROOT / "outputs"
    if not (made / "probe" / "demo" / "findings.json").is_file():
        pytest.fail("the documents begin where `make demo` ends: run it first")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("train.py", "probe.py", "conf", "src", "README.md", "pyproject.toml"):
        (copy / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", copy / "docs")
    ignored = shutil.ignore_patterns("wandb", "checkpoints")
    for path in [*made.glob("train/demo-*"), made / "probe" / "demo", made / "activations"]:
        shutil.copytree(path, copy / path.relative_to(ROOT), ignore=ignored)
    return copy


def environment(checkout: Path) -> dict[str, str]:
    """`python` is this one, runs land in the copy, and nobody asks a server."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": str(checkout / "src"),
        "TASKDEPTH_ROOT": str(checkout),
        "WANDB_MODE": "offline",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",  # documents run side by side
    }


def run(block: Block, checkout: Path) -> str:
    """What a block prints.

    Raises:
        AssertionError: it ended with an error.
    """
    start = ["bash", "-euo", "pipefail", "-c"] if block.language == "sh" else ["python", "-c"]
    ended = subprocess.run(
        [*start, block.code],
        cwd=checkout,
        env=environment(checkout),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, f"{block}\n{block.code}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("document", documents())
def test_blocks_run_in_their_order(document: str, checkout: Path) -> None:
    for block in blocks(document):
        if block.reason is None and block.language in ("sh", "python"):
            printed = run(block, checkout)
            if block.told is not None:
                assert printed.strip() == block.told.strip(), block


@pytest.mark.slow
def test_notebook_runs_on_the_demo(checkout: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(checkout / "docs" / "notebooks")}}
    NotebookClient(notebook, timeout=120, resources=where).execute(env=environment(checkout))


def test_notebook_reads_any_run(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "outputs" / "probe" / "demo", study)
    (tmp_path / "docs" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs" / "notebooks")
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    script = tmp_path / "notebook.py"
    script.write_text("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    names = runpy.run_path(str(script))
    assert study.selection is not None
    assert names["config"].layers_to_transform == list(study.selection.blocks)


def test_notebook_is_stored_with_what_it_showed() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 2
    assert not [out for out in outputs if out.output_type == "error"]
