"""The same elements in another shape: reshape and its relatives (``kernels/transpose.cu``, ``strided_copy.cu``).

A reshape works on elements in logical order, so that weights agree with PyTorch's; for an image
stored channels last that is a copy, and its gradient is copied back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunn._device import Device, address_of
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, where
from gpunn.launcher import KernelSource, c_type, ceil_div
from gpunn.ops._axes import axes_of
from gpunn.ops._strided import copied
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("transpose.cu", REAL=("float", "double"))
_MOST_ROWS = 65535 * 32  # CUDA's limit on grid.y


# -- primitives -----------------------------------------------------------------------------------


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes = ((1, 3, 5), (2, 33, 31), (3, 64, 32), (2, 1, 40), (1, 70, 1), (0, 3, 2), (2, 0, 4))
    made = [{"x": rng.standard_normal(s).astype(np.float32)} for s in shapes]
    return [*made, {"x": rng.standard_normal((2, 5, 40))}]


@primitive(examples=_examples, returns=("y",))
def batched_transpose(xp: Any, x: Any) -> Any:
    """y[n, c, r] = x[n, r, c], contiguous."""
    return xp.ascontiguousarray(x.transpose(0, 2, 1))


@batched_transpose.kernel
def _(device: Device, x: Any) -> Any:
    n, rows, cols = x.shape
    if rows > _MOST_ROWS:
        return copied(device, x, (n, cols, rows), (x.strides[0], x.strides[2], x.strides[1]))
    y = device.empty((n, cols, rows), x.dtype)
    tiles = (ceil_div(cols, 32), ceil_div(rows, 32))
    for start in range(0, n, 65535):  # CUDA's limit on grid.z
        part = slice(start, min(n, start + 65535))
        grid = (*tiles, part.stop - part.start)
        SOURCE.launch(
            device, "transpose", grid, (32, 8, 1), (y[part], x[part], rows, cols), REAL=c_type(x.dtype, "transpose")
        )
    return y


def _permute_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 1, 5)).astype(np.float32)
    made = [{"x": x, "axes": a} for a in ((0, 1, 2, 3), (3, 1, 0, 2), (0, 2, 1, 3))]
    made += [{"x": np.arange(6).reshape(1, 2, 3), "axes": (0, 2, 1)}, {"x": rng.random((3, 0)), "axes": (1, 0)}]
    made += [{"x": rng.random((2, 3, 4, 8)).astype(np.float32), "axes": (0, 2, 1, 3)}]
    deep = rng.integers(0, 99, (2, 3, 2, 3, 2, 2, 3)).astype(np.uint8)
    made += [{"x": deep, "axes": (6, 5, 4, 3, 2, 1, 0)}, {"x": deep > 50, "axes": (1, 0, 3, 2, 5, 4, 6)}]
    return [*made, {"x": rng.random((2, 3, 2, 3, 2)), "axes": (4, 0, 2, 1, 3)}]


@primitive(examples=_permute_examples, returns=("y",))
def permute_axes(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """y with the axes of x in the order ``axes``, as a copy."""
    return x.transpose(axes).copy(order="C")


@permute_axes.kernel
def _(device: Device, x: Any, axes: tuple[int, ...]) -> Any:
    return copied(device, x, [x.shape[a] for a in axes], [x.strides[a] for a in axes])


# -- memory order ---------------------------------------------------------------------------------


def reordered(device: Device, x: Any, axes: tuple[int, ...]) -> Any:
    """A contiguous array with the axes of x in the order ``axes``: x's own memory where that is the same order."""
    shape = tuple(x.shape[a] for a in axes)
    # Axes of 1 are anywhere; neighbours that stay neighbours are one axis.
    runs: list[list[int]] = []
    for a in axes:
        if x.shape[a] == 1:
            continue
        if runs and all(x.shape[b] == 1 for b in range(runs[-1][-1] + 1, a)) and a > runs[-1][-1]:
            runs[-1].append(a)
        else:
            runs.append([a])
    order = sorted(range(len(runs)), key=lambda i: runs[i][0])
    folded = [math.prod(x.shape[a] for a in runs[i]) for i in order]
    turn = [order.index(i) for i in range(len(runs))]
    if turn == sorted(turn):
        return x.reshape(shape)
    # Floating matrices have a kernel.
    if x.dtype.kind == "f" and turn in ([1, 0], [0, 2, 1]):
        return batched_transpose(device, x.reshape([1, *folded][-3:])).reshape(shape)
    return permute_axes(device, x.reshape(folded), tuple(turn)).reshape(shape)


def to_logical_order(device: Device, x: Any) -> Any:
    """A contiguous array in logical order, (N, C, H, W), from a physical 4-d one; else as it is."""
    return reordered(device, x, (0, 3, 1, 2)) if x.ndim == 4 else x


def to_physical_order(device: Device, x: Any) -> Any:
    """The inverse of :func:`to_logical_order`: from contiguous (N, C, H, W) to (N, H, W, C)."""
    return reordered(device, x, (0, 2, 3, 1)) if x.ndim == 4 else x


def record_reordered(op: str, x: Tensor, turned: Callable[[Any], Any], back: Callable[[Any], Any]) -> Tensor:
    """Put ``turned(physical x)`` on the tape: the same elements in another order, ``back`` its inverse.

    Where the memory stays as it is, so does its version: writing to one in place is seen by the other's backward.
    """
    source = x._physical
    y = turned(source)
    shared = address_of(y) == address_of(source)
    result = record(op, y, x.device, (x,), lambda dy, needs: (back(dy),), passes_on=shared)
    if shared:
        result._version = x._version
    return result


# -- public ops -----------------------------------------------------------------------------------


def reshape(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The elements of x in logical order in another shape.

    Shares x's memory where the order in memory stays the same, which is not so for most images (they lie
    channels last).

    Parameters
    ----------
    x : Tensor
    shape : int or sequence of int
        With x's number of elements; one length may be -1.

    Raises
    ------
    ShapeError
        If the sizes do not agree.
    """
    return _reshape("reshape", x, shape)


def _reshape(op: str, x: Tensor, shape: int | Sequence[int]) -> Tensor:
    lengths = (shape,) if isinstance(shape, int | np.integer) else shape
    new = _resolve(op, x, tuple(int(n) for n in lengths))
    device, old = x.device, x.shape

    def changed(array: Any, to: tuple[int, ...]) -> Any:
        return to_physical_order(device, to_logical_order(device, array).reshape(to))

    return record_reordered(op, x, lambda a: changed(a, new), lambda dy: changed(dy, old))


def _resolve(op: str, x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    known = math.prod(n for n in shape if n != -1)
    wanted = shape
    if shape.count(-1) == 1 and known and x.numel() % known == 0:
        wanted = tuple(x.numel() // known if n == -1 else n for n in shape)
    if any(n < 0 for n in wanted) or math.prod(wanted) != x.numel():
        raise ShapeError(f"{where(op)}: cannot make shape {shape} of {x.shape} with {x.numel()} elements.")
    return wanted


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge axes ``start_dim`` to ``end_dim`` into one, in logical order.

    Parameters
    ----------
    x : Tensor
    start_dim, end_dim : int
        First and last axis to merge.

    Raises
    ------
    UsageError
        If x does not have these axes, or the first comes after the last.

    References
    ----------
    Lecture topic L16.
    """
    count = max(x.ndim, 1)
    first, last = start_dim % count, end_dim % count
    if first > last or any(not -count <= a < count for a in (start_dim, end_dim)):
        raise UsageError(f"{where('flatten')}: axes {start_dim} to {end_dim} do not exist in shape {x.shape}.")
    return _reshape("flatten", x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def ravel(x: Tensor) -> Tensor:
    """All elements in logical order, as one axis.

    Parameters
    ----------
    x : Tensor
    """
    return _reshape("ravel", x, (-1,) if x.numel() else (0,))


def unflatten(x: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split axis ``dim`` into several, of lengths ``sizes``.

    Parameters
    ----------
    x : Tensor
    dim : int
        The axis.
    sizes : sequence of int
        Their product is its length; one may be -1.

    Raises
    ------
    ShapeError
        If it is not.
    """
    sizes = tuple(int(n) for n in sizes)
    if not x.ndim:
        raise ShapeError(f"{where('unflatten')}: expected an axis to split; a number has none.")
    (axis,) = axes_of("unflatten", x, dim)
    length, known = x.shape[axis], math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) == 1 and known and length % known == 0:
        sizes = tuple(length // known if n == -1 else n for n in sizes)
    if not sizes or any(n < 0 for n in sizes) or math.prod(sizes) != length:
        raise ShapeError(
            f"{where('unflatten')}: cannot split axis {dim} of {x.shape}, of length {length}, into {sizes}."
        )
    return _reshape("unflatten", x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def squeeze(x: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Leave out axes of length 1.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Only these; those of another length stay. All if None.
    """
    if dim is not None and not isinstance(dim, int) and not len(dim):
        axes: tuple[int, ...] = ()
    else:
        axes = axes_of("squeeze", x, dim)
    return _reshape("squeeze", x, [n for a, n in enumerate(x.shape) if n != 1 or a not in axes])


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new axis of length 1.

    Parameters
    ----------
    x : Tensor
    dim : int
        Where it will be.

    Raises
    ------
    UsageError
        If ``dim`` is not an axis of the result.
    """
    count = x.ndim + 1
    if not -count <= dim < count:
        raise UsageError(f"{where('unsqueeze')}: dim: expected -{count} to {count - 1} for shape {x.shape}; got {dim}.")
    at = dim % count
    return _reshape("unsqueeze", x, (*x.shape[:at], 1, *x.shape[at:]))
