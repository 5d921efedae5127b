"""Kernels whose arrays are of 16 bits and that compute in float32 (``kernels/stored.cuh``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn._half import FLOAT32, is_bfloat16, is_half
from gpunn.gpu.launcher import c_type

# What KernelSource declares for a kernel file that has `stored` arrays.
DECLARED: dict[str, Any] = {"REAL": ("float", "double"), "STORED": (0, 1, 2)}
# And for one that has `parameter` arrays.
WITH_PARAMETERS: dict[str, Any] = {**DECLARED, "PARAMETERS": (0, 1)}
_BFLOAT16, _FLOAT16 = 1, 2


def is_declared(macros: Mapping[str, str]) -> bool:
    """KernelSource's ``only``: 16-bit numbers are computed with in float32."""
    if macros["STORED"] == "0":
        return macros.get("PARAMETERS", "0") == "0"
    return macros["REAL"] == "float"


def macros_of(dtype: np.dtype, op: str) -> dict[str, Any]:
    """REAL and STORED of arrays of this floating dtype; DTypeError naming ``op``."""
    if not is_half(dtype):
        return {"REAL": c_type(dtype, op), "STORED": 0}
    return {"REAL": "float", "STORED": _BFLOAT16 if is_bfloat16(dtype) else _FLOAT16}


def macros_with(dtype: np.dtype, op: str, *parameters: Any) -> dict[str, Any]:
    """The same, and PARAMETERS of parameters' arrays, which may be None and are of one dtype."""
    return {**macros_of(dtype, op), "PARAMETERS": int(any(p is not None and is_half(p.dtype) for p in parameters))}


def computed(dtype: np.dtype) -> np.dtype:
    """The dtype that a kernel computes in: also of its arrays that are not ``stored``."""
    return FLOAT32 if is_half(dtype) else dtype


def bits(array: Any) -> Any:
    """An array, or None, as a kernel takes it that has it as ``stored``."""
    return array.view(np.uint16) if array is not None and is_half(array.dtype) else array
