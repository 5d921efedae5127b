"""Arguments that are numbers, whole or real: Python's, NumPy's, or a tensor of one element."""

from __future__ import annotations

import math
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


def real_number(
    op: str,
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: bool = False,
    finite: bool = True,
) -> float:
    """``value`` as a float; UsageError naming the op and the argument unless it is a real number in its range, not NaN.

    Parameters
    ----------
    op, name : str
        For the error.
    value : anything
        Python's or NumPy's number, or a tensor or array of one element.
    least, most : float
        The range, ends included.
    above : bool
        Whether ``least`` itself is left out.
    finite : bool
        Whether infinity is refused.
    """
    try:
        plain = value if isinstance(value, int | float) else value.item()
        found = float(plain) if isinstance(plain, int | float) else math.nan
    except (AttributeError, TypeError, ValueError, OverflowError):  # no number, several, or one beyond all floats
        found = math.nan
    if least <= found <= most and not (above and found == least) and not (finite and math.isinf(found)):
        return found
    expected = "a finite number" if finite else "a number"
    if most < math.inf:
        expected = f"a number from {least:g} to {most:g}"
    elif least > -math.inf:
        expected += f" {'above' if above else 'of at least'} {least:g}"
    raise UsageError(f"{here(op)}: {name}: expected {expected}; got {value!r}.")
