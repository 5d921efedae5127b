"""Sums of all elements so far along an axis.

Where kernels run, floating sums of up to 1024 elements are one product with a triangle of ones. That is n^2 products
for n elements instead of n additions, little beside a launch for hundreds, and NaN or infinity spread over the axis.
Longer axes and integers are the array library's, which a captured step refuses.
"""

from __future__ import annotations

from typing import Any

from gpunn._creation import ones
from gpunn._layout import logical, physical
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.ops.matmul import matmul
from gpunn.ops.tril import triu
from gpunn.primitive import primitive
from gpunn.tape import record

_LONGEST = 1024  # a triangle of 4 MB in float32


@primitive(returns=("y",))
def running_sum(xp: Any, x: Any, axis: int, backwards: bool) -> Any:
    """y[i] = x[0] + ... + x[i] along ``axis`` of a logical array, or x[i] + ... to the end if ``backwards``."""
    if not backwards:
        return physical(xp.cumsum(x, axis=axis, dtype=x.dtype))
    return physical(xp.flip(xp.cumsum(xp.flip(x, axis), axis=axis, dtype=x.dtype), axis))


def cumsum(x: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """y[i] = x[0] + x[1] + ... + x[i] along an axis.

    Parameters
    ----------
    x : Tensor
        Integers and bools give int64.
    dim : int
        The axis.
    dtype : dtype, optional
        Convert to it first.

    Returns
    -------
    Tensor
        On devices with kernels a captured step takes floating axes of up to 1024; there one NaN or infinity makes all
        sums of its axis NaN.

    Examples
    --------
    >>> import gpunn
    >>> cumsum(gpunn.tensor([1, 2, 3]), 0).tolist()
    [1, 3, 6]
    """
    axis = axis_of("cumsum", x, dim)
    if dtype is not None:
        x = x.to(dtype=dtype)
    elif x.dtype.kind != "f":
        x = x.long()
    if not x.ndim:
        return x.clone()
    device, n = x.device, x.shape[axis]
    if device.loader is not None and x.dtype.kind == "f" and 0 < n <= _LONGEST and x.numel():
        moved = x.transpose(axis, -1)
        triangle = triu(ones(n, n, dtype=x.dtype, device=device))
        return matmul(moved.reshape(-1, n), triangle).reshape(moved.shape).transpose(axis, -1)
    y = running_sum(device, x.array, axis, False)
    if x.dtype.kind != "f":
        return Tensor._of_physical(y, device)
    return record("cumsum", y, device, (x,), lambda dy, needs: (running_sum(device, logical(dy), axis, True),))
