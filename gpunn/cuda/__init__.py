"""The GPUs of this machine, as in ``torch.cuda``: which there are, their memory, streams and events.

Wherever a device can be given it is None for CuPy's current GPU, a number, a name such as ``"cuda:1"`` or a Device.
Where PyTorch answers without a GPU, so does this module: memory counts are 0, and there is nothing to empty.
Everything else raises :class:`~gpunn.errors.DeviceError` there, with the reason.

Launches go to CuPy's current stream, and arrays come from CuPy's memory pool. So what CuPy does in the same process
counts here too, and ``with cupy.cuda.Stream():`` is as good as ``with gpunn.cuda.stream(...):``.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from gpunn._capture_state import refuse_in_capture
from gpunn._device import Device
from gpunn._device import cuda_is_available as is_available
from gpunn._device import device as find
from gpunn.cuda._current import device, device_of
from gpunn.cuda._seeding import (
    get_rng_state,
    get_rng_state_all,
    manual_seed,
    manual_seed_all,
    set_rng_state,
    set_rng_state_all,
)
from gpunn.gpu.graph_memory import GraphMemory
from gpunn.gpu.streams import (
    AnyDevice,
    Event,
    Stream,
    current_device,
    current_stream,
    default_stream,
    stream,
    which_gpu,
)

__all__ = [
    "DeviceProperties",
    "Event",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "set_rng_state",
    "set_rng_state_all",
    "stream",
    "synchronize",
]

# -- devices --------------------------------------------------------------------------------------


def device_count() -> int:
    """How many GPUs ``device("cuda:0")``, ``device("cuda:1")``, ... can be used."""
    return int(find("cuda").xp.cuda.runtime.getDeviceCount()) if is_available() else 0


def get_device_name(device: AnyDevice = None) -> str:
    """The name of a GPU, such as ``"NVIDIA H200"``.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    name = _properties(device, "get_device_name")["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def get_device_capability(device: AnyDevice = None) -> tuple[int, int]:
    """The compute capability of a GPU, (major, minor): (9, 0) of an H200.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    properties = _properties(device, "get_device_capability")
    return int(properties["major"]), int(properties["minor"])


def synchronize(device: AnyDevice = None) -> None:
    """Wait for everything on all streams of a GPU, and raise what its kernels reported.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    LabelError, RangeError, UsageError
        If a kernel met bad data since the last check.
    CaptureError
        If a step is being captured.
    """
    refuse_in_capture("waiting for the device")
    gpu = which_gpu(device, "synchronize")
    with gpu.active():
        gpu.xp.cuda.runtime.deviceSynchronize()
    gpu.check()


def set_device(device: AnyDevice) -> None:
    """Make a GPU CuPy's current one in this thread, which ``None`` and :func:`current_device` mean from now on.

    Parameters
    ----------
    device : Device, str or int

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    gpu = which_gpu(device, "set_device")
    gpu.xp.cuda.Device(gpu.ordinal).use()


class DeviceProperties(NamedTuple):
    """What a GPU is.

    Parameters
    ----------
    name : str
    total_memory : int
        Bytes.
    multi_processor_count : int
    major, minor : int
        The compute capability.
    """

    name: str
    total_memory: int
    multi_processor_count: int
    major: int
    minor: int


def get_device_properties(device: AnyDevice = None) -> DeviceProperties:
    """The main properties of a GPU.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    found = _properties(device, "get_device_properties")
    numbers = (int(found[name]) for name in ("totalGlobalMem", "multiProcessorCount", "major", "minor"))
    return DeviceProperties(get_device_name(device), *numbers)


def is_bf16_supported() -> bool:
    """Whether tensors may be bfloat16: where ml_dtypes is installed, on every GPU."""
    return importlib.util.find_spec("ml_dtypes") is not None


def is_initialized() -> bool:
    """Whether anything may lie on a GPU by now."""
    return _started()


def init() -> None:
    """Nothing: a GPU is set up when it is first used."""


def ipc_collect() -> None:
    """Nothing: no memory is shared with other processes."""


def _properties(which: AnyDevice, where: str) -> Any:
    gpu = which_gpu(which, where)
    return gpu.xp.cuda.runtime.getDeviceProperties(gpu.ordinal)


# -- memory ---------------------------------------------------------------------------------------


def memory_allocated(device: AnyDevice = None) -> int:
    """The bytes that arrays occupy on a GPU; 0 on a machine without one.

    Counted are the blocks that CuPy's pool has given out, in steps of 512 bytes, and all that captured graphs hold,
    for as long as they live. Not counted are the context and the kernels, which ``nvidia-smi`` shows as well, and
    arrays that a foreign allocator made (``cupy.cuda.set_allocator``).

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there are GPUs, but not this one.
    """
    return _used(which_gpu(device, "memory_allocated")) if _started() else 0


def memory_reserved(device: AnyDevice = None) -> int:
    """The bytes that CuPy's pools hold on a GPU, in use or kept for the next array; 0 without a GPU.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there are GPUs, but not this one.
    """
    if not _started():
        return 0
    gpu = which_gpu(device, "memory_reserved")
    with gpu.active():
        return int(gpu.xp.get_default_memory_pool().total_bytes()) + _held_by_graphs()


def mem_get_info(device: AnyDevice = None) -> tuple[int, int]:
    """The bytes of a GPU's memory that are free for all programs, and all bytes.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    gpu = which_gpu(device, "mem_get_info")
    with gpu.active():
        free, total = gpu.xp.cuda.runtime.memGetInfo()
    return int(free), int(total)


def max_memory_allocated(device: AnyDevice = None) -> int:
    """The largest :func:`memory_allocated` since the peak has been watched; 0 on a machine without a GPU.

    PyTorch watches from the beginning. CuPy's pool keeps no peak, so watching starts with the first call of this
    function or of :func:`reset_peak_memory_stats`. From then on each allocation in the calling thread takes some
    microseconds longer. An allocation in a thread that has called neither is not looked at by itself; what it
    occupies counts at the next one that is.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there are GPUs, but not this one.
    """
    if not _started():
        return 0
    gpu = which_gpu(device, "max_memory_allocated")
    _peaks.watch(gpu)
    return _peaks.note(gpu)


def reset_peak_memory_stats(device: AnyDevice = None) -> None:
    """Let :func:`max_memory_allocated` start again from what is allocated now, and watch from here on.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there is no such GPU.
    """
    gpu = which_gpu(device, "reset_peak_memory_stats")
    _peaks.watch(gpu)
    _peaks.forget(gpu)


def empty_cache(device: AnyDevice = None) -> None:
    """Give memory that no array occupies back to the driver, for other programs; nothing to do without a GPU.

    PyTorch empties the caches of all GPUs. Here it is one, because CUDA would make a context on each of the others.

    Parameters
    ----------
    device : Device, str or int, optional
        The current GPU if not given.

    Raises
    ------
    DeviceError
        If there are GPUs, but not this one.
    CaptureError
        If a step is being captured.
    """
    if not _started():
        return
    refuse_in_capture("giving memory back")
    gpu = which_gpu(device, "empty_cache")
    with gpu.active():
        # Not of graphs: what looks free in their pools is where their kernels write.
        gpu.xp.get_default_memory_pool().free_all_blocks()


def _started() -> bool:
    """Whether anything may lie on a GPU; asked without importing CuPy."""
    return "cupy" in sys.modules and is_available()


def _held_by_graphs() -> int:
    """The bytes of captured graphs on the current GPU."""
    # A copy: a graph that dies in the garbage collector, which may run at any allocation here, takes its pool out.
    return sum(int(pool.total_bytes()) for pool in GraphMemory.pools.copy())


def _used(gpu: Device) -> int:
    with gpu.active():
        return int(gpu.xp.get_default_memory_pool().used_bytes()) + _held_by_graphs()


class _Peaks:
    """The most that was used on each GPU, looked at behind every allocation of the threads that asked for it.

    Memory in use only grows by an allocation, so to look then is to see every peak.
    """

    def __init__(self) -> None:
        self._most: dict[int | None, int] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()  # CuPy's hooks belong to threads

    def watch(self, gpu: Device) -> None:
        """Watch this thread's allocations, if they are not watched yet."""
        if getattr(self._thread, "hook", None) is None:
            self._thread.hook = self._make_hook(gpu)
            self._thread.hook.__enter__()

    def note(self, gpu: Device) -> int:
        """Look at what is used now; the most so far."""
        used = _used(gpu)
        with self._lock:
            self._most[gpu.ordinal] = max(used, self._most.get(gpu.ordinal, 0))
            return self._most[gpu.ordinal]

    def forget(self, gpu: Device) -> None:
        """Start again from what is used now."""
        with self._lock:
            self._most[gpu.ordinal] = 0
        self.note(gpu)

    def _make_hook(self, gpu: Device) -> Any:
        note = self.note

        class PeakHook(gpu.xp.cuda.MemoryHook):  # type: ignore[misc, name-defined]
            name = "gpunn peak memory"

            def malloc_postprocess(self, **block: Any) -> None:
                # Not block["device_id"]: where GPU 1 is used first, CuPy calls GPU 0's pool by that number too.
                note(find(f"cuda:{gpu.xp.cuda.runtime.getDevice()}"))

        return PeakHook()


_peaks = _Peaks()


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name == "amp":
            return importlib.import_module("gpunn.cuda.amp")
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
