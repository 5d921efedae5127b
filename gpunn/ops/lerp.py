"""Linear interpolation between two tensors, composed of ops that have kernels."""

from __future__ import annotations

from typing import Any

from gpunn._half import FLOATING
from gpunn._promotion import category
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, here
from gpunn.ops.where import where


def lerp(x: Tensor, end: Tensor, weight: Any) -> Tensor:
    """x + weight * (end - x), exactly x at weight 0 and exactly ``end`` at 1.

    Parameters
    ----------
    x, end : Tensor
        Floating, of one dtype; shapes broadcast.
    weight : Tensor or number
        Broadcasts too.

    Raises
    ------
    DTypeError
        If the dtypes differ or are not floating.

    Examples
    --------
    >>> import gpunn
    >>> lerp(gpunn.zeros(2), gpunn.ones(2), 0.25).tolist()
    [0.25, 0.25]
    """
    kinds = [v.dtype for v in (x, end, weight) if isinstance(v, Tensor)]
    if len({*kinds}) > 1 or kinds[0].kind not in FLOATING:
        found = ", ".join(str(kind) for kind in kinds)
        raise DTypeError(f"{here('lerp')}: expected one floating dtype; got {found}. Convert with .to(dtype).")
    if not isinstance(weight, Tensor) and category(weight) is None:
        raise DTypeError(f"{here('lerp')}: weight: expected a Tensor or a number; got {type(weight).__name__}.")
    step = end - x
    # Beginning at the nearer end makes both ends exact.
    if not isinstance(weight, Tensor):
        return x + weight * step if abs(weight) < 0.5 else end - step * (1 - weight)
    return where(weight.abs() < 0.5, x + weight * step, end - step * (1 - weight))
