"""Padding: a frame of a constant, of reflections or of copies of the border around the last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._layout import logical, physical_axes
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, where
from gpunn.ops._index_keys import Parts
from gpunn.ops._scatter import take_slice
from gpunn.ops.indexing import picked, sliced
from gpunn.primitive import primitive
from gpunn.tape import record

_MODES = ("constant", "reflect", "replicate", "circular")


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    return [
        {"x": x, "sides": ((0, 0), (1, 1), (2, 2), (0, 0)), "value": 0.0},
        {"x": x[0, 0], "sides": ((0, 0), (0, 3)), "value": -np.inf},
        {"x": np.zeros((0, 2)), "sides": ((1, 0), (0, 1)), "value": 1.5},
        {"x": np.arange(3), "sides": ((1, 1),), "value": 7},
    ]


@primitive(examples=_examples, returns=("y",))
def pad_constant(xp: Any, x: Any, sides: tuple[tuple[int, int], ...], value: float) -> Any:
    """x with ``value`` before and after, as many elements along each axis as ``sides`` says."""
    shape = [n + before + after for n, (before, after) in zip(x.shape, sides, strict=True)]
    y = xp.full(shape, value, x.dtype)
    y[tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, sides, strict=True))] = x
    return y


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """A frame around the last axes.

    Parameters
    ----------
    x : Tensor
        Any shape for a constant frame; else one or two axes more than are padded: (N, C, H, W) or (C, H, W)
        for images.
    pad : sequence of int
        (before, after) for the last axis, then for the one before it, and so on: (left, right, top, bottom) for
        images. Negative numbers cut off.
    mode : str
        "constant", "reflect" (without the border itself), "replicate" (the border again) or "circular"
        (from the other end).
    value : float, optional
        The constant; 0 if None.

    Raises
    ------
    UsageError
        If an argument makes no sense.
    ShapeError
        If x has too few axes, or is too small for what is asked.

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
        raise UsageError(f"{where('pad')}: mode: expected one of {_MODES}; got {mode!r}.")
    if len(amounts) % 2 or len(amounts) > 2 * x.ndim:
        raise UsageError(
            f"{where('pad')}: expected (before, after) for at most {x.ndim} axes of {x.shape}; got {tuple(pad)}."
        )
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    sides = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    if mode == "constant":
        return _constant(x, sides, 0 if value is None else value)
    if value is not None:
        raise UsageError(f"{where('pad')}: mode {mode!r} takes no value; got {value}.")
    if not 1 <= len(pairs) <= 3 or not 1 <= x.ndim - len(pairs) <= 2:
        raise ShapeError(
            f"{where('pad')}: mode {mode!r} pads one to three axes of a tensor with one or two more; got shape "
            f"{x.shape} and {len(pairs)} axes."
        )
    for axis, (before, after) in enumerate(sides):
        if before or after:
            places = _places(mode, axis, x.shape[axis], before, after)
            index = x.device.array(places)
            unique = len(set(places.tolist())) == len(places)
            x = picked("pad", x, Parts((), [index], (axis,), axis, unique, []))
    return x


def _places(mode: str, axis: int, length: int, before: int, after: int) -> np.ndarray:
    """Which element of an axis each element of the padded one is."""
    most = {"reflect": length - 1, "circular": length, "replicate": max(before, after) if length else 0}[mode]
    if max(before, after) > most or min(before, after) < -length or before + length + after < 0:
        raise ShapeError(
            f"{where('pad')}: mode {mode!r} cannot pad axis {axis}, of length {length}, by {before} and {after}."
        )
    at = np.arange(-before, length + after)
    if mode == "replicate":
        return at.clip(0, length - 1)
    if mode == "circular":
        return at % length
    at = np.abs(at)
    return np.where(at >= length, 2 * (length - 1) - at, at)


def _constant(x: Tensor, sides: list[tuple[int, int]], value: float) -> Tensor:
    cut = [(max(-before, 0), max(-after, 0)) for before, after in sides]
    if any(before + after > n for n, (before, after) in zip(x.shape, cut, strict=True)):
        raise ShapeError(f"{where('pad')}: cannot cut {cut} (before, after) off the axes of shape {x.shape}.")
    if any(before or after for before, after in cut):
        x = sliced("pad", x, tuple(slice(b, n - a) for n, (b, a) in zip(x.shape, cut, strict=True)))
        sides = [(max(before, 0), max(after, 0)) for before, after in sides]
    axes = physical_axes(tuple(range(x.ndim)), x.ndim)
    stored = tuple(sides[axes.index(a)] for a in range(x.ndim))
    device = x.device
    y = pad_constant(device, x._physical, stored, value)
    inner = tuple(slice(before, before + n) for n, (before, _) in zip(x.shape, sides, strict=True))
    return record("pad", y, device, (x,), lambda dy, needs: (take_slice(device, logical(dy), inner),))
