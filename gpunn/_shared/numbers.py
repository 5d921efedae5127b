"""Arguments that are whole numbers: Python's, NumPy's, or an integer tensor of one element."""

from __future__ import annotations

import operator
from typing import Any

from gpunn.errors import UsageError, here


def whole_number(op: str, name: str, value: Any, minimum: int | None = None) -> int:
    """``value`` as an int; UsageError naming the op and the argument unless it is one, of at least ``minimum``."""
    if type(value) is not int:
        value = as_int(value, value)
    if type(value) is not int or (minimum is not None and value < minimum):
        least = "" if minimum is None else f" of at least {minimum}"
        raise UsageError(f"{here(op)}: {name}: expected a whole number{least}; got {value!r}.")
    return value


def as_int(value: Any, otherwise: Any = None) -> Any:
    """``value`` as an int if it is a whole number of any kind, else ``otherwise``. A bool is none."""
    if (
        isinstance(value, bool)
        or getattr(getattr(value, "dtype", None), "kind", "i") == "b"
        or getattr(value, "ndim", 0)
    ):
        return otherwise
    try:
        return operator.index(value)
    except (TypeError, ValueError):  # Tensor's is a UsageError, which is a ValueError
        return otherwise
