"""Every demo task, rendered in full: one table-driven test, and the promises of the source."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple
from itertools import product

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks.demo import DemoSource
from taskdepth.tasks.demo.source import DEMO_TASKS, by_name
from taskdepth.tasks.demo.task import DemoTask, Draw
from taskdepth.tasks.demo.translation import (
    LANGUAGES,
    NOUN_ROWS,
    PLACE_ROWS,
    VERB_ROWS,
    Meaning,
)
from taskdepth.tasks.spec import Kind, TaskSpec
from taskdepth.types import Example, Split

CLUSTERS = {
    "nli",
    "reading_comprehension",
    "commonsense",
    "reading_comprehension_commonsense",
    "coreference",
    "closed_book_qa",
    "paraphrase",
    "sentiment",
    "struct_to_text",
    "summarization",
    "translation",
    "misc",
}
MAX_WORDS = 55
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
NUMBERS = ONES.split()
NUMBERS += [
    ten + one for ten in ("twenty", "thirty") for one in ("", *(f"-{x}" for x in NUMBERS[1:10]))
]
NUMBERS.append("forty")
SOURCE = DemoSource()


def large() -> DemoSource:
    """A new one, which has made no rows yet."""
    return DemoSource(seed=3, train=256, validation=64, test=80)


LARGE = large()


def rows_of(source: DemoSource, task: str) -> dict[Split, list[Example]]:
    return {split: source.examples(task, split) for split in Split}


def digest(source: DemoSource, tasks: list[str]) -> dict[str, str]:
    return {
        task: hashlib.sha256(
            repr(
                [[astuple(row) for row in rows_of(source, task)[split]] for split in Split]
            ).encode()
        ).hexdigest()
        for task in tasks
    }


def shown(prompt: str, letters: bool) -> str:
    """`prompt` without its list of options."""
    option = r"[A-Z]: |Options: " if letters else "Options: "
    return "\n".join(line for line in prompt.splitlines() if not re.match(option, line))


def template_of(task: DemoTask, prompt: str) -> set[str]:
    """The templates that could have worded `prompt`."""
    matching = set()
    for template in task.templates:
        literals = [re.escape(text) for text in re.split(r"\{\w+\}", template)]
        if re.fullmatch("(?s:.+)".join(literals), prompt):
            matching.add(template)
    return matching


@pytest.mark.parametrize("name", DEMO_TASKS)
def test_every_row_of_every_task(name: str) -> None:
    task, spec = DEMO_TASKS[name], SOURCE.specs()[name]
    splits = rows_of(SOURCE, name)
    assert [len(splits[split]) for split in Split] == [64, 16, 48]
    rows = [row for split in splits.values() for row in split]
    assert len({row.example_id for row in rows}) == len({row.prompt for row in rows}) == len(rows)
    for row in rows:
        assert re.fullmatch(rf"{name}-\d{{4}}", row.example_id)
        assert row.task == name
        assert row.prompt == row.prompt.strip()
        assert "{" not in row.prompt + row.target
        assert "  " not in row.prompt
        assert len(row.prompt.split()) <= MAX_WORDS
        assert not re.search(
            r"\b[Aa] [aeiouAEIOU]|\b[Aa]n [^aeiouAEIOU\W]", row.prompt + row.target
        )
        assert row.targets == (row.target,)
        assert row.target
    # every wording is used, and no other
    assert set().union(*(template_of(task, row.prompt) for row in rows)) == set(task.templates)
    assert all(template_of(task, row.prompt) for row in rows)
    if spec.labels:
        check_labels(spec, splits)
    else:
        assert all(row.label is None for row in rows)
        assert all(row.target not in shown(row.prompt, False).split("\n") for row in rows)
        assert len({row.target for row in rows}) >= 8
    for row in rows:
        if spec.labels == () and row.options is not None:
            assert row.target in row.options
            assert row.prompt.endswith(f"\nOptions: {', '.join(row.options)}")


def check_labels(spec: TaskSpec, splits: dict[Split, list[Example]]) -> None:
    choice = spec.kind is Kind.MULTIPLE_CHOICE
    for rows in splits.values():
        counts = Counter(row.label for row in rows)
        assert max(counts.values()) - min(counts[label] for label in spec.labels) <= 1
        for row in rows:
            assert row.label is not None
            assert spec.labels[spec.label_id(row.label)] == row.label == row.target
            assert row.options == spec.labels
            # capitals only: "a" is a word, "A" an option
            text = shown(row.prompt, letters=choice)
            for label in spec.labels:
                assert not re.search(rf"\b{label}\b", text, 0 if choice else re.IGNORECASE), row
            lines = row.prompt.splitlines()
            if choice:
                letters = [line[0] for line in lines if re.match(r"[A-Z]: ", line)]
                choices = [line[3:] for line in lines if re.match(r"[A-Z]: ", line)]
                assert tuple(letters) == spec.labels
                assert len(set(choices)) == len(choices)
            elif any(line.startswith("Options:") for line in lines):
                assert lines[-1] == f"Options: {', '.join(spec.labels)}"


@pytest.mark.parametrize("name", DEMO_TASKS)
def test_splits_share_no_underlying_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of 400 rows: each must come from a draw of its own."""
    identities: list[tuple[str, ...]] = []
    original = DemoTask.example

    def record(task: DemoTask, example_id: str, template: str, draw: Draw, label: str) -> Example:
        identities.append(draw.identity)
        return original(task, example_id, template, draw, label)

    monkeypatch.setattr(DemoTask, "example", record)
    splits = rows_of(large(), name)
    assert [len(splits[split]) for split in Split] == [256, 64, 80]
    assert len(set(identities)) == len(identities) == 400
    prompts = {split: {row.prompt for row in rows} for split, rows in splits.items()}
    assert not prompts[Split.TRAIN] & prompts[Split.TEST]
    assert not prompts[Split.VALIDATION] & (prompts[Split.TRAIN] | prompts[Split.TEST])


def test_the_suite_covers_the_clusters() -> None:
    specs = SOURCE.specs()
    per_cluster = Counter(spec.cluster for spec in specs.values())
    assert set(per_cluster) == CLUSTERS
    assert min(per_cluster.values()) >= 5
    assert len(specs) >= 60
    assert all(name == spec.name and name.startswith("demo_") for name, spec in specs.items())
    closed = [spec for spec in specs.values() if spec.labels]
    assert len(closed) >= len(specs) / 2
    words = Counter(
        word
        for name in specs
        for rows in rows_of(SOURCE, name).values()
        for row in rows
        for word in re.findall(r"[^\W\d_]+", f"{row.prompt} {row.target}".lower())
    )
    assert len(words) < 1500


def number(words: str) -> int:
    return NUMBERS.index(words.lower())


def found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text, re.DOTALL | re.IGNORECASE)
    assert match, (pattern, text)
    return match.groups()


def solve_count(p: str) -> str:
    n, relation, bound = found(r"There are (\S+) .* (more|fewer) than (\S+) ", p)
    more = number(n) > number(bound)
    return str(more == (relation == "more") and n != bound).lower()


def solve_order(p: str) -> str:
    one, link, two = found(r"[A-Z]\w+ (\w+ the \w+) (before|after) s?he (.*?)\.", p)
    claimed = re.findall(r"\w+ (\w+ the \w+) first\.", p)[0]
    return str(claimed == (one if link == "before" else two)).lower()


def solve_colour(p: str) -> str:
    owner, thing, colour = found(r"Is (\w+)'s (\w+) (\w+)\?", p)
    return "yes" if f"{owner} has a {colour} {thing}." in p else "no"


def solve_doer(p: str) -> str:
    (deed,) = found(r"who (\w+ the \w+)[?.]", p)
    return found(rf"(\w+) {deed}[,. ]", p)[0]


def solve_whereabouts(p: str) -> str:
    thing = re.findall(r"the (\w+)[?.]", p)[-1]
    return found(rf"The {thing} is (in the \w+)\.", p)[0]


def solve_group(p: str) -> str:
    (group,) = found(r"day (.*) went to", p)
    return NUMBERS[len(re.split(", | and ", group))]


def solve_arithmetic(p: str) -> str:
    one, sign, two = found(r"([a-z-]+) (plus|minus) ([a-z-]+)", p)
    return NUMBERS[number(one) + (1 if sign == "plus" else -1) * number(two)]


def solve_alphabet(p: str) -> str:
    return min(re.findall(r"^([ABC]): (\w+)$", p, re.M), key=lambda choice: choice[1])[0]


def solve_match(p: str) -> str:
    home, x, away, y, day = found(r"home: (\w+) (\d) \| away: (\w+) (\d) \| day: (\w+)", p)
    win, lose = (home, away) if x > y else (away, home)
    return f"The {win} beat the {lose} {max(x, y)} to {min(x, y)} on {day}."


def solve_dialogue(p: str) -> str:
    one, venue, day = found(r"(\w+): Shall we go to the (\w+) on (\w+)\?", p)
    two, other = found(r"(\w+): (?:That is a good|[^\n]*What about (\w+)\?)", p)
    return f"{one} and {two} go to the {venue} on {other or day}."


@pytest.mark.parametrize(
    ("name", "solve"),
    [
        ("demo_count_nli", solve_count),
        ("demo_order_nli", solve_order),
        ("demo_owned_colour", solve_colour),
        ("demo_doer", solve_doer),
        ("demo_whereabouts", solve_whereabouts),
        ("demo_group_size", solve_group),
        ("demo_arithmetic", solve_arithmetic),
        ("demo_alphabet", solve_alphabet),
        ("demo_match_report", solve_match),
        ("demo_dialogue", solve_dialogue),
    ],
)
def test_targets_follow_from_the_prompt_alone(name: str, solve: Callable[[str], str]) -> None:
    """Solvers that read only the prompt, with no knowledge of how it was made."""
    for row in SOURCE.examples(name, Split.TEST):
        assert solve(row.prompt) == row.target, row.prompt


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("demo_arithmetic", r"([a-z-]+) plus ([a-z-]+)"),
        ("demo_same_continent", r"(?:Are|Do|Is) (\w+) (?:and|on the continent of) (\w+)"),
        ("demo_both_members", r"([a-z]+)(?: and |, )([a-z]+)(?: both [a-z]+\?| count|\. Do)"),
        ("demo_doer", r"([A-Z]\w+ \w+ the \w+)[.,] ([A-Z]\w+ \w+ the \w+), and"),
        ("demo_size", r"(?:of|Is|that) an? (\w+) (?:and of|\D*than) an? (\w+)"),
    ],
)
def test_two_facts_in_another_order_are_no_new_example(name: str, pattern: str) -> None:
    pairs = {
        split: {
            frozenset(m.groups()) for row in rows if (m := re.search(pattern, row.prompt, re.I))
        }
        for split, rows in rows_of(LARGE, name).items()
    }
    assert min(map(len, pairs.values())) > 20
    assert not pairs[Split.TRAIN] & pairs[Split.TEST]
    assert not pairs[Split.VALIDATION] & (pairs[Split.TRAIN] | pairs[Split.TEST])


def test_label_and_template_are_independent() -> None:
    """Else the wording would give the label away."""
    task = DEMO_TASKS["demo_owned_colour"]
    pairs = Counter(
        (row.label, *template_of(task, row.prompt))
        for row in LARGE.examples(task.spec.name, Split.TRAIN)
    )
    assert len(pairs) == 6
    assert max(pairs.values()) - min(pairs.values()) <= 1


def test_same_rows_in_another_order_another_process_and_another_size() -> None:
    names = list(DEMO_TASKS)
    expected = digest(SOURCE, names)
    assert digest(DemoSource(), names[::-1]) == expected
    script = (
        "import runpy, sys; test = runpy.run_path(sys.argv[1]);"
        "names = list(test['DEMO_TASKS']);"
        "print(*test['digest'](test['DemoSource'](), names).values())"
    )
    for hash_seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", script, __file__],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split() == list(expected.values())
    assert digest(DemoSource(seed=1), names[:1]) != digest(SOURCE, names[:1])
    larger = DemoSource(train=100)
    for name in names:
        assert larger.examples(name, Split.TEST) == SOURCE.examples(name, Split.TEST)


def test_importing_the_suite_does_not_import_torch() -> None:
    script = "import sys, taskdepth.tasks.demo; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_too_many_rows_unknown_tasks_and_negative_sizes_are_told() -> None:
    with pytest.raises(DataError, match=r"demo_size has only \d+ distinct .* 5000 asked for"):
        DemoSource(train=4952, validation=0).examples("demo_size", Split.TEST)
    with pytest.raises(DataError, match="did you mean demo_movie_sentiment"):
        SOURCE.examples("demo_movie_sentment", Split.TRAIN)
    with pytest.raises(DataError, match="-1, 16, 48 rows"):
        DemoSource(train=-1)


def test_plain_text_is_no_task() -> None:
    texts = {split: SOURCE.plain_text(split) for split in Split}
    assert 2000 <= len(texts[Split.TRAIN]) <= 6000
    lines = [line for text in texts.values() for line in text]
    assert len(set(lines)) == len(lines)
    assert all(re.fullmatch(r'["A-ZÀ-Ý].*[.!"]', line) and "?" not in line for line in lines)
    joined = "\n".join(lines)
    prompts = [row.prompt for name in DEMO_TASKS for row in SOURCE.examples(name, Split.TEST)]
    assert not [prompt for prompt in prompts if prompt in joined]
    assert SOURCE.plain_text() == DemoSource().plain_text() != DemoSource(seed=1).plain_text()


def test_the_dictionary_of_the_plain_text_is_right() -> None:
    known = {
        (name, place["English"], place[name]) for place in PLACE_ROWS for name in LANGUAGES
    } | {
        (name, f"{noun['English']} {verb['English']}", f"{noun[name]} {verb[name]}")
        for noun, verb in product(NOUN_ROWS, VERB_ROWS)
        for name in LANGUAGES
    }
    text = "\n".join(SOURCE.plain_text())
    entries = re.findall(r'^In (\w+), "(.*)" is "(.*)"\.$', text, re.MULTILINE)
    assert len(entries) > 20
    assert set(entries) <= known


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("English", "The cow is old and sleeps in the kitchen."),
        ("French", "La vache est vieille et dort dans la cuisine."),
        ("German", "Die Kuh ist alt und schläft in der Küche."),
        ("Spanish", "La vaca es vieja y duerme en la cocina."),
        ("Italian", "La mucca è vecchia e dorme in cucina."),
        ("Dutch", "De koe is oud en slaapt in de keuken."),
    ],
)
def test_adjectives_agree_with_feminine_nouns(language: str, sentence: str) -> None:
    assert Meaning(noun=3, state=3, verb=0, place=2).sentence(language) == sentence


def test_the_man_is_masculine_where_his_article_is_elided() -> None:
    sentences = [Meaning(noun=4, state=0, verb=0, place=0).sentence(name) for name in LANGUAGES]
    assert sentences[1] == "L'homme est grand et dort dans le jardin."
    assert sentences[4] == "L'uomo è grande e dorme nel giardino."


def _task(labels: tuple[str, ...], *templates: str, kind: Kind = Kind.CLASSIFICATION) -> DemoTask:
    return DemoTask(TaskSpec("t", "misc", kind, labels), templates, lambda rng, label: Draw({}))


@pytest.mark.parametrize(
    ("labels", "templates", "message"),
    [
        (("yes", "no"), ("1", "2", "3"), "sorted"),
        (("no", "no"), ("1", "2", "3"), "unique"),
        (("no", "yes"), ("1", "2"), "at least 3"),
        (("no", "yes"), ("1", "2", "2"), "different"),
        (("no", "yes"), ("1", "2", "Options: {options}\n3"), "last line"),
        (("no", "yes"), ("1", "2", "3\n{choices}"), "multiple choice only"),
    ],
)
def test_a_badly_made_task_is_refused(
    labels: tuple[str, ...], templates: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _task(labels, *templates)


def test_multiple_choice_must_show_its_choices_and_names_are_unique() -> None:
    with pytest.raises(DataError, match="multiple choice only"):
        _task(("A", "B"), "1", "2", "3", kind=Kind.MULTIPLE_CHOICE)
    task = _task(("no", "yes"), "1", "2", "3")
    with pytest.raises(DataError, match="share a name"):
        by_name((task, task))


def test_identity_ignores_the_order_of_wrong_choices() -> None:
    draws = [Draw({"q": "x"}, target="a", wrong=wrong) for wrong in (("b", "c"), ("c", "b"))]
    assert draws[0].identity == draws[1].identity
    assert draws[0].identity != Draw({"q": "x"}, target="b", wrong=("a", "c")).identity
    assert Draw({"q": "x"}, key=("k",)).identity == ("k",)
