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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from gpunn._device import Device, require_loader
from gpunn._layout import address_of
from gpunn.errors import DTypeError, KernelError, ShapeError, UsageError, here

# sm_120 needs NVRTC 12.8; sm_75 is the oldest that NVRTC 13 still compiles for.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
NVRTC_OPTIONS = ("-std=c++17", "-lineinfo")

_SCALARS = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "unsigned int": np.dtype(np.uint32),
    "unsigned char": np.dtype(np.uint8),
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
    "int64": np.dtype(np.int64),  # numbers.cuh: types that REAL may be
    "uint8": np.dtype(np.uint8),
}
_C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)', re.DOTALL
)
_INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"\s*$')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INT32_MAX = 2**31 - 1
SHARED_MOST = 48 * 1024  # bytes of shared memory that a block has on every GPU: static, then dynamic
# The most that a kernel may count in an int: adding a tile or a chunk of rows before comparing still fits.
# Offsets of elements are 64 bits wide in all kernels.
INT_MOST = 2**31 - 2**22


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


@dataclass(frozen=True)
class Parameter:
    """One kernel parameter as its signature declares it. ``dtype`` None means a struct, any bytes."""

    name: str
    dtype: np.dtype | None
    pointer: bool
    access: str  # "in", "out" or "inout"


def parse_signatures(source: str, macros: Mapping[str, str]) -> dict[str, tuple[Parameter, ...]]:
    """Read the kernels' names and parameters out of a (flattened) source."""
    types: dict[str, Any] = dict(_SCALARS)
    if "REAL" in macros:
        types["real"] = _SCALARS[macros["REAL"]]
    if "LABEL" in macros:  # of class indices, by NumPy's name: int32 or int64
        types["label"] = np.dtype(macros["LABEL"])
    kernels = {}
    for name, text in _KERNEL.findall(_COMMENT.sub(" ", source)):
        parameters = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            words = part.replace("__restrict__", " ").replace("*", " * ").split()
            kind = " ".join(w for w in words[:-1] if w not in ("const", "*", "INOUT"))
            pointer = "*" in words
            if pointer and kind not in types:
                raise KernelError(f"{name}: pointer parameter '{part}' has a type the launcher does not know")
            access = "inout" if "INOUT" in words else "in" if "const" in words or not pointer else "out"
            parameters.append(Parameter(words[-1], types.get(kind), pointer, access))
        kernels[name] = tuple(parameters)
    return kernels


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
        **choices: tuple[Any, ...],
    ) -> None:
        self.file = file
        self.architectures = architectures
        self.dynamic_shared = dict(dynamic_shared)
        self.choices = {name: tuple(str(v) for v in values) for name, values in choices.items()}
        self._entries: dict[Any, tuple[Any, tuple[Parameter, ...]]] = {}
        KernelSource.registry[file] = self

    @functools.cached_property
    def text(self) -> str:
        """The flattened source."""
        return read_source(self.file)

    def specialisations(self) -> list[dict[str, str]]:
        """Every combination of macro values."""
        return [dict(zip(self.choices, values, strict=True)) for values in itertools.product(*self.choices.values())]

    def content_hash(self, macros: Mapping[str, str]) -> str:
        """Hash of everything that affects how one specialisation compiles."""
        parts = [self.text, *NVRTC_OPTIONS, *(f"{k}={v}" for k, v in sorted(macros.items()))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def _entry(self, device: Device, kernel: str, macros: dict[str, Any]) -> tuple[Any, tuple[Parameter, ...]]:
        key = (device, kernel, *macros.values())
        entry = self._entries.get(key)
        if entry is None:
            text = {name: str(value) for name, value in macros.items()}
            for name in {*self.choices, *text}:
                if text.get(name) not in self.choices.get(name, ()):
                    raise KernelError(
                        f"{self.file}: {name}={text.get(name)} is not declared; "
                        f"declared: {self.choices.get(name, 'no such macro')}"
                    )
            module = require_loader(device).load(self.text, self.file, text)
            entry = module, parse_signatures(self.text, text)[kernel]
            self._entries[key] = entry
        return entry

    def launch(
        self,
        device: Device,
        kernel: str,
        grid: tuple[int, int, int],
        block: int | tuple[int, int, int],
        args: Sequence[Any],
        *,
        shared: int = 0,
        pointees: Sequence[tuple[Any, str, str]] = (),
        **macros: Any,
    ) -> None:
        """Check the arguments against the kernel's signature and launch it on the current stream.

        Parameters
        ----------
        grid, block : tuple of int
            Launch shape; an empty grid launches nothing (CUDA would run one block).
        args : sequence
            Arrays (C-contiguous, of the declared dtype) or None for pointers, numbers for
            scalars, a structured NumPy array of size one for a struct.
        shared : int
            Dynamic shared memory, bytes.
        pointees : sequence of (array, access, name)
            Arrays reached through pointers inside a struct argument.
        macros
            The specialisation; every declared macro must be given.

        Raises
        ------
        KernelError
            If the specialisation is undeclared, an argument does not fit, or the kernel fails.
        UsageError
            If a size is too large for the kernel's 32-bit counts.
        """
        module, parameters = self._entry(device, kernel, macros)
        if len(args) != len(parameters):
            raise KernelError(f"{kernel}: expected {len(parameters)} arguments; got {len(args)}")
        vector = int(macros.get("VEC", 1))
        bound = [
            _bind(kernel, parameter, arg, device.xp.ndarray, vector)
            for parameter, arg in zip(parameters, args, strict=True)
        ]
        block = (block, 1, 1) if isinstance(block, int) else block
        if 0 in grid:
            return
        if not (grid[0] <= _INT32_MAX and grid[1] <= 65535 and grid[2] <= 65535):
            raise UsageError(
                f"{here(kernel)}: {kernel} would take a grid of {grid} blocks, which exceeds CUDA's limits (2^31-1, "
                "65535, 65535). The tensor is too large: split the batch."
            )
        if not 0 < block[0] * block[1] * block[2] <= 1024:
            raise KernelError(f"{kernel}: block {block} must have 1 to 1024 threads")
        if shared > self.dynamic_shared.get(kernel, 0):
            raise KernelError(
                f"{kernel}: {shared} bytes of dynamic shared memory; {self.file} declares "
                f"{self.dynamic_shared.get(kernel, 0)} (KernelSource's dynamic_shared)"
            )
        launch = Launch(module, kernel, grid, block, parameters, bound, shared, tuple(pointees))
        if _trace.launches is not None:
            _trace.launches.append(launch)
        with device.active():
            module.launch(launch)


def _bind(kernel: str, parameter: Parameter, arg: Any, array_type: Any, vector: int) -> Any:
    """Convert one argument to exactly what the parameter takes, or raise."""
    if parameter.pointer:
        if arg is None:
            return None
        if not isinstance(arg, array_type):
            raise KernelError(f"{kernel}: {parameter.name}: expected a {array_type.__module__} array; got {type(arg)}")
        if arg.dtype != parameter.dtype:
            raise DTypeError(f"{kernel}: {parameter.name}: expected {parameter.dtype}; got {arg.dtype}")
        if not arg.flags.c_contiguous:
            raise ShapeError(f"{kernel}: {parameter.name}: expected a contiguous array; got strides {arg.strides}")
        alignment = min(16, vector * arg.itemsize)
        if vector > 1 and address_of(arg) % alignment:
            raise KernelError(
                f"{kernel}: {parameter.name}: VEC={vector} needs {alignment}-byte alignment; got {address_of(arg):#x}"
            )
        return arg
    if parameter.dtype is None:
        if not isinstance(arg, np.ndarray) or arg.size != 1:
            raise KernelError(f"{kernel}: {parameter.name}: expected a structured array of size one")
        _refuse_large_images(kernel, arg)
        return arg
    if parameter.dtype.kind in "iu":
        info = np.iinfo(parameter.dtype)
        if parameter.dtype == np.int32 and int(arg) > INT_MOST:
            raise _too_large(kernel, f"{parameter.name} = {arg}")
        if not info.min <= int(arg) <= info.max:
            raise UsageError(f"{here(kernel)}: {kernel}: {parameter.name} = {arg} does not fit {parameter.dtype}.")
    return parameter.dtype.type(arg)


def _refuse_large_images(kernel: str, struct: np.ndarray) -> None:
    """Raise if a struct's image is too large: kernels count its pixels, or its window positions, in ints."""
    for height, width in _lengths_of_images(struct.dtype):
        number = int(struct[height][0]) * int(struct[width][0])
        if number > INT_MOST:
            raise _too_large(kernel, f"{height} x {width} = {number}")


@functools.lru_cache(maxsize=256)
def _lengths_of_images(struct: np.dtype) -> tuple[tuple[str, str], ...]:
    names = struct.names or ()
    return tuple(pair for pair in (("H", "W"), ("P", "Q")) if pair[0] in names and pair[1] in names)


def _too_large(kernel: str, what: str) -> UsageError:
    return UsageError(
        f"{here(kernel)}: {kernel} counts in 32 bits, up to {INT_MOST}; got {what}. "
        "The tensor is too large: split the batch, or cut it into parts."
    )


@dataclass
class Launch:
    """One checked launch, ready to run (again)."""

    module: Any
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    parameters: tuple[Parameter, ...]
    args: list[Any]
    shared: int
    pointees: tuple[tuple[Any, str, str], ...]


class _Trace(threading.local):
    """The list that launches of this thread are added to, if any."""

    def __init__(self) -> None:
        self.launches: list[Launch] | None = None


_trace = _Trace()


@contextlib.contextmanager
def trace_launches() -> Iterator[list[Launch]]:
    """Collect every :class:`Launch` made in this thread."""
    outer, launches = _trace.launches, list[Launch]()
    _trace.launches = launches
    try:
        yield launches
    finally:
        _trace.launches = outer
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
