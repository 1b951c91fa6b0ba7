"""What a raw task is made of: templates, and a function that reads a row of the hub's data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

from taskdepth.errors import DataError
from taskdepth.seeds import stable_seed
from taskdepth.tasks.flan2021 import FLAN_TASKS
from taskdepth.tasks.flan_raw.row import Row
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example

MIN_TEMPLATES = 3


@dataclass(frozen=True, slots=True)
class RawExample:
    """A row before a template words it: `fields` fill the template, `targets` are right answers.

    `label` and `options` are those of `Example`; a closed set shows its labels as options.
    """

    fields: Mapping[str, str]
    targets: tuple[str, ...]
    label: str | None = None
    options: tuple[str, ...] | None = None


Reader = Callable[[Row], RawExample | None]
WholeReader = Callable[[Row], RawExample]  # of a data set whose every row is an example


@dataclass(frozen=True, slots=True)
class RawTask:
    """A FLAN task, our wordings of it, and `read`, which is None for a row that belongs to no example.

    `id_column` names a column that no two rows of the whole data set share. `hub_splits` translates
    the names of splits from TensorFlow Datasets to the hub where they differ.

    Raises:
        DataError: no task of FLAN, or too few or repeated templates.
    """

    name: str
    read: Reader
    templates: tuple[str, ...]
    id_column: str | None = None
    hub_splits: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in FLAN_TASKS:
            raise DataError(f"{self.name} is no task of FLAN")
        if len(self.templates) < MIN_TEMPLATES or len(set(self.templates)) != len(self.templates):
            raise DataError(f"task {self.name}: needs at least {MIN_TEMPLATES} different templates")

    @property
    def spec(self) -> TaskSpec:
        return FLAN_TASKS[self.name].spec

    def example(self, example_id: str, row: Row) -> Example | None:
        """`row` in the wording that `example_id` is given, the same in every process.

        Raises:
            DataError: the row cannot be used.
        """
        raw = self.read(row)
        if raw is None:
            return None
        self._check(raw)
        options = raw.options if self.spec.kind is not Kind.CLASSIFICATION else self.spec.labels
        template = self.templates[stable_seed(0, "template", example_id) % len(self.templates)]
        prompt = worded(template, raw.fields, options)
        return Example(example_id, self.name, prompt, raw.targets, raw.label, options)

    def _check(self, raw: RawExample) -> None:
        if not raw.targets:
            raise DataError("no answer")
        if raw.label is not None:
            self.spec.label_id(raw.label)
        if raw.options is not None and (lost := set(raw.targets) - set(raw.options)):
            raise DataError(f"answer {sorted(lost)[0]!r} is not among the options")


def worded(template: str, fields: Mapping[str, str], options: Sequence[str] | None) -> str:
    """`template` filled in, and the options below it, one a line.

    >>> print(worded("Is {x} green?", {"x": "grass"}, ("no", "yes")))
    Is grass green?
    Options:
    - no
    - yes
    """
    lines = [template.format(**fields)]
    if options is not None:
        lines += ["Options:", *(f"- {option}" for option in options)]
    return "\n".join(lines)


def slots(template: str) -> set[str]:
    """The names of the fields that `template` shows."""
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def classified(columns: Sequence[str], classes: Sequence[str], label: str = "label") -> WholeReader:
    """Reads `columns`, and the class whose number the column `label` holds."""

    def read(row: Row) -> RawExample:
        name = row.class_name(label, classes)
        return RawExample(row.texts_of(columns), (name,), label=name)

    return read


def chosen(
    columns: Sequence[str], options: Sequence[str], label: str = "label", first: int = 0
) -> WholeReader:
    """Reads `columns`, and one option a column; the column `label` counts the right one from `first`."""

    def read(row: Row) -> RawExample:
        texts = tuple(row.text(column) for column in options)
        right = texts[row.number(label, range(first, first + len(texts))) - first]
        return RawExample(row.texts_of(columns), (right,), options=distinct(texts))

    return read


def free(columns: Sequence[str], target: str) -> WholeReader:
    """Reads `columns`; the column `target` is the answer."""

    def read(row: Row) -> RawExample:
        return RawExample(row.texts_of(columns), (row.text(target),))

    return read


def distinct(texts: Sequence[str]) -> tuple[str, ...]:
    """`texts` in their order, each once."""
    return tuple(dict.fromkeys(texts))


def keyed(question: str) -> WholeReader:
    """Reads a question with `choices` (texts and their letters) and the right letter, `answerKey`."""

    def read(row: Row) -> RawExample:
        options, letters = row.texts("choices", "text"), row.texts("choices", "label")
        key = row.text("answerKey")
        if key not in letters or len(letters) != len(options):
            raise DataError(f"answerKey {key!r} points at none of {len(options)} choices")
        right = options[letters.index(key)]
        fields = {"question": row.text(question)}
        return RawExample(fields, (right,), options=distinct(options))

    return read
