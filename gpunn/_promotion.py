"""The dtype in which operands meet, as PyTorch's rules have it.

There are three kinds of operands: tensors with axes, tensors without, and numbers. A later kind changes the dtype only
where its category (bool, integer, floating) is higher than that of all kinds before it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.errors import DTypeError

if TYPE_CHECKING:
    from gpunn._tensor import Tensor

CATEGORIES = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2}  # "V" is bfloat16, see ``_half``
_NUMBERS = [np.dtype(np.bool_), np.dtype(np.int64), np.dtype(np.float32)]  # of a Python number, by category


def default_float() -> np.dtype:
    """The dtype of Python's floats, and of new tensors that nothing else decides."""
    return _NUMBERS[2]


def use_as_default(dtype: np.dtype) -> None:
    """Have :func:`default_float` return another one, in all threads."""
    _NUMBERS[2] = dtype


@functools.cache
def promoted(a: np.dtype, b: np.dtype) -> np.dtype:
    """The smallest dtype that holds both: of an integer and a floating one the floating one, whatever its size.

    Raises
    ------
    DTypeError
        If no integer dtype holds both, as with int64 and uint64.
    """
    if a == b:
        return a
    first, second = CATEGORIES[a.kind], CATEGORIES[b.kind]
    if first != second:
        return a if first > second else b
    both = np.promote_types(a, b)
    if first < 2 and both.kind == "f":
        raise DTypeError(f"{a} and {b} have no common integer dtype; convert one of them with .to(dtype).")
    return both


def category(value: Any) -> int | None:
    """The category of a Python or NumPy number; None if it is none, or not real."""
    if isinstance(value, np.generic):
        return CATEGORIES.get(value.dtype.kind)
    if isinstance(value, bool):
        return 0
    return 1 if isinstance(value, int) else 2 if isinstance(value, float) else None


def common_dtype(tensors: Iterable[Tensor], categories: Iterable[int] = ()) -> np.dtype:
    """The dtype of a result of these tensors and of numbers of these categories.

    Raises
    ------
    DTypeError
        If no integer dtype holds those of two tensors.
    """
    with_axes: np.dtype | None = None
    without: np.dtype | None = None
    for t in tensors:
        if t.ndim:
            with_axes = t.dtype if with_axes is None else promoted(with_axes, t.dtype)
        else:
            without = t.dtype if without is None else promoted(without, t.dtype)
    found = [dtype for dtype in (with_axes, without) if dtype is not None]
    found += [_NUMBERS[c] for c in categories]
    result = found[0]
    for dtype in found[1:]:
        if CATEGORIES[dtype.kind] > CATEGORIES[result.kind]:
            result = dtype
    return result


def can_cast(from_: np.dtype, to: np.dtype) -> bool:
    """Whether a result may be written to a tensor of another dtype in place: not to a lower category."""
    return CATEGORIES[from_.kind] <= CATEGORIES[to.kind]
