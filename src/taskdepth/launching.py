"""`devices=n`: the same command again, in n processes of this machine, by torchrun."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import NoReturn

LOST = ("Connection reset by peer", "Connection closed by peer")  # what gloo says of a dead process
FIRST = "0"  # the number of the process that writes results and speaks


def is_one_of_many() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def is_first() -> bool:
    """Whether this process writes results and speaks."""
    return os.environ.get("RANK", FIRST) == FIRST


def has_lost_another(error: BaseException) -> bool:
    """Whether `error` only says that another of the processes is gone."""
    return is_one_of_many() and any(words in str(error) for words in LOST)


def number() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ.get("RANK", FIRST))


def n_processes(devices: int) -> int:
    """How many processes share this command: torchrun's number, or what is asked for."""
    return int(os.environ["WORLD_SIZE"]) if is_one_of_many() else devices


def launch(devices: int) -> NoReturn:
    """Run this very command line in `devices` processes, and end with what they end with."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    # the processes tell their errors themselves
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    logging.getLogger("torch.distributed.run").setLevel(logging.ERROR)
    threads = max(1, (os.cpu_count() or 1) // devices)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        main(["--standalone", f"--nproc-per-node={devices}", *sys.argv])
    except ChildFailedError as error:
        # a process that is killed says nothing: by the system, when memory is short, or by a person
        for rank, failure in error.failures.items():
            if (
                failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
            ):  # by which others are ended
                ended_by = signal.Signals(-failure.exitcode).name
                print(
                    f"error: process {rank + 1} of {devices} was ended by {ended_by} (short of memory?), "
                    "and the others with it: run the same command again, it goes on from what was finished",
                    file=sys.stderr,
                )
        sys.exit(max(error.get_first_failure()[1].exitcode, 1))
    except SignalException as signalled:  # they were told, and left
        sys.exit(128 + signalled.sigval)
    sys.exit(0)
