"""--help fits on one screen, lists everything that can be chosen, and its examples are sound."""

from __future__ import annotations

import re
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from taskdepth import config, help

CONF = config.conf_dir()
SCREEN = (80, 48)
FILLED_IN = {
    "<folder>": "/model",
    "<model>": "/model",
    "<run>": "/run",
    "<tasks>": "/tasks",
    "<probe run>": "/run",
    "> result.json": "",
    "...": "",
}


def text_of(command: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return str(compose(command, return_hydra_config=True).hydra.help.template)


@pytest.mark.parametrize("command", ["train", "probe"])
def test_it_fits_on_a_screen(command: str) -> None:
    lines = text_of(command).splitlines()
    assert max(map(len, lines)) <= SCREEN[0]
    assert len(lines) <= SCREEN[1]


@pytest.mark.parametrize("command", ["train", "probe"])
def test_every_choice_is_listed(command: str) -> None:
    listed = set(re.findall(r"[\w-]+", help.groups(CONF, command)))
    for group in help._defaults(CONF / f"{command}.yaml"):
        assert group in listed
        for path in (CONF / group).glob("*.yaml"):
            if group not in ("experiment", "debug"):
                assert path.stem in listed
    experiments = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    other = set(
        re.findall(r"[\w-]+", help.groups(CONF, "probe" if command == "train" else "train"))
    )
    assert experiments <= listed | other
    assert not experiments & listed & other - {"pretrain"}


def examples(command: str) -> list[str]:
    text = text_of(command).partition("examples\n")[2].partition("\n\n")[0]
    joined = re.sub(r"\n {4,}", " ", text)
    return [line.strip() for line in joined.splitlines()]


@pytest.mark.parametrize("command", ["train", "probe"])
def test_ten_examples_that_compose(command: str) -> None:
    shown = examples(command)
    assert len(shown) == 10
    for line in shown:
        for blank, value in FILLED_IN.items():
            line = line.replace(blank, value)
        words = shlex.split(line, comments=True)[2:]
        settings = [w for w in words if "=" in w and not w.startswith("hydra.")]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                # of a sweep the first value stands for the others
                compose(command, [re.sub(r"^([^\[,]+),.*", r"\1", word) for word in settings])
            except HydraException as error:
                raise AssertionError(line) from error
