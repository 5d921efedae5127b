"""Arrays sent between GPUs by NCCL, through CuPy: one process a GPU, all calls on a stream of their own.

A call and its :meth:`Pending.wait` are two events and no more. So kernels run beside it, the host goes on at once, and
a captured step holds it as it holds a kernel.

This is the only module that knows CuPy's calls of NCCL. It loads CuPy only when it is asked to.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunn._capture_state import capturing, refuse_in_capture
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn.errors import CaptureError, DeviceError, ShapeError, UsageError
from gpunn.gpu import diagnosis

_TYPES = {
    "float16": "NCCL_FLOAT16",
    "float32": "NCCL_FLOAT32",
    "float64": "NCCL_FLOAT64",
    "int32": "NCCL_INT32",
    "int64": "NCCL_INT64",
    "uint8": "NCCL_UINT8",
    "bool": "NCCL_UINT8",
}
_OPS = {"sum": "NCCL_SUM", "product": "NCCL_PROD", "max": "NCCL_MAX", "min": "NCCL_MIN", "avg": "NCCL_AVG"}
# What NCCL's error numbers may mean here; the others point at a call that differs between ranks.
_HINTS = {
    1: "A GPU reported an error, perhaps from a kernel before this: CUDA_LAUNCH_BLOCKING=1 finds which.",
    2: "The connection between the GPUs' processes could not be used: NCCL_DEBUG=WARN shows which call failed.",
    6: "Another rank has stopped or cannot be reached: see what it said.",
}
_SAME_CALLS = (
    "See that all ranks make the same calls in the same order, with arrays of the same shape and dtype. "
    "NCCL_DEBUG=WARN shows NCCL's own reason."
)
_OWN_GPU = (
    "NCCL says so where two ranks use the same GPU, or differ in how many ranks there are: give each rank a GPU of its "
    "own, as 'cuda:0' to the first of a machine and 'cuda:1' to the second. NCCL_DEBUG=WARN shows its own reason."
)
_INVALID = (4, 5)
_CONNECTING = "connecting the ranks"


def available(cupy: Any) -> str | None:
    """Why NCCL cannot be used here, or None if it can.

    It looks at this process alone: ask on all ranks before the first of them makes a :class:`NcclChannel`.

    Parameters
    ----------
    cupy : module
    """
    try:
        if _module(cupy).available:
            return None
        importlib.import_module("cupy_backends.cuda.libs.nccl")  # what failed in there
        said = "CuPy was built without it"
    except ImportError as error:
        said = str(error)
    found = diagnosis.packages()
    package = f"nvidia-nccl-cu{13 if found == ['cupy-cuda13x'] else 12}"
    try:
        has = f"of which {importlib.metadata.version(package)} is installed but cannot be used"
        command = f"pip install --force-reinstall {package}"
    except importlib.metadata.PackageNotFoundError:
        has = "which is not installed"
        command = f"pip install {package}"
    if found and not found[0].startswith("cupy-cuda"):  # built from source, or from conda
        command += ", or conda install -c conda-forge nccl"
    return (
        f"NCCL, which sends arrays between GPUs, could not be loaded ({said}); expected in the package {package}, "
        f"{has}. Mend it with {command}."
    )


class Pending:
    """A collective that has been started; :meth:`wait` before its array is used. Made by :class:`NcclChannel`."""

    __slots__ = ("_arrays", "_channel", "_event", "_started_on", "_step", "_what")

    def __init__(self, channel: NcclChannel | None, what: str, arrays: tuple[Any, ...], started_on: int) -> None:
        self._channel = channel  # None: there was nothing to do
        self._what = what
        self._arrays = arrays
        self._started_on = started_on
        self._step = capturing()
        self._event: Any = None

    def progress(self) -> bool:
        """Whether it is done; False in a captured step. NCCL goes on by itself."""
        if self._channel is None:
            return True
        return capturing() is None and self._step is None and bool(self._event.done)

    def wait(self) -> None:
        """Let what this thread launches from now on, on its current stream, run after the collective.

        The host does not wait. A second call does no harm: it may be for another stream.

        Raises
        ------
        CaptureError
            If the collective was started inside a captured step and this is outside of it, or the other way round.
        """
        channel = self._channel
        if channel is None:
            return
        step = capturing()
        if step is not self._step:
            if step is None:
                raise CaptureError(
                    f"{self._what}: it was started inside a captured step, so it runs at each replay and there is "
                    "nothing to wait for here. Call wait() inside the step."
                )
            raise CaptureError(
                f"{self._what}: it was started before this captured step, and a replay cannot wait for that. "
                "Call wait() before the step, or start it inside."
            )
        with channel.device.active():
            stream = channel.device.xp.cuda.get_current_stream()
            stream.wait_event(self._event)
            # CuPy's pool gives memory that was dropped to who next allocates on the stream of its allocation, at once:
            # it expects that stream's order to keep the two apart. Up to here only this reference kept the memory; from
            # here on that stream comes after NCCL. On another stream it does not, so the channel keeps the reference
            # until NCCL is done.
            if stream.ptr == self._started_on:
                self._arrays = ()
                channel._kept.discard(self)


class NcclChannel:
    """What connects this process's GPU to those of the other ranks.

    All ranks have to make the same calls in the same order. Arrays are C-contiguous CuPy arrays of ``device``, of dtype
    float16, float32, float64, int32, int64, uint8 or bool; a call without elements does nothing. A call starts after
    what the current stream holds then; the array is NCCL's until :meth:`Pending.wait`. In a captured step that has to
    be called before the step ends, or the capture is refused, since the graph would be done before NCCL is. No step
    that uses the channel may be replayed after :meth:`close`.

    Parameters
    ----------
    device : Device
        This rank's GPU, which no other rank uses.
    rank, size : int
        Which process this is, and how many there are.
    share : callable
        ``share(data)`` returns rank 0's bytes on all ranks; the others give None. It is called once.

    Raises
    ------
    DeviceError
        If NCCL is missing or refuses, as it does where two ranks use the same GPU.
    UsageError
        If ``device`` is no GPU.
    """

    def __init__(self, device: Device, rank: int, size: int, share: Callable[[bytes | None], bytes]) -> None:
        if device.ordinal is None:
            raise UsageError(f"NCCL: device: expected a GPU, such as 'cuda:0'; got '{device}'.")
        self.device, self.rank, self.size = device, rank, size
        self._comm: Any = None
        self._kept: set[Pending] = set()  # collectives whose arrays nobody else has to keep
        self._told = False  # whether an error of NCCL's was raised
        missing = available(device.xp)
        name = None
        if rank == 0:  # also where NCCL is missing: the others wait for it
            name = b"" if missing is not None else _module(device.xp).get_unique_id()
        name = share(name)
        if missing is not None:
            raise DeviceError(f"device '{device}': {missing}")
        if not name:
            raise DeviceError(f"NCCL: rank 0 cannot use it, so rank {rank} cannot either; see what rank 0 said.")
        self._nccl = _module(device.xp)
        self._types = {kind: getattr(self._nccl, constant) for kind, constant in _TYPES.items()}
        self._ops = {op: getattr(self._nccl, constant) for op, constant in _OPS.items()}
        with device.active():
            cuda = device.xp.cuda
            # Not the default stream's kind, which a capture cannot hold, and which would wait for the default stream.
            self._stream = cuda.Stream(non_blocking=True)
            try:
                self._comm = self._nccl.NcclCommunicator(size, name, rank)
            except self._nccl.NcclError as error:
                raise self._explained(error, _CONNECTING) from error

    def all_reduce(self, array: Any, op: str = "sum") -> Pending:
        """Replace ``array`` on all ranks by the sum of all ranks' arrays, or another reduction of them.

        Parameters
        ----------
        array : cupy.ndarray
            Of the same shape and dtype on all ranks.
        op : str
            ``"sum"``, ``"product"``, ``"max"``, ``"min"``, or ``"avg"``, which is for floating-point numbers. bool has
            ``"max"`` (any) and ``"min"`` (all).

        Raises
        ------
        UsageError
            If NCCL cannot do that with such an array.
        DeviceError
            If the array is not on this GPU, or NCCL fails.
        """
        dtype = self._checked("all_reduce", array)
        if op not in self._ops:
            raise UsageError(f"all_reduce: op: expected one of {', '.join(self._ops)}; got {op!r}.")
        if array.dtype == np.bool_ and op not in ("max", "min"):
            raise UsageError(f"all_reduce: op={op!r} of bool: use 'max' for any, 'min' for all, or convert it first.")
        if op == "avg" and array.dtype.kind not in FLOATING:
            raise UsageError(f"all_reduce: op='avg' of {array.dtype}: expected floating-point numbers; use 'sum'.")
        pointer = array.data.ptr
        return self._start(
            "all_reduce",
            (array,),
            lambda stream: self._comm.allReduce(pointer, pointer, array.size, dtype, self._ops[op], stream),
        )

    def broadcast(self, array: Any, root: int) -> Pending:
        """Replace ``array`` on all ranks by that of rank ``root``.

        Raises
        ------
        UsageError
            If there is no such rank, or NCCL cannot do that with such an array.
        DeviceError
            If the array is not on this GPU, or NCCL fails.
        """
        dtype = self._checked("broadcast", array)
        if not 0 <= root < self.size:
            raise UsageError(f"broadcast: root: expected a rank from 0 to {self.size - 1}; got {root}.")
        pointer = array.data.ptr
        return self._start(
            "broadcast",
            (array,),
            lambda stream: self._comm.broadcast(pointer, pointer, array.size, dtype, root, stream),
        )

    def all_gather(self, array: Any, into: Any) -> Pending:
        """Write the arrays of all ranks to ``into``, in the order of the ranks.

        Parameters
        ----------
        array : cupy.ndarray
            Of the same shape and dtype on all ranks.
        into : cupy.ndarray
            Of shape ``(size, *array.shape)`` and the same dtype; ``array`` may be ``into[rank]``, and no other part
            of it.

        Raises
        ------
        ShapeError
            If ``into`` has another shape.
        UsageError
            If NCCL cannot do that with such arrays.
        DeviceError
            If the arrays are not on this GPU, or NCCL fails.
        """
        dtype = self._checked("all_gather", array)
        self._checked("all_gather", into)
        if into.shape != (self.size, *array.shape):
            raise ShapeError(f"all_gather: into: expected shape {(self.size, *array.shape)}; got {into.shape}.")
        if into.dtype != array.dtype:
            raise UsageError(f"all_gather: into: expected dtype {array.dtype}, as array has; got {into.dtype}.")
        source, target = array.data.ptr, into.data.ptr
        return self._start(
            "all_gather",
            (array, into),
            lambda stream: self._comm.allGather(source, target, array.size, dtype, stream),
        )

    def check(self) -> None:
        """Raise what NCCL has found since, such as a rank that is gone. Every call does so, too; nothing waits.

        Raises
        ------
        DeviceError
            If NCCL has failed.
        """
        try:
            self._open("check").check_async_error()
        except self._nccl.NcclError as error:
            raise self._explained(error, "an earlier collective") from error

    def close(self) -> None:
        """Wait until all is done and give up the connection; the channel is of no use any more. Again does nothing.

        It waits for what the current stream holds, so for captured steps that were replayed there.

        Raises
        ------
        DeviceError
            If a collective failed and no call has said so; the connection is given up all the same.
        """
        refuse_in_capture("closing the connection of NCCL", "Close it outside.")
        comm = self._comm
        if comm is None:
            return
        with self.device.active():
            try:
                # Replays of captured steps, which are on the current stream.
                self._stream.wait_event(self.device.xp.cuda.get_current_stream().record())
                # To wait on the host would be for ever if another rank is gone.
                while not self._stream.done:
                    comm.check_async_error()
                    time.sleep(1e-4)
                comm.check_async_error()
            except BaseException as error:
                told = self._told
                self._comm = None
                comm.abort()
                if not isinstance(error, self._nccl.NcclError):
                    raise
                if not told:
                    raise self._explained(error, "a collective before close") from error
            else:
                self._comm = None
                comm.destroy()
            self._kept.clear()

    def _checked(self, what: str, array: Any) -> Any:
        """NCCL's number of the array's dtype, if the array will do."""
        if not isinstance(array, self.device.xp.ndarray):
            raise UsageError(f"{what}: expected a CuPy array on '{self.device}'; got {type(array).__name__}.")
        if array.device.id != self.device.ordinal:
            raise DeviceError(f"{what}: the array is on GPU {array.device.id}, and this rank's is '{self.device}'.")
        if not array.flags.c_contiguous:
            raise UsageError(f"{what}: expected a C-contiguous array; got strides {array.strides}. Copy it first.")
        dtype = self._types.get(str(array.dtype))
        if dtype is None:
            raise UsageError(f"{what}: NCCL sends {', '.join(self._types)}; got {array.dtype}. Convert it first.")
        return dtype

    def _open(self, what: str) -> Any:
        if self._comm is None:
            raise UsageError(f"{what}: the channel is closed.")
        return self._comm

    def _start(self, what: str, arrays: tuple[Any, ...], call: Callable[[int], None]) -> Pending:
        comm = self._open(what)
        if not arrays[0].size:
            return Pending(None, what, (), 0)
        with self.device.active():
            cuda = self.device.xp.cuda
            current = cuda.get_current_stream()
            self._drop_what_is_done()
            pending = Pending(self, what, arrays, current.ptr)
            # In a capture the first event takes NCCL's stream into it, and the one that is waited for brings it back.
            before = cuda.Event(disable_timing=True)
            before.record(current)
            self._stream.wait_event(before)
            self._kept.add(pending)
            try:
                comm.check_async_error()
                call(self._stream.ptr)
            except self._nccl.NcclError as error:
                raise self._explained(error, what) from error
            pending._event = cuda.Event(disable_timing=True)
            pending._event.record(self._stream)
        return pending

    def _drop_what_is_done(self) -> None:
        step = capturing()
        for pending in list(self._kept):
            if pending._step is not None:
                done = pending._step is not step  # the capture is over, and with it what the reference was for
            else:
                # A capture forbids to ask.
                done = step is None and (pending._event is None or pending._event.done)
            if done:
                self._kept.discard(pending)

    def _explained(self, error: Any, what: str) -> DeviceError:
        self._told = True
        invalid = what == _CONNECTING and error.status in _INVALID
        hint = _OWN_GPU if invalid else _HINTS.get(error.status, _SAME_CALLS)
        return DeviceError(
            f"NCCL: {what} failed on rank {self.rank} of {self.size}, device '{self.device}' ({error}). {hint}"
        )


def _module(cupy: Any) -> Any:
    """``cupy.cuda.nccl``, whose import warns where the library is missing; that is told by :func:`available`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("cupy.cuda.nccl")
