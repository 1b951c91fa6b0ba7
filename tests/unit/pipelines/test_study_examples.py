from collections.abc import Iterable
from dataclasses import replace

import pytest

from taskdepth.errors import DataError
from taskdepth.pipelines.study_examples import StudyExamples
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

SPEC = TaskSpec("t", "c", Kind.CLASSIFICATION, ("no", "yes"))


class Counting:
    """Three rows a split, one of them inverted; says how often it was read."""

    def __init__(self, labels: tuple[str, str, str] = ("no", "yes", "yes")) -> None:
        self.labels = labels
        self.n_read = 0

    def examples(self, task: str, split: Split) -> Iterable[Example]:
        self.n_read += 1
        for i, label in enumerate(self.labels):
            yield Example(f"{split}{i}", task, "p", (label,), label, inverted=i == 1)


LIMITS = {"train": None, "validation": 1, "test": None}


def test_rows_are_read_once_up_to_their_limit_and_counted() -> None:
    source = Counting()
    examples = StudyExamples(source, LIMITS)  # type: ignore[arg-type]  # all that it reads
    assert [row.example_id for row in examples(SPEC, Split.TRAIN)] == ["train0", "train2"]
    assert examples(SPEC, Split.TRAIN) is examples(SPEC, Split.TRAIN)
    assert source.n_read == 1
    assert len(examples(SPEC, Split.VALIDATION)) == 1
    assert examples.counts == {
        "t": {"train": {"used": 2, "inverted": 1}, "validation": {"used": 1, "inverted": 0}}
    }
    content = examples.content([SPEC])["t"]
    assert {split: about["rows"] for split, about in content.items()} == {
        "train": 2,
        "validation": 1,
        "test": 2,
    }
    assert content["train"]["digest"] != content["test"]["digest"]


@pytest.mark.parametrize(
    ("labels", "spec", "targets", "fits"),
    [
        (("no", "yes", "yes"), SPEC, ["label"], True),
        (("no", "yes", "no"), SPEC, ["label"], False),  # the only "yes" is inverted
        (("no", "yes", "no"), SPEC, ["task"], True),
        (("no", "yes", "no"), replace(SPEC, labels=()), ["label"], True),
    ],
)
def test_a_single_label_is_told_where_labels_are_probed(
    labels: tuple[str, str, str], spec: TaskSpec, targets: list[str], fits: bool
) -> None:
    examples = StudyExamples(Counting(labels), LIMITS)  # type: ignore[arg-type]
    if fits:
        examples.check([spec], targets)
        return
    with pytest.raises(DataError, match=r"task t has one label only \(no\)"):
        examples.check([spec], targets)
