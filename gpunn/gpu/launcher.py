"""Finds, compiles and launches the kernels of ``kernels/``, and checks every argument first.

A kernel's parameters are declared once, in its ``.cu`` file: the launcher reads the signature

    extern "C" __global__ void relu_forward(real* __restrict__ y, const real* __restrict__ x, int n)

and checks every launch against it. CUDA itself checks nothing: a view's strides are ignored, a
Python int arrives as 64 bits, and the result is a wrong answer or a dead context. ``const``
pointers are read; others are outputs, which start out unwritten; ``INOUT`` marks those that
are read and written.

Loaders (``loaders``) compile a module and bring a launch to the device.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import numpy as np

from gpunn._device import Device, require_loader
from gpunn._layout import address_of, is_contiguous
from gpunn.errors import DTypeError, KernelError, ShapeError, UsageError, here
from gpunn.gpu.launches import Struct
from gpunn.gpu.signatures import INT_MOST, Parameter, parse_signatures

# For kernels of one's own: the guide's page about them uses these.
__all__ = ["KernelSource", "Launch", "Struct", "c_type", "kernel_folder", "read_source", "trace_launches"]

# sm_120 needs NVRTC 12.8; sm_75 is the oldest that NVRTC 13 still compiles for.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
NVRTC_OPTIONS = ("-std=c++17", "-lineinfo")

_C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"\s*$')
_INT32_MAX = 2**31 - 1
SHARED_MOST = 48 * 1024  # bytes of shared memory that a block has on every GPU: static, then dynamic


def kernel_folder() -> Path:
    """Where the ``.cu`` files are: inside the installed package, or the checkout's ``kernels/``.

    ``GPUNN_KERNELS`` names another folder, for trying changed kernels without touching these.
    """
    other = os.environ.get("GPUNN_KERNELS")
    if other:
        return Path(other)
    installed = Path(__file__).parent.parent / "_kernels"
    return installed if installed.is_dir() else Path(__file__).parent.parent.parent / "kernels"


def read_source(file: str) -> str:
    """The text of a kernel file with our own headers inlined in place of their ``#include`` lines.

    One text means that a hash of it covers the headers (CuPy's cache key does not), and
    ``#line`` keeps messages pointing at the original file.
    """
    seen: set[str] = set()

    def flatten(name: str) -> Iterator[str]:
        seen.add(name)
        yield f'#line 1 "{name}"'
        for number, line in enumerate((kernel_folder() / name).read_text().splitlines(), 1):
            include = _INCLUDE.match(line)
            if include is None:
                yield line
                continue
            if include[1] not in seen:
                yield from flatten(include[1])
            yield f'#line {number + 1} "{name}"'

    return "\n".join(flatten(file)) + "\n"


def c_type(dtype: Any, where: str) -> str:
    """The C name of a floating dtype that kernels are compiled for; DTypeError naming ``where``."""
    try:
        return _C_TYPES[np.dtype(dtype)]
    except KeyError:
        raise DTypeError(
            f"{where}: expected float32 or float64; got {np.dtype(dtype)}. Convert with .float()."
        ) from None


class KernelSource:
    """One ``.cu`` file with the macro values it may be compiled with.

    Every specialisation a launch may ask for is declared here, so that the compile gate can
    compile all of them for all architectures without running anything.

    Parameters
    ----------
    file : str
        Name in the kernel folder.
    architectures : tuple of int
        Compute capabilities (major*10 + minor) that all specialisations compile for.
    dynamic_shared : dict
        Kernel = the most bytes of dynamic shared memory that a launch asks for, if any does. The compile gate knows
        what the kernel's own variables add to that, and refuses what a GPU would refuse.
    only : callable, optional
        Which combinations of macro values, ``{name: text}``, are declared. All of them, if not given.
    choices
        Macro name = tuple of its legal values.
    """

    registry: ClassVar[dict[str, KernelSource]] = {}

    def __init__(
        self,
        file: str,
        *,
        architectures: tuple[int, ...] = ARCHITECTURES,
        dynamic_shared: Mapping[str, int] = MappingProxyType({}),
        only: Callable[[Mapping[str, str]], bool] = lambda _: True,
        **choices: tuple[Any, ...],
    ) -> None:
        self.file = file
        self.architectures = architectures
        self.dynamic_shared = dict(dynamic_shared)
        self._only = only
        self.choices = {name: tuple(str(v) for v in values) for name, values in choices.items()}
        self._entries: dict[Any, _Compiled] = {}
        KernelSource.registry[file] = self

    @functools.cached_property
    def text(self) -> str:
        """The flattened source."""
        return read_source(self.file)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the flattened source."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def specialisations(self) -> list[dict[str, str]]:
        """Every combination of macro values that is declared."""
        every = (dict(zip(self.choices, values, strict=True)) for values in itertools.product(*self.choices.values()))
        return [macros for macros in every if self._only(macros)]

    def content_hash(self, macros: Mapping[str, str]) -> str:
        """Hash of everything that affects how one specialisation compiles."""
        parts = [self.text, *NVRTC_OPTIONS, *(f"{k}={v}" for k, v in sorted(macros.items()))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def _compiled(self, device: Device, kernel: str, macros: dict[str, Any]) -> _Compiled:
        text = {name: str(value) for name, value in macros.items()}
        for name in {*self.choices, *text}:
            if text.get(name) not in self.choices.get(name, ()):
                raise KernelError(
                    f"{self.file}: {name}={text.get(name)} is not declared; "
                    f"declared: {self.choices.get(name, 'no such macro')}"
                )
        text = {name: text[name] for name in self.choices}  # caches tell orders apart
        if not self._only(text):
            raise KernelError(f"{self.file}: {text} is not declared as a combination")
        module = require_loader(device).load(self.text, self.file, text)
        parameters = parse_signatures(self.text, text)[kernel]
        return _Compiled(module, kernel, parameters, device.xp.ndarray, self.file, text)

    def launch(
        self,
        device: Device,
        kernel: str,
        grid: tuple[int, int, int],
        block: int | tuple[int, int, int],
        args: Sequence[Any],
        *,
        shared: int = 0,
        pointees: Callable[[], Sequence[tuple[Any, str, str]]] = tuple,
        **macros: Any,
    ) -> None:
        """Check the arguments against the kernel's signature and launch it on the current stream.

        Parameters
        ----------
        grid, block : tuple of int
            Launch shape; an empty grid launches nothing (CUDA would run one block).
        args : sequence
            Arrays (C-contiguous, of the declared dtype) or None for pointers, numbers for
            scalars; for a struct a :class:`Struct`, or a structured NumPy array of size one.
        shared : int
            Dynamic shared memory, bytes.
        pointees : callable
            Gives (array, access, name) for each array reached through pointers inside a struct argument.
        macros
            The specialisation; every declared macro must be given, always in the same order.

        Raises
        ------
        KernelError
            If the specialisation is undeclared, an argument does not fit, or the kernel fails.
        UsageError
            If a size is too large for the kernel's 32-bit counts.
        """
        key = (device.origin, kernel, *macros.values())
        compiled = self._entries.get(key)
        if compiled is None:
            with device.active():  # a module is loaded on one GPU
                compiled = self._entries[key] = self._compiled(device, kernel, macros)
        bound = compiled.bind(args)
        if isinstance(block, int):
            block = (block, 1, 1)
        if 0 in grid:
            return
        if not (grid[0] <= _INT32_MAX and grid[1] <= 65535 and grid[2] <= 65535):
            raise UsageError(
                f"{here(kernel)}: {kernel} would take a grid of {grid} blocks, which exceeds CUDA's limits (2^31-1, "
                f"65535, 65535). {_TOO_LARGE}"
            )
        if not 0 < block[0] * block[1] * block[2] <= 1024:
            raise KernelError(f"{kernel}: block {block} must have 1 to 1024 threads")
        if shared > self.dynamic_shared.get(kernel, 0):
            raise KernelError(
                f"{kernel}: {shared} bytes of dynamic shared memory; {self.file} declares "
                f"{self.dynamic_shared.get(kernel, 0)} (KernelSource's dynamic_shared)"
            )
        if tracing.launches is not None or device.origin is not device:
            launch = Launch(compiled, grid, block, bound, shared, tuple(pointees()))
            device.launched(launch)
            if tracing.launches is not None:
                tracing.launches.append(launch)
        compiled.function.run(grid, block, bound, shared, pointees)


class _Compiled:
    """One kernel of one specialisation on one device: what its arguments must be, and the loader's function."""

    __slots__ = ("array_type", "file", "function", "kernel", "macros", "module", "parameters", "vector")

    def __init__(
        self,
        module: Any,
        kernel: str,
        parameters: tuple[Parameter, ...],
        array_type: Any,
        file: str,
        macros: dict[str, str],
    ) -> None:
        self.module, self.kernel, self.parameters = module, kernel, parameters
        self.array_type, self.vector = array_type, int(macros.get("VEC", 1))
        self.file, self.macros = file, macros
        self.function = module.function(kernel, parameters)

    def bind(self, args: Sequence[Any]) -> list[Any]:
        """The arguments as the loaders take them: arrays or None, Python numbers, Structs; or raise."""
        if len(args) != len(self.parameters):
            raise KernelError(f"{self.kernel}: expected {len(self.parameters)} arguments; got {len(args)}")
        bound = []
        for parameter, arg in zip(self.parameters, args, strict=True):
            if parameter.pointer:
                if arg is not None:
                    self._check_array(parameter, arg)
            elif parameter.dtype is None:
                arg = self._struct(parameter, arg)
            elif parameter.limits is None:
                arg = float(arg)
            else:
                if not isinstance(arg, int):
                    arg = int(arg)
                if not parameter.limits[0] <= arg <= parameter.limits[1]:
                    self._refuse_number(parameter, arg)
            bound.append(arg)
        return bound

    def _check_array(self, parameter: Parameter, arg: Any) -> None:
        kernel = self.kernel
        if not isinstance(arg, self.array_type):
            raise KernelError(
                f"{kernel}: {parameter.name}: expected a {self.array_type.__module__} array; got {type(arg)}"
            )
        if arg.dtype != parameter.dtype:
            raise DTypeError(f"{kernel}: {parameter.name}: expected {parameter.dtype}; got {arg.dtype}")
        if not is_contiguous(arg):
            raise ShapeError(f"{kernel}: {parameter.name}: expected a contiguous array; got strides {arg.strides}")
        if self.vector > 1:
            alignment = min(16, self.vector * arg.itemsize)
            if address_of(arg) % alignment:
                raise KernelError(
                    f"{kernel}: {parameter.name}: VEC={self.vector} needs {alignment}-byte alignment; "
                    f"got {address_of(arg):#x}"
                )

    def _struct(self, parameter: Parameter, arg: Any) -> Struct:
        if not isinstance(arg, Struct):
            if not isinstance(arg, np.ndarray) or arg.size != 1:
                raise KernelError(f"{self.kernel}: {parameter.name}: expected a structured array of size one")
            arg = Struct(arg)
        if not arg.checked:
            if arg.has_images:
                _refuse_large_images(self.kernel, arg.array)
            arg.checked = True
        return arg

    def _refuse_number(self, parameter: Parameter, arg: int) -> NoReturn:
        if parameter.dtype == np.int32 and arg > INT_MOST:
            raise _too_large(self.kernel, f"{parameter.name} = {arg}")
        raise UsageError(
            f"{here(self.kernel)}: {self.kernel}: {parameter.name} = {arg} does not fit {parameter.dtype}."
        )


def _refuse_large_images(kernel: str, struct: np.ndarray) -> None:
    """Raise if a struct's image is too large: kernels count its pixels, or its window positions, in ints."""
    names = struct.dtype.names or ()
    for height, width in (("H", "W"), ("P", "Q")):
        if height in names and width in names:
            number = int(struct[height][0]) * int(struct[width][0])
            if number > INT_MOST:
                raise _too_large(kernel, f"{height} x {width} = {number}")


# A batch that is split helps only where its number of items is what is large.
_TOO_LARGE = "The tensor is too large: split the batch, or where one item alone is too large, cut the item into parts."


def _too_large(kernel: str, what: str) -> UsageError:
    return UsageError(f"{here(kernel)}: {kernel} counts in 32 bits, up to {INT_MOST}; got {what}. {_TOO_LARGE}")


@dataclass
class Launch:
    """One checked launch, ready to run (again)."""

    compiled: _Compiled
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: list[Any]
    shared: int
    pointees: tuple[tuple[Any, str, str], ...]

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.compiled.kernel

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the kernel's signature declares."""
        return self.compiled.parameters

    @property
    def file(self) -> str:
        """The kernel's file."""
        return self.compiled.file

    @property
    def macros(self) -> dict[str, str]:
        """The specialisation."""
        return self.compiled.macros

    @property
    def module(self) -> Any:
        """The loader's module that the kernel is in."""
        return self.compiled.module

    def run(self) -> None:
        """Launch again."""
        self.compiled.function.run(self.grid, self.block, self.args, self.shared, lambda: self.pointees)


class _Trace(threading.local):
    """The list that launches of this thread are added to, if any."""

    def __init__(self) -> None:
        self.launches: list[Launch] | None = None


tracing = _Trace()


@contextlib.contextmanager
def trace_launches() -> Iterator[list[Launch]]:
    """Collect every :class:`Launch` made in this thread."""
    outer, launches = tracing.launches, list[Launch]()
    tracing.launches = launches
    try:
        yield launches
    finally:
        tracing.launches = outer
        if outer is not None:
            outer.extend(launches)


# -- what launch functions share ---------------------------------------------------------------

DIVISOR = np.dtype([("value", np.uint32), ("magic", np.uint32), ("shift", np.uint32)])


@functools.lru_cache(maxsize=4096)
def divisor(value: int) -> tuple[int, int, int]:
    """The fields of ``struct Divisor`` (common.cuh) for division by ``value`` >= 1.

    magic = floor(2^32 (2^shift - value) / value) + 1 with shift = ceil(log2 value); then
    n // value = (high word of magic * n + n) >> shift for all n < 2^31 (Granlund, Montgomery 1994).

    Raises
    ------
    UsageError
        If ``value`` does not fit 32 bits.
    """
    if value >= 2**32:
        raise UsageError(f"{here('a kernel')}: expected lengths below 2^32; got {value}. Split the tensor.")
    shift = (value - 1).bit_length()
    return value, ((1 << 32) * ((1 << shift) - value)) // value + 1, shift


@functools.lru_cache(maxsize=4096)
def divisor_struct(value: int) -> Struct:
    """``struct Divisor`` as an argument of a launch; for 0, where nothing will be divided, that of 1."""
    return Struct(np.array([divisor(max(value, 1))], DIVISOR))


def vector_width(length: int, *arrays: Any, widths: tuple[int, ...] = (4, 1)) -> int:
    """Largest of ``widths`` that divides ``length`` and whose vectors are aligned in all ``arrays``."""
    for width in widths:
        if length % width == 0 and all(
            address_of(a) % min(16, width * a.itemsize) == 0 for a in arrays if a is not None
        ):
            return width
    return 1


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)
