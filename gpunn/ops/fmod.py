"""The remainder of a division that rounds towards 0, composed of ``remainder``."""

from __future__ import annotations

from typing import Any

from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.compare import compare
from gpunn.ops.div import remainder
from gpunn.ops.where import where
from gpunn.tape import is_grad_enabled


def fmod(x: Tensor, other: Any) -> Tensor:
    """x - other * trunc(x / other), exact, with x's sign; ``%`` and ``remainder`` have the sign of ``other``.

    Parameters
    ----------
    x : Tensor
    other : Tensor or number
        Broadcasts with x. It gets no gradient.

    Raises
    ------
    UsageError
        If ``other`` requires one.

    Examples
    --------
    >>> import gpunn
    >>> fmod(gpunn.tensor([-3.0, 3.0]), -2).tolist()
    [-1.0, 1.0]
    """
    if isinstance(other, Tensor) and other.requires_grad and is_grad_enabled():
        raise UsageError(f"{here('fmod')}: the divisor gets no gradient; use other.detach().")
    size = abs(other)
    return where(compare("lt", x, 0), -remainder(-x, size), remainder(x, size))
