"""float16 and bfloat16: what the rest asks about dtypes of 16 bits.

NumPy has float16 itself. bfloat16 is that of ml_dtypes, which registers it with NumPy and is imported when somebody
first asks for it; NumPy counts it among the kinds ``"V"``, so that ``kind in FLOATING`` says that a dtype is floating.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from gpunn.errors import DTypeError, here

FLOATING = "fV"  # NumPy's kinds of the floating dtypes that tensors have
FLOAT16, FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)
NAMES = ("float16", "bfloat16")


class _Met:
    """Whether a 16-bit dtype has been named in this process: until then no op looks for arrays of one."""

    __slots__ = ("any",)

    def __init__(self) -> None:
        self.any = False


met = _Met()


def is_half(dtype: np.dtype) -> bool:
    """Whether a dtype is float16 or bfloat16."""
    return dtype.itemsize == 2 and dtype.kind in FLOATING


def goes_with(dtype: np.dtype, parameter: np.dtype) -> bool:
    """Whether a normalisation of inputs of ``dtype`` takes parameters of another: float32 beside 16 bits."""
    return parameter == dtype or (parameter == FLOAT32 and is_half(dtype))


def noted(array: Any) -> Any:
    """An array that has come from a file; ops look for 16-bit ones from now on if it is one."""
    if is_half(array.dtype):
        met.any = True
    return array


def is_bfloat16(dtype: np.dtype) -> bool:
    """Whether a dtype is bfloat16."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


class NoBfloat16:
    """What stands for bfloat16 where ml_dtypes is not installed: a name that programs may hold and compare."""

    def __repr__(self) -> str:
        return "bfloat16"


NO_BFLOAT16 = NoBfloat16()


@functools.cache
def bfloat16_dtype(op: str = "gpunn") -> np.dtype:
    """NumPy's dtype of bfloat16.

    Raises
    ------
    DTypeError
        If ml_dtypes cannot be imported.
    """
    try:
        found: Any = importlib.import_module("ml_dtypes")
    except ImportError as error:
        raise DTypeError(
            f"{here(op)}: dtype: bfloat16 needs ml_dtypes; importing it failed ({error}). Install it with "
            "pip install 'gpunn[bf16]'; float16 needs nothing."
        ) from None
    met.any = True
    return np.dtype(found.bfloat16)


def half_named(op: str, name: str) -> np.dtype:
    """The dtype of 16 bits with this name, ``"float16"`` or ``"bfloat16"``."""
    met.any = True
    return FLOAT16 if name == "float16" else bfloat16_dtype(op)


def limits(dtype: np.dtype) -> Any:
    """``numpy.finfo`` of a floating dtype, with bfloat16 too."""
    if dtype.kind == "f":
        return np.finfo(dtype)
    return importlib.import_module("ml_dtypes").finfo(dtype)


def readable(array: np.ndarray) -> np.ndarray:
    """Values that NumPy's functions know: bfloat16 as float32, which holds all of them."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array
