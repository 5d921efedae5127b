"""Arrays between ranks by MPI, from and to memory of the host; those of a GPU are copied there and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._capture_state import capturing, refuse_in_capture
from gpunn._device import Device
from gpunn.cpu.elementwise import quiet
from gpunn.errors import UsageError

_OPS = {"sum": "SUM", "avg": "SUM", "product": "PROD", "min": "MIN", "max": "MAX"}


class MpiChannel:
    """What moves the arrays of one device; they are C-contiguous, and changed in place.

    Every method begins a call and returns a :class:`Pending`. All ranks make the same calls in the same order. On the
    emulator a captured step keeps the calls, as it keeps launches, and makes them at each replay.

    Parameters
    ----------
    group : ProcessGroup
    device : Device
    """

    def __init__(self, group: Any, device: Device) -> None:
        self._group, self._device = group, device

    def all_reduce(self, array: Any, op: str = "sum") -> Pending:
        """``array`` = the sum, mean, product, smallest or largest of all ranks', element by element.

        The mean, ``"avg"``, is for floating-point numbers.
        """
        mpi, comm = self._group.mpi, self._group.comm
        how = getattr(mpi, _OPS[op])
        pending = self._begin("all_reduce", array, lambda host: comm.Iallreduce(mpi.IN_PLACE, host, how))
        pending.factor = 1 / self._group.size if op == "avg" else None
        return pending

    def broadcast(self, array: Any, root: int) -> Pending:
        """``array`` = that of rank ``root``."""
        return self._begin("broadcast", array, lambda host: self._group.comm.Ibcast(host, root), (root,))

    def all_gather(self, array: Any, into: Any) -> Pending:
        """``into[r]`` = rank r's ``array``; ``into`` has one axis more, as long as there are ranks."""
        given = self._host("all_gather", array)
        return self._begin("all_gather", into, lambda host: self._group.comm.Iallgather(given, host))

    def close(self) -> None:
        """Nothing is held."""

    def _host(self, what: str, array: Any) -> np.ndarray:
        if isinstance(array, np.ndarray):
            return array
        refuse_in_capture(
            f"{what}: MPI, which reads memory of the host,",
            "Use the backend 'nccl', which works on the GPU, or leave the step uncaptured (capture=False).",
        )
        return self._device.to_host(array)

    def _begin(
        self, what: str, array: Any, start: Callable[[np.ndarray], Any], needed: tuple[int, ...] | None = None
    ) -> Pending:
        if array.dtype.kind not in "biuf":
            raise UsageError(f"{what}: expected numbers or truth values; got {array.dtype}.")
        pending = Pending(self._group, self._device, what, array, self._host(what, array), start, needed)
        step = capturing()
        if step is None:
            pending.begin()
        else:
            step.postponed.append(Postponed(what, pending.begin))
        return pending


class Postponed:
    """A call among the launches that a captured step on the emulator makes at each replay."""

    def __init__(self, kernel: str, run: Callable[[], None]) -> None:
        self.kernel, self.run = kernel, run


class Pending:
    """A call that has begun; its array must not be touched before :meth:`wait` has returned.

    Attributes
    ----------
    factor : float or None
        What the result is multiplied by.
    """

    def __init__(
        self,
        group: Any,
        device: Device,
        what: str,
        array: Any,
        host: np.ndarray,
        start: Callable[[np.ndarray], Any],
        needed: tuple[int, ...] | None,
    ) -> None:
        self._group, self._device, self._what = group, device, what
        self._array, self._host, self._start, self._needed = array, host, start, needed
        self._request: Any = None
        self.factor: float | None = None

    def begin(self) -> None:
        """Start it."""
        self._request = self._start(self._host)

    def progress(self) -> bool:
        """Let MPI do what it can now, and say whether it is complete."""
        return capturing() is None and bool(self._request.Test())

    def wait(self) -> None:
        """Go on when it is complete."""
        step = capturing()
        if step is None:
            self._end()
        else:
            step.postponed.append(Postponed(f"{self._what} (wait)", self._end))

    def _end(self) -> None:
        self._group.wait(self._request, self._what, self._needed)
        if self.factor is not None:
            with quiet():
                np.multiply(self._host, self._host.dtype.type(self.factor), out=self._host)
        if self._host is not self._array:
            with self._device.active():
                self._array[...] = self._device.xp.asarray(self._host)
