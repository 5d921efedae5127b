"""One pass over many tensors: the table that a launch carries (``kernels/multi_tensor.cuh``), and blocks on the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn import threads
from gpunn._device import address_of
from gpunn.launcher import ceil_div, vector_width

# As in multi_tensor.cuh.
BLOCK = 256
_CHUNK = BLOCK * 16
_TABLE_BYTES = 3880
# Elements the CPU works on at a time: what it keeps stays in the last-level cache, and NumPy's calls, 1 us each, are
# few beside it. Parts of 2^15 in the second-level cache took half as long again.
_PART = 1 << 18
_LEAST = 1 << 15  # elements of all tensors together from which on a second thread is worth waking


@dataclass(frozen=True)
class Table:
    """As many tensors as one launch takes.

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
    """Cut lists of arrays into tables.

    Parameters
    ----------
    columns : (name, access, arrays)
        ``arrays`` has one array for each tensor, or None; ``access`` is "in" or "inout". In the order of the rule.
    flags : sequence of bool, optional
        What the rule wants to know of each tensor.
    form : int
        What the rule wants to know of all tensors.
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
    """A TensorTable of rows of so many arrays, and how many rows it has."""
    row = np.dtype([("array", np.uint64, (arrays,)), ("n", np.int64), ("first_chunk", np.int32), ("flag", np.int32)])
    capacity = (_TABLE_BYTES - 8) // row.itemsize
    return np.dtype([("row", row, (capacity,)), ("count", np.int32), ("form", np.int32)]), capacity


def on_blocks(update: Callable[..., Any], *columns: Sequence[Any]) -> list[list[Any]]:
    """Call ``update(tensor's number, *its parts)`` for every cache-sized block of every tensor, on all threads.

    Parameters
    ----------
    update : callable
        Works in place on flat views of the tensor's arrays (None where there is none). What it computes may
        depend on its block alone: then the bits are the same for any number of threads.
    columns : sequences of numpy.ndarray or None
        C-contiguous; the first has an array for every tensor.

    Returns
    -------
    list of list
        For each tensor what ``update`` returned for its blocks, in their order.
    """
    flat: list[list[Any]] = [[None if a is None else a.reshape(-1) for a in column] for column in columns]
    # An even number of parts: two threads then have the same work.
    parts = [threads.spans(a.size, 2 * ceil_div(a.size, 2 * _PART) if a.size > _LEAST else 1) for a in flat[0]]
    results: list[list[Any]] = [[None] * len(found) for found in parts]
    pieces = [(i, block) for i, found in enumerate(parts) for block in range(len(found))]

    def task(piece: tuple[int, int]) -> None:
        i, block = piece
        part = parts[i][block]
        results[i][block] = update(i, *(None if column[i] is None else column[i][part] for column in flat))

    # Infinities and NaN are told of by the loss, not by NumPy's warnings.
    with np.errstate(all="ignore"):
        if sum(a.size for a in flat[0]) <= _LEAST:  # less work than waking a thread is
            for piece in pieces:
                task(piece)
        else:
            threads.run(task, pieces)
    return results


def scratch(like: np.ndarray, count: int) -> np.ndarray:
    """``count`` working arrays as ``like``, kept by this thread between calls."""
    return threads.scratch.array("multi_tensor", (count, *like.shape), like.dtype)


def working_gradient(p: np.ndarray, g: np.ndarray, decay: Any, sign: Any, room: np.ndarray) -> np.ndarray:
    """sign * g + decay * p, in ``room`` where it is not g itself."""
    if decay:  # 0 times an infinite parameter would be NaN
        d = np.multiply(p, decay, out=room)
        return (np.add if sign == 1 else np.subtract)(d, g, out=d)
    return g if sign == 1 else np.negative(g, out=room)


def example_arrays(rng: np.random.Generator, sizes: Sequence[int], dtype: Any, *, positive: bool = False) -> list[Any]:
    """Random arrays for the examples of a primitive."""
    made = [rng.standard_normal(n).astype(dtype) for n in sizes]
    return [a * a for a in made] if positive else made


def error_words(failed: bool = False) -> np.ndarray:
    """A device's error buffer for the examples of a primitive."""
    return np.array([int(failed), 0, 0, 0], np.int32)
