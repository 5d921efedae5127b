"""Elementwise tests with bool results: comparisons, NaN and infinity, and logic. No gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._interop import is_array
from gpunn._layout import physical, physical_axes
from gpunn._promotion import category
from gpunn._shared.axes import axes_of
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ArgumentError, DTypeError, ShapeError, here
from gpunn.gpu.broadcast import launch_binary
from gpunn.gpu.reduce import reduce_axes
from gpunn.gpu.unary import QUESTION_CODES, launch_elements, launch_invert
from gpunn.ops.binary import binary
from gpunn.ops.cast import cast
from gpunn.ops.sum import left_of
from gpunn.primitive import primitive


@primitive(returns=("y",))
def ask_elements(xp: Any, name: str, x: Any) -> Any:
    """y = xp.isnan(x), xp.isinf(x) or xp.isfinite(x)."""
    return getattr(xp, name)(x)


@ask_elements.kernel
def _(device: Device, name: str, x: Any) -> Any:
    return launch_elements(device, "ask_elements", (x,), QUESTION_CODES[name], dtype=np.bool_)


def isnan(x: Tensor) -> Tensor:
    """Where x is NaN.

    Parameters
    ----------
    x : Tensor
    """
    return Tensor._of_physical(ask_elements(x.device, "isnan", x._physical), x.device)


def isinf(x: Tensor) -> Tensor:
    """Where x is infinite.

    Parameters
    ----------
    x : Tensor
    """
    return Tensor._of_physical(ask_elements(x.device, "isinf", x._physical), x.device)


def isfinite(x: Tensor) -> Tensor:
    """Where x is neither infinite nor NaN.

    Parameters
    ----------
    x : Tensor
    """
    return Tensor._of_physical(ask_elements(x.device, "isfinite", x._physical), x.device)


def compare(name: str, a: Any, b: Any) -> Tensor:
    """a == b and the like, with broadcasting, bool; ``name`` is eq, ne, lt, le, gt or ge."""
    return binary(name, a, b, None)


def eq(a: Tensor, b: Any) -> Tensor:
    """Where a == b, with broadcasting, bool.

    Parameters
    ----------
    a : Tensor
    b : Tensor or number
        Of any dtype; shapes broadcast.
    """
    return compare("eq", a, b)


def ne(a: Tensor, b: Any) -> Tensor:
    """Where a != b; ``a`` and ``b`` as in :func:`eq`."""
    return compare("ne", a, b)


def lt(a: Tensor, b: Any) -> Tensor:
    """Where a < b; ``a`` and ``b`` as in :func:`eq`."""
    return compare("lt", a, b)


def le(a: Tensor, b: Any) -> Tensor:
    """Where a <= b; ``a`` and ``b`` as in :func:`eq`."""
    return compare("le", a, b)


def gt(a: Tensor, b: Any) -> Tensor:
    """Where a > b; ``a`` and ``b`` as in :func:`eq`."""
    return compare("gt", a, b)


def ge(a: Tensor, b: Any) -> Tensor:
    """Where a >= b; ``a`` and ``b`` as in :func:`eq`."""
    return compare("ge", a, b)


def logic(name: str, a: Any, b: Any) -> Tensor:
    """a & b and the like, with broadcasting; ``name`` is and, or, xor. Bit by bit for integers.

    For whether elements are 0 see :func:`logical_and`.

    Raises
    ------
    DTypeError
        If an operand is floating.
    """
    for v in (a, b):
        typed = isinstance(v, Tensor | np.generic) or is_array(v)
        kind = v.dtype.kind if typed else "f" if isinstance(v, float) else "i"
        if kind == "f":
            raise DTypeError(
                f"{here(name)}: expected bools or integers; got a floating operand. Compare it first, or use "
                f"gpunn.logical_{name}, which asks whether elements are 0."
            )
    return binary(name, a, b, None)


@primitive(returns=("y",))
def invert(xp: Any, x: Any) -> Any:
    """y = not x; bit by bit for integers."""
    return xp.invert(x)


@invert.kernel
def _(device: Device, x: Any) -> Any:
    return launch_invert(device, x)


def bitwise_not(x: Tensor) -> Tensor:
    """``~x``: not x for bools, inverted bits for integers.

    Parameters
    ----------
    x : Tensor
        Bool or integer.

    Raises
    ------
    DTypeError
        If it is floating.
    """
    if x.dtype.kind in FLOATING:
        raise DTypeError(
            f"{here('not')}: expected bools or integers; got {x.dtype}. Compare it first, or use gpunn.logical_not."
        )
    return Tensor._of_physical(invert(x.device, x._physical), x.device)


def bitwise_and(a: Any, b: Any) -> Tensor:
    """a & b with broadcasting, bit by bit for integers.

    Parameters
    ----------
    a, b : Tensor or number
        Bool or integer.
    """
    return logic("and", a, b)


def bitwise_or(a: Any, b: Any) -> Tensor:
    """a | b with broadcasting; ``a`` and ``b`` as in :func:`bitwise_and`."""
    return logic("or", a, b)


def bitwise_xor(a: Any, b: Any) -> Tensor:
    """a ^ b with broadcasting; ``a`` and ``b`` as in :func:`bitwise_and`."""
    return logic("xor", a, b)


def logical_not(x: Tensor) -> Tensor:
    """Where x is 0, bool. ``~x`` is that for bools alone; of integers it inverts the bits.

    Parameters
    ----------
    x : Tensor
    """
    return bitwise_not(x) if x.dtype.kind == "b" else compare("eq", x, 0)


def _truth(x: Any) -> Any:
    """Where x is not 0; numbers as bools."""
    if isinstance(x, Tensor):
        return x if x.dtype.kind == "b" else compare("ne", x, 0)
    if is_array(x):
        return x != 0
    return bool(x) if category(x) is not None else x


def logical_and(a: Any, b: Any) -> Tensor:
    """Where neither is 0, with broadcasting, bool. NaN is not 0.

    Parameters
    ----------
    a, b : Tensor or number
        Of any dtype.
    """
    return logic("and", _truth(a), _truth(b))


def logical_or(a: Any, b: Any) -> Tensor:
    """Where a or b is not 0; ``a`` and ``b`` as in :func:`logical_and`."""
    return logic("or", _truth(a), _truth(b))


def logical_xor(a: Any, b: Any) -> Tensor:
    """Where one of a and b is 0 and the other is not; ``a`` and ``b`` as in :func:`logical_and`."""
    return logic("xor", _truth(a), _truth(b))


@primitive(returns=("y",))
def all_axes(xp: Any, name: str, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Whether all (any) elements of a logical array over ``axes`` are not 0; the result is physical."""
    return physical(xp.asarray(getattr(xp, name)(x, axis=axes, keepdims=keepdims)))


@all_axes.kernel
def _(device: Device, name: str, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """By counting: any: some are not 0; all: none is 0."""
    odd = launch_binary(device, "ne" if name == "any" else "eq", physical(x), x.dtype.type(0))
    count = reduce_axes(device, cast(device, odd, np.int64), physical_axes(axes, x.ndim), "sum")
    y = launch_binary(device, "ne" if name == "any" else "eq", count, np.int64(0))
    return left_of(device, y, axes, keepdims)


def all_(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over ``dim`` are not 0; True where there are none.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    """
    return Tensor._of_physical(
        all_axes(x.device, "all", x.array, axes_of("all", x, dim, keepdim=keepdim), keepdim), x.device
    )


def any_(x: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Whether any element over ``dim`` is not 0; False where there are none.

    Parameters
    ----------
    x : Tensor
    dim : int or sequence of int, optional
        Axes; all if None.
    keepdim : bool
        Keep them with length 1.
    """
    return Tensor._of_physical(
        all_axes(x.device, "any", x.array, axes_of("any", x, dim, keepdim=keepdim), keepdim), x.device
    )


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether both have the same shape and elements.

    Parameters
    ----------
    a, b : Tensor
    """
    _check_tensors("equal", a, b)
    return a.shape == b.shape and bool(all_(compare("eq", a, b)).item())


def _check_tensors(op: str, *given: Any) -> None:
    for value in given:
        if not isinstance(value, Tensor):
            raise ArgumentError(f"{here(op)}: expected two Tensors; got {type(value).__name__} for one.")


def allclose(a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether |a - b| <= atol + rtol |b| everywhere.

    Parameters
    ----------
    a, b : Tensor
        Shapes that broadcast.
    rtol, atol : float
        Accepted difference.
    equal_nan : bool
        Whether two NaN are equal.
    """
    _check_tensors("allclose", a, b)
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError as error:
        raise ShapeError(f"{here('allclose')}: shapes {a.shape} and {b.shape} do not broadcast together.") from error
    return bool(np.allclose(a._numpy_without_tape(), b._numpy_without_tape(), rtol, atol, equal_nan))


def isclose(a: Tensor, b: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |a - b| <= atol + rtol |b|, bool; equal infinities are close.

    Parameters
    ----------
    a, b : Tensor
        Of one dtype; shapes that broadcast.
    rtol, atol : float
        Accepted difference, at least 0.
    equal_nan : bool
        Whether two NaN are close.

    Raises
    ------
    DTypeError
        If the dtypes differ.
    UsageError
        If a number is negative.

    Examples
    --------
    >>> import gpunn
    >>> isclose(gpunn.tensor([1.0, 2.0]), gpunn.tensor([1.0, 2.5])).tolist()
    [True, False]
    """
    op = "isclose"
    _check_tensors(op, a, b)
    if a.dtype != b.dtype:
        raise DTypeError(f"{here(op)}: expected one dtype; got {a.dtype} and {b.dtype}. Convert with .to(dtype).")
    rtol, atol = real_number(op, "rtol", rtol, 0, finite=False), real_number(op, "atol", atol, 0, finite=False)
    close = compare("eq", a, b)
    if a.dtype.kind in FLOATING and equal_nan:
        close = close | (isnan(a) & isnan(b))
    if not (rtol or atol) or a.dtype.kind == "b":
        return close
    a, b = a.detach(), b.detach()
    distance = abs(a - b)
    allowed = atol + abs(rtol * b)
    return close | (isfinite(distance) & compare("le", distance, allowed))
