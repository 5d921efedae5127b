"""``mpiexec -n 4 gpunn train …``: the processes as one group, of whom the first alone speaks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gpunn._launch import launched

_Made = TypeVar("_Made")
_COMMANDS = ("train",)  # what several processes do together


def join(words: Sequence[str]) -> None:
    """Make the processes that mpiexec or srun started one group, before anything else can go wrong in one of them.

    Raises
    ------
    DistributedError
        If MPI is missing, or not the launcher's.
    """
    found = launched()
    if found is None or not words or words[0] not in _COMMANDS:
        return
    if found.rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the program runs
    from gpunn.distributed import init_process_group

    init_process_group()


def fail(tell: Callable[[], Any], status: int) -> None:
    """End all processes because of this one's error, of which one tells; alone just tell."""
    if "gpunn.distributed._state" in sys.modules:
        from gpunn.distributed._state import fail as fail_together

        fail_together(tell, status)
    else:
        tell()


def is_first() -> bool:
    """Whether this process speaks."""
    from gpunn.distributed._state import current

    group = current()
    return group is None or group.rank == 0


def first_then_others(make: Callable[[], _Made]) -> _Made:
    """What ``make`` returns, in each process; the first makes it before the others begin, as with a download."""
    from gpunn.distributed._state import current

    group = current()
    if group is None:
        return make()
    if group.rank:
        group.barrier()
        return make()
    made = make()
    group.barrier()
    return made


def from_first(make: Callable[[], _Made]) -> _Made:
    """What ``make`` returns in the first process, which alone calls it."""
    from gpunn.distributed._state import current

    group = current()
    return make() if group is None else group.from_first("gpunn train", make)


def count() -> int:
    """How many processes there are."""
    from gpunn.distributed._state import current

    group = current()
    return 1 if group is None else int(group.size)
