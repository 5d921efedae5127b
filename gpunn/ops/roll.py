"""Shifting elements around axes: two parts change places."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.ops.cat import cat


def roll(x: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """x shifted along axes; what leaves at the end comes back at the beginning.

    Parameters
    ----------
    x : Tensor
    shifts : int or sequence of int
        By how many places, to higher indices; one for each axis.
    dims : int or sequence of int, optional
        The axes. If None, x is shifted by one number as if all its elements were one line.

    Raises
    ------
    UsageError
        If there are not as many shifts as axes.

    Examples
    --------
    >>> import gpunn
    >>> roll(gpunn.tensor([1, 2, 3]), 1).tolist()
    [3, 1, 2]
    """
    op = "roll"
    steps = [whole_number(op, "shifts", n) for n in (shifts if isinstance(shifts, Sequence) else (shifts,))]
    if dims is None or (isinstance(dims, Sequence) and not dims and len(steps) == 1):
        if len(steps) != 1:
            raise UsageError(f"{here(op)}: dims: expected an axis for each of {len(steps)} shifts; got none.")
        return _rolled(x.reshape(-1), steps[0], 0).reshape(x.shape)
    axes = [axis_of(op, x, dim) for dim in (dims if isinstance(dims, Sequence) else (dims,))]
    if len(axes) != len(steps):
        raise UsageError(f"{here(op)}: expected as many shifts as dims; got {len(steps)} and {len(axes)}.")
    y = x
    for step, axis in zip(steps, axes, strict=True):
        y = _rolled(y, step, axis) if y.ndim else y
    return y.clone() if y is x else y


def _rolled(x: Tensor, step: int, axis: int) -> Tensor:
    n = x.shape[axis]
    step = step % n if n else 0
    if not step:
        return x.clone()
    return cat([x.narrow(axis, n - step, step), x.narrow(axis, 0, n - step)], axis)
