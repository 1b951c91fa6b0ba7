import ast
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from peft import LoraConfig

from taskdepth.report.placing import lora_snippet, reuse_command, reuse_python, strip
from taskdepth.report.study import Study
from taskdepth.selection import select

PATHS = [
    "runs/a/selection.yaml",
    "/x y/s.yaml",
    "lr=0.1,b=2/s.yaml",
    "it's/s.yaml",
    'a"b/s.yaml',
    "ü/s.yaml",
]


@pytest.mark.parametrize("ranks", [None, {5: 4, 6: 3, 7: 3}])
def test_snippet_is_python_that_peft_takes_and_the_same_as_to_lora_config(ranks) -> None:
    chosen = select("manual", 8, "tiny", blocks=[5, 6, 7])
    selection = replace(chosen, rank_pattern=ranks)
    call = ast.parse(lora_snippet(selection)).body[-1].value  # type: ignore[attr-defined]
    assert call.func.id == "LoraConfig"
    made = LoraConfig(**{each.arg: ast.literal_eval(each.value) for each in call.keywords})
    expected = selection.to_lora_config(target_modules=["q_proj", "v_proj"])
    assert made.to_dict() == expected.to_dict()
    assert made.layers_to_transform == [5, 6, 7]


@pytest.mark.parametrize("path", PATHS)
def test_command_survives_shell_and_hydra(path: str) -> None:
    command = shlex.split(reuse_command(Path(path)))
    assert command[:3] == ["python", "train.py", "adapter=lora"]
    (override,) = OverridesParser.create().parse_overrides(command[3:])
    assert override.key_or_group == "adapter.blocks_from"
    assert override.value() == path


@pytest.mark.parametrize("path", PATHS)
def test_python_names_the_file(path: str) -> None:
    constants = [
        n.value
        for n in ast.walk(ast.parse(reuse_python(Path(path))))
        if isinstance(n, ast.Constant)
    ]
    assert path in constants


def test_strip_shows_every_block(study: Study) -> None:
    assert study.selection is not None
    shown = strip(study.selection)
    assert [block.number for block in shown] == list(range(8))
    assert [block.layer for block in shown if block.adapted] == [3, 4]
    assert [block.region for block in shown[1:5]] == [
        "shared",
        "transition",
        "transition",
        "refinement",
    ]
    assert {block.region for block in strip(select("manual", 2, "m", blocks=[0]))} == {""}
