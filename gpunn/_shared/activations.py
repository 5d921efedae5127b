"""Argument checks that the activations share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, UsageError, here


def check_floating(op: str, x: Tensor) -> None:
    """Raise DTypeError naming ``op`` unless x is floating."""
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")


def number(op: str, name: str, value: Any) -> float:
    """``value`` as a finite float, also of a tensor with one element, or UsageError naming the op and the argument."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise UsageError(f"{here(op)}: {name}: expected a finite number; got {value!r}.")
    return float(value)
