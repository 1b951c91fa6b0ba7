"""What a person meets: one readable line for every mistake, and both scripts from any folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskdepth import cli, files

ROOT = Path(__file__).parents[2]


def rows(labels: list[str], splits: list[str], prompt: str = "a dog") -> str:
    return "".join(
        json.dumps(
            {
                "example_id": f"{split}-{i}",
                "split": split,
                "prompt": prompt,
                "targets": [labels[i % len(labels)]],
                "label": labels[i % len(labels)],
            }
        )
        + "\n"
        for split in splits
        for i in range(8)
    )


ALL = ["train", "validation", "test"]


@pytest.fixture
def place(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tasks with every fault, and models with every fault."""
    monkeypatch.setenv("TASKDEPTH_ROOT", str(tmp_path))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "sound.jsonl").write_text(rows(["no", "yes"], ALL))
    (tasks / "untested.jsonl").write_text(rows(["no", "yes"], ["train", "validation"]))
    (tasks / "untrained.jsonl").write_text(rows(["no", "yes"], ["test"]))
    (tasks / "one_label.jsonl").write_text(rows(["yes"], ALL))
    (tasks / "long.jsonl").write_text(rows(["no", "yes"], ALL, prompt="word " * 200))
    for name, remove in (("whole", ""), ("mute", "tokenizer")):
        shutil.copytree(tiny_folder, tmp_path / name)
        for path in (tmp_path / name).glob(f"{remove}*" if remove else "nothing"):
            path.unlink()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    (tmp_path / "deep.yaml").write_text(
        "schema: 1\nblocks: [20]\nn_blocks: 30\npolicy: manual\nreason: r\nmodel: big\nregions: null\n"
    )
    return tmp_path


FOLDER = ["data=folder", "data.path=tasks", "model.path=whole", "logger=none"]
PROBE = ["data=folder", "data.path=tasks", "models.pretrained=whole", "logger=none"]
NO_CONTROLS = "stages=[extract,probe]"

MISTAKES = [
    ("train", ["model=tyni"], "did you mean tiny"),
    ("train", ["modle=tiny"], "modle"),
    ("train", ["experiment=null"], "leave the group out"),
    ("train", ["-m", "hydra/launcher=joblip"], "pip install -e '.[sweeps]'"),
    ("train", ["optimizer.lr=fast"], "could not be converted to Float"),
    ("train", ["trainer.max_stepz=3"], "max_stepz"),
    ("train", ["tasks=[demo_movie_sentimant]"], "did you mean demo_movie_sentiment"),
    ("train", ["tasks=cluster:sentimant"], "did you mean sentiment"),
    ("train", ["role=control"], "adapter=lora"),
    ("train", [*FOLDER, "tasks=[untrained]"], "task untrained has no train rows"),
    ("train", [*FOLDER, "tasks=[long]"], "tokens do not fit the model's window of 128"),
    ("train", [*FOLDER, "tasks=[sound]", "model.path=mute"], "mute has no tokenizer"),
    ("train", [*FOLDER, "tasks=[sound]", "model.path=./nowhere"], "no model folder at ./nowhere"),
    ("train", [*FOLDER, "data.path=nowhere"], "data.path=nowhere is not a folder"),
    ("train", [*FOLDER, "tasks=[sound]", "paths.run_dir=thesis"], "no run of taskdepth wrote"),
    (
        "train",
        [*FOLDER, "tasks=[sound]", "adapter=lora", "adapter.blocks=[9]"],
        "blocks [9] do not exist",
    ),
    (
        "train",
        [*FOLDER, "tasks=[sound]", "adapter=lora", "adapter.blocks_from=deep.yaml"],
        "made for a model of 30 blocks, this one has 4",
    ),
    (
        "train",
        [*FOLDER, "tasks=[sound]", "adapter=lora", "adapter.blocks_from=none.yaml"],
        "none.yaml",
    ),
    ("probe", ["stages=[probe]"], "models.pretrained"),
    ("probe", PROBE, "models.controls"),
    ("probe", [*PROBE, "models.controls=whole", "tasks=[sound]"], "no controls.json"),
    ("probe", [*PROBE, NO_CONTROLS, "tasks=[untested]"], "task untested has no test rows"),
    (
        "probe",
        [*PROBE, NO_CONTROLS, "tasks=[one_label]"],
        "task one_label has one label only (yes)",
    ),
    ("probe", [*PROBE, NO_CONTROLS, "tasks=[long]"], "do not fit the model's window"),
    (
        "probe",
        [*PROBE, NO_CONTROLS, "tasks=[sound]", "models.pretrained=mute"],
        "mute has no tokenizer",
    ),
    ("probe", [*PROBE, "stages=[probe]", "tasks=[sound]"], "run the extract stage first"),
    ("probe", [*PROBE, "stages=[select]", "tasks=[sound]"], "no layer table"),
]


@pytest.mark.parametrize(("command", "overrides", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_changes_nothing(
    command: str,
    overrides: list[str],
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    precious = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *overrides])
    with pytest.raises(SystemExit) as stopped:
        getattr(cli, command)()
    assert stopped.value.code == 1
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert {path: path.read_bytes() for path in precious} == precious


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "no space left for nowhere: make room"), (errno.EROFS, "nowhere: Read-only")],
)
def test_what_the_system_refuses_is_one_line(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    code: int,
    message: str,
) -> None:
    def refused(_: Path) -> None:
        raise OSError(code, os.strerror(code), "nowhere")

    monkeypatch.setattr(files, "_sync", refused)
    monkeypatch.setattr(sys, "argv", ["train.py", *TWO_STEPS, "output=quiet"])
    with pytest.raises(SystemExit) as stopped:
        cli.train()
    assert stopped.value.code == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {message}")


def test_everything_is_shown_when_asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from taskdepth.errors import DataError

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["train.py", "tasks=[nothing]"])
    with pytest.raises(DataError, match="unknown task"):
        cli.train()


def test_a_sweep_with_several_devices_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "seed=0,1", "devices=2"])
    with pytest.raises(SystemExit):
        cli.train()
    assert "torchrun" in capfd.readouterr().err


TWO_STEPS = [*FOLDER, "tasks=[sound]", "trainer.max_steps=1", "callbacks=none", "adapter=lora"]


def call(command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *arguments])
    getattr(cli, command)()


def test_json_is_one_object_and_quiet_is_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call("train", [*TWO_STEPS, "name=first", "output=json"], monkeypatch)
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert Path(found["run_dir"]).name == "first"
    assert found["objective"] == found["metrics"]["validation_loss"] > 0
    assert err == ""
    call("train", [*TWO_STEPS, "name=second", "output=quiet"], monkeypatch)
    assert capfd.readouterr() == ("", "")
    probing = [*PROBE, NO_CONTROLS, "tasks=[sound]", "name=third", "output=json"]
    call("probe", [*probing, "probe.targets=[label]"], monkeypatch)
    out, err = capfd.readouterr()
    (line,) = out.splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert 0 <= found["objective"] <= 1
    assert err == ""


def test_the_end_says_where_things_are(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call("train", [*TWO_STEPS, "name=first"], monkeypatch)
    out, err = capfd.readouterr()
    assert out == ""
    for words in ("1 steps", "outputs/train/first/adapter", "probe.py models.experimental="):
        assert words in err


def objectives(err: str) -> list[str]:
    return [line.split()[2] for line in err.partition("objective")[2].splitlines()[1:3]]


def test_a_sweep_ends_in_a_table_and_does_nothing_twice(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    swept = ["-m", *TWO_STEPS, "optimizer.lr=0.001,0.1"]
    call("train", swept, monkeypatch)
    first = capfd.readouterr().err
    runs = {p: p.stat().st_mtime_ns for p in place.glob("outputs/train/*/metrics.json")}
    assert len(runs) == 2
    assert first.count("done in") == 2
    losses = [json.loads(p.read_text())["validation_loss"] for p in runs]
    assert sorted(objectives(first)) == sorted(f"{loss:.4f}" for loss in losses)
    call("train", swept, monkeypatch)
    second = capfd.readouterr().err
    assert objectives(second) == objectives(first)
    assert second.count("(done before)") == 2
    assert runs == {p: p.stat().st_mtime_ns for p in runs}


def test_a_failing_job_is_told_in_the_table(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call("train", ["-m", *TWO_STEPS, "adapter.blocks=[0],[9]"], monkeypatch)
    err = capfd.readouterr().err
    assert "blocks [9] do not exist" in " ".join(err.partition("objective")[2].split())


def test_optuna_searches_blocks_ranks_and_adapters(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    space = ["adapter=choice(lora,dora)", "adapter.peft.r=choice(2,4)"]
    space += ["adapter.blocks=choice([0,1],[2,3])"]
    trials = ["experiment=sweep_autopeft", "hydra.sweeper.n_trials=2", *space]
    steps = [word for word in TWO_STEPS if word != "adapter=lora"]
    call("train", [*trials, *steps], monkeypatch)
    err = capfd.readouterr().err
    assert "2 jobs" in err
    for path in place.glob("outputs/train/autopeft-*/metrics.json"):
        assert json.loads(path.read_text())["adapted_blocks"] in ([0, 1], [2, 3])


def test_a_worker_of_a_launcher_can_compose(tmp_path: Path) -> None:
    """It imports the module of the function that it is sent, and nothing else of ours."""
    code = (
        "import taskdepth.cli; from omegaconf import OmegaConf; import sys; "
        "assert OmegaConf.has_resolver('repo') and 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=60, check=True)


@pytest.mark.parametrize("script", ["train.py", "probe.py"])
def test_help_from_any_folder_without_torch(script: str, tmp_path: Path) -> None:
    """--help must not wait for torch: a torch that cannot be imported shows that it is not asked for."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    result = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'src'}"},
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "groups, with their options" in result.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "torch.py"]


def test_tasks_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdepth.tasks import __main__ as listing

    monkeypatch.setattr(sys, "argv", ["taskdepth.tasks"])
    listing.main()
    shown = capsys.readouterr().out
    assert "demo_movie_sentiment" in shown
    assert "reading_comprehension" in shown
    assert "64/16/48" in shown


def test_findings_of_a_folder_without_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskdepth.results import __main__ as results

    monkeypatch.setattr(sys, "argv", ["taskdepth.results", "findings", str(tmp_path)])
    with pytest.raises(SystemExit):
        results.main()
    assert "holds no findings" in capsys.readouterr().err
