"""Where arrays live and which code runs on them: the device registry.

A Device is data. It names an array library (``xp``) and, where kernels are run, a loader:

=============  ======  =========  ==========================================================
name           xp      loader     what it is
=============  ======  =========  ==========================================================
``cpu``        numpy   none       NumPy, with the fast NumPy path where an op has one
``cuda``       cupy    NVRTC      CuPy memory and the kernels in ``kernels/``
``cuda-plain`` cupy    none       the plain bodies on CuPy: the baseline for every kernel
``emulator``   numpy   g++        the kernels of ``kernels/``, run on the CPU and checked
``auto``                          ``cuda`` if it works on this machine, else ``cpu``
=============  ======  =========  ==========================================================

``cuda:1`` is the second GPU. Nothing here imports CuPy until a cuda device is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from gpunn._capture_state import refuse_in_capture
from gpunn._chosen_device import ForBlocks
from gpunn._layout import address_of
from gpunn.cpu import memory
from gpunn.errors import (
    ArgumentError,
    BadData,
    DeviceError,
    GpunnError,
    KernelError,
    OutOfMemoryError,
    here,
    module_stack,
    reported,
)

_ERROR_WORDS = 4  # of the error buffer (report_bad_data in common.cuh): kind, layer id, element index, value


class Device(ForBlocks):
    """One place where arrays live. Get it from :func:`device`; equal names are one object.

    Attributes
    ----------
    name : str
        As in the registry, with the GPU's number where there is one: ``cuda:0``.
    xp : module
        ``numpy`` or ``cupy``.
    loader : object or None
        What compiles and launches kernels here (``gpunn.gpu.loaders``); None: no kernels.
    ordinal : int or None
        The GPU's number, None on the CPU.
    """

    def __init__(self, name: str, xp: Any, loader: Any = None, ordinal: int | None = None) -> None:
        self.name, self.xp, self.loader, self.ordinal = name, xp, loader, ordinal
        self._cache: dict[Hashable, Any] = {}
        # Asked before each launch.
        self._get_current: Any = None if ordinal is None else xp.cuda.runtime.getDevice

    @property
    def origin(self) -> Device:
        """The registered device: this one, unless this notes what happens on another (``gpu/plans.py``)."""
        return self

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        number = "" if self.ordinal is None else f", index={self.ordinal}"
        return f"device(type={self.type!r}{number})"

    @property
    def index(self) -> int | None:
        """PyTorch's name of ``ordinal``."""
        return self.ordinal

    def __reduce__(self) -> tuple[Callable[..., Device], tuple[str]]:
        return device, (self.name,)  # pickle and deepcopy return the one registered object

    def __deepcopy__(self, memo: dict[int, Any]) -> Device:
        return self

    @property
    def type(self) -> str:
        """The registry name without a number: ``"cuda"`` for ``cuda:1``."""
        return self.name.split(":")[0]

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Make this GPU CuPy's current one for the block; does nothing on the CPU.

        Raises
        ------
        DeviceError
            If a library that CuPy loads when it is first needed, such as cuBLAS, is missing.
        OutOfMemoryError
            If the GPU's memory does not suffice.
        """
        return _NOTHING if self.ordinal is None else _Active(self)

    @property
    def is_current(self) -> bool:
        """Whether what CuPy does now happens on this GPU; always true on the CPU."""
        return self.ordinal is None or self._get_current() == self.ordinal

    @property
    def stream(self) -> int:
        """The address of the current stream of this thread on this GPU; 0 on the CPU."""
        if self.ordinal is None:
            return 0
        if self.is_current:
            return self.xp.cuda.get_current_stream().ptr
        with self.active():
            return self.stream

    def array(self, host: Any, dtype: Any = None) -> Any:
        """Put a host array on this device; a NumPy array on a CPU device is not copied."""
        with self.active():
            return self.xp.asarray(host, dtype=dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Allocate a C-contiguous array with undefined contents, aligned for 16-byte accesses where kernels run.

        On the emulator it is filled with NaN (all bits set), so that an element which no
        kernel writes cannot pass for a number.
        """
        if self.ordinal is None:
            empty = memory.empty if self.name == "cpu" else _aligned_nan
            return empty(tuple(shape), np.dtype(dtype))
        if self.is_current:
            try:
                return self.xp.ndarray(shape, dtype)  # as cupy.empty, which takes longer
            except Exception as error:
                _explain(self, error, _size(shape, dtype))
                raise
        with self.active():
            return self.empty(shape, dtype)

    def allocate(self, wanted: Sequence[tuple[tuple[int, ...], Any]], to: list[Any]) -> None:
        """Append an array as of :meth:`empty` to ``to`` for each shape and dtype; this GPU must be the current one."""
        if self.ordinal is None:
            to.extend([self.empty(shape, dtype) for shape, dtype in wanted])
            return
        try:
            make = self.xp.ndarray
            for shape, dtype in wanted:
                to.append(make(shape, dtype))
        except Exception as error:
            _explain(self, error, _size(shape, dtype))
            raise

    def fill(self, array: Any, value: Any) -> None:
        """Set every element of an array of this device."""
        with self.active():
            array[...] = value

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Allocate a C-contiguous array of zeros."""
        with self.active():
            return self.xp.zeros(shape, dtype)

    def to_host(self, array: Any) -> np.ndarray:
        """Copy to a NumPy array (no copy on a CPU device), waiting for the device.

        Raises
        ------
        LabelError
            If a kernel reported bad data since the last check; see :meth:`check`.
        """
        host = array if isinstance(array, np.ndarray) else self.xp.asnumpy(array)
        self.check()
        return host

    def synchronize(self) -> None:
        """Wait for everything launched on this device, and raise what it reported."""
        if self.ordinal is not None:
            with self.active():
                self.xp.cuda.get_current_stream().synchronize()
        self.check()

    def cached(self, name: Hashable, make: Callable[[], Any]) -> Any:
        """The object cached under this name for the device's lifetime, made on first use."""
        if name not in self._cache:
            refuse_in_capture(f"making this device's {name!r} for the first time")
            made = make()
            if self.ordinal is not None:
                # The next to use it may be on another stream.
                with self.active():
                    self.xp.cuda.get_current_stream().synchronize()
            self._cache[name] = made
        return self._cache[name]

    def found(self, array: Any, again: Callable[[Device], Any]) -> Any:
        """An array of the device's own, which ``again(device)`` finds anew; returns it."""
        return array

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether two C-contiguous arrays share memory. For launches, which ask here so that it is noted."""
        first, second = address_of(a), address_of(b)
        return first < second + b.nbytes and second < first + a.nbytes

    def launched(self, launch: Any) -> None:
        """Told of every launch; for those who note them."""

    def computed(self) -> None:
        """Told of every body of array-library code, which is no launch."""

    @property
    def error_buffer(self) -> Any:
        """The int32 array (kind, layer id, index, value) that kernels report bad data to."""
        return self.cached("errors", lambda: self.zeros((_ERROR_WORDS,), np.int32))

    def layer_id(self, op: str) -> int:
        """A number by which a kernel can name ``op``, or the layer that is running, in the error buffer."""
        numbers: dict[Hashable, tuple[int, Any]] = self.cached("layers", dict)
        modules = module_stack.modules
        innermost = modules[-1] if modules else None
        key = (op, *map(id, modules))
        # A name is put together once: that walks through the model.
        number, known = numbers.get(key, (-1, None))
        if number < 0 or (known is not None and known() is not innermost):  # another module at an old one's address
            number = self.place_id(here(op))
            numbers[key] = number, None if innermost is None else weakref.ref(innermost)
        return number

    def place_id(self, place: str | BadData) -> int:
        """A number by which a kernel can name a place in the error buffer."""
        places: list[str | BadData] = self.cached("places", list)
        if place not in places:
            places.append(place)
        return places.index(place)

    def check(self) -> None:
        """Raise what a kernel wrote to the error buffer, and clear it: the device stays usable."""
        if "errors" not in self._cache:
            return
        buffer = self._cache["errors"]
        kind, layer, index, value = (buffer if isinstance(buffer, np.ndarray) else buffer.get()).tolist()
        if kind == 0:
            return
        self.fill(buffer, 0)
        raise reported(self._cache["places"][layer], kind, index, value)


_NOTHING = contextlib.nullcontext()


class _Active:
    """Makes a GPU current for a block, if it is not, and explains CuPy's errors. Made by :meth:`Device.active`."""

    __slots__ = ("_device", "_outer")

    def __init__(self, device: Device) -> None:
        self._device = device
        self._outer: Any = None

    def __enter__(self) -> None:
        cuda = self._device.xp.cuda
        if cuda.runtime.getDevice() != self._device.ordinal:
            self._outer = cuda.Device(self._device.ordinal)
            self._outer.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            if isinstance(error, Exception):
                _explain(self._device, error)
        finally:
            if self._outer is not None:
                self._outer.__exit__(kind, error, traceback)


def _size(shape: tuple[int, ...], dtype: Any) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _explain(device: Device, error: Exception, asked: int | None = None) -> None:
    """Raise in gpunn's words what CuPy says of libraries and memory (of which ``asked`` bytes), or return."""
    if isinstance(error, GpunnError):
        return
    if type(error).__name__ == "OutOfMemoryError" or "cudaErrorMemoryAllocation" in str(error):
        cuda = device.xp.cuda
        free, total = cuda.runtime.memGetInfo()
        kept = device.xp.get_default_memory_pool().free_bytes()
        told = re.search(r"allocating ([\d,]+) bytes", str(error))
        if asked is None and told is not None:
            asked = int(told[1].replace(",", ""))
        raise OutOfMemoryError(
            f"{here('gpunn')}: device '{device.name}' is out of memory: asked for "
            f"{'more' if asked is None else _bytes(asked)}; {_bytes(free + kept)} of {_bytes(total)} "
            "are free. Reduce the batch size, drop tensors and captured steps that are not needed any more, compute "
            "under no_grad() where no gradient is wanted, or see who else uses this GPU (nvidia-smi)."
        ) from error
    from gpunn.gpu.diagnosis import explain

    reason = explain(error)
    if reason is not None:
        raise DeviceError(f"{here('CuPy')}: device '{device.name}': {reason}") from error


def _bytes(number: int) -> str:
    return f"{number:,} bytes ({number / 2**20:,.1f} MiB)"


def _aligned_nan(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array with all bits set, aligned to 64 bytes; CuPy aligns to 512, NumPy guarantees nothing."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.full(size + 64, 0xFF, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def _cpu(ordinal: int | None) -> Device:
    return Device("cpu", np)


def _emulator(ordinal: int | None) -> Device:
    from gpunn.gpu.emulated import EmulatorLoader

    return Device("emulator", np, EmulatorLoader())


def _cupy(name: str, ordinal: int | None) -> tuple[Any, int]:
    """Import CuPy and prove that the requested GPU works, or say what is missing."""
    from gpunn.gpu import diagnosis

    try:
        import cupy
    except (ImportError, OSError, RuntimeError) as error:
        raise DeviceError(diagnosis.no_import(name, error)) from error
    # CuPy imports without a driver and would fail at the first allocation. Some versions already raise here.
    try:
        usable = cupy.cuda.is_available()
    except RuntimeError:
        usable = False
    if not usable:
        raise DeviceError(diagnosis.no_gpu(name, cupy))
    count = cupy.cuda.runtime.getDeviceCount()
    ordinal = ordinal or 0
    if ordinal >= count:
        raise DeviceError(f"device '{name}:{ordinal}': this machine has {count} GPU(s), numbered from 0.")
    return cupy, ordinal


def _cuda(ordinal: int | None) -> Device:
    from gpunn.gpu.loaders import NvrtcLoader

    cupy, ordinal = _cupy("cuda", ordinal)
    return Device(f"cuda:{ordinal}", cupy, NvrtcLoader(cupy), ordinal)


def _cuda_plain(ordinal: int | None) -> Device:
    cupy, ordinal = _cupy("cuda-plain", ordinal)
    return Device(f"cuda-plain:{ordinal}", cupy, None, ordinal)


REGISTRY: dict[str, Callable[[int | None], Device]] = {
    "cpu": _cpu,
    "cuda": _cuda,
    "cuda-plain": _cuda_plain,
    "emulator": _emulator,
}


@functools.cache
def _build(kind: str, ordinal: int | None) -> Device:
    return REGISTRY[kind](ordinal)


def device(name: str | Device = "auto") -> Device:
    """The device of this name; the same object for the same name.

    Parameters
    ----------
    name : str or Device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"cuda-plain"``, ``"emulator"`` or ``"auto"``.

    Raises
    ------
    DeviceError
        If the name is unknown, or this machine does not have the device: the message says why
        and what to do.
    """
    if isinstance(name, Device):
        return name
    if name == "auto":
        return device("cuda" if cuda_is_available() else "cpu")
    if not isinstance(name, str):
        raise ArgumentError(
            f"device: expected the name of a device, such as 'cpu' or 'cuda:1'; got {type(name).__name__}."
        )
    kind, _, number = name.partition(":")
    if kind not in REGISTRY or (number and not (number.isdigit() and kind.startswith("cuda"))):
        known = ", ".join([*REGISTRY, "auto"])
        raise DeviceError(f"unknown device {name!r}; expected one of {known}, or a numbered GPU such as 'cuda:1'.")
    # "cuda" and "cuda:0" are one device, and must be one object: devices compare by identity.
    ordinal = (int(number) if number else 0) if kind.startswith("cuda") else None
    return _build(kind, ordinal)


def cuda_is_available() -> bool:
    """Whether ``device("cuda")`` works here: CuPy is installed and finds a GPU and its driver."""
    try:
        device("cuda")
    except DeviceError:
        return False
    return True


def device_of(op: str, tensors: Iterable[Any]) -> Device:
    """The one device of tensors; a DeviceError naming the op and both devices if they differ."""
    first: Device | None = None
    for tensor in tensors:
        if tensor.device is not first:
            first = tensor.device if first is None else same_device(op, first, tensor.device)
    assert first is not None, "an op has at least one tensor"
    return first


def same_device(op: str, *devices: Device) -> Device:
    """The one device of an op's inputs; a DeviceError naming the op and both devices if they differ."""
    first = devices[0]
    for other in devices[1:]:
        if other is not first:
            raise DeviceError(
                f"{here(op)}: inputs are on different devices, {first} and {other}; move one with .to('{first}')."
            )
    return first


def require_loader(dev: Device) -> Any:
    """The device's kernel loader; a KernelError if it has none (a primitive asked for a kernel there)."""
    if dev.loader is None:
        raise KernelError(f"device '{dev}' runs no kernels; use 'cuda' or 'emulator'.")
    return dev.loader
