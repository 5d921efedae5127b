"""The indices of nonzero elements, and selection by a mask."""

from __future__ import annotations

import numpy as np

from gpunn._device import same_device
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.ops.expand import expand
from gpunn.ops.getitem import getitem
from gpunn.ops.reshape import reshape
from gpunn.ops.take_at import nonzero_places


def nonzero(x: Tensor, *, as_tuple: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Where x is not 0, in logical order; no gradient.

    Parameters
    ----------
    x : Tensor
    as_tuple : bool
        Return one tensor of indices for each axis, usable as an index, instead of (K, axes).

    Returns
    -------
    Tensor or tuple of them
        int64.
    """
    places = nonzero_places(x.device, x.array if x.ndim else x.array.reshape(1))
    if as_tuple:
        return tuple(Tensor._of_physical(line, x.device) for line in places)
    # For a scalar: (K, 0), as many indices as places, each without axes.
    return Tensor._of_physical(places.T.copy()[:, : x.ndim].copy(), x.device)


def masked_select(x: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` is True, in logical order.

    Parameters
    ----------
    x : Tensor
    mask : Tensor
        bool; x and mask broadcast together.

    Raises
    ------
    DTypeError
        If the mask is not bool.
    ShapeError
        If they do not broadcast.
    """
    op = "masked_select"
    if not isinstance(mask, Tensor) or mask.dtype.kind != "b":
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise DTypeError(f"{here(op)}: mask: expected a Tensor of bools; got {came}.")
    same_device(op, x.device, mask.device)
    try:
        shape = np.broadcast_shapes(x.shape, mask.shape)
    except ValueError:
        raise ShapeError(f"{here(op)}: shapes {x.shape} and {mask.shape} do not broadcast together.") from None
    x, mask = (v if v.shape == shape else expand(v, shape) for v in (x, mask))
    return getitem(x if x.ndim else reshape(x, 1), mask if mask.ndim else reshape(mask, 1))
