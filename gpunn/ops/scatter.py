"""Writing and adding elements at the places that an index names: scatter, scatter_add, index_add.

Sums are the gradient of ``gather``, which has a kernel that adds in a fixed order. A number is written by a mask of the
places, a tensor's values by assignment at an index, where the last of several wins.
"""

from __future__ import annotations

from typing import Any

from gpunn._autocast import casting
from gpunn._creation_counted import arange
from gpunn._device import same_device
from gpunn._half import FLOATING
from gpunn._in_place import rewrite
from gpunn._layout import physical, physical_axes, physical_shape
from gpunn._promotion import category
from gpunn._shared.axes import axis_of
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, DTypeError, ShapeError, UsageError, here
from gpunn.ops.compare import compare
from gpunn.ops.gather import gather_along, gather_along_backward
from gpunn.ops.getitem import _index_tensor
from gpunn.ops.setitem import setitem
from gpunn.ops.where import where
from gpunn.tape import record


def scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """x with src[i, j] added at x[i, index[i, j]] for ``dim`` 1, and so on; places may occur several times.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis that is indexed.
    index : Tensor
        int64 or int32, none negative; with as many axes as x, no longer than x along the others.
    src : Tensor
        Of x's dtype, nowhere shorter than the index.

    Raises
    ------
    ShapeError, DTypeError
        If shapes or dtypes do not fit.
    RangeError
        If an index is outside the axis.

    Examples
    --------
    >>> import gpunn
    >>> scatter_add(gpunn.zeros(3), 0, gpunn.tensor([2, 0, 2]), gpunn.ones(3)).tolist()
    [1.0, 0.0, 2.0]
    """
    if casting.on:
        x, src = casting.inputs("scatter_add", x, src)
    return _added("scatter_add", x, dim, index, src)


def scatter(x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None) -> Tensor:
    """x with src[i, j] written to x[i, index[i, j]] for ``dim`` 1, and so on.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis that is indexed.
    index : Tensor
        int64 or int32, none negative; with as many axes as x, no longer than x along the others.
    src : Tensor or number
        What is written. Of several elements for one place the last is.
    value : number
        Another name of ``src``, for a number.
    reduce : {"add"}, optional
        Add instead.

    Raises
    ------
    ShapeError, DTypeError
        If shapes or dtypes do not fit.
    RangeError
        If an index is outside the axis.
    UsageError
        If ``reduce`` is something else.

    Examples
    --------
    >>> import gpunn
    >>> scatter(gpunn.zeros(2, 3), 1, gpunn.tensor([[2], [0]]), 1.0).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return _written("scatter", x, dim, index, src, value, reduce)


def scatter_(x: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None) -> Tensor:
    """:func:`gpunn.scatter` in place; returns itself."""
    return rewrite(
        x, "scatter_", lambda x: _written("scatter_", x, dim, index, src, value, reduce), value if src is None else src
    )


def scatter_add_(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """:func:`gpunn.scatter_add` in place; returns itself."""
    return rewrite(x, "scatter_add_", lambda x: _added("scatter_add_", x, dim, index, src), src)


def index_add(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """x with ``alpha`` times the slices of ``source`` added to its slices at ``index`` along ``dim``.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    index : Tensor, (K,)
        int64 or int32, none negative; an index may occur several times.
    source : Tensor
        Like x, with length K along ``dim``.
    alpha : float
        Factor.

    Raises
    ------
    ShapeError, DTypeError
        If shapes or dtypes do not fit.
    RangeError
        If an index is outside the axis.

    Examples
    --------
    >>> import gpunn
    >>> index_add(gpunn.zeros(3), 0, gpunn.tensor([1, 1]), gpunn.ones(2)).tolist()
    [0.0, 2.0, 0.0]
    """
    return _slices_added("index_add", x, dim, index, source, alpha)


def index_add_(x: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    """:func:`gpunn.index_add` in place; returns itself."""
    return rewrite(x, "index_add_", lambda x: _slices_added("index_add_", x, dim, index, source, alpha), source)


def _slices_added(op: str, x: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float) -> Tensor:
    axis = axis_of(op, x, dim)
    if not x.ndim:
        return _slices_added(op, x.reshape(1), 0, index, source.reshape(1), alpha).reshape(())
    wanted = (*x.shape[:axis], index.numel(), *x.shape[axis + 1 :])
    if index.ndim > 1 or source.shape != wanted:
        raise ShapeError(
            f"{here(op)}: expected index (K,) and source {(*x.shape[:axis], 'K', *x.shape[axis + 1 :])}; got "
            f"{index.shape} and {source.shape}."
        )
    wide = index.reshape([-1 if a == axis else 1 for a in range(x.ndim)]).expand(wanted)
    return _added(op, x, axis, wide, source if alpha == 1 else source * alpha)


def _checked(op: str, x: Tensor, axis: int, index: Tensor) -> Any:
    """The index as an array, logical."""
    places = _index_tensor(op, x, index, axis, x.shape[axis])
    others = (n > m for a, (n, m) in enumerate(zip(index.shape, x.shape, strict=False)) if a != axis)
    if index.ndim != x.ndim or any(others):
        raise ShapeError(
            f"{here(op)}: expected index with {x.ndim} axes, along all but axis {axis} no longer than x of shape "
            f"{x.shape}; got {index.shape}."
        )
    return places


def _as_vectors(x: Tensor, *given: Any) -> list[Any]:
    """PyTorch takes scalar tensors for vectors of one where x is a vector."""
    return [v.reshape(1) if x.ndim == 1 and isinstance(v, Tensor) and not v.ndim else v for v in given]


def _added(op: str, x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    axis = axis_of(op, x, dim)
    if not isinstance(src, Tensor):
        raise ArgumentError(f"{here(op)}: src: expected a Tensor; got a {type(src).__name__}.")
    if not isinstance(index, Tensor):
        raise ArgumentError(f"{here(op)}: index: expected a Tensor; got a {type(index).__name__}.")
    if not x.ndim:
        return _added(op, x.reshape(1), 0, index.reshape(-1), src.reshape(-1)).reshape(())
    index, src = _as_vectors(x, index, src)
    same_device(op, x.device, src.device)
    if src.dtype != x.dtype:
        raise DTypeError(f"{here(op)}: src: expected x's dtype, {x.dtype}; got {src.dtype}. Convert with .to(dtype).")
    if not index.numel():
        return x.clone()
    places = _checked(op, x, axis, index)
    if src.ndim != x.ndim or any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(
            f"{here(op)}: src: expected a shape nowhere shorter than the index's, {index.shape}; got {src.shape}."
        )
    if src.shape != index.shape:
        src = src[tuple(slice(n) for n in index.shape)]
    if x.dtype.kind not in FLOATING:  # the kernel adds floating numbers; these are exact up to 2^53
        return (x.double() + _sums(op, x.shape, axis, index, places, src.double())).to(x.dtype)
    return x + _sums(op, x.shape, axis, index, places, src)


def _sums(op: str, shape: tuple[int, ...], axis: int, index: Tensor, places: Any, src: Tensor) -> Tensor:
    """A tensor of ``shape`` with the sums of src at each place, 0 elsewhere."""
    device, stored = src.device, physical_axes((axis,), len(shape))[0]
    where_to = physical(places)
    y = gather_along_backward(device, src._physical, where_to, physical_shape(shape), stored)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gather_along(device, dy, where_to, stored),)

    return record(op, y, device, (src,), backward, saves=(index,))


def _written(op: str, x: Tensor, dim: int, index: Tensor, src: Any, value: Any, reduce: Any) -> Tensor:
    if (src is None) == (value is None):
        raise UsageError(f"{here(op)}: src: expected a Tensor or a number, once; got src={src!r}, value={value!r}.")
    if reduce not in (None, "add"):
        raise UsageError(f"{here(op)}: reduce: expected None or 'add'; got {reduce!r}.")
    axis = axis_of(op, x, dim)
    index, src = _as_vectors(x, index, value if src is None else src)
    if not isinstance(src, Tensor):
        if category(src) is None:
            raise ArgumentError(f"{here(op)}: src: expected a Tensor or a number; got {type(src).__name__}.")
        if reduce == "add":
            return _added(op, x, axis, index, (compare("eq", index, index)).to(x.dtype) * src)
        if not x.ndim:
            return _written(op, x.reshape(1), 0, index.reshape(-1), src, None, None).reshape(())
        if not index.numel():
            return x.clone()
        marks = compare("eq", index, index).float()
        touched = compare("ne", _sums(op, x.shape, axis, index, _checked(op, x, axis, index), marks), 0)
        return where(touched, src if x.dtype.kind in FLOATING else int(src), x).to(x.dtype)
    if reduce == "add":
        return _added(op, x, axis, index, src)
    if not x.ndim:
        return _written(op, x.reshape(1), 0, index.reshape(-1), src.reshape(-1), None, None).reshape(())
    same_device(op, x.device, src.device)
    if src.dtype != x.dtype:
        raise DTypeError(f"{here(op)}: src: expected x's dtype, {x.dtype}; got {src.dtype}. Convert with .to(dtype).")
    y = x.clone()
    if not index.numel():
        return y
    _checked(op, x, axis, index)
    if src.ndim != x.ndim or any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise ShapeError(
            f"{here(op)}: src: expected a shape nowhere shorter than the index's, {index.shape}; got {src.shape}."
        )
    if src.shape != index.shape:
        src = src[tuple(slice(n) for n in index.shape)]
    lines = [
        arange(n, device=x.device).reshape([-1 if b == a else 1 for b in range(x.ndim)])
        for a, n in enumerate(index.shape)
    ]
    lines[axis] = index
    setitem(y, tuple(lines), src)
    return y
