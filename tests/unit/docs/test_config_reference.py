"""The page of settings: every setting of both commands, with its type, its default and words."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

import config_reference
from config_reference import Section, Setting
from taskdepth import config


@pytest.fixture(scope="module")
def sections() -> list[Section]:
    return config_reference.sections()


def test_every_setting_has_words(sections: list[Section]) -> None:
    without = [s.key for section in sections for s in section.settings if not s.words]
    assert without == [], "a comment beside them in conf/ or in config/schemas.py would do"


@pytest.mark.parametrize("command", ["train", "probe"])
def test_no_setting_is_missing(command: str, sections: list[Section]) -> None:
    shown = {s.key for section in sections if command in section.commands for s in section.settings}
    root = config.TrainConfig if command == "train" else config.ProbeConfig
    for key in OmegaConf.structured(root):
        assert key in shown or any(name.startswith(f"{key}.") for name in shown), key


def test_default_is_that_of_the_command(sections: list[Section]) -> None:
    settings = {
        (s.key, c): s for section in sections for c in section.commands for s in section.settings
    }
    assert settings["optimizer.lr", "train"] == Setting(
        "optimizer.lr", "float", "`0.001`", "the highest learning rate of the schedule"
    )
    assert settings["adapter.blocks", "train"].type == "list[int] | None"
    # the schema says 0.0, the option that is chosen by default says 0.05
    assert settings["scheduler.warmup_fraction", "train"].default == "`0.05`"
    assert settings["paths.run_dir", "probe"].default == "`${paths.root}/outputs/probe/${name}`"
    assert settings["data.prompt_template", "probe"].default == r'`"{prompt}\nAnswer:"`'


def test_options_are_listed_with_the_default(sections: list[Section]) -> None:
    (adapters,) = [section for section in sections if section.key == "adapter"]
    assert adapters.options["none"].startswith("the default.")
    assert {path.stem for path in (config.conf_dir() / "adapter").glob("*.yaml")} == set(
        adapters.options
    )


def test_tables_stay_tables(sections: list[Section]) -> None:
    for line in config_reference.page(sections).splitlines():
        if line.startswith("|"):
            cells = line.replace("\\|", "").split("`")
            bars = sum(part.count("|") for part in cells[::2])  # outside of code
            assert bars == 5, line


def test_prose_is_no_html() -> None:
    words = config_reference._text("all | cluster:<name>, as `<folder>`")
    assert words == "all \\| cluster:&lt;name&gt;, as `<folder>`"
