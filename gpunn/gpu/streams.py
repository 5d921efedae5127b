"""The GPU that an argument names, and the streams and events of GPUs: a part of ``gpunn.cuda``."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Any

from gpunn._capture_state import refuse_in_capture
from gpunn._decorated import decorated
from gpunn._device import Device, device
from gpunn.errors import DeviceError, UsageError

AnyDevice = Device | str | int | None


def current_device() -> int:
    """The number of the GPU that CuPy uses now; ``device("cuda")`` is the first one, whichever that is.

    Raises
    ------
    DeviceError
        If there is no GPU that works.
    """
    return int(device("cuda").xp.cuda.runtime.getDevice())


def which_gpu(which: AnyDevice, where: str) -> Device:
    """The GPU that an argument of the function ``where`` names."""
    if which is None:
        which = current_device()
    if isinstance(which, int) and not isinstance(which, bool):
        which = f"cuda:{which}"
    if not isinstance(which, str | Device):
        raise DeviceError(f"{where}: device: expected a GPU's number, 'cuda:1' or a Device; got {which!r}.")
    found = device(which)
    if found.ordinal is None:
        raise DeviceError(f"{where}: device: expected a GPU, such as 0 or 'cuda:1'; got '{found}'.")
    return found


class Stream:
    """A queue of work on a GPU, beside the default one; make it the current one by :func:`stream`.

    What was made on one stream and is used on another needs an order between the two, by :meth:`wait_stream` or an
    event, as in PyTorch.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.
    priority : int
        Negative for a stream whose work goes first.

    Attributes
    ----------
    device : Device

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """

    def __init__(self, device: AnyDevice = None, priority: int = 0) -> None:
        self.device = which_gpu(device, "Stream")
        more = {"priority": priority} if priority else {}
        with self.device.active():
            self._stream = self.device.xp.cuda.Stream(non_blocking=True, **more)

    @classmethod
    def _of(cls, gpu: Device, stream: Any) -> Stream:
        """Around a stream of CuPy's."""
        made = cls.__new__(cls)
        made.device, made._stream = gpu, stream
        return made

    @property
    def cuda_stream(self) -> int:
        """CUDA's handle, for other libraries."""
        return int(self._stream.ptr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Stream(device='{self.device}', cuda_stream={self.cuda_stream:#x})"

    def synchronize(self) -> None:
        """Wait for everything on this stream."""
        refuse_in_capture("waiting for a stream")
        with self.device.active():
            self._stream.synchronize()

    def query(self) -> bool:
        """Whether everything on this stream is done."""
        with self.device.active():
            return bool(self._stream.done)

    def record_event(self, event: Event | None = None) -> Event:
        """Record ``event``, or a new one, behind what is on this stream now."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work on this stream wait for ``event``."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Let later work on this stream wait for what is on ``stream`` now."""
        self.wait_event(stream.record_event())

    def _key(self) -> tuple[int | None, int]:
        return self.device.ordinal, self.cuda_stream


def current_stream(device: AnyDevice = None) -> Stream:
    """The stream that launches of this thread go to.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    gpu = which_gpu(device, "current_stream")
    with gpu.active():
        return Stream._of(gpu, gpu.xp.cuda.get_current_stream())


def default_stream(device: AnyDevice = None) -> Stream:
    """The stream that launches go to unless another was made current.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    gpu = which_gpu(device, "default_stream")
    return Stream._of(gpu, gpu.xp.cuda.Stream.null)


class OnStream:
    """What :func:`stream` returns: a block, or a decorator, to be used as often as needed and by several threads."""

    __slots__ = ("_entered", "_stream")

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream
        self._entered: dict[int, list[contextlib.ExitStack]] = {}  # by thread, innermost last

    def __enter__(self) -> None:
        with contextlib.ExitStack() as stack:
            if self._stream is not None:
                stack.enter_context(self._stream.device.active())
                stack.enter_context(self._stream._stream)
            self._entered.setdefault(threading.get_ident(), []).append(stack.pop_all())

    def __exit__(self, *error: Any) -> None:
        thread = threading.get_ident()
        entered = self._entered[thread]
        stack = entered.pop()
        if not entered:
            del self._entered[thread]
        stack.__exit__(*error)

    def __call__(self, function: Any) -> Any:
        """Decorate ``function``, also a generator or a coroutine: what it does while it runs is in the block."""
        return decorated(function, functools.partial(OnStream, self._stream), "stream")


def stream(stream: Stream | None) -> OnStream:
    """Let this thread launch on ``stream``, and on its GPU, for the block; None changes nothing.

    Parameters
    ----------
    stream : Stream or None

    Raises
    ------
    UsageError
        If it is neither.
    """
    if stream is not None and not isinstance(stream, Stream):
        raise UsageError(f"stream: expected a gpunn.cuda.Stream or None; got {type(stream).__name__}.")
    return OnStream(stream)


class Event:
    """A mark in a stream: to wait for, or to take the time between two of them.

    Parameters
    ----------
    enable_timing : bool
        Whether :meth:`elapsed_time` will be asked.
    blocking : bool
        Whether :meth:`synchronize` lets the thread sleep.

    Raises
    ------
    DeviceError
        If there is no GPU that works.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        device("cuda")  # the reason, where there is none
        self._timing, self._blocking = bool(enable_timing), bool(blocking)
        self._event: Any = None  # made by the first record, on the GPU of its stream
        self._device: Device | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark behind what is on ``stream`` now, by default on the current one."""
        stream = current_stream() if stream is None else stream
        if self._device is not None and self._device.ordinal != stream.device.ordinal:
            raise UsageError(f"Event: it was recorded on {self._device}, so it cannot be on {stream.device}.")
        with stream.device.active():
            if self._event is None:
                make = stream.device.xp.cuda.Event
                self._event = make(block=self._blocking, disable_timing=not self._timing)
                self._device = stream.device
            self._event.record(stream._stream)

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work on ``stream``, by default the current one, wait for the mark."""
        stream = current_stream() if stream is None else stream
        if self._event is not None:
            with stream.device.active():
                stream._stream.wait_event(self._event)

    def query(self) -> bool:
        """Whether everything before the mark is done; true of an event that was never recorded."""
        return self._event is None or bool(self._event.done)

    def synchronize(self) -> None:
        """Let this thread wait for the mark."""
        refuse_in_capture("waiting for an event")
        if self._event is not None:
            self._event.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds between this mark and ``end_event``.

        Raises
        ------
        UsageError
            If either was made without timing, was not recorded, or has not been reached yet.
        """
        for event, which in ((self, "the first event"), (end_event, "the second event")):
            if not event._timing:
                raise UsageError(f"elapsed_time: {which} takes no time: make it by Event(enable_timing=True).")
            if event._device is None:
                raise UsageError(f"elapsed_time: {which} has not been recorded.")
            if not event.query():
                raise UsageError(f"elapsed_time: {which} has not been reached: call its synchronize() first.")
        assert self._device is not None
        return float(self._device.xp.cuda.get_elapsed_time(self._event, end_event._event))
