"""Padding: a border of a constant, of reflections or of copies of the edge around the last axes.

Kernels: ``kernels/strided_copy.cu`` and ``pad.cu``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._layout import logical, physical_axes
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.gpu.strided_copy import BLOCK, Place, fill, place_box
from gpunn.ops.getitem import sliced
from gpunn.ops.take_slice import take_slice
from gpunn.primitive import primitive
from gpunn.tape import record

_MODES = ("constant", "reflect", "replicate", "circular")
SOURCE = KernelSource("pad.cu", REAL=("float", "double"), VEC=(1, 4))
_FRAME = np.dtype(
    [(name, np.int32) for name in ("length", "before", "padded", "mode")] + [("inner", DIVISOR), ("axis", DIVISOR)]
)


@primitive(returns=("y",))
def pad_constant(xp: Any, x: Any, sides: tuple[tuple[int, int], ...], value: float) -> Any:
    """x with ``value`` before and after: along each axis as many elements as ``sides`` gives."""
    shape = [n + before + after for n, (before, after) in zip(x.shape, sides, strict=True)]
    y = xp.full(shape, value, x.dtype)
    y[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, sides, strict=True))] = x
    return y


@pad_constant.kernel(stored=("x",))
def _(device: Device, x: Any, sides: tuple[tuple[int, int], ...], value: float) -> Any:
    axes = zip(x.shape, sides, x.strides, strict=True)
    places = [Place(before + n + after, before, 1, n, stride) for n, (before, after), stride in axes]
    return place_box(device, x, places, x.dtype, value)


@primitive(returns=("y",))
def pad_axis(xp: Any, x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """x with ``before`` and ``after`` more elements along one axis, copies of its own; negative numbers crop."""
    places = xp.asarray(_places(mode, x.shape[axis], before, after))
    return xp.ascontiguousarray(xp.take(x, places, axis=axis))


@pad_axis.kernel
def _(device: Device, x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    length = x.shape[axis]
    y = device.empty((*x.shape[:axis], before + length + after, *x.shape[axis + 1 :]), x.dtype)
    bits = {4: np.float32, 8: np.float64}.get(y.itemsize, y.dtype)  # the numbers are only moved, so integers work too
    if y.size:
        _launch(device, "pad_axis", y.view(bits), x.view(bits), axis, (length, before, y.shape[axis]), mode)
    return y


def _launch(device: Device, kernel: str, out: Any, given: Any, axis: int, sizes: tuple[int, ...], mode: str) -> None:
    if out.size == 0:
        return
    inner = math.prod(out.shape[axis + 1 :])
    vec = vector_width(inner, out, given)
    frame = np.array([(*sizes, _MODES.index(mode) - 1, divisor(inner // vec), divisor(out.shape[axis]))], _FRAME)
    threads = out.size // vec
    macros: dict[str, Any] = {"REAL": c_type(out.dtype, kernel), "VEC": vec}
    SOURCE.launch(device, kernel, (ceil_div(threads, BLOCK), 1, 1), BLOCK, (out, given, frame, threads), **macros)


@primitive(returns=("dx",))
def pad_axis_backward(xp: Any, dy: Any, length: int, axis: int, before: int, after: int, mode: str) -> Any:
    """The gradient of :func:`pad_axis`: each of the axis's ``length`` elements gets the sum over its copies."""
    dx = xp.zeros((*dy.shape[:axis], length, *dy.shape[axis + 1 :]), dy.dtype)
    to, source = xp.moveaxis(dx, axis, 0), xp.moveaxis(dy, axis, 0)
    kept = slice(max(0, -before), length + min(0, after))
    if kept.stop > kept.start:
        to[kept] = source[max(0, before) : max(0, before) + kept.stop - kept.start]
    # Within one side of the border no element occurs twice, except that replication repeats the ends.
    sides = [slice(0, max(0, before)), slice(max(0, len(source) - max(0, after)), len(source))]
    for side, end in zip(sides, (0, length - 1), strict=True):
        if side.stop == side.start:
            continue
        if mode == "replicate":
            to[end] += source[side].sum(axis=0)
        else:
            to[xp.asarray(_places(mode, length, before, after)[side])] += source[side]
    return dx


@pad_axis_backward.kernel
def _(device: Device, dy: Any, length: int, axis: int, before: int, after: int, mode: str) -> Any:
    dx = device.empty((*dy.shape[:axis], length, *dy.shape[axis + 1 :]), dy.dtype)
    if dy.size == 0:
        fill(device, dx)
    else:
        _launch(device, "pad_axis_backward", dx, dy, axis, (length, before, dy.shape[axis]), mode)
    return dx


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A border around the last axes.

    Parameters
    ----------
    x : Tensor
        Any shape for a constant border; else one or two more axes than are padded: (N, C, H, W) or (C, H, W)
        for images.
    pad : sequence of int
        (before, after) for the last axis, then for the one before it, and so on: (left, right, top, bottom) for
        images. Negative numbers crop: with mode "circular" before the ends are joined, else what the border has
        copied.
    mode : str
        "constant", "reflect" (without the edge itself), "replicate" (the edge again) or "circular"
        (from the other end).
    value : float, optional
        The constant; 0 if None.

    Raises
    ------
    UsageError
        If an argument is invalid.
    ShapeError
        If x has too few axes, or is too small for the padding or cropping; with modes "reflect" and "replicate" also
        if nothing would be left along any of the axes.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([[1.0, 2.0, 3.0]])
    >>> pad(x, (1, 2)).tolist(), pad(x, (2, 0), mode="reflect").tolist()
    ([[0.0, 1.0, 2.0, 3.0, 0.0, 0.0]], [[3.0, 2.0, 1.0, 2.0, 3.0]])

    References
    ----------
    Lecture topic L16.
    """
    amounts = [int(n) for n in pad]
    if mode not in _MODES:
        raise UsageError(f"{here('pad')}: mode: expected one of {_MODES}; got {mode!r}.")
    if len(amounts) % 2 or len(amounts) > 2 * x.ndim:
        raise UsageError(
            f"{here('pad')}: expected (before, after) for at most {x.ndim} axes of {x.shape}; got {tuple(pad)}."
        )
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    sides: _Sides = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if mode == "constant":
        return _constant(x, sides, 0 if value is None else value)
    if value is not None:
        raise UsageError(f"{here('pad')}: mode {mode!r} takes no value; got {value}.")
    if not 1 <= len(pairs) <= 3 or not 1 <= x.ndim - len(pairs) <= 2:
        raise ShapeError(
            f"{here('pad')}: mode {mode!r} pads one to three axes of a tensor with one or two more; got shape "
            f"{x.shape} and {len(pairs)} axes."
        )
    if mode == "circular":
        x, sides = _cropped(x, sides)
    elif not any(n + before + after for n, (before, after) in list(zip(x.shape, sides, strict=True))[-len(pairs) :]):
        raise ShapeError(f"{here('pad')}: mode {mode!r}: nothing would be left of shape {x.shape} by {tuple(pad)}.")
    for axis, (before, after) in enumerate(sides):
        if before or after:
            x = _frame(x, axis, before, after, mode)
    return x


def _frame(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    device, length = x.device, x.shape[axis]
    most = {"reflect": length - 1, "circular": length, "replicate": max(before, after) if length else 0}[mode]
    if max(before, after) > most or before + length + after < 0:
        raise ShapeError(
            f"{here('pad')}: mode {mode!r} cannot pad axis {axis}, of length {length}, by {before} and {after}: "
            f"expected at most {most} on a side, and no more cut off than there is."
        )
    (stored,) = physical_axes((axis,), x.ndim)

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (pad_axis_backward(device, dy, length, stored, before, after, mode),)

    return record("pad", pad_axis(device, x._physical, stored, before, after, mode), device, (x,), backward)


def _places(mode: str, length: int, before: int, after: int) -> np.ndarray:
    """Which element of an axis each element of the padded axis copies."""
    at = np.arange(-before, length + after)
    if mode == "replicate":
        return at.clip(0, length - 1)
    if mode == "circular":
        return at % length
    at = np.abs(at)
    return np.where(at >= length, 2 * (length - 1) - at, at)


_Sides = list[tuple[int, int]]


def _cropped(x: Tensor, sides: _Sides) -> tuple[Tensor, _Sides]:
    """x without what negative numbers crop, and the others."""
    cut = [(max(-before, 0), max(-after, 0)) for before, after in sides]
    if any(before + after > n for n, (before, after) in zip(x.shape, cut, strict=True)):
        raise ShapeError(f"{here('pad')}: cannot cut {cut} (before, after) off the axes of shape {x.shape}.")
    if not any(before or after for before, after in cut):
        return x, sides
    left = sliced("pad", x, tuple(slice(b, n - a) for n, (b, a) in zip(x.shape, cut, strict=True)))
    return left, [(max(before, 0), max(after, 0)) for before, after in sides]


def _constant(x: Tensor, sides: _Sides, value: float) -> Tensor:
    x, sides = _cropped(x, sides)
    axes = physical_axes(tuple(range(x.ndim)), x.ndim)
    stored = tuple(sides[axes.index(a)] for a in range(x.ndim))
    device = x.device
    y = pad_constant(device, x._physical, stored, value)
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, sides, strict=True))
    return record("pad", y, device, (x,), lambda dy, needs: (take_slice(device, logical(dy), inner),))
