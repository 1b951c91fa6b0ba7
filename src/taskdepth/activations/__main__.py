"""Look after extracted states: `python -m taskdepth.activations ls | verify | rm [KEY …]`.

A key may be cut short; `rm` wants as much of it as only one key begins with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from taskdepth import config
from taskdepth.activations import listing
from taskdepth.activations.inventory import Condition, Entry, chosen, entries
from taskdepth.errors import ResultsError, TaskdepthError


def main() -> None:
    options = _parser().parse_args()
    try:
        options.command(options)
    except TaskdepthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskdepth.activations", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="{ls,verify,rm}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--root", type=Path, help="the store: outputs/activations unless given")
    shared.add_argument("keys", nargs="*", metavar="KEY", help="the beginning of a key")
    ls = commands.add_parser("ls", parents=[shared], help="list what is there")
    ls.set_defaults(command=_list)
    verify = commands.add_parser(
        "verify", parents=[shared], help="compare every file with its checksum"
    )
    verify.add_argument(
        "--drop", action="store_true", help="remove damaged files: the extract stage redoes them"
    )
    verify.set_defaults(command=_verify)
    rm = commands.add_parser("rm", parents=[shared], help="remove keys")
    rm.add_argument("--partial", action="store_true", help="all whose extraction did not end")
    rm.add_argument("--all", action="store_true", help="all")
    rm.add_argument("--yes", action="store_true", help="without asking")
    rm.set_defaults(command=_remove)
    return parser


def _entries(options: argparse.Namespace, *, unique: bool = False) -> list[Entry]:
    root = options.root or config.root_dir() / "outputs" / "activations"
    if not root.is_dir():
        raise ResultsError(f"there is no store in {root}: name one with --root")
    return chosen(entries(root), options.keys, unique=unique)


def _list(options: argparse.Namespace) -> None:
    Console(highlight=False).print(listing.tables(_entries(options)))


def _verify(options: argparse.Namespace) -> None:
    checked = _entries(options)
    n_damaged = 0
    for entry in checked:
        for path, problem in entry.damage().items():
            n_damaged += 1
            print(f"{entry.key[: listing.N_LETTERS]}  {problem}")
            if options.drop:
                path.unlink(missing_ok=True)
    if n_damaged:
        advice = "run the extract stage again" if options.drop else "--drop removes them"
        raise ResultsError(f"{n_damaged} of the store's files are damaged or missing: {advice}")
    n_shards = sum(len(entry.shards) for entry in checked)
    print(f"{n_shards} shards of {len(checked)} keys are as they were written")


def _remove(options: argparse.Namespace) -> None:
    if sum(map(bool, (options.keys, options.partial, options.all))) != 1:
        raise ResultsError("say what to remove: keys, --partial or --all")
    doomed = [
        entry
        for entry in _entries(options, unique=True)
        if not options.partial or entry.condition is Condition.PARTIAL
    ]
    what = listing.counted(doomed)
    if doomed and not options.yes and not _agreed(f"remove {what}?"):
        raise ResultsError("nothing was removed: --yes does it without asking")
    for entry in doomed:
        entry.remove()
    print(f"removed {what}")


def _agreed(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


if __name__ == "__main__":
    main()
