from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import pytest

from taskdepth.data.shots import POOL_ROWS, FewShotSource
from taskdepth.data.tokenise import PromptFormat
from taskdepth.errors import DataError
from taskdepth.tasks.rows import Rows
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

FORMAT = PromptFormat("<u>{prompt}</u>", " = ")
SPECS = {name: TaskSpec(name, "c", Kind.GENERATION) for name in ("t", "few")}


class Sums:
    """Each prompt occurs twice, under two ids; every fifth row is inverted."""

    def __init__(self, n_train: int = 20) -> None:
        self._n = {"t": n_train, "few": 2}
        self.n_read = 0

    def specs(self) -> dict[str, TaskSpec]:
        return SPECS

    def examples(self, task: str, split: Split) -> Rows:
        return Rows(lambda: self._read(task, split))

    def _read(self, task: str, split: Split) -> Iterator[Example]:
        for i in range(self._n[task] if split is Split.TRAIN else 4):
            self.n_read += 1
            a = i // 2
            inverted = task == "t" and i % 5 == 4
            prompt = f"invert {a}" if inverted else f"{task} {a}+1"
            name = f"{task}-{split}-{i}"
            yield Example(name, task, prompt, (str(a + 1), "any"), "x", ("p", "q"), inverted)

    def plain_text(self, split: Split) -> list[str]:
        return [f"text {split}"]

    def skipped(self) -> dict[str, list[str]]:
        return {"t": ["t.jsonl:3: no"]}


def shown(example: Example) -> list[tuple[str, str]]:
    """The demonstrations in a prompt, and at the end the row's own prompt with no target."""
    parts = example.prompt.split("\n\n")
    solved = [part.removeprefix("<u>").split("</u> = ") for part in parts[:-1]]
    return [(prompt, target) for prompt, target in solved] + [(parts[-1].removeprefix("<u>"), "")]


def test_a_dressed_prompt_is_literal() -> None:
    """Four training rows, of two prompts: either can only be shown the other."""
    rows = FewShotSource(Sums(4), 1, FORMAT, seed=0).examples("t", Split.VALIDATION)
    first, *_, last = (f"{FORMAT.before}{row.prompt}{FORMAT.after}" for row in rows)
    assert first == "<u>t 1+1</u> = 2\n\n<u>t 0+1</u>"
    assert last == "<u>t 0+1</u> = 1\n\n<u>t 1+1</u>"
    plain = FewShotSource(Sums(4), 1, PromptFormat(), seed=0)
    row = next(iter(plain.examples("t", Split.TEST)))
    assert row.prompt == "t 1+1\nAnswer: 2\n\nt 0+1"


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("n_shots", [1, 3])
def test_what_is_shown(split: Split, n_shots: int) -> None:
    plain = {e.prompt: e for e in Sums().examples("t", Split.TRAIN) if not e.inverted}
    before = list(Sums().examples("t", split))
    after = list(FewShotSource(Sums(), n_shots, FORMAT, seed=0).examples("t", split))
    for old, new in zip(before, after, strict=True):
        *solved, (own, _) = shown(new)
        assert own == old.prompt
        assert len(solved) == n_shots
        for prompt, target in solved:
            assert prompt in plain, "a training row that is not inverted"
            assert target == plain[prompt].target
            assert prompt != old.prompt, "never the row's own prompt"
        assert (new.example_id, new.targets, new.label) == (old.example_id, old.targets, old.label)
        assert (new.options, new.inverted) == (old.options, old.inverted)


def test_rows_differ_in_what_they_are_shown_and_seeds_too() -> None:
    def prompts(seed: int) -> list[str]:
        source = FewShotSource(Sums(), 2, FORMAT, seed)
        return [e.prompt for e in source.examples("t", Split.TEST)]

    assert prompts(0) == prompts(0)
    assert prompts(0) != prompts(1)
    assert len({p.rsplit("\n\n", 1)[0] for p in prompts(0)}) > 1


def test_what_is_shown_depends_on_the_row_alone() -> None:
    """Not on which rows were read before, nor on how often."""
    source = FewShotSource(Sums(), 2, FORMAT, seed=0)
    test = source.examples("t", Split.TEST)
    first = list(test)
    list(source.examples("t", Split.TRAIN))
    assert list(islice(test, 2)) == first[:2]
    assert list(test) == first


def test_another_process_shows_the_same() -> None:
    code = (
        "from unit.data.test_shots import FORMAT, Sums; from taskdepth.data.shots import *;"
        "print([e.prompt for e in FewShotSource(Sums(), 2, FORMAT, 0).examples('t', Split.TEST)])"
    )
    here = FewShotSource(Sums(), 2, FORMAT, 0).examples("t", Split.TEST)
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.stdout.strip() == str([e.prompt for e in here]), found.stderr


def test_too_few_rows_to_show_are_an_error_with_the_setting() -> None:
    """Two training rows with one prompt: none is left for a row with that prompt itself."""
    rows = FewShotSource(Sums(), 1, FORMAT, seed=0).examples("few", Split.TRAIN)
    with pytest.raises(DataError, match=r"task few has 0 training rows to show, data\.shots=1"):
        next(iter(rows))


def test_demonstrations_come_from_the_whole_of_a_large_split_which_is_read_once() -> None:
    """A data set may be sorted by its labels: its first rows show one of them."""
    source = Sums(10 * POOL_ROWS)
    shown = list(FewShotSource(source, 1, FORMAT, seed=0).examples("t", Split.TEST))
    assert source.n_read <= 10 * POOL_ROWS + 5, "once, not for every row"
    seeds = [FewShotSource(source, 2, FORMAT, seed).examples("t", Split.TEST) for seed in range(8)]
    prompts = {example.prompt for examples in seeds for example in examples}
    assert len(prompts) > len(shown)
    numbers = [int(n) for prompt in prompts for n in re.findall(r"\d+", prompt)]
    assert sum(n > POOL_ROWS for n in numbers) > len(numbers) / 8


def test_the_rest_is_the_sources_own() -> None:
    source = FewShotSource(Sums(), 1, FORMAT, seed=0)
    assert source.specs() == SPECS
    assert source.plain_text(Split.TRAIN) == ["text train"]
    assert source.skipped() == {"t": ["t.jsonl:3: no"]}
