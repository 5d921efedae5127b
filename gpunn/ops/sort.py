"""Sorting along an axis: sort, argsort, topk (``kernels/sort.cu``). ``gather`` fetches the elements in order."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpunn._device import Device
from gpunn._layout import physical
from gpunn._shared.axes import axis_of
from gpunn._shared.numbers import whole_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError, here
from gpunn.gpu.along_axis import by_rows
from gpunn.gpu.order import order_of_rows
from gpunn.ops.gather import gather
from gpunn.primitive import primitive


class Sorted(NamedTuple):
    """What sort and topk return."""

    values: Tensor
    indices: Tensor


@primitive(returns=("index",))
def sort_places(xp: Any, x: Any, axis: int, descending: bool) -> Any:
    """index (int64, physical): the stable order of a logical array along ``axis``; NaN counts as the largest number."""
    if not descending:
        return physical(xp.argsort(x, axis=axis, kind="stable").astype("int64", copy=False))
    # From the end: equal elements then come in the opposite order, twice.
    backwards = xp.flip(xp.argsort(xp.flip(x, axis), axis=axis, kind="stable"), axis)
    return physical(x.shape[axis] - 1 - backwards.astype("int64", copy=False))


@sort_places.kernel
def _(device: Device, x: Any, axis: int, descending: bool) -> Any:
    return by_rows(device, x, axis, lambda rows: order_of_rows(device, rows, descending))


def _places(op: str, x: Tensor, dim: int, descending: Any) -> Tensor:
    if not isinstance(descending, bool | int):
        raise UsageError(f"{here(op)}: descending: expected True or False; got {descending!r}.")
    axis = axis_of(op, x, dim)
    if not x.ndim:
        return _places(op, x.reshape(1), 0, descending).reshape(())
    if x.dtype.kind == "i" and x.dtype.itemsize < 4:
        x = x.long()  # in the same order; kernels know no shorter ones
    array = sort_places(x.device, x.array, axis, bool(descending))
    return Tensor._of_physical(array, x.device)


def sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> Sorted:
    """The elements along an axis in order, and where each was. Equal elements keep their order.

    Parameters
    ----------
    x : Tensor
        NaN counts as larger than any number.
    dim : int
        The axis.
    descending : bool
        Largest first.
    stable : bool, optional
        For PyTorch's programs: it always is.

    Returns
    -------
    (values, indices)
        Gradients flow to the elements; indices are int64.

    Examples
    --------
    >>> import gpunn
    >>> sort(gpunn.tensor([3, 1, 2]), descending=True).indices.tolist()
    [0, 2, 1]
    """
    indices = _places("sort", x, dim, descending)
    return Sorted(gather(x, dim, indices), indices)


def argsort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that :func:`gpunn.sort` returns.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    descending : bool
        Largest first.
    stable : bool
        For PyTorch's programs: it always is.

    Returns
    -------
    Tensor
        int64.
    """
    return _places("argsort", x, dim, descending)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Sorted:
    """The k largest elements along an axis, largest first, and where they were.

    Parameters
    ----------
    x : Tensor
    k : int
        How many; at most the axis' length.
    dim : int
        The axis.
    largest : bool
        False takes the smallest, smallest first.
    sorted : bool
        For PyTorch's programs: they always are. Of equal elements those with the lowest index are taken.

    Returns
    -------
    (values, indices)
        As of :func:`gpunn.sort`.

    Raises
    ------
    UsageError
        If there are fewer than k elements.

    Examples
    --------
    >>> import gpunn
    >>> topk(gpunn.tensor([3.0, 1.0, 2.0]), 2).values.tolist()
    [3.0, 2.0]
    """
    op = "topk"
    axis, count = axis_of(op, x, dim), whole_number(op, "k", k, 0)
    length = x.shape[axis] if x.ndim else 1
    if count > length:
        raise UsageError(f"{here(op)}: k: expected at most {length}, the length of axis {axis}; got {count}.")
    indices = _places(op, x, dim, largest)
    if x.ndim:
        indices = indices.narrow(axis, 0, count)
    return Sorted(gather(x, dim, indices), indices)
