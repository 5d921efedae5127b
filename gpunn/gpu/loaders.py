"""The two ways a kernel reaches hardware: NVRTC and a GPU, or g++ and the emulator.

A loader compiles a source (``load``), and captures a whole step as a graph (``capture``). This is
the only module that knows CuPy's compile, launch and graph calls, and their traps.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunn._capture_state import capturing
from gpunn.errors import CaptureError, DeviceError, KernelError, here
from gpunn.gpu.diagnosis import explain
from gpunn.gpu.launcher import NVRTC_OPTIONS, Launch


class EmulatorLoader:
    """Compiles kernels with g++ and runs them on NumPy arrays (``gpunn.emulator``)."""

    def __init__(self) -> None:
        from gpunn import emulator

        reason = emulator.available()
        if reason is not None:
            raise DeviceError(f"device 'emulator': {reason}")
        self._emulator = emulator

    def load(self, source: str, label: str, macros: Mapping[str, str]) -> _EmulatorModule:
        """Compile one specialisation, or load it from the cache."""
        try:
            module = self._emulator.compile_module(source, label, macros)
        except (DeviceError, KernelError) as error:
            raise type(error)(f"{_layer(label)}{error}") from error
        return _EmulatorModule(self._emulator, module)

    def capture(self, body: Callable[[], Any]) -> tuple[_EmulatorGraph, Any]:
        """Run ``body`` with every launch kept and none executed, as CUDA's stream capture does."""
        step = capturing()
        assert step is not None, "captured by gpunn._capture.capture_graph"
        result = body()
        return _EmulatorGraph(step.postponed), result


class _EmulatorModule:
    def __init__(self, emulator: Any, module: Any) -> None:
        self._argument = emulator.Argument
        self._module = module

    def launch(self, launch: Launch) -> None:
        """Run a launch, or keep it for the replay of the step that is being captured."""
        step = capturing()
        if step is None:
            self.run(launch)
        else:
            step.postponed.append(launch)

    def run(self, launch: Launch) -> None:
        arguments = [
            # A struct arrives as an array of size one; by value it is that array's element.
            self._argument(arg if parameter.pointer or parameter.dtype else arg[0], parameter.access, parameter.name)
            for parameter, arg in zip(launch.parameters, launch.args, strict=True)
        ]
        pointees = [self._argument(array, access, name) for array, access, name in launch.pointees]
        self._module.launch(launch.kernel, launch.grid, launch.block, arguments, launch.shared, pointees)


class _EmulatorGraph:
    """The stand-in for a CUDA graph: as on a GPU, a replay repeats launches and nothing else.

    The launches hold their arrays, so no address is handed out twice while the graph lives.
    """

    def __init__(self, launches: list[Launch]) -> None:
        self.launches = launches

    def replay(self) -> None:
        for launch in self.launches:
            launch.module.run(launch)


class NvrtcLoader:
    """Compiles kernels with NVRTC through ``cupy.RawModule`` and launches them on the current stream."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def load(self, source: str, label: str, macros: Mapping[str, str]) -> _NvrtcModule:
        """Compile one specialisation; CuPy keeps the result in its kernel cache, keyed by text and options."""
        options = (*NVRTC_OPTIONS, *(f"-D{name}={value}" for name, value in macros.items()))
        try:
            module = self._cupy.RawModule(code=source, options=options, backend="nvrtc")
            module.compile()
        except self._cupy.cuda.compiler.CompileException as error:
            reason = explain(error)
            said = f":\n{error}" if reason is None else f": {reason}"
            raise KernelError(f"{_layer(label)}{label} does not compile with {dict(macros)}{said}") from error
        except (RuntimeError, OSError, ImportError) as error:
            place = f"{_layer(label)}{label}"
            # CuPy reports a library that it cannot load by RuntimeError or ImportError, and files by OSError itself.
            if isinstance(error, OSError) and error.filename is not None:
                cache = os.environ.get("CUPY_CACHE_DIR", "~/.cupy/kernel_cache")
                raise KernelError(
                    f"{place}: cannot write CuPy's kernel cache {cache} ({error}). "
                    "Set CUPY_CACHE_DIR to a folder that can be written."
                ) from error
            reason = explain(error) or f"NVRTC, which compiles the kernels, could not be used ({error})"
            raise KernelError(f"{place}: {reason}") from error
        return _NvrtcModule(module)

    def capture(self, body: Callable[[], Any]) -> tuple[_CudaGraph, Any]:
        """Capture the launches of ``body`` into a CUDA graph, on a stream and in a memory pool of its own."""
        cupy = self._cupy
        # The default stream cannot be captured.
        stream = cupy.cuda.Stream(non_blocking=True)
        # Memory that the graph's kernels use must not be handed out between replays.
        pool = cupy.cuda.MemoryPool()
        ordinal = cupy.cuda.runtime.getDevice()

        def allocate(size: int) -> Any:
            # CuPy's memory refers to its pool weakly. The loss and the gradients may outlive the graph, so
            # each array holds the pool itself; when dropped, it still returns its block.
            pointer = pool.malloc(size)
            owned = cupy.cuda.UnownedMemory(pointer.ptr, size, (pointer, pool), ordinal)
            return cupy.cuda.MemoryPointer(owned, 0)

        # The first, eager step left its peak memory in the default pool, where the private pool cannot use it.
        cupy.get_default_memory_pool().free_all_blocks()
        _order(after=cupy.cuda.get_current_stream(), stream=stream)
        with cupy.cuda.using_allocator(allocate), stream:
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
        return _CudaGraph(cupy, graph, stream, pool), result


class _NvrtcModule:
    _DEFAULT_SHARED = 48 * 1024  # bytes of dynamic shared memory a kernel gets by default

    def __init__(self, module: Any) -> None:
        self._module = module
        self._functions: dict[str, Any] = {}

    def launch(self, launch: Launch) -> None:
        function = self._functions.get(launch.kernel)
        if function is None:
            function = self._functions[launch.kernel] = self._module.get_function(launch.kernel)
        if launch.shared > self._DEFAULT_SHARED:
            function.max_dynamic_shared_size_bytes = launch.shared
        # Some CuPy versions take None for "no argument address"; eight zero bytes are a null pointer in all versions.
        args = tuple(np.uint64(0) if arg is None else arg for arg in launch.args)
        function(launch.grid, launch.block, args, shared_mem=launch.shared)


class _CudaGraph:
    def __init__(self, cupy: Any, graph: Any, stream: Any, pool: Any) -> None:
        self._cupy, self._graph, self._stream = cupy, graph, stream
        self._pool = pool  # lives as long as the graph that points into it

    def replay(self) -> None:
        caller = self._cupy.cuda.get_current_stream()
        _order(after=caller, stream=self._stream)
        self._graph.launch(self._stream)
        _order(after=self._stream, stream=caller)


def _layer(label: str) -> str:
    """The running layer, as the start of an error about the file ``label``; nothing outside layers."""
    place = here(label)
    return "" if place == label else f"{place}: "


def _order(*, after: Any, stream: Any) -> None:
    """Make later work on ``stream`` wait for what is on ``after`` now."""
    stream.wait_event(after.record())
