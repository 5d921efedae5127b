"""Reading numbers, and nested lists of them, as an array: what they mean is asked of each kind, not left to NumPy.

NumPy makes objects, texts and NaN of what is no number, and float64 of integers that no integer dtype holds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._half import FLOATING
from gpunn._interop import check_dtype, dtype_of, is_array, is_cupy
from gpunn._promotion import default_float, promoted
from gpunn._tensor import Tensor
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, here

_PYTHON = {bool: np.dtype(np.bool_), int: np.dtype(np.int64), float: np.dtype(np.float32)}  # float: the default one
_DEEPEST = 32  # axes that an array may have


def read(op: str, data: Any, dtype: Any) -> np.ndarray:
    """The array that ``data``, which is no array itself, stands for.

    Raises
    ------
    DTypeError
        If something in it is no number, or does not fit into the dtype.
    ShapeError
        If its rows are not of one length.
    """
    goal = None if dtype is None else dtype_of(op, dtype)
    found: dict[Any, None] = {}
    rows = _plain(op, data, found, 0)
    kinds = [default_float() if kind is float else _PYTHON.get(kind, kind) for kind in found]
    for kind in kinds:
        check_dtype(op, kind)
    if goal is None:
        goal = functools.reduce(promoted, kinds) if kinds else default_float()
    whole = all(kind.kind in "biu" for kind in kinds)
    try:
        values = np.array(rows)
    except ValueError as error:
        raise ShapeError(
            f"{here(op)}: {_uneven(rows) or error}. Fill up the shorter ones, or make several tensors."
        ) from None
    if whole and values.dtype.kind not in "biu":
        values = np.array(rows, object)  # integers of more than 64 bits, or of two kinds that NumPy makes floats of
    if goal.kind in FLOATING and values.dtype.kind == "O":
        try:
            values = np.array(rows, np.float64)
        except OverflowError:
            raise DTypeError(f"{here(op)}: an integer of more than 308 digits does not fit into {goal}.") from None
    if goal.kind in "iu" and values.dtype != goal and values.size:
        _check_range(op, values, goal)
    with quiet():  # a float64 beyond float32 is infinite, as in PyTorch
        return values.astype(goal)


def _check_range(op: str, values: np.ndarray, goal: np.dtype) -> None:
    """Raise if a number does not fit into an integer dtype, cut off if need be."""
    limits = np.iinfo(goal)
    if values.dtype.kind in FLOATING:
        # As floats: the largest of 64 bits is rounded up to a number that does not fit.
        largest = float(limits.max)
        fits = (values > limits.min - 1.0) & (values < largest if largest > limits.max else values < largest + 1)
        fits |= values == limits.min
    else:
        values = values.astype(object)
        fits = np.asarray((values >= limits.min) & (values <= limits.max), bool)
    if not fits.all():
        raise DTypeError(f"{here(op)}: {values[~fits].flat[0]} does not fit into {goal}. Pass another dtype=.")


def _uneven(rows: Any) -> str | None:
    """What is wrong with the first level of lists whose lengths differ."""
    level = [rows]
    while level:
        lengths = {len(row) if hasattr(row, "__len__") else None for row in level}
        if None in lengths and len(lengths) > 1:
            return "numbers and lists stand side by side"
        if len(lengths) > 1:
            return "the rows are not of one length: " + " and ".join(map(str, sorted(lengths)[:2]))  # type: ignore[type-var]
        if None in lengths:
            return None
        level = [item for row in level for item in row]
    return None


def _plain(op: str, data: Any, found: dict[Any, None], depth: int) -> Any:
    """``data`` in lists, numbers and NumPy arrays; notes in ``found`` the types and dtypes of the numbers."""
    kind = type(data)
    if kind in _PYTHON:
        found[kind] = None
        return data
    if kind is list or kind is tuple:
        among = set(map(type, data))
        if among <= _PYTHON.keys():  # nearly all rows: no look at each number
            found.update(dict.fromkeys(among))
            return data
        if depth == _DEEPEST:
            raise ShapeError(f"{here(op)}: lists in lists go deeper than an array's {_DEEPEST} axes; is one in itself?")
        return [_plain(op, item, found, depth + 1) for item in data]
    if isinstance(data, np.generic):
        found[data.dtype] = None
        return data
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise DTypeError(
                f"{here(op)}: a Tensor of shape {data.shape} among the numbers. Join tensors with gpunn.stack, which "
                "keeps their gradients."
            )
        found[data.dtype] = None
        return data.item()
    if is_cupy(data):
        raise DTypeError(f"{here(op)}: CuPy arrays among the numbers. Join them with cupy.stack first.")
    if not isinstance(data, np.ndarray) and hasattr(kind, "__array__"):
        data = np.asarray(data)
    if is_array(data):
        found[data.dtype] = None
        return data
    for number, plain in _PYTHON.items():
        if issubclass(kind, number):  # an enumeration, for example
            found[number] = None
            return number(data) if plain.kind != "i" else int(data)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _plain(op, list(data), found, depth)
    raise DTypeError(f"{here(op)}: cannot make an array of numbers from {_told(data)}.{_fix(data)}")


def _told(data: Any) -> str:
    if isinstance(data, str | bytes):
        return f"the text {data[:20]!r}"
    return f"the complex number {data}" if isinstance(data, complex) else type(data).__name__


def _fix(data: Any) -> str:
    if isinstance(data, str | bytes):
        return " Convert texts with float() or int() first."
    if isinstance(data, complex):
        return " Pass .real and .imag."
    if data is None:
        return " Is a value missing, or a return?"
    if isinstance(data, dict):
        return " Pass its values: list(d.values())."
    return " Pass a list of it: list(data)." if hasattr(data, "__iter__") else " Pass numbers, or lists of them."
