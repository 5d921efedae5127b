"""The table of tensors that a launch over many of them carries (``kernels/multi_tensor.cuh``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import address_of
from gpunn.gpu import stored
from gpunn.gpu.launcher import KernelSource, ceil_div
from gpunn.gpu.launches import Struct

# What KernelSource is given for a file of update rules.
DECLARED: dict[str, Any] = {**stored.DECLARED, "VEC": (1, 4), "only": stored.is_declared}

# As in multi_tensor.cuh.
BLOCK = 256

_CHUNK = BLOCK * 16

_TABLE_BYTES = 3880


@dataclass(frozen=True)
class Table:
    """The tensors of one launch.

    Attributes
    ----------
    struct : Struct
        A TensorTable.
    first, count : int
        Which of the tensors these are.
    chunks : int
        The grid's width.
    pointees : callable
        Gives the arrays behind the pointers, for the launcher.
    vec : int
        The vector width that all of them allow.
    dtype : numpy dtype
        That of all arrays.
    """

    struct: Struct
    first: int
    count: int
    chunks: int
    pointees: Callable[[], list[tuple[Any, str, str]]]
    vec: int
    dtype: np.dtype

    def macros(self, op: str) -> dict[str, Any]:
        """Those of a kernel that ``DECLARED`` is given for."""
        return {**stored.macros_of(self.dtype, op), "VEC": self.vec}


def tables(
    *columns: tuple[str, str, Sequence[Any]], flags: Sequence[bool] | None = None, form: int = 0
) -> Iterator[Table]:
    """Split lists of arrays into tables.

    Parameters
    ----------
    columns : (name, access, arrays)
        ``arrays`` has one array for each tensor, or None; ``access`` is "in" or "inout". In the update rule's order.
    flags : sequence of bool, optional
        What the update rule needs to know about each tensor.
    form : int
        What the update rule needs to know about all tensors.
    """
    _, capacity = _table_type(len(columns))
    tensors = list(zip(*(arrays for _, _, arrays in columns), strict=True))
    for first in range(0, len(tensors), capacity):
        members = tensors[first : first + capacity]
        addresses = tuple([tuple([None if a is None else address_of(a) for a in arrays]) for arrays in members])
        sizes = tuple([arrays[0].size for arrays in members])
        marks = (False,) * len(members) if flags is None else tuple(map(bool, flags[first : first + capacity]))
        struct, chunks, vec = _table(addresses, sizes, marks, form, members[0][0].itemsize)

        def pointees(first: int = first, members: list[Any] = members) -> list[tuple[Any, str, str]]:
            return [
                (a, access, f"{name}[{first + i}]")
                for i, arrays in enumerate(members)
                for a, (name, access, _) in zip(arrays, columns, strict=True)
                if a is not None
            ]

        yield Table(struct, first, len(members), chunks, pointees, vec, members[0][0].dtype)


def launch_rule(
    device: Device, source: KernelSource, kernel: str, scalars: Any, error: Any, **columns: Sequence[Any]
) -> None:
    """Launch an optimiser's update rule: once for as many tensors as a table has room for.

    Parameters
    ----------
    scalars, error : arrays
        The rule's numbers, and the device's error buffer.
    columns : sequences of arrays
        As for :func:`tables`, by name; all but ``grads`` are written too.
    """
    for t in tables(*((name, "in" if name == "grads" else "inout", arrays) for name, arrays in columns.items())):
        args = (t.struct, scalars, error)
        source.launch(device, kernel, (t.chunks, 1, 1), BLOCK, args, pointees=t.pointees, **t.macros(kernel))


@functools.lru_cache(maxsize=64)
def _table(
    addresses: tuple[tuple[int | None, ...], ...],
    sizes: tuple[int, ...],
    flags: tuple[bool, ...],
    form: int,
    itemsize: int,
) -> tuple[Struct, int, int]:
    """The struct, the number of chunks and the vector width; the same in most steps, as memory is reused."""
    kind, _ = _table_type(len(addresses[0]))
    struct = np.zeros(1, kind)
    rows, chunks = struct["row"][0], 0
    for i, (pointers, size, flag) in enumerate(zip(addresses, sizes, flags, strict=True)):
        rows[i] = [pointer or 0 for pointer in pointers], size, chunks, flag
        chunks += ceil_div(size, _CHUNK)
    struct["count"], struct["form"] = len(sizes), form
    used = [pointer for pointers, size in zip(addresses, sizes, strict=True) for pointer in pointers if size]
    aligned = all(pointer % min(16, 4 * itemsize) == 0 for pointer in used if pointer is not None)
    return Struct(struct), chunks, 4 if aligned else 1


@functools.cache
def _table_type(arrays: int) -> tuple[np.dtype, int]:
    """A TensorTable with rows of ``arrays`` arrays, and how many rows it has."""
    row = np.dtype([("array", np.uint64, (arrays,)), ("n", np.int64), ("first_chunk", np.int32), ("flag", np.int32)])
    capacity = (_TABLE_BYTES - 8) // row.itemsize
    return np.dtype([("row", row, (capacity,)), ("count", np.int32), ("form", np.int32)]), capacity
