"""Loads a compiled module and launches its kernels on NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpunn.emulator import counts
from gpunn.emulator.build import compile_kernels
from gpunn.emulator.findings import EmulatorFinding, Index, source_places
from gpunn.emulator.limits import launch_seconds
from gpunn.emulator.structures import Buffer, Finding, Kernel, ModuleInfo, Request, layout, python
from gpunn.errors import KernelError

_ACCESS = {"in": 0, "out": 1, "inout": 2}
_ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}
_MAX_THREADS = 1024
_MAX_GRID = (2**31 - 1, 65535, 65535)
_MAX_BLOCK = (1024, 1024, 64)
# Shared memory of a block, static and dynamic together: without asking; and where a kernel asked for more, as
# gpu.loaders does for one that wants more than that of dynamic memory alone.
_MAX_SHARED, _MAX_SHARED_ASKED = 48 * 1024, 227 * 1024

_lock = threading.Lock()  # the runtime has one set of fibers and one shadow
_launching: int | None = None  # the thread that holds it
_after_fork: Callable[[], object] | None = None  # the runtime's, once it is loaded
_modules: dict[tuple[str, str, tuple[tuple[str, str], ...], bool], Module] = {}
_schedule: tuple[str, int] | None = None
_choose: Callable[[Index], Iterable[int]] | None = None


@dataclass(frozen=True)
class Argument:
    """One kernel argument.

    Attributes
    ----------
    value : ndarray, NumPy scalar or None
        A C-contiguous array is passed as a pointer, a scalar (np.void for a struct) by its bytes,
        None as the null pointer.
    access : str
        What the kernel may do with an array: "in" (read; it is initialised), "out" (it starts
        unwritten, filled with 0xFF bytes) or "inout" (read and write).
    name : str
        The parameter's name, for messages.
    """

    value: np.ndarray | np.generic | None
    access: str = "in"
    name: str = ""


# The runtime is entered with the interpreter's lock, which it releases itself: meanwhile it comes back for Ctrl-C.
_LAUNCH = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.POINTER(Request), ctypes.POINTER(Finding))


def _refuse_within_another(where: str) -> None:
    if _launching == threading.get_ident() and _lock.locked():
        raise KernelError(
            f"{where}: launched by a handler of signals, while this thread launches another kernel. Let the handler "
            "note that the signal has come, and act on it after the launch."
        )


def _start_over() -> None:
    """In a forked child: the thread that held the runtime is not here, unless it is this one."""
    global _lock, _launching
    if _launching != threading.get_ident():
        _lock, _launching = threading.Lock(), None
    if _after_fork is not None:
        _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)


class Module:
    """The kernels of one compiled source file. Made by `compile_module`."""

    def __init__(self, path: Path, label: str, make_counting: Callable[[], Module] | None = None) -> None:
        self.label = label
        self._path = path
        self._make_counting = make_counting  # the module of the same kernels that can count; None for that itself
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise KernelError(f"{label}: the compiled kernels cannot be loaded: {error}") from error
        self._info = ModuleInfo.in_dll(self._library, "gpunn_emulator_module")
        # Found through the module, which was linked against the runtime it was compiled for.
        self._launch = _LAUNCH(("gpunn_emulator_launch", self._library))
        self._counts = self._library.gpunn_emulator_counts
        self._counts.restype = ctypes.c_uint64
        self._counts.argtypes = [ctypes.POINTER(ctypes.POINTER(counts.Row))]
        self._library.gpunn_emulator_layout.restype = ctypes.c_uint64
        if self._library.gpunn_emulator_layout() != layout():
            raise KernelError("the emulator's runtime.h and launch.py disagree about a structure")
        global _after_fork
        _after_fork = self._library.gpunn_emulator_after_fork
        kernels = [self._info.kernels[i] for i in range(self._info.kernel_count)]
        self._kernels = {kernel.name.decode(): kernel for kernel in kernels}
        self._static_shared = {name: self._info.static_shared[i] for i, name in enumerate(self._kernels)}

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels in the module."""
        return tuple(self._kernels)

    def static_shared(self, kernel: str) -> int:
        """Bytes of the kernel's ``__shared__`` variables, up to where dynamic shared memory begins."""
        return self._static_shared[kernel]

    def launch(
        self,
        kernel: str,
        grid: Index,
        block: Index,
        arguments: Sequence[Argument],
        shared_bytes: int = 0,
        extra: Sequence[Argument] = (),
    ) -> None:
        """Run ``kernel`` and return when all of its blocks are done.

        Parameters
        ----------
        kernel : str
            Name of the kernel.
        grid, block : (x, y, z)
            Blocks in the grid, threads in a block.
        arguments : sequence of Argument
            In the order of the kernel's parameters.
        shared_bytes : int
            Dynamic shared memory per block.
        extra : sequence of Argument
            Arrays that the kernel reaches through pointers inside a struct.

        Raises
        ------
        EmulatorFinding
            If the kernel has a fault. Arrays it had already written stay as they were at that point.
        KernelError
            If the launch does not fit the kernel's signature or the limits of a GPU.
        """
        global _launching
        count = counts.current()
        if count is not None and self._make_counting is not None:
            return self._make_counting().launch(kernel, grid, block, arguments, shared_bytes, extra)
        entry = self._kernels.get(kernel)
        if entry is None:
            raise KernelError(f"{self.label} has no kernel {kernel}; it has {', '.join(self._kernels)}")
        where = f"{self.label}: {kernel}"
        _check_shape(where, grid, block)
        if entry.most_threads and block[0] * block[1] * block[2] > entry.most_threads:
            raise KernelError(
                f"{where}: expected at most {entry.most_threads} threads in a block, as its __launch_bounds__ say; got "
                f"{tuple(block)}. A GPU refuses such a launch."
            )
        _check_shared(where, self._static_shared[kernel], shared_bytes)
        values = _pack(where, entry, arguments)
        buffers = _buffers(where, [*arguments, *extra])
        order, seed = _current_schedule()
        chosen = _chosen(grid)
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        if chosen is None and count is not None:
            chosen = count.chosen(grid)
            if chosen is not None:
                kept = _tickets([*arguments, *extra])
        request = Request(
            ctypes.pointer(self._info),
            ctypes.pointer(entry),
            (ctypes.c_void_p * max(1, len(values)))(*[ctypes.addressof(value) for value in values]),
            (Buffer * max(1, len(buffers)))(*buffers),
            len(buffers),
            tuple(grid),
            tuple(block),
            shared_bytes,
            _ORDERS[order],
            seed,
            None if chosen is None else (ctypes.c_uint32 * max(1, len(chosen)))(*chosen),
            0 if chosen is None else len(chosen),
            count is not None,
            int(launch_seconds() * 1e9),
            python(),
        )
        finding = Finding()
        _refuse_within_another(where)
        with _lock:
            try:
                _launching = threading.get_ident()
                failed = self._launch(ctypes.byref(request), ctypes.byref(finding))
            finally:
                _launching = None
            if count is not None and not failed:
                rows = ctypes.POINTER(counts.Row)()
                found = self._counts(ctypes.byref(rows))
                blocks = grid[0] * grid[1] * grid[2] if chosen is None else len(chosen)
                count.add(kernel, self.label, str(self._path), grid, blocks, rows[:found])
            for array, before in kept:
                array[...] = before
        if failed:
            raise self._explain(kernel, finding)

    def _explain(self, kernel: str, finding: Finding) -> EmulatorFinding:
        file: str = self.label
        line: int | None = None
        detail = finding.detail.decode(errors="replace")
        if finding.offset or finding.caller:
            library = str(self._path)
            places = source_places(library, finding.offset) or source_places(library, finding.caller)
            if places:
                file, line = places[0]
                callers = [place for place in places[1:] if place[0] == self.label]
                if file != self.label and callers:
                    detail += f", called from {self.label}:{callers[-1][1]}"
        elif finding.line:
            file, line = os.path.basename(finding.file.decode()), finding.line
        return EmulatorFinding(
            finding.kind.decode(), kernel, file, line, tuple(finding.block), tuple(finding.thread), detail
        )


def compile_module(source: str, label: str, defines: Mapping[str, str], *, counting: bool = False) -> Module:
    """Compile the text of one ``.cu`` file, or return the module made from it earlier.

    Parameters
    ----------
    source : str
        The file with our own headers inlined; `#line` directives in it name the original files.
        Every kernel is declared ``extern "C" __global__ void name(...)``.
    label : str
        Name of the file, for messages.
    defines : mapping
        Macros, as ``-Dname=value``.
    counting : bool
        Compile only the module that counts (`counting`), which otherwise is compiled when it is first needed.

    Raises
    ------
    KernelError
        If g++ rejects the source (its message is the error's), or the cache cannot be written.
    DeviceError
        If g++ is missing.
    """
    key = (source, label, tuple(sorted(defines.items())), counting)
    module = _modules.get(key)
    if module is None:
        twin = None if counting else functools.partial(compile_module, source, label, defines, counting=True)
        module = _modules.setdefault(key, Module(compile_kernels(source, label, defines, counting), label, twin))
    return module


@contextmanager
def schedule(order: str = "forward", seed: int = 0) -> Iterator[None]:
    """Choose the order of blocks, warps and lanes inside the ``with`` block: forward, reverse, shuffled.

    Outside it the order is that of ``GPUNN_EMULATOR_SCHEDULE`` ("reverse", "shuffled:3"), else forward.
    """
    global _schedule
    before = _schedule
    _schedule = _checked_schedule(order, seed, "schedule()")
    try:
        yield
    finally:
        _schedule = before


@contextmanager
def only_blocks(choose: Callable[[Index], Iterable[int]]) -> Iterator[None]:
    """Run no blocks inside the ``with`` block but those whose linear numbers ``choose(grid)`` returns.

    A block's linear number is x + (y + z * grid y) * grid x. What the other blocks would write stays as it was, in
    outputs too, and may be read. Memory that nobody touches costs nothing, so this shows what a launch does at the end
    of arrays that are larger than the machine's memory. It is for tests.
    """
    global _choose
    before, _choose = _choose, choose
    try:
        yield
    finally:
        _choose = before


def _tickets(arguments: Sequence[Argument]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Whole numbers that a launch changes, and what they are: all blocks together leave tickets as they were."""
    arrays = [a.value for a in arguments if a.access == "inout" and isinstance(a.value, np.ndarray)]
    return [(array, array.copy()) for array in arrays if array.dtype.kind in "iu"]


def _chosen(grid: Index) -> list[int] | None:
    if _choose is None:
        return None
    blocks, chosen = grid[0] * grid[1] * grid[2], list(_choose(grid))
    if not all(0 <= number < blocks for number in chosen):
        raise KernelError(f"only_blocks(): expected numbers of blocks below {blocks}; got {chosen}")
    return chosen


def _current_schedule() -> tuple[str, int]:
    if _schedule is not None:
        return _schedule
    name = "GPUNN_EMULATOR_SCHEDULE"
    order, _, seed = os.environ.get(name, "forward").partition(":")
    if not (seed or "0").isdigit():
        raise KernelError(f'{name}: expected an order and a seed such as "shuffled:3"; got seed {seed!r}')
    return _checked_schedule(order, int(seed or "0"), name)


def _checked_schedule(order: str, seed: int, where: str) -> tuple[str, int]:
    if order not in _ORDERS:
        raise KernelError(f"{where}: expected one of {', '.join(_ORDERS)}; got {order!r}")
    return order, seed


def _check_shape(where: str, grid: Index, block: Index) -> None:
    for name, shape, limits in (("grid", grid, _MAX_GRID), ("block", block, _MAX_BLOCK)):
        if len(shape) != 3 or any(not 1 <= n <= limit for n, limit in zip(shape, limits, strict=True)):
            raise KernelError(f"{where}: expected a {name} between (1, 1, 1) and {limits}; got {tuple(shape)}")
    if block[0] * block[1] * block[2] > _MAX_THREADS:
        raise KernelError(f"{where}: expected at most {_MAX_THREADS} threads in a block; got {tuple(block)}")
    if grid[0] * grid[1] * grid[2] > _MAX_GRID[0]:
        raise KernelError(f"{where}: the grid {tuple(grid)} is too large to emulate")


def _check_shared(where: str, static: int, dynamic: int) -> None:
    most = _MAX_SHARED_ASKED if dynamic > _MAX_SHARED else _MAX_SHARED
    if not 0 <= dynamic <= most - static:
        raise KernelError(
            f"{where}: expected at most {most} bytes of shared memory, static and dynamic; got {static} bytes of "
            f"static and {dynamic} bytes of dynamic shared memory"
        )


def _pack(where: str, kernel: Kernel, arguments: Sequence[Argument]) -> list[ctypes.Array[ctypes.c_char]]:
    """Return the bytes of each argument, in the form the kernel's parameters need."""
    if len(arguments) != kernel.count:
        raise KernelError(f"{where}: expected {kernel.count} arguments; got {len(arguments)}")
    packed = []
    for i, argument in enumerate(arguments):
        name = f"{where}: argument {i}" + (f" ({argument.name})" if argument.name else "")
        value, size = argument.value, kernel.sizes[i]
        if value is None or isinstance(value, np.ndarray):
            if not kernel.pointers[i]:
                kind = "None" if value is None else "an array"
                raise KernelError(f"{name}: expected a scalar of {size} bytes, passed by value; got {kind}")
            data = (0 if value is None else value.ctypes.data).to_bytes(size, "little")
        elif isinstance(value, np.generic):
            data = value.tobytes()
            if kernel.pointers[i]:
                raise KernelError(f"{name}: expected an array or None for a pointer; got {value.dtype} {value}")
            if len(data) != size:
                raise KernelError(f"{name}: expected {size} bytes; got {value.dtype} of {len(data)} bytes")
        else:
            raise KernelError(f"{name}: expected an array, a NumPy scalar or None; got {type(value).__name__}")
        packed.append(ctypes.create_string_buffer(data, size))
    return packed


def _buffers(where: str, arguments: Sequence[Argument]) -> list[Buffer]:
    """Return the memory that the arguments reach, sorted; arrays that overlap become one buffer.

    Where one array is read through one parameter and written through another, it is both.
    """
    spans = []
    for argument in arguments:
        value = argument.value
        if argument.access not in _ACCESS:
            raise KernelError(f"{where}: expected access in, out or inout; got {argument.access!r}")
        if not isinstance(value, np.ndarray):
            continue
        if not value.flags.c_contiguous:
            raise KernelError(f"{where}: expected C-contiguous arrays; {argument.name} has strides {value.strides}")
        if argument.access != "in" and not value.flags.writeable:
            raise KernelError(f"{where}: {argument.name} is written to, but the array is read-only")
        spans.append((value.ctypes.data, value.nbytes, value.itemsize, argument.access, argument.name))
    spans.sort(key=lambda span: span[:2])
    merged: list[tuple[int, int, int, str, str]] = []
    for span in spans:
        if merged and span[0] < merged[-1][0] + merged[-1][1]:
            start, size, item, access, name = merged[-1]
            end = max(start + size, span[0] + span[1])
            both = access if access == span[3] else "inout"
            names = name if span[4] in name.split(" = ") else f"{name} = {span[4]}"
            merged[-1] = (start, end - start, min(item, span[2]), both, names)
        else:
            merged.append(span)
    return [Buffer(a, size, item, _ACCESS[access], name.encode()) for a, size, item, access, name in merged]
