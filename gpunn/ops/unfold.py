"""Windows along one axis as an axis of their own."""

from __future__ import annotations

from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._shared.places import windows_along
from gpunn._tensor import Tensor
from gpunn.errors import RangeError, here
from gpunn.ops.permute import movedim


def unfold(x: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """All windows of ``size`` elements along an axis, ``step`` apart, with a last axis for their elements.

    Parameters
    ----------
    x : Tensor
    dimension : int
        The axis.
    size : int
        Elements of a window.
    step : int
        From one window's first element to the next one's.

    Returns
    -------
    Tensor
        Like x, with (length - size) // step + 1 windows along the axis, and ``size`` along the new last one. A view
        where windows follow one another, else a copy; in PyTorch always a view.

    Raises
    ------
    RangeError
        If the window is longer than the axis.
    UsageError
        If size is negative or step is not above 0.

    Examples
    --------
    >>> import gpunn
    >>> gpunn.arange(5).unfold(0, 3, 2).tolist()
    [[0, 1, 2], [2, 3, 4]]
    """
    op = "unfold"
    if not x.ndim:
        return unfold(x.reshape(1), 0, size, step).reshape(-1)
    axis = axis_of(op, x, dimension)
    size, step = whole_number(op, "size", size, 0), whole_number(op, "step", step, 1)
    length = x.shape[axis]
    if size > length:
        raise RangeError(f"{here(op)}: size: expected at most {length}, the length of axis {axis}; got {size}.")
    windows = (length - size) // step + 1
    y = windows_along(x, axis, windows, size, step)
    y = y.reshape(*x.shape[:axis], windows, size, *x.shape[axis + 1 :])
    return movedim(y, axis + 1, -1)
