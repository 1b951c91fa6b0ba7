"""List the tasks of a source: `python -m taskdepth.tasks [FOLDER]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from taskdepth.errors import DataError, TaskdepthError
from taskdepth.tasks import listing
from taskdepth.tasks.bad_rows import OnError
from taskdepth.tasks.leakage import LeakageReport, find_leakage
from taskdepth.tasks.sources import SOURCES, build
from taskdepth.tasks.spec import Source, select_tasks
from taskdepth.tasks.summary import TaskSummary, n_words, summarise

REGISTRY = "flan2021"  # a list of tasks; with --path, the folder that mirrors the hub's rows


def main() -> None:
    options = _parser().parse_args()
    try:
        _run(options)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.tasks", description=__doc__)
    parser.add_argument("folder", nargs="?", help="the same as --source folder --path FOLDER")
    parser.add_argument(
        "--source", choices=[*SOURCES, REGISTRY], help="demo unless a folder is given"
    )
    parser.add_argument("--path", help="what data.path is to the source")
    parser.add_argument("--tasks", default="all", help="all, a,b or cluster:<name>")
    parser.add_argument("--leakage", action="store_true", help="look for prompts at two places")
    parser.add_argument("--tokenizer", help="count its tokens instead of words: a folder or hub id")
    parser.add_argument(
        "--on-error", choices=list(OnError), default=OnError.SKIP, help="rows that cannot be used"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run(options: argparse.Namespace) -> None:
    wanted = options.tasks.split(",")
    source = _source(options)
    if source is None:
        from taskdepth.tasks.flan2021 import FLAN_TASKS

        specs = {name: task.spec for name, task in FLAN_TASKS.items()}
        _show(options, [TaskSummary(spec) for spec in select_tasks(specs, wanted)], None, None)
        return
    length = _n_tokens(options.tokenizer) if options.tokenizer else n_words
    chosen = select_tasks(source.specs(), wanted)
    summaries = [summarise(source, spec, length) for spec in chosen]
    _show(options, summaries, source, find_leakage(source, chosen) if options.leakage else None)


def _source(options: argparse.Namespace) -> Source | None:
    """None: the registry alone, without rows."""
    path = options.path or options.folder
    name = options.source or ("folder" if path else "demo")
    if options.path and options.folder:
        raise DataError(f"two folders: {options.folder} and --path {options.path}")
    if name == REGISTRY:
        return build("flan_hub", path, options.on_error) if path else None
    return build(name, path, options.on_error)


def _n_tokens(tokenizer: str) -> Callable[[str], int]:
    from transformers import AutoTokenizer

    try:
        encode = AutoTokenizer.from_pretrained(tokenizer).encode
    except (OSError, ValueError) as error:
        raise DataError(f"--tokenizer {tokenizer}: {str(error).splitlines()[0]}") from None
    return lambda text: len(encode(text, add_special_tokens=False))


def _show(
    options: argparse.Namespace,
    summaries: Sequence[TaskSummary],
    source: Source | None,
    report: LeakageReport | None,
) -> None:
    unit = "tokens" if options.tokenizer else "words"
    skipped = source.skipped() if source else {}
    if options.json:
        content: dict[str, Any] = {
            "unit": unit,
            "tasks": [summary.to_dict() for summary in summaries],
            "skipped": {task: list(lines) for task, lines in skipped.items()},
        }
        if report is not None:
            content["leakage"] = report.to_dict()
        print(json.dumps(content, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    for part in (
        listing.task_table(summaries, unit),
        listing.warnings(summaries),
        listing.skipped(skipped),
        listing.leakage(report),
    ):
        if part is not None:
            console.print(part)


if __name__ == "__main__":
    main()
