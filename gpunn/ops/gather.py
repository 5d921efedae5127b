"""One index for each element of the result: gather and take_along_dim (``kernels/gather.cu``, ``scatter.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._layout import physical, physical_axes, physical_shape
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.gpu import gather as kernels
from gpunn.ops.expand import expand
from gpunn.ops.getitem import _index_tensor
from gpunn.ops.reshape import reshape
from gpunn.ops.take_at import _flat_places, _grouped_sums
from gpunn.primitive import primitive
from gpunn.tape import record

# -- an index along one axis ----------------------------------------------------------------------


@primitive(returns=("y",), moves=True)
def gather_along(xp: Any, x: Any, index: Any, axis: int) -> Any:
    """y[i, j, k] = x[i, index[i, j, k], k] for axis 1, and so on; along other axes the index may be shorter than x."""
    part = x[tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))]
    return xp.ascontiguousarray(xp.take_along_axis(part, index, axis))


gather_along.kernel(kernels.gather_along)


@primitive(returns=("dx",))
def gather_along_backward(xp: Any, dy: Any, index: Any, shape: tuple[int, ...], axis: int) -> Any:
    """The gradient of :func:`gather_along` for x of ``shape``: each element's sum of dy, in a fixed order."""
    places = [xp.arange(n).reshape([-1 if b == a else 1 for b in range(len(shape))]) for a, n in enumerate(index.shape)]
    places[axis] = index
    rows, flat = _grouped_sums(xp, dy.reshape(-1, 1), _flat_places(xp, places, list(shape)))
    dx = xp.zeros(math.prod(shape), dy.dtype)
    dx[flat] = rows[:, 0]
    return dx.reshape(shape)


gather_along_backward.kernel(kernels.gather_along_backward)


def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """y[i, j, k] = x[i, index[i, j, k], k] for ``dim`` 1, and so on.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis that is indexed.
    index : Tensor
        int32 or int64, none negative; with as many axes as x, and no longer than x along the other axes.

    Returns
    -------
    Tensor
        Of the shape of ``index``.

    Raises
    ------
    RangeError
        If an index is outside the axis.
    ShapeError
        If the shapes are incompatible.

    Examples
    --------
    >>> import gpunn
    >>> gather(gpunn.tensor([[1, 2], [3, 4]]), 1, gpunn.tensor([[0, 0], [1, 0]])).tolist()
    [[1, 1], [4, 3]]
    """
    return _gather("gather", x, dim, index)


def _gather(op: str, x: Tensor, dim: int, index: Tensor) -> Tensor:
    axis = axis_of(op, x, dim)
    if not x.ndim and isinstance(index, Tensor) and index.ndim <= 1:
        return reshape(_gather(op, reshape(x, 1), 0, reshape(index, -1)), index.shape)
    if x.ndim == 1 and isinstance(index, Tensor) and not index.ndim:  # PyTorch takes a scalar for a vector of one
        return reshape(_gather(op, x, 0, reshape(index, 1)), ())
    places = _index_tensor(op, x, index, axis, x.shape[axis] if x.ndim else 1)
    longer = index.ndim != x.ndim or any(
        n > m for a, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if a != axis
    )
    if longer:
        raise ShapeError(
            f"{here(op)}: expected index with {x.ndim} axes, along all but axis {axis} no longer than x of shape "
            f"{x.shape}; got {index.shape}."
        )
    device, shape = x.device, physical_shape(x.shape)
    places, (stored,) = physical(places), physical_axes((axis,), x.ndim)
    y = gather_along(device, x._physical, places, stored)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gather_along_backward(device, dy, places, shape, stored),)

    return record(op, y, device, (x,), backward, saves=(index,))


def take_along_dim(x: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """:func:`gather` with broadcasting along the other axes, for indices as ``argmax`` and the like return them.

    Parameters
    ----------
    x : Tensor
    indices : Tensor
        int32 or int64, none negative.
    dim : int, optional
        The axis; None takes from all elements in logical order.

    Raises
    ------
    RangeError
        If an index is outside the axis.
    ShapeError
        If the shapes do not broadcast.
    """
    op = "take_along_dim"
    if dim is None:
        return _gather(op, reshape(x, (x.numel(),)), 0, reshape(indices, (indices.numel(),)))
    if x.ndim != indices.ndim or not x.ndim:
        raise ShapeError(f"{here(op)}: expected x and indices with equally many axes; got {x.shape}, {indices.shape}.")
    axis = axis_of(op, x, dim)
    others = [tuple(1 if a == axis else n for a, n in enumerate(v.shape)) for v in (x, indices)]
    try:
        wide = np.broadcast_shapes(*others)
    except ValueError:
        raise ShapeError(
            f"{here(op)}: shapes {x.shape} and {indices.shape} do not broadcast along all axes but {axis}."
        ) from None
    x, indices = (expand(v, (*wide[:axis], v.shape[axis], *wide[axis + 1 :])) for v in (x, indices))
    return _gather(op, x, axis, indices)
