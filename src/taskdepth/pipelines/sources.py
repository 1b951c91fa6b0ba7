"""The source that a config names, as it is read."""

from __future__ import annotations

from taskdepth.config import DataConfig, instantiate
from taskdepth.data.shots import FewShotSource
from taskdepth.data.tokenise import PromptFormat
from taskdepth.tasks.spec import Source


def prompt_format(data: DataConfig) -> PromptFormat:
    """How a prompt is dressed."""
    return PromptFormat(data.prompt_template, data.target_prefix)


def open_source(data: DataConfig, seed: int) -> Source:
    """`data.source`, with demonstrations in front of its prompts if `data.shots` asks for them."""
    source: Source = instantiate(data.source)
    if not data.shots:
        return source
    return FewShotSource(source, data.shots, prompt_format(data), seed)
