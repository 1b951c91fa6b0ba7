"""`python -m taskdepth.bench NAME [--json]`: our way and the usual way on the same work, side by side."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from taskdepth.bench.row import BenchRow, device
from taskdepth.errors import TaskdepthError


def main() -> None:
    """Run the benchmark that is asked for; the exit code is 2 where a goal is missed."""
    arguments = _parser().parse_args()
    try:
        rows = _run(arguments)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if arguments.json:
        print(json.dumps({"device": device(), "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        Console().print(_table(rows))
    sys.exit(0 if all(row.holds for row in rows) else 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.bench", description=__doc__)
    commands = parser.add_subparsers(dest="bench", required=True)
    training = commands.add_parser(
        "training", help="LoRA tuning against TRL's SFTTrainer, and how fast train.py starts"
    )
    training.add_argument("--steps", type=int, default=10)
    training.add_argument("--batch", type=int, default=16, help="examples per step")
    extraction = commands.add_parser(
        "extraction", help="every depth's states, against the way of the paper's authors"
    )
    extraction.add_argument("--prompts", type=int, default=128)
    extraction.add_argument(
        "--repeated", type=int, default=48, help="of these, for all but the authors' way"
    )
    probing = commands.add_parser(
        "probing", help="probes to the optimum against scikit-learn, folds and L2 values, memory"
    )
    probing.add_argument(
        "--every", type=int, default=5, help="time both sides at each so-many-th depth"
    )
    similarity = commands.add_parser(
        "similarity", help="CKA of all depths of two models, against the way of the paper's authors"
    )
    similarity.add_argument("--depths", type=int, default=33, help="of each of the two models")
    scaling = commands.add_parser(
        "scaling", help="the seconds that the cost model predicts, against those it takes"
    )
    ranks = commands.add_parser("ranks", help="what a second process brings, one thread each")
    growth = commands.add_parser(
        "growth", help="time over rows, depths and tasks at four sizes; memory over rows"
    )
    without = {
        training: ("random weights of SmolLM2-135M's shape", "the demo suite"),
        extraction: ("random weights of SmolLM2-135M's shape", "the demo suite"),
        probing: ("synthetic activations of that shape", "the same"),
    }
    for command in (*without, similarity, scaling, ranks, growth):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    for command, (model, data) in without.items():
        command.add_argument(
            "--model", type=Path, help=f"folder of a causal LM; without it, {model}"
        )
        command.add_argument("--data", type=Path, help=f"folder of JSONL tasks; without it, {data}")
    return parser


def _run(arguments: argparse.Namespace) -> list[BenchRow]:
    # waiting threads that sleep, as train.py and probe.py set it: read when torch is loaded
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    if arguments.bench == "similarity":
        from taskdepth.bench import similarity

        return similarity.run(arguments.depths)
    if arguments.bench == "scaling":
        from taskdepth.bench import scaling

        return scaling.run()
    if arguments.bench == "ranks":
        from taskdepth.bench import ranks

        return ranks.run()
    if arguments.bench == "growth":
        from taskdepth.bench import growth

        return growth.run()
    model, data = arguments.model, arguments.data
    if arguments.bench == "training":
        from taskdepth.bench import training

        return training.run(model, data, arguments.steps, arguments.batch)
    if arguments.bench == "probing":
        from taskdepth.bench import probing

        return probing.run(model, data, arguments.every)
    from taskdepth.bench import extraction

    return extraction.run(model, data, arguments.prompts, arguments.repeated)


def _table(rows: list[BenchRow]) -> Table:
    table = Table(
        title=device(), caption="ratio: theirs over ours, or the share reached of a limit"
    )
    for column in ("", "against", "ours", "theirs", "ratio", "goal", "apart", ""):
        table.add_column(column, justify="left" if column in ("", "against") else "right")
    for row in rows:
        table.add_row(
            row.name,
            row.against,
            *("" if s is None else f"{s:.2f} s" for s in (row.ours_s, row.theirs_s)),
            f"{row.ratio:.2f}",
            "" if row.goal is None else f"{row.goal:g}",
            "" if row.agreement is None else f"{row.agreement:.2g}",
            "[green]holds[/green]" if row.holds else "[red]falls short[/red]",
        )
    return table


if __name__ == "__main__":
    main()
