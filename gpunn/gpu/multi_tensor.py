"""The table of tensors that a launch over many of them carries (``kernels/multi_tensor.cuh``)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._layout import address_of
from gpunn.gpu.launcher import ceil_div, vector_width

# As in multi_tensor.cuh.
BLOCK = 256

_CHUNK = BLOCK * 16

_TABLE_BYTES = 3880


@dataclass(frozen=True)
class Table:
    """The tensors of one launch.

    Attributes
    ----------
    struct : numpy.ndarray
        A TensorTable, of size one.
    first, count : int
        Which of the tensors these are.
    chunks : int
        The grid's width.
    pointees : list
        The arrays behind the pointers, for the launcher.
    vec : int
        The vector width that all of them allow.
    """

    struct: np.ndarray
    first: int
    count: int
    chunks: int
    pointees: list[tuple[Any, str, str]]
    vec: int


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
    kind, capacity = _table_type(len(columns))
    tensors = list(zip(*(arrays for _, _, arrays in columns), strict=True))
    for first in range(0, len(tensors), capacity):
        members = tensors[first : first + capacity]
        struct = np.zeros(1, kind)
        rows, chunks, pointees = struct["row"][0], 0, []
        for i, arrays in enumerate(members):
            flag = flags is not None and flags[first + i]
            size = arrays[0].size
            rows[i] = [0 if a is None else address_of(a) for a in arrays], size, chunks, flag
            chunks += ceil_div(size, _CHUNK)
            pointees += [
                (a, access, f"{name}[{first + i}]")
                for a, (name, access, _) in zip(arrays, columns, strict=True)
                if a is not None
            ]
        struct["count"], struct["form"] = len(members), form
        vec = vector_width(4, *(a for a, _, _ in pointees if a.size))
        yield Table(struct, first, len(members), chunks, pointees, vec)


@functools.cache
def _table_type(arrays: int) -> tuple[np.dtype, int]:
    """A TensorTable with rows of ``arrays`` arrays, and how many rows it has."""
    row = np.dtype([("array", np.uint64, (arrays,)), ("n", np.int64), ("first_chunk", np.int32), ("flag", np.int32)])
    capacity = (_TABLE_BYTES - 8) // row.itemsize
    return np.dtype([("row", row, (capacity,)), ("count", np.int32), ("form", np.int32)]), capacity
