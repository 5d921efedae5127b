"""Launches worked out once for each geometry, and repeated on other arrays.

A kernel body decides by shapes: which kernel, which tile, how many blocks, what to allocate. On a GPU that Python takes
longer than the launch. What it decides depends on nothing but the shapes, dtypes and alignment of its arrays, on its
other arguments, and on the precision and the algorithms that are allowed. So the first call with a combination of them
runs the body and notes what it allocates and launches; later ones allocate and launch the same, with the pointers of
their own arrays.

A body of which this is not true gets no plan, and runs each time: if it waits for the device, launches over lists of
arrays, or uses memory that is neither an argument, nor allocated by it, nor one of the device's own arrays. A primitive
whose numbers change from call to call says so (``primitive(plans=False)``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import address_of, is_contiguous
from gpunn._precision import chosen
from gpunn._winograd import is_winograd_enabled
from gpunn.gpu.choices import tuning
from gpunn.gpu.launcher import Launch, tracing
from gpunn.gpu.launches import Later, Pointer

_MOST = 1024  # plans that a primitive keeps; then it starts again: shapes that change all the time are never repeated
_UNKNOWN: Any = object()


class Plans:
    """The plans of one primitive.

    Parameters
    ----------
    body : callable
        ``body(device, *args)``, which launches kernels.
    """

    def __init__(self, body: Callable[..., Any]) -> None:
        self._body = body
        self._plans: dict[Any, _Plan | None] = {}

    def call(self, device: Device, args: tuple[Any, ...]) -> Any:
        """What the body returns."""
        # A body within a body; somebody who wants to see each launch; lists of arrays; what will be chosen anew.
        if device.__class__ is Recorder or tracing.launches is not None or (args and args[0].__class__ is list):
            return self._body(device, *args)
        if tuning.tuner is not None:
            return self._body(device, *args)
        key = (device, chosen.name, chosen.convolutions, is_winograd_enabled(), *device.loader.facts(args))
        try:
            plan = self._plans.get(key, _UNKNOWN)
        except TypeError:
            try:
                key = tuple(map(_hashable, key))
                plan = self._plans.get(key, _UNKNOWN)
            except TypeError:  # a list further on
                return self._body(device, *args)
        if plan is None:
            return self._body(device, *args)
        kind = device.xp.ndarray
        arrays = [arg for arg in args if arg.__class__ is kind]
        if plan is _UNKNOWN:
            return self._record(device, args, arrays, key)
        if plan.apart and _overlap(arrays):
            return self._body(device, *args)
        return plan.run(device, arrays)

    def _record(self, device: Device, args: tuple[Any, ...], arrays: list[Any], key: tuple[Any, ...]) -> Any:
        if _overlap(arrays):  # no telling which of them a pointer belongs to; other arrays may not overlap
            return self._body(device, *args)
        recorder = Recorder(device)
        result = self._body(recorder, *args)
        if len(self._plans) >= _MOST:
            self._plans.clear()
        self._plans[key] = _Plan.of(recorder, arrays, result)
        return result


def _hashable(value: Any) -> Any:
    """The same for equal values: slices have a hash only from Python 3.12 on."""
    if isinstance(value, slice):
        return slice, value.start, value.stop, value.step
    return tuple(map(_hashable, value)) if isinstance(value, tuple) else value


class Recorder(Device):
    """A device that notes what is allocated and launched on it."""

    def __init__(self, origin: Device) -> None:
        super().__init__(origin.name, origin.xp, origin.loader, origin.ordinal)
        self._cache = origin._cache
        self._origin = origin
        self.allocated: list[Any] = []
        self.launches: list[Launch] = []
        self.shared: list[tuple[Any, Callable[[Device], Any]]] = []  # arrays of the device, and how to find each
        self.repeatable = True
        self.apart = False  # whether it matters that arrays do not overlap

    @property
    def origin(self) -> Device:
        """The device whose notes these are."""
        return self._origin

    def computed(self) -> None:
        """A plan has no array-library code."""
        self._refuse()

    def launched(self, launch: Launch) -> None:
        """Note a launch."""
        self.launches.append(launch)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """As of the device."""
        made = self.origin.empty(shape, dtype)
        self.allocated.append(made)
        return made

    def found(self, array: Any, again: Callable[[Device], Any]) -> Any:
        """Note an array of the device, and how to find it."""
        self.shared.append((array, again))
        return array

    def cached(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """As of the device."""
        before = self.repeatable
        made = self.origin.cached(name, make)
        self.repeatable = before  # made once, however: not again by the plan
        return self.found(made, lambda _: made) if isinstance(made, self.xp.ndarray) else made

    def _refuse(self) -> None:
        self.repeatable = False

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """As of the device; a plan has no means to fill memory."""
        self._refuse()
        return self.origin.zeros(shape, dtype)

    def array(self, host: Any, dtype: Any = None) -> Any:
        """As of the device; a plan has no host arrays."""
        self._refuse()
        return self.origin.array(host, dtype)

    def overlap(self, a: Any, b: Any) -> bool:
        """As of the device."""
        self.apart = True
        return self.origin.overlap(a, b)

    def layer_id(self, op: str) -> int:
        """As of the device; the next call may be another layer's."""
        return Later(self.origin.layer_id(op), lambda device: device.layer_id(op))

    def check(self) -> None:
        """As of the device; a plan waits for nothing."""
        self._refuse()
        self.origin.check()


class _Plan:
    """What to allocate, to launch and to return; arrays by their number among inputs, allocations, the device's own."""

    def __init__(
        self,
        allocations: list[tuple[tuple[int, ...], np.dtype]],
        shared: list[Callable[[Device], Any]],
        launches: list[Callable[[Device, list[Any]], None]],
        result: Any,
        apart: bool,
    ) -> None:
        self._allocations, self._shared, self._launches, self._result = allocations, shared, launches, result
        self.apart = apart  # for arrays that do not overlap

    @staticmethod
    def of(recorder: Recorder, inputs: list[Any], result: Any) -> _Plan | None:
        """The plan of what was recorded; None if it cannot be repeated."""
        if not recorder.repeatable:
            return None
        sources = [*inputs, *recorder.allocated, *(array for array, _ in recorder.shared)]
        steps = _steps(recorder, sources)
        several = isinstance(result, tuple)
        returned = [_returned(value, sources) for value in (result if several else (result,))]
        allocations = [(made.shape, made.dtype) for made in recorder.allocated]
        for found in returned:
            if steps is None or found is None:
                return None
            number, shape, dtype = found
            if 0 <= number - len(inputs) < len(allocations):
                # In the shape in which it is returned, which launches do not see.
                allocations[number - len(inputs)] = shape, dtype
            elif number >= 0 and shape != sources[number].shape:
                return None  # a view of an input
        places = [found[0] for found in returned if found is not None]
        if len({place for place in places if place >= 0}) < len([place for place in places if place >= 0]):
            return None  # one array returned twice, perhaps in two shapes
        shared = [again for _, again in recorder.shared]
        return _Plan(allocations, shared, steps or [], places if several else places[0], recorder.apart)

    def run(self, device: Device, inputs: list[Any]) -> Any:
        """Allocate, launch, return."""
        sources = inputs  # a list of the caller's, made for this call
        device.allocate(self._allocations, sources)
        for again in self._shared:
            sources.append(again(device))
        for launch in self._launches:
            launch(device, sources)
        sources.append(None)  # the last, number -1
        places = self._result
        return tuple([sources[place] for place in places]) if places.__class__ is list else sources[places]


def _steps(recorder: Recorder, sources: list[Any]) -> list[Callable[[Device, list[Any]], None]] | None:
    """A function for each launch that makes it again on other sources; None if one cannot be repeated."""
    steps = []
    for launch in recorder.launches:
        if launch.pointees:  # addresses inside a struct
            return None
        pointers, numbers = [], []
        for number, (parameter, arg) in enumerate(zip(launch.parameters, launch.args, strict=True)):
            if isinstance(arg, Later):
                numbers.append((number, arg.again))
            elif parameter.pointer and arg is not None:
                place = _find(arg, sources)
                if place is None:
                    return None
                pointers.append(Pointer(number, *place, arg.shape, arg.dtype))
        steps.append(
            launch.compiled.function.prepare(launch.grid, launch.block, launch.args, launch.shared, pointers, numbers)
        )
    return steps


def _find(array: Any, sources: list[Any]) -> tuple[int, int] | None:
    """Which of the sources an array lies in, and how many bytes behind its start."""
    for number, source in enumerate(sources):
        if array is source:
            return number, 0
    start = address_of(array)
    for number, source in enumerate(sources):
        low, high = _span(source)
        if low < high and low <= start and start + array.nbytes <= high:
            offset = start - address_of(source)
            return (number, offset) if offset >= 0 else None
    return None


def _span(array: Any) -> tuple[int, int]:
    """The addresses between which an array's elements lie; the same twice for an empty one."""
    low = high = address_of(array)
    if array.size:
        for length, stride in zip(array.shape, array.strides, strict=True):
            low += min(0, (length - 1) * stride)
            high += max(0, (length - 1) * stride)
        high += array.itemsize
    return low, high


def _returned(value: Any, sources: list[Any]) -> tuple[int, Any, Any] | None:
    """Where a returned array is, with its shape and dtype; number -1 for None; None if it is something else."""
    if value is None:
        return -1, None, None
    for number, source in enumerate(sources):
        if value is source:
            return number, source.shape, source.dtype
    if not isinstance(value, type(sources[0])) if sources else True:
        return None
    for number, source in enumerate(sources):
        if value.nbytes and address_of(source) == address_of(value) and source.nbytes == value.nbytes:
            whole = is_contiguous(value) and is_contiguous(source)
            return (number, value.shape, value.dtype) if whole else None
    return None


def _overlap(arrays: Sequence[Any]) -> bool:
    """Whether two of them share memory."""
    spans = sorted(_span(array) for array in arrays if array.size)
    return any(end > start for (_, end), (start, _) in itertools.pairwise(spans))
