"""How kernels reach a GPU: compiled by NVRTC, launched on CuPy's current stream.

A loader compiles a source (``load``), and captures a whole step as a graph (``capture``). This is the only module that
knows CuPy's compile, launch and graph calls, and their traps. The emulator's loader is in ``emulated``.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import struct
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunn.errors import CaptureError, KernelError, here
from gpunn.gpu.diagnosis import explain
from gpunn.gpu.graph_memory import GraphMemory
from gpunn.gpu.launcher import NVRTC_OPTIONS
from gpunn.gpu.launches import Again, Index, Numbers, Pointees, Pointer, running_layer, without_arrays
from gpunn.gpu.signatures import Parameter


class NvrtcLoader:
    """Compiles kernels with NVRTC through ``cupy.RawModule`` and launches them on the current stream."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._array_type = cupy.ndarray

    def load(self, source: str, label: str, macros: Mapping[str, str]) -> _NvrtcModule:
        """Compile one specialisation; CuPy keeps the result in its kernel cache, keyed by text and options."""
        options = (*NVRTC_OPTIONS, *(f"-D{name}={value}" for name, value in macros.items()))
        try:
            module = self._cupy.RawModule(code=source, options=options, backend="nvrtc")
            module.compile()
        except self._cupy.cuda.compiler.CompileException as error:
            reason = explain(error)
            said = f":\n{error}" if reason is None else f": {reason}"
            raise KernelError(f"{running_layer(label)}{label} does not compile with {dict(macros)}{said}") from error
        except (RuntimeError, OSError, ImportError) as error:
            place = f"{running_layer(label)}{label}"
            # CuPy reports a library that it cannot load by RuntimeError or ImportError, and files by OSError itself.
            if isinstance(error, OSError) and error.filename is not None:
                cache = os.environ.get("CUPY_CACHE_DIR", "~/.cupy/kernel_cache")
                raise KernelError(
                    f"{place}: cannot write CuPy's kernel cache {cache} ({error}). "
                    "Set CUPY_CACHE_DIR to a folder that can be written."
                ) from error
            reason = explain(error) or f"NVRTC, which compiles the kernels, could not be used ({error})"
            raise KernelError(f"{place}: {reason}") from error
        return _NvrtcModule(self._cupy, module)

    def facts(self, args: Sequence[Any]) -> list[Any]:
        """As :meth:`EmulatorLoader.facts`."""
        kind = self._array_type
        return [
            (arg.shape, arg.dtype, arg.data.ptr & 15, None if arg._c_contiguous else arg.strides)
            if arg.__class__ is kind
            else arg
            for arg in args
        ]

    def capture(self, body: Callable[[], Any]) -> tuple[_CudaGraph, Any]:
        """Capture the launches of ``body`` into a CUDA graph, on a stream and in a memory pool of its own."""
        cupy = self._cupy
        # The default stream cannot be captured; the graph can be launched into any.
        stream = cupy.cuda.Stream(non_blocking=True)
        memory = GraphMemory(cupy)
        # The first, eager step left its peak memory in the default pool, where the private pool cannot use it.
        cupy.get_default_memory_pool().free_all_blocks()
        before = cupy.cuda.get_current_stream().record()
        stream.wait_event(before)
        try:
            with cupy.cuda.using_allocator(memory.allocate), stream:
                stream.begin_capture()
                try:
                    result = body()
                except BaseException:
                    # Leave capture mode. CUDA's complaint that the capture is invalid would only hide the cause.
                    with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
                        stream.end_capture()
                    raise
                try:
                    graph = stream.end_capture()
                except cupy.cuda.runtime.CUDARuntimeError as error:
                    raise CaptureError(f"the step cannot be captured as a CUDA graph: {error}") from error
        except BaseException:
            memory.close()
            raise
        return _CudaGraph(cupy, graph, memory, before), result


class _NvrtcModule:
    def __init__(self, cupy: Any, module: Any) -> None:
        self._cupy, self._module = cupy, module

    def function(self, kernel: str, parameters: tuple[Parameter, ...]) -> _CudaFunction:
        """A kernel of the module, on the GPU that is current now."""
        return _CudaFunction(self._cupy, self._module.get_function(kernel), kernel, parameters)


class _CudaFunction:
    """A kernel on one GPU, launched through the driver's own call.

    CuPy's ``RawKernel`` finds out each argument's type at each launch, which takes as long as all the rest of it (and
    38 us for a structured array). Here the signature has settled the types: one ``pack_into`` writes all arguments to
    a block of memory whose layout was made once.
    """

    _DEFAULT_SHARED = 48 * 1024  # bytes of dynamic shared memory a kernel gets by default

    def __init__(self, cupy: Any, function: Any, kernel: str, parameters: tuple[Parameter, ...]) -> None:
        self._kernel = kernel
        self._parameters = parameters
        self._kinds = tuple(_POINTER if p.pointer else _STRUCT if p.dtype is None else _NUMBER for p in parameters)
        self._function = function
        self._address = function.kernel.ptr
        self._shared = self._DEFAULT_SHARED
        self._get_device = cupy.cuda.runtime.getDevice
        self._ordinal = self._get_device()
        self._at = cupy.cuda.Device(self._ordinal)
        self._get_stream = cupy.cuda.get_current_stream
        self._driver_launch = cupy.cuda.driver.launchKernel
        self._driver_error = cupy.cuda.driver.CUDADriverError
        self._local = threading.local()  # another thread may write its arguments before the driver has read these

    def run(self, grid: Index, block: Index, bound: list[Any], shared: int, pointees: Pointees) -> None:
        """Launch it on the current stream; ``bound`` comes from the launcher, which has checked it."""
        if self._get_device() != self._ordinal:
            with self._at:
                self.run(grid, block, bound, shared, pointees)
            return
        values = []
        for kind, arg in zip(self._kinds, bound, strict=True):
            if kind is _POINTER:
                values.append(0 if arg is None else arg.data.ptr)
            else:
                values.append(arg if kind is _NUMBER else arg.data)
        self._launch(grid, block, shared, values)

    def prepare(
        self, grid: Index, block: Index, bound: list[Any], shared: int, pointers: list[Pointer], numbers: Numbers
    ) -> Again:
        """A function that makes this launch on other arrays of the same GPU, which must be the current one."""
        rest = without_arrays(self._parameters, bound)
        values = [
            0 if kind is _POINTER else arg if kind is _NUMBER else arg.data
            for kind, arg in zip(self._kinds, rest, strict=True)
        ]
        places = [(p.argument, p.source, p.offset) for p in pointers]
        self._allow(shared)
        launch, get_stream, local = self._driver_launch, self._get_stream, self._local
        shape = (*grid, *block, shared)
        address = self._address

        def again(device: Any, sources: list[Any]) -> None:
            now = values.copy()
            for argument, source, offset in places:
                now[argument] = sources[source].data.ptr + offset
            for argument, find in numbers:
                now[argument] = find(device)
            try:
                arguments = local.arguments
                arguments.pack(arguments.memory, 0, *now)
                launch(address, *shape, get_stream().ptr, arguments.table, 0)
            except (AttributeError, OverflowError, self._driver_error):
                self._launch(grid, block, shared, now)  # this thread's first, or one that needs care, or is refused

        return again

    def _allow(self, shared: int) -> None:
        """Ask for as much dynamic shared memory; CUDA wants that where it is more than the default."""
        if shared > self._shared:
            self._function.max_dynamic_shared_size_bytes = self._shared = shared

    def _launch(self, grid: Index, block: Index, shared: int, values: list[Any]) -> None:
        self._allow(shared)
        try:
            arguments = self._local.arguments
        except AttributeError:
            arguments = self._local.arguments = _ArgumentBlock(self._parameters, values)
        try:
            arguments.pack(arguments.memory, 0, *values)
        except OverflowError:  # a number that rounds to infinity in float32
            arguments.pack(arguments.memory, 0, *map(_in_float32, self._parameters, values))
        try:
            self._driver_launch(self._address, *grid, *block, shared, self._get_stream().ptr, arguments.table, 0)
        except self._driver_error as error:
            raise KernelError(
                f"{here(self._kernel)}: {self._kernel} could not be launched with grid {grid}, block {block} and "
                f"{shared} bytes of dynamic shared memory: {error}"
            ) from error


_POINTER, _NUMBER, _STRUCT = "pointer", "number", "struct"
_CODES = {"f4": "f", "f8": "d", "i4": "i", "i8": "q", "u1": "B", "u4": "I", "u8": "Q"}  # of the module struct


class _ArgumentBlock:
    """Memory for the arguments of one kernel, and the table of their addresses that the driver wants.

    Attributes
    ----------
    pack : callable
        ``pack(memory, 0, *values)`` writes all arguments.
    memory : ctypes array
    table : int
        The table's address.
    """

    def __init__(self, parameters: tuple[Parameter, ...], values: list[Any]) -> None:
        layout, offsets, end = "=", [], 0
        for parameter, value in zip(parameters, values, strict=True):
            if parameter.pointer:
                code, size, alignment = "Q", 8, 8
            elif parameter.dtype is None:
                size, alignment = len(value), 16
                code = f"{size}s"
            else:
                code, size = _CODES[parameter.dtype.str[1:]], parameter.dtype.itemsize
                alignment = size
            start = -(-end // alignment) * alignment
            layout += f"{start - end}x{code}"
            offsets.append(start)
            end = start + size
        self.memory = ctypes.create_string_buffer(max(end, 1))
        base = ctypes.addressof(self.memory)
        self._table = (ctypes.c_void_p * max(len(offsets), 1))(*(base + offset for offset in offsets))
        self.table = ctypes.addressof(self._table)
        self.pack = struct.Struct(layout).pack_into


def _in_float32(parameter: Parameter, value: Any) -> Any:
    if not parameter.pointer and parameter.dtype == np.float32 and abs(value) > _LARGEST_FLOAT:
        return math.copysign(math.inf, value)
    return value


_LARGEST_FLOAT = float(np.finfo(np.float32).max)


class _CudaGraph:
    def __init__(self, cupy: Any, graph: Any, memory: GraphMemory, before: Any) -> None:
        self._graph = graph
        self._before = before  # what the graph's buffers were made by; a replay may be on another stream
        self._get_stream = cupy.cuda.get_current_stream
        # Not by __del__: the graph may die in a reference cycle, where CuPy's pool no longer finds its blocks.
        weakref.finalize(self, memory.close).atexit = False

    def replay(self) -> None:
        stream = self._get_stream()
        if self._before is not None:
            stream.wait_event(self._before)
            if self._before.done:
                self._before = None
        self._graph.launch(stream)
