"""Images and sequences of another size, by neighbours or between them.

Along each axis an output is a weighted sum of a few inputs. Which inputs and which weights is calculated here, in the
precision that PyTorch calculates them in, so that the same inputs are taken where a position is just between two.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._shared.activations import check_floating
from gpunn._shared.numbers import as_int
from gpunn._tensor import Tensor
from gpunn.composed.pool3d import adaptive_avg_pool3d
from gpunn.errors import ShapeError, UsageError, here
from gpunn.ops.adaptive_avg_pool1d import adaptive_avg_pool1d
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from gpunn.ops.getitem import index_select
from gpunn.ops.matmul import matmul

_OP = "interpolate"
_AXES = {"nearest": None, "nearest-exact": None, "area": None, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_CUBIC, _CUBIC_WIDE = -0.75, -0.5  # the slope at 1, which PyTorch has; the other one with antialias


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Sequences, images or volumes resampled to another size.

    Parameters
    ----------
    input : Tensor, (N, C, L), (N, C, H, W) or (N, C, D, H, W)
        float32 or float64.
    size : int or sequence of int, optional
        The new size along each axis behind the channels. Either this or ``scale_factor``.
    scale_factor : float or sequence of float, optional
        The new size is floor(size times this).
    mode : str
        "nearest" (with PyTorch's rounding), "nearest-exact" (centres of pixels), "linear" for sequences, "bilinear"
        and "bicubic" for images, "trilinear" for volumes, "area" (adaptive average pooling).
    align_corners : bool, optional
        With the modes that interpolate: whether the first and last elements keep their values; else pixels are areas.
    recompute_scale_factor : bool, optional
        Whether positions follow from the sizes instead of ``scale_factor``.
    antialias : bool
        With "bilinear" and "bicubic": whether an output of a smaller image averages all inputs that fall to it.

    Returns
    -------
    Tensor
        Like input, of the new size.

    Raises
    ------
    ShapeError
        If input has another number of axes than the mode wants, or an axis would have no elements.
    UsageError
        If an option is invalid, or both or none of size and scale_factor are given.
    DTypeError
        If input is not floating.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([[[1.0, 3.0]]])
    >>> interpolate(x, 4).tolist(), interpolate(x, scale_factor=2, mode="linear").tolist()
    ([[[1.0, 1.0, 3.0, 3.0]]], [[[1.0, 1.5, 2.5, 3.0]]])

    References
    ----------
    Keys 1981, "Cubic convolution interpolation for digital image processing", for bicubic.
    """
    if casting.on:
        (input,) = casting.inputs("interpolate", input)
    _check(input, mode, align_corners, antialias)
    old = input.shape[2:]
    new, scales = _sizes(old, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[len(old) - 1](input, new)
    y = input
    if antialias:
        if old == new:
            return input
        down, across = (
            _matrix(input.device, input.dtype.name, n, m, mode, bool(align_corners), scale)
            for n, m, scale in zip(old, new, scales, strict=True)
        )
        return matmul(down, matmul(input, across.t()))
    for axis, (n, m, scale) in enumerate(zip(old, new, scales, strict=True), start=2):
        # What PyTorch does, whatever the scale is: the linear modes leave an axis as it is where its size stays, and so
        # does "nearest" for images, which also doubles sizes without a look at the scale.
        if m == n and ("linear" in mode or (mode == "nearest" and len(old) == 2)):
            continue
        if m == 2 * n and mode == "nearest" and len(old) == 2:
            scale = None
        if n != m or scale not in (None, 1.0):
            y = _resampled(y, axis, m, mode, bool(align_corners), scale)
    return y


def _check(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode not in _AXES:
        raise UsageError(f"{here(_OP)}: mode: expected one of {', '.join(_AXES)}; got {mode!r}.")
    check_floating(_OP, input)
    axes = _AXES[mode]
    if not 3 <= input.ndim <= 5 or (axes is not None and input.ndim != axes + 2):
        wanted = "3 to 5 axes" if axes is None else f"{axes + 2} axes"
        raise ShapeError(f"{here(_OP)}: mode {mode!r}: expected x with {wanted}; got shape {input.shape}.")
    if 0 in input.shape[1:]:
        raise ShapeError(f"{here(_OP)}: expected x with no axis of 0 but N; got shape {input.shape}.")
    if axes is None and align_corners is not None:
        raise UsageError(f"{here(_OP)}: align_corners goes with the modes that interpolate; mode is {mode!r}.")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise UsageError(f"{here(_OP)}: antialias: expected mode 'bilinear' or 'bicubic'; got {mode!r}.")


_Sizes = tuple[tuple[int, ...], tuple[float | None, ...]]


def _sizes(old: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None) -> _Sizes:
    """The new sizes, and for each axis the scale that positions follow from; None: the sizes."""
    if (size is None) == (scale_factor is None):
        raise UsageError(f"{here(_OP)}: expected either size or scale_factor; got {size!r} and {scale_factor!r}.")
    if size is not None:
        if recompute:
            raise UsageError(f"{here(_OP)}: recompute_scale_factor goes with scale_factor; got size {size!r}.")
        new = tuple(as_int(n) for n in _for_each(size, len(old), "size"))
        if any(n is None or n < 1 for n in new):
            raise UsageError(f"{here(_OP)}: size: expected whole numbers of at least 1; got {size!r}.")
        return tuple(n for n in new if n is not None), (None,) * len(old)
    scales = _for_each(scale_factor, len(old), "scale_factor")
    if not all(isinstance(s, int | float | np.number) and 0 < s < math.inf for s in scales):
        raise UsageError(f"{here(_OP)}: scale_factor: expected numbers above 0; got {scale_factor!r}.")
    sizes = tuple(math.floor(n * float(s)) for n, s in zip(old, scales, strict=True))
    if 0 in sizes:
        raise ShapeError(f"{here(_OP)}: scale_factor {scale_factor!r} leaves nothing of size {old}.")
    return sizes, (None,) * len(old) if recompute else tuple(float(s) for s in scales)


def _for_each(value: Any, axes: int, name: str) -> tuple[Any, ...]:
    given = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * axes
    if len(given) != axes:
        raise UsageError(f"{here(_OP)}: {name}: expected one number or {axes}, one for each axis; got {value!r}.")
    return given


def _resampled(x: Tensor, axis: int, size: int, mode: str, align_corners: bool, scale: float | None) -> Tensor:
    """x with ``size`` elements along one axis."""
    taps = _on_device(x.device, x.dtype.name, x.ndim - axis - 1, x.shape[axis], size, mode, align_corners, scale)
    if mode in ("nearest", "nearest-exact"):
        ((index, _),) = taps
        return index_select(x, axis, index)
    parts = [index_select(x, axis, index) * weights for index, weights in taps]
    return functools.reduce(lambda a, b: a + b, parts)


# Kept on the device: a captured step may not copy from the host, and has been run before it is captured.
@functools.lru_cache(maxsize=256)
def _on_device(
    device: Device, dtype: str, behind: int, old: int, new: int, mode: str, align_corners: bool, scale: float | None
) -> tuple[tuple[Tensor, Tensor], ...]:
    """For each of an output's inputs, its index and its weight, which broadcasts over ``behind`` more axes."""
    taps = _taps(np.dtype(dtype).type, old, new, mode, align_corners, scale)
    shape = (new, *(1,) * behind)
    return tuple(
        (tensor(index.astype(np.int64), device=device), tensor(weights.reshape(shape), device=device))
        for index, weights in taps
    )


@functools.lru_cache(maxsize=256)
def _matrix(
    device: Device, dtype: str, old: int, new: int, mode: str, align_corners: bool, scale: float | None
) -> Tensor:
    """(new, old): the weights of inputs in outputs, of a filter as wide as an output where that is wider."""
    real: Any = np.dtype(dtype).type
    ratio = real(1 / scale) if scale is not None else real(old) / real(new)
    if align_corners:
        ratio = real(old - 1) / real(new - 1) if new > 1 else real(0)
    reach, widened = (1 if mode == "bilinear" else 2), max(ratio, real(1))
    centres = ratio * (np.arange(new, dtype=real) + real(0.5))
    first = (centres - reach * widened + real(0.5)).astype(np.int64).clip(min=0)
    last = (centres + reach * widened + real(0.5)).astype(np.int64).clip(max=old)
    at = np.arange(old)
    d = np.abs((at.astype(real) - centres[:, None] + real(0.5)) * (real(1) / widened))
    if mode == "bilinear":
        weights = (1 - d).clip(min=0)
    else:
        a = real(_CUBIC_WIDE)
        inner, outer = ((a + 2) * d - (a + 3)) * d * d + 1, (((d - 5) * d + 8) * d - 4) * a
        weights = np.where(d < 1, inner, np.where(d < 2, outer, 0))
    weights = np.where((at >= first[:, None]) & (at < last[:, None]), weights, 0)
    return tensor((weights / weights.sum(axis=1, keepdims=True)).astype(real), device=device)


_Taps = list[tuple[np.ndarray, np.ndarray]]


def _taps(real: Any, old: int, new: int, mode: str, align_corners: bool, scale: float | None) -> _Taps:
    at = np.arange(new)
    if mode in ("nearest", "nearest-exact"):
        # PyTorch takes single precision for these, whatever x is.
        ratio = np.float32(1 / scale) if scale is not None else np.float32(old) / np.float32(new)
        half = np.float32(0.5 if mode == "nearest-exact" else 0)
        index = np.floor((at.astype(np.float32) + half) * ratio).astype(np.int64).clip(max=old - 1)
        return [(index, np.ones(new, real))]
    ratio = real(1 / scale) if scale is not None else real(old) / real(new)
    if align_corners:
        source = at.astype(real) * (real(old - 1) / real(new - 1) if new > 1 else real(0))
    else:
        source = ratio * (at.astype(real) + real(0.5)) - real(0.5)
    if mode == "bicubic":
        first = np.floor(source)
        index, t = first.astype(np.int64), source - first
        inner = [((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1 for d in (t, 1 - t)]
        outer = [((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC for d in (t + 1, 2 - t)]
        weights = (outer[0], inner[0], inner[1], outer[1])
        return [((index + k - 1).clip(0, old - 1), w.astype(real)) for k, w in enumerate(weights)]
    source = source.clip(min=real(0))
    index = source.astype(np.int64).clip(max=old - 1)
    weight = (source - index.astype(real)).clip(0, 1)
    return [(index, (1 - weight).astype(real)), ((index + 1).clip(max=old - 1), weight.astype(real))]
