"""What a demo task is made of: its spec, its wordings, and a function that draws its examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from taskdepth.errors import DataError
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example

OPTIONS_LINE = "\nOptions: {options}"
CHOICES_LINES = "\n{choices}"
MIN_TEMPLATES = 3


@dataclass(frozen=True, slots=True)
class Draw:
    """One underlying example, before a template words it.

    `slots` fill the template. `target` is the right text and `wrong` the other choices; a
    classification has neither, but a label. `key` tells underlying examples apart, so that no two
    splits share one: it leaves out what makes no new example, such as the order of facts or which
    of them is asked about. Without it, everything shown is the key.
    """

    slots: Mapping[str, str]
    target: str = ""
    wrong: tuple[str, ...] = ()
    key: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        return self.key or (*self.slots.values(), self.target, *sorted(self.wrong))


@dataclass(frozen=True, slots=True)
class DemoTask:
    """A task, its wordings, and `draw(rng, label)`, which makes an underlying example of a label.

    A template may end in the line `Options: {options}`; those of a multiple-choice task end in
    `{choices}`, one line per letter. `label` is "" for tasks without labels.

    Raises:
        DataError: unsorted labels, too few or repeated templates, or options in the wrong place.
    """

    spec: TaskSpec
    templates: tuple[str, ...]
    draw: Callable[[Random, str], Draw]

    def __post_init__(self) -> None:
        name = self.spec.name
        if list(self.spec.labels) != sorted(set(self.spec.labels)):
            raise DataError(f"task {name}: labels must be sorted and unique")
        if len(set(self.templates)) != len(self.templates) or len(self.templates) < MIN_TEMPLATES:
            raise DataError(f"task {name}: needs at least {MIN_TEMPLATES} different templates")
        choice = self.spec.kind is Kind.MULTIPLE_CHOICE
        for template in self.templates:
            if choice != template.endswith(CHOICES_LINES):
                raise DataError(f"task {name}: choices belong at the end of multiple choice only")
            if "{options}" in template and not template.endswith(OPTIONS_LINE):
                raise DataError(f"task {name}: options belong in a last line of their own")

    def example(self, example_id: str, template: str, draw: Draw, label: str) -> Example:
        """Word `draw` with `template`."""
        spec = self.spec
        if spec.kind is Kind.MULTIPLE_CHOICE:
            choices = list(draw.wrong)
            choices.insert(spec.labels.index(label), draw.target)
            lines = "\n".join(f"{x}: {text}" for x, text in zip(spec.labels, choices, strict=True))
            prompt = template.format(**draw.slots, choices=lines)
            return Example(example_id, spec.name, prompt, (label,), label, spec.labels)
        if spec.labels:
            prompt = template.format(**draw.slots, options=", ".join(spec.labels))
            return Example(example_id, spec.name, prompt, (label,), label, spec.labels)
        options = tuple(sorted((draw.target, *draw.wrong))) if draw.wrong else None
        prompt = template.format(**draw.slots, options=", ".join(options or ()))
        return Example(example_id, spec.name, prompt, (draw.target,), None, options)


def classification(
    name: str,
    cluster: str,
    labels: Sequence[str],
    draw: Callable[[Random, str], Draw],
    templates: Sequence[str],
) -> DemoTask:
    """A task whose target is one of `labels`."""
    spec = TaskSpec(name, cluster, Kind.CLASSIFICATION, tuple(labels))
    return DemoTask(spec, tuple(templates), draw)


def multiple_choice(
    name: str,
    cluster: str,
    letters: str,
    draw: Callable[[Random], Draw],
    templates: Sequence[str],
) -> DemoTask:
    """A task whose target is the letter of the right choice; the label says where that stands."""
    spec = TaskSpec(name, cluster, Kind.MULTIPLE_CHOICE, tuple(letters))
    worded = tuple(template + CHOICES_LINES for template in templates)
    return DemoTask(spec, worded, lambda rng, _label: draw(rng))


def generation(
    name: str, cluster: str, draw: Callable[[Random], Draw], templates: Sequence[str]
) -> DemoTask:
    """A task whose target is free text."""
    spec = TaskSpec(name, cluster, Kind.GENERATION)
    return DemoTask(spec, tuple(templates), lambda rng, _label: draw(rng))
