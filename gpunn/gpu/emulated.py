"""How kernels reach the emulator: compiled with g++, run on NumPy arrays (``gpunn.emulator``).

The same classes as in ``loaders``: a loader, its modules, their functions, a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._capture_state import capturing
from gpunn._layout import address_of
from gpunn.errors import DeviceError, KernelError
from gpunn.gpu.launches import Again, Index, Numbers, Pointees, Pointer, running_layer, without_arrays
from gpunn.gpu.signatures import Parameter


class EmulatorLoader:
    """Compiles kernels with g++ and runs them on NumPy arrays (``gpunn.emulator``).

    Parameters
    ----------
    counting : bool
        Load only the modules that count (``gpunn.emulator.counting``), for launches that run once.
    """

    def __init__(self, *, counting: bool = False) -> None:
        from gpunn import emulator

        reason = emulator.available()
        if reason is not None:
            raise DeviceError(f"device 'emulator': {reason}")
        self._emulator = emulator
        self._counting = counting

    def load(self, source: str, label: str, macros: Mapping[str, str]) -> _EmulatorModule:
        """Compile one specialisation, or load it from the cache."""
        try:
            module = self._emulator.compile_module(source, label, macros, counting=self._counting)
        except (DeviceError, KernelError) as error:
            raise type(error)(f"{running_layer(label)}{error}") from error
        return _EmulatorModule(self._emulator, module)

    def facts(self, args: Sequence[Any]) -> list[Any]:
        """What launches depend on: geometry and alignment of arrays, and all other arguments."""
        return [
            (arg.shape, arg.dtype, address_of(arg) & 15, None if arg.flags.c_contiguous else arg.strides)
            if arg.__class__ is np.ndarray
            else arg
            for arg in args
        ]

    def capture(self, body: Callable[[], Any]) -> tuple[_EmulatorGraph, Any]:
        """Run ``body`` with every launch kept and none executed, as CUDA's stream capture does."""
        step = capturing()
        assert step is not None, "captured by gpunn._capture.capture_graph"
        result = body()
        return _EmulatorGraph(step.postponed), result


class _EmulatorModule:
    def __init__(self, emulator: Any, module: Any) -> None:
        self.argument = emulator.Argument
        self.module = module

    def function(self, kernel: str, parameters: tuple[Parameter, ...]) -> _EmulatorFunction:
        """A kernel of the module."""
        return _EmulatorFunction(self, kernel, parameters)


@dataclass(frozen=True)
class _EmulatorFunction:
    """A kernel on the emulator; like :class:`_CudaFunction`."""

    module: _EmulatorModule
    kernel: str
    parameters: tuple[Parameter, ...]

    def run(self, grid: Index, block: Index, bound: list[Any], shared: int, pointees: Pointees) -> None:
        """Run a launch, or keep it for the replay of the step that is being captured."""
        launch = EmulatorLaunch(self, grid, block, bound, shared, pointees())
        step = capturing()
        if step is None:
            launch.run()
        else:
            step.postponed.append(launch)

    def prepare(
        self, grid: Index, block: Index, bound: list[Any], shared: int, pointers: list[Pointer], numbers: Numbers
    ) -> Again:
        """A function that makes this launch on other arrays."""
        rest = without_arrays(self.parameters, bound)

        def again(device: Any, sources: list[Any]) -> None:
            args = rest.copy()
            for argument, find in numbers:
                args[argument] = find(device)
            for p in pointers:
                args[p.argument] = _view(sources[p.source], p)
            self.run(grid, block, args, shared, tuple)

        return again


@dataclass
class EmulatorLaunch:
    """One launch on the emulator, which may wait for a replay."""

    function: _EmulatorFunction
    grid: Index
    block: Index
    bound: list[Any]
    shared: int
    pointees: Sequence[Any]

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.function.kernel

    def run(self) -> None:
        """Run it now."""
        argument = self.function.module.argument
        arguments = [
            argument(_emulator_value(parameter, arg), parameter.access, parameter.name)
            for parameter, arg in zip(self.function.parameters, self.bound, strict=True)
        ]
        behind = [argument(array, access, name) for array, access, name in self.pointees]
        self.function.module.module.launch(self.kernel, self.grid, self.block, arguments, self.shared, behind)


def _view(source: np.ndarray, pointer: Pointer) -> np.ndarray:
    """What an argument is, in the memory of an array in any order."""
    same = pointer.offset == 0 and source.shape == pointer.shape and source.dtype == pointer.dtype
    if same and source.flags.c_contiguous:
        return source
    nbytes = math.prod(pointer.shape) * pointer.dtype.itemsize
    items = -(-(pointer.offset + nbytes) // source.itemsize)
    flat = np.lib.stride_tricks.as_strided(source, (items,), (source.itemsize,))  # plans have seen that this is inside
    return flat.view(np.uint8)[pointer.offset : pointer.offset + nbytes].view(pointer.dtype).reshape(pointer.shape)


def _emulator_value(parameter: Parameter, arg: Any) -> Any:
    """An argument by value as a NumPy scalar; a struct as the element of its array."""
    if parameter.pointer:
        return arg
    return arg.array[0] if parameter.dtype is None else parameter.dtype.type(arg)


class _EmulatorGraph:
    """The stand-in for a CUDA graph: as on a GPU, a replay repeats launches and nothing else.

    The launches hold their arrays, so no address is handed out twice while the graph lives.
    """

    def __init__(self, launches: list[EmulatorLaunch]) -> None:
        self.launches = launches

    def replay(self) -> None:
        for launch in self.launches:
            launch.run()
