"""The group of processes that train together: who they are, and how one of them waits for the others.

Every wait is a loop that asks MPI whether the call is complete. So Ctrl-C works while a process waits, ranks that share
a core let each other run, and somebody notices when a rank does not come.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gpunn._device import Device
from gpunn._launch import launched, mpi
from gpunn.cpu.threads import get_num_threads, set_num_threads
from gpunn.errors import DistributedError, UsageError

_BACKENDS = ("auto", "mpi", "nccl", "gloo")
_WAITS, _FAILED, _ENDED = 1, 2, 3  # tags of what ranks tell each other beside their work
_SPIN = 0.005  # seconds: what takes longer is worth sleeping for
_LISTEN = 0.05  # seconds between looks at what others tell
_GRACE = 1.0  # seconds for others to say the same
LATE_AFTER = "GPUNN_LATE_AFTER"  # the environment variable: seconds after which a rank that does not come is named


class ProcessGroup:
    """All processes of the job, by MPI.

    Parameters
    ----------
    backend : "mpi" or "nccl"
        How arrays on GPUs travel. Arrays of the host always travel by MPI.
    timeout : float
        Seconds that a rank waits for the others before it gives up.
    among : MPI's communicator, optional
        Of the processes that are in the group; all, if not given.

    Attributes
    ----------
    rank, size : int
        Which of how many processes this is.
    local_rank, local_size : int
        The same among those of this machine.
    names : list of str
        Each rank's machine and process number.
    """

    def __init__(self, backend: str, timeout: float, among: Any = None) -> None:
        self.mpi: Any = mpi()
        world = self.mpi.COMM_WORLD
        expected = launched()
        if expected is not None and world.size != expected.size:
            raise DistributedError(
                f"{expected.launcher} started {expected.size} processes, but MPI sees {world.size}: mpi4py uses "
                f"another MPI than {expected.launcher} does. "
                + (
                    "Try srun --mpi=pmi2 or --mpi=pmix."
                    if expected.launcher == "srun"
                    else "Use the mpiexec beside it."
                )
            )
        self.backend = backend
        self.timeout = timeout
        self.late_after = _seconds(LATE_AFTER, 30.0)
        world = world if among is None else among
        self.comm = world.Dup()
        self._talk = world.Dup()  # of its own, as what is told there comes at any time
        self.rank: int = self.comm.rank
        self.size: int = self.comm.size
        node = self.comm.Split_type(self.mpi.COMM_TYPE_SHARED)
        self.local_rank: int = node.rank
        self.local_size: int = node.size
        _divide_threads(node.allgather(_cores()))
        node.Free()
        self.names: list[str] = self.comm.allgather(f"{socket.gethostname()}, process {os.getpid()}")
        self.failing = False
        self._count = 0  # collectives so far: every rank counts the same
        self._channels: dict[Device, Any] = {}
        self._told: list[Any] = []  # requests whose messages are on their way
        self._waiting: dict[int, int] = {}  # by rank: the collective that it said it waits in
        self._failed: set[int] = set()
        self._ended: dict[int, int] = {}  # by rank: how many collectives it took part in

    # -- collectives ---------------------------------------------------------------------------

    def channel(self, device: Device) -> Any:
        """What moves arrays of ``device`` between ranks."""
        if device not in self._channels:
            self._channels[device] = self._open(device)
        return self._channels[device]

    def _open(self, device: Device) -> Any:
        if device.ordinal is not None and self.backend == "nccl":
            from gpunn.distributed._nccl import NcclChannel

            return NcclChannel(device, self.rank, self.size, lambda given: self.objects("the id of NCCL", given)[0])
        from gpunn.distributed._mpi import MpiChannel

        return MpiChannel(self, device)

    def objects(self, what: str, own: Any) -> list[Any]:
        """Everybody's ``own``, which may be anything that can be pickled, by rank."""
        import pickle

        import numpy as np

        data = np.frombuffer(pickle.dumps(own), np.uint8)
        lengths = np.zeros(self.size, np.int64)
        self.wait(self.comm.Iallgather(np.array([len(data)], np.int64), lengths), what)
        everything = np.empty(int(lengths.sum()), np.uint8)
        self.wait(self.comm.Iallgatherv(data, [everything, lengths.tolist()]), what)
        ends = lengths.cumsum().tolist()
        starts = [0, *ends[:-1]]
        return [pickle.loads(everything[a:b].tobytes()) for a, b in zip(starts, ends, strict=True)]

    def from_first(self, what: str, make: Callable[[], Any]) -> Any:
        """What ``make`` returns on rank 0, on every rank."""
        return self.objects(what, make() if self.rank == 0 else None)[0]

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        self.wait(self.comm.Ibarrier(), "barrier")

    def largest(self, what: str, value: int) -> int:
        """The largest of the ranks' numbers."""
        import numpy as np

        made = np.array([value], np.int64)
        self.wait(self.comm.Iallreduce(self.mpi.IN_PLACE, made, self.mpi.MAX), what)
        return int(made[0])

    # -- waiting -------------------------------------------------------------------------------

    def wait(self, request: Any, what: str, needed: Sequence[int] | None = None) -> None:
        """Wait for an MPI request; ``needed``: the ranks without which it cannot end, if not all.

        Raises
        ------
        DistributedError
            If a rank has ended that is needed, or does not come within the group's time limit.
        """
        self._count += 1
        if request.Test():
            return
        begun = time.monotonic()
        listened = begun
        named = False
        while not request.Test():
            now = time.monotonic()
            if now - begun < _SPIN:
                os.sched_yield()
                continue
            time.sleep(min(0.001, (now - begun) / 50))
            if now - listened < _LISTEN:
                continue
            listened = now
            self._listen()
            others = [r for r in (range(self.size) if needed is None else needed) if r != self.rank]
            gone = [r for r in others if self._ended.get(r, self._count) < self._count]
            if gone:
                raise DistributedError(
                    f"{what}: {self._named(gone)} ended before, so this can never be complete. Let all ranks make the "
                    "same calls, as many steps of training too."
                )
            late = [r for r in others if self._waiting.get(r, 0) < self._count]
            if now - begun > self.timeout:
                raise DistributedError(
                    f"{what}: {self._named(late or others)} did not come within {self.timeout:g} s. Is it still "
                    "running, and does it make the same calls? init_process_group(timeout=...) allows more."
                )
            if now - begun > self.late_after and not named:
                self._say(_WAITS, self._count)
                if now - begun > self.late_after + _GRACE:
                    named = True
                    waiting = [r for r in range(self.size) if r not in late]
                    if waiting and waiting[0] == self.rank:
                        print(
                            f"gpunn: {what}: {self._named(late or others)} has not come for {now - begun:.0f} s; rank "
                            f"{self.rank} waits up to {self.timeout:g} s.",
                            file=sys.stderr,
                            flush=True,
                        )

    def _named(self, ranks: Sequence[int]) -> str:
        return " and ".join(f"rank {r} ({self.names[r]})" for r in ranks)

    def _say(self, tag: int, count: int) -> None:
        """Tell every other rank; a rank says each thing once for a count."""
        if self._waiting.get(self.rank) == count and tag == _WAITS:
            return
        if tag == _WAITS:
            self._waiting[self.rank] = count
        self._told += [self._talk.isend(count, r, tag) for r in range(self.size) if r != self.rank]

    def _listen(self) -> None:
        """Take in what others tell."""
        status = self.mpi.Status()
        while self._talk.Iprobe(tag=self.mpi.ANY_TAG, status=status):
            source, tag = status.Get_source(), status.Get_tag()
            count = self._talk.recv(source=source, tag=tag)
            if tag == _WAITS:
                self._waiting[source] = max(count, self._waiting.get(source, 0))
            elif tag == _FAILED:
                self._failed.add(source)
            else:
                self._ended[source] = count
        self._told = [request for request in self._told if not request.Test()]

    # -- the end -------------------------------------------------------------------------------

    def fail(self, tell: Callable[[], Any], status: int) -> None:
        """End the job because of an error here: one rank tells of it, and no rank is left waiting.

        Where all ranks fail alike, as with a wrong argument, rank 0 tells of it and this returns on all. Otherwise the
        lowest rank that failed tells, and ends everything.
        """
        self.failing = True
        self._say(_FAILED, self._count)
        until = time.monotonic() + _GRACE
        while time.monotonic() < until and len(self._failed) < self.size - 1:
            time.sleep(0.01)
            self._listen()
        if not self._failed or min(self._failed) > self.rank:
            tell()
        elif len(self._failed) < self.size - 1:
            time.sleep(5 * _GRACE)  # the lower rank ends everything meanwhile
        if len(self._failed) < self.size - 1:
            sys.stdout.flush()
            sys.stderr.flush()
            self.mpi.COMM_WORLD.Abort(status)

    def close(self) -> None:
        """Leave, as this rank makes no further call; waits until all others do so too."""
        if self.failing:
            return
        self._say(_ENDED, self._count)
        request = self._talk.Ibarrier()
        while not request.Test():  # others may have work to do that needs no calls
            time.sleep(0.01)
            self._listen()
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


def _cores() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def _divide_threads(cores: Sequence[frozenset[int]]) -> None:
    """Let a machine's ranks use as many threads as it has cores, unless the launcher or the user has seen to it."""
    if len(set(cores)) == 1 and get_num_threads() == len(cores[0]):
        set_num_threads(max(1, len(cores[0]) // len(cores)))


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not value > 0:
        raise UsageError(f"{name}: expected a number of seconds above 0; got {text!r}.")
    return value


def check_backend(backend: Any) -> str:
    """The backend in small letters, of those that there are."""
    name = "auto" if backend is None else backend
    if not isinstance(name, str) or name.lower() not in _BACKENDS:
        raise UsageError(
            f"init_process_group: backend: expected 'auto', 'mpi' or 'nccl', or 'gloo' for 'mpi'; got {backend!r}."
        )
    return name.lower()
