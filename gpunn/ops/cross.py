"""The cross product of vectors in space, composed of ops that have kernels."""

from __future__ import annotations

from gpunn._autocast import casting
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.ops.roll import roll


def cross(x: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along an axis of length 3.

    Parameters
    ----------
    x, other : Tensor
        Shapes that broadcast, with length 3 along ``dim``.
    dim : int, optional
        The first axis of length 3 if None.

    Raises
    ------
    ShapeError
        If there is no such axis.

    Examples
    --------
    >>> import gpunn
    >>> cross(gpunn.tensor([1, 0, 0]), gpunn.tensor([0, 1, 0])).tolist()
    [0, 0, 1]
    """
    if casting.on:
        x, other = casting.inputs("cross", x, other)
    if dim is None:
        axis = next((a for a, n in enumerate(x.shape) if n == 3), None)
    else:
        axis = axis_of("cross", x, dim)
    behind = 0 if axis is None else x.ndim - axis
    if axis is None or x.ndim != other.ndim or x.shape[axis] != 3 or other.shape[-behind] != 3:
        raise ShapeError(f"{here('cross')}: expected an axis of length 3 in both; got {x.shape}, {other.shape}.")
    return roll(x, -1, axis) * roll(other, -2, axis) - roll(x, -2, axis) * roll(other, -1, axis)
