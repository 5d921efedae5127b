"""Zeroing elements by a mask at copy speed, on the CPU.

NumPy's ``where`` and masked copies go element by element. Multiplying the numbers' bits, viewed as integers, by 0 or 1
is a vector instruction. Unlike a product of the numbers, it turns infinities and NaN into zero as well.
"""

from __future__ import annotations

import numpy as np

from gpunn.cpu import threads

INTEGERS: dict[int, np.dtype] = {4: np.dtype(np.int32), 8: np.dtype(np.int64)}


def is_open(y: np.ndarray) -> np.ndarray:
    """Where a ReLU with output y lets the gradient pass: where y is not <= 0. NaN is not.

    Its output is never negative, so one comparison says so.
    """
    found: np.ndarray = y != 0
    return found


def keep_where(mask: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """out = values where mask, else 0.

    Parameters
    ----------
    mask : bool array
        C-contiguous, of values' shape.
    values, out : float32 or float64 arrays
        Of one shape and dtype, any strides; ``out`` may be ``values``.
    """
    integer = INTEGERS[values.itemsize]
    bits = threads.scratch.array("mask", mask.shape, integer)
    bits[...] = mask.view(np.int8)
    np.multiply(values.view(integer), bits, out=out.view(integer))
