"""Variance and standard deviation over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._layout import logical, physical
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, where
from gpunn.ops._blocks import quiet
from gpunn.ops.reduce import axes_of, kept_shape
from gpunn.primitive import primitive
from gpunn.tape import record


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = (100 + rng.standard_normal((2, 3, 4, 5))).astype(np.float32)
    made = [{"x": x, "axes": a, "divisor": 3.0, "root": r} for a in ((0,), (1, 3), (0, 1, 2, 3)) for r in (True, False)]
    return [*made, {"x": np.zeros((0, 3)), "axes": (0,), "divisor": 0.0, "root": False}]


@primitive(examples=_examples, returns=("y", "mean"))
def variance_axes(xp: Any, x: Any, axes: tuple[int, ...], divisor: float, root: bool) -> tuple[Any, Any]:
    """y = sum((x - mean)^2) / divisor of a logical array, or its root; y physical, mean logical, axes kept.

    In float64: the mean is subtracted before squaring, and sums do not lose digits.
    """
    with quiet():
        count = np.float64(math.prod(x.shape[a] for a in axes))
        mean = x.sum(axis=axes, keepdims=True, dtype=np.float64) / count
        away = x - mean
        y = xp.asarray((away * away).sum(axis=axes, keepdims=True) / np.float64(divisor))
        y = xp.sqrt(y) if root else y
    return physical(xp.asarray(y.astype(x.dtype))), xp.asarray(xp.asarray(mean).astype(x.dtype))


def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    x[0] = 1
    mean, std = x.mean(1, keepdims=True), x.std(1, keepdims=True)
    return [{"dy": np.ones((2, 1, 4), np.float32), "x": x, "mean": mean, "std": s, "divisor": 2.0} for s in (None, std)]


@primitive(examples=_backward_examples, returns=("dx",))
def variance_backward(xp: Any, dy: Any, x: Any, mean: Any, std: Any, divisor: float) -> Any:
    """dx = 2 dy (x - mean) / divisor, or with ``std`` divided by 2 std, 0 where that is 0; logical in, physical out."""
    with quiet():
        if std is None:
            scaled = 2 * dy
        else:
            scaled = xp.where(std == 0, dy.dtype.type(0), dy / std)
        return physical(scaled * (x - mean) / x.dtype.type(divisor))


def _variance(op: str, x: Tensor, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None) -> Tensor:
    if x.dtype.kind != "f":
        raise DTypeError(f"{where(op)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if isinstance(dim, bool):  # PyTorch's var(unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1.0 if unbiased is None else float(unbiased)
    axes, device, source = axes_of(op, x, dim), x.device, x.array
    divisor = max(math.prod(x.shape[a] for a in axes) - correction, 0.0)
    kept, mean = variance_axes(device, source, axes, divisor, op == "std")
    shape = kept_shape(x.shape, axes)
    y = kept if keepdim else physical(logical(kept).squeeze(axes) if axes else kept)
    std = logical(kept) if op == "std" else None

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (variance_backward(device, logical(dy).reshape(shape), source, mean, std, divisor),)

    return record(op, y, device, (x,), backward, saves=(x,))


def var(
    x: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Variance over ``dim``: the sum of squared distances from the mean, divided by their number - correction.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if None. A bool in its place is taken for ``unbiased``.
    unbiased : bool, optional
        True for a correction of 1, False for 0.
    keepdim : bool
        Keep the axes with length 1.
    correction : number, optional
        1 if neither this nor ``unbiased`` is given.

    Returns
    -------
    Tensor
        NaN where there are too few elements.
    """
    return _variance("var", x, dim, unbiased, keepdim, correction)


def std(
    x: Tensor,
    dim: int | Sequence[int] | bool | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Standard deviation over ``dim``; the gradient is 0 where it is 0.

    Parameters
    ----------
    x : Tensor
        Floating.
    dim : int or sequence of int, optional
        Axes; all if None. A bool in its place is taken for ``unbiased``.
    unbiased : bool, optional
        True for a correction of 1, False for 0.
    keepdim : bool
        Keep the axes with length 1.
    correction : number, optional
        1 if neither this nor ``unbiased`` is given.

    Returns
    -------
    Tensor
        NaN where there are too few elements.
    """
    return _variance("std", x, dim, unbiased, keepdim, correction)
